//! `/git/PROJECT.git/...`: the repositories of local projects over git's smart protocol. Three sorts of
//! clients:
//!
//! - A job, by a credential that is bound to the job and to its lease's epoch and works while that
//!   lease holds: it fetches its project and pushes its own branches, nothing else.
//! - An environment that lives by itself, by a credential that is bound to its generation and works
//!   while it is wanted to run: it fetches its project.
//! - A person or program, by a service token as the password: it fetches, if its role may look.
//!
//! A job's credential is not stored anywhere: it is a keyed digest of job and epoch, so it can be
//! checked after a restart, and it dies with the epoch.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use windlass_git::{
    RefName,
    receive::{RefPattern, RefRules},
    smart_http::{self, View},
};
use windlass_policy::permission::Action;
use windlass_run::{
    EnvironmentId, JobId, ProjectId,
    environment::Wanted,
    job::{self, Phase},
    spec,
    template::Text,
};
use windlass_store::projects::Project;

use crate::{
    actions::accounts::TOKEN_PREFIX,
    endpoint::{Access, Endpoint},
    local,
    problem::{Code, Problem},
    state::AppState,
};

const PATH: &str = "/git/{*path}";

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(Method::GET, PATH, Access::OwnCredential, handler),
        Endpoint::new(Method::POST, PATH, Access::OwnCredential, handler),
    ]
}

/// The credential of a job's lease for its repository.
pub(crate) fn credential(app: &AppState, job_id: &JobId, epoch: u64) -> String {
    app.sealer().keyed_digest(&format!("git:{job_id}:{epoch}"))
}

/// The credential of an environment for its repository, while it is wanted to run.
pub(crate) fn environment_credential(
    app: &AppState,
    id: &EnvironmentId,
    generation: u64,
) -> String {
    app.sealer().keyed_digest(&format!("git:{id}:{generation}"))
}

async fn handler(State(app): State<AppState>, request: Request) -> Response {
    match serve(&app, request).await {
        Ok(response) => response,
        Err(problem) if problem.code == Code::NotSignedIn => {
            let mut response = problem.into_response();
            let basic = HeaderValue::from_static("Basic realm=\"windlass\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

async fn serve(app: &AppState, request: Request) -> Result<Response, Problem> {
    let client = client(app, request.headers()).await?;
    let path = request.uri().path().to_owned();
    let query = request.uri().query().map(str::to_owned);
    let routed = smart_http::route(request.method(), &path, query.as_deref());
    let not_here = || Problem::new(Code::NotFound, "there is no repository of that name here");
    let (path, endpoint) = routed.ok_or_else(not_here)?;
    let name = path.strip_prefix("/git/").and_then(|name| name.strip_suffix(".git"));
    let project =
        match app.store().project_named(app.organisation_id(), name.ok_or_else(not_here)?).await {
            Ok(project) if project.forge == local::FORGE => project,
            Ok(_) | Err(windlass_store::Error::NotFound { .. }) => return Err(not_here()),
            Err(error) => return Err(error.into()),
        };
    let view = view(&client, &project).ok_or_else(not_here)?;
    let repository = local::repository(app, &project.id)?;
    let backend = app.git_backend();
    let response = backend.serve(&repository, endpoint, &view, request, None).await;
    Ok(response.map(Body::new))
}

/// Who asks, and for what.
enum Client {
    Job { project_id: ProjectId, branches: Vec<String> },
    Reader,
}

/// What a client sees and may change; `None` if the project is none of its business.
fn view(client: &Client, project: &Project) -> Option<View> {
    let hidden = vec!["refs/windlass".to_owned()];
    match client {
        Client::Reader => Some(View { hidden, push: RefRules::default() }),
        Client::Job { project_id, .. } if *project_id != project.id => None,
        Client::Job { branches, .. } => {
            let allowed = branches
                .iter()
                .filter_map(|branch| RefName::branch(branch).ok())
                .map(RefPattern::Exact)
                .collect();
            Some(View { hidden, push: RefRules { allowed, deletes: false, rewrites: true } })
        }
    }
}

async fn client(app: &AppState, headers: &HeaderMap) -> Result<Client, Problem> {
    let refuse = |why: &str| Problem::new(Code::NotSignedIn, why);
    let (username, password) = credentials(headers)
        .ok_or_else(|| refuse("give a service token as the password, with any user name"))?;
    if password.starts_with(TOKEN_PREFIX) {
        let principal = app.principal_of_token(&password).await?;
        if principal.organisation_id != *app.organisation_id() || !principal.may(Action::View) {
            let why = format!("the role {} may not read repositories", principal.role);
            return Err(Problem::new(Code::Forbidden, why));
        }
        return Ok(Client::Reader);
    }
    if let Ok(id) = EnvironmentId::parse(&username) {
        return environment(app, &id, &password).await;
    }
    let job_id = JobId::parse(&username).map_err(|_| refuse("the credential is unknown"))?;
    let lost = || refuse("the job's lease is over, and its credential with it");
    let detail = match app.store().job(app.organisation_id(), &job_id).await {
        Ok(detail) => detail,
        Err(windlass_store::Error::NotFound { .. }) => return Err(lost()),
        Err(error) => return Err(error.into()),
    };
    let holds = matches!(detail.state.phase, Phase::Leased { .. });
    let expected = format!("git:{job_id}:{}", detail.state.epoch);
    if !holds || !app.sealer().is_keyed_digest(&expected, &password) {
        return Err(lost());
    }
    Ok(Client::Job {
        project_id: detail.row.project_id,
        branches: branches(&job_id, &detail.state),
    })
}

async fn environment(
    app: &AppState,
    id: &EnvironmentId,
    password: &str,
) -> Result<Client, Problem> {
    let lost = || Problem::new(Code::NotSignedIn, "the environment does not run any more");
    let row = match app.store().environment(app.organisation_id(), id).await {
        Ok(row) => row,
        Err(windlass_store::Error::NotFound { .. }) => return Err(lost()),
        Err(error) => return Err(error.into()),
    };
    let expected = format!("git:{id}:{}", row.state.generation);
    let is_wanted = row.state.wanted == Wanted::Running;
    if !is_wanted || !app.sealer().is_keyed_digest(&expected, password) {
        return Err(lost());
    }
    Ok(Client::Job { project_id: row.state.spec.project_id, branches: Vec::new() })
}

/// The branches that a job may push: those of its `pull_request` steps. One whose name is worked out from
/// values is known once its step runs, and then by the same machine as on the runner.
pub(crate) fn branches(job_id: &JobId, state: &job::State) -> Vec<String> {
    let pull_request = |action: &spec::Action| match action {
        spec::Action::PullRequest(action) => Some(action.branch.clone()),
        _ => None,
    };
    let named = state.spec.every_step().filter_map(|(_, step)| pull_request(&step.action));
    let mut branches: Vec<String> = named
        .filter_map(|branch| match branch {
            None => Some(format!("windlass/{job_id}")),
            Some(Text::Plain(branch)) => Some(branch),
            Some(Text::Template(_)) => None,
        })
        .collect();
    for (index, step) in state.steps.iter().enumerate() {
        if !matches!(step.phase, job::StepPhase::Running { .. })
            || !matches!(state.definition(index).action, spec::Action::PullRequest(_))
        {
            continue;
        }
        let rendered = job::rendered(state, index).ok();
        let branch = rendered.and_then(|rendered| pull_request(&rendered.action)).flatten();
        branches.extend(branch.map(|branch| branch.as_str().to_owned()));
    }
    branches.retain(|branch| branch.starts_with("windlass/"));
    branches.sort();
    branches.dedup();
    branches
}

/// User name and password; a bearer token is a password without a user name.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((String::new(), rest.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}
