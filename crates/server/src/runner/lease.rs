//! `POST /api/v1/runner/lease`: a long poll for jobs. It sleeps until the store hints that a job waits
//! or one becomes due; there is no polling interval.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Method, header},
};
use windlass_policy::permission::Action;
use windlass_run::job::{End, Outcome, Phase, Report};
use windlass_store::{artifacts, projects::Project, work};
use windlass_wire::runner::{Checkpoint, House, Lease, LeaseRequest, Leases, Repository};

use crate::{
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::Body,
    git_http, local,
    problem::Problem,
    remote,
    state::AppState,
    views,
};

/// The longest wait of one call.
const WAIT: Duration = Duration::from_secs(30);

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::Lease);
    Endpoint::new(Method::POST, "/api/v1/runner/lease", access, handler)
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    headers: HeaderMap,
    Body(request): Body<LeaseRequest>,
) -> Result<Json<Leases>, Problem> {
    principal.is_runner(&request.runner_id)?;
    app.runners().heard(&request.runner_id, request.health, request.pools);
    let wait = Duration::from_millis(request.wait_ms).min(WAIT);
    let over = tokio::time::sleep(wait);
    tokio::pin!(over);
    let mut hints = app.hints();
    loop {
        let seen = hints.mark_seen().queue;
        let ask = work::LeaseAsk {
            organisation_id: principal.organisation_id.clone(),
            runner_id: request.runner_id.clone(),
            max: request.max.clamp(1, 256),
            ttl: app.lease_ttl(),
        };
        let work::Leases { wish, leases } = app.store().lease(ask, app.now()).await?;
        let wish = views::runners::to_wire(wish);
        let leases = describe(&app, &principal, &origin(&app, &headers), leases).await?;
        if !leases.is_empty() || wish != request.wish {
            return Ok(Json(Leases { wish, leases }));
        }
        let due = app.store().next_due(&principal.organisation_id, &request.runner_id).await?;
        let until_due = due.map(|due| due.since(app.now()).to_std());
        let queued = async {
            loop {
                hints.next().await;
                if hints.mark_seen().queue != seen {
                    break;
                }
            }
        };
        tokio::select! {
            () = &mut over => return Ok(Json(Leases { wish, leases: Vec::new() })),
            () = app.stopping().cancelled_owned() => return Ok(Json(Leases { wish, leases: Vec::new() })),
            () = tokio::time::sleep(until_due.unwrap_or(WAIT)), if until_due.is_some() => {}
            () = queued => {}
        }
    }
}

/// How the runner reaches this server: as it just did.
pub(super) fn origin(app: &AppState, headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match host {
        Some(host) => format!("{}://{host}", if app.is_secure() { "https" } else { "http" }),
        None => app.base_url().to_owned(),
    }
}

async fn describe(
    app: &AppState,
    principal: &Principal,
    origin: &str,
    leased: Vec<work::Leased>,
) -> Result<Vec<Lease>, Problem> {
    let mut leases = Vec::with_capacity(leased.len());
    for job in leased {
        let project = app.store().project(&principal.organisation_id, &job.project_id).await?;
        if project.archived_at.is_some() {
            let why = "its project was removed".to_owned();
            end(app, job, Outcome::Cancelled, why).await?;
            continue;
        }
        let repository = match repository(app, &project, origin, &job).await {
            Ok(repository) => repository,
            // Nobody can help it by waiting: the token is gone, for example.
            Err(problem) if problem.code.status() < 500 => {
                end(app, job, Outcome::Failed, problem.detail).await?;
                continue;
            }
            Err(problem) => return Err(problem),
        };
        leases.push(Lease {
            checkpoints: checkpoints(app, principal, &job).await?,
            job_id: job.job_id,
            run_id: job.run_id,
            epoch: job.epoch,
            state: job.state,
            title: job.title,
            repository: Some(repository),
            house: house(app, &project).await?,
        });
    }
    Ok(leases)
}

/// What a project and its organisation say of all environments.
pub(super) async fn house(app: &AppState, project: &Project) -> Result<House, Problem> {
    let wants = views::projects::settings(project);
    Ok(House {
        classes: views::classes::all(app, &project.organisation_id).await?,
        pool_min: wants.pool_min.unwrap_or(0),
        pool_max: wants.pool_max,
    })
}

/// Ends a job that was just leased and can't be worked on by anybody, in its runner's stead.
async fn end(
    app: &AppState,
    job: work::Leased,
    outcome: Outcome,
    reason: String,
) -> Result<(), Problem> {
    let Phase::Leased { runner_id, .. } = &job.state.phase else { return Ok(()) };
    tracing::warn!(job_id = %job.job_id, reason, "a job was ended before its runner began");
    let now = app.now();
    let end = End { outcome, code: "repository".to_owned(), reason, give_up: None };
    let report = work::NumberedReport { seq: 1, at: now, report: Report::Ended(end) };
    let reports = work::JobReports {
        job_id: job.job_id,
        epoch: job.epoch,
        reports: vec![report],
        release: None,
    };
    app.store().report(runner_id.clone(), vec![reports], app.lease_ttl(), now).await?;
    Ok(())
}

async fn repository(
    app: &AppState,
    project: &Project,
    origin: &str,
    job: &work::Leased,
) -> Result<Repository, Problem> {
    if project.forge != local::FORGE {
        let branches = git_http::branches(&job.job_id, &job.state);
        return remote::repository(app, project, branches).await;
    }
    local::refresh::before_lease(app, project, job.state.created_at).await;
    Ok(Repository {
        project_id: project.id.clone(),
        name: project.name.clone(),
        url: format!("{origin}/git/{}.git", project.name),
        username: job.job_id.to_string(),
        credential: git_http::credential(app, &job.job_id, job.epoch),
        branches: git_http::branches(&job.job_id, &job.state),
    })
}

async fn checkpoints(
    app: &AppState,
    principal: &Principal,
    job: &work::Leased,
) -> Result<Vec<Checkpoint>, Problem> {
    if job.epoch <= 1 && job.state.spec.continues.is_none() {
        return Ok(Vec::new());
    }
    let rows = app.store().artifacts(&principal.organisation_id, &job.job_id).await?;
    let mut checkpoints = Vec::new();
    for step in &job.state.steps {
        let of_step = |row: &&artifacts::ArtifactRow| {
            row.step_id == step.id && row.kind == artifacts::Kind::Checkpoint
        };
        if let Some(row) = rows.iter().find(of_step) {
            checkpoints
                .push(Checkpoint { step_id: row.step_id.clone(), commit: row.commit.clone() });
        }
    }
    Ok(checkpoints)
}
