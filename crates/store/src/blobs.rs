//! Blobs: bytes under the hash of their content, one file each, on disk before anything refers to
//! them. Never changed; removed only by a sweep, when nothing refers to them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};

use crate::{Error, options::Durability};

/// A directory of blobs.
pub(crate) struct Blobs {
    root: PathBuf,
    durability: Durability,
    next: AtomicU64,
}

impl Blobs {
    /// Opens a directory, made if it is not there. What an earlier process left half written goes.
    pub(crate) fn open(root: &Path, durability: Durability) -> Result<Self, Error> {
        let unfinished = root.join("unfinished");
        fs::create_dir_all(&unfinished).map_err(|e| error("making", &unfinished, &e))?;
        for entry in fs::read_dir(&unfinished).map_err(|e| error("reading", &unfinished, &e))? {
            let entry = entry.map_err(|e| error("reading", &unfinished, &e))?;
            let _gone_already = fs::remove_file(entry.path());
        }
        Ok(Self { root: root.to_owned(), durability, next: AtomicU64::new(0) })
    }

    /// Keeps bytes. Gives their hash and how often the disk was reached for it.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<(String, u64), Error> {
        let hash = crate::hex(&Sha256::digest(bytes));
        let path = self.path(&hash)?;
        // Written again even if it is there: a sweep must see that it is young.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let draft = self.root.join("unfinished").join(format!("{}-{number}", std::process::id()));
        let written = self.write(&draft, &path, bytes);
        if written.is_err() {
            let _never_made = fs::remove_file(&draft);
        }
        let fsyncs = written.map_err(|e| error("writing", &path, &e))?;
        Ok((hash, fsyncs))
    }

    fn write(&self, draft: &Path, path: &Path, bytes: &[u8]) -> io::Result<u64> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(draft)?;
        file.write_all(bytes)?;
        let folder = path.parent().unwrap_or(&self.root);
        let made = !folder.exists();
        fs::create_dir_all(folder)?;
        if self.durability == Durability::Process {
            fs::rename(draft, path)?;
            return Ok(0);
        }
        file.sync_all()?;
        fs::rename(draft, path)?;
        File::open(folder)?.sync_all()?;
        if made {
            File::open(&self.root)?.sync_all()?;
        }
        Ok(2 + u64::from(made))
    }

    /// The bytes with that hash.
    pub(crate) fn get(&self, hash: &str) -> Result<Vec<u8>, Error> {
        let path = self.path(hash)?;
        let bytes = fs::read(&path).map_err(|e| error("reading", &path, &e))?;
        if crate::hex(&Sha256::digest(&bytes)) != hash {
            let context = format!("{} was changed on disk: restore it", path.display());
            return Err(Error::Database { context });
        }
        Ok(bytes)
    }

    /// Removes blobs for which `keep` says no and that are older than `age`. Gives how many.
    pub(crate) fn sweep(
        &self,
        age: std::time::Duration,
        keep: impl Fn(&str) -> bool,
    ) -> Result<u64, Error> {
        let mut removed = 0;
        let folders = fs::read_dir(&self.root).map_err(|e| error("reading", &self.root, &e))?;
        for folder in folders.filter_map(Result::ok) {
            if folder.file_name().len() != 2 {
                continue;
            }
            let files =
                fs::read_dir(folder.path()).map_err(|e| error("reading", &self.root, &e))?;
            for file in files.filter_map(Result::ok) {
                let old = file
                    .metadata()
                    .and_then(|m| m.modified())
                    .is_ok_and(|modified| modified.elapsed().is_ok_and(|elapsed| elapsed >= age));
                if old && !keep(&file.file_name().to_string_lossy()) {
                    removed += u64::from(fs::remove_file(file.path()).is_ok());
                }
            }
        }
        Ok(removed)
    }

    /// True if a blob is there with that size.
    pub(crate) fn has(&self, hash: &str, size: u64) -> bool {
        let path = self.path(hash);
        path.is_ok_and(|path| path.metadata().is_ok_and(|found| found.len() == size))
    }

    fn path(&self, hash: &str) -> Result<PathBuf, Error> {
        let hexadecimal = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hexadecimal {
            return Err(Error::Database { context: format!("`{hash}` is not a blob's hash") });
        }
        Ok(self.root.join(&hash[..2]).join(hash))
    }
}

fn error(doing: &str, path: &Path, why: &io::Error) -> Error {
    let context = format!("{doing} {}: {why}", path.display());
    match why.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { context },
        _ => Error::Unavailable { context },
    }
}
