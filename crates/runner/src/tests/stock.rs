//! What is kept ready, seen by jobs: prepared trees that no agent can spoil, snapshots of what set-up
//! made, environments that were started ahead.

use std::{path::Path, time::Duration};

use windlass_run::{
    JobId, StepId,
    job::{
        Outcome,
        start::{Basis, Missed},
    },
};
use windlass_wire::runner as wire;

use super::{whole::Stage, world::run_step};
use crate::Runner;

/// Runs a job of these commands, one step each, and answers the whole logs.
async fn job(stage: &Stage, commands: &[&str]) -> (JobId, Vec<String>) {
    let names: Vec<String> = (0..commands.len()).map(|n| format!("s{n}")).collect();
    let steps = names.iter().zip(commands).map(|(name, command)| run_step(name, command)).collect();
    let job_id = stage.world().add(steps);
    let end = stage.world().ended(&job_id).await;
    let logs = names.iter().map(|name| stage.world().whole_log(&job_id, name, 1)).collect();
    assert_eq!(end.outcome, Outcome::Succeeded, "{} {logs:?}", end.reason);
    (job_id, logs)
}

fn without_pool(stage: &Stage) -> crate::Options {
    let mut options = stage.options();
    options.stock.pool.max = 0;
    options
}

async fn stop(stage: &Stage, runner: Runner) {
    runner.stop(Duration::from_secs(30)).await;
    stage.nothing_is_left();
}

/// Everything that is kept ready, as one text to look in.
fn kept(stage: &Stage) -> Vec<u8> {
    fn read(folder: &Path, into: &mut Vec<u8>) {
        for entry in std::fs::read_dir(folder).expect("readable").flatten() {
            let kind = entry.file_type().expect("it has one");
            into.extend_from_slice(entry.file_name().as_encoded_bytes());
            into.push(b'\n');
            if kind.is_dir() {
                read(&entry.path(), into);
            } else if kind.is_file() {
                into.extend(std::fs::read(entry.path()).expect("readable"));
            }
        }
    }
    let mut all = Vec::new();
    read(&stage.state().join("prepared"), &mut all);
    all
}

fn has(all: &[u8], what: &str) -> bool {
    all.windows(what.len()).any(|part| part == what.as_bytes())
}

#[tokio::test]
async fn nothing_that_a_step_does_reaches_the_prepared_tree_or_the_mirror() {
    let stage = Stage::new().await;
    let runner = Runner::start(without_pool(&stage)).await.expect("a runner");
    let attack = "
        echo spoiled > sum.sh
        find . -type f ! -path './.git/objects/*' -exec sh -c 'echo spoiled >> \"$1\"' _ {} \\; || true
        chmod -R a+rwx . || true
        rm -rf .git/refs; echo '[core] fsmonitor = touch /tmp/ran' > .git/config
        for file in $(find /opt/windlass/objects -type f); do
            echo spoiled >> $file && exit 7
            ln $file ./linked && exit 8
            chmod u+w $file && exit 9
        done 2> /dev/null
        touch /opt/windlass/objects/new 2> /dev/null && exit 10
        mount --bind . /opt/windlass/objects 2> /dev/null && exit 11
        true";
    let before = ["echo x >> AGENTS.md; echo new > new", attack];
    job(&stage, &before).await;
    let look = "git status --porcelain; git log --format=%s; sh sum.sh 2 3; cat AGENTS.md; git fsck --no-dangling; git config core.fsmonitor || echo none";
    let (job_id, logs) = job(&stage, &[look]).await;
    let lines: Vec<&str> = logs[0].lines().filter(|line| !line.starts_with("[windlass:")).collect();
    assert_eq!(lines, ["A sum", "-1", "Add, never subtract.", "none"], "{}", logs[0]);
    assert!(logs[0].contains("not from the pool (prepared tree "), "{}", logs[0]);
    let starts = stage.world().state(&job_id).starts;
    let seen: Vec<_> = starts.iter().map(|start| (start.from, start.missed)).collect();
    assert_eq!(seen, [(Basis::Tree, Some(Missed::Off))]);
    assert!(!has(&kept(&stage), "spoiled"));
    stop(&stage, runner).await;
}

#[tokio::test]
async fn an_environment_that_was_started_ahead_is_claimed_and_is_as_good_as_a_new_one() {
    let stage = Stage::new().await;
    let runner = Runner::start(stage.options()).await.expect("a runner");
    let work = ["git status --porcelain; sh sum.sh 2 3; echo 6 > six; pwd; ls ~", "cat six"];
    let clean = |log: &str| -> Vec<String> {
        log.lines().filter(|line| !line.starts_with("[windlass:")).map(str::to_owned).collect()
    };
    let (_, first) = job(&stage, &work).await;
    assert!(first[0].contains(" ms, not from the pool (check-out "), "{}", first[0]);
    // The pool is filled beside the work; which start is the first to find it is not ours to say.
    let mut claimed = 0;
    for _ in 0..20 {
        let (job_id, logs) = job(&stage, &work).await;
        assert_eq!(clean(&logs[0]), ["-1", "/workspace/sums"]);
        assert_eq!(clean(&logs[1]), ["6"]);
        // The snapshot of a step sees what changed, and only that.
        let patch = stage.world().upload(&job_id, "diffs/s0").expect("a patch");
        let patch = String::from_utf8_lossy(&patch).into_owned();
        assert_eq!(patch.matches("diff --git").count(), 1, "{patch}");
        let state = stage.world().state(&job_id);
        let [start] = &state.starts[..] else { panic!("{:?}", state.starts) };
        let names: Vec<&str> = start.stages.iter().map(|(name, _)| name.as_str()).collect();
        let (first, last) = (names.first().copied(), names.last().copied());
        assert_eq!((first, last), (Some("repository"), Some("set-up")), "{names:?}");
        if logs[0].contains(" ms, from the pool (") {
            assert_eq!((start.from, start.missed), (Basis::Pool, None));
            let most = start.pool.expect("it is known by now").most;
            assert_eq!(most, 4);
            claimed += 1;
            if claimed == 2 {
                break;
            }
        }
    }
    assert_eq!(claimed, 2);
    stop(&stage, runner).await;
}

#[tokio::test]
async fn a_prebuild_is_done_once_and_kept_without_any_secret() {
    let definition = r#"{ "onCreateCommand": "echo made >> built && echo made >> ~/cache && ln -s /etc/hostname ~/link",
        "updateContentCommand": "echo changed > sum.sh", "postCreateCommand": "echo claimed >> ~/cache" }"#;
    let stage = Stage::with(&[(".devcontainer.json", definition), (".gitignore", "built\n")]).await;
    let secret = wire::Secret {
        name: "TOKEN".to_owned(),
        value: "hunter2hunter2".to_owned(),
        is_secret: true,
        file: None,
        door: None,
        registry: None,
        steps: vec![StepId::parse("s0").expect("a name")],
        in_setup: false,
    };
    stage.world().give(vec![vec![secret]]);
    let runner = Runner::start(without_pool(&stage)).await.expect("a runner");
    let look = "cat built ~/cache; readlink ~/link; git status --porcelain; echo $TOKEN >> ~/cache; echo $TOKEN > t";
    let seen = ["made", "made", "claimed", "/etc/hostname", " M sum.sh"];
    let lines = |log: &str| -> Vec<String> {
        log.lines().filter(|line| !line.starts_with("[windlass:")).map(str::to_owned).collect()
    };
    let (job_id, first) = job(&stage, &[look]).await;
    assert_eq!(lines(&first[0]), seen, "{}", first[0]);
    assert!(first[0].contains("[windlass: environment: onCreateCommand"), "{}", first[0]);
    assert!(first[0].contains("a snapshot is kept for the next start"), "{}", first[0]);
    let patch_of = |job_id: &JobId| {
        let patch = stage.world().upload(job_id, "diffs/s0").expect("a patch");
        String::from_utf8_lossy(&patch).into_owned()
    };
    let patch = patch_of(&job_id);
    assert!(patch.contains("+changed"), "{patch}");
    let all = kept(&stage);
    assert!(has(&all, "built") && has(&all, "made") && !has(&all, "hunter2"));
    let (job_id, second) = job(&stage, &[look]).await;
    assert_eq!(lines(&second[0]), seen, "{}", second[0]);
    assert!(second[0].contains("not from the pool, with its prebuild ("), "{}", second[0]);
    assert!(!second[0].contains("onCreateCommand"), "{}", second[0]);
    // What the prebuild changed in the tree is part of the work, also when it was done before.
    assert_eq!(patch_of(&job_id), patch);
    // Another commit does its own prebuild, on nothing of the last one: not every command bears that.
    stage.commit("sum.sh", "echo other\n");
    let (_, third) = job(&stage, &["cat built ~/cache"]).await;
    assert_eq!(lines(&third[0]), ["made", "made", "claimed"], "{}", third[0]);
    assert!(!has(&kept(&stage), "hunter2"));
    stop(&stage, runner).await;
}

#[tokio::test]
async fn content_is_updated_on_the_home_folder_of_the_last_prebuild_of_the_branch() {
    let definition = r#"{ "updateContentCommand": "echo made >> ~/cache" }"#;
    let stage = Stage::with(&[(".devcontainer.json", definition)]).await;
    let runner = Runner::start(without_pool(&stage)).await.expect("a runner");
    let look = ["cat ~/cache; rm ~/cache"];
    for (commit, times) in [(false, 1), (false, 1), (true, 2), (true, 3)] {
        if commit {
            stage.commit("sum.sh", format!("echo {times}\n"));
        }
        let (_, logs) = job(&stage, &look).await;
        assert_eq!(logs[0].matches("\nmade").count(), times, "{}", logs[0]);
    }
    stop(&stage, runner).await;
}

#[tokio::test]
async fn a_runner_that_is_killed_leaves_nothing_half_made_that_is_used() {
    let stage = Stage::new().await;
    let state = stage.state();
    let runner = Runner::start(stage.options()).await.expect("a runner");
    job(&stage, &["true"]).await;
    runner.stop(Duration::from_secs(30)).await;
    // As a kill leaves them at each point of their making.
    let tree = state.join("trees/ahead-1");
    let making = state.join("prepared/making-1");
    let mirror = state.join("mirrors/other.git.making");
    for folder in [&tree, &making, &mirror] {
        std::fs::create_dir_all(folder.join("tree")).expect("made");
        std::fs::write(folder.join("tree/half"), "half").expect("written");
    }
    let runner = Runner::start(stage.options()).await.expect("a runner");
    assert!(!tree.exists() && !making.exists() && !mirror.exists());
    let (_, logs) = job(&stage, &["sh sum.sh 2 3"]).await;
    assert!(logs[0].contains("(prepared tree "), "found again: {}", logs[0]);
    stop(&stage, runner).await;
}

/// Whether there is a folder with such a name.
fn is_there(folder: &Path, beginning: &str) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_killed_at_each_phase_of_a_start_leaves_nothing_half_made() {
    killed_at_each_phase(Killed::Runner).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_killed_at_each_phase_of_a_start_leaves_nothing_half_made() {
    killed_at_each_phase(Killed::Supervisor).await;
}

#[derive(Clone, Copy, PartialEq)]
enum Killed {
    Runner,
    Supervisor,
}

async fn killed_at_each_phase(killed: Killed) {
    let definition = r#"{ "onCreateCommand": "mkdir ~/all && for n in $(seq 200); do echo $n > ~/all/$n; done" }"#;
    let stage = Stage::with(&[(".devcontainer.json", definition)]).await;
    let state = stage.state();
    let (prepared, trees, mirrors) =
        (state.join("prepared"), state.join("trees"), state.join("mirrors"));
    let snapshot_begins = || {
        let making = std::fs::read_dir(&prepared).into_iter().flatten().flatten();
        making.into_iter().any(|entry| {
            entry.file_name().to_string_lossy().starts_with("making-")
                && entry.path().join("home").exists()
        })
    };
    let home_begins = || {
        let homes = std::fs::read_dir(state.join("environments/environments")).into_iter();
        homes.flatten().flatten().any(|entry| entry.path().join("home/all").exists())
    };
    let pack_begins = || {
        let all = std::fs::read_dir(&mirrors).into_iter().flatten().flatten();
        all.into_iter().any(|entry| is_there(&entry.path().join("objects/pack"), "tmp_"))
    };
    let phases: [(&str, &dyn Fn() -> bool); 7] = [
        ("mirror", &|| is_there(&mirrors, "")),
        ("refresh", &pack_begins),
        ("check-out", &|| is_there(&prepared, "making-")),
        ("copy", &|| is_there(&trees, "")),
        ("prebuild", &home_begins),
        ("snapshot", &snapshot_begins),
        ("ahead", &|| is_there(&trees, "ahead-")),
    ];
    let steady = match killed {
        Killed::Runner => None,
        Killed::Supervisor => Some(Runner::start(stage.options()).await.expect("a runner")),
    };
    let mut jobs = Vec::new();
    for (phase, is_reached) in phases {
        if phase == "refresh" {
            // So much that receiving it takes a moment, and nothing of it can be packed.
            let mut noise = 1_u64;
            let next = || {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                noise.to_le_bytes()
            };
            let large: Vec<u8> = std::iter::repeat_with(next).take(1 << 20).flatten().collect();
            stage.commit("large", large);
        }
        stage.commit("sum.sh", format!("echo {phase}\n"));
        let job_id = stage.world().add(vec![run_step("s0", "ls ~/all | wc -l; sh sum.sh")]);
        jobs.push((job_id.clone(), phase));
        let mut process = (killed == Killed::Runner).then(|| stage.process());
        // A phase can be over before it is seen; then the kill comes later.
        while !is_reached() && !stage.world().has_ended(&job_id) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        match &mut process {
            Some(process) => {
                process.kill().expect("killed");
                process.wait().expect("waited for");
            }
            None => {
                super::kept::kill_supervisor(&stage);
                stage.world().ended(&job_id).await;
            }
        }
    }
    let runner = match steady {
        Some(runner) => runner,
        None => Runner::start(stage.options()).await.expect("a runner"),
    };
    for (job_id, phase) in &jobs {
        let end = stage.world().ended(job_id).await;
        assert_eq!(end.outcome, Outcome::Succeeded, "{phase}: {}", end.reason);
    }
    // Twice: what was kept before, during and after the kills is whole.
    for _ in 0..2 {
        let (_, logs) =
            job(&stage, &["ls ~/all | wc -l; cat ~/all/200; sh sum.sh; git status --porcelain"])
                .await;
        assert!(logs[0].contains("\n200\n200\nahead\n"), "{}", logs[0]);
    }
    stop(&stage, runner).await;
    for beginning in ["making-", "trash-"] {
        assert!(!is_there(&prepared, beginning));
    }
}

#[tokio::test]
async fn a_full_store_makes_room_and_jobs_go_on() {
    let stage = Stage::new().await;
    let mut options = without_pool(&stage);
    options.stock.bytes = 0;
    let runner = Runner::start(options).await.expect("a runner");
    for n in 0..3 {
        stage.commit("sum.sh", format!("echo {n}\n"));
        let (_, logs) = job(&stage, &["sh sum.sh"]).await;
        assert!(logs[0].contains("(check-out "), "{}", logs[0]);
        let prepared = std::fs::read_dir(stage.state().join("prepared")).expect("readable");
        let folders = prepared.flatten().filter(|entry| entry.path().is_dir()).count();
        assert_eq!(folders, 1, "only the one that is in use");
    }
    stop(&stage, runner).await;
}
