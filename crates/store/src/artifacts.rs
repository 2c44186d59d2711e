//! Checkpoints (thin git bundles) and diffs (git patches) of steps: one blob each.

use windlass_run::{JobId, OrganisationId, RunnerId, StepId, Time};

use crate::{
    Error, Store,
    database::{Row, Value},
    work::speaks_for,
    writer::tx::Tx,
};

/// From how many bytes on an artifact is a blob rather than part of its row.
const BLOB_BYTES: usize = 16 * 1024;

const COLUMNS: &str = "step_id, kind, commit_id, size, at, content, blob";

/// What an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A thin git bundle with the work tree after the step.
    Checkpoint,
    /// The job's work so far as a git patch.
    Diff,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Diff => "diff",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "checkpoint" => Ok(Self::Checkpoint),
            "diff" => Ok(Self::Diff),
            other => Err(format!("`{other}` is no kind of artifact")),
        }
    }
}

/// An artifact without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactRow {
    /// The job.
    pub job_id: JobId,
    /// The step after which it was made.
    pub step_id: StepId,
    /// What it is.
    pub kind: Kind,
    /// The commit that it is about; empty where none was given.
    pub commit: String,
    /// How many bytes.
    pub size: u64,
    /// When it was made.
    pub at: Time,
}

/// An artifact to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewArtifact {
    /// The job.
    pub job_id: JobId,
    /// The step after which it was made.
    pub step_id: StepId,
    /// What it is.
    pub kind: Kind,
    /// The commit that it is about; may be empty for a diff.
    pub commit: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Store {
    /// Keeps an artifact. One that is there for the same job, step and kind is replaced. Gives false
    /// if the lease is lost.
    ///
    /// # Errors
    /// [`Error::Full`] and the like.
    pub async fn keep(
        &self,
        runner_id: RunnerId,
        epoch: u64,
        artifact: NewArtifact,
        now: Time,
    ) -> Result<bool, Error> {
        let blob = match artifact.bytes.len() >= BLOB_BYTES {
            true => Some(self.put_blob(artifact.bytes.clone()).await?),
            false => None,
        };
        self.command(move |tx| keep(tx, &runner_id, epoch, &artifact, blob.as_deref(), now)).await
    }

    /// The artifacts of a job, in the order in which they were made.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn artifacts(
        &self,
        organisation_id: &OrganisationId,
        job_id: &JobId,
    ) -> Result<Vec<ArtifactRow>, Error> {
        self.job_row(organisation_id, job_id).await?;
        let sql = "SELECT step_id, kind, commit_id, size, at FROM artifacts WHERE job_id = $1 \
                   ORDER BY at, step_id, kind";
        let rows = self.query(sql, vec![job_id.to_string().into()]).await?;
        rows.into_iter().map(|mut row| artifact_row(job_id, &mut row)).collect()
    }

    /// An artifact with its bytes; absent if it was never kept.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the job is not there.
    pub async fn artifact(
        &self,
        organisation_id: &OrganisationId,
        job_id: &JobId,
        step_id: &StepId,
        kind: Kind,
    ) -> Result<Option<(ArtifactRow, Vec<u8>)>, Error> {
        self.job_row(organisation_id, job_id).await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM artifacts WHERE job_id = $1 AND step_id = $2 AND kind = $3"
        );
        let values =
            vec![job_id.to_string().into(), step_id.to_string().into(), kind.as_str().into()];
        let Some(mut row) = self.query(&sql, values).await?.into_iter().next() else {
            return Ok(None);
        };
        let artifact = artifact_row(job_id, &mut row)?;
        let bytes = match (row.maybe_bytes(5)?, row.maybe_text(6)?) {
            (_, Some(hash)) => self.get_blob(hash).await?,
            (bytes, None) => bytes.unwrap_or_default(),
        };
        Ok(Some((artifact, bytes)))
    }
}

fn artifact_row(job_id: &JobId, row: &mut Row) -> Result<ArtifactRow, Error> {
    let step_id = row.text(0)?;
    let invalid = |why: windlass_run::InvalidId| Error::Database { context: why.to_string() };
    Ok(ArtifactRow {
        job_id: job_id.clone(),
        step_id: StepId::parse(&step_id).map_err(invalid)?,
        kind: row.parsed(1)?,
        commit: row.text(2)?,
        size: row.natural(3)?,
        at: row.time(4)?,
    })
}

fn keep(
    tx: &mut Tx<'_>,
    runner_id: &RunnerId,
    epoch: u64,
    artifact: &NewArtifact,
    blob: Option<&str>,
    now: Time,
) -> Result<bool, Error> {
    let Some(job) = tx.job(&artifact.job_id)? else { return Ok(false) };
    let has_step = job.state.steps.iter().any(|step| step.id == artifact.step_id);
    if !speaks_for(tx, runner_id, &job, epoch) || !has_step {
        return Ok(false);
    }
    let size = artifact.bytes.len() as u64;
    let content = match blob {
        Some(hash) => {
            tx.refer_to_blob(hash, size)?;
            Value::Null
        }
        None => Value::Bytes(&artifact.bytes),
    };
    tx.write(
        "INSERT INTO artifacts (job_id, step_id, kind, organisation_id, commit_id, size, content, \
         blob, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (job_id, step_id, kind) DO UPDATE SET commit_id = excluded.commit_id, \
         size = excluded.size, content = excluded.content, blob = excluded.blob, \
         at = excluded.at",
        &[
            artifact.job_id.as_str().into(),
            artifact.step_id.as_str().into(),
            artifact.kind.as_str().into(),
            job.organisation_id.as_str().into(),
            (&artifact.commit).into(),
            size.into(),
            content,
            blob.into(),
            now.into(),
        ],
    )?;
    Ok(true)
}
