//! The whole path: a task goes in, a runner works and pushes, a pull request comes out, a person
//! reviews it, the agent follows up, and it is merged.

use serde_json::{Value, json};

use super::{
    house::{House, git},
    scripted_runner::Runner,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_becomes_a_pull_request_that_is_reviewed_followed_up_and_merged() {
    let house = House::new().await;
    let source = house.project("shop").await;
    let runner = Runner::register(&house).await;

    let (run_id, job_id) = house.task("shop", "Greet more warmly\n\nReally.").await;
    let first = runner.play(&[("greeting.txt", "hello dear\nworld\n")]).await;
    assert_eq!(first.job_id, job_id);

    let run = house.get(&format!("/api/v1/runs/{run_id}")).await;
    assert_eq!((&run["state"], &run["title"]), (&json!("succeeded"), &json!("Greet more warmly")));
    let link = &run["jobs"][0]["pull_request"];
    assert_eq!(*link, json!({ "number": 1, "url": format!("{}/changes/shop/1", house.url) }));

    let pull = "/api/v1/projects/shop/pull-requests/1";
    let found = house.get(pull).await;
    assert_eq!(found["head"], format!("windlass/{job_id}"));
    assert_eq!(found["head_commit"], first.head);
    assert_eq!(found["mergeable"], json!({ "can": true, "conflicts": [] }));
    assert_eq!(titles(&found["commits"]), ["The agent's work"]);
    let patch = house.text(&format!("{pull}/diff.patch")).await;
    assert!(patch.contains("-hello\n+hello dear\n world\n"), "{patch}");

    let place = json!({ "path": "greeting.txt", "side": "new", "line": 1 });
    let comment = house
        .post(&format!("{pull}/comments"), json!({ "body": "Too dear", "place": place }))
        .await;
    house
        .post(&format!("{pull}/request-changes"), json!({ "body": "Please", "commit": first.head }))
        .await;
    let (code, _) = house.refused(&format!("{pull}/merge"), json!({})).await;
    assert_eq!(code, "conflict");

    let sent = house.post(&format!("{pull}/follow-up"), json!({ "note": "Be brief." })).await;
    assert_eq!(sent["comments"], 1);
    let second = runner.play(&[("greeting.txt", "hi\nworld\n")]).await;
    assert_eq!(sent["job_id"], second.job_id);
    assert_eq!(second.base, first.head);
    let spec = &second.held.lease.state.spec;
    let windlass_run::spec::Action::Agent(agent) = &spec.steps[0].action else {
        panic!("the first step is an agent's")
    };
    for part in [
        "pull request #1",
        "> Greet more warmly",
        "greeting.txt:1",
        ">    1 | hello dear",
        "> Too dear",
        "> Be brief.",
    ] {
        assert!(
            agent.prompt.as_str().contains(part),
            "`{part}` is not in:\n{}",
            agent.prompt.as_str()
        );
    }

    let found = house.get(pull).await;
    assert_eq!(found["rounds"].as_array().map(Vec::len), Some(2));
    assert_eq!(found["review"], "none");
    assert_eq!(found["comments"][0]["id"], comment["id"]);
    assert_eq!(found["comments"][0]["sent_to"], second.job_id);
    assert_eq!(found["comments"][0]["is_outdated"], true);
    let between = house.text(&format!("{pull}/diff.patch?from_round=1&to_round=2")).await;
    assert!(between.contains("-hello dear\n+hi\n"), "{between}");

    let (code, problem) =
        house.refused(&format!("{pull}/approve"), json!({ "commit": first.head })).await;
    assert_eq!(code, "head-moved", "{problem}");
    house.post(&format!("{pull}/approve"), json!({ "commit": second.head })).await;
    let before = git(&source, &["rev-parse", "main"]);
    let merged = house.post(&format!("{pull}/merge"), json!({ "commit": second.head })).await;
    let found = house.get(pull).await;
    assert_eq!((&found["state"], &found["merge_commit"]), (&json!("merged"), &merged["commit"]));

    // The user's own repository: the work tree and its branch are as they were; the change is there
    // as a branch that can be taken in.
    assert_eq!(git(&source, &["rev-parse", "main"]), before);
    assert_eq!(git(&source, &["status", "--porcelain"]), "");
    let branch = format!("windlass/{job_id}");
    assert_eq!(git(&source, &["rev-parse", &branch]), merged["commit"]);
    git(&source, &["merge", "--quiet", "--ff-only", &branch]);
    assert_eq!(std::fs::read_to_string(source.join("greeting.txt")).expect("read"), "hi\nworld\n");

    // The next task starts from what was merged.
    house.task("shop", "Something else").await;
    let third = runner.play(&[("other.txt", "other\n")]).await;
    assert_eq!(third.base, merged["commit"]);
}

fn titles(commits: &Value) -> Vec<&str> {
    commits
        .as_array()
        .map(|commits| commits.iter().filter_map(|commit| commit["title"].as_str()).collect())
        .unwrap_or_default()
}
