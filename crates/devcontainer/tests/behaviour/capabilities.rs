//! What a backend can't honour is said before anything starts.

use windlass_devcontainer::capability::{Capabilities, Machine};

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

const MACHINE: Machine = Machine { cpus: 4, memory: 16 << 30, storage: 0, gpu: false };

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
            "devcontainer.json:14:15: warning: `--network=host` is for `docker run`; the backend `process` ignores it",
            "devcontainer.json:14:33: warning: `--shm-size` is for `docker run`; the backend `process` ignores it",
            "devcontainer.json:14:47: warning: `1g` is for `docker run`; the backend `process` ignores it",
            "devcontainer.json:16:33: needs 8 processors, this machine gives 4: choose a larger environment class or lower it",
            "devcontainer.json:16:46: needs 34359738368 bytes of memory, this machine gives 17179869184: choose a larger environment class or lower it",
            "devcontainer.json:16:79: needs a graphics processor, this machine gives none: choose another environment class or write \"optional\"",
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
        "runArgs": ["--shm-size=1g", "--init", "--memory", "1g"], "hostRequirements": { "gpu": true } }"#;
    assert_eq!(Project::new(text).on(capabilities).said(), Vec::<String>::new());
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
