//! `/api/v1/environments/{environment}/services` and `.../tasks`: what runs beside the work.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_wire::{
    api::service::{Automation, Service, TaskRun},
    automation::Wish,
};

use crate::{
    actions::automation as actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

/// What every question about them may be answered with.
pub(super) const PROBLEMS: &[Code] =
    &[Code::Forbidden, Code::NotFound, Code::EnvironmentState, Code::Busy];

pub(super) fn endpoints() -> Vec<Endpoint> {
    let access = Access::Allows(Action::UseEnvironments);
    let look = Doc::new(
        "getEnvironmentServices",
        "How services and tasks of an environment that runs stand, in the order of their file.",
    );
    let run = Doc::new(
        "runEnvironmentTask",
        "Runs a task, after what it depends on. One that runs is left alone; its log tells when it is \
         over.",
    );
    let service = |path, doc: Doc, wish| {
        let handler = move |State(app): State<AppState>,
                            principal: Principal,
                            Place((name, service)): Place<(String, String)>| async move {
            actions::wish(&app, &principal, &name, &service, wish).await.map(Json)
        };
        Endpoint::new(Method::POST, path, access, handler)
            .doc(doc.gives::<Service>(200).problems(PROBLEMS))
    };
    let start = Doc::new(
        "startEnvironmentService",
        "Starts a service, after what it depends on, and waits up to a minute until it is ready.",
    );
    let stop = Doc::new("stopEnvironmentService", "Stops a service: it is not started again.");
    let restart = Doc::new("restartEnvironmentService", "Stops a service and starts it.");
    vec![
        Endpoint::new(Method::GET, "/api/v1/environments/{environment}/services", access, all)
            .doc(look.gives::<Automation>(200).problems(PROBLEMS)),
        service("/api/v1/environments/{environment}/services/{service}/start", start, Wish::Start),
        service("/api/v1/environments/{environment}/services/{service}/stop", stop, Wish::Stop),
        service(
            "/api/v1/environments/{environment}/services/{service}/restart",
            restart,
            Wish::Restart,
        ),
        Endpoint::new(
            Method::POST,
            "/api/v1/environments/{environment}/tasks/{task}/run",
            access,
            run_task,
        )
        .doc(run.gives::<TaskRun>(200).problems(PROBLEMS)),
    ]
}

async fn all(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
) -> Result<Json<Automation>, Problem> {
    views::automation::automation(&app, &principal, &name).await.map(Json)
}

async fn run_task(
    State(app): State<AppState>,
    principal: Principal,
    Place((name, task)): Place<(String, String)>,
) -> Result<Json<TaskRun>, Problem> {
    actions::run(&app, &principal, &name, &task).await.map(Json)
}
