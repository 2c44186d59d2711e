//! How the rules meet a memory: read, decide, append at the version that was read, and once more
//! from the start if somebody else was faster.

use super::{Author, Command, Event, PullRequest, Refusal, Rules, decide, fold};

/// Where pull requests are kept. Implemented by the server over its database.
#[async_trait::async_trait]
pub trait Storage: Send + Sync {
    /// A pull request with its version, or `None`.
    async fn load(
        &self,
        project: &str,
        number: u64,
    ) -> Result<Option<(PullRequest, u64)>, StorageError>;

    /// Appends events to a pull request and keeps its new state, in one transaction, if its version
    /// is still `version`; gives the new version.
    async fn append(
        &self,
        state: &PullRequest,
        events: &[Event],
        version: u64,
    ) -> Result<u64, StorageError>;
}

/// What can go wrong with a memory.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Somebody else changed it meanwhile.
    #[error("it was changed meanwhile")]
    Stale,
    /// The memory itself failed.
    #[error("the storage failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// There is no such pull request.
    #[error("there is no pull request #{0}")]
    NotFound(u64),
    /// The rules do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be kept.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Carries a command out against a memory; gives the state after it and the events that it made
/// (none if it had been done before). The first word of others wins: after a change by somebody
/// else the command is decided afresh.
pub async fn execute(
    storage: &dyn Storage,
    rules: &Rules,
    project: &str,
    number: u64,
    command: &Command,
    by: &Author,
    at: i64,
) -> Result<(PullRequest, Vec<Event>), ExecuteError> {
    const ATTEMPTS: usize = 16;
    for _ in 0..ATTEMPTS {
        let (state, version) =
            storage.load(project, number).await?.ok_or(ExecuteError::NotFound(number))?;
        let events = decide(&state, rules, command.clone(), by.clone(), at)?;
        if events.is_empty() {
            return Ok((state, events));
        }
        let Some(after) = fold(Some(state), &events) else {
            return Err(ExecuteError::NotFound(number));
        };
        match storage.append(&after, &events, version).await {
            Ok(_) => return Ok((after, events)),
            Err(StorageError::Stale) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StorageError::Stale.into())
}
