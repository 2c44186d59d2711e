//! `windlass automation`: what automation files say, without a server; runs of them by hand; and what a
//! server has in force.

mod by_hand;
mod library;
mod rehearse;
mod stored;

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use windlass_run::{
    automation::{Automation, schema},
    event::Event,
    trigger,
};

use crate::{
    arguments::{self, TestAutomation},
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

/// Where a repository has them.
const FOLDER: &str = ".windlass/automations";
/// The longest file, in bytes.
const LIMIT: u64 = 1 << 20;

pub(crate) async fn run(settings: &Settings, verb: arguments::Automation) -> Result<Exit> {
    match verb {
        arguments::Automation::Check(asked) => check(settings, &asked.files),
        arguments::Automation::Library(asked) => library::run(settings, &asked),
        arguments::Automation::Run(asked) => by_hand::run(settings, &asked).await,
        arguments::Automation::Schema => {
            super::print_json(&schema())?;
            Ok(Exit::Success)
        }
        arguments::Automation::Test(asked) => test(settings, &asked).await,
        other => stored::run(settings, other).await,
    }
}

fn check(settings: &Settings, named: &[PathBuf]) -> Result<Exit> {
    let files = files(named)?;
    let mut said = Vec::new();
    let mut all: BTreeMap<String, (PathBuf, Arc<Automation>)> = BTreeMap::new();
    for file in &files {
        match read(file)? {
            Ok(automation) => {
                let name = automation.name.to_string();
                if let Some((other, _)) = all.get(&name) {
                    said.push(format!(
                        "{}: another file has the name `{name}`: {}",
                        file.display(),
                        other.display()
                    ));
                }
                all.insert(name, (file.clone(), Arc::new(automation)));
            }
            Err(refused) => said.extend(refused.lines().map(str::to_owned)),
        }
    }
    for (file, automation) in all.values() {
        // An automation of the server may be called too: only what is here can be judged here.
        if automation.called().iter().all(|name| all.contains_key(name))
            && let Err(invalid) = automation.made(&|name| Some(all.get(name)?.1.clone()))
        {
            said.push(format!("{}: {invalid}", file.display()));
        }
    }
    if settings.json {
        let names: Vec<&String> = all.keys().collect();
        super::print_json(&json!({ "automations": names, "findings": said }))?;
    } else {
        for line in &said {
            println!("{}", terminal::harmless(line));
        }
        let style = Style::for_stdout();
        for (name, (file, automation)) in all.iter().filter(|_| said.is_empty()) {
            let on: Vec<&str> = automation.triggers.iter().map(|one| one.on.name()).collect();
            let on = if on.is_empty() { "by hand".to_owned() } else { on.join(", ") };
            println!("{}  {}  {}", style.bold(name), on, style.dim(&file.display().to_string()));
        }
    }
    Ok(if said.is_empty() { Exit::Success } else { Exit::Found })
}

async fn test(settings: &Settings, asked: &TestAutomation) -> Result<Exit> {
    let automation = match read(&asked.file)? {
        Ok(automation) => automation,
        Err(refused) => {
            eprintln!("{}", terminal::harmless(&refused));
            return Ok(Exit::Found);
        }
    };
    let mut others = BTreeMap::new();
    for (_, _, other) in beside(&asked.file)? {
        others.insert(other.name.to_string(), Arc::new(other));
    }
    let made = automation.made(&|name| others.get(name).cloned());
    if let Err(invalid) = made {
        eprintln!("{}: {invalid}", asked.file.display());
        return Ok(Exit::Found);
    }
    let event = match (&asked.event, asked.last) {
        (Some(file), _) => event(file)?,
        (None, last) => {
            let text = fs::read_to_string(&asked.file)
                .with_context(|| format!("failed to read {}", asked.file.display()))?;
            return rehearse::run(settings, &asked.file, text, last.unwrap_or(100)).await;
        }
    };
    let mut answers = Vec::new();
    for (n, one) in automation.triggers.iter().enumerate() {
        let answer = trigger::looks(&automation, one, &event, trigger::DEEPEST_CHAIN);
        answers.push((n, one.on.name(), answer));
    }
    if settings.json {
        let answers: Vec<Value> = answers
            .iter()
            .map(|(n, on, answer)| match answer {
                Ok(start) => json!({ "on": n, "kind": on, "starts": true, "inputs": start.inputs }),
                Err(why) => {
                    json!({ "on": n, "kind": on, "starts": false, "why": why.to_string() })
                }
            })
            .collect();
        super::print_json(&json!({ "automation": automation.name, "triggers": answers }))?;
        return Ok(Exit::Success);
    }
    let style = Style::for_stdout();
    println!("{}  {}", style.bold(automation.name.as_str()), style.dim(&event.kind));
    for (_, on, answer) in &answers {
        match answer {
            Ok(start) => {
                let inputs = Value::Object(start.inputs.clone()).to_string();
                println!("  {on}: starts a run with {}", terminal::one_line(&inputs, 200));
            }
            Err(why) => println!("  {on}: {}", terminal::one_line(&why.to_string(), 400)),
        }
    }
    if answers.is_empty() {
        println!("  no trigger: it starts by hand");
    }
    Ok(Exit::Success)
}

/// The automations in the folder of a file that can be read, with their texts: what it may call.
fn beside(file: &Path) -> Result<Vec<(PathBuf, String, Automation)>> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut found = Vec::new();
    for file in files(&[folder.unwrap_or(Path::new(".")).to_owned()])? {
        if let Ok(text) = text_of(&file)?
            && let Ok(automation) = Automation::read(&file.display().to_string(), &text)
        {
            found.push((file, text, automation));
        }
    }
    Ok(found)
}

/// The files that are named, or stand in folders that are.
fn files(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let usual = [PathBuf::from(FOLDER)];
    let named = if named.is_empty() { &usual } else { named };
    let mut files = Vec::new();
    for path in named {
        let inner = path.join(FOLDER);
        let folder = if inner.is_dir() { inner } else { path.clone() };
        if !folder.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("failed to list {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The outer error is the machine's, the inner one the file's.
fn read(file: &Path) -> Result<std::result::Result<Automation, String>> {
    Ok(text_of(file)?.and_then(|text| {
        let read = Automation::read(&file.display().to_string(), &text);
        read.map_err(|refused| refused.to_string())
    }))
}

fn text_of(file: &Path) -> Result<std::result::Result<String, String>> {
    let name = file.display().to_string();
    let length = fs::metadata(file).with_context(|| format!("failed to read {name}"))?.len();
    if length > LIMIT {
        bail!("{name} has {length} bytes, and an automation at most {LIMIT}");
    }
    let bytes = fs::read(file).with_context(|| format!("failed to read {name}"))?;
    Ok(String::from_utf8(bytes).map_err(|_| format!("{name}: it is not UTF-8: save it as that")))
}

fn event(file: &Path) -> Result<Event> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(LIMIT * 32).read_to_string(&mut text)?;
    } else {
        text = fs::read_to_string(file)
            .with_context(|| format!("failed to read {}", file.display()))?;
    }
    serde_json::from_str(&text).with_context(|| {
        format!("{} is no event: `windlass event parse --json` prints one", file.display())
    })
}
