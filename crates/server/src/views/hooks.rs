//! Hooks: what may be seen of them, with what they received and refused. Never their secrets.

use windlass_store::{
    events::{Filter, Slice},
    hooks::Hook as Row,
};
use windlass_wire::api::{
    Page, PageQuery,
    hook::{Hook, Refused},
};

use super::page_size;
use crate::{auth::Principal, problem::Problem, state::AppState};

/// Hooks by name.
///
/// # Errors
/// A limit that can't be; the store's failures.
pub async fn list(
    app: &AppState,
    principal: &Principal,
    query: PageQuery,
) -> Result<Page<Hook>, Problem> {
    let limit = page_size(query.limit)?;
    let organisation_id = &principal.organisation_id;
    let rows = app.store().hooks(organisation_id, query.cursor.as_deref(), limit).await?;
    let next = (rows.len() == limit as usize).then(|| rows.last().map(|row| row.name.clone()));
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(shown(app, row).await?);
    }
    Ok(Page { items, next: next.flatten() })
}

/// One hook.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn one(app: &AppState, principal: &Principal, name: &str) -> Result<Hook, Problem> {
    let row = app.store().hook(&principal.organisation_id, name).await?;
    shown(app, row).await
}

/// A hook as the API gives it.
pub(crate) async fn shown(app: &AppState, row: Row) -> Result<Hook, Problem> {
    let filter = Filter { source: Some(format!("webhook/{}", row.name)), ..Filter::default() };
    let slice = Slice { before: None, limit: 1 };
    let last = app.store().events(&row.organisation_id, filter, slice).await?;
    let project = match &row.project_id {
        Some(project_id) => Some(app.project_name(&row.organisation_id, project_id).await),
        None => None,
    };
    let refused = app.hooks().refused(&row.name).map(|refused| Refused {
        count: refused.count,
        at: refused.at.as_micros(),
        reason: refused.reason,
    });
    let before = row.before.filter(|before| app.now() < before.until);
    Ok(Hook {
        url: format!("{}/hooks/in/{}", app.base_url(), row.name),
        scheme: row.scheme,
        trust: row.trust.name().to_owned(),
        project,
        version: row.version,
        before_until: before.map(|before| before.until.as_micros()),
        created_at: row.created_at.as_micros(),
        created_by: app.who(&row.created_by.actor).await,
        changed_at: row.changed_at.as_micros(),
        received_at: last.first().map(|kept| kept.received_at.as_micros()),
        refused,
        name: row.name,
    })
}
