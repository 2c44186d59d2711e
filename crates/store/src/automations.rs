//! Automations as they were applied: by name, with every version that each ever had, and which version a run
//! is of. A file is text here: whether it can be read, and what it would do, is judged before.
//!
//! A version is never changed. What is in force is a number; a roll back is a new version with an old text.

pub(crate) mod put;
mod rows;

use serde::{Deserialize, Serialize};
use windlass_run::{OrganisationId, ProjectId, Time, actor::By};

pub use put::{Applied, Change, NewVersion, Outcome};

use crate::{
    Error, Store,
    events::Slice,
    runs::{RUN_COLUMNS, RunRow, run_of},
};

/// The most automations of an organisation.
pub const MOST: usize = 50_000;

/// The most bytes of a file: a spec of a job holds what it says, so this bounds that too.
pub const LONGEST: usize = 1 << 20;

/// An automation with the version that is in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Automation {
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// Its name.
    pub name: String,
    /// What is in force.
    pub current: Version,
    /// Who applied that, on whose behalf its runs go on.
    pub applied: By,
    /// Set while it starts nothing by itself.
    pub paused: Option<Pause>,
    /// When its first version was applied.
    pub created_at: Time,
    /// When something about it last changed.
    pub changed_at: Time,
}

/// Which version of an automation is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its name.
    pub name: String,
    /// The version.
    pub version: u64,
    /// Whether it starts nothing by itself.
    pub is_paused: bool,
    /// When something about it last changed.
    pub changed_at: Time,
}

/// One version of an automation.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// Its number, from 1.
    pub version: u64,
    /// What the file was called, as messages about it say.
    pub file: String,
    /// The file.
    pub text: String,
    /// SHA-256 of the text, in hex.
    pub digest: String,
    /// Where it came from.
    pub origin: Origin,
    /// Who applied it.
    pub by: By,
    /// When.
    pub at: Time,
}

/// Where a version came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Origin {
    /// Somebody handed it in.
    Hand,
    /// A file of a project.
    Project {
        /// Which.
        project_id: ProjectId,
        /// The commit that it was read at.
        commit: String,
    },
    /// An earlier version.
    Version {
        /// Which.
        version: u64,
        /// The project that goes on owning it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project_id: Option<ProjectId>,
    },
}

impl Origin {
    /// The project whose file it is.
    pub fn project_id(&self) -> Option<&ProjectId> {
        match self {
            Self::Hand => None,
            Self::Project { project_id, .. } => Some(project_id),
            Self::Version { project_id, .. } => project_id.as_ref(),
        }
    }
}

/// What the last jobs of an automation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// How many there were, at most 1,000.
    pub jobs: u64,
    /// How many succeeded.
    pub succeeded: u64,
    /// How many had nothing to do.
    pub skipped: u64,
    /// The tokens of all.
    pub tokens: u64,
    /// The time of all, from first lease to end, in microseconds.
    pub micros: u64,
}

/// Why an automation starts nothing by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub at: Time,
    /// Who paused it: a person, or Windlass.
    pub by: By,
    /// Why, for a person.
    pub why: String,
}

/// Which version of which automation a run is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// The automation's name.
    pub automation: String,
    /// The version; absent for a file that nobody applied.
    pub version: Option<u64>,
    /// SHA-256 of the file's text, in hex.
    pub digest: String,
}

/// A project whose automation files are the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The project.
    pub project_id: ProjectId,
    /// The commit that was applied last.
    pub commit: String,
    /// Who made it a source, on whose behalf it is followed.
    pub by: By,
    /// When it was applied.
    pub at: Time,
}

/// A run of an automation.
#[derive(Clone, Debug, PartialEq)]
pub struct AutomationRun {
    /// The run.
    pub run: RunRow,
    /// What it is a run of.
    pub pinned: Pinned,
}

impl Store {
    /// All automations of an organisation, by name, with the texts that are in force.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn automations(
        &self,
        organisation_id: &OrganisationId,
    ) -> Result<Vec<Automation>, Error> {
        let sql = format!("{} AND a.removed_at IS NULL ORDER BY a.name", rows::CURRENT);
        let rows = self.query(&sql, vec![organisation_id.to_string().into()]).await?;
        rows.into_iter().map(rows::automation).collect()
    }

    /// A page of them: those whose name comes after `after`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn automations_page(
        &self,
        organisation_id: &OrganisationId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Automation>, Error> {
        let sql = format!(
            "{} AND a.removed_at IS NULL AND a.name > $2 ORDER BY a.name LIMIT $3",
            rows::CURRENT
        );
        let values = vec![
            organisation_id.to_string().into(),
            after.unwrap_or_default().to_owned().into(),
            limit.clamp(1, 200).into(),
        ];
        self.query(&sql, values).await?.into_iter().map(rows::automation).collect()
    }

    /// Which version of each automation is in force, without the texts: for whoever has most of those.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn automation_heads(
        &self,
        organisation_id: &OrganisationId,
    ) -> Result<Vec<Head>, Error> {
        let sql = "SELECT name, version, CASE WHEN paused IS NULL THEN 0 ELSE 1 END, changed_at FROM automations \
                   WHERE organisation_id = $1 AND removed_at IS NULL ORDER BY name";
        let rows = self.query(sql, vec![organisation_id.to_string().into()]).await?;
        rows.into_iter().map(rows::head).collect()
    }

    /// One automation.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn automation(
        &self,
        organisation_id: &OrganisationId,
        name: &str,
    ) -> Result<Automation, Error> {
        let sql = format!("{} AND a.removed_at IS NULL AND a.name = $2", rows::CURRENT);
        let values = vec![organisation_id.to_string().into(), name.to_owned().into()];
        let row = self.query(&sql, values).await?.into_iter().next();
        rows::automation(row.ok_or_else(|| rows::not_found(name))?)
    }

    /// The versions of an automation, also of one that was removed, newest first. `before` of the slice is
    /// a version.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn automation_versions(
        &self,
        organisation_id: &OrganisationId,
        name: &str,
        slice: Slice,
    ) -> Result<Vec<Version>, Error> {
        let sql = format!(
            "SELECT {} FROM automation_versions v WHERE v.organisation_id = $1 AND v.name = $2 \
             AND v.version < $3 ORDER BY v.version DESC LIMIT $4",
            rows::VERSION
        );
        let values = vec![
            organisation_id.to_string().into(),
            name.to_owned().into(),
            slice.before.unwrap_or(i64::MAX.unsigned_abs()).into(),
            slice.limit.clamp(1, 200).into(),
        ];
        let rows = self.query(&sql, values).await?;
        rows.into_iter().map(|mut row| rows::version(&mut row, 0)).collect()
    }

    /// One version of an automation, also of one that was removed.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn automation_version(
        &self,
        organisation_id: &OrganisationId,
        name: &str,
        version: u64,
    ) -> Result<Version, Error> {
        let slice = Slice { before: Some(version.saturating_add(1)), limit: 1 };
        let found = self.automation_versions(organisation_id, name, slice).await?.pop();
        let missing = || rows::not_found(&format!("{name}, version {version}"));
        found.filter(|found| found.version == version).ok_or_else(missing)
    }

    /// Puts versions in force and removes automations, all in one transaction or nothing. What has the
    /// text already that it is to have is left as it is.
    ///
    /// # Errors
    /// [`Error::Conflict`] if one was changed since it was looked at; [`Error::Invalid`] for a file that is
    /// too long, a name said twice, or more automations than [`MOST`].
    pub async fn apply_automations(
        &self,
        by: By,
        organisation_id: OrganisationId,
        changes: Vec<Change>,
        source: Option<(ProjectId, String)>,
        now: Time,
    ) -> Result<Vec<Applied>, Error> {
        let asked = put::Asked::of(by, organisation_id, changes, source)?;
        self.command(move |tx| put::apply(tx, &asked, now)).await
    }

    /// Keeps an automation from starting anything by itself, or lets it again (`why` absent). False if
    /// that is how it was.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn pause_automation(
        &self,
        by: By,
        organisation_id: OrganisationId,
        name: String,
        why: Option<String>,
        now: Time,
    ) -> Result<bool, Error> {
        self.command(move |tx| put::pause(tx, &by, &organisation_id, &name, why.clone(), now)).await
    }

    /// The projects whose files are the truth.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn automation_sources(
        &self,
        organisation_id: &OrganisationId,
    ) -> Result<Vec<Source>, Error> {
        let sql = "SELECT project_id, commit_id, who, at FROM automation_sources \
                   WHERE organisation_id = $1 ORDER BY project_id";
        let rows = self.query(sql, vec![organisation_id.to_string().into()]).await?;
        rows.into_iter().map(rows::source).collect()
    }

    /// Ends that a project's files are the truth. Its automations stay as they are. False if they were not.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn end_automation_source(
        &self,
        by: By,
        organisation_id: OrganisationId,
        project_id: ProjectId,
        now: Time,
    ) -> Result<bool, Error> {
        self.command(move |tx| put::end_source(tx, &by, &organisation_id, &project_id, now)).await
    }

    /// The runs of an automation, newest first. `before` of the slice is the number of a run.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn runs_of_automation(
        &self,
        organisation_id: &OrganisationId,
        name: &str,
        slice: Slice,
    ) -> Result<Vec<AutomationRun>, Error> {
        let columns = RUN_COLUMNS.split(", ").map(|column| format!("r.{}", column.trim()));
        let columns: Vec<String> = columns.collect();
        let sql = format!(
            "SELECT {}, p.automation, p.version, p.digest FROM automation_runs p \
             JOIN runs r ON r.number = p.run_number \
             WHERE p.organisation_id = $1 AND p.automation = $2 AND p.run_number < $3 \
             ORDER BY p.run_number DESC LIMIT $4",
            columns.join(", ")
        );
        let values = vec![
            organisation_id.to_string().into(),
            name.to_owned().into(),
            slice.before.unwrap_or(i64::MAX.unsigned_abs()).into(),
            slice.limit.clamp(1, 200).into(),
        ];
        let rows = self.query(&sql, values).await?;
        let one = |mut row: crate::database::Row| {
            let pinned = rows::pinned(&mut row, columns.len())?;
            Ok(AutomationRun { run: run_of(row)?, pinned })
        };
        rows.into_iter().map(one).collect()
    }

    /// What the last jobs of an automation came to, of its last 20 runs.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn automation_history(
        &self,
        organisation_id: &OrganisationId,
        name: &str,
    ) -> Result<History, Error> {
        let sql = "SELECT COUNT(*), \
             COALESCE(SUM(CASE WHEN standing = 'succeeded' THEN 1 ELSE 0 END), 0), \
             COALESCE(SUM(CASE WHEN standing = 'skipped' THEN 1 ELSE 0 END), 0), \
             CAST(COALESCE(SUM(tokens), 0) AS BIGINT), \
             CAST(COALESCE(SUM(ended_at - COALESCE(started_at, ended_at)), 0) AS BIGINT) \
             FROM (SELECT j.standing, j.tokens, j.started_at, j.ended_at FROM jobs j \
             JOIN (SELECT run_number FROM automation_runs \
             WHERE organisation_id = $1 AND automation = $2 ORDER BY run_number DESC LIMIT 20) p \
             ON j.run_number = p.run_number WHERE j.ended_at IS NOT NULL LIMIT 1000) t";
        let values = vec![organisation_id.to_string().into(), name.to_owned().into()];
        let mut rows = self.query(sql, values).await?;
        let Some(row) = rows.first_mut() else { return Ok(History::default()) };
        Ok(History {
            jobs: row.natural(0)?,
            succeeded: row.natural(1)?,
            skipped: row.natural(2)?,
            tokens: row.natural(3)?,
            micros: row.natural(4)?,
        })
    }

    /// What a run is a run of; absent for a task.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn automation_of_run(
        &self,
        organisation_id: &OrganisationId,
        run_id: &windlass_run::RunId,
    ) -> Result<Option<Pinned>, Error> {
        let sql = "SELECT automation, version, digest FROM automation_runs \
                   WHERE run_id = $1 AND organisation_id = $2";
        let values = vec![run_id.to_string().into(), organisation_id.to_string().into()];
        let mut rows = self.query(sql, values).await?;
        rows.first_mut().map(|row| rows::pinned(row, 0)).transpose()
    }
}

/// Keeps which version a run is of, in the transaction that creates it.
pub(crate) use put::pin;
