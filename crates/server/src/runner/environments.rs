//! `POST /api/v1/runner/environments`: a long poll in which a runner says what environments it keeps and
//! learns what it shall keep; `GET /api/v1/runner/streams/{stream}`: it dials a stream; `PUT .../environments/{environment}/work`: work that no repository had.

use std::time::Duration;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    response::Response,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use windlass_policy::permission::Action;
use windlass_run::{
    EnvironmentId, RunnerId,
    environment::{Phase, Wanted},
};
use windlass_store::environments::{EnvironmentRow, Observed, StartReport, Sync, Work};
use windlass_wire::runner::{
    Environments, EnvironmentsRequest, House, ObservedEnvironment, Repository, WantedEnvironment,
};

use super::lease::{house, origin};
use crate::{
    auth::Principal,
    endpoint::{Access, Endpoint},
    environments::TELL_AGAIN,
    extract::{Body, Bytes, Keys, Place},
    git_http, local,
    problem::{Code, Problem},
    remote,
    state::AppState,
    upgrade, views,
};

/// The longest wait of one call.
const WAIT: Duration = Duration::from_secs(30);
/// The largest bundle of work, in bytes.
const BUNDLE: usize = 1 << 30;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let access = Access::Allows(Action::KeepEnvironments);
    let work = "/api/v1/runner/environments/{environment}/work";
    vec![
        Endpoint::new(Method::POST, "/api/v1/runner/environments", access, handler)
            .body_limit(32 << 20),
        Endpoint::new(Method::PUT, work, access, keep_work).body_limit(BUNDLE),
        Endpoint::new(Method::GET, "/api/v1/runner/streams/{stream}", access, dial),
    ]
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    headers: HeaderMap,
    Body(request): Body<EnvironmentsRequest>,
) -> Result<Json<Environments>, Problem> {
    principal.is_runner(&request.runner_id)?;
    let registered =
        app.store().runner_name(&principal.organisation_id, &request.runner_id).await?;
    if registered.is_none() {
        return Err(Problem::not_found("such runner: register first"));
    }
    let over = tokio::time::sleep(Duration::from_millis(request.wait_ms).min(WAIT));
    tokio::pin!(over);
    let mut observed: Vec<Observed> = request.observed.into_iter().map(observed_of).collect();
    loop {
        let news = app.environments().news();
        app.environments().heard(&request.runner_id, app.now());
        let sync = Sync {
            organisation_id: principal.organisation_id.clone(),
            runner_id: request.runner_id.clone(),
            capacity: request.capacity,
            observed: std::mem::take(&mut observed),
        };
        let rows = app.store().sync_environments(sync, app.now()).await?;
        let digest = digest(&rows);
        let attach = app.environments().to_dial(&request.runner_id);
        if digest == request.told && !attach.is_empty() {
            return Ok(Json(Environments { digest, environments: Vec::new(), attach }));
        }
        if digest != request.told {
            let mut environments = Vec::with_capacity(rows.len());
            for row in rows {
                environments.push(describe(&app, &origin(&app, &headers), row).await?);
            }
            return Ok(Json(Environments { digest, environments, attach }));
        }
        tokio::select! {
            () = &mut over => {
                return Ok(Json(Environments { digest, ..Environments::default() }));
            }
            () = app.stopping().cancelled_owned() => {
                return Ok(Json(Environments { digest, ..Environments::default() }));
            }
            () = tokio::time::sleep(TELL_AGAIN), if app.environments().is_awaited(&request.runner_id) => {}
            () = news => {}
        }
    }
}

/// Whether the runner needs to reach the repository to bring it where it shall be.
fn needs_repository(row: &EnvironmentRow) -> bool {
    let is_under_way = matches!(row.state.phase, Phase::Starting { .. } | Phase::Lost { .. });
    row.state.wanted == Wanted::Running && is_under_way
}

/// Stands for everything that a runner must act on.
fn digest(rows: &[EnvironmentRow]) -> String {
    let mut hash = Sha256::new();
    for row in rows {
        let (generation, wanted) = (row.state.generation, row.state.wanted);
        let line = format!("{} {generation} {wanted:?} {}\n", row.id, needs_repository(row));
        hash.update(line.as_bytes());
    }
    let bytes = hash.finalize();
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn observed_of(observed: ObservedEnvironment) -> Observed {
    Observed {
        id: observed.id,
        generation: observed.generation,
        seen: observed.seen,
        active_at: observed.active_at,
        unpushed: observed.looked.map(|looked| looked.unpushed),
        report: observed.start.map(|start| StartReport {
            stages: start.stages,
            log: start.log,
            limits: start.limits,
            from: start.from,
            offered: start.offered,
        }),
        ended: observed.ended,
    }
}

async fn describe(
    app: &AppState,
    origin: &str,
    row: EnvironmentRow,
) -> Result<WantedEnvironment, Problem> {
    let mut house = House::default();
    let (mut repository, mut repository_refused) = match needs_repository(&row) {
        true => match repository(app, origin, &row).await {
            Ok((repository, of_project)) => {
                house = of_project;
                (Some(repository), None)
            }
            // Nobody can help it by waiting: the project was removed, for example.
            Err(problem) if problem.code.status() < 500 => (None, Some(problem.detail)),
            Err(problem) => return Err(problem),
        },
        false => (None, None),
    };
    let mut secrets = Vec::new();
    if repository.is_some() {
        match views::secrets::of_environment(app, &row).await {
            Ok(given) => secrets = given,
            // Only this environment can't be started, not those beside it.
            Err(problem) if problem.code == Code::SecretUnreadable => {
                (repository, repository_refused) = (None, Some(problem.detail));
            }
            Err(problem) => return Err(problem),
        }
    }
    Ok(WantedEnvironment {
        id: row.id,
        generation: row.state.generation,
        wanted: row.state.wanted,
        spec: row.state.spec,
        created_at: row.state.created_at,
        repository,
        repository_refused,
        secrets,
        house,
    })
}

async fn repository(
    app: &AppState,
    origin: &str,
    row: &EnvironmentRow,
) -> Result<(Repository, House), Problem> {
    let project = app.store().project(&row.organisation_id, &row.state.spec.project_id).await?;
    if project.archived_at.is_some() {
        return Err(Problem::not_found("its project any more: it was removed"));
    }
    let house = house(app, &project).await?;
    if project.forge != local::FORGE {
        return Ok((remote::repository(app, &project, Vec::new()).await?, house));
    }
    local::refresh::before_lease(app, &project, row.state.created_at).await;
    let repository = Repository {
        project_id: project.id.clone(),
        name: project.name.clone(),
        url: format!("{origin}/git/{}.git", project.name),
        username: row.id.to_string(),
        credential: git_http::environment_credential(app, &row.id, row.state.generation),
        branches: Vec::new(),
    };
    Ok((repository, house))
}

#[derive(Deserialize)]
struct Dial {
    runner_id: RunnerId,
}

async fn dial(
    State(app): State<AppState>,
    principal: Principal,
    Place(stream): Place<String>,
    Keys(query): Keys<Dial>,
    mut request: Request,
) -> Result<Response, Problem> {
    principal.is_runner(&query.runner_id)?;
    let answer = upgrade::answer(&request)?;
    let dialled = app.environments().dialled(&query.runner_id, &stream);
    let dialled = dialled.ok_or_else(|| Problem::not_found("such stream: nobody waits for it"))?;
    // Whoever waited may have left in this moment; then the connection ends by itself.
    let _ = dialled.send(hyper::upgrade::on(&mut request));
    Ok(answer)
}

#[derive(Deserialize)]
struct Query {
    runner_id: RunnerId,
    commit: String,
}

async fn keep_work(
    State(app): State<AppState>,
    principal: Principal,
    Place(id): Place<EnvironmentId>,
    Keys(query): Keys<Query>,
    Bytes(bytes): Bytes,
) -> Result<StatusCode, Problem> {
    principal.is_runner(&query.runner_id)?;
    let is_commit = matches!(query.commit.len(), 40 | 64)
        && query.commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_commit {
        return Err(Problem::new(Code::BadRequest, "name the commit in the bundle").at("commit"));
    }
    let work = Work { commit: query.commit, bytes: bytes.to_vec(), at: app.now() };
    match app.store().keep_environment_work(query.runner_id, id, work).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(Code::LeaseLost, "this runner does not keep the environment")),
    }
}
