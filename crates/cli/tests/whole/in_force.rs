//! Automations that a server has in force: planned, applied, rolled back, followed in a project, started.

use std::fs;

use serde_json::{Value, json};

use crate::world::World;

const SWEEP: &str = "\
name: sweep
description: Sweeps
on:
  - schedule: '0 6 * * 1'
    timezone: Europe/Berlin
inputs: { word: { default: dust } }
steps:
  - run: echo ${{ inputs.word }} >> swept.txt
  - pull_request: { title: Sweep }
";

const NIGHTLY: &str = "\
name: nightly
on: [push]
targets: { repositories: [api] }
steps:
  - call: sweep
";

fn names(list: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let all = list.as_array().expect("a list").iter();
    all.map(|one| (text(&one["name"]), text(&one["health"]))).collect()
}

fn whats(plan: &Value) -> Vec<String> {
    let all = plan["changes"].as_array().expect("changes").iter();
    all.map(|one| format!("{} {}", one["what"].as_str().expect("text"), one["name"])).collect()
}

#[test]
fn what_is_in_force_is_planned_applied_rolled_back_and_paused() {
    let world = World::new();
    let _up = world.up(&["--no-runner"]);
    let folder = world.path("control");
    fs::create_dir_all(&folder).expect("made");
    let sweep = folder.join("sweep.yaml");
    fs::write(&sweep, SWEEP).expect("written");
    fs::write(folder.join("nightly.yaml"), NIGHTLY).expect("written");
    let folder = folder.to_str().expect("UTF-8");
    world
        .run(&["automation", "plan", folder])
        .says(8, &["sweep would be created", "on schedule 0 6 * * 1 Europe/Berlin"]);
    let plan = world.run(&["--json", "automation", "plan", folder]).json();
    assert_eq!(whats(&plan), [r#"create "nightly""#, r#"create "sweep""#]);
    assert_eq!(plan["changes"][1]["fires"].as_array().map(Vec::len), Some(5), "{plan}");
    assert_eq!(
        plan["changes"][0]["notes"],
        json!(["there is no project api: its runs will fail until there is"])
    );
    let digest = plan["digest"].as_str().expect("text");
    world
        .run(&["automation", "apply", folder, "--expect", "0123"])
        .says(1, &["look at a new plan"]);
    world
        .run(&["automation", "apply", folder, "--expect", digest])
        .says(0, &["nightly created, version 1", "sweep created, version 1"]);
    world.run(&["automation", "plan", folder]).says(0, &["sweep as it is, version 1"]);

    fs::write(&sweep, SWEEP.replace("dust", "leaves")).expect("written");
    let changed = world.json(&["--json", "automation", "apply", folder]);
    assert_eq!(whats(&changed), [r#"keep "nightly""#, r#"change "sweep""#]);
    let diff = changed["changes"][1]["diff"].as_str().expect("text");
    assert!(diff.contains("-inputs: { word: { default: dust } }\n+inputs"), "{diff}");

    // What another one calls can't go, and neither can its inputs.
    world
        .run(&["automation", "remove", "sweep"])
        .says(1, &["`nightly`, which is in force, would not hold any more"]);
    fs::write(&sweep, "name: sweep\nsteps:\n- runn: true\n").expect("written");
    world.run(&["automation", "apply", folder]).says(1, &["sweep.yaml:3:3: ", "`run`"]);

    world.run(&["automation", "rollback", "sweep", "1"]).says(0, &["sweep changed, version 3"]);
    world.run(&["automation", "show", "sweep", "--file"]).says(0, &["default: dust"]);
    world
        .run(&["automation", "show", "sweep", "--file", "--version", "2"])
        .says(0, &["default: leaves"]);
    let versions = world.json(&["--json", "automation", "versions", "sweep"]);
    let origins: Vec<&Value> =
        versions.as_array().expect("a list").iter().map(|one| &one["origin"]).collect();
    assert_eq!(origins, ["version 1", "by hand", "by hand"]);

    world.run(&["automation", "pause", "sweep", "--why", "too loud"]).says(0, &["too loud"]);
    let list = world.json(&["--json", "automation", "list"]);
    let named = |name: &str, health: &str| (name.to_owned(), health.to_owned());
    assert_eq!(names(&list), [named("nightly", "ok"), named("sweep", "paused")]);
    assert_eq!(list[1].get("next_at"), None, "{list}");
    world.run(&["automation", "resume", "sweep"]).says(0, &["sweep  ok  version 3"]);

    fs::write(&sweep, SWEEP).expect("written");
    fs::remove_file(format!("{folder}/nightly.yaml")).expect("removed");
    let pruned = world.json(&["--json", "automation", "apply", folder, "--prune"]);
    assert_eq!(whats(&pruned), [r#"remove "nightly""#, r#"keep "sweep""#]);
    world.run(&["automation", "show", "nightly"]).says(1, &["there is no automation `nightly`"]);
    world.run(&["automation", "rollback", "nightly", "1"]).says(0, &["nightly created, version 2"]);
    world.run(&["automation", "show", "No Name"]).says(1, &["an automation is named by"]);
}

#[test]
fn a_project_that_is_followed_is_the_truth_and_its_automations_run_by_name() {
    let world = World::new();
    let _up = world.up(&["--no-runner"]);
    let files = [("swept.txt", "dust\n"), (".windlass/automations/sweep.yaml", SWEEP)];
    let repository = world.repository("api", &files);
    let repository = repository.to_str().expect("UTF-8");
    world
        .run(&["automation", "sync", repository, "--plan"])
        .says(8, &["api at ", "sweep would be created"]);
    world.run(&["automation", "sync", repository]).says(0, &["sweep created, version 1"]);
    world.run(&["automation", "drift"]).says(0, &["sweep as it is, version 1"]);

    let other = world.path("sweep.yaml");
    fs::write(&other, SWEEP.replace("dust", "leaves")).expect("written");
    world
        .run(&["automation", "apply", other.to_str().expect("UTF-8")])
        .says(0, &["its file is in the project api", "sweep changed, version 2"]);
    world.run(&["automation", "sync", repository]).says(0, &["sweep changed, version 3"]);
    world.run(&["automation", "drift"]).says(0, &["sweep as it is, version 3"]);

    let started = world.json(&[
        "--json",
        "automation",
        "run",
        "sweep",
        "--repo",
        "api",
        "--input",
        "word=ash",
        "--detach",
    ]);
    let run_id = started["run_id"].as_str().expect("text");
    let shown = world.json(&["--json", "automation", "show", "sweep"]);
    assert_eq!(shown["runs"][0]["run_id"], run_id, "{shown}");
    assert_eq!(shown["runs"][0]["version"], 3, "{shown}");
    assert_eq!(shown["project"], "api", "{shown}");

    world.run(&["automation", "sync", repository, "--end"]).says(0, &[]);
    world.run(&["automation", "drift"]).says(0, &["No project is followed"]);
    world.run(&["automation", "sync", repository, "--end"]).says(1, &["no automations are synced"]);
}
