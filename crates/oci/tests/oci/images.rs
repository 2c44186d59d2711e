//! What only a backend with images has: building once, refusing to pull, pruning, telling why.

use std::io::Write;

use windlass_oci::Oci;
use windlass_sandbox::{
    Backend, Base, Door, EnvironmentId, Error, Exec, Image, OperationId, Plan, Prepared, Progress,
    backend::{Login, Pull},
};

use windlass_testkit::registry::Registry;

use super::{
    docker::IMAGE,
    stage::{OciStage, options},
    suite::{Stage, wait_for},
};

pub fn all(stage: &OciStage<'_>) {
    whoever_connects_to_a_door_inside_is_accepted_outside(stage);
    an_image_is_built_once_for_each_definition_and_pruned(stage);
    a_build_that_fails_says_what_the_engine_said(stage);
    an_image_that_may_not_be_pulled_is_an_error(stage);
    a_registry_that_does_not_answer_is_an_error_without_the_password(stage);
    an_image_of_a_registry_is_pulled_by_whoever_may(stage);
    an_image_of_somebodys_own_login_is_there_for_them_only(stage);
    the_registry_of_tests_is_one_for_the_engines_own_client(stage);
    an_environment_without_an_image_is_refused(stage);
    an_engine_that_does_not_answer_is_named(stage);
}

fn whoever_connects_to_a_door_inside_is_accepted_outside(stage: &OciStage<'_>) {
    let tree = stage.folder().join("tree-of-door");
    std::fs::create_dir_all(&tree).unwrap();
    let id = EnvironmentId::parse("door").unwrap();
    let mut plan = Plan::new(id.clone(), tree, "/workspace/tree");
    plan.doors = vec![Door { name: "model".to_owned(), port: 4141 }];
    let prepared = wait_for(stage.oci.prepare(&stage.base(), &mut |_| {})).unwrap();
    let created = wait_for(stage.oci.create(&plan, &prepared)).unwrap();
    let name = OperationId::parse("call").unwrap();
    let exec = Exec::capture(name.clone(), ["nc", "127.0.0.1", "4141"]).in_folder("/tmp");
    wait_for(stage.oci.exec(&id, &exec)).unwrap();
    let (mut caller, _) = created.doors[0].listener.accept().unwrap();
    caller.write_all(b"from outside\n").unwrap();
    drop(caller);
    let status = wait_for(stage.oci.wait(&id, &name)).unwrap();
    let output = wait_for(stage.oci.output(&id, &name, 0)).unwrap();
    assert!(status.state.is_success(), "{status:?}");
    assert_eq!(output.chunks[0].bytes, b"from outside\n");
    wait_for(stage.oci.destroy(&id)).unwrap();
}

fn prepare(stage: &OciStage<'_>, image: Image) -> (Result<Prepared, Error>, Vec<Progress>) {
    let mut heard = Vec::new();
    let base = Base::Image(image);
    let prepared = wait_for(stage.oci.prepare(&base, &mut |progress| heard.push(progress)));
    (prepared, heard)
}

fn definition(stage: &OciStage<'_>, digest: &str, dockerfile: &str) -> Image {
    let context = stage.folder().join("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(context.join("file"), "copied\n").unwrap();
    Image::Built {
        context,
        dockerfile: "Dockerfile".to_owned(),
        arguments: [("WHO".to_owned(), "it's me".to_owned())].into(),
        target: None,
        digest: digest.to_owned(),
    }
}

fn an_image_is_built_once_for_each_definition_and_pruned(stage: &OciStage<'_>) {
    let dockerfile =
        format!("FROM {IMAGE}\nARG WHO\nCOPY file /etc/file\nRUN echo \"$WHO\" > /etc/who\n");
    let image = definition(stage, "digest-1", &dockerfile);
    let (first, heard) = prepare(stage, image.clone());
    let said: String = heard
        .iter()
        .map(|progress| match progress {
            Progress::Building { text } | Progress::Pulling { text } => text.as_str(),
        })
        .collect();
    assert!(said.contains("COPY file /etc/file"), "{said}");
    let (second, heard) = prepare(stage, image);
    assert_eq!(heard, []);
    assert_eq!(first, second);
    let (other, _) =
        prepare(stage, definition(stage, "digest-2", &format!("FROM {IMAGE}\nRUN true\n")));
    assert_ne!(first, other);
    let kept = ["digest-1".to_owned()];
    assert_eq!(wait_for(stage.oci.prune_images(0, &kept)).unwrap(), 1);
    assert_eq!(wait_for(stage.oci.prune_images(u64::MAX, &[])).unwrap(), 0);
    assert_eq!(wait_for(stage.oci.prune_images(0, &[])).unwrap(), 1);
    assert_eq!(wait_for(stage.oci.prune_images(0, &[])).unwrap(), 0);
    let still = wait_for(stage.oci.prepare(&stage.base(), &mut |_| {}));
    assert!(still.is_ok(), "an image that is not ours was pruned: {still:?}");
}

fn a_build_that_fails_says_what_the_engine_said(stage: &OciStage<'_>) {
    let dockerfile = format!("FROM {IMAGE}\nRUN echo broken >&2; exit 7\n");
    let (failed, heard) = prepare(stage, definition(stage, "digest-3", &dockerfile));
    let why = failed.unwrap_err().to_string();
    assert!(why.contains("returned a non-zero code: 7"), "{why}");
    assert!(format!("{heard:?}").contains("broken"), "{heard:?}");
}

fn an_image_that_may_not_be_pulled_is_an_error(stage: &OciStage<'_>) {
    let reference = "windlass-test/absent:1".to_owned();
    let (refused, _) = prepare(stage, Image::Named { reference, pull: Pull::Never, login: None });
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("docker pull windlass-test/absent:1"), "{why}");
}

fn a_registry_that_does_not_answer_is_an_error_without_the_password(stage: &OciStage<'_>) {
    // Nothing listens there, and the engine's network holds nothing else.
    let reference = "127.0.0.1:9/absent".to_owned();
    let login = Login {
        user: "user".to_owned(),
        password: "the-password".to_owned(),
        realm: String::new(),
    };
    let image = Image::Named { reference, pull: Pull::Missing, login: Some(login) };
    let printed = format!("{image:?}");
    let (failed, _) = prepare(stage, image);
    let why = failed.unwrap_err().to_string();
    assert!(why.contains("pull the image `127.0.0.1:9/absent`"), "{why}");
    assert!(!why.contains("the-password") && !printed.contains("the-password"), "{why} {printed}");
}

fn an_image_of_a_registry_is_pulled_by_whoever_may(stage: &OciStage<'_>) {
    let listener = stage.engine.listen();
    let registry = Registry::serve(listener, Some(("ada", "lovelace-1815"))).unwrap();
    let layer = windlass_testkit::docker::root_file_system().unwrap();
    let reference = registry.hold("pulled", "1", &[layer], &serde_json::json!({ "User": "7" }));
    let pulled = |password: &str| {
        let login =
            Login { user: "ada".to_owned(), password: password.to_owned(), realm: String::new() };
        let reference = reference.clone();
        prepare(stage, Image::Named { reference, pull: Pull::Missing, login: Some(login) }).0
    };
    let why = pulled("wrong-wrong").unwrap_err().to_string();
    assert!(why.contains("pull the image") && !why.contains("wrong-wrong"), "{why}");
    let prepared = pulled("lovelace-1815").unwrap();
    assert_eq!(prepared.settings.user, "7");
    assert!(prepared.accounts.iter().any(|user| user.name == "root"), "{:?}", prepared.accounts);
}

fn an_image_of_somebodys_own_login_is_there_for_them_only(stage: &OciStage<'_>) {
    let listener = stage.engine.listen();
    let registry = Registry::serve(listener, Some(("ada", "lovelace-1815"))).unwrap();
    let layer = windlass_testkit::docker::root_file_system().unwrap();
    let reference = registry.hold("private", "1", &[layer], &serde_json::json!({ "User": "8" }));
    let had = |realm: &str, password: Option<&str>| {
        let login = password.map(|password| Login {
            user: "ada".to_owned(),
            password: password.to_owned(),
            realm: realm.to_owned(),
        });
        let reference = reference.clone();
        prepare(stage, Image::Named { reference, pull: Pull::Missing, login }).0
    };
    let mine = had("one", Some("lovelace-1815")).unwrap();
    assert_eq!(mine.settings.user, "8");
    assert_eq!(had("one", Some("lovelace-1815")).unwrap().name, mine.name);
    let refused = [had("", None), had("", Some("wrong-wrong")), had("two", Some("wrong-wrong"))];
    for refused in refused {
        let why = refused.unwrap_err().to_string();
        assert!(why.contains("pull the image") && !why.contains("wrong-wrong"), "{why}");
    }
}

fn the_registry_of_tests_is_one_for_the_engines_own_client(stage: &OciStage<'_>) {
    let registry = Registry::serve(stage.engine.listen(), None).unwrap();
    let name = format!("{}/pushed:1", registry.host());
    let docker = |arguments: &[&str]| stage.engine.docker(arguments).unwrap();
    let id = || docker(&["image", "inspect", "--format", "{{.Id}}", &name]);
    docker(&["tag", IMAGE, &name]);
    let before = id();
    docker(&["push", &name]);
    docker(&["rmi", &name]);
    assert!(stage.engine.docker(&["image", "inspect", &name]).is_err());
    docker(&["pull", &name]);
    assert_eq!(id(), before);
    docker(&["rmi", &name]);
}

fn an_environment_without_an_image_is_refused(stage: &OciStage<'_>) {
    let refused = wait_for(stage.oci.prepare(&Base::Host, &mut |_| {}));
    assert!(matches!(refused, Err(Error::InvalidPlan { .. })), "{refused:?}");
}

fn an_engine_that_does_not_answer_is_named(stage: &OciStage<'_>) {
    let absent = stage.folder().join("absent.sock");
    let mut wrong = options(stage.engine, stage.folder());
    wrong.socket.clone_from(&absent);
    let why = wait_for(Oci::connect(wrong)).unwrap_err().to_string();
    assert!(why.contains(absent.to_str().unwrap()) && why.contains("systemctl start"), "{why}");
}
