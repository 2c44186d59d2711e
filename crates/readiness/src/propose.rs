//! Files that would make a repository better for agents, made only from what was seen to work. A file
//! that is there is never proposed again: its owner knows better.

use serde_json::Value;

use crate::{
    observe::Tests,
    plan::Phase,
    report::{CommandRun, ProposedFile, Report},
    score::Present,
};

/// Where the environment's definition goes.
pub const DEVCONTAINER: &str = ".devcontainer/devcontainer.json";
/// Where the instructions for agents go.
pub const INSTRUCTIONS: &str = "AGENTS.md";

/// Images of the Dev Containers project, by ecosystem.
const KNOWN: &[(&str, &str)] = &[
    ("rust", "mcr.microsoft.com/devcontainers/rust:1"),
    ("node", "mcr.microsoft.com/devcontainers/javascript-node:22"),
    ("python", "mcr.microsoft.com/devcontainers/python:3"),
    ("go", "mcr.microsoft.com/devcontainers/go:1"),
    ("java", "mcr.microsoft.com/devcontainers/java:21"),
    ("ruby", "mcr.microsoft.com/devcontainers/ruby:3"),
    ("php", "mcr.microsoft.com/devcontainers/php:8"),
    ("dotnet", "mcr.microsoft.com/devcontainers/dotnet:9.0"),
    ("native", "mcr.microsoft.com/devcontainers/cpp:debian"),
];
const BASE: &str = "mcr.microsoft.com/devcontainers/base:debian";

/// The files to propose. None, where no test was seen to run: there is nothing to write down yet.
pub fn files(report: &Report, present: Present) -> Vec<ProposedFile> {
    let mut files = Vec::new();
    if !report.tests_started {
        return files;
    }
    if !present.devcontainer {
        files.push(ProposedFile { path: DEVCONTAINER.to_owned(), text: devcontainer(report) });
    }
    if !present.instructions {
        files.push(ProposedFile { path: INSTRUCTIONS.to_owned(), text: instructions(report) });
    }
    files
}

/// A definition of the environment that the commands were seen to work in: the runner's default one. An
/// image is only named in a comment, since it was not tried.
fn devcontainer(report: &Report) -> String {
    let known = |ecosystem: &str| KNOWN.iter().find(|(name, _)| *name == ecosystem);
    let first = report.units.first().and_then(|unit| known(&unit.ecosystem));
    let image = first.map_or(BASE, |(_, image)| image);
    let mut text = format!(
        "{{\n  // All of this was seen to work in the runner's default environment. Editors and container\n  \
         // engines need an image; this one was not tried:\n  // \"image\": \"{image}\",\n"
    );
    let commands: Vec<String> =
        worked(report, &[Phase::Install, Phase::Repair]).map(in_folder).collect();
    if !commands.is_empty() {
        let command = Value::from(commands.join(" && "));
        text.push_str(&format!("  \"postCreateCommand\": {command}\n"));
    }
    text.push_str("}\n");
    text
}

fn instructions(report: &Report) -> String {
    let mut text =
        String::from("# Working in this repository\n\nWhat follows was run and seen to work.\n");
    for (title, phases) in [
        ("Set up", &[Phase::Install, Phase::Repair][..]),
        ("Build", &[Phase::Build]),
        ("Test", &[Phase::Test]),
    ] {
        let commands: Vec<&CommandRun> = match title {
            "Test" => started(report).collect(),
            _ => worked(report, phases).collect(),
        };
        if commands.is_empty() {
            continue;
        }
        text.push_str(&format!("\n## {title}\n\n```sh\n"));
        for command in &commands {
            text.push_str(&format!("{}\n", in_folder(command)));
        }
        text.push_str("```\n");
        for tests in commands.iter().filter_map(|command| command.tests.as_ref()) {
            text.push_str(&format!("\n{} tests passed", tests.passed));
            if tests.failed > 0 {
                text.push_str(&format!(", {} failed when this was written", tests.failed));
            }
            if tests.skipped > 0 {
                text.push_str(&format!(", {} were skipped", tests.skipped));
            }
            text.push_str(".\n");
        }
    }
    if !report.services.is_empty() || !report.secrets.is_empty() {
        text.push_str("\n## What it may need besides\n\n");
        for need in &report.services {
            text.push_str(&format!(
                "- The service `{}` ({}, `{}`)\n",
                plain(&need.name),
                plain(&need.evidence),
                plain(&need.place)
            ));
        }
        for need in &report.secrets {
            text.push_str(&format!(
                "- The secret `{}` ({}, `{}`)\n",
                plain(&need.name),
                plain(&need.evidence),
                plain(&need.place)
            ));
        }
    }
    text
}

/// Commands that ended well.
fn worked<'a>(report: &'a Report, phases: &'a [Phase]) -> impl Iterator<Item = &'a CommandRun> {
    report.commands.iter().filter(|ran| phases.contains(&ran.phase) && ran.exit == Some(0))
}

/// Commands that ran tests.
fn started(report: &Report) -> impl Iterator<Item = &CommandRun> {
    let has_tests = |ran: &&CommandRun| ran.tests.as_ref().is_some_and(Tests::have_started);
    report.commands.iter().filter(|ran| ran.phase == Phase::Test).filter(has_tests)
}

fn in_folder(ran: &CommandRun) -> String {
    match ran.folder.is_empty() {
        true => ran.line.clone(),
        false => format!("(cd '{}' && {})", ran.folder.replace('\'', r"'\''"), ran.line),
    }
}

/// A word from a file, harmless inside of inline code.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|it| !it.is_control() && *it != '`').take(120).collect()
}
