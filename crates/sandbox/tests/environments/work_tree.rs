//! The one place that an environment writes and its caller reads.

use std::{
    ffi::OsStr,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    process::Command,
};

use windlass_sandbox::Error;

use super::support::{World, id, is_root};

#[test]
fn what_is_written_inside_is_read_outside_and_the_other_way_round() {
    let world = World::new();
    std::fs::create_dir(world.tree.join("folder")).unwrap();
    std::fs::write(world.tree.join("folder/given"), "given").unwrap();
    let created = world.environment("tree");
    let script = "cat folder/given; echo changed > folder/given; mkdir new; echo made > new/file";
    assert_eq!(world.shell("tree", "write", script).expect_success(), "given");
    let read = |path: &str| std::fs::read_to_string(world.tree.join(path)).unwrap();
    assert_eq!((read("folder/given"), read("new/file")), ("changed\n".into(), "made\n".into()));
    let owner = std::fs::metadata(world.tree.join("new/file")).unwrap().uid();
    assert_eq!(owner, created.report.outside_uid);
    assert_ne!(owner, 0);
}

#[test]
fn hostile_names_links_and_loops_harm_nothing() {
    let world = World::new();
    let outside = world.base.path().join("outside");
    std::fs::write(&outside, "outside").unwrap();
    symlink("loop", world.tree.join("loop")).unwrap();
    symlink("..", world.tree.join("up")).unwrap();
    symlink(&outside, world.tree.join("escape")).unwrap();
    let name = OsStr::from_bytes(b"\xff\xfe not utf-8\n");
    std::fs::write(world.tree.join(name), "odd").unwrap();
    let owner = std::fs::metadata(&outside).unwrap().uid();
    world.environment("hostile");
    let ran = world.shell(
        "hostile",
        "look",
        "cat *utf-8*; cat escape || echo nothing; cat loop || echo loops",
    );
    assert_eq!(ran.expect_success(), "oddnothing\nloops\n");
    assert_eq!(std::fs::metadata(&outside).unwrap().uid(), owner);
    world.client.destroy(&id("hostile")).block().unwrap();
    assert_eq!(std::fs::read_to_string(world.tree.join(name)).unwrap(), "odd");
    assert_eq!(std::fs::read_to_string(outside).unwrap(), "outside");
}

#[test]
fn a_tree_with_a_history_is_a_repository_of_the_user_inside() {
    let world = World::new();
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "safe.directory=*", "-c", "user.name=t", "-c", "user.email=t@t"])
            .args(arguments)
            .current_dir(&world.tree)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "--quiet", "--initial-branch", "main"]);
    std::fs::write(world.tree.join("file"), "one\n").unwrap();
    git(&["add", "file"]);
    git(&["commit", "--quiet", "--message", "one"]);
    world.environment("git");
    let script = "git status --porcelain && echo two >> file && \
                  git -c user.name=a -c user.email=a@a commit --quiet --all --message two && \
                  git log --format=%s";
    assert_eq!(world.shell("git", "work", script).expect_success(), "two\none\n");
    assert_eq!(git(&["log", "--format=%s"]), "two\none\n");
    assert_eq!(git(&["fsck"]), "");
}

#[test]
fn a_file_that_others_link_to_is_not_given_away() {
    let world = World::new();
    let mirror = world.base.path().join("mirror");
    std::fs::write(&mirror, "object").unwrap();
    std::fs::set_permissions(&mirror, PermissionsExt::from_mode(0o444)).unwrap();
    std::fs::hard_link(&mirror, world.tree.join("object")).unwrap();
    let created = world.environment("links");
    let ran = world.shell(
        "links",
        "try",
        "cat object; chmod u+w object 2>/dev/null && echo changed > object",
    );
    assert_eq!(ran.text(), "object");
    if is_root() {
        assert_eq!(created.report.shared_files, 1);
        assert_eq!(std::fs::read_to_string(mirror).unwrap(), "object");
    }
}

#[test]
fn a_tree_can_be_had_again_after_its_environment() {
    let world = World::new();
    world.environment("first");
    world.shell("first", "write", "mkdir -p a/b; echo x > a/b/c; chmod 700 a").expect_success();
    world.client.destroy(&id("first")).block().unwrap();
    std::fs::write(world.tree.join("between"), "host").unwrap();
    world.environment("second");
    let ran = world.shell("second", "read", "cat a/b/c between; echo y > a/b/c; echo z > between");
    assert_eq!(ran.expect_success(), "x\nhost");
}

#[test]
fn two_environments_never_share_a_tree() {
    let world = World::new();
    world.environment("holder");
    std::fs::create_dir(world.tree.join("below")).unwrap();
    let mut below = world.plan("below");
    below.work_tree.host = world.tree.join("below");
    for plan in [world.plan("same"), below] {
        let error = world.client.create(&plan).block().unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error}");
        assert!(error.to_string().contains("environment holder"), "{error}");
    }
}

#[test]
fn a_tree_that_is_no_folder_or_missing_is_refused_and_nothing_is_left() {
    let world = World::new();
    let mut missing = world.plan("missing");
    missing.work_tree.host = world.base.path().join("missing");
    let mut file = world.plan("file");
    file.work_tree.host = world.base.path().join("file");
    std::fs::write(&file.work_tree.host, "").unwrap();
    for plan in [missing, file] {
        let error = world.client.create(&plan).block().unwrap_err();
        assert!(matches!(error, Error::Build { .. }), "{error}");
    }
    assert_eq!(world.client.list().block().unwrap(), vec![]);
}

#[test]
fn a_mount_point_is_never_looked_up_through_a_link_in_the_tree() {
    let world = World::new();
    symlink("/usr", world.tree.join("link")).unwrap();
    let mut plan = world.plan("link");
    plan.binds = vec![windlass_sandbox::Bind {
        host: world.base.path().join("tree"),
        inside: "/workspace/tree/link/share".into(),
        optional: false,
    }];
    let error = world.client.create(&plan).block().unwrap_err().to_string();
    assert!(error.contains("is a link or a file"), "{error}");
}
