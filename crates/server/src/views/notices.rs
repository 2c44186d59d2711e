//! What is not well, as the API gives it.

use windlass_wire::api::notice::Notice;

use crate::{auth::Principal, problem::Problem, state::AppState};

/// The most that are given at once.
const MOST: u32 = 1_000;

/// Notices, the newest first: those that stand, or all that are known.
///
/// # Errors
/// The store's failures.
pub async fn list(
    app: &AppState,
    principal: &Principal,
    all: bool,
) -> Result<Vec<Notice>, Problem> {
    let rows = app.store().notices(&principal.organisation_id, !all, MOST).await?;
    let shown = rows.into_iter().map(|row| Notice {
        kind: row.kind,
        subject: row.subject,
        text: row.text,
        since: row.since.as_micros(),
        resolved_at: row.resolved_at.map(windlass_run::Time::as_micros),
    });
    Ok(shown.collect())
}
