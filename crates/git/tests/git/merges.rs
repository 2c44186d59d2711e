//! Merges without a work tree, beside what plain git makes of the same histories.

use std::path::{Path, PathBuf};

use windlass_git::merge::{Merge, Merged, Method};
use windlass_git::{Error, Oid, RepoPath, Repository};

use crate::fixture::{World, commit_all, git, head, try_git, who, write};

const LINES: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";

/// A project with `main` and `work` apart from each other, each with two commits.
fn diverged(world: &World) -> PathBuf {
    let dir = world.project("project", &[("a", LINES), ("b", "b\n"), ("old/name", LINES)]);
    git(&dir, ["checkout", "-q", "-b", "work"]);
    write(&dir, &[("a", &LINES.replace('2', "two"))]);
    commit_all(&dir, "work one\n\nwith a body\n");
    git(&dir, ["mv", "old/name", "renamed"]);
    write(&dir, &[("new", "n\n")]);
    commit_all(&dir, "work two");
    git(&dir, ["checkout", "-q", "main"]);
    write(&dir, &[("a", &LINES.replace('8', "eight"))]);
    commit_all(&dir, "main one");
    write(&dir, &[("old/name", &LINES.replace('5', "five"))]);
    commit_all(&dir, "main two");
    dir
}

async fn repository(world: &World, dir: &Path) -> Repository {
    world.mirror(dir).await.repository().clone()
}

fn rev(dir: &Path, name: &str) -> Oid {
    Oid::parse(&git(dir, ["rev-parse", name])).unwrap()
}

fn merge(dir: &Path, method: Method) -> Merge {
    Merge {
        base: rev(dir, "main"),
        head: rev(dir, "work"),
        method,
        message: "Merge it".into(),
        author: who(5),
        committer: who(6),
    }
}

#[tokio::test]
async fn a_merge_commit_has_the_tree_that_git_merge_makes() {
    let world = World::new();
    let dir = diverged(&world);
    let repository = repository(&world, &dir).await;
    let Merged::Clean { commit, made } =
        repository.merge(&merge(&dir, Method::Merge)).await.unwrap()
    else {
        panic!()
    };
    let (main, work) = (rev(&dir, "main"), rev(&dir, "work"));
    git(&dir, ["merge", "-q", "--no-ff", "-m", "x", "work"]);
    assert_eq!(repository.tree_of(&commit).await.unwrap(), rev(&dir, "HEAD^{tree}"));
    let info = repository.commit_info(&commit).await.unwrap();
    assert_eq!(
        (info.parents, info.message, info.author, info.committer, made),
        (vec![main, work], "Merge it".into(), who(5), who(6), vec![commit])
    );
}

#[tokio::test]
async fn a_squash_has_the_tree_that_git_merge_squash_makes_on_one_parent() {
    let world = World::new();
    let dir = diverged(&world);
    let repository = repository(&world, &dir).await;
    let Merged::Clean { commit, .. } =
        repository.merge(&merge(&dir, Method::Squash)).await.unwrap()
    else {
        panic!()
    };
    let main = rev(&dir, "main");
    git(&dir, ["merge", "-q", "--squash", "work"]);
    git(&dir, ["commit", "-q", "-m", "x"]);
    assert_eq!(repository.tree_of(&commit).await.unwrap(), rev(&dir, "HEAD^{tree}"));
    assert_eq!(repository.commit_info(&commit).await.unwrap().parents, vec![main]);
}

#[tokio::test]
async fn a_rebase_has_the_trees_authors_and_messages_that_git_rebase_makes() {
    let world = World::new();
    let dir = diverged(&world);
    // A commit that main has under another id, one that is empty, and a merge: as git treats them.
    git(&dir, ["checkout", "-q", "work"]);
    write(&dir, &[("picked", "p\n")]);
    commit_all(&dir, "picked");
    commit_all(&dir, "empty on purpose");
    git(&dir, ["branch", "-q", "side", "HEAD~2"]);
    git(&dir, ["checkout", "-q", "side"]);
    write(&dir, &[("side", "s\n")]);
    commit_all(&dir, "on the side");
    git(&dir, ["checkout", "-q", "work"]);
    git(&dir, ["merge", "-q", "--no-ff", "-m", "a merge", "side"]);
    git(&dir, ["checkout", "-q", "main"]);
    git(&dir, ["cherry-pick", "work~2"]);
    let repository = repository(&world, &dir).await;
    let request = merge(&dir, Method::Rebase);
    let Merged::Clean { commit, made } = repository.merge(&request).await.unwrap() else {
        panic!()
    };
    git(&dir, ["checkout", "-q", "work"]);
    git(&dir, ["rebase", "-q", "main"]);
    let format = "--format=%T %an %at %B";
    let ours = repository.commits_between(&request.base, &commit, 100).await.unwrap();
    let ours: Vec<String> = ours
        .iter()
        .map(|c| format!("{} {} {} {}", c.tree, c.author.name, c.author.at / 1_000_000, c.message))
        .collect();
    let theirs = git(&dir, ["log", "-z", format, "main..work"]);
    let theirs: Vec<&str> =
        theirs.split('\0').map(str::trim_end).filter(|text| !text.is_empty()).collect();
    assert_eq!(ours, theirs);
    assert_eq!((made.len(), made.last()), (ours.len(), Some(&commit)));
    assert_eq!(repository.commit_info(&commit).await.unwrap().committer, who(6));
}

#[tokio::test]
async fn a_rebase_that_only_has_to_move_ahead_keeps_the_commits() {
    let world = World::new();
    let dir = world.project("project", &[("a", "1\n")]);
    git(&dir, ["checkout", "-q", "-b", "work"]);
    write(&dir, &[("a", "2\n")]);
    let work = commit_all(&dir, "work");
    let repository = repository(&world, &dir).await;
    assert_eq!(
        repository.merge(&merge(&dir, Method::Rebase)).await.unwrap(),
        Merged::Clean { commit: work.clone(), made: vec![] }
    );
    let backwards =
        Merge { base: work.clone(), head: rev(&dir, "main"), ..merge(&dir, Method::Merge) };
    assert_eq!(repository.merge(&backwards).await.unwrap(), Merged::NothingToDo);
    assert!(repository.is_ancestor(&rev(&dir, "main"), &work).await.unwrap());
    assert_eq!(repository.ahead_behind(&rev(&dir, "main"), &work).await.unwrap(), (1, 0));
}

#[tokio::test]
async fn a_conflict_names_its_paths_and_nothing_is_forced() {
    let world = World::new();
    let dir = world.project(
        "project",
        &[("a", LINES), ("gone", LINES), ("caf\u{e9}", LINES), ("fine", "f\n")],
    );
    git(&dir, ["checkout", "-q", "-b", "work"]);
    write(&dir, &[("fine", "g\n")]);
    commit_all(&dir, "fine");
    write(
        &dir,
        &[
            ("a", &LINES.replace('5', "work")),
            ("caf\u{e9}", &LINES.replace('5', "work")),
            ("gone", &LINES.replace('5', "work")),
        ],
    );
    let at_fault = commit_all(&dir, "work");
    git(&dir, ["checkout", "-q", "main"]);
    git(&dir, ["rm", "-q", "gone"]);
    write(&dir, &[("a", &LINES.replace('5', "main")), ("caf\u{e9}", &LINES.replace('5', "main"))]);
    commit_all(&dir, "main");
    let before = git(&dir, ["for-each-ref"]);
    let repository = repository(&world, &dir).await;
    let paths = ["a", "caf\u{e9}", "gone"].map(|path| RepoPath::parse(path).unwrap());
    for method in [Method::Merge, Method::Squash, Method::Rebase] {
        let Merged::Conflict(conflict) = repository.merge(&merge(&dir, method)).await.unwrap()
        else {
            panic!("{method:?}")
        };
        assert_eq!(conflict.paths, paths, "{method:?}");
        assert_eq!(conflict.messages.len(), 3, "{:?}", conflict.messages);
        assert_eq!(conflict.commit, (method == Method::Rebase).then(|| at_fault.clone()));
    }
    let check =
        repository.merge_check(&rev(&dir, "main"), &rev(&dir, "work")).await.unwrap().unwrap();
    assert_eq!(check.paths, paths);
    assert!(!try_git(&dir, ["merge", "-q", "work"]).0, "plain git sees the conflict too");
    git(&dir, ["merge", "--abort"]);
    assert_eq!(git(&dir, ["for-each-ref"]), before);
}

#[tokio::test]
async fn histories_that_never_met_are_not_merged() {
    let world = World::new();
    let dir = world.project("project", &[("a", "1\n")]);
    git(&dir, ["checkout", "-q", "--orphan", "work"]);
    write(&dir, &[("b", "1\n")]);
    commit_all(&dir, "another beginning");
    let repository = repository(&world, &dir).await;
    assert!(matches!(
        repository.merge(&merge(&dir, Method::Merge)).await,
        Err(Error::Unrelated { .. })
    ));
    assert_eq!(repository.merge_base(&rev(&dir, "main"), &head(&dir)).await.unwrap(), None);
}
