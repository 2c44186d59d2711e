//! `PUT /api/v1/environments/{environment}/ports/{port}`: publishes a port, or changes how it is.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::port::{Port, PublishPort};

use crate::{
    actions::ports as actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Place},
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::UseEnvironments);
    let path = "/api/v1/environments/{environment}/ports/{port}";
    Endpoint::new(Method::PUT, path, access, handler).doc(
        Doc::new(
            "publishPort",
            "Publishes a port of an environment at an address of its own, or changes its name or who is let \
             in. Whoever is in and would not be let in any more is cut at once.",
        )
        .takes::<PublishPort>()
        .gives::<Port>(200)
        .problems(&[
            Code::BadRequest,
            Code::Forbidden,
            Code::PortsOff,
            Code::NotFound,
            Code::EnvironmentState,
        ]),
    )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Place((name, port)): Place<(String, String)>,
    Body(wanted): Body<PublishPort>,
) -> Result<Json<Port>, Problem> {
    actions::publish(&app, &principal, &name, &port, wanted).await.map(Json)
}
