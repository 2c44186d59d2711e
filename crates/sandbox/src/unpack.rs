//! Layers of images become a folder. Archives are strangers' work: whatever they say, nothing outside of
//! the folder is read, written or linked to.
//!
//! Every path is resolved by the kernel with the folder as its root, so that a link of an earlier entry
//! that leads elsewhere leads nowhere. Set-user-id bits, devices and file capabilities do not come in: they
//! are dead inside and would be alive for whoever finds the folder outside.

use std::{
    collections::HashSet,
    ffi::OsStr,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, chmodat,
        chownat, fchmod, linkat, mkdirat, open, openat, openat2, statat, symlinkat, syncfs,
        unlinkat, utimensat,
    },
    io::Errno,
};
use tar::{Entry, EntryType};

use crate::error::{Error, Result};

/// What is beneath a name that begins so is gone in this layer.
const WHITEOUT: &[u8] = b".wh.";
/// A folder with this name in it shows nothing of earlier layers.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What unpacking may take, over all layers of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of files.
    pub bytes: u64,
    /// Entries of archives.
    pub entries: u64,
}

/// A folder that layers are unpacked into, one after the other.
#[derive(Debug)]
pub struct Unpacker {
    root: OwnedFd,
    /// Whether files are given to whom the archive says.
    by_root: bool,
    left: Limits,
    /// How many bytes of files were written.
    written: u64,
}

impl Unpacker {
    /// Begins with an empty folder. Only root keeps the owners that archives name; anybody else becomes
    /// the owner of everything.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder can't be opened.
    pub fn new(folder: &Path, limits: Limits) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let root = open(folder, flags, Mode::empty())
            .map_err(|error| Error::io(format!("open {}", folder.display()), error))?;
        let by_root = rustix::process::geteuid().is_root();
        Ok(Self { root, by_root, left: limits, written: 0 })
    }

    /// Unpacks one layer: a tar archive that is not compressed any more.
    ///
    /// # Errors
    /// [`Error::Build`] for an archive that is broken, leads out or is too large; [`Error::Io`] when the
    /// disk does not take it.
    pub fn layer(&mut self, archive: impl Read) -> Result<()> {
        let mut archive = tar::Archive::new(archive);
        let mut layer = Layer { unpacker: self, own: HashSet::new() };
        let entries = archive.entries().map_err(|error| broken(&error))?;
        for entry in entries {
            let mut entry = entry.map_err(|error| broken(&error))?;
            layer.entry(&mut entry)?;
        }
        Ok(())
    }

    /// Brings everything to the disk. Answers how many bytes of files were written.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk does not take it.
    pub fn finish(self) -> Result<u64> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.root, c".", flags, Mode::empty())
            .and_then(syncfs)
            .map_err(|error| Error::io("bring an image to the disk", error))?;
        Ok(self.written)
    }
}

/// Brings everything below a folder to the disk.
///
/// # Errors
/// [`Error::Io`] when the disk does not take it.
pub fn bring_to_disk(folder: &Path) -> Result<()> {
    open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .and_then(syncfs)
        .map_err(|error| Error::io(format!("bring {} to the disk", folder.display()), error))
}

fn broken(error: &io::Error) -> Error {
    Error::build("read a layer", format!("{error}; the archive is damaged, fetch it again"))
}

fn refused(path: &[u8], why: &str) -> Error {
    let path = String::from_utf8_lossy(path);
    Error::build("unpack a layer", format!("its entry {path:?} {why}"))
}

/// One layer while it is unpacked.
struct Layer<'a> {
    unpacker: &'a mut Unpacker,
    /// What this layer has brought: its own whiteouts leave that alone.
    own: HashSet<PathBuf>,
}

/// What an entry says about its file.
struct Properties {
    mode: u32,
    owner: Option<(Uid, Gid)>,
    modified: i64,
}

impl Layer<'_> {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<()> {
        let bytes = entry.path_bytes().into_owned();
        let Some(path) = plain(&bytes)? else { return Ok(()) };
        let left = &mut self.unpacker.left;
        left.entries = left
            .entries
            .checked_sub(1)
            .ok_or_else(|| refused(&bytes, "is one too many: the image has too many files"))?;
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::Char | EntryType::Block | EntryType::Fifo) {
            return Ok(());
        }
        let failed = |error: Errno| disk(&bytes, error);
        let (parent, name) = self.parent(&path).map_err(failed)?;
        if name.as_bytes() == OPAQUE {
            return self.empty(parent.as_fd(), path.parent().unwrap_or(&path)).map_err(failed);
        }
        if let Some(gone) = name.as_bytes().strip_prefix(WHITEOUT) {
            let gone = OsStr::from_bytes(gone);
            if matches!(gone.as_bytes(), b"" | b"." | b"..") {
                return Err(refused(&bytes, "hides nothing that could be hidden"));
            }
            if !self.own.contains(&path.with_file_name(gone)) {
                remove(parent.as_fd(), gone).map_err(failed)?;
            }
            return Ok(());
        }
        let properties = self.properties(entry).map_err(|error| broken(&error))?;
        match kind {
            EntryType::Directory => folder(parent.as_fd(), name, &properties).map_err(failed)?,
            EntryType::Symlink | EntryType::Link => {
                let target = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
                let target = target
                    .filter(|target| !target.is_empty() && !target.contains(&0))
                    .ok_or_else(|| refused(&bytes, "is a link to nothing"))?;
                if kind == EntryType::Symlink {
                    symbolic(parent.as_fd(), name, &target, &properties).map_err(failed)?;
                } else {
                    self.hard(parent.as_fd(), name, &target, &bytes)?;
                }
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let left = self.unpacker.left.bytes.checked_sub(entry.size());
                self.unpacker.left.bytes = left
                    .ok_or_else(|| refused(&bytes, "is too large: the image has too many bytes"))?;
                self.unpacker.written += entry.size();
                file(parent.as_fd(), name, entry, &properties).map_err(|error| {
                    match Errno::from_io_error(&error) {
                        Some(errno) => disk(&bytes, errno),
                        None => broken(&error),
                    }
                })?;
            }
            // Further kinds carry no file.
            _ => return Ok(()),
        }
        self.own.insert(path);
        Ok(())
    }

    fn properties<R: Read>(&self, entry: &Entry<'_, R>) -> io::Result<Properties> {
        let header = entry.header();
        let id = |id: u64| u32::try_from(id).map_err(io::Error::other);
        let owner = match self.unpacker.by_root {
            true => Some((Uid::from_raw(id(header.uid()?)?), Gid::from_raw(id(header.gid()?)?))),
            false => None,
        };
        // The sticky bit stays, the bits that give rights away do not. Without root the one owner must
        // be able to read, to enter and to remove.
        let mode = header.mode()? & 0o1777;
        let mode = match (self.unpacker.by_root, header.entry_type()) {
            (true, _) => mode,
            (false, EntryType::Directory) => mode | 0o700,
            (false, _) => mode | 0o600,
        };
        let modified = header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok());
        Ok(Properties { mode, owner, modified: modified.unwrap_or(0) })
    }

    /// The folder that an entry lies in, made where it is missing, and the entry's name there.
    fn parent<'a>(&self, path: &'a Path) -> rustix::io::Result<(OwnedFd, &'a OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let above = path.parent().unwrap_or(Path::new(""));
        match self.reach(above) {
            Err(Errno::NOENT) => {}
            other => return Ok((other?, name)),
        }
        let mut reached = PathBuf::new();
        let mut folder = self.reach(&reached)?;
        for part in above {
            reached.push(part);
            folder = match self.reach(&reached) {
                Err(Errno::NOENT) => {
                    // What has this name and is nothing is a link that leads nowhere.
                    remove(folder.as_fd(), part)?;
                    mkdirat(&folder, part, Mode::from_raw_mode(0o755))?;
                    self.reach(&reached)?
                }
                other => other?,
            };
        }
        Ok((folder, name))
    }

    /// Opens a folder; links are followed, but never out.
    fn reach(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = if path == Path::new("") { Path::new(".") } else { path };
        openat2(
            &self.unpacker.root,
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    }

    fn hard(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        target: &[u8],
        entry: &[u8],
    ) -> Result<()> {
        let failed = |error: Errno| disk(entry, error);
        let nothing = || refused(entry, "is a link to nothing");
        let target = plain(target)?.ok_or_else(nothing)?;
        let above = target.parent().unwrap_or(Path::new(""));
        let folder = self.reach(above).map_err(|error| match error {
            Errno::NOENT => nothing(),
            error => failed(error),
        })?;
        let from = target.file_name().ok_or_else(nothing)?;
        let stat =
            statat(&folder, from, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| match error {
                Errno::NOENT => nothing(),
                error => failed(error),
            })?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(refused(entry, "is a hard link to a folder"));
        }
        if is_same(parent, name, &stat) {
            return Ok(());
        }
        remove(parent, name).map_err(failed)?;
        linkat(&folder, from, parent, name, AtFlags::empty()).map_err(failed)
    }

    /// Removes what earlier layers put into a folder.
    fn empty(&self, folder: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<()> {
        for name in names(folder)? {
            if !self.own.iter().any(|own| own.starts_with(path.join(&name))) {
                remove(folder, &name)?;
            }
        }
        Ok(())
    }
}

/// A path of an archive as the plain path below the root; `None` for the root itself.
fn plain(bytes: &[u8]) -> Result<Option<PathBuf>> {
    let mut path = PathBuf::new();
    for part in bytes.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(refused(bytes, "climbs by `..`, which no image needs")),
            part if part.contains(&0) => return Err(refused(bytes, "holds a zero")),
            part => path.push(OsStr::from_bytes(part)),
        }
    }
    Ok((path != Path::new("")).then_some(path))
}

/// An error of the disk, or a path that the archive itself has made impossible.
fn disk(path: &[u8], error: Errno) -> Error {
    let shown = String::from_utf8_lossy(path);
    match error {
        Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL => {
            refused(path, &format!("can't be made: {error}"))
        }
        Errno::NOSPC | Errno::DQUOT => Error::io(
            format!("unpack {shown:?}"),
            format!("{error}; free space where the runner keeps images, or lower their limit"),
        ),
        error => Error::io(format!("unpack {shown:?}"), error),
    }
}

fn is_same(parent: BorrowedFd<'_>, name: &OsStr, other: &rustix::fs::Stat) -> bool {
    statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (other.st_dev, other.st_ino))
}

fn folder(parent: BorrowedFd<'_>, name: &OsStr, properties: &Properties) -> rustix::io::Result<()> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
        Ok(_) => {
            remove(parent, name)?;
            mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
        }
        Err(Errno::NOENT) => mkdirat(parent, name, Mode::from_raw_mode(0o700))?,
        Err(error) => return Err(error),
    }
    give(parent, name, properties)?;
    chmodat(parent, name, Mode::from_raw_mode(properties.mode), AtFlags::empty())
}

fn symbolic(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    target: &[u8],
    properties: &Properties,
) -> rustix::io::Result<()> {
    remove(parent, name)?;
    symlinkat(OsStr::from_bytes(target), parent, name)?;
    give(parent, name, properties)?;
    touch(parent, name, properties)
}

fn file(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    content: &mut impl Read,
    properties: &Properties,
) -> io::Result<()> {
    remove(parent, name)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
    let mut made = std::fs::File::from(made);
    io::copy(content, &mut made)?;
    give(parent, name, properties)?;
    fchmod(&made, Mode::from_raw_mode(properties.mode))?;
    Ok(touch(parent, name, properties)?)
}

fn give(parent: BorrowedFd<'_>, name: &OsStr, properties: &Properties) -> rustix::io::Result<()> {
    let Some((user, group)) = properties.owner else { return Ok(()) };
    chownat(parent, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
}

fn touch(parent: BorrowedFd<'_>, name: &OsStr, properties: &Properties) -> rustix::io::Result<()> {
    let time = Timespec { tv_sec: properties.modified, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Removes a name with everything below; what is not there is removed already.
fn remove(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    remove_at(parent, name, 0)
}

fn remove_at(parent: BorrowedFd<'_>, name: &OsStr, depth: u32) -> rustix::io::Result<()> {
    /// No program's files lie deeper, and each level takes a descriptor.
    const DEEPEST: u32 = 256;
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    if depth >= DEEPEST {
        return Err(Errno::NAMETOOLONG);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(parent, name, flags, Mode::empty())?;
    for below in names(folder.as_fd())? {
        remove_at(folder.as_fd(), &below, depth + 1)?;
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

fn names(folder: BorrowedFd<'_>) -> rustix::io::Result<Vec<std::ffi::OsString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(folder, c".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
