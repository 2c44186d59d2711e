//! From 0 to 100: what an agent would find when it starts to work here, each part with its reason and,
//! where points are missing, what would bring them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    plan::Phase,
    report::{Report, Steady},
};

/// A score.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Score {
    /// From 0 to 100.
    pub points: u32,
    /// What it is made of.
    pub parts: Vec<Part>,
}

/// A part of a score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// What is judged.
    pub name: String,
    /// The points given.
    pub points: u32,
    /// The points to be had.
    pub of: u32,
    /// Why.
    pub why: String,
    /// What would bring the rest; absent if nothing is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raise: Option<String>,
}

/// What the repository brings for agents already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// A `devcontainer.json`.
    pub devcontainer: bool,
    /// Instructions for agents.
    pub instructions: bool,
}

/// Judges a report; its own score is not looked at.
pub fn score(report: &Report, present: Present) -> Score {
    let parts = vec![
        recognised(report),
        tools(report),
        phase(report, Phase::Install, "Dependencies", 15, "its dependencies can be fetched"),
        phase(report, Phase::Build, "Build", 10, "it builds"),
        started(report),
        passed(report),
        steady(report),
        file(
            present.devcontainer,
            "Environment",
            "devcontainer.json",
            "a devcontainer.json says what an environment needs",
        ),
        file(
            present.instructions,
            "Instructions",
            "AGENTS.md",
            "an AGENTS.md says how to build and test",
        ),
    ];
    Score { points: parts.iter().map(|part| part.points).sum(), parts }
}

fn part(
    name: &str,
    points: u32,
    of: u32,
    why: impl Into<String>,
    raise: impl Into<String>,
) -> Part {
    let raise = (points < of).then(|| raise.into());
    Part { name: name.to_owned(), points, of, why: why.into(), raise }
}

fn recognised(report: &Report) -> Part {
    let names: Vec<&str> = report.units.iter().map(|unit| unit.place.as_str()).collect();
    let raise = "add the usual manifest of its ecosystem, or a makefile with a target `test`";
    match names.is_empty() {
        true => part("Recognised", 0, 10, "no file tells how it is built or tested", raise),
        false => part("Recognised", 10, 10, format!("told by {}", names.join(", ")), raise),
    }
}

fn tools(report: &Report) -> Part {
    let all = report.tools.len();
    let unfit: Vec<&str> =
        report.tools.iter().filter(|tool| !tool.fits).map(|tool| tool.name.as_str()).collect();
    if all == 0 {
        return part("Tools", 0, 15, "no tool is known", "see Recognised");
    }
    let points = 15 * (all - unfit.len()) / all;
    let points = u32::try_from(points).unwrap_or(0);
    let list = unfit.join(", ");
    let why = if unfit.is_empty() {
        "every tool is there".to_owned()
    } else {
        format!("missing or of another version: {list}")
    };
    part("Tools", points, 15, why, format!("give the environment {list}"))
}

/// A phase counts as done where its last command ended well, or where none was needed and tests started.
fn phase(report: &Report, phase: Phase, name: &str, of: u32, good: &str) -> Part {
    let ran: Vec<_> = report.commands.iter().filter(|ran| ran.phase == phase).collect();
    match ran.last() {
        None if report.tests_started => part(name, of, of, "nothing was needed", ""),
        None => part(name, 0, of, "it was not come to", "see the parts above"),
        Some(last) if last.exit == Some(0) => {
            part(name, of, of, format!("{good}: `{}`", last.line), "")
        }
        Some(last) if report.tests_started => {
            let raise = format!("make `{}` end well", last.line);
            part(
                name,
                of / 2,
                of,
                format!("`{}`: {}, and yet tests start", last.line, last.ended),
                raise,
            )
        }
        Some(last) => part(
            name,
            0,
            of,
            format!("`{}`: {}", last.line, last.ended),
            format!("make `{}` end well", last.line),
        ),
    }
}

fn started(report: &Report) -> Part {
    match &report.tests {
        Some(tests) if report.tests_started => part(
            "Tests start",
            20,
            20,
            format!("{} tests, as {} tells", tests.total(), tests.runner),
            "",
        ),
        _ => part(
            "Tests start",
            0,
            20,
            "no test was seen to run",
            "name one command that runs the tests, in AGENTS.md or as the usual target",
        ),
    }
}

fn passed(report: &Report) -> Part {
    let Some(tests) = report.tests.as_ref().filter(|_| report.tests_started) else {
        return part("Tests pass", 0, 15, "no test was seen to run", "see Tests start");
    };
    let run = tests.passed.saturating_add(tests.failed);
    if tests.failed == 0 {
        let well =
            report.commands.iter().any(|ran| ran.phase == Phase::Test && ran.exit == Some(0));
        return match well {
            true => part("Tests pass", 15, 15, format!("all {run} passed"), ""),
            false => part(
                "Tests pass",
                10,
                15,
                "no test failed, but the command did not end well",
                "make the test command exit with 0",
            ),
        };
    }
    let points = u32::try_from(tests.passed.saturating_mul(12) / run.max(1)).unwrap_or(0);
    part(
        "Tests pass",
        points,
        15,
        format!("{} of {run} failed", tests.failed),
        "mend the tests that fail, or what they miss",
    )
}

fn steady(report: &Report) -> Part {
    match &report.steady {
        Steady::Yes => part("Steady", 5, 5, "a second run came to the same", ""),
        Steady::Unknown => {
            part("Steady", 0, 5, "there was no second run", "let the tests start, in less time")
        }
        Steady::No { names } if names.is_empty() => part(
            "Steady",
            0,
            5,
            "a second run came to other counts",
            "find out which test depends on time, order or chance",
        ),
        Steady::No { names } => part(
            "Steady",
            0,
            5,
            format!("only sometimes: {}", names.join(", ")),
            "mend or leave out these tests",
        ),
    }
}

fn file(there: bool, name: &str, path: &str, why: &str) -> Part {
    match there {
        true => part(name, 5, 5, why, ""),
        false => part(
            name,
            0,
            5,
            format!("there is no {path}"),
            format!("add {path}; one is proposed where tests start"),
        ),
    }
}
