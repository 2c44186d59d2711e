//! Services of an environment that runs are started, stopped and restarted, and tasks run. Each wish is an
//! entry in the environment's journal and in the audit log before it is handed on.

use windlass_run::environment::{Command, Limits, Steer};
use windlass_store::environments::EnvironmentRow;
use windlass_wire::{
    api::service::{Service, TaskRun},
    automation::{Ask, Told, Wish},
};

use crate::{
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
    views::{automation::strange, environments::find_to_use},
    ways::automation::ask,
};

/// The most bytes of a name, as `.windlass/environment.yaml` has them.
const NAME: usize = 64;

/// Wants something of a service, and waits until it is so or will not be soon.
///
/// # Errors
/// There is none of that name; what it depends on is not ready; somebody else's environment, or one that
/// does not run; the store's failures.
pub async fn wish(
    app: &AppState,
    principal: &Principal,
    name: &str,
    service: &str,
    wish: Wish,
) -> Result<Service, Problem> {
    let row = find_to_use(app, principal, name).await?;
    let service = named(service, "service")?;
    let steer = match wish {
        Wish::Start => Steer::Start { service: service.clone() },
        Wish::Stop => Steer::Stop { service: service.clone() },
        Wish::Restart => Steer::Restart { service: service.clone() },
    };
    note(app, principal, &row, steer).await?;
    match ask(app, &row, &Ask::Service { name: service, wish }).await? {
        (Told::Service { service }, _) => Ok(service),
        _ => Err(strange()),
    }
}

/// Runs a task, after what it depends on. One that runs is left alone.
///
/// # Errors
/// As [`wish`].
pub async fn run(
    app: &AppState,
    principal: &Principal,
    name: &str,
    task: &str,
) -> Result<TaskRun, Problem> {
    let row = find_to_use(app, principal, name).await?;
    let task = named(task, "task")?;
    note(app, principal, &row, Steer::Run { task: task.clone() }).await?;
    match ask(app, &row, &Ask::Run { task }).await? {
        (Told::Run { run }, _) => Ok(run),
        _ => Err(strange()),
    }
}

/// A name that a file could have.
fn named(name: &str, kind: &str) -> Result<String, Problem> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if !name.is_empty() && name.len() <= NAME && name.chars().all(is_plain) {
        return Ok(name.to_owned());
    }
    let name: String = name.chars().take(NAME).collect();
    Err(Problem::not_found(format!("{kind} {name}")))
}

async fn note(
    app: &AppState,
    principal: &Principal,
    row: &EnvironmentRow,
    steer: Steer,
) -> Result<(), Problem> {
    let noted = app.store().command_environment(
        principal.by(),
        row.organisation_id.clone(),
        row.id.clone(),
        Command::Steer { steer },
        Limits::default(),
        app.now(),
    );
    let refused = |refusal: windlass_run::environment::Refusal| {
        Problem::new(Code::EnvironmentState, refusal.to_string())
    };
    noted.await?.map(drop).map_err(refused)
}
