//! Automations written: applied, removed, paused; and pinned to runs.

use std::{collections::HashSet, sync::Arc};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use windlass_run::{OrganisationId, ProjectId, RunId, Time, actor::By};

use crate::{
    Error,
    automations::{LONGEST, MOST, Origin, Pause, Pinned, rows::not_found},
    events::fire,
    notices,
    writer::tx::{Tx, who},
};

/// What is to become of one automation.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// The version that was in force when somebody looked; 0 if there was none. The change is refused if
    /// another one is in force now.
    pub expected: u64,
    /// What it is to be; absent: removed.
    pub to: Option<NewVersion>,
}

/// The version that is to be in force.
#[derive(Clone, Debug, PartialEq)]
pub struct NewVersion {
    /// What the file is called.
    pub file: String,
    /// The file.
    pub text: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// What became of one automation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its name.
    pub name: String,
    /// The version in force; of one that was removed, the last.
    pub version: u64,
    /// What was done.
    pub outcome: Outcome,
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is new, or came back.
    Created,
    /// It has another text.
    Changed,
    /// It has the same text as before.
    Unchanged,
    /// It is gone.
    Removed,
}

/// Changes that were checked as far as possible without the database.
pub(super) struct Asked {
    by: By,
    who: Arc<str>,
    organisation_id: OrganisationId,
    changes: Vec<(Change, String)>,
    source: Option<(ProjectId, String)>,
}

impl Asked {
    pub(super) fn of(
        by: By,
        organisation_id: OrganisationId,
        changes: Vec<Change>,
        source: Option<(ProjectId, String)>,
    ) -> Result<Self, Error> {
        let invalid = |why: String| Err(Error::Invalid { why });
        let mut names = HashSet::new();
        for change in &changes {
            if change.name.is_empty() || change.name.len() > 64 {
                return invalid("the name of an automation has 1 to 64 bytes".to_owned());
            }
            if !names.insert(change.name.as_str()) {
                return invalid(format!("two of the files are the automation `{}`", change.name));
            }
            if change.to.as_ref().is_some_and(|to| to.text.len() > LONGEST) {
                let name = &change.name;
                return invalid(format!("the file of `{name}` has more than {LONGEST} bytes"));
            }
        }
        let digest = |change: Change| {
            let text = change.to.as_ref().map(|to| to.text.as_str()).unwrap_or_default();
            let digest = digest(text);
            (change, digest)
        };
        Ok(Self {
            who: who(&by),
            by,
            organisation_id,
            changes: changes.into_iter().map(digest).collect(),
            source,
        })
    }
}

/// SHA-256 of a file's text, in hex.
fn digest(text: &str) -> String {
    crate::hex(&Sha256::digest(text))
}

/// What there is of an automation.
struct Standing {
    /// The newest version, also if it was removed.
    version: u64,
    digest: String,
    is_removed: bool,
}

pub(super) fn apply(tx: &mut Tx<'_>, asked: &Asked, now: Time) -> Result<Vec<Applied>, Error> {
    let mut all = Vec::with_capacity(asked.changes.len());
    for (change, digest) in &asked.changes {
        all.push(one(tx, asked, change, digest, now)?);
    }
    if all.iter().any(|applied| applied.outcome == Outcome::Created) {
        let sql = "SELECT COUNT(*) FROM automations WHERE organisation_id = $1 \
                   AND removed_at IS NULL";
        let mut rows = tx.read(sql, &[asked.organisation_id.as_str().into()])?;
        let there = rows.first_mut().map_or(Ok(0), |row| row.natural(0))?;
        if there > MOST as u64 {
            let why = format!("an organisation has at most {MOST} automations: remove some first");
            return Err(Error::Invalid { why });
        }
    }
    if let Some((project_id, commit)) = &asked.source {
        follow(tx, asked, project_id, commit, now)?;
    }
    Ok(all)
}

fn one(
    tx: &mut Tx<'_>,
    asked: &Asked,
    change: &Change,
    digest: &str,
    now: Time,
) -> Result<Applied, Error> {
    let name = change.name.as_str();
    let found = find(tx, &asked.organisation_id, name)?;
    let in_force = found.as_ref().filter(|found| !found.is_removed);
    let version = in_force.map_or(0, |found| found.version);
    if version != change.expected {
        let why = match (change.expected, version) {
            (0, there) => format!("there is an automation `{name}` already, version {there}"),
            (_, 0) => format!("the automation `{name}` was removed meanwhile"),
            (before, there) => {
                format!("the automation `{name}` is at version {there} now, not at {before}")
            }
        };
        return Err(Error::Conflict { why: format!("{why}: look at what is there and try again") });
    }
    let Some(to) = &change.to else { return remove(tx, asked, name, version, now) };
    if in_force.is_some_and(|found| found.digest == digest) {
        return Ok(Applied { name: name.to_owned(), version, outcome: Outcome::Unchanged });
    }
    let next = found.as_ref().map_or(0, |found| found.version) + 1;
    let organisation_id = asked.organisation_id.as_str();
    tx.write(
        "INSERT INTO automation_versions (organisation_id, name, version, file, text, digest, origin, \
         who, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            organisation_id.into(),
            name.into(),
            next.into(),
            (&to.file).into(),
            (&to.text).into(),
            digest.into(),
            json(&to.origin)?.into(),
            (&*asked.who).into(),
            now.into(),
        ],
    )?;
    tx.write(
        "INSERT INTO automations (organisation_id, name, version, applied, created_at, changed_at) \
         VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (organisation_id, name) DO UPDATE SET \
         version = excluded.version, applied = excluded.applied, changed_at = excluded.changed_at, \
         removed_at = NULL",
        &[organisation_id.into(), name.into(), next.into(), (&*asked.who).into(), now.into()],
    )?;
    let outcome = if version == 0 { Outcome::Created } else { Outcome::Changed };
    let what = if version == 0 { "created" } else { "changed" };
    let detail = json!({ "version": next, "digest": digest, "origin": to.origin });
    told(tx, asked, "automation.apply", (name, what), detail, now);
    Ok(Applied { name: name.to_owned(), version: next, outcome })
}

fn remove(
    tx: &mut Tx<'_>,
    asked: &Asked,
    name: &str,
    version: u64,
    now: Time,
) -> Result<Applied, Error> {
    if version == 0 {
        return Err(not_found(name));
    }
    tx.write(
        "UPDATE automations SET removed_at = $1, changed_at = $1, paused = NULL \
         WHERE organisation_id = $2 AND name = $3",
        &[now.into(), asked.organisation_id.as_str().into(), name.into()],
    )?;
    notices::resolve(tx, &asked.organisation_id, fire::PAUSED, name, now)?;
    let detail = json!({ "version": version });
    told(tx, asked, "automation.remove", (name, "removed"), detail, now);
    Ok(Applied { name: name.to_owned(), version, outcome: Outcome::Removed })
}

fn told(
    tx: &mut Tx<'_>,
    asked: &Asked,
    command: &'static str,
    (name, what): (&str, &str),
    detail: serde_json::Value,
    now: Time,
) {
    tx.memory.marks.automations += 1;
    tx.tell(&asked.organisation_id, "automation", name.to_owned(), what, now);
    tx.audit(&asked.who, &asked.organisation_id, command, name, detail.to_string(), now);
}

/// Keeps that a project's files are the truth, and up to where they were applied.
fn follow(
    tx: &mut Tx<'_>,
    asked: &Asked,
    project_id: &ProjectId,
    commit: &str,
    now: Time,
) -> Result<(), Error> {
    // The first who said so stays the one on whose behalf it is followed, until the source is ended.
    tx.write(
        "INSERT INTO automation_sources (organisation_id, project_id, commit_id, who, at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (organisation_id, project_id) DO UPDATE SET \
         commit_id = excluded.commit_id, at = excluded.at",
        &[
            asked.organisation_id.as_str().into(),
            project_id.as_str().into(),
            commit.into(),
            json(&asked.by)?.into(),
            now.into(),
        ],
    )?;
    let detail = json!({ "commit": commit }).to_string();
    let (who, organisation_id) = (&asked.who, &asked.organisation_id);
    tx.audit(who, organisation_id, "automation.sync", project_id.as_str(), detail, now);
    Ok(())
}

pub(super) fn end_source(
    tx: &mut Tx<'_>,
    by: &By,
    organisation_id: &OrganisationId,
    project_id: &ProjectId,
    now: Time,
) -> Result<bool, Error> {
    let key = [organisation_id.as_str().into(), project_id.as_str().into()];
    let sql = "SELECT 1 FROM automation_sources WHERE organisation_id = $1 AND project_id = $2";
    if tx.read(sql, &key)?.is_empty() {
        return Ok(false);
    }
    tx.write(
        "DELETE FROM automation_sources WHERE organisation_id = $1 AND project_id = $2",
        &key,
    )?;
    tx.audit(&who(by), organisation_id, "automation.unsync", project_id.as_str(), "{}", now);
    Ok(true)
}

pub(crate) fn pause(
    tx: &mut Tx<'_>,
    by: &By,
    organisation_id: &OrganisationId,
    name: &str,
    why: Option<String>,
    now: Time,
) -> Result<bool, Error> {
    let sql = "SELECT paused FROM automations WHERE organisation_id = $1 AND name = $2 \
               AND removed_at IS NULL";
    let mut rows = tx.read(sql, &[organisation_id.as_str().into(), name.into()])?;
    let row = rows.first_mut().ok_or_else(|| not_found(name))?;
    if row.maybe_text(0)?.is_some() == why.is_some() {
        return Ok(false);
    }
    let (command, what) = match why {
        Some(_) => ("automation.pause", "paused"),
        None => ("automation.resume", "resumed"),
    };
    if why.is_none() {
        notices::resolve(tx, organisation_id, fire::PAUSED, name, now)?;
    }
    let detail = json!({ "why": why }).to_string();
    let paused = why.map(|why| json(&Pause { at: now, by: by.clone(), why })).transpose()?;
    tx.write(
        "UPDATE automations SET paused = $1, changed_at = $2 \
         WHERE organisation_id = $3 AND name = $4",
        &[paused.as_ref().into(), now.into(), organisation_id.as_str().into(), name.into()],
    )?;
    tx.memory.marks.automations += 1;
    tx.tell(organisation_id, "automation", name.to_owned(), what, now);
    tx.audit(&who(by), organisation_id, command, name, detail, now);
    Ok(true)
}

/// Whether that version of an automation is in force, and may start something by itself.
pub(crate) fn is_in_force(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    name: &str,
    version: u64,
) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM automations WHERE organisation_id = $1 AND name = $2 \
               AND version = $3 AND paused IS NULL AND removed_at IS NULL";
    let key = [organisation_id.as_str().into(), name.into(), version.into()];
    Ok(!tx.read(sql, &key)?.is_empty())
}

/// Keeps which version of which automation a run is of.
pub(crate) fn pin(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    (run_number, run_id): (u64, &RunId),
    pinned: &Pinned,
) -> Result<(), Error> {
    tx.write(
        "INSERT INTO automation_runs (run_number, run_id, organisation_id, automation, version, \
         digest) VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            run_number.into(),
            run_id.as_str().into(),
            organisation_id.as_str().into(),
            (&pinned.automation).into(),
            pinned.version.unwrap_or_default().into(),
            (&pinned.digest).into(),
        ],
    )
}

fn find(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    name: &str,
) -> Result<Option<Standing>, Error> {
    let sql = "SELECT a.version, v.digest, a.removed_at FROM automations a \
               JOIN automation_versions v ON v.organisation_id = a.organisation_id \
               AND v.name = a.name AND v.version = a.version \
               WHERE a.organisation_id = $1 AND a.name = $2";
    let mut rows = tx.read(sql, &[organisation_id.as_str().into(), name.into()])?;
    let Some(row) = rows.first_mut() else { return Ok(None) };
    Ok(Some(Standing {
        version: row.natural(0)?,
        digest: row.text(1)?,
        is_removed: row.maybe_int(2)?.is_some(),
    }))
}

fn json(what: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(what)
        .map_err(|error| Error::Invalid { why: format!("it can't be written as JSON: {error}") })
}
