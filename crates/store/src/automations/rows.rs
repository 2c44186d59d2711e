//! Rows to automations and versions.

use crate::{
    Error,
    automations::{Automation, Head, Pinned, Source, Version},
    database::Row,
};

/// An automation beside the version in force, as [`automation`] reads it.
pub(super) const CURRENT: &str = "SELECT a.organisation_id, a.name, a.applied, a.paused, \
    a.created_at, a.changed_at, v.version, v.file, v.text, v.digest, v.origin, v.who, v.at \
    FROM automations a JOIN automation_versions v ON v.organisation_id = a.organisation_id \
    AND v.name = a.name AND v.version = a.version WHERE a.organisation_id = $1";

/// The columns that [`version`] reads.
pub(super) const VERSION: &str = "v.version, v.file, v.text, v.digest, v.origin, v.who, v.at";

pub(super) fn not_found(name: &str) -> Error {
    Error::NotFound { what: "automation", id: name.to_owned() }
}

pub(super) fn head(mut row: Row) -> Result<Head, Error> {
    Ok(Head {
        name: row.text(0)?,
        version: row.natural(1)?,
        is_paused: row.int(2)? != 0,
        changed_at: row.time(3)?,
    })
}

pub(super) fn automation(mut row: Row) -> Result<Automation, Error> {
    Ok(Automation {
        organisation_id: row.parsed(0)?,
        name: row.text(1)?,
        applied: row.json(2)?,
        paused: row.maybe_json(3)?,
        created_at: row.time(4)?,
        changed_at: row.time(5)?,
        current: version(&mut row, 6)?,
    })
}

pub(super) fn version(row: &mut Row, first: usize) -> Result<Version, Error> {
    Ok(Version {
        version: row.natural(first)?,
        file: row.text(first + 1)?,
        text: row.text(first + 2)?,
        digest: row.text(first + 3)?,
        origin: row.json(first + 4)?,
        by: row.json(first + 5)?,
        at: row.time(first + 6)?,
    })
}

pub(super) fn pinned(row: &mut Row, first: usize) -> Result<Pinned, Error> {
    Ok(Pinned {
        automation: row.text(first)?,
        version: Some(row.natural(first + 1)?).filter(|version| *version > 0),
        digest: row.text(first + 2)?,
    })
}

pub(super) fn source(mut row: Row) -> Result<Source, Error> {
    Ok(Source {
        project_id: row.parsed(0)?,
        commit: row.text(1)?,
        by: row.json(2)?,
        at: row.time(3)?,
    })
}
