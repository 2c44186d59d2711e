//! The only way out: listening sockets inside that are accepted outside.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use windlass_sandbox::{Door, Error, Exec};

use super::support::{World, id, operation};

fn with_doors(world: &World, name: &str, doors: &[(&str, u16)]) -> windlass_sandbox::Plan {
    let mut plan = world.plan_apart(name);
    plan.doors =
        doors.iter().map(|(name, port)| Door { name: (*name).to_owned(), port: *port }).collect();
    plan
}

/// Answers one connection with what it said.
fn echo(listener: TcpListener) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut said = [0; 5];
        socket.read_exact(&mut said).unwrap();
        socket.write_all(&said).unwrap();
    })
}

const CALL: &str = "exec 3<>/dev/tcp/127.0.0.1/$0; printf hello >&3; head -c 5 <&3";

#[test]
fn a_program_inside_talks_to_the_listener_outside() {
    let world = World::new();
    let plan = with_doors(&world, "doors", &[("model", 4141), ("git", 0)]);
    let created = world.client.create(&plan).block().unwrap();
    let names: Vec<_> = created.doors.iter().map(|door| door.name.as_str()).collect();
    assert_eq!(names, ["model", "git"]);
    assert_eq!(created.doors[0].port, 4141);
    assert_ne!(created.doors[1].port, 0);
    for door in created.doors {
        let served = echo(door.listener);
        let port = door.port.to_string();
        let ran = world.run("doors", &format!("call-{port}"), ["bash", "-c", CALL, &port]);
        assert_eq!(ran.expect_success(), "hello");
        served.join().unwrap();
    }
}

#[test]
fn the_same_port_in_two_environments_is_two_doors() {
    let world = World::new();
    let one = world.client.create(&with_doors(&world, "one", &[("web", 8080)])).block().unwrap();
    let two = world.client.create(&with_doors(&world, "two", &[("web", 8080)])).block().unwrap();
    let exec = Exec::capture(operation("call"), ["bash", "-c", CALL, "8080"]);
    world.start("two", &exec);
    for door in two.doors {
        echo(door.listener).join().unwrap();
    }
    let status = world.client.wait(&id("two"), &operation("call")).block().unwrap();
    assert!(status.state.is_success(), "{status:?}");
    one.doors[0].listener.set_nonblocking(true).unwrap();
    let error = one.doors[0].listener.accept().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_restarted_caller_adopts_its_environment_with_its_doors() {
    let world = World::new();
    let plan = with_doors(&world, "adopted", &[("model", 0)]);
    let first = world.another_client();
    let created = first.create(&plan).block().unwrap();
    drop(created.doors);
    drop(first);
    let second = world.another_client();
    let adopted = second.adopt(&id("adopted")).block().unwrap();
    assert_eq!(adopted.report, created.report);
    let port = adopted.doors[0].port.to_string();
    let served = adopted.doors.into_iter().map(|door| echo(door.listener)).collect::<Vec<_>>();
    let ran = world.run("adopted", "call", ["bash", "-c", CALL, &port]);
    assert_eq!(ran.expect_success(), "hello");
    for one in served {
        one.join().unwrap();
    }
}

#[test]
fn creating_the_same_plan_again_gives_the_environment_that_is_there() {
    let world = World::new();
    let plan = with_doors(&world, "again", &[("model", 0)]);
    let first = world.client.create(&plan).block().unwrap();
    let second = world.client.create(&plan).block().unwrap();
    assert_eq!(first.report, second.report);
    assert_eq!(first.doors[0].port, second.doors[0].port);
    let mut other = plan;
    other.host_name = "other".to_owned();
    let error = world.client.create(&other).block().unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
}

#[test]
fn no_program_inside_holds_a_doors_socket() {
    let world = World::new();
    world.client.create(&with_doors(&world, "held", &[("model", 0)])).block().unwrap();
    // Standard input, output and errors, and the folder that `ls` itself has open.
    let ran = world.run("held", "look", ["ls", "/proc/self/fd"]);
    assert_eq!(ran.expect_success(), "0\n1\n2\n3\n");
}
