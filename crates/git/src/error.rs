//! What can go wrong with git, as the few cases that a caller treats differently. Text that came
//! from git is cut to a tail and cleared of credentials before it gets here; no variant ever holds
//! a secret.

use crate::Oid;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed. Reads well after "failed to ...: ".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The `git` program could not be started at all.
    #[error("git could not be started ({program}): install git 2.38 or newer")]
    GitMissing {
        /// The program that was tried.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The installed git is too old for what we ask of it.
    #[error("git {found} is too old: install git 2.38 or newer")]
    GitTooOld {
        /// The version found.
        found: String,
    },
    /// There is no git repository at this place.
    #[error("{place} is not a git repository: check the path, or make one with `git init`")]
    NotARepository {
        /// The path or address.
        place: String,
    },
    /// The repository has no commit yet.
    #[error("{place} has no commit yet: make a first commit there")]
    EmptyRepository {
        /// The path or address.
        place: String,
    },
    /// The branch does not exist.
    #[error("{place} has no branch `{branch}`")]
    BranchMissing {
        /// The path or address.
        place: String,
        /// The branch asked for, without `refs/heads/`.
        branch: String,
    },
    /// `HEAD` names a commit and not a branch, so there is no default branch to work from.
    #[error("{place} has a detached HEAD: check out a branch there, or name the branch to use")]
    DetachedHead {
        /// The path or address.
        place: String,
    },
    /// A reference was not at the value we expected, so it was left alone.
    #[error("{reference} has moved: expected {}, {detail}", expected.as_ref().map_or("it to be absent", Oid::as_str))]
    Stale {
        /// The full name of the reference.
        reference: String,
        /// What it was expected to be; `None` if it was expected not to exist.
        expected: Option<Oid>,
        /// What was seen instead, as far as known.
        detail: String,
    },
    /// The far side refused to update a reference.
    #[error("{reference} was refused by the far side: {reason}")]
    Rejected {
        /// The full name of the reference.
        reference: String,
        /// The far side's reason.
        reason: String,
    },
    /// The far side did not accept the credential, or wants one.
    #[error("{place} refused access: check the token and what it may do ({detail})")]
    AuthFailed {
        /// The address.
        place: String,
        /// The far side's words.
        detail: String,
    },
    /// The far side answered that there is no such repository (or that we may not know of it).
    #[error("{place} was not found: check the address and that the token may see it")]
    RemoteMissing {
        /// The address.
        place: String,
    },
    /// The far side answered with a redirect, which is never followed (it could carry a credential
    /// to another host).
    #[error("{place} has moved: use the repository's present address ({detail})")]
    Moved {
        /// The address.
        place: String,
        /// The far side's words.
        detail: String,
    },
    /// The far side could not be reached, or did not answer properly. Worth another try later.
    #[error("{place} could not be reached: {detail}")]
    Unreachable {
        /// The address.
        place: String,
        /// What was tried and seen.
        detail: String,
    },
    /// No space, or no inode, is left where git writes: the system says the same of both.
    #[error(
        "{what}: no space, or no inode, is left on the disk (`df -h` and `df -i` say which): free some and try again ({detail})"
    )]
    DiskFull {
        /// What was being done.
        what: String,
        /// Git's words.
        detail: String,
    },
    /// A repository on this machine is damaged.
    #[error("{what}: the repository is damaged: {detail}")]
    Corrupt {
        /// What was being done.
        what: String,
        /// Git's words.
        detail: String,
    },
    /// An object, path or reference that was asked for is not in the repository.
    #[error("{what} is not in the repository")]
    Missing {
        /// What was asked for.
        what: String,
    },
    /// Histories without a common ancestor cannot be merged.
    #[error("{ours} and {theirs} have no common history")]
    Unrelated {
        /// One side.
        ours: Oid,
        /// The other side.
        theirs: Oid,
    },
    /// Something is larger than its limit.
    #[error("{what} is larger than the limit of {limit} {unit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit.
        limit: u64,
        /// The limit's unit, such as "bytes" or "files".
        unit: &'static str,
    },
    /// Git ran longer than it was given.
    #[error("{what} took longer than {seconds} s and was stopped")]
    TimedOut {
        /// What was being done.
        what: String,
        /// The limit in seconds.
        seconds: u64,
    },
    /// An input is not acceptable; nothing was done.
    #[error("{what} {why}")]
    Invalid {
        /// The input, quoted.
        what: String,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// Git failed in a way that nobody branches on.
    #[error("{what} failed (git ended with {status}): {detail}")]
    Failed {
        /// What was being done.
        what: String,
        /// The exit status, or -1 if a signal ended it.
        status: i32,
        /// The tail of what git said.
        detail: String,
    },
    /// The file system failed us.
    #[error("{what}")]
    Io {
        /// What was being done, and where.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the same call may well succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::TimedOut { .. } => true,
            // Somebody ended git, or a program that it had started: nothing is known to be wrong.
            Error::Failed { status, detail, .. } => {
                *status == -1 || detail.contains("died of signal")
            }
            _ => false,
        }
    }

    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        let what = what.into();
        if source.kind() == std::io::ErrorKind::StorageFull
            || source.kind() == std::io::ErrorKind::QuotaExceeded
        {
            return Error::DiskFull { what, detail: source.to_string() };
        }
        Error::Io { what, source }
    }

    pub(crate) fn invalid(what: impl std::fmt::Display, why: impl Into<String>) -> Self {
        Error::Invalid { what: format!("`{what}`"), why: why.into() }
    }
}

/// Chooses the variant for a failed git command from its words. `LC_ALL=C` keeps them stable;
/// `place` is the repository or address that a person would recognise.
pub(crate) fn classify(what: &str, place: &str, status: i32, stderr: &str) -> Error {
    let detail = tail(stderr);
    let says = |needles: &[&str]| needles.iter().any(|needle| stderr.contains(needle));
    let place = place.to_owned();
    let what = what.to_owned();
    // Of a file that it could write only in part git does not say why: it is the disk.
    let full = [
        "No space left on device",
        "Disk quota exceeded",
        "disk quota exceeded",
        "unable to write file",
    ];
    let mut lines = stderr.lines().filter(|line| full.iter().any(|needle| line.contains(needle)));
    if let Some(first) = lines.next() {
        let detail = match lines.count() {
            0 => tail(first),
            n => format!("{}; and {n} more", tail(first)),
        };
        return Error::DiskFull { what, detail };
    }
    if says(&[
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "returned error: 401",
        "returned error: 403",
        "Permission denied (publickey",
    ]) {
        return Error::AuthFailed { place, detail };
    }
    if says(&[
        "returned error: 301",
        "returned error: 302",
        "returned error: 307",
        "returned error: 308",
    ]) {
        return Error::Moved { place, detail };
    }
    if says(&["' not found", "returned error: 404", "Repository not found"])
        && says(&["fatal: repo", "returned error: 404", "Repository not found"])
    {
        return Error::RemoteMissing { place };
    }
    if says(&[
        "unable to access",
        "Could not resolve host",
        "Connection refused",
        "Connection timed out",
        "Connection reset",
        "early EOF",
        "the remote end hung up unexpectedly",
        "RPC failed",
        "unexpected disconnect",
    ]) && place_is_remote(&place)
    {
        return Error::Unreachable { place, detail };
    }
    if says(&[
        "does not appear to be a git repository",
        "not a git repository",
        "is not a valid git repository",
    ]) {
        return Error::NotARepository { place };
    }
    if says(&[
        "is corrupt",
        "corrupt loose object",
        "inflate: data stream error",
        "unable to read tree",
        "unable to read sha1",
        "hash mismatch",
        "index file corrupt",
        "bad index file",
        "is empty\nfatal",
        "object file",
        "packfile",
    ]) {
        return Error::Corrupt { what, detail };
    }
    Error::Failed { what, status, detail }
}

fn place_is_remote(place: &str) -> bool {
    place.contains("://") || !place.starts_with('/')
}

/// The last lines of a message, short enough for an error.
fn tail(stderr: &str) -> String {
    const KEEP: usize = 1500;
    let trimmed = stderr.trim();
    let mut start = trimmed.len().saturating_sub(KEEP);
    while !trimmed.is_char_boundary(start) {
        start += 1;
    }
    let text: Vec<&str> =
        trimmed[start..].lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if text.is_empty() { "git said nothing".to_owned() } else { text.join("; ") }
}
