//! `GET /api/v1/events`: events, newest first.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::{
    Page,
    event::{EventSummary, EventsQuery},
};

use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Keys,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::View);
    Endpoint::new(Method::GET, "/api/v1/events", access, handler).doc(
        Doc::new("listEvents", "Events, newest first.")
            .query::<EventsQuery>()
            .gives::<Page<EventSummary>>(200),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Keys(query): Keys<EventsQuery>,
) -> Result<Json<Page<EventSummary>>, Problem> {
    views::events::list(&app, &principal, query).await.map(Json)
}
