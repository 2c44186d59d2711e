//! Folders made, names changed, things removed. Nothing is replaced by any of these.

use std::{fs, io, path::Path};

use windlass_wire::files::{Refusal, Told};

use super::{Answer, Place, Refused};

impl Place {
    /// A folder, with those above it.
    pub(super) fn make_folder(&self, path: &str) -> Answer<Told> {
        let absolute = self.absolute(path);
        if fs::symlink_metadata(&absolute).is_ok() {
            return Err(Refused::in_the_way(format!("{path} is there already")));
        }
        fs::create_dir_all(&absolute).map_err(|error| Refused::of(path, &error))?;
        Ok(Told::Changed { path: self.shown(&self.real(path)?) })
    }

    /// Another name or place, where nothing is yet.
    pub(super) fn rename(&self, from: &str, to: &str) -> Answer<Told> {
        let (source, target) = (self.named(from)?, self.named(to)?);
        self.may_go(from, &source)?;
        let metadata = fs::symlink_metadata(&source).map_err(|error| Refused::of(from, &error))?;
        let taken = || Refused::in_the_way(format!("{to} is there already: nothing is replaced"));
        if fs::symlink_metadata(&target).is_ok() {
            return Err(taken());
        }
        // A second name that must be new, then the first one goes: nothing is replaced even if somebody
        // is faster. Folders have no second names, nor have files of some file systems.
        let linked = match metadata.is_file() {
            true => fs::hard_link(&source, &target),
            false => Err(io::ErrorKind::Unsupported.into()),
        };
        let renamed = match linked {
            Ok(()) => fs::remove_file(&source),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(taken()),
            Err(_) => fs::rename(&source, &target),
        };
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::CrossesDevices => Refused::in_the_way(format!(
                "{to} is on another file system than {from}: move it with a program, such as `mv`"
            )),
            _ => Refused::of(from, &error),
        })?;
        Ok(Told::Changed { path: self.shown(&target) })
    }

    /// Removes what is there: of a file only what whoever asks has seen.
    pub(super) fn remove(&self, path: &str, tag: Option<&str>, all: bool) -> Answer<Told> {
        let target = self.named(path)?;
        self.may_go(path, &target)?;
        let failed = |error: io::Error| Refused::of(path, &error);
        let metadata = fs::symlink_metadata(&target).map_err(failed)?;
        if metadata.is_dir() {
            let removed = match all {
                true => fs::remove_dir_all(&target),
                false => fs::remove_dir(&target),
            };
            removed.map_err(|error| match error.kind() {
                io::ErrorKind::DirectoryNotEmpty => Refused::in_the_way(format!(
                    "{path} is not empty: say that everything below it goes too (`recursive`)"
                )),
                _ => failed(error),
            })?;
        } else {
            if metadata.is_file() {
                let is = self.tag(path)?;
                let is_seen = tag.is_some_and(|tag| tag == is || tag == "*");
                if !is_seen {
                    let yours = tag.unwrap_or("no tag");
                    let why = format!("{path} is not what was seen: you have {yours}, it is {is}");
                    return Err(Refused { refusal: Refusal::Changed { is: Some(is) }, why });
                }
            }
            fs::remove_file(&target).map_err(failed)?;
        }
        Ok(Told::Changed { path: self.shown(&target) })
    }

    /// The folder where programs begin stays where it is, and so does what it is in.
    fn may_go(&self, path: &str, target: &Path) -> Answer<()> {
        let path = if path.is_empty() { "." } else { path };
        let is_needed = path.split('/').next_back().is_some_and(|last| [".", ".."].contains(&last));
        if is_needed || self.root.starts_with(target) {
            return Err(Refused::in_the_way(format!("{path} holds the work tree: it stays")));
        }
        Ok(())
    }
}
