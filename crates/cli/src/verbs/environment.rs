//! `windlass environment`: what a repository says of its environment, judged as a runner on this machine
//! would. Nothing is started and nothing is written.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};
use windlass_devcontainer::{Findings, automation::Automation, lifecycle::Stage};
use windlass_runner::definition::{Asked, Definition, ProjectFiles, folder_name, root};

use crate::{
    arguments::{Environment, Resolve},
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

pub(crate) fn run(settings: &Settings, verb: Environment) -> Result<Exit> {
    let (asked, everything) = match verb {
        Environment::Resolve(asked) => (asked, true),
        Environment::Check(asked) => (asked, false),
    };
    match read(&asked)? {
        Ok(definition) => {
            match (settings.json, everything) {
                (true, true) => super::print_json(&definition)?,
                (true, false) => print_findings_json(&definition.findings)?,
                (false, true) => print(&definition),
                (false, false) => print_findings(&definition.findings, "nothing is refused"),
            }
            Ok(Exit::Success)
        }
        Err(findings) => {
            if settings.json {
                print_findings_json(&findings)?;
            } else {
                print_findings(&findings, "");
            }
            Ok(Exit::Found)
        }
    }
}

/// The outer error is ours, the inner one the repository's.
fn read(asked: &Resolve) -> Result<Result<Definition, Findings>> {
    let folder = std::path::absolute(&asked.folder)?;
    let name = folder_name(&folder.file_name().unwrap_or_default().to_string_lossy());
    let files = ProjectFiles::open(&folder, &root(&name))
        .with_context(|| format!("failed to open the project {}", folder.display()))?;
    let variables = BTreeMap::from([
        ("HOME".to_owned(), windlass_sandbox::plan::HOME.to_owned()),
        ("PATH".to_owned(), windlass_sandbox::plan::SYSTEM_PATH.to_owned()),
    ]);
    let asked = Asked {
        name: &name,
        strictness: asked.environment_definition.strictness(),
        variables: &variables,
        ports: &windlass_runner::definition::PORTS,
        room: &windlass_runner::definition::Room::of_this_machine(),
        backend: asked.backend.kind(),
        // Nothing is fetched: what an image says about itself is not known.
        image: None,
        stages: &BTreeMap::new(),
        features: &BTreeMap::new(),
        has_default_image: false,
    };
    Ok(Definition::read(&files, &asked).map_err(|refused| refused.findings))
}

fn print_findings_json(findings: &Findings) -> Result<()> {
    super::print_json(&serde_json::json!({ "findings": findings }))
}

fn print_findings(findings: &Findings, nothing: &str) {
    for finding in findings.all() {
        println!("{}", terminal::harmless(&finding.to_string()));
    }
    if findings.all().is_empty() && !nothing.is_empty() {
        println!("{nothing}");
    }
}

fn print(definition: &Definition) {
    let style = Style::for_stdout();
    let file = definition.devcontainer.as_ref().and_then(|resolved| resolved.file.as_deref());
    let file = file.and_then(|file| Path::new(file).strip_prefix("/workspaces").ok());
    let file = file.map_or("none".to_owned(), |file| {
        file.components().skip(1).collect::<std::path::PathBuf>().display().to_string()
    });
    println!("{} {file}", style.bold("definition"));
    println!(
        "{} {}, commands run in {}",
        style.bold("project"),
        definition.tree,
        definition.folder
    );
    for (name, value) in &definition.variables {
        match value {
            Some(value) => {
                println!("{} {name}={}", style.bold("set"), terminal::one_line(value, 80))
            }
            None => println!("{} {name}", style.bold("unset")),
        }
    }
    if let Some(resolved) = &definition.devcontainer {
        for stage in resolved.lifecycle.inside() {
            print_stage(stage, style);
        }
    }
    print_automation(&definition.automation, style);
    print_findings(&definition.findings, "");
}

fn print_stage(stage: &Stage, style: Style) {
    for step in stage.groups.iter().flat_map(|group| &group.steps) {
        let command = serde_json::to_string(&step.command).unwrap_or_default();
        let name = step.name.as_deref().map(|name| format!(" {name}:")).unwrap_or_default();
        let command = terminal::one_line(&command, 80);
        println!("{}{name} {command}", style.bold(stage.hook.property()));
    }
}

fn print_automation(automation: &Automation, style: Style) {
    let levels = [
        ("prebuild", automation.prebuild()),
        ("before snapshot", automation.before_snapshot()),
        ("start", automation.start()),
    ];
    for (heading, levels) in levels {
        for (n, names) in levels.iter().enumerate() {
            println!("{} {}: {}", style.bold(heading), n + 1, names.join(", "));
        }
    }
}
