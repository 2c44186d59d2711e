//! Images that are made from images: what a recipe adds, step by step, in a copy of what is below.
//!
//! Each addition gets its name (a digest of what is below, of its changes and of the files that they take)
//! once it is whole and on the disk; what was half made is removed, by us or by the next start. Programs run
//! in environments like all others, with the copy as the root that they may write. No path of a copy is
//! followed from out here: files come in through the unpacker, which the kernel keeps inside.

mod files;
mod run;

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use windlass_sandbox::{
    Client, CopyBy, CopyLimits, EnvironmentId, Error, ImageSettings, Prepared, Result, accounts,
    backend::{
        Recipe, Serve, Tell,
        recipe::{self, Addition, Change},
    },
    copy_folder, settle_folder, unpack,
};

use crate::{
    layout::{self, Layout, Lock, failed},
    manifest::Digest,
    store::{Store, blocking},
};

/// Changes with the way in which things are made: what was made in another way is made anew.
const FORMAT: &str = "made 1";
/// The file that says how what was made is to be run. Where it is, all of it is.
pub(crate) const MADE: &str = "made.json";

/// What is kept of something that was made.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Made {
    variables: Vec<(String, String)>,
    labels: std::collections::BTreeMap<String, String>,
    user: String,
    #[serde(default)]
    folder: String,
}

impl Made {
    fn settings(self) -> ImageSettings {
        ImageSettings {
            variables: self.variables,
            labels: self.labels,
            user: self.user,
            folder: self.folder,
        }
    }
}

/// What something is made from: its digest and how it is run.
#[derive(Debug, Clone)]
struct Below {
    digest: Digest,
    settings: ImageSettings,
}

/// Nothing, which everything can be added to.
pub(crate) fn empty(store: &Store) -> Result<Prepared> {
    let digest = Digest::of(b"windlass: an empty image");
    let layout = store.layout();
    let tree = layout.tree(&digest);
    if !tree.join(MADE).is_file() {
        let _lock = layout.lock()?;
        let beside = layout.incoming();
        make_folder(&beside.join("root"))?;
        write_made(layout, &beside, &ImageSettings::default(), 0)?;
        if !tree.exists() {
            fs::rename(&beside, &tree).map_err(|error| failed("rename", &beside, &error))?;
        }
    }
    Ok(Prepared { name: digest.hex().to_owned(), ..Prepared::default() })
}

/// The accounts of an image.
pub(crate) fn accounts_of(layout: &Layout, digest: &Digest) -> Vec<windlass_sandbox::User> {
    accounts::parse(&files::text(&layout.tree(digest).join("root"), "etc/passwd"))
}

/// Adds what a recipe says, or finds it.
pub(crate) async fn extend(
    store: &Store,
    client: &Client,
    below: &Prepared,
    recipe: &Recipe,
    serve: Serve<'_>,
    tell: Tell<'_>,
) -> Result<Prepared> {
    if below.name.is_empty() {
        return Err(Error::InvalidPlan {
            why: "nothing can be added to this machine's own system folders: name an `image` or a \
                  Dockerfile in devcontainer.json"
                .to_owned(),
        });
    }
    let gone = || Error::NotFound { what: format!("image {}", below.name) };
    let first = Below {
        digest: Digest::of_hex(&below.name).ok_or_else(gone)?,
        settings: below.settings.clone(),
    };
    if recipe.additions.is_empty() {
        let root = store.layout().tree(&first.digest).join("root");
        store.note_use(&first.digest);
        return if root.is_dir() { Ok(below.clone()) } else { Err(gone()) };
    }
    let keys = {
        let (store, first, additions) = (store.clone(), first.clone(), recipe.additions.clone());
        blocking(move || keys(store.layout(), &first, &additions)).await?
    };
    let (mut done, mut at) = newest(store, &keys)?.unwrap_or((0, first.clone()));
    if done < keys.len() {
        // Two recipes that begin alike may both make the beginning; one of them is used.
        let _alone = store.alone(&keys[keys.len() - 1]).await;
        let mut lock = {
            let store = store.clone();
            Some(blocking(move || store.layout().making()).await?)
        };
        // Somebody else may have made it meanwhile.
        (done, at) = newest(store, &keys)?.unwrap_or((0, first));
        for (addition, key) in recipe.additions.iter().zip(&keys).skip(done) {
            let making = Making { store, client, recipe, serve };
            let (settings, held) = making.make(&at, key, addition, lock.take(), &mut *tell).await?;
            lock = held;
            at = Below { digest: key.clone(), settings };
        }
        drop(lock);
        store.make_room(0).await?;
    }
    store.note_use(&at.digest);
    Ok(Prepared {
        name: at.digest.hex().to_owned(),
        settings: at.settings,
        accounts: accounts_of(store.layout(), &at.digest),
    })
}

/// The furthest addition that is there, as the number of those that are done with it.
fn newest(store: &Store, keys: &[Digest]) -> Result<Option<(usize, Below)>> {
    for (n, key) in keys.iter().enumerate().rev() {
        if let Some(settings) = store.made(key)? {
            return Ok(Some((n + 1, Below { digest: key.clone(), settings })));
        }
    }
    Ok(None)
}

/// The names of all additions: of each a digest of everything that it depends on.
fn keys(layout: &Layout, first: &Below, additions: &[Addition]) -> Result<Vec<Digest>> {
    let mut keys: Vec<Digest> = Vec::with_capacity(additions.len());
    for addition in additions {
        let below = keys.last().unwrap_or(&first.digest);
        // How the first one is run may have been changed since it was made.
        let settings = format!("{:?}", first.settings);
        let mut parts = vec![FORMAT.to_owned(), below.hex().to_owned(), settings];
        for change in &addition.changes {
            parts.push(serde_json::to_string(change).unwrap_or_default());
            parts.push(match change {
                Change::Run { files: Some(folder), .. } => files::digest_of_folder(folder)?,
                Change::Copy { from, sources, .. } => {
                    files::digest_of_sources(layout, from, sources, &addition.name)?
                }
                Change::Run { files: None, .. } | Change::MakeFolder(_) | Change::Set(_) => {
                    String::new()
                }
            });
        }
        // Lengths keep two texts apart that would read the same one after the other.
        let text: String = parts.iter().map(|part| format!("{} {part}\n", part.len())).collect();
        keys.push(Digest::of(text.as_bytes()));
    }
    Ok(keys)
}

/// What it takes to make one addition.
struct Making<'a> {
    store: &'a Store,
    client: &'a Client,
    recipe: &'a Recipe,
    serve: Serve<'a>,
}

/// Something half made: removed when it is given up, however that comes about.
struct Half {
    client: Client,
    folder: PathBuf,
    environment: Option<EnvironmentId>,
    lock: Option<Lock>,
    /// Whether it is whole, or given up.
    is_over: bool,
}

impl Half {
    fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Removes it.
    fn give_up(&mut self) -> impl Future<Output = ()> + Send + use<> {
        self.is_over = true;
        let (client, folder) = (self.client.clone(), self.folder.clone());
        let (environment, lock) = (self.environment.take(), self.lock.take());
        async move {
            if let Some(id) = environment {
                // What could not be ended ends with its supervisor.
                let _ended = client.destroy(&id).await;
            }
            let _removed = tokio::task::spawn_blocking(move || layout::remove(&folder)).await;
            drop(lock);
        }
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        // Outside of a runtime nothing can be awaited; the next start removes what is left.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.is_over {
            runtime.spawn(self.give_up());
        }
    }
}

impl Making<'_> {
    async fn make(
        &self,
        below: &Below,
        key: &Digest,
        addition: &Addition,
        lock: Option<Lock>,
        tell: Tell<'_>,
    ) -> Result<(ImageSettings, Option<Lock>)> {
        let layout = self.store.layout();
        self.store.note_use(&below.digest);
        self.store.make_room(layout.bytes(&below.digest)).await?;
        let mut half = Half {
            client: self.client.clone(),
            folder: layout.half_made(),
            environment: None,
            lock,
            is_over: false,
        };
        let made = self.make_in(&mut half, below, key, addition, tell).await;
        match made {
            Ok(settings) => Ok((settings, half.lock.take())),
            Err(error) => {
                half.give_up().await;
                Err(error)
            }
        }
    }

    async fn make_in(
        &self,
        half: &mut Half,
        below: &Below,
        key: &Digest,
        addition: &Addition,
        tell: Tell<'_>,
    ) -> Result<ImageSettings> {
        let layout = self.store.layout();
        let (from, folder) = (layout.tree(&below.digest).join("root"), half.folder.clone());
        let limit = self.store.limit_bytes();
        blocking(move || copy(&from, &folder, limit)).await?;
        let mut settings = below.settings.clone();
        for change in &addition.changes {
            match change {
                Change::Run { command, variables, folder, user, files, caches } => {
                    let program = run::Program {
                        command,
                        variables,
                        folder: folder.as_deref(),
                        user: user.as_deref(),
                        files: files.as_deref(),
                        caches,
                        of_image: &settings.variables,
                    };
                    self.run(half, &addition.name, &program, &mut *tell).await?;
                }
                Change::Copy { from, sources, to, mode, unpack } => {
                    let copy = files::Copy {
                        name: addition.name.clone(),
                        from: files::origin(layout, from)?,
                        sources: sources.clone(),
                        to: to.clone(),
                        mode: *mode,
                        unpack: *unpack,
                        limit_bytes: limit,
                    };
                    let (root, beside) = (half.root(), half.folder.join("copied"));
                    blocking(move || copy.to_root(&root, &beside)).await?;
                }
                Change::MakeFolder(path) => {
                    let (root, path) = (half.root(), path.clone());
                    blocking(move || files::make_folder_in(&root, &path)).await?;
                }
                Change::Set(variables) => recipe::set(&mut settings.variables, variables),
            }
        }
        let (folder, tree) = (half.folder.clone(), layout.tree(key));
        let (store, kept) = (self.store.clone(), settings.clone());
        blocking(move || seal(store.layout(), &folder, &tree, &kept)).await?;
        half.is_over = true;
        Ok(settings)
    }
}

fn copy(from: &Path, folder: &Path, limit_bytes: u64) -> Result<()> {
    make_folder(folder)?;
    let by = CopyBy::probe(folder).map_err(|error| failed("use", folder, &error))?;
    let limits = CopyLimits { bytes: limit_bytes, entries: layout::MOST_FILES };
    let copied = copy_folder(from, &folder.join("root"), by, limits);
    copied.map(drop).map_err(|error| failed("copy", from, &error))
}

/// Gives something its name once all of it is on the disk and nobody's to change.
fn seal(layout: &Layout, folder: &Path, tree: &Path, settings: &ImageSettings) -> Result<()> {
    for name in ["files", "copied"] {
        layout::remove(&folder.join(name))?;
    }
    let root = folder.join("root");
    let owner = folder.metadata().map_err(|error| failed("look at", folder, &error))?;
    // Only root has given it away, and takes it back.
    let owner = (owner.uid() == 0).then_some((0, 0));
    let bytes = settle_folder(&root, owner).map_err(|error| failed("seal", &root, &error))?;
    write_made(layout, folder, settings, bytes)?;
    unpack::bring_to_disk(folder)?;
    match fs::rename(folder, tree) {
        // Somebody else's, made of the same.
        Err(_) if tree.join(MADE).is_file() => layout::remove(folder),
        renamed => renamed.map_err(|error| failed("rename", folder, &error)),
    }
}

pub(crate) fn write_made(
    layout: &Layout,
    folder: &Path,
    settings: &ImageSettings,
    bytes: u64,
) -> Result<()> {
    let made = Made {
        variables: settings.variables.clone(),
        labels: settings.labels.clone(),
        user: settings.user.clone(),
        folder: settings.folder.clone(),
    };
    let text = serde_json::to_vec(&made).map_err(|error| failed("write", folder, &error))?;
    layout.write(&folder.join("bytes"), bytes.to_string().as_bytes())?;
    layout.write(&folder.join(MADE), &text)
}

fn make_folder(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|error| failed("make", path, &error))
}

/// How something that was made is to be run; `None` if it isn't there.
pub(crate) fn settings_of(layout: &Arc<Layout>, digest: &Digest) -> Result<Option<ImageSettings>> {
    let path = layout.tree(digest).join(MADE);
    match fs::read(&path) {
        Ok(bytes) => {
            let made: Made =
                serde_json::from_slice(&bytes).map_err(|error| failed("read", &path, &error))?;
            Ok(Some(made.settings()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path, &error)),
    }
}
