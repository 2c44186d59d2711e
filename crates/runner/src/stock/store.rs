//! Folders by key, kept on disk up to a number of bytes; the least lately used go first.
//!
//! An entry is made in a folder beside the others and renamed when it is whole. What a killed process
//! left half made, and everything from before the machine last started (a power cut may have torn it),
//! is removed when the store is opened. Entries that somebody is copying from are never removed.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use sha2::{Digest, Sha256};
use windlass_sandbox::{CopyBy, remove_folder};

/// The name of an entry: the digest of everything that its content depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key of these parts, each of which is told apart from its neighbours.
    pub fn of(parts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        let hex = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self(hex)
    }

    /// The hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Folders by key. Cheap to clone; all clones share it. One per folder and machine.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    limit_bytes: u64,
    by: CopyBy,
    state: Mutex<State>,
    /// One turn per key: twenty starts of the same commit make one tree.
    turns: Mutex<BTreeMap<Key, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Key, Entry>,
    serial: u64,
}

struct Entry {
    bytes: u64,
    used: SystemTime,
    kept: Arc<()>,
}

/// An entry that can't be removed as long as this lives.
#[derive(Clone)]
pub struct Kept {
    key: Key,
    path: PathBuf,
    _held: Arc<()>,
}

impl Kept {
    /// Its key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The folder. Only to be read.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

const MAKING: &str = "making-";
const TRASH: &str = "trash-";
const BOOT: &str = "boot";
const BYTES: &str = "bytes";

impl Store {
    /// The store in a folder, which is made if need be. Removes what is half made or not to be trusted.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub fn open(folder: &Path, limit_bytes: u64) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let by = CopyBy::probe(folder)?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot_file = folder.join(BOOT);
        let same_boot =
            !boot.is_empty() && std::fs::read_to_string(&boot_file).is_ok_and(|seen| seen == boot);
        let mut state = State::default();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if !entry.file_type()?.is_dir() {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_key = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            let bytes = std::fs::read_to_string(path.join(BYTES)).ok();
            match bytes.and_then(|text| text.trim().parse().ok()) {
                Some(bytes) if is_key && same_boot => {
                    let used = entry.metadata()?.modified()?;
                    state.entries.insert(Key(name), Entry { bytes, used, kept: Arc::default() });
                }
                _ => {
                    tracing::info!(path = %path.display(), "removing what was prepared halfway or before the machine started");
                    remove_folder(&path)?;
                }
            }
        }
        std::fs::write(&boot_file, boot)?;
        let inner = Inner {
            folder: folder.to_owned(),
            limit_bytes,
            by,
            state: Mutex::new(state),
            turns: Mutex::default(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// How files are copied here, as tried when the store was opened.
    pub fn copies_by(&self) -> CopyBy {
        self.0.by
    }

    /// How many entries there are, and their bytes.
    pub fn size(&self) -> (usize, u64) {
        let state = self.state();
        (state.entries.len(), state.entries.values().map(|entry| entry.bytes).sum())
    }

    /// An entry, if it is there; it counts as used.
    pub fn get(&self, key: &Key) -> Option<Kept> {
        let now = SystemTime::now();
        let mut state = self.state();
        let entry = state.entries.get_mut(key)?;
        entry.used = now;
        let path = self.0.folder.join(key.as_str());
        // The order survives a restart; without it an entry is only removed too early.
        let touched = std::fs::File::open(&path)
            .and_then(|folder| folder.set_times(std::fs::FileTimes::new().set_modified(now)));
        if let Err(error) = touched {
            // Somebody removed it from outside: it can be made again.
            tracing::warn!(%error, %key, "a prepared folder is gone");
            state.entries.remove(key);
            return None;
        }
        let _held = entry.kept.clone();
        Some(Kept { key: key.clone(), path, _held })
    }

    /// Removes an entry that nobody else will ask for.
    pub async fn forget(&self, kept: Kept) {
        let store = self.clone();
        let forgotten = tokio::task::spawn_blocking(move || {
            let key = kept.key.clone();
            drop(kept);
            let mut state = store.state();
            let unused = state.entries.get(&key).is_some_and(|e| Arc::strong_count(&e.kept) == 1);
            if !unused {
                return Ok(());
            }
            let trash = store.throw_away(&mut state, &key);
            drop(state);
            trash.and_then(|trash| remove_folder(&trash))
        });
        if let Ok(Err(error)) = forgotten.await {
            tracing::warn!(%error, "what was prepared could not be removed; the next start does it");
        }
    }

    /// The lately most used of the entries whose folder passes.
    pub fn newest(&self, passes: impl Fn(&Path) -> bool) -> Option<Kept> {
        let mut keys: Vec<_> =
            self.state().entries.iter().map(|(key, entry)| (entry.used, key.clone())).collect();
        keys.sort();
        let folder = |key: &Key| self.0.folder.join(key.as_str());
        let found = keys.iter().rev().find(|(_, key)| passes(&folder(key)));
        found.and_then(|(_, key)| self.get(key))
    }

    /// An entry, made now if it isn't there: `make` fills an empty folder. Answers whether it was made.
    ///
    /// # Errors
    /// Those of `make`; the folder is removed then.
    pub async fn get_or_make<E, F>(
        &self,
        key: &Key,
        make: impl FnOnce(PathBuf) -> F,
    ) -> Result<(Kept, bool), E>
    where
        E: From<io::Error>,
        F: Future<Output = Result<(), E>>,
    {
        if let Some(kept) = self.get(key) {
            return Ok((kept, false));
        }
        let turn = self.turn(key);
        let made = {
            let _turn = turn.lock().await;
            match self.get(key) {
                Some(kept) => Ok((kept, false)),
                None => self.make(key, make).await.map(|kept| (kept, true)),
            }
        };
        drop(turn);
        let mut turns = self.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        made
    }

    async fn make<E, F>(&self, key: &Key, make: impl FnOnce(PathBuf) -> F) -> Result<Kept, E>
    where
        E: From<io::Error>,
        F: Future<Output = Result<(), E>>,
    {
        let beside = self.beside(MAKING);
        std::fs::create_dir(&beside)?;
        // Also if nobody waits for the end of this any more.
        let guard = Unfinished(Some(beside.clone()));
        make(beside.clone()).await?;
        let store = self.clone();
        let owned = key.clone();
        let put = tokio::task::spawn_blocking(move || store.put(&owned, guard));
        Ok(put.await.map_err(io::Error::other)??)
    }

    /// Puts a folder that is whole in its place, and makes room for it.
    fn put(&self, key: &Key, mut made: Unfinished) -> io::Result<Kept> {
        let beside = made.0.clone().unwrap_or_default();
        let bytes = size_of(&beside)?;
        std::fs::write(beside.join(BYTES), bytes.to_string())?;
        let path = self.0.folder.join(key.as_str());
        std::fs::rename(&beside, &path)?;
        made.0 = None;
        let kept = Arc::new(());
        let entry = Entry { bytes, used: SystemTime::now(), kept: kept.clone() };
        self.state().entries.insert(key.clone(), entry);
        self.make_room();
        Ok(Kept { key: key.clone(), path, _held: kept })
    }

    /// Removes the least lately used entries that nobody uses until the rest fits.
    fn make_room(&self) {
        loop {
            let gone = {
                let mut state = self.state();
                let all: u64 = state.entries.values().map(|entry| entry.bytes).sum();
                if all <= self.0.limit_bytes {
                    return;
                }
                let free = state.entries.iter().filter(|(_, e)| Arc::strong_count(&e.kept) == 1);
                let Some(oldest) = free.min_by_key(|(_, e)| e.used).map(|(key, _)| key.clone())
                else {
                    return;
                };
                self.throw_away(&mut state, &oldest)
            };
            if let Err(error) = gone.and_then(|trash| remove_folder(&trash)) {
                tracing::warn!(%error, "what was prepared could not be removed; the next start does it");
            }
        }
    }

    /// Takes an entry out: renamed while nobody can ask for it, to be removed while everybody can work.
    fn throw_away(&self, state: &mut State, key: &Key) -> io::Result<PathBuf> {
        state.entries.remove(key);
        state.serial += 1;
        let trash = self.0.folder.join(format!("{TRASH}{}", state.serial));
        std::fs::rename(self.0.folder.join(key.as_str()), &trash)?;
        Ok(trash)
    }

    fn beside(&self, kind: &str) -> PathBuf {
        let mut state = self.state();
        state.serial += 1;
        self.0.folder.join(format!("{kind}{}", state.serial))
    }

    fn turn(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(key.clone()).or_default().clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A folder that is removed unless it was put in its place.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = remove_folder(path)
        {
            tracing::warn!(%error, path = %path.display(), "a folder could not be removed; the next start does it");
        }
    }
}

/// What a folder of ours takes, with 4096 bytes for whatever has no content.
fn size_of(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            bytes += metadata.len().max(4096);
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn make(store: &Store, name: &str) -> (Kept, bool) {
        let fill = |folder: PathBuf| async move {
            std::fs::create_dir(folder.join("tree"))?;
            std::fs::write(folder.join("tree/file"), [0; 10_000])
        };
        store.get_or_make::<io::Error, _>(&Key::of(&[name]), fill).await.expect("made")
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .expect("readable")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name != BOOT)
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn an_entry_is_made_once_and_found_after_a_restart() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path(), u64::MAX).expect("a store");
        let one = futures::future::join_all((0..20).map(|_| make(&store, "a"))).await;
        assert_eq!(one.iter().filter(|(_, made)| *made).count(), 1);
        let again = Store::open(dir.path(), u64::MAX).expect("a store");
        assert_eq!(again.size(), store.size());
        let (kept, made) = make(&again, "a").await;
        assert!(!made && kept.path().join("tree/file").is_file());
    }

    #[tokio::test]
    async fn what_was_left_half_made_is_never_used_and_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path(), u64::MAX).expect("a store");
        let (whole, _) = make(&store, "whole").await;
        // As a killed process leaves them: at work, about to be named, and one in the trash.
        for name in ["making-7", "trash-9", Key::of(&["torn"]).as_str()] {
            std::fs::create_dir_all(dir.path().join(name).join("tree")).expect("made");
        }
        let store = Store::open(dir.path(), u64::MAX).expect("a store");
        assert_eq!(names(dir.path()), [whole.key().as_str()]);
        assert!(store.get(&Key::of(&["torn"])).is_none());
        // From before the machine started.
        std::fs::write(dir.path().join(BOOT), "another").expect("written");
        let store = Store::open(dir.path(), u64::MAX).expect("a store");
        assert_eq!((store.size(), names(dir.path())), ((0, 0), vec![]));
    }

    #[tokio::test]
    async fn a_make_that_fails_or_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path(), u64::MAX).expect("a store");
        let key = Key::of(&["a"]);
        let failed = store.get_or_make(&key, |folder| async move {
            std::fs::write(folder.join("begun"), "")?;
            Err::<(), _>(io::Error::other("no"))
        });
        assert!(failed.await.is_err());
        let (begun, wait) = tokio::sync::oneshot::channel();
        let task = tokio::spawn({
            let (store, key) = (store.clone(), key.clone());
            async move {
                let never = |folder: PathBuf| async move {
                    std::fs::write(folder.join("begun"), "")?;
                    let _ = begun.send(());
                    std::future::pending::<io::Result<()>>().await
                };
                store.get_or_make(&key, never).await.map(|_| ())
            }
        });
        wait.await.expect("it began");
        task.abort();
        assert!(task.await.expect_err("aborted").is_cancelled());
        assert_eq!(names(dir.path()), Vec::<String>::new());
        assert!(make(&store, "a").await.1);
    }

    #[tokio::test]
    async fn the_least_lately_used_goes_first_and_nothing_that_is_in_use() {
        let dir = tempfile::tempdir().expect("a folder");
        let one = {
            let store = Store::open(dir.path(), u64::MAX).expect("a store");
            make(&store, "size").await;
            store.size().1
        };
        let store = Store::open(dir.path(), 2 * one).expect("a store");
        store.make_room();
        let (held, _) = make(&store, "held").await;
        let there = |name: &str| dir.path().join(Key::of(&[name]).as_str()).exists();
        assert!(there("size") && there("held"));
        make(&store, "b").await;
        assert!(!there("size") && there("held") && there("b"));
        make(&store, "c").await;
        // `held` is older than `b`, and in use.
        assert!(there("held") && !there("b") && there("c"));
        drop(held);
        let (d, _) = make(&store, "d").await;
        assert!(!there("held") && there("c") && there("d"));
        assert_eq!(store.size(), (2, 2 * one));
        let other = d.clone();
        store.forget(d).await;
        assert!(there("d"), "somebody has it");
        store.forget(other).await;
        assert_eq!((there("d"), store.size()), (false, (1, one)));
    }

    #[test]
    fn parts_of_a_key_do_not_run_into_each_other() {
        assert_ne!(Key::of(&["ab", "c"]), Key::of(&["a", "bc"]));
        assert_eq!(Key::of(&["ab", "c"]), Key::of(&["ab", "c"]));
    }
}
