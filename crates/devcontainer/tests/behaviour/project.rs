//! A project in memory.

use std::collections::BTreeMap;

use windlass_devcontainer::{
    Refused, Request, Resolved, capability::Capabilities, feature::Fetched, resolve,
    resolve::Image, workspace::Workspace,
};

/// A project at `/p`, and what is known besides its files.
pub(crate) struct Project {
    files: BTreeMap<String, String>,
    pub(crate) named: Option<&'static str>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) images: BTreeMap<String, Image>,
    pub(crate) features: BTreeMap<String, Fetched>,
    pub(crate) capabilities: Option<Capabilities>,
}

impl Project {
    pub(crate) fn empty() -> Self {
        Self {
            files: BTreeMap::new(),
            named: None,
            environment: BTreeMap::new(),
            labels: None,
            images: BTreeMap::new(),
            features: BTreeMap::new(),
            capabilities: None,
        }
    }

    /// A project with a configuration.
    pub(crate) fn new(configuration: &str) -> Self {
        Self::empty().with(".devcontainer/devcontainer.json", configuration)
    }

    /// The same with another file.
    pub(crate) fn with(mut self, path: &str, text: &str) -> Self {
        self.files.insert(format!("/p/{path}"), text.to_owned());
        self
    }

    /// The same on a backend.
    pub(crate) fn on(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = Some(capabilities);
        self
    }

    /// The same with a Feature that was fetched.
    pub(crate) fn fetched(mut self, reference: &str, manifest: &str) -> Self {
        let digest = digest(reference);
        let fetched = Fetched { manifest: manifest.to_owned(), digest };
        self.features.insert(reference.to_owned(), fetched);
        self
    }

    pub(crate) fn resolve(&self) -> Result<Resolved, Refused> {
        let request = Request {
            workspace: Workspace { folder: "/p".to_owned(), git_root: None },
            named: self.named,
            local_environment: &self.environment,
            id_labels: self.labels.as_ref(),
            container_environment: None,
            images: &self.images,
            features: &self.features,
            capabilities: self.capabilities.as_ref(),
        };
        resolve(&request, &self.files)
    }

    /// Everything that is said, whether it may start or not, without the folder.
    pub(crate) fn said(&self) -> Vec<String> {
        let findings = match self.resolve() {
            Ok(resolved) => resolved.findings,
            Err(refused) => refused.findings,
        };
        let said = findings.all().iter().map(ToString::to_string);
        said.map(|line| line.replace("/p/.devcontainer/", "").replace("/p/", "")).collect()
    }
}

/// A digest of its own for each reference.
pub(crate) fn digest(reference: &str) -> String {
    let hash = reference
        .bytes()
        .fold(7_u128, |hash, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u128::from(byte));
    format!("sha256:{hash:064x}")
}
