//! Building an environment from the inside: what its first process does before anything else runs, and
//! how it sees for itself that every layer is in force.
//!
//! Runs in the child of a fork of the supervisor, with one thread. Order matters: the network and the
//! file system are made with privileges, then the ids are given up, then the filters close behind it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::{
    contained::{self, Contained},
    door,
    error::{Error, Result},
    frame::{self, Inbox},
    identity::Identity,
    kernel,
    mounts::{self, Places},
    plan::{Demand, Layer, Plan, Scratch},
    protocol::{FromInit, ToInit},
    seccomp::Filters,
};

/// Everything that the first process knows when it starts.
#[derive(Debug)]
pub(crate) struct Blueprint<'a> {
    pub(crate) plan: &'a Plan,
    /// The environment's folder on the host.
    pub(crate) folder: &'a Path,
    pub(crate) identity: Identity,
    /// The namespaces that the process was started in.
    pub(crate) namespaces: i32,
    /// The compiled deny-list, or why there is none.
    pub(crate) filters: &'a std::result::Result<Filters, String>,
    /// The supervisor's own namespaces, to compare with.
    pub(crate) host: &'a Namespaces,
    /// Set where a container engine has made the environment, so that it is only proved here.
    pub(crate) contained: Option<&'a Contained>,
}

/// A process's namespaces, by kind.
pub(crate) type Namespaces = BTreeMap<&'static str, PathBuf>;

/// What was seen of each layer: how it is enforced, or why it is not.
pub(crate) type Proofs = Vec<(Layer, std::result::Result<String, String>)>;

/// An environment that stands.
pub(crate) struct Built {
    pub(crate) ports: Vec<u16>,
    pub(crate) sockets: Vec<OwnedFd>,
    pub(crate) proved: Proofs,
    pub(crate) shared_files: u64,
}

/// The namespaces of this process.
pub(crate) fn namespaces() -> Namespaces {
    ["user", "mnt", "pid", "ipc", "uts", "net"]
        .into_iter()
        .filter_map(|kind| Some((kind, std::fs::read_link(format!("/proc/self/ns/{kind}")).ok()?)))
        .collect()
}

/// Builds the environment around this process.
pub(crate) fn build(
    blueprint: &Blueprint<'_>,
    channel: BorrowedFd<'_>,
    inbox: &mut Inbox,
) -> Result<Built> {
    let Blueprint { plan, identity, .. } = blueprint;
    if !identity.by_root {
        // The supervisor writes the map of a user namespace that this process was born in.
        await_map(channel, inbox)?;
    }
    if blueprint.contained.is_some() {
        // Whatever loses its parent must be found below this process, as in a namespace of its own.
        kernel::set_process_property(libc::PR_SET_CHILD_SUBREAPER, 1)
            .map_err(|error| Error::build("adopt what is orphaned", error))?;
    } else {
        door::bring_loopback_up().map_err(|error| Error::build("open the doors", error))?;
    }
    let (ports, sockets) =
        door::open(&plan.doors).map_err(|error| Error::build("open the doors", error))?;
    if blueprint.namespaces & kernel::namespace::UTS != 0 {
        rustix::system::sethostname(mounts::host_name(plan).as_bytes())
            .map_err(|error| Error::build("set the host name", error))?;
    }
    let with_users = blueprint.plan.layers.demand(Layer::UserNamespace) != Demand::Off;
    let inside = if !identity.by_root || with_users {
        plan.inside_ids()
    } else {
        (identity.outside_uid, identity.outside_gid)
    };
    let own_root = plan
        .root
        .as_deref()
        .filter(|_| plan.writable_root)
        .map(|root| rustix::fs::stat(root).map(|stat| (stat.st_dev, stat.st_ino)))
        .transpose()
        .map_err(|error| Error::build("look at the image's copy", error))?;
    let planned = mounts::top_names(plan)
        .map_err(|error| Error::build("list what the root shall hold", error))?;
    let shared_files = match blueprint.contained {
        Some(contained) => contained::open_scratch().map(|()| contained.shared_files)?,
        None => mounts::enter(plan, &places(blueprint, inside))?,
    };
    let users = take_identity(blueprint, channel, inbox)?;
    confine(blueprint)?;
    let mut proved = prove(blueprint, &planned, own_root)?;
    if let Some((_, proof)) = proved.iter_mut().find(|(layer, _)| *layer == Layer::UserNamespace)
        && let Err(why) = users
    {
        *proof = Err(why);
    }
    Ok(Built { ports, sockets, proved, shared_files })
}

/// Prepares the folders that the environment needs on disk. Called by the supervisor.
pub(crate) fn make_folders(folder: &Path, plan: &Plan, identity: Identity) -> io::Result<()> {
    std::fs::create_dir(folder)?;
    let mut names = vec!["home".to_owned()];
    if plan.scratch == Scratch::Disk {
        names.extend(["tmp", "var-tmp"].map(str::to_owned));
    }
    names.extend((0..plan.volumes.len()).map(mounts::volume_name));
    for name in names {
        let path = folder.join(&name);
        // The supervisor's own mask keeps these closed to others; inside they are the user's.
        std::fs::create_dir(&path)?;
        if identity.by_root {
            std::os::unix::fs::chown(
                &path,
                Some(identity.outside_uid),
                Some(identity.outside_gid),
            )?;
        }
    }
    Ok(())
}

fn places<'a>(blueprint: &'a Blueprint<'_>, inside: (u32, u32)) -> Places<'a> {
    let identity = blueprint.identity;
    let folder = blueprint.folder;
    Places {
        environment: folder,
        home: folder.join("home"),
        scratch: (blueprint.plan.scratch == Scratch::Disk)
            .then(|| (folder.join("tmp"), folder.join("var-tmp"))),
        owner: identity.by_root.then_some((identity.outside_uid, identity.outside_gid)),
        inside,
    }
}

/// Stops being root: into a user namespace where one is wanted and to be had, then to the
/// environment's own user. Answers whether there is a user namespace.
fn take_identity(
    blueprint: &Blueprint<'_>,
    channel: BorrowedFd<'_>,
    inbox: &mut Inbox,
) -> Result<std::result::Result<(), String>> {
    let identity = blueprint.identity;
    let (inside_uid, inside_gid) = blueprint.plan.inside_ids();
    let become_user = |uid, gid| {
        kernel::become_user(uid, gid)
            .map_err(|error| Error::build("become the environment's user", error))
    };
    if !identity.by_root {
        become_user(inside_uid, inside_gid)?;
        return Ok(Ok(()));
    }
    kernel::leave_groups().map_err(|error| Error::build("leave the caller's groups", error))?;
    let plain = |why: String| {
        // Afterwards it would be too late: the right to do so goes with root.
        kernel::drop_bounding_set();
        become_user(identity.outside_uid, identity.outside_gid)?;
        Ok(Err(why))
    };
    match blueprint.plan.layers.demand(Layer::UserNamespace) {
        Demand::Off => plain("the plan does not want it".to_owned()),
        demand => match kernel::try_unshare_user() {
            Ok(()) => {
                frame::send(channel, &FromInit::MapMe, Vec::new())
                    .map_err(|error| Error::build("ask for ids", error))?;
                await_map(channel, inbox)?;
                become_user(inside_uid, inside_gid)?;
                Ok(Ok(()))
            }
            Err(error) if demand == Demand::Wanted => plain(error.to_string()),
            Err(error) => Err(Error::LayerMissing {
                layer: Layer::UserNamespace,
                why: error.to_string(),
                remedy: crate::remedy::user_namespace(),
            }),
        },
    }
}

fn await_map(channel: BorrowedFd<'_>, inbox: &mut Inbox) -> Result<()> {
    let failed = |why: String| Error::build("get ids from the supervisor", why);
    match frame::receive(channel, inbox) {
        Ok(Some(frame)) => match frame.parse() {
            Ok(ToInit::Mapped) => Ok(()),
            Ok(other) => Err(failed(format!("it said {other:?} instead"))),
            Err(error) => Err(failed(error.to_string())),
        },
        // The supervisor is gone: nobody is left to report to.
        Ok(None) => kernel::exit_now(1),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Closes every way back.
fn confine(blueprint: &Blueprint<'_>) -> Result<()> {
    let step = |what: &'static str| move |error: io::Error| Error::build(what, error);
    kernel::drop_capabilities().map_err(step("drop capabilities"))?;
    kernel::set_process_property(libc::PR_SET_NO_NEW_PRIVS, 1)
        .map_err(step("set no-new-privileges"))?;
    // Before the filter, behind which this limit cannot be changed.
    crate::keeper::forbid_core_dumps().map_err(step("forbid core dumps"))?;
    // This process holds a copy of the supervisor's memory: no program may look into it.
    kernel::set_process_property(libc::PR_SET_DUMPABLE, 0)
        .map_err(step("close this process to tracing"))?;
    // Changing ids has cleared this; the supervisor's death must end the environment.
    kernel::set_process_property(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)
        .map_err(step("tie this process to the supervisor"))?;
    match (blueprint.filters, blueprint.plan.layers.demand(Layer::Seccomp)) {
        (_, Demand::Off) => Ok(()),
        (Ok(filters), demand) => match filters.install() {
            Ok(()) => Ok(()),
            Err(_) if demand == Demand::Wanted => Ok(()),
            Err(error) => Err(seccomp_missing(&error.to_string())),
        },
        (Err(_), Demand::Wanted) => Ok(()),
        (Err(why), Demand::Required) => Err(seccomp_missing(why)),
    }
}

fn seccomp_missing(why: &str) -> Error {
    Error::LayerMissing {
        layer: Layer::Seccomp,
        why: why.to_owned(),
        remedy: crate::remedy::seccomp(),
    }
}

/// Looks at every layer from inside. A structural layer that is not there is an error; of the others
/// the caller judges by the plan's demands.
fn prove(
    blueprint: &Blueprint<'_>,
    planned: &BTreeSet<PathBuf>,
    own_root: Option<(u64, u64)>,
) -> Result<Proofs> {
    let own = namespaces();
    let namespace = |kind: &'static str| match (own.get(kind), blueprint.host.get(kind)) {
        (Some(own), Some(host)) if own != host => {
            Ok(format!("{} is not the host's", own.display()))
        }
        (Some(_), Some(_)) => Err("it is the host's".to_owned()),
        _ => Err("/proc/self/ns does not tell".to_owned()),
    };
    let proofs: Proofs = vec![
        (Layer::UserNamespace, namespace("user")),
        (Layer::MountNamespace, namespace("mnt")),
        (
            Layer::PidNamespace,
            namespace("pid").and_then(|seen| {
                if blueprint.contained.is_some() {
                    return contained::below_the_first_process().map(|()| seen);
                }
                (std::process::id() == 1)
                    .then_some(seen)
                    .ok_or_else(|| "this is not process 1".to_owned())
            }),
        ),
        (Layer::IpcNamespace, namespace("ipc")),
        (Layer::UtsNamespace, namespace("uts")),
        (Layer::Network, namespace("net").and_then(|_| only_loopback())),
        (
            Layer::ReadOnlyRoot,
            match own_root {
                _ if blueprint.contained.is_some() => contained::read_only(blueprint.plan),
                Some(own_root) => is_root(own_root),
                None => read_only(blueprint.plan),
            },
        ),
        (
            Layer::MaskedHost,
            if blueprint.contained.is_some() {
                contained::masked(blueprint.plan)
            } else {
                masked(planned)
            },
        ),
        (Layer::NoNewPrivileges, no_new_privileges()),
        (Layer::Capabilities, no_capabilities()),
        (Layer::Seccomp, filtered(blueprint.plan)),
    ];
    for (layer, proof) in &proofs {
        if let Err(why) = proof
            && layer.is_structural()
        {
            return Err(Error::LayerMissing {
                layer: *layer,
                why: why.clone(),
                remedy: "run `windlass doctor` and report what it prints".to_owned(),
            });
        }
    }
    Ok(proofs)
}

type Proof = std::result::Result<String, String>;

fn only_loopback() -> Proof {
    let table = std::fs::read_to_string("/proc/self/net/dev").map_err(|error| error.to_string())?;
    let names: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .collect();
    if names == ["lo"] {
        Ok("the only interface is lo".to_owned())
    } else {
        Err(format!("there are the interfaces {}", names.join(", ")))
    }
}

/// Whether the root is the one folder that was made to be written.
fn is_root(own_root: (u64, u64)) -> Proof {
    let seen = rustix::fs::stat("/").map_err(|error| error.to_string())?;
    if (seen.st_dev, seen.st_ino) == own_root {
        Ok("the root is a copy of the environment's own".to_owned())
    } else {
        Err("the root is another folder than the plan's".to_owned())
    }
}

fn read_only(plan: &Plan) -> Proof {
    let folders: Vec<PathBuf> = match &plan.root {
        Some(_) => image_folders(plan).map_err(|error| error.to_string())?,
        None => mounts::system_folders().collect(),
    };
    for path in std::iter::once(PathBuf::from("/")).chain(folders) {
        if !path.exists() {
            continue;
        }
        let seen = statvfs(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if !seen.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(format!("{} is writable", path.display()));
        }
    }
    Ok("the root and every system folder are read-only".to_owned())
}

/// The folders of an image directly below the root.
fn image_folders(plan: &Plan) -> io::Result<Vec<PathBuf>> {
    let own = ["dev", "proc", "run", "sys", "tmp"].map(|name| Path::new("/").join(name));
    let is_own = |path: &PathBuf| {
        own.contains(path)
            || plan.work_tree.inside == *path
            || plan.home() == path
            || plan.volumes.contains(path)
            || plan.again.iter().any(|again| again.inside == *path)
    };
    let all = mounts::entries(Path::new("/"))?.into_iter().map(|name| Path::new("/").join(name));
    let is_folder =
        |path: &PathBuf| path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    Ok(all.filter(|path| is_folder(path) && !is_own(path)).collect())
}

fn masked(planned: &BTreeSet<PathBuf>) -> Proof {
    let seen = mounts::entries(Path::new("/")).map_err(|error| error.to_string())?;
    match seen.iter().find(|name| !planned.contains(*name)) {
        Some(stray) => Err(format!("/{} was not planned", stray.display())),
        None => Ok("the root holds only what was planned".to_owned()),
    }
}

fn no_new_privileges() -> Proof {
    match kernel::process_property(libc::PR_GET_NO_NEW_PRIVS) {
        Ok(1) => Ok("the kernel says so".to_owned()),
        Ok(_) => Err("the kernel says that it is off".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn no_capabilities() -> Proof {
    let outcome = crate::canary::attempt(&crate::canary::Canary::HoldCapability);
    if outcome.stopped { Ok(outcome.detail) } else { Err(outcome.detail) }
}

fn filtered(plan: &Plan) -> Proof {
    if plan.layers.demand(Layer::Seccomp) == Demand::Off {
        return Err("the plan does not want it".to_owned());
    }
    // A refused call with harmless arguments: without a filter the kernel would answer EFAULT or EINVAL.
    let outcome =
        crate::canary::attempt(&crate::canary::Canary::SystemCall(libc::SYS_name_to_handle_at));
    match kernel::process_property(libc::PR_GET_SECCOMP) {
        Ok(2) if outcome.stopped => Ok("a refused call was refused".to_owned()),
        Ok(mode) => Err(format!("filter mode {mode}; {}", outcome.detail)),
        Err(error) => Err(error.to_string()),
    }
}
