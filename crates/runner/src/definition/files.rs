//! A project's files on this machine's disk. Nothing outside of the project is ever opened, however
//! its links lead.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use windlass_devcontainer::Files;

/// The largest file that a definition may be made of.
pub(crate) const LARGEST: u64 = 1 << 20;

/// The files below a folder, named as if that folder were another one.
#[derive(Clone, Debug)]
pub struct ProjectFiles {
    /// The folder on disk, without links.
    folder: PathBuf,
    /// What it is called.
    root: String,
}

impl ProjectFiles {
    /// The project in `folder`; `root` (absolute, with `/`) stands for it in what is asked.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn open(folder: &Path, root: &str) -> io::Result<Self> {
        let folder = fs::canonicalize(folder)?;
        if !folder.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { folder, root: root.trim_end_matches('/').to_owned() })
    }

    /// Where something really lies; `None` if it isn't there.
    fn find(&self, path: &str) -> Result<Option<PathBuf>, String> {
        let below = path.strip_prefix(&self.root).map(|below| below.trim_start_matches('/'));
        let Some(below) = below else { return Ok(None) };
        let found = match fs::canonicalize(self.folder.join(below)) {
            Ok(found) => found,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::InvalidFilename => Ok(None),
                    _ => Err(format!("can't be found: {error}")),
                };
            }
        };
        if !found.starts_with(&self.folder) {
            return Err(
                "is a link that leads out of the project: put the file itself here".to_owned()
            );
        }
        Ok(Some(found))
    }
}

impl Files for ProjectFiles {
    fn read(&self, path: &str) -> Result<Option<String>, String> {
        let Some(found) = self.find(path)? else { return Ok(None) };
        let unreadable = |error: io::Error| format!("can't be read: {error}");
        // Asked before opening: opening a pipe would wait for its other end.
        if !fs::metadata(&found).map_err(unreadable)?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let file = File::open(&found).map_err(unreadable)?;
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        text(bytes).map(Some)
    }

    fn folders(&self, path: &str) -> Vec<String> {
        let Ok(Some(found)) = self.find(path) else { return Vec::new() };
        let Ok(entries) = fs::read_dir(found) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}

/// The bytes of a definition as text, if they may be.
pub(crate) fn text(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.len() as u64 > LARGEST {
        return Err(format!("is larger than {} KiB: make it smaller", LARGEST >> 10));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
        format!("isn't UTF-8, first in line {line}: save it as UTF-8")
    })
}
