//! Answers to API calls, remembered for those that send a call again.

use windlass_run::{OrganisationId, Time, actor::By};

use crate::{
    Error, Store,
    database::Row,
    writer::tx::{Tx, who},
};

/// An API call's answer, for those that send the call again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// A digest of the request that it answered.
    pub request: String,
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Store {
    /// Keeps the answer to an API call under its idempotency key, unless there is one; gives the one
    /// that counts.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the key was used for another request.
    pub async fn remember(
        &self,
        by: By,
        organisation_id: OrganisationId,
        key: String,
        answer: Answer,
        now: Time,
    ) -> Result<Answer, Error> {
        let actor = who(&by);
        self.command(move |tx| remember(tx, &actor, &organisation_id, &key, &answer, now)).await
    }

    /// The answer under an idempotency key; absent if there is none.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the key was used for another request.
    pub async fn remembered(
        &self,
        by: &By,
        organisation_id: &OrganisationId,
        key: &str,
        request: &str,
    ) -> Result<Option<Answer>, Error> {
        let sql = format!("SELECT {ANSWER} FROM answers WHERE {ANSWER_KEY}");
        let actor = who(by).to_string();
        let values = vec![organisation_id.to_string().into(), actor.into(), key.to_owned().into()];
        let row = self.query(&sql, values).await?.into_iter().next();
        row.map(|row| same_request(row, request)).transpose()
    }
}

const ANSWER: &str = "request, status, body";
const ANSWER_KEY: &str = "organisation_id = $1 AND actor = $2 AND name = $3";

fn remember(
    tx: &mut Tx<'_>,
    actor: &str,
    organisation_id: &OrganisationId,
    key: &str,
    answer: &Answer,
    now: Time,
) -> Result<Answer, Error> {
    let sql = format!("SELECT {ANSWER} FROM answers WHERE {ANSWER_KEY}");
    let known = tx.read(&sql, &[organisation_id.as_str().into(), actor.into(), key.into()])?;
    if let Some(row) = known.into_iter().next() {
        return same_request(row, &answer.request);
    }
    tx.write(
        "INSERT INTO answers (organisation_id, actor, name, request, status, body, at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            organisation_id.as_str().into(),
            actor.into(),
            key.into(),
            (&answer.request).into(),
            u32::from(answer.status).into(),
            (&answer.body).into(),
            now.into(),
        ],
    )?;
    Ok(answer.clone())
}

fn same_request(mut row: Row, request: &str) -> Result<Answer, Error> {
    let known = Answer {
        request: row.text(0)?,
        status: u16::try_from(row.int(1)?).unwrap_or(0),
        body: row.text(2)?,
    };
    if known.request == request {
        return Ok(known);
    }
    Err(Error::Conflict {
        why: "this idempotency key was used for another request: use a fresh one".to_owned(),
    })
}
