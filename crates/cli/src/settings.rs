//! The process environment and the data folder, read here once and passed down.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::arguments::Arguments;

/// What the verbs need to know of the outside.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The data folder.
    pub(crate) data_dir: PathBuf,
    /// The server that the user named, if any.
    pub(crate) server: Option<String>,
    /// The token for it.
    pub(crate) token: Option<String>,
    /// Print JSON.
    pub(crate) json: bool,
}

/// How the commands on this machine reach the server that runs on a data folder.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Connection {
    /// Where it listens.
    pub(crate) url: String,
    /// A token of the role `admin`, for this machine's user alone.
    pub(crate) token: String,
    /// The SHA-256 of its certificate, where it serves HTTPS.
    pub(crate) certificate: Option<String>,
}

impl Settings {
    /// Reads the environment.
    pub(crate) fn read(arguments: &Arguments) -> Result<Self> {
        let token = match &arguments.token_file {
            Some(file) => Some(read_secret(file)?),
            None => std::env::var("WINDLASS_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        Ok(Self {
            data_dir: data_dir(arguments.data_dir.clone())?,
            server: arguments.server.clone(),
            token,
            json: arguments.json,
        })
    }

    /// Makes the data folder, for this user only.
    pub(crate) fn make_data_dir(&self) -> Result<()> {
        make_private(&self.data_dir)
    }

    fn connection_file(&self) -> PathBuf {
        self.data_dir.join("connection.json")
    }

    /// The server that runs, or last ran, on this data folder.
    pub(crate) fn connection(&self) -> Option<Connection> {
        serde_json::from_slice(&fs::read(self.connection_file()).ok()?).ok()
    }

    /// Says how to reach the server that starts now.
    pub(crate) fn write_connection(&self, connection: &Connection) -> Result<()> {
        write_private(&self.connection_file(), &serde_json::to_vec_pretty(connection)?)
    }
}

fn data_dir(named: Option<PathBuf>) -> Result<PathBuf> {
    let from_home = || {
        let data = std::env::var_os("XDG_DATA_HOME").filter(|dir| !dir.is_empty());
        let home = std::env::var_os("HOME").filter(|dir| !dir.is_empty());
        match (data, home) {
            (Some(data), _) => Some(PathBuf::from(data).join("windlass")),
            (None, Some(home)) => Some(PathBuf::from(home).join(".local/share/windlass")),
            (None, None) => None,
        }
    };
    let Some(dir) = named.or_else(from_home) else {
        bail!("HOME isn't set: name the data folder with --data-dir or WINDLASS_DATA_DIR");
    };
    std::path::absolute(&dir).with_context(|| format!("failed to resolve {}", dir.display()))
}

/// Makes a folder that only this user can enter.
pub(crate) fn make_private(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("failed to make {}", dir.display()))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("failed to close {} to others", dir.display()))
}

/// Writes a file that only this user can read, whole or not at all.
pub(crate) fn write_private(file: &Path, content: &[u8]) -> Result<()> {
    let next = file.with_extension("next");
    let _ = fs::remove_file(&next);
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&next)
        .with_context(|| format!("failed to make {}", next.display()))?;
    out.write_all(content)
        .and_then(|()| out.sync_all())
        .and_then(|()| fs::rename(&next, file))
        .with_context(|| format!("failed to write {}", file.display()))
}

/// Reads a secret from a file, without the line end that editors add.
pub(crate) fn read_secret(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("failed to read the secret in {}", file.display()))?;
    let secret = text.trim_end_matches(['\n', '\r']).to_owned();
    if secret.is_empty() {
        bail!("{} is empty: it should hold the secret", file.display());
    }
    Ok(secret)
}
