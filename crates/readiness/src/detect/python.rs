//! Python: `pyproject.toml`, `setup.py`, `setup.cfg`, `tox.ini`, requirement files. Whatever tool a project
//! uses for itself, a virtual environment of its own and pip can install it.

use crate::{
    plan::{Command, Tool, Unit},
    tree::{Tree, folder_of, is_python_test, join, name_of},
};

/// Names of extras and groups that hold what tests need.
const EXTRAS: &[&str] = &["test", "tests", "testing", "dev", "develop", "development", "pytest"];

/// Packages of plugins and helpers for tests, by what shows that they are used. Only these are ever
/// installed without being named as a dependency: a name that a repository can choose is not.
pub(crate) const HELPERS: &[(&str, &str)] = &[
    ("pytest_asyncio", "pytest-asyncio"),
    ("asyncio_mode", "pytest-asyncio"),
    ("pytest.mark.asyncio", "pytest-asyncio"),
    ("--cov", "pytest-cov"),
    ("pytest_cov", "pytest-cov"),
    ("pytest_mock", "pytest-mock"),
    ("mocker", "pytest-mock"),
    ("pytest.mark.timeout", "pytest-timeout"),
    ("--timeout", "pytest-timeout"),
    ("-n auto", "pytest-xdist"),
    ("xdist", "pytest-xdist"),
    ("benchmark(", "pytest-benchmark"),
    ("--benchmark", "pytest-benchmark"),
    ("pytest_subtests", "pytest-subtests"),
    ("subtests", "pytest-subtests"),
    ("from hypothesis", "hypothesis"),
    ("import hypothesis", "hypothesis"),
    ("import freezegun", "freezegun"),
    ("from freezegun", "freezegun"),
    ("import mock", "mock"),
    ("from mock", "mock"),
    ("import trio", "trio"),
    ("import nose", "pynose"),
    ("import pretend", "pretend"),
    ("import responses", "responses"),
    ("import numpy", "numpy"),
    ("import yaml", "PyYAML"),
    ("import simplejson", "simplejson"),
    ("import attr\n", "attrs"),
    ("import six", "six"),
    ("from six", "six"),
    ("import parameterized", "parameterized"),
    ("from parameterized", "parameterized"),
    ("import psutil", "psutil"),
    ("import dateutil", "python-dateutil"),
    ("import pytz", "pytz"),
];

pub(super) fn unit(tree: &Tree, path: &str) -> Option<Unit> {
    let folder = folder_of(path);
    let project: toml::Table = match name_of(path) {
        "pyproject.toml" => tree.text(path).and_then(|text| text.parse().ok()).unwrap_or_default(),
        _ => toml::Table::new(),
    };
    let is_package = ["setup.py", "setup.cfg"].iter().any(|name| tree.has(&join(folder, name)))
        || project.contains_key("project")
        || project.contains_key("build-system")
        || project.get("tool").is_some_and(|tool| tool.get("poetry").is_some());
    let has_tests = tree.paths().any(is_python_test);
    let is_python = is_package || has_tests || tree.paths().any(|path| path.ends_with(".py"));
    if !is_python || (name_of(path) == "pyproject.toml" && !is_package && !has_tests) {
        return None;
    }
    Some(Unit {
        ecosystem: "python",
        folder: folder.to_owned(),
        place: path.to_owned(),
        tools: vec![python(&project, tree, folder, path)],
        install: install(tree, folder, path, &project, is_package),
        build: Vec::new(),
        test: tests(tree, folder, path),
    })
}

fn install(
    tree: &Tree,
    folder: &str,
    path: &str,
    project: &toml::Table,
    is_package: bool,
) -> Vec<Command> {
    let helpers = helpers(tree);
    let wanted = extras(tree, folder, project);
    let requirements = requirements(tree, folder);
    let pip = |arguments: &str, why: &str| {
        let line = format!("python3 -m venv .venv && .venv/bin/python -m pip install {arguments}");
        Command::new(line, why, path)
    };
    let package =
        |extras: &str| if is_package { format!("-e '.{extras}' ") } else { String::new() };
    let mut install = Vec::new();
    let groups: String = wanted.groups.iter().map(|group| format!("--group {group} ")).collect();
    let files: String = requirements.iter().map(|file| format!("-r {file} ")).collect();
    let extras = if wanted.extras.is_empty() {
        String::new()
    } else {
        format!("[{}]", wanted.extras.join(","))
    };
    if !(groups.is_empty() && files.is_empty() && extras.is_empty()) {
        let why = "the package with what its files name for tests";
        install.push(pip(&format!("{}{groups}{files}{helpers}", package(&extras)), why));
    }
    let has_others = !files.is_empty() || !extras.is_empty();
    if !groups.is_empty() && has_others {
        let why = "the same without dependency groups, which an old pip does not know";
        install.push(pip(&format!("{}{files}{helpers}", package(&extras)), why));
    }
    let why = "the package and the test programs that its tests use";
    install.push(pip(&format!("{}{helpers}", package("")), why));
    let why = "the test programs alone; the package is used from its sources";
    install.push(pip(&helpers, why));
    install
}

/// `pytest` and the helpers that the files show.
fn helpers(tree: &Tree) -> String {
    let mut packages = vec!["pytest"];
    for (mark, package) in HELPERS {
        let names = |path: &str| {
            is_python_test(path)
                || matches!(
                    name_of(path),
                    "setup.cfg" | "pyproject.toml" | "tox.ini" | "pytest.ini"
                )
        };
        let is_used = tree.texts().any(|(path, text)| names(path) && text.contains(mark));
        if is_used && !packages.contains(package) {
            packages.push(package);
        }
    }
    packages.join(" ")
}

#[derive(Default)]
struct Wanted {
    extras: Vec<String>,
    groups: Vec<String>,
}

fn extras(tree: &Tree, folder: &str, project: &toml::Table) -> Wanted {
    let keys = |table: Option<&toml::Value>| {
        let table = table.and_then(toml::Value::as_table);
        let names = table.into_iter().flat_map(|table| table.keys());
        names.filter(|name| EXTRAS.contains(&name.as_str())).cloned().collect::<Vec<_>>()
    };
    let mut wanted = Wanted {
        extras: keys(project.get("project").and_then(|it| it.get("optional-dependencies"))),
        groups: keys(project.get("dependency-groups")),
    };
    // In setup.cfg an extra is a line `name =` below its section; setup.py is a program, so its extras
    // are only guessed at where the name stands as a key.
    if let Some(text) = tree.text(&join(folder, "setup.cfg"))
        && let Some((_, section)) = text.split_once("[options.extras_require]")
    {
        let section = section.split("\n[").next().unwrap_or_default();
        let named = section.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
        wanted.extras.extend(
            named
                .filter(|name| EXTRAS.contains(&name.trim()) && !name.starts_with(' '))
                .map(|name| name.trim().to_owned()),
        );
    }
    if let Some(text) = tree.text(&join(folder, "setup.py"))
        && let Some((_, after)) = text.split_once("extras_require")
    {
        let quoted = |name: &&&str| {
            after.contains(&format!("'{name}':")) || after.contains(&format!("\"{name}\":"))
        };
        wanted.extras.extend(EXTRAS.iter().filter(quoted).map(|name| (*name).to_owned()));
    }
    wanted.extras.sort();
    wanted.extras.dedup();
    wanted
}

/// Requirement files, those for tests where there are any.
fn requirements(tree: &Tree, folder: &str) -> Vec<String> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let below = tree.paths().filter_map(|path| path.strip_prefix(&prefix));
    let all: Vec<&str> = below
        .filter(|path| {
            path.ends_with(".txt") && path.contains("require") && path.matches('/').count() <= 1
        })
        .collect();
    let is_for_tests = |path: &&str| path.contains("test") || path.contains("dev");
    let mut files: Vec<String> =
        all.iter().copied().filter(is_for_tests).map(str::to_owned).collect();
    files.truncate(3);
    if all.contains(&"requirements.txt") {
        files.insert(0, "requirements.txt".to_owned());
    }
    files
}

fn tests(tree: &Tree, folder: &str, path: &str) -> Vec<Command> {
    let venv = |arguments: &str, why: &str| {
        Command::new(format!(".venv/bin/python -m {arguments}"), why, path)
    };
    let place =
        ["tests", "test", "testing"].into_iter().find(|name| tree.has_folder(&join(folder, name)));
    let place = place.unwrap_or(".");
    let mut tests = vec![
        venv("pytest", "pytest finds its own tests and those of unittest"),
        venv(
            &format!("pytest -o addopts= --continue-on-collection-errors {place}"),
            "without the project's own options, which may need plugins",
        ),
        venv(&format!("unittest discover -v -s {place}"), "the tests of the standard library"),
    ];
    if tree.has(&join(folder, "manage.py")) {
        tests.insert(
            0,
            Command::new(
                ".venv/bin/python manage.py test",
                "Django's own tests",
                &join(folder, "manage.py"),
            ),
        );
    }
    tests
}

fn python(project: &toml::Table, tree: &Tree, folder: &str, path: &str) -> Tool {
    let requires =
        project.get("project").and_then(|it| it.get("requires-python")).and_then(|it| it.as_str());
    if let Some(requires) = requires {
        return Tool::of("python3", requires, path);
    }
    let setup = join(folder, "setup.cfg");
    let named = tree.text(&setup).and_then(|text| {
        let line = text.lines().find(|line| line.trim_start().starts_with("python_requires"))?;
        Some(line.split_once('=')?.1.trim().to_owned())
    });
    match named {
        Some(requires) => Tool::of("python3", &requires, &setup),
        None => Tool::any("python3"),
    }
}
