//! Taking the state of a work tree that nobody vouches for.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use windlass_git::snapshot::{ChangeKind, Changed, LeftOut, Options, Reason};
use windlass_git::{Error, RepoPath};

use crate::fixture::{
    Job, World, again_as_an_ordinary_user, commit_all, git, is_root, skipped, who,
};

fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

fn changed(text: &str, kind: ChangeKind) -> Changed {
    Changed { path: path(text), kind }
}

use ChangeKind::{Added, Deleted, Modified, Retyped};

#[tokio::test]
async fn a_snapshot_is_what_plain_git_would_commit() {
    let world = World::new();
    let files = [
        ("keep", "same\n"),
        ("edit", "one\n"),
        ("gone", "x\n"),
        ("dir/file", "x\n"),
        ("crlf.txt", "a\r\n"),
        (".gitattributes", "*.txt text\n"),
        (".gitignore", "target/\n*.log\n"),
    ];
    let job = world.job(&files).await;
    job.write(&[
        ("edit", "two\n"),
        ("new/deep/er", "n\n"),
        ("target/x", "built\n"),
        ("a.log", "l\n"),
        ("Keep", "case\n"),
        ("crlf.txt", "b\r\n"),
    ]);
    std::fs::remove_file(job.tree.path.join("gone")).unwrap();
    std::fs::remove_dir_all(job.tree.path.join("dir")).unwrap();
    std::fs::write(job.tree.path.join("dir"), "now a file\n").unwrap();
    symlink("edit", job.tree.path.join("link")).unwrap();
    std::fs::write(job.tree.path.join("run"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(job.tree.path.join("run"), PermissionsExt::from_mode(0o755)).unwrap();
    let snapshot = job.snapshot().await;
    let expected = [
        ("Keep", Added),
        ("crlf.txt", Modified),
        ("dir", Added),
        ("dir/file", Deleted),
        ("edit", Modified),
        ("gone", Deleted),
        ("link", Added),
        ("new/deep/er", Added),
        ("run", Added),
    ];
    assert_eq!(snapshot.changed, expected.map(|(name, kind)| changed(name, kind)));
    assert_eq!((snapshot.left_out, snapshot.nested), (vec![], vec![]));
    git(&job.tree.path, ["add", "-A"]);
    assert_eq!(snapshot.tree.as_str(), git(&job.tree.path, ["write-tree"]));
}

#[tokio::test]
async fn a_clean_tree_gives_the_tree_of_its_base_and_a_second_snapshot_sees_only_what_is_new() {
    let world = World::new();
    let job = world.job(&[("a", "1\n"), ("b", "1\n")]).await;
    let first = job.snapshot().await;
    assert_eq!(
        (first.tree, first.changed),
        (job.repository.tree_of(&job.base).await.unwrap(), vec![])
    );
    job.write(&[("a", "2\n")]);
    let second = job.snapshot().await;
    assert_eq!(second.changed, [changed("a", Modified)]);
    job.write(&[("a", "1\n"), ("c", "3\n")]);
    let third = job.snapshot().await;
    assert_eq!(third.changed, [changed("c", Added)]);
    // A damaged or lost index, or one that a killed snapshot left locked, costs only time.
    std::fs::write(&job.tree.index, "rubbish").unwrap();
    std::fs::write(job.tree.index.with_extension("lock"), "").unwrap();
    std::fs::write(format!("{}.lock", job.tree.index.display()), "").unwrap();
    assert_eq!(job.snapshot().await.tree, third.tree);
    std::fs::remove_file(&job.tree.index).unwrap();
    assert_eq!(job.snapshot().await.tree, third.tree);
}

#[tokio::test]
async fn nothing_that_the_tree_says_is_executed() {
    let world = World::new();
    let job = world.job(&[("a.c", "int a;\n"), ("sub/x", "x\n")]).await;
    let proof = world.path("ran");
    let script = world.path("evil");
    std::fs::write(&script, format!("#!/bin/sh\ntouch {}\ncat\n", proof.display())).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let evil = script.display().to_string();
    let arm = |dir: &Path| {
        for key in [
            "core.fsmonitor",
            "core.sshCommand",
            "core.pager",
            "core.editor",
            "filter.evil.clean",
            "filter.evil.smudge",
            "filter.evil.process",
            "diff.evil.textconv",
            "diff.evil.command",
            "diff.external",
            "merge.evil.driver",
            "core.alternateRefsCommand",
            "gpg.program",
            "credential.helper",
            "core.askPass",
            "receive.procReceiveRefs",
        ] {
            git(dir, ["config", key, &evil]);
        }
        git(dir, ["config", "core.hooksPath", "hooks"]);
        git(dir, ["config", "core.worktree", "/"]);
        let hooks = dir.join(".git/hooks");
        std::fs::create_dir_all(&hooks).unwrap();
        for hook in [
            "pre-commit",
            "post-index-change",
            "reference-transaction",
            "post-checkout",
            "fsmonitor-watchman",
            "pre-auto-gc",
        ] {
            std::fs::copy(&script, hooks.join(hook)).unwrap();
        }
    };
    arm(&job.tree.path);
    git_init_nested(&job.tree.path.join("nested"));
    arm(&job.tree.path.join("nested"));
    job.write(&[
        (".gitattributes", "* filter=evil diff=evil merge=evil ident\n"),
        ("nested/.gitattributes", "* filter=evil\n"),
        ("nested/n", "n\n"),
        ("a.c", "int b;\n"),
    ]);
    let snapshot = job.snapshot().await;
    assert_eq!(job.read(&snapshot.tree, "a.c").await, b"int b;\n");
    let commit = job.commit(&snapshot.tree).await;
    job.repository.diff(&job.base, &commit, &windlass_git::diff::Options::default()).await.unwrap();
    job.repository.patch_text(&job.base, &commit, 1 << 20).await.unwrap();
    let merge = windlass_git::merge::Merge {
        base: job.base.clone(),
        head: commit,
        method: windlass_git::merge::Method::Squash,
        message: "m".into(),
        author: who(1),
        committer: who(1),
    };
    job.repository.merge(&merge).await.unwrap();
    assert!(!proof.exists(), "a command that the tree names was run on the host");
}

fn git_init_nested(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    git(dir, ["init", "-q"]);
}

#[tokio::test]
async fn a_tree_whose_repository_points_elsewhere_changes_nothing_elsewhere() {
    let world = World::new();
    let job = world.job(&[("a", "1\n")]).await;
    let victim = world.project("victim", &[("secret", "s\n")]);
    std::fs::remove_dir_all(job.tree.path.join(".git")).unwrap();
    std::fs::write(job.tree.path.join(".git"), format!("gitdir: {}/.git\n", victim.display()))
        .unwrap();
    job.write(&[("a", "2\n")]);
    let snapshot = job.snapshot().await;
    assert_eq!(snapshot.changed, [changed("a", Modified)]);
    assert_eq!(git(&victim, ["status", "--porcelain"]), "");
}

#[tokio::test]
async fn a_repository_inside_the_tree_gives_its_files_and_is_reported() {
    let world = World::new();
    let job = world.job(&[("a", "1\n")]).await;
    let nested = job.tree.path.join("pkg/inner");
    git_init_nested(&nested);
    job.write(&[
        ("pkg/inner/f", "1\n"),
        ("pkg/inner/.gitignore", "out/\n"),
        ("pkg/inner/out/x", "x\n"),
    ]);
    commit_all(&nested, "inner");
    git_init_nested(&nested.join("most"));
    job.write(&[("pkg/inner/most/g", "1\n")]);
    let snapshot = job.snapshot().await;
    assert_eq!(
        snapshot.changed,
        [
            changed("pkg/inner/.gitignore", Added),
            changed("pkg/inner/f", Added),
            changed("pkg/inner/most/g", Added)
        ]
    );
    assert_eq!(snapshot.nested, [path("pkg/inner"), path("pkg/inner/most")]);
    std::fs::remove_file(nested.join("f")).unwrap();
    job.write(&[("pkg/inner/h", "1\n")]);
    let again = job.snapshot().await;
    assert_eq!(
        again.changed,
        [
            changed("pkg/inner/.gitignore", Added),
            changed("pkg/inner/h", Added),
            changed("pkg/inner/most/g", Added)
        ]
    );
    assert_eq!(again.nested, snapshot.nested, "still reported");
}

#[tokio::test]
async fn a_submodule_stays_as_it_is_and_work_in_it_is_reported() {
    let world = World::new();
    let library = world.project("library", &[("l", "1\n")]);
    let project = world.project("project", &[("a", "1\n")]);
    git(
        &project,
        [
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            &library.display().to_string(),
            "lib",
        ],
    );
    git(
        &project,
        [
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            &library.display().to_string(),
            "lib2",
        ],
    );
    commit_all(&project, "with submodules");
    let job = world.job_on(&project).await;
    assert_eq!(job.snapshot().await.left_out, vec![], "an empty submodule is nothing to report");
    let proof = world.path("ran");
    git_init_nested(&job.tree.path.join("lib"));
    git(
        &job.tree.path.join("lib"),
        ["config", "core.fsmonitor", &format!("touch {}", proof.display())],
    );
    job.write(&[("lib/l", "2\n")]);
    std::fs::remove_dir(job.tree.path.join("lib2")).unwrap();
    let snapshot = job.snapshot().await;
    assert_eq!(snapshot.changed, [changed("lib2", Deleted)]);
    assert_eq!(snapshot.left_out, [LeftOut { path: path("lib"), reason: Reason::Submodule }]);
    assert!(!proof.exists(), "git was started inside the submodule");
}

#[tokio::test]
async fn names_of_any_bytes_are_kept() {
    let world = World::new();
    let job = world.job(&[("a", "1\n")]).await;
    let names: [&[u8]; 5] = [b"caf\xe9", b"new\nline", b"tab\there", b" space ", b"quote\"d"];
    for name in names {
        std::fs::write(job.tree.path.join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    }
    let snapshot = job.snapshot().await;
    let mut expected: Vec<Changed> = names
        .iter()
        .map(|name| Changed { path: RepoPath::from_bytes(*name), kind: Added })
        .collect();
    expected.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(snapshot.changed, expected);
}

#[tokio::test]
async fn links_are_taken_as_links_and_never_followed() {
    let world = World::new();
    let job = world.job(&[("dir/a", "1\n"), ("dir/b", "1\n")]).await;
    let secret = world.path("outside");
    std::fs::create_dir(&secret).unwrap();
    std::fs::write(secret.join("a"), "host secret\n").unwrap();
    std::fs::remove_dir_all(job.tree.path.join("dir")).unwrap();
    symlink(&secret, job.tree.path.join("dir")).unwrap();
    symlink("loop2", job.tree.path.join("loop1")).unwrap();
    symlink("loop1", job.tree.path.join("loop2")).unwrap();
    symlink(".", job.tree.path.join("self")).unwrap();
    symlink("/etc/passwd", job.tree.path.join("passwd")).unwrap();
    symlink(&secret, job.tree.path.join(".gitignore")).unwrap();
    let snapshot = job.snapshot().await;
    let expected = [
        (".gitignore", Added),
        ("dir", Added),
        ("dir/a", Deleted),
        ("dir/b", Deleted),
        ("loop1", Added),
        ("loop2", Added),
        ("passwd", Added),
        ("self", Added),
    ];
    assert_eq!(snapshot.changed, expected.map(|(name, kind)| changed(name, kind)));
    assert_eq!(job.read(&snapshot.tree, "passwd").await, b"/etc/passwd");
    let commit = job.commit(&snapshot.tree).await;
    let listed = job.repository.list(&commit, None, true).await.unwrap();
    assert!(listed.iter().all(|entry| entry.mode == 0o120_000), "{listed:?}");
}

#[tokio::test]
async fn what_is_too_large_or_no_file_is_left_out_and_reported() {
    let world = World::new();
    let job = world.job(&[("tracked", "small\n"), ("pipe", "was a file\n")]).await;
    job.write(&[("tracked", &"x".repeat(5000)), ("huge", &"y".repeat(6000)), ("fine", "z\n")]);
    std::fs::remove_file(job.tree.path.join("pipe")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(job.tree.path.join("pipe"))
        .arg(job.tree.path.join("pipe2"))
        .status()
        .unwrap();
    assert!(made.success());
    let options = Options { file_bytes: 4096, ..Options::default() };
    let snapshot = job.repository.snapshot(&job.tree, &job.base, &options).await.unwrap();
    assert_eq!(snapshot.changed, [changed("fine", Added), changed("pipe", Deleted)]);
    let left = |name: &str, reason| LeftOut { path: path(name), reason };
    // Git does not list pipes that it has never known, so only the one that replaced a file shows.
    assert_eq!(
        snapshot.left_out,
        [
            left("huge", Reason::TooLarge(6000)),
            left("pipe", Reason::Special),
            left("tracked", Reason::TooLarge(5000))
        ]
    );
}

#[tokio::test]
async fn too_much_altogether_is_an_error_that_says_what_to_do() {
    let world = World::new();
    let job = world.job(&[("a", "1\n")]).await;
    job.write(&[("b", "123456\n"), ("c", "123456\n"), ("d", "123456\n")]);
    let try_with = |options| job.repository.snapshot(&job.tree, &job.base, options);
    let few = Options { files: 2, ..Options::default() };
    let error = try_with(&few).await.unwrap_err();
    assert!(
        matches!(&error, Error::TooLarge { limit: 2, unit: "files", .. })
            && error.to_string().contains(".gitignore"),
        "{error}"
    );
    let small = Options { total_bytes: 20, ..Options::default() };
    assert!(matches!(
        try_with(&small).await,
        Err(Error::TooLarge { limit: 20, unit: "bytes", .. })
    ));
    let excluding =
        Options { files: 2, excludes: vec!["/b".into(), "d".into()], ..Options::default() };
    assert_eq!(try_with(&excluding).await.unwrap().changed, [changed("c", Added)]);
}

#[tokio::test]
async fn names_that_attack_other_systems_are_refused_one_by_one() {
    let world = World::new();
    let job = world.job(&[("a", "1\n")]).await;
    job.write(&[
        ("good1", "1\n"),
        (".GIT/config", "[core]\n"),
        ("x/.git\u{200c}/hooks/y", "1\n"),
        ("git~1", "1\n"),
        ("good2", "1\n"),
        ("z/good3", "1\n"),
    ]);
    let snapshot = job.snapshot().await;
    assert_eq!(
        snapshot.changed,
        [changed("good1", Added), changed("good2", Added), changed("z/good3", Added)]
    );
    let refused: Vec<&RepoPath> = snapshot
        .left_out
        .iter()
        .filter(|left| matches!(left.reason, Reason::Refused(_)))
        .map(|left| &left.path)
        .collect();
    assert_eq!(refused, [&path(".GIT/config"), &path("git~1"), &path("x/.git\u{200c}/hooks/y")]);
}

#[tokio::test]
async fn what_cannot_be_read_is_reported_and_not_recorded_as_deleted() {
    if is_root() {
        return again_as_an_ordinary_user(
            "snapshots::what_cannot_be_read_is_reported_and_not_recorded_as_deleted",
        );
    }
    let world = World::new();
    let job = world.job(&[("dir/a", "1\n"), ("f", "1\n")]).await;
    job.write(&[("closed/x", "1\n"), ("f", "2\n")]);
    for name in ["closed", "f"] {
        std::fs::set_permissions(job.tree.path.join(name), PermissionsExt::from_mode(0o000))
            .unwrap();
    }
    let snapshot = job.snapshot().await;
    std::fs::set_permissions(job.tree.path.join("closed"), PermissionsExt::from_mode(0o755))
        .unwrap();
    assert_eq!(snapshot.changed, vec![]);
    let names: Vec<&RepoPath> = snapshot.left_out.iter().map(|left| &left.path).collect();
    assert_eq!(names, [&path("closed"), &path("f")]);
}

#[tokio::test]
async fn a_link_in_place_of_a_file_is_a_change_of_kind_and_a_mode_is_a_change() {
    let world = World::new();
    let job = world.job(&[("a", "1\n"), ("tool", "#!/bin/sh\n")]).await;
    std::fs::remove_file(job.tree.path.join("a")).unwrap();
    symlink("tool", job.tree.path.join("a")).unwrap();
    std::fs::set_permissions(job.tree.path.join("tool"), PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(job.snapshot().await.changed, [changed("a", Retyped), changed("tool", Modified)]);
}

#[tokio::test]
async fn a_rename_in_case_only_is_two_changes() {
    let world = World::new();
    let job = world.job(&[("README", "1\n")]).await;
    std::fs::rename(job.tree.path.join("README"), job.tree.path.join("readme")).unwrap();
    assert_eq!(
        job.snapshot().await.changed,
        [changed("README", Deleted), changed("readme", Added)]
    );
}

#[tokio::test]
async fn the_same_commit_comes_from_the_same_input_and_may_be_empty() {
    let world = World::new();
    let job: Job = world.job(&[("a", "1\n")]).await;
    let tree = job.snapshot().await.tree;
    let (one, two) = (job.commit(&tree).await, job.commit(&tree).await);
    assert_eq!(one, two);
    let info = job.repository.commit_info(&one).await.unwrap();
    assert_eq!(
        (info.author, info.committer, info.parents, info.message.as_str()),
        (who(1), who(1), vec![job.base.clone()], "work")
    );
    let mut commit = windlass_git::snapshot::NewCommit {
        tree,
        parents: vec![],
        author: who(1),
        committer: who(1),
        message: "x\0y".into(),
    };
    assert!(matches!(job.repository.commit(&commit).await, Err(Error::Invalid { .. })));
    commit.message = "x".into();
    commit.author.name = "Evil <a@b>".into();
    assert!(matches!(job.repository.commit(&commit).await, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn a_full_disk_is_called_so_and_the_repository_stays_whole() {
    const NAME: &str = "a_full_disk_is_called_so_and_the_repository_stays_whole";
    let world = World::new();
    let small = world.path("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&small)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return skipped(NAME, "the right to mount a tmpfs: run the tests as root as well");
    }
    let unmount = Unmount(&small);
    let project = world.project("project", &[("a", "1\n")]);
    let repository = world.git.init(&small.join("job.git")).await.unwrap();
    repository
        .fetch(&crate::fixture::local(&project), &["+refs/heads/*:refs/heads/*"], false)
        .await
        .unwrap();
    let base = repository.resolve("main").await.unwrap();
    let tree = windlass_git::snapshot::WorkTree {
        path: world.path("tree"),
        index: world.path("state/index"),
    };
    repository
        .checkout(&tree.path, &windlass_git::checkout::Options::detached(base.clone()))
        .await
        .unwrap();
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as u8
    })
    .take(4 << 20)
    .collect();
    std::fs::write(tree.path.join("noise"), noise).unwrap();
    let error = repository.snapshot(&tree, &base, &Options::default()).await.unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    assert_eq!(repository.resolve("main").await.unwrap(), base);
    std::fs::remove_file(tree.path.join("noise")).unwrap();
    assert_eq!(
        repository.snapshot(&tree, &base, &Options::default()).await.unwrap().changed,
        vec![]
    );
    drop(unmount);
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0).status();
    }
}
