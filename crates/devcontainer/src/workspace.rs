//! Where a project lies outside, where it comes to lie inside, and how it gets there.

use serde::Serialize;

use crate::{path, tree::Node};

/// Where a project lies on the side of whoever starts the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// The project's folder: absolute, with `/`.
    pub folder: String,
    /// The root of the work tree that holds it, if there is one. It is what is mounted.
    pub git_root: Option<String>,
}

impl Workspace {
    /// The folder outside of which nothing may be read.
    pub fn root(&self) -> String {
        path::tidy(self.git_root.as_deref().unwrap_or(&self.folder))
    }
}

/// Where a project comes to lie inside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The folder inside that tools open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_folder: Option<String>,
    /// The mount that brings the project there, as for `docker run --mount`; `None` or empty if
    /// something else brings it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_mount: Option<String>,
}

impl Placement {
    /// What a configuration says before its variables are replaced, with the defaults for what it
    /// doesn't say.
    pub(crate) fn before(workspace: &Workspace, configuration: &Node) -> Self {
        let written = |key: &str| configuration.get(key).and_then(Node::text).map(str::to_owned);
        let folder = written("workspaceFolder").filter(|folder| !folder.is_empty());
        if configuration.get("dockerComposeFile").is_some() {
            return Self {
                workspace_folder: Some(folder.unwrap_or_else(|| "/".to_owned())),
                workspace_mount: None,
            };
        }
        let outside = workspace.root();
        let inside = path::join("/workspaces", path::name(&outside));
        let folder = folder.unwrap_or_else(|| {
            let tidied = path::tidy(&workspace.folder);
            match path::below(&tidied, &outside) {
                Some(below) => path::join(&inside, below),
                None => inside.clone(),
            }
        });
        let mount = match configuration.get("workspaceMount") {
            Some(mount) => mount.text().map(str::to_owned),
            None => Some(format!(
                "type=bind,{},{}",
                field("source", &outside),
                field("target", &inside)
            )),
        };
        Self { workspace_folder: Some(folder), workspace_mount: mount }
    }

    /// What it is once the variables are replaced.
    pub(crate) fn after(mut self, configuration: &Node) -> Self {
        if let Some(folder) = configuration.get("workspaceFolder").and_then(Node::text) {
            self.workspace_folder = Some(folder.to_owned());
        }
        if let Some(mount) = configuration.get("workspaceMount") {
            self.workspace_mount = mount.text().map(str::to_owned);
        }
        self
    }

    /// True if a mount brings the project inside.
    pub fn is_mounted(&self) -> bool {
        self.workspace_mount.as_deref().is_some_and(|mount| !mount.is_empty())
    }
}

/// A field of a mount, quoted if it holds the separator.
fn field(key: &str, value: &str) -> String {
    let quote = if value.contains(',') { "\"" } else { "" };
    format!("{quote}{key}={value}{quote}")
}
