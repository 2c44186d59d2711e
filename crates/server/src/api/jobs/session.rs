//! `GET /api/v1/jobs/{job}/steps/{step}/session`: the session of an agent step, as a page or as a stream.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Method},
    response::{IntoResponse as _, Response},
};
use windlass_policy::permission::Action;
use windlass_run::{JobId, StepId};
use windlass_store::streams::{Kind, StreamId};
use windlass_wire::api::{Page, job::StreamQuery};
use windlass_wire::session::Entry;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Keys, Place},
    problem::{Code, Problem},
    sse,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::GET,
        "/api/v1/jobs/{job}/steps/{step}/session",
        Access::Allows(Action::View),
        handler,
    )
    .doc(
        Doc::new(
            "getSession",
            "The session of an agent step: a page, or a stream until the job's end.",
        )
        .query::<StreamQuery>()
        .streams::<serde_json::Value>()
        .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    headers: HeaderMap,
    Place((job_id, step_id)): Place<(JobId, StepId)>,
    Keys(query): Keys<StreamQuery>,
) -> Result<Response, Problem> {
    let stream =
        views::streams::find(&app, &principal, &job_id, &step_id, Kind::Session, query.attempt)
            .await?;
    let after = sse::cursor(&headers, query.after)?;
    if sse::is_wanted(&headers) {
        let shared = app.clone();
        let read = move |after| read(shared.clone(), principal.clone(), stream.clone(), after);
        return sse::stream(&app, after, "session", read).await;
    }
    let limit = query.limit.map_or(PAGE, |limit| (limit as usize).clamp(1, PAGE));
    let items = views::streams::session(&app, &principal, &stream, after, limit).await?;
    let next = (items.len() == limit).then(|| items.last().map(|entry| entry.seq.to_string()));
    Ok(Json(Page { items, next: next.flatten() }).into_response())
}

/// How many entries are read at once.
const PAGE: usize = 1000;

async fn read(
    app: AppState,
    principal: Principal,
    stream: StreamId,
    after: u64,
) -> Result<sse::Batch, Problem> {
    // Asked first: what comes in between is read below.
    let has_ended = views::streams::is_over(&app, &principal, &stream.job_id).await?;
    let entries = views::streams::session(&app, &principal, &stream, after, PAGE).await?;
    let is_over = has_ended && entries.len() < PAGE;
    let json = |entry: Entry| {
        serde_json::to_string(&entry)
            .map(|json| (entry.seq, json))
            .map_err(|error| Problem::internal("show an entry of a session", error))
    };
    Ok(sse::Batch { events: entries.into_iter().map(json).collect::<Result<_, _>>()?, is_over })
}
