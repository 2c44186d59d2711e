//! Local pull requests: the rules are `forge::local`'s, the rows are the store's; here the two meet,
//! and git does what was decided. Whatever moves a reference holds the project's lock.

pub(crate) mod merge;
pub(crate) mod open;

use windlass_forge::{
    forge::{State, Verdict},
    local::{
        self, Author, Command, Event, ExecuteError, PullRequest, Refusal, Rules, Storage,
        StorageError,
    },
};
use windlass_git::{Error, Oid, RefName, Repository, repository::Expected};
use windlass_run::{
    JobId, OrganisationId, ProjectId,
    actor::{Actor, By},
};
use windlass_store::pulls::{Change, PullColumns};

use crate::{
    local::told,
    problem::{Code, Problem},
    state::AppState,
};

/// The rows of one organisation, as one actor changes them.
pub(crate) struct Rows<'a> {
    pub(crate) app: &'a AppState,
    pub(crate) organisation_id: OrganisationId,
    pub(crate) by: By,
}

impl Rows<'_> {
    /// Carries out a command.
    pub(crate) async fn execute(
        &self,
        project_id: &ProjectId,
        number: u64,
        command: &Command,
    ) -> Result<(PullRequest, Vec<Event>), Problem> {
        let author = author(&self.by.actor);
        let at = self.app.now().as_micros();
        let project = project_id.as_str();
        local::execute(self, &Rules::default(), project, number, command, &author, at)
            .await
            .map_err(problem)
    }

    /// The pull request as it stands.
    pub(crate) async fn get(
        &self,
        project_id: &ProjectId,
        number: u64,
    ) -> Result<PullRequest, Problem> {
        let row = self.app.store().pull(&self.organisation_id, project_id, number).await?;
        state(&row.columns)
    }
}

#[async_trait::async_trait]
impl Storage for Rows<'_> {
    async fn load(
        &self,
        project: &str,
        number: u64,
    ) -> Result<Option<(PullRequest, u64)>, StorageError> {
        let project_id = ProjectId::parse(project).map_err(failed)?;
        match self.app.store().pull(&self.organisation_id, &project_id, number).await {
            Ok(row) => {
                let state = serde_json::from_value(row.columns.state_json).map_err(failed)?;
                Ok(Some((state, row.version)))
            }
            Err(windlass_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn append(
        &self,
        state: &PullRequest,
        events: &[Event],
        version: u64,
    ) -> Result<u64, StorageError> {
        let project_id = ProjectId::parse(&state.project).map_err(failed)?;
        let columns = columns(state).map_err(failed)?;
        let seq = version + 1;
        let raise = told::of_pull_request(self.app, &self.organisation_id, state, events, seq);
        let raise = raise.await.map_err(failed)?;
        let change = Change { columns, events: to_json(events).map_err(failed)?, raise };
        let changed = self.app.store().change_pull(
            self.by.clone(),
            self.organisation_id.clone(),
            project_id,
            state.number,
            version,
            change,
            self.app.now(),
        );
        changed.await.map_err(|error| match error {
            windlass_store::Error::Conflict { .. } => StorageError::Stale,
            other => failed(other),
        })
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StorageError {
    StorageError::Failed(Box::new(error))
}

/// The whole state in a row.
pub(crate) fn state(columns: &PullColumns) -> Result<PullRequest, Problem> {
    serde_json::from_value(columns.state_json.clone())
        .map_err(|error| Problem::internal("read a pull request", error))
}

/// What lists need of a pull request.
pub(crate) fn columns(state: &PullRequest) -> Result<PullColumns, serde_json::Error> {
    let branch = |name: &RefName| name.short_branch().unwrap_or(name.as_str()).to_owned();
    let job = state.rounds.last().and_then(|round| round.job.as_deref());
    Ok(PullColumns {
        title: state.title.clone(),
        state: state_name(state.state).to_owned(),
        review: review_name(state.review()).to_owned(),
        base: branch(&state.base),
        head: branch(&state.head),
        head_commit: state.head_commit.to_string(),
        opened_by: By::own(actor(&state.opened_by)),
        job_id: job.and_then(|job| JobId::parse(job).ok()),
        state_json: serde_json::to_value(state)?,
    })
}

pub(crate) fn to_json(events: &[Event]) -> Result<Vec<serde_json::Value>, serde_json::Error> {
    events.iter().map(serde_json::to_value).collect()
}

/// A state as the API spells it.
pub(crate) fn state_name(state: State) -> &'static str {
    match state {
        State::Open => "open",
        State::Merged => "merged",
        State::Closed => "closed",
    }
}

/// A review as the API spells it.
pub(crate) fn review_name(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        None | Some(Verdict::Comment) => "none",
        Some(Verdict::Approve) => "approved",
        Some(Verdict::RequestChanges) => "changes_requested",
    }
}

/// An actor as the local forge names it.
pub(crate) fn author(actor: &Actor) -> Author {
    let (kind, id) = match actor {
        Actor::User(id) => ("user", id.to_string()),
        Actor::Token(id) => ("token", id.to_string()),
        Actor::Runner(id) => ("runner", id.to_string()),
        Actor::System(name) => ("system", name.clone()),
    };
    Author { kind: kind.to_owned(), id }
}

/// The actor that the local forge names so.
pub(crate) fn actor(author: &Author) -> Actor {
    let named = match author.kind.as_str() {
        "user" => author.id.parse().ok().map(Actor::User),
        "token" => author.id.parse().ok().map(Actor::Token),
        "runner" => author.id.parse().ok().map(Actor::Runner),
        _ => None,
    };
    named.unwrap_or_else(|| Actor::System(author.id.clone()))
}

/// Keeps what a round of a pull request consists of, whatever becomes of its branches.
pub(crate) async fn keep_rounds(repository: &Repository, state: &PullRequest) -> Result<(), Error> {
    for round in &state.rounds {
        let name =
            RefName::parse(&format!("refs/windlass/pulls/{}/{}", state.number, round.number))?;
        if repository.reference(&name).await?.is_none() {
            repository.update_reference(&name, &round.head_commit, Expected::Anything).await?;
        }
    }
    Ok(())
}

/// The commit that base and head have in common; the base itself where they share nothing.
pub(crate) async fn common(repository: &Repository, base: &Oid, head: &Oid) -> Result<Oid, Error> {
    Ok(repository.merge_base(base, head).await?.unwrap_or_else(|| base.clone()))
}

/// A refusal of the local forge's rules, as a problem.
pub(crate) fn refusal(refusal: &Refusal) -> Problem {
    let code = match refusal {
        Refusal::Invalid(_) => Code::BadRequest,
        Refusal::NotOpen(_) => Code::PullRequestState,
        Refusal::Merging | Refusal::ChangesRequested { .. } | Refusal::NotApproved { .. } => {
            Code::Conflict
        }
        Refusal::HeadMoved { .. } => Code::HeadMoved,
        Refusal::Conflicts { .. } => Code::MergeConflict,
        Refusal::NoSuchComment(_) => Code::NotFound,
    };
    Problem::new(code, refusal.to_string())
}

fn problem(error: ExecuteError) -> Problem {
    match error {
        ExecuteError::NotFound(number) => Problem::not_found(format!("pull request #{number}")),
        ExecuteError::Refused(why) => refusal(&why),
        ExecuteError::Storage(StorageError::Stale) => {
            Problem::new(Code::Busy, "others change this pull request all the time").retry_after(1)
        }
        ExecuteError::Storage(StorageError::Failed(source)) => {
            match source.downcast::<windlass_store::Error>() {
                Ok(error) => (*error).into(),
                Err(source) => Problem::internal("keep a pull request", source),
            }
        }
    }
}
