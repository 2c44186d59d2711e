//! Jobs whose environment is a service of a Compose file, in containers of a real engine.

use std::time::Duration;

use windlass_run::job::Outcome;
use windlass_testkit::docker::Engine;

use super::{
    images::{first_process, skip},
    whole::Stage,
    world::run_step,
};
use crate::{Options, Runner, definition::BackendKind};

const DEFINITION: &str = r#"{
  "dockerComposeFile": ["compose.yml", "more.yml"],
  "service": "app",
  "workspaceFolder": "/workspaces/${localWorkspaceFolderBasename}",
  "remoteEnv": { "MORE": "${containerEnv:WHO}!" },
  "postCreateCommand": "wget -Y off -qO- http://db:5432/ > ~/seen"
}"#;

const COMPOSE: &str = r#"
x-image: &image { image: "windlass-test/base:1" }
services:
  app:
    <<: *image
    command: sleep infinity
    volumes: ["../..:/workspaces:cached", "own:/var/own"]
    environment: { WHO: "${WHO:-ada}" }
    network_mode: service:db
    depends_on:
      db: { condition: service_healthy }
      seed: { condition: service_completed_successfully }
  db:
    build: { context: ../db, args: { WORD: kept } }
    restart: unless-stopped
    expose: [5432]
    volumes: [data:/data, "../sum.sh:/sum.sh:ro"]
    healthcheck: { test: [CMD, test, -e, /data/ready], interval: 100ms, retries: 300 }
  idle:
    <<: *image
    profiles: [never]
    privileged: true
volumes: { data: , own: }
"#;

const MORE: &str = r#"
services:
  seed:
    extends: { service: base, file: base.yml }
    depends_on: { db: { condition: service_healthy } }
    command: wget -qO- http://db:5432/
"#;

const BASE: &str = "services: { base: { image: 'windlass-test/base:1', mem_limit: 64m } }\n";

const DOCKERFILE: &str = "FROM windlass-test/base:1\nARG WORD\nRUN mkdir /www && echo \"$WORD\" > /www/index.html\n\
                          COPY serve.sh /serve.sh\nCMD [\"sh\", \"/serve.sh\"]\n";

/// Dies once, to be started again.
const SERVE: &str = "cat /sum.sh > /data/seen\nif [ ! -e /data/once ]; then touch /data/once; echo the first life; exit 4; fi\n\
                     touch /data/ready\nexec httpd -f -p 5432 -h /www\n";

/// What a step of the environment looks at.
const LOOK: &str = "cat ~/seen; wget -Y off -qO- http://db:5432/; pwd; echo $WHO $MORE; sh sum.sh 3 1; ls /var/own; \
                    ls /sys/class/net; case \"$NO_PROXY\" in *,db*) echo direct;; esac";
const SEEN: &str = "kept\nkept\n/workspaces/sums\nada ada!\n2\nlo\ndirect\n";

fn files() -> Vec<(&'static str, &'static str)> {
    vec![
        (".devcontainer/devcontainer.json", DEFINITION),
        (".devcontainer/compose.yml", COMPOSE),
        (".devcontainer/more.yml", MORE),
        (".devcontainer/base.yml", BASE),
        ("db/Dockerfile", DOCKERFILE),
        ("db/serve.sh", SERVE),
    ]
}

fn with_engine(engine: &Engine) -> impl Fn(Options) -> Options + use<> {
    let socket = engine.socket();
    move |mut options: Options| {
        options.limits.memory_bytes = Some(512 << 20);
        options.limits.processes = Some(400);
        Options {
            backend: BackendKind::Oci,
            engine_socket: socket.clone(),
            windlass_exe: first_process(),
            ..options
        }
    }
}

fn printed(engine: &Engine, arguments: &[&str]) -> String {
    String::from_utf8(engine.docker(arguments, b"").expect("an answer")).expect("text")
}

fn nothing_is_left(engine: &Engine) {
    assert_eq!(printed(engine, &["ps", "--all", "--quiet"]), "");
    assert_eq!(printed(engine, &["volume", "ls", "--quiet"]), "");
    assert_eq!(
        printed(engine, &["network", "ls", "--format", "{{.Name}}"]).lines().collect::<Vec<_>>(),
        ["host", "none"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_works_in_one_service_of_a_compose_file_beside_the_others() {
    let test = "a_job_works_in_one_service_of_a_compose_file_beside_the_others";
    let engine = match Engine::start() {
        Ok(engine) => engine,
        Err(why) => return skip(test, &why),
    };
    engine.import("windlass-test/base:1", &["ENV PATH=/bin:/usr/bin"]).expect("an image");
    let with = with_engine(&engine);
    works(&with).await;
    nothing_is_left(&engine);
    services_that_fail_end_the_job_with_their_last_words(&with).await;
    nothing_is_left(&engine);
    what_a_killed_runner_leaves_is_removed_by_the_next_one(&engine, &with).await;
    nothing_is_left(&engine);
}

async fn works(with: &dyn Fn(Options) -> Options) {
    let stage = Stage::with(&files()).await;
    let (job_id, end) = stage.end_with(with, vec![run_step("look", LOOK)]).await;
    let log = stage.world().log(&job_id, "look", 1);
    assert_eq!(end.outcome, Outcome::Succeeded, "{}\n{log}", end.reason);
    assert!(log.ends_with(SEEN), "{log}");
    for line in [
        "[windlass: environment: service db beside it]",
        "[windlass: environment: service seed beside it]",
        "[db] the first life",
        "[windlass: service db: it ended: exit 4; it starts again in ",
        "[seed] kept",
        "[windlass: service seed: it ended: exit 0]",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    assert!(!log.contains("service idle"), "{log}");
}

async fn services_that_fail_end_the_job_with_their_last_words(with: &dyn Fn(Options) -> Options) {
    let end = async |from: &str, to: &str| {
        let compose = COMPOSE.replace(from, to);
        assert_ne!(compose, COMPOSE, "{from}");
        let mut files = files();
        files[1].1 = &compose;
        let stage = Stage::with(&files).await;
        let (_, end) = stage.end_with(with, vec![run_step("look", "true")]).await;
        (end.code, end.reason)
    };
    let place = ".devcontainer/compose.yml:13:3";
    let (code, said) = end("restart: unless-stopped", "restart: \"no\"").await;
    assert_eq!(code, "service_not_ready", "{said}");
    let expected = format!(
        "The service `db` ({place}) ended before it was ready: exit 4. The end of its output:\nthe first life"
    );
    assert_eq!(said, expected);
    let (code, said) =
        end("[CMD, test, -e, /data/ready], interval: 100ms, retries: 300", "[NONE]").await;
    assert_eq!(code, "service_not_ready", "{said}");
    assert!(said.contains("add a `healthcheck`"), "{said}");
    let (code, said) = end("expose: [5432]", "mem_limit: 448m").await;
    assert_eq!(code, "environment", "{said}");
    assert!(
        said.contains("536870912 bytes of memory, of which the environment has 536870912"),
        "{said}"
    );
    let (code, said) = end("expose: [5432]", "privileged: true").await;
    assert_eq!(code, "environment", "{said}");
    assert!(
        said.contains(".devcontainer/compose.yml:16:5: the service `db` is `privileged`"),
        "{said}"
    );
}

async fn what_a_killed_runner_leaves_is_removed_by_the_next_one(
    engine: &Engine,
    with: &dyn Fn(Options) -> Options,
) {
    let stage = Stage::with(&files()).await;
    let job_id = stage.world().add(vec![run_step("look", LOOK)]);
    let socket = engine.socket().display().to_string();
    let mut process = stage.process_with(&[("WINDLASS_TEST_ENGINE", &socket)]);
    // Of all containers: the service dies once, and may be between its lives when the runner is killed.
    let is_there = || printed(engine, &["ps", "--all", "--format", "{{.Names}}"]).contains(".db");
    while !is_there() && !stage.world().has_ended(&job_id) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.kill().expect("killed");
    process.wait().expect("waited for");
    assert!(!stage.world().has_ended(&job_id), "the job was over before the kill");
    assert!(is_there(), "the killed runner left nothing to be removed");
    let runner = Runner::start(with(stage.options())).await.expect("a runner");
    let end = stage.world().ended(&job_id).await;
    let log = stage.world().log(&job_id, "look", 1);
    assert_eq!(end.outcome, Outcome::Succeeded, "{}\n{log}", end.reason);
    runner.stop(Duration::from_secs(30)).await;
}
