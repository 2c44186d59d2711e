//! `windlass schedule next`: without a server, without a home folder.

use serde_json::json;

use crate::world::World;

#[test]
fn the_next_fires_are_printed_with_the_offsets_of_their_zone() {
    let world = World::new();
    let asked = ["schedule", "next", "30 2 * * *", "--timezone", "Europe/Berlin", "-n", "3"];
    let from = ["--from", "2026-03-28T02:30:00+01:00"];
    let next = world.json(&[asked.as_slice(), &from, &["--json"]].concat());
    let expected = json!({ "next": [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
        "2026-03-31T02:30:00+02:00",
    ] });
    assert_eq!(next, expected);
    let people = world.run(&[asked.as_slice(), &from].concat());
    assert_eq!(
        people.out,
        "Sun 2026-03-29 03:00:00 +02:00 CEST\n\
         Mon 2026-03-30 02:30:00 +02:00 CEST\n\
         Tue 2026-03-31 02:30:00 +02:00 CEST\n",
        "{people}"
    );
}

#[test]
fn five_fires_from_now_by_universal_time_are_printed_when_nothing_else_is_said() {
    let world = World::new();
    let next = world.json(&["schedule", "next", "@hourly", "--json"]);
    let fires = next["next"].as_array().expect("a list");
    assert_eq!(fires.len(), 5);
    assert!(
        fires.iter().all(|fire| fire.as_str().is_some_and(|fire| fire.ends_with(":00:00+00:00")))
    );
}

#[test]
fn an_expression_zone_or_moment_that_means_nothing_ends_with_2_and_a_remedy() {
    let world = World::new();
    let ended = world.run(&["schedule", "next", "0 25 * * *"]);
    ended.says(2, &["EXPR: hour (character 3): 25 is more than 23", "write a number from 0 to 23"]);
    let ended = world.run(&["schedule", "next", "0 0 31 2 *"]);
    ended.says(2, &["it never fires", "L is its last one"]);
    let ended = world.run(&["schedule", "next", "@daily", "--timezone", "Europe/Berln"]);
    ended.says(2, &["--timezone:", "did you mean Europe/Berlin?"]);
    let ended = world.run(&["schedule", "next", "@daily", "--from", "yesterday"]);
    ended.says(2, &["--from:", "write RFC 3339 with an offset"]);
    world.run(&["schedule", "next", "@daily", "-n", "0"]).says(2, &["-n"]);
    let ended = world.run(&["--json", "schedule", "next", "* * * *"]);
    assert_eq!(ended.json()["exit"], 2, "{ended}");
}
