//! Companions: containers beside an environment's own, in its network.
//!
//! That network holds a loopback and the doors, nothing else, and no container can leave it: there is no
//! bridge, no address of the host and no name server in it. So companions find each other at 127.0.0.1,
//! under names that stand in the environment's table of hosts.
//!
//! Unlike an environment's programs they are what their image says, root included: databases become their
//! own user by themselves. What root may do in there is in [`CAPABILITIES`]; the engine's own filter of
//! system calls is in force; nothing of the host is writable, and of the work tree nothing is.

use std::{
    collections::HashMap,
    path::Path,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use bollard::{
    container::LogOutput,
    models::{
        ContainerCreateBody, ContainerState, HealthConfig, HealthStatusEnum, HostConfig,
        HostConfigCgroupnsModeEnum, Mount, MountType, MountVolumeOptions,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, ListVolumesOptionsBuilder, LogsOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveVolumeOptions, StartContainerOptions,
        WaitContainerOptions,
    },
};
use futures::StreamExt as _;
use windlass_sandbox::{
    EnvironmentId, Error, Result,
    backend::{
        Companion, Hear, Standing,
        companion::{Health, Healthy, Test},
    },
};

use crate::{
    Inner, container,
    engine::{self, failed},
};

/// What root of a companion may do: give its own files away, read what it gave away, become another user,
/// end what that one started. No mounts, no devices, no network, no raw sockets.
const CAPABILITIES: [&str; 6] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"];

impl Inner {
    /// Starts a companion, unless it runs.
    pub(crate) async fn accompany(&self, id: &EnvironmentId, with: &Companion) -> Result<()> {
        let name = self.companion_name(id, &with.name);
        match self.docker.inspect_container(&name, None).await {
            Ok(found) if found.state.as_ref().and_then(|state| state.running) == Some(true) => {
                return Ok(());
            }
            Ok(found) => {
                let before = found.state.and_then(|state| state.finished_at);
                self.heard().entry(name.clone()).or_insert(before.unwrap_or_default());
                return self.start(&name, with).await;
            }
            Err(error) if engine::is_not_found(&error) => {}
            Err(error) => return Err(failed("look for a container", &error)),
        }
        let own = self.docker.inspect_container(&self.name(id), None).await;
        let own = own.map_err(|error| match engine::is_not_found(&error) {
            true => Error::NotFound { what: format!("environment {id}") },
            false => failed("look at a container", &error),
        })?;
        let tree = own.mounts.unwrap_or_default().into_iter().find_map(|mount| {
            let labels = own.config.as_ref()?.labels.as_ref()?;
            let inside = labels.get(engine::TREE)?;
            (mount.destination.as_deref() == Some(inside)).then_some(mount.source).flatten()
        });
        let body = self.body(id, with, tree.as_deref().map(Path::new))?;
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let doing = format!("make the container of the service {}", with.name);
        let made = self.docker.create_container(Some(options), body).await;
        made.map_err(|error| failed(&doing, &error))?;
        let started = self.start(&name, with).await;
        if started.is_err() {
            // The reason is what matters; what could not be removed goes with the environment.
            let _removed = self.remove(&name).await;
        }
        started
    }

    async fn start(&self, name: &str, with: &Companion) -> Result<()> {
        let started = self.docker.start_container(name, None::<StartContainerOptions>).await;
        started.map_err(|error| failed(&format!("start the service {}", with.name), &error))
    }

    /// How a companion stands.
    pub(crate) async fn companion(&self, id: &EnvironmentId, name: &str) -> Result<Standing> {
        self.state_of(id, name).await.map(|state| standing(&state))
    }

    async fn state_of(&self, id: &EnvironmentId, name: &str) -> Result<ContainerState> {
        let found = self.docker.inspect_container(&self.companion_name(id, name), None).await;
        match found {
            Ok(found) => Ok(found.state.unwrap_or_default()),
            Err(error) if engine::is_not_found(&error) => {
                Err(Error::NotFound { what: format!("the service {name} of environment {id}") })
            }
            Err(error) => Err(failed("look at a service", &error)),
        }
    }

    /// Hands its output on from its last start until it ends.
    pub(crate) async fn follow_companion(
        &self,
        id: &EnvironmentId,
        name: &str,
        hear: Hear<'_>,
    ) -> Result<Standing> {
        let state = self.state_of(id, name).await?;
        let container = self.companion_name(id, name);
        let heard = self.heard().get(&container).cloned();
        // When it was started is noted after its first words may have come.
        let heard = heard.or(state.finished_at.filter(|_| state.running == Some(true)));
        let heard = heard.unwrap_or_default();
        let options = LogsOptionsBuilder::default()
            .follow(true)
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .build();
        let mut log = self.docker.logs(&container, Some(options));
        while let Some(part) = log.next().await {
            let part = part.map_err(|error| failed("read the log of a service", &error))?;
            let bytes = match &part {
                LogOutput::StdOut { message }
                | LogOutput::StdErr { message }
                | LogOutput::Console { message }
                | LogOutput::StdIn { message } => message,
            };
            let (time, text) = timed(bytes);
            if time.is_none_or(|time| time > heard.trim_end_matches('Z')) {
                hear(text);
            }
            if let Some(time) = time {
                self.heard().insert(container.clone(), time.to_owned());
            }
        }
        // The log ends a moment before the engine has noted how.
        let mut ended = self
            .docker
            .wait_container(&self.companion_name(id, name), None::<WaitContainerOptions>);
        while ended.next().await.is_some_and(|answer| answer.is_ok()) {}
        self.companion(id, name).await
    }

    /// Removes an environment's companions and volumes; all of them without `id`, but for those of
    /// environments to keep. Answers how many things that were.
    pub(crate) async fn dismiss_all(
        &self,
        id: Option<&EnvironmentId>,
        keep: &[EnvironmentId],
    ) -> Result<usize> {
        let goes = |of: &EnvironmentId| match id {
            Some(id) => of == id,
            None => !keep.contains(of),
        };
        let mut removed = 0;
        for found in self.found().await? {
            if let Some(name) = &found.companion
                && goes(&found.id)
            {
                self.remove(&self.companion_name(&found.id, name)).await?;
                removed += 1;
            }
        }
        let filters = HashMap::from([("label", vec![format!("{}={}", engine::OWNER, self.owner)])]);
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let listed = self.docker.list_volumes(Some(options)).await;
        let listed = listed.map_err(|error| failed("list volumes", &error))?;
        for volume in listed.volumes.unwrap_or_default() {
            let of = volume.labels.get(engine::ENVIRONMENT);
            let of = of.and_then(|of| EnvironmentId::parse(of).ok());
            if !of.is_some_and(|of| goes(&of)) {
                continue;
            }
            match self.docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await {
                Ok(()) => removed += 1,
                Err(error) if engine::is_not_found(&error) => {}
                Err(error) => return Err(failed("remove a volume", &error)),
            }
        }
        Ok(removed)
    }

    async fn remove(&self, name: &str) -> Result<()> {
        self.heard().remove(name);
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(name, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if engine::is_not_found(&error) => Ok(()),
            Err(error) => Err(failed("remove a service", &error)),
        }
    }

    /// Until when the words of companions were heard, in the engine's words.
    fn heard(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An environment's name has no dot, so no two are alike.
    fn companion_name(&self, id: &EnvironmentId, name: &str) -> String {
        format!("{}.{name}", self.name(id))
    }

    fn body(
        &self,
        id: &EnvironmentId,
        with: &Companion,
        tree: Option<&Path>,
    ) -> Result<ContainerCreateBody> {
        let labels = HashMap::from([
            (engine::OWNER.to_owned(), self.owner.clone()),
            (engine::ENVIRONMENT.to_owned(), id.to_string()),
        ]);
        let mut mounts = Vec::new();
        for volume in &with.volumes {
            let inside = container::text(&volume.inside)?;
            mounts.push(Mount {
                typ: Some(MountType::VOLUME),
                source: Some(self.companion_name(id, &volume.name)),
                target: Some(inside),
                read_only: Some(volume.read_only),
                volume_options: Some(MountVolumeOptions {
                    labels: Some(labels.clone()),
                    ..MountVolumeOptions::default()
                }),
                ..Mount::default()
            });
        }
        for shown in &with.shown {
            mounts.push(show(tree, &shown.below, &shown.inside)?);
        }
        if !with.alone {
            let hosts = self.folder(id).join(container::HOSTS);
            mounts.push(container::bind(&hosts, Path::new("/etc/hosts"), true)?);
        }
        let mut host_config = host_config(with, mounts)?;
        host_config.network_mode = Some(match with.alone {
            true => "none".to_owned(),
            false => format!("container:{}", self.name(id)),
        });
        let variables = with.variables.iter().map(|(name, value)| format!("{name}={value}"));
        let labels =
            labels.into_iter().chain([(engine::COMPANION.to_owned(), with.name.clone())]).collect();
        Ok(ContainerCreateBody {
            image: Some(with.image.name.clone()),
            entrypoint: with.entrypoint.clone(),
            cmd: with.command.clone(),
            env: Some(variables.collect()),
            user: with.user.clone(),
            working_dir: with.folder.clone(),
            healthcheck: with.health.as_ref().map(health),
            labels: Some(labels),
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        })
    }
}

/// A folder or file of the work tree, read-only. A link of the tree could lead anywhere on the host.
fn show(tree: Option<&Path>, below: &Path, inside: &Path) -> Result<Mount> {
    let real = tree.and_then(|tree| tree.canonicalize().ok());
    let found = real.as_ref().and_then(|tree| tree.join(below).canonicalize().ok());
    match (real, found) {
        (Some(tree), Some(found)) if found == tree.join(below) || below.as_os_str().is_empty() => {
            container::bind(&found, inside, true)
        }
        _ => Err(Error::Build {
            step: format!("show `{}` of the work tree to a service", below.display()),
            why: "it isn't there, or is a link: add it to the project, or leave the mount out"
                .to_owned(),
        }),
    }
}

fn host_config(with: &Companion, mounts: Vec<Mount>) -> Result<HostConfig> {
    let mut tmpfs = HashMap::new();
    for path in &with.memory {
        tmpfs.insert(container::text(path)?, "rw,nosuid,nodev,mode=1777,size=256m".to_owned());
    }
    let shm_size = with.shared_memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    Ok(HostConfig {
        mounts: Some(mounts),
        tmpfs: Some(tmpfs),
        shm_size,
        init: Some(with.init),
        readonly_rootfs: Some(with.read_only),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(capabilities(&with.dropped)),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        ..container::limited(&with.limits)?
    })
}

/// What its root may do, without what is taken away from it.
fn capabilities(dropped: &[String]) -> Vec<String> {
    let is_dropped = |name: &str| {
        dropped
            .iter()
            .map(|one| one.to_uppercase())
            .any(|one| one == "ALL" || one.strip_prefix("CAP_").unwrap_or(&one) == name)
    };
    CAPABILITIES.into_iter().filter(|name| !is_dropped(name)).map(str::to_owned).collect()
}

fn health(health: &Health) -> HealthConfig {
    let Health::Check { test, interval, timeout, retries, start } = health else {
        return HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() };
    };
    let test = match test {
        Test::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        Test::Program(words) => {
            std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect()
        }
    };
    let nanos = |time: &Duration| {
        // The engine takes nothing between 0, its default, and a millisecond.
        let time = if time.is_zero() { *time } else { (*time).max(Duration::from_millis(1)) };
        Some(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
    };
    HealthConfig {
        test: Some(test),
        interval: nanos(interval),
        timeout: nanos(timeout),
        retries: Some(i64::try_from(*retries).unwrap_or(i64::MAX)),
        start_period: nanos(start),
        start_interval: None,
    }
}

fn standing(state: &ContainerState) -> Standing {
    if state.running != Some(true) {
        return Standing::Ended {
            code: state.exit_code.unwrap_or(-1),
            out_of_memory: state.oom_killed == Some(true),
        };
    }
    let status = state.health.as_ref().and_then(|health| health.status);
    let healthy = match status {
        None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => None,
        Some(HealthStatusEnum::STARTING) => Some(Healthy::Starting),
        Some(HealthStatusEnum::HEALTHY) => Some(Healthy::Yes),
        Some(HealthStatusEnum::UNHEALTHY) => Some(Healthy::No),
    };
    Standing::Running { healthy }
}

/// When a line of the log came, without the `Z`, and what it says. The engine keeps the lines of all lives. Times
/// have as many digits as they need, so that such texts are in the order of time; the rest of a long line has none.
fn timed(line: &[u8]) -> (Option<&str>, &[u8]) {
    let end = line.iter().position(|byte| *byte == b' ');
    let time = end.and_then(|end| std::str::from_utf8(&line[..end]).ok());
    match (time.and_then(|time| time.strip_suffix('Z')), end) {
        (Some(time), Some(end)) if time.starts_with("20") && time.contains('T') => {
            (Some(time), &line[end + 1..])
        }
        _ => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_from_the_time_before_it_and_times_are_in_order() {
        let timed = |line: &'static str| {
            let (time, text) = timed(line.as_bytes());
            (time, std::str::from_utf8(text).unwrap())
        };
        let time = Some("2026-01-02T03:04:05.500000000");
        assert_eq!(timed("2026-01-02T03:04:05.500000000Z said\n"), (time, "said\n"));
        assert_eq!(timed("2026-01-02T03:04:05.500000000Z \n"), (time, "\n"));
        assert_eq!(timed("the rest of a line\n"), (None, "the rest of a line\n"));
        assert!(time > Some("2026-01-02T03:04:05.4Z") && time < Some("2026-01-02T03:04:05.51"));
    }

    #[test]
    fn a_companion_is_given_no_right_that_it_did_not_need_to_become_its_own_user() {
        let config = host_config(&Companion::default(), Vec::new()).unwrap();
        assert_eq!(config.privileged, Some(false));
        assert_eq!(config.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(config.cap_add, Some(CAPABILITIES.map(str::to_owned).into()));
        let dropped = ["cap_chown", "KILL"].map(str::to_owned);
        assert_eq!(capabilities(&dropped), ["DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]);
        assert_eq!(capabilities(&["all".to_owned()]), Vec::<String>::new());
        assert_eq!(config.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert_eq!((config.devices, config.port_bindings, config.pid_mode), (None, None, None));
    }

    #[test]
    fn a_link_of_the_tree_shows_nothing_of_the_host() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("seed.sql"), "").unwrap();
        std::os::unix::fs::symlink("/etc", tree.path().join("out")).unwrap();
        let shown = |below: &str| show(Some(tree.path()), Path::new(below), Path::new("/x"));
        let real = tree.path().canonicalize().unwrap();
        let source = |mount: Mount| (mount.source.unwrap(), mount.read_only);
        assert_eq!(
            source(shown("seed.sql").unwrap()),
            (real.join("seed.sql").display().to_string(), Some(true))
        );
        assert_eq!(source(shown("").unwrap()), (real.display().to_string(), Some(true)));
        assert!(shown("out").is_err() && shown("gone").is_err());
        assert!(show(None, Path::new(""), Path::new("/x")).is_err());
    }
}
