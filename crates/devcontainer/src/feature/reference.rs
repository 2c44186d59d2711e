//! What names a Feature: a folder of the project, the address of an archive, or an artifact of a
//! registry.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::path;

/// What names a Feature.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A folder, as written: relative to the folder of the configuration.
    Local(String),
    /// An archive behind HTTPS.
    Tarball {
        /// Its address.
        url: String,
        /// The Feature's id, from the archive's name.
        id: String,
    },
    /// An artifact of a registry.
    Oci(OciReference),
}

/// An artifact of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OciReference {
    /// The registry's host, perhaps with a port: `ghcr.io`.
    pub registry: String,
    /// The path without the last part: `devcontainers/features`.
    pub namespace: String,
    /// The last part: `go`.
    pub id: String,
    /// The tag, if no digest is given; `latest` if nothing is.
    pub tag: Option<String>,
    /// `sha256:` and the digest of the manifest.
    pub digest: Option<String>,
}

/// Why a reference names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// A bare word that never was a Feature.
    #[error(
        "`{0}` names no Feature: write registry/owner/name:version, or `./{0}` for a folder beside \
         the configuration"
    )]
    Bare(String),
    /// An absolute path.
    #[error(
        "`{0}` is an absolute path: a local Feature lies beside the configuration, write `./...`"
    )]
    Absolute(String),
    /// An address that isn't HTTPS.
    #[error("`{0}` isn't fetched over HTTPS: use https://")]
    Insecure(String),
    /// An archive with another name.
    #[error("the archive of `{0}` must be called devcontainer-feature-<id>.tgz")]
    Archive(String),
    /// A part that registries don't allow.
    #[error("`{0}` isn't an artifact's name: {1}")]
    Oci(String, &'static str),
}

/// Features that had short names before registries, and the options that some names meant.
const SHORT: [(&str, &str); 23] = [
    ("aws-cli", "aws-cli"),
    ("azure-cli", "azure-cli"),
    ("common", "common-utils"),
    ("desktop-lite", "desktop-lite"),
    ("docker-from-docker", "docker-from-docker"),
    ("docker-in-docker", "docker-in-docker"),
    ("dotnet", "dotnet"),
    ("git", "git"),
    ("git-lfs", "git-lfs"),
    ("github-cli", "github-cli"),
    ("golang", "go"),
    ("gradle", "java"),
    ("java", "java"),
    ("jupyterlab", "python"),
    ("kubectl-helm-minikube", "kubectl-helm-minikube"),
    ("maven", "java"),
    ("node", "node"),
    ("powershell", "powershell"),
    ("python", "python"),
    ("ruby", "ruby"),
    ("rust", "rust"),
    ("sshd", "sshd"),
    ("terraform", "terraform"),
];

/// What a short name of old stands for today.
pub(crate) fn of_short_name(name: &str) -> Option<String> {
    let (_, today) = SHORT.iter().find(|(short, _)| *short == name)?;
    Some(format!("ghcr.io/devcontainers/features/{today}:1"))
}

/// The option that a short name of old switched on.
pub(crate) fn option_of_short_name(name: &str) -> Option<&'static str> {
    match name {
        "gradle" => Some("installGradle"),
        "maven" => Some("installMaven"),
        "jupyterlab" => Some("installJupyterlab"),
        _ => None,
    }
}

impl Reference {
    /// Reads a reference as written in `features`.
    ///
    /// # Errors
    /// [`ReferenceError`]
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if !text.contains(['/', '\\']) {
            return match of_short_name(text) {
                Some(today) => OciReference::parse(&today).map(Self::Oci),
                None => Err(ReferenceError::Bare(text.to_owned())),
            };
        }
        if text.starts_with('/') {
            return Err(ReferenceError::Absolute(text.to_owned()));
        }
        if text.starts_with("./") || text.starts_with("../") {
            return Ok(Self::Local(text.to_owned()));
        }
        if text.starts_with("http://") {
            return Err(ReferenceError::Insecure(text.to_owned()));
        }
        if text.starts_with("https://") {
            let without_query = text.split(['?', '#']).next().unwrap_or(text);
            let id = path::name(without_query)
                .strip_prefix("devcontainer-feature-")
                .and_then(|rest| rest.strip_suffix(".tgz"))
                .filter(|id| !id.is_empty() && id.chars().all(is_word_or_dash));
            return match id {
                Some(id) => Ok(Self::Tarball { url: text.to_owned(), id: id.to_owned() }),
                None => Err(ReferenceError::Archive(text.to_owned())),
            };
        }
        OciReference::parse(text).map(Self::Oci)
    }

    /// The Feature's short name.
    pub fn id(&self) -> &str {
        match self {
            Self::Local(path) => path::name(path),
            Self::Tarball { id, .. } => id,
            Self::Oci(reference) => &reference.id,
        }
    }

    /// True if somebody has to fetch it.
    pub fn is_remote(&self) -> bool {
        !matches!(self, Self::Local(_))
    }
}

impl OciReference {
    /// Reads `registry/namespace/id[:tag|@digest]`. Case doesn't count.
    ///
    /// # Errors
    /// [`ReferenceError::Oci`]
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let lower = text.to_lowercase();
        let wrong = |what| ReferenceError::Oci(text.to_owned(), what);
        let (resource, tag, digest) = match lower.rsplit_once('@') {
            Some((resource, digest)) => {
                let hash = digest.strip_prefix("sha256:").unwrap_or("");
                if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(wrong("a digest is sha256: and 64 hexadecimal digits"));
                }
                (resource, None, Some(digest.to_owned()))
            }
            None => match lower.rsplit_once(':') {
                Some((resource, tag)) if !tag.contains('/') => {
                    if !is_tag(tag) {
                        return Err(wrong("a tag is up to 128 letters, digits and `_.-`"));
                    }
                    (resource, Some(tag.to_owned()), None)
                }
                _ => (lower.as_str(), Some("latest".to_owned()), None),
            },
        };
        let mut parts: Vec<&str> = resource.split('/').collect();
        // A namespace that moved as a whole.
        if parts.get(1) == Some(&"devcontainers-contrib") {
            parts[1] = "devcontainers-extra";
        }
        let [registry, namespace @ .., id] = parts.as_slice() else {
            return Err(wrong("write registry/owner/name"));
        };
        if namespace.is_empty() {
            return Err(wrong("write registry/owner/name"));
        }
        if !registry.contains(['.', ':']) && *registry != "localhost" {
            return Err(wrong(
                "it must begin with a registry's host, such as ghcr.io; Features of GitHub releases \
                 aren't supported",
            ));
        }
        if !namespace.iter().chain([id]).all(|part| is_path_part(part)) {
            return Err(wrong("each part is letters and digits, joined by `.`, `_` or `-`"));
        }
        Ok(Self {
            registry: (*registry).to_owned(),
            namespace: namespace.join("/"),
            id: (*id).to_owned(),
            tag,
            digest,
        })
    }

    /// The name without version: `ghcr.io/devcontainers/features/go`.
    pub fn resource(&self) -> String {
        format!("{}/{}/{}", self.registry, self.namespace, self.id)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => formatter.write_str(path),
            Self::Tarball { url, .. } => formatter.write_str(url),
            Self::Oci(reference) => reference.fmt(formatter),
        }
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.resource())?;
        match (&self.digest, &self.tag) {
            (Some(digest), _) => write!(formatter, "@{digest}"),
            (None, Some(tag)) => write!(formatter, ":{tag}"),
            (None, None) => Ok(()),
        }
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn is_word_or_dash(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.chars().all(|c| is_word_or_dash(c) || c == '.')
}

/// Letters and digits, joined by single separators.
fn is_path_part(part: &str) -> bool {
    part.split(['.', '_', '-'])
        .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
