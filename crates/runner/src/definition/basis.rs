//! What an environment is made from, and the folders that it gets besides: as far as this runner has the
//! means. What it has none for is told, never passed over.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;
use windlass_devcontainer::{
    Files, Findings, Place,
    capability::{Capabilities, RunArguments},
    configuration::{Base, Build, MountKind},
};
use windlass_sandbox::{Again, plan::HOME};

use super::{Judge, Room, SYSTEM, is_within, place_of};

/// Which backend environments are made by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendKind {
    /// Namespaces of our own, without a daemon.
    #[default]
    Process,
    /// Containers of Docker or Podman.
    Oci,
}

/// What an environment is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Nothing is named: the runner's default.
    #[default]
    Default,
    /// An image, as engines name it.
    Image(String),
    /// A Dockerfile of the project.
    Dockerfile(Dockerfile),
}

/// A Dockerfile of the project. Paths are relative to the project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dockerfile {
    /// The folder whose files may be copied; empty is the project itself.
    pub context: String,
    /// The Dockerfile, relative to the context.
    pub dockerfile: String,
    /// Values for `ARG`.
    pub arguments: BTreeMap<String, String>,
    /// The stage to stop at.
    pub target: Option<String>,
}

/// The folders that an environment has besides its work tree and its home.
#[derive(Default)]
pub(super) struct Folders {
    pub(super) volumes: Vec<String>,
    pub(super) left: Vec<(usize, String)>,
    pub(super) again: Vec<Again>,
}

/// What a backend can honour on this machine, as far as the runner asks it to.
pub(super) fn capabilities(backend: BackendKind, given: &Room) -> Capabilities {
    let mut can = match backend {
        BackendKind::Process => Capabilities::process(given.machine),
        BackendKind::Oci => Capabilities::oci(given.machine),
    };
    can.class.clone_from(&given.class);
    can.classes.clone_from(&given.classes);
    // Nothing is passed on to an engine.
    if let RunArguments::Listed { passed, dropped } = &mut can.run_arguments {
        dropped.append(passed);
    }
    // Tracing is allowed within the environment, without the capability.
    can.added = vec!["SYS_PTRACE".to_owned()];
    can
}

impl Judge<'_> {
    /// What the environment is made from.
    pub(super) fn basis(&self, findings: &mut Findings) -> Basis {
        let node = &self.resolved.configuration;
        let build = match &self.resolved.definition.base {
            Base::Default => return Basis::Default,
            Base::Compose(_) => {
                let service = self.own_service().map(|(_, service)| service.clone());
                return service.map_or(Basis::Default, |it| self.basis_of(&it, findings));
            }
            Base::Image(image) => return Basis::Image(image.clone()),
            Base::Dockerfile(build) => build,
        };
        let key = if node.get("build").is_some() { "build" } else { "dockerFile" };
        let place = place_of(node, key);
        self.dockerfile(build, place, findings)
    }

    pub(super) fn dockerfile(
        &self,
        build: &Build,
        place: &Place,
        findings: &mut Findings,
    ) -> Basis {
        if !build.options.is_empty() || !build.cache_from.is_empty() {
            let what = "`options` and `cacheFrom` of a build are for the build of an engine and are left out";
            findings.warn(place, what);
        }
        let file = self.resolved.file.as_deref().unwrap_or(self.root);
        let folder = file.rsplit_once('/').map_or(self.root, |(folder, _)| folder);
        let (context, dockerfile) = (join(folder, &build.context), join(folder, &build.dockerfile));
        let below = |path: &str, folder: &str| {
            is_within(path, folder).then(|| path[folder.len()..].trim_matches('/').to_owned())
        };
        let (Some(context_below), Some(dockerfile)) =
            (below(&context, self.root), below(&dockerfile, &context))
        else {
            let what =
                "the Dockerfile doesn't lie in its context: move it there, or widen the context";
            findings.refuse(place, what);
            return Basis::Default;
        };
        Basis::Dockerfile(Dockerfile {
            context: context_below,
            dockerfile,
            arguments: build.args.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            target: build.target.clone(),
        })
    }

    /// The folders that the environment gets for itself: volumes and tmpfs mounts. And those of the
    /// project that it shows a second time.
    pub(super) fn volumes(
        &self,
        files: &dyn Files,
        tree: &str,
        findings: &mut Findings,
    ) -> Folders {
        let node = &self.resolved.merged_configuration;
        let list = node.get("mounts").and_then(|node| node.list()).unwrap_or(&[]);
        let of_service = self.mounts_of_service(findings);
        let Folders { mut volumes, mut left, mut again } = Folders::default();
        let own = self.resolved.merged.settings.mounts.iter().enumerate().map(|(i, mount)| {
            (mount, list.get(i).map_or(place_of(node, "mounts"), |node| &node.place), true)
        });
        let of_service = of_service.iter().map(|(mount, place)| (mount, place, false));
        for (mount, place, is_own) in of_service.chain(own) {
            let target = mount.target.trim_end_matches('/');
            let is_taken = volumes.iter().any(|other| other == target)
                || again.iter().any(|other| other.inside == Path::new(target));
            if let Err(why) = is_free(target, tree) {
                findings.refuse(place, format!("a mount can't lie in `{target}`: {why}"));
            } else if is_taken {
                findings.refuse(place, format!("two mounts lie in `{target}`: remove one"));
            } else if mount.kind == MountKind::Bind {
                // Whatever lies outside was refused already.
                let source = join("/", mount.source.as_deref().unwrap_or_default());
                let below = source.strip_prefix(self.root).unwrap_or_default().trim_matches('/');
                if below.is_empty() {
                    let what = "the whole project lies in its usual place only: it is left out";
                    self.tell(findings, place, what.to_owned());
                } else if !self.has_folder(files, below) {
                    let what = format!("`{below}` is no folder of the project: it is left out");
                    self.tell(findings, place, what);
                } else {
                    again.push(Again {
                        below: below.into(),
                        inside: target.into(),
                        read_only: mount.read_only,
                    });
                }
            } else {
                let name = mount.source.as_ref().filter(|_| mount.kind == MountKind::Volume);
                if let Some(name) = name.filter(|name| is_own && !name.is_empty()) {
                    if left.iter().any(|(_, other)| other == name) {
                        let what = format!("the volume `{name}` is mounted twice: remove one");
                        findings.refuse(place, what);
                    }
                    let what = format!(
                        "the volume `{name}` is empty for a job, and gone with it; an environment that lives by \
                         itself begins with what the last one left there"
                    );
                    findings.warn(place, what);
                    left.push((volumes.len(), name.clone()));
                }
                volumes.push(target.to_owned());
            }
        }
        Folders { volumes, left, again }
    }

    /// Whether programs may trace each other.
    pub(super) fn traces(&self) -> bool {
        let added = &self.resolved.merged.settings.cap_add;
        added.iter().any(|one| matches!(&*one.to_uppercase(), "SYS_PTRACE" | "CAP_SYS_PTRACE"))
    }
}

/// Says why a folder of its own may not lie there: it would cover what the environment works by.
fn is_free(target: &str, tree: &str) -> Result<(), String> {
    let Some(path) = target.strip_prefix('/') else { return Err("begin it with /".to_owned()) };
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains('\0') {
        return Err("write the plain path of a folder".to_owned());
    }
    for own in [tree, HOME, "/opt/windlass", windlass_sandbox::contained::FOLDER] {
        if is_within(own, target) {
            return Err(format!("it would cover {own}"));
        }
    }
    for own in ["/proc", "/sys", "/dev", "/tmp", "/run", "/opt/windlass"] {
        if is_within(target, own) {
            return Err(format!("{own} is the environment's own"));
        }
    }
    match path.contains('/') || !SYSTEM.contains(&path) {
        true => Ok(()),
        false => Err("it is a folder of the system: choose one below".to_owned()),
    }
}

/// Joins two paths and works `.` and `..` out; both speak of the project's folder outside.
pub(crate) fn join(folder: &str, next: &str) -> String {
    let whole = if next.starts_with('/') { next.to_owned() } else { format!("{folder}/{next}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
