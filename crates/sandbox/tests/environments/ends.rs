//! How environments end: for sure, completely, whoever is killed.

use std::path::Path;

use windlass_sandbox::{
    Error, Exec, State,
    supervisor::{Swept, sweep},
};

use super::support::{World, await_end, connect, id, operation, processes_with, read_spool};

fn count(path: &Path) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

/// Starts a program that leaves daemons behind in every way there is, and waits until all are up.
fn start_daemons(world: &World, environment: &str, mark: &str) {
    let up = format!("sh -c 'echo up; exec sleep {mark}'");
    let script = format!("setsid {up} & (setsid setsid {up} &) & nohup {up} & {up}");
    let name = operation("daemons");
    let exec = Exec::capture(name.clone(), ["sh", "-c", &script]);
    let spool = world.start(environment, &exec).spool.unwrap();
    let mut seen = 0;
    while read_spool(&spool).0.len() < "up\n".len() * 4 {
        seen = world.client.output(&id(environment), &name, seen).block().unwrap().spool_bytes;
    }
}

#[test]
fn a_destroyed_environment_leaves_no_process_and_no_folder_but_the_work_tree() {
    let world = World::new();
    let mark = format!("97{}1", std::process::id());
    world.environment("gone");
    start_daemons(&world, "gone", &mark);
    let hostile = "mkdir -p ~/a/b && touch ~/a/b/c && chmod 0 ~/a/b && echo kept > kept";
    world.shell("gone", "hostile", hostile).expect_success();
    world.client.destroy(&id("gone")).block().unwrap();
    assert_eq!(processes_with(&mark), Vec::<u32>::new());
    assert_eq!(world.client.list().block().unwrap(), vec![]);
    assert_eq!(count(&world.state_dir().join("environments")), 0);
    assert_eq!(count(&world.state_dir().join("trash")), 0);
    assert_eq!(std::fs::read_to_string(world.tree.join("kept")).unwrap(), "kept\n");
    world.client.destroy(&id("gone")).block().unwrap();
    world.environment("gone");
}

#[test]
fn whoever_waits_for_an_operation_hears_of_its_environments_end() {
    let world = World::new();
    world.environment("waited");
    world.start("waited", &Exec::capture(operation("long"), ["sleep", "1000"]));
    let waiting = world.client.wait(&id("waited"), &operation("long"));
    world.client.destroy(&id("waited")).block().unwrap();
    assert!(matches!(waiting.block().unwrap().state, State::Lost { .. }));
}

#[test]
fn an_environment_whose_first_process_is_killed_is_kept_for_its_last_words() {
    let world = World::new();
    world.environment("killed");
    world.shell("killed", "done", "echo said; exit 4");
    let pid = world.client.list().block().unwrap()[0].pid;
    let waiting =
        world.client.exec(&id("killed"), &Exec::capture(operation("long"), ["sleep", "1000"]));
    waiting.block().unwrap();
    let pending = world.client.wait(&id("killed"), &operation("long"));
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    assert!(matches!(pending.block().unwrap().state, State::Lost { .. }));
    let status = world.client.status(&id("killed"), &operation("done")).block().unwrap();
    assert_eq!(status.state, State::Exited { code: 4 });
    // Whether the supervisor has heard of the end yet or not: nothing is executed any more.
    match world.client.exec(&id("killed"), &Exec::capture(operation("new"), ["true"])).block() {
        Err(Error::NotFound { .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => {
            let status = world.client.wait(&id("killed"), &operation("new")).block().unwrap();
            assert!(matches!(status.state, State::Lost { .. }), "{status:?}");
        }
    }
    world.client.destroy(&id("killed")).block().unwrap();
    assert_eq!(count(&world.state_dir().join("environments")), 0);
}

#[test]
fn a_killed_supervisor_takes_everything_along_and_the_next_one_sweeps() {
    let world = World::new();
    let mark = format!("97{}2", std::process::id());
    let orphan = format!("orphan-{}", std::process::id());
    let mut plan = world.plan(&orphan);
    plan.limits.processes = Some(200);
    world.client.create(&plan).block().unwrap();
    world.client.create(&world.plan_apart("second")).block().unwrap();
    start_daemons(&world, &orphan, &mark);
    let processes = processes_with(&mark);
    let firsts: Vec<u32> =
        world.client.list().block().unwrap().iter().map(|listed| listed.pid).collect();
    assert!(processes.len() >= 4, "{processes:?}");
    let supervisor = world.client.supervisor_pid();
    let raw = rustix::process::Pid::from_raw(i32::try_from(supervisor).unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    for pid in processes.into_iter().chain(firsts).chain([supervisor]) {
        await_end(pid);
    }
    let error = world.client.list().block().unwrap_err();
    assert!(matches!(error, Error::Disconnected { .. }), "{error}");
    let swept = sweep(&world.state_dir()).unwrap();
    assert_eq!(swept.folders, 2);
    assert_eq!(sweep(&world.state_dir()).unwrap(), Swept::default());
    assert_eq!(count(&world.state_dir().join("environments")), 0);
    assert_eq!(groups_of(&orphan), Vec::<String>::new());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(world.base.path().to_str().unwrap()), "{mounts}");
    let client = connect(&world.state_dir(), 120.0);
    client.create(&world.plan(&orphan)).block().unwrap();
    client.shutdown().block().unwrap();
}

#[test]
fn a_supervisor_that_nobody_needs_ends_with_its_environments() {
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("state");
    let tree = base.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let client = connect(&state, 0.2);
    let plan = windlass_sandbox::Plan::new(id("lonely"), &tree, "/workspace/tree");
    client.create(&plan).block().unwrap();
    let pid = client.list().block().unwrap()[0].pid;
    let supervisor = client.supervisor_pid();
    drop(client);
    await_end(pid);
    await_end(supervisor);
    assert_eq!(count(&state.join("environments")), 0);
}

#[test]
fn several_callers_at_once_come_to_one_supervisor() {
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("state");
    let pids: Vec<u32> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| connect(&state, 120.0))).collect();
        let clients: Vec<_> = callers.into_iter().map(|one| one.join().unwrap()).collect();
        clients.iter().map(windlass_sandbox::Client::supervisor_pid).collect()
    });
    assert!(pids.windows(2).all(|pair| pair[0] == pair[1]), "{pids:?}");
    connect(&state, 120.0).shutdown().block().unwrap();
}

#[test]
fn a_supervisor_that_is_ending_is_followed_by_the_next_one() {
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("state");
    let mut seen = Vec::new();
    for _ in 0..5 {
        let client = connect(&state, 120.0);
        assert!(!seen.contains(&client.supervisor_pid()));
        seen.push(client.supervisor_pid());
        client.shutdown().block().unwrap();
    }
}

#[test]
fn a_hundred_environments_come_and_go_and_nothing_piles_up() {
    let world = World::new();
    let supervisor = world.client.supervisor_pid();
    let descriptors = || count(Path::new(&format!("/proc/{supervisor}/fd")));
    let cycle = |number: usize| {
        let mut plan = world.plan(&format!("cycle-{}-{number}", std::process::id()));
        plan.doors = vec![windlass_sandbox::Door { name: "door".to_owned(), port: 0 }];
        plan.limits.processes = Some(100);
        world.client.create(&plan).block().unwrap();
        world.shell(plan.id.as_str(), "true", "true").expect_success();
        world.client.destroy(&plan.id).block().unwrap();
    };
    cycle(0);
    let before = descriptors();
    for number in 1..=100 {
        cycle(number);
    }
    assert_eq!(descriptors(), before);
    let mounts = std::fs::read_to_string(format!("/proc/{supervisor}/mountinfo")).unwrap();
    assert!(!mounts.contains(world.base.path().to_str().unwrap()), "{mounts}");
    assert_eq!(count(&world.state_dir().join("environments")), 0);
    assert_eq!(count(&world.state_dir().join("trash")), 0);
    assert_eq!(groups_of(&format!("cycle-{}-", std::process::id())), Vec::<String>::new());
    assert_eq!(world.client.list().block().unwrap(), vec![]);
}

#[test]
fn an_operation_whose_keeper_is_stopped_from_inside_is_killed_and_holds_nobody_up() {
    let world = World::new();
    world.environment("stopped");
    let mark = format!("97{}3", std::process::id());
    // Daemons do not survive their stopped keeper either.
    let script = format!("setsid sleep {mark} & kill -STOP $PPID; sleep {mark}");
    let ran = world.shell("stopped", "stop", &script);
    assert!(matches!(ran.status.state, State::Lost { .. }), "{:?}", ran.status);
    world.client.kill(&id("stopped"), &operation("stop")).block().unwrap();
    for pid in processes_with(&mark) {
        await_end(pid);
    }
    world.shell("stopped", "next", "true").expect_success();
}

#[test]
fn an_operation_is_over_although_another_one_holds_its_output_open() {
    let world = World::new();
    world.environment("held");
    let held =
        Exec::capture(operation("held"), ["sh", "-c", "echo $$ > pid; echo said; sleep 1000"])
            .in_folder("/workspace/tree");
    let spool = world.start("held", &held).spool.unwrap();
    world.client.output(&id("held"), &operation("held"), 0).block().unwrap();
    let holder =
        "exec 3> /proc/$(cat pid)/fd/1; echo holds; while echo forged >&3; do sleep 0.01; done";
    let holding =
        Exec::capture(operation("holder"), ["sh", "-c", holder]).in_folder("/workspace/tree");
    world.start("held", &holding);
    world.client.output(&id("held"), &operation("holder"), 0).block().unwrap();
    world.client.kill(&id("held"), &operation("held")).block().unwrap();
    let (length, holder) = (std::fs::metadata(&spool).unwrap().len(), operation("holder"));
    // The holder's pipe has lost its reader, which ends it; nothing more was kept.
    world.client.wait(&id("held"), &holder).block().unwrap();
    assert_eq!(std::fs::metadata(&spool).unwrap().len(), length);
}

/// Control groups whose environment's name starts like this.
fn groups_of(environment: &str) -> Vec<String> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let base = Path::new("/sys/fs/cgroup").join(controllers).join(path.trim_start_matches('/'));
        for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("windlass-") && name.contains(environment) {
                found.push(name);
            }
        }
    }
    found
}
