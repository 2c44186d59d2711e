//! What goes wrong around a container, and what attacks from inside come to.

use std::path::{Path, PathBuf};

use bollard::{
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptionsBuilder, KillContainerOptions, RemoveContainerOptions,
    },
};
use windlass_oci::Oci;
use windlass_sandbox::{
    Backend, Bind, Client, Demand, EnvironmentId, Error, Exec, Layer, OperationId, Plan,
    canary::{Canary, refused_calls},
};

use super::{
    docker::IMAGE,
    stage::{OciStage, options},
    suite::{Stage, wait_for},
};

pub fn all(stage: &OciStage<'_>) {
    attacks_from_inside_are_stopped(stage);
    a_masked_path_of_the_tree_is_empty(stage);
    a_killed_first_process_takes_everything_along_and_is_told(stage);
    a_first_process_that_does_not_start_leaves_nothing(stage);
    a_required_layer_that_is_not_to_be_had_leaves_nothing(stage);
    containers_of_others_are_left_alone(stage);
}

fn plan(stage: &OciStage<'_>, name: &str) -> Plan {
    let tree = stage.folder().join(format!("tree-of-{name}"));
    std::fs::create_dir_all(&tree).unwrap();
    Plan::new(EnvironmentId::parse(name).unwrap(), tree, "/workspace/tree")
}

fn create(stage: &OciStage<'_>, oci: &Oci, plan: &Plan) -> Result<(), Error> {
    let prepared = wait_for(stage.oci.prepare(&stage.base(), &mut |_| {})).unwrap();
    wait_for(oci.create(plan, &prepared)).map(drop)
}

fn exec(name: &str, script: &str) -> Exec {
    Exec::capture(OperationId::parse(name).unwrap(), ["sh", "-c", script])
}

/// The folder of an environment's own supervisor, seen from the host.
fn state_of(stage: &OciStage<'_>, plan: &Plan) -> PathBuf {
    stage.folder().parent().unwrap().join("state").join(plan.id.as_str()).join("state")
}

fn attacks_from_inside_are_stopped(stage: &OciStage<'_>) {
    let plan = plan(stage, "attacked");
    create(stage, &stage.oci, &plan).unwrap();
    let client = Client::connect(&state_of(stage, &plan)).unwrap();
    let state = Path::new("/.windlass/state");
    let mut attacks = vec![
        Canary::Write("/etc/passwd".into()),
        Canary::Write("/.windlass/first".into()),
        Canary::Read(state.to_path_buf()),
        Canary::ConnectUnix(state.join("supervisor.sock")),
        Canary::ConnectUnix(stage.engine.socket()),
        Canary::Connect("192.0.2.1:80".parse().unwrap()),
        Canary::Mount,
        Canary::UserNamespace,
        Canary::CloneUserNamespace,
        Canary::Trace,
        Canary::ReadMemory,
        Canary::BecomeRoot,
        Canary::HoldCapability,
        Canary::SeeInterfaces,
        Canary::PushTerminalInput,
    ];
    attacks.extend(refused_calls().map(|(number, _)| Canary::SystemCall(number)));
    for attack in attacks {
        let outcome = client.probe(&plan.id, &attack).block().unwrap();
        assert!(outcome.stopped, "{attack:?}: {}", outcome.detail);
    }
    wait_for(stage.oci.destroy(&plan.id)).unwrap();
}

fn a_masked_path_of_the_tree_is_empty(stage: &OciStage<'_>) {
    let mut plan = plan(stage, "masked");
    std::fs::create_dir_all(plan.work_tree.host.join("keys")).unwrap();
    std::fs::write(plan.work_tree.host.join("keys/secret"), "secret").unwrap();
    std::fs::write(plan.work_tree.host.join("key"), "secret").unwrap();
    // What is shown in the home must not keep it from being the user's.
    plan.binds = vec![Bind {
        host: plan.work_tree.host.join("keys"),
        inside: "/home/agent/shown".into(),
        optional: false,
    }];
    plan.masks = ["keys", "key", "absent"].map(|name| plan.work_tree.inside.join(name)).into();
    create(stage, &stage.oci, &plan).unwrap();
    let look = exec(
        "look",
        "test -e ~/shown/secret && touch ~/new && ls -A keys; cat key; echo x > key || echo closed",
    )
    .in_folder("/workspace/tree");
    wait_for(stage.oci.exec(&plan.id, &look)).unwrap();
    wait_for(stage.oci.wait(&plan.id, &look.operation)).unwrap();
    let said = wait_for(stage.oci.output(&plan.id, &look.operation, 0)).unwrap();
    let out: Vec<u8> = said
        .chunks
        .into_iter()
        .filter(|chunk| chunk.stream == windlass_sandbox::spool::Stream::Output)
        .flat_map(|chunk| chunk.bytes)
        .collect();
    assert_eq!(String::from_utf8_lossy(&out), "closed\n");
    wait_for(stage.oci.destroy(&plan.id)).unwrap();
    assert_eq!(std::fs::read_to_string(plan.work_tree.host.join("key")).unwrap(), "secret");
}

fn a_killed_first_process_takes_everything_along_and_is_told(stage: &OciStage<'_>) {
    let plan = plan(stage, "killed");
    create(stage, &stage.oci, &plan).unwrap();
    let long = exec("long", "echo up; sleep 1000");
    wait_for(stage.oci.exec(&plan.id, &long)).unwrap();
    wait_for(stage.oci.output(&plan.id, &long.operation, 0)).unwrap();
    let names = stage.engine.containers();
    let name = names.iter().find(|name| name.ends_with("-killed")).unwrap();
    let name = name.trim_start_matches('/');
    wait_for(stage.engine.api().kill_container(name, None::<KillContainerOptions>)).unwrap();
    let status = wait_for(stage.oci.wait(&plan.id, &long.operation)).unwrap();
    assert!(matches!(status.state, windlass_sandbox::State::Lost { .. }), "{status:?}");
    let error = wait_for(stage.oci.exec(&plan.id, &exec("new", "true"))).unwrap_err();
    assert!(matches!(error, Error::Disconnected { .. }), "{error}");
    let error = create(stage, &stage.oci, &plan).unwrap_err();
    assert!(error.to_string().contains("destroy it first"), "{error}");
    wait_for(stage.oci.destroy(&plan.id)).unwrap();
    create(stage, &stage.oci, &plan).unwrap();
    wait_for(stage.oci.destroy(&plan.id)).unwrap();
}

fn a_first_process_that_does_not_start_leaves_nothing(stage: &OciStage<'_>) {
    let before = stage.traces();
    let mut wrong = options(stage.engine, stage.folder().parent().unwrap());
    wrong.helper = "/bin/false".into();
    let oci = wait_for(Oci::connect(wrong)).unwrap();
    let error = create(stage, &oci, &plan(stage, "broken")).unwrap_err();
    assert!(error.to_string().contains("first process"), "{error}");
    assert_eq!(stage.traces(), before);
}

fn a_required_layer_that_is_not_to_be_had_leaves_nothing(stage: &OciStage<'_>) {
    let before = stage.traces();
    let mut plan = plan(stage, "demanding");
    plan.limits.disk_bytes = Some(1 << 30);
    plan.layers = plan.layers.with(Layer::DiskLimit, Demand::Required);
    let error = create(stage, &stage.oci, &plan).unwrap_err();
    assert!(matches!(error, Error::LayerMissing { layer: Layer::DiskLimit, .. }), "{error}");
    assert_eq!(stage.traces(), before);
}

fn containers_of_others_are_left_alone(stage: &OciStage<'_>) {
    let api = stage.engine.api();
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(vec!["true".to_owned()]),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name("somebody-elses").build();
    wait_for(api.create_container(Some(options), body)).unwrap();
    assert_eq!(wait_for(stage.oci.sweep()).unwrap(), 0);
    assert_eq!(stage.engine.containers(), ["/somebody-elses"]);
    wait_for(api.remove_container("somebody-elses", None::<RemoveContainerOptions>)).unwrap();
}
