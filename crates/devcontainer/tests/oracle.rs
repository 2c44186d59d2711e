//! Beside the reference tool: what `devcontainer read-configuration` (npm `@devcontainers/cli`) prints
//! for a project, we work out too, for configurations that are written here and many that are
//! generated from a fixed seed. The intended differences are listed in `docs/devcontainer.md`.
//!
//! Runs with WINDLASS_TEST_NPM=1 or WINDLASS_TEST_ALL=1; needs node, npm and a package registry once.
//! WINDLASS_TEST_ORACLE_CASES asks for another number of generated configurations.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by a panic, skips loudly, and is steered by variables"
)]

#[path = "oracle/case.rs"]
mod case;
#[path = "oracle/generate.rs"]
mod generate;
#[path = "oracle/reference.rs"]
mod reference;
#[path = "oracle/written.rs"]
mod written;

use case::{Case, Verdict};

/// Generated configurations, besides the written ones.
const GENERATED: u32 = 260;

#[test]
fn we_read_configurations_as_the_reference_tool_does() {
    let tool = match reference::Tool::install() {
        Ok(tool) => tool,
        Err(needs) => {
            let is_due = std::env::var("WINDLASS_TEST_ALL").as_deref() == Ok("1");
            assert!(!is_due, "the reference tool is due: {needs}");
            eprintln!(
                "SKIPPED we_read_configurations_as_the_reference_tool_does: needs node, npm and a \
                 package registry: set WINDLASS_TEST_NPM=1 ({needs})"
            );
            return;
        }
    };
    let generated = std::env::var("WINDLASS_TEST_ORACLE_CASES")
        .map_or(GENERATED, |number| number.parse().unwrap());
    let mut cases = written::cases();
    cases.extend(generate::cases(generated));
    let verdicts = compare_all(&tool, &cases);

    let mut failures = Vec::new();
    let (mut agreed, mut refused) = (0, 0);
    for (case, verdict) in cases.iter().zip(&verdicts) {
        match (verdict, case.differs) {
            (Verdict::Agree, None) => agreed += 1,
            (Verdict::BothRefuse, None) => refused += 1,
            (Verdict::Differ(_), Some(_)) => {}
            (Verdict::Agree | Verdict::BothRefuse, Some(why)) => {
                failures.push(format!("{}: agrees, though it should differ: {why}", case.name));
            }
            (Verdict::Differ(how), None) => {
                failures.push(format!("{}: {how}\n{}", case.name, case.text()));
            }
        }
    }
    let intended = cases.iter().filter(|case| case.differs.is_some()).count();
    eprintln!(
        "{} configurations: {agreed} agree, {refused} are refused by both, {intended} differ as intended",
        cases.len()
    );
    let shown = &failures[..failures.len().min(8)];
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), shown.join("\n\n"));
    assert!(generated < GENERATED || agreed >= 300, "only {agreed} configurations agree");
}

/// Two at a time: each call of the tool is a process of its own.
fn compare_all(tool: &reference::Tool, cases: &[Case]) -> Vec<Verdict> {
    let half = cases.len().div_ceil(2).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = cases
            .chunks(half)
            .map(|chunk| {
                scope.spawn(move || {
                    chunk.iter().map(|case| case.compare(tool)).collect::<Vec<Verdict>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}
