//! Mirrors that were left half made, and indexes that move to a copy of their tree.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use windlass_git::{
    Error, Mirror, RepoPath,
    restat::{Against, Numbers, Restated, restat, restat_told},
    snapshot::{ChangeKind, Changed, WorkTree},
};

use super::fixture::{World, commit_all, head, local};

#[tokio::test]
async fn a_mirror_that_was_left_half_made_is_never_used_and_is_swept() {
    let world = World::new();
    let dir = world.project("project", &[("a", "1\n")]);
    let mirrors = world.path("mirrors");
    let place = mirrors.join("p.git");
    // Killed while it was being made, by this version and by one that made it in its place.
    std::fs::create_dir_all(mirrors.join("p.git.making/objects")).unwrap();
    std::fs::create_dir_all(mirrors.join("other.git.making/objects")).unwrap();
    std::fs::create_dir_all(place.join("objects")).unwrap();
    let mirror = Mirror::open(&world.git, &place).await.unwrap();
    assert!(!mirrors.join("p.git.making").exists());
    assert!(mirror.refresh(&local(&dir)).await.unwrap().changed);
    assert_eq!(mirror.repository().resolve("main").await.unwrap(), head(&dir));
    let config = std::fs::read_to_string(place.join("config")).unwrap();
    assert!(config.contains("auto = 0") && config.contains("pruneExpire = never"), "{config}");
    // Killed in the middle of a fetch.
    std::fs::write(place.join("objects/pack/tmp_pack_half"), "half").unwrap();
    assert_eq!(Mirror::sweep(&mirrors).await.unwrap(), 2);
    assert!(!mirrors.join("other.git.making").exists());
    assert!(!place.join("objects/pack/tmp_pack_half").exists());
    assert_eq!(mirror.repository().resolve("main").await.unwrap(), head(&dir));
    assert_eq!(Mirror::sweep(&world.path("nowhere")).await.unwrap(), 0);
}

#[tokio::test]
async fn a_look_at_the_origin_takes_nothing_and_a_commit_can_be_had_alone() {
    let world = World::new();
    let dir = world.project("project", &[("a", "1\n")]);
    let mirror = world.mirror(&dir).await;
    std::fs::write(dir.join("a"), "2\n").unwrap();
    commit_all(&dir, "second");
    let second = head(&dir);
    let seen = mirror.look(&local(&dir)).await.unwrap();
    assert_eq!(seen.require_branch("main").unwrap(), &second);
    assert!(!mirror.repository().contains(&second).await.unwrap());
    mirror.fetch_commit(&local(&dir), &second).await.unwrap();
    mirror.fetch_commit(&local(&dir), &second).await.unwrap();
    assert!(mirror.repository().contains(&second).await.unwrap());
    assert_ne!(mirror.repository().resolve("main").await.unwrap(), second);
}

fn path(name: &str) -> RepoPath {
    RepoPath::parse(name).unwrap()
}

/// Copies a tree with its times, as a caller of `restat` does.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (place, kind) = (to.join(entry.file_name()), entry.file_type().unwrap());
        if kind.is_dir() {
            copy(&entry.path(), &place);
        } else if kind.is_symlink() {
            symlink(std::fs::read_link(entry.path()).unwrap(), &place).unwrap();
        } else {
            std::fs::copy(entry.path(), &place).unwrap();
            let times = std::fs::FileTimes::new()
                .set_modified(entry.metadata().unwrap().modified().unwrap());
            std::fs::File::options().write(true).open(&place).unwrap().set_times(times).unwrap();
        }
    }
}

#[tokio::test]
async fn an_index_that_moved_with_its_tree_finds_what_changed_there_and_nothing_else() {
    let world = World::new();
    let dir = world.project("project", &[("a", "1\n"), ("b/c", "2\n"), ("run.sh", "exit\n")]);
    std::fs::set_permissions(dir.join("run.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    commit_all(&dir, "executable");
    let job = world.job_on(&dir).await;
    let moved = WorkTree { path: world.path("copy"), index: world.path("copy-index") };
    copy(&job.tree.path, &moved.path);
    let restated = restat(&job.tree.index, &moved.index, &moved.path, Against::Copy).unwrap();
    assert_eq!(restated, Restated { fresh: 3, stale: 0 });
    // What the copying could tell serves as well as a look at each file.
    let told = ["a", "b/c", "run.sh"].map(|path| {
        let seen = moved.path.join(path).symlink_metadata().unwrap();
        let numbers = Numbers {
            ctime: (seen.ctime(), seen.ctime_nsec().cast_unsigned()),
            mtime: (seen.mtime(), seen.mtime_nsec().cast_unsigned()),
            device: seen.dev(),
            inode: seen.ino(),
            mode: seen.mode(),
            uid: seen.uid(),
            gid: seen.gid(),
            size: seen.size(),
        };
        (std::path::PathBuf::from(path), numbers)
    });
    let other = world.path("told-index");
    let (restated, bytes) = restat_told(&job.tree.index, &other, &told.into()).unwrap();
    assert_eq!(restated, Restated { fresh: 3, stale: 0 });
    let looked = std::fs::read(&moved.index).unwrap();
    assert_eq!((&bytes, &std::fs::read(&other).unwrap()), (&looked, &looked));
    // Of what nobody told, git looks for itself.
    let (restated, _) = restat_told(&job.tree.index, &other, &Default::default()).unwrap();
    assert_eq!(restated, Restated { fresh: 0, stale: 3 });
    // Git itself agrees that nothing has to be read again.
    let options = windlass_git::snapshot::Options { files: 0, ..Default::default() };
    let snapshot = job.repository.snapshot(&moved, &job.base, &options).await.unwrap();
    assert_eq!((snapshot.changed, snapshot.left_out), (vec![], vec![]));
    std::fs::write(moved.path.join("a"), "3\n").unwrap();
    std::fs::set_permissions(moved.path.join("run.sh"), PermissionsExt::from_mode(0o644)).unwrap();
    let snapshot = job.repository.snapshot(&moved, &job.base, &Default::default()).await.unwrap();
    let changed = |name: &str| Changed { path: path(name), kind: ChangeKind::Modified };
    assert_eq!(snapshot.changed, [changed("a"), changed("run.sh")]);
}

#[tokio::test]
async fn a_change_that_was_given_the_old_size_and_time_is_found_all_the_same() {
    let world = World::new();
    let job = world.job(&[("a", "1\n"), ("b", "2\n")]).await;
    let file = job.tree.path.join("a");
    let before = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(&file, "9\n").unwrap();
    let times = std::fs::FileTimes::new().set_modified(before);
    std::fs::File::options().write(true).open(&file).unwrap().set_times(times).unwrap();
    let kept = world.path("kept-index");
    let restated = restat(&job.tree.index, &kept, &job.tree.path, Against::Same).unwrap();
    assert_eq!(restated, Restated { fresh: 1, stale: 1 });
    // What is stale stays so in a copy, where size and time would agree.
    let moved = WorkTree { path: world.path("copy"), index: world.path("copy-index") };
    copy(&job.tree.path, &moved.path);
    let restated = restat(&kept, &moved.index, &moved.path, Against::Copy).unwrap();
    assert_eq!(restated, Restated { fresh: 1, stale: 1 });
    let snapshot = job.repository.snapshot(&moved, &job.base, &Default::default()).await.unwrap();
    assert_eq!(snapshot.changed, [Changed { path: path("a"), kind: ChangeKind::Modified }]);
}

#[test]
fn what_is_no_index_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("index");
    for bytes in
        [&b""[..], b"DIRC", &[0; 64], b"DIRC\0\0\0\x02\0\0\0\x09 and then nothing that fits"]
    {
        std::fs::write(&file, bytes).unwrap();
        let refused = restat(&file, &dir.path().join("new"), dir.path(), Against::Copy);
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    assert!(!dir.path().join("new").exists());
}
