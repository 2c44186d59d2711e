//! Runs of automation files, started by hand. What a file asks for and no server keeps to yet is refused,
//! never passed over.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};
use windlass_run::{
    EventId, RunId,
    automation::Automation,
    event::{Ancestry, Event, Trust},
};
use windlass_wire::api::automation::{AutomationFile, RunAutomation, StartedAutomation};

use crate::{
    auth::Principal,
    launch::{Launch, Ready, targets},
    links,
    problem::{Code, Problem},
    state::AppState,
};

/// Starts a run of an automation file, one job for each project. With a `key`, the same request starts it
/// once, however often it is sent.
///
/// # Errors
/// A file that is refused, with everything that is wrong with it; a project or branch that does not hold;
/// the store's failures.
pub async fn run(
    app: &AppState,
    principal: &Principal,
    asked: RunAutomation,
    key: Option<String>,
) -> Result<StartedAutomation, Problem> {
    let automation = Arc::new(read(&asked.file)?);
    supported(&automation)?;
    let mut beside = BTreeMap::new();
    for file in &asked.beside {
        let other = read(file)?;
        beside.insert(other.name.to_string(), Arc::new(other));
    }
    let calls = |name: &str| beside.get(name).cloned();
    let ready = Ready::of(automation, &asked.file.text, None, &calls)
        .map_err(|invalid| refused(&asked.file.name, invalid.to_string()))?;
    let automation = &ready.automation;
    let inputs = automation.take_inputs(&asked.inputs).map_err(|invalid| {
        let why: Vec<String> = invalid.iter().map(ToString::to_string).collect();
        Problem::new(Code::InvalidSpec, why.join("; ")).at("inputs")
    })?;
    let organisation_id = &principal.organisation_id;
    let chosen = targets::choose(app, organisation_id, automation, &asked.projects).await?;
    let run_id = RunId::new(app.now(), app.random());
    let launch = Launch {
        event: by_hand(app, &run_id, &inputs),
        run_id,
        ready: &ready,
        inputs,
        by: principal.by(),
        organisation_id: principal.organisation_id.clone(),
    };
    let mut notes = Vec::new();
    let started = launch.start(app, &chosen, key, &mut notes).await?;
    Ok(StartedAutomation {
        url: format!("{}{}", app.base_url(), links::run(&started.run_id)),
        run_id: started.run_id,
        job_ids: started.job_ids,
        notes,
    })
}

/// The event that somebody who asks is.
fn by_hand(app: &AppState, run_id: &RunId, inputs: &Map<String, Value>) -> Event {
    let now = app.now();
    Event {
        id: EventId::new(now, app.random()),
        source: "person".to_owned(),
        delivery: run_id.to_string(),
        kind: "manual".to_owned(),
        subject: None,
        time: now,
        project_id: None,
        actor: None,
        trust: Trust::Own,
        ancestry: Ancestry::default(),
        data: json!({ "inputs": inputs }),
    }
}

fn read(file: &AutomationFile) -> Result<Automation, Problem> {
    Automation::read(&file.name, &file.text)
        .map_err(|refused| Problem::new(Code::InvalidAutomation, refused.to_string()))
}

fn refused(file: &str, why: String) -> Problem {
    Problem::new(Code::InvalidAutomation, format!("{file}: {why}"))
}

/// Refuses what a run by hand can't keep to.
fn supported(automation: &Automation) -> Result<(), Problem> {
    let targets = &automation.targets;
    let asks = [
        ("concurrency", automation.concurrency.is_some()),
        ("policy", automation.policy.is_some()),
        ("targets.search", targets.search.is_some()),
        ("targets.file", targets.file.is_some()),
        ("targets.command", targets.command.is_some()),
        ("targets.select", targets.select.is_some()),
    ];
    if !automation.enabled {
        let why = "the automation is switched off: set `enabled: true`";
        return Err(Problem::new(Code::InvalidAutomation, why));
    }
    match asks.into_iter().find(|(_, asks)| *asks) {
        Some((what, _)) => Err(Problem::new(
            Code::InvalidAutomation,
            format!("this server can't keep to {what} yet: leave it out to run the file by hand"),
        )),
        None => Ok(()),
    }
}
