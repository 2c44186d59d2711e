//! Automations: which are in force, and their runs, started by hand. What a file asks for and no server
//! keeps to yet is refused, never passed over.

pub(crate) mod change;
pub(crate) mod sync;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};
use windlass_run::{
    EventId, RunId,
    automation::Automation,
    event::{Ancestry, Event, Trust},
};
use windlass_store::automations::{Automation as Stored, Version};
use windlass_wire::api::automation::{
    AutomationFile, RunAutomation, StartAutomation, StartedAutomation,
};

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
    let mut beside = BTreeMap::new();
    for file in &asked.beside {
        let other = read(file)?;
        beside.insert(other.name.to_string(), Arc::new(other));
    }
    let calls = |name: &str| beside.get(name).cloned();
    let ready = Ready::of(automation, &asked.file.text, None, &calls)
        .map_err(|invalid| refused(&asked.file.name, invalid.to_string()))?;
    by_hand(app, principal, &ready, (&asked.inputs, &asked.projects), key).await
}

/// Starts a run of an automation that is in force, as [`run`] does. One that is paused can be started by
/// hand; one that its file switches off can't.
///
/// # Errors
/// As [`run`].
pub async fn start(
    app: &AppState,
    principal: &Principal,
    name: &str,
    asked: StartAutomation,
    key: Option<String>,
) -> Result<StartedAutomation, Problem> {
    let stored = app.store().automation(&principal.organisation_id, name).await?;
    let ready = ready(app, &stored).await?;
    by_hand(app, principal, &ready, (&asked.inputs, &asked.projects), key).await
}

/// An automation that is in force, with what it calls as that is now.
///
/// # Errors
/// A file that this server can't read any more, or a call that does not hold.
pub(crate) async fn ready(app: &AppState, stored: &Stored) -> Result<Ready, Problem> {
    let automation = Arc::new(in_force(stored)?);
    // Only what is called is read: most automations call nothing.
    let mut found: BTreeMap<String, Arc<Automation>> = BTreeMap::new();
    let mut ahead = automation.called();
    while let Some(name) = ahead.pop() {
        if found.contains_key(&name) {
            continue;
        }
        // One that is missing is told by the call itself, with its chain.
        let called = match app.store().automation(&stored.organisation_id, &name).await {
            Ok(called) => Arc::new(in_force(&called)?),
            Err(windlass_store::Error::NotFound { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        ahead.extend(called.called());
        found.insert(name, called);
    }
    let version = &stored.current;
    let calls = |name: &str| found.get(name).cloned();
    Ready::of(automation, &version.text, Some(version.version), &calls)
        .map_err(|invalid| refused(&version.file, invalid.to_string()))
}

fn in_force(stored: &Stored) -> Result<Automation, Problem> {
    let Version { file, text, .. } = &stored.current;
    read(&AutomationFile { name: file.clone(), text: text.clone() })
}

/// Starts a run that somebody asked for.
async fn by_hand(
    app: &AppState,
    principal: &Principal,
    ready: &Ready,
    (given, projects): (&Map<String, Value>, &[String]),
    key: Option<String>,
) -> Result<StartedAutomation, Problem> {
    let automation = &ready.automation;
    supported(automation)?;
    if !automation.enabled {
        let why = "the automation is switched off: set `enabled: true`";
        return Err(Problem::new(Code::InvalidAutomation, why));
    }
    let inputs = automation.take_inputs(given).map_err(|invalid| {
        let why: Vec<String> = invalid.iter().map(ToString::to_string).collect();
        Problem::new(Code::InvalidSpec, why.join("; ")).at("inputs")
    })?;
    let organisation_id = &principal.organisation_id;
    let chosen = targets::choose(app, organisation_id, automation, projects, None).await?;
    let run_id = RunId::new(app.now(), app.random());
    let launch = Launch {
        event: asked_for(app, &run_id, &inputs),
        run_id,
        ready,
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
fn asked_for(app: &AppState, run_id: &RunId, inputs: &Map<String, Value>) -> Event {
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

/// Refuses what this server can't keep to.
pub(crate) fn supported(automation: &Automation) -> Result<(), Problem> {
    let targets = &automation.targets;
    let asks = [
        ("policy", automation.policy.is_some()),
        ("targets.search", targets.search.is_some()),
        ("targets.file", targets.file.is_some()),
        ("targets.command", targets.command.is_some()),
        ("targets.select", targets.select.is_some()),
    ];
    match asks.into_iter().find(|(_, asks)| *asks) {
        Some((what, _)) => Err(Problem::new(
            Code::InvalidAutomation,
            format!("this server can't keep to {what} yet: leave it out"),
        )),
        None => Ok(()),
    }
}
