//! The whole way in one call: from a project's files to what to start and what can't be honoured.

mod gather;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    capability::{self, Capabilities, Dockerfiles},
    compose,
    configuration::{Base, Build, Configuration, modernise},
    dockerfile,
    feature::{Fetched, Planned, Reference, lock},
    find::{self, Files},
    lifecycle,
    merge::{self, Merged},
    path,
    place::{Findings, Place, Refused},
    read::place_of,
    substitute,
    tree::{self, Node, Value},
    workspace::{Placement, Workspace},
};

pub(crate) use gather::{referred, within};

/// What is asked, and everything that isn't in the project's files.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Where the project lies.
    pub workspace: Workspace,
    /// The definition that the project names, relative to its folder; `None` searches.
    pub named: Option<&'a str>,
    /// What `${localEnv:NAME}` and Compose files may see. Never a process's own environment.
    pub local_environment: &'a BTreeMap<String, String>,
    /// The labels that identify the environment; `None` leaves `${devcontainerId}` as it is.
    pub id_labels: Option<&'a BTreeMap<String, String>>,
    /// The variables of the running container; `None` leaves `${containerEnv:NAME}` as it is: ask again
    /// once it runs.
    pub container_environment: Option<&'a BTreeMap<String, String>>,
    /// What is known of images, by name.
    pub images: &'a BTreeMap<String, Image>,
    /// The Features that were fetched, by the reference as written.
    pub features: &'a BTreeMap<String, Fetched>,
    /// What the backend can honour; `None` doesn't ask.
    pub capabilities: Option<&'a Capabilities>,
}

static NO_VARIABLES: BTreeMap<String, String> = BTreeMap::new();
static NO_IMAGES: BTreeMap<String, Image> = BTreeMap::new();
static NO_FEATURES: BTreeMap<String, Fetched> = BTreeMap::new();

impl Request<'_> {
    /// Asks about a project of which nothing is known but its files.
    pub fn new(workspace: Workspace) -> Self {
        Self {
            workspace,
            named: None,
            local_environment: &NO_VARIABLES,
            id_labels: None,
            container_environment: None,
            images: &NO_IMAGES,
            features: &NO_FEATURES,
            capabilities: None,
        }
    }
}

/// What is known of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The label `devcontainer.metadata`, if it has one.
    pub label: Option<String>,
    /// Its variables.
    pub environment: BTreeMap<String, String>,
    /// The user it runs as; empty is root.
    pub user: String,
}

/// A definition, worked out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    /// The file; `None` if the project has no definition.
    pub file: Option<String>,
    /// The configuration with its variables replaced, as written otherwise.
    pub configuration: Node,
    /// The same as types.
    #[serde(skip)]
    pub definition: Configuration,
    /// Where the project comes to lie inside.
    pub workspace: Placement,
    /// The environment's identifier, if its labels are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devcontainer_id: Option<String>,
    /// The image that it is made from, once a Dockerfile's stages are followed.
    pub base_image: Option<String>,
    /// The user that the image, or the Dockerfile over it, runs as.
    pub image_user: Option<String>,
    /// How to build the Dockerfile without an engine, where the backend has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<dockerfile::Plan>,
    /// The services of a Compose file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compose: Option<compose::Project>,
    /// The Features in the order of their installation.
    pub features: Vec<Planned>,
    /// What applies in the end, as the reference tool prints it.
    pub merged_configuration: Node,
    /// The same as types.
    #[serde(skip)]
    pub merged: Merged,
    /// Which commands run when.
    pub lifecycle: lifecycle::Plan,
    /// What has to be fetched before the answer is whole. Ask again with it.
    pub missing: Missing,
    /// Everything to be said.
    pub findings: Findings,
}

/// What has to be fetched before an answer is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Features, by the reference as written, with the digest that the lock file demands.
    pub features: BTreeMap<String, Option<String>>,
    /// Images whose label isn't known.
    pub images: Vec<String>,
}

impl Resolved {
    /// The user that the container runs as.
    pub fn container_user(&self) -> &str {
        let image = self.image_user.as_deref().unwrap_or("root");
        self.merged.settings.container_user.as_deref().unwrap_or(image)
    }

    /// The user that tools and lifecycle commands run as. They can write the project, so it is theirs.
    pub fn remote_user(&self) -> &str {
        self.merged.settings.remote_user.as_deref().unwrap_or_else(|| self.container_user())
    }

    /// The variables with which a Feature's `install.sh` runs as root, in the order of `features`. Only
    /// `_CONTAINER_USER_HOME` and `_REMOTE_USER_HOME` are missing: they stand in the image's passwd.
    pub fn install_environment(&self, feature: &Planned) -> BTreeMap<String, String> {
        let mut environment: BTreeMap<String, String> =
            feature.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        environment.insert("_CONTAINER_USER".to_owned(), self.container_user().to_owned());
        environment.insert("_REMOTE_USER".to_owned(), self.remote_user().to_owned());
        environment
    }
}

impl Missing {
    /// True if nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty() && self.images.is_empty()
    }
}

/// Works a definition out. What the backend can't honour is among the findings; `findings.verdict()`
/// says whether it may start.
///
/// # Errors
/// [`Refused`] if there is nothing to work out: no JSON, wrong types, files that aren't there.
pub fn resolve(request: &Request<'_>, files: &dyn Files) -> Result<Resolved, Refused> {
    let mut findings = Findings::default();
    let folder = path::tidy(&request.workspace.folder);
    let git_root = request.workspace.git_root.as_deref().map(path::tidy);
    let workspace = Workspace { folder: folder.clone(), git_root };
    let request = &Request { workspace, ..request.clone() };
    let file = match find::find(files, &folder, request.named) {
        Ok(file) => file,
        Err(finding) => return Err(refused(findings, finding)),
    };
    let raw = match &file {
        Some(file) => load(files, file, &mut findings)?,
        None => Node::new(&Place::whole(&folder), Value::Object(Vec::new())),
    };
    let (configuration, placement) = replace_variables(request, &raw, &mut findings)?;
    let definition = Configuration::read(&configuration, &mut findings);
    let mut resolved = Resolved {
        devcontainer_id: request.id_labels.map(substitute::devcontainer_id),
        merged_configuration: configuration.clone(),
        file,
        configuration,
        definition,
        workspace: placement,
        base_image: None,
        image_user: None,
        build: None,
        compose: None,
        features: Vec::new(),
        merged: Merged::default(),
        lifecycle: lifecycle::Plan::default(),
        missing: Missing::default(),
        findings: Findings::default(),
    };
    gather::base(&mut resolved, request, files, &mut findings);
    gather::features(&mut resolved, request, files, &mut findings);
    findings.verdict()?;

    join(&mut resolved, request, &mut findings)?;
    let place = place_of(&resolved.configuration, "initializeCommand");
    resolved.lifecycle = lifecycle::Plan::of(&resolved.definition, place, &resolved.merged);
    if let Some(capabilities) = request.capabilities {
        let definition = capability::Definition {
            configuration: &resolved.definition,
            configuration_node: &resolved.configuration,
            merged: &resolved.merged,
            merged_node: &resolved.merged_configuration,
            workspace_mount: resolved.workspace.workspace_mount.as_deref(),
            workspace_root: &request.workspace.root(),
            compose: resolved.compose.as_ref(),
        };
        capability::check(&definition, capabilities, &mut findings);
    }
    resolved.findings = findings;
    Ok(resolved)
}

fn load(files: &dyn Files, file: &str, findings: &mut Findings) -> Result<Node, Refused> {
    let text = gather::read(files, file, findings);
    findings.verdict()?;
    let node = tree::parse_jsonc(file, &text.unwrap_or_default(), findings)
        .map_err(|finding| refused(findings.clone(), finding))?;
    if !node.is_object() {
        let what = format!("it must hold a JSON object, it is {}", node.kind());
        findings.refuse(&node.place, what);
    }
    findings.verdict()?;
    Ok(modernise(&node))
}

/// The passes for which everything is known.
fn replace_variables(
    request: &Request<'_>,
    raw: &Node,
    findings: &mut Findings,
) -> Result<(Node, Placement), Refused> {
    let placement = Placement::before(&request.workspace, raw);
    let local = substitute::Local {
        environment: request.local_environment,
        workspace_folder: &request.workspace.folder,
        container_workspace_folder: placement.workspace_folder.as_deref(),
    };
    let node = substitute::local(raw, &local, findings)
        .map_err(|finding| refused(findings.clone(), finding))?;
    let placement = placement.after(&node);
    Ok((later_passes(request, node, findings)?, placement))
}

fn later_passes(
    request: &Request<'_>,
    mut node: Node,
    findings: &Findings,
) -> Result<Node, Refused> {
    if let Some(labels) = request.id_labels {
        node = substitute::identity(&node, &substitute::devcontainer_id(labels));
    }
    if let Some(environment) = request.container_environment {
        node = substitute::container(&node, environment)
            .map_err(|finding| refused(findings.clone(), finding))?;
    }
    Ok(node)
}

/// Merges what the image, the Features and the configuration say.
fn join(
    resolved: &mut Resolved,
    request: &Request<'_>,
    findings: &mut Findings,
) -> Result<(), Refused> {
    let mut brought = Vec::new();
    if let Some(name) = &resolved.base_image
        && let Some(label) = request.images.get(name).and_then(|image| image.label.as_deref())
        && !label.is_empty()
    {
        brought.extend(merge::shares_of_label(name, label, findings));
    }
    for feature in &resolved.features {
        brought.push(merge::share_of_feature(&feature.node, &feature.written));
    }
    let mut entries = Vec::with_capacity(brought.len() + 1);
    for entry in brought {
        let local = substitute::Local {
            environment: request.local_environment,
            workspace_folder: &request.workspace.folder,
            container_workspace_folder: resolved.workspace.workspace_folder.as_deref(),
        };
        let entry = substitute::local(&entry, &local, findings)
            .map_err(|finding| refused(findings.clone(), finding))?;
        entries.push(later_passes(request, entry, findings)?);
    }
    entries.push(merge::share_of_configuration(&resolved.configuration));
    resolved.merged_configuration = merge::merge(&resolved.configuration, &entries);
    resolved.merged = Merged::read(&resolved.merged_configuration, findings);
    findings.verdict()
}

fn refused(mut findings: Findings, finding: crate::place::Finding) -> Refused {
    findings.refuse(&finding.place, finding.what);
    Refused { findings }
}
