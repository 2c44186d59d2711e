//! Environment classes and the pool, from the command line.

use crate::world::World;

#[test]
fn a_class_is_made_chosen_by_an_environment_and_by_a_project_and_says_what_it_got() {
    let world = World::new();
    let repository = world.repository("api", &[("greeting.txt", "good day\n")]);
    let _up = world.up(&["--archive-after", "never"]);
    world.run(&["project", "add", repository.to_str().expect("UTF-8")]).says(0, &[]);
    let gives =
        ["--cpus", "1.5", "--disk-mib", "300", "--processes", "200", "--backend", "process"];
    world
        .run(&[&["class", "create", "small"][..], &gives].concat())
        .says(0, &["small", "1.5 processors", "300 MiB", "200 processes"]);
    world.run(&["class", "create", "gpu", "--gpu", "yes"]).says(0, &["labels gpu"]);
    world.run(&["class", "list"]).says(0, &["default", "small", "gpu", "1.5 processors"]);
    world.run(&["class", "set", "small", "--cpus", "2"]).says(0, &["2 processors"]);
    world.run(&["class", "create", "small"]).says(1, &["name-taken"]);
    world.run(&["class", "create", "tiny", "--memory-mib", "1"]).says(1, &["16 MiB"]);

    let made = world.json(&["--json", "env", "create", "api", "--name", "one", "--class", "small"]);
    assert_eq!(
        (&made["class"], &made["runs_on"][0]),
        (&"small".into(), &"process".into()),
        "{made}"
    );
    let limits = made["limits"].as_array().expect("it was told");
    let of = |what: &str| {
        let found = limits.iter().find(|limit| limit["what"] == what);
        found.unwrap_or_else(|| panic!("nothing is told of {what}: {made}"))
    };
    assert_eq!(of("cpu")["amount"], 2000);
    assert_eq!(of("processes")["shown"], "200 processes");
    assert_eq!((&of("disk")["shown"], &of("disk")["enforced"]), (&"300 MiB".into(), &true.into()));
    assert_eq!(made.get("archive_days"), None);
    world.run(&["env", "show", "one"]).says(0, &["small, on runners with process", "disk 300 MiB"]);
    // One that nobody can take waits, and says for what.
    let waits = ["env", "create", "api", "--name", "two", "--class", "gpu", "--no-wait"];
    world.run(&waits).says(0, &["creating", "has the labels gpu"]);

    world
        .run(&["project", "set", "api", "--class", "small", "--pool-min", "1", "--pool-max", "2"])
        .says(0, &["class: small", "at least 1, at most 2"]);
    world.run(&["project", "set", "api", "--pool-max", "0"]).says(1, &["both be"]);
    world.run(&["class", "remove", "small"]).says(1, &["project set api --class default"]);
    world.run(&["project", "prebuild", "api"]).says(0, &[]);
    let pool = loop {
        let project = world.json(&["--json", "project", "show", "api"]);
        if project["pool"][0]["ready"].as_u64() >= Some(1) {
            break project["pool"][0].clone();
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    assert_eq!((&pool["wanted"], &pool["hits"]), (&1.into(), &0.into()), "{pool}");
    assert_eq!(pool["starts"].as_array().map(Vec::len), Some(1), "{pool}");
    world
        .run(&["project", "show", "api"])
        .says(0, &["1 ready of 1 wanted", "0 of the last 1 starts"]);
}
