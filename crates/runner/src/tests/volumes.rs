//! Named volumes: what one environment of a project leaves, the next one begins with, and a job never sees.

use std::time::Duration;

use windlass_run::{
    environment::{Seen, Wanted},
    job::Outcome,
};
use windlass_sandbox::CopyBy;
use windlass_testkit::docker::Engine;

use super::{
    images::{first_process, skip},
    whole::Stage,
    world::run_step,
};
use crate::{Options, Runner, definition::BackendKind, volumes::Volumes};

/// Each environment adds a line, and fails if it finds more of them than it should.
const DEFINITION: &str = r#"{
  "image": "IMAGE",
  "mounts": ["type=volume,source=cache,target=/var/cache/own", "type=volume,target=/var/cache/nameless"],
  "onCreateCommand": "test ! -e /var/cache/nameless/x && touch /var/cache/nameless/x && echo line >> /var/cache/own/lines"
}"#;

/// The lines that the project's volume holds, if there is one.
fn lines(stage: &Stage) -> Option<usize> {
    let volumes = Volumes::at(&stage.state(), CopyBy::Bytes).list().expect("a list");
    assert!(volumes.iter().all(|one| one.name == "cache" && one.entries == 1), "{volumes:?}");
    let one = volumes.first()?;
    let folder = stage.state().join("volumes").join(&one.project_id).join("cache");
    let newest = std::fs::read_dir(folder).expect("a folder").flatten().next().expect("a serial");
    let text = std::fs::read_to_string(newest.path().join("data/lines")).expect("lines");
    Some(text.lines().count())
}

async fn volumes_are_left(stage: &Stage, with: &dyn Fn(Options) -> Options) {
    let options = || Options { environments: 8, ..with(stage.options()) };
    let runner = Runner::start(options()).await.expect("a runner");
    assert_eq!(lines(stage), None);
    let (one, two) = (stage.world().keep("one"), stage.world().keep("two"));
    for id in [&one, &two] {
        let seen = stage.world().settled(id).await;
        let log = stage.state().join("kept").join(id.as_str()).join("start.log");
        assert_eq!(seen, Seen::Running, "{:?}", std::fs::read_to_string(log));
    }
    // Both began with nothing; what the last one to end has counts.
    for id in [&one, &two] {
        stage.world().want(id, Wanted::Stopped);
        assert_eq!(stage.world().settled(id).await, Seen::Stopped);
        assert_eq!(lines(stage), Some(1));
    }
    for (id, expected) in [(&one, 2), (&two, 3), (&one, 4)] {
        stage.world().want(id, Wanted::Running);
        assert_eq!(stage.world().settled(id).await, Seen::Running);
        stage.world().want(id, Wanted::Stopped);
        assert_eq!(stage.world().settled(id).await, Seen::Stopped);
        assert_eq!(lines(stage), Some(expected));
    }
    // A job has an empty one, and leaves nothing.
    let look = "wc -l < /var/cache/own/lines; echo mine > /var/cache/own/mine";
    let job_id = stage.world().add(vec![run_step("look", look)]);
    let end = stage.world().ended(&job_id).await;
    let log = stage.world().log(&job_id, "look", 1);
    assert_eq!(end.outcome, Outcome::Succeeded, "{}\n{log}", end.reason);
    assert!(log.ends_with("\n1\n"), "{log}");
    assert_eq!(lines(stage), Some(4));
    runner.stop(Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn environments_without_an_engine_leave_named_volumes_to_the_next_of_their_project() {
    let definition = DEFINITION.replace("\"image\": \"IMAGE\",", "");
    let stage = Stage::with(&[(".devcontainer.json", &definition)]).await;
    volumes_are_left(&stage, &|options| options).await;
    // One that runs when the runner ends leaves its own as well, and one that is killed does not.
    let options = || Options { environments: 8, ..stage.options() };
    let runner = Runner::start(options()).await.expect("a runner");
    let id = stage.world().keep("three");
    assert_eq!(stage.world().settled(&id).await, Seen::Running);
    runner.stop(Duration::from_secs(30)).await;
    assert_eq!(lines(&stage), Some(5));
    let mut process = stage.process();
    let four = stage.world().keep("four");
    assert_eq!(stage.world().settled(&four).await, Seen::Running);
    process.kill().expect("killed");
    process.wait().expect("waited for");
    let runner = Runner::start(options()).await.expect("a runner");
    assert_eq!(lines(&stage), Some(5));
    stage.world().want(&four, Wanted::Gone);
    assert_eq!(stage.world().settled(&four).await, Seen::Gone);
    runner.stop(Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_leave_named_volumes_to_the_next_of_their_project() {
    let test = "containers_leave_named_volumes_to_the_next_of_their_project";
    let engine = match Engine::start() {
        Ok(engine) => engine,
        Err(why) => return skip(test, &why),
    };
    let image = "windlass-test/base:1";
    engine.import(image, &["ENV PATH=/bin:/usr/bin"]).expect("an image");
    let definition = DEFINITION.replace("IMAGE", image);
    let stage = Stage::with(&[(".devcontainer.json", &definition)]).await;
    let socket = engine.socket();
    let with = move |options: Options| Options {
        backend: BackendKind::Oci,
        engine_socket: socket.clone(),
        windlass_exe: first_process(),
        ..options
    };
    volumes_are_left(&stage, &with).await;
}
