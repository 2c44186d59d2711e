//! What images say about themselves, as far as it is needed: indexes, manifests and configurations of
//! OCI and of Docker, which name the same things.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_sandbox::{Error, ImageSettings, Result};

/// The most layers that an image may have; overlays of engines hold no more.
const MOST_LAYERS: usize = 128;
/// The annotation with an image's name.
pub(crate) const NAME: &str = "org.opencontainers.image.ref.name";
/// The same in archives of containerd and Docker.
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// What an image's manifest is called.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A digest of SHA-256, as 64 hexadecimal digits: good as the name of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Digest(String);

impl Digest {
    pub(crate) fn hex(&self) -> &str {
        &self.0
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self::from_hash(&sha2::Sha256::digest(bytes))
    }

    pub(crate) fn from_hash(hash: &[u8]) -> Self {
        Self(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// From the digits alone, as a file's name has them.
    pub(crate) fn of_hex(hex: &str) -> Option<Self> {
        let legal = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        (hex.len() == 64 && hex.chars().all(legal)).then(|| Self(hex.to_owned()))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.strip_prefix("sha256:")
            .and_then(Self::of_hex)
            .ok_or_else(|| format!("`{text}` is no digest of SHA-256, the only kind that is taken"))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Something that is named by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What a machine must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
}

/// The images of a layout, or of one name for several machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    #[serde(default)]
    pub(crate) schema_version: u32,
    pub(crate) manifests: Vec<Descriptor>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    #[serde(default)]
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// An image's configuration.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Configuration {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    config: Option<Settings>,
    pub(crate) rootfs: RootFs,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Settings {
    #[serde(default, rename = "Env")]
    env: Option<Vec<String>>,
    #[serde(default, rename = "User")]
    user: Option<String>,
    #[serde(default, rename = "WorkingDir")]
    folder: Option<String>,
    #[serde(default, rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

/// The layers as they are without compression.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct RootFs {
    pub(crate) diff_ids: Vec<Digest>,
}

impl Index {
    /// The one manifest for this machine.
    pub(crate) fn choose(&self) -> Result<&Descriptor> {
        let ours = |platform: &Platform| platform.os == "linux" && platform.architecture == own();
        let fitting = self.manifests.iter().find(|one| one.platform.as_ref().is_some_and(ours));
        let alone = match self.manifests.as_slice() {
            [one] if one.platform.is_none() => Some(one),
            _ => None,
        };
        fitting.or(alone).ok_or_else(|| Error::Build {
            step: "choose an image".to_owned(),
            why: format!("there is none for linux/{}", own()),
        })
    }
}

impl Manifest {
    /// Reads a manifest and refuses what could not be unpacked.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| bad(&error))?;
        match manifest.layers.len() {
            1..=MOST_LAYERS => Ok(manifest),
            0 => Err(bad(&"it has no layers")),
            n => Err(bad(&format!("it has {n} layers, more than {MOST_LAYERS}"))),
        }
    }

    /// How many bytes it names.
    pub(crate) fn size(&self) -> u64 {
        let sizes = self.layers.iter().map(|layer| layer.size).chain([self.config.size]);
        sizes.fold(0, u64::saturating_add)
    }
}

impl Configuration {
    /// Reads a configuration and refuses one that is not for this machine.
    pub(crate) fn parse(bytes: &[u8], manifest: &Manifest) -> Result<Self> {
        let configuration: Self = serde_json::from_slice(bytes).map_err(|error| bad(&error))?;
        let (os, machine) = (&configuration.os, &configuration.architecture);
        if (!os.is_empty() && os != "linux") || (!machine.is_empty() && machine != own()) {
            return Err(bad(&format!("it is for {os}/{machine}, this machine is linux/{}", own())));
        }
        if configuration.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(bad(&"its configuration and its manifest name different layers"));
        }
        Ok(configuration)
    }

    /// What it says to whoever starts programs in it.
    pub(crate) fn settings(self) -> ImageSettings {
        let settings = self.config.unwrap_or_default();
        let variables = settings.env.unwrap_or_default();
        ImageSettings::new(
            variables.iter().map(String::as_str),
            settings.labels.unwrap_or_default(),
            &settings.user.unwrap_or_default(),
        )
        .in_folder(&settings.folder.unwrap_or_default())
    }
}

fn bad(why: &dyn std::fmt::Display) -> Error {
    Error::Build { step: "read the image".to_owned(), why: why.to_string() }
}

/// What registries call this machine.
pub(crate) fn own() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_digest_of_sha_256_is_a_name() {
        let hex = "0".repeat(64);
        assert!(Digest::try_from(format!("sha256:{hex}")).is_ok());
        for bad in ["sha512:00", "sha256:../../etc/passwd", "", &hex, "sha256:ABC"] {
            assert!(Digest::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_image_for_another_machine_is_refused_in_words() {
        let manifest = r#"{"config":{"digest":"sha256:HEX","size":1},"layers":[{"digest":"sha256:HEX","size":1}]}"#;
        let manifest = manifest.replace("HEX", &"0".repeat(64));
        let manifest = Manifest::parse(manifest.as_bytes()).unwrap();
        let other = r#"{"os":"linux","architecture":"s390x","rootfs":{"diff_ids":[]}}"#;
        let said = Configuration::parse(other.as_bytes(), &manifest).unwrap_err().to_string();
        assert!(said.contains("it is for linux/s390x"), "{said}");
        let none = r#"{"rootfs":{"diff_ids":[]}}"#;
        let said = Configuration::parse(none.as_bytes(), &manifest).unwrap_err().to_string();
        assert!(said.contains("name different layers"), "{said}");
    }
}
