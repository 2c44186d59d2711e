//! Runners, as people see them.

use windlass_run::{Duration, Labels, RunnerId};
use windlass_store::work::{self, RunnerRow};
use windlass_wire::{api::runner::Runner, runner::Wish};

use crate::{
    auth::Principal,
    problem::{Code, Problem},
    runners,
    state::AppState,
};

/// How long a runner stays in the list after it was last heard of.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

/// Runners that were heard of within a week.
///
/// # Errors
/// The store's failures.
pub async fn list(app: &AppState, principal: &Principal) -> Result<Vec<Runner>, Problem> {
    let now = app.now();
    let rows = app.store().runners(&principal.organisation_id, now - REMEMBERED).await?;
    let alive_since = now - app.lease_ttl();
    Ok(rows.into_iter().map(|row| runner(app, row, alive_since)).collect())
}

/// One of them, by its id or its name.
///
/// # Errors
/// None or several have the name; the store's failures.
pub async fn find(app: &AppState, principal: &Principal, named: &str) -> Result<Runner, Problem> {
    let mut all = list(app, principal).await?;
    if let Some(place) = all.iter().position(|runner| runner.id.as_str() == named) {
        return Ok(all.swap_remove(place));
    }
    all.retain(|runner| runner.name == named);
    match all.len() {
        1 => Ok(all.swap_remove(0)),
        0 => Err(Problem::not_found(format!("runner {named} that was heard of within a week"))),
        n => {
            let ids: Vec<&str> = all.iter().map(|runner| runner.id.as_str()).collect();
            let why = format!("{n} runners are called {named}: name one of {}", ids.join(", "));
            Err(Problem::new(Code::BadRequest, why).at("runner"))
        }
    }
}

/// Why nobody takes a job that needs these labels; absent if somebody may.
pub fn nobody_for(runners: &[Runner], needs: &Labels) -> Option<String> {
    let living: Vec<&Runner> = runners.iter().filter(|runner| runner.alive).collect();
    if living.is_empty() {
        return Some("no runner is there".to_owned());
    }
    let has_all = |runner: &&&Runner| {
        needs.iter().all(|need| runner.labels.iter().any(|label| label == need))
    };
    let fitting: Vec<&&Runner> = living.iter().filter(has_all).collect();
    if fitting.is_empty() {
        return Some(format!("no runner that is there has the labels {needs}"));
    }
    let drained = fitting.iter().all(|runner| runner.wish != Wish::Work);
    drained.then(|| "every runner that could take it is drained".to_owned())
}

/// What an environment waits for that no runner keeps yet, and that needs these labels.
///
/// # Errors
/// The store's failures.
pub async fn unplaced(
    app: &AppState,
    principal: &Principal,
    needs: &Labels,
) -> Result<String, Problem> {
    let runners = list(app, principal).await?;
    let keepers: Vec<&Runner> =
        runners.iter().filter(|runner| runner.alive && runner.environments > 0).collect();
    let has_all =
        |runner: &Runner| needs.iter().all(|need| runner.labels.iter().any(|label| label == need));
    Ok(if keepers.is_empty() {
        "no runner that is there keeps environments: start one with --environments N".to_owned()
    } else if !keepers.iter().any(|runner| has_all(runner)) {
        format!("no runner that is there and keeps environments has the labels {needs}")
    } else if keepers.iter().any(|runner| has_all(runner) && runner.wish == Wish::Work) {
        "waits for a runner that has room; --environments N gives one more".to_owned()
    } else if needs.is_empty() {
        "every runner that keeps environments is drained".to_owned()
    } else {
        format!("every runner that keeps environments and has the labels {needs} is drained")
    })
}

/// A wish, as the store calls it.
pub(crate) fn to_store(wish: Wish) -> work::Wish {
    match wish {
        Wish::Work => work::Wish::Work,
        Wish::Drain => work::Wish::Drain,
        Wish::Restart => work::Wish::Restart,
    }
}

/// A wish, as the wire calls it.
pub(crate) fn to_wire(wish: work::Wish) -> Wish {
    match wish {
        work::Wish::Work => Wish::Work,
        work::Wish::Drain => Wish::Drain,
        work::Wish::Restart => Wish::Restart,
    }
}

fn runner(app: &AppState, row: RunnerRow, alive_since: windlass_run::Time) -> Runner {
    let id: RunnerId = row.runner.id;
    let health = app.runners().health(&id);
    Runner {
        alive: row.seen_at >= alive_since,
        problems: runners::problems(health.as_ref(), &row.runner.version),
        id,
        name: row.runner.name,
        version: row.runner.version,
        labels: row.runner.labels.iter().map(str::to_owned).collect(),
        capacity: row.runner.capacity,
        environments: row.runner.environments,
        kept: row.kept,
        registered_at: row.registered_at.as_micros(),
        seen_at: row.seen_at.as_micros(),
        wish: to_wire(row.wish),
        jobs: row.jobs,
        health,
    }
}
