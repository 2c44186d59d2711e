//! Finding and making the places inside where things are mounted.
//!
//! Goes down name by name from the new root and follows no link: a work tree may hold links that point
//! anywhere.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path},
};

use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, Uid, chownat, mkdirat, openat, statat},
    io::Errno,
};

use super::Root;
use crate::error::{Error, Result};

impl Root {
    /// Makes a folder with its parents.
    pub(super) fn folder(&self, inside: &Path) -> Result<()> {
        self.reach(inside, true).map(drop)
    }

    /// Finds a path's parent folder inside, following no link; `None` when it does not exist.
    pub(super) fn find<'a>(&self, inside: &'a Path) -> Result<Option<(OwnedFd, &'a OsStr)>> {
        self.descend(inside, None)
    }

    /// Finds a path's parent folder inside, making what is missing, the path itself included.
    pub(super) fn reach<'a>(
        &self,
        inside: &'a Path,
        is_folder: bool,
    ) -> Result<(OwnedFd, &'a OsStr)> {
        self.descend(inside, Some(is_folder))?
            .ok_or_else(|| Error::build(format!("reach {}", inside.display()), "it does not exist"))
    }

    fn descend<'a>(
        &self,
        inside: &'a Path,
        make: Option<bool>,
    ) -> Result<Option<(OwnedFd, &'a OsStr)>> {
        let failed = |error: Errno| {
            let hint = match error {
                Errno::ROFS | Errno::ACCESS | Errno::PERM => {
                    "; it does not exist in a read-only folder of the host: choose another path inside"
                }
                Errno::LOOP | Errno::NOTDIR => {
                    "; a part of it is a link or a file: choose another path inside"
                }
                _ => "",
            };
            Error::build(format!("reach {} inside", inside.display()), format!("{error}{hint}"))
        };
        let mut names = inside.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            Component::RootDir
            | Component::CurDir
            | Component::ParentDir
            | Component::Prefix(_) => None,
        });
        let Some(mut name) = names.next() else {
            return Err(Error::build("reach a path inside", "it is empty"));
        };
        let mut folder =
            self.top.try_clone().map_err(|error| Error::build("copy a descriptor", error))?;
        let is_users =
            self.gives_all || inside.strip_prefix("/").unwrap_or(inside).starts_with(&self.home);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for next in names {
            if make.is_some() {
                self.make_folder(folder.as_fd(), name, is_users).map_err(failed)?;
            }
            folder = match openat(&folder, name, flags, Mode::empty()) {
                Ok(folder) => folder,
                Err(Errno::NOENT) if make.is_none() => return Ok(None),
                Err(error) => return Err(failed(error)),
            };
            name = next;
        }
        match make {
            Some(true) => self.make_folder(folder.as_fd(), name, is_users).map_err(failed)?,
            Some(false) => self.make_file(folder.as_fd(), name, is_users).map_err(failed)?,
            None => {}
        }
        Ok(Some((folder, name)))
    }

    fn make_folder(
        &self,
        folder: BorrowedFd<'_>,
        name: &OsStr,
        give: bool,
    ) -> std::result::Result<(), Errno> {
        match mkdirat(folder, name, Mode::from_raw_mode(0o755)) {
            Ok(()) if give => self.give(folder, name),
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            // A read-only folder answers so even where the name exists already.
            Err(error) => match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Ok(()),
                Err(_) => Err(error),
            },
        }
    }

    fn make_file(
        &self,
        folder: BorrowedFd<'_>,
        name: &OsStr,
        give: bool,
    ) -> std::result::Result<(), Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        match openat(folder, name, flags, Mode::from_raw_mode(0o644)) {
            Ok(_) if give => self.give(folder, name),
            Ok(_) | Err(Errno::EXIST) => Ok(()),
            Err(error) => match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Ok(()),
                Err(_) => Err(error),
            },
        }
    }

    fn give(&self, folder: BorrowedFd<'_>, name: &OsStr) -> std::result::Result<(), Errno> {
        match self.owner {
            None => Ok(()),
            Some((uid, gid)) => chownat(
                folder,
                name,
                Some(Uid::from_raw(uid)),
                Some(Gid::from_raw(gid)),
                AtFlags::SYMLINK_NOFOLLOW,
            ),
        }
    }
}
