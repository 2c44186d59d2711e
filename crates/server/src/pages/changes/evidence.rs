//! What the platform measured of a change, where the proof is, and what the agent says: gathered from
//! the jobs that made its rounds. Nothing here is taken from an agent's words, but for the claim, which
//! is kept apart and named.

use std::collections::BTreeSet;

use windlass_run::{JobId, StepId};
use windlass_store::streams::Kind;
use windlass_wire::api::{job::Step, pull_request::PullRequest};

use crate::{
    auth::Principal,
    links,
    pages::{
        diff::Patch,
        frame::Frame,
        jobs::{self, Known},
        markdown,
        runs::took,
        text::{Html, Text},
        view::{
            State as Shown,
            change::{Fact, Request},
            session::{Body, Session},
            shell::Who,
        },
        when,
    },
    problem::{Code, Problem},
    state::AppState,
    views,
};

/// What is known of a change besides itself.
#[derive(Default)]
pub(super) struct Evidence {
    pub(super) request: Option<Request>,
    pub(super) is_scripted: bool,
    pub(super) facts: Vec<Fact>,
    pub(super) claim: Option<(Text, Html)>,
}

/// Gathers it. A job that is gone leaves a gap, not a failure.
pub(super) async fn gather(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    change: &PullRequest,
    patch: &Patch,
) -> Result<Evidence, Problem> {
    let mut evidence = Evidence::default();
    let mut jobs = change.rounds.iter().filter_map(|round| round.job_id.as_ref());
    let first = jobs.next();
    let last = jobs.next_back().or(first);
    if let Some(first) = first
        && let Some(known) = known(app, principal, first).await?
    {
        let prompt = known.job.steps.iter().find(|step| step.kind == "agent");
        evidence.request = prompt.map(|step| Request {
            text: Text::from(step.text.as_str()),
            href: links::job(first),
            by: Who::from(&known.job.asked_by),
        });
    }
    if let Some(last) = last
        && let Some(known) = known(app, principal, last).await?
    {
        evidence.is_scripted = known.is_scripted();
        of_job(app, principal, frame, last, &known, &mut evidence).await?;
    }
    evidence.facts.extend(of_patch(patch));
    if change.summary.state == "open" {
        evidence.facts.push(mergeable(change));
    }
    Ok(evidence)
}

async fn known(
    app: &AppState,
    principal: &Principal,
    job_id: &JobId,
) -> Result<Option<Known>, Problem> {
    match Known::read(app, principal, job_id).await {
        Ok(known) => Ok(Some(known)),
        Err(problem) if problem.code == Code::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

async fn of_job(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    job_id: &JobId,
    known: &Known,
    evidence: &mut Evidence,
) -> Result<(), Problem> {
    for step in known.job.steps.iter().filter(|step| step.kind == "run") {
        evidence.facts.push(ran(job_id, step));
    }
    for step in known.job.steps.iter().filter(|step| step.kind == "agent") {
        let session = newest_session(app, principal, frame, job_id, step).await?;
        evidence.is_scripted |= session.is_scripted;
        evidence.facts.extend(verified(job_id, &step.id, &session));
        let said = session.items().iter().rev().find_map(|item| said(&item.body));
        if let Some(said) = said {
            evidence.claim = Some((session.agent.clone(), markdown::render(said)));
        }
    }
    let fact = |name, value: String| Fact {
        name,
        value: Text::from(value),
        state: None,
        proof: Some(links::job(job_id)),
    };
    if let Some(spec) = &known.spec {
        let hosts = match spec.network.as_slice() {
            [] => "none".to_owned(),
            hosts => hosts.join(", "),
        };
        evidence.facts.push(fact("Network", hosts));
    }
    if known.job.tokens > 0 {
        evidence.facts.push(fact("Tokens", when::count(known.job.tokens)));
    }
    let summary = &known.job.summary;
    if let (Some(started), Some(ended)) = (summary.started_at, summary.ended_at) {
        evidence.facts.push(fact("Time", took(started, ended)));
    }
    Ok(())
}

async fn newest_session(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    job_id: &JobId,
    step: &Step,
) -> Result<Session, Problem> {
    let stream =
        views::streams::find(app, principal, job_id, &step.id, Kind::Session, None).await?;
    let agent = step.harness.as_deref().unwrap_or("agent");
    jobs::session(app, principal, frame.now, &stream, agent, u64::MAX).await
}

fn said(body: &Body) -> Option<&str> {
    match body {
        Body::Said(text) => Some(text),
        Body::Started { .. }
        | Body::Prompt { .. }
        | Body::Thought(_)
        | Body::Tool(_)
        | Body::Permission(_)
        | Body::Plan(_)
        | Body::Verify { .. }
        | Body::GaveUp { .. }
        | Body::TurnEnded(_)
        | Body::Problem(_) => None,
    }
}

/// A command that was a step of its own.
fn ran(job_id: &JobId, step: &Step) -> Fact {
    Fact {
        name: "Ran",
        value: Text::from(step.text.lines().next().unwrap_or_default()),
        state: Some(Shown::parse(&step.state)),
        proof: Some(format!("{}?step={}&view=log", links::job(job_id), step.id)),
    }
}

/// The last time that each verify command was run.
fn verified(job_id: &JobId, step_id: &StepId, session: &Session) -> Vec<Fact> {
    let mut seen = BTreeSet::new();
    let mut facts = Vec::new();
    for item in session.items().iter().rev() {
        let Body::Verify { command, exit_code, .. } = &item.body else { continue };
        if !seen.insert(command.clone()) {
            continue;
        }
        facts.push(Fact {
            name: "Verified",
            value: match exit_code {
                Some(0) => command.clone(),
                Some(code) => Text::from(format!("{}, exit code {code}", command.raw())),
                None => Text::from(format!("{}, did not end", command.raw())),
            },
            state: Some(if *exit_code == Some(0) { Shown::Succeeded } else { Shown::Failed }),
            proof: Some(jobs::session_item(job_id, step_id.as_str(), item.id)),
        });
    }
    facts.reverse();
    facts
}

/// How many files, and where.
fn of_patch(patch: &Patch) -> Option<Fact> {
    if patch.files.is_empty() {
        return None;
    }
    let folder =
        |path: &str| path.split_once('/').map_or("the top folder", |(top, _)| top).to_owned();
    let folders: BTreeSet<String> = patch.files.iter().map(|file| folder(file.path())).collect();
    let mut names: Vec<String> = folders.iter().take(4).cloned().collect();
    if folders.len() > 4 {
        names.push(format!("{} more", folders.len() - 4));
    }
    let files = match patch.files.len() {
        1 => "1 file".to_owned(),
        n => format!("{n} files"),
    };
    Some(Fact {
        name: "Touched",
        value: Text::from(format!("{files} in {}", names.join(", "))),
        state: None,
        proof: Some("#diff".to_owned()),
    })
}

fn mergeable(change: &PullRequest) -> Fact {
    let (value, state) = match (change.mergeable.can, change.mergeable.conflicts.len()) {
        (true, _) => ("cleanly".to_owned(), Shown::Succeeded),
        (false, 0) => ("not now".to_owned(), Shown::Waiting),
        (false, 1) => ("conflicts in 1 file".to_owned(), Shown::Failed),
        (false, n) => (format!("conflicts in {n} files"), Shown::Failed),
    };
    Fact {
        name: "Merges",
        value: Text::from(value),
        state: Some(state),
        proof: Some("#decide".into()),
    }
}
