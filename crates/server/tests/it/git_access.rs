//! Who may fetch and push what, tried with git itself.

use windlass_wire::api::account::Role;

use super::{
    house::{House, commit, try_git},
    scripted_runner::{Runner, credential_url, gave_up},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_pushes_its_own_branch_and_nothing_else() {
    let house = House::new().await;
    house.project("shop").await;
    let runner = Runner::register(&house).await;
    house.task("shop", "Do it").await;
    let held = runner.lease().await;
    let folder = tempfile::tempdir().expect("tempdir");
    let (tree, _) = runner.clone(&held, folder.path());
    std::fs::write(tree.join("x"), "x").expect("written");
    commit(&tree, "Work");
    let own = &held.lease.repository.as_ref().expect("a repository").branches[0];
    for refused in [
        "HEAD:refs/heads/main",
        "HEAD:refs/heads/windlass/other",
        "HEAD:refs/windlass/source/heads/main",
        "HEAD:refs/tags/v1",
        ":refs/heads/main",
    ] {
        let (succeeded, said) = try_git(&tree, &["push", "--quiet", "origin", refused]);
        assert!(!succeeded, "{refused}");
        assert!(said.contains("only refs/heads/windlass/"), "{refused}: {said}");
    }
    let refspec = format!("HEAD:refs/heads/{own}");
    assert!(try_git(&tree, &["push", "--quiet", "origin", &refspec]).0);
    // Its own branch may be rewritten, but not deleted.
    commit_amended(&tree);
    let forced = format!("+{refspec}");
    assert!(try_git(&tree, &["push", "--quiet", "origin", &forced]).0);
    assert!(!try_git(&tree, &["push", "--quiet", "origin", &format!(":refs/heads/{own}")]).0);
    let hidden = try_git(&tree, &["ls-remote", "origin"]).1;
    assert!(!hidden.contains("refs/windlass"), "{hidden}");
}

fn commit_amended(tree: &std::path::Path) {
    let (succeeded, said) = try_git(tree, &["commit", "--quiet", "--amend", "-m", "Better"]);
    assert!(succeeded, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_ends_with_its_lease_and_is_for_one_project() {
    let house = House::new().await;
    house.project("shop").await;
    house.project("other").await;
    let runner = Runner::register(&house).await;
    house.task("shop", "Do it").await;
    let mut held = runner.lease().await;
    let folder = tempfile::tempdir().expect("tempdir");
    let url = credential_url(&held.lease);
    assert!(try_git(folder.path(), &["ls-remote", &url]).0);
    let (succeeded, said) =
        try_git(folder.path(), &["ls-remote", &url.replace("shop.git", "other.git")]);
    assert!(!succeeded && said.contains("not found"), "{said}");
    let forged = url.replace('@', "0@");
    assert!(!try_git(folder.path(), &["ls-remote", &forged]).0);
    runner.report(&mut held, vec![gave_up()]).await;
    let (succeeded, said) = try_git(folder.path(), &["ls-remote", &url]);
    assert!(!succeeded && said.contains("Authentication failed"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_clone_with_a_service_token_and_push_nothing() {
    let house = House::new().await;
    house.project("shop").await;
    let folder = tempfile::tempdir().expect("tempdir");
    let url = |token: &str| house.url.replace("://", &format!("://ann:{token}@")) + "/git/shop.git";
    let viewer = url(&house.token(Role::Viewer).await);
    assert!(try_git(folder.path(), &["clone", "--quiet", &viewer, "copy"]).0);
    let tree = folder.path().join("copy");
    std::fs::write(tree.join("x"), "x").expect("written");
    commit(&tree, "Work");
    let (succeeded, said) = try_git(&tree, &["push", "--quiet", "origin", "HEAD:main"]);
    assert!(!succeeded && said.contains("nothing may be pushed here"), "{said}");
    let runner = url(&house.token(Role::Runner).await);
    assert!(!try_git(folder.path(), &["ls-remote", &runner]).0);
    assert!(!try_git(folder.path(), &["ls-remote", &url("wl_wrong")]).0);
    let nobody = format!("{}/git/shop.git", house.url);
    assert!(!try_git(folder.path(), &["ls-remote", &nobody]).0);
    let plain = house.http.get(format!("{nobody}/HEAD")).send().await.expect("answered");
    assert_eq!(plain.status(), 401);
}
