//! Jobs: lists, one with everything, and their journals.

use windlass_run::{
    JobId, ProjectId,
    effect::{self, Outcome, State},
    job::{self, Phase, StepPhase},
    spec::{Action, Approver, PullRequestAction, WaitAction},
};
use windlass_store::runs::{Filter, JobDetail, JobRow, JournalEntry, Slice, Standing, StepTimes};
use windlass_wire::api::{
    Page,
    environment::Stage,
    job::{
        Asks, CancelRequest, Effect, End, GiveUp, Job, JobEvent, JobSummary, PoolShelf,
        PullRequestLink, Start, Step, Told,
    },
};

use super::{cursor_number, micros, outcome_name, page_size, standing_name, standing_named};
use crate::{auth::Principal, problem::Problem, state::AppState};

/// Which jobs are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only those of this project.
    pub project_id: Option<ProjectId>,
    /// Only those in this state, as the API spells it.
    pub state: Option<String>,
    /// Only those that have not ended, or have.
    pub live: Option<bool>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// How many.
    pub limit: Option<u32>,
}

/// Jobs, newest first.
///
/// # Errors
/// A state, limit or cursor that can't be read; the store's failures.
pub async fn list(
    app: &AppState,
    principal: &Principal,
    wanted: Wanted,
) -> Result<Page<JobSummary>, Problem> {
    let limit = page_size(wanted.limit)?;
    let slice = Slice { before: cursor_number(wanted.cursor.as_deref())?, limit };
    let standing: Option<Standing> = wanted.state.as_deref().map(standing_named).transpose()?;
    let filter =
        Filter { standing, live: wanted.live, project_id: wanted.project_id, search: None };
    let rows = app.store().jobs(&principal.organisation_id, filter, slice).await?;
    let next =
        (rows.len() == limit as usize).then(|| rows.last().map(|row| row.number.to_string()));
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        items.push(summary(app, row).await);
    }
    Ok(Page { items, next: next.flatten() })
}

/// One job with its steps and effects.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn one(app: &AppState, principal: &Principal, job_id: &JobId) -> Result<Job, Problem> {
    let detail = app.store().job(&principal.organisation_id, job_id).await?;
    Ok(whole(app, &detail).await)
}

/// Entries of a job's journal after `after`, oldest first.
///
/// # Errors
/// The job is not there; the store's failures.
pub async fn events(
    app: &AppState,
    principal: &Principal,
    job_id: &JobId,
    after: u64,
    limit: u32,
) -> Result<Vec<JobEvent>, Problem> {
    let entries = app.store().journal(&principal.organisation_id, job_id, after, limit).await?;
    let mut events = Vec::with_capacity(entries.len());
    for entry in entries {
        events.push(event(app, entry).await?);
    }
    Ok(events)
}

async fn event(app: &AppState, entry: JournalEntry) -> Result<JobEvent, Problem> {
    let JournalEntry { seq, at, by, event } = entry;
    let event = serde_json::to_value(&event)
        .map_err(|error| Problem::internal("show an entry of a journal", error))?;
    Ok(JobEvent { seq, at: at.as_micros(), by: app.who(&by.actor).await, event })
}

/// A job as a list shows it.
pub(crate) async fn summary(app: &AppState, row: &JobRow) -> JobSummary {
    JobSummary {
        id: row.id.clone(),
        run_id: row.run_id.clone(),
        project_id: row.project_id.clone(),
        project: app.project_name(&row.organisation_id, &row.project_id).await,
        title: row.title.clone(),
        state: standing_name(row.standing).to_owned(),
        end: row.end.as_ref().map(end),
        pull_request: row.pull_request.clone().map(|(number, url)| PullRequestLink { number, url }),
        created_at: row.created_at.as_micros(),
        started_at: micros(row.started_at),
        ended_at: micros(row.ended_at),
    }
}

async fn whole(app: &AppState, detail: &JobDetail) -> Job {
    let state = &detail.state;
    let runner_id = match &state.phase {
        Phase::Leased { runner_id, .. } => Some(runner_id.clone()),
        Phase::Queued { .. } | Phase::Ended(_) => None,
    };
    let cancel = match &state.cancel {
        None => None,
        Some(cancel) => Some(CancelRequest {
            by: app.who(&cancel.by.actor).await,
            reason: cancel.reason.clone(),
            at: cancel.at.as_micros(),
        }),
    };
    Job {
        summary: summary(app, &detail.row).await,
        asked_by: app.who(&state.by.actor).await,
        base: state.spec.target.base.clone(),
        base_commit: state.base_commit.clone(),
        continues: state.spec.continues.clone(),
        sensitive: state.spec.sensitive.clone(),
        runner_id,
        epoch: state.epoch,
        requeues: state.requeues,
        cancel,
        tokens: state.tokens,
        token_limit: state.spec.limits.tokens,
        steps: steps(state, &detail.step_times),
        effects: state.effects.iter().map(effect).collect(),
        starts: state.starts.iter().map(start).collect(),
    }
}

/// How an environment came to be.
fn start(start: &job::Start) -> Start {
    let stage = |(name, micros): &(String, u64)| Stage { name: name.clone(), micros: *micros };
    Start {
        from: start.from.name().to_owned(),
        missed: start.missed.map(|missed| missed.describe().to_owned()),
        stages: start.stages.iter().map(stage).collect(),
        pool: start.pool.map(|shelf| PoolShelf {
            ready: shelf.ready,
            wanted: shelf.wanted,
            gap_micros: shelf.gap,
            refill_micros: shelf.refill,
            most: shelf.most,
        }),
        advice: start.advice().into_iter().map(str::to_owned).collect(),
        limits: start.limits.iter().map(super::classes::limit).collect(),
    }
}

/// The instances of steps in the order in which a person reads them; those of a round that has not begun
/// are not there.
fn steps(state: &job::State, times: &[StepTimes]) -> Vec<Step> {
    let order = state.in_order().into_iter();
    order.map(|(depth, index)| step(state, times, depth, index)).collect()
}

fn step(state: &job::State, times: &[StepTimes], depth: usize, index: usize) -> Step {
    let (spec, step) = (state.definition(index), &state.steps[index]);
    let (phase, reason) = match &step.phase {
        StepPhase::Pending => ("pending", None),
        StepPhase::Running { .. } | StepPhase::Entered { .. } => ("running", None),
        StepPhase::Backoff { .. } => ("backoff", None),
        StepPhase::Resting { .. } => ("resting", None),
        StepPhase::Asked { .. } if step.decision.is_none() => ("asked", None),
        StepPhase::Asked { .. } => ("decided", None),
        StepPhase::Succeeded => ("succeeded", None),
        StepPhase::Failed { reason } => ("failed", Some(reason.clone())),
        StepPhase::Skipped { reason } => ("skipped", Some(reason.clone())),
    };
    let harness = match &spec.action {
        Action::Agent(agent) => Some(agent.harness.clone()),
        _ => None,
    };
    let times = times.get(index).copied().unwrap_or_default();
    Step {
        id: step.id.clone(),
        depth: u32::try_from(depth).unwrap_or(u32::MAX),
        kind: spec.action.word().to_owned(),
        text: text(state, index),
        harness,
        state: phase.to_owned(),
        reason,
        attempts: step.attempts,
        started_at: micros(times.started_at),
        ended_at: micros(times.ended_at),
        checkpoint: step.checkpoint.clone(),
        outputs: step.outputs.clone(),
        told: step
            .told
            .as_ref()
            .map(|told| Told { title: told.title.clone(), body: told.body.clone() }),
        asks: asks(state, index),
    }
}

/// What a step does, in the words of its author; with the values in them once it has begun.
fn text(state: &job::State, index: usize) -> String {
    let step = &state.steps[index];
    let begun = step.attempts > 0;
    // A command refers to its values by variables: what its author wrote says more.
    match &state.definition(index).action {
        Action::Run { command } => command.as_str().to_owned(),
        Action::Agent(agent) => match job::rendered(state, index).ok().filter(|_| begun) {
            Some(job::Rendered { action: Action::Agent(agent), .. }) => {
                agent.prompt.as_str().to_owned()
            }
            _ => agent.prompt.as_str().to_owned(),
        },
        Action::PullRequest(pull) => match job::rendered(state, index).ok().filter(|_| begun) {
            Some(job::Rendered { action: Action::PullRequest(pull), .. }) => title(&pull),
            _ => title(pull),
        },
        Action::Report(report) => {
            step.told.as_ref().map_or(report.title.as_str(), |told| &told.title).to_owned()
        }
        Action::End(end) => end.reason.as_str().to_owned(),
        Action::Wait(WaitAction::For { duration }) => {
            format!("for {} s", duration.as_micros() / 1_000_000)
        }
        Action::Approve(approve) => match &step.phase {
            StepPhase::Asked { prompt, .. } => prompt.clone(),
            _ => approve.prompt.as_str().to_owned(),
        },
        Action::ForEach { items, .. } => items.to_string(),
        Action::Until { condition, .. } => condition.to_string(),
        Action::Readiness(_) | Action::Parallel { .. } | Action::Block { .. } => String::new(),
    }
}

fn title(pull: &PullRequestAction) -> String {
    pull.title.as_ref().map(|title| title.as_str().to_owned()).unwrap_or_default()
}

/// What an `approve` step asks, or was told.
fn asks(state: &job::State, index: usize) -> Option<Asks> {
    let Action::Approve(approve) = &state.definition(index).action else { return None };
    let step = &state.steps[index];
    let until = match &step.phase {
        StepPhase::Asked { until, .. } => *until,
        _ => None,
    };
    let verdict = step.decision.as_ref().map(|decision| match decision.verdict {
        job::Verdict::Approved => "approved",
        job::Verdict::Declined => "declined",
        job::Verdict::TimedOut => "timed_out",
    });
    Some(Asks {
        by_role: approver(approve.by_role).to_owned(),
        until: micros(until),
        verdict: verdict.map(str::to_owned),
        note: step.decision.as_ref().map(|decision| decision.note.clone()),
    })
}

/// The name of the least role that may decide.
pub(crate) fn approver(role: Approver) -> &'static str {
    match role {
        Approver::Operator => "operator",
        Approver::Reviewer => "reviewer",
        Approver::Admin => "admin",
    }
}

fn effect(effect: &effect::Effect) -> Effect {
    let (state, detail) = match &effect.state {
        State::Staged => ("staged", None),
        State::Granted { .. } => ("granted", None),
        State::Done(Outcome::Pushed { branch, commit }) => {
            ("done", Some(format!("{branch} is at {commit}")))
        }
        State::Done(Outcome::PullRequest { url, .. }) => ("done", Some(url.clone())),
        State::Failed { reason } => ("failed", Some(reason.clone())),
        State::Unknown { reason } => ("unknown", Some(reason.clone())),
    };
    Effect {
        key: effect.key.to_string(),
        kind: effect.request.kind().to_owned(),
        step_id: effect.step_id.clone(),
        state: state.to_owned(),
        detail,
    }
}

fn end(end: &job::End) -> End {
    End {
        outcome: outcome_name(end.outcome).to_owned(),
        code: end.code.clone(),
        reason: end.reason.clone(),
        give_up: end.give_up.as_ref().map(|give_up| GiveUp {
            tried: give_up.tried.clone(),
            stopped_because: give_up.stopped_because.clone(),
            would_unblock: give_up.would_unblock.clone(),
        }),
    }
}
