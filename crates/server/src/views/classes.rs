//! Environment classes, as people see them, and the ones that others are made with.

use windlass_run::{
    Class, Labels, OrganisationId,
    class::{DEFAULT, Limited},
};
use windlass_wire::api::class::{EnvironmentClass, Limit};

use super::runners;
use crate::{
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
};

/// The classes of an organisation, `default` first, then by name.
///
/// # Errors
/// The store's failures.
pub async fn list(app: &AppState, principal: &Principal) -> Result<Vec<EnvironmentClass>, Problem> {
    let classes = all(app, &principal.organisation_id).await?;
    let there = runners::list(app, principal).await?;
    Ok(classes.iter().map(|class| shown(class, &there)).collect())
}

/// One class by its name.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn one(
    app: &AppState,
    principal: &Principal,
    name: &str,
) -> Result<EnvironmentClass, Problem> {
    let class = find(app, &principal.organisation_id, name).await?;
    Ok(shown(&class, &runners::list(app, principal).await?))
}

/// The classes of an organisation as they are, `default` first, then by name.
pub(crate) async fn all(
    app: &AppState,
    organisation_id: &OrganisationId,
) -> Result<Vec<Class>, Problem> {
    let mut classes = app.store().classes(organisation_id).await?;
    if !classes.iter().any(|class| class.name == DEFAULT) {
        classes.push(Class::built_in());
    }
    classes.sort_by_key(|class| (class.name != DEFAULT, class.name.clone()));
    Ok(classes)
}

/// One of them.
pub(crate) async fn find(
    app: &AppState,
    organisation_id: &OrganisationId,
    name: &str,
) -> Result<Class, Problem> {
    let found = all(app, organisation_id).await?.into_iter().find(|class| class.name == name);
    found.ok_or_else(|| {
        let name: String = name.chars().take(64).collect();
        Problem::not_found(format!("class {name}: `windlass class list` shows those that are"))
    })
}

/// What something of an organisation is made with: the class that was asked for, or its project's, or
/// `default`; and what a runner must have, with further labels. Absent: nothing is said of limits.
///
/// # Errors
/// There is no such class; labels that can't be; the store's failures.
pub(crate) async fn chosen(
    app: &AppState,
    organisation_id: &OrganisationId,
    asked: Option<&str>,
    of_project: Option<&str>,
    labels: &[String],
) -> Result<(Option<Class>, Labels), Problem> {
    let name = asked.or(of_project).unwrap_or(DEFAULT);
    let class = find(app, organisation_id, name).await.map_err(|problem| match problem.code {
        Code::NotFound => Problem::new(Code::BadRequest, problem.detail).at("class"),
        _ => problem,
    })?;
    let wrong = |error: windlass_run::labels::InvalidLabels, place| {
        Problem::new(Code::InvalidSpec, error.to_string()).at(place)
    };
    let needs = class.needs().map_err(|error| wrong(error, "class"))?;
    let of_class = needs.iter().map(str::to_owned);
    let labels = Labels::new(labels.iter().cloned().chain(of_class));
    let labels = labels.map_err(|error| wrong(error, "runs_on"))?;
    Ok(((class != Class::built_in()).then_some(class), labels))
}

/// What an environment got, as the API gives it.
pub(crate) fn limit(limited: &Limited) -> Limit {
    Limit {
        what: limited.what.name().to_owned(),
        amount: limited.amount,
        shown: limited.what.amount(limited.amount),
        enforced: limited.enforced,
        how: limited.how.clone(),
    }
}

fn shown(class: &Class, there: &[windlass_wire::api::runner::Runner]) -> EnvironmentClass {
    let needs = class.needs().unwrap_or_default();
    let has_all = |runner: &&windlass_wire::api::runner::Runner| {
        runner.alive && needs.iter().all(|need| runner.labels.iter().any(|label| label == need))
    };
    EnvironmentClass {
        name: class.name.clone(),
        cpu_millis: class.cpu_millis,
        memory_mib: class.memory_bytes.map(|bytes| bytes >> 20),
        disk_mib: class.disk_bytes.map(|bytes| bytes >> 20),
        processes: class.processes,
        gpu: class.gpu,
        backend: class.backend.name().to_owned(),
        runs_on: class.runs_on.iter().map(str::to_owned).collect(),
        needs: needs.iter().map(str::to_owned).collect(),
        runners: there.iter().filter(has_all).map(|runner| runner.name.clone()).collect(),
        waits: runners::nobody_for(there, &needs),
        built_in: *class == Class::built_in(),
    }
}
