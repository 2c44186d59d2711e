//! Environments that live by themselves, and killed processes: what is half made is never used and never
//! lost sight of.

use std::path::Path;

use windlass_run::{
    EnvironmentId,
    environment::{Seen, Wanted},
};
use windlass_sandbox::Client;

use super::whole::Stage;
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

/// The phases of a start, and what on disk says that one was reached.
fn phases() -> [(&'static str, fn(&Path, &str) -> bool); 6] {
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
async fn reach(stage: &Stage, id: &EnvironmentId, is_reached: fn(&Path, &str) -> bool) {
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
