//! Moves an index to a copy of its tree. An index remembers of each file what the file system said of
//! it (times, inode, owner, size), and git reads every file again of which that is no longer true. In a
//! copy nothing of it is true any more although nothing has changed; here the numbers are put right
//! without reading a file.
//!
//! An entry is only ever put right if what can be seen agrees with it. In doubt its numbers are made
//! ones that fit no file, and git looks for itself: a mistake here would hide a change from a snapshot.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha1::Digest;

use crate::{Error, Result};

/// What stands in for the tree that the index was made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// The tree is a copy, made by the caller from the tree that the index is of, with the files'
    /// times. Nothing has run in it yet. An entry holds if size, time and kind agree.
    Copy,
    /// The tree is the one that the index is of, and programs ran in it. An entry holds only if
    /// everything agrees, also what no program can choose (inode, time of the last change).
    Same,
}

/// How many entries there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restated {
    /// Entries that now agree with their file.
    pub fresh: usize,
    /// Entries that git will look at again.
    pub stale: usize,
}

/// What the file system says of a file or link: times in seconds and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Time of the last change of anything.
    pub ctime: (i64, u64),
    /// Time of the last change of the content.
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

/// Reads the index at `from` and writes it to `to` with the numbers of the files below `tree`. Never
/// opens a file of the tree. The file `to` is replaced.
///
/// # Errors
/// [`Error::Invalid`] for an index of a kind that is not known here (its version is 2 or 3 as
/// [`crate::checkout`] makes it); the caller can do without.
pub fn restat(from: &Path, to: &Path, tree: &Path, against: Against) -> Result<Restated> {
    let (bytes, restated) = restated(from, |path| look(&tree.join(path)), against)?;
    write(to, &bytes)?;
    Ok(restated)
}

/// As [`restat`] of a copy, with what the copying told of each file by its path in the tree: nothing is
/// looked at again. Answers the bytes of the index as well.
///
/// # Errors
/// As [`restat`].
pub fn restat_told(
    from: &Path,
    to: &Path,
    told: &HashMap<PathBuf, Numbers>,
) -> Result<(Restated, Vec<u8>)> {
    let (bytes, restated) = restated(from, |path| told.get(path).copied(), Against::Copy)?;
    write(to, &bytes)?;
    Ok((restated, bytes))
}

fn restated(
    from: &Path,
    look: impl Fn(&Path) -> Option<Numbers>,
    against: Against,
) -> Result<(Vec<u8>, Restated)> {
    let mut bytes = std::fs::read(from)
        .map_err(|error| Error::io(format!("read {}", from.display()), error))?;
    let restated = restat_bytes(&mut bytes, look, against)
        .ok_or_else(|| Error::invalid(from.display(), "is not an index that can be moved"))?;
    Ok((bytes, restated))
}

fn write(to: &Path, bytes: &[u8]) -> Result<()> {
    let mut beside = to.as_os_str().to_owned();
    beside.push(".new");
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, to));
    written.map_err(|error| Error::io(format!("write {}", to.display()), error))
}

/// The ten numbers before an entry's object id.
const NUMBERS: usize = 40;
/// Where the entries begin.
const HEADER: usize = 12;
/// In the flags: the stages of a conflict, and that two more bytes of flags follow.
const STAGE: u16 = 0x3000;
const EXTENDED: u16 = 0x4000;

fn restat_bytes(
    bytes: &mut [u8],
    look: impl Fn(&Path) -> Option<Numbers>,
    against: Against,
) -> Option<Restated> {
    let hash = hash_length(bytes)?;
    let end = bytes.len() - hash;
    let version = number(bytes, 4)?;
    if bytes.get(..4)? != b"DIRC" || !(2..=3).contains(&version) {
        return None;
    }
    let mut restated = Restated::default();
    let mut at = HEADER;
    for _ in 0..number(bytes, 8)? {
        let flags_at = at + NUMBERS + hash;
        let flags = u16::from_be_bytes(bytes.get(flags_at..flags_at + 2)?.try_into().ok()?);
        let path_at = flags_at + if flags & EXTENDED != 0 { 4 } else { 2 };
        let length = bytes.get(path_at..end)?.iter().position(|byte| *byte == 0)?;
        let seen = look(Path::new(std::ffi::OsStr::from_bytes(&bytes[path_at..path_at + length])));
        if flags & STAGE == 0 && entry(&mut bytes[at..at + NUMBERS], seen, against)? {
            restated.fresh += 1;
        } else {
            restated.stale += 1;
        }
        // Padded with one to eight zeros to a multiple of eight.
        at += (path_at - at + length + 8) & !7;
    }
    let (content, sum) = bytes.split_at_mut(end);
    match hash {
        20 => sum.copy_from_slice(&sha1::Sha1::digest(&*content)),
        _ => sum.copy_from_slice(&sha2::Sha256::digest(&*content)),
    }
    Some(restated)
}

/// How long an object id is, told by the sum at the end.
fn hash_length(bytes: &[u8]) -> Option<usize> {
    let fits = |length: usize, sum: &dyn Fn(&[u8]) -> Vec<u8>| {
        let end = bytes.len().checked_sub(length).filter(|end| *end >= HEADER)?;
        (sum(&bytes[..end]) == bytes[end..]).then_some(length)
    };
    fits(20, &|content| sha1::Sha1::digest(content).to_vec())
        .or_else(|| fits(32, &|content| sha2::Sha256::digest(content).to_vec()))
}

/// Puts one entry right; answers whether it holds.
fn entry(numbers: &mut [u8], seen: Option<Numbers>, against: Against) -> Option<bool> {
    /// The kinds of a file, as its mode says.
    const KIND: u32 = 0o170_000;
    let known = |index: usize| number(numbers, index * 4);
    let holds = match seen {
        None => None,
        Some(seen) => {
            let now = now(&seen);
            let kind = known(MODE)?;
            let same_kind = match kind >> 12 {
                0o10 => {
                    seen.mode & KIND == 0o100_000 && (kind & 0o100 != 0) == (seen.mode & 0o100 != 0)
                }
                0o12 => seen.mode & KIND == 0o120_000,
                // A submodule: git asks the repository in it.
                _ => false,
            };
            let fields: &[usize] = match against {
                Against::Copy => &[MTIME, MTIME + 1, SIZE],
                Against::Same => &[CTIME, CTIME + 1, MTIME, MTIME + 1, INODE, UID, GID, SIZE],
            };
            let agrees = fields.iter().all(|field| known(*field) == Some(now[*field]));
            (same_kind && agrees).then_some(now)
        }
    };
    let mode = known(MODE)?;
    let put = holds.unwrap_or([0; NUMBERS / 4]);
    for (index, value) in put.into_iter().enumerate() {
        let value = if index == MODE { mode } else { value };
        numbers[index * 4..index * 4 + 4].copy_from_slice(&value.to_be_bytes());
    }
    Some(holds.is_some())
}

// The places of the numbers in an entry.
const CTIME: usize = 0;
const MTIME: usize = 2;
const INODE: usize = 5;
const MODE: usize = 6;
const UID: usize = 7;
const GID: usize = 8;
const SIZE: usize = 9;

fn look(path: &Path) -> Option<Numbers> {
    let seen = path.symlink_metadata().ok()?;
    Some(Numbers {
        ctime: (seen.ctime(), seen.ctime_nsec().cast_unsigned()),
        mtime: (seen.mtime(), seen.mtime_nsec().cast_unsigned()),
        device: seen.dev(),
        inode: seen.ino(),
        mode: seen.mode(),
        uid: seen.uid(),
        gid: seen.gid(),
        size: seen.size(),
    })
}

/// What the file system says, cut to 32 bits as git does.
fn now(seen: &Numbers) -> [u32; NUMBERS / 4] {
    #[expect(clippy::cast_possible_truncation, reason = "git keeps the low 32 bits of each")]
    let low = |value: u64| value as u32;
    [
        low(seen.ctime.0.cast_unsigned()),
        low(seen.ctime.1),
        low(seen.mtime.0.cast_unsigned()),
        low(seen.mtime.1),
        low(seen.device),
        low(seen.inode),
        0,
        seen.uid,
        seen.gid,
        low(seen.size),
    ]
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
