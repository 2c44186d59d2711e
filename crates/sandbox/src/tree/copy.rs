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
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chownat,
        copy_file_range, fchmod, fchown, fstat, futimens, ioctl_ficlone, mkdirat, openat,
        readlinkat, statat, symlinkat, utimensat,
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

/// What the file system says of a file or link that was copied, once nothing of it will change any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// Time of the last change of anything, in seconds and nanoseconds.
    pub ctime: (i64, u64),
    /// Time of the last change of the content, in seconds and nanoseconds.
    pub mtime: (i64, u64),
    /// The file system.
    pub device: u64,
    /// The file's number on it.
    pub inode: u64,
    /// Kind and rights.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
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
    copy_open(source, to, Copier::new(by, limits))
}

/// As [`copy`], into a folder that is there and empty.
///
/// # Errors
/// As [`copy`].
pub fn fill(from: &Path, to: &Path, by: CopyBy, limits: CopyLimits) -> io::Result<Copied> {
    copy_open(rustix::fs::open(from, super::FOLDER, Mode::empty())?, to, Copier::new(by, limits))
}

/// As [`fill`], for another user: everything, and the folder itself, is given to `owner` (only root can
/// do that; `None` leaves it with the caller) as it is made, so that nobody has to walk the copy again. `note`
/// hears of each file and link what is final about it, by its path below the folder.
///
/// # Errors
/// As [`copy`].
pub fn fill_for(
    from: &Path,
    to: &Path,
    by: CopyBy,
    owner: Option<(u32, u32)>,
    note: &mut dyn FnMut(PathBuf, Numbers),
) -> io::Result<Copied> {
    let source = rustix::fs::open(from, super::FOLDER, Mode::empty())?;
    let owner = owner.map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid)));
    let copier = Copier { owner, note: Some(note), ..Copier::new(by, CopyLimits::NONE) };
    copy_open(source, to, copier)
}

fn copy_open(source: OwnedFd, to: &Path, mut copier: Copier<'_>) -> io::Result<Copied> {
    let target = rustix::fs::open(to, super::FOLDER, Mode::empty())?;
    copier.folder(source, target)?;
    Ok(copier.copied)
}

const NEW: OFlags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::CLOEXEC);

struct Copier<'a> {
    by: CopyBy,
    limits: CopyLimits,
    copied: Copied,
    /// Whose the copy shall be, if not the caller's.
    owner: Option<(Uid, Gid)>,
    note: Option<&'a mut dyn FnMut(PathBuf, Numbers)>,
    /// What small files go through, made once: clearing it for each costs more than most files.
    buffer: Vec<u8>,
}

/// One open folder on the way down.
struct Level {
    source: OwnedFd,
    target: OwnedFd,
    /// Below the top; empty where nobody wants to know.
    path: PathBuf,
    stat: Stat,
    left: Vec<Entry>,
}

/// A name in a folder, and what the folder says it is.
struct Entry {
    name: CString,
    kind: FileType,
}

/// How many levels keep their descriptors: deeper trees are no project's and are refused.
const DEEPEST: usize = 200;

impl<'a> Copier<'a> {
    fn new(by: CopyBy, limits: CopyLimits) -> Self {
        let copied = Copied::default();
        Self { by, limits, copied, owner: None, note: None, buffer: Vec::new() }
    }

    fn folder(&mut self, source: OwnedFd, target: OwnedFd) -> io::Result<()> {
        let mut levels = vec![Level::open(source, target, PathBuf::new())?];
        while let Some(level) = levels.last_mut() {
            let Some(Entry { name, kind }) = level.left.pop() else {
                self.close(level)?;
                levels.pop();
                continue;
            };
            let kind = match kind {
                FileType::Unknown => match statat(&level.source, &name, NO_LINK) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(error.into()),
                },
                known => known,
            };
            match kind {
                FileType::Directory => {
                    self.count(0)?;
                    if levels.len() == DEEPEST {
                        return Err(io::Error::new(
                            io::ErrorKind::QuotaExceeded,
                            format!("folders lie more than {DEEPEST} deep in each other"),
                        ));
                    }
                    let level = &levels[levels.len() - 1];
                    let Some(next) = self.enter(level, &name)? else { continue };
                    levels.push(next);
                }
                FileType::RegularFile => self.file(level, &name)?,
                FileType::Symlink => self.link(level, &name)?,
                _ => self.copied.left_out += 1,
            }
        }
        Ok(())
    }

    /// Goes down into a folder, unless it is gone.
    fn enter(&self, level: &Level, name: &CString) -> io::Result<Option<Level>> {
        let source = match openat(&level.source, name, super::FOLDER, Mode::empty()) {
            Ok(source) => source,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match mkdirat(&level.target, name, Mode::RWXU) {
            // Whoever fills a folder may have had to make some in it before.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let target = openat(&level.target, name, super::FOLDER, Mode::empty())?;
        Level::open(source, target, self.below(level, name)).map(Some)
    }

    /// A folder whose content is copied.
    fn close(&self, level: &Level) -> io::Result<()> {
        if let Some((uid, gid)) = self.owner {
            fchown(&level.target, Some(uid), Some(gid))?;
        }
        fchmod(&level.target, permissions(&level.stat))?;
        Ok(futimens(&level.target, &times(&level.stat))?)
    }

    fn below(&self, level: &Level, name: &CString) -> PathBuf {
        match self.note {
            Some(_) => level.path.join(std::ffi::OsStr::from_bytes(name.as_bytes())),
            None => PathBuf::new(),
        }
    }

    fn tell(&mut self, path: PathBuf, stat: &Stat) {
        let Some(note) = &mut self.note else { return };
        let numbers = Numbers {
            ctime: (stat.st_ctime, stat.st_ctime_nsec),
            mtime: (stat.st_mtime, stat.st_mtime_nsec),
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
        };
        note(path, numbers);
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

    fn file(&mut self, level: &Level, name: &CString) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from = match openat(&level.source, name, flags, Mode::empty()) {
            Ok(from) => from,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let stat = fstat(&from)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("a file was replaced while it was being copied"));
        }
        self.count(u64::try_from(stat.st_size).unwrap_or(0))?;
        let to = openat(&level.target, name, NEW, permissions(&stat))?;
        match self.by {
            CopyBy::Reflink if stat.st_size > 0 => match ioctl_ficlone(&to, &from) {
                Ok(()) => {}
                // Another file system than the probed one.
                Err(_) => self.bytes(from.as_fd(), to.as_fd(), stat.st_size)?,
            },
            _ => self.bytes(from.as_fd(), to.as_fd(), stat.st_size)?,
        }
        if let Some((uid, gid)) = self.owner {
            fchown(&to, Some(uid), Some(gid))?;
        }
        futimens(&to, &times(&stat))?;
        let made = fstat(&to)?;
        // The mask of this process may have taken some of the rights.
        let is_right = Mode::from_raw_mode(made.st_mode & 0o7777) == permissions(&stat);
        if !is_right {
            fchmod(&to, permissions(&stat))?;
        }
        if self.note.is_some() {
            let path = self.below(level, name);
            let made = if is_right { made } else { fstat(&to)? };
            self.tell(path, &made);
        }
        Ok(())
    }

    fn link(&mut self, level: &Level, name: &CString) -> io::Result<()> {
        let stat = match statat(&level.source, name, NO_LINK) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.count(0)?;
        let to = readlinkat(&level.source, name, Vec::new())?;
        symlinkat(&to, &level.target, name)?;
        if let Some((uid, gid)) = self.owner {
            chownat(&level.target, name, Some(uid), Some(gid), NO_LINK)?;
        }
        utimensat(&level.target, name, &times(&stat), NO_LINK)?;
        if self.note.is_some() {
            let path = self.below(level, name);
            let made = statat(&level.target, name, NO_LINK)?;
            self.tell(path, &made);
        }
        Ok(())
    }

    fn bytes(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: i64) -> io::Result<()> {
        if usize::try_from(size).is_ok_and(|size| size <= SMALL) {
            return self.through_memory(from, to, size);
        }
        loop {
            match copy_file_range(from, None, to, None, 1 << 30) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                // Not between these file systems, or not on this kernel.
                Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                    return self.through_memory(from, to, size);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn through_memory(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        size: i64,
    ) -> io::Result<()> {
        self.buffer.resize(SMALL, 0);
        let mut copied = 0;
        // Of a file that grows meanwhile, what it had.
        while copied < size {
            let n = match rustix::io::read(from, &mut self.buffer[..]) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            copied += i64::try_from(n).unwrap_or(i64::MAX);
            let mut left = &self.buffer[..n];
            while !left.is_empty() {
                match rustix::io::write(to, left) {
                    Ok(written) => left = &left[written..],
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

impl Level {
    fn open(source: OwnedFd, target: OwnedFd, path: PathBuf) -> io::Result<Self> {
        let stat = fstat(&source)?;
        let mut left = Vec::new();
        for entry in Dir::read_from(&source)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                left.push(Entry { name: name.to_owned(), kind: entry.file_type() });
            }
        }
        Ok(Self { source, target, path, stat, left })
    }
}

const NO_LINK: AtFlags = AtFlags::SYMLINK_NOFOLLOW;
/// Files up to this size go through memory: two calls instead of more.
const SMALL: usize = 64 * 1024;

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
    fn a_copy_for_somebody_is_his_and_what_is_told_of_its_files_is_what_is_there() {
        let base = tempfile::tempdir().unwrap();
        let (from, to) = (base.path().join("from"), base.path().join("to"));
        std::fs::create_dir_all(from.join("sub/deeper")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("sub/deeper/file"), "one").unwrap();
        std::fs::write(from.join("empty"), "").unwrap();
        std::fs::set_permissions(from.join("empty"), PermissionsExt::from_mode(0o666)).unwrap();
        symlink("nowhere", from.join("sub/link")).unwrap();
        // Only root gives files away.
        let is_root = rustix::process::getuid().is_root();
        let owner = is_root.then_some((54321, 54322));
        let mut told = Vec::new();
        fill_for(&from, &to, CopyBy::Bytes, owner, &mut |path, numbers| told.push((path, numbers)))
            .unwrap();
        told.sort_by(|a, b| a.0.cmp(&b.0));
        let seen = |path: &str| {
            let seen = to.join(path).symlink_metadata().unwrap();
            let numbers = Numbers {
                ctime: (seen.ctime(), seen.ctime_nsec().cast_unsigned()),
                mtime: (seen.mtime(), seen.mtime_nsec().cast_unsigned()),
                device: seen.dev(),
                inode: seen.ino(),
                mode: seen.mode(),
                uid: seen.uid(),
                gid: seen.gid(),
                size: seen.size(),
            };
            (PathBuf::from(path), numbers)
        };
        assert_eq!(told, ["empty", "sub/deeper/file", "sub/link"].map(seen));
        assert_eq!(to.join("empty").metadata().unwrap().mode() & 0o777, 0o666);
        for path in ["", "sub", "sub/deeper", "sub/deeper/file", "sub/link"] {
            let now = to.join(path).symlink_metadata().unwrap();
            let ours = to.parent().unwrap().metadata().unwrap();
            let expected = owner.unwrap_or((ours.uid(), ours.gid()));
            assert_eq!((now.uid(), now.gid()), expected, "{path}");
        }
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
