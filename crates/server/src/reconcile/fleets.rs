//! Fleets that are under way: jobs are made for as many planned targets as their machines allow, and of one
//! that was cancelled the jobs that run are told to stop. Woken by whatever changes a fleet; by time only when
//! a machine says that time alone may change something.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use windlass_run::{
    JobId, RunId, Time,
    actor::By,
    fleet::{self, Admission, Candidate, Command, Phase, Why},
};
use windlass_store::{
    fleets::{Admit, FleetRow, NotBegun, Pick, TargetFilter, TargetRow},
    runs::NewJob,
};

use crate::{
    launch::frozen::{Asked, Frozen},
    problem::{Code, Problem},
    state::AppState,
};

/// How long to wait when nothing says when to look again.
const IDLE: Duration = Duration::from_secs(60);

/// How long to wait for what other fleets or people hold: a repository's or a reviewer's open changes.
const HELD_BY_OTHERS: Duration = Duration::from_secs(5);

/// How many jobs of a fleet there are at most that have not ended, whatever its plan: more would only wait
/// for runners.
const MOST_UNDER_WAY: u32 = 1_000;

/// How many jobs are made in one transaction.
const AT_ONCE: u32 = 64;

/// How many targets are offered where limits of repositories, owners or forges may pass some over.
const OFFERED: u32 = 2_000;

/// How many repositories are looked at side by side.
const SIDE_BY_SIDE: usize = 4;

/// What is remembered between rounds: what the jobs of fleets have in common, which never changes.
#[derive(Default)]
pub(super) struct Memory {
    frozen: HashMap<RunId, Arc<Frozen>>,
}

pub(super) async fn round(app: &AppState, memory: &mut Memory) -> Result<Duration, Problem> {
    let fleets = app.store().live_fleets().await?;
    memory.frozen.retain(|run_id, _| fleets.iter().any(|fleet| fleet.run_id == *run_id));
    let mut wait = IDLE;
    for fleet in fleets {
        match go_on(app, memory, &fleet).await {
            Ok(until) => wait = wait.min(until),
            Err(problem) => {
                tracing::warn!(run = %fleet.run_id, %problem, "a fleet can't go on now");
                wait = wait.min(super::AFTER_FAILURE);
            }
        }
    }
    Ok(wait)
}

/// Brings one fleet as far as it can come now, and says how long that holds at most.
async fn go_on(app: &AppState, memory: &mut Memory, fleet: &FleetRow) -> Result<Duration, Problem> {
    if let Phase::Cancelled(hold) = &fleet.state.phase {
        let by = hold.by.clone().unwrap_or_else(|| By::system("fleets"));
        for job_id in app.store().running_jobs(fleet, MOST_UNDER_WAY).await? {
            stop(app, fleet, &by, &hold.reason, job_id).await?;
        }
        return Ok(IDLE);
    }
    let mut state = fleet.state.clone();
    loop {
        let now = app.now();
        if fleet::decide(&state, &Command::Watch, now).is_ok_and(|events| !events.is_empty()) {
            let by = By::system("fleets");
            let (organisation_id, run_id) = (fleet.organisation_id.clone(), fleet.run_id.clone());
            let watched =
                app.store().command_fleet(by, organisation_id, run_id, Command::Watch, now);
            state = watched.await?;
        }
        let admission = fleet::admissible(&state, now);
        let room = MOST_UNDER_WAY.saturating_sub(state.running());
        let count = admission.count.min(room).min(AT_ONCE);
        if count == 0 {
            return Ok(until(&admission, now));
        }
        let row = FleetRow { state: state.clone(), ..fleet.clone() };
        let (targets, next_at) = choose(app, &row, &admission, count, now).await?;
        if targets.is_empty() {
            let wait = next_at.map_or(HELD_BY_OTHERS, |at| at.since(now).to_std());
            return Ok(wait.min(until(&admission, now)).max(Duration::from_millis(50)));
        }
        let admit = Admit {
            organisation_id: fleet.organisation_id.clone(),
            run_id: fleet.run_id.clone(),
            ring: admission.ring,
            picks: picks(app, memory, &row, targets).await?,
        };
        let asked = admit.picks.len();
        let admitted = app.store().admit_targets(admit, app.now()).await?;
        if admitted.jobs.is_empty() && admitted.not_begun == 0 {
            tracing::debug!(run = %fleet.run_id, asked, "the fleet has changed meanwhile");
        }
        let fresh = app.store().fleet(&fleet.organisation_id, &fleet.run_id).await?;
        state = match fresh {
            Some(fresh) if fresh.state.phase == Phase::Going => fresh.state,
            // It is over, or was stopped: the next round sees to it, and the change has woken that.
            _ => return Ok(IDLE),
        };
    }
}

/// How long what the machine said holds.
fn until(admission: &Admission, now: Time) -> Duration {
    match (&admission.next_at, &admission.why) {
        (Some(at), _) => at.since(now).to_std().max(Duration::from_millis(1)),
        (None, Some(Why::Held(_)) | Some(_) | None) => IDLE,
    }
}

/// Which of the planned targets are begun now, in their order; and when to look again if none can be.
async fn choose(
    app: &AppState,
    fleet: &FleetRow,
    admission: &Admission,
    count: u32,
    now: Time,
) -> Result<(Vec<TargetRow>, Option<Time>), Problem> {
    let limits = &fleet.state.plan.limits;
    let is_plain = limits.open_changes_per_repository.is_none()
        && limits.open_changes_per_owner.is_none()
        && fleet.state.waits.values().all(|until| *until <= now);
    let offered = if is_plain { count } else { OFFERED };
    let mut filter = TargetFilter {
        within: Some(fleet.ring(admission.ring)),
        state: Some("planned".to_owned()),
        ..TargetFilter::default()
    };
    let mut next_at: Option<Time> = None;
    loop {
        let mut targets = app.store().targets(fleet, filter.clone(), offered).await?;
        let is_last = targets.len() < offered as usize;
        filter.after = targets.last().map(|target| target.ordinal);
        let load = app.store().load(fleet, &targets).await?;
        let candidates: Vec<Candidate<'_>> = targets
            .iter()
            .map(|target| Candidate {
                repository: &target.repository,
                owner: target.owner.as_deref(),
                forge: &target.forge,
                has_change: target
                    .review
                    .as_deref()
                    .is_some_and(|review| !matches!(review, "merged" | "closed")),
            })
            .collect();
        let picked = fleet::pick(&fleet.state, now, count, &candidates, &load);
        next_at = [next_at, picked.passed.next_at].into_iter().flatten().min();
        if picked.places.is_empty() && !is_last {
            continue;
        }
        let mut place = 0;
        targets.retain(|_| {
            place += 1;
            picked.places.contains(&(place - 1))
        });
        return Ok((targets, next_at));
    }
}

/// The jobs of targets. One whose repository can't be read is a failure of that target alone; what the server
/// can't do now is one of the round.
async fn picks(
    app: &AppState,
    memory: &mut Memory,
    fleet: &FleetRow,
    targets: Vec<TargetRow>,
) -> Result<Vec<Pick>, Problem> {
    let frozen = match memory.frozen.get(&fleet.run_id) {
        Some(frozen) => Arc::clone(frozen),
        None => {
            let text = app.store().frozen(&fleet.run_id).await?;
            let frozen: Frozen = serde_json::from_str(&text).map_err(|error| {
                Problem::internal("read what a fleet's jobs have in common", error)
            })?;
            let frozen = Arc::new(frozen);
            memory.frozen.insert(fleet.run_id.clone(), Arc::clone(&frozen));
            frozen
        }
    };
    let frozen = &*frozen;
    let jobs = stream::iter(targets)
        .map(|target| async move {
            let job = match job(app, fleet, frozen, &target).await {
                Ok(job) => Ok(job),
                Err(problem) => Err(not_begun(problem)?),
            };
            Ok(Pick { ordinal: target.ordinal, job })
        })
        .buffered(SIDE_BY_SIDE);
    jobs.collect::<Vec<Result<Pick, Problem>>>().await.into_iter().collect()
}

async fn job(
    app: &AppState,
    fleet: &FleetRow,
    frozen: &Frozen,
    target: &TargetRow,
) -> Result<NewJob, Problem> {
    let project = app.store().project(&fleet.organisation_id, &target.project_id).await?;
    if project.archived_at.is_some() {
        return Err(Problem::not_found(format!("project {}", project.name)));
    }
    let asked = Asked {
        organisation_id: &fleet.organisation_id,
        by: &fleet.state.by,
        project: &project,
        base: target.base.as_deref(),
        attempt: target.attempt + 1,
        instruction: target.instruction.as_deref(),
    };
    let spec = frozen.job(app, asked, &mut Vec::new()).await?;
    Ok(NewJob { id: JobId::new(app.now(), app.random()), title: frozen.title(&project), spec })
}

/// Why there can't be a job for a target; the problem itself if that says nothing of the target.
fn not_begun(problem: Problem) -> Result<NotBegun, Problem> {
    let code = match problem.code {
        Code::Busy | Code::Internal | Code::RateLimited => return Err(problem),
        Code::MissingBranch => "branch_missing",
        Code::NotARepository
        | Code::EmptyRepository
        | Code::NotFound
        | Code::ForgeUnavailable
        | Code::CredentialRefused => "unreachable",
        _ => "spec",
    };
    Ok(NotBegun { code: code.to_owned(), reason: problem.detail })
}

async fn stop(
    app: &AppState,
    fleet: &FleetRow,
    by: &By,
    reason: &str,
    job_id: JobId,
) -> Result<(), Problem> {
    let organisation_id = fleet.organisation_id.clone();
    let stopped =
        app.store().cancel_job(by.clone(), organisation_id, job_id, reason.to_owned(), app.now());
    match stopped.await {
        // It ended by itself meanwhile.
        Ok(()) | Err(windlass_store::Error::Refused(windlass_run::job::Refusal::Ended)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
