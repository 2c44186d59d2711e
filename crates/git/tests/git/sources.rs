//! Repositories as they are found: good, empty, odd, and none at all.

use windlass_git::{Address, Error, Mirror, RefName, Remote};

use crate::fixture::{World, commit_all, git, head, local, try_git, write};

#[tokio::test]
async fn a_place_that_is_no_repository_is_called_so() {
    let world = World::new();
    std::fs::create_dir(world.path("empty")).unwrap();
    std::fs::write(world.path("file"), "x").unwrap();
    for name in ["empty", "file", "absent"] {
        let error = world.git.ls_remote(&local(&world.path(name))).await.unwrap_err();
        assert!(
            matches!(&error, Error::NotARepository { place } if place.ends_with(name)),
            "{name}: {error:?}"
        );
    }
    assert!(matches!(world.git.open(&world.path("empty")), Err(Error::NotARepository { .. })));
}

#[tokio::test]
async fn a_repository_without_a_commit_is_called_empty() {
    let world = World::new();
    let dir = world.path("project");
    std::fs::create_dir(&dir).unwrap();
    git(&dir, ["init", "-q", "-b", "main"]);
    let advertised = world.git.ls_remote(&local(&dir)).await.unwrap();
    assert!(matches!(advertised.require_default_branch(), Err(Error::EmptyRepository { .. })));
    assert!(matches!(advertised.require_branch("main"), Err(Error::EmptyRepository { .. })));
    let mirror = Mirror::open(&world.git, &world.path("mirror.git")).await.unwrap();
    assert!(matches!(mirror.refresh(&local(&dir)).await, Err(Error::EmptyRepository { .. })));
    assert!(matches!(
        mirror.repository().default_branch().await,
        Err(Error::EmptyRepository { .. })
    ));
    assert!(matches!(
        mirror.repository().resolve("main").await,
        Err(Error::EmptyRepository { .. })
    ));
}

#[tokio::test]
async fn a_detached_head_gives_its_commit_but_no_default_branch() {
    let world = World::new();
    let dir = world.project("project", &[("a", "1\n")]);
    let first = head(&dir);
    git(&dir, ["checkout", "-q", "--detach"]);
    write(&dir, &[("a", "2\n")]);
    let detached = commit_all(&dir, "on no branch");
    let advertised = world.git.ls_remote(&local(&dir)).await.unwrap();
    assert_eq!(
        (advertised.head.as_ref(), advertised.require_branch("main").unwrap()),
        (Some(&detached), &first)
    );
    assert!(matches!(advertised.require_default_branch(), Err(Error::DetachedHead { .. })));
    let mirror = world.mirror(&dir).await;
    assert!(
        mirror.repository().contains(&detached).await.unwrap(),
        "the detached commit can be worked on"
    );
}

#[tokio::test]
async fn a_branch_that_is_missing_is_named() {
    let world = World::new();
    let dir = world.project("project", &[("a", "1\n")]);
    let mirror = world.mirror(&dir).await;
    for name in ["feature/none", "main~1", "main@{1}", ":/first", "-x", "0123456"] {
        let error = mirror.repository().resolve(name).await.unwrap_err();
        assert!(
            matches!(&error, Error::BranchMissing { branch, .. } if branch == name),
            "{error:?}"
        );
    }
    let advertised = world.git.ls_remote(&local(&dir)).await.unwrap();
    assert!(matches!(advertised.require_branch("none"), Err(Error::BranchMissing { .. })));
}

#[tokio::test]
async fn a_name_is_resolved_as_branch_then_tag_then_commit() {
    let world = World::new();
    let dir = world.project("project", &[("a", "1\n")]);
    let first = head(&dir);
    git(&dir, ["tag", "-a", "-m", "a tag", "v1"]);
    git(&dir, ["tag", "both"]);
    write(&dir, &[("a", "2\n")]);
    let second = commit_all(&dir, "second");
    git(&dir, ["branch", "both"]);
    let mirror = world.mirror(&dir).await;
    for (name, commit) in [
        ("main", &second),
        ("HEAD", &second),
        ("v1", &first),
        ("both", &second),
        ("refs/tags/both", &first),
        (&first.as_str()[..9], &first),
        (first.as_str(), &first),
    ] {
        assert_eq!(mirror.repository().resolve(name).await.unwrap(), *commit, "{name}");
    }
    assert_eq!(
        mirror.repository().default_branch().await.unwrap(),
        RefName::branch("main").unwrap()
    );
}

#[tokio::test]
async fn a_mirror_follows_its_origin_and_says_whether_anything_changed() {
    let world = World::new();
    let dir = world.project("project", &[("a", "1\n")]);
    git(&dir, ["branch", "old"]);
    let mirror = world.mirror(&dir).await;
    assert!(!mirror.refresh(&local(&dir)).await.unwrap().changed);
    git(&dir, ["branch", "-q", "-D", "old"]);
    write(&dir, &[("a", "2\n")]);
    git(&dir, ["checkout", "-q", "-b", "trunk"]);
    let commit = commit_all(&dir, "second");
    git(&dir, ["commit", "-q", "--amend", "-m", "rewritten"]);
    // A fetch that was killed left a lock; it does not stop the next one.
    std::fs::write(mirror.repository().dir().join("refs/heads/trunk.lock"), "").unwrap();
    assert!(mirror.refresh(&local(&dir)).await.unwrap().changed);
    assert!(matches!(mirror.repository().resolve("old").await, Err(Error::BranchMissing { .. })));
    assert_eq!(mirror.repository().resolve("HEAD").await.unwrap(), head(&dir));
    assert_ne!(head(&dir), commit);
    mirror.maintain().await.unwrap();
    assert_eq!(mirror.repository().resolve("trunk").await.unwrap(), head(&dir));
}

#[tokio::test]
async fn one_mirror_can_be_refreshed_by_many_at_once() {
    let world = World::new();
    let dir = world.project("project", &[("a", "1\n")]);
    let place = world.path("mirror.git");
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (git, place, origin) = (world.git.clone(), place.clone(), local(&dir));
            tokio::spawn(async move {
                let mirror = Mirror::open(&git, &place).await?;
                mirror.refresh(&origin).await?;
                mirror.repository().resolve("main").await
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), head(&dir));
    }
}

#[tokio::test]
async fn hooks_and_settings_of_somebody_elses_repository_are_not_run_when_it_is_read() {
    let world = World::new();
    let dir =
        world.project("project", &[("a", "1\n"), (".gitattributes", "* filter=evil diff=evil\n")]);
    let proof = world.path("ran");
    let run = format!("touch {}; cat", proof.display());
    for (key, value) in [
        ("core.fsmonitor", run.as_str()),
        ("filter.evil.clean", &run),
        ("filter.evil.smudge", &run),
        ("diff.evil.textconv", &run),
        ("core.alternateRefsCommand", &run),
        ("uploadpack.packObjectsHook", &run),
        ("core.sshCommand", &run),
        ("credential.helper", &run),
        ("core.pager", &run),
        ("include.path", "/nonexistent"),
    ] {
        git(&dir, ["config", key, value]);
    }
    let mirror = world.mirror(&dir).await;
    let options = windlass_git::checkout::Options::detached(
        mirror.repository().resolve("main").await.unwrap(),
    );
    mirror.repository().checkout(&world.path("tree"), &options).await.unwrap();
    assert_eq!(std::fs::read_to_string(world.path("tree/a")).unwrap(), "1\n");
    assert!(!proof.exists(), "a command that the repository names was run");
}

#[tokio::test]
async fn a_remote_that_is_not_there_is_unreachable_and_helpers_are_never_started() {
    let world = World::new();
    let nobody = Remote::open(Address::parse("http://127.0.0.1:9/acme/api.git").unwrap());
    let error = world.git.ls_remote(&nobody).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_transient(), "{error:?}");
    let by_ssh = Remote::open(Address::parse("git@localhost:acme/api.git").unwrap());
    assert!(matches!(world.git.ls_remote(&by_ssh).await, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn a_work_tree_has_a_repository_of_its_own_that_works() {
    let world = World::new();
    let dir = world.project("project", &[("a", "1\n"), ("bin/run", "#!/bin/sh\n")]);
    git(&dir, ["update-index", "--chmod=+x", "bin/run"]);
    git(&dir, ["commit", "-q", "-m", "executable"]);
    let mirror = world.mirror(&dir).await;
    let repository =
        world.git.init_borrowing(&world.path("job.git"), mirror.repository()).await.unwrap();
    let commit = mirror.repository().resolve("main").await.unwrap();
    let options = windlass_git::checkout::Options {
        branch: Some(RefName::branch("windlass/x").unwrap()),
        remote_branches: vec![(RefName::branch("main").unwrap(), commit.clone())],
        origin: Some("http://127.0.0.1:7777/git/acme/api.git".into()),
        identity: Some(crate::fixture::who(0)),
        ..windlass_git::checkout::Options::detached(commit)
    };
    let tree = world.path("tree");
    repository.checkout(&tree, &options).await.unwrap();
    std::fs::remove_dir_all(mirror.repository().dir()).unwrap();
    std::fs::remove_dir_all(repository.dir()).unwrap();
    assert_eq!(git(&tree, ["status", "--porcelain=v1", "--branch"]), "## windlass/x");
    assert_eq!(git(&tree, ["log", "--format=%s", "origin/main"]), "executable\nfirst");
    assert_eq!(git(&tree, ["config", "user.name"]), "Windlass");
    assert_eq!(git(&tree, ["fsck", "--strict"]), "");
    let error = try_git(&tree, ["fetch", "-q"]).1;
    assert!(error.contains("127.0.0.1:7777"), "{error}");
    let again = repository.checkout(&tree, &options).await.unwrap_err();
    assert!(again.to_string().contains("is not empty"), "{again}");
}

#[tokio::test]
async fn a_borrowing_work_tree_reads_objects_where_the_environment_shows_them() {
    let world = World::new();
    let dir = world.project("project", &[("a", "1\n")]);
    let mirror = world.mirror(&dir).await;
    let commit = mirror.repository().resolve("main").await.unwrap();
    let inside = world.path("shown");
    let options = windlass_git::checkout::Options {
        objects: windlass_git::checkout::Objects::Borrowed { place_inside: inside.clone() },
        ..windlass_git::checkout::Options::detached(commit)
    };
    let tree = world.path("tree");
    mirror.repository().checkout(&tree, &options).await.unwrap();
    assert!(!try_git(&tree, ["log"]).0, "nothing is shown yet");
    std::os::unix::fs::symlink(mirror.repository().dir().join("objects"), &inside).unwrap();
    assert_eq!(git(&tree, ["log", "--format=%s"]), "first");
    assert_eq!(git(&tree, ["status", "--porcelain"]), "");
}
