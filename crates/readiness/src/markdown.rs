//! A report for people who read it in a pull request.

use crate::{
    plan::Phase,
    propose::plain,
    report::{Report, Steady},
};

/// How many lines each list has at most.
const LINES: usize = 15;

pub(crate) fn of(report: &Report) -> String {
    let mut text = format!(
        "### Readiness: {} of 100\n\n| | points | why |\n|---|---|---|\n",
        report.score.points
    );
    for part in &report.score.parts {
        let raise = part
            .raise
            .as_ref()
            .map_or(String::new(), |raise| format!(" To raise it: {}.", cell(raise)));
        text.push_str(&format!(
            "| {} | {} of {} | {}.{raise} |\n",
            part.name,
            part.points,
            part.of,
            cell(&part.why)
        ));
    }
    if !report.commands.is_empty() {
        text.push_str(
            "\n### What was run\n\n| | command | ended | took | tests |\n|---|---|---|---|---|\n",
        );
    }
    for ran in report.commands.iter().filter(|ran| ran.phase != Phase::Probe).take(LINES) {
        let tests = ran.tests.as_ref().map_or(String::new(), |tests| {
            format!("{} passed, {} failed, {} skipped", tests.passed, tests.failed, tests.skipped)
        });
        text.push_str(&format!(
            "| {} | `{}` | {} | {} | {tests} |\n",
            ran.phase.word(),
            cell(&plain(&ran.line)),
            cell(&ran.ended),
            seconds(ran.took)
        ));
    }
    if let Steady::No { names } = &report.steady {
        text.push_str("\nThe two runs of the tests differ");
        let names: Vec<String> = names.iter().map(|name| format!("`{}`", plain(name))).collect();
        text.push_str(&if names.is_empty() {
            ".\n".to_owned()
        } else {
            format!(": {}.\n", names.join(", "))
        });
    }
    if !report.missing.is_empty() {
        text.push_str("\n### What is missing\n\n");
    }
    for missing in report.missing.iter().take(LINES) {
        text.push_str(&format!(
            "- {} `{}`: {} (`{}`)\n",
            missing.kind,
            plain(&missing.name),
            plain(&missing.fix),
            plain(&missing.evidence)
        ));
    }
    text
}

/// A span in words.
fn seconds(micros: i64) -> String {
    match micros / 1_000_000 {
        0 => format!("{} ms", micros / 1_000),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
