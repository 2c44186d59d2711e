//! `GET /api/v1/jobs/{job}/steps/{step}/log`: a step's output, as bytes or as a stream.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use windlass_policy::permission::Action;
use windlass_run::{JobId, StepId};
use windlass_store::streams::{Kind, StreamId};
use windlass_wire::api::job::{LogPiece, StreamQuery};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Keys, Place},
    problem::{Code, Problem},
    range, sse,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(
        Method::GET,
        "/api/v1/jobs/{job}/steps/{step}/log",
        Access::Allows(Action::View),
        handler,
    )
    .doc(
        Doc::new(
            "getLog",
            "A step's output: its bytes (a `Range` is honoured), or a stream of pieces.",
        )
        .query::<StreamQuery>()
        .streams::<LogPiece>()
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
        views::streams::find(&app, &principal, &job_id, &step_id, Kind::Log, query.attempt).await?;
    if sse::is_wanted(&headers) {
        let after = sse::cursor(&headers, query.after)?;
        let shared = app.clone();
        let read = move |after| read(shared.clone(), principal.clone(), stream.clone(), after);
        return sse::stream(&app, after, "log", read).await;
    }
    let (from, to, is_range) = match range::range(&headers)? {
        Some((from, to)) => (from, to, true),
        None => (query.after.unwrap_or(0), None, false),
    };
    let most = query.limit.map_or(BYTES, |limit| (limit as usize).min(BYTES));
    let most = to.map_or(most, |to| usize::try_from(to + 1 - from).unwrap_or(BYTES).min(most));
    let slice = views::streams::log(&app, &principal, &stream, from, most).await?;
    let mut response = Response::new(Body::from(slice.bytes.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if is_range && !slice.bytes.is_empty() {
        let end = slice.offset + slice.bytes.len() as u64 - 1;
        let range = format!("bytes {}-{end}/{}", slice.offset, slice.length);
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&range).expect("digits"));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    } else if is_range {
        let range = format!("bytes */{}", slice.length);
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&range).expect("digits"));
        *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    }
    Ok(response)
}

/// The most bytes of a log in one answer. A longer one is read in ranges.
const BYTES: usize = 16 << 20;

/// The most bytes in one piece of a stream.
const PIECE: usize = 64 << 10;

async fn read(
    app: AppState,
    principal: Principal,
    stream: StreamId,
    after: u64,
) -> Result<sse::Batch, Problem> {
    // Asked first: what comes in between is read below.
    let has_ended = views::streams::is_over(&app, &principal, &stream.job_id).await?;
    let slice = views::streams::log(&app, &principal, &stream, after, PIECE).await?;
    if slice.bytes.is_empty() {
        return Ok(sse::Batch { events: vec![], is_over: has_ended });
    }
    let whole = sse::whole_characters(&slice.bytes, has_ended);
    if whole == 0 {
        return Ok(sse::Batch { events: vec![], is_over: false });
    }
    let end = slice.offset + whole as u64;
    let text = String::from_utf8_lossy(&slice.bytes[..whole]).into_owned();
    let json = serde_json::to_string(&LogPiece { offset: slice.offset, text })
        .map_err(|error| Problem::internal("show a piece of a log", error))?;
    Ok(sse::Batch { events: vec![(end, json)], is_over: has_ended && end >= slice.length })
}
