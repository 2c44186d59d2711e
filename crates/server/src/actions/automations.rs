//! Runs of automation files, started by hand. What a file asks for and no server keeps to yet is refused,
//! never passed over.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use windlass_run::{
    EventId, JobId, RunId,
    automation::{Automation, Made},
    event::{Ancestry, Event, Trust},
    fleet,
    spec::{Spec, Target},
};
use windlass_store::{
    projects::Project,
    runs::{self as stored, NewJob},
};
use windlass_wire::api::automation::{AutomationFile, RunAutomation, StartedAutomation};

use crate::{
    actions::runs,
    auth::Principal,
    links,
    problem::{Code, Problem},
    state::AppState,
    views,
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
    let automation = read(&asked.file)?;
    supported(&automation)?;
    let mut beside = BTreeMap::new();
    for file in &asked.beside {
        let other = read(file)?;
        beside.insert(other.name.to_string(), Arc::new(other));
    }
    let made = automation
        .made(&|name| beside.get(name).cloned())
        .map_err(|invalid| refused(&asked.file.name, invalid.to_string()))?;
    let inputs = automation.take_inputs(&asked.inputs).map_err(|invalid| {
        let why: Vec<String> = invalid.iter().map(ToString::to_string).collect();
        Problem::new(Code::InvalidSpec, why.join("; ")).at("inputs")
    })?;
    let named = match asked.projects.is_empty() {
        true => automation.targets.repositories.clone(),
        false => asked.projects,
    };
    if named.is_empty() {
        let why = "the file lists no repositories: say on which projects it is to run";
        return Err(Problem::new(Code::InvalidSpec, why).at("projects"));
    }
    let run_id = RunId::new(app.now(), app.random());
    let of_run = OfRun {
        run_id: &run_id,
        automation: &automation,
        version: hex(&Sha256::digest(&asked.file.text)[..6]),
        made: &made,
        event: by_hand(app, &run_id, &inputs),
        inputs: &inputs,
    };
    let (mut jobs, mut notes) = (Vec::with_capacity(named.len()), Vec::new());
    for name in &named {
        let project = views::projects::find(app, principal, name).await?;
        let mut spec = spec(app, principal, &of_run, &project, &mut notes).await?;
        spec.sensitive = views::secrets::beside_agents(app, &principal.by(), &spec).await?;
        let title = format!("{} on {}", automation.name, project.name);
        jobs.push(NewJob { id: JobId::new(app.now(), app.random()), title, spec });
    }
    let new = stored::NewRun {
        id: run_id,
        organisation_id: principal.organisation_id.clone(),
        title: automation.name.to_string(),
        jobs,
        idempotency_key: key.map(|key| format!("run:{key}")),
    };
    let started = app.store().create_run(principal.by(), new, app.now()).await?;
    Ok(StartedAutomation {
        url: format!("{}{}", app.base_url(), links::run(&started.run_id)),
        run_id: started.run_id,
        job_ids: started.job_ids,
        notes,
    })
}

/// What is the same for all jobs of a run.
struct OfRun<'a> {
    run_id: &'a RunId,
    automation: &'a Automation,
    /// A digest of the file.
    version: String,
    made: &'a Made,
    event: Event,
    inputs: &'a Map<String, Value>,
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

async fn spec(
    app: &AppState,
    principal: &Principal,
    of_run: &OfRun<'_>,
    project: &Project,
    notes: &mut Vec<String>,
) -> Result<Spec, Problem> {
    let OfRun { run_id, automation, version, made, inputs, .. } = of_run;
    let base = runs::base(app, project, automation.targets.base.as_deref(), notes).await?;
    let wants = views::projects::settings(project);
    let needs = automation.environment.runs_on.to_string();
    let needs: Vec<String> =
        needs.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect();
    let (class, runs_on) = views::classes::chosen(
        app,
        &principal.organisation_id,
        automation.environment.class.as_deref(),
        wants.class.as_deref(),
        &needs,
    )
    .await?;
    let context = json!({
        "inputs": inputs,
        "event": of_run.event.as_context(),
        "target": {
            "repository": project.name,
            "project": project.id,
            "forge": project.forge,
            "base": base,
            "url": project.source,
        },
        "run": { "id": run_id, "url": format!("{}{}", app.base_url(), links::run(run_id)) },
        "automation": { "name": automation.name, "version": version },
    });
    let target = Target { project_id: project.id.clone(), base, commit: None };
    let spec = automation.spec(made, target, class, context);
    let mut spec =
        spec.map_err(|error| Problem::new(Code::InvalidSpec, error.why).at(error.place))?;
    spec.runs_on = runs_on;
    runs::no_blocks(&spec)?;
    Ok(spec)
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
    let usual = fleet::Plan::default();
    let targets = &automation.targets;
    let asks = [
        ("rollout", automation.rollout.rollout != usual.rollout),
        ("the fleet's limits", automation.rollout.limits != usual.limits),
        ("concurrency", automation.concurrency.is_some()),
        ("policy", automation.policy.is_some()),
        ("targets.labels", targets.labels.is_some()),
        ("targets.search", targets.search.is_some()),
        ("targets.file", targets.file.is_some()),
        ("targets.command", targets.command.is_some()),
        ("targets.select", targets.select.is_some()),
        ("targets.except", !targets.except.is_empty()),
        ("targets.most", targets.most.is_some()),
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
