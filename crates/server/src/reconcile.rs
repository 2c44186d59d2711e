//! Reconcilers: they take no input. Each looks at the world, brings it to where it should be, and says
//! when to look again at the latest; it also runs when it is nudged, and the same code serves the
//! happy case and recovery. A failure is logged and met again at the next round.

mod effects;
mod environments;
mod fleets;
mod housekeeping;
mod intake;
mod operations;
pub(crate) mod prebuilds;
mod schedules;
mod watch;

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{problem::Problem, state::AppState};

/// How long a reconciler waits after a round that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Starts the reconcilers. They end when the server stops, between two steps of a round.
pub(crate) fn spawn(app: &AppState, tasks: &mut JoinSet<()>) {
    tasks.spawn(until_stopped(app.clone(), watch(app.clone())));
    tasks.spawn(until_stopped(app.clone(), effects(app.clone())));
    tasks.spawn(until_stopped(app.clone(), intake(app.clone())));
    tasks.spawn(until_stopped(app.clone(), fleets(app.clone())));
    tasks.spawn(until_stopped(app.clone(), operations(app.clone())));
    tasks.spawn(until_stopped(app.clone(), housekeeping(app.clone())));
    tasks.spawn(until_stopped(app.clone(), environments(app.clone())));
    tasks.spawn(until_stopped(app.clone(), prebuilds(app.clone())));
    tasks.spawn(until_stopped(app.clone(), schedules(app.clone())));
}

async fn until_stopped(app: AppState, work: impl Future<Output = ()>) {
    app.stopping().run_until_cancelled(work).await;
}

/// Expired leases, passed limits, requests to stop that nobody answered.
async fn watch(app: AppState) {
    loop {
        let wait = settle("watch leases and limits", watch::round(&app).await);
        tokio::time::sleep(wait).await;
    }
}

/// Idle environments, lives that are over, runners that were not heard of.
async fn environments(app: AppState) {
    loop {
        let wait = settle("watch environments", environments::round(&app).await);
        tokio::time::sleep(wait).await;
    }
}

/// Effects that the server executes. Woken when one was staged.
async fn effects(app: AppState) {
    let mut hints = app.hints();
    loop {
        let seen = hints.mark_seen().outbox;
        let wait = settle("carry out effects", effects::round(&app).await);
        let staged = async {
            loop {
                hints.next().await;
                if hints.mark_seen().outbox != seen {
                    break;
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = staged => {}
        }
    }
}

/// Events that wait. Woken when one was kept.
async fn intake(app: AppState) {
    let mut hints = app.hints();
    loop {
        let seen = hints.mark_seen().events;
        let wait = settle("take in what happened", intake::round(&app).await);
        let arrived = async {
            while hints.mark_seen().events == seen {
                hints.next().await;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = arrived => {}
        }
    }
}

/// Fleets whose targets wait. Woken when one changed.
async fn fleets(app: AppState) {
    let mut memory = fleets::Memory::default();
    let mut hints = app.hints();
    loop {
        let seen = hints.mark_seen().fleets;
        let wait = settle("go on with fleets", fleets::round(&app, &mut memory).await);
        let changed = async {
            while hints.mark_seen().fleets == seen {
                hints.next().await;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = changed => {}
        }
    }
}

/// What is to be done to many changes. Woken when a fleet changed.
async fn operations(app: AppState) {
    let mut hints = app.hints();
    loop {
        let seen = hints.mark_seen().fleets;
        let wait = settle("go on with changes of fleets", operations::round(&app).await);
        let changed = async {
            while hints.mark_seen().fleets == seen {
                hints.next().await;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = changed => {}
        }
    }
}

/// Everything that has time. Woken by a nudge.
async fn housekeeping(app: AppState) {
    let mut memory = housekeeping::Memory::default();
    loop {
        let nudged = app.nudged();
        let wait = settle("keep house", housekeeping::round(&app, &mut memory).await);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = nudged => {}
        }
    }
}

/// Prebuilds whose time has come. Woken by a nudge.
async fn prebuilds(app: AppState) {
    let mut memory = prebuilds::Memory::default();
    loop {
        let nudged = app.nudged();
        let wait = settle("start prebuilds", prebuilds::round(&app, &mut memory).await);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = nudged => {}
        }
    }
}

/// Schedules that are due. Woken when an automation was changed.
async fn schedules(app: AppState) {
    let mut memory = schedules::Memory::default();
    let mut hints = app.hints();
    loop {
        let seen = hints.mark_seen().automations;
        let wait = settle("look at schedules", schedules::round(&app, &mut memory).await);
        let changed = async {
            while hints.mark_seen().automations == seen {
                hints.next().await;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = changed => {}
        }
    }
}

fn settle(what: &str, round: Result<Duration, Problem>) -> Duration {
    match round {
        Ok(wait) => wait,
        Err(problem) => {
            tracing::warn!(%problem, "failed to {what}; trying again");
            AFTER_FAILURE
        }
    }
}
