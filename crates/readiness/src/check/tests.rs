//! Whole checks, with commands whose ends are made up here.

use super::*;

fn tree(files: &[(&str, &str)]) -> Tree {
    Tree::new([], files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())))
}

/// Runs a check to its end: every command whose line holds one of these words ends so.
fn run(files: &[(&str, &str)], tools: &[&str], ends: &[(&str, i32, &str)]) -> Report {
    let mut check = Check::new("0123".to_owned(), &tree(files));
    let mut left = 50;
    while let Some(todo) = check.todo() {
        left -= 1;
        assert!(left > 0, "it does not end");
        let probed: String =
            tools.iter().map(|name| format!("{MARK} {name} {name} 9.9.9\n")).collect();
        let (code, output) = match todo.phase {
            Phase::Probe => (0, probed),
            _ => {
                let end = ends.iter().find(|(words, ..)| todo.line.contains(words));
                end.map_or((0, String::new()), |(_, code, output)| (*code, (*output).to_owned()))
            }
        };
        check.ended(&Ended { how: How::Exited(code), took: 1_000, output });
    }
    check.report(&[])
}

fn lines(report: &Report) -> Vec<(Phase, &str)> {
    report.commands.iter().map(|ran| (ran.phase, ran.line.as_str())).collect()
}

const RUST: &[(&str, &str)] = &[("Cargo.toml", "[package]\nname='a'\n")];
const PASSED: &str = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured\n";

#[test]
fn a_repository_that_is_ready_but_says_nothing_to_agents_misses_only_that() {
    let report = run(RUST, &["cargo"], &[("--no-fail-fast", 0, PASSED)]);
    let expected = [
        (Phase::Install, "cargo fetch"),
        (Phase::Build, "cargo test --no-run"),
        (Phase::Test, "cargo test --no-fail-fast"),
        (Phase::Again, "cargo test --no-fail-fast"),
    ];
    assert_eq!(lines(&report), expected);
    assert_eq!(
        (report.tests_started, report.steady.clone(), report.score.points),
        (true, Steady::Yes, 90)
    );
    let paths: Vec<&str> = report.proposed.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, [propose::DEVCONTAINER, propose::INSTRUCTIONS]);
    let again = run(
        &[RUST[0], ("AGENTS.md", "x"), (".devcontainer/devcontainer.json", "{}")],
        &["cargo"],
        &[("--no-fail-fast", 0, PASSED)],
    );
    assert_eq!((again.score.points, again.proposed), (100, vec![]));
}

#[test]
fn what_is_proposed_is_a_definition_that_can_be_read_and_names_only_what_worked() {
    let files: &[(&str, &str)] =
        &[("package.json", r#"{"scripts":{"test":"x"}}"#), ("package-lock.json", "")];
    let ends = [("npm ci", 1, "npm error\n"), ("npm test", 0, "  4 passing (3ms)\n")];
    let report = run(files, &["node", "npm"], &ends);
    let [devcontainer, instructions] = report.proposed.as_slice() else {
        panic!("two files were expected")
    };
    let (told, said): (Vec<_>, Vec<_>) =
        devcontainer.text.lines().partition(|line| line.trim_start().starts_with("//"));
    let definition: serde_json::Value =
        serde_json::from_str(&said.join("\n")).expect("it is JSON with comments");
    let expected = serde_json::json!({ "postCreateCommand": "npm install --no-audit --no-fund" });
    assert_eq!(definition, expected);
    let told = told.join("\n");
    assert!(told.contains("javascript-node:22") && told.contains("not tried"), "{told}");
    assert!(instructions.text.contains("npm test") && !instructions.text.contains("npm ci"));
}

#[test]
fn a_missing_tool_is_told_and_its_commands_are_not_tried() {
    let report = run(RUST, &[], &[]);
    assert_eq!(lines(&report), []);
    assert!(!report.tests_started && !report.tools[0].fits && report.proposed.is_empty());
    assert_eq!(report.score.points, 10);
}

#[test]
fn other_ways_are_tried_until_tests_start_and_what_was_missing_is_told() {
    let files: &[(&str, &str)] =
        &[("package.json", r#"{"scripts":{"test":"lint && x","tests-only":"x"}}"#)];
    let ends = [
        ("npm test", 127, "sh: 1: lint: not found\n"),
        ("tests-only", 0, "# tests 2\n# pass  2\n# fail  0\n"),
    ];
    let report = run(files, &["node", "npm"], &ends);
    let tested: Vec<&str> = report
        .commands
        .iter()
        .filter(|ran| ran.phase == Phase::Test)
        .map(|ran| ran.line.as_str())
        .collect();
    assert_eq!(tested, ["npm test", "npm run tests-only"]);
    assert_eq!(
        (report.missing[0].kind.as_str(), report.missing[0].name.as_str()),
        ("tool", "lint")
    );
}

#[test]
fn a_missing_helper_of_tests_is_added_and_a_missing_module_of_another_name_never() {
    let files: &[(&str, &str)] = &[("setup.py", ""), ("test_a.py", "")];
    let one = "E   ModuleNotFoundError: No module named 'hypothesis'\n";
    let repaired =
        run(files, &["python3"], &[("pytest -o", 1, ""), ("pip", 0, ""), ("pytest", 2, one)]);
    let repairs: Vec<&str> = repaired
        .commands
        .iter()
        .filter(|ran| ran.phase == Phase::Repair)
        .map(|ran| ran.line.as_str())
        .collect();
    assert_eq!(repairs, [".venv/bin/python -m pip install hypothesis"; 2]);
    let other = "E   ModuleNotFoundError: No module named 'evil'\n";
    let left = run(files, &["python3"], &[("pip", 0, ""), ("pytest", 2, other)]);
    assert!(left.commands.iter().all(|ran| ran.phase != Phase::Repair));
}

#[test]
fn a_test_that_fails_only_sometimes_is_named() {
    let mut check = Check::new("0123".to_owned(), &tree(RUST));
    let mut runs = 0;
    while let Some(todo) = check.todo() {
        let output = match todo.phase {
            Phase::Probe => format!("{MARK} cargo cargo 1.95.0\n"),
            Phase::Test => "test a ... ok\ntest b ... ok\n".to_owned(),
            Phase::Again => "test a ... ok\ntest b ... FAILED\n".to_owned(),
            Phase::Install | Phase::Build | Phase::Repair => String::new(),
        };
        runs += 1;
        check.ended(&Ended { how: How::Exited(0), took: 1, output });
    }
    assert_eq!(runs, 5);
    let refused = ["pypi.org:443 was refused: no rule".to_owned()];
    let report = check.report(&refused);
    assert_eq!(report.steady, Steady::No { names: vec!["b".to_owned()] });
    assert_eq!(report.missing[0].name, "pypi.org:443");
    assert!(report.markdown().contains("The two runs of the tests differ: `b`."));
}

#[test]
fn of_ways_that_all_lack_a_program_each_program_is_told() {
    let files: &[(&str, &str)] = &[("configure.ac", ""), ("CMakeLists.txt", ""), ("a.c", "")];
    let report = run(files, &["cc", "make"], &[]);
    let told: Vec<(&str, bool)> =
        report.tools.iter().map(|tool| (tool.name.as_str(), tool.fits)).collect();
    assert_eq!(told, [("cc", true), ("cmake", false), ("autoreconf", false)]);
    let missing: Vec<&str> = report.missing.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(missing, ["cmake", "autoreconf"]);
}
