//! What the crates below say when they fail, as problems. What only an operator may know stays in the
//! problem's source.

use windlass_run::job::Refusal;

use super::{Code, Problem};

impl From<windlass_store::Error> for Problem {
    fn from(error: windlass_store::Error) -> Self {
        use windlass_store::Error;
        let detail = error.to_string();
        match error {
            Error::NotFound { .. } => Self::new(Code::NotFound, detail),
            Error::Conflict { .. } => Self::new(Code::Conflict, detail),
            Error::Invalid { .. } => Self::new(Code::InvalidSpec, detail),
            Error::Refused(Refusal::Ended) => Self::new(Code::JobEnded, detail),
            Error::Refused(Refusal::StaleEpoch { .. }) => Self::new(Code::LeaseLost, detail),
            Error::Refused(_) => Self::new(Code::Conflict, detail),
            Error::Full { .. } => {
                Self::new(Code::Busy, "the server's disk is full; nothing was kept")
                    .retry_after(30)
                    .because(error)
            }
            Error::Locked { .. } | Error::Unavailable { .. } => {
                Self::new(Code::Busy, "the database is not available now")
                    .retry_after(2)
                    .because(error)
            }
            Error::Newer { .. } | Error::Foreign { .. } | Error::Database { .. } => {
                Self::internal("use its database", error)
            }
        }
    }
}

impl From<windlass_git::Error> for Problem {
    fn from(error: windlass_git::Error) -> Self {
        use windlass_git::Error;
        let detail = error.to_string();
        let code = match &error {
            Error::NotARepository { .. } | Error::RemoteMissing { .. } => Code::NotARepository,
            Error::EmptyRepository { .. } => Code::EmptyRepository,
            Error::BranchMissing { .. } | Error::DetachedHead { .. } => Code::MissingBranch,
            Error::Missing { .. } => Code::NotFound,
            Error::Stale { .. } => Code::HeadMoved,
            Error::AuthFailed { .. } => Code::CredentialRefused,
            Error::Unreachable { .. } | Error::TimedOut { .. } => Code::ForgeUnavailable,
            Error::Invalid { .. } => Code::BadRequest,
            Error::TooLarge { .. } => Code::TooLarge,
            Error::DiskFull { .. } => Code::Busy,
            _ => return Self::internal("work on a git repository", error),
        };
        Self::new(code, detail).because(error)
    }
}
