//! Files on their way into an image: found below a folder that no path leads out of, digested, and handed
//! to the unpacker as an archive.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Component, Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use windlass_sandbox::{
    Error, Result,
    backend::{Ignored, path_matches, recipe::Origin},
    unpack::{Limits, Unpacker},
};

use crate::{
    layout::{self, Layout, failed},
    manifest::Digest,
};

/// The largest small file that is read as a whole.
const LARGEST: u64 = 1 << 20;
/// How many links a path may lead through.
const LINKS: usize = 40;

/// A small text of an image; nothing for anything else.
pub(super) fn text(root: &Path, path: &str) -> String {
    let Some(found) = resolve(root, Path::new(path)) else { return String::new() };
    let is_small =
        found.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() <= LARGEST);
    let bytes = if is_small { fs::read(found).unwrap_or_default() } else { Vec::new() };
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where a path of a folder really lies, with that folder as the root of every link; `None` if nothing is
/// there. Nothing may change the folder meanwhile.
pub(super) fn resolve(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut left: Vec<std::ffi::OsString> = path.components().rev().filter_map(part).collect();
    let (mut at, mut links) = (PathBuf::new(), 0);
    while let Some(next) = left.pop() {
        if next == ".." {
            at.pop();
            continue;
        }
        let found = root.join(&at).join(&next);
        let metadata = found.symlink_metadata().ok()?;
        if !metadata.is_symlink() {
            at.push(next);
            continue;
        }
        links += 1;
        if links > LINKS {
            return None;
        }
        let target = found.read_link().ok()?;
        if target.is_absolute() {
            at = PathBuf::new();
        }
        left.extend(target.components().rev().filter_map(part));
    }
    Some(root.join(at))
}

fn part(component: Component<'_>) -> Option<std::ffi::OsString> {
    match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }
}

/// A digest of all that is in a folder: names, permissions to execute, contents.
pub(super) fn digest_of_folder(folder: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    for (name, path) in below(folder, Path::new(""))? {
        add(&mut hash, &name, &path)?;
    }
    Ok(Digest::from_hash(&hash.finalize()).hex().to_owned())
}

/// The same for what a copy takes.
pub(super) fn digest_of_sources(
    layout: &Layout,
    from: &Origin,
    sources: &[String],
    name: &str,
) -> Result<String> {
    let from = origin(layout, from)?;
    let mut hash = Sha256::new();
    for found in from.find(sources, name)? {
        hash.update(found.name.as_os_str().as_bytes());
        hash.update([0, u8::from(found.is_folder)]);
        for (name, path) in from.taken(&found)? {
            add(&mut hash, &name, &path)?;
        }
    }
    Ok(Digest::from_hash(&hash.finalize()).hex().to_owned())
}

fn add(hash: &mut Sha256, name: &Path, path: &Path) -> Result<()> {
    let unread = |error: io::Error| failed("read", path, &error);
    let metadata = path.symlink_metadata().map_err(unread)?;
    let name = name.as_os_str().as_bytes();
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name);
    if metadata.is_symlink() {
        let target = path.read_link().map_err(unread)?;
        hash.update(b"link");
        hash.update((target.as_os_str().len() as u64).to_le_bytes());
        hash.update(target.as_os_str().as_bytes());
    } else if metadata.is_file() {
        hash.update(metadata.permissions().mode().to_le_bytes());
        hash.update(metadata.len().to_le_bytes());
        let mut file = File::open(path).map_err(unread)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer).map_err(unread)? {
                0 => break,
                n => hash.update(&buffer[..n]),
            }
        }
    } else {
        hash.update(b"folder");
    }
    Ok(())
}

/// Everything below a folder, in order, no link followed: names relative to it, and where they are.
fn below(folder: &Path, name: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut all = Vec::new();
    let mut open = vec![name.to_owned()];
    while let Some(at) = open.pop() {
        let here = folder.join(&at);
        let unread = |error: io::Error| failed("list", &here, &error);
        let mut names: Vec<_> = fs::read_dir(&here)
            .map_err(unread)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<_>>()
            .map_err(unread)?;
        names.sort();
        for next in names {
            let (name, path) = (at.join(&next), here.join(&next));
            let kind = path.symlink_metadata().map_err(unread)?;
            if kind.is_dir() {
                open.push(name.clone());
            }
            if kind.is_dir() || kind.is_file() || kind.is_symlink() {
                all.push((name, path));
            }
        }
    }
    all.sort();
    Ok(all)
}

/// A folder that files are taken from.
pub(super) struct From {
    root: PathBuf,
    ignored: Ignored,
}

/// One file or folder that is taken.
pub(super) struct Found {
    /// Its path as it was asked for.
    name: PathBuf,
    path: PathBuf,
    is_folder: bool,
}

/// The folder that an origin stands for.
pub(super) fn origin(layout: &Layout, from: &Origin) -> Result<From> {
    match from {
        Origin::Folder(folder) => {
            let rules = text(folder, ".dockerignore");
            Ok(From { root: folder.clone(), ignored: Ignored::parse(&rules) })
        }
        Origin::Prepared(prepared) => {
            let gone = || Error::NotFound { what: format!("image {}", prepared.name) };
            let digest = Digest::of_hex(&prepared.name).ok_or_else(gone)?;
            Ok(From { root: layout.tree(&digest).join("root"), ignored: Ignored::default() })
        }
    }
}

impl From {
    /// What is meant by paths, which may hold `*` and `?`.
    fn find(&self, sources: &[String], name: &str) -> Result<Vec<Found>> {
        let mut all = Vec::new();
        for source in sources {
            let plain = source.trim_start_matches('/');
            let names = if plain.contains(['*', '?', '[']) {
                self.matching(plain)?
            } else {
                vec![PathBuf::from(plain)]
            };
            let before = all.len();
            for name in names {
                let Some(path) = resolve(&self.root, &name) else { continue };
                let relative = path.strip_prefix(&self.root).unwrap_or(&path).to_owned();
                let is_folder = path.is_dir();
                if is_folder || !self.ignored.matches(&relative.to_string_lossy()) {
                    all.push(Found { name, path, is_folder });
                }
            }
            if all.len() == before {
                return Err(Error::Build {
                    step: name.to_owned(),
                    why: format!(
                        "there is no `{source}` to copy, or .dockerignore keeps it out: mend the path"
                    ),
                });
            }
        }
        Ok(all)
    }

    fn matching(&self, pattern: &str) -> Result<Vec<PathBuf>> {
        // Names that no pattern is needed for are gone into, nothing else.
        let plain = pattern.split('/').take_while(|part| !part.contains(['*', '?', '[']));
        let base: PathBuf = plain.collect();
        let Some(folder) = resolve(&self.root, &base).filter(|path| path.is_dir()) else {
            return Ok(Vec::new());
        };
        let all = below(&folder, Path::new(""))?;
        let names = all.into_iter().map(|(name, _)| base.join(name));
        Ok(names.filter(|name| path_matches(pattern, &name.to_string_lossy())).collect())
    }

    /// All that is taken with a file or folder, by names relative to it; a file has none.
    fn taken(&self, found: &Found) -> Result<Vec<(PathBuf, PathBuf)>> {
        if !found.is_folder {
            return Ok(vec![(PathBuf::new(), found.path.clone())]);
        }
        let all = below(&found.path, Path::new(""))?;
        let is_in = |path: &Path| {
            let relative = path.strip_prefix(&self.root).unwrap_or(path);
            path.is_dir() || !self.ignored.matches(&relative.to_string_lossy())
        };
        let mut all: Vec<_> = all.into_iter().filter(|(_, path)| is_in(path)).collect();
        // A folder that is kept out stays where something in it is wanted after all.
        let kept: Vec<PathBuf> = all.iter().map(|(name, _)| name.clone()).collect();
        all.retain(|(name, path)| {
            let relative = path.strip_prefix(&self.root).unwrap_or(path);
            let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
            !is_folder
                || !self.ignored.matches(&relative.to_string_lossy())
                || kept.iter().any(|other| {
                    other != name && other.starts_with(name) && !found.path.join(other).is_dir()
                })
        });
        Ok(all)
    }
}

/// Files that are copied into an image.
pub(super) struct Copy {
    pub(super) name: String,
    pub(super) from: From,
    pub(super) sources: Vec<String>,
    pub(super) to: String,
    pub(super) mode: Option<u32>,
    pub(super) unpack: bool,
    pub(super) limit_bytes: u64,
}

impl Copy {
    /// Copies them; `beside` is where the archive is written on the way.
    pub(super) fn to_root(&self, root: &Path, beside: &Path) -> Result<()> {
        let found = self.from.find(&self.sources, &self.name)?;
        let to = self.to.trim_matches('/');
        let is_folder = self.to.ends_with('/')
            || to.is_empty()
            || found.len() > 1
            || resolve(root, Path::new(to)).is_some_and(|path| path.is_dir());
        let file = File::create(beside).map_err(|error| failed("write", beside, &error))?;
        let mut archive = tar::Builder::new(io::BufWriter::new(file));
        archive.follow_symlinks(false);
        for one in &found {
            if one.is_folder {
                self.folder(&mut archive, one, Path::new(to))?;
                continue;
            }
            if self.unpack && self.unpacked(&mut archive, &one.path, Path::new(to))? {
                continue;
            }
            let base = one.name.file_name().unwrap_or_default();
            let target = if is_folder { Path::new(to).join(base) } else { PathBuf::from(to) };
            self.append(&mut archive, &one.path, &target)?;
        }
        let written = archive.into_inner().and_then(|mut inner| io::Write::flush(&mut inner));
        written.map_err(|error| failed("write", beside, &error))?;
        let archive = File::open(beside).map_err(|error| failed("read", beside, &error))?;
        let limits = Limits { bytes: self.limit_bytes, entries: layout::MOST_FILES };
        let unpacked = Unpacker::new(root, limits)?.layer(io::BufReader::new(archive));
        unpacked.and_then(|()| layout::remove(beside))
    }

    fn folder(
        &self,
        archive: &mut tar::Builder<impl io::Write>,
        found: &Found,
        to: &Path,
    ) -> Result<()> {
        for (name, path) in self.from.taken(found)? {
            self.append(archive, &path, &to.join(name))?;
        }
        Ok(())
    }

    fn append(
        &self,
        archive: &mut tar::Builder<impl io::Write>,
        path: &Path,
        to: &Path,
    ) -> Result<()> {
        let base = to.file_name().unwrap_or_default().as_bytes();
        if base.starts_with(b".wh.") {
            return Err(Error::Build {
                step: self.name.clone(),
                why: format!("a file called `{}` can't be in an image: rename it", to.display()),
            });
        }
        let unread = |error: io::Error| failed("read", path, &error);
        let metadata = path.symlink_metadata().map_err(unread)?;
        let mut header = tar::Header::new_gnu();
        header.set_metadata_in_mode(&metadata, tar::HeaderMode::Deterministic);
        let mode = metadata.permissions().mode() & 0o777;
        header.set_mode(self.mode.filter(|_| metadata.is_file()).unwrap_or(mode));
        let appended = if metadata.is_symlink() {
            header.set_size(0);
            let target = path.read_link().map_err(unread)?;
            archive.append_link(&mut header, to, target)
        } else if metadata.is_dir() {
            header.set_size(0);
            archive.append_data(&mut header, to, io::empty())
        } else {
            header.set_size(metadata.len());
            archive.append_data(&mut header, to, File::open(path).map_err(unread)?)
        };
        appended.map_err(unread)
    }

    /// Adds what is in an archive instead of the archive; answers whether it is one.
    fn unpacked(
        &self,
        archive: &mut tar::Builder<impl io::Write>,
        path: &Path,
        to: &Path,
    ) -> Result<bool> {
        let unread = |error: io::Error| failed("unpack", path, &error);
        let mut first = Vec::new();
        File::open(path).and_then(|file| file.take(512).read_to_end(&mut first)).map_err(unread)?;
        let file = io::BufReader::new(File::open(path).map_err(unread)?);
        let plain: Box<dyn Read> = match first.as_slice() {
            [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(file)),
            [b'B', b'Z', b'h', ..]
            | [0xfd, b'7', b'z', b'X', b'Z', ..]
            | [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                return Err(Error::Build {
                    step: self.name.clone(),
                    why: "ADD unpacks tar archives that are plain or compressed by gzip here: unpack \
                          it in a RUN"
                        .to_owned(),
                });
            }
            bytes if bytes.get(257..262) == Some(b"ustar") => Box::new(file),
            _ => return Ok(false),
        };
        let mut inner = tar::Archive::new(plain);
        for entry in inner.entries().map_err(unread)? {
            let mut entry = entry.map_err(unread)?;
            let mut header = entry.header().clone();
            let target = to.join(entry.path().map_err(unread)?.components().collect::<PathBuf>());
            let appended = match entry.link_name().map_err(unread)? {
                Some(link) if entry.header().entry_type() == tar::EntryType::Symlink => {
                    archive.append_link(&mut header, &target, link)
                }
                Some(link) => archive.append_link(&mut header, &target, to.join(link)),
                None => archive.append_data(&mut header, &target, &mut entry),
            };
            appended.map_err(unread)?;
        }
        Ok(true)
    }
}

/// Makes a folder of an image, if it isn't there.
pub(super) fn make_folder_in(root: &Path, path: &str) -> Result<()> {
    let path = path.trim_matches('/');
    if path.is_empty() || resolve(root, Path::new(path)).is_some_and(|path| path.is_dir()) {
        return Ok(());
    }
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let appended = archive.append_data(&mut header, path, io::empty());
    let bytes = appended.and_then(|()| archive.into_inner());
    let bytes = bytes.map_err(|error| failed("make", &root.join(path), &error))?;
    Unpacker::new(root, Limits { bytes: 0, entries: 64 })?.layer(bytes.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_of_a_folder_leads_out_of_it() {
        let world = tempfile::tempdir().unwrap();
        let root = world.path().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(world.path().join("secret"), "hidden").unwrap();
        fs::write(root.join("etc/passwd"), "inside").unwrap();
        let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, root.join(at)).unwrap();
        link("/etc", "up");
        link("../../../secret", "out");
        link("loop", "loop");
        assert_eq!(text(&root, "up/passwd"), "inside");
        assert_eq!(text(&root, "../../etc/passwd"), "inside");
        assert_eq!(text(&root, "out"), "");
        assert_eq!(resolve(&root, Path::new("loop")), None);
    }
}
