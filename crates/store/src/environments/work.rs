//! Work of environments that no repository had: one bundle per environment, kept when it is removed.

use windlass_run::{EnvironmentId, OrganisationId, RunnerId, Time};

use super::rows;
use crate::{Error, Store, database::Value, writer::tx::Tx};

/// From how many bytes on a bundle is a blob rather than part of its row.
const BLOB_BYTES: usize = 64 * 1024;

/// A bundle of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The commit that holds all of it.
    pub commit: String,
    /// The bundle.
    pub bytes: Vec<u8>,
    /// When it was kept.
    pub at: Time,
}

impl Store {
    /// Keeps an environment's work, in place of what was kept of it before. Gives false if this
    /// runner does not keep the environment.
    ///
    /// # Errors
    /// [`Error::Full`] and the like.
    pub async fn keep_environment_work(
        &self,
        runner_id: RunnerId,
        id: EnvironmentId,
        work: Work,
    ) -> Result<bool, Error> {
        let blob = match work.bytes.len() >= BLOB_BYTES {
            true => Some(self.put_blob(work.bytes.clone()).await?),
            false => None,
        };
        self.command(move |tx| keep(tx, &runner_id, &id, &work, blob.as_deref())).await
    }

    /// What is kept of an environment's work.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn environment_work(
        &self,
        organisation_id: &OrganisationId,
        id: &EnvironmentId,
    ) -> Result<Option<Work>, Error> {
        let sql = "SELECT commit_id, content, blob, at FROM environment_work \
                   WHERE environment_id = $1 AND organisation_id = $2";
        let values = vec![id.to_string().into(), organisation_id.to_string().into()];
        let Some(mut row) = self.query(sql, values).await?.into_iter().next() else {
            return Ok(None);
        };
        let (commit, content, at) = (row.text(0)?, row.maybe_bytes(1)?, row.time(3)?);
        let bytes = match row.maybe_text(2)? {
            Some(hash) => self.get_blob(hash).await?,
            None => content.unwrap_or_default(),
        };
        Ok(Some(Work { commit, bytes, at }))
    }
}

fn keep(
    tx: &mut Tx<'_>,
    runner_id: &RunnerId,
    id: &EnvironmentId,
    work: &Work,
    blob: Option<&str>,
) -> Result<bool, Error> {
    let Some(row) = rows::find(tx, id)? else { return Ok(false) };
    if row.state.runner_id.as_ref() != Some(runner_id) {
        return Ok(false);
    }
    let size = work.bytes.len() as u64;
    let content = match blob {
        Some(hash) => {
            tx.refer_to_blob(hash, size)?;
            Value::Null
        }
        None => Value::Bytes(&work.bytes),
    };
    tx.write(
        "INSERT INTO environment_work (environment_id, organisation_id, commit_id, size, content, \
         blob, at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (environment_id) DO UPDATE SET \
         commit_id = excluded.commit_id, size = excluded.size, content = excluded.content, \
         blob = excluded.blob, at = excluded.at",
        &[
            id.as_str().into(),
            row.organisation_id.as_str().into(),
            (&work.commit).into(),
            size.into(),
            content,
            blob.into(),
            work.at.into(),
        ],
    )?;
    Ok(true)
}
