//! Environments that live by themselves, and killed processes: what is half made is never used and never
//! lost sight of.

use std::path::Path;

use windlass_run::{
    EnvironmentId,
    environment::{Seen, Wanted},
    job::start::Basis,
};
use windlass_sandbox::Client;

use super::{whole::Stage, world::run_step};
use crate::{Options, Runner};

/// Set-up that takes a moment and fails where it finds the half of itself.
const DEFINITION: &str = r#"{
    "onCreateCommand": "test ! -e ~/half && touch ~/half && sleep 0.3 && touch ~/all",
    "postCreateCommand": "test -e ~/all && cat sum.sh && echo work > made-inside"
}"#;

async fn stage() -> Stage {
    Stage::with(&[(".devcontainer.json", DEFINITION)]).await
}

fn options(stage: &Stage) -> Options {
    let mut options = stage.options();
    options.environments = 32;
    options
}

/// Whether a phase was reached, by what lies in the runner's folder, for the environment of an id.
type IsReached = fn(&Path, &str) -> bool;

/// The phases of a start.
fn phases() -> [(&'static str, IsReached); 6] {
    [
        ("mirror", |state, _| state.join("mirrors").exists()),
        ("folder", |state, id| state.join("kept").join(id).exists()),
        ("check-out", |state, id| state.join("kept").join(id).join("tree").exists()),
        ("whole", |state, id| state.join("kept").join(id).join("whole").exists()),
        ("environment", |state, id| state.join("environments/environments").join(id).exists()),
        ("set-up", |state, id| {
            state.join("environments/environments").join(id).join("home/half").exists()
        }),
    ]
}

/// Waits until the phase was reached, or is over before anybody saw it.
async fn reach(stage: &Stage, id: &EnvironmentId, is_reached: IsReached) {
    let is_over = || stage.world().seen(id).is_some_and(|seen| seen.seen == Seen::Running);
    while !is_reached(&stage.state(), id.as_str()) && !is_over() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// It runs, its set-up was done once and whole, and its work comes out when it stops.
async fn is_sound(stage: &Stage, id: &EnvironmentId, phase: &str) {
    let seen = stage.world().settled(id).await;
    let log = stage.state().join("kept").join(id.as_str()).join("start.log");
    let log = || std::fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(seen, Seen::Running, "{phase}: {}", log());
    let home = stage.state().join("environments/environments").join(id.as_str()).join("home");
    assert!(home.join("all").exists(), "{phase}");
    let tree = stage.state().join("kept").join(id.as_str()).join("tree");
    let sum = std::fs::read_to_string(tree.join("sum.sh")).expect("checked out");
    assert_eq!(sum, "echo $(($1 - $2))\n", "{phase}");
    stage.world().want(id, Wanted::Stopped);
    assert_eq!(stage.world().settled(id).await, Seen::Stopped, "{phase}");
    let looked = stage.world().seen(id).and_then(|seen| seen.looked).expect("it was looked at");
    assert_eq!(looked.unpushed.map(|unpushed| unpushed.files), Some(1), "{phase}");
    assert!(stage.world().work_of(id).starts_with(b"# v2 git bundle"), "{phase}");
    stage.world().want(id, Wanted::Gone);
    assert_eq!(stage.world().settled(id).await, Seen::Gone, "{phase}");
    assert!(!stage.state().join("kept").join(id.as_str()).exists(), "{phase}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_killed_at_each_phase_of_a_kept_environment_finds_it_and_makes_it_whole() {
    let stage = stage().await;
    let mut all = Vec::new();
    for (phase, is_reached) in phases() {
        let id = stage.world().keep(&format!("at-{phase}"));
        all.push((id.clone(), phase));
        let mut process = stage.process();
        reach(&stage, &id, is_reached).await;
        process.kill().expect("killed");
        process.wait().expect("waited for");
    }
    let runner = Runner::start(options(&stage)).await.expect("a runner");
    for (id, phase) in &all {
        is_sound(&stage, id, phase).await;
    }
    runner.stop(std::time::Duration::from_secs(30)).await;
    stage.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_killed_at_each_phase_of_a_kept_environment_costs_it_nothing_but_time() {
    let stage = stage().await;
    let runner = Runner::start(options(&stage)).await.expect("a runner");
    for (phase, is_reached) in phases() {
        let id = stage.world().keep(&format!("at-{phase}"));
        reach(&stage, &id, is_reached).await;
        kill_supervisor(&stage);
        is_sound(&stage, &id, phase).await;
    }
    // And while it runs.
    let id = stage.world().keep("while-it-runs");
    assert_eq!(stage.world().settled(&id).await, Seen::Running);
    kill_supervisor(&stage);
    // A look is what finds it; asking for a stop and a start brings it about at once.
    stage.world().want(&id, Wanted::Stopped);
    assert_eq!(stage.world().settled(&id).await, Seen::Stopped);
    stage.world().want(&id, Wanted::Running);
    is_sound(&stage, &id, "running").await;
    runner.stop(std::time::Duration::from_secs(30)).await;
    stage.nothing_is_left();
}

/// Ends the supervisor as a fault would, if there is one.
pub(super) fn kill_supervisor(stage: &Stage) {
    let Ok(client) = Client::connect(&stage.state().join("environments")) else { return };
    let pid = i32::try_from(client.supervisor_pid()).expect("a process id");
    let killed = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(killed.expect("kill can be started").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_definition_fails_comes_up_without_it_to_be_repaired() {
    for (broken, why) in [
        (r#"{ "postCreateCommand": "echo no such package; exit 3" }"#, "exited with 3"),
        (r#"{ "postCreateCommand": "#, "is refused"),
    ] {
        let stage = Stage::with(&[(".devcontainer.json", broken)]).await;
        let runner = Runner::start(options(&stage)).await.expect("a runner");
        let id = stage.world().keep("broken");
        let recovers = async || {
            let Seen::Recovery { reason } = stage.world().settled(&id).await else {
                panic!("{:?}", stage.world().seen(&id));
            };
            assert!(reason.contains(why), "{reason}");
        };
        recovers().await;
        let home = stage.state().join("environments/environments").join(id.as_str()).join("home");
        let log = std::fs::read_to_string(home.join("start.log")).expect("the log is at hand");
        assert!(log.contains(why) && log.contains("can be repaired"), "{log}");
        // A runner that was started anew finds it as it was.
        runner.stop(std::time::Duration::from_secs(30)).await;
        let runner = Runner::start(options(&stage)).await.expect("a runner");
        recovers().await;
        // Repaired in its own work tree, it starts as it should.
        stage.world().want(&id, Wanted::Stopped);
        assert_eq!(stage.world().settled(&id).await, Seen::Stopped);
        let tree = stage.state().join("kept").join(id.as_str()).join("tree");
        std::fs::write(tree.join(".devcontainer.json"), DEFINITION).expect("written");
        stage.world().want(&id, Wanted::Running);
        assert_eq!(stage.world().settled(&id).await, Seen::Running);
        runner.stop(std::time::Duration::from_secs(30)).await;
        stage.nothing_is_left();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_begins_with_the_work_tree_as_it_is_and_shares_nothing_with_it() {
    let stage = Stage::new().await;
    let runner = Runner::start(options(&stage)).await.expect("a runner");
    let tree = |id: &EnvironmentId| stage.state().join("kept").join(id.as_str()).join("tree");
    let first = stage.world().keep("first");
    assert_eq!(stage.world().settled(&first).await, Seen::Running);
    std::fs::write(tree(&first).join("sum.sh"), "echo 5\n").expect("written");
    std::fs::write(tree(&first).join("new"), "new\n").expect("written");
    std::os::unix::fs::symlink("/etc/passwd", tree(&first).join("link")).expect("linked");
    // What is new at the origin is none of the fork's business.
    stage.commit("AGENTS.md", "Other words.\n");
    let fork = stage.world().keep_fork("fork", Some(first.clone()));
    assert_eq!(stage.world().settled(&fork).await, Seen::Running);
    let read = |id: &EnvironmentId, name: &str| std::fs::read_to_string(tree(id).join(name)).ok();
    assert_eq!(read(&fork, "sum.sh").as_deref(), Some("echo 5\n"));
    assert_eq!(read(&fork, "AGENTS.md").as_deref(), Some("Add, never subtract.\n"));
    let link = tree(&fork).join("link").read_link().expect("a link");
    assert_eq!(link, Path::new("/etc/passwd"));
    std::fs::write(tree(&fork).join("new"), "other\n").expect("written");
    assert_eq!(read(&first, "new").as_deref(), Some("new\n"));
    // Its work is the same difference to the same commit.
    for id in [&first, &fork] {
        stage.world().want(id, Wanted::Stopped);
        assert_eq!(stage.world().settled(id).await, Seen::Stopped);
        let looked = stage.world().seen(id).and_then(|seen| seen.looked).expect("it was looked at");
        assert_eq!(looked.unpushed.map(|unpushed| unpushed.files), Some(3));
    }
    // One whose origin is gone says so.
    stage.world().want(&first, Wanted::Gone);
    assert_eq!(stage.world().settled(&first).await, Seen::Gone);
    let late = stage.world().keep_fork("late", Some(first));
    let Seen::Failed { reason } = stage.world().settled(&late).await else { panic!("it runs") };
    assert!(reason.contains("forked from has no work tree"), "{reason}");
    runner.stop(std::time::Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_begins_with_what_was_prepared_before_and_goes_on_with_its_own() {
    let definition = r#"{ "onCreateCommand": "echo made >> ~/cache && echo made >> built",
        "postCreateCommand": "git log --format=%s; git fsck --no-dangling; git status --porcelain; cat ~/cache built" }"#;
    let files = [(".devcontainer.json", definition), (".gitignore", "built\n")];
    let stage = Stage::with(&files).await;
    let runner = Runner::start(options(&stage)).await.expect("a runner");
    let job_id = stage.world().add(vec![run_step("look", "true")]);
    let end = stage.world().ended(&job_id).await;
    assert_eq!(end.code, "done", "{}", end.reason);
    let id = stage.world().keep("quick");
    let start = async || {
        assert_eq!(stage.world().settled(&id).await, Seen::Running);
        let start = stage.world().seen(&id).and_then(|seen| seen.start).expect("it was told");
        let log: Vec<String> = start.log.lines().map(str::to_owned).collect();
        let said = log.into_iter().filter(|line| !line.starts_with("[windlass:"));
        (start.from, said.collect::<Vec<_>>(), start.stages)
    };
    let (from, said, stages) = start().await;
    assert_eq!(from, Some(Basis::Snapshot));
    assert_eq!(said, ["A sum", "made", "made"]);
    let names: Vec<&str> = stages.iter().map(|(name, _)| name.as_str()).collect();
    let expected =
        ["repository", "prepared tree", "definition", "environment", "work tree", "preparation"];
    assert_eq!(names, expected);
    // Stopped and started, it has its own tree: what a start does, it does again.
    stage.world().want(&id, Wanted::Stopped);
    assert_eq!(stage.world().settled(&id).await, Seen::Stopped);
    stage.commit("AGENTS.md", "Other words.\n");
    stage.world().want(&id, Wanted::Running);
    let (from, said, _) = start().await;
    assert_eq!((from, said), (None, ["A sum", "made", "made", "made"].map(str::to_owned).to_vec()));
    // A fork of it borrows as it does.
    let fork = stage.world().keep_fork("fork", Some(id.clone()));
    assert_eq!(stage.world().settled(&fork).await, Seen::Running);
    // One of another commit goes on from the mirror, and leaves a snapshot for the next.
    let other = stage.world().keep("other");
    assert_eq!(stage.world().settled(&other).await, Seen::Running);
    let next = stage.world().keep("next");
    assert_eq!(stage.world().settled(&next).await, Seen::Running);
    let from = |id| stage.world().seen(id).and_then(|seen| seen.start).and_then(|start| start.from);
    assert_eq!(
        [&fork, &other, &next].map(from),
        [None, Some(Basis::Mirror), Some(Basis::Snapshot)]
    );
    runner.stop(std::time::Duration::from_secs(30)).await;
    stage.nothing_is_left();
}
