//! A copy of an image as the root that is written: how images are made from images. Everything in it
//! is the one user's, who is root inside; what every environment has of its own lies over it and is not
//! written to the copy.
//!
//! The copy is a stranger's: no link of it is followed to a place where something is mounted.

use std::path::Path;

use rustix::{
    fs::{AtFlags, FileType, Mode, statat},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create,
        fsconfig_set_string, fsmount, fsopen, move_mount,
    },
};

use super::{Places, Root, Source, Use, host_name};
use crate::{
    error::{Error, Result},
    etc, kernel,
    plan::{Plan, Scratch},
};

/// How much the small folders in memory hold at most.
const SMALL: u64 = 64 << 20;

impl Root {
    /// Mounts the copy over the environment's folder, once it is its user's.
    pub(super) fn make_own(root: &Path, plan: &Plan, places: &Places<'_>) -> Result<Self> {
        use std::os::fd::AsFd;
        let source = Source::open(root)?;
        crate::tree::settle(source.mount.as_fd(), places.owner)
            .map_err(|error| Error::build("give the image's copy to its user", error))?;
        kernel::restrict_mounts(source.mount.as_fd(), false, true)
            .map_err(|error| Error::build("mount the image's copy", error))?;
        move_mount(
            &source.mount,
            c"",
            rustix::fs::CWD,
            places.environment,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )
        .map_err(|error| Error::build("mount the image's copy", error))?;
        Self::enter_top(plan, places, true)
    }

    /// What is never written to the copy.
    pub(super) fn own_parts(&self) -> Result<()> {
        for path in ["dev", "sys"] {
            self.memory(path, SMALL, 0o755)?;
        }
        Ok(())
    }

    /// Scratch folders, and the files that say where a program is.
    pub(super) fn own_scratch(&self, plan: &Plan, disk: Option<(Source, Source)>) -> Result<()> {
        let bytes = match plan.scratch {
            Scratch::Memory { bytes } => bytes,
            Scratch::Disk => SMALL,
        };
        self.folder(Path::new("dev/shm"))?;
        rustix::fs::chmodat(&self.top, "dev/shm", Mode::from_raw_mode(0o1777), AtFlags::empty())
            .map_err(|error| Error::build("open /dev/shm to all", error))?;
        self.memory("run", SMALL, 0o755)?;
        match disk {
            Some((tmp, var_tmp)) => {
                self.attach(tmp, Path::new("tmp"), Use::Writable)?;
                if !self.is_link("var/tmp")? {
                    self.attach(var_tmp, Path::new("var/tmp"), Use::Writable)?;
                }
            }
            None => {
                self.memory("tmp", bytes, 0o1777)?;
                if !self.is_link("var/tmp")? {
                    self.memory("var/tmp", bytes, 0o1777)?;
                }
            }
        }
        let host_name = host_name(plan);
        for (name, text) in [
            ("hosts", etc::hosts(plan)),
            ("hostname", format!("{host_name}\n")),
            ("resolv.conf", "# There is no name server: doors resolve names.\n".to_owned()),
        ] {
            let (beside, inside) = (format!("dev/.{name}"), format!("etc/{name}"));
            self.write(&beside, text.as_bytes())?;
            if !self.is_link(&inside)? {
                self.attach(self.part(&beside)?, Path::new(&inside), Use::ReadOnly)?;
            }
        }
        Ok(())
    }

    /// A folder in memory, the user's.
    fn memory(&self, inside: &str, bytes: u64, mode: u32) -> Result<()> {
        let failed = |error| Error::build(format!("mount /{inside}"), error);
        let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed)?;
        for (name, value) in [
            ("size", bytes.to_string()),
            ("mode", format!("{mode:o}")),
            ("nr_inodes", (bytes / 4096).max(16_384).to_string()),
        ] {
            fsconfig_set_string(&context, name, value).map_err(failed)?;
        }
        if let Some((uid, gid)) = self.owner {
            fsconfig_set_string(&context, "uid", uid.to_string()).map_err(failed)?;
            fsconfig_set_string(&context, "gid", gid.to_string()).map_err(failed)?;
        }
        fsconfig_create(&context).map_err(failed)?;
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags).map_err(failed)?;
        self.attach(Source { mount, is_folder: true }, Path::new(inside), Use::Writable)
    }

    /// Whether the image has a link there, over which nothing is mounted.
    fn is_link(&self, inside: &str) -> Result<bool> {
        let Some((folder, name)) = self.find(Path::new(inside))? else { return Ok(false) };
        let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
        Ok(stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink))
    }
}
