//! Jobs whose environment is made from an image that their repository names.

use std::{path::PathBuf, sync::LazyLock};

use windlass_run::{
    job::Outcome,
    spec::{Action, PullRequestAction},
};
use windlass_sandbox::backend::Login;
use windlass_testkit::{docker, registry::Registry};
use windlass_wire::runner as wire;

use super::{
    whole::Stage,
    world::{run_step, step},
};
use crate::{Options, definition::BackendKind};

/// What a job's steps look at: that this is the image, what it sets, and where its own folders are.
const LOOK: &str = "test -e /bin/busybox; test ! -e /usr/lib; test \"$KIND\" = small; \
                    test \"$WHO\" = labelled; case \"$PATH\" in */of/the/image) ;; *) exit 3;; esac; \
                    echo cached > /var/cache/own/file; id -u; pwd";

const DEFINITION: &str = r#"{
  "image": "windlass-test/base:1",
  "mounts": ["type=volume,source=cache,target=/var/cache/own"],
  "remoteEnv": { "PATH": "${containerEnv:PATH}:/of/the/image" },
  "postCreateCommand": "echo prepared > ~/prepared"
}"#;

const CHANGES: [&str; 3] = [
    "ENV KIND=small",
    "ENV PATH=/bin:/usr/bin",
    r#"LABEL devcontainer.metadata='[{"containerEnv":{"WHO":"labelled"}}]'"#,
];

/// The tool that has the first process of containers in it.
pub(super) fn first_process() -> PathBuf {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        windlass_testkit::program("windlass-oci", "windlass-first").expect("it is built")
    });
    BUILT.clone()
}

pub(super) fn skip(test: &str, why: &str) {
    assert!(!windlass_testkit::must_run_all(), "{test}: {why}");
    eprintln!("SKIPPED {test}: {why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_in_a_container_of_the_image_that_its_repository_names_ends_in_a_change() {
    let test = "a_job_in_a_container_of_the_image_that_its_repository_names_ends_in_a_change";
    let engine = match docker::Engine::start() {
        Ok(engine) => engine,
        Err(why) => return skip(test, &why),
    };
    engine.import("windlass-test/base:1", &CHANGES).expect("an image");
    let stage = Stage::with(&[(".devcontainer.json", DEFINITION)]).await;
    let socket = engine.socket();
    let containers = move |options: Options| Options {
        backend: BackendKind::Oci,
        engine_socket: socket.clone(),
        windlass_exe: first_process(),
        ..options
    };
    ends_in_a_change(&stage, &containers).await;
    built_from_a_dockerfile(&containers).await;
    without_an_image(&containers).await;
    let left = engine.docker(&["ps", "--all", "--quiet"], b"").expect("a list");
    assert_eq!(String::from_utf8_lossy(&left), "");
}

async fn ends_in_a_change(stage: &Stage, with: &dyn Fn(Options) -> Options) {
    let pull_request = PullRequestAction {
        branch: None,
        title: Some("Sums that add".into()),
        body: None,
        draft: false,
    };
    let fix = format!("{LOOK}; cat ~/prepared; sed -i 's/ - / + /' sum.sh; sh check.sh");
    let steps = vec![run_step("fix", &fix), step("pr", Action::PullRequest(pull_request))];
    let (job_id, end) = stage.end_with(with, steps).await;
    let log = stage.world().log(&job_id, "fix", 1);
    assert_eq!(end.outcome, Outcome::Succeeded, "{}\n{log}", end.reason);
    assert!(log.ends_with("1000\n/workspaces/sums\nprepared\n"), "{log}");
    let opened = stage.world().pull_requests();
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0].title, "Sums that add");
}

async fn built_from_a_dockerfile(with: &dyn Fn(Options) -> Options) {
    let definition =
        r#"{ "build": { "dockerfile": "Dockerfile", "context": "..", "args": { "WHO": "it" } } }"#
            .replace("Dockerfile", "docker/Dockerfile")
            .replace("\"..\"", "\".\"");
    let dockerfile = "FROM windlass-test/base:1\nARG WHO\nRUN echo \"built for $WHO\" > /built\nCOPY AGENTS.md /copied\n";
    let files = [(".devcontainer.json", &*definition), ("docker/Dockerfile", dockerfile)];
    let stage = Stage::with(&files).await;
    // The second step is tried again, after the tree has changed what would be built.
    let spoil = run_step("spoil", "cat /built /copied; echo 'FROM scratch' > docker/Dockerfile");
    let mut look = run_step("look", "cat /built; exit 3");
    look.retry.attempts = 2;
    let (job_id, end) = stage.end_with(with, vec![spoil, look]).await;
    let log = stage.world().log(&job_id, "spoil", 1);
    assert!(log.ends_with("built for it\nAdd, never subtract.\n"), "{}\n{log}", end.reason);
    let again = stage.world().log(&job_id, "look", 2);
    assert!(again.ends_with("built for it\n"), "{}\n{again}", end.reason);
    assert_eq!(end.code, "step_failed", "{}", end.reason);
}

async fn without_an_image(with: &dyn Fn(Options) -> Options) {
    let stage = Stage::new().await;
    let (_, end) = stage.end_with(with, vec![run_step("look", "true")]).await;
    assert_eq!(end.code, "environment", "{}", end.reason);
    assert!(end.reason.contains("needs an image"), "{}", end.reason);
    let default = |options| Options {
        default_image: Some("windlass-test/base:1".to_owned()),
        ..with(options)
    };
    let (_, end) = stage.end_with(&default, vec![run_step("look", "test -e /bin/busybox")]).await;
    assert_eq!(end.outcome, Outcome::Succeeded, "{}", end.reason);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_in_the_image_that_its_repository_names_needs_no_engine() {
    let archive = match docker::root_file_system() {
        Ok(archive) => archive,
        Err(why) => {
            return skip("a_job_in_the_image_that_its_repository_names_needs_no_engine", &why);
        }
    };
    let registry = Registry::start(Some(("ada", "lovelace-1815"))).await.expect("a port");
    let label = r#"[{"containerEnv":{"WHO":"labelled"}}]"#;
    let config = serde_json::json!({
        "Env": ["KIND=small", "PATH=/bin:/usr/bin"],
        "Labels": { "devcontainer.metadata": label },
    });
    let name = registry.hold("base", "1", &[archive], &config);
    let definition = DEFINITION.replace("windlass-test/base:1", &name);
    let stage = Stage::with(&[(".devcontainer.json", &definition)]).await;
    let host = registry.host().to_owned();
    let with_login = move |password: &str| {
        let login =
            Login { user: "ada".to_owned(), password: password.to_owned(), realm: String::new() };
        let registries = [(host.clone(), Some(login))].into();
        move |options| Options { registries, ..options }
    };
    // The first runner has a wrong login, the second one nobody to ask any more but what is there.
    let wrong = with_login("not-the-password");
    let (_, end) =
        stage.end_with(&|options| wrong.clone()(options), vec![run_step("look", "true")]).await;
    assert_eq!(end.code, "environment", "{}", end.reason);
    assert!(end.reason.contains("doesn't let this runner in as `ada`"), "{}", end.reason);
    assert!(!end.reason.contains("not-the-password"), "{}", end.reason);
    let right = with_login("lovelace-1815");
    ends_in_a_change(&stage, &|options| right.clone()(options)).await;
    let asked = registry.n_asked();
    let (job_id, end) = stage.end(vec![run_step("look", LOOK)]).await;
    let log = stage.world().log(&job_id, "look", 1);
    assert_eq!(end.outcome, Outcome::Succeeded, "{}\n{log}", end.reason);
    assert_eq!(registry.n_asked(), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_has_an_image_by_its_own_login_and_no_other_has_it_then() {
    let archive = match docker::root_file_system() {
        Ok(archive) => archive,
        Err(why) => {
            let test = "a_project_has_an_image_by_its_own_login_and_no_other_has_it_then";
            return skip(test, &why);
        }
    };
    let registry = Registry::start(Some(("ada", "lovelace-1815"))).await.expect("a port");
    let name = registry.hold("base", "1", &[archive], &serde_json::json!({}));
    let definition = serde_json::json!({ "image": name }).to_string();
    let stage = Stage::with(&[(".devcontainer.json", &definition)]).await;
    let host = registry.host().to_owned();
    let known = {
        let host = host.clone();
        move |options| Options { registries: [(host.clone(), None)].into(), ..options }
    };
    let login = wire::Secret {
        name: "REGISTRY".to_owned(),
        is_secret: true,
        file: None,
        door: None,
        registry: Some(wire::RegistryLogin {
            host,
            user: "ada".to_owned(),
            realm: "sec_1".to_owned(),
        }),
        value: "lovelace-1815".to_owned(),
        steps: Vec::new(),
        in_setup: false,
    };
    stage.world().give(vec![vec![login]]);
    let look = "test -e /bin/busybox; test -z \"$(cat /proc/[0-9]*/environ | grep -a lovelace)\"";
    let (job_id, end) = stage.end_with(&known, vec![run_step("look", look)]).await;
    let log = stage.world().log(&job_id, "look", 1);
    assert_eq!(end.outcome, Outcome::Succeeded, "{}\n{log}", end.reason);
    stage.world().give(vec![Vec::new()]);
    let (_, end) = stage.end_with(&known, vec![run_step("look", look)]).await;
    assert_eq!(end.code, "environment", "{}", end.reason);
    assert!(end.reason.contains("doesn't let this runner in without a login"), "{}", end.reason);
}
