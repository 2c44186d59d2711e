//! `POST /api/v1/projects`: adds a project.

use axum::{
    Json,
    extract::State,
    http::{Method, StatusCode},
};
use windlass_policy::permission::Action;
use windlass_wire::api::project::{NewProject, Project};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Body,
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::POST, "/api/v1/projects", Access::Allows(Action::ManageProject), handler)
        .doc(
            Doc::new(
                "addProject",
                "Adds a project; one that is there with the same source is given back with 200.",
            )
            .takes::<NewProject>()
            .gives::<Project>(201)
            .problems(&[
                Code::NameTaken,
                Code::NotARepository,
                Code::EmptyRepository,
                Code::MissingBranch,
                Code::CredentialRefused,
                Code::ForgeUnavailable,
            ]),
        )
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(new): Body<NewProject>,
) -> Result<(StatusCode, Json<Project>), Problem> {
    let added = actions::projects::add(&app, &principal, new).await?;
    let status = if added.is_fresh { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(added.project)))
}
