//! What people and machines get wrong: each gets an error that says what, where and what to do, and
//! nothing is lost or half done.

use std::{fs, process::Command};

use windlass_run::Time;

use crate::world::{World, git};

#[test]
fn without_a_server_the_reason_and_the_remedy_are_said() {
    let world = World::new();
    world.run(&["runs"]).says(6, &["no server", "windlass up"]);
    let error = world.run(&["--json", "runs"]);
    assert_eq!(error.json()["exit"], 6, "{error}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let world = World::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ended = world.windlass(&["agents", "list"]).stdout(writer).output().expect("it starts");
    assert_eq!(ended.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn a_folder_without_a_repository_is_refused() {
    let world = World::new();
    fs::create_dir(world.path("plain")).expect("it can be made");
    let ended = world.run(&["run", "anything", "--repo", "plain"]);
    ended.says(1, &["plain", "not a git repository"]);
}

#[test]
fn an_empty_repository_is_refused_until_it_has_a_commit() {
    let world = World::new();
    fs::create_dir(world.path("empty")).expect("it can be made");
    git(&world.path("empty"), &["init", "--quiet", "--initial-branch=main"]);
    world.run(&["run", "anything", "--repo", "empty"]).says(1, &["no commit"]);
}

#[test]
fn a_detached_head_needs_a_named_base() {
    let world = World::new();
    let path = world.repository("detached", &[("a", "1\n")]);
    git(&path, &["checkout", "--quiet", "--detach"]);
    world
        .run(&["run", "anything", "--repo", "detached"])
        .says(1, &["HEAD names no branch", "say which branch"]);
}

#[test]
fn a_missing_branch_is_named() {
    let world = World::new();
    world.repository("api", &[("a", "1\n")]);
    let ended = world.run(&["run", "anything", "--repo", "api", "--base", "nowhere"]);
    ended.says(1, &["nowhere"]);
}

#[test]
fn uncommitted_work_is_left_alone_and_that_is_said() {
    let world = World::new();
    let path = world.repository("api", &[("a", "1\n")]);
    fs::write(path.join("a"), "2\n").expect("it can be written");
    let _up = world.up(&["--no-runner"]);
    let ended = world.run(&["run", "anything", "--repo", "api", "--detach"]);
    ended.says(0, &["note:", "uncommitted"]);
    assert_eq!(fs::read_to_string(path.join("a")).expect("it is there"), "2\n");
}

#[test]
fn an_unknown_agent_ends_the_job_with_the_names_that_are_known() {
    let world = World::new();
    world.repository("api", &[("a", "1\n")]);
    let ended = world.run(&["run", "anything", "--repo", "api", "--agent", "nobody"]);
    assert_ne!(ended.code, Some(0), "{ended}");
    let all = format!("{}{}", ended.out, ended.err);
    assert!(all.contains("nobody") && all.contains("builtin"), "{ended}");
}

#[test]
fn an_agent_that_prints_garbage_fails_the_job_with_its_first_bad_line() {
    let world = World::new();
    world.repository("api", &[("agent.sh", "while :; do echo 'not a protocol'; done\n")]);
    let ended = world.run(&["run", "anything", "--repo", "api", "--agent", "custom: sh agent.sh"]);
    ended.says(4, &["not a protocol"]);
}

#[test]
fn an_agent_that_dies_fails_the_job_with_what_it_said_last() {
    let world = World::new();
    world.repository("api", &[("agent.sh", "echo 'out of cheese' >&2; exit 3\n")]);
    let ended = world.run(&["run", "anything", "--repo", "api", "--agent", "custom: sh agent.sh"]);
    ended.says(4, &["out of cheese"]);
}

#[test]
fn a_taken_port_is_named_with_the_way_out() {
    let world = World::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it has one").to_string();
    world.run(&["up", "--listen", &address]).says(1, &[&address, "--listen"]);
}

#[test]
fn a_network_rule_is_checked_before_anything_starts() {
    let world = World::new();
    let rule = |text: &'static str| world.run(&["up", "--allow-private", text]);
    rule("https://mirror.example in 10.0.0.0/8")
        .says(2, &["--allow-private", "write only host:port"]);
    rule("mirror.example=10.0.0.0/8").says(2, &["it names no address"]);
    rule("mirror.example:443").says(2, &["it names no address", "mirror.example:443 in CIDR"]);
    rule("*:443 in 10.0.0.0/8").says(2, &["must name its host"]);
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let world = World::new();
    let _up = world.up(&["--no-runner"]);
    let ended = world.run(&["up", "--no-runner", "--listen", "127.0.0.1:0"]);
    assert_ne!(ended.code, Some(0), "{ended}");
    assert!(ended.err.contains("another"), "{ended}");
}

#[test]
fn an_address_that_others_can_reach_needs_tls() {
    let world = World::new();
    let ended = world.run(&["up", "--no-runner", "--listen", "0.0.0.0:0"]);
    ended.says(1, &["--tls"]);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let world = World::new();
    fs::create_dir(world.path("data")).expect("it can be made");
    fs::write(world.path("data/windlass.db"), "my diary").expect("it can be written");
    let ended = world.run(&["up", "--no-runner", "--listen", "127.0.0.1:0"]);
    assert_ne!(ended.code, Some(0), "{ended}");
    assert_eq!(fs::read_to_string(world.path("data/windlass.db")).expect("there"), "my diary");
}

#[test]
fn a_database_of_a_newer_version_is_left_alone_with_what_to_do() {
    let world = World::new();
    world.up(&["--no-runner"]).stop();
    let database = rusqlite::Connection::open(world.path("data/windlass.db")).expect("it opens");
    let newer =
        "INSERT INTO windlass_schema (number, name, digest, at) VALUES (999, 'later', '', 1)";
    database.execute(newer, []).expect("it can be written");
    database.close().expect("it closes");
    let before = fs::read(world.path("data/windlass.db")).expect("it is there");
    world
        .run(&["up", "--no-runner", "--listen", "127.0.0.1:0"])
        .says(1, &["a newer windlass", "999", "update windlass"]);
    assert_eq!(fs::read(world.path("data/windlass.db")).expect("it is there"), before);
}

#[test]
fn a_database_of_an_older_version_is_brought_up_to_date() {
    let world = World::new();
    world.up(&["--no-runner"]).stop();
    fs::remove_file(world.path("data/windlass.db")).expect("it is there");
    let url = format!("sqlite:{}", world.path("data/windlass.db").display());
    let options = windlass_store::Options::new(world.path("data/blobs"), Time::from_micros(1));
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(windlass_store::Store::prepare(&url, options, 1))
        .expect("an older schema");
    world.repository("api", &[("a", "1\n")]);
    let _up = world.up(&["--no-runner"]);
    world.run(&["run", "anything", "--repo", "api", "--detach"]).says(0, &["run_"]);
    assert_eq!(world.json(&["--json", "runs"])["items"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_full_disk_is_said_and_nothing_is_kept() {
    let world = World::new();
    let data = world.path("data");
    fs::create_dir(&data).expect("it can be made");
    let mount = ["-t", "tmpfs", "-o", "size=300k", "tmpfs"];
    let mounted = Command::new("mount").args(mount).arg(&data).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        assert!(!windlass_testkit::must_run_all(), "a small disk can't be mounted");
        eprintln!("SKIPPED a full disk: needs to mount a tmpfs: run it as root");
        return;
    }
    let ended = world.run(&["up", "--no-runner", "--listen", "127.0.0.1:0"]);
    let unmounted = Command::new("umount").arg(&data).status();
    assert!(unmounted.is_ok_and(|status| status.success()), "the small disk stays");
    ended.says(1, &["the disk is full", "free some space"]);
}

#[test]
fn a_job_on_a_full_disk_and_on_one_without_inodes_says_what_to_do() {
    let world = World::new();
    let repository = world.repository("api", &[]);
    for n in 0..600 {
        fs::write(repository.join(format!("f{n}")), "x").expect("it can be written");
    }
    let bytes: Vec<u8> =
        (0..9_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(repository.join("big"), bytes).expect("it can be written");
    git(&repository, &["add", "--all"]);
    git(&repository, &["commit", "--quiet", "--message", "much"]);
    let state = world.path("data/runner");
    fs::create_dir_all(&state).expect("it can be made");
    for small in ["size=12m", "size=200m,nr_inodes=500"] {
        let mount = ["-t", "tmpfs", "-o", small, "tmpfs"];
        let mounted = Command::new("mount").args(mount).arg(&state).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            assert!(!windlass_testkit::must_run_all(), "a small disk can't be mounted");
            eprintln!("SKIPPED a job on a full disk: needs to mount a tmpfs: run it as root");
            return;
        }
        let ended = world.run(&[
            "run",
            "Work",
            "--repo",
            repository.to_str().expect("UTF-8"),
            "--agent",
            "custom: true",
            "--ahead",
            "0",
        ]);
        let unmounted = Command::new("umount").arg(&state).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the small disk stays");
        ended.says(4, &["(runner_disk)", "df -i"]);
    }
}

#[test]
fn an_unknown_project_or_pull_request_is_not_found() {
    let world = World::new();
    let _up = world.up(&["--no-runner"]);
    world.run(&["project", "show", "nowhere"]).says(1, &["nowhere"]);
    world.run(&["review", "show", "nonsense"]).says(1, &["PROJECT#NUMBER"]);
}

#[test]
fn a_wrong_token_is_refused_with_its_own_exit_code() {
    let world = World::new();
    let _up = world.up(&["--no-runner"]);
    fs::write(world.path("token"), "wl_wrong").expect("it can be written");
    world.run(&["--token-file", "token", "runs"]).says(7, &[]);
}
