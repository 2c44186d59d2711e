//! What a repository says of its own environment (`devcontainer.json`, `.windlass/environment.yaml`),
//! worked out for the environments of this runner.
//!
//! All of it is a stranger's text. It may name variables, a folder and commands that run inside; it can
//! never widen what an environment may do or reach, and what belongs to the platform is refused to it.
//! What this runner can't honour is told with its place before anything starts, never passed over.

mod basis;
mod beside;
mod files;
mod offered;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use windlass_devcontainer::{
    Files, Findings, Place, Refused, Request, Resolved,
    automation::{self, Automation, Restart, Service},
    capability::{self, Machine},
    configuration::{Base, Mount, MountKind},
    dockerfile::{Action, CopySource, StageSource},
    feature::Fetched,
    reserved::Reserved,
    resolve,
    resolve::Image,
    tree::Node,
    workspace::Workspace,
};
use windlass_sandbox::{Again, ImageSettings, User};

pub(crate) use basis::join;
pub use basis::{BackendKind, Basis, Dockerfile};
pub use beside::{Beside, Services};
pub use files::ProjectFiles;
pub(crate) use files::{LARGEST, text};

/// How a repository's definition of its environment is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// What this runner can't honour yet refuses the job.
    Strict,
    /// What this runner can't honour yet is told in the job's log; the host's system folders stand in
    /// for what can't be built.
    #[default]
    Lenient,
    /// Definitions are not read.
    Off,
}

/// What is asked, besides the files.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The project's name as one folder name.
    pub name: &'a str,
    /// How the definition is taken.
    pub strictness: Strictness,
    /// The variables that every program inside has anyway.
    pub variables: &'a BTreeMap<String, String>,
    /// The ports on which the platform listens inside: [`PORTS`].
    pub ports: &'a [u16],
    /// What the environment is given of the machine.
    pub room: &'a Room,
    /// Which backend it is for.
    pub backend: BackendKind,
    /// What the image says about itself, once it is there.
    pub image: Option<&'a ImageSettings>,
    /// What the images of a Dockerfile's stages say about themselves, by name, as far as they are there.
    pub stages: &'a BTreeMap<String, ImageSettings>,
    /// The Features that were fetched, by the reference as written.
    pub features: &'a BTreeMap<String, Fetched>,
    /// Whether there is an image for definitions that name none.
    pub has_default_image: bool,
}

/// What an environment is given of its machine, and what another class would give it.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// What it is given; 0 is unknown.
    pub machine: Machine,
    /// The name of its class; absent where nobody speaks of classes.
    pub class: Option<String>,
    /// All classes that can be chosen.
    pub classes: Vec<capability::Class>,
}

impl Room {
    /// What this machine has for whoever is not limited: its processors.
    pub fn of_this_machine() -> Self {
        let cpus = std::thread::available_parallelism().map_or(0, |cpus| cpus.get() as u64);
        Self {
            machine: Machine { cpu_millis: cpus * 1000, ..Machine::default() },
            ..Self::default()
        }
    }
}

/// What an environment is made by.
#[derive(Clone, Debug, Serialize)]
pub struct Definition {
    /// Where the work tree lies inside.
    pub tree: String,
    /// Where commands run inside: the tree or a folder below.
    pub folder: String,
    /// What it is made from.
    pub basis: Basis,
    /// Where it has folders of its own, empty at first.
    pub volumes: Vec<String>,
    /// Which of them, by their place in that list, are what environments of the project leave to each other,
    /// and under which name.
    pub left: Vec<(usize, String)>,
    /// Folders of the project, and where they are a second time.
    pub again: Vec<Again>,
    /// Whether its programs may trace each other.
    pub traces: bool,
    /// Who programs are, if that isn't `agent`, as definition or image say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Wanted>,
    /// Whether Features can be added to what it is made from.
    #[serde(skip)]
    pub adds_features: bool,
    /// Variables to set (`Some`) and to take away (`None`), in their order.
    pub variables: Vec<(String, Option<String>)>,
    /// `devcontainer.json`, worked out; `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devcontainer: Option<Box<Resolved>>,
    /// Services and tasks.
    pub automation: Automation,
    /// The services of a Compose file.
    pub services: Services,
    /// What is otherwise than written: warnings only.
    pub findings: Findings,
}

/// The ports on which the platform listens inside of every environment.
pub const PORTS: [u16; 3] = crate::workshop::PORTS;

/// The variables by which the platform works inside, whether or not they are set.
const RESERVED: [&str; 25] = [
    "HOME",
    "USER",
    "LOGNAME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "ftp_proxy",
    "no_proxy",
    "GIT_TERMINAL_PROMPT",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
];
/// The folders directly below `/` where no work tree may come to lie.
const SYSTEM: [&str; 22] = [
    "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt", "nix",
    "opt", "proc", "root", "run", "sbin", "snap", "sys", "tmp", "usr", "var",
];

/// Who programs shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// The user's name or number.
    pub name: String,
    /// Where that is written.
    pub place: Place,
}

/// The service that the entrypoints of Features become.
const ENTRYPOINTS: &str = "entrypoints";

impl Definition {
    /// The environment of a project without a definition.
    pub fn none(name: &str) -> Self {
        let tree = format!("/workspace/{name}");
        Self {
            folder: tree.clone(),
            tree,
            basis: Basis::Default,
            volumes: Vec::new(),
            left: Vec::new(),
            again: Vec::new(),
            traces: false,
            user: None,
            adds_features: false,
            variables: Vec::new(),
            devcontainer: None,
            automation: Automation::default(),
            services: Services::default(),
            findings: Findings::default(),
        }
    }

    /// The Features that have to be fetched before it is whole, with the digest that each must have.
    pub fn missing_features(&self) -> BTreeMap<String, Option<String>> {
        let resolved = self.devcontainer.as_ref().filter(|_| self.adds_features);
        let missing = resolved.map(|resolved| &resolved.missing.features);
        missing.cloned().unwrap_or_default()
    }

    /// The images that a Dockerfile's stages are made of, where it is built without an engine.
    pub fn stage_images(&self) -> Vec<String> {
        let plan = self.devcontainer.as_ref().and_then(|resolved| resolved.build.as_ref());
        let stages = plan.map(|plan| plan.stages.as_slice()).unwrap_or_default();
        let mut names: Vec<String> = Vec::new();
        for stage in stages {
            if let StageSource::Image(name) = &stage.from {
                names.push(name.clone());
            }
            for step in &stage.steps {
                if let Action::Copy { from: CopySource::Image(name), .. } = &step.action {
                    names.push(name.clone());
                }
            }
        }
        names
    }

    /// What there is to be installed, if there is something and it can be.
    pub fn features(&self) -> Option<&Resolved> {
        let resolved = self.devcontainer.as_deref().filter(|_| self.adds_features);
        resolved.filter(|resolved| !resolved.features.is_empty())
    }

    /// Who programs are inside, by the accounts of what the environment is made from; `None` is `agent`.
    ///
    /// # Errors
    /// That there is no such user, in words.
    pub fn user(&self, accounts: &[User]) -> Result<Option<User>, String> {
        let Some(Wanted { name, place }) = &self.user else { return Ok(None) };
        if accounts.is_empty() {
            // The host's own system folders: only these two are there. It was told before.
            return Ok((name == "root").then(User::root));
        }
        let found = windlass_sandbox::accounts::find(accounts, "", name);
        found.map(Some).ok_or_else(|| {
            let names: Vec<&str> = accounts.iter().map(|user| user.name.as_str()).collect();
            let names = names[names.len().saturating_sub(8)..].join(", ");
            format!(
                "{place}: the image has no user `{name}` (it has {names}): make it in a Dockerfile or by the \
                 Feature common-utils, or name another one"
            )
        })
    }

    /// Reads what the project in [`root`] says. Places are relative to the project.
    ///
    /// # Errors
    /// [`Refused`] with everything that was found, if anything forbids the start.
    pub fn read(files: &dyn Files, asked: &Asked<'_>) -> Result<Self, Refused> {
        let mut definition = Self::none(asked.name);
        if asked.strictness == Strictness::Off {
            return Ok(definition);
        }
        let root = root(asked.name);
        let reserved = reserved(asked.ports);
        let mut findings = Findings::default();
        let (mut entrypoints, mut command) = (None, None);
        match devcontainer(files, asked, &root) {
            Ok(Some(resolved)) => {
                findings.extend(resolved.findings.clone());
                let judge = Judge { asked, root: &root, resolved: &resolved };
                judge.unhonoured(&mut findings);
                definition.basis = judge.basis(&mut findings);
                (definition.tree, definition.folder) = judge.place(files, &mut findings);
                let folders = judge.volumes(files, &definition.tree, &mut findings);
                definition.volumes = folders.volumes;
                definition.left = folders.left;
                definition.again = folders.again;
                definition.traces = judge.traces();
                definition.variables = judge.variables(&reserved, &mut findings);
                definition.user = judge.user().map(|Wanted { name, place }| {
                    let place = in_project(&place, &root);
                    Wanted { name, place }
                });
                definition.adds_features = !judge.is_host();
                entrypoints = judge.entrypoints();
                definition.services = judge.services(&mut findings);
                command = judge.command_of_service();
                definition.devcontainer = Some(Box::new(resolved));
            }
            Ok(None) => {}
            Err(refused) => findings.extend(refused.findings),
        }
        match automation(files, &root, &reserved) {
            Ok(automation) => {
                definition.automation = automation;
                if let Some(service) = entrypoints {
                    definition.automation.services.entry(ENTRYPOINTS.to_owned()).or_insert(service);
                }
                if let Some((name, service)) = command {
                    definition.automation.services.entry(name).or_insert(service);
                }
            }
            Err(refused) => findings.extend(refused.findings),
        }
        definition.findings = relative(&findings, &root);
        definition.findings.verdict()?;
        Ok(definition)
    }
}

/// Where a project's files are when they are asked for: the folder that `localWorkspaceFolder` stands
/// for. It says nothing about this machine.
pub fn root(name: &str) -> String {
    format!("/workspaces/{name}")
}

/// A project's name as one folder name.
pub fn folder_name(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    let clean: String = last
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect();
    let clean = clean.trim_matches('.');
    if clean.is_empty() { "work".to_owned() } else { clean.to_owned() }
}

fn reserved(ports: &[u16]) -> Reserved {
    Reserved {
        ports: ports.iter().copied().collect(),
        variables: RESERVED.map(str::to_owned).into(),
        prefixes: vec!["WINDLASS".to_owned()],
    }
}

/// Works `devcontainer.json` out, twice: its variables may speak of the container's, and these are
/// known once it is read.
fn devcontainer(
    files: &dyn Files,
    asked: &Asked<'_>,
    root: &str,
) -> Result<Option<Resolved>, Refused> {
    let capabilities = basis::capabilities(asked.backend, asked.room);
    let labels = BTreeMap::from([("windlass.project".to_owned(), asked.name.to_owned())]);
    let workspace = Workspace { folder: root.to_owned(), git_root: Some(root.to_owned()) };
    let mut request = Request::new(workspace);
    request.id_labels = Some(&labels);
    request.capabilities = Some(&capabilities);
    request.features = asked.features;
    let first = resolve(&request, files)?;
    if first.file.is_none() {
        return Ok(None);
    }
    let mut images: BTreeMap<String, Image> =
        asked.stages.iter().map(|(name, image)| known(name, image)).collect();
    images.extend(first.base_image.iter().zip(asked.image).map(|(name, image)| known(name, image)));
    request.images = &images;
    let first = if images.is_empty() { first } else { resolve(&request, files)? };
    let mut inside = asked.variables.clone();
    if let Base::Compose(choice) = &first.definition.base
        && let Some(service) = first.compose.iter().find_map(|it| it.services.get(&choice.service))
    {
        inside.extend(service.environment.clone());
    }
    let own = &first.merged.settings.container_env;
    inside.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
    request.container_environment = Some(&inside);
    resolve(&request, files).map(Some)
}

/// What an image says about itself, in the words of definitions.
fn known(name: &str, settings: &ImageSettings) -> (String, Image) {
    let image = Image {
        label: settings.labels.get("devcontainer.metadata").cloned(),
        environment: settings.variables.iter().cloned().collect(),
        user: settings.user.clone(),
    };
    (name.to_owned(), image)
}

fn automation(files: &dyn Files, root: &str, reserved: &Reserved) -> Result<Automation, Refused> {
    let file = format!("{root}/{}", automation::FILE);
    match files.read(&file) {
        Ok(None) => Ok(Automation::default()),
        Ok(Some(text)) => Automation::read(&file, &text, reserved),
        Err(why) => {
            let mut findings = Findings::default();
            findings.refuse(&Place::whole(&file), why);
            Err(Refused { findings })
        }
    }
}

/// The same findings with places as somebody in the project would name them.
fn relative(findings: &Findings, root: &str) -> Findings {
    let mut all = Findings::default();
    for finding in findings.all() {
        let place = in_project(&finding.place, root);
        match finding.severity {
            windlass_devcontainer::Severity::Refuse => all.refuse(&place, &*finding.what),
            windlass_devcontainer::Severity::Warn => all.warn(&place, &*finding.what),
        }
    }
    all
}

/// A place as somebody in the project would name it.
pub(crate) fn in_project(place: &Place, root: &str) -> Place {
    let mut place = place.clone();
    if let Some(below) = place.file.strip_prefix(root).and_then(|f| f.strip_prefix('/')) {
        place.file = below.into();
    }
    place
}

/// Judges one definition.
struct Judge<'a> {
    asked: &'a Asked<'a>,
    root: &'a str,
    resolved: &'a Resolved,
}

impl Judge<'_> {
    /// Tells what is otherwise than written: a warning, or a refusal if the operator is strict.
    fn tell(&self, findings: &mut Findings, place: &Place, what: String) {
        match self.asked.strictness {
            Strictness::Strict => findings.refuse(place, what),
            Strictness::Lenient | Strictness::Off => findings.warn(place, what),
        }
    }

    /// Whether this machine's own system folders are what the environment is made from. An image that the
    /// operator has chosen has users, and Features can be added to it.
    fn is_host(&self) -> bool {
        matches!(self.resolved.definition.base, Base::Default)
            && self.asked.backend == BackendKind::Process
            && self.asked.image.is_none()
            && !self.asked.has_default_image
    }

    /// The parts of a definition for which this runner has no means.
    fn unhonoured(&self, findings: &mut Findings) {
        let node = &self.resolved.configuration;
        if !self.is_host() {
            return;
        }
        if !self.resolved.definition.features.is_empty() {
            let what = "Features need an `image` or a Dockerfile to be added to: without any the host's \
                        system folders are used, and what Features bring is missing";
            self.tell(findings, place_of(node, "features"), what.to_owned());
        }
        let own = [windlass_sandbox::plan::USER_NAME, "root"];
        if let Some(Wanted { name, place }) = self.user().filter(|it| !own.contains(&&*it.name)) {
            let what = format!(
                "the host's system folders have no user `{name}`: everything runs as `agent`; name an \
                 `image` that has it"
            );
            self.tell(findings, &place, what);
        }
    }

    /// Who lifecycle commands, steps and agents are: the user for tools, else the container's, else the
    /// image's own. Root only if that is written: who writes nothing gets `agent`.
    fn user(&self) -> Option<Wanted> {
        let merged = &self.resolved.merged_configuration;
        let settings = &self.resolved.merged.settings;
        let written =
            [("remoteUser", &settings.remote_user), ("containerUser", &settings.container_user)];
        let written = written.into_iter().find_map(|(key, user)| {
            let name = user.clone()?;
            Some(Wanted { name, place: place_of(merged, key).clone() })
        });
        let of_service = self.own_service().and_then(|(_, service)| {
            let name = service.user.as_deref()?.split(':').next().unwrap_or_default().to_owned();
            Some(Wanted { name, place: service.place_of("user").clone() })
        });
        let of_image = self
            .resolved
            .image_user
            .clone()
            .filter(|user| !matches!(user.split(':').next(), None | Some("" | "root" | "0")));
        let of_image = of_image.map(|name| {
            let place =
                ["image", "build", "dockerFile"].into_iter().find_map(|key| merged.get(key));
            Wanted { name, place: place.map_or(&merged.place, |node| &node.place).clone() }
        });
        written
            .or(of_service)
            .or(of_image)
            .filter(|it| it.name != windlass_sandbox::plan::USER_NAME)
    }

    /// The programs that Features and images want to be started with the environment, as one service.
    fn entrypoints(&self) -> Option<Service> {
        let node = self.resolved.merged_configuration.get("entrypoints")?;
        let lines: Vec<&str> = node.list().unwrap_or(&[]).iter().filter_map(Node::text).collect();
        (!lines.is_empty()).then(|| Service {
            description: Some("The entrypoints of Features".to_owned()),
            start: format!("{}\nwhile :; do sleep 3600; done", lines.join("\n")),
            ready: None,
            stop: None,
            restart: Restart::Never,
            ports: Vec::new(),
            depends_on: Vec::new(),
            env: Default::default(),
        })
    }

    /// Where the work tree lies inside, and where commands run.
    fn place(&self, files: &dyn Files, findings: &mut Findings) -> (String, String) {
        let node = &self.resolved.configuration;
        let placement = &self.resolved.workspace;
        let written = placement.workspace_folder.clone().unwrap_or_else(|| self.root.to_owned());
        let mut folder = written.trim_end_matches('/').to_owned();
        let mount = placement.workspace_mount.as_deref().map(Mount::parse);
        let mounted = match mount {
            Some(Ok(mount)) if node.get("workspaceMount").is_some() => Some(mount),
            Some(Ok(_) | Err(_)) | None => None,
        };
        let by_service = self.mounted_by_service();
        if self.own_service().is_some() && folder.is_empty() {
            // The reference tool would open the root of all.
            folder = by_service.clone().unwrap_or_else(|| self.root.to_owned());
            let what = format!("`workspaceFolder` isn't set: commands run in {folder}");
            findings.warn(place_of(node, "dockerComposeFile"), what);
        }
        let tree = match mounted.map(Ok).or(by_service.map(Err)) {
            Some(Err(inside)) => inside,
            Some(Ok(mount))
                if mount.kind == MountKind::Bind && mount.source.as_deref() == Some(self.root) =>
            {
                mount.target.trim_end_matches('/').to_owned()
            }
            Some(Ok(_)) => {
                let what = "only the whole project can be mounted on this runner: it lies in its \
                            usual place";
                self.tell(findings, place_of(node, "workspaceMount"), what.to_owned());
                return (self.root.to_owned(), self.root.to_owned());
            }
            None if is_within(&folder, self.root) => self.root.to_owned(),
            None => folder.clone(),
        };
        let key =
            if node.get("workspaceMount").is_some() { "workspaceMount" } else { "workspaceFolder" };
        if let Err(why) = fits(&tree) {
            let what = format!("a project can't lie in `{tree}`: {why}");
            findings.refuse(place_of(node, key), what);
            return (self.root.to_owned(), self.root.to_owned());
        }
        if !is_within(&folder, &tree) {
            let what = format!("`{folder}` lies outside of the project, which is in `{tree}`");
            findings.refuse(place_of(node, "workspaceFolder"), what);
            return (tree.clone(), tree);
        }
        if folder != tree && !self.has_folder(files, &folder[tree.len() + 1..]) {
            let what = format!("`{folder}` is no folder of the project: mend the path");
            findings.refuse(place_of(node, "workspaceFolder"), what);
            return (tree.clone(), tree);
        }
        (tree, folder)
    }

    pub(super) fn has_folder(&self, files: &dyn Files, below: &str) -> bool {
        let (parent, name) = below.rsplit_once('/').unwrap_or(("", below));
        let parent = format!("{}/{parent}", self.root);
        files.folders(parent.trim_end_matches('/')).iter().any(|folder| folder == name)
    }

    fn variables(
        &self,
        reserved: &Reserved,
        findings: &mut Findings,
    ) -> Vec<(String, Option<String>)> {
        let settings = &self.resolved.merged.settings;
        let own = self.own_service().map(|(_, service)| service);
        let of_service = own.iter().flat_map(|service| &service.environment);
        let of_service =
            of_service.map(|(name, value)| ("environment", name.clone(), Some(value.clone())));
        let container = settings
            .container_env
            .iter()
            .map(|(name, value)| ("containerEnv", name.clone(), Some(value.clone())));
        let remote = settings
            .remote_env
            .iter()
            .map(|(name, value)| ("remoteEnv", name.clone(), value.clone()));
        let mut variables = Vec::new();
        for (key, name, value) in of_service.chain(container).chain(remote) {
            let node = self.resolved.merged_configuration.get(key);
            let place = match own.filter(|_| key == "environment") {
                Some(service) => service.place_of(key),
                None => node
                    .map(|node| place_of(node, &name))
                    .unwrap_or(&self.resolved.merged_configuration.place),
            };
            reserved.check_variable(&name, value.as_deref(), place, findings);
            variables.push((name, value));
        }
        variables
    }
}

/// Says why a work tree may not lie there.
fn fits(path: &str) -> Result<(), String> {
    let Some(path) = path.strip_prefix('/') else { return Err("begin it with /".to_owned()) };
    let parts: Vec<&str> = path.split('/').collect();
    if parts.iter().any(|part| matches!(*part, "" | "." | "..")) || path.contains('\0') {
        return Err("write the plain path of a folder".to_owned());
    }
    let system: BTreeSet<&str> = SYSTEM.into();
    match parts.first() {
        Some(first) if system.contains(first) => {
            Err(format!("/{first} is the system's: choose one below /workspaces"))
        }
        Some(_) | None => Ok(()),
    }
}

fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn place_of<'a>(node: &'a Node, key: &str) -> &'a Place {
    node.get(key).map_or(&node.place, |node| &node.place)
}

#[cfg(test)]
mod tests;
