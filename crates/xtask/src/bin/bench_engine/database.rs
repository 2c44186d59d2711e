//! A fresh database for each round, and the CPU time that its server used.

use std::path::Path;

use anyhow::Result;
use windlass_testkit::postgres::Cluster;

/// Where the rounds' databases are.
pub(crate) enum Database {
    /// A file in each round's own folder.
    Sqlite,
    /// A cluster of our own with durable defaults.
    Postgres(Cluster),
}

impl Database {
    /// Starts what is needed; absent if it isn't installed.
    pub(crate) fn start(kind: &str) -> Result<Option<Self>> {
        if kind == "sqlite" {
            return Ok(Some(Self::Sqlite));
        }
        Ok(Cluster::start_durable()?.map(Self::Postgres))
    }

    /// The URL of a fresh database.
    pub(crate) fn fresh(&self, folder: &Path, name: &str) -> Result<String> {
        match self {
            Self::Sqlite => Ok(format!("sqlite:{}", folder.join("windlass.db").display())),
            Self::Postgres(cluster) => cluster.create_database(name),
        }
    }

    /// CPU time of the database's own processes so far, in microseconds.
    pub(crate) fn cpu_us(&self) -> u64 {
        match self {
            Self::Sqlite => 0,
            Self::Postgres(cluster) => {
                cluster.pids().iter().map(|pid| crate::cpu_us(&pid.to_string())).sum()
            }
        }
    }
}
