//! What somebody changed among the files of an environment, as its journal keeps it.

use serde::{Deserialize, Serialize};

/// The most characters of a path that are kept.
const PATH: usize = 1_000;

/// A change among files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "snake_case")]
pub enum Edit {
    /// A file was made.
    Made {
        /// Its path.
        path: String,
    },
    /// A file has other content.
    Wrote {
        /// Its path.
        path: String,
    },
    /// A folder was made.
    MadeFolder {
        /// Its path.
        path: String,
    },
    /// Something is called otherwise, or is elsewhere.
    Renamed {
        /// Its path before.
        from: String,
        /// Its path after.
        path: String,
    },
    /// A file, or a folder with everything in it, is gone.
    Removed {
        /// Its path.
        path: String,
    },
}

impl Edit {
    /// The same with paths of a length that a journal can bear.
    #[must_use]
    pub fn short(self) -> Self {
        let cut = |path: String| path.chars().take(PATH).collect::<String>();
        match self {
            Self::Made { path } => Self::Made { path: cut(path) },
            Self::Wrote { path } => Self::Wrote { path: cut(path) },
            Self::MadeFolder { path } => Self::MadeFolder { path: cut(path) },
            Self::Renamed { from, path } => Self::Renamed { from: cut(from), path: cut(path) },
            Self::Removed { path } => Self::Removed { path: cut(path) },
        }
    }
}
