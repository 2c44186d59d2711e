//! Checkpoints (thin git bundles) and diffs (git patches) of steps: one blob each.

use windlass_run::{JobId, OrganisationId, RunnerId, StepId, Time};

use crate::{Error, Store};

/// What an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A thin git bundle with the work tree after the step.
    Checkpoint,
    /// The job's work so far as a git patch.
    Diff,
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
        let _ = (runner_id, epoch, artifact, now);
        self.unfinished()
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
        let _ = (organisation_id, job_id);
        self.unfinished()
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
        let _ = (organisation_id, job_id, step_id, kind);
        self.unfinished()
    }
}
