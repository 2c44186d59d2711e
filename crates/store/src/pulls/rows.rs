//! Rows to pull requests and their events; filters to SQL.

use windlass_run::OrganisationId;

use crate::{
    Error,
    database::{Row, readers::Values},
    dialect::{Dialect, search},
    pulls::{PullColumns, PullEvent, PullFilter, PullRow},
};

/// The columns that [`pull`] reads.
pub(super) const COLUMNS: &str = "organisation_id, project_id, number, title, state, review, base, \
    head, head_commit, opened_by, job_id, state_json, version, created_at, updated_at";

/// A pull request of [`COLUMNS`].
pub(super) fn pull(mut row: Row) -> Result<PullRow, Error> {
    Ok(PullRow {
        organisation_id: row.parsed(0)?,
        project_id: row.parsed(1)?,
        number: row.natural(2)?,
        columns: PullColumns {
            title: row.text(3)?,
            state: row.text(4)?,
            review: row.text(5)?,
            base: row.text(6)?,
            head: row.text(7)?,
            head_commit: row.text(8)?,
            opened_by: row.json(9)?,
            job_id: row.maybe_parsed(10)?,
            state_json: row.json(11)?,
        },
        version: row.natural(12)?,
        created_at: row.time(13)?,
        updated_at: row.time(14)?,
    })
}

/// An event of `seq, at, who, event`.
pub(super) fn event(mut row: Row) -> Result<PullEvent, Error> {
    Ok(PullEvent { seq: row.natural(0)?, at: row.time(1)?, by: row.json(2)?, event: row.json(3)? })
}

/// The query for a page, newest change first. Absent if nothing can match.
pub(super) fn list(
    dialect: Dialect,
    organisation_id: &OrganisationId,
    filter: PullFilter,
    limit: u32,
) -> Option<(String, Values)> {
    let typed = filter.search.filter(|typed| !typed.trim().is_empty());
    let mut sql = format!("SELECT {COLUMNS} FROM pulls");
    if typed.is_some() {
        sql.push_str(" JOIN pulls_search ON pulls_search.rowid = pulls.place");
    }
    sql.push_str(" WHERE organisation_id = $1");
    let mut values: Values = vec![organisation_id.to_string().into()];
    if let Some(project_id) = filter.project_id {
        values.push(project_id.to_string().into());
        sql.push_str(&format!(" AND project_id = ${}", values.len()));
    }
    if let Some(state) = filter.state {
        values.push(state.into());
        sql.push_str(&format!(" AND state = ${}", values.len()));
    }
    if let Some(typed) = typed {
        values.push(search::query(dialect, &typed)?.into());
        let matches = search::matches(dialect, "pulls_search", values.len());
        sql.push_str(&format!(" AND {matches}"));
    }
    if let Some((updated_at, project_id, number)) = filter.before {
        values.push(updated_at.into());
        values.push(project_id.to_string().into());
        values.push(number.into());
        let n = values.len();
        sql.push_str(&format!(
            " AND (updated_at, project_id, number) < (${}, ${}, ${n})",
            n - 2,
            n - 1
        ));
    }
    values.push(limit.clamp(1, 200).into());
    sql.push_str(&format!(
        " ORDER BY updated_at DESC, project_id DESC, number DESC LIMIT ${}",
        values.len()
    ));
    Some((sql, values))
}
