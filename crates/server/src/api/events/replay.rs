//! `POST /api/v1/events/{event}/replay`: says an event again.

use axum::{
    Json,
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_run::EventId;
use windlass_wire::api::event::Event;

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::StartRun);
    Endpoint::new(Method::POST, "/api/v1/events/{event}/replay", access, handler).doc(
        Doc::new("replayEvent", "Says an event again, as a new one that triggers look at anew.")
            .gives::<Event>(201)
            .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(event_id): Place<EventId>,
) -> Result<(StatusCode, Json<Event>), Problem> {
    let event_id = actions::events::replay(&app, &principal, &event_id).await?;
    let event = views::events::one(&app, &principal, &event_id).await?;
    Ok((StatusCode::CREATED, Json(event)))
}
