//! Rows to fleets, targets and points; filters to SQL; ordinals to rings.

use windlass_run::{Time, fleet::State};

use crate::{
    Error,
    database::{Row, readers::Values},
    fleets::{FleetRow, Point, TargetFilter, TargetRow, machine::MINUTE},
};

/// The state of a target that was not begun, or is to be begun again.
pub(super) const PLANNED: &str = "planned";

/// The columns that [`fleet`] reads.
pub(super) const FLEET: &str =
    "run_id, number, organisation_id, title, selected, state, created_at, changed_at";

/// The columns that [`target`] reads.
const TARGET: &str = "ordinal, project_id, repository, forge, owner, base, labels, state, attempt, \
    job_id, kind, trouble, reason, instruction, pull_number, review, verified, cluster";

/// A fleet of [`FLEET`].
pub(super) fn fleet(mut row: Row) -> Result<FleetRow, Error> {
    Ok(FleetRow {
        run_id: row.parsed(0)?,
        number: row.natural(1)?,
        organisation_id: row.parsed(2)?,
        title: row.text(3)?,
        selected: row.json(4)?,
        state: row.json(5)?,
        created_at: row.time(6)?,
        changed_at: row.time(7)?,
    })
}

/// A target of [`TARGET`].
pub(super) fn target(mut row: Row) -> Result<TargetRow, Error> {
    let labels = row.text(6)?;
    let labels = labels.split(',').filter(|label| !label.is_empty());
    Ok(TargetRow {
        ordinal: row.small(0)?,
        project_id: row.parsed(1)?,
        repository: row.text(2)?,
        forge: row.text(3)?,
        owner: row.maybe_text(4)?,
        base: row.maybe_text(5)?,
        labels: labels.map(str::to_owned).collect(),
        state: row.text(7)?,
        attempt: row.small(8)?,
        job_id: row.maybe_parsed(9)?,
        kind: row.maybe_text(10)?,
        trouble: row.maybe_text(11)?,
        reason: row.maybe_text(12)?,
        instruction: row.maybe_text(13)?,
        pull_number: row.maybe_int(14)?.and_then(|number| u64::try_from(number).ok()),
        review: row.maybe_text(15)?,
        verified: row.int(16)? != 0,
        cluster: row.maybe_text(17)?,
    })
}

/// A point of `minute, planned, running, succeeded, failed, open, landed`.
pub(super) fn point(mut row: Row) -> Result<Point, Error> {
    Ok(Point {
        at: Time::from_micros(row.int(0)?.saturating_mul(MINUTE)),
        planned: row.small(1)?,
        running: row.small(2)?,
        succeeded: row.small(3)?,
        failed: row.small(4)?,
        open: row.small(5)?,
        landed: row.small(6)?,
    })
}

/// The query for a page of targets.
pub(super) fn list(run_number: u64, filter: TargetFilter, limit: u32) -> (String, Values) {
    let mut sql = format!("SELECT {TARGET} FROM targets WHERE run_number = $1");
    let mut values: Values = vec![run_number.into()];
    let equal = [
        ("state", filter.state),
        ("trouble", filter.trouble),
        ("kind", filter.kind),
        ("cluster", filter.cluster),
        ("review", filter.review),
    ];
    for (column, value) in equal {
        let Some(value) = value else { continue };
        values.push(value.into());
        // The indexes of what most targets don't have are only of those that do.
        sql.push_str(&format!(" AND {column} IS NOT NULL AND {column} = ${}", values.len()));
    }
    let after = filter.after.map_or(0, |after| u64::from(after) + 1);
    let (first, end) = filter
        .within
        .map_or((0, u64::from(u32::MAX)), |(first, end)| (u64::from(first), u64::from(end)));
    values.push(first.max(after).into());
    values.push(end.into());
    values.push(limit.clamp(1, 10_000).into());
    let n = values.len();
    sql.push_str(&format!(
        " AND ordinal >= ${} AND ordinal < ${} ORDER BY ordinal LIMIT ${n}",
        n - 2,
        n - 1
    ));
    (sql, values)
}

/// The ordinals of a ring: its first, and the one after its last.
pub(super) fn ring(state: &State, ring: u16) -> (u32, u32) {
    let before = state.rings.iter().take(usize::from(ring)).map(|ring| ring.targets);
    let first = before.fold(0, u32::saturating_add);
    let own = state.rings.get(usize::from(ring)).map_or(0, |ring| ring.targets);
    (first, first.saturating_add(own))
}

/// The ring of a target.
pub(super) fn ring_of(state: &State, ordinal: u32) -> u16 {
    let mut end = 0_u32;
    let passed = state.rings.iter().take_while(|ring| {
        end = end.saturating_add(ring.targets);
        end <= ordinal
    });
    let last = state.rings.len().saturating_sub(1);
    u16::try_from(passed.count().min(last)).unwrap_or(u16::MAX)
}

/// Whether a change that stands like this is neither merged nor closed.
pub(super) fn is_unmerged(review: &str) -> bool {
    matches!(review, "open" | "sent_back" | "approved")
}
