//! Logs, sessions and diffs of jobs: what runners sent, redacted already, untrusted all the same.

use windlass_run::{JobId, StepId};
use windlass_store::{
    artifacts,
    streams::{Kind, LogSlice, StreamId, StreamRow},
};
use windlass_wire::session;

use crate::{auth::Principal, problem::Problem, state::AppState};

/// The streams that a job has, in the order in which they began.
///
/// # Errors
/// The job is not there; the store's failures.
pub async fn list(
    app: &AppState,
    principal: &Principal,
    job_id: &JobId,
) -> Result<Vec<StreamRow>, Problem> {
    Ok(app.store().streams(&principal.organisation_id, job_id).await?)
}

/// The stream of a step: of the attempt named, or of the newest one that has such a stream.
///
/// # Errors
/// The job is not there; the store's failures.
pub async fn find(
    app: &AppState,
    principal: &Principal,
    job_id: &JobId,
    step_id: &StepId,
    kind: Kind,
    attempt: Option<u32>,
) -> Result<StreamId, Problem> {
    let attempt = match attempt {
        Some(attempt) => attempt,
        None => list(app, principal, job_id)
            .await?
            .into_iter()
            .filter(|row| row.stream.step_id == *step_id && row.stream.kind == kind)
            .map(|row| row.stream.attempt)
            .max()
            .unwrap_or(1),
    };
    Ok(StreamId { job_id: job_id.clone(), step_id: step_id.clone(), attempt, kind })
}

/// Bytes of a log from `offset` on.
///
/// # Errors
/// The job is not there; the store's failures.
pub async fn log(
    app: &AppState,
    principal: &Principal,
    stream: &StreamId,
    offset: u64,
    max: usize,
) -> Result<LogSlice, Problem> {
    Ok(app.store().log(&principal.organisation_id, stream, offset, max).await?)
}

/// Entries of a session after number `after`.
///
/// # Errors
/// The job is not there; the store's failures.
pub async fn session(
    app: &AppState,
    principal: &Principal,
    stream: &StreamId,
    after: u64,
    max: usize,
) -> Result<Vec<session::Entry>, Problem> {
    let texts = app.store().session(&principal.organisation_id, stream, after, max).await?;
    texts
        .into_iter()
        .map(|(_, text)| {
            serde_json::from_str(&text)
                .map_err(|error| Problem::internal("read an entry of a session", error))
        })
        .collect()
}

/// The job's work so far as a git patch: of the newest step that has one. Absent if there is none.
///
/// # Errors
/// The job is not there; the store's failures.
pub async fn diff(
    app: &AppState,
    principal: &Principal,
    job_id: &JobId,
) -> Result<Option<Vec<u8>>, Problem> {
    let rows = app.store().artifacts(&principal.organisation_id, job_id).await?;
    let newest = rows.into_iter().rev().find(|row| row.kind == artifacts::Kind::Diff);
    let Some(row) = newest else { return Ok(None) };
    let found = app
        .store()
        .artifact(&principal.organisation_id, job_id, &row.step_id, artifacts::Kind::Diff)
        .await?;
    Ok(found.map(|(_, bytes)| bytes))
}

/// True if nothing will be added to the job's streams any more.
///
/// # Errors
/// The job is not there; the store's failures.
pub async fn is_over(
    app: &AppState,
    principal: &Principal,
    job_id: &JobId,
) -> Result<bool, Problem> {
    let detail = app.store().job(&principal.organisation_id, job_id).await?;
    Ok(matches!(detail.row.standing, windlass_store::runs::Standing::Ended(_)))
}
