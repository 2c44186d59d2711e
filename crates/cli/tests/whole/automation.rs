//! Automation files on the command line: checked, tried with an event, and run by hand to a pull request.

use serde_json::{Value, json};

use crate::world::World;

const GREET: &str = r#"name: greet
on:
  - pull_request: { filter: event.data.pull_request.number > 5 }
  - push
inputs:
  word: { default: hello, pattern: '[^\n]{1,80}' }
  often: { type: integer, default: 2 }
steps:
  - id: count
    run: grep -c day greeting.txt
    outputs: { days: { type: integer } }
  - id: nothing
    if: steps.count.outputs.days == 0
    end: skipped
  - for_each: '["first", "second"]'
    steps:
      - run: echo ${{ item }} ${{ inputs.word }} >> greeting.txt
  - id: again
    call: repeat
    with: { n: "${{ inputs.often }}" }
  - pull_request:
      branch: windlass/greet-${{ run.id }}
      title: Say ${{ inputs.word }} ${{ steps.again.outputs.sum }} times
finally:
  - run: test "${{ verdict.outcome }}" = succeeded
"#;

const REPEAT: &str = "name: repeat\ninputs: { n: integer }\nsteps:\n- id: add\n  run: expr 40 + ${{ inputs.n }}\n\
                      \x20 outputs: { sum: { type: integer } }\noutputs: { sum: steps.add.outputs.sum }\n";

fn world() -> (World, String, String) {
    let world = World::new();
    let files = [
        ("greeting.txt", "good day\n"),
        (".windlass/automations/greet.yaml", GREET),
        (".windlass/automations/repeat.yaml", REPEAT),
    ];
    let repository = world.repository("api", &files).to_str().expect("UTF-8").to_owned();
    let file = format!("{repository}/.windlass/automations/greet.yaml");
    (world, repository, file)
}

#[test]
fn files_are_checked_with_the_place_of_all_that_is_wrong() {
    let (world, repository, file) = world();
    world
        .run(&["automation", "check", &repository])
        .says(0, &["greet", "pull_request, push", "by hand"]);
    let schema = world.json(&["automation", "schema"]);
    assert_eq!(schema["required"], json!(["name", "steps"]));
    let bad = GREET
        .replace("outputs.days == 0", "outputs.dys == 0")
        .replace("call: repeat", "call: repeet");
    std::fs::write(&file, bad).expect("written");
    world
        .run(&["automation", "check", &file])
        .says(8, &["greet.yaml:13:9: ", "did you mean `days`?"]);
    std::fs::write(&file, GREET.replace("with: { n:", "with: { m:")).expect("written");
    world
        .run(&["automation", "check", &repository])
        .says(8, &["greet → repeat: it has no input `m`"]);
    world.run(&["automation", "check", "nowhere.yaml"]).says(1, &["nowhere.yaml"]);
}

#[test]
fn an_event_is_tried_without_starting_anything() {
    let (world, _, file) = world();
    let event = |number: u64| -> Value {
        json!({
            "id": "evt_00000000000000000000000001",
            "source": "github/acme/api",
            "delivery": "1",
            "type": "pull_request.opened",
            "time": 1,
            "trust": "member",
            "data": { "action": "opened", "pull_request": { "number": number, "base": "main" } },
        })
    };
    let path = world.path("event.json");
    let path_text = path.to_str().expect("UTF-8");
    let tried = |number: u64| {
        std::fs::write(&path, event(number).to_string()).expect("written");
        world.json(&["--json", "automation", "test", &file, "--event", path_text])
    };
    let answers = tried(7);
    assert_eq!(
        answers["triggers"][0]["inputs"],
        json!({ "word": "hello", "often": 2 }),
        "{answers}"
    );
    assert_eq!(answers["triggers"][1]["why"], "it is not what the trigger waits for");
    assert_eq!(tried(3)["triggers"][0]["why"], "the filter does not hold");
    std::fs::write(&path, "{}").expect("written");
    world.run(&["automation", "test", &file, "--event", path_text]).says(1, &["is no event"]);
}

#[test]
fn a_file_becomes_a_pull_request_and_no_input_is_ever_run() {
    let (world, repository, file) = world();
    let word = "hi $(touch /tmp/pwned) `id`; echo \"'";
    let input = format!("word={word}");
    let job = world.json(&[
        "--json",
        "automation",
        "run",
        &file,
        "--repo",
        &repository,
        "--input",
        &input,
    ]);
    assert_eq!(job["end"]["outcome"], "succeeded", "{job}");
    assert_eq!(job["pull_request"]["number"], 1, "{job}");
    let _up = world.up(&["--no-runner"]);
    let list = world.json(&["--json", "review", "list"]);
    assert_eq!(list["items"][0]["title"], format!("Say {word} 42 times"), "{list}");
    let diff = world.run(&["review", "diff", "api#1"]);
    diff.says(0, &[&format!("+first {word}"), &format!("+second {word}")]);
}

#[test]
fn what_can_not_be_run_is_refused_before_anything_starts() {
    let (world, repository, file) = world();
    let run = |options: &[&str]| {
        world.run(&[&["automation", "run", &file, "--repo", &repository], options].concat())
    };
    run(&["--input", "often=many"]).says(1, &["the input `often` is no whole number"]);
    run(&["--input", "word"]).says(1, &["write NAME=VALUE"]);
    std::fs::write(&file, GREET.replace("inputs:\n  word", "policy: strict\ninputs:\n  word"))
        .expect("written");
    run(&[]).says(1, &["can't keep to policy yet"]);
    std::fs::write(&file, "name: greet\nsteps: [{ rum: x }]\n").expect("written");
    run(&[]).says(8, &["greet.yaml:2:9: ", "did you mean `run`?"]);
}
