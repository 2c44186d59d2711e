//! `windlass automation run`: a file or an automation of the server in, a job for each project.

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};
use windlass_run::{
    automation::{Automation, Name},
    spec::Kind,
};
use windlass_wire::api::automation::{
    AutomationDetail, AutomationFile, RunAutomation as Asked, StartAutomation, StartedAutomation,
};

use super::{beside, read, stored, text_of};
use crate::{
    arguments::RunAutomation,
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
    verbs::{follow, job, run as task},
};

pub(super) async fn run(settings: &Settings, verb: &RunAutomation) -> Result<Exit> {
    if let Some(name) = name_of_one(verb) {
        let work = async |client: &Client| start_by_name(settings, client, verb, name).await;
        return task::with_server(settings, &verb.runner, verb.detach, work).await;
    }
    // What is wrong with the file is told before anything is started for it.
    let automation = match read(&verb.file)? {
        Ok(automation) => automation,
        Err(refused) => {
            eprintln!("{}", terminal::harmless(&refused));
            return Ok(Exit::Found);
        }
    };
    let inputs = inputs(&automation, &verb.inputs)?;
    let work = async |client: &Client| {
        start_and_follow(settings, client, verb, &automation, inputs.clone()).await
    };
    task::with_server(settings, &verb.runner, verb.detach, work).await
}

/// The name of an automation of the server, where that and no file is meant.
fn name_of_one(verb: &RunAutomation) -> Option<&str> {
    let name = verb.file.to_str()?;
    (Name::parse(name).is_ok() && !verb.file.exists()).then_some(name)
}

async fn start_by_name(
    settings: &Settings,
    client: &Client,
    verb: &RunAutomation,
    name: &str,
) -> Result<Exit> {
    let path = stored::path(name)?;
    let one: AutomationDetail = client.get(&path).await?;
    let automation = Automation::read(&one.file, &one.text)
        .map_err(|refused| anyhow::anyhow!(terminal::harmless(&refused.to_string())))?;
    let inputs = inputs(&automation, &verb.inputs)?;
    let projects = projects(client, verb, &automation).await?;
    let asked = StartAutomation { inputs, projects };
    let started = client.post(&format!("{path}/run"), &asked).await?;
    watch(settings, client, verb, &automation, started).await
}

/// The inputs that were given, each of its kind.
fn inputs(automation: &Automation, given: &[String]) -> Result<Map<String, Value>> {
    let mut inputs = Map::new();
    for pair in given {
        let Some((name, text)) = pair.split_once('=') else {
            bail!("`--input {pair}` has no `=`: write NAME=VALUE");
        };
        let value = match automation.inputs.get(name) {
            Some(input) => match input.read(text) {
                Ok(value) => value,
                Err(why) => bail!("the input `{name}` {why}"),
            },
            // The server says which there are.
            None => Value::String(text.to_owned()),
        };
        inputs.insert(name.to_owned(), value);
    }
    for (name, input) in &automation.inputs {
        if !inputs.contains_key(name) && input.default.is_none() {
            let kind = if input.kind == Kind::String { "VALUE" } else { input.kind.name() };
            bail!("the input `{name}` has no default: give it with `--input {name}={kind}`");
        }
    }
    Ok(inputs)
}

async fn start_and_follow(
    settings: &Settings,
    client: &Client,
    verb: &RunAutomation,
    automation: &Automation,
    inputs: Map<String, Value>,
) -> Result<Exit> {
    let projects = projects(client, verb, automation).await?;
    let file_of =
        |path: &std::path::Path, text| AutomationFile { name: path.display().to_string(), text };
    let text = text_of(&verb.file)?.map_err(|refused| anyhow::anyhow!(refused))?;
    let others = beside(&verb.file)?.into_iter();
    let asked = Asked {
        file: file_of(&verb.file, text),
        beside: others
            .filter(|(_, _, other)| other.name != automation.name)
            .map(|(path, text, _)| file_of(&path, text))
            .collect(),
        inputs,
        projects,
    };
    let started = client.post("/api/v1/automations/run", &asked).await?;
    watch(settings, client, verb, automation, started).await
}

/// The projects to work on, as the server knows them: the repository here, where nothing else is said.
async fn projects(
    client: &Client,
    verb: &RunAutomation,
    automation: &Automation,
) -> Result<Vec<String>> {
    let mut named = verb.repositories.clone();
    let targets = &automation.targets;
    if named.is_empty() && targets.repositories.is_empty() && targets.labels.is_none() {
        named.push(".".to_owned());
    }
    let mut projects = Vec::with_capacity(named.len());
    for name in &named {
        projects.push(task::find_or_add(client, name).await?.id.to_string());
    }
    Ok(projects)
}

async fn watch(
    settings: &Settings,
    client: &Client,
    verb: &RunAutomation,
    automation: &Automation,
    started: StartedAutomation,
) -> Result<Exit> {
    if verb.detach && settings.json {
        crate::verbs::print_json(&started)?;
        return Ok(Exit::Success);
    }
    if !settings.json {
        let style = Style::for_stdout();
        let jobs = match started.job_ids.len() {
            0 => "a fleet".to_owned(),
            1 => "1 job".to_owned(),
            many => format!("{many} jobs"),
        };
        println!("{} {}, {jobs}", style.bold(started.run_id.as_str()), automation.name);
        println!("{}", style.dim(&started.url));
        for note in &started.notes {
            println!("note: {}", terminal::harmless(note));
        }
    }
    if verb.detach {
        return Ok(Exit::Success);
    }
    match &started.job_ids[..] {
        [] => {
            let path = format!("/api/v1/fleets/{}", started.run_id);
            crate::verbs::fleet::to_the_end(settings, client, &path).await
        }
        [only] => follow::to_the_end(settings, client, only.as_str()).await,
        several => all(settings, client, several).await,
    }
}

/// Waits for several jobs, and says how each ended. The exit is that of the first that did not end well.
async fn all(
    settings: &Settings,
    client: &Client,
    job_ids: &[windlass_run::JobId],
) -> Result<Exit> {
    let mut exit = Exit::Success;
    let mut ended = Vec::with_capacity(job_ids.len());
    for (n, job_id) in job_ids.iter().enumerate() {
        follow::silently(client, job_id.as_str()).await?;
        let job = job::get(client, job_id.as_str()).await?;
        let end = job.summary.end.as_ref().context("the job has ended")?;
        if !settings.json {
            let state = Style::for_stdout().state(&job.summary.state);
            let reason = terminal::one_line(&end.reason, 100);
            println!("{}/{} {state} {}: {reason}", n + 1, job_ids.len(), job.summary.title);
        }
        if exit == Exit::Success {
            exit = Exit::of_state(&job.summary.state);
        }
        ended.push(job);
    }
    if settings.json {
        crate::verbs::print_json(&ended)?;
    }
    Ok(exit)
}
