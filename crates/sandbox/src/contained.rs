//! Supervising from inside: the first process of a container that a container engine made.
//!
//! An engine gives namespaces, a root file system and control groups, but no exact arguments (its texts
//! are Unicode), no way to kill what one program started, and no answer to "was this executed already?".
//! So a container's first process is our own supervisor, for one environment that it does not build but
//! finds around it: the same operations, the same doors (listening sockets that are handed out over the
//! socket), the same filters and proofs. It answers on a socket in a folder that only root can enter.
//!
//! Nothing here trusts the engine: every layer is looked at from inside, and compared with what the
//! caller said about its host, before the environment is called ready.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::{
    build::Namespaces,
    error::{Error, Result},
    plan::Plan,
    supervisor::{self, Options},
};

/// The folder inside in which all that is ours lies: this program, its libraries, its socket and spools.
pub const FOLDER: &str = "/.windlass";
/// The state folder inside.
pub const STATE: &str = "/.windlass/state";

/// What a supervisor in a container is told by whoever made the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contained {
    /// The user and group id, seen from the container, that the environment's processes get.
    pub(crate) user_id: u32,
    /// How many files of the work tree were left with another owner when it was given away.
    pub(crate) shared_files: u64,
    /// The namespaces of the host, which must not be those in here.
    pub(crate) host: Namespaces,
}

/// The arguments for [`serve`]: how long the container outlives its last caller, whose ids its programs
/// get, how many files of the tree did not become theirs, and the namespaces of this process, from which
/// it must be apart. The work tree and the home are given away before, by whoever makes the container:
/// from inside, mounts lie on them.
pub fn arguments(orphan_grace: Duration, user_id: u32, shared_files: u64) -> Vec<String> {
    let host: Vec<String> = crate::build::namespaces()
        .into_iter()
        .map(|(kind, path)| format!("{kind}={}", path.display()))
        .collect();
    let numbers =
        [orphan_grace.as_millis().to_string(), user_id.to_string(), shared_files.to_string()];
    numbers.into_iter().chain([host.join(",")]).collect()
}

/// Runs the supervisor as the first process of a container, with the arguments that [`arguments`] made.
/// Must be called first thing in a process that has one thread.
///
/// # Errors
/// [`Error::InvalidPlan`] for other arguments, or when this is not a container's first process;
/// [`Error::Io`] when the state folder cannot be used.
pub fn serve(arguments: &[OsString]) -> Result<()> {
    let text: Vec<&str> = arguments.iter().filter_map(|one| one.to_str()).collect();
    let [grace, user_id, shared_files, host] = text.as_slice() else {
        return Err(Error::invalid("a contained supervisor takes four arguments"));
    };
    let (Ok(grace), Ok(user_id), Ok(shared_files)) =
        (grace.parse(), user_id.parse(), shared_files.parse())
    else {
        return Err(Error::invalid("the grace, the user id and the count of files are numbers"));
    };
    if std::process::id() != 1 {
        return Err(Error::invalid("this is only for the first process of a container"));
    }
    let host: Namespaces = host
        .split(',')
        .filter_map(|one| one.split_once('='))
        .filter_map(|(kind, path)| Some((known_kind(kind)?, PathBuf::from(path))))
        .collect();
    let options = Options { state_dir: STATE.into(), orphan_grace: Duration::from_millis(grace) };
    supervisor::serve_contained(&options, Contained { user_id, shared_files, host })
}

fn known_kind(kind: &str) -> Option<&'static str> {
    ["user", "mnt", "pid", "ipc", "uts", "net"].into_iter().find(|known| *known == kind)
}

/// Opens the scratch folders to all; engines give them the mode of the image's own folders.
pub(crate) fn open_scratch() -> Result<()> {
    for scratch in ["/tmp", "/var/tmp"] {
        std::fs::set_permissions(scratch, PermissionsExt::from_mode(0o1777))
            .map_err(|error| Error::build(format!("open {scratch} to all"), error))?;
    }
    Ok(())
}

/// Whether this is a child of the first process of a namespace that is not the host's.
pub(crate) fn below_the_first_process() -> std::result::Result<(), String> {
    match rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get()) {
        Some(1) => Ok(()),
        other => Err(format!("the parent is process {other:?} instead of the first")),
    }
}

/// Whether the root and everything that the plan binds read-only is read-only.
pub(crate) fn read_only(plan: &Plan) -> std::result::Result<String, String> {
    let binds = plan.binds.iter().map(|bind| bind.inside.as_path()).filter(|path| path.exists());
    for path in std::iter::once(Path::new("/")).chain(binds) {
        let seen = statvfs(path).map_err(|error| format!("{}: {error}", path.display()))?;
        if !seen.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(format!("{} is writable", path.display()));
        }
    }
    Ok("the image and every bind are read-only".to_owned())
}

/// Whether every mount is the kernel's own or was planned: nothing else of the host can be seen.
pub(crate) fn masked(plan: &Plan) -> std::result::Result<String, String> {
    let table =
        std::fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    match stray_mount(plan, &table) {
        Some(stray) => Err(format!("{stray} was not planned")),
        None => Ok("every mount is the image, the kernel's own, or was planned".to_owned()),
    }
}

/// File systems that show nothing of the host's disks.
const OF_THE_KERNEL: [&str; 9] =
    ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "ramfs", "devtmpfs"];
/// Files that engines put into every container.
const OF_THE_ENGINE: [&str; 3] = ["/etc/resolv.conf", "/etc/hostname", "/etc/hosts"];

fn stray_mount(plan: &Plan, mountinfo: &str) -> Option<String> {
    let mut planned: BTreeMap<PathBuf, ()> = OF_THE_ENGINE
        .into_iter()
        .chain(["/", "/tmp", "/var/tmp"])
        .map(|path| (PathBuf::from(path), ()))
        .collect();
    planned.insert(plan.home().to_path_buf(), ());
    planned.insert(plan.work_tree.inside.clone(), ());
    planned.extend(plan.binds.iter().map(|bind| (bind.inside.clone(), ())));
    planned.extend(plan.volumes.iter().map(|path| (path.clone(), ())));
    planned.extend(plan.again.iter().map(|again| (again.inside.clone(), ())));
    planned.extend(plan.masks.iter().map(|mask| (mask.clone(), ())));
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let point = unescape(before.split(' ').nth(4)?);
        let kind = after.split(' ').next()?;
        let known = planned.contains_key(Path::new(&point))
            || OF_THE_KERNEL.contains(&kind)
            || Path::new(&point).starts_with(FOLDER);
        (!known).then_some(point)
    })
}

/// The kernel writes blanks in paths as octal numbers.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Bind, EnvironmentId};

    #[test]
    fn a_mount_of_the_host_that_nobody_planned_is_found() {
        let mut plan =
            Plan::new(EnvironmentId::parse("one").unwrap(), "/host/tree", "/workspace/my tree");
        plan.binds.push(Bind {
            host: "/opt/tools".into(),
            inside: "/opt/tools".into(),
            optional: false,
        });
        let fine = "\
1 0 0:50 / / ro - overlay overlay ro
2 1 0:51 / /proc rw - proc proc rw
3 1 8:1 /a /workspace/my\\040tree rw - ext4 /dev/sda rw
4 1 8:1 /b /opt/tools ro - ext4 /dev/sda rw
5 1 8:1 /c /.windlass/state rw - ext4 /dev/sda rw
6 1 8:1 /d /etc/hosts rw - ext4 /dev/sda rw
";
        assert_eq!(stray_mount(&plan, fine), None);
        let stray = format!("{fine}7 1 8:1 /run /var/run/docker.sock rw - ext4 /dev/sda rw\n");
        assert_eq!(stray_mount(&plan, &stray).as_deref(), Some("/var/run/docker.sock"));
    }
}
