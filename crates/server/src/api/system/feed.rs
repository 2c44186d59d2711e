//! `GET /api/v1/feed`: that something changed, as a stream.

use axum::{
    extract::State,
    http::{HeaderMap, Method},
    response::Response,
};
use windlass_policy::permission::Action;
use windlass_wire::api::{feed::FeedEvent, job::StreamQuery};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::Problem,
    sse,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/feed", Access::Allows(Action::View), handler).doc(
        Doc::new("getFeed", "That something changed, in one order for everything: a stream.")
            .query::<StreamQuery>()
            .streams::<FeedEvent>(),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    headers: HeaderMap,
    Keys(query): Keys<StreamQuery>,
) -> Result<Response, Problem> {
    // Whoever comes without a cursor wants what happens from now on.
    let newest = app.hints().mark_seen().feed;
    let after = sse::cursor(&headers, Some(query.after.unwrap_or(newest)))?;
    let shared = app.clone();
    let read = move |after| read(shared.clone(), principal.clone(), after);
    sse::stream(&app, after, "feed", read).await
}

/// How many entries are read at once.
const PAGE: u32 = 500;

async fn read(app: AppState, principal: Principal, after: u64) -> Result<sse::Batch, Problem> {
    let events = views::feed::after(&app, &principal, after, PAGE).await?;
    let json = |event: FeedEvent| {
        serde_json::to_string(&event)
            .map(|json| (event.seq, json))
            .map_err(|error| Problem::internal("show an entry of the feed", error))
    };
    Ok(sse::Batch {
        events: events.into_iter().map(json).collect::<Result<_, _>>()?,
        is_over: false,
    })
}
