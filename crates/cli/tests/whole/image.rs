//! Tasks in images, seen from the command line: the built-in agent works in an image that has nothing of
//! what it is made of, with an engine and without.

use serde_json::{Value, json};
use windlass_testkit::docker;

use crate::world::World;

const IMAGE: &str = "windlass-test/base:1";
/// What only the image has, and what only this machine has.
const VERIFY: &str = "test -e /bin/busybox && test ! -e /usr/lib && grep -q hello greeting.txt";

fn sessions(world: &World) -> String {
    let turn = |name: &str, input: Value| {
        json!({ "reply": {
            "tools": [{ "name": name, "input": input }],
            "usage": { "input": 100, "output": 10 },
        }})
    };
    let turns = [
        turn("edit", json!({ "path": "greeting.txt", "old": "good day", "new": "hello" })),
        turn("finish", json!({ "summary": "It says hello now." })),
    ];
    world.session("hello", &turns).to_str().expect("UTF-8").to_owned()
}

/// Runs a task in a repository that names the image, with a server that has these options.
fn says_hello(world: &World, options: &[&str]) {
    let sessions = sessions(world);
    let definition = json!({ "image": IMAGE }).to_string();
    let files = [("greeting.txt", "good day\n"), (".devcontainer.json", &*definition)];
    let repository = world.repository("api", &files);
    let _up = world.up(&[&["--replays", &sessions], options].concat());
    let repository = repository.to_str().expect("UTF-8");
    let ended = world.run(&[
        "--json",
        "run",
        "Say hello",
        "--replay",
        "hello",
        "--verify",
        VERIFY,
        "--repo",
        repository,
    ]);
    let job = ended.json();
    assert_eq!(job["end"]["outcome"], "succeeded", "{job}");
    assert_eq!(job["pull_request"]["number"], 1, "{job}");
}

fn skip(test: &str, why: &str) {
    assert!(!windlass_testkit::must_run_all(), "{test}: {why}");
    eprintln!("SKIPPED {test}: {why}");
}

#[test]
fn an_image_that_was_loaded_from_a_file_is_where_the_agent_works() {
    let archive = match docker::root_file_system() {
        Ok(archive) => docker::saved(&archive, &["KIND=small"]),
        Err(why) => {
            return skip("an_image_that_was_loaded_from_a_file_is_where_the_agent_works", &why);
        }
    };
    let world = World::new();
    let file = world.path("image.tar");
    std::fs::write(&file, archive).expect("written");
    let file = file.to_str().expect("UTF-8");
    world.run(&["image", "load", file]).says(1, &["its image has no name", "--name"]);
    let whole = "docker.io/windlass-test/base:1";
    world.run(&["image", "load", file, "--name", IMAGE]).says(0, &["loaded", whole]);
    assert_eq!(world.json(&["--json", "image", "list"]), json!({ "images": [whole] }));
    says_hello(&world, &[]);
}

#[test]
fn a_container_of_an_engine_is_where_the_agent_works() {
    let test = "a_container_of_an_engine_is_where_the_agent_works";
    let engine = match docker::Engine::start() {
        Ok(engine) => engine,
        Err(why) => return skip(test, &why),
    };
    engine.import(IMAGE, &[]).expect("an image");
    let world = World::new();
    let socket = engine.socket();
    let socket = socket.to_str().expect("UTF-8");
    let doctor = |socket: &str| {
        let mut doctor = world.windlass(&["--json", "doctor"]);
        let output = doctor.env("WINDLASS_ENGINE_SOCKET", socket).output().expect("it runs");
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
        rows.into_iter().find(|row| row["check"] == "use the backend oci").expect("a row")
    };
    assert_eq!(doctor(socket)["ok"], true);
    let missing = doctor("/nowhere/docker.sock");
    assert_eq!((&missing["ok"], &missing["required"]), (&json!(false), &json!(false)));
    assert!(missing["remedy"].as_str().is_some_and(|text| text.contains("start it")), "{missing}");
    says_hello(&world, &["--backend", "oci", "--engine-socket", socket]);
    let left = engine.docker(&["ps", "--all", "--quiet"], b"").expect("a list");
    assert_eq!(String::from_utf8_lossy(&left), "");
}
