//! What files say by the way: commands in CI and README files, services, secrets, makefile targets.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::{
    plan::{Command, Unit},
    report::Need,
    tree::{Tree, folder_of, is_python_test, name_of},
};

/// The beginnings of commands that test something.
const TESTING: &[&str] = &[
    "make test",
    "make check",
    "./test",
    "./run-tests",
    "./runtests",
    "./run_tests",
    "bats ",
    "prove ",
    "busted",
    "mix test",
    "stack test",
    "cabal test",
    "deno test",
    "bun test",
    "dart test",
    "swift test",
    "rake test",
    "ctest",
    "sh test",
    "bash test",
    "go test",
    "cargo test",
    "npm test",
    "pytest",
    "tox",
    "just test",
];

/// Names that the platforms of CI give by themselves.
const NOT_SECRET: &[&str] = &["GITHUB_TOKEN", "CI_JOB_TOKEN"];

static SECRET: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\$\{\{\s*secrets\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}"));
static READ: LazyLock<Regex> = LazyLock::new(|| {
    regex(r#"(?:process\.env\.|os\.environ\[['"]|os\.getenv\(['"]|ENV\[['"])([A-Z][A-Z0-9_]*)"#)
});

fn regex(text: &'static str) -> Regex {
    Regex::new(text).expect("an expression written here is well formed")
}

/// Adds the commands that CI and README files name to a unit in the same folder, after its own.
pub fn add_tests(tree: &Tree, unit: &mut Unit) {
    if !unit.folder.is_empty() {
        return;
    }
    for command in commands(tree) {
        if unit.test.iter().all(|known| known.line != command.line) {
            unit.test.push(command);
        }
    }
}

/// A unit made from nothing but such commands, where no ecosystem is known.
pub fn unit(tree: &Tree) -> Option<Unit> {
    let test = commands(tree);
    let place = test.first()?.place.clone();
    let tools =
        test.iter().flat_map(|command| &command.needs).map(|name| crate::plan::Tool::any(name));
    Some(Unit {
        ecosystem: "other",
        folder: String::new(),
        place,
        tools: tools.take(1).collect(),
        install: Vec::new(),
        build: Vec::new(),
        test,
    })
}

/// Commands that test, as CI and README files write them.
fn commands(tree: &Tree) -> Vec<Command> {
    let mut found: Vec<Command> = Vec::new();
    let mut add = |line: &str, place: &str, why: &str| {
        let line = line.trim().trim_start_matches("$ ").trim();
        let is_plain = !line.contains(['$', '{', '`', '|', ';', '<', '>', '&']) && line.len() < 120;
        let tests = TESTING.iter().any(|known| line.starts_with(known));
        if is_plain && tests && found.len() < 4 && found.iter().all(|known| known.line != line) {
            found.push(Command::new(line, why, place));
        }
    };
    for (place, text) in tree.texts().filter(|(path, _)| path.starts_with(".github/workflows/")) {
        let Ok(workflow) = serde_saphyr::from_str::<Value>(text) else { continue };
        for job in workflow["jobs"].as_object().into_iter().flat_map(|jobs| jobs.values()) {
            for step in job["steps"].as_array().into_iter().flatten() {
                step["run"]
                    .as_str()
                    .unwrap_or_default()
                    .lines()
                    .for_each(|line| add(line, place, "CI runs it"));
            }
        }
    }
    for (place, text) in tree
        .texts()
        .filter(|(path, _)| name_of(path).starts_with("README") && folder_of(path).is_empty())
    {
        text.lines().for_each(|line| add(line, place, "the README names it"));
    }
    found
}

/// Services that compose files and CI name.
pub fn services(tree: &Tree) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    let mut add = |name: &str, image: &str, place: &str| {
        if needs.iter().all(|need| need.name != name) {
            let evidence = if image.is_empty() {
                "a service".to_owned()
            } else {
                format!("a service of the image {image}")
            };
            needs.push(Need { name: name.to_owned(), evidence, place: place.to_owned() });
        }
    };
    for (place, text) in tree.texts() {
        let is_compose = name_of(place).contains("compose") && name_of(place) != "composer.json";
        let is_workflow = place.starts_with(".github/workflows/");
        if !is_compose && !is_workflow {
            continue;
        }
        let Ok(file) = serde_saphyr::from_str::<Value>(text) else { continue };
        let jobs = file["jobs"].as_object().into_iter().flat_map(|jobs| jobs.values());
        let all = jobs.map(|job| &job["services"]).chain(is_compose.then_some(&file["services"]));
        for (name, service) in all.filter_map(Value::as_object).flatten() {
            // What a compose file builds is the repository itself, not something that it wants.
            if service["build"].is_null() {
                add(name, service["image"].as_str().unwrap_or_default(), place);
            }
        }
    }
    needs
}

/// Secrets that CI hands to commands, and those that tests read from their environment.
pub fn secrets(tree: &Tree) -> Vec<Need> {
    let mut seen = BTreeSet::new();
    let mut needs = Vec::new();
    for (place, text) in tree.texts() {
        let is_workflow = place.starts_with(".github/workflows/");
        let (expression, how) = if is_workflow {
            (&*SECRET, "CI is given it")
        } else if is_python_test(place) || name_of(place) == "setup.py" {
            (&*READ, "it is read from the environment")
        } else {
            continue;
        };
        for found in expression.captures_iter(text) {
            let name = &found[1];
            let is_secret = is_workflow
                || ["KEY", "TOKEN", "SECRET", "PASSWORD"].iter().any(|word| name.contains(word));
            if is_secret && !NOT_SECRET.contains(&name) && seen.insert(name.to_owned()) {
                needs.push(Need {
                    name: name.to_owned(),
                    evidence: how.to_owned(),
                    place: place.to_owned(),
                });
            }
        }
    }
    needs
}

/// The targets of a makefile that are plain names.
pub fn makefile_targets(text: &str) -> BTreeSet<&str> {
    let mut targets = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with(['\t', ' ', '#', '.'])) {
        if let Some((names, rest)) = line.split_once(':')
            && !rest.starts_with('=')
            && !names.contains(['=', '$', '%'])
        {
            targets.extend(names.split_whitespace());
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(path: &str, text: &str) -> Tree {
        Tree::new([], [(path.to_owned(), text.to_owned())])
    }

    #[test]
    fn a_workflow_names_commands_services_and_secrets() {
        let text = "jobs:\n  test:\n    services:\n      db: { image: 'postgres:16' }\n    steps:\n      - run: |\n          make deps\n          make check\n        env: { KEY: '${{ secrets.API_KEY }}', T: '${{ secrets.GITHUB_TOKEN }}' }\n";
        let tree = tree(".github/workflows/ci.yml", text);
        let place = ".github/workflows/ci.yml".to_owned();
        assert_eq!(commands(&tree), [Command::new("make check", "CI runs it", &place)]);
        let service = Need {
            name: "db".into(),
            evidence: "a service of the image postgres:16".into(),
            place: place.clone(),
        };
        assert_eq!(services(&tree), [service]);
        let secret = Need { name: "API_KEY".into(), evidence: "CI is given it".into(), place };
        assert_eq!(secrets(&tree), [secret]);
    }

    #[test]
    fn commands_that_a_shell_would_make_more_of_are_not_taken_from_files() {
        let text = "$ make test\n$ make check && rm -rf /\n./test.sh $(curl x)\npytest | tee\n";
        let lines: Vec<String> =
            commands(&tree("README.md", text)).into_iter().map(|it| it.line).collect();
        assert_eq!(lines, ["make test"]);
    }

    #[test]
    fn a_makefile_has_targets_and_other_lines_with_colons() {
        let text = "CC := gcc\nall test: a.o\n\tcc x:y\n%.o: %.c\n.PHONY: check\ncheck:\n";
        assert_eq!(makefile_targets(text), BTreeSet::from(["all", "check", "test"]));
    }
}
