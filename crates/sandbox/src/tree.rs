//! Walking folders whose content is hostile: giving a work tree to its user, removing what is left.
//!
//! Never follows a symbolic link and never builds a path from names found on the way; depth costs
//! neither stack nor descriptors.

pub(crate) mod copy;

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, fstat, openat,
        statat, unlinkat,
    },
    io::Errno,
};

/// Gives everything below a folder, and the folder itself, to a user. Answers how many files were left
/// alone because they have several hard links: they belong to someone else as well.
pub(crate) fn give(folder: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<u64> {
    let mut giver = Giver { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), shared: 0 };
    let root = openat(folder, c".", FOLDER, Mode::empty())?;
    walk(root.try_clone()?, &mut giver)?;
    let stat = fstat(&root)?;
    if stat.st_uid != uid || stat.st_gid != gid {
        rustix::fs::fchown(&root, Some(giver.uid), Some(giver.gid))?;
    }
    Ok(giver.shared)
}

/// Gives everything below a folder on the host, and the folder itself, to a user; as [`give`] does.
///
/// # Errors
/// Whatever the file system answers.
pub fn give_folder(path: &Path, uid: u32, gid: u32) -> io::Result<u64> {
    give(rustix::fs::open(path, FOLDER, Mode::empty())?.as_fd(), uid, gid)
}

/// Makes every file below a folder, and the folder itself, plain and its owner's to read and write: no
/// set-user-id bits, no owner but `owner` (`None` leaves them). For a copy of an image's files, on which no
/// program works meanwhile. Answers how many bytes its files hold.
///
/// # Errors
/// Whatever the file system answers.
pub fn settle_folder(path: &Path, owner: Option<(u32, u32)>) -> io::Result<u64> {
    settle(rustix::fs::open(path, FOLDER, Mode::empty())?.as_fd(), owner)
}

/// As [`settle_folder`].
pub(crate) fn settle(folder: BorrowedFd<'_>, owner: Option<(u32, u32)>) -> io::Result<u64> {
    let owner = owner.map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid)));
    let mut settler = Settler { owner, bytes: 0 };
    let root = openat(folder, c".", FOLDER, Mode::empty())?;
    let stat = fstat(&root)?;
    if let Some((uid, gid)) = owner {
        rustix::fs::fchown(&root, Some(uid), Some(gid))?;
    }
    rustix::fs::fchmod(&root, Mode::from_raw_mode(stat.st_mode & 0o1777) | Mode::RWXU)?;
    walk(root, &mut settler)?;
    Ok(settler.bytes)
}

/// Removes a folder with everything in it, however hostile. What is not there is removed already.
///
/// # Errors
/// Whatever the file system answers.
pub fn remove(path: &Path) -> io::Result<()> {
    let flags = FOLDER;
    let root = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmod(path, Mode::RWXU)?;
            rustix::fs::open(path, flags, Mode::empty())
        }
        other => other,
    };
    match root {
        Ok(root) => walk(root, &mut Remover)?,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    std::fs::remove_dir(path)
}

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What to do with each entry. `folder` is the open folder that holds it.
trait Visitor {
    /// Called for a folder before it is opened.
    fn before(&mut self, folder: BorrowedFd<'_>, name: &CString) -> io::Result<()>;
    /// Called for everything that is not a folder.
    fn file(&mut self, folder: BorrowedFd<'_>, name: &CString, stat: &Stat) -> io::Result<()>;
    /// Called for a folder after its content.
    fn after(&mut self, folder: BorrowedFd<'_>, name: &CString) -> io::Result<()>;
}

struct Level {
    name: CString,
    device: u64,
    inode: u64,
    entries: Vec<CString>,
}

fn walk(root: OwnedFd, visitor: &mut impl Visitor) -> io::Result<()> {
    let mut levels = vec![level(CString::default(), root.as_fd())?];
    let mut current = root;
    while let Some(top) = levels.last_mut() {
        if let Some(name) = top.entries.pop() {
            let stat = match statat(&current, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                visitor.before(current.as_fd(), &name)?;
                let next = openat(&current, &name, FOLDER, Mode::empty())?;
                levels.push(level(name, next.as_fd())?);
                current = next;
            } else {
                visitor.file(current.as_fd(), &name, &stat)?;
            }
            continue;
        }
        let done = levels.pop();
        if let (Some(done), Some(parent)) = (done, levels.last()) {
            let up = openat(&current, c"..", FOLDER, Mode::empty())?;
            let stat = fstat(&up)?;
            if (stat.st_dev, stat.st_ino) != (parent.device, parent.inode) {
                return Err(io::Error::other("a folder was moved while it was being walked"));
            }
            visitor.after(up.as_fd(), &done.name)?;
            current = up;
        }
    }
    Ok(())
}

fn level(name: CString, folder: BorrowedFd<'_>) -> io::Result<Level> {
    let stat = fstat(folder)?;
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            entries.push(name.to_owned());
        }
    }
    Ok(Level { name, device: stat.st_dev, inode: stat.st_ino, entries })
}

struct Giver {
    uid: Uid,
    gid: Gid,
    shared: u64,
}

impl Giver {
    fn give(&self, folder: BorrowedFd<'_>, name: &CString, stat: &Stat) -> io::Result<()> {
        if stat.st_uid == self.uid.as_raw() && stat.st_gid == self.gid.as_raw() {
            return Ok(());
        }
        chownat(folder, name, Some(self.uid), Some(self.gid), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }
}

impl Visitor for Giver {
    fn before(&mut self, _: BorrowedFd<'_>, _: &CString) -> io::Result<()> {
        Ok(())
    }

    fn file(&mut self, folder: BorrowedFd<'_>, name: &CString, stat: &Stat) -> io::Result<()> {
        match FileType::from_raw_mode(stat.st_mode) {
            // A device in the tree is dead inside (its mount says so); it stays with its owner.
            FileType::BlockDevice | FileType::CharacterDevice => Ok(()),
            FileType::RegularFile if stat.st_nlink > 1 && stat.st_uid != self.uid.as_raw() => {
                self.shared += 1;
                Ok(())
            }
            _ => self.give(folder, name, stat),
        }
    }

    fn after(&mut self, folder: BorrowedFd<'_>, name: &CString) -> io::Result<()> {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        self.give(folder, name, &stat)
    }
}

struct Settler {
    owner: Option<(Uid, Gid)>,
    bytes: u64,
}

impl Settler {
    /// Owner first: changing it takes bits away.
    fn settle(
        &self,
        folder: BorrowedFd<'_>,
        name: &CString,
        stat: &Stat,
        add: Mode,
    ) -> io::Result<()> {
        self.give(folder, name)?;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o1777) | add;
        Ok(chmodat(folder, name, mode, AtFlags::empty())?)
    }

    fn give(&self, folder: BorrowedFd<'_>, name: &CString) -> io::Result<()> {
        let Some((uid, gid)) = self.owner else { return Ok(()) };
        Ok(chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

impl Visitor for Settler {
    fn before(&mut self, folder: BorrowedFd<'_>, name: &CString) -> io::Result<()> {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        self.settle(folder, name, &stat, Mode::RWXU)
    }

    fn file(&mut self, folder: BorrowedFd<'_>, name: &CString, stat: &Stat) -> io::Result<()> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                self.bytes += u64::try_from(stat.st_size).unwrap_or(0);
                self.settle(folder, name, stat, Mode::RUSR | Mode::WUSR)
            }
            FileType::Symlink => self.give(folder, name),
            // Sockets, pipes and devices belong to no image.
            _ => Ok(unlinkat(folder, name, AtFlags::empty())?),
        }
    }

    fn after(&mut self, _: BorrowedFd<'_>, _: &CString) -> io::Result<()> {
        Ok(())
    }
}

struct Remover;

impl Visitor for Remover {
    fn before(&mut self, folder: BorrowedFd<'_>, name: &CString) -> io::Result<()> {
        // Programs may take their own folders' rights away; without root they must be given back.
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if Mode::from_raw_mode(stat.st_mode).contains(Mode::RWXU) {
            return Ok(());
        }
        match chmodat(folder, name, Mode::RWXU, AtFlags::empty()) {
            Ok(()) | Err(Errno::PERM) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn file(&mut self, folder: BorrowedFd<'_>, name: &CString, _: &Stat) -> io::Result<()> {
        gone(unlinkat(folder, name, AtFlags::empty()))
    }

    fn after(&mut self, folder: BorrowedFd<'_>, name: &CString) -> io::Result<()> {
        gone(unlinkat(folder, name, AtFlags::REMOVEDIR))
    }
}

fn gone(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_hostile_tree_is_removed_and_nothing_beyond_it() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("kept"), "kept").unwrap();
        let base = tempfile::tempdir().unwrap();
        let tree = base.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b/c")).unwrap();
        symlink(outside.path(), tree.join("a/out")).unwrap();
        symlink("loop", tree.join("loop")).unwrap();
        std::fs::write(tree.join("a/b/file"), "x").unwrap();
        std::fs::set_permissions(tree.join("a/b/c"), PermissionsExt::from_mode(0o000)).unwrap();
        std::fs::set_permissions(tree.join("a/b"), PermissionsExt::from_mode(0o500)).unwrap();
        remove(&tree).unwrap();
        remove(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(std::fs::read_to_string(outside.path().join("kept")).unwrap(), "kept");
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let tree = base.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        let mut current = rustix::fs::open(&tree, FOLDER, Mode::empty()).unwrap();
        for _ in 0..2500 {
            rustix::fs::mkdirat(&current, c"deeper", Mode::RWXU).unwrap();
            current = openat(&current, c"deeper", FOLDER, Mode::empty()).unwrap();
        }
        remove(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn a_given_tree_keeps_files_that_others_link_to() {
        let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
        if !uid.is_root() {
            // Only root gives files away; the walk itself is covered by the removal tests.
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let tree = base.path().join("tree");
        std::fs::create_dir_all(tree.join("sub")).unwrap();
        std::fs::write(base.path().join("mirror"), "shared").unwrap();
        std::fs::hard_link(base.path().join("mirror"), tree.join("object")).unwrap();
        std::fs::write(tree.join("sub/own"), "own").unwrap();
        let folder = rustix::fs::open(&tree, FOLDER, Mode::empty()).unwrap();
        let shared = give(folder.as_fd(), 54321, 54322).unwrap();
        let owner = |path: &Path| {
            let meta = std::fs::symlink_metadata(path).unwrap();
            use std::os::unix::fs::MetadataExt;
            (meta.uid(), meta.gid())
        };
        assert_eq!(shared, 1);
        assert_eq!(owner(&tree), (54321, 54322));
        assert_eq!(owner(&tree.join("sub/own")), (54321, 54322));
        assert_eq!(owner(&tree.join("object")), (uid.as_raw(), gid.as_raw()));
    }
}
