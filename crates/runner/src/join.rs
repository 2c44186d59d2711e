//! Joins a server by a one-time code: makes a token, lets the code make it good, and keeps both in the
//! runner's folder, where later starts find them. A join that was cut off is gone on with by the same
//! code.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rand::RngCore as _;
use serde::{Deserialize, Serialize};
use windlass_gateway::Secret;
use windlass_run::RunnerId;
use windlass_wire::runner::{Join, Joined, PROTOCOL};

use crate::{
    client::{self, Client},
    runner::{Error, Identity, connection, digest, remember},
};

/// What the token begins with, so that scanners for leaked secrets find it.
const TOKEN_PREFIX: &str = "wl_";

/// How a runner joins.
#[derive(Clone, Debug)]
pub struct Joining {
    /// Where the server is.
    pub server_url: String,
    /// The SHA-256 of the server's certificate, pinned.
    pub server_certificate: Option<String>,
    /// The host's bundle of certificate authorities (PEM).
    pub ca_bundle: Option<PathBuf>,
    /// The runner's folder.
    pub state_dir: PathBuf,
    /// Its name, for a person's eye.
    pub name: String,
}

/// What a runner that has joined needs at each start.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Where the server is.
    pub server_url: String,
    /// The SHA-256 of the server's certificate, where it was pinned.
    pub server_certificate: Option<String>,
    /// The runner's own token.
    pub token: Secret,
    /// Its id; absent while the code was not seen to be good.
    pub runner_id: Option<RunnerId>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    server_url: String,
    server_certificate: Option<String>,
    token: String,
    runner_id: Option<RunnerId>,
}

/// What an earlier [`join`] left in the runner's folder.
///
/// # Errors
/// The file is there and can't be read.
pub fn membership(state_dir: &Path) -> io::Result<Option<Membership>> {
    let text = match fs::read(file(state_dir)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let kept: Kept = serde_json::from_slice(&text)?;
    Ok(Some(Membership {
        server_url: kept.server_url,
        server_certificate: kept.server_certificate,
        token: Secret::new(kept.token),
        runner_id: kept.runner_id,
    }))
}

/// Joins. Safe to repeat with the same code after an error, or a crash.
///
/// # Errors
/// [`Error::Token`] for a code that is not good; [`Error::Refused`] where the folder belongs to a runner
/// of another server; [`Error::State`].
pub async fn join(joining: Joining, code: &Secret) -> Result<Membership, Error> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let state = |doing: &str| {
        let doing = format!("{doing} {}", joining.state_dir.display());
        move |error| Error::State { doing, error }
    };
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&joining.state_dir);
    made.map_err(state("make the folder"))?;
    let known = membership(&joining.state_dir).map_err(state("read what is kept in"))?;
    let token = match known {
        Some(known) if known.server_url != joining.server_url => {
            let why = format!(
                "the folder {} belongs to a runner of {}: give this one a folder of its own \
                 (--state-dir), or remove it",
                joining.state_dir.display(),
                known.server_url
            );
            return Err(Error::Refused(why));
        }
        Some(known) => known.token,
        None => fresh(),
    };
    let mut kept = Kept {
        server_url: joining.server_url.clone(),
        server_certificate: joining.server_certificate.clone(),
        token: token.expose().to_owned(),
        runner_id: None,
    };
    keep(&joining.state_dir, &kept).map_err(state("keep the token in"))?;
    let config = connection(
        &joining.server_url,
        joining.server_certificate.as_deref(),
        joining.ca_bundle.as_deref(),
    )?;
    let client = Client::new(&joining.server_url, token.clone(), config.0)
        .map_err(|error| Error::Refused(error.to_string()))?;
    let join = Join {
        code: code.expose().to_owned(),
        token_sha256: digest(&token),
        name: joining.name.clone(),
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let Joined { runner_id } = client.join(&join).await.map_err(|error| match error {
        client::Error::Token(why) => Error::Code(why),
        other => Error::Refused(other.to_string()),
    })?;
    let identity = Identity::new(runner_id.clone(), &joining.server_url, &token);
    remember(&joining.state_dir.join("runner.json"), &identity)
        .map_err(state("note the runner's id in"))?;
    kept.runner_id = Some(runner_id.clone());
    keep(&joining.state_dir, &kept).map_err(state("keep the token in"))?;
    Ok(Membership {
        server_url: kept.server_url,
        server_certificate: kept.server_certificate,
        token,
        runner_id: Some(runner_id),
    })
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("membership.json")
}

/// A token of 256 random bits.
fn fresh() -> Secret {
    let mut bits = [0_u8; 32];
    rand::rng().fill_bytes(&mut bits);
    let hex: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
    Secret::new(format!("{TOKEN_PREFIX}{hex}"))
}

/// Writes the file whole, for its owner's eyes only.
fn keep(state_dir: &Path, kept: &Kept) -> io::Result<()> {
    use io::Write as _;
    let path = file(state_dir);
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut new = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    new.write_all(&serde_json::to_vec(kept)?)?;
    new.sync_all()?;
    fs::rename(&beside, &path)
}
