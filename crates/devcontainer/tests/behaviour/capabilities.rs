//! What a backend can't honour is said before anything starts.

use windlass_devcontainer::capability::{Capabilities, Class, Machine};

use crate::project::Project;

const EVERYTHING: &str = r#"{
  "image": "i",
  "initializeCommand": "make secrets",
  "privileged": true,
  "capAdd": ["SYS_PTRACE", "CAP_NET_ADMIN"],
  "securityOpt": ["seccomp=unconfined", "label=type:x"],
  "mounts": [
    "type=bind,source=/var/run/docker.sock,target=/var/run/docker.sock",
    "type=volume,source=cache,target=/cache",
    "type=bind,source=${localWorkspaceFolder}/x,target=/x",
    "type=tmpfs,target=/tmp",
    "type=volume,source=../up,target=relative"
  ],
  "runArgs": ["--network=host", "--shm-size", "1g"],
  "appPort": 8080,
  "hostRequirements": { "cpus": 8, "memory": "32gb", "storage": "1gb", "gpu": true }
}"#;

const MACHINE: Machine = Machine { cpu_millis: 4000, memory: 16 << 30, storage: 0, gpu: false };

#[test]
fn the_process_backend_says_all_that_it_cannot_honour() {
    let project = Project::new(EVERYTHING).on(Capabilities::process(MACHINE));
    assert_eq!(
        project.said(),
        [
            "devcontainer.json:3:24: `initializeCommand` would run outside of the environment, on the runner, and doesn't: move what it does to `onCreateCommand`",
            "devcontainer.json:15:14: warning: `appPort` publishes nothing on the host; the ports are reached as `forwardPorts` are",
            "devcontainer.json:4:17: `privileged` gives all rights over the machine and isn't allowed on the backend `process`: remove it, or name the one capability that is needed in `capAdd`",
            "devcontainer.json:5:14: the capability `SYS_PTRACE` isn't allowed on the backend `process`: remove it or ask the operator to allow it",
            "devcontainer.json:5:28: the capability `CAP_NET_ADMIN` isn't allowed on the backend `process`: remove it or ask the operator to allow it",
            "devcontainer.json:6:19: `seccomp=unconfined` takes confinement away, which isn't allowed: remove it",
            "devcontainer.json:6:41: warning: `label=type:x` is for an engine; the backend `process` has its own rules",
            "devcontainer.json:8:5: `/var/run/docker.sock` is a folder of the host, which an environment doesn't see: use a volume (`type=volume`), or ask the operator to allow the folder",
            "devcontainer.json:12:5: the target `relative` isn't absolute: begin it with /",
            "devcontainer.json:12:5: `../up` is no volume's name: use letters, digits and `_.-`",
            "devcontainer.json:14:15: warning: `--network` is for `docker run`; the backend `process` ignores it",
            "devcontainer.json:14:33: warning: `--shm-size` is for `docker run`; the backend `process` ignores it",
            "devcontainer.json:16:33: needs 8 processors, this machine gives 4 processors: choose a larger environment class or lower it",
            "devcontainer.json:16:46: needs 32768 MiB of memory, this machine gives 16384 MiB of memory: choose a larger environment class or lower it",
            "devcontainer.json:16:79: needs a graphics processor, this machine gives none: choose a larger environment class or lower it",
        ]
    );
}

#[test]
fn an_operator_may_allow_what_is_refused_by_default() {
    let capabilities = Capabilities {
        binds: vec!["/srv/models".to_owned()],
        added: vec!["NET_ADMIN".to_owned()],
        privileged: true,
        initialize: true,
        machine: Machine { gpu: true, ..Machine::default() },
        ..Capabilities::oci(Machine::default())
    };
    let text = r#"{ "image": "i", "initializeCommand": "x", "privileged": true, "capAdd": ["cap_net_admin"],
        "mounts": ["type=bind,source=/srv/models/../models/a,target=/m"],
        "runArgs": ["--shm-size=1g", "--init", "--memory", "1g", "--cap-add=NET_ADMIN"], "hostRequirements": { "gpu": true } }"#;
    assert_eq!(Project::new(text).on(capabilities).said(), Vec::<String>::new());
}

#[test]
fn what_asks_for_more_than_its_class_gives_is_told_which_class_would_do() {
    let class = |name: &str, cpu_millis, memory: u64, gpu| Class {
        name: name.to_owned(),
        machine: Machine { cpu_millis, memory: memory << 30, storage: 0, gpu },
    };
    let small = class("small", 1500, 4, false);
    let said = |text: &str, classes: &[Class]| {
        let capabilities = Capabilities {
            class: Some(small.name.clone()),
            classes: [std::slice::from_ref(&small), classes].concat(),
            ..Capabilities::process(small.machine)
        };
        Project::new(text).on(capabilities).said()
    };
    let (big, huge) = (class("big", 8000, 16, false), class("huge", 64_000, 64, true));
    let two = r#"{ "hostRequirements": { "cpus": 2 } }"#;
    let needs =
        "devcontainer.json:1:33: needs 2 processors, the class `small` gives 1.5 processors: ";
    assert_eq!(
        said(two, &[big.clone(), huge.clone()]),
        [format!("{needs}one of the classes `big`, `huge` would do, or lower it")]
    );
    assert_eq!(
        said(two, &[]),
        [format!(
            "{needs}no class of the organisation would do: an admin makes one by `windlass class create`, or lower it"
        )]
    );
    // One that has enough of one thing and not of the other would not do.
    let both = r#"{ "hostRequirements": { "cpus": 1, "memory": "32gb", "gpu": true } }"#;
    assert_eq!(
        said(both, &[big, huge]),
        [
            "devcontainer.json:1:46: needs 32768 MiB of memory, the class `small` gives 4096 MiB of memory: the class `huge` would do, or lower it",
            "devcontainer.json:1:61: needs a graphics processor, the class `small` gives none: the class `huge` would do, or lower it",
        ]
    );
    let optional = r#"{ "hostRequirements": { "cpus": 1, "gpu": "optional" } }"#;
    assert_eq!(said(optional, &[]), Vec::<String>::new());
}

#[test]
fn what_an_image_or_a_feature_brings_is_judged_too() {
    let mut project = Project::new(r#"{ "image": "i", "features": { "./f": {} } }"#)
        .with(
            ".devcontainer/f/devcontainer-feature.json",
            r#"{ "id": "f", "capAdd": ["SYS_ADMIN"] }"#,
        )
        .on(Capabilities::oci(Machine::default()));
    let label = r#"[{ "privileged": true }, { "remoteUser": 5, "waitFor": "x" }]"#;
    project.images.entry("i".to_owned()).or_default().label = Some(label.to_owned());
    assert_eq!(
        project.said(),
        [
            "the label devcontainer.metadata of i: warning: `remoteUser` must be a string, it is a number; it is ignored",
            "the label devcontainer.metadata of i: warning: `waitFor` can't be `x`: it is one of initializeCommand, onCreateCommand, updateContentCommand, postCreateCommand, postStartCommand, postAttachCommand; it is ignored",
            "the label devcontainer.metadata of i: `privileged` gives all rights over the machine and isn't allowed on the backend `oci`: remove it, or name the one capability that is needed in `capAdd`",
            "f/devcontainer-feature.json:1:25: the capability `SYS_ADMIN` isn't allowed on the backend `oci`: remove it or ask the operator to allow it",
        ]
    );
}

#[test]
fn arguments_of_docker_run_are_taken_apart() {
    let text = r#"{ "image": "i", "runArgs": [
  "--shm-size", "1g", "evil-image",
  "--name=x",
  "-v", "/:/host",
  "--cap-add", "SYS_ADMIN",
  "--network=host",
  "-it", "word",
  "-uroot"
] }"#;
    let project = Project::new(text).on(Capabilities::oci(Machine::default()));
    let refused = "isn't among the allowed arguments of `docker run`: use the property for it (`mounts`, `capAdd`, `init`, ...) or ask the operator to allow it";
    assert_eq!(
        project.said(),
        [
            "devcontainer.json:2:23: `evil-image` belongs to no option of `docker run`: remove it".to_owned(),
            "devcontainer.json:3:3: warning: `--name` is the platform's to decide and is ignored".to_owned(),
            format!("devcontainer.json:4:3: `-v` {refused}"),
            "devcontainer.json:5:3: the capability `SYS_ADMIN` isn't allowed on the backend `oci`: remove it or ask the operator to allow it".to_owned(),
            format!("devcontainer.json:6:3: `--network` {refused}"),
            "devcontainer.json:7:3: warning: `-it` is the platform's to decide and is ignored".to_owned(),
            "devcontainer.json:7:10: `word` belongs to no option of `docker run`: remove it".to_owned(),
            format!("devcontainer.json:8:3: `-uroot` {refused}"),
        ]
    );
}

#[test]
fn services_are_judged_as_the_environment_is() {
    let compose = r#"services:
  app: { image: i, network_mode: "service:gone", volumes: ["/var/run/docker.sock:/s", "..:/w", "data:/d"] }
  db: { image: i, privileged: true, cap_add: [SYS_ADMIN], security_opt: [seccomp:unconfined], ports: ["1:1"] }
"#;
    let project = Project::new(r#"{ "dockerComposeFile": "c.yml", "service": "app" }"#)
        .with(".devcontainer/c.yml", compose)
        .on(Capabilities::oci(Machine::default()));
    assert_eq!(
        project.said(),
        ["c.yml:2:3: `app` is in the network of `gone`, which isn't a service"]
    );
    let project = project.with(".devcontainer/c.yml", &compose.replace("gone", "db"));
    assert_eq!(
        project.said(),
        [
            "c.yml:2:48: `/var/run/docker.sock` is a folder of the host, which an environment doesn't see: use a volume (`type=volume`), or ask the operator to allow the folder",
            "c.yml:3:19: the service `db` is `privileged`, which isn't allowed: remove it",
            "c.yml:3:37: the capability `SYS_ADMIN` isn't given to the service `db`: remove it",
            "c.yml:3:59: `seccomp:unconfined` takes confinement away, which isn't allowed: remove it",
            "c.yml:3:95: warning: the ports of `db` are published nowhere; they are reached as `forwardPorts` are",
        ]
    );
}

#[test]
fn users_come_from_the_project_the_image_or_are_root() {
    let users = |text: &str, image_user: &str| {
        let mut project = Project::new(text);
        project.images.entry("i".to_owned()).or_default().user = image_user.to_owned();
        let resolved = project.resolve().unwrap();
        (resolved.container_user().to_owned(), resolved.remote_user().to_owned())
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(users(r#"{ "image": "i" }"#, ""), pair("root", "root"));
    assert_eq!(users(r#"{ "image": "i" }"#, "node"), pair("node", "node"));
    assert_eq!(users(r#"{ "image": "i", "containerUser": "c" }"#, "node"), pair("c", "c"));
    assert_eq!(users(r#"{ "image": "i", "remoteUser": "r" }"#, "node"), pair("node", "r"));
}
