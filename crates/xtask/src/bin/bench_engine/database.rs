//! A fresh database for each round, and the CPU time that its server used.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use windlass_testkit::postgres::Cluster;

/// Where the rounds' databases are.
pub(crate) enum Database {
    /// A file in each round's own folder.
    Sqlite,
    /// A cluster of our own that waits for the disk as PostgreSQL does by default.
    Postgres(Cluster),
}

impl Database {
    /// Starts what is needed; absent, with a word why, if it can't be had.
    pub(crate) fn start(kind: &str) -> Option<Self> {
        if kind == "sqlite" {
            return Some(Self::Sqlite);
        }
        match Cluster::start(&["shared_buffers=256MB"]) {
            Ok(cluster) => Some(Self::Postgres(cluster)),
            Err(why) => {
                eprintln!("SKIPPED {kind}: {why}");
                None
            }
        }
    }

    /// The URL of a fresh database.
    pub(crate) fn fresh(&self, folder: &Path) -> Result<String> {
        match self {
            Self::Sqlite => Ok(format!("sqlite:{}", folder.join("windlass.db").display())),
            Self::Postgres(cluster) => cluster.database().map_err(anyhow::Error::msg),
        }
    }

    /// CPU time of the database's own processes so far, in microseconds: the server's with what it
    /// reaped, and its children's.
    pub(crate) fn cpu_us(url: &str) -> Result<u64> {
        let Some(host) = url.split("host=").nth(1) else { return Ok(0) };
        let folder = PathBuf::from(host.split('&').next().unwrap_or(host));
        let file = fs::read_to_string(folder.join("data/postmaster.pid"))
            .context("failed to find the database's server")?;
        let server = file.lines().next().unwrap_or_default().to_owned();
        let mut total = crate::cpu_us_with_reaped(&server);
        for entry in fs::read_dir("/proc")?.flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            if crate::parent_of(&pid).as_deref() == Some(&server) {
                total += crate::cpu_us(&pid);
            }
        }
        Ok(total)
    }
}
