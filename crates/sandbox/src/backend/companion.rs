//! Programs beside an environment, each made from an image of its own: the services of Compose files. Only
//! data: a backend that can have them shares the environment's network with them, which holds nothing but
//! its loopback and its doors, so none of them is a way out that the environment itself doesn't have.

use std::{path::PathBuf, time::Duration};

use super::Prepared;
use crate::plan::Limits;

/// One program beside an environment. Its name is found in the environment's network if the plan's
/// [`names`](crate::Plan::names) hold it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Companion {
    /// Its name, unique in the environment: letters, digits and `_.-`, at most 63.
    pub name: String,
    /// What it is made from.
    pub image: Prepared,
    /// What is started, instead of the image's own.
    pub entrypoint: Option<Vec<String>>,
    /// With which arguments, instead of the image's own.
    pub command: Option<Vec<String>>,
    /// Its variables, over those of the image.
    pub variables: Vec<(String, String)>,
    /// Who it is, instead of the image's user.
    pub user: Option<String>,
    /// Where it begins, instead of the image's folder.
    pub folder: Option<String>,
    /// Volumes of the environment.
    pub volumes: Vec<OwnVolume>,
    /// Folders of the work tree that it sees, never to be written.
    pub shown: Vec<Shown>,
    /// Paths inside where it has memory to write.
    pub memory: Vec<PathBuf>,
    /// The bytes of its shared memory.
    pub shared_memory: Option<u64>,
    /// Whether an init process reaps orphans.
    pub init: bool,
    /// Whether its own files can't be written.
    pub read_only: bool,
    /// Whether it is without any network, instead of in the environment's.
    pub alone: bool,
    /// How to find out whether it works, instead of the image's own way.
    pub health: Option<Health>,
    /// Capabilities that its root doesn't have; `ALL` is all of them.
    pub dropped: Vec<String>,
    /// What it may use of the machine, beside the environment.
    pub limits: Limits,
}

/// A volume of an environment: what its companions of one environment share, gone with it. At first it
/// holds what the image has there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnVolume {
    /// Its name in the environment, as narrow as a companion's.
    pub name: String,
    /// Where it lies inside.
    pub inside: PathBuf,
    /// Whether it can't be written.
    pub read_only: bool,
}

/// A folder or file of the work tree, shown read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its plain path in the work tree; empty is the whole. It must be there.
    pub below: PathBuf,
    /// Where it lies inside.
    pub inside: PathBuf,
}

/// How to find out whether a companion works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It isn't asked.
    Off,
    /// A program that ends with 0 if it does. A time of zero is the engine's default.
    Check {
        /// The program and its arguments, or one line for a shell.
        test: Test,
        /// The time between two tries.
        interval: Duration,
        /// The time after which a try has failed.
        timeout: Duration,
        /// After so many failures it doesn't work; 0 is the engine's default.
        retries: u64,
        /// The time at first in which failures don't count.
        start: Duration,
    },
}

/// What a health check runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// A line for a shell.
    Shell(String),
    /// A program and its arguments.
    Program(Vec<String>),
}

/// How a companion stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It runs.
    Running {
        /// Whether it works; `None` if nobody asks it.
        healthy: Option<Healthy>,
    },
    /// It ended.
    Ended {
        /// Its exit code.
        code: i64,
        /// Whether it ran out of memory.
        out_of_memory: bool,
    },
}

/// What a health check said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Healthy {
    /// Nothing that counts yet.
    Starting,
    /// It works.
    Yes,
    /// It doesn't.
    No,
}

impl Standing {
    /// Whether it ended with 0.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Ended { code: 0, out_of_memory: false })
    }
}
