//! `GET /api/v1/jobs/{job}/events`: a job's journal, as a page or as a stream.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Method},
    response::{IntoResponse as _, Response},
};
use windlass_policy::permission::Action;
use windlass_run::JobId;
use windlass_wire::api::{
    Page,
    job::{JobEvent, StreamQuery},
};

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
    Endpoint::new(Method::GET, "/api/v1/jobs/{job}/events", Access::Allows(Action::View), handler)
        .doc(
            Doc::new(
                "listJobEvents",
                "A job's journal, oldest first: a page, or a stream until the job's end.",
            )
            .query::<StreamQuery>()
            .streams::<JobEvent>()
            .problems(&[Code::NotFound]),
        )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    headers: HeaderMap,
    Place(job_id): Place<JobId>,
    Keys(query): Keys<StreamQuery>,
) -> Result<Response, Problem> {
    let after = sse::cursor(&headers, query.after)?;
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE);
    if sse::is_wanted(&headers) {
        let shared = app.clone();
        let read = move |after| read(shared.clone(), principal.clone(), job_id.clone(), after);
        return sse::stream(&app, after, "job", read).await;
    }
    let items = views::jobs::events(&app, &principal, &job_id, after, limit).await?;
    let next = (items.len() == limit as usize).then(|| items.last().map(|e| e.seq.to_string()));
    Ok(Json(Page { items, next: next.flatten() }).into_response())
}

/// How many entries are read at once.
const PAGE: u32 = 500;

async fn read(
    app: AppState,
    principal: Principal,
    job_id: JobId,
    after: u64,
) -> Result<sse::Batch, Problem> {
    let events = views::jobs::events(&app, &principal, &job_id, after, PAGE).await?;
    let is_over = match events.last() {
        Some(last) => last.event["event"] == "ended",
        None => views::streams::is_over(&app, &principal, &job_id).await?,
    };
    let json = |event: JobEvent| {
        serde_json::to_string(&event)
            .map(|json| (event.seq, json))
            .map_err(|error| Problem::internal("show an entry of a journal", error))
    };
    let events = events.into_iter().map(json).collect::<Result<_, _>>()?;
    Ok(sse::Batch { events, is_over })
}
