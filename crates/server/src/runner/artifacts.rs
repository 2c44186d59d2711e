//! `PUT` and `GET /api/v1/runner/jobs/{job}/checkpoints/{step}`, `PUT .../diffs/{step}`,
//! `PUT .../readiness/{step}`: what a runner keeps on the server, so that another can go on where it
//! stopped, and so that people can see it.

use axum::{
    extract::State,
    http::{Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_run::{JobId, StepId};
use windlass_store::{
    artifacts::{Kind, NewArtifact},
    readiness::NewReadiness,
};
use windlass_wire::api::readiness::Report;

use super::{holder, lost};
use crate::{
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::{Bytes, Keys, Place},
    problem::{Code, Problem},
    state::AppState,
};

/// The largest bundle, in bytes.
const BUNDLE: usize = 256 << 20;

/// The largest patch, in bytes.
const PATCH: usize = 64 << 20;

/// The largest report on a project's readiness, in bytes.
const REPORT: usize = 4 << 20;

const CHECKPOINT: &str = "/api/v1/runner/jobs/{job}/checkpoints/{step}";
const DIFF: &str = "/api/v1/runner/jobs/{job}/diffs/{step}";
const READINESS: &str = "/api/v1/runner/jobs/{job}/readiness/{step}";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let access = Access::Allows(Action::ReportJob);
    vec![
        Endpoint::new(Method::PUT, CHECKPOINT, access, keep_checkpoint).body_limit(BUNDLE),
        Endpoint::new(Method::GET, CHECKPOINT, access, checkpoint),
        Endpoint::new(Method::PUT, DIFF, access, keep_diff).body_limit(PATCH),
        Endpoint::new(Method::PUT, READINESS, access, keep_readiness).body_limit(REPORT),
    ]
}

#[derive(Deserialize)]
struct Query {
    epoch: u64,
    #[serde(default)]
    commit: String,
}

async fn keep_checkpoint(
    State(app): State<AppState>,
    principal: Principal,
    Place((job_id, step_id)): Place<(JobId, StepId)>,
    Keys(query): Keys<Query>,
    Bytes(bytes): Bytes,
) -> Result<StatusCode, Problem> {
    let is_commit = matches!(query.commit.len(), 40 | 64)
        && query.commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_commit {
        return Err(Problem::new(Code::BadRequest, "name the commit in the bundle").at("commit"));
    }
    let artifact = NewArtifact {
        job_id,
        step_id,
        kind: Kind::Checkpoint,
        commit: query.commit,
        bytes: bytes.to_vec(),
    };
    keep(&app, &principal, query.epoch, artifact).await
}

async fn keep_diff(
    State(app): State<AppState>,
    principal: Principal,
    Place((job_id, step_id)): Place<(JobId, StepId)>,
    Keys(query): Keys<Query>,
    Bytes(bytes): Bytes,
) -> Result<StatusCode, Problem> {
    let artifact = NewArtifact {
        job_id,
        step_id,
        kind: Kind::Diff,
        commit: query.commit,
        bytes: bytes.to_vec(),
    };
    keep(&app, &principal, query.epoch, artifact).await
}

async fn keep_readiness(
    State(app): State<AppState>,
    principal: Principal,
    Place((job_id, step_id)): Place<(JobId, StepId)>,
    Keys(query): Keys<Query>,
    Bytes(bytes): Bytes,
) -> Result<StatusCode, Problem> {
    let report: Report = serde_json::from_slice(&bytes).map_err(|error| {
        Problem::new(Code::BadRequest, format!("this is no report on readiness: {error}"))
    })?;
    let runner_id = holder(&app, &principal, &job_id, query.epoch).await?;
    let report_text = serde_json::to_string(&report)
        .map_err(|error| Problem::internal("keep a report", error))?;
    let new =
        NewReadiness { job_id, step_id, score: report.score.points.min(100), report: report_text };
    match app.store().keep_readiness(runner_id, query.epoch, new, app.now()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(lost(query.epoch)),
    }
}

async fn keep(
    app: &AppState,
    principal: &Principal,
    epoch: u64,
    artifact: NewArtifact,
) -> Result<StatusCode, Problem> {
    let runner_id = holder(app, principal, &artifact.job_id, epoch).await?;
    match app.store().keep(runner_id, epoch, artifact, app.now()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(lost(epoch)),
    }
}

async fn checkpoint(
    State(app): State<AppState>,
    principal: Principal,
    Place((job_id, step_id)): Place<(JobId, StepId)>,
    Keys(query): Keys<Query>,
) -> Result<Response, Problem> {
    holder(&app, &principal, &job_id, query.epoch).await?;
    let found = app
        .store()
        .artifact(&principal.organisation_id, &job_id, &step_id, Kind::Checkpoint)
        .await?;
    let (_, bytes) =
        found.ok_or_else(|| Problem::not_found(format!("checkpoint of step {step_id}")))?;
    Ok(([(header::CONTENT_TYPE, "application/x-git-bundle")], bytes).into_response())
}
