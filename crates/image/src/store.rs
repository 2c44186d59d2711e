//! Images on this machine: found, brought, pinned while they are used, and given up oldest first when they
//! take too much room.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use windlass_sandbox::{
    EnvironmentId, Error, ImageSettings, Result,
    backend::{Login, Pull, Tell},
};

use crate::{
    archive,
    layout::{self, Layout},
    making,
    manifest::Digest,
    registry,
};

/// How long an image that was asked for stays, whether or not an environment was made from it yet.
pub(crate) const STAYS: Duration = Duration::from_secs(15 * 60);

/// How images are kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder that they are kept in; its owner only. Anything in it may be removed.
    pub folder: PathBuf,
    /// How many bytes they may take. Also the most that one image may hold.
    pub limit_bytes: u64,
    /// The registries that the operator has named: only these may be addresses, and of these those on
    /// loopback are asked without encryption.
    pub registries: BTreeSet<String>,
    /// Further certificate authorities of registries (PEM).
    pub certificates: Vec<u8>,
}

/// Images on this machine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: Options,
    layout: Arc<Layout>,
    /// One image at a time is brought.
    bringing: tokio::sync::Mutex<()>,
    pins: Mutex<BTreeMap<EnvironmentId, Digest>>,
    /// What is being made: each of it by one.
    making: Mutex<BTreeMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name for [`Store::root`].
    pub digest: String,
    /// What it says about itself.
    pub settings: ImageSettings,
}

/// The name by which an image is found again. No reference has a blank in it, so nobody else can ask for
/// what somebody's own login has brought.
pub(crate) fn own_name(whole: String, login: Option<&Login>) -> String {
    match login {
        Some(Login { realm, .. }) if !realm.is_empty() => format!("{whole} for {realm}"),
        _ => whole,
    }
}

impl Store {
    /// Opens the folder, and removes what was left half-made. Blocks while another process changes it.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder can't be used.
    pub fn open(options: Options) -> Result<Self> {
        let layout = Arc::new(Layout::open(&options.folder)?);
        layout.sweep(&layout.lock()?)?;
        let (bringing, pins, making) = Default::default();
        Ok(Self { inner: Arc::new(Inner { options, layout, bringing, pins, making }) })
    }

    /// Has an image, or gets it. Must be awaited on a tokio runtime.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] for a name that is none, [`Error::Build`] when it can't be had, in words
    /// for whoever wrote the name, [`Error::Io`] when the disk does not take it.
    pub async fn get(
        &self,
        name: &str,
        pull: Pull,
        login: Option<&Login>,
        tell: Tell<'_>,
    ) -> Result<Stored> {
        let reference = registry::parse(name)?;
        let whole = own_name(reference.whole(), login);
        if let Some(stored) = self.find(&whole)? {
            return Ok(stored);
        }
        if pull == Pull::Never {
            return Err(Error::Build {
                step: format!("use the image `{name}`"),
                why: "it is not there and must not be pulled; load it with `windlass image load`"
                    .to_owned(),
            });
        }
        let _alone = self.inner.bringing.lock().await;
        // Somebody else may have brought it meanwhile.
        if let Some(stored) = self.find(&whole)? {
            return Ok(stored);
        }
        let lock = {
            let inner = Arc::clone(&self.inner);
            blocking(move || inner.layout.lock()).await?
        };
        let inner = &self.inner;
        let pull = registry::Pull::new(&inner.options, reference, login, &inner.layout)?;
        let (manifest, bytes) = pull.manifest().await?;
        self.make_room(manifest.size()).await?;
        let digest = pull.blobs(&manifest, &bytes, tell).await?;
        let (for_install, names) = (Arc::clone(&self.inner), vec![whole.clone()]);
        // Goes on even if nobody waits any more: the lock is held until it is whole or removed.
        blocking(move || {
            let limit = for_install.options.limit_bytes;
            let installed = for_install.layout.install(&digest, &names, limit);
            drop(lock);
            installed
        })
        .await?;
        let stored = self.find(&whole)?.ok_or_else(|| Error::Build {
            step: format!("use the image `{name}`"),
            why: "it was removed as soon as it was there".to_owned(),
        })?;
        self.make_room(0).await?;
        Ok(stored)
    }

    /// Loads an image from an archive (`docker save`, or an OCI layout in a tar file). Answers its names.
    ///
    /// # Errors
    /// [`Error::Build`] for an archive that holds no image, or a wrong one; [`Error::Io`] when it can't be
    /// read or the disk does not take it.
    pub fn load(&self, archive: &Path, name: Option<&str>) -> Result<Vec<String>> {
        let name = name.map(registry::parse).transpose()?.map(|name| name.whole());
        let lock = self.inner.layout.lock()?;
        let limit = self.inner.options.limit_bytes;
        let (digest, names) = archive::load(archive, name.as_deref(), &self.inner.layout, limit)?;
        self.inner.layout.install(&digest, &names, limit)?;
        drop(lock);
        Ok(names)
    }

    /// The names of the images that are there.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder can't be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let index = self.inner.layout.index()?;
        Ok(index.manifests.iter().filter_map(layout::name_of).cloned().collect())
    }

    /// The folder on disk.
    pub(crate) fn layout(&self) -> &Arc<Layout> {
        &self.inner.layout
    }

    /// How many bytes it may hold.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.inner.options.limit_bytes
    }

    /// Waits until nobody else of this process makes the same.
    pub(crate) async fn alone(&self, digest: &Digest) -> tokio::sync::OwnedMutexGuard<()> {
        let mutex = {
            let mut making = self.inner.making.lock().unwrap_or_else(PoisonError::into_inner);
            // Only we hold those that nobody waits for.
            making.retain(|_, mutex| Arc::strong_count(mutex) > 1);
            Arc::clone(making.entry(digest.clone()).or_default())
        };
        mutex.lock_owned().await
    }

    /// How something that was made is to be run, if it is there; notes that it is used.
    pub(crate) fn made(&self, digest: &Digest) -> Result<Option<ImageSettings>> {
        // Nothing is taken away while this is held.
        let _pins = self.pins();
        let settings = making::settings_of(&self.inner.layout, digest)?;
        if settings.is_some() {
            self.note_use(digest);
        }
        Ok(settings)
    }

    /// The accounts of an image.
    pub(crate) fn accounts(&self, digest: &str) -> Vec<windlass_sandbox::User> {
        let digest = Digest::of_hex(digest);
        digest.map(|it| making::accounts_of(&self.inner.layout, &it)).unwrap_or_default()
    }

    /// Notes that an image is used.
    pub(crate) fn note_use(&self, digest: &Digest) {
        self.inner.layout.touch(digest, SystemTime::now());
    }

    /// The folder with an image's files, kept until the environment is gone.
    pub(crate) fn pin(&self, digest: &str, environment: &EnvironmentId) -> Result<PathBuf> {
        let gone = || Error::NotFound { what: format!("image {digest}: it was removed meanwhile") };
        let digest = Digest::of_hex(digest).ok_or_else(gone)?;
        let mut pins = self.pins();
        let root = self.inner.layout.tree(&digest).join("root");
        if !root.is_dir() {
            return Err(gone());
        }
        pins.insert(environment.clone(), digest);
        Ok(root)
    }

    /// The environment is gone.
    pub(crate) fn unpin(&self, environment: &EnvironmentId) {
        self.pins().remove(environment);
    }

    /// Finds an image and notes that it is used.
    fn find(&self, whole: &str) -> Result<Option<Stored>> {
        // Nothing is taken away while this is held.
        let _pins = self.pins();
        let layout = &self.inner.layout;
        let index = layout.index()?;
        let Some(found) =
            index.manifests.iter().find(|one| layout::name_of(one).is_some_and(|n| n == whole))
        else {
            return Ok(None);
        };
        let settings = layout.settings(&found.digest)?;
        layout.touch(&found.digest, SystemTime::now());
        Ok(Some(Stored { digest: found.digest.hex().to_owned(), settings }))
    }

    /// Gives up images until there is room for `more` bytes, those that were used longest ago first. What
    /// environments are made of stays, even if that is too much.
    pub(crate) async fn make_room(&self, more: u64) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            loop {
                let given_up = {
                    let pins = inner.pins.lock().unwrap_or_else(PoisonError::into_inner);
                    let (total, trees) = inner.layout.usage()?;
                    if total.saturating_add(more) <= inner.options.limit_bytes {
                        return Ok(());
                    }
                    let is_free = |digest: &Digest, used: &SystemTime| {
                        !pins.values().any(|pinned| pinned == digest)
                            && used.elapsed().is_ok_and(|since| since > STAYS)
                    };
                    let Some((digest, _)) = trees.iter().find(|(d, used)| is_free(d, used)) else {
                        return Ok(());
                    };
                    inner.layout.take_away(digest)?
                };
                layout::remove(&given_up)?;
            }
        })
        .await
    }

    fn pins(&self) -> MutexGuard<'_, BTreeMap<EnvironmentId, Digest>> {
        self.inner.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does something that blocks, away from the runtime's own threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::Io { doing: "wait for a thread".to_owned(), why: error.to_string() })
    })
}
