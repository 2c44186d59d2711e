//! One environment as the supervisor sees it: made by a fork, ready or not, and ended for sure.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::{Ticket, operation::Operation};
use crate::{
    build::{self, Blueprint, Namespaces, Proofs},
    cgroup::{Group, Hierarchies},
    contained::Contained,
    error::{Error, Result},
    frame::{Fill, Frame, Inbox, Outbox},
    identity::{Identity, Power},
    init,
    kernel::{self, Forked, namespace},
    plan::{Demand, Enforced, Layer, Limits, OperationId, Plan, Report},
    protocol::{Reply, ToInit},
    remedy,
    seccomp::Filters,
};

/// What the supervisor knows about its host, found once at its start.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) power: Power,
    pub(super) hierarchies: Hierarchies,
    namespaces: Namespaces,
    /// Set where the container around this process is the environment.
    pub(super) contained: Option<Contained>,
    filters: std::result::Result<Filters, String>,
    filters_with_ptrace: std::result::Result<Filters, String>,
    filters_of_builds: std::result::Result<Filters, String>,
    /// Whether the kernel counts processes per user namespace (since 5.14).
    counts_per_namespace: bool,
    /// How many files this process might open before it raised that for itself.
    open_files: Rlimit,
}

/// One environment.
#[derive(Debug)]
pub(super) struct Environment {
    pub(super) plan: Plan,
    pub(super) folder: PathBuf,
    pub(super) identity: Identity,
    pub(super) stage: Stage,
    /// The first process; 0 once it was reaped.
    pub(super) pid: i32,
    pub(super) channel: OwnedFd,
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
    sockets: Vec<OwnedFd>,
    ports: Vec<u16>,
    pub(super) report: Option<Report>,
    pub(super) group: Group,
    pub(super) operations: BTreeMap<OperationId, Operation>,
    /// Operations that were forgotten while something of them still runs.
    pub(super) background: Vec<Operation>,
    pub(super) creating: Vec<Ticket>,
    pub(super) destroying: Vec<Ticket>,
    /// Why it is being torn down, for those who wait for its creation.
    pub(super) failure: Option<Error>,
}

/// Where an environment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its first process is building it.
    Building,
    /// It takes operations.
    Ready,
    /// Its first process was killed and is not reaped yet.
    Dying,
    /// Its first process ended unasked; what is known is kept until it is destroyed.
    Dead,
    /// Its files are being removed.
    Removing,
}

impl Host {
    pub(super) fn look(hierarchies: Hierarchies, contained: Option<Contained>) -> Self {
        let (power, namespaces) = match &contained {
            None => (Power::of_this_process(), build::namespaces()),
            Some(contained) => (Power::given(contained.user_id), contained.host.clone()),
        };
        Self {
            power,
            hierarchies,
            namespaces,
            contained,
            filters: Filters::compile(false),
            filters_with_ptrace: Filters::compile(true),
            filters_of_builds: Filters::compile_for_builds(),
            counts_per_namespace: kernel_is_at_least(5, 14),
            open_files: raise_open_files(),
        }
    }
}

impl Environment {
    /// Forks the first process of a new environment.
    pub(super) fn start(
        host: &Host,
        plan: &Plan,
        folder: PathBuf,
        identity: Identity,
    ) -> Result<Self> {
        let namespaces = match host.contained {
            None => choose_namespaces(plan, identity)?,
            Some(_) => 0,
        };
        build::make_folders(&folder, plan, identity)
            .map_err(|error| Error::io(format!("make {}", folder.display()), error))?;
        let mut group = match host.contained {
            None => host.hierarchies.make(plan.id.as_str(), &plan.limits),
            Some(_) => host.hierarchies.found(&plan.limits),
        };
        let counted = matches!(group.verdicts.get(&Layer::ProcessLimit), Some(Ok(_)));
        match fork_init(host, plan, &folder, identity, namespaces, counted) {
            Ok((pid, channel)) => {
                if let Err(error) = group.admit(pid) {
                    for verdict in group.verdicts.values_mut() {
                        *verdict = Err(crate::cgroup::Missing {
                            why: format!("the first process cannot be put into its group: {error}"),
                            remedy: remedy::of(Layer::MemoryLimit),
                        });
                    }
                }
                let mut environment = Self {
                    plan: plan.clone(),
                    folder,
                    identity,
                    stage: Stage::Building,
                    pid,
                    channel,
                    inbox: Inbox::default(),
                    outbox: Outbox::default(),
                    sockets: Vec::new(),
                    ports: Vec::new(),
                    report: None,
                    group,
                    operations: BTreeMap::new(),
                    background: Vec::new(),
                    creating: Vec::new(),
                    destroying: Vec::new(),
                    failure: None,
                };
                if !identity.by_root
                    && let Err(error) = environment.map_ids()
                {
                    environment.fail(error);
                }
                Ok(environment)
            }
            Err(error) => {
                group.remove();
                // The folders were made a moment ago and are empty.
                let _removed = crate::tree::remove(&folder);
                Err(error)
            }
        }
    }

    /// Writes the ids of the first process's user namespace and lets it go on.
    pub(super) fn map_ids(&mut self) -> Result<()> {
        let write = |file: &str, text: &str| {
            let path = format!("/proc/{}/{file}", self.pid);
            std::fs::write(&path, text)
                .map_err(|error| Error::build(format!("write {path}"), error))
        };
        write("setgroups", "deny")?;
        let (user_id, group_id) = self.plan.inside_ids();
        write("uid_map", &self.identity.uid_map(user_id))?;
        write("gid_map", &self.identity.gid_map(group_id))?;
        self.order(&ToInit::Mapped, Vec::new());
        Ok(())
    }

    /// Takes what the first process says about the environment that it built, and judges it by the
    /// plan's demands.
    pub(super) fn accept(
        &mut self,
        host: &Host,
        frame: Frame,
        ports: Vec<u16>,
        proofs: &Proofs,
        shared_files: u64,
    ) -> Result<()> {
        let layers = Layer::ALL
            .into_iter()
            .map(|layer| self.judge(host, layer, proofs))
            .collect::<Result<Vec<_>>>()?;
        if ports.len() != self.plan.doors.len() || frame.descriptors.len() != ports.len() {
            return Err(Error::build("open the doors", "not every door came with its socket"));
        }
        let has_users = layers.iter().any(|row| row.layer == Layer::UserNamespace && row.in_force);
        self.sockets = frame.descriptors;
        self.ports = ports;
        self.report = Some(Report {
            layers,
            outside_uid: self.identity.outside_uid,
            outside_gid: self.identity.outside_gid,
            inside_uid: if has_users {
                self.plan.inside_ids().0
            } else {
                self.identity.outside_uid
            },
            shared_files,
        });
        self.stage = Stage::Ready;
        Ok(())
    }

    /// The answer to whoever creates or adopts: the report, and a copy of each listening socket.
    pub(super) fn describe(&self) -> Result<(Reply, Vec<OwnedFd>)> {
        let Some(report) = self.report.clone() else {
            return Err(Error::NotFound { what: format!("ready environment {}", self.plan.id) });
        };
        let sockets = self
            .sockets
            .iter()
            .map(OwnedFd::try_clone)
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(|error| Error::io("copy the doors' sockets", error))?;
        let doors = self
            .plan
            .doors
            .iter()
            .zip(&self.ports)
            .map(|(door, port)| (door.name.clone(), *port))
            .collect();
        Ok((Reply::Created { report, doors }, sockets))
    }

    /// Adds the variables that say who a program is, where its caller doesn't.
    pub(super) fn name_user(&self, exec: &mut crate::operation::Exec) {
        let (home, name) = (self.plan.home().as_os_str(), self.plan.user_name().as_ref());
        for (variable, value) in [("HOME", home), ("USER", name), ("LOGNAME", name)] {
            if !exec.env.iter().any(|(known, _)| known == variable) {
                exec.env.push((variable.into(), value.to_owned()));
            }
        }
    }

    /// Tells the first process something.
    pub(super) fn order(&mut self, order: &ToInit, descriptors: Vec<OwnedFd>) {
        self.outbox.push(order, descriptors);
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        // A first process that is gone is noticed when it is reaped.
        let _sent = self.outbox.flush(self.channel.as_fd());
    }

    /// Reads what the first process says.
    pub(super) fn hear(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        match self.inbox.fill(self.channel.as_fd()) {
            Ok(Fill::Some | Fill::WouldBlock) => {}
            // The end is dealt with when the process is reaped; until then it is not to be heard again.
            Ok(Fill::End) | Err(_) => self.kill(),
        }
        while let Ok(Some(frame)) = self.inbox.take() {
            frames.push(frame);
        }
        frames
    }

    /// Tears the environment down for a reason that its creator shall hear.
    pub(super) fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
        self.kill();
    }

    /// Kills the first process, and by that everything inside.
    pub(super) fn kill(&mut self) {
        if self.pid > 0 {
            // It is our child and not reaped, so the number is still its own.
            let _sent = kernel::send_signal(self.pid, libc::SIGKILL);
            self.stage = Stage::Dying;
        }
    }

    /// Notes that the first process was reaped: no process of the environment is left.
    pub(super) fn emptied(&mut self) {
        self.pid = 0;
        self.sockets.clear();
        self.group.remove();
        for operation in self.operations.values_mut() {
            // What its keeper still managed to say counts.
            while operation.channel.is_some() && !operation.hear().idle {}
            operation.channel = None;
            operation.lose("its environment ended");
        }
        self.background.clear();
    }

    /// One row of the report, or the refusal.
    fn judge(&self, host: &Host, layer: Layer, proofs: &Proofs) -> Result<Enforced> {
        let demand = self.plan.layers.demand(layer);
        let proof = proofs.iter().find(|(proved, _)| *proved == layer).map(|(_, proof)| proof);
        let (in_force, detail, remedy) = match proof {
            Some(Ok(seen)) => (true, seen.clone(), None),
            Some(Err(why)) => (false, why.clone(), Some(remedy::of(layer))),
            None => self.judge_limit(host, layer),
        };
        let missing = !in_force && demand == Demand::Required && self.is_asked_for(layer);
        if missing {
            return Err(Error::LayerMissing {
                layer,
                why: detail,
                remedy: remedy.unwrap_or_else(|| remedy::of(layer)),
            });
        }
        let remedy = remedy.filter(|_| demand != Demand::Off);
        Ok(Enforced { layer, demand, in_force, detail, remedy })
    }

    /// Whether the plan gives the layer something to enforce.
    fn is_asked_for(&self, layer: Layer) -> bool {
        let Limits { memory_bytes, cpu_millis, processes, open_files, file_bytes, disk_bytes } =
            &self.plan.limits;
        match layer {
            Layer::MemoryLimit => memory_bytes.is_some(),
            Layer::CpuLimit => cpu_millis.is_some(),
            Layer::ProcessLimit => processes.is_some(),
            Layer::FileLimits => open_files.is_some() || file_bytes.is_some(),
            Layer::DiskLimit => disk_bytes.is_some(),
            Layer::UserNamespace
            | Layer::MountNamespace
            | Layer::PidNamespace
            | Layer::IpcNamespace
            | Layer::UtsNamespace
            | Layer::Network
            | Layer::ReadOnlyRoot
            | Layer::MaskedHost
            | Layer::NoNewPrivileges
            | Layer::Capabilities
            | Layer::Seccomp => true,
        }
    }

    fn judge_limit(&self, host: &Host, layer: Layer) -> (bool, String, Option<String>) {
        if !self.is_asked_for(layer) {
            return (false, "the plan sets no limit".to_owned(), None);
        }
        match (layer, self.group.verdicts.get(&layer)) {
            (_, Some(Ok(how))) => (true, how.clone(), None),
            (Layer::ProcessLimit, Some(Err(_))) if counts_processes(host, self.identity) => {
                (true, "RLIMIT_NPROC of the environment's own user".to_owned(), None)
            }
            (_, Some(Err(missing))) => (false, missing.why.clone(), Some(missing.remedy.clone())),
            (Layer::FileLimits, None) => (
                true,
                "RLIMIT_NOFILE and RLIMIT_FSIZE, never above the host's own".to_owned(),
                None,
            ),
            (_, None) => (
                false,
                "nothing on this host enforces it for one folder".to_owned(),
                Some(remedy::of(layer)),
            ),
        }
    }
}

/// Whether the process limit of a user counts an environment's processes only.
fn counts_processes(host: &Host, identity: Identity) -> bool {
    // In a container the number may be counted together with those of another one.
    host.contained.is_none() && (identity.by_root || host.counts_per_namespace)
}

/// The namespaces to start in. As root the user namespace comes later.
fn choose_namespaces(plan: &Plan, identity: Identity) -> Result<i32> {
    let mut chosen = 0;
    let mut kinds = vec![
        (Layer::MountNamespace, namespace::MOUNT),
        (Layer::PidNamespace, namespace::PID),
        (Layer::IpcNamespace, namespace::IPC),
        (Layer::UtsNamespace, namespace::UTS),
        (Layer::Network, namespace::NETWORK),
    ];
    if !identity.by_root {
        kinds.insert(0, (Layer::UserNamespace, namespace::USER));
        if plan.layers.demand(Layer::UserNamespace) == Demand::Off {
            return Err(Error::invalid(
                "without root there is no environment without a user namespace; leave the layer out or run as root",
            ));
        }
    }
    for (layer, flag) in kinds {
        if plan.layers.demand(layer) != Demand::Off {
            chosen |= flag;
        }
    }
    Ok(chosen)
}

/// How many processes the limit of a user is above that of the control group, which is asked after it.
const SPARE: u32 = 16;

fn fork_init(
    host: &Host,
    plan: &Plan,
    folder: &std::path::Path,
    identity: Identity,
    namespaces: i32,
    counted: bool,
) -> Result<(i32, OwnedFd)> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|error| Error::io("make a channel", error))?;
    let mut namespaces = namespaces;
    loop {
        match kernel::clone_into(namespaces) {
            Ok(Forked::Child) => {
                drop(ours);
                // Programs get what they would have got outside; it is no more than now, so it is allowed.
                let _lowered = setrlimit(Resource::Nofile, host.open_files);
                // What the process may count on is decided before it starts.
                let mut plan = plan.clone();
                if !counts_processes(host, identity) {
                    plan.limits.processes = None;
                } else if counted {
                    // The control group refuses first, since it alone says that it did.
                    let limit = plan.limits.processes;
                    plan.limits.processes = limit.map(|count| count.saturating_add(SPARE));
                }
                let filters = match (plan.writable_root, plan.allow_ptrace) {
                    (true, _) => &host.filters_of_builds,
                    (false, true) => &host.filters_with_ptrace,
                    (false, false) => &host.filters,
                };
                let blueprint = Blueprint {
                    plan: &plan,
                    folder,
                    identity,
                    namespaces,
                    filters,
                    host: &host.namespaces,
                    contained: host.contained.as_ref(),
                };
                init::run(&blueprint, theirs)
            }
            Ok(Forked::Parent(pid)) => {
                rustix::io::ioctl_fionbio(&ours, true)
                    .map_err(|error| Error::io("prepare a channel", error))?;
                return Ok((pid, ours));
            }
            Err(error) => namespaces = without_refused(plan, namespaces, &error)?,
        }
    }
}

/// Finds the first namespace that the kernel refuses; leaves it out if it is only wanted.
fn without_refused(plan: &Plan, namespaces: i32, error: &std::io::Error) -> Result<i32> {
    let base = namespaces & namespace::USER;
    let kinds = [
        (Layer::UserNamespace, namespace::USER),
        (Layer::MountNamespace, namespace::MOUNT),
        (Layer::PidNamespace, namespace::PID),
        (Layer::IpcNamespace, namespace::IPC),
        (Layer::UtsNamespace, namespace::UTS),
        (Layer::Network, namespace::NETWORK),
    ];
    for (layer, flag) in kinds.into_iter().filter(|(_, flag)| namespaces & flag != 0) {
        let refused = match kernel::clone_into(base | flag) {
            Ok(Forked::Child) => kernel::exit_now(0),
            Ok(Forked::Parent(_)) => continue,
            Err(refused) => refused,
        };
        let optional = plan.layers.demand(layer) == Demand::Wanted && !layer.is_structural();
        if optional && layer != Layer::UserNamespace {
            return Ok(namespaces & !flag);
        }
        return Err(Error::LayerMissing {
            layer,
            why: format!("the kernel refuses it: {refused}"),
            remedy: remedy::of(layer),
        });
    }
    Err(Error::build("fork the first process", error))
}

/// Each environment costs a few descriptors here: allows as many as the host does. Answers what was
/// allowed before.
fn raise_open_files() -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    let all = Rlimit { current: before.maximum, maximum: before.maximum };
    // Without it there is room for fewer environments, which is noticed when it matters.
    let _raised = setrlimit(Resource::Nofile, all);
    before
}

fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(seen_major)), Some(Ok(seen_minor))) => (seen_major, seen_minor) >= (major, minor),
        _ => false,
    }
}
