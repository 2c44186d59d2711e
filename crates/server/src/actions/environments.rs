//! Creating environments that live by themselves, and saying what they shall be. Each command says
//! what is wanted; the runner that keeps the environment brings it there.

use windlass_policy::network;
use windlass_run::{
    Duration, EnvironmentId,
    environment::{Command, IDLE, Phase, Spec},
};
use windlass_store::environments::{EnvironmentRow, NewEnvironment as NewRow, Work};
use windlass_wire::api::environment::{Environment, NewEnvironment};

use super::secrets::user_of;
use crate::{
    auth::Principal,
    local,
    problem::{Code, Problem},
    state::AppState,
    views::{
        classes::chosen,
        environments as views,
        projects::{find as find_project, settings},
    },
};

/// Creates an environment. It starts as soon as a runner has room.
///
/// # Errors
/// A project, branch, name, host or span that can't be; a name that is taken; a limit that is
/// reached; the store's failures.
pub async fn create(
    app: &AppState,
    principal: &Principal,
    new: NewEnvironment,
) -> Result<Environment, Problem> {
    let project = find_project(app, principal, &new.project).await;
    let project = project.map_err(|problem| problem.at("project"))?;
    let base = new.base.clone().or_else(|| project.default_branch.clone()).ok_or_else(|| {
        Problem::new(Code::BadRequest, "the project has no default branch: say which").at("ref")
    })?;
    if project.forge == local::FORGE {
        let there = local::require_branch(app, &project, &base).await;
        there.map_err(|problem| problem.at("ref"))?;
    }
    let layer = network::LayerText { allow: Some(new.network.clone()), deny: Vec::new() };
    network::Network::nothing()
        .with_layer(network::Layer::Job, &layer)
        .map_err(|error| Problem::new(Code::BadRequest, error.to_string()).at("network"))?;
    let name = new.name.clone().unwrap_or_else(|| name_for(&project.name, app.random()));
    let wants = settings(&project);
    let (class, runs_on) = chosen(
        app,
        &principal.organisation_id,
        new.class.as_deref(),
        wants.class.as_deref(),
        &new.runs_on,
    )
    .await?;
    let spec = Spec {
        name,
        project_id: project.id.clone(),
        base,
        network: new.network,
        idle: idle(new.idle_minutes.or(wants.idle_minutes)),
        life: new.life_hours.map(|hours| span(hours, 3_600)),
        forked: None,
        runs_on,
        class,
        archive: archive(app, wants.archive_days),
    };
    keep(app, principal, spec).await
}

/// Creates an environment that begins with the work tree of another one as it is now. It is made on the
/// same runner.
///
/// # Errors
/// There is none, or none to be used; a name that can't be or is taken; a limit that is reached; the
/// store's failures.
pub async fn fork(
    app: &AppState,
    principal: &Principal,
    from: &str,
    name: Option<String>,
) -> Result<Environment, Problem> {
    let from = views::find_to_use(app, principal, from).await?;
    let why = match (&from.state.deletion, &from.state.runner_id) {
        (Some(_), _) => Some("is being deleted: have it back first"),
        (None, None) => Some("has no work tree yet: it waits for a runner"),
        (None, Some(_)) => None,
    };
    if let Some(why) = why {
        let why = format!("the environment {} {why}", from.state.spec.name);
        return Err(Problem::new(Code::EnvironmentState, why));
    }
    let project = app.project_name(&principal.organisation_id, &from.state.spec.project_id).await;
    let name = name.unwrap_or_else(|| name_for(&project, app.random()));
    let spec = Spec { name, forked: Some(from.id), ..from.state.spec };
    keep(app, principal, spec).await
}

async fn keep(app: &AppState, principal: &Principal, spec: Spec) -> Result<Environment, Problem> {
    spec.check()
        .map_err(|invalid| Problem::new(Code::BadRequest, invalid.why.clone()).at(invalid.field))?;
    let now = app.now();
    let row = NewRow {
        id: EnvironmentId::new(now, app.random()),
        organisation_id: principal.organisation_id.clone(),
        owner: owner_of(app, principal).await?,
        spec,
    };
    let created =
        app.store().create_environment(principal.by(), row, app.environment_limits(), now);
    let created = created.await.map_err(|error| match &error {
        windlass_store::Error::Conflict { .. } => {
            Problem::new(Code::NameTaken, error.to_string()).at("name")
        }
        _ => limited(error),
    })?;
    app.environments().changed();
    views::shown(app, principal, &created).await
}

/// Says what an environment shall be.
///
/// # Errors
/// It is not there, somebody else's, or in a phase in which that makes no sense; a limit that is
/// reached; the store's failures.
pub async fn command(
    app: &AppState,
    principal: &Principal,
    name: &str,
    command: Command,
) -> Result<Environment, Problem> {
    let row = views::find_to_use(app, principal, name).await?;
    let row = give(app, principal, &row.id, command).await?;
    app.environments().changed();
    if row.state.phase != Phase::Running {
        app.admission_narrows();
    }
    views::shown(app, principal, &row).await
}

/// Gives a command to an environment that the principal may use.
///
/// # Errors
/// It is refused; a limit that is reached; the store's failures.
pub(crate) async fn give(
    app: &AppState,
    principal: &Principal,
    id: &EnvironmentId,
    command: Command,
) -> Result<EnvironmentRow, Problem> {
    let given = app.store().command_environment(
        principal.by(),
        principal.organisation_id.clone(),
        id.clone(),
        command,
        app.environment_limits(),
        app.now(),
    );
    let given = given.await.map_err(limited)?;
    given.map_err(|refusal| Problem::new(Code::EnvironmentState, refusal.to_string()))
}

/// Why somebody's stop was a stop, for a person.
pub(crate) fn stopped_by(principal: &Principal) -> String {
    format!("{} stopped it.", principal.name)
}

/// What is kept of an environment's work.
///
/// # Errors
/// It is not there or somebody else's; nothing is kept; the store's failures.
pub async fn work(app: &AppState, principal: &Principal, name: &str) -> Result<Work, Problem> {
    let row = views::find_to_use(app, principal, name).await?;
    let kept = app.store().environment_work(&principal.organisation_id, &row.id).await?;
    kept.ok_or_else(|| {
        let why = "no work is kept of this environment: it is taken at each stop, where there is \
                   some that no repository has";
        Problem::new(Code::NotFound, why)
    })
}

/// Whose limits a principal's environments count against: a token that a user made acts for them.
pub(crate) async fn owner_of(app: &AppState, principal: &Principal) -> Result<String, Problem> {
    use windlass_run::actor::Actor;
    if let Some(user_id) = user_of(app, &principal.actor).await? {
        return Ok(user_id.to_string());
    }
    Ok(match &principal.actor {
        Actor::User(id) => id.to_string(),
        Actor::Token(id) => id.to_string(),
        Actor::Runner(id) => id.to_string(),
        Actor::System(name) => name.clone(),
    })
}

fn limited(error: windlass_store::Error) -> Problem {
    match &error {
        windlass_store::Error::Invalid { .. } => {
            Problem::new(Code::LimitReached, error.to_string())
        }
        _ => error.into(),
    }
}

fn idle(minutes: Option<u64>) -> Option<Duration> {
    match minutes {
        None => Some(IDLE),
        Some(0) => None,
        Some(minutes) => Some(span(minutes, 60)),
    }
}

/// How long an environment stays stopped before it is archived.
fn archive(app: &AppState, days: Option<u64>) -> Option<Duration> {
    match days {
        None => app.archive_after(),
        Some(0) => None,
        Some(days) => Some(span(days, 24 * 3_600)),
    }
}

/// So many units of so many seconds; what is longer than can be is found by the check of the spec.
fn span(count: u64, seconds: i64) -> Duration {
    let most = i64::MAX / 2_000_000 / seconds;
    Duration::from_secs(i64::try_from(count).unwrap_or(most).min(most) * seconds)
}

/// A name for an environment of a project: what is left of the project's name, and a few letters.
fn name_for(project: &str, random: u128) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = project.chars().map(plain).take(40).collect();
    let name = name.trim_matches('-').trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let name = if name.is_empty() { "environment" } else { name };
    format!("{name}-{:05x}", random & 0xf_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_whatever_the_project_is_called() {
        let names = ["billing", "My.API_2", "42", "-x-"].map(|name| name_for(name, 0xabc));
        assert_eq!(names, ["billing-00abc", "my-api-2-00abc", "environment-00abc", "x-00abc"]);
    }

    #[test]
    fn a_span_beyond_all_measure_is_long_and_not_negative() {
        assert!(span(u64::MAX, 3_600).as_micros() > 0);
        assert_eq!(idle(Some(0)), None);
        assert_eq!(idle(Some(5)), Some(Duration::from_secs(300)));
    }
}
