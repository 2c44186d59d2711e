//! Folders as tar archives: packed as they are, links as links, and unpacked below one folder and nowhere
//! else.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use windlass_wire::files::Told;

use super::{Answer, Place, Refused};

/// A folder that is there.
pub(crate) struct Pack {
    folder: PathBuf,
}

impl Pack {
    /// The folder at this path of this machine.
    pub(crate) fn of(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes everything in it as an archive. Sockets are left out.
    ///
    /// # Errors
    /// Something in it can't be read; the output's failures.
    pub(crate) fn write(&self, to: impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(to);
        archive.follow_symlinks(false);
        archive.append_dir_all("", &self.folder)?;
        archive.into_inner()?.flush()
    }
}

/// Unpacks an archive into a folder, which is made if need be. Nothing is written outside of it.
///
/// # Errors
/// What is no archive, or would leave the folder; the disk's failures.
pub(crate) fn unpack(from: impl Read, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut archive = tar::Archive::new(from);
    archive.set_preserve_permissions(true);
    archive.set_overwrite(true);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.unpack_in(folder)? {
            let name = entry.path().map(|path| path.display().to_string()).unwrap_or_default();
            return Err(io::Error::other(format!("{name} would be outside of the folder")));
        }
    }
    Ok(())
}

impl Place {
    pub(super) fn pack(&self, path: &str) -> Answer<Pack> {
        let folder = self.real(path)?;
        if !folder.is_dir() {
            return Err(Refused::in_the_way(format!("{path} is no folder")));
        }
        Ok(Pack::of(folder))
    }

    pub(super) fn unpack(&self, path: &str, name: &str, input: impl Read) -> Answer<Told> {
        let target = self.absolute(path);
        let target = if target.is_dir() { target.join(name) } else { target };
        unpack(input, &target).map_err(|error| Refused::of(path, &error))?;
        Ok(Told::Changed { path: self.shown(&target) })
    }
}
