//! Effects that the server executes: each is granted first, carried out under the grant, and recorded.
//! Where an earlier grant ran out unrecorded, the far side is looked at before the next grant is asked
//! for, and what is found there is recorded instead of done again.

use std::time::Duration;

use windlass_run::{
    Duration as Span,
    actor::By,
    effect::{Outcome, Request, State},
    fleet,
};
use windlass_store::{
    outbox::OutboxItem,
    projects::Project,
    work::{Executor, GrantAnswer},
};

use crate::{
    launch::targets,
    links,
    local::{self, pulls::open},
    problem::{Code, Problem},
    remote,
    state::AppState,
};

/// How many effects one round takes.
const ROUND: u32 = 32;

/// How long to wait when there is nothing to do. What is staged meanwhile wakes the reconciler.
const IDLE: Duration = Duration::from_secs(5);

/// How long a grant lasts. Only one process has the database and it takes one effect after the other,
/// so this is how long an effect waits after a crash: as long as what was under way may still reach
/// the far side.
const HERE: Span = Span::from_secs(10);

/// The same for an effect at a host.
const AT_A_HOST: Span = Span::from_secs(120);

/// How often an effect is put off before it fails for good.
const TRIES: u32 = 20;

pub(super) async fn round(app: &AppState) -> Result<Duration, Problem> {
    let items = app.store().outbox(app.now(), ROUND).await?;
    let is_full = items.len() == ROUND as usize;
    for item in items {
        if let Err(problem) = carry_out(app, &item).await {
            put_off(app, item, problem).await?;
        }
    }
    Ok(if is_full { Duration::ZERO } else { IDLE })
}

async fn carry_out(app: &AppState, item: &OutboxItem) -> Result<(), Problem> {
    // A fleet opens no more changes than its plan allows. Asked before the grant, and here alone: effects are
    // carried out one after the other, so what was allowed is counted before the next is asked for.
    if let Some((until, why)) = app.store().change_not_before(&item.job_id, app.now()).await? {
        tracing::info!(key = %item.key, why, "a change waits for its turn");
        app.store().hold_back(item.key.clone(), why, until).await?;
        return Ok(());
    }
    let project = app.store().project(&item.organisation_id, &item.project_id).await?;
    let outcome = match grant(app, item, &project, false).await? {
        Granted::Yes => execute(app, item, &project).await,
        Granted::Settled => return Ok(()),
        Granted::LookFirst(why) => match look(app, item, &project).await? {
            Some(found) => Ok(found),
            None => match grant(app, item, &project, true).await? {
                Granted::Yes => execute(app, item, &project).await,
                Granted::Settled => return Ok(()),
                Granted::LookFirst(_) => return Err(Problem::new(Code::Conflict, why)),
            },
        },
    };
    if project.forge == remote::GITHUB {
        let said = outcome.as_ref().map(|_| ());
        app.notices().credential(app, &project.name, said).await?;
    }
    let state = match outcome {
        Ok(outcome) => State::Done(outcome),
        Err(problem) if is_final(&problem) || item.tries >= TRIES => {
            State::Failed { reason: problem.detail.clone() }
        }
        Err(problem) => return Err(problem),
    };
    if let State::Failed { reason } = &state {
        tracing::warn!(key = %item.key, reason, "an effect failed");
    }
    let (job_id, key) = (item.job_id.clone(), item.key.clone());
    match app.store().record(executor(), job_id, key, state, app.now()).await? {
        GrantAnswer::Effect(_) | GrantAnswer::Lost => Ok(()),
        GrantAnswer::Refused(why) => Err(Problem::new(Code::Conflict, why)),
    }
}

enum Granted {
    Yes,
    Settled,
    LookFirst(String),
}

async fn grant(
    app: &AppState,
    item: &OutboxItem,
    project: &Project,
    looked: bool,
) -> Result<Granted, Problem> {
    let (job_id, key) = (item.job_id.clone(), item.key.clone());
    let lasts = if project.forge == local::FORGE { HERE } else { AT_A_HOST };
    let answer = app.store().grant(executor(), job_id, key, lasts, looked, app.now()).await?;
    Ok(match answer {
        GrantAnswer::Effect(State::Granted { .. }) => Granted::Yes,
        GrantAnswer::Effect(_) => Granted::Settled,
        GrantAnswer::Refused(why) => Granted::LookFirst(why),
        GrantAnswer::Lost => Granted::Settled,
    })
}

fn executor() -> Executor {
    Executor::Server { name: "effects".to_owned() }
}

/// What is there already of an effect that may have happened.
async fn look(
    app: &AppState,
    item: &OutboxItem,
    project: &Project,
) -> Result<Option<Outcome>, Problem> {
    let (wanted, _) = wanted(app, item).await?;
    if project.forge == local::FORGE {
        let found = open::find(app, project, &wanted).await?;
        return Ok(found.map(|number| outcome(app, project, number)));
    }
    let found = remote::pulls::find(app, project, &wanted).await?;
    Ok(found.map(|(number, url)| Outcome::PullRequest { number, url }))
}

async fn execute(app: &AppState, item: &OutboxItem, project: &Project) -> Result<Outcome, Problem> {
    if project.archived_at.is_some() {
        return Err(Problem::new(Code::NotFound, "the project was removed"));
    }
    let (wanted, draft) = wanted(app, item).await?;
    if project.forge == local::FORGE {
        let number = open::open(app, project, wanted).await?;
        return Ok(outcome(app, project, number));
    }
    let (number, url) = remote::pulls::open(app, project, &wanted, draft).await?;
    Ok(Outcome::PullRequest { number, url })
}

/// What a job wants under review, and whether as a draft.
async fn wanted(app: &AppState, item: &OutboxItem) -> Result<(open::Wanted, bool), Problem> {
    let Request::PullRequest { base, head, commit, title, body, draft } = &item.request else {
        return Err(Problem::new(Code::Conflict, "a push is executed by the job's runner"));
    };
    let job = app.store().job(&item.organisation_id, &item.job_id).await?;
    let wanted = open::Wanted {
        organisation_id: item.organisation_id.clone(),
        by: job.state.by.clone(),
        job_id: item.job_id.clone(),
        base: base.clone(),
        head: head.clone(),
        commit: commit.clone(),
        title: title.clone(),
        body: body.clone(),
    };
    Ok((wanted, *draft))
}

fn outcome(app: &AppState, project: &Project, number: u64) -> Outcome {
    let url = format!("{}{}", app.base_url(), links::change(&project.name, number));
    Outcome::PullRequest { number, url }
}

/// True if the same again would end the same.
fn is_final(problem: &Problem) -> bool {
    !matches!(
        problem.code,
        Code::Busy
            | Code::Internal
            | Code::RateLimited
            | Code::ForgeUnavailable
            | Code::CredentialRefused
    )
}

async fn put_off(app: &AppState, item: OutboxItem, problem: Problem) -> Result<(), Problem> {
    let backoff = Span::from_secs(1).times_capped(1 << item.tries.min(8), Span::from_secs(300));
    let wait = problem.retry_after.map_or(backoff, |seconds| {
        Span::from_secs(i64::try_from(seconds).unwrap_or(300)).max(backoff)
    });
    if problem.code == Code::RateLimited {
        leave_alone(app, &item, wait).await?;
    }
    tracing::info!(key = %item.key, %problem, "an effect is put off");
    app.store().put_off(item.key, problem.detail, app.now() + wait).await?;
    Ok(())
}

/// A forge that asks to be left alone is, by the whole fleet.
async fn leave_alone(app: &AppState, item: &OutboxItem, wait: Span) -> Result<(), Problem> {
    let Some(run_id) = app.store().fleet_of_job(&item.job_id).await? else { return Ok(()) };
    let project = app.store().project(&item.organisation_id, &item.project_id).await?;
    let now = app.now();
    let waits = fleet::Command::ForgeWaits { forge: targets::host(&project), until: now + wait };
    let (by, organisation_id) = (By::system("effects"), item.organisation_id.clone());
    app.store().command_fleet(by, organisation_id, run_id, waits, now).await?;
    Ok(())
}
