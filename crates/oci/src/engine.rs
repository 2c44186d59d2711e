//! Finding the engine, and seeing whether it can be used, before anything is asked of it.

use std::{
    fs::DirBuilder,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use bollard::{ClientVersion, Docker, errors::Error as EngineError};
use sha2::{Digest, Sha256};
use windlass_sandbox::{Error, Result};

/// The label that says which state folder a container belongs to.
pub const OWNER: &str = "windlass.owner";
/// The label with the environment's name.
pub const ENVIRONMENT: &str = "windlass.environment";
/// The label with the user id that its programs have outside.
pub const USER: &str = "windlass.user";
/// The label with the place of the work tree inside.
pub const TREE: &str = "windlass.tree";
/// The label of what runs beside an environment, with its name there.
pub const COMPANION: &str = "windlass.companion";
/// The label of an image that was built here, with the digest of its definition.
pub const DEFINITION: &str = "windlass.definition";

/// The oldest API that is spoken: Docker 20.10 and Podman 3 have it.
const MINIMUM: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };
/// Seconds until the engine must have begun to answer.
const TIMEOUT_SECONDS: u64 = 120;
/// Looks whether the engine behind a socket can be used, and says which one it is.
///
/// # Errors
/// What [`Oci::connect`](crate::Oci::connect) would answer.
pub async fn look(socket: &Path) -> Result<String> {
    let docker = connect(socket).await?;
    let version = docker.version().await.map_err(|error| failed("ask for its version", &error))?;
    let name = version.platform.map(|platform| platform.name).filter(|name| !name.is_empty());
    Ok(format!(
        "{} {} answers at {}, API {}",
        name.as_deref().unwrap_or("an engine"),
        version.version.unwrap_or_default(),
        socket.display(),
        version.api_version.unwrap_or_default()
    ))
}

/// Connects, and speaks the oldest version that will do.
pub(crate) async fn connect(socket: &Path) -> Result<Docker> {
    let text = socket.to_str().ok_or_else(|| Error::InvalidPlan {
        why: format!("the engine's socket {} is not a plain path", socket.display()),
    })?;
    let unreachable = |error: &EngineError| Error::Io {
        doing: format!("reach the container engine at {}", socket.display()),
        why: format!("{error}; start it (`systemctl start docker`) or name another socket"),
    };
    let docker = Docker::connect_with_unix(text, TIMEOUT_SECONDS, &MINIMUM)
        .map_err(|error| unreachable(&error))?;
    let version = docker.version().await.map_err(|error| match too_old(&error) {
        Some(why) => refuse_version(&why),
        None => unreachable(&error),
    })?;
    let speaks = version.api_version.unwrap_or_default();
    if !is_new_enough(&speaks) {
        return Err(refuse_version(&format!("it speaks {speaks}")));
    }
    let info =
        docker.info().await.map_err(|error| failed("ask the engine about itself", &error))?;
    let rootless =
        info.security_options.unwrap_or_default().iter().any(|one| one.contains("rootless"));
    if rootless || !is_root() {
        return Err(Error::Build {
            step: "use the container engine".to_owned(),
            why:
                "work trees are given to users that only root can give to; run the runner as root \
                  with a rootful engine, or choose the backend `process`, which needs neither"
                    .to_owned(),
        });
    }
    Ok(docker)
}

/// Whether this process is root, by the owner of what it makes.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

fn too_old(error: &EngineError) -> Option<String> {
    match error {
        EngineError::DockerResponseServerError { status_code: 400, message } => {
            Some(message.clone())
        }
        _ => None,
    }
}

fn refuse_version(why: &str) -> Error {
    Error::Build {
        step: "use the container engine".to_owned(),
        why: format!(
            "its API must be 1.41 or newer, but {why}; install Docker 20.10, Podman 3 or newer"
        ),
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (1, 41),
        _ => false,
    }
}

/// Makes the state folder, for its owner only.
pub(crate) fn prepare_state_dir(state_dir: &Path) -> Result<PathBuf> {
    let named = |error: std::io::Error| Error::Io {
        doing: format!("make {}", state_dir.display()),
        why: error.to_string(),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(named)?;
    let path = state_dir.canonicalize().map_err(named)?;
    if path.to_str().is_none() {
        return Err(Error::InvalidPlan {
            why: format!("the state folder {} is not plain text; choose another", path.display()),
        });
    }
    Ok(path)
}

/// A short name for the containers of one state folder.
pub(crate) fn owner(state_dir: &Path) -> String {
    let digest = Sha256::digest(state_dir.as_os_str().as_encoded_bytes());
    digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the engine said that there is no such thing.
pub(crate) fn is_not_found(error: &EngineError) -> bool {
    matches!(error, EngineError::DockerResponseServerError { status_code: 404, .. })
}

/// What the engine answered to something that we did.
pub(crate) fn failed(doing: &str, error: &EngineError) -> Error {
    let why = match error {
        EngineError::DockerResponseServerError { message, .. } => message.clone(),
        EngineError::DockerStreamError { error } => error.clone(),
        other => other.to_string(),
    };
    Error::Build { step: doing.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_older_than_1_41_is_refused_with_what_to_install() {
        let verdicts: Vec<bool> =
            ["1.41", "1.50", "2.0", "1.40", "0.99", "", "x.y"].map(is_new_enough).into();
        assert_eq!(verdicts, [true, true, true, false, false, false, false]);
        let said = refuse_version("it speaks 1.40").to_string();
        assert!(said.contains("1.41") && said.contains("install Docker 20.10"), "{said}");
    }
}
