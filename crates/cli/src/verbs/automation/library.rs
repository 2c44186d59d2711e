//! `windlass automation library`: the ready automations of the folder `library`, which are part of this
//! program. Nothing is fetched.

use std::{fs, io::Write as _, path::Path};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::{
    arguments::{Library, LibraryVerb},
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

/// A ready automation.
struct Entry {
    name: &'static str,
    file: &'static str,
    readme: &'static str,
}

macro_rules! entries {
    ($($name:literal,)*) => {
        &[$(Entry {
            name: $name,
            file: include_str!(concat!("../../../../../library/", $name, "/automation.yaml")),
            readme: include_str!(concat!("../../../../../library/", $name, "/README.md")),
        },)*]
    };
}

/// All of them. A test holds this to the folder.
const ENTRIES: &[Entry] = entries![
    "alert-bug-fix",
    "backlog-cleanup",
    "code-review",
    "cve-remediation",
    "dependency-upgrades",
    "docs-follow-code",
    "failed-ci-repair",
    "flaky-test-hunt",
    "incident-first-pass",
    "large-migration",
    "licence-headers",
    "lint-debt",
    "spec-to-change",
    "weekly-report",
];

pub(super) fn run(settings: &Settings, asked: &Library) -> Result<Exit> {
    match &asked.verb {
        None => list(settings)?,
        Some(LibraryVerb::Show { name }) => show(settings, find(name)?)?,
        Some(LibraryVerb::Add { name, dir, force }) => add(settings, find(name)?, dir, *force)?,
    }
    Ok(Exit::Success)
}

fn list(settings: &Settings) -> Result<()> {
    if settings.json {
        let all = ENTRIES.iter();
        let all =
            all.map(|entry| json!({ "name": entry.name, "description": entry.description() }));
        return crate::verbs::print_json(&all.collect::<Vec<_>>());
    }
    let style = Style::for_stdout();
    let width = ENTRIES.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
    for entry in ENTRIES {
        let gap = " ".repeat(width - entry.name.len());
        println!("{}{gap}  {}", style.bold(entry.name), entry.description());
    }
    println!();
    println!(
        "{}",
        style.dim("windlass automation library show NAME · windlass automation library add NAME")
    );
    Ok(())
}

fn show(settings: &Settings, entry: &Entry) -> Result<()> {
    if settings.json {
        return crate::verbs::print_json(&json!({
            "name": entry.name,
            "description": entry.description(),
            "readme": entry.readme,
            "file": entry.file,
        }));
    }
    println!("{}", entry.readme.trim_end());
    println!();
    println!("{}", Style::for_stdout().dim("# automation.yaml"));
    print!("{}", entry.file);
    Ok(())
}

fn add(settings: &Settings, entry: &Entry, dir: &Path, force: bool) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("failed to make {}", dir.display()))?;
    let path = dir.join(format!("{}.yaml", entry.name));
    let mut options = fs::OpenOptions::new();
    options.write(true);
    match force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let mut file = match options.open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{} is there already: --force writes over it", path.display())
        }
        opened => opened.with_context(|| format!("failed to write {}", path.display()))?,
    };
    file.write_all(entry.file.as_bytes())
        .with_context(|| format!("failed to write {}", path.display()))?;
    if settings.json {
        return crate::verbs::print_json(&json!({ "name": entry.name, "path": path }));
    }
    println!("{}", terminal::harmless(&path.display().to_string()));
    println!(
        "Adapt its inputs and triggers, then try it: windlass automation run {}",
        terminal::harmless(&path.display().to_string())
    );
    Ok(())
}

fn find(name: &str) -> Result<&'static Entry> {
    let Some(entry) = ENTRIES.iter().find(|entry| entry.name == name) else {
        let names: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
        let (name, names) = (terminal::harmless(name), names.join(", "));
        bail!("the library has no automation `{name}`: it has {names}");
    };
    Ok(entry)
}

impl Entry {
    /// The line of its file that says what it is for.
    fn description(&self) -> &'static str {
        let mut lines = self.file.lines();
        lines.find_map(|line| line.strip_prefix("description: ")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use windlass_run::automation::Automation;

    use super::*;

    #[test]
    fn every_folder_of_the_library_is_part_of_the_program_whole() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../library");
        let folders = fs::read_dir(folder).expect("the library").flatten();
        let folders = folders.filter(|entry| entry.path().is_dir());
        let on_disk: BTreeSet<String> =
            folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let within: BTreeSet<String> = ENTRIES.iter().map(|entry| entry.name.to_owned()).collect();
        assert_eq!(within, on_disk);
        for entry in ENTRIES {
            let read = Automation::read(entry.name, entry.file);
            let automation = read.unwrap_or_else(|refused| panic!("{refused}"));
            assert_eq!(automation.name.as_str(), entry.name);
            assert_eq!(automation.description.as_deref(), Some(entry.description()));
            assert!(entry.readme.starts_with(&format!("# {}\n", entry.name)), "{}", entry.name);
            let told = |name: &String| entry.readme.contains(&format!("`{name}`"));
            let untold: Vec<&String> =
                automation.inputs.keys().filter(|name| !told(name)).collect();
            assert_eq!(
                untold,
                Vec::<&String>::new(),
                "inputs that {}'s README forgets",
                entry.name
            );
        }
    }
}
