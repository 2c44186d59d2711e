//! The folder on disk. Everything gets its name last: it is written beside, brought to the disk, then
//! renamed. Nothing here knows where images come from.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use windlass_sandbox::{
    Error, ImageSettings, Result,
    unpack::{Limits, Unpacker},
};

use crate::manifest::{Configuration, Descriptor, Digest, Index, Manifest};

/// The most files that an image may have.
pub(crate) const MOST_FILES: u64 = 4_000_000;
/// The largest manifest or configuration.
pub(crate) const LARGEST: u64 = 4 << 20;

/// What the name of something begins with while it is being made.
const HALF: &str = "half-";

/// The folder of a store.
#[derive(Debug)]
pub(crate) struct Layout {
    folder: PathBuf,
    serial: AtomicU64,
}

/// Held by whoever changes anything; other processes wait.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "it is held, not read")] File);

impl Layout {
    /// Opens the folder, making what is missing.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        for path in ["blobs/sha256", "trees", "incoming"] {
            let path = folder.join(path);
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|error| failed("make", &path, &error))?;
        }
        let folder = folder.canonicalize().map_err(|error| failed("open", folder, &error))?;
        let layout = Self { folder, serial: AtomicU64::new(0) };
        let marker = layout.folder.join("oci-layout");
        if !marker.exists() {
            layout.write(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(layout)
    }

    /// Waits until nobody else changes anything.
    pub(crate) fn lock(&self) -> Result<Lock> {
        let path = self.folder.join("lock");
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| failed("open", &path, &error))?;
        file.lock().map_err(|error| failed("lock", &path, &error))?;
        Ok(Lock(file))
    }

    /// Held by whoever makes something, beside others that do: what is half made stays while it is.
    pub(crate) fn making(&self) -> Result<Lock> {
        let file = self.making_file()?;
        file.lock_shared().map_err(|error| failed("lock", &self.folder, &error))?;
        Ok(Lock(file))
    }

    fn making_file(&self) -> Result<File> {
        let path = self.folder.join("making");
        let file = File::options().create(true).append(true).open(&path);
        file.map_err(|error| failed("open", &path, &error))
    }

    /// A path for something that is being made.
    pub(crate) fn half_made(&self) -> PathBuf {
        let n = self.serial.fetch_add(1, Ordering::Relaxed);
        self.folder.join("incoming").join(format!("{HALF}{}-{n}", std::process::id()))
    }

    /// Removes what was left half-made: by a process that is gone, since this one holds the lock.
    pub(crate) fn sweep(&self, _: &Lock) -> Result<()> {
        let file = self.making_file()?;
        let somebody_makes = file.try_lock().is_err();
        for path in entries(&self.folder.join("incoming"))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !(somebody_makes && name.starts_with(HALF)) {
                remove_left(&path)?;
            }
        }
        drop(file);
        let mut index = self.index()?;
        let all = index.manifests.len();
        index.manifests.retain(|one| {
            self.tree(&one.digest).join("root").is_dir() && self.settings(&one.digest).is_ok()
        });
        if index.manifests.len() != all {
            self.write_index(&index)?;
        }
        for tree in entries(&self.folder.join("trees"))? {
            let is_made = tree.join(crate::making::MADE).is_file();
            if !is_made && !index.manifests.iter().any(|one| tree.ends_with(one.digest.hex())) {
                remove(&tree)?;
            }
        }
        self.remove_stray_blobs(&index)
    }

    /// The images that are there.
    pub(crate) fn index(&self) -> Result<Index> {
        let path = self.folder.join("index.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Index::default()),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        serde_json::from_slice(&bytes).map_err(|error| failed("read", &path, &error))
    }

    pub(crate) fn write_index(&self, index: &Index) -> Result<()> {
        let index = Index { schema_version: 2, ..index.clone() };
        let bytes = serde_json::to_vec_pretty(&index);
        let bytes = bytes.map_err(|error| failed("write", &self.folder, &error))?;
        self.write(&self.folder.join("index.json"), &bytes)
    }

    /// Where an unpacked image is.
    pub(crate) fn tree(&self, digest: &Digest) -> PathBuf {
        self.folder.join("trees").join(digest.hex())
    }

    /// A path for something that is not whole yet.
    pub(crate) fn incoming(&self) -> PathBuf {
        let n = self.serial.fetch_add(1, Ordering::Relaxed);
        self.folder.join("incoming").join(format!("{}-{n}", std::process::id()))
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.hex())
    }

    /// Whether a blob is there. It was verified before it got its name.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.blob(digest).is_file()
    }

    /// A small blob.
    pub(crate) fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.blob(digest);
        let file = File::open(&path).map_err(|error| failed("read", &path, &error))?;
        let mut bytes = Vec::new();
        let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
        match read {
            Ok(_) if bytes.len() as u64 > LARGEST => Err(failed("read", &path, &"it is too large")),
            Ok(_) => Ok(bytes),
            Err(error) => Err(failed("read", &path, &error)),
        }
    }

    /// Keeps a blob that is all in memory.
    pub(crate) fn keep(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if !self.has(&digest) {
            self.write(&self.blob(&digest), bytes)?;
        }
        Ok(digest)
    }

    /// Gives a file its name as a blob. Whoever calls has seen that its digest is right and brought it to
    /// the disk.
    pub(crate) fn adopt(&self, file: &Path, digest: &Digest) -> Result<()> {
        fs::rename(file, self.blob(digest)).map_err(|error| failed("rename", file, &error))
    }

    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let beside = self.incoming();
        let written = File::create_new(&beside).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written
            .and_then(|()| fs::rename(&beside, path))
            .map_err(|error| failed("write", path, &error))
    }

    /// What a stored image says about itself.
    pub(crate) fn settings(&self, digest: &Digest) -> Result<ImageSettings> {
        let manifest = Manifest::parse(&self.read(digest)?)?;
        let bytes = self.read(&manifest.config.digest)?;
        Ok(Configuration::parse(&bytes, &manifest)?.settings())
    }

    /// Unpacks an image whose blobs are all there, and gives it its names.
    pub(crate) fn install(&self, digest: &Digest, names: &[String], bytes: u64) -> Result<()> {
        let manifest_bytes = self.read(digest)?;
        let manifest = Manifest::parse(&manifest_bytes)?;
        let configuration = Configuration::parse(&self.read(&manifest.config.digest)?, &manifest)?;
        let tree = self.tree(digest);
        if !tree.exists() {
            self.unpack(&manifest, &configuration, &tree, bytes)?;
        }
        let mut index = self.index()?;
        for name in names {
            index.manifests.retain(|one| name_of(one) != Some(name));
            index.manifests.push(Descriptor {
                media_type: manifest.media_type.clone(),
                digest: digest.clone(),
                size: manifest_bytes.len() as u64,
                platform: None,
                annotations: [(crate::manifest::NAME.to_owned(), name.clone())].into(),
            });
        }
        self.write_index(&index)
    }

    fn unpack(
        &self,
        manifest: &Manifest,
        configuration: &Configuration,
        tree: &Path,
        bytes: u64,
    ) -> Result<()> {
        let beside = self.incoming();
        let made = self.unpack_in(&beside, manifest, configuration, bytes);
        let named = made.and_then(|()| {
            fs::rename(&beside, tree).map_err(|error| failed("rename", &beside, &error))
        });
        if named.is_err() {
            // The reason is what matters; what could not be removed is swept.
            let _removed = remove(&beside);
        }
        named
    }

    fn unpack_in(
        &self,
        folder: &Path,
        manifest: &Manifest,
        configuration: &Configuration,
        bytes: u64,
    ) -> Result<()> {
        let root = folder.join("root");
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(&root);
        made.map_err(|error| failed("make", &root, &error))?;
        let mut unpacker = Unpacker::new(&root, Limits { bytes, entries: MOST_FILES })?;
        for (layer, expected) in manifest.layers.iter().zip(&configuration.rootfs.diff_ids) {
            let path = self.blob(&layer.digest);
            let plain = plain(&path)?;
            let mut hashed = Hashed { inner: plain, hash: Sha256::new() };
            unpacker.layer(&mut hashed)?;
            // What follows the archive's end belongs to the layer as well.
            io::copy(&mut hashed, &mut io::sink())
                .map_err(|error| failed("read", &path, &error))?;
            let seen = Digest::from_hash(&hashed.hash.finalize());
            if seen != *expected {
                return Err(failed("unpack", &path, &format!("it holds {seen}, not {expected}")));
            }
        }
        let written = unpacker.finish()?;
        self.write(&folder.join("bytes"), written.to_string().as_bytes())
    }

    /// How many bytes all of it takes, and of each unpacked image when it was last used.
    pub(crate) fn usage(&self) -> Result<(u64, Vec<(Digest, SystemTime)>)> {
        let mut total = 0u64;
        for blob in entries(&self.folder.join("blobs/sha256"))? {
            total += blob.metadata().map_or(0, |metadata| metadata.len());
        }
        let mut trees = Vec::new();
        for tree in entries(&self.folder.join("trees"))? {
            let size = fs::read_to_string(tree.join("bytes")).unwrap_or_default();
            total += size.trim().parse::<u64>().unwrap_or(0);
            let name = tree.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let used = tree.join("bytes").metadata().and_then(|metadata| metadata.modified());
            if let Some(digest) = Digest::of_hex(name) {
                trees.push((digest, used.unwrap_or(SystemTime::UNIX_EPOCH)));
            }
        }
        trees.sort_by_key(|(_, used)| *used);
        Ok((total, trees))
    }

    /// How many bytes an unpacked image takes.
    pub(crate) fn bytes(&self, digest: &Digest) -> u64 {
        let size = fs::read_to_string(self.tree(digest).join("bytes")).unwrap_or_default();
        size.trim().parse().unwrap_or(0)
    }

    /// Notes that an image is used now.
    pub(crate) fn touch(&self, digest: &Digest, now: SystemTime) {
        let file = File::options().append(true).open(self.tree(digest).join("bytes"));
        // It only decides which image goes first.
        let _noted = file.and_then(|file| file.set_modified(now));
    }

    /// Takes an image away. Answers what is left to be removed, which takes its time.
    pub(crate) fn take_away(&self, digest: &Digest) -> Result<PathBuf> {
        let (tree, beside) = (self.tree(digest), self.incoming());
        fs::rename(&tree, &beside).map_err(|error| failed("rename", &tree, &error))?;
        let mut index = self.index()?;
        index.manifests.retain(|one| one.digest != *digest);
        self.write_index(&index)?;
        self.remove_stray_blobs(&index)?;
        Ok(beside)
    }

    pub(crate) fn remove_stray_blobs(&self, index: &Index) -> Result<()> {
        let mut kept = std::collections::BTreeSet::new();
        for one in &index.manifests {
            let manifest = Manifest::parse(&self.read(&one.digest)?)?;
            kept.insert(one.digest.hex().to_owned());
            let named = manifest.layers.iter().chain([&manifest.config]);
            kept.extend(named.map(|blob| blob.digest.hex().to_owned()));
        }
        for blob in entries(&self.folder.join("blobs/sha256"))? {
            let name = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !kept.contains(&name) {
                remove(&blob)?;
            }
        }
        Ok(())
    }
}

/// The name that an index gives to an image.
pub(crate) fn name_of(descriptor: &Descriptor) -> Option<&String> {
    descriptor.annotations.get(crate::manifest::NAME)
}

/// Removes what a maker that was killed has left. A program that it had started may still write there for a
/// moment, until the supervisor has ended it too.
#[expect(
    clippy::disallowed_methods,
    reason = "nobody tells this process when those of another one have ended"
)]
fn remove_left(path: &Path) -> Result<()> {
    const TRIES: u32 = 50;
    for _ in 1..TRIES {
        if remove(path).is_ok() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    remove(path)
}

/// Removes a file or folder; what is not there is removed already.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => windlass_sandbox::remove_folder(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", path, &error))
        }
        _ => Ok(()),
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = fs::read_dir(folder).map_err(|error| failed("list", folder, &error))?;
    list.map(|entry| {
        entry.map(|entry| entry.path()).map_err(|error| failed("list", folder, &error))
    })
    .collect()
}

/// A layer without its compression, which is told by its first bytes.
fn plain(path: &Path) -> Result<Box<dyn Read>> {
    let open = || File::open(path).map_err(|error| failed("read", path, &error));
    let mut first = Vec::new();
    let read = open()?.take(4).read_to_end(&mut first);
    read.map_err(|error| failed("read", path, &error))?;
    let file = io::BufReader::with_capacity(1 << 16, open()?);
    match first.as_slice() {
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd] => Err(Error::Build {
            step: "unpack a layer".to_owned(),
            why: "it is compressed by zstd, which this backend doesn't read: push the image with gzip, \
                  or choose the backend `oci`"
                .to_owned(),
        }),
        _ => Ok(Box::new(file)),
    }
}

/// Hashes what is read.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

pub(crate) fn failed(doing: &str, path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Io { doing: format!("{doing} {}", path.display()), why: error.to_string() }
}
