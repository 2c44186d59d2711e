//! Checkpoints that travel as thin bundles.

use windlass_git::{Error, RefName, repository::Expected};

use crate::fixture::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_whose_making_was_killed_is_finished() {
    let world = World::new();
    let project = world.project("project", &[("a", "1\n")]);
    let mirror = world.mirror(&project).await;
    let half = world.path("half.git");
    std::fs::create_dir_all(half.join("refs/heads")).unwrap();
    std::fs::write(half.join("config.lock"), "[core]").unwrap();
    std::fs::write(half.join("HEAD.lock"), "").unwrap();
    let made = world.git.init_borrowing(&half, mirror.repository()).await.unwrap();
    let base = mirror.repository().resolve("main").await.unwrap();
    assert!(made.contains(&base).await.unwrap());
}

#[tokio::test]
async fn a_checkpoint_travels_as_a_thin_bundle_to_a_repository_that_has_its_base() {
    let world = World::new();
    let job = world.job(&[("a", "1\n")]).await;
    job.write(&[("a", "2\n")]);
    let commit = job.commit(&job.snapshot().await.tree).await;
    let name = RefName::checkpoint("job-1", "step-1").unwrap();
    job.repository.update_reference(&name, &commit, Expected::Absent).await.unwrap();
    let file = world.path("c.bundle");
    assert!(
        job.repository.create_bundle(&file, &name, std::slice::from_ref(&job.base)).await.unwrap()
    );
    assert!(
        !job.repository
            .create_bundle(&world.path("none"), &name, std::slice::from_ref(&commit))
            .await
            .unwrap()
    );
    assert!(!world.path("none").exists());

    let mirror = world.git.open(&world.path("mirror.git")).unwrap();
    let other = world.git.init_borrowing(&world.path("other.git"), &mirror).await.unwrap();
    let wrong = other.apply_bundle(&file, &name, &job.base).await.unwrap_err();
    assert!(matches!(wrong, Error::Missing { .. }), "{wrong:?}");
    other.apply_bundle(&file, &name, &commit).await.unwrap();
    other.apply_bundle(&file, &name, &commit).await.unwrap();
    assert_eq!(other.reference(&name).await.unwrap(), Some(commit.clone()));
    assert_eq!(other.changed_paths(&job.base, &commit).await.unwrap().len(), 1);

    let empty = world.git.init(&world.path("empty.git")).await.unwrap();
    let lacking = empty.apply_bundle(&file, &name, &commit).await.unwrap_err();
    assert!(matches!(lacking, Error::Missing { .. }), "{lacking:?}");
}

#[tokio::test]
async fn a_bundle_that_is_damaged_or_missing_changes_nothing() {
    let world = World::new();
    let job = world.job(&[("a", "1\n")]).await;
    job.write(&[("a", "2\n")]);
    let commit = job.commit(&job.snapshot().await.tree).await;
    let name = RefName::checkpoint("job-1", "step-1").unwrap();
    job.repository.update_reference(&name, &commit, Expected::Absent).await.unwrap();
    let file = world.path("c.bundle");
    job.repository.create_bundle(&file, &name, std::slice::from_ref(&job.base)).await.unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len() - 30;
    bytes[at] ^= 0xff;
    std::fs::write(&file, &bytes).unwrap();
    let mirror = world.git.open(&world.path("mirror.git")).unwrap();
    let other = world.git.init_borrowing(&world.path("other.git"), &mirror).await.unwrap();
    assert!(other.apply_bundle(&file, &name, &commit).await.is_err());
    assert!(other.apply_bundle(&world.path("absent"), &name, &commit).await.is_err());
    std::fs::write(&file, "not a bundle").unwrap();
    assert!(other.apply_bundle(&file, &name, &commit).await.is_err());
    assert_eq!(other.reference(&name).await.unwrap(), None);
}
