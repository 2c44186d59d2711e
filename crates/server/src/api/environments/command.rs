//! What somebody wants of an environment: one endpoint for each wish, all alike but for the command.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_run::environment::Command;
use windlass_wire::api::environment::Environment;

use crate::{
    actions::environments as actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::Code,
    state::AppState,
};

/// Problems of a wish that needs room beside others.
const NEEDS_ROOM: &[Code] =
    &[Code::Forbidden, Code::NotFound, Code::EnvironmentState, Code::LimitReached];
/// Problems of every other wish.
const PLAIN: &[Code] = &[Code::Forbidden, Code::NotFound, Code::EnvironmentState];

pub(super) fn endpoints() -> Vec<Endpoint> {
    let start =
        Doc::new("startEnvironment", "Starts an environment: its work tree is as it was left.");
    let stop = Doc::new("stopEnvironment", "Stops an environment. Its work tree is kept.");
    let archive = Doc::new("archiveEnvironment", "Stops an environment and puts it away.");
    let unarchive =
        Doc::new("unarchiveEnvironment", "Takes an archived environment out again, stopped.");
    let delete = Doc::new(
        "deleteEnvironment",
        "Stops and deletes an environment. It can be had back for a day; work that no repository has is kept.",
    );
    let undelete =
        Doc::new("undeleteEnvironment", "Has a deleted environment back, stopped, within a day.");
    vec![
        wish("/api/v1/environments/{environment}/start", start, NEEDS_ROOM, |_| Command::Start),
        wish("/api/v1/environments/{environment}/stop", stop, PLAIN, |principal| Command::Stop {
            why: actions::stopped_by(principal),
        }),
        wish("/api/v1/environments/{environment}/archive", archive, PLAIN, |_| Command::Archive),
        wish("/api/v1/environments/{environment}/unarchive", unarchive, PLAIN, |_| {
            Command::Unarchive
        }),
        endpoint(
            Method::DELETE,
            "/api/v1/environments/{environment}",
            delete,
            PLAIN,
            |principal| Command::Delete { by: principal.by() },
        ),
        wish("/api/v1/environments/{environment}/undelete", undelete, PLAIN, |_| Command::Undelete),
    ]
}

fn wish(
    path: &'static str,
    doc: Doc,
    problems: &[Code],
    command: fn(&Principal) -> Command,
) -> Endpoint {
    endpoint(Method::POST, path, doc, problems, command)
}

fn endpoint(
    method: Method,
    path: &'static str,
    doc: Doc,
    problems: &[Code],
    command: fn(&Principal) -> Command,
) -> Endpoint {
    let access = Access::Allows(Action::UseEnvironments);
    let handler = move |State(app): State<AppState>,
                        principal: Principal,
                        Place(name): Place<String>| async move {
        actions::command(&app, &principal, &name, command(&principal)).await.map(Json)
    };
    Endpoint::new(method, path, access, handler)
        .doc(doc.gives::<Environment>(200).problems(problems))
}
