//! What an environment must not see, reach or become.

use std::{net::TcpListener, os::unix::fs::PermissionsExt, path::PathBuf};

use windlass_sandbox::{
    Bind, Error, Exec, Scratch,
    canary::{Canary, refused_calls},
    doctor, toolchains,
};

use super::support::{World, id, operation, tool};

#[test]
fn the_doctor_sees_every_attack_stopped_and_leaves_nothing_behind() {
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("state");
    let argv = [tool().into(), "serve".into(), state.clone().into(), "120".into()];
    let rows = doctor::examine(&state, &argv).unwrap();
    let failed: Vec<_> = rows.iter().filter(|row| row.required && !row.ok).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(rows.len() > 30, "{rows:#?}");
    let left = std::fs::read_dir(state.join("environments")).unwrap().count();
    let others = std::fs::read_dir(base.path()).unwrap().count();
    assert_eq!((left, others), (0, 1));
}

#[test]
fn every_refused_system_call_is_refused() {
    let world = World::new();
    world.environment("calls");
    for (number, reason) in refused_calls() {
        let outcome =
            world.client.probe(&id("calls"), &Canary::SystemCall(number)).block().unwrap();
        assert!(outcome.stopped, "call {number} ({reason}): {}", outcome.detail);
    }
}

#[test]
fn nothing_of_the_host_is_there_but_what_was_planned() {
    let world = World::new();
    let secret = world.base.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    world.environment("masked");
    let probe = |canary| world.client.probe(&id("masked"), &canary).block().unwrap();
    for path in [
        secret,
        world.state_dir(),
        PathBuf::from("/etc/shadow"),
        PathBuf::from("/etc/gitconfig"),
        PathBuf::from("/etc/environment"),
        PathBuf::from("/usr/local/etc"),
        PathBuf::from("/root"),
        PathBuf::from("/boot"),
        PathBuf::from("/srv"),
        PathBuf::from("/opt"),
        PathBuf::from("/sys/kernel"),
        PathBuf::from("/sys/fs/cgroup"),
        PathBuf::from("/proc/cmdline"),
        PathBuf::from("/proc/kcore"),
        PathBuf::from("/proc/keys"),
        PathBuf::from("/proc/1/root"),
        PathBuf::from("/proc/1/environ"),
    ] {
        let outcome = probe(Canary::Read(path.clone()));
        assert!(outcome.stopped, "{}: {}", path.display(), outcome.detail);
    }
    let home = world.shell("masked", "home", "ls /home; ls -A /home/agent /tmp /run /var/tmp");
    assert_eq!(home.expect_success(), "agent\n/home/agent:\n\n/run:\n\n/tmp:\n\n/var/tmp:\n");
}

#[test]
fn programs_run_as_an_ordinary_user_with_a_home_of_their_own() {
    let world = World::new();
    world.environment("user");
    let script = "id -u; id -g; id -un; echo $HOME; cd; echo x > kept; cat kept; hostname; umask";
    let ran = world.shell("user", "who", script);
    assert_eq!(ran.expect_success(), "1000\n1000\nagent\n/home/agent\nx\nwindlass\n0022\n");
}

#[test]
fn no_program_changes_the_limits_of_the_processes_that_watch_it() {
    let world = World::new();
    world.environment("limits");
    let script = "for pid in 1 $PPID; do prlimit --pid $pid --nofile=3:3 && echo changed; done; \
                  prlimit --pid $PPID --fsize=0:0 && echo changed; \
                  ulimit -n 100 && ulimit -n";
    assert_eq!(world.shell("limits", "try", script).expect_success(), "100\n");
}

#[test]
fn a_crash_inside_is_dumped_neither_to_a_file_nor_to_the_hosts_handler() {
    let world = World::new();
    world.environment("core");
    let allowed = rustix::process::getrlimit(rustix::process::Resource::Core).maximum;
    let expected = allowed.unwrap_or(1).min(1);
    // Lowering the limit to 0 seems to work, and would call the handler if it did.
    let show = "prlimit --core --noheadings --raw --output SOFT,HARD";
    let seen = world.shell("core", "show", &format!("{show}; ulimit -c 0 && {show}"));
    assert_eq!(seen.expect_success(), format!("{expected} {expected}\n").repeat(2));
}

#[test]
fn scratch_memory_is_not_used_up_by_empty_files() {
    let world = World::new();
    let mut plan = world.plan("inodes");
    plan.scratch = Scratch::Memory { bytes: 1 << 20 };
    world.client.create(&plan).block().unwrap();
    let script = "cd /tmp && seq 1 20000 | xargs touch 2>/dev/null; test $(ls | wc -l) -lt 20000 && echo full";
    assert_eq!(world.shell("inodes", "fill", script).expect_success(), "full\n");
}

#[test]
fn the_host_sees_no_mount_of_an_environment() {
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let world = World::new();
    world.environment("mounts");
    let supervisor = format!("/proc/{}/mountinfo", world.client.supervisor_pid());
    let seen = std::fs::read_to_string(supervisor).unwrap();
    for text in [mounts(), seen] {
        assert!(!text.contains("windlass windlass"), "{text}");
        assert!(!text.contains(world.base.path().to_str().unwrap()), "{text}");
    }
}

#[test]
fn the_host_is_not_reached_over_any_address() {
    let world = World::new();
    world.environment("network");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [
        listener.local_addr().unwrap(),
        "192.0.2.1:443".parse().unwrap(),
        "[::1]:22".parse().unwrap(),
    ] {
        let outcome =
            world.client.probe(&id("network"), &Canary::Connect(address)).block().unwrap();
        assert!(outcome.stopped, "{address}: {}", outcome.detail);
    }
}

#[test]
fn two_environments_do_not_see_each_other() {
    let world = World::new();
    world.environment("one");
    world.client.create(&world.plan_apart("two")).block().unwrap();
    world
        .shell("one", "write", "echo one > /tmp/mark; echo one > /home/agent/mark")
        .expect_success();
    let seen = world.shell("two", "look", "ls -A /tmp /home/agent; ls /workspace/tree");
    assert_eq!(seen.expect_success(), "/home/agent:\n\n/tmp:\n");
    let outcome = world.client.probe(&id("two"), &Canary::SeeProcesses).block().unwrap();
    assert!(outcome.stopped, "{}", outcome.detail);
}

#[test]
fn binds_are_read_only_and_masks_hide_what_lies_in_them() {
    let world = World::new();
    let tools = world.base.path().join("tools");
    std::fs::create_dir_all(tools.join("private")).unwrap();
    std::fs::write(tools.join("program"), "program").unwrap();
    std::fs::write(tools.join("token"), "token").unwrap();
    std::fs::write(tools.join("private/key"), "key").unwrap();
    let mut plan = world.plan("binds");
    let bind = |host: PathBuf, inside: &str| Bind { host, inside: inside.into(), optional: false };
    plan.binds = vec![
        bind(tools.join("program"), "/opt/windlass/bin/program"),
        bind(tools.clone(), "/home/agent/.tools"),
        Bind { optional: true, ..bind("/nonexistent/folder".into(), "/opt/none") },
    ];
    plan.masks = ["token", "private", "absent"]
        .map(|name| PathBuf::from("/home/agent/.tools").join(name))
        .to_vec();
    world.client.create(&plan).block().unwrap();
    let script = "cat /opt/windlass/bin/program; cd ~/.tools; cat program token; ls private; \
                  echo x 2>/dev/null > program || echo refused; test -e /opt/none || echo absent";
    let ran = world.shell("binds", "look", script);
    assert_eq!(ran.expect_success(), "programprogramrefused\nabsent\n");
}

#[test]
fn a_toolchain_in_a_home_works_inside_and_its_credentials_stay_outside() {
    let world = World::new();
    let home = world.base.path().join("home");
    std::fs::create_dir_all(home.join(".cargo/bin")).unwrap();
    std::fs::create_dir_all(home.join(".rustup/toolchains")).unwrap();
    let program = home.join(".cargo/bin/cargo");
    std::fs::write(&program, "#!/bin/sh\necho cargo of $RUSTUP_HOME\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(home.join(".cargo/credentials.toml"), "secret").unwrap();
    let found = toolchains::find(Some(&home), |_| None);
    let mut plan = world.plan("toolchain");
    plan.binds = found.binds;
    world.client.create(&plan).block().unwrap();
    let path = format!("{}:/usr/bin:/bin", found.path[0].display());
    let mut exec = Exec::capture(operation("cargo"), ["cargo"]).with_env("PATH", path);
    exec.env.extend(found.env.into_iter().map(|(name, value)| (name.into(), value.into())));
    let expected = format!("cargo of {}\n", home.join(".rustup").display());
    assert_eq!(world.run_exec("toolchain", &exec).expect_success(), expected);
    let credentials = Canary::Read(home.join(".cargo/credentials.toml"));
    let outcome = world.client.probe(&id("toolchain"), &credentials).block().unwrap();
    assert!(outcome.stopped, "{}", outcome.detail);
}

#[test]
fn scratch_can_be_on_disk_and_is_bounded_in_memory() {
    let world = World::new();
    let mut plan = world.plan("disk");
    plan.scratch = Scratch::Disk;
    world.client.create(&plan).block().unwrap();
    let ran =
        world.shell("disk", "write", "echo x > /tmp/a; echo y > /var/tmp/b; cat /tmp/a /var/tmp/b");
    assert_eq!(ran.expect_success(), "x\ny\n");
    let mut plan = world.plan_apart("memory");
    plan.scratch = Scratch::Memory { bytes: 4 << 20 };
    world.client.create(&plan).block().unwrap();
    let ran = world.shell("memory", "fill", "head -c 8000000 /dev/zero > /tmp/big || echo full");
    assert_eq!(ran.expect_success(), "full\n");
}

#[test]
fn a_plan_that_would_show_the_supervisors_state_is_refused() {
    let world = World::new();
    let mut by_tree = world.plan("tree");
    by_tree.work_tree.host = world.base.path().to_path_buf();
    let mut by_bind = world.plan("bind");
    by_bind.binds = vec![Bind {
        host: world.state_dir().join("environments"),
        inside: "/opt/state".into(),
        optional: false,
    }];
    let mut over_proc = world.plan("proc");
    over_proc.work_tree.inside = "/proc/tree".into();
    let mut climbing = world.plan("climb");
    climbing.work_tree.inside = "/workspace/../etc".into();
    for plan in [by_tree, by_bind, over_proc, climbing] {
        let error = world.client.create(&plan).block().unwrap_err();
        assert!(matches!(error, Error::InvalidPlan { .. }), "{error}");
    }
    assert_eq!(world.client.list().block().unwrap(), vec![]);
}

#[test]
fn a_bind_that_is_missing_or_has_no_place_says_what_to_do() {
    let world = World::new();
    let mut missing = world.plan("missing");
    missing.binds = vec![Bind {
        host: "/nonexistent/tool".into(),
        inside: "/opt/tool".into(),
        optional: false,
    }];
    let mut no_place = world.plan("no-place");
    no_place.binds = vec![Bind {
        host: world.base.path().join("tree"),
        inside: "/usr/share/windlass-no-such-place".into(),
        optional: false,
    }];
    for (plan, hint) in [(missing, "create it, or mark"), (no_place, "choose another path inside")]
    {
        let error = world.client.create(&plan).block().unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
    }
    assert_eq!(world.client.list().block().unwrap(), vec![]);
    let left = std::fs::read_dir(world.state_dir().join("environments")).unwrap().count();
    assert_eq!(left, 0);
}
