//! The one command that makes a missing layer available, found by looking at the host's settings.

use std::fs;

use crate::plan::Layer;

/// What to do when a namespace or filter is refused.
pub(crate) fn of(layer: Layer) -> String {
    match layer {
        Layer::UserNamespace => user_namespace(),
        Layer::Seccomp => seccomp(),
        Layer::MountNamespace
        | Layer::PidNamespace
        | Layer::IpcNamespace
        | Layer::UtsNamespace
        | Layer::Network => namespace(layer),
        Layer::ReadOnlyRoot | Layer::MaskedHost => {
            "use Linux 5.12 or newer (mount_setattr)".to_owned()
        }
        Layer::NoNewPrivileges | Layer::Capabilities => {
            "use a Linux kernel with these options compiled in".to_owned()
        }
        Layer::MemoryLimit | Layer::CpuLimit | Layer::ProcessLimit | Layer::FileLimits => {
            "systemd-run --user --scope -p Delegate=yes windlass up (or run windlass as root)"
                .to_owned()
        }
        Layer::DiskLimit => {
            "put the state folder on a file system of its own, of the size wanted".to_owned()
        }
    }
}

/// What keeps user namespaces from an ordinary user differs by distribution.
pub(crate) fn user_namespace() -> String {
    let switches = [
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            "/proc/sys/user/max_user_namespaces",
            "0",
            "sudo sysctl -w user.max_user_namespaces=15000",
        ),
    ];
    for (path, bad, command) in switches {
        if fs::read_to_string(path).is_ok_and(|value| value.trim() == bad) {
            return command.to_owned();
        }
    }
    in_container()
}

/// What to do when the kernel takes no filter.
pub(crate) fn seccomp() -> String {
    "use a Linux kernel with CONFIG_SECCOMP_FILTER".to_owned()
}

fn namespace(layer: Layer) -> String {
    let name = match layer {
        Layer::MountNamespace => "mnt",
        Layer::PidNamespace => "pid",
        Layer::IpcNamespace => "ipc",
        Layer::UtsNamespace => "uts",
        _ => "net",
    };
    let setting = format!("user.max_{name}_namespaces");
    let path = format!("/proc/sys/user/max_{name}_namespaces");
    if fs::read_to_string(path).is_ok_and(|value| value.trim() == "0") {
        format!("sudo sysctl -w {setting}=15000")
    } else {
        in_container()
    }
}

fn in_container() -> String {
    "run windlass as root; in a container, start it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined --cap-add SYS_ADMIN`".to_owned()
}
