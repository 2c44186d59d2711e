//! `devcontainer-lock.json`: which exact versions of Features were taken, so that the next start takes
//! the same. Features of the project itself are not in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Planned, Reference};
use crate::{
    path,
    place::{Finding, Place, Severity},
};

/// A lock file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// What was taken, by the reference as written.
    pub features: BTreeMap<String, Locked>,
}

/// What was taken for one reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Locked {
    /// The full version.
    pub version: String,
    /// The artifact with its digest, or the archive's address.
    pub resolved: String,
    /// `sha256:` and the digest of what was fetched.
    pub integrity: String,
    /// The Features that it needs, which are locked too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
}

/// Where the lock file of a configuration is.
pub fn path_of(configuration: &str) -> String {
    let dot = if path::name(configuration).starts_with('.') { "." } else { "" };
    path::join(path::parent(configuration), &format!("{dot}devcontainer-lock.json"))
}

impl Lock {
    /// Reads a lock file. An empty one locks nothing.
    ///
    /// # Errors
    /// The place at which it isn't a lock file.
    pub fn parse(file: &str, text: &str) -> Result<Self, Finding> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text).map_err(|error| Finding {
            severity: Severity::Refuse,
            place: Place {
                file: file.into(),
                line: u32::try_from(error.line()).unwrap_or(u32::MAX),
                column: u32::try_from(error.column()).unwrap_or(u32::MAX),
            },
            what: format!("it is no lock file: {error}; remove it to lock anew"),
        })
    }

    /// What was planned, locked. Only what was fetched is in it.
    pub fn of(features: &[Planned]) -> Self {
        let locked = features.iter().filter_map(|feature| {
            let integrity = feature.digest.clone()?;
            let resolved = match &feature.reference {
                Reference::Oci(reference) => format!("{}@{integrity}", reference.resource()),
                Reference::Tarball { url, .. } => url.clone(),
                Reference::Local(_) => return None,
            };
            let locked = Locked {
                version: feature.manifest.version.clone().unwrap_or_default(),
                resolved,
                integrity,
                depends_on: feature.manifest.depends_on.keys().cloned().collect(),
            };
            Some((feature.written.clone(), locked))
        });
        Self { features: locked.collect() }
    }

    /// What is locked for a reference; its case doesn't count.
    pub fn get(&self, written: &str) -> Option<&Locked> {
        self.features.get(written).or_else(|| {
            let lower = written.to_lowercase();
            let mut locked = self.features.iter();
            locked.find(|(key, _)| key.to_lowercase() == lower).map(|(_, locked)| locked)
        })
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        // Strings in maps always serialise.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
