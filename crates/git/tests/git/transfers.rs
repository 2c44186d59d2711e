//! Pushing, and what is never overwritten.

use windlass_git::repository::{Expected, RefUpdate};
use windlass_git::transfer::Pushed;
use windlass_git::{Error, Oid, RefName};

use crate::fixture::{World, commit_all, git, head, local, write};

#[tokio::test]
async fn a_push_sets_a_branch_once_and_says_when_it_was_done_before() {
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    let job = world.job_on(&project).await;
    job.write(&[("a", "2\n")]);
    let commit = job.commit(&job.snapshot().await.tree).await;
    let branch = RefName::branch("windlass/x").unwrap();
    let remote = local(&project);
    assert_eq!(
        job.repository.push(&remote, &branch, &commit, None).await.unwrap(),
        Pushed::Updated
    );
    assert_eq!(
        job.repository.push(&remote, &branch, &commit, None).await.unwrap(),
        Pushed::AlreadyThere
    );
    assert_eq!(git(&project, ["rev-parse", "windlass/x"]), commit.as_str());
    let next = job.commit(&job.repository.tree_of(&job.base).await.unwrap()).await;
    let absent = job.repository.push(&remote, &branch, &next, None).await.unwrap_err();
    assert!(
        matches!(&absent, Error::Stale { reference, expected: None, .. } if reference == branch.as_str()),
        "{absent:?}"
    );
    let wrong = job.repository.push(&remote, &branch, &next, Some(&job.base)).await.unwrap_err();
    assert!(matches!(wrong, Error::Stale { expected: Some(_), .. }), "{wrong:?}");
    assert_eq!(
        job.repository.push(&remote, &branch, &next, Some(&commit)).await.unwrap(),
        Pushed::Updated
    );
    assert!(matches!(
        job.repository.push_delete(&remote, &branch, &commit).await,
        Err(Error::Stale { .. })
    ));
    assert_eq!(job.repository.push_delete(&remote, &branch, &next).await.unwrap(), Pushed::Updated);
    assert_eq!(git(&project, ["branch", "--list", "windlass/*"]), "");
}

#[tokio::test]
async fn a_branch_that_is_checked_out_is_left_alone_and_no_hook_of_the_owner_runs() {
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    let proof = world.path("ran");
    let job = world.job_on(&project).await;
    for hook in [
        "pre-receive",
        "update",
        "post-receive",
        "post-update",
        "reference-transaction",
        "proc-receive",
        "push-to-checkout",
    ] {
        use std::os::unix::fs::PermissionsExt;
        let file = project.join(".git/hooks").join(hook);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, format!("#!/bin/sh\ntouch {}\n", proof.display())).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    }
    git(&project, ["config", "receive.denyCurrentBranch", "updateInstead"]);
    let commit = job.commit(&job.repository.tree_of(&job.base).await.unwrap()).await;
    let main = RefName::branch("main").unwrap();
    let error =
        job.repository.push(&local(&project), &main, &commit, Some(&job.base)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Rejected { reason, .. } if reason.contains("checked out")),
        "{error:?}"
    );
    job.repository
        .push(&local(&project), &RefName::branch("windlass/x").unwrap(), &commit, None)
        .await
        .unwrap();
    assert_eq!(head(&project), job.base);
    assert!(!proof.exists(), "a hook of the owner was run");
}

#[tokio::test]
async fn references_change_together_or_not_at_all() {
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    let first = head(&project);
    write(&project, &[("a", "2\n")]);
    let second = commit_all(&project, "second");
    let repository = world.mirror(&project).await.repository().clone();
    let (a, b) = (RefName::branch("a").unwrap(), RefName::branch("b").unwrap());
    repository.update_reference(&a, &first, Expected::Absent).await.unwrap();
    let both = |expected_a| {
        [
            RefUpdate { name: b.clone(), new: Some(second.clone()), expected: Expected::Absent },
            RefUpdate { name: a.clone(), new: Some(second.clone()), expected: expected_a },
        ]
    };
    let error =
        repository.update_references(&both(Expected::Is(second.clone()))).await.unwrap_err();
    assert!(
        matches!(&error, Error::Stale { reference, expected: Some(expected), .. } if reference == a.as_str() && *expected == second),
        "{error:?}"
    );
    assert_eq!(
        (repository.reference(&a).await.unwrap(), repository.reference(&b).await.unwrap()),
        (Some(first.clone()), None)
    );
    repository.update_references(&both(Expected::Is(first.clone()))).await.unwrap();
    assert_eq!(repository.reference(&b).await.unwrap(), Some(second.clone()));
    let exists = repository.update_reference(&b, &first, Expected::Absent).await.unwrap_err();
    assert!(matches!(exists, Error::Stale { expected: None, .. }), "{exists:?}");
    assert!(matches!(
        repository.delete_reference(&b, Expected::Is(first)).await,
        Err(Error::Stale { .. })
    ));
    repository.delete_reference(&b, Expected::Is(second)).await.unwrap();
    let gone = repository
        .delete_reference(&b, Expected::Is(Oid::parse(&"1".repeat(40)).unwrap()))
        .await
        .unwrap_err();
    assert!(matches!(gone, Error::Stale { .. }), "{gone:?}");
}

#[tokio::test]
async fn a_stale_lock_is_removed_on_request_and_objects_stay() {
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    let repository = world.mirror(&project).await.repository().clone();
    let name = RefName::branch("a/b").unwrap();
    std::fs::create_dir_all(repository.dir().join("refs/heads/a")).unwrap();
    std::fs::write(repository.dir().join("refs/heads/a/b.lock"), "").unwrap();
    std::fs::write(repository.dir().join("packed-refs.lock"), "").unwrap();
    assert_eq!(repository.remove_stale_locks().await.unwrap(), 2);
    repository.update_reference(&name, &head(&project), Expected::Absent).await.unwrap();
    assert_eq!(repository.resolve("a/b").await.unwrap(), head(&project));
}

#[tokio::test]
async fn a_damaged_repository_is_called_damaged() {
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    let repository = world.git.init(&world.path("r.git")).await.unwrap();
    repository.fetch(&local(&project), &["+refs/heads/*:refs/heads/*"], false).await.unwrap();
    let id = head(&project);
    for entry in std::fs::read_dir(repository.dir().join("objects/pack")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "pack") {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[12..].fill(0xaa);
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let error = repository.commit_info(&id).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
}
