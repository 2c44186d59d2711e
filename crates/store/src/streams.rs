//! Logs and sessions of steps: streams that only grow, cut into content-addressed chunks.

use windlass_run::{JobId, OrganisationId, RunnerId, StepId, Time};

use crate::{Error, Store};

/// Which stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamId {
    /// The job.
    pub job_id: JobId,
    /// The step.
    pub step_id: StepId,
    /// The attempt of the step, from 1, over all leases.
    pub attempt: u32,
    /// What it carries.
    pub kind: Kind,
}

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Bytes; places are byte offsets.
    Log,
    /// Session entries, one JSON text each; places are their numbers, from 1.
    Session,
}

/// A piece to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// To which stream. Its kind must fit the content.
    pub stream: StreamId,
    /// The lease's epoch.
    pub epoch: u64,
    /// What to append.
    pub content: Content,
}

/// What to append. What the store already has is skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Bytes of a log.
    Log {
        /// Where they begin.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Entries of a session.
    Session {
        /// The number of the first one.
        first: u64,
        /// One JSON text each, without line breaks.
        entries: Vec<String>,
    },
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The stream reaches to here: bytes of a log, or the number of a session's last entry. Less
    /// than what was sent means that something before it is missing: go on from here.
    Have {
        /// The stream's length.
        length: u64,
    },
    /// The lease is lost, or there is no such job or step.
    Lost,
}

/// A stream as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRow {
    /// Which.
    pub stream: StreamId,
    /// Bytes of a log, or the number of a session's last entry.
    pub length: u64,
    /// When it last grew.
    pub updated_at: Time,
}

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSlice {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How long the log is now, in bytes.
    pub length: u64,
}

impl Store {
    /// Appends pieces of streams, each one a command of its own. The answers are in the same order.
    ///
    /// # Errors
    /// Only where the database or the disk fails.
    pub async fn append(
        &self,
        runner_id: RunnerId,
        pieces: Vec<Append>,
        now: Time,
    ) -> Result<Vec<Appended>, Error> {
        let _ = (runner_id, pieces, now);
        self.unfinished()
    }

    /// The streams of a job, in the order in which they began.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn streams(
        &self,
        organisation_id: &OrganisationId,
        job_id: &JobId,
    ) -> Result<Vec<StreamRow>, Error> {
        let _ = (organisation_id, job_id);
        self.unfinished()
    }

    /// Bytes of a log from `offset` on, at most `max`. A log that has not begun is empty.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the job is not there.
    pub async fn log(
        &self,
        organisation_id: &OrganisationId,
        stream: &StreamId,
        offset: u64,
        max: usize,
    ) -> Result<LogSlice, Error> {
        let _ = (organisation_id, stream, offset, max);
        self.unfinished()
    }

    /// Entries of a session after number `after`, at most `max`, each with its number.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the job is not there.
    pub async fn session(
        &self,
        organisation_id: &OrganisationId,
        stream: &StreamId,
        after: u64,
        max: usize,
    ) -> Result<Vec<(u64, String)>, Error> {
        let _ = (organisation_id, stream, after, max);
        self.unfinished()
    }
}
