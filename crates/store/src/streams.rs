//! Logs and sessions of steps: streams that only grow, cut into content-addressed chunks.

mod append;
mod compact;
mod read;

use windlass_run::{JobId, OrganisationId, RunnerId, StepId, Time};

use crate::{Error, Store, writer::tx::Tx};

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

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Session => "session",
        }
    }
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
        let pieces = pieces.into_iter().map(|piece| {
            let runner_id = runner_id.clone();
            move |tx: &mut Tx<'_>| append::append(tx, &runner_id, &piece, now)
        });
        let answers = self.commands(pieces).await?;
        let mut appended = Vec::with_capacity(answers.len());
        for (answer, heavy) in answers {
            if let Some(stream_id) = heavy
                && let Err(error) = self.compact(stream_id).await
            {
                tracing::warn!(%error, stream_id, "a stream stays in rows: it could not be compacted");
            }
            appended.push(answer);
        }
        Ok(appended)
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
        self.job_row(organisation_id, job_id).await?;
        let sql = "SELECT step_id, attempt, kind, length, updated_at FROM streams \
                   WHERE job_id = $1 ORDER BY id";
        let rows = self.query(sql, vec![job_id.to_string().into()]).await?;
        rows.into_iter().map(|row| read::stream(job_id, row)).collect()
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
        let Some((id, length)) = self.find_stream(organisation_id, stream).await? else {
            return Ok(LogSlice { offset, bytes: vec![], length: 0 });
        };
        let bytes = self.read_log(id, offset, max).await?;
        // It may have grown since its length was read.
        let length = length.max(offset + bytes.len() as u64);
        Ok(LogSlice { offset, bytes, length })
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
        let Some((id, _)) = self.find_stream(organisation_id, stream).await? else {
            return Ok(vec![]);
        };
        self.read_entries(id, after, max).await
    }
}
