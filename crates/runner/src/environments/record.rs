//! What a keeper must know after a restart of the runner: one small file per environment, replaced as a
//! whole.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize};
use windlass_run::environment::Unpushed;

/// What is remembered of an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The generation under which it was made ready and has not been stopped since.
    pub(super) ready: Option<u64>,
    /// Why what the repository says of its environment failed, if it was made ready without that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) recovery: Option<String>,
    /// The generation under which it failed, and why.
    pub(super) failed: Option<(u64, String)>,
    /// What was found when work was looked for last; the outer absence means never.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub(super) looked: Option<Option<Unpushed>>,
    /// The commit that the server has.
    pub(super) uploaded: Option<String>,
}

/// Reads what is written of something that may be nothing: `null` is not the same as its absence.
fn there<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<Unpushed>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl Record {
    /// What was remembered; nothing if there is no record that can be read.
    pub(super) fn read(folder: &Path) -> Self {
        let bytes = std::fs::read(path(folder)).ok();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Remembers.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let fresh = folder.join("record.json.new");
        std::fs::write(&fresh, serde_json::to_vec(self).map_err(io::Error::other)?)?;
        std::fs::rename(&fresh, path(folder))
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("record.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_remembered_is_known_again_and_half_a_record_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("env_1");
        assert_eq!(Record::read(&folder), Record::default());
        let record = Record { ready: Some(3), looked: Some(None), ..Record::default() };
        record.write(&folder).expect("written");
        assert_eq!(Record::read(&folder), record);
        std::fs::write(folder.join("record.json"), "{\"ready\":").expect("written");
        assert_eq!(Record::read(&folder), Record::default());
    }
}
