//! The library of automations: each is run on its sample repository, by hand and with a script instead of a
//! model, and its triggers are tried with events.

#[path = "library/cases.rs"]
mod cases;
#[path = "library/events.rs"]
mod events;

use std::{fs, path::Path, sync::Mutex};

use serde_json::{Value, json};

use crate::world::{World, git};
use cases::{Case, Outcome, Start};

/// How many jobs go on at once.
const AT_ONCE: usize = 4;

/// The folder of the library.
fn library() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../library")
}

/// The repository of a case: the sample, with what the case has beside it.
fn repository(world: &World, case: &Case) -> std::path::PathBuf {
    let path = world.path(case.id);
    copy(&library().join(case.automation).join("sample"), &path);
    write(&path, case.files);
    git(&path, &["init", "--quiet", "--initial-branch=main"]);
    let commit = |message: &str, when: Option<&str>| {
        git(&path, &["add", "--all", "--force"]);
        let mut command = world.command("git");
        command.args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]);
        command.args(["commit", "--quiet", "--message", message]).current_dir(&path);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        if let Some(when) = when {
            command.env("GIT_COMMITTER_DATE", when).env("GIT_AUTHOR_DATE", when);
        }
        assert!(command.status().expect("git can be started").success());
    };
    commit("Begin", case.when);
    if let Start::Branch(name, _) = &case.start {
        git(&path, &["checkout", "--quiet", "-b", name]);
    }
    if let Start::Next(files) | Start::Branch(_, files) = &case.start {
        write(&path, files);
        commit("Go on", case.when);
    }
    if let Start::Branch(..) = &case.start {
        git(&path, &["checkout", "--quiet", "main"]);
    }
    path
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    for entry in fs::read_dir(from).expect("a sample").flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("copied")),
        }
    }
}

fn write(to: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = to.join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        fs::write(&path, content).expect("written");
        if content.starts_with("#!") {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
        }
    }
}

/// The file of the library, answered by a script: nothing else of it is changed.
fn scripted(world: &World, case: &Case) -> String {
    let folder = world.path("automations");
    fs::create_dir_all(&folder).expect("the folder can be made");
    let file = library().join(case.automation).join("automation.yaml");
    let text = fs::read_to_string(file).expect("the file");
    let path = folder.join(format!("{}.yaml", case.id));
    fs::write(&path, format!("{text}agent: {{ replay: {} }}\n", case.id)).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

/// What the script answers, turn by turn; the first only if the prompt has what it is about.
fn session(world: &World, case: &Case) {
    let mut turns = Vec::new();
    for (name, input) in &case.turns {
        let mut turn = json!({ "reply": {
            "tools": [{ "name": name, "input": input }],
            "usage": { "input": 100, "output": 10 },
        }});
        if turns.is_empty() {
            turn["expect"] = json!({ "last": case.told });
        }
        turns.push(turn);
    }
    if turns.is_empty() {
        turns.push(json!({ "reply": { "text": "Nobody should ask." } }));
    }
    world.session(case.id, &turns);
}

/// Runs a case and says what is not as it should be.
fn run(world: &World, case: &Case) -> Vec<String> {
    let path = repository(world, case);
    let repository = path.to_str().expect("UTF-8").to_owned();
    let file = scripted(world, case);
    let mut arguments = vec!["--json", "automation", "run", &file, "--repo", &repository];
    for input in case.inputs {
        arguments.extend(["--input", input]);
    }
    let ended = world.run(&arguments);
    let Ok(job) = serde_json::from_str::<Value>(&ended.out) else { return vec![ended.to_string()] };
    let mut wrong = Vec::new();
    let mut expect = |what: &str, is: &str, should: &str| {
        if is.trim_end() != should.trim_end() {
            wrong.push(format!("{}: {what} is\n{is}\nand not\n{should}\n{job:#}", case.id));
        }
    };
    let end = &job["end"];
    let outcome = end["outcome"].as_str().unwrap_or_default();
    let reports = job["steps"].as_array().into_iter().flatten();
    let report = reports.map(|step| &step["told"]).find(|told| told.is_object());
    let agents = job["tokens"].as_u64().unwrap_or_default() / 110;
    let list = world.run(&["--json", "review", "list", "--project", case.id]);
    let list = serde_json::from_str::<Value>(&list.out).unwrap_or_default();
    let pulls = list["items"].as_array().map(|pulls| pulls.len().to_string()).unwrap_or_default();
    expect("the number of the agent's turns", &agents.to_string(), &case.turns.len().to_string());
    match &case.outcome {
        Outcome::Skipped(reason) => {
            expect("the outcome", outcome, "skipped");
            expect("the reason", end["reason"].as_str().unwrap_or_default(), reason);
            expect("the number of pull requests", &pulls, "0");
        }
        Outcome::Change { title, body } => {
            expect("the outcome", outcome, "succeeded");
            expect("the number of pull requests", &pulls, "1");
            let pull = world.run(&["--json", "review", "show", &format!("{}#1", case.id)]);
            let pull = serde_json::from_str::<Value>(&pull.out).unwrap_or_default();
            expect("the title", pull["title"].as_str().unwrap_or_default(), title);
            let said = pull["body"].as_str().unwrap_or_default();
            if let Some(lacking) = body.iter().find(|text| !said.contains(**text)) {
                expect("what the body lacks", lacking, "");
            }
            let difference = world.run(&["review", "diff", &format!("{}#1", case.id)]).out;
            let kept = library().join(case.automation).join(format!("{}.diff", case.expected()));
            if std::env::var_os("WINDLASS_BLESS").is_some() {
                fs::write(&kept, &difference).expect("written");
            }
            let kept = fs::read_to_string(&kept).unwrap_or_default();
            expect("the change", &difference, &kept);
        }
        Outcome::Report { title, body } => {
            expect("the outcome", outcome, "succeeded");
            let told = |key: &str| report.and_then(|told| told[key].as_str()).unwrap_or_default();
            expect("the report's title", told("title"), title);
            if let Some(lacking) = body.iter().find(|text| !told("body").contains(**text)) {
                expect("what the report lacks", lacking, "");
            }
            expect("the number of pull requests", &pulls, "0");
        }
    }
    wrong
}

#[test]
fn each_makes_of_its_sample_what_it_is_for_and_nothing_where_there_is_nothing_to_do() {
    let world = World::new();
    let cases = cases::all();
    cases.iter().for_each(|case| session(&world, case));
    let replays = world.path("sessions").to_str().expect("UTF-8").to_owned();
    let _up = world.up(&["--replays", &replays, "--capacity", &AT_ONCE.to_string()]);
    let only = std::env::var("WINDLASS_LIBRARY").unwrap_or_default();
    let waiting = Mutex::new(cases.iter().filter(|case| case.id.starts_with(&only)));
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(case) = waiting.lock().expect("whole").next() else { return };
                    let found = run(&world, case);
                    wrong.lock().expect("whole").extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("whole");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn each_is_tried_both_ways_and_the_whole_library_is() {
    let mut folders: Vec<String> = fs::read_dir(library())
        .expect("the library")
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    let of = |does: fn(&Outcome) -> bool| {
        let mut names: Vec<String> = cases::all()
            .iter()
            .filter(|case| does(&case.outcome))
            .map(|case| case.automation.to_owned())
            .collect();
        names.sort();
        names.dedup();
        names
    };
    assert_eq!(of(|outcome| matches!(outcome, Outcome::Skipped(_))), folders);
    assert_eq!(of(|outcome| !matches!(outcome, Outcome::Skipped(_))), folders);
}

#[test]
fn one_is_listed_shown_and_taken_over_but_never_over_another_file() {
    let world = World::new();
    world.run(&["automation", "library"]).says(0, &["licence-headers", "Puts a licence header"]);
    let all = world.json(&["--json", "automation", "library"]);
    assert_eq!(all.as_array().map(Vec::len), Some(14), "{all}");
    let shown = world.run(&["automation", "library", "show", "lint-debt"]);
    shown.says(0, &["# lint-debt", "name: lint-debt"]);
    let add = ["automation", "library", "add", "lint-debt", "--dir", "auto"];
    let path = world.path("auto/lint-debt.yaml");
    world.run(&add).says(0, &["auto/lint-debt.yaml", "windlass automation run"]);
    let whole = fs::read_to_string(library().join("lint-debt/automation.yaml")).expect("read");
    assert_eq!(fs::read_to_string(&path).expect("there"), whole);
    fs::write(&path, "mine").expect("written");
    world.run(&add).says(1, &["is there already", "--force"]);
    assert_eq!(fs::read_to_string(&path).expect("there"), "mine");
    let forced = world.json(&[&["--json"], &add[..], &["--force"]].concat());
    assert_eq!(forced, json!({ "name": "lint-debt", "path": "auto/lint-debt.yaml" }));
    assert_eq!(fs::read_to_string(&path).expect("there"), whole);
    world.run(&["automation", "check", "auto/lint-debt.yaml"]).says(0, &["lint-debt"]);
    world
        .run(&["automation", "library", "show", "lint"])
        .says(1, &["has no automation `lint`", "lint-debt"]);
}
