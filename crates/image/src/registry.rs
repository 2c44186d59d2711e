//! Asks a registry for an image. What comes is written beside and gets its name once its digest was seen
//! to be right; nothing that a registry says is used before.

use std::path::Path;

use futures::StreamExt as _;
use oci_client::{
    Client, Reference,
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    manifest::{
        IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
        OCI_IMAGE_MEDIA_TYPE, OciDescriptor,
    },
    secrets::RegistryAuth,
};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use windlass_sandbox::{Error, Progress, Result, backend::Login, backend::Tell};

use crate::{
    layout::{self, Layout},
    manifest::{Configuration, Descriptor, Digest, Index, Manifest},
    store::Options,
};

/// Everything that may be answered when a manifest is asked for.
const ACCEPTED: [&str; 4] = [
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
];

/// Reads an image's name as engines do: `debian` is `docker.io/library/debian:latest`.
pub(crate) fn parse(reference: &str) -> Result<Reference> {
    Reference::try_from(reference).map_err(|error| Error::InvalidPlan {
        why: format!("`{reference}` names no image: {error}; write host/path:tag"),
    })
}

/// One pull from one registry.
pub(crate) struct Pull<'a> {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
    layout: &'a Layout,
    /// The most bytes that an image may name.
    limit: u64,
}

impl<'a> Pull<'a> {
    /// Refuses a registry that only the operator may name.
    pub(crate) fn new(
        options: &Options,
        reference: Reference,
        login: Option<&Login>,
        layout: &'a Layout,
    ) -> Result<Self> {
        let host = reference.registry().to_owned();
        let is_named = options.registries.contains(&host);
        let bare = host.rsplit_once(':').map_or(&*host, |(bare, _)| bare);
        let bare = bare.trim_matches(['[', ']']);
        let is_address = bare.parse::<std::net::IpAddr>().is_ok();
        let is_loopback = bare == "localhost"
            || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if (is_address || is_loopback) && !is_named {
            return Err(Error::Build {
                step: format!("pull the image `{reference}`"),
                why: format!(
                    "`{host}` is an address of this network, which only the runner's operator may name: \
                     add it to the file of `--registry-auth`"
                ),
            });
        }
        // Idempotent: whoever came first has chosen.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        // Nobody else can listen in on loopback; everything else is encrypted.
        let plain = if is_loopback { vec![host] } else { Vec::new() };
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(plain),
            extra_root_certificates: certificates(&options.certificates),
            platform_resolver: None,
            read_timeout: Some(std::time::Duration::from_secs(60)),
            connect_timeout: Some(std::time::Duration::from_secs(20)),
            user_agent: concat!("windlass/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| Error::Build {
            step: "ask a registry".to_owned(),
            why: error.to_string(),
        })?;
        let auth = login.map_or(RegistryAuth::Anonymous, |login| {
            RegistryAuth::Basic(login.user.clone(), login.password.clone())
        });
        Ok(Self { client, reference, auth, layout, limit: options.limit_bytes })
    }

    /// Gets the manifest for this machine.
    pub(crate) async fn manifest(&self) -> Result<(Manifest, Vec<u8>)> {
        let bytes = self.document(&self.reference).await?;
        let bytes = match serde_json::from_slice::<Index>(&bytes) {
            Err(_) => bytes,
            Ok(index) => {
                let digest = index.choose().map_err(|error| self.named(&error))?.digest.to_string();
                self.document(&self.reference.clone_with_digest(digest)).await?
            }
        };
        let manifest = Manifest::parse(&bytes).map_err(|error| self.named(&error))?;
        if manifest.size() > self.limit {
            return Err(self.failed(&format!(
                "it takes {} bytes, more than the {} that may be kept: raise `--image-mib`",
                manifest.size(),
                self.limit
            )));
        }
        Ok((manifest, bytes))
    }

    /// Gets the manifest of what is no image and is the same for all machines.
    pub(crate) async fn artifact(&self) -> Result<(Manifest, Vec<u8>)> {
        let bytes = self.document(&self.reference).await?;
        let manifest = Manifest::parse(&bytes).map_err(|error| self.named(&error))?;
        Ok((manifest, bytes))
    }

    /// Gets everything that a manifest names, and the manifest itself last.
    pub(crate) async fn blobs(
        &self,
        manifest: &Manifest,
        bytes: &[u8],
        tell: Tell<'_>,
    ) -> Result<Digest> {
        if manifest.config.size > layout::LARGEST {
            return Err(self.failed(&"its configuration is too large"));
        }
        self.blob(&manifest.config).await?;
        let configuration = self.layout.read(&manifest.config.digest)?;
        Configuration::parse(&configuration, manifest).map_err(|error| self.named(&error))?;
        for (n, layer) in manifest.layers.iter().enumerate() {
            let (n, all, size) = (n + 1, manifest.layers.len(), layer.size);
            tell(Progress::Pulling {
                text: format!("{}: layer {n} of {all}, {size} bytes", self.reference),
            });
            self.blob(layer).await?;
        }
        self.layout.keep(bytes)
    }

    async fn document(&self, reference: &Reference) -> Result<Vec<u8>> {
        let pulled = self.client.pull_manifest_raw(reference, &self.auth, &ACCEPTED).await;
        let (bytes, _) = pulled.map_err(|error| self.explain(&error))?;
        if let Some(wanted) = reference.digest()
            && Digest::of(&bytes).to_string() != wanted
        {
            let seen = Digest::of(&bytes);
            return Err(self.failed(&format!("the registry answered {seen} instead of {wanted}")));
        }
        Ok(bytes.to_vec())
    }

    pub(crate) async fn blob(&self, wanted: &Descriptor) -> Result<()> {
        if self.layout.has(&wanted.digest) {
            return Ok(());
        }
        let beside = self.layout.incoming();
        let fetched = self.fetch(wanted, &beside).await;
        match fetched {
            Ok(()) => self.layout.adopt(&beside, &wanted.digest),
            Err(error) => {
                // The reason is what matters; what could not be removed is swept.
                let _removed = layout::remove(&beside);
                Err(error)
            }
        }
    }

    /// Fetches a blob into a file, and sees that it is the right one.
    async fn fetch(&self, wanted: &Descriptor, beside: &Path) -> Result<()> {
        let on_disk = |error: std::io::Error| layout::failed("write", beside, &error);
        let descriptor = OciDescriptor {
            media_type: wanted.media_type.clone(),
            digest: wanted.digest.to_string(),
            size: i64::try_from(wanted.size).unwrap_or(i64::MAX),
            ..OciDescriptor::default()
        };
        let stream = self.client.pull_blob_stream(&self.reference, &descriptor).await;
        let mut stream = stream.map_err(|error| self.explain(&error))?;
        let mut file = tokio::fs::File::create_new(beside).await.map_err(on_disk)?;
        let (mut hash, mut left) = (Sha256::new(), wanted.size);
        while let Some(part) = stream.next().await {
            let part =
                part.map_err(|error| self.failed(&format!("the registry broke off: {error}")))?;
            left = left.checked_sub(part.len() as u64).ok_or_else(|| {
                self.failed(&format!("{} is larger than the manifest says", wanted.digest))
            })?;
            hash.update(&part);
            file.write_all(&part).await.map_err(on_disk)?;
        }
        let seen = Digest::from_hash(&hash.finalize());
        if seen != wanted.digest {
            return Err(
                self.failed(&format!("the registry sent {seen} instead of {}", wanted.digest))
            );
        }
        file.sync_all().await.map_err(on_disk)
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> Error {
        Error::Build { step: format!("pull the image `{}`", self.reference), why: why.to_string() }
    }

    /// The same error, with the image's name.
    fn named(&self, error: &Error) -> Error {
        match error {
            Error::Build { why, .. } => self.failed(why),
            other => other.clone(),
        }
    }

    /// What a registry's answer means for whoever wants the image.
    fn explain(&self, error: &OciDistributionError) -> Error {
        let host = self.reference.registry();
        let who = match &self.auth {
            RegistryAuth::Basic(user, _) => format!("as `{user}`"),
            RegistryAuth::Anonymous | RegistryAuth::Bearer(_) => "without a login".to_owned(),
        };
        let closed = || {
            self.failed(&format!(
                "`{host}` doesn't let this runner in {who}: mend the name, and the login in the file of \
                 `--registry-auth` or the secret that is this registry's login"
            ))
        };
        let unknown =
            || self.failed(&format!("`{host}` has no such image: mend its name, or push it there"));
        match error {
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => closed(),
            OciDistributionError::ServerError { code: 401 | 403, .. } => closed(),
            OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::ServerError { code: 404, .. } => unknown(),
            OciDistributionError::RegistryError { envelope, .. } => {
                let code = envelope.errors.first().map(|error| &error.code);
                match code {
                    Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => closed(),
                    Some(
                        OciErrorCode::ManifestUnknown
                        | OciErrorCode::NameUnknown
                        | OciErrorCode::NotFound,
                    ) => unknown(),
                    _ => self.failed(&error),
                }
            }
            OciDistributionError::RequestError(error) => {
                let mut why = error.to_string();
                let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
                while let Some(error) = cause {
                    why = error.to_string();
                    cause = error.source();
                }
                self.failed(&format!(
                    "`{host}` can't be reached: {why}; see that this machine may, or load the image with \
                     `windlass image load`"
                ))
            }
            other => self.failed(other),
        }
    }
}

/// The certificates of a bundle.
fn certificates(bundle: &[u8]) -> Vec<Certificate> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(bundle);
    text.split_inclusive(END)
        .filter_map(|part| part.find("-----BEGIN CERTIFICATE-----").map(|at| &part[at..]))
        .filter(|part| part.ends_with(END))
        .map(|part| Certificate { encoding: CertificateEncoding::Pem, data: part.into() })
        .collect()
}
