//! Making, changing and removing environment classes. What was made with one keeps it as it was then.

use windlass_run::{Class, Labels, class::Backend};
use windlass_wire::api::class::{ChangeClass, EnvironmentClass, NewClass};

use crate::{
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
    views::{classes as views, projects::settings},
};

/// Makes a class.
///
/// # Errors
/// A name that is taken, something that can't be, one too many; the store's failures.
pub async fn create(
    app: &AppState,
    principal: &Principal,
    new: NewClass,
) -> Result<EnvironmentClass, Problem> {
    let empty = Class { name: new.name, ..Class::default() };
    let class = changed(empty, &new.gives)?;
    let (organisation_id, name) = (principal.organisation_id.clone(), class.name.clone());
    let created = app.store().create_class(principal.by(), organisation_id, class, app.now());
    created.await.map_err(|error| match &error {
        windlass_store::Error::Conflict { .. } => {
            Problem::new(Code::NameTaken, error.to_string()).at("name")
        }
        windlass_store::Error::Invalid { .. } => {
            Problem::new(Code::LimitReached, error.to_string())
        }
        _ => error.into(),
    })?;
    views::one(app, principal, &name).await
}

/// Changes a class.
///
/// # Errors
/// It is not there; something that can't be; the store's failures.
pub async fn change(
    app: &AppState,
    principal: &Principal,
    name: &str,
    change: ChangeClass,
) -> Result<EnvironmentClass, Problem> {
    let class = changed(views::find(app, &principal.organisation_id, name).await?, &change)?;
    let organisation_id = principal.organisation_id.clone();
    app.store().change_class(principal.by(), organisation_id, class, app.now()).await?;
    views::one(app, principal, name).await
}

/// Removes a class; `default` becomes what it was before anybody changed it.
///
/// # Errors
/// It is not there, or a project chose it; the store's failures.
pub async fn remove(app: &AppState, principal: &Principal, name: &str) -> Result<(), Problem> {
    let organisation_id = principal.organisation_id.clone();
    let mut after: Option<String> = None;
    loop {
        let projects = app.store().projects(&organisation_id, after.as_deref(), 200).await?;
        let Some(last) = projects.last().map(|project| project.name.clone()) else { break };
        let chose = |project: &&windlass_store::projects::Project| {
            settings(project).class.as_deref() == Some(name)
        };
        if let Some(project) = projects.iter().find(chose) {
            let why = format!(
                "the project {0} has chosen it: windlass project set {0} --class default",
                project.name
            );
            return Err(Problem::new(Code::Conflict, why));
        }
        after = Some(last);
    }
    let removed =
        app.store().remove_class(principal.by(), organisation_id, name.to_owned(), app.now());
    Ok(removed.await?)
}

fn changed(mut class: Class, change: &ChangeClass) -> Result<Class, Problem> {
    let refuse = |why: String, at: &str| Problem::new(Code::BadRequest, why).at(at);
    if let Some(millis) = change.cpu_millis {
        class.cpu_millis = (millis != 0).then_some(millis);
    }
    if let Some(mib) = change.memory_mib {
        class.memory_bytes = bytes(mib).map_err(|why| refuse(why, "memory_mib"))?;
    }
    if let Some(mib) = change.disk_mib {
        class.disk_bytes = bytes(mib).map_err(|why| refuse(why, "disk_mib"))?;
    }
    if let Some(count) = change.processes {
        class.processes = (count != 0).then_some(count);
    }
    class.gpu = change.gpu.unwrap_or(class.gpu);
    if let Some(backend) = &change.backend {
        class.backend = Backend::parse(backend).ok_or_else(|| {
            let backend: String = backend.chars().take(32).collect();
            refuse(format!("`{backend}` is no backend: any, process or oci"), "backend")
        })?;
    }
    if let Some(labels) = &change.runs_on {
        class.runs_on = Labels::new(labels.iter().cloned())
            .map_err(|invalid| refuse(invalid.to_string(), "runs_on"))?;
    }
    class.check().map_err(|invalid| refuse(invalid.why, invalid.field))?;
    Ok(class)
}

/// So many MiB; 0 is nothing said.
fn bytes(mib: u64) -> Result<Option<u64>, String> {
    const MOST: u64 = 1 << 30;
    match mib {
        0 => Ok(None),
        1..=MOST => Ok(Some(mib << 20)),
        _ => Err(format!("give at most {MOST} MiB")),
    }
}
