//! `/runners`: who takes jobs, what is wanted of them, and how another joins.

use axum::{
    extract::State,
    http::{Method, StatusCode},
    response::Response,
};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_wire::{
    api::runner::{Invitation, NewInvitation, Runner},
    runner::{Health, Wish},
};

use super::{
    frame::{Fields, Frame, form_problem, go, page_with},
    text::Text,
    view::{
        Section,
        home::FormProblem,
        people::Fresh,
        runners::{RunnerRow, Runners},
        shell::Id,
    },
};
use crate::{
    actions::runners as actions,
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::Place,
    links,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let manage = Access::Allows(Action::ManageRunner);
    vec![
        Endpoint::page(Method::GET, "/runners", Access::Allows(Action::View), show),
        Endpoint::page(Method::POST, "/runners/invitations", manage, invite),
        Endpoint::page(Method::POST, "/runners/{runner}", manage, wish),
        Endpoint::page(Method::POST, "/runners/{runner}/remove", manage, remove),
    ]
}

async fn show(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
) -> Result<Response, Problem> {
    runners(&app, &principal, &frame, None, None, StatusCode::OK).await
}

async fn runners(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    fresh: Option<Fresh>,
    problem: Option<FormProblem>,
    status: StatusCode,
) -> Result<Response, Problem> {
    let runners = views::runners::list(app, principal).await?;
    let counts = views::runs::counts(app, principal).await?;
    let view = Runners {
        shell: frame.section(Section::Runners),
        rows: runners.into_iter().map(|runner| row(frame, runner)).collect(),
        n_queued: counts.queued,
        may_manage: principal.may(Action::ManageRunner),
        fresh,
        problem,
    };
    page_with(status, &view)
}

fn row(frame: &Frame, runner: Runner) -> RunnerRow {
    RunnerRow {
        id: Id(runner.id.to_string()),
        name: Text::from(runner.name),
        version: Text::from(runner.version),
        labels: runner.labels.into_iter().map(Text::from).collect(),
        is_alive: runner.alive,
        told: match runner.wish {
            Wish::Work => None,
            Wish::Drain => Some("drained"),
            Wish::Restart => Some("restarts"),
        },
        seen: frame.moment(runner.seen_at),
        jobs: runner.jobs.iter().map(links::job).collect(),
        capacity: runner.capacity,
        kept: runner.kept,
        health: runner.health.map(|health| figures(&health)).unwrap_or_default(),
        problems: runner.problems.into_iter().map(Text::from).collect(),
    }
}

/// How a machine is, in figures for a person.
fn figures(health: &Health) -> Vec<(&'static str, String)> {
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let of = |free: Option<u64>, all: Option<u64>| {
        free.zip(all).map(|(free, all)| format!("{} of {} free", gib(free), gib(all)))
    };
    let mut figures = Vec::new();
    figures.extend(of(health.disk_free, health.disk).map(|text| ("Disk", text)));
    figures.extend(of(health.memory_free, health.memory).map(|text| ("Memory", text)));
    let load = health.load.map(|load| format!("{}.{:02}", load / 100, load % 100));
    figures.extend(load.map(|load| match health.cpus {
        Some(cpus) => ("Load", format!("{load} on {cpus} processors")),
        None => ("Load", load),
    }));
    figures
}

async fn invite(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
) -> Result<Response, Problem> {
    match actions::invite(&app, &principal, NewInvitation::default()).await {
        Ok(invitation) => {
            let fresh = Fresh {
                what: Text::from("A runner can join within an hour, once."),
                secret: Text::from(command(&invitation)),
                how: "Run this on its machine, where windlass is installed.",
            };
            runners(&app, &principal, &frame, Some(fresh), None, StatusCode::OK).await
        }
        Err(problem) => {
            let (status, problem) = form_problem(problem)?;
            runners(&app, &principal, &frame, None, Some(problem), status).await
        }
    }
}

/// What to type on the machine. The code goes through a pipe: arguments can be read by everybody there.
fn command(invitation: &Invitation) -> String {
    let pin = invitation.certificate.as_ref().map(|pin| format!(" --certificate {pin}"));
    format!(
        "echo {} | windlass runner join {}{}",
        invitation.code,
        invitation.server,
        pin.unwrap_or_default()
    )
}

#[derive(Deserialize)]
struct Wanted {
    wish: Wish,
}

async fn wish(
    State(app): State<AppState>,
    principal: Principal,
    Place(runner): Place<String>,
    Fields(wanted): Fields<Wanted>,
) -> Result<Response, Problem> {
    actions::wish(&app, &principal, &runner, wanted.wish).await?;
    Ok(go("/runners?said=told"))
}

async fn remove(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(runner): Place<String>,
) -> Result<Response, Problem> {
    match actions::remove(&app, &principal, &runner, false).await {
        Ok(_) => Ok(go("/runners?said=removed")),
        Err(problem) => {
            let (status, problem) = form_problem(problem)?;
            runners(&app, &principal, &frame, None, Some(problem), status).await
        }
    }
}
