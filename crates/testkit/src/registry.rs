//! A registry of images on loopback: what the OCI distribution specification says of pulling and pushing, with a login
//! by token as the public ones have it, and faults on request.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use sha2::{Digest as _, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const TOKEN: &str = "a-token-for-one-pull";

/// A registry that runs. Cheap to clone; it ends with the runtime.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: String,
    login: Option<(String, String)>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Content type and content, by `repository:tag` and by digest.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, Vec<u8>>,
    /// Blobs that were asked for, in order.
    asked: Vec<String>,
    /// What is on its way here, by the upload's number.
    uploads: BTreeMap<usize, Vec<u8>>,
}

impl Registry {
    /// Starts one; with a login nobody else may pull.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(login: Option<(&str, &str)>) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        Self::serve(listener, login)
    }

    /// The same on a socket that listens already, perhaps in another network. Called on a runtime.
    ///
    /// # Errors
    /// When the socket can't be used.
    pub fn serve(
        listener: std::net::TcpListener,
        login: Option<(&str, &str)>,
    ) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let registry = Self(Arc::new(Inner {
            host: listener.local_addr()?.to_string(),
            login: login.map(|(user, password)| (user.to_owned(), password.to_owned())),
            held: Mutex::default(),
        }));
        let app = Router::new()
            .route("/v2/", get(|| async { Json(json!({})) }))
            .route("/v2/{repository}/manifests/{reference}", get(manifest).put(put_manifest))
            .route("/v2/{repository}/blobs/uploads/", post(begin_upload))
            .route("/v2/{repository}/blobs/uploads/{id}", patch(go_on).put(end_upload))
            .layer(DefaultBodyLimit::disable())
            .route("/v2/{repository}/blobs/{digest}", get(blob))
            .route("/v2/{owner}/{repository}/manifests/{reference}", get(manifest_of_owner))
            .route("/v2/{owner}/{repository}/blobs/{digest}", get(blob_of_owner))
            .layer(middleware::from_fn_with_state(registry.clone(), only_with_token))
            .route("/token", get(token))
            .with_state(registry.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(registry)
    }

    /// Its address, as it stands in names of images.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Holds an image of these layers (tar archives, compressed here) with these settings, under
    /// `repository:tag`, for this machine and one of another kind. Answers the image's name.
    pub fn hold(
        &self,
        repository: &str,
        tag: &str,
        layers: &[Vec<u8>],
        config: &serde_json::Value,
    ) -> String {
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let config = json!({
            "os": "linux", "architecture": machine(), "config": config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let mut held = self.held();
        let mut keep = |bytes: Vec<u8>, kind: &str| {
            let descriptor =
                json!({ "mediaType": kind, "digest": digest(&bytes), "size": bytes.len() });
            held.blobs.insert(digest(&bytes), bytes);
            descriptor
        };
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| keep(gzip(layer), "application/vnd.oci.image.layer.v1.tar+gzip"))
            .collect();
        let config = keep(config, "application/vnd.oci.image.config.v1+json");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        let manifest = manifest.to_string().into_bytes();
        let entry = |digest: &str, machine: &str| {
            json!({
                "mediaType": MANIFEST, "digest": digest, "size": manifest.len(),
                "platform": { "os": "linux", "architecture": machine },
            })
        };
        let none = format!("sha256:{}", "0".repeat(64));
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [entry(&none, "z80"), entry(&digest(&manifest), machine())],
        });
        held.manifests.insert(digest(&manifest), (MANIFEST.to_owned(), manifest));
        let index = index.to_string().into_bytes();
        held.manifests.insert(digest(&index), (INDEX.to_owned(), index.clone()));
        held.manifests.insert(format!("{repository}:{tag}"), (INDEX.to_owned(), index));
        format!("{}/{repository}:{tag}", self.host())
    }

    /// Holds a Feature of these files, as `owner/name:tag`. Answers its name and the digest of its manifest.
    pub fn hold_feature(&self, repository: &str, tag: &str, archive: &[u8]) -> (String, String) {
        let mut held = self.held();
        let layer = json!({
            "mediaType": "application/vnd.devcontainers.layer.v1+tar",
            "digest": digest(archive), "size": archive.len(),
        });
        held.blobs.insert(digest(archive), archive.to_vec());
        held.blobs.insert(digest(b"{}"), b"{}".to_vec());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer],
            "config": {
                "mediaType": "application/vnd.devcontainers", "digest": digest(b"{}"), "size": 2,
            },
        });
        let manifest = manifest.to_string().into_bytes();
        let named = digest(&manifest);
        held.manifests.insert(named.clone(), (MANIFEST.to_owned(), manifest.clone()));
        held.manifests.insert(format!("{repository}:{tag}"), (MANIFEST.to_owned(), manifest));
        (format!("{}/{repository}:{tag}", self.host()), named)
    }

    /// From now on every large blob is answered with one byte changed.
    pub fn spoil(&self) {
        for blob in self.held().blobs.values_mut().filter(|blob| blob.first() == Some(&0x1f)) {
            if let Some(last) = blob.last_mut() {
                *last ^= 1;
            }
        }
    }

    /// How many blobs were asked for.
    pub fn n_asked(&self) -> usize {
        self.held().asked.len()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The digest of bytes, as registries write it.
pub fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a text does not fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Writing to memory does not fail.
    let _written = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

async fn only_with_token(
    State(registry): State<Registry>,
    request: Request,
    next: Next,
) -> Response {
    let given = request.headers().get(header::AUTHORIZATION);
    let expected = format!("Bearer {TOKEN}");
    if registry.0.login.is_none() || given.is_some_and(|given| *given == *expected) {
        return next.run(request).await;
    }
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"test\"", registry.host());
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], refusal("UNAUTHORIZED"))
        .into_response()
}

async fn token(State(registry): State<Registry>, headers: HeaderMap) -> Response {
    let Some((user, password)) = &registry.0.login else {
        return Json(json!({ "token": TOKEN })).into_response();
    };
    let expected = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    match headers.get(header::AUTHORIZATION) {
        Some(given) if *given == *expected => Json(json!({ "token": TOKEN })).into_response(),
        _ => (StatusCode::UNAUTHORIZED, refusal("UNAUTHORIZED")).into_response(),
    }
}

async fn manifest(
    State(registry): State<Registry>,
    Path((repository, reference)): Path<(String, String)>,
) -> Response {
    let held = registry.held();
    let found = held
        .manifests
        .get(&format!("{repository}:{reference}"))
        .or_else(|| held.manifests.get(&reference));
    match found {
        Some((kind, bytes)) => {
            ([(header::CONTENT_TYPE, kind.clone())], bytes.clone()).into_response()
        }
        None => (StatusCode::NOT_FOUND, refusal("MANIFEST_UNKNOWN")).into_response(),
    }
}

async fn manifest_of_owner(
    registry: State<Registry>,
    Path((owner, repository, reference)): Path<(String, String, String)>,
) -> Response {
    manifest(registry, Path((format!("{owner}/{repository}"), reference))).await
}

async fn blob_of_owner(
    registry: State<Registry>,
    Path((owner, repository, digest)): Path<(String, String, String)>,
) -> Response {
    blob(registry, Path((format!("{owner}/{repository}"), digest))).await
}

async fn blob(
    State(registry): State<Registry>,
    Path((_, digest)): Path<(String, String)>,
) -> Response {
    let mut held = registry.held();
    held.asked.push(digest.clone());
    match held.blobs.get(&digest) {
        Some(bytes) => Body::from(bytes.clone()).into_response(),
        None => (StatusCode::NOT_FOUND, refusal("BLOB_UNKNOWN")).into_response(),
    }
}

async fn begin_upload(
    State(registry): State<Registry>,
    Path(repository): Path<String>,
) -> Response {
    let mut held = registry.held();
    let id = held.uploads.len();
    held.uploads.insert(id, Vec::new());
    accepted(&repository, id, 0)
}

async fn go_on(
    State(registry): State<Registry>,
    Path((repository, id)): Path<(String, usize)>,
    part: Bytes,
) -> Response {
    let mut held = registry.held();
    let Some(upload) = held.uploads.get_mut(&id) else {
        return (StatusCode::NOT_FOUND, refusal("BLOB_UPLOAD_UNKNOWN")).into_response();
    };
    upload.extend_from_slice(&part);
    accepted(&repository, id, upload.len())
}

fn accepted(repository: &str, id: usize, length: usize) -> Response {
    let location = format!("/v2/{repository}/blobs/uploads/{id}");
    let range = format!("0-{}", length.saturating_sub(1));
    let headers = [(header::LOCATION, location), (header::RANGE, range)];
    (StatusCode::ACCEPTED, headers).into_response()
}

async fn end_upload(
    State(registry): State<Registry>,
    Path((_, id)): Path<(String, usize)>,
    Query(query): Query<BTreeMap<String, String>>,
    part: Bytes,
) -> Response {
    let mut held = registry.held();
    let Some(mut blob) = held.uploads.get_mut(&id).map(std::mem::take) else {
        return (StatusCode::NOT_FOUND, refusal("BLOB_UPLOAD_UNKNOWN")).into_response();
    };
    blob.extend_from_slice(&part);
    let seen = digest(&blob);
    if query.get("digest") != Some(&seen) {
        return (StatusCode::BAD_REQUEST, refusal("DIGEST_INVALID")).into_response();
    }
    held.blobs.insert(seen.clone(), blob);
    (StatusCode::CREATED, [("docker-content-digest", seen)]).into_response()
}

async fn put_manifest(
    State(registry): State<Registry>,
    Path((repository, reference)): Path<(String, String)>,
    headers: HeaderMap,
    manifest: Bytes,
) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or(MANIFEST).to_owned();
    let seen = digest(&manifest);
    let mut held = registry.held();
    held.manifests.insert(seen.clone(), (kind.clone(), manifest.to_vec()));
    held.manifests.insert(format!("{repository}:{reference}"), (kind, manifest.to_vec()));
    (StatusCode::CREATED, [("docker-content-digest", seen)]).into_response()
}

fn refusal(code: &str) -> Json<serde_json::Value> {
    Json(json!({ "errors": [{ "code": code, "message": "no", "detail": {} }] }))
}
