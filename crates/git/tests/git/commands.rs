//! The clean room itself: what git may know, how long it may run, and what is left of it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use windlass_git::{Address, Credential, Error, Git, Options, Remote};

use crate::fixture::World;

/// A program in git's place that runs this shell text.
fn pretend_git(world: &World, text: &str) -> PathBuf {
    let program = world.path("pretend-git");
    std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    program
}

#[tokio::test]
async fn the_version_is_checked_and_a_missing_git_is_called_missing() {
    let world = World::new();
    assert!(world.git.version().await.unwrap().starts_with("2."));
    let old = Git::new(Options {
        program: pretend_git(&world, "echo git version 2.30.2"),
        ..Options::default()
    });
    assert!(matches!(old.version().await, Err(Error::GitTooOld { found }) if found == "2.30.2"));
    let none = Git::new(Options { program: world.path("absent"), ..Options::default() });
    assert!(matches!(none.version().await, Err(Error::GitMissing { .. })));
}

#[tokio::test]
async fn a_credential_reaches_git_by_its_environment_only_and_is_cleared_from_its_words() {
    let world = World::new();
    let program = pretend_git(
        &world,
        &format!(
            "env > {0}/env; echo \"$@\" > {0}/args; env | grep Authorization >&2; echo fatal: no >&2; exit 1",
            world.dir.path().display()
        ),
    );
    let git = Git::new(Options { program, ..Options::default() });
    let remote = Remote::with(
        Address::parse("https://forge.example/acme/api.git").unwrap(),
        Credential::basic("x-access-token", "ghp_verysecret"),
    );
    let error = git.ls_remote(&remote).await.unwrap_err();
    let text = format!("{error} {error:?}");
    let encoded = remote.credential.as_ref().unwrap().authorization().unwrap();
    let encoded = encoded.strip_prefix("Basic ").unwrap();
    assert!(
        !text.contains("ghp_verysecret") && !text.contains(encoded) && text.contains("[redacted]"),
        "{text}"
    );
    let args = std::fs::read_to_string(world.path("args")).unwrap();
    assert!(!args.contains("ghp_verysecret") && !args.contains(encoded), "{args}");
    let env = std::fs::read_to_string(world.path("env")).unwrap();
    assert!(env.contains(encoded), "{env}");
    let inherited = std::env::vars()
        .find(|(key, value)| key.starts_with("CARGO") && env.contains(&format!("{key}={value}")));
    assert_eq!(inherited, None, "git inherited a variable of ours");
}

#[tokio::test]
async fn a_git_that_hangs_is_stopped_with_all_that_it_started() {
    let world = World::new();
    let pids = world.path("pids");
    let program = pretend_git(
        &world,
        &format!("sleep 1000 & echo $! $$ > {0}.new; mv {0}.new {0}; wait", pids.display()),
    );
    let git = Git::new(Options {
        program,
        local_limit: Duration::from_millis(300),
        ..Options::default()
    });
    let error = git.version().await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }) && error.is_transient(), "{error:?}");
    all_gone(&pids).await;
}

#[tokio::test]
async fn a_dropped_call_leaves_no_process() {
    let world = World::new();
    let pids = world.path("pids");
    let program = pretend_git(
        &world,
        &format!("sleep 1000 & echo $! $$ > {0}.new; mv {0}.new {0}; wait", pids.display()),
    );
    let git = Git::new(Options { program, ..Options::default() });
    let call = tokio::spawn(async move { git.version().await });
    while !pids.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    all_gone(&pids).await;
}

/// Waits until none of the processes named in a file runs any more.
async fn all_gone(pids: &std::path::Path) {
    let text = std::fs::read_to_string(pids).unwrap();
    for pid in text.split_whitespace() {
        let running = || {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| !stat.contains(") Z "))
        };
        while running() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn endless_output_is_bounded() {
    let world = World::new();
    let program = pretend_git(&world, "exec yes");
    let git = Git::new(Options { program, output_limit: 10_000, ..Options::default() });
    assert!(matches!(
        git.version().await,
        Err(Error::TooLarge { limit: 10_000, unit: "bytes", .. })
    ));
}
