//! Files that would make a repository better for agents, made only from what was seen to work. A file
//! that is there is never proposed again: its owner knows better.

use serde_json::{Map, Value, json};

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

/// Images and Features of the Dev Containers project, by ecosystem.
const KNOWN: &[(&str, &str, Option<&str>)] = &[
    (
        "rust",
        "mcr.microsoft.com/devcontainers/rust:1",
        Some("ghcr.io/devcontainers/features/rust:1"),
    ),
    (
        "node",
        "mcr.microsoft.com/devcontainers/javascript-node:22",
        Some("ghcr.io/devcontainers/features/node:1"),
    ),
    (
        "python",
        "mcr.microsoft.com/devcontainers/python:3",
        Some("ghcr.io/devcontainers/features/python:1"),
    ),
    ("go", "mcr.microsoft.com/devcontainers/go:1", Some("ghcr.io/devcontainers/features/go:1")),
    (
        "java",
        "mcr.microsoft.com/devcontainers/java:21",
        Some("ghcr.io/devcontainers/features/java:1"),
    ),
    (
        "ruby",
        "mcr.microsoft.com/devcontainers/ruby:3",
        Some("ghcr.io/devcontainers/features/ruby:1"),
    ),
    ("php", "mcr.microsoft.com/devcontainers/php:8", Some("ghcr.io/devcontainers/features/php:1")),
    (
        "dotnet",
        "mcr.microsoft.com/devcontainers/dotnet:9.0",
        Some("ghcr.io/devcontainers/features/dotnet:2"),
    ),
    ("native", "mcr.microsoft.com/devcontainers/cpp:debian", None),
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

fn devcontainer(report: &Report) -> String {
    let known = |ecosystem: &str| KNOWN.iter().find(|(name, ..)| *name == ecosystem);
    let mut units = report.units.iter().map(|unit| unit.ecosystem.as_str());
    let image = units.next().and_then(known).map_or(BASE, |(_, image, _)| image);
    let features: Map<String, Value> = units
        .filter_map(known)
        .filter_map(|(.., feature)| Some(((*feature)?.to_owned(), json!({}))))
        .collect();
    let mut definition = Map::new();
    definition.insert("image".to_owned(), json!(image));
    if !features.is_empty() {
        definition.insert("features".to_owned(), Value::Object(features));
    }
    let commands: Vec<String> =
        worked(report, &[Phase::Install, Phase::Repair]).map(in_folder).collect();
    if !commands.is_empty() {
        definition.insert("postCreateCommand".to_owned(), json!(commands.join(" && ")));
    }
    let mut text = serde_json::to_string_pretty(&Value::Object(definition)).unwrap_or_default();
    text.push('\n');
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
