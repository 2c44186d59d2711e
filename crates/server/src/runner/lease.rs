//! `POST /api/v1/runner/lease`: a long poll for jobs. It sleeps until the store hints that a job waits
//! or one becomes due; there is no polling interval.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Method, header},
};
use windlass_policy::permission::Action;
use windlass_run::{actor::By, job::Phase};
use windlass_store::{artifacts, projects::Project, work};
use windlass_wire::runner::{Checkpoint, Lease, LeaseRequest, Leases, Repository};

use crate::{
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::Body,
    git_http, local,
    problem::Problem,
    remote,
    state::AppState,
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
        let leased = app.store().lease(ask, app.now()).await?;
        let leases = describe(&app, &principal, &origin(&app, &headers), leased).await?;
        if !leases.is_empty() {
            return Ok(Json(Leases { leases }));
        }
        let due = app.store().next_due(&principal.organisation_id).await?;
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
            () = &mut over => return Ok(Json(Leases::default())),
            () = app.stopping().cancelled_owned() => return Ok(Json(Leases::default())),
            () = tokio::time::sleep(until_due.unwrap_or(WAIT)), if until_due.is_some() => {}
            () = queued => {}
        }
    }
}

/// How the runner reaches this server: as it just did.
fn origin(app: &AppState, headers: &HeaderMap) -> String {
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
            stop(app, principal, job).await?;
            continue;
        }
        let repository = match repository(app, &project, origin, &job).await {
            Ok(repository) => repository,
            Err(problem) => {
                give_back(app, job, problem).await?;
                continue;
            }
        };
        leases.push(Lease {
            checkpoints: checkpoints(app, principal, &job).await?,
            job_id: job.job_id,
            run_id: job.run_id,
            epoch: job.epoch,
            state: job.state,
            title: job.title,
            repository: Some(repository),
        });
    }
    Ok(leases)
}

/// A job whose project was removed meanwhile is stopped.
async fn stop(app: &AppState, principal: &Principal, job: work::Leased) -> Result<(), Problem> {
    let organisation_id = principal.organisation_id.clone();
    let reason = "its project was removed".to_owned();
    let by = By::system("lease");
    app.store().cancel_job(by, organisation_id, job.job_id.clone(), reason, app.now()).await?;
    release(app, job, "the project was removed".to_owned()).await
}

/// A job whose repository can't be described waits again.
async fn give_back(app: &AppState, job: work::Leased, problem: Problem) -> Result<(), Problem> {
    tracing::warn!(job_id = %job.job_id, %problem, "a job can't be given to a runner now");
    release(app, job, problem.detail).await
}

async fn release(app: &AppState, job: work::Leased, reason: String) -> Result<(), Problem> {
    let Phase::Leased { runner_id, .. } = &job.state.phase else { return Ok(()) };
    app.store().release(runner_id.clone(), job.job_id, job.epoch, reason, app.now()).await?;
    Ok(())
}

async fn repository(
    app: &AppState,
    project: &Project,
    origin: &str,
    job: &work::Leased,
) -> Result<Repository, Problem> {
    if project.forge != local::FORGE {
        let branches = git_http::branches(&job.job_id, &job.state.spec);
        return remote::repository(app, project, branches).await;
    }
    local::refresh::before_lease(app, project, job.state.created_at).await;
    Ok(Repository {
        project_id: project.id.clone(),
        name: project.name.clone(),
        url: format!("{origin}/git/{}.git", project.name),
        username: job.job_id.to_string(),
        credential: git_http::credential(app, &job.job_id, job.epoch),
        branches: git_http::branches(&job.job_id, &job.state.spec),
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
    for step in &job.state.spec.steps {
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
