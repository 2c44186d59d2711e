//! The audit log, read.

use crate::{Error, database::Row, identity::AuditEntry};

/// A page, newest first.
pub(super) const PAGE: &str = "SELECT seq, at, who, command, subject, detail FROM audit \
    WHERE organisation_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";

/// An entry of [`PAGE`].
pub(super) fn entry(mut row: Row) -> Result<AuditEntry, Error> {
    Ok(AuditEntry {
        seq: row.natural(0)?,
        at: row.time(1)?,
        by: row.json(2)?,
        command: row.text(3)?,
        subject: row.text(4)?,
        detail: row.text(5)?,
    })
}
