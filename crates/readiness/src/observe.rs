//! How many tests a program's own output says were run. One reader per family of test programs; the one
//! that finds the most tests is believed, since a script may start several.
//!
//! These are a program's claims, taken only as counts: the exit code says whether it ended well.

use std::{collections::BTreeSet, sync::LazyLock};

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many names of failed tests are kept.
const NAMES: usize = 50;

/// What an output says of tests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tests {
    /// The family of test programs.
    pub runner: String,
    /// How many passed.
    pub passed: u64,
    /// How many failed, errors among them.
    pub failed: u64,
    /// How many were skipped.
    pub skipped: u64,
    /// The names of those that failed, as far as they are told; at most 50.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub failures: BTreeSet<String>,
}

impl Tests {
    /// How many ended, in whatever way.
    pub fn total(&self) -> u64 {
        self.passed.saturating_add(self.failed).saturating_add(self.skipped)
    }

    /// True if at least one test was really run.
    pub fn have_started(&self) -> bool {
        self.passed > 0 || self.failed > 0
    }
}

/// One way in which a family sums up.
struct Summary {
    runner: &'static str,
    /// Groups `p` (passed), `f` and `e` (failed), `s` (skipped), `n` (all of them).
    line: LazyLock<Regex>,
    /// Whether several summaries add up (one per crate, module or package), or the last one counts.
    adds: bool,
}

macro_rules! summary {
    ($runner:literal, $adds:literal, $line:literal) => {
        Summary {
            runner: $runner,
            adds: $adds,
            line: LazyLock::new(|| Regex::new(concat!("(?m)", $line)).expect("it is well formed")),
        }
    };
}

static SUMMARIES: [Summary; 16] = [
    summary!(
        "cargo test",
        true,
        r"^test result: \w+\. (?P<p>\d+) passed; (?P<f>\d+) failed; (?P<s>\d+) ignored"
    ),
    summary!(
        "jest",
        true,
        r"^Tests: +(?:(?P<f>\d+) failed, )?(?:(?P<s>\d+) (?:skipped|todo), )?(?:\d+ todo, )?(?:(?P<p>\d+) passed, )?(?P<n>\d+) total"
    ),
    summary!(
        "vitest",
        true,
        r"^ +Tests +(?:(?P<f>\d+) failed(?: \| )?)?(?:(?P<p>\d+) passed)?(?: \| (?P<s>\d+) skipped)?(?: \| \d+ todo)? \((?P<n>\d+)\)"
    ),
    summary!("ctest", true, r"^\d+% tests passed, (?P<f>\d+) tests? failed out of (?P<n>\d+)"),
    summary!(
        "automake",
        true,
        r"^# TOTAL: +(?P<n>\d+)\n# PASS: +(?P<p>\d+)\n# SKIP: +(?P<s>\d+)\n# XFAIL: +\d+\n# FAIL: +(?P<f>\d+)\n# XPASS: +\d+\n# ERROR: +(?P<e>\d+)"
    ),
    summary!("meson", true, r"^Ok: +(?P<p>\d+) *\n(?:Expected Fail: +\d+ *\n)?Fail: +(?P<f>\d+)"),
    summary!(
        "surefire",
        false,
        r"^(?:\[\w+\] )?Tests run: (?P<n>\d+), Failures: (?P<f>\d+), Errors: (?P<e>\d+), Skipped: (?P<s>\d+) *$"
    ),
    summary!(
        "rspec",
        true,
        r"^(?P<n>\d+) examples?, (?P<f>\d+) failures?(?:, (?P<s>\d+) pending)?"
    ),
    summary!(
        "minitest",
        true,
        r"^(?P<n>\d+) (?:runs|tests), \d+ assertions, (?P<f>\d+) failures, (?P<e>\d+) errors(?:, \d+ pendings, \d+ omissions, \d+ notifications)?(?:, (?P<s>\d+) skips)?"
    ),
    summary!("phpunit", true, r"^OK \((?P<n>\d+) tests?, "),
    summary!(
        "phpunit",
        true,
        r"^Tests: (?P<n>\d+), Assertions: \d+(?:, Errors: (?P<e>\d+))?(?:, Failures: (?P<f>\d+))?"
    ),
    summary!(
        "dotnet test",
        true,
        r"^\w+! +- Failed: +(?P<f>\d+), Passed: +(?P<p>\d+), Skipped: +(?P<s>\d+)"
    ),
    summary!("prove", true, r"^Files=\d+, Tests=(?P<n>\d+),"),
    summary!("jasmine", true, r"^(?P<n>\d+) specs?, (?P<f>\d+) failures?(?:, (?P<s>\d+) pending)?"),
    summary!(
        "gradle",
        true,
        r"^(?P<n>\d+) tests? completed(?:, (?P<f>\d+) failed)?(?:, (?P<s>\d+) skipped)?"
    ),
    summary!(
        "busted",
        true,
        r"^(?P<p>\d+) successes / (?P<f>\d+) failures / (?P<e>\d+) errors / (?P<s>\d+) pending"
    ),
];

/// Lines that tell of one test each: group `name`, and which way it went by the group that is there.
static LINES: [(&str, LazyLock<Regex>); 7] = [
    (
        "cargo test",
        LazyLock::new(|| {
            line(
                r"^test (?P<name>.+?)(?: - should panic)? \.\.\. (?:(?P<p>ok)|(?P<f>FAILED)|(?P<s>ignored))",
            )
        }),
    ),
    (
        "go test",
        LazyLock::new(|| line(r"^ *--- (?:(?P<p>PASS)|(?P<f>FAIL)|(?P<s>SKIP)): (?P<name>\S+)")),
    ),
    (
        "TAP",
        LazyLock::new(|| {
            line(
                r"^(?:(?P<s>ok \d+[^#\n]*# (?i:skip|todo))|(?P<p>ok \d+)|(?P<f>not ok \d+))(?: -? ?(?P<name>[^#\n]*))?",
            )
        }),
    ),
    (
        "automake",
        LazyLock::new(|| {
            line(r"^(?:(?P<p>PASS|XFAIL)|(?P<f>FAIL|XPASS)|(?P<s>SKIP)): (?P<name>\S+)")
        }),
    ),
    (
        "ctest",
        LazyLock::new(|| {
            line(
                r"^ *\d+/\d+ +Test +#\d+: (?P<name>\S+) \.*(?: +(?P<p>Passed)|\*\*\*(?P<s>Skipped|Not Run)|(?P<f>\*\*\*\w+))",
            )
        }),
    ),
    (
        "unittest",
        LazyLock::new(|| {
            line(
                r"^(?P<name>\w+ \([\w.]+\))(?:\n[^\n]*)? \.\.\. (?:(?P<p>ok)|(?P<f>FAIL|ERROR)|(?P<s>skipped))",
            )
        }),
    ),
    (
        "gradle",
        LazyLock::new(|| {
            line(r"^(?P<name>\w+ > \S.*) (?:(?P<p>PASSED)|(?P<f>FAILED)|(?P<s>SKIPPED))$")
        }),
    ),
];

static PYTEST: LazyLock<Regex> = LazyLock::new(|| {
    line(r"^(?:=+ )?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s(?: \([\d:]+\))?(?: =+)?$")
});
static COUNTED: LazyLock<Regex> = LazyLock::new(|| line(r"(\d+) ([a-z]+)"));
static UNITTEST: LazyLock<Regex> = LazyLock::new(|| {
    line(r"^Ran (\d+) tests? in [\d.]+s\n\n(?:(?:OK|FAILED|NO TESTS RAN)(?: \(([^)]*)\))?)?")
});
static KEYED: LazyLock<Regex> =
    LazyLock::new(|| line(r"(failures|errors|skipped|unexpected successes)=(\d+)"));
static MOCHA: LazyLock<Regex> =
    LazyLock::new(|| line(r"^ *[✔✓]? ?(\d+) (passing|failing|pending)\b"));
static NODE: LazyLock<Regex> =
    LazyLock::new(|| line(r"^(?:#|ℹ) (pass|fail|skipped|todo|cancelled) +(\d+)$"));
static AVA: LazyLock<Regex> =
    LazyLock::new(|| line(r"^ +(\d+) (?:tests? )?(passed|failed|skipped|uncaught exceptions?)$"));
static FAILED: LazyLock<Regex> = LazyLock::new(|| {
    line(
        r"^(?:(?:FAILED|ERROR) (?P<pytest>\S+::\S+)|(?:FAIL|ERROR): (?P<unittest>\w+ \([\w.]+\))|not ok \d+ -? ?(?P<tap>[^#\n]+))",
    )
});
static ESCAPES: LazyLock<Regex> =
    LazyLock::new(|| line(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\r"));

fn line(text: &'static str) -> Regex {
    Regex::new(&format!("(?m){text}")).expect("an expression written here is well formed")
}

/// Reads an output; nothing, if no test is told of.
pub fn tests(output: &str) -> Tests {
    let output = ESCAPES.replace_all(output, "");
    let readers = [pytest, unittest, mocha, node, ava, lines];
    let summed = SUMMARIES.iter().map(|summary| summary.read(&output));
    let mut best = Tests::default();
    for tests in summed.chain(readers.iter().map(|read| read(&output))) {
        if (tests.have_started(), tests.total()) > (best.have_started(), best.total()) {
            best = tests;
        }
    }
    if best.failed > 0 {
        let by_line = lines(&output).failures;
        let names = FAILED.captures_iter(&output).filter_map(|found| {
            let name = found.name("pytest").or(found.name("unittest")).or(found.name("tap"))?;
            Some(name.as_str().trim().to_owned())
        });
        best.failures = names.chain(by_line).take(NAMES).collect();
    }
    best
}

impl Summary {
    fn read(&self, output: &str) -> Tests {
        let mut tests = Tests { runner: self.runner.to_owned(), ..Tests::default() };
        for found in self.line.captures_iter(output) {
            let count =
                |name: &str| found.name(name).and_then(|it| it.as_str().parse::<u64>().ok());
            let failed = count("f").unwrap_or(0).saturating_add(count("e").unwrap_or(0));
            let skipped = count("s").unwrap_or(0);
            let rest = count("n").unwrap_or(0).saturating_sub(failed).saturating_sub(skipped);
            let passed = count("p").unwrap_or(rest);
            if !self.adds {
                (tests.passed, tests.failed, tests.skipped) = (0, 0, 0);
            }
            tests.passed = tests.passed.saturating_add(passed);
            tests.failed = tests.failed.saturating_add(failed);
            tests.skipped = tests.skipped.saturating_add(skipped);
        }
        tests
    }
}

fn named(runner: &str) -> Tests {
    Tests { runner: runner.to_owned(), ..Tests::default() }
}

fn pytest(output: &str) -> Tests {
    let mut tests = named("pytest");
    for found in PYTEST.captures_iter(output) {
        for count in COUNTED.captures_iter(&found[1]) {
            let n: u64 = count[1].parse().unwrap_or(0);
            match &count[2] {
                "passed" | "xfailed" => tests.passed = tests.passed.saturating_add(n),
                "failed" | "xpassed" => tests.failed = tests.failed.saturating_add(n),
                "skipped" => tests.skipped = tests.skipped.saturating_add(n),
                _ => {}
            }
        }
    }
    tests
}

fn unittest(output: &str) -> Tests {
    let mut tests = named("unittest");
    for found in UNITTEST.captures_iter(output) {
        let all: u64 = found[1].parse().unwrap_or(0);
        let (mut failed, mut skipped) = (0u64, 0u64);
        for keyed in KEYED.captures_iter(found.get(2).map_or("", |it| it.as_str())) {
            let n: u64 = keyed[2].parse().unwrap_or(0);
            match &keyed[1] {
                "skipped" => skipped = n,
                _ => failed = failed.saturating_add(n),
            }
        }
        tests.failed = tests.failed.saturating_add(failed);
        tests.skipped = tests.skipped.saturating_add(skipped);
        tests.passed =
            tests.passed.saturating_add(all.saturating_sub(failed).saturating_sub(skipped));
    }
    tests
}

fn mocha(output: &str) -> Tests {
    worded("mocha", &MOCHA, output, |found| (found[1].to_owned(), found[2].to_owned()))
}

fn node(output: &str) -> Tests {
    worded("node --test or tape", &NODE, output, |found| (found[2].to_owned(), found[1].to_owned()))
}

fn ava(output: &str) -> Tests {
    worded("ava", &AVA, output, |found| (found[1].to_owned(), found[2].to_owned()))
}

fn worded(
    runner: &str,
    expression: &Regex,
    output: &str,
    parts: impl Fn(&regex::Captures) -> (String, String),
) -> Tests {
    let mut tests = named(runner);
    for found in expression.captures_iter(output) {
        let (count, word) = parts(&found);
        let n: u64 = count.parse().unwrap_or(0);
        let sum = match word.as_str() {
            "passing" | "pass" | "passed" => &mut tests.passed,
            "pending" | "skipped" | "todo" => &mut tests.skipped,
            _ => &mut tests.failed,
        };
        *sum = sum.saturating_add(n);
    }
    tests
}

/// Counts lines of single tests: what a program printed before it was ended counts too.
fn lines(output: &str) -> Tests {
    let mut best = Tests::default();
    for (runner, expression) in &LINES {
        let mut tests = named(runner);
        for found in expression.captures_iter(output) {
            let name = found.name("name").map_or("", |name| name.as_str()).trim();
            if found.name("p").is_some() {
                tests.passed += 1;
            } else if found.name("s").is_some() {
                tests.skipped += 1;
            } else {
                tests.failed += 1;
                if tests.failures.len() < NAMES && !name.is_empty() {
                    tests.failures.insert(name.to_owned());
                }
            }
        }
        // Other programs begin lines with FAIL: too; a test that passed tells whose they are.
        let is_it = *runner != "automake" || tests.passed > 0;
        if is_it && tests.total() > best.total() {
            best = tests;
        }
    }
    best
}

#[cfg(test)]
mod tests;
