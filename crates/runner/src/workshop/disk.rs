//! The disk of an environment: how much its work tree, home folder and volumes hold, and whether that is
//! more than it may. No kernel limits a folder everywhere, so it is measured: while programs run every few
//! seconds, and once more when a command has ended. Whoever holds more is stopped.
//!
//! What lies there was written by programs inside. Nothing is opened but folders, and no link is followed.

use std::{
    collections::HashSet,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Who enforces the limit, for a person.
pub(crate) const HOW: &str =
    "measured every few seconds: whoever holds more is stopped; /tmp counts as memory";
/// The shortest time between two measurements.
const PAUSE: Duration = Duration::from_secs(2);
/// How many times as long as a measurement took nothing is measured: it may cost little of the machine.
const REST: u32 = 20;
/// The bytes of a block in what the kernel says of a file.
const BLOCK: u64 = 512;

/// The folders of one environment and how much they may hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    folders: Vec<PathBuf>,
    limit: Option<u64>,
}

/// More than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Over {
    /// Bytes that are there.
    pub(crate) used: u64,
    /// Bytes that may be.
    pub(crate) limit: u64,
}

impl Disk {
    /// The disk of an environment with this work tree and, where it can be seen from here, this home
    /// folder, beside which its volumes are.
    pub(crate) fn new(tree: &Path, home: Option<&Path>, limit: Option<u64>) -> Self {
        let own = home.map(|home| match home.file_name().is_some_and(|name| name == "home") {
            true => home.parent().unwrap_or(home),
            false => home,
        });
        Self {
            folders: [Some(tree), own].into_iter().flatten().map(Path::to_owned).collect(),
            limit,
        }
    }

    /// Whether there is more than there may be. Where nothing is limited, nothing is measured.
    pub(crate) async fn look(&self) -> Option<Over> {
        let limit = self.limit?;
        let used = self.used().await;
        (used > limit).then_some(Over { used, limit })
    }

    /// How many bytes are there.
    pub(crate) async fn used(&self) -> u64 {
        let folders = self.folders.clone();
        let measured = tokio::task::spawn_blocking(move || measure(&folders));
        measured.await.unwrap_or(0)
    }

    /// As much as there is now may stay where that is more: so that somebody can clean up.
    pub(crate) async fn tolerating(mut self) -> Self {
        if let Some(over) = self.look().await {
            self.limit = Some(over.used);
        }
        self
    }

    /// Ends once there is more than there may be.
    pub(crate) async fn over(&self) -> Over {
        if self.limit.is_none() {
            return std::future::pending().await;
        }
        let mut pause = PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            if let Some(over) = self.look().await {
                return over;
            }
            pause = PAUSE.max(began.elapsed() * REST);
        }
    }
}

/// What files take in these folders; a file with several names counts once.
fn measure(folders: &[PathBuf]) -> u64 {
    let mut linked = HashSet::new();
    let mut bytes = 0;
    let mut waiting = folders.to_vec();
    while let Some(folder) = waiting.pop() {
        // One that went away, or that nobody may read: what can't be seen is not counted.
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let is_known = metadata.nlink() > 1 && !linked.insert((metadata.dev(), metadata.ino()));
            if metadata.is_dir() {
                waiting.push(entry.path());
                bytes += metadata.blocks() * BLOCK;
            } else if !is_known {
                bytes += metadata.blocks() * BLOCK;
            }
        }
    }
    bytes
}

/// What a reason says of it.
pub(crate) fn in_words(over: Over) -> String {
    format!(
        "its work tree and home folder hold {} MiB, and it may have {} MiB",
        over.used.div_ceil(1 << 20),
        over.limit >> 20
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_there_is_counted_once_and_not_what_links_lead_to() {
        let dir = tempfile::tempdir().expect("a folder");
        let (tree, own) = (dir.path().join("tree"), dir.path().join("env"));
        std::fs::create_dir_all(tree.join("deep/er")).expect("made");
        std::fs::create_dir_all(own.join("home")).expect("made");
        let elsewhere = dir.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).expect("made");
        std::fs::write(elsewhere.join("huge"), vec![7; 8 << 20]).expect("written");
        std::os::unix::fs::symlink(&elsewhere, tree.join("link")).expect("linked");
        std::fs::write(tree.join("deep/er/file"), vec![7; 1 << 20]).expect("written");
        std::fs::hard_link(tree.join("deep/er/file"), tree.join("again")).expect("linked");
        std::fs::write(own.join("volume"), vec![7; 1 << 20]).expect("written");
        let disk = |limit| Disk::new(&tree, Some(&own.join("home")), limit);
        let used = disk(None).used().await;
        assert!((2 << 20..3 << 20).contains(&used), "{used}");
        assert_eq!(disk(None).look().await, None);
        assert_eq!(disk(Some(3 << 20)).look().await, None);
        let over = disk(Some(1 << 20)).look().await.expect("more than a MiB");
        assert_eq!((over.used, over.limit), (used, 1 << 20));
        assert_eq!(disk(Some(1 << 20)).tolerating().await.look().await, None);
    }
}
