//! From a plan to a container, and from a container to an environment that was seen to be confined.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use bollard::{
    container::LogOutput,
    models::{
        ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
        MountBindOptions, MountBindOptionsPropagationEnum, MountType,
    },
    query_parameters::{CreateContainerOptionsBuilder, LogsOptionsBuilder, StartContainerOptions},
};
use futures::StreamExt as _;
use windlass_sandbox::{
    Created, Error, Limits, Plan, Portable, Prepared, Result, Scratch, contained, plan::SYSTEM_PATH,
};

use crate::{
    Found, Inner,
    engine::{self, failed},
};

/// The name of the supervisor's state folder in an environment's folder.
pub(crate) const STATE: &str = "state";
/// The name of the table of hosts in an environment's folder.
pub(crate) const HOSTS: &str = "hosts";
/// The ids that are given away, as the backend `process` does: of no account on usual systems.
const USER_IDS: (u32, u32) = (1_900_065_536, 65_536);
/// What the first process needs to make a folder for its programs' user, to become that user, and to kill
/// what is left. Programs get none of it.
const CAPABILITIES: [&str; 5] = ["CHOWN", "KILL", "SETGID", "SETPCAP", "SETUID"];

impl Inner {
    /// Makes the environment, or takes over the one of the same plan; leaves nothing when it fails.
    pub(crate) async fn create(&self, plan: &Plan, prepared: &Prepared) -> Result<Created> {
        plan.check(&self.options.state_dir)?;
        if plan.root.is_some() {
            return Err(Error::InvalidPlan {
                why: "a container has its image, not a folder, as its root".to_owned(),
            });
        }
        refuse_our_own_paths(plan)?;
        let name = self.name(&plan.id);
        match self.docker.inspect_container(&name, None).await {
            Ok(found) if found.state.as_ref().and_then(|state| state.running) == Some(true) => {
                return self.ask(&plan.id, |client| async move { client.create(plan).await }).await;
            }
            Ok(_) => {
                return Err(Error::Conflict {
                    why: format!("environment {} ended by itself; destroy it first", plan.id),
                });
            }
            Err(error) if engine::is_not_found(&error) => {}
            Err(error) => return Err(failed("look for a container", &error)),
        }
        let built = self.build(plan, prepared, &name).await;
        if let Err(error) = &built
            && !matches!(error, Error::Conflict { .. })
        {
            // The reason is what matters; what could not be removed is swept.
            let _removed = self.destroy(&plan.id).await;
        }
        built
    }

    async fn build(&self, plan: &Plan, prepared: &Prepared, name: &str) -> Result<Created> {
        let program = self.options.helper.clone();
        let helper =
            crate::blocking(move || Portable::of(&program, contained::FOLDER, "first")).await?;
        let folder = self.folder(&plan.id);
        make_folders(&folder, plan)?;
        if let Some(user) = &plan.user {
            let home = folder.join("home");
            crate::extend::home(&self.docker, &prepared.name, user, &home).await?;
        }
        let user_id = choose_user(plan, &self.containers().await?);
        let shared_files = give(plan, &folder, user_id).await?;
        let body = ContainerCreateBody {
            image: Some(prepared.name.clone()),
            hostname: Some(host_name(plan).to_owned()),
            user: Some("0:0".to_owned()),
            entrypoint: Some(helper.argv.clone()),
            cmd: Some(
                self.options
                    .helper_arguments
                    .iter()
                    .cloned()
                    .chain(contained::arguments(self.options.orphan_grace, user_id, shared_files))
                    .collect(),
            ),
            env: Some(vec![format!("PATH={SYSTEM_PATH}")]),
            working_dir: Some("/".to_owned()),
            labels: Some(HashMap::from([
                (engine::OWNER.to_owned(), self.owner.clone()),
                (engine::ENVIRONMENT.to_owned(), plan.id.to_string()),
                (engine::USER.to_owned(), user_id.to_string()),
                (engine::TREE.to_owned(), text(&plan.work_tree.inside)?),
            ])),
            network_disabled: Some(true),
            host_config: Some(host_config(plan, mounts(plan, &folder, &helper)?)?),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        match self.docker.create_container(Some(options), body).await {
            Ok(_) => {}
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 409, .. }) => {
                return Err(Error::Conflict {
                    why: format!("environment {} is being made by another caller", plan.id),
                });
            }
            Err(error) => return Err(failed("make a container", &error)),
        }
        self.docker
            .start_container(name, None::<StartContainerOptions>)
            .await
            .map_err(|error| failed("start a container", &error))?;
        self.await_ready(name).await?;
        self.ask(&plan.id, |client| async move { client.create(plan).await }).await
    }

    /// Waits for the first process to say that it listens.
    async fn await_ready(&self, name: &str) -> Result<()> {
        let options = LogsOptionsBuilder::default().follow(true).stdout(true).stderr(true).build();
        let mut log = self.docker.logs(name, Some(options));
        let mut said = String::new();
        while let Some(part) = log.next().await {
            match part.map_err(|error| failed("read a container's log", &error))? {
                LogOutput::StdOut { message } if message.starts_with(b"ready") => return Ok(()),
                other => said.push_str(&other.to_string()),
            }
        }
        let why = match said.trim() {
            "" => "it ended without saying why".to_owned(),
            said => said.to_owned(),
        };
        Err(Error::Build { step: "start the container's first process".to_owned(), why })
    }
}

/// What the backend keeps inside must not be covered.
fn refuse_our_own_paths(plan: &Plan) -> Result<()> {
    let binds = plan.binds.iter().map(|bind| &bind.inside);
    let again = plan.again.iter().map(|again| &again.inside);
    let paths = binds.chain(&plan.volumes).chain(again).chain([&plan.work_tree.inside]);
    for path in paths {
        if path.starts_with(contained::FOLDER) || Path::new(contained::FOLDER).starts_with(path) {
            return Err(Error::InvalidPlan {
                why: format!(
                    "{} is kept for the environment's own supervisor; choose another path inside",
                    path.display()
                ),
            });
        }
    }
    Ok(())
}

fn make_folders(folder: &Path, plan: &Plan) -> Result<()> {
    let named = |path: &Path, error: std::io::Error| Error::Io {
        doing: format!("make {}", path.display()),
        why: error.to_string(),
    };
    let make = |path: &Path, mode: u32| {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(path)
            .map_err(|error| named(path, error))
    };
    make(folder, 0o700)?;
    make(&folder.join(STATE), 0o700)?;
    make(&folder.join("home"), 0o700)?;
    make(&folder.join("nothing"), 0o555)?;
    for index in 0..plan.volumes.len() {
        make(&volume(folder, index), 0o700)?;
    }
    std::fs::write(folder.join("empty"), "")
        .map_err(|error| named(&folder.join("empty"), error))?;
    let path = folder.join(HOSTS);
    std::fs::write(&path, hosts(plan))
        .and_then(|()| {
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
        })
        .map_err(|error| named(&path, error))?;
    if plan.scratch == Scratch::Disk {
        for name in ["tmp", "var-tmp"] {
            let path = folder.join(name);
            make(&path, 0o777)?;
            // The mode above is cut by this process's mask.
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o1777))
                .map_err(|error| named(&path, error))?;
        }
    }
    Ok(())
}

/// What names mean inside: all of them the one network that there is.
fn hosts(plan: &Plan) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    for name in [host_name(plan)].into_iter().chain(plan.names.iter().map(String::as_str)) {
        text.push_str("127.0.0.1 ");
        text.push_str(name);
        text.push('\n');
    }
    text
}

fn host_name(plan: &Plan) -> &str {
    if plan.host_name.is_empty() { "windlass" } else { &plan.host_name }
}

/// Where a volume lies on the host.
pub(crate) fn volume(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("volume-{index}"))
}

/// Gives the work tree, the home and the volumes to the environment's user. Answers how many files were left alone
/// because they have several hard links.
async fn give(plan: &Plan, folder: &Path, user_id: u32) -> Result<u64> {
    let (home, tree) = (folder.join("home"), plan.work_tree.host.clone());
    let volumes: Vec<PathBuf> = (0..plan.volumes.len()).map(|n| volume(folder, n)).collect();
    crate::blocking(move || {
        let give = |path: &Path| {
            windlass_sandbox::give_folder(path, user_id, user_id).map_err(|error| Error::Build {
                step: format!("give {} to the environment's user", path.display()),
                why: error.to_string(),
            })
        };
        for folder in volumes.iter().chain([&home]) {
            give(folder)?;
        }
        give(&tree)
    })
    .await
}

/// An id that no other container of ours has.
fn choose_user(plan: &Plan, others: &[Found]) -> u32 {
    let (first, count) = USER_IDS;
    let mut hasher = DefaultHasher::new();
    plan.id.as_str().hash(&mut hasher);
    let start = u32::try_from(hasher.finish() % u64::from(count)).unwrap_or(0);
    (0..count)
        .map(|step| first + (start + step) % count)
        .find(|id| !others.iter().any(|other| other.user_id == Some(*id) && other.id != plan.id))
        .unwrap_or(first + start)
}

fn mounts(plan: &Plan, folder: &Path, helper: &Portable) -> Result<Vec<Mount>> {
    let mut mounts = vec![
        bind(&folder.join(STATE), Path::new(contained::STATE), false)?,
        bind(&folder.join("home"), plan.home(), false)?,
        bind(&plan.work_tree.host, &plan.work_tree.inside, false)?,
    ];
    for (host, inside) in &helper.files {
        mounts.push(bind(host, Path::new(inside), true)?);
    }
    if !plan.names.is_empty() {
        // Engines write no table of hosts where there is no network of theirs.
        mounts.push(bind(&folder.join(HOSTS), Path::new("/etc/hosts"), true)?);
    }
    for (index, inside) in plan.volumes.iter().enumerate() {
        mounts.push(bind(&volume(folder, index), inside, false)?);
    }
    if plan.scratch == Scratch::Disk {
        mounts.push(bind(&folder.join("tmp"), Path::new("/tmp"), false)?);
        mounts.push(bind(&folder.join("var-tmp"), Path::new("/var/tmp"), false)?);
    }
    for again in &plan.again {
        // A link of the tree could lead anywhere on the host. Nothing runs in there yet.
        let real = |path: &Path| path.canonicalize().ok().filter(|path| path.is_dir());
        let (tree, folder) =
            (real(&plan.work_tree.host), real(&plan.work_tree.host.join(&again.below)));
        match (tree, folder) {
            (Some(tree), Some(folder)) if folder == tree.join(&again.below) => {
                mounts.push(bind(&folder, &again.inside, again.read_only)?);
            }
            _ => {
                return Err(Error::Build {
                    step: format!("show {} of the work tree", again.below.display()),
                    why: "it is no folder there: add it to the project, or leave the mount out"
                        .to_owned(),
                });
            }
        }
    }
    for one in &plan.binds {
        match one.host.canonicalize() {
            Ok(host) => mounts.push(bind(&host, &one.inside, true)?),
            Err(_) if one.optional => {}
            Err(error) => {
                return Err(Error::InvalidPlan {
                    why: format!("{} cannot be bound: {error}", one.host.display()),
                });
            }
        }
    }
    for mask in &plan.masks {
        mounts.extend(hide(mask, plan, folder)?);
    }
    Ok(mounts)
}

/// An empty file or folder over a path that comes from the host; one that isn't there is hidden already.
fn hide(mask: &Path, plan: &Plan, folder: &Path) -> Result<Option<Mount>> {
    let tree = (&plan.work_tree.inside, &plan.work_tree.host);
    let sources: BTreeMap<&PathBuf, &PathBuf> =
        plan.binds.iter().map(|bind| (&bind.inside, &bind.host)).chain([tree]).collect();
    let found = sources.iter().rev().find_map(|(inside, host)| {
        mask.strip_prefix(inside)
            .ok()
            .map(|rest| if rest == Path::new("") { (*host).clone() } else { host.join(rest) })
    });
    let Some(host) = found else {
        return Err(Error::InvalidPlan {
            why: format!(
                "{} lies in the image, of which nothing is hidden; leave it out of the masks or of the image",
                mask.display()
            ),
        });
    };
    match host.metadata() {
        Ok(metadata) if metadata.is_dir() => bind(&folder.join("nothing"), mask, true).map(Some),
        Ok(_) => bind(&folder.join("empty"), mask, true).map(Some),
        Err(_) => Ok(None),
    }
}

/// A path as engines take it.
pub(crate) fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::InvalidPlan {
        why: format!("{} is not plain text, which container engines need", path.display()),
    })
}

pub(crate) fn bind(host: &Path, inside: &Path, read_only: bool) -> Result<Mount> {
    Ok(Mount {
        typ: Some(MountType::BIND),
        source: Some(text(host)?),
        target: Some(text(inside)?),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    })
}

/// Limits, and a log that can't fill the disk.
pub(crate) fn limited(limits: &Limits) -> Result<HostConfig> {
    let memory = limits.memory_bytes.map(i64::try_from).transpose();
    let memory = memory.map_err(|_| too_large("the memory limit"))?;
    Ok(HostConfig {
        memory,
        memory_swap: memory,
        nano_cpus: limits.cpu_millis.map(|millis| i64::from(millis) * 1_000_000),
        pids_limit: limits.processes.map(i64::from),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "1m".to_owned()),
                ("max-file".to_owned(), "1".to_owned()),
            ])),
        }),
        ..HostConfig::default()
    })
}

fn too_large(what: &str) -> Error {
    Error::InvalidPlan { why: format!("{what} is too large") }
}

fn host_config(plan: &Plan, mounts: Vec<Mount>) -> Result<HostConfig> {
    let mut tmpfs = HashMap::new();
    let mut shm = None;
    if let Scratch::Memory { bytes } = plan.scratch {
        let options = format!("rw,exec,nosuid,nodev,mode=1777,size={bytes}");
        tmpfs.extend(
            [("/tmp", &options), ("/var/tmp", &options)]
                .map(|(path, options)| (path.to_owned(), options.clone())),
        );
        shm = Some(i64::try_from(bytes).map_err(|_| too_large("the scratch memory"))?);
    }
    tmpfs.insert("/run".to_owned(), "rw,nosuid,nodev,mode=755,size=16m".to_owned());
    Ok(HostConfig {
        mounts: Some(mounts),
        tmpfs: Some(tmpfs),
        shm_size: shm,
        network_mode: Some("none".to_owned()),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        readonly_rootfs: Some(true),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.map(str::to_owned).into()),
        // The first process makes a user namespace, which the engine's filter forbids, and then puts our
        // own filter, which forbids more, in force before any program starts.
        security_opt: Some(vec!["no-new-privileges".to_owned(), "seccomp=unconfined".to_owned()]),
        ..limited(&plan.limits)?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_sandbox::{Bind, EnvironmentId};

    fn plan(tree: &Path) -> Plan {
        Plan::new(EnvironmentId::parse("one").unwrap(), tree, "/workspace/tree")
    }

    #[test]
    fn a_mask_of_the_tree_hides_and_one_of_the_image_is_refused() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("keys")).unwrap();
        std::fs::write(tree.path().join("key"), "").unwrap();
        let folder = Path::new("/state/one");
        let hidden = |inside: &str| {
            hide(Path::new(inside), &plan(tree.path()), folder)
                .map(|mount| mount.and_then(|mount| mount.source))
        };
        assert_eq!(hidden("/workspace/tree/keys").unwrap().as_deref(), Some("/state/one/nothing"));
        assert_eq!(hidden("/workspace/tree/key").unwrap().as_deref(), Some("/state/one/empty"));
        assert_eq!(hidden("/workspace/tree/other").unwrap(), None);
        let refused = hidden("/etc/shadow").unwrap_err().to_string();
        assert!(refused.contains("/etc/shadow lies in the image"), "{refused}");
    }

    #[test]
    fn nothing_covers_the_supervisors_own_folder() {
        let mut plan = plan(Path::new("/srv/tree"));
        assert_eq!(refuse_our_own_paths(&plan), Ok(()));
        let inside = PathBuf::from("/.windlass/state");
        plan.binds.push(Bind { host: "/srv".into(), inside, optional: false });
        assert!(refuse_our_own_paths(&plan).is_err());
    }

    #[test]
    fn a_container_has_no_network_and_no_more_rights_than_its_first_process_needs() {
        let config = host_config(&plan(Path::new("/srv/tree")), Vec::new()).unwrap();
        assert_eq!(config.network_mode.as_deref(), Some("none"));
        assert_eq!(config.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(config.privileged, Some(false));
        assert_eq!(config.readonly_rootfs, Some(true));
        assert!(config.security_opt.unwrap().contains(&"no-new-privileges".to_owned()));
    }
}
