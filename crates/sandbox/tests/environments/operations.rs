//! Executing programs: exactly what was asked, once, with a known end.

use std::{
    ffi::OsString,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::unix::ffi::OsStringExt,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake},
    thread::{self, Thread},
};

use windlass_sandbox::{Error, Exec, Io, State};

use super::support::{World, await_end, id, operation, processes_with, read_spool};

#[test]
fn arguments_and_variables_arrive_byte_for_byte() {
    let world = World::new();
    world.environment("exact");
    let odd = OsString::from_vec(b"\xff $(id) 'x' \"y\" \\ \n end".to_vec());
    let argv: Vec<OsString> =
        vec!["/usr/bin/printf".into(), "%s|".into(), "a b".into(), "".into(), odd.clone()];
    let ran = world.run("exact", "printf", argv);
    assert_eq!(ran.output, b"a b||\xff $(id) 'x' \"y\" \\ \n end|");
    let exec = Exec::capture(operation("env"), ["env", "-0"])
        .with_env("ODD", odd)
        .with_env("PATH", "/usr/bin")
        .in_folder("/workspace/tree");
    let ran = world.run_exec("exact", &exec);
    let mut seen: Vec<&[u8]> =
        ran.output.split(|byte| *byte == 0).filter(|v| !v.is_empty()).collect();
    seen.sort_unstable();
    let expected: [&[u8]; 5] = [
        b"HOME=/home/agent",
        b"LOGNAME=agent",
        b"ODD=\xff $(id) 'x' \"y\" \\ \n end",
        b"PATH=/usr/bin",
        b"USER=agent",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_same_operation_never_executes_twice() {
    let world = World::new();
    world.environment("once");
    let exec = Exec::capture(operation("append"), ["sh", "-c", "echo x >> log; exit 3"])
        .in_folder("/workspace/tree");
    let first = world.start("once", &exec);
    let status = world.client.wait(&id("once"), &operation("append")).block().unwrap();
    let second = world.start("once", &exec);
    let again = world.client.wait(&id("once"), &operation("append")).block().unwrap();
    assert_eq!((first.fresh, second.fresh), (true, false));
    assert_eq!(first.spool, second.spool);
    assert_eq!(status.state, State::Exited { code: 3 });
    assert_eq!(status, again);
    assert_eq!(std::fs::read_to_string(world.tree.join("log")).unwrap(), "x\n");
    let other = Exec::capture(operation("append"), ["true"]);
    let error = world.client.exec(&id("once"), &other).block().unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
}

#[test]
fn every_kind_of_end_is_told_apart() {
    let world = World::new();
    world.environment("ends");
    let state = |name: &str, script: &str| world.shell("ends", name, script).status.state;
    assert_eq!(state("zero", "true"), State::Exited { code: 0 });
    assert_eq!(state("code", "exit 77"), State::Exited { code: 77 });
    assert_eq!(
        state("term", "kill -TERM $$"),
        State::Signalled { signal: 15, out_of_memory: false }
    );
    assert_eq!(
        state("kill", "kill -KILL $$"),
        State::Signalled { signal: 9, out_of_memory: false }
    );
    let not_started = |name: &str, argv: &[&str], cwd: &str| {
        let exec = Exec::capture(operation(name), argv.iter().copied()).in_folder(cwd);
        match world.run_exec("ends", &exec).status.state {
            State::NotStarted { why } => why,
            other => panic!("{other:?}"),
        }
    };
    let unknown = not_started("unknown", &["windlass-no-such-program"], "/tmp");
    assert!(unknown.contains("windlass-no-such-program: No such file"), "{unknown}");
    let folder = not_started("folder", &["true"], "/no/such/folder");
    assert!(folder.contains("enter the folder /no/such/folder"), "{folder}");
    let closed = not_started("closed", &["/etc/passwd"], "/tmp");
    assert!(closed.contains("Permission denied"), "{closed}");
    let empty = not_started("empty", &[], "/tmp");
    assert!(empty.contains("argument list is empty"), "{empty}");
}

#[test]
fn both_streams_are_kept_in_order_and_what_comes_before_the_end_is_complete() {
    let world = World::new();
    world.environment("streams");
    let ran = world.shell("streams", "both", "echo out; echo err >&2; seq 1 20000; exit 1");
    let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(ran.status.state, State::Exited { code: 1 });
    assert_eq!(ran.text(), format!("out\n{expected}"));
    assert_eq!(ran.errors, b"err\n");
}

#[test]
fn output_after_the_limit_is_counted_and_the_program_goes_on() {
    let world = World::new();
    world.environment("limit");
    let script = "head -c 3000000 /dev/zero; echo ended > mark";
    let mut exec =
        Exec::capture(operation("zeros"), ["sh", "-c", script]).in_folder("/workspace/tree");
    exec.io = Io::Capture { limit_bytes: 1 << 20 };
    let ran = world.run_exec("limit", &exec);
    assert_eq!(ran.status.state, State::Exited { code: 0 });
    assert_eq!(ran.output.len(), 1 << 20);
    assert_eq!(ran.status.dropped_bytes, 3_000_000 - (1 << 20));
    assert_eq!(std::fs::read_to_string(world.tree.join("mark")).unwrap(), "ended\n");
}

#[test]
fn output_is_followed_while_it_is_written_and_after_the_caller_is_replaced() {
    let world = World::new();
    world.environment("follow");
    let script = "echo first; while ! test -e go; do sleep 0.01; done; echo second";
    let exec = Exec::capture(operation("talk"), ["sh", "-c", script]).in_folder("/workspace/tree");
    let first = world.another_client();
    let started = first.exec(&id("follow"), &exec).block().unwrap();
    let spool = started.spool.unwrap();
    let status = first.output(&id("follow"), &operation("talk"), 0).block().unwrap();
    assert_eq!(status.state, State::Running);
    assert_eq!(read_spool(&spool).0, b"first\n");
    drop(first);
    let pending = world.client.output(&id("follow"), &operation("talk"), status.spool_bytes);
    std::fs::write(world.tree.join("go"), "").unwrap();
    let status = pending.block().unwrap();
    assert!(status.spool_bytes > 0);
    world.client.wait(&id("follow"), &operation("talk")).block().unwrap();
    assert_eq!(read_spool(&spool).0, b"first\nsecond\n");
}

#[test]
fn pipes_carry_a_conversation() {
    let world = World::new();
    world.environment("pipes");
    let exec = Exec::capture(operation("cat"), ["cat"]).with_pipes();
    let pipes = world.start("pipes", &exec).pipes.unwrap();
    let (mut input, mut output) = (File::from(pipes.stdin), File::from(pipes.stdout));
    input.write_all(b"hello\n").unwrap();
    let mut said = [0; 6];
    output.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hello\n");
    drop(input);
    let status = world.client.wait(&id("pipes"), &operation("cat")).block().unwrap();
    assert_eq!(status.state, State::Exited { code: 0 });
}

#[test]
fn an_operation_with_pipes_dies_with_its_caller_and_others_do_not() {
    let world = World::new();
    world.environment("owner");
    let owner = world.another_client();
    let mark = format!("sleep 98{}1", std::process::id());
    let script = format!("{mark} & {mark} & wait");
    let piped = Exec::capture(operation("piped"), ["sh", "-c", &script]).with_pipes();
    let started = owner.exec(&id("owner"), &piped).block().unwrap();
    let captured = Exec::capture(operation("captured"), ["sleep", "1000"]);
    owner.exec(&id("owner"), &captured).block().unwrap();
    drop(owner);
    let status = world.client.wait(&id("owner"), &operation("piped")).block().unwrap();
    assert_eq!(status.state, State::Signalled { signal: 9, out_of_memory: false });
    drop(started);
    let other = world.client.status(&id("owner"), &operation("captured")).block().unwrap();
    assert_eq!(other.state, State::Running);
}

#[test]
fn a_signal_is_a_polite_way_to_end() {
    let world = World::new();
    world.environment("signal");
    let script = "trap 'echo asked; exit 5' TERM; echo ready; while :; do sleep 0.01; done";
    let exec = Exec::capture(operation("trap"), ["sh", "-c", script]);
    let spool = world.start("signal", &exec).spool.unwrap();
    world.client.output(&id("signal"), &operation("trap"), 0).block().unwrap();
    world.client.signal(&id("signal"), &operation("trap"), 15).block().unwrap();
    let status = world.client.wait(&id("signal"), &operation("trap")).block().unwrap();
    assert_eq!(status.state, State::Exited { code: 5 });
    assert_eq!(read_spool(&spool).0, b"ready\nasked\n");
}

#[test]
fn a_killed_operation_takes_its_daemons_along_and_leaves_others_alone() {
    let world = World::new();
    world.environment("kill");
    let daemon = format!("98{}2", std::process::id());
    let script = format!(
        "setsid sh -c 'sleep {daemon} & sleep {daemon} & exit' & (setsid setsid sleep {daemon} &) & echo up; sleep {daemon}"
    );
    world.start("kill", &Exec::capture(operation("other"), ["sleep", "1000"]));
    world.start("kill", &Exec::capture(operation("daemons"), ["sh", "-c", &script]));
    world.client.output(&id("kill"), &operation("daemons"), 0).block().unwrap();
    world.client.kill(&id("kill"), &operation("daemons")).block().unwrap();
    assert_eq!(processes_with(&daemon), Vec::<u32>::new());
    let status = world.client.status(&id("kill"), &operation("daemons")).block().unwrap();
    assert_eq!(status.state, State::Signalled { signal: 9, out_of_memory: false });
    let other = world.client.status(&id("kill"), &operation("other")).block().unwrap();
    assert_eq!(other.state, State::Running);
}

#[test]
fn a_fork_bomb_is_killed_or_its_environment_is() {
    let world = World::new();
    let mut plan = world.plan("bomb");
    plan.limits.processes = Some(100);
    world.client.create(&plan).block().unwrap();
    let mark = format!("98{}3", std::process::id());
    let script = format!("f() {{ f | f & }}; echo up; : {mark}; while :; do f 2>/dev/null; done");
    world.start("bomb", &Exec::capture(operation("bomb"), ["sh", "-c", &script]));
    world.client.output(&id("bomb"), &operation("bomb"), 0).block().unwrap();
    world.client.kill(&id("bomb"), &operation("bomb")).block().unwrap();
    let status = world.client.status(&id("bomb"), &operation("bomb")).block().unwrap();
    assert!(status.state.has_ended(), "{status:?}");
    assert_eq!(processes_with(&mark), Vec::<u32>::new());
}

#[test]
fn a_program_that_kills_its_keeper_is_lost_with_all_it_started() {
    let world = World::new();
    world.environment("murder");
    let mark = format!("98{}4", std::process::id());
    let script = format!("sleep {mark} & (setsid sleep {mark} &); kill -9 $PPID; sleep {mark}");
    world.start("murder", &Exec::capture(operation("murder"), ["sh", "-c", &script]));
    let status = world.client.wait(&id("murder"), &operation("murder")).block().unwrap();
    assert!(matches!(status.state, State::Lost { .. }), "{status:?}");
    for pid in processes_with(&mark) {
        await_end(pid);
    }
    // The environment itself is well.
    world.shell("murder", "after", "true").expect_success();
}

#[test]
fn a_forgotten_operation_is_gone_with_its_spool_and_its_name_is_free() {
    let world = World::new();
    world.environment("forget");
    let exec = Exec::capture(operation("name"), ["sh", "-c", "sleep 1000 & echo one"]);
    let spool = world.start("forget", &exec).spool.unwrap();
    world.client.wait(&id("forget"), &operation("name")).block().unwrap();
    world.client.forget(&id("forget"), &operation("name")).block().unwrap();
    assert!(!spool.exists());
    let error = world.client.status(&id("forget"), &operation("name")).block().unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert_eq!(world.run("forget", "name", ["echo", "two"]).expect_success(), "two\n");
    // A service that a forgotten step started goes on serving the next steps.
    let ran = world.shell("forget", "look", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
    assert!(ran.expect_success().contains("sleep 1000"));
}

#[test]
fn many_operations_run_at_once() {
    let world = World::new();
    world.environment("many");
    for number in 0..50 {
        let name = operation(&format!("op-{number}"));
        let exec = Exec::capture(name, ["sh", "-c", &format!("echo {number}")]);
        world.start("many", &exec);
    }
    for number in 0..50 {
        let name = operation(&format!("op-{number}"));
        let status = world.client.wait(&id("many"), &name).block().unwrap();
        assert!(status.state.is_success(), "{status:?}");
    }
}

#[test]
fn an_answer_can_be_awaited_by_any_executor() {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let world = World::new();
    world.environment("async");
    world.start("async", &Exec::capture(operation("true"), ["true"]));
    let environment = id("async");
    let name = operation("true");
    let mut pending = pin!(world.client.wait(&environment, &name));
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let status = loop {
        match pending.as_mut().poll(&mut context) {
            Poll::Ready(status) => break status.unwrap(),
            Poll::Pending => thread::park(),
        }
    };
    assert!(status.state.is_success());
}

#[test]
fn a_port_inside_is_connected_to_and_one_where_nothing_listens_is_told() {
    let world = World::new();
    world.environment("ports");
    let script = "use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0) or die; \
                  bind($s, sockaddr_in(0, INADDR_LOOPBACK)) or die; listen($s, 5) or die; \
                  $| = 1; print((sockaddr_in(getsockname($s)))[0], \"\\n\"); \
                  accept(my $c, $s) or die; print $c \"from inside\"; close $c;";
    let exec = Exec::capture(operation("listen"), ["perl", "-e", script]).with_pipes();
    let pipes = world.start("ports", &exec).pipes.unwrap();
    let mut port = String::new();
    BufReader::new(File::from(pipes.stdout)).read_line(&mut port).unwrap();
    let port: u16 = port.trim().parse().unwrap();
    let mut heard = String::new();
    let mut stream = world.client.dial(&id("ports"), port).block().unwrap();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "from inside");
    world.client.wait(&id("ports"), &operation("listen")).block().unwrap();
    let error = world.client.dial(&id("ports"), port).block().unwrap_err();
    let Error::NotFound { what } = error else { panic!("{error}") };
    assert!(what.starts_with(&format!("listener at port {port}: ")), "{what}");
}
