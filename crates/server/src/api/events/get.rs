//! `GET /api/v1/events/{event}`: one event with what it says and what became of it.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::EventId;
use windlass_wire::api::event::Event;

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::View);
    Endpoint::new(Method::GET, "/api/v1/events/{event}", access, handler).doc(
        Doc::new(
            "getEvent",
            "One event: what it says, what it descends from, what triggers made of it.",
        )
        .gives::<Event>(200)
        .problems(&[Code::NotFound]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place(event_id): Place<EventId>,
) -> Result<Json<Event>, Problem> {
    views::events::one(&app, &principal, &event_id).await.map(Json)
}
