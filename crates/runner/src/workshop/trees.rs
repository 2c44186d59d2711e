//! Removing what programs inside wrote: folders without permissions, deep trees, odd names.

use std::{
    fs::Permissions,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use windlass_run::Time;

/// How long the repository of a job that did not end here is kept for a later lease.
const KEEP: Duration = Duration::from_secs(3 * 24 * 3600);

/// Removes a folder with everything in it, if it is there. What can't be removed is said in the log and
/// tried again by the next start.
pub(crate) async fn remove(path: &Path) {
    let path = path.to_owned();
    let removed = tokio::task::spawn_blocking(move || (remove_now(&path), path)).await;
    if let Ok((Err(error), path)) = removed {
        tracing::warn!(%error, path = %path.display(), "a folder could not be removed");
    }
}

/// Removes everything below a folder.
pub(crate) async fn remove_all(folder: &Path) {
    for path in below(folder) {
        remove(&path).await;
    }
}

/// Removes what has been left alone below a folder for a long time.
pub(crate) async fn remove_old(folder: &Path, now: Time) {
    for path in below(folder) {
        let changed = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
        let since = changed
            .ok()
            .and_then(|changed| changed.duration_since(UNIX_EPOCH).ok())
            .unwrap_or_default();
        let now = Duration::from_micros(u64::try_from(now.as_micros()).unwrap_or(0));
        if now.saturating_sub(since) > KEEP {
            remove(&path).await;
        }
    }
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

fn remove_now(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            std::fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// Gives the owner every permission on the folders of a tree. Nothing runs in it any more.
fn open_up(path: &Path) -> io::Result<()> {
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        if !std::fs::symlink_metadata(&folder)?.is_dir() {
            continue;
        }
        std::fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn folders_that_forbid_everything_are_removed_too() {
        let dir = tempfile::tempdir().expect("a folder");
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).expect("made");
        std::fs::write(tree.join("a/b/file"), "x").expect("written");
        std::os::unix::fs::symlink("/", tree.join("a/root")).expect("linked");
        for folder in ["a/b", "a"] {
            std::fs::set_permissions(tree.join(folder), Permissions::from_mode(0o000))
                .expect("changed");
        }
        remove(&tree).await;
        assert!(!tree.exists());
        remove(&tree).await;
    }
}
