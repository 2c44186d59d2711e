//! The run that a trigger would start, made outside of the writer: whose it is, on what, and at which things.

use std::sync::Arc;

use windlass_policy::permission::Action;
use windlass_run::{RunId, trigger};
use windlass_store::{
    automations::Pinned,
    events::{
        Firing, Kept,
        fire::{New, Start},
    },
};

use super::{
    REFUSED,
    index::{Index, Known, Waiting},
    judge::refused,
    on_behalf,
};
use crate::{
    actions::automations,
    launch::{Launch, Ready, targets},
    problem::{Code, Problem},
    state::AppState,
};

/// What a trigger came to.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// It starts this.
    Start(Box<Start>),
    /// It starts nothing.
    Refused(Firing),
}

/// Prepares what a trigger would start because of an event. What stands in the way for good is an answer, and
/// a notice until it starts something again.
///
/// # Errors
/// What may be over later: a host that doesn't answer, the store's failures.
pub(crate) async fn prepare(
    app: &AppState,
    index: &Index,
    kept: &Kept,
    waiting: &Waiting,
    start: &trigger::Start,
) -> Result<Prepared, Problem> {
    let known = &waiting.known;
    let name = known.automation.name.as_str();
    match one(app, index, kept, waiting, start).await {
        Ok(start) => {
            app.notices().resolve(app, REFUSED, name).await?;
            Ok(Prepared::Start(Box::new(start)))
        }
        Err(problem) if problem.code.status() >= 500 || problem.code.status() == 429 => {
            Err(problem)
        }
        Err(problem) => {
            let text = format!("{name} could not be started by {}: {problem}", waiting.key());
            app.notices().raise(app, REFUSED, name, text).await?;
            Ok(Prepared::Refused(refused(waiting, "refused", problem.to_string())))
        }
    }
}

async fn one(
    app: &AppState,
    index: &Index,
    kept: &Kept,
    waiting: &Waiting,
    start: &trigger::Start,
) -> Result<Start, Problem> {
    let known = &waiting.known;
    let rules = waiting.trigger();
    automations::supported(&known.automation)?;
    let by =
        on_behalf::whose(app, &known.applied, rules.run_as.as_deref(), Action::StartRun).await?;
    let by = by.map_err(|why| Problem::new(Code::Forbidden, why))?;
    let targets = &known.automation.targets;
    let of_event = kept.event.project_id.as_ref();
    if of_event.is_none() && (targets.from_trigger || targets.is_from_trigger()) {
        let why = "the event is of no project: list the repositories under `targets`, or give the hook a \
                   project";
        return Err(Problem::new(Code::InvalidSpec, why));
    }
    let organisation_id = &kept.organisation_id;
    let chosen = targets::choose(app, organisation_id, &known.automation, &[], of_event).await?;
    let ready = ready(index, known)?;
    let launch = Launch {
        run_id: RunId::new(app.now(), app.random()),
        ready: &ready,
        event: kept.event.clone(),
        inputs: start.inputs.clone(),
        by: by.clone(),
        organisation_id: kept.organisation_id.clone(),
    };
    let new = match chosen.is_fleet {
        true => New::Fleet(Box::new(launch.fleet(app, &chosen)?)),
        false => New::Run(Box::new(launch.run(app, &chosen.projects, &mut Vec::new()).await?)),
    };
    Ok(Start {
        automation: known.automation.name.to_string(),
        version: known.version,
        trigger: waiting.key().to_owned(),
        rules: rules.clone(),
        same: start.key.clone(),
        about: start.subject.clone(),
        by,
        new,
    })
}

/// An automation with what it calls, as all of it is now.
fn ready(index: &Index, known: &Known) -> Result<Ready, Problem> {
    let calls = |name: &str| index.get(name).map(|known| known.automation.clone());
    let made = known.automation.made(&calls);
    let made = made.map_err(|why| Problem::new(Code::InvalidAutomation, why.to_string()))?;
    Ok(Ready {
        automation: known.automation.clone(),
        made: Arc::new(made),
        pinned: Pinned {
            automation: known.automation.name.to_string(),
            version: Some(known.version),
            digest: known.digest.clone(),
        },
    })
}
