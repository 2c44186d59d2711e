//! Killed while an image is fetched and unpacked, while a Dockerfile is built, while a Feature is installed:
//! nothing half made is used, the next start succeeds, and nothing is left.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use windlass_run::{JobId, job::Outcome};
use windlass_testkit::{
    docker::{self, Engine},
    registry::Registry,
};

use super::{
    images::{first_process, skip},
    kept::kill_supervisor,
    whole::Stage,
    world::run_step,
};
use crate::{Options, Runner, definition::BackendKind};

const DEFINITION: &str =
    r#"{ "build": { "dockerfile": "Dockerfile" }, "features": { "./tool": {} } }"#;
/// Each step makes a file whose name says that it is not whole, and gives it its name in the end.
const DOCKERFILE: &str = "FROM IMAGE\n\
    RUN echo PHASE > /one-half && sleep 0.4 && mv /one-half /one\n\
    RUN echo PHASE > /two-half && sleep 0.4 && mv /two-half /two\n";
const INSTALL: &str =
    "#!/bin/sh\nset -e\necho PHASE > /tool-half\nsleep 0.4\nmv /tool-half /tool\n";
const LOOK: &str = "cat /one /two /tool; ! ls / | grep half";

fn dockerfile(image: &str, phase: &str) -> String {
    DOCKERFILE.replace("IMAGE", image).replace("PHASE", phase)
}

async fn stage(image: &str) -> Stage {
    Stage::with(&[
        (".devcontainer/devcontainer.json", DEFINITION),
        (".devcontainer/Dockerfile", &dockerfile(image, "none")),
        (".devcontainer/tool/devcontainer-feature.json", r#"{ "id": "tool", "version": "1" }"#),
        (".devcontainer/tool/install.sh", &INSTALL.replace("PHASE", "none")),
    ])
    .await
}

/// Makes everything to be built anew, and asks for it.
fn begin(stage: &Stage, image: &str, phase: &str) -> JobId {
    stage.commit(".devcontainer/Dockerfile", dockerfile(image, phase));
    stage.commit(".devcontainer/tool/install.sh", INSTALL.replace("PHASE", phase));
    stage.world().add(vec![run_step("look", LOOK)])
}

/// Whether there is a file of this name anywhere below.
fn has_file(folder: &Path, name: &str) -> bool {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name() == name {
                return true;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    false
}

#[derive(Clone, Copy, PartialEq)]
enum Killed {
    Runner,
    Supervisor,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_killed_while_an_image_is_made_leaves_nothing_half_made() {
    killed_while_an_image_is_made(
        "a_runner_killed_while_an_image_is_made_leaves_nothing_half_made",
        Killed::Runner,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_killed_while_an_image_is_made_leaves_nothing_half_made() {
    killed_while_an_image_is_made(
        "a_supervisor_killed_while_an_image_is_made_leaves_nothing_half_made",
        Killed::Supervisor,
    )
    .await;
}

async fn killed_while_an_image_is_made(test: &str, killed: Killed) {
    let root = match docker::root_file_system() {
        Ok(root) => root,
        Err(why) => return skip(test, &why),
    };
    let registry = Registry::start(None).await.expect("a port");
    let config = serde_json::json!({ "Env": ["PATH=/bin:/usr/bin"] });
    let image = registry.hold("base", "1", &[root], &config);
    let host = registry.host().to_owned();
    let with = |options: Options| Options { registries: [(host.clone(), None)].into(), ..options };
    let stage = stage(&image).await;
    let images = stage.state().join("images");
    let steady = match killed {
        Killed::Runner => None,
        Killed::Supervisor => Some(Runner::start(with(stage.options())).await.expect("a runner")),
    };
    let mut jobs = Vec::new();
    // What is on the disk at the moment of the kill.
    for half in ["busybox", "one-half", "two-half", "tool-half"] {
        let job_id = begin(&stage, &image, half.trim_end_matches("-half"));
        jobs.push((job_id.clone(), half));
        let variables = [("WINDLASS_TEST_REGISTRY", host.as_str())];
        let mut process = (killed == Killed::Runner).then(|| stage.process_with(&variables));
        while !has_file(&images, half) && !stage.world().has_ended(&job_id) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(!stage.world().has_ended(&job_id), "{half}: it was over before the kill");
        match &mut process {
            Some(process) => {
                process.kill().expect("killed");
                process.wait().expect("waited for");
            }
            None => {
                kill_supervisor(&stage);
                stage.world().ended(&job_id).await;
            }
        }
    }
    let runner = match steady {
        Some(runner) => runner,
        None => Runner::start(with(stage.options())).await.expect("a runner"),
    };
    for (job_id, half) in &jobs {
        let end = stage.world().ended(job_id).await;
        let log = stage.world().log(job_id, "look", 1);
        assert_eq!(end.outcome, Outcome::Succeeded, "{half}: {}\n{log}", end.reason);
    }
    let job_id = begin(&stage, &image, "after");
    let end = stage.world().ended(&job_id).await;
    let log = stage.world().log(&job_id, "look", 1);
    assert_eq!(end.outcome, Outcome::Succeeded, "{}\n{log}", end.reason);
    assert!(log.ends_with("after\nafter\nafter\n"), "{log}");
    runner.stop(Duration::from_secs(30)).await;
    for half in ["one-half", "two-half", "tool-half"] {
        assert!(!has_file(&images, half), "{half} is left");
    }
    stage.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_killed_while_an_engine_builds_leaves_nothing_half_made() {
    let test = "a_runner_killed_while_an_engine_builds_leaves_nothing_half_made";
    let engine = match Engine::start() {
        Ok(engine) => engine,
        Err(why) => return skip(test, &why),
    };
    let image = "windlass-test/base:1";
    engine.import(image, &["ENV PATH=/bin:/usr/bin"]).expect("an image");
    let printed = |arguments: &[&str]| {
        String::from_utf8(engine.docker(arguments, b"").expect("an answer")).expect("text")
    };
    let stage = stage(image).await;
    let socket = engine.socket().display().to_string();
    let mut jobs = Vec::new();
    // What the engine runs at the moment of the kill.
    for half in ["one-half", "two-half", "install.sh"] {
        let job_id = begin(&stage, image, half.trim_end_matches("-half"));
        jobs.push((job_id.clone(), half));
        let mut process = stage.process_with(&[("WINDLASS_TEST_ENGINE", &socket)]);
        let is_building =
            || printed(&["ps", "--no-trunc", "--format", "{{.Command}}"]).contains(half);
        while !is_building() && !stage.world().has_ended(&job_id) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!stage.world().has_ended(&job_id), "{half}: it was over before the kill");
        process.kill().expect("killed");
        process.wait().expect("waited for");
    }
    let mut options = stage.options();
    options.backend = BackendKind::Oci;
    options.engine_socket = engine.socket();
    options.windlass_exe = first_process();
    let runner = Runner::start(options).await.expect("a runner");
    for (job_id, half) in &jobs {
        let end = stage.world().ended(job_id).await;
        let log = stage.world().log(job_id, "look", 1);
        assert_eq!(end.outcome, Outcome::Succeeded, "{half}: {}\n{log}", end.reason);
    }
    runner.stop(Duration::from_secs(30)).await;
    assert_eq!(printed(&["ps", "--all", "--quiet"]), "");
}
