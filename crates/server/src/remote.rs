//! Projects whose pull requests are at a host on the network (GitHub). The host's token is sealed at
//! rest, opened only where it is used, and given to the runner that holds a job's lease, whose git
//! door keeps it outside of the environment.

pub(crate) mod pulls;

use std::{sync::Arc, time::Duration};

use windlass_forge::{
    Forge, RepositoryAddress, RepositoryName,
    hosts::github::{self, GitHub},
};
use windlass_run::actor::By;
use windlass_store::projects::Project;
use windlass_wire::{api::project::Source, runner::Repository};

use crate::{
    local,
    problem::{Code, Problem},
    secret::Secret,
    state::AppState,
    views,
};

/// How a project says that its pull requests are on GitHub.
pub(crate) const GITHUB: &str = "github";

/// The name of the sealed token of a project.
pub(crate) const TOKEN: &str = "token";

/// The name of the sealed secret of a project's webhook.
pub(crate) const WEBHOOK: &str = "webhook";

/// Who hosts the pull requests of such a source.
pub(crate) fn forge(source: &Source) -> &'static str {
    match source {
        Source::Path { .. } | Source::Url { .. } => local::FORGE,
        Source::Github { .. } => GITHUB,
    }
}

/// What a host says of a repository.
pub(crate) struct Inspected {
    /// Where git reads and writes it, without a credential.
    pub(crate) clone_url: String,
    /// Its default branch.
    pub(crate) default_branch: String,
}

/// Where a repository on GitHub is, in the one form that is stored.
pub(crate) fn address(repository: &str, api_url: Option<&str>) -> Result<String, Problem> {
    let name = parse_name(repository)?;
    let root = match api_url {
        None => "https://github.com".to_owned(),
        Some(api_url) => web_root(api_url)?,
    };
    Ok(format!("{root}/{name}.git"))
}

/// Asks the host for a repository, with the token that is to be kept.
pub(crate) async fn inspect(
    app: &AppState,
    source: &Source,
    token: &Secret,
) -> Result<Inspected, Problem> {
    let (repository, api_url) = at_github(source)?;
    let name = parse_name(repository)?;
    let client = client(app, api_url, token)?;
    let found = client.repository(&name).await.map_err(problem)?;
    if found.archived {
        return Err(Problem::new(
            Code::Conflict,
            format!("{name} is archived: it takes no changes"),
        ));
    }
    if found.can_push == Some(false) {
        let why = format!("the token may not push to {name}: give it write access to contents");
        return Err(Problem::new(Code::CredentialRefused, why).at("token"));
    }
    Ok(Inspected { clone_url: address(repository, api_url)?, default_branch: found.default_branch })
}

/// Seals a secret of a project.
pub(crate) async fn keep_secret(
    app: &AppState,
    by: By,
    project: &Project,
    name: &str,
    secret: &Secret,
) -> Result<(), Problem> {
    let sealed = app.sealer().seal(&place(project, name), secret).into_bytes();
    app.store()
        .seal_secret(
            by,
            project.organisation_id.clone(),
            project.id.clone(),
            name.to_owned(),
            sealed,
            app.now(),
        )
        .await?;
    Ok(())
}

/// Opens a secret of a project; absent if there is none of that name.
pub(crate) async fn secret(
    app: &AppState,
    project: &Project,
    name: &str,
) -> Result<Option<Secret>, Problem> {
    let sealed = app.store().sealed_secret(&project.organisation_id, &project.id, name).await?;
    let Some(sealed) = sealed else { return Ok(None) };
    let sealed = String::from_utf8(sealed)
        .map_err(|error| Problem::internal("read a sealed secret", error))?;
    app.sealer()
        .open_sealed(&place(project, name), &sealed)
        .map(Some)
        .map_err(|error| Problem::internal("open a sealed secret", error))
}

/// The branch that a task is meant for. Whether it is there is seen by the runner.
pub(crate) fn base(project: &Project, wanted: Option<String>) -> Result<String, Problem> {
    wanted.or_else(|| project.default_branch.clone()).ok_or_else(|| {
        Problem::new(Code::MissingBranch, "say which branch the change is meant for").at("base")
    })
}

/// Where people see a pull request at the host.
pub(crate) fn page(project: &Project, number: u64) -> String {
    let root = project.source.strip_suffix(".git").unwrap_or(&project.source);
    format!("{root}/pull/{number}")
}

/// A job's repository, for the runner that holds its lease.
pub(crate) async fn repository(
    app: &AppState,
    project: &Project,
    branches: Vec<String>,
) -> Result<Repository, Problem> {
    let token = token(app, project).await?;
    Ok(Repository {
        project_id: project.id.clone(),
        name: project.name.clone(),
        url: project.source.clone(),
        username: "x-access-token".to_owned(),
        credential: token.expose().to_owned(),
        branches,
    })
}

/// The host of a project and the repository's name there.
pub(crate) async fn host(
    app: &AppState,
    project: &Project,
) -> Result<(Box<dyn Forge>, RepositoryName), Problem> {
    let source = views::projects::source(project);
    let (repository, api_url) = at_github(&source)?;
    let token = token(app, project).await?;
    Ok((client(app, api_url, &token)?, parse_name(repository)?))
}

pub(crate) async fn token(app: &AppState, project: &Project) -> Result<Secret, Problem> {
    secret(app, project, TOKEN).await?.ok_or_else(|| {
        Problem::new(Code::CredentialRefused, format!("the project {} has no token", project.name))
    })
}

fn at_github(source: &Source) -> Result<(&str, Option<&str>), Problem> {
    match source {
        Source::Github { repository, api_url } => Ok((repository, api_url.as_deref())),
        Source::Path { .. } | Source::Url { .. } => {
            Err(Problem::new(Code::Conflict, "the project's pull requests are on the local forge"))
        }
    }
}

fn place(project: &Project, name: &str) -> String {
    format!("{}/{name}", project.id)
}

fn parse_name(repository: &str) -> Result<RepositoryName, Problem> {
    RepositoryName::parse(repository)
        .map_err(|_| Problem::new(Code::BadRequest, "write OWNER/NAME").at("source.repository"))
}

/// The root of an Enterprise Server's pages, from the base URL of its API (`https://HOST/api/v3`).
fn web_root(api_url: &str) -> Result<String, Problem> {
    let root = api_url.trim_end_matches('/');
    let root = root.strip_suffix("/api/v3").unwrap_or(root);
    let probe = RepositoryAddress::parse(&format!("{root}/owner/name"));
    match probe {
        Ok(address) if address.web_root() == root => Ok(root.to_owned()),
        Ok(_) | Err(_) => {
            let why = "write the base URL of the API, as in https://git.example.com/api/v3";
            Err(Problem::new(Code::BadRequest, why).at("source.api_url"))
        }
    }
}

/// What a host says when it does not do what was asked.
pub(crate) fn problem(error: windlass_forge::Error) -> Problem {
    use windlass_forge::Error;
    let detail = error.to_string();
    let code = match &error {
        Error::NotFound { .. } => Code::NotFound,
        Error::Forbidden { .. } => Code::CredentialRefused,
        Error::Conflict { .. } | Error::Invalid { .. } => Code::Conflict,
        Error::RateLimited { .. } => Code::RateLimited,
        Error::Unavailable { .. } => Code::ForgeUnavailable,
    };
    Problem::new(code, detail).because(error)
}

fn client(
    app: &AppState,
    api_url: Option<&str>,
    token: &Secret,
) -> Result<Box<dyn Forge>, Problem> {
    let clock = app.clock();
    let options = github::Options {
        api_root: api_url.unwrap_or("https://api.github.com").trim_end_matches('/').to_owned(),
        token: token.expose().to_owned(),
        clock: Arc::new(move || clock().as_micros()),
        time_limit: Duration::from_secs(60),
    };
    Ok(Box::new(GitHub::new(options).map_err(problem)?))
}
