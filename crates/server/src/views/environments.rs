//! Environments that live by themselves, as people see them.

use windlass_policy::permission::Action;
use windlass_run::{
    EnvironmentId, class,
    environment::{Edit, Event, Phase, Steer, Way},
};
use windlass_store::environments::{EnvironmentRow, Wanted};
use windlass_wire::api::{
    Page,
    environment::{Environment, EnvironmentsQuery, Happening, Stage, Unpushed},
};

use super::{classes, cursor_number, micros, page_size, projects};
use crate::{
    actions::environments::owner_of,
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
};

/// What a phase can be called.
const PHASES: [&str; 10] = [
    "creating", "starting", "running", "stopping", "stopped", "archived", "lost", "failed",
    "deleting", "deleted",
];

/// Environments, the newest first.
///
/// # Errors
/// A query that can't be read; the store's failures.
pub async fn list(
    app: &AppState,
    principal: &Principal,
    query: EnvironmentsQuery,
) -> Result<Page<Environment>, Problem> {
    let limit = page_size(query.limit)?;
    if let Some(phase) = query.phase.as_deref().filter(|phase| !PHASES.contains(phase)) {
        let phase: String = phase.chars().take(32).collect();
        let why = format!("`{phase}` is not a phase: use one of {}", PHASES.join(", "));
        return Err(Problem::new(Code::BadRequest, why).at("phase"));
    }
    let project_id = match &query.project {
        Some(project) => Some(projects::find(app, principal, project).await?.id),
        None => None,
    };
    let owner = match query.mine {
        true => Some(owner_of(app, principal).await?),
        false => None,
    };
    let before = cursor_number(query.cursor.as_deref())?;
    let wanted = Wanted { owner, project_id, phase: query.phase, all: query.all, before };
    let rows = app.store().environments(&principal.organisation_id, wanted, limit).await?;
    let is_full = rows.len() == limit as usize;
    let next = rows.last().filter(|_| is_full).map(|row| row.number.to_string());
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        items.push(shown(app, principal, row).await?);
    }
    Ok(Page { items, next })
}

/// One environment by its id or name.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn one(
    app: &AppState,
    principal: &Principal,
    name: &str,
) -> Result<Environment, Problem> {
    shown(app, principal, &find(app, principal, name).await?).await
}

/// The end of the log of an environment's last start. Redacted.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn log(app: &AppState, principal: &Principal, name: &str) -> Result<String, Problem> {
    Ok(find(app, principal, name).await?.report.log)
}

/// What happened to an environment, the newest first: its last 200 decisions.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn journal(
    app: &AppState,
    principal: &Principal,
    name: &str,
) -> Result<Vec<Happening>, Problem> {
    let row = find(app, principal, name).await?;
    let entries = app.store().environment_journal(&principal.organisation_id, &row.id).await?;
    let mut happenings = Vec::new();
    for entry in entries.iter().rev().take(200) {
        let by = app.who(&entry.by.actor).await;
        for what in entry.events.iter().rev().filter_map(in_words) {
            happenings.push(Happening { at: entry.at.as_micros(), by: by.clone(), what });
        }
    }
    Ok(happenings)
}

/// An event for a person; absent where it says nothing that another does not.
fn in_words(event: &Event) -> Option<String> {
    Some(match event {
        Event::Created { .. } => "created it".to_owned(),
        Event::Placed { .. } => "took it on".to_owned(),
        Event::Wanted { wanted: windlass_run::environment::Wanted::Running } => {
            "wanted it to run".to_owned()
        }
        Event::Wanted { .. } | Event::Active { .. } => return None,
        Event::Moved { phase } => match phase.reason() {
            Some(reason) => format!("{}: {reason}", phase.name()),
            None => phase.name().to_owned(),
        },
        Event::Unpushed { found: Some(found) } => {
            format!("kept the work in {} files that no repository has", found.files)
        }
        Event::Unpushed { found: None } => "found no work that no repository has".to_owned(),
        Event::Deleted(_) => "deleted it".to_owned(),
        Event::Undeleted => "had it back".to_owned(),
        Event::Recovering { reason: Some(reason) } => {
            format!("started it without what the repository says of it: {reason}")
        }
        Event::Recovering { reason: None } => {
            "started it with what the repository says of it".to_owned()
        }
        Event::Entered { way } => match way {
            Way::Exec => "executed a program".to_owned(),
            Way::Terminal => "opened a terminal in a page".to_owned(),
            Way::Ssh => "connected by SSH".to_owned(),
            Way::Port { port } => format!("went to port {port}"),
            Way::Files => "looked at its files".to_owned(),
        },
        Event::Steered { steer } => match steer {
            Steer::Start { service } => format!("started the service {service}"),
            Steer::Stop { service } => format!("stopped the service {service}"),
            Steer::Restart { service } => format!("restarted the service {service}"),
            Steer::Run { task } => format!("ran the task {task}"),
        },
        Event::ServiceEnded { ended } => {
            let row = match ended.in_a_row {
                0 | 1 => String::new(),
                n => format!(", {n} times in a row"),
            };
            let next = if ended.again { "; it starts again" } else { "" };
            format!("saw the service {} end: {}{row}{next}", ended.name, ended.how)
        }
        Event::Edited { edit } => match edit {
            Edit::Made { path } => format!("made the file {path}"),
            Edit::Wrote { path } => format!("wrote the file {path}"),
            Edit::MadeFolder { path } => format!("made the folder {path}"),
            Edit::Renamed { from, path } => format!("renamed {from} to {path}"),
            Edit::Removed { path } => format!("removed {path}"),
        },
        Event::Published(published) => {
            let name = published.name.as_deref().map(|name| format!(" ({name})"));
            let name = name.unwrap_or_default();
            format!("published port {}{name} for {}", published.port, published.admission.name())
        }
        Event::Unpublished { port } => format!("closed port {port}"),
    })
}

/// One environment by its id or name, as it is stored.
pub(crate) async fn find(
    app: &AppState,
    principal: &Principal,
    name: &str,
) -> Result<EnvironmentRow, Problem> {
    let organisation_id = &principal.organisation_id;
    let found = match EnvironmentId::parse(name) {
        Ok(id) => app.store().environment(organisation_id, &id).await,
        Err(_) => app.store().environment_named(organisation_id, name).await,
    };
    match found {
        Err(windlass_store::Error::NotFound { .. }) => {
            let name: String = name.chars().take(64).collect();
            Err(Problem::not_found(format!("environment {name}")))
        }
        other => Ok(other?),
    }
}

/// One environment by its id or name, if this principal may use it.
///
/// # Errors
/// It is not there, or somebody else's.
pub(crate) async fn find_to_use(
    app: &AppState,
    principal: &Principal,
    name: &str,
) -> Result<EnvironmentRow, Problem> {
    let row = find(app, principal, name).await?;
    if is_yours(app, principal, &row).await? {
        return Ok(row);
    }
    let owner = app.who(&row.state.by.actor).await.name;
    let why = format!(
        "the environment {} is {owner}'s: only they and admins may use it",
        row.state.spec.name
    );
    Err(Problem::new(Code::Forbidden, why))
}

async fn is_yours(
    app: &AppState,
    principal: &Principal,
    row: &EnvironmentRow,
) -> Result<bool, Problem> {
    if principal.may(Action::ManageEnvironments) {
        return Ok(true);
    }
    Ok(principal.may(Action::UseEnvironments) && owner_of(app, principal).await? == row.owner)
}

/// An environment as the API gives it.
pub(crate) async fn shown(
    app: &AppState,
    principal: &Principal,
    row: &EnvironmentRow,
) -> Result<Environment, Problem> {
    let (state, spec) = (&row.state, &row.state.spec);
    let project = app.store().project(&principal.organisation_id, &spec.project_id).await?;
    let runner = match &state.runner_id {
        Some(id) => {
            let name = app.store().runner_name(&principal.organisation_id, id).await?;
            Some(name.unwrap_or_else(|| id.to_string()))
        }
        None => None,
    };
    let unpushed = |found: &windlass_run::environment::Unpushed| Unpushed {
        commit: found.commit.clone(),
        files: found.files,
    };
    let is_deleting = state.phase.name() == "deleting";
    let undo_until =
        state.deletion.as_ref().filter(|_| is_deleting).map(|d| d.purge_at.as_micros());
    let minutes = |idle: windlass_run::Duration| {
        u64::try_from(idle.as_micros() / 60_000_000).unwrap_or_default()
    };
    Ok(Environment {
        id: row.id.clone(),
        name: spec.name.clone(),
        project_id: spec.project_id.clone(),
        project: project.name,
        base: spec.base.clone(),
        phase: state.phase.name().to_owned(),
        reason: match &state.phase {
            Phase::Creating => Some(super::runners::unplaced(app, principal, &spec.runs_on).await?),
            other => other.reason().map(str::to_owned),
        },
        recovery: state.recovery.clone(),
        generation: state.generation,
        owner: app.who(&state.by.actor).await,
        yours: is_yours(app, principal, row).await?,
        network: spec.network.clone(),
        runner,
        created_at: state.created_at.as_micros(),
        changed_at: row.changed_at.as_micros(),
        running_since: micros(state.running_since),
        active_at: state.active_at.as_micros(),
        idle_minutes: spec.idle.map(minutes),
        lives_until: micros(state.lives_until()),
        unpushed: state.unpushed.as_ref().map(unpushed),
        undo_until,
        start: row
            .report
            .stages
            .iter()
            .map(|(name, micros)| Stage { name: name.clone(), micros: *micros })
            .collect(),
        start_from: row.report.from.map(|from| from.name().to_owned()),
        class: spec.class.as_ref().map_or(class::DEFAULT, |class| &class.name).to_owned(),
        runs_on: spec.runs_on.iter().map(str::to_owned).collect(),
        limits: row.report.limits.iter().map(classes::limit).collect(),
        archive_days: spec.archive.map(|archive| minutes(archive).div_ceil(24 * 60)),
    })
}
