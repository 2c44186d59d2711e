//! What came in from outside, once each: webhook deliveries, and answers to repeated API calls.

use windlass_run::{OrganisationId, Time, actor::By};

use crate::{
    Error, Store,
    database::Row,
    writer::tx::{Tx, who},
};

/// A webhook delivery or another event from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// Where it came from: `github`, ...
    pub source: String,
    /// The sender's id of it, unique per source.
    pub delivery_id: String,
    /// The event.
    pub event: serde_json::Value,
}

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
    /// Keeps a delivery. False if it was there already.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn receive(&self, delivery: Delivery, now: Time) -> Result<bool, Error> {
        self.command(move |tx| receive(tx, &delivery, now)).await
    }

    /// Deliveries that nobody has handled yet, oldest first, each with its number.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn unhandled(&self, limit: u32) -> Result<Vec<(u64, Delivery)>, Error> {
        let sql = "SELECT number, organisation_id, source, delivery_id, event FROM deliveries \
                   WHERE handled_at IS NULL ORDER BY number LIMIT $1";
        let rows = self.query(sql, vec![limit.clamp(1, 1_000).into()]).await?;
        let delivery = |mut row: Row| {
            let delivery = Delivery {
                organisation_id: row.parsed(1)?,
                source: row.text(2)?,
                delivery_id: row.text(3)?,
                event: row.json(4)?,
            };
            Ok((row.natural(0)?, delivery))
        };
        rows.into_iter().map(delivery).collect()
    }

    /// Says that a delivery was handled.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn handled(&self, number: u64, outcome: String, now: Time) -> Result<(), Error> {
        self.command(move |tx| {
            tx.write(
                "UPDATE deliveries SET handled_at = $1, outcome = $2 WHERE number = $3",
                &[now.into(), (&outcome).into(), number.into()],
            )
        })
        .await
    }

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

fn receive(tx: &mut Tx<'_>, delivery: &Delivery, now: Time) -> Result<bool, Error> {
    let sql = "SELECT number FROM deliveries WHERE source = $1 AND delivery_id = $2";
    let known = tx.read(sql, &[(&delivery.source).into(), (&delivery.delivery_id).into()])?;
    if !known.is_empty() {
        return Ok(false);
    }
    let number = tx.number();
    tx.write(
        "INSERT INTO deliveries (number, organisation_id, source, delivery_id, event, received_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            number.into(),
            delivery.organisation_id.as_str().into(),
            (&delivery.source).into(),
            (&delivery.delivery_id).into(),
            delivery.event.to_string().into(),
            now.into(),
        ],
    )?;
    Ok(true)
}

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
