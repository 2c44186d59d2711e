//! Copies a folder whose content may be hostile: to make a work tree from a prepared one, and to keep
//! what the programs of a project have made.
//!
//! A copy shares nothing with its source that could be written through: never a hard link, and blocks
//! only where the file system copies them on write. Links are copied as links and never followed, pipes,
//! sockets and devices are left out, no set-user-id bit and no extended attribute comes along. Times are
//! kept, because build tools compare them.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, copy_file_range, fchmod,
        fstat, futimens, ioctl_ficlone, mkdirat, openat, readlinkat, statat, symlinkat, utimensat,
    },
    io::Errno,
};

/// The most that a copy may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyLimits {
    /// Bytes of all files.
    pub bytes: u64,
    /// Files, links and folders.
    pub entries: u64,
}

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes of all files.
    pub bytes: u64,
    /// Files, links and folders.
    pub entries: u64,
    /// Pipes, sockets and devices that were left out.
    pub left_out: u64,
}

/// How files are copied on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyBy {
    /// Blocks are shared until one side writes them.
    Reflink,
    /// Bytes are copied.
    Bytes,
}

impl CopyLimits {
    /// No limit, for what was made by ourselves.
    pub const NONE: Self = Self { bytes: u64::MAX, entries: u64::MAX };
}

impl CopyBy {
    /// Tries it in a folder, which must exist and be ours.
    ///
    /// # Errors
    /// Whatever the file system answers to writing a small file.
    pub fn probe(folder: &Path) -> io::Result<Self> {
        let folder = rustix::fs::open(folder, super::FOLDER, Mode::empty())?;
        let make = |name| openat(&folder, name, NEW, Mode::RUSR | Mode::WUSR);
        let names = [c".probe-from", c".probe-to"];
        let remove = || {
            for name in names {
                let _removed = rustix::fs::unlinkat(&folder, name, AtFlags::empty());
            }
        };
        // An earlier probe may have been killed.
        remove();
        let probed = (|| {
            let from = make(names[0])?;
            rustix::io::write(&from, &[1; 8192])?;
            Ok(ioctl_ficlone(make(names[1])?, from))
        })();
        remove();
        match probed {
            Ok(Ok(())) => Ok(Self::Reflink),
            Ok(Err(_)) => Ok(Self::Bytes),
            Err(error) => Err(Errno::into(error)),
        }
    }

    /// In words, for a person.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Reflink => "reflink: blocks are shared until one side writes them",
            Self::Bytes => "a copy of the bytes: this file system can't share blocks",
        }
    }
}

/// Copies what is in the folder `from` into the new folder `to`, with the caller as owner. On an error
/// the beginnings of `to` are left for the caller to remove.
///
/// # Errors
/// `QuotaExceeded` over a limit; `AlreadyExists` where `to` is there; whatever the file system answers.
pub fn copy(from: &Path, to: &Path, by: CopyBy, limits: CopyLimits) -> io::Result<Copied> {
    let source = rustix::fs::open(from, super::FOLDER, Mode::empty())?;
    rustix::fs::mkdir(to, Mode::RWXU)?;
    copy_open(source, to, by, limits)
}

/// As [`copy`], into a folder that is there and empty.
///
/// # Errors
/// As [`copy`].
pub fn fill(from: &Path, to: &Path, by: CopyBy, limits: CopyLimits) -> io::Result<Copied> {
    copy_open(rustix::fs::open(from, super::FOLDER, Mode::empty())?, to, by, limits)
}

fn copy_open(source: OwnedFd, to: &Path, by: CopyBy, limits: CopyLimits) -> io::Result<Copied> {
    let target = rustix::fs::open(to, super::FOLDER, Mode::empty())?;
    let mut copier = Copier { by, limits, copied: Copied::default() };
    copier.folder(source, target)?;
    Ok(copier.copied)
}

const NEW: OFlags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::CLOEXEC);

struct Copier {
    by: CopyBy,
    limits: CopyLimits,
    copied: Copied,
}

/// One open folder on the way down.
struct Level {
    source: OwnedFd,
    target: OwnedFd,
    stat: Stat,
    left: Vec<CString>,
}

/// How many levels keep their descriptors: deeper trees are no project's and are refused.
const DEEPEST: usize = 200;

impl Copier {
    fn folder(&mut self, source: OwnedFd, target: OwnedFd) -> io::Result<()> {
        let mut levels = vec![Level::open(source, target)?];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.left.pop() else {
                let stat = level.stat;
                fchmod(&level.target, permissions(&stat))?;
                futimens(&level.target, &times(&stat))?;
                levels.pop();
                continue;
            };
            let stat = match statat(&level.source, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    self.count(0)?;
                    if levels.len() == DEEPEST {
                        return Err(io::Error::new(
                            io::ErrorKind::QuotaExceeded,
                            format!("folders lie more than {DEEPEST} deep in each other"),
                        ));
                    }
                    let level = &levels[levels.len() - 1];
                    mkdirat(&level.target, &name, Mode::RWXU)?;
                    let source = openat(&level.source, &name, super::FOLDER, Mode::empty())?;
                    let target = openat(&level.target, &name, super::FOLDER, Mode::empty())?;
                    levels.push(Level::open(source, target)?);
                }
                FileType::RegularFile => {
                    self.count(u64::try_from(stat.st_size).unwrap_or(0))?;
                    self.file(level, &name)?;
                }
                FileType::Symlink => {
                    self.count(0)?;
                    let to = readlinkat(&level.source, &name, Vec::new())?;
                    symlinkat(&to, &level.target, &name)?;
                    utimensat(&level.target, &name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
                }
                _ => self.copied.left_out += 1,
            }
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> io::Result<()> {
        self.copied.entries += 1;
        self.copied.bytes = self.copied.bytes.saturating_add(bytes);
        if self.copied.entries > self.limits.entries || self.copied.bytes > self.limits.bytes {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!(
                    "it holds more than {} bytes or {} files",
                    self.limits.bytes, self.limits.entries
                ),
            ));
        }
        Ok(())
    }

    fn file(&self, level: &Level, name: &CString) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from = openat(&level.source, name, flags, Mode::empty())?;
        let stat = fstat(&from)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("a file was replaced while it was being copied"));
        }
        let to = openat(&level.target, name, NEW, Mode::RUSR | Mode::WUSR)?;
        match self.by {
            CopyBy::Reflink if stat.st_size > 0 => match ioctl_ficlone(&to, &from) {
                Ok(()) => {}
                // Another file system than the probed one.
                Err(_) => bytes(from.as_fd(), to.as_fd(), stat.st_size)?,
            },
            _ => bytes(from.as_fd(), to.as_fd(), stat.st_size)?,
        }
        fchmod(&to, permissions(&stat))?;
        futimens(&to, &times(&stat))?;
        Ok(())
    }
}

impl Level {
    fn open(source: OwnedFd, target: OwnedFd) -> io::Result<Self> {
        let stat = fstat(&source)?;
        let mut left = Vec::new();
        for entry in Dir::read_from(&source)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                left.push(name.to_owned());
            }
        }
        Ok(Self { source, target, stat, left })
    }
}

/// Files up to this size go through memory: two calls instead of more.
const SMALL: usize = 64 * 1024;

fn bytes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: i64) -> io::Result<()> {
    if usize::try_from(size).is_ok_and(|size| size <= SMALL) {
        return through_memory(from, to);
    }
    loop {
        match copy_file_range(from, None, to, None, 1 << 30) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            // Not between these file systems, or not on this kernel.
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                return through_memory(from, to);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn through_memory(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut buffer = [0; SMALL];
    loop {
        let n = match rustix::io::read(from, &mut buffer[..]) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut left = &buffer[..n];
        while !left.is_empty() {
            match rustix::io::write(to, left) {
                Ok(written) => left = &left[written..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Without set-user-id, set-group-id and sticky bits, and always the owner's to work with.
fn permissions(stat: &Stat) -> Mode {
    let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => mode | Mode::RWXU,
        _ => mode | Mode::RUSR,
    }
}

fn times(stat: &Stat) -> Timestamps {
    let at = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.cast_signed(),
    };
    Timestamps {
        last_access: at(stat.st_atime, stat.st_atime_nsec),
        last_modification: at(stat.st_mtime, stat.st_mtime_nsec),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn copied(from: &Path, to: &Path) -> io::Result<Copied> {
        copy(from, to, CopyBy::Bytes, CopyLimits::NONE)
    }

    #[test]
    fn a_copy_has_the_same_files_and_shares_nothing_with_its_source() {
        let base = tempfile::tempdir().unwrap();
        let (from, to) = (base.path().join("from"), base.path().join("to"));
        std::fs::create_dir_all(from.join("sub/empty")).unwrap();
        std::fs::write(from.join("small"), "small").unwrap();
        let large = vec![7; 3 * SMALL + 1];
        std::fs::write(from.join("sub/large"), &large).unwrap();
        std::fs::write(from.join("sub/run"), "run").unwrap();
        std::fs::set_permissions(from.join("sub/run"), PermissionsExt::from_mode(0o4755)).unwrap();
        std::fs::hard_link(from.join("small"), from.join("sub/linked")).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        symlink("../..", from.join("sub/up")).unwrap();
        let by = CopyBy::probe(base.path()).unwrap();
        let copied = copy(&from, &to, by, CopyLimits::NONE).unwrap();
        let total = 5 + large.len() as u64 + 3 + 5;
        assert_eq!(copied, Copied { bytes: total, entries: 8, left_out: 0 });
        assert_eq!(std::fs::read(to.join("sub/large")).unwrap(), large);
        assert_eq!(std::fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(std::fs::read_link(to.join("sub/up")).unwrap(), Path::new("../.."));
        assert!(to.join("sub/empty").is_dir());
        for name in ["small", "sub/large", "sub/run", "sub/linked", "link", "sub"] {
            let seen = |root: &Path| root.join(name).symlink_metadata().unwrap();
            let (old, new) = (seen(&from), seen(&to));
            assert_eq!(
                (old.mtime(), old.mtime_nsec(), old.mode() & 0o777),
                (new.mtime(), new.mtime_nsec(), new.mode() & 0o777),
                "{name}"
            );
        }
        assert_eq!(to.join("sub/run").metadata().unwrap().mode() & 0o7000, 0);
        assert_eq!(to.join("sub/linked").metadata().unwrap().nlink(), 1);
        std::fs::write(to.join("small"), "other").unwrap();
        assert_eq!(std::fs::read_to_string(from.join("small")).unwrap(), "small");
        let left: Vec<_> = std::fs::read_dir(base.path()).unwrap().collect();
        assert_eq!(left.len(), 2, "the probe leaves nothing");
    }

    #[test]
    fn what_is_no_file_is_left_out_and_limits_hold() {
        let base = tempfile::tempdir().unwrap();
        let (from, to) = (base.path().join("from"), base.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        std::fs::write(from.join("file"), "12345678").unwrap();
        assert_eq!(copied(&from, &to).unwrap(), Copied { bytes: 8, entries: 1, left_out: 1 });
        let exists = copied(&from, &to).unwrap_err();
        assert_eq!(exists.kind(), io::ErrorKind::AlreadyExists);
        for limits in [CopyLimits { bytes: 7, entries: 9 }, CopyLimits { bytes: 9, entries: 0 }] {
            let place = base.path().join("limited");
            let refused = copy(&from, &place, CopyBy::Bytes, limits).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
            super::super::remove(&place).unwrap();
        }
    }

    #[test]
    fn a_tree_that_is_too_deep_is_refused_and_can_be_removed() {
        let base = tempfile::tempdir().unwrap();
        let (from, to) = (base.path().join("from"), base.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        let mut current = rustix::fs::open(&from, super::super::FOLDER, Mode::empty()).unwrap();
        for _ in 0..=DEEPEST {
            mkdirat(&current, c"deeper", Mode::RWXU).unwrap();
            current = openat(&current, c"deeper", super::super::FOLDER, Mode::empty()).unwrap();
        }
        assert_eq!(copied(&from, &to).unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        super::super::remove(&to).unwrap();
    }
}
