//! What outputs show to be missing, and what little of it can be added without asking anybody.

use std::sync::LazyLock;

use regex::Regex;

use crate::{
    plan::{Command, Unit},
    report::Missing,
};

/// How many things are told of one output.
const MOST: usize = 10;
/// The longest line that is quoted, in characters.
const LINE: usize = 200;

/// A way in which programs say that something is missing; group 1 is its name.
struct Sign {
    kind: &'static str,
    line: LazyLock<Regex>,
    fix: &'static str,
}

macro_rules! sign {
    ($kind:literal, $line:literal, $fix:literal) => {
        Sign {
            kind: $kind,
            line: LazyLock::new(|| Regex::new(concat!("(?m)", $line)).expect("it is well formed")),
            fix: $fix,
        }
    };
}

static SIGNS: [Sign; 18] = [
    sign!(
        "tool",
        r"(?:line \d+: |sh: \d+: |^)([\w.+-]+): (?:command )?not found$",
        "install the program {} in the environment"
    ),
    sign!(
        "tool",
        r"make(?:\[\d+\])?: ([\w.+-]+): No such file or directory$",
        "install the program {} in the environment"
    ),
    sign!("tool", r"error: no such command: `([\w-]+)`", "install cargo-{} in the environment"),
    sign!(
        "library",
        r"fatal error: ([\w./+-]+\.h(?:pp)?): No such file or directory",
        "install the package with the header {}"
    ),
    sign!("library", r"cannot find -l(\w+)", "install the library {} with its development files"),
    sign!(
        "library",
        r"Package '?([\w.+-]+)'?, required by .*, not found",
        "install the development package of {}"
    ),
    sign!("library", r"No package '([\w.+-]+)' found", "install the development package of {}"),
    sign!("module", r"No module named '?([\w.]+)", "name {} among the dependencies for tests"),
    sign!(
        "module",
        r"Cannot find (?:module|package) '([^'./][^']*)'",
        "name {} among the dependencies"
    ),
    sign!("module", r"Can't locate ([\w/]+)\.pm in @INC", "install the Perl module {}"),
    sign!("module", r"cannot load such file -- ([\w/-]+)", "name the gem with {} in the Gemfile"),
    sign!(
        "version",
        r"requires a different Python: .* not in '([^']+)'",
        "give the environment a Python {}"
    ),
    sign!("version", r"requires rustc ([\d.]+) or newer", "give the environment Rust {} or newer"),
    sign!(
        "version",
        r"Unsupported engine.*required: \{[^}]*node: '([^']+)'",
        "give the environment Node {}"
    ),
    sign!(
        "version",
        r"No matching version found for (\S+?)\.?$",
        "the registry has no {}: name a version that it has, or give the environment a fuller registry"
    ),
    sign!(
        "service",
        r"(?:ECONNREFUSED|[Cc]onnection refused)\D{0,40}((?:127\.0\.0\.1|localhost|::1)\D{1,12}\d{2,5})",
        "start the service at {} (`.windlass/environment.yaml`)"
    ),
    sign!(
        "variable",
        r"KeyError: '([A-Z][A-Z0-9]*_[A-Z0-9_]+)'",
        "give the step the variable {} (`windlass secret set`)"
    ),
    sign!(
        "host",
        r"[Cc]ould(?: not|n't) resolve host:? '?([\w.-]+)",
        "allow the host {} (`--allow {}:443`)"
    ),
];

/// What an output shows to be missing.
pub fn missing(output: &str) -> Vec<Missing> {
    let mut found: Vec<Missing> = Vec::new();
    for sign in &SIGNS {
        for captures in sign.line.captures_iter(output) {
            let name = captures[1].replace('/', if sign.kind == "module" { "::" } else { "/" });
            let is_known = found.iter().any(|known| known.kind == sign.kind && known.name == name);
            if is_known || found.len() >= MOST {
                continue;
            }
            let evidence = captures.get(0).map_or("", |it| it.as_str()).trim();
            found.push(Missing {
                kind: sign.kind.to_owned(),
                fix: sign.fix.replace("{}", &name),
                evidence: evidence.chars().take(LINE).collect(),
                name,
            });
        }
    }
    found
}

/// Packages for tests, by the words with which Python says that one is missing. Nothing else is ever
/// installed because an output names it: that name would be a stranger's choice.
const PYTHON: &[(&str, &str)] = &[
    ("No module named 'hypothesis'", "hypothesis"),
    ("No module named 'mock'", "mock"),
    ("No module named 'freezegun'", "freezegun"),
    ("No module named 'pytest_asyncio'", "pytest-asyncio"),
    ("No module named 'trio'", "trio"),
    ("No module named 'yaml'", "PyYAML"),
    ("No module named 'six'", "six"),
    ("No module named 'attr'", "attrs"),
    ("No module named 'numpy'", "numpy"),
    ("No module named 'psutil'", "psutil"),
    ("No module named 'dateutil'", "python-dateutil"),
    ("No module named 'pkg_resources'", "'setuptools<81'"),
    ("No module named 'setuptools'", "setuptools"),
    ("No module named 'parameterized'", "parameterized"),
    ("No module named 'pretend'", "pretend"),
    ("No module named 'tomli'", "tomli"),
    ("No module named 'packaging'", "packaging"),
    ("unrecognized arguments: --cov", "pytest-cov"),
    ("unrecognized arguments: -n", "pytest-xdist"),
    ("unrecognized arguments: --timeout", "pytest-timeout"),
    ("unrecognized arguments: --benchmark", "pytest-benchmark"),
    ("unrecognized arguments: --doctest-plus", "pytest-doctestplus"),
    ("fixture 'mocker' not found", "pytest-mock"),
    ("fixture 'benchmark' not found", "pytest-benchmark"),
    ("fixture 'subtests' not found", "pytest-subtests"),
    ("Unknown config option: asyncio_mode", "pytest-asyncio"),
    ("Unknown config option: timeout", "pytest-timeout"),
];

/// A command that adds what the output says the tests miss, if that is safe to do.
pub fn repair(unit: &Unit, output: &str) -> Option<Command> {
    if unit.ecosystem != "python" {
        return None;
    }
    let packages: Vec<&str> = PYTHON
        .iter()
        .filter(|(words, _)| output.contains(words))
        .map(|(_, package)| *package)
        .collect();
    if packages.is_empty() {
        return None;
    }
    let line = format!(".venv/bin/python -m pip install {}", packages.join(" "));
    Some(Command::new(line, "the tests' output says that it is missing", &unit.place))
}

/// True if a version is one that is wanted, in the notations of npm, pip and cargo. What can't be read
/// is taken to fit: a wrong complaint costs more than a missing one.
pub fn fits(wanted: &str, found: &str) -> bool {
    let Some(found) = numbers(found) else { return true };
    wanted.split("||").any(|range| {
        let range = range.replace(',', " ");
        let mut words = range.split_whitespace().peekable();
        let mut all = true;
        while let Some(word) = words.next() {
            let end = word
                .find(|it: char| it.is_ascii_digit() || it == '*' || it == 'v')
                .unwrap_or(word.len());
            let (operator, version) = word.split_at(end);
            let version = match version.is_empty() {
                true => words.next().unwrap_or_default(),
                false => version,
            };
            all &= holds(operator, version.trim_start_matches('v'), &found);
        }
        all
    })
}

fn holds(operator: &str, version: &str, found: &[u64]) -> bool {
    let Some(wanted) = numbers(version) else { return true };
    let shared = wanted.len().min(found.len());
    let starts = found[..shared] == wanted[..shared];
    match operator {
        ">=" => starts || found >= wanted.as_slice(),
        ">" => found > wanted.as_slice(),
        "<=" => starts || found <= wanted.as_slice(),
        "<" => !starts && found < wanted.as_slice(),
        "!=" => !starts,
        "^" | "~=" | "~>" => found[0] == wanted[0] && (starts || found >= wanted.as_slice()),
        "~" => found[..shared.min(2)] == wanted[..shared.min(2)],
        "" | "=" | "==" | "===" => starts,
        _ => true,
    }
}

/// The first version in a text.
fn numbers(text: &str) -> Option<Vec<u64>> {
    let start = text.find(|it: char| it.is_ascii_digit())?;
    let rest = &text[start..];
    let end = rest.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(rest.len());
    let all = rest[..end].split('.').filter(|part| !part.is_empty()).map(|part| part.parse().ok());
    all.collect::<Option<Vec<u64>>>().filter(|all| !all.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_judged_in_the_notations_of_npm_pip_and_cargo() {
        for wanted in [
            ">=3.8",
            ">=3.8,<4",
            ">= 3.8",
            "^3.9",
            "~=3.10",
            "3",
            "3.x",
            "=3.12",
            "<3 || >=3.11",
            "*",
            "!=3.9.*",
        ] {
            assert!(fits(wanted, "Python 3.12.4"), "{wanted}");
        }
        for wanted in [">=3.13", "<3.12", "^4", "2", "=3.11", ">=2 <3", "!=3.12.*"] {
            assert!(!fits(wanted, "Python 3.12.4"), "{wanted}");
        }
        assert!(fits("lts/*", "v20.1.0") && fits(">=18", "v20.1.0") && fits(">=3", ""));
    }

    #[test]
    fn outputs_name_what_is_missing() {
        let output = "bash: line 1: cmake: command not found\na.c:1:10: fatal error: zlib.h: No such file or directory\n\
                      ModuleNotFoundError: No module named 'hypothesis'\nCan't locate Foo/Bar.pm in @INC\n\
                      Error: connect ECONNREFUSED 127.0.0.1:5432\n";
        let found: Vec<(String, String)> =
            missing(output).into_iter().map(|it| (it.kind, it.name)).collect();
        let expected = [
            ("tool", "cmake"),
            ("library", "zlib.h"),
            ("module", "hypothesis"),
            ("module", "Foo::Bar"),
            ("service", "127.0.0.1:5432"),
        ];
        assert_eq!(found, expected.map(|(kind, name)| (kind.to_owned(), name.to_owned())));
        assert_eq!(missing("everything is found\n"), []);
    }
}
