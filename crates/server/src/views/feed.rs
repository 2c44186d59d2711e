//! The global feed.

use windlass_wire::api::feed::FeedEvent;

use crate::{auth::Principal, problem::Problem, state::AppState};

/// What changed after `after`, oldest first.
///
/// # Errors
/// The store's failures.
pub async fn after(
    app: &AppState,
    principal: &Principal,
    after: u64,
    limit: u32,
) -> Result<Vec<FeedEvent>, Problem> {
    let items = app.store().feed(&principal.organisation_id, after, limit).await?;
    let event = |item: windlass_store::feed::FeedItem| FeedEvent {
        seq: item.seq,
        at: item.at.as_micros(),
        subject: item.subject,
        id: item.id,
        what: item.what,
    };
    Ok(items.into_iter().map(event).collect())
}
