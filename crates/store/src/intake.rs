//! What came in from outside, once each: webhook deliveries, and answers to repeated API calls.

use windlass_run::{OrganisationId, Time, actor::By};

use crate::{Error, Store};

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
        let _ = (delivery, now);
        self.unfinished()
    }

    /// Deliveries that nobody has handled yet, oldest first, each with its number.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn unhandled(&self, limit: u32) -> Result<Vec<(u64, Delivery)>, Error> {
        let _ = limit;
        self.unfinished()
    }

    /// Says that a delivery was handled.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn handled(&self, number: u64, outcome: String, now: Time) -> Result<(), Error> {
        let _ = (number, outcome, now);
        self.unfinished()
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
        let _ = (by, organisation_id, key, answer, now);
        self.unfinished()
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
        let _ = (by, organisation_id, key, request);
        self.unfinished()
    }
}
