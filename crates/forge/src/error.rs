//! What can go wrong at a code host, as the cases that a caller treats differently.

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a host did not do what was asked. Reads well after "failed to ...: ". Holds no credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not exist, or the token may not know of it.
    #[error("{what} was not found: check the name and that the token may see it")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The token is not accepted, or may not do this.
    #[error("{what} is not allowed: {message}")]
    Forbidden {
        /// What was asked for.
        what: String,
        /// The host's words.
        message: String,
    },
    /// The host's state does not allow it now: it cannot be merged, the head moved, it exists.
    #[error("{what} is not possible now: {message}")]
    Conflict {
        /// What was asked for.
        what: String,
        /// The host's words.
        message: String,
    },
    /// Too many requests. Nothing must be asked of this host with this token before `until`.
    #[error("the host wants no more requests for now ({message})")]
    RateLimited {
        /// When to try again, in microseconds since the Unix epoch.
        until: i64,
        /// The host's words.
        message: String,
    },
    /// The host could not be reached or is in trouble. Worth another try later.
    #[error("the host could not be reached for {what}: {message}")]
    Unavailable {
        /// What was asked for.
        what: String,
        /// What was seen.
        message: String,
    },
    /// The host understood the request and does not accept it; the same again will not help.
    #[error("{what} was not accepted: {message}")]
    Invalid {
        /// What was asked for.
        what: String,
        /// The host's words, field by field.
        message: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::RateLimited { .. } | Error::Unavailable { .. })
    }

    /// When to try again at the earliest, where the host said so.
    pub fn retry_at(&self) -> Option<i64> {
        match self {
            Error::RateLimited { until, .. } => Some(*until),
            Error::NotFound { .. }
            | Error::Forbidden { .. }
            | Error::Conflict { .. }
            | Error::Unavailable { .. }
            | Error::Invalid { .. } => None,
        }
    }
}
