//! Layers and limits: what is demanded and missing is refused, what is wanted and missing is said.

use std::process::{Command, Stdio};

use windlass_sandbox::{Client, Demand, Error, Exec, Layer, Limits, Plan, State};

use super::support::{World, id, is_root, operation, skip, tool};

#[test]
fn the_default_plan_has_every_required_layer_in_force() {
    let world = World::new();
    let report = world.environment("layers").report;
    for row in report.layers {
        if row.demand == Demand::Required {
            assert!(row.in_force, "{row:?}");
        }
    }
}

#[test]
fn a_required_layer_that_is_missing_refuses_with_the_remedy_and_starts_nothing() {
    let world = World::new();
    let mut plan = world.plan("disk");
    plan.limits.disk_bytes = Some(1 << 30);
    plan.layers = plan.layers.with(Layer::DiskLimit, Demand::Required);
    match world.client.create(&plan).block().unwrap_err() {
        Error::LayerMissing { layer: Layer::DiskLimit, remedy, .. } => {
            assert!(remedy.contains("file system of its own"), "{remedy}");
        }
        other => panic!("{other}"),
    }
    assert_eq!(world.client.list().block().unwrap(), vec![]);
    let left = std::fs::read_dir(world.state_dir().join("environments")).unwrap().count();
    assert_eq!(left, 0);
    plan.layers = plan.layers.with(Layer::DiskLimit, Demand::Wanted);
    let report = world.client.create(&plan).block().unwrap().report;
    let row = report.layer(Layer::DiskLimit).unwrap();
    assert!(!row.in_force && row.remedy.is_some(), "{row:?}");
}

#[test]
fn a_host_without_user_namespaces_is_refused_with_the_command_that_allows_them() {
    let test = "a_host_without_user_namespaces";
    if Command::new("unshare").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip(test, "unshare: apt-get install util-linux");
    }
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("state");
    let tree = base.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    // A user namespace in which no further one may be made: a host that forbids them.
    let argv = [
        "unshare".into(),
        "--user".into(),
        "--map-root-user".into(),
        "sh".into(),
        "-c".into(),
        "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" serve \"$1\" 120".into(),
        tool().into_os_string(),
        state.clone().into_os_string(),
    ];
    let client = Client::spawn_or_connect(&state, &argv).unwrap();
    let plan = Plan::new(id("none"), &tree, "/workspace/tree");
    let error = client.create(&plan).block().unwrap_err();
    let listed = client.list().block().unwrap();
    client.shutdown().block().unwrap();
    match error {
        Error::LayerMissing { layer: Layer::UserNamespace, remedy, .. } => {
            assert!(remedy.contains("sysctl -w user.max_user_namespaces"), "{remedy}");
        }
        other => panic!("{other}"),
    }
    assert_eq!(listed, vec![]);
}

#[test]
fn root_can_do_without_a_user_namespace_when_the_plan_says_so() {
    let world = World::new();
    let mut plan = world.plan("no-users");
    plan.layers = plan.layers.with(Layer::UserNamespace, Demand::Off);
    let created = world.client.create(&plan).block();
    if !is_root() {
        let error = created.unwrap_err();
        assert!(matches!(error, Error::InvalidPlan { .. }), "{error}");
        return;
    }
    let report = created.unwrap().report;
    assert_eq!(report.inside_uid, report.outside_uid);
    let ran = world.shell(
        "no-users",
        "who",
        "id -u; id -un; id -G; touch mine; echo x > ~/y; stat -c %U mine",
    );
    let id = report.outside_uid;
    assert_eq!(ran.expect_success(), format!("{id}\nagent\n{id}\nagent\n"));
}

#[test]
fn a_structural_layer_cannot_be_waived() {
    let world = World::new();
    for layer in [Layer::Network, Layer::MaskedHost, Layer::NoNewPrivileges] {
        let mut plan = world.plan("waived");
        plan.layers = plan.layers.with(layer, Demand::Wanted);
        let error = world.client.create(&plan).block().unwrap_err();
        assert!(matches!(error, Error::InvalidPlan { .. }), "{error}");
    }
}

#[test]
fn tracing_is_allowed_only_where_the_plan_says_so() {
    let world = World::new();
    let call = windlass_sandbox::canary::Canary::Trace;
    world.environment("closed");
    let mut plan = world.plan_apart("open");
    plan.allow_ptrace = true;
    world.client.create(&plan).block().unwrap();
    // The first process cannot be traced either way: programs must not see into it.
    for name in ["closed", "open"] {
        let outcome = world.client.probe(&id(name), &call).block().unwrap();
        assert!(outcome.stopped, "{}", outcome.detail);
    }
}

#[test]
fn more_processes_than_the_limit_are_refused() {
    let world = World::new();
    let mut plan = world.plan("processes");
    plan.limits.processes = Some(20);
    let report = world.client.create(&plan).block().unwrap().report;
    let row = report.layer(Layer::ProcessLimit).unwrap();
    assert!(row.in_force, "{row:?}");
    let script = "for n in $(seq 40); do sleep 1000 & done; echo made all";
    let ran = world.shell("processes", "many", script);
    assert!(!ran.text().contains("made all"), "{}", ran.text());
    let is_counted = row.detail.contains("cgroup");
    assert_eq!(ran.status.out_of_processes, is_counted, "{row:?}");
    world.client.kill(&id("processes"), &operation("many")).block().unwrap();
    let after = world.shell("processes", "after", "true");
    assert!(!after.status.out_of_processes, "{:?}", after.status);
    after.expect_success();
}

#[test]
fn memory_beyond_the_limit_is_reported_as_such_where_it_is_enforced() {
    let world = World::new();
    let mut plan = world.plan("memory");
    plan.limits.memory_bytes = Some(64 << 20);
    let report = world.client.create(&plan).block().unwrap().report;
    let row = report.layer(Layer::MemoryLimit).unwrap();
    if !row.in_force {
        assert!(row.remedy.is_some(), "{row:?}");
        plan = Plan { limits: plan.limits, ..world.plan_apart("required") };
        plan.layers = plan.layers.with(Layer::MemoryLimit, Demand::Required);
        let error = world.client.create(&plan).block().unwrap_err();
        assert!(matches!(error, Error::LayerMissing { .. }), "{error}");
        return;
    }
    let ran = world.run("memory", "eat", ["tail", "/dev/zero"]);
    assert_eq!(ran.status.state, State::Signalled { signal: 9, out_of_memory: true });
    // A shell that says so of a program of its, and one that only uses the same code.
    let ran = world.shell("memory", "child", "tail /dev/zero; exit $?");
    assert_eq!(ran.status.state, State::Signalled { signal: 9, out_of_memory: true });
    let ran = world.shell("memory", "code", "exit 137");
    assert_eq!(ran.status.state, State::Exited { code: 137 });
    let ran = world.shell("memory", "kill", "kill -9 $$");
    assert_eq!(ran.status.state, State::Signalled { signal: 9, out_of_memory: false });
}

#[test]
fn limits_of_a_single_process_are_set_and_never_above_the_hosts() {
    let world = World::new();
    let mut plan = world.plan("files");
    plan.limits =
        Limits { open_files: Some(u64::MAX), file_bytes: Some(1 << 20), ..Limits::default() };
    world.client.create(&plan).block().unwrap();
    let ran = world.shell("files", "limits", "ulimit -c; ulimit -n >/dev/null && echo set");
    assert_eq!(ran.expect_success(), "0\nset\n");
    let mut exec = Exec::capture(operation("big"), ["head", "-c", "2000000", "/dev/zero"]);
    exec.argv = vec!["sh".into(), "-c".into(), "head -c 2000000 /dev/zero > big".into()];
    let ran = world.run_exec("files", &exec.in_folder("/workspace/tree"));
    assert!(!ran.status.state.is_success(), "{:?}", ran.status);
    assert_eq!(std::fs::metadata(world.tree.join("big")).unwrap().len(), 1 << 20);
    // The limit is the program's, not its keeper's: more output than that is still kept.
    let ran = world.run("files", "output", ["head", "-c", "3000000", "/dev/zero"]);
    assert_eq!(ran.output.len(), 3_000_000);
}
