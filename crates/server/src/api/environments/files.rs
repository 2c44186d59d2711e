//! `/api/v1/environments/{environment}/files`: folders of an environment, and the names in them.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::api::file::{Changed, Folder, FolderQuery, NewFolder, Rename};

use super::file::PROBLEMS;
use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Body, Keys, Place},
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let access = Access::Allows(Action::UseEnvironments);
    let list = Doc::new(
        "listEnvironmentFiles",
        "What is in a folder of an environment that runs, in the order of the names.",
    );
    let make =
        Doc::new("makeEnvironmentFolder", "Makes a folder in an environment, with those above it.");
    let rename = Doc::new(
        "renameEnvironmentFile",
        "Gives a file or folder of an environment another name or place, where nothing is yet.",
    );
    vec![
        Endpoint::new(Method::GET, "/api/v1/environments/{environment}/files", access, folder)
            .doc(list.query::<FolderQuery>().gives::<Folder>(200).problems(PROBLEMS)),
        Endpoint::new(
            Method::POST,
            "/api/v1/environments/{environment}/files/folder",
            access,
            make_folder,
        )
        .doc(make.takes::<NewFolder>().gives::<Changed>(200).problems(PROBLEMS)),
        Endpoint::new(
            Method::POST,
            "/api/v1/environments/{environment}/files/rename",
            access,
            rename_it,
        )
        .doc(rename.takes::<Rename>().gives::<Changed>(200).problems(PROBLEMS)),
    ]
}

async fn folder(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    Keys(query): Keys<FolderQuery>,
) -> Result<Json<Folder>, Problem> {
    views::files::folder(&app, &principal, &name, query).await.map(Json)
}

async fn make_folder(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    Body(new): Body<NewFolder>,
) -> Result<Json<Changed>, Problem> {
    actions::files::make_folder(&app, &principal, &name, new).await.map(Json)
}

async fn rename_it(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    Body(wanted): Body<Rename>,
) -> Result<Json<Changed>, Problem> {
    actions::files::rename(&app, &principal, &name, wanted).await.map(Json)
}
