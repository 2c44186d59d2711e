//! Features of Dev Containers: artifacts of a registry and archives behind HTTPS, verified, unpacked, kept.
//! They are named by the digest of their manifest, or of the archive. What a name without digest stood for
//! when it was asked first is what it stands for until there is no room for it.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use flate2::read::MultiGzDecoder;
use windlass_sandbox::{
    Error, ImageSettings, Result,
    backend::Login,
    unpack::{Limits, Unpacker},
};

use crate::{
    layout::{self, Layout, Lock, failed},
    making,
    manifest::{Digest, Index, Manifest},
    registry,
    store::{Options, blocking},
};

/// The most that one Feature may hold.
const LIMITS: Limits = Limits { bytes: 64 << 20, entries: 10_000 };
/// The folder with what names stood for.
const NAMES: &str = "names";

/// Features on this machine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Artifacts {
    layout: Arc<Layout>,
    options: Arc<Options>,
}

/// A Feature that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// `sha256:` and the digest of its manifest or archive.
    pub digest: String,
    /// The folder with its files. It stays for a quarter of an hour at least.
    pub folder: PathBuf,
}

impl Artifacts {
    /// Opens the folder, and removes what was left half-made. Blocks while another process changes it.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder can't be used.
    pub fn open(options: Options) -> Result<Self> {
        let layout = Layout::open(&options.folder)?;
        let names = options.folder.join(NAMES);
        fs::create_dir_all(&names).map_err(|error| failed("make", &names, &error))?;
        layout.sweep(&layout.lock()?)?;
        Ok(Self { layout: Arc::new(layout), options: Arc::new(options) })
    }

    /// What is here for a name, if its digest is the wanted one.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk does not give it.
    pub fn find(&self, name: &str, wanted: Option<&str>) -> Result<Option<Artifact>> {
        let digest = match wanted {
            Some(wanted) => Digest::try_from(wanted.to_owned()).ok(),
            None => {
                let path = self.name(name);
                match fs::read_to_string(&path) {
                    Ok(text) => Digest::of_hex(text.trim()),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                    Err(error) => return Err(failed("read", &path, &error)),
                }
            }
        };
        let Some(digest) = digest else { return Ok(None) };
        if !self.layout.tree(&digest).join(making::MADE).is_file() {
            return Ok(None);
        }
        self.layout.touch(&digest, SystemTime::now());
        Ok(Some(self.artifact(&digest)))
    }

    /// Has an artifact of a registry, or gets it. Must be awaited on a tokio runtime.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] for a name that is none; [`Error::Build`] when it can't be had, or is another
    /// than the one that is wanted; [`Error::Io`] when the disk does not take it.
    pub async fn pull(
        &self,
        name: &str,
        wanted: Option<&str>,
        login: Option<&Login>,
    ) -> Result<Artifact> {
        let kept_as = crate::store::own_name(name.to_owned(), login);
        if let Some(found) = self.find(&kept_as, wanted)? {
            return Ok(found);
        }
        let step = || format!("get the Feature `{name}`");
        let of_feature = |error: Error| match error {
            Error::Build { why, .. } => Error::Build { step: step(), why },
            other => other,
        };
        let reference = registry::parse(name)?;
        let reference = match wanted {
            Some(wanted) => reference.clone_with_digest(wanted.to_owned()),
            None => reference,
        };
        let lock = self.lock().await?;
        let pull = registry::Pull::new(&self.options, reference, login, &self.layout);
        let pull = pull.map_err(of_feature)?;
        let (manifest, bytes) = pull.artifact().await.map_err(of_feature)?;
        let (digest, layer) = (Digest::of(&bytes), one_layer(&manifest).map_err(of_feature)?);
        pull.blob(layer).await.map_err(of_feature)?;
        let (this, name, layer) = (self.clone(), kept_as, layer.digest.clone());
        blocking(move || {
            let path = this.layout.blob(&layer);
            let file = fs::File::open(&path).map_err(|error| failed("read", &path, &error))?;
            this.keep(&name, &digest, file, lock)
        })
        .await
        .map_err(of_feature)
    }

    /// Keeps an archive that was fetched.
    ///
    /// # Errors
    /// [`Error::Build`] when it is another than the wanted one, or holds no Feature; [`Error::Io`] when the
    /// disk does not take it.
    pub async fn keep_archive(
        &self,
        name: &str,
        wanted: Option<&str>,
        bytes: Vec<u8>,
    ) -> Result<Artifact> {
        let digest = Digest::of(&bytes);
        if let Some(wanted) = wanted
            && digest.to_string() != wanted
        {
            return Err(Error::Build {
                step: format!("get the Feature `{name}`"),
                why: format!("it is {digest} instead of {wanted}, which the lock file demands"),
            });
        }
        let lock = self.lock().await?;
        let (this, name) = (self.clone(), name.to_owned());
        blocking(move || this.keep(&name, &digest, bytes.as_slice(), lock)).await
    }

    async fn lock(&self) -> Result<Lock> {
        let layout = Arc::clone(&self.layout);
        blocking(move || layout.lock()).await
    }

    /// Unpacks it beside, and gives it its name.
    fn keep(
        &self,
        name: &str,
        digest: &Digest,
        archive: impl Read,
        lock: Lock,
    ) -> Result<Artifact> {
        let tree = self.layout.tree(digest);
        if !tree.join(making::MADE).is_file() {
            let beside = self.layout.incoming();
            let made = self.unpack(name, &beside, archive).and_then(|()| {
                fs::rename(&beside, &tree).map_err(|error| failed("rename", &beside, &error))
            });
            if made.is_err() {
                let _removed = layout::remove(&beside);
                let _removed = self.layout.remove_stray_blobs(&Index::default());
            }
            made?;
        }
        self.layout.write(&self.name(name), digest.hex().as_bytes())?;
        self.layout.remove_stray_blobs(&Index::default())?;
        self.make_room()?;
        drop(lock);
        Ok(self.artifact(digest))
    }

    fn unpack(&self, name: &str, folder: &Path, archive: impl Read) -> Result<()> {
        let root = folder.join("root");
        fs::create_dir_all(&root).map_err(|error| failed("make", &root, &error))?;
        let mut buffered = std::io::BufReader::new(archive);
        let first = std::io::BufRead::fill_buf(&mut buffered);
        let first = first.map_err(|error| failed("read", folder, &error))?;
        let plain: Box<dyn Read + '_> = match first {
            [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(buffered)),
            _ => Box::new(buffered),
        };
        let mut unpacker = Unpacker::new(&root, LIMITS)?;
        unpacker.layer(plain)?;
        let bytes = unpacker.finish()?;
        for file in ["devcontainer-feature.json", "install.sh"] {
            if !root.join(file).symlink_metadata().is_ok_and(|found| found.is_file()) {
                return Err(Error::Build {
                    step: format!("get the Feature `{name}`"),
                    why: format!("there is no `{file}` in it: it is no Feature, name another one"),
                });
            }
        }
        making::write_made(&self.layout, folder, &ImageSettings::default(), bytes)
    }

    /// Gives up what was used longest ago.
    fn make_room(&self) -> Result<()> {
        let (mut total, trees) = self.layout.usage()?;
        for (digest, used) in trees {
            let is_free = used.elapsed().is_ok_and(|since| since > crate::store::STAYS);
            if total <= self.options.limit_bytes || !is_free {
                break;
            }
            total = total.saturating_sub(self.layout.bytes(&digest));
            layout::remove(&self.layout.take_away(&digest)?)?;
        }
        Ok(())
    }

    fn name(&self, name: &str) -> PathBuf {
        self.options.folder.join(NAMES).join(Digest::of(name.as_bytes()).hex())
    }

    fn artifact(&self, digest: &Digest) -> Artifact {
        Artifact { digest: digest.to_string(), folder: self.layout.tree(digest).join("root") }
    }
}

fn one_layer(manifest: &Manifest) -> Result<&crate::manifest::Descriptor> {
    let why = match manifest.layers.as_slice() {
        [layer] if layer.size <= LIMITS.bytes => return Ok(layer),
        [_] => format!("it is larger than {} MiB", LIMITS.bytes >> 20),
        layers => format!("it has {} layers instead of one: it is no Feature", layers.len()),
    };
    Err(Error::Build { step: String::new(), why })
}
