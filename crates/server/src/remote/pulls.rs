//! Pull requests of projects at a host. The host has the last word on them; here is a copy of each one
//! that a job opened, kept by the rules of the local forge, so that it is listed, compared, commented
//! and sent back to the agent like any other. What a person does is done at the host first.
//!
//! The server keeps a copy of the branches under review as well: what a person approves must be what
//! the host has, by commit id, and not a patch that a runner sent.

use windlass_forge::{
    Forge, RepositoryName,
    forge::{self, NewPullRequest, State, Status, StatusState, Update, Verdict},
    local::{self as rules, Command, Open, Place, PullRequest},
};
use windlass_git::{Error, Oid, RefName, Remote, Repository, merge::Method};
use windlass_run::{
    OrganisationId,
    actor::{Actor, By},
};
use windlass_store::projects::Project;

use super::{host, problem, token};
use crate::{
    links,
    local::{
        self,
        pulls::{self, Rows, common, keep_rounds, open::Wanted},
    },
    problem::{Code, Problem},
    state::AppState,
};

/// Opens a pull request at the host for a branch that a job pushed, or takes the new head into the
/// open one. Safe to repeat: the host is looked at by the head branch first.
pub(crate) async fn open(
    app: &AppState,
    project: &Project,
    wanted: &Wanted,
    draft: bool,
) -> Result<(u64, String), Problem> {
    let (host, name) = host(app, project).await?;
    let new = NewPullRequest {
        base: wanted.base.clone(),
        head: wanted.head.clone(),
        title: wanted.title.clone(),
        body: wanted.body.clone(),
        draft,
        labels: Vec::new(),
    };
    let opened = host.open_or_find(&name, &new).await.map_err(problem)?;
    let mut pull = opened.pull_request;
    if !opened.created && (pull.title != wanted.title || pull.body != wanted.body) {
        let (title, body) = (Some(wanted.title.clone()), Some(wanted.body.clone()));
        let update = Update { title, body, base: None };
        pull = host.update(&name, pull.number, &update).await.map_err(problem)?;
    }
    take_in(app, project, wanted, &pull).await?;
    set_status(app, host.as_ref(), &name, wanted).await;
    Ok((pull.number, pull.url))
}

/// Says at the host that the head is what a job made and the platform checked, with the job's page. A
/// token that may not say so, or a host that is away for a moment, does not undo a pull request.
async fn set_status(app: &AppState, host: &dyn Forge, name: &RepositoryName, wanted: &Wanted) {
    let Ok(commit) = Oid::parse(&wanted.commit) else { return };
    let status = Status {
        context: "windlass".to_owned(),
        state: StatusState::Success,
        description: "The job ended well; its steps and checks are on its page".to_owned(),
        url: Some(format!("{}{}", app.base_url(), links::job(&wanted.job_id))),
    };
    if let Err(error) = host.set_status(name, &commit, &status).await {
        tracing::warn!(repository = %name, %error, "a commit status could not be set");
    }
}

/// Looks whether a job's pull request is at the host already.
pub(crate) async fn find(
    app: &AppState,
    project: &Project,
    wanted: &Wanted,
) -> Result<Option<(u64, String)>, Problem> {
    let (host, name) = host(app, project).await?;
    let open = host.open_pull_requests(&name, Some(&wanted.head), 10).await.map_err(problem)?;
    let ours = |pull: &forge::PullRequest| {
        pull.head_commit.as_str() == wanted.commit && pull.base == wanted.base
    };
    match open.into_iter().find(ours) {
        None => Ok(None),
        Some(pull) => {
            take_in(app, project, wanted, &pull).await?;
            set_status(app, host.as_ref(), &name, wanted).await;
            Ok(Some((pull.number, pull.url)))
        }
    }
}

/// Keeps a copy of what the host has.
async fn take_in(
    app: &AppState,
    project: &Project,
    wanted: &Wanted,
    pull: &forge::PullRequest,
) -> Result<(), Problem> {
    let repository = fetch(app, project, &[&wanted.base, &wanted.head]).await?;
    let rows = Rows { app, organisation_id: wanted.organisation_id.clone(), by: wanted.by.clone() };
    let head_commit = Oid::parse(&wanted.commit)?;
    let job = Some(wanted.job_id.to_string());
    match app.store().pull(&wanted.organisation_id, &project.id, pull.number).await {
        Ok(_) => {
            head_moved(&rows, project, pull.number, &repository, head_commit, job).await?;
        }
        Err(windlass_store::Error::NotFound { .. }) => {
            adopt(&rows, project, wanted, pull, &repository, head_commit).await?;
        }
        Err(error) => return Err(error.into()),
    }
    let state = rows.get(&project.id, pull.number).await?;
    Ok(keep_rounds(&repository, &state).await?)
}

async fn adopt(
    rows: &Rows<'_>,
    project: &Project,
    wanted: &Wanted,
    pull: &forge::PullRequest,
    repository: &Repository,
    head_commit: Oid,
) -> Result<(), Problem> {
    // An older one of the same branches may have been closed at the host without our hearing of it.
    let app = rows.app;
    let older =
        app.store().open_pull_with_head(&rows.organisation_id, &project.id, &wanted.head).await?;
    if let Some(older) = older {
        sync(app, &rows.organisation_id, project, older.number).await?;
    }
    let base = RefName::branch(&wanted.base)?;
    let tip = repository.reference(&base).await?.unwrap_or_else(|| head_commit.clone());
    let base_commit = common(repository, &tip, &head_commit).await?;
    let now = app.now();
    let open = Open {
        number: pull.number,
        project: project.id.to_string(),
        title: pulls::open::title(&pull.title),
        body: pulls::open::body(&pull.body),
        base,
        head: RefName::branch(&wanted.head)?,
        head_commit,
        base_commit,
        job: Some(wanted.job_id.to_string()),
    };
    let author = pulls::author(&rows.by.actor);
    let events = rules::open(open, author, now.as_micros()).map_err(|why| pulls::refusal(&why))?;
    let state = rules::fold(None, &events)
        .ok_or_else(|| Problem::new(Code::Internal, "the server failed to open a pull request"))?;
    let readable = |error| Problem::internal("keep a pull request", error);
    let columns = pulls::columns(&state).map_err(readable)?;
    let events = pulls::to_json(&events).map_err(readable)?;
    app.store()
        .adopt_pull(
            rows.by.clone(),
            rows.organisation_id.clone(),
            project.id.clone(),
            pull.number,
            columns,
            events,
            now,
        )
        .await?;
    Ok(())
}

async fn head_moved(
    rows: &Rows<'_>,
    project: &Project,
    number: u64,
    repository: &Repository,
    head_commit: Oid,
    job: Option<String>,
) -> Result<(), Problem> {
    let before = rows.get(&project.id, number).await?;
    if before.head_commit == head_commit {
        return Ok(());
    }
    let tip = repository.reference(&before.base).await?;
    let base = tip.unwrap_or_else(|| before.base_commit.clone());
    let base_commit = common(repository, &base, &head_commit).await?;
    let carried = pulls::open::carry(repository, &before, &head_commit, &base_commit).await?;
    let command = Command::HeadMoved { head_commit, base_commit, job, carried };
    rows.execute(&project.id, number, &command).await?;
    Ok(())
}

/// Brings the copy of a pull request to where the host has it. Safe to repeat.
pub(crate) async fn sync(
    app: &AppState,
    organisation_id: &OrganisationId,
    project: &Project,
    number: u64,
) -> Result<(), Problem> {
    let by = By::system("github");
    let rows = Rows { app, organisation_id: organisation_id.clone(), by };
    let state = rows.get(&project.id, number).await?;
    let (host, name) = host(app, project).await?;
    let pull = host.pull_request(&name, number).await.map_err(problem)?;
    if pull.head_commit != state.head_commit && pull.state != State::Merged {
        let repository = fetch(app, project, &[&pull.base, &pull.head]).await?;
        head_moved(&rows, project, number, &repository, pull.head_commit.clone(), None).await?;
        keep_rounds(&repository, &rows.get(&project.id, number).await?).await?;
    }
    let (title, body) = (pulls::open::title(&pull.title), pulls::open::body(&pull.body));
    let mut commands = Vec::new();
    if title != state.title || body != state.body {
        commands.push(Command::Edit { title: Some(title), body: Some(body) });
    }
    match (pull.state, state.state) {
        (State::Merged, State::Open | State::Closed) => {
            let commit = pull.merge_commit.unwrap_or(pull.head_commit);
            commands.push(Command::MergeDone { commit });
        }
        (State::Closed, State::Open) => commands.push(Command::Close),
        (State::Open, State::Closed) => commands.push(Command::Reopen),
        _ => {}
    }
    for command in commands {
        rows.execute(&project.id, number, &command).await?;
    }
    Ok(())
}

/// Comments at the host, in general or at a line. `id` makes it findable there.
pub(crate) async fn comment(
    app: &AppState,
    project: &Project,
    state: &PullRequest,
    by: &str,
    id: &str,
    body: &str,
    place: Option<&Place>,
) -> Result<(), Problem> {
    let (host, name) = host(app, project).await?;
    let said = format!("**{}** by Windlass:\n\n{body}", plain(by));
    match place {
        None => {
            host.comment(&name, state.number, &said, id).await.map_err(problem)?;
        }
        Some(place) => {
            let line = forge::LineComment {
                path: place.path.clone(),
                side: place.side,
                line: place.line,
                body: format!("{said}\n\n<!-- windlass:{id} -->"),
            };
            let review = forge::Review {
                verdict: Verdict::Comment,
                body: String::new(),
                commit: place.commit.clone(),
                comments: vec![line],
            };
            host.review(&name, state.number, &review, id).await.map_err(problem)?;
        }
    }
    Ok(())
}

/// Reviews at the host. Where the host does not let the token's owner review (it opened the pull
/// request itself), the verdict becomes a comment there.
pub(crate) async fn review(
    app: &AppState,
    project: &Project,
    state: &PullRequest,
    by: &str,
    verdict: Verdict,
    body: &str,
    commit: &Oid,
) -> Result<(), Problem> {
    let (host, name) = host(app, project).await?;
    let word = match verdict {
        Verdict::Approve => "approves",
        Verdict::RequestChanges => "asks for changes",
        Verdict::Comment => "comments",
    };
    let said = format!("**{}** {word} by Windlass.\n\n{body}", plain(by));
    let digest = crate::secret::digest(&format!("{word}:{by}:{commit}:{body}"));
    let id = format!("review:{}", &digest[..32]);
    let review =
        forge::Review { verdict, body: said.clone(), commit: commit.clone(), comments: vec![] };
    match host.review(&name, state.number, &review, &id).await {
        Ok(()) => Ok(()),
        Err(
            windlass_forge::Error::Invalid { .. }
            | windlass_forge::Error::Conflict { .. }
            | windlass_forge::Error::Forbidden { .. },
        ) => {
            host.comment(&name, state.number, &said, &id).await.map_err(problem)?;
            Ok(())
        }
        Err(error) => Err(problem(error)),
    }
}

/// Merges at the host.
pub(crate) async fn merge(
    app: &AppState,
    project: &Project,
    number: u64,
    method: Method,
    expected_head: Oid,
) -> Result<Oid, Problem> {
    let (host, name) = host(app, project).await?;
    let merge = forge::Merge { method, expected_head, title: None, message: None };
    host.merge(&name, number, &merge).await.map_err(|error| match error {
        windlass_forge::Error::Conflict { .. } => {
            Problem::new(Code::MergeConflict, error.to_string())
        }
        other => problem(other),
    })
}

/// Closes or reopens at the host.
pub(crate) async fn set_open(
    app: &AppState,
    project: &Project,
    number: u64,
    open: bool,
) -> Result<(), Problem> {
    let (host, name): (Box<dyn Forge>, RepositoryName) = host(app, project).await?;
    let done = match open {
        true => host.reopen(&name, number).await,
        false => host.close(&name, number).await,
    };
    done.map(|_| ()).map_err(problem)
}

/// Fetches branches from the host into the server's copy.
async fn fetch(
    app: &AppState,
    project: &Project,
    branches: &[&str],
) -> Result<Repository, Problem> {
    let _lock = app.repositories().lock(&project.id).await;
    let repository = local::refresh::open(app, project).await?;
    let token = token(app, project).await?;
    let credential = windlass_forge::hosts::github::git_credential(token.expose());
    let remote = Remote::with(local::origin(project)?.address, credential);
    let mut specs = Vec::with_capacity(branches.len());
    for branch in branches {
        let name = RefName::branch(branch)?;
        specs.push(format!("+{name}:{name}"));
    }
    let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
    repository.fetch(&remote, &specs, false).await.map_err(|error: Error| Problem::from(error))?;
    Ok(repository)
}

/// Somebody at the host, as an actor.
pub(crate) fn stranger(login: &str) -> Actor {
    Actor::System(format!("github:{login}"))
}

/// A name that can't begin anything in Markdown.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric() || " -.".contains(*c)).collect()
}
