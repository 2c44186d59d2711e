//! Adding and removing projects.

use std::path::Path;

use windlass_git::Address;
use windlass_policy::network;
use windlass_run::ProjectId;
use windlass_store::projects::Project as Stored;
use windlass_wire::api::project::{ChangeSettings, NewProject, Project, Settings, Source};

use super::accounts::name_taken;
use crate::{
    auth::Principal,
    local,
    problem::{Code, Problem},
    remote,
    secret::Secret,
    state::AppState,
    views::{self, projects::project},
};

/// A project that is there now.
pub struct Added {
    /// The project.
    pub project: Project,
    /// False if it was there before: the same name and source.
    pub is_fresh: bool,
}

/// Adds a project. Its repository is read first, so that one that can't be used is refused here. The
/// same name and source again give the project that is there.
///
/// # Errors
/// A name that does not hold or is taken, a source that can't be used; the store's failures.
pub async fn add(app: &AppState, principal: &Principal, new: NewProject) -> Result<Added, Problem> {
    let address = address(&new.source)?;
    let name = match &new.name {
        Some(name) => check_name(name.clone())?,
        None => check_name(name_of(&address))?,
    };
    let found = match views::projects::find(app, principal, &name).await {
        Ok(found) => Some(found),
        Err(problem) if problem.code == Code::NotFound => None,
        Err(problem) => return Err(problem),
    };
    if let Some(found) = found {
        if found.source == address {
            return Ok(Added { project: project(app, &found), is_fresh: false });
        }
        let why = format!("there is a project {name} already, from {}", found.source);
        return Err(Problem::new(Code::NameTaken, why).at("name"));
    }
    let now = app.now();
    let row = Stored {
        id: ProjectId::new(now, app.random()),
        organisation_id: principal.organisation_id.clone(),
        name,
        forge: remote::forge(&new.source).to_owned(),
        source: address,
        default_branch: new.default_branch.clone(),
        settings: serde_json::json!({ "source": new.source }),
        created_at: now,
        archived_at: None,
    };
    let added = match row.forge.as_str() {
        local::FORGE => add_local(app, principal, row).await,
        _ => add_remote(app, principal, row, new).await,
    };
    let row = added.map_err(|problem| match problem.code {
        Code::NameTaken | Code::MissingBranch | Code::CredentialRefused => problem,
        _ => problem.at("source"),
    })?;
    Ok(Added { project: project(app, &row), is_fresh: true })
}

/// Removes a project. Its runs stay; its copy of the repository goes with the next cleaning.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn remove(app: &AppState, principal: &Principal, name: &str) -> Result<(), Problem> {
    let mut row = views::projects::find(app, principal, name).await?;
    let now = app.now();
    row.archived_at = Some(now);
    app.store().update_project(principal.by(), row, now).await?;
    app.nudge();
    Ok(())
}

/// The longest time between two prebuilds by the clock, and the shortest.
const EVERY: std::ops::RangeInclusive<u64> = 5..=43_200;
/// The most environments that a project may want ahead on each runner.
const LARGEST_POOL: u32 = 64;
/// The longest time until one that is stopped is archived, in days.
const LONGEST_ARCHIVE: u64 = 3_650;
/// The longest idle time, in minutes: a year.
const LONGEST_IDLE: u64 = 525_600;

/// Changes what a project wants of its environments.
///
/// # Errors
/// A span or a host that can't be; it is not there; the store's failures.
pub async fn change(
    app: &AppState,
    principal: &Principal,
    name: &str,
    change: ChangeSettings,
) -> Result<Project, Problem> {
    let mut row = views::projects::find(app, principal, name).await?;
    let mut settings = views::projects::settings(&row);
    if let Some(on_push) = change.prebuild_on_push {
        settings.prebuild_on_push = on_push;
    }
    if let Some(minutes) = change.prebuild_every_minutes {
        if minutes != 0 && !EVERY.contains(&minutes) {
            let why = "give 5 to 43200 minutes, or 0 for never";
            return Err(Problem::new(Code::BadRequest, why).at("prebuild_every_minutes"));
        }
        settings.prebuild_every_minutes = (minutes != 0).then_some(minutes);
    }
    if let Some(hosts) = change.prebuild_network {
        let layer = network::LayerText { allow: Some(hosts.clone()), deny: Vec::new() };
        network::Network::nothing().with_layer(network::Layer::Job, &layer).map_err(|error| {
            Problem::new(Code::BadRequest, error.to_string()).at("prebuild_network")
        })?;
        settings.prebuild_network = hosts;
    }
    if let Some(minutes) = change.idle_minutes {
        if minutes > LONGEST_IDLE {
            let why = "give at most 525600 minutes, or 0 for never";
            return Err(Problem::new(Code::BadRequest, why).at("idle_minutes"));
        }
        settings.idle_minutes = Some(minutes);
    }
    pool(&mut settings, change.pool_min, change.pool_max)?;
    if let Some(days) = change.archive_days {
        if days > LONGEST_ARCHIVE {
            let why = "give at most 3650 days, or 0 for never";
            return Err(Problem::new(Code::BadRequest, why).at("archive_days"));
        }
        settings.archive_days = Some(days);
    }
    if let Some(labels) = change.labels {
        let labels = windlass_run::Labels::new(labels)
            .map_err(|error| Problem::new(Code::BadRequest, error.to_string()).at("labels"))?;
        settings.labels = labels.iter().map(str::to_owned).collect();
    }
    if let Some(name) = change.class {
        let class = views::classes::find(app, &principal.organisation_id, &name).await;
        let class = class.map_err(|problem| match problem.code {
            Code::NotFound => Problem::new(Code::BadRequest, problem.detail).at("class"),
            _ => problem,
        })?;
        settings.class = (class.name != windlass_run::class::DEFAULT).then_some(class.name);
    }
    row.settings[views::projects::WANTS] = serde_json::to_value(&settings)
        .map_err(|error| Problem::internal("keep the settings of a project", error))?;
    app.store().update_project(principal.by(), row.clone(), app.now()).await?;
    app.nudge();
    Ok(project(app, &row))
}

/// How many environments are kept ahead.
fn pool(settings: &mut Settings, min: Option<u32>, max: Option<u32>) -> Result<(), Problem> {
    let min = min.or(settings.pool_min).unwrap_or(0);
    let max = match max {
        None => settings.pool_max,
        Some(max) => (max <= LARGEST_POOL).then_some(max),
    };
    if min > LARGEST_POOL || max.is_some_and(|max| min > max) {
        let why = match max {
            Some(max) if min > max => format!("at least {min} and at most {max} can't both be"),
            Some(_) | None => format!("give at most {LARGEST_POOL}"),
        };
        return Err(Problem::new(Code::BadRequest, why).at("pool_min"));
    }
    settings.pool_min = (min != 0).then_some(min);
    settings.pool_max = max;
    Ok(())
}

async fn add_local(
    app: &AppState,
    principal: &Principal,
    mut row: Stored,
) -> Result<Stored, Problem> {
    let made = async {
        let refreshed = local::refresh(app, &row).await?;
        if let Some(branch) = &row.default_branch {
            local::require_branch(app, &row, branch)
                .await
                .map_err(|problem| problem.at("default_branch"))?;
        }
        row.default_branch = refreshed.default_branch;
        app.store().create_project(principal.by(), row.clone()).await.map_err(name_taken)?;
        Ok(())
    };
    let made = made.await;
    if made.is_err() {
        let directory = local::directory(app, &row.id);
        if let Err(error) = tokio::fs::remove_dir_all(&directory).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, directory = %directory.display(), "failed to remove a copy");
        }
    }
    made.map(|()| row)
}

async fn add_remote(
    app: &AppState,
    principal: &Principal,
    mut row: Stored,
    new: NewProject,
) -> Result<Stored, Problem> {
    let Some(token) = new.token else {
        let why = "a project on GitHub needs a token that may push and open pull requests";
        return Err(Problem::new(Code::CredentialRefused, why).at("token"));
    };
    let token = Secret::from(token);
    let found = remote::inspect(app, &new.source, &token).await?;
    row.source = found.clone_url;
    row.default_branch = row.default_branch.or(Some(found.default_branch));
    app.store().create_project(principal.by(), row.clone()).await.map_err(name_taken)?;
    remote::keep_secret(app, principal.by(), &row, remote::TOKEN, &token).await?;
    if let Some(secret) = new.webhook_secret {
        remote::keep_secret(app, principal.by(), &row, remote::WEBHOOK, &Secret::from(secret))
            .await?;
    }
    Ok(row)
}

/// Where the repository is, as it is stored: in one form, so that it can be compared.
fn address(source: &Source) -> Result<String, Problem> {
    match source {
        Source::Path { path } => {
            let path = Path::new(path);
            if !path.is_absolute() {
                let why = "give an absolute path on the server's machine";
                return Err(Problem::new(Code::BadRequest, why).at("source.path"));
            }
            let found = path.canonicalize().map_err(|error| {
                let why = format!("{} can't be read: {error}", path.display());
                Problem::new(Code::NotARepository, why).at("source.path")
            })?;
            let text = found.to_str().ok_or_else(|| {
                Problem::new(Code::BadRequest, "a path must be UTF-8").at("source.path")
            })?;
            Ok(text.to_owned())
        }
        Source::Url { url } => match Address::parse(url) {
            Ok(Address::Path(_)) => {
                let why = "that is a path: give it as `path`";
                Err(Problem::new(Code::BadRequest, why).at("source.url"))
            }
            Ok(address) => Ok(address.to_string()),
            Err(error) => Err(Problem::from(error).at("source.url")),
        },
        Source::Github { repository, api_url } => remote::address(repository, api_url.as_deref()),
    }
}

/// The last part of a path or URL, as a name.
fn name_of(address: &str) -> String {
    let address = address.trim_end_matches('/');
    let address = address.strip_suffix("/.git").unwrap_or(address);
    let last = address.rsplit(['/', ':']).next().unwrap_or_default();
    let last = last.strip_suffix(".git").unwrap_or(last);
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    last.chars().map(plain).take(64).collect()
}

/// A name that needs no escaping in a URL or a path: it stands in both.
fn check_name(name: String) -> Result<String, Problem> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_good = (1..=64).contains(&name.len())
        && name.chars().all(is_plain)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !name.ends_with(".git")
        && ProjectId::parse(&name).is_err();
    if is_good {
        return Ok(name);
    }
    let why =
        "a name begins with a letter or digit and has 1 to 64 letters, digits, `-`, `_` and `.`";
    Err(Problem::new(Code::BadRequest, why).at("name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_named_after_the_last_part_of_its_source() {
        let names = [
            "/srv/git/billing.git",
            "/home/ann/my api/",
            "https://git.acme.test/team/web.git",
            "git@git.acme.test:tools",
        ]
        .map(name_of);
        assert_eq!(names, ["billing", "my-api", "web", "tools"]);
    }

    #[test]
    fn a_name_that_would_need_escaping_is_refused() {
        for bad in ["", "a/b", ".hidden", "x.git", "ä", "a b", "<b>"] {
            assert!(check_name(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(check_name("api-2.x_y".to_owned()).is_ok());
    }
}
