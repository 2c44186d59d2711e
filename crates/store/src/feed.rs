//! The global feed: that something changed, in the order of commits; and the hint that there is more.

use tokio::sync::watch;
use windlass_run::{OrganisationId, Time};

use crate::{Error, Store, database::Row};

/// What a subscriber learns. It is only a hint: look, don't trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// The newest entry of the feed.
    pub feed: u64,
    /// Grows whenever a job begins to wait for a runner.
    pub queue: u64,
    /// Grows whenever an effect for the server was staged.
    pub outbox: u64,
    /// Grows whenever an event was kept.
    pub events: u64,
    /// Grows whenever an event was handled.
    pub handled: u64,
    /// Grows whenever an automation was applied, removed, paused or resumed.
    pub automations: u64,
    /// Grows whenever a fleet changed.
    pub fleets: u64,
    /// Grows whenever a stream grew.
    pub streams: u64,
}

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedItem {
    /// Its place in the feed.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// What sort of thing: `run`, `fleet`, `job`, `environment`, `pull_request`, `project` or `runner`.
    pub subject: String,
    /// Which one; `<project id>/<number>` for a pull request.
    pub id: String,
    /// What happened, one word: for runs and jobs where they stand now.
    pub what: String,
}

impl Store {
    /// Wakes after each commit that changed something. The value is the newest [`Hint`].
    pub fn subscribe(&self) -> watch::Receiver<Hint> {
        self.inner.hint.clone()
    }

    /// The feed of an organisation after `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn feed(
        &self,
        organisation_id: &OrganisationId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<FeedItem>, Error> {
        let sql = "SELECT seq, at, subject, id, what FROM feed WHERE organisation_id = $1 \
                   AND seq > $2 ORDER BY seq LIMIT $3";
        let limit = limit.clamp(1, 10_000);
        let values = vec![organisation_id.to_string().into(), after.into(), limit.into()];
        let rows = self.query(sql, values).await?;
        let item = |mut row: Row| {
            Ok(FeedItem {
                seq: row.natural(0)?,
                at: row.time(1)?,
                subject: row.text(2)?,
                id: row.text(3)?,
                what: row.text(4)?,
            })
        };
        rows.into_iter().map(item).collect()
    }
}
