//! An image's file system as the root: every part of it that nothing is mounted below appears as one
//! read-only mount; folders on the way to a place of ours are made anew and filled part by part. So
//! nothing has to exist in the image, nothing in it is written, and no file system but the usual is needed.
//!
//! What an image says is never followed: a link of it where a folder of ours must be is left out.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, Mode, symlinkat};

use super::{Places, Root, Source, Use, host_name};
use crate::{
    error::{Error, Result},
    etc,
    plan::Plan,
    tree::copy::{self, CopyBy, CopyLimits},
};

/// The files of `/etc` that every environment has of its own.
const OWN: [&str; 5] = ["etc/passwd", "etc/group", "etc/hosts", "etc/hostname", "etc/resolv.conf"];
/// The folders that every environment has of its own.
const FOLDERS: [&str; 6] = ["dev", "proc", "run", "sys", "tmp", "var/tmp"];
/// The most that an image's home folder may hold: every environment has a copy.
const HOME: CopyLimits = CopyLimits { bytes: 1 << 30, entries: 1_000_000 };
/// The largest list of accounts that is taken from an image.
const LARGEST: u64 = 1 << 20;

impl Root {
    /// Shows an image's folder, and writes the files that are the environment's own.
    pub(super) fn image(&self, root: &Path, plan: &Plan, places: &Places<'_>) -> Result<()> {
        let ours = plan
            .binds
            .iter()
            .map(|bind| bind.inside.as_path())
            .chain(plan.volumes.iter().map(PathBuf::as_path))
            .chain(plan.again.iter().map(|again| again.inside.as_path()))
            .chain([plan.work_tree.inside.as_path(), plan.home()])
            .chain(OWN.iter().chain(&FOLDERS).map(Path::new))
            .map(|path| path.strip_prefix("/").unwrap_or(path).to_path_buf())
            .collect();
        self.lay(root, Path::new(""), &ours)?;
        self.accounts(root, plan, places)
    }

    /// Shows the entries of one folder of the image.
    fn lay(&self, source: &Path, below: &Path, ours: &BTreeSet<PathBuf>) -> Result<()> {
        let failed = |error| Error::build(format!("read the image's /{}", below.display()), error);
        for entry in std::fs::read_dir(source).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let (host, inside) = (entry.path(), below.join(entry.file_name()));
            if ours.contains(&inside) {
                continue;
            }
            if ours.iter().any(|path| path.starts_with(&inside)) {
                if kind.is_dir() {
                    let mode = entry.metadata().map_err(failed)?.permissions().mode() & 0o777;
                    self.folder(&inside)?;
                    // The way to a place of ours must be open to whoever works inside.
                    let mode = Mode::from_raw_mode(mode | 0o555);
                    rustix::fs::chmodat(&self.top, &inside, mode, AtFlags::empty())
                        .map_err(|error| failed(error.into()))?;
                    self.lay(&host, &inside, ours)?;
                }
            } else if kind.is_symlink() {
                let target = host.read_link().map_err(failed)?;
                symlinkat(&target, &self.top, &inside).map_err(|error| failed(error.into()))?;
            } else if kind.is_dir() || kind.is_file() {
                self.attach(Source::open(&host)?, &inside, Use::ReadOnly)?;
            }
        }
        Ok(())
    }

    /// The image's accounts with whoever works inside, and the host's name.
    fn accounts(&self, root: &Path, plan: &Plan, places: &Places<'_>) -> Result<()> {
        let (uid, gid) = places.inside;
        let bash = root.join("bin/bash").exists() || root.join("usr/bin/bash").exists();
        let shell = if bash { "/bin/bash" } else { "/bin/sh" };
        let host_name = host_name(plan);
        self.folder(Path::new("etc"))?;
        for (name, text) in [
            (OWN[0], etc::passwd_of_image(&text(root, OWN[0]), plan, uid, gid, shell)),
            (OWN[1], etc::group_of_image(&text(root, OWN[1]), plan, gid)),
            (OWN[2], etc::hosts(plan)),
            (OWN[3], format!("{host_name}\n")),
            (OWN[4], "# There is no name server: doors resolve names.\n".to_owned()),
        ] {
            self.write(name, text.as_bytes())?;
        }
        Ok(())
    }
}

/// Fills the empty home folder of a user of the image with what the image has there.
pub(super) fn skeleton(plan: &Plan, places: &Places<'_>) -> Result<()> {
    let (Some(root), Some(user), false) = (&plan.root, &plan.user, plan.writable_root) else {
        return Ok(());
    };
    let mut from = root.clone();
    for part in user.home.strip_prefix("/").unwrap_or(&user.home) {
        from.push(part);
        // A link of the image leads anywhere.
        if !from.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Ok(());
        }
    }
    let failed = |error| Error::build(format!("copy the image's {}", user.home.display()), error);
    let by = CopyBy::probe(&places.home).map_err(failed)?;
    copy::fill(&from, &places.home, by, HOME).map_err(failed)?;
    match places.owner {
        Some((uid, gid)) => {
            crate::tree::give_folder(&places.home, uid, gid).map(drop).map_err(failed)
        }
        None => Ok(()),
    }
}

/// A small plain file of an image; nothing for anything else.
fn text(root: &Path, name: &str) -> String {
    let is_folder = root.join("etc").symlink_metadata().is_ok_and(|etc| etc.is_dir());
    let path = root.join(name);
    let is_plain = path
        .symlink_metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LARGEST);
    if !is_folder || !is_plain {
        return String::new();
    }
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
