//! The runner protocol: every call is safe to repeat, and whoever has lost the lease is told so.

use reqwest::{Method, StatusCode};
use serde_json::json;
use windlass_run::{
    StepId, Time,
    job::{Report, StepResult},
};
use windlass_wire::runner::{
    Content, JobStatus, NumberedReport, Piece, PieceAnswer, Register, StreamAnswer, StreamRequest,
};

use super::{
    house::{House, problem},
    scripted_runner::{Held, Runner, gave_up},
};

fn agent() -> StepId {
    StepId::parse("agent").expect("a step")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_runner_gets_a_job_as_soon_as_there_is_one() {
    let house = House::new().await;
    house.project("shop").await;
    let runner = Runner::register(&house).await;
    assert!(runner.lease_within(0).await.is_empty());
    let (leases, _) = tokio::join!(runner.lease_within(30_000), house.task("shop", "Do something"));
    assert_eq!(leases.len(), 1);
    let repository = leases[0].repository.as_ref().expect("a repository");
    assert_eq!(repository.url, format!("{}/git/shop.git", house.url));
    assert_eq!(repository.branches, [format!("windlass/{}", leases[0].job_id)]);
    assert!(!format!("{:?}", leases[0]).contains(&repository.credential));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_that_come_again_change_nothing_and_gaps_are_told() {
    let house = House::new().await;
    house.project("shop").await;
    let runner = Runner::register(&house).await;
    let (_, job_id) = house.task("shop", "Do something").await;
    let held = runner.lease().await;
    let report = |seq, report| NumberedReport { seq, at: Time::from_micros(1), report };
    let started = report(1, Report::StepStarted { step_id: agent() });
    let first = runner.send(&held, vec![started.clone()]).await;
    let again = runner.send(&held, vec![started]).await;
    assert_eq!((first.accepted, again.accepted), (1, 1));
    let ended = Report::StepEnded { step_id: agent(), result: StepResult::succeeded(None) };
    let gap = runner.send(&held, vec![report(3, ended)]).await;
    assert_eq!((gap.accepted, gap.status), (1, JobStatus::Held));
    assert!(gap.refused.expect("refused").contains("missing"));
    let events = house.get(&format!("/api/v1/jobs/{job_id}/events")).await;
    let started = events["items"]
        .as_array()
        .expect("events")
        .iter()
        .filter(|event| event["event"]["event"] == "step_started")
        .count();
    assert_eq!(started, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_under_a_stale_epoch_has_lost_the_job() {
    let house = House::new().await;
    house.project("shop").await;
    let runner = Runner::register(&house).await;
    house.task("shop", "Do something").await;
    let held = runner.lease().await;
    let mut stale = Held { lease: held.lease.clone(), last: 0 };
    stale.lease.epoch = 0;
    let answer = runner.report(&mut stale, vec![Report::StepStarted { step_id: agent() }]).await;
    assert_eq!(answer.status, JobStatus::Lost);
    let path = format!("/api/v1/runner/jobs/{}/diffs/agent?epoch=0", held.lease.job_id);
    let request = house.request_as(&runner.token, Method::PUT, &path).body("diff");
    assert_eq!(problem(request.send().await.expect("answered")).await.0, "lease-lost");
    let stranger = Runner::register(&house).await;
    let mut theirs = Held { lease: held.lease.clone(), last: 0 };
    let answer = stranger.report(&mut theirs, vec![gave_up()]).await;
    assert_eq!(answer.status, JobStatus::Lost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_and_diffs_are_kept_and_given_back() {
    let house = House::new().await;
    house.project("shop").await;
    let runner = Runner::register(&house).await;
    let (_, job_id) = house.task("shop", "Do something").await;
    let mut held = runner.lease().await;
    runner.report(&mut held, vec![Report::StepStarted { step_id: agent() }]).await;
    let epoch = held.lease.epoch;
    let base = format!("/api/v1/runner/jobs/{job_id}");
    let commit = "1".repeat(40);
    let checkpoint = format!("{base}/checkpoints/agent?epoch={epoch}&commit={commit}");
    let put = |path: &str, body: &'static str| {
        house.request_as(&runner.token, Method::PUT, path).body(body).send()
    };
    assert_eq!(put(&checkpoint, "bundle").await.expect("answered").status(), 204);
    assert_eq!(put(&checkpoint, "bundle").await.expect("answered").status(), 204);
    let diff = format!("{base}/diffs/agent?epoch={epoch}");
    assert_eq!(put(&diff, "--- a\n+++ b\n").await.expect("answered").status(), 204);
    let got = house.request_as(&runner.token, Method::GET, &checkpoint).send().await;
    assert_eq!(got.expect("answered").text().await.expect("text"), "bundle");
    assert_eq!(house.text(&format!("/api/v1/jobs/{job_id}/diff")).await, "--- a\n+++ b\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_only_grow_and_what_is_there_is_skipped() {
    let house = House::new().await;
    house.project("shop").await;
    let runner = Runner::register(&house).await;
    let (_, job_id) = house.task("shop", "Do something").await;
    let mut held = runner.lease().await;
    runner.report(&mut held, vec![Report::StepStarted { step_id: agent() }]).await;
    let piece = |offset, base64: &str| Piece {
        job_id: held.lease.job_id.clone(),
        epoch: held.lease.epoch,
        step_id: agent(),
        attempt: 1,
        content: Content::Log { offset, base64: base64.to_owned() },
    };
    let send = async |pieces| -> Vec<PieceAnswer> {
        let request = StreamRequest { runner_id: runner.id.clone(), pieces };
        let answer: StreamAnswer =
            serde_json::from_value(runner.post("streams", &request).await).expect("an answer");
        answer.pieces
    };
    let have = |length| PieceAnswer::Have { length };
    assert_eq!(send(vec![piece(0, "aGVsbG8=")]).await, [have(5)]);
    assert_eq!(send(vec![piece(0, "aGVsbG8=")]).await, [have(5)]);
    assert_eq!(send(vec![piece(3, "bG8gd29ybGQ=")]).await, [have(11)]);
    assert_eq!(send(vec![piece(99, "eA==")]).await, [have(11)]);
    let log = format!("/api/v1/jobs/{job_id}/steps/agent/log");
    assert_eq!(house.text(&log).await, "hello world");
    let range = house.request(Method::GET, &log).header("range", "bytes=6-8").send().await;
    let range = range.expect("answered");
    assert_eq!(range.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(range.headers()["content-range"], "bytes 6-8/11");
    assert_eq!(range.text().await.expect("text"), "wor");
    let bad = json!({ "runner_id": runner.id, "pieces": [{
        "job_id": job_id, "epoch": 1, "step_id": "agent", "attempt": 1,
        "content": { "stream": "log", "offset": 0, "base64": "!" } }] });
    let request = house.request_as(&runner.token, Method::POST, "/api/v1/runner/streams");
    let response = request.json(&bad).send().await.expect("answered");
    let (code, problem) = problem(response).await;
    assert_eq!((code.as_str(), &problem["place"]), ("bad-request", &json!("pieces[0]")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_of_another_protocol_is_told_what_to_do() {
    let house = House::new().await;
    let token = house.token(windlass_wire::api::account::Role::Runner).await;
    let register = Register {
        name: "old".to_owned(),
        protocol: 99,
        version: "0".to_owned(),
        previous: None,
        capacity: 1,
        environments: 0,
        labels: Default::default(),
    };
    let request = house.request_as(&token, Method::POST, "/api/v1/runner/register");
    let response = request.json(&register).send().await.expect("answered");
    let (code, problem) = problem(response).await;
    assert_eq!(code, "protocol-mismatch");
    assert!(problem["detail"].as_str().expect("detail").contains("same release"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_job_says_so_to_its_runner_and_ends_with_the_reason() {
    let house = House::new().await;
    house.project("shop").await;
    let runner = Runner::register(&house).await;
    let (run_id, job_id) = house.task("shop", "Do something").await;
    let mut held = runner.lease().await;
    house.post(&format!("/api/v1/runs/{run_id}/cancel"), json!({ "reason": "enough" })).await;
    let answer = runner.report(&mut held, vec![]).await;
    assert_eq!(answer.cancel.expect("a request to stop").reason, "enough");
    let ended = Report::Ended(windlass_run::job::End {
        outcome: windlass_run::job::Outcome::Cancelled,
        code: "cancelled".to_owned(),
        reason: "enough".to_owned(),
        give_up: None,
    });
    assert_eq!(runner.report(&mut held, vec![ended]).await.status, JobStatus::Ended);
    let job = house.get(&format!("/api/v1/jobs/{job_id}")).await;
    assert_eq!((&job["state"], &job["end"]["reason"]), (&json!("cancelled"), &json!("enough")));
    let (code, _) = house.refused(&format!("/api/v1/jobs/{job_id}/cancel"), json!({})).await;
    assert_eq!(code, "job-ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_gave_up_leaves_a_report_that_a_person_can_act_on() {
    let house = House::new().await;
    house.project("shop").await;
    let runner = Runner::register(&house).await;
    let (_, job_id) = house.task("shop", "Do the impossible").await;
    let mut held = runner.lease().await;
    runner.report(&mut held, vec![gave_up()]).await;
    let job = house.get(&format!("/api/v1/jobs/{job_id}")).await;
    assert_eq!(job["end"]["give_up"]["would_unblock"], "a miracle");
    assert_eq!(job["state"], "gave_up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_that_a_crash_cut_off_happens_once() {
    use windlass_run::{Duration, effect::Request};
    use windlass_store::work::{Executor, GrantAnswer};
    let mut house = House::new().await;
    house.project("shop").await;
    let runner = Runner::register(&house).await;
    house.task("shop", "Do something").await;
    let mut held = runner.lease().await;
    let folder = tempfile::tempdir().expect("tempdir");
    let (tree, base) = runner.clone(&held, folder.path());
    std::fs::write(tree.join("new.txt"), "new\n").expect("written");
    let head = super::house::commit(&tree, "Work");
    let result = StepResult::succeeded(Some(head.clone()));
    let step_id = StepId::parse("pull_request").expect("a step");
    runner
        .report(
            &mut held,
            vec![
                Report::Base { commit: base },
                Report::StepStarted { step_id: agent() },
                Report::StepEnded { step_id: agent(), result },
                Report::StepStarted { step_id: step_id.clone() },
            ],
        )
        .await;
    let lease = &held.lease;
    let branch = lease.repository.as_ref().expect("a repository").branches[0].clone();
    super::house::git(&tree, &["push", "--quiet", "origin", &format!("HEAD:refs/heads/{branch}")]);
    let (runner_id, last) = (runner.id.clone(), held.last);
    drop(runner);

    // The server is gone when the effect is staged; a grant of its past self has run out.
    house.handle.take().expect("running").stop().await;
    let now = windlass_server::clock::system()();
    let key = super::scripted_runner::key(&lease.job_id, &step_id, "pull_request", &head);
    let request = Request::PullRequest {
        base: "main".to_owned(),
        head: branch,
        commit: head.clone(),
        title: "Once".to_owned(),
        body: String::new(),
        draft: false,
    };
    let staged = Report::EffectStaged { step_id, key: key.clone(), request };
    let report = windlass_store::work::NumberedReport { seq: last + 1, at: now, report: staged };
    let reports = windlass_store::work::JobReports {
        job_id: lease.job_id.clone(),
        epoch: lease.epoch,
        reports: vec![report],
        release: None,
    };
    let ttl = Duration::from_secs(30);
    house.store.report(runner_id, vec![reports], ttl, now).await.expect("kept");
    let past = Executor::Server { name: "past".to_owned() };
    let moment = Duration::from_micros(1);
    let granted =
        house.store.grant(past, lease.job_id.clone(), key.clone(), moment, false, now).await;
    assert!(matches!(granted, Ok(GrantAnswer::Effect(_))), "{granted:?}");

    let handle = super::house::start(&house.store, house.folder.path()).await;
    house.url = handle.url().to_owned();
    house.handle = Some(handle);
    house
        .wait_for(lease.job_id.as_str(), |event| {
            event["event"] == "effect_changed" && event["state"]["state"] == "done"
        })
        .await;
    let pulls = house.get("/api/v1/pull-requests").await;
    let titles: Vec<_> = pulls["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|pull| (pull["title"].clone(), pull["head_commit"].clone()))
        .collect();
    assert_eq!(titles, [(json!("Once"), json!(head))]);
}
