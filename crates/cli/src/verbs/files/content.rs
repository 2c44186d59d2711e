//! The content of files: read, tagged, and written as a whole or not at all.

use std::{
    fs::{self, File, Metadata},
    io::{self, Cursor, Read, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use sha2::{Digest as _, Sha256};
use windlass_wire::{
    api::file::FileState,
    files::{MOST, Refusal, Told, When},
};

use super::{Answer, Place, Refused, folder::changed_at};

/// An answer with content.
pub(super) struct Content {
    pub(super) told: Told,
    pub(super) bytes: Box<dyn Read>,
}

/// A file that is there.
struct Found {
    state: FileState,
    /// The whole of it, if it is not too large.
    whole: Option<Vec<u8>>,
    file: File,
}

impl Place {
    /// A file's content.
    pub(super) fn read(&self, path: &str, from: u64, most: Option<u64>) -> Answer<Content> {
        let mut found = self.found(path)?;
        let left = found.state.size.saturating_sub(from);
        let length = most.map_or(left, |most| most.min(left));
        let bytes: Box<dyn Read> = match found.whole {
            Some(whole) => {
                let mut whole = Cursor::new(whole);
                whole.set_position(from);
                Box::new(whole.take(length))
            }
            None => {
                let moved = found.file.seek(SeekFrom::Start(from));
                moved.map_err(|error| Refused::of(path, &error))?;
                Box::new(found.file.take(length))
            }
        };
        Ok(Content { told: Told::Content { file: found.state, from, length }, bytes })
    }

    /// A file with this content, if what is there is what whoever asks believes.
    pub(super) fn write(
        &self,
        path: &str,
        length: u64,
        when: &When,
        input: impl Read,
    ) -> Answer<Told> {
        if length > MOST {
            let why = format!("{path}: at most {MOST} bytes are written at once");
            return Err(Refused { refusal: Refusal::TooLarge, why });
        }
        let mut content = Vec::new();
        let failed = |error: io::Error| Refused::of(path, &error);
        input.take(length).read_to_end(&mut content).map_err(failed)?;
        if content.len() as u64 != length {
            return Err(Refused::in_the_way(format!("{path}: its content did not come whole")));
        }
        let target = match fs::canonicalize(self.absolute(path)) {
            Ok(real) => real,
            Err(_) => self.named(path)?,
        };
        let before = match fs::symlink_metadata(&target) {
            Ok(metadata) if metadata.is_symlink() => {
                let why = format!("{path} is a link that leads nowhere: remove it first");
                return Err(Refused::in_the_way(why));
            }
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        self.meets(path, when, before.is_some())?;
        let fresh = beside(&target);
        let put = put(&fresh, &content, before.as_ref()).map_err(failed).and_then(|()| {
            // As late as can be: whoever else writes may have been faster.
            match before {
                Some(_) => {
                    self.meets(path, when, true)?;
                    fs::rename(&fresh, &target).map_err(failed)
                }
                None => fs::hard_link(&fresh, &target).map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => self.is_there(path),
                    _ => failed(error),
                }),
            }
        });
        // After a rename it is not there any more.
        let _ = fs::remove_file(&fresh);
        put?;
        keep_name(&target).map_err(failed)?;
        Ok(Told::Written { file: self.found(path)?.state, is_new: before.is_none() })
    }

    /// The tag of a file.
    pub(super) fn tag(&self, path: &str) -> Answer<String> {
        self.found(path).map(|found| found.state.etag)
    }

    /// Whether the file is as it must be.
    fn meets(&self, path: &str, when: &When, is_there: bool) -> Answer<()> {
        match (when, is_there) {
            (When::Absent, false) => Ok(()),
            (When::Absent, true) => Err(self.is_there(path)),
            (When::Is(_), false) => Err(Refused {
                refusal: Refusal::Changed { is: None },
                why: format!("{path} is not there any more"),
            }),
            (When::Is(tags), true) => {
                let is = self.tag(path)?;
                if tags.iter().any(|tag| *tag == is || tag == "*") {
                    return Ok(());
                }
                let yours = tags.join(", ");
                let why = format!("{path} changed meanwhile: you have {yours}, it is {is}");
                Err(Refused { refusal: Refusal::Changed { is: Some(is) }, why })
            }
        }
    }

    fn is_there(&self, path: &str) -> Refused {
        match self.tag(path) {
            Ok(is) => Refused {
                why: format!("{path} is there already: it is {is}"),
                refusal: Refusal::Changed { is: Some(is) },
            },
            Err(refused) => refused,
        }
    }

    fn found(&self, path: &str) -> Answer<Found> {
        let real = self.real(path)?;
        let failed = |error: io::Error| Refused::of(path, &error);
        // Looked at before it is opened: a pipe would keep whoever opens it waiting.
        is_file(path, &fs::metadata(&real).map_err(failed)?)?;
        let file = File::open(&real).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        is_file(path, &metadata)?;
        let mut whole = Vec::new();
        (&file).take(MOST + 1).read_to_end(&mut whole).map_err(failed)?;
        let is_whole = whole.len() as u64 <= MOST;
        let (size, etag) = match is_whole {
            true => (whole.len() as u64, format!("\"{:x}\"", Sha256::digest(&whole))),
            false => {
                let at = (metadata.mtime(), metadata.mtime_nsec());
                (metadata.len(), format!("W/\"{:x}-{:x}-{:x}\"", metadata.len(), at.0, at.1))
            }
        };
        let state = FileState {
            path: self.shown(&real),
            size,
            mode: metadata.permissions().mode() & 0o7777,
            changed_at: changed_at(&metadata),
            etag,
        };
        Ok(Found { state, whole: is_whole.then_some(whole), file })
    }
}

fn is_file(path: &str, metadata: &Metadata) -> Answer<()> {
    let path = if path.is_empty() { "." } else { path };
    match (metadata.is_file(), metadata.is_dir()) {
        (true, _) => Ok(()),
        (_, true) => Err(Refused::in_the_way(format!("{path} is a folder"))),
        _ => Err(Refused::in_the_way(format!("{path} is a pipe, a socket or a device"))),
    }
}

/// A name beside a file that nothing bears.
fn beside(target: &Path) -> std::path::PathBuf {
    target.with_file_name(format!(".windlass-{:016x}", rand::random::<u64>()))
}

/// Puts content into a new file, with the permissions of the one that it will replace.
fn put(fresh: &Path, content: &[u8], before: Option<&Metadata>) -> io::Result<()> {
    if before.is_some_and(|before| before.permissions().readonly()) {
        let why = "it is read-only: change its permissions first";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let mut file = File::create_new(fresh)?;
    file.write_all(content)?;
    if let Some(before) = before {
        let mode = before.permissions().mode() & 0o7777;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    file.sync_all()
}

/// Sees to it that the name outlives a crash.
fn keep_name(target: &Path) -> io::Result<()> {
    match target.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
