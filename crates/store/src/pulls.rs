//! Pull requests of the local forge: a journal of events per pull request, the whole state as JSON,
//! and the columns that lists need. The rules are `forge::local`'s; here is only memory.

mod change;
mod rows;

use windlass_run::{JobId, OrganisationId, ProjectId, Time, actor::By, event::Event};

use crate::{Error, Store, writer::tx::who};

/// A pull request as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct PullRow {
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// The project.
    pub project_id: ProjectId,
    /// The number in the project, from 1.
    pub number: u64,
    /// What lists need.
    pub columns: PullColumns,
    /// The number of its newest event: what the next change must name.
    pub version: u64,
    /// When it was opened.
    pub created_at: Time,
    /// When it last changed.
    pub updated_at: Time,
}

/// What lists need of a pull request, and its whole state.
#[derive(Clone, Debug, PartialEq)]
pub struct PullColumns {
    /// The title.
    pub title: String,
    /// `open`, `merged` or `closed`.
    pub state: String,
    /// `none`, `approved` or `changes_requested`.
    pub review: String,
    /// The branch that the change is meant for.
    pub base: String,
    /// The branch that has the change.
    pub head: String,
    /// The commit that `head` points to.
    pub head_commit: String,
    /// Who opened it.
    pub opened_by: By,
    /// The job that pushed the newest head, where one did.
    pub job_id: Option<JobId>,
    /// The whole state, as the rules know it.
    pub state_json: serde_json::Value,
}

/// What comes of a command on a pull request.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What it is like after it.
    pub columns: PullColumns,
    /// What is added to its journal.
    pub events: Vec<serde_json::Value>,
    /// What triggers are told, kept in the same transaction.
    pub raise: Vec<Event>,
}

/// An event of a pull request.
#[derive(Clone, Debug, PartialEq)]
pub struct PullEvent {
    /// Its place in the pull request's journal, from 1 without gaps.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// Who.
    pub by: By,
    /// What happened.
    pub event: serde_json::Value,
}

/// Which pull requests are wanted, newest change first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PullFilter {
    /// Only those of this project.
    pub project_id: Option<ProjectId>,
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those whose title has all of these words (the last one as a prefix).
    pub search: Option<String>,
    /// Only those that changed before: `updated_at`, project and number of the last row of the page
    /// before.
    pub before: Option<(Time, ProjectId, u64)>,
}

impl Store {
    /// Opens a pull request with the project's next number and gives that number. `make` gets the
    /// number and gives the columns and the first events; it may be called more than once.
    ///
    /// # Errors
    /// [`Error::Conflict`] if an open pull request of this project has the same head and base; its
    /// message names the number.
    pub async fn open_pull<F>(
        &self,
        by: By,
        organisation_id: OrganisationId,
        project_id: ProjectId,
        now: Time,
        make: F,
    ) -> Result<u64, Error>
    where
        F: Fn(u64) -> Change + Send + 'static,
    {
        let place = change::Place { who: who(&by), organisation_id, project_id, now };
        self.command(move |tx| change::open(tx, &place, &make)).await
    }

    /// Takes in a pull request of another host under the number that it has there. Safe to repeat:
    /// one that is here already stays as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the project is not there; [`Error::Conflict`] if another open pull
    /// request of this project has the same head and base.
    #[expect(clippy::too_many_arguments, reason = "each one is a different thing that is needed")]
    pub async fn adopt_pull(
        &self,
        by: By,
        organisation_id: OrganisationId,
        project_id: ProjectId,
        number: u64,
        columns: PullColumns,
        events: Vec<serde_json::Value>,
        now: Time,
    ) -> Result<(), Error> {
        let place = change::Place { who: who(&by), organisation_id, project_id, now };
        self.command(move |tx| change::adopt(tx, &place, number, &columns, &events)).await
    }

    /// Appends events to a pull request and replaces its columns. Gives the new version.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if its version is not `version` any more: read it
    /// again and decide again.
    #[expect(clippy::too_many_arguments, reason = "each one is a different thing that is needed")]
    pub async fn change_pull(
        &self,
        by: By,
        organisation_id: OrganisationId,
        project_id: ProjectId,
        number: u64,
        version: u64,
        change: Change,
        now: Time,
    ) -> Result<u64, Error> {
        let place = change::Place { who: who(&by), organisation_id, project_id, now };
        self.command(move |tx| change::change(tx, &place, (number, version), &change)).await
    }

    /// One pull request.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn pull(
        &self,
        organisation_id: &OrganisationId,
        project_id: &ProjectId,
        number: u64,
    ) -> Result<PullRow, Error> {
        let columns = rows::COLUMNS;
        let sql = format!(
            "SELECT {columns} FROM pulls WHERE project_id = $1 AND number = $2 \
             AND organisation_id = $3"
        );
        let values =
            vec![project_id.to_string().into(), number.into(), organisation_id.to_string().into()];
        let row = self.query(&sql, values).await?.into_iter().next();
        rows::pull(row.ok_or_else(|| change::not_found(number))?)
    }

    /// The open pull request of a project with this head, where there is one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn open_pull_with_head(
        &self,
        organisation_id: &OrganisationId,
        project_id: &ProjectId,
        head: &str,
    ) -> Result<Option<PullRow>, Error> {
        let columns = rows::COLUMNS;
        let sql = format!(
            "SELECT {columns} FROM pulls WHERE project_id = $1 AND head = $2 AND state = 'open' \
             AND organisation_id = $3 ORDER BY number DESC LIMIT 1"
        );
        let values = vec![
            project_id.to_string().into(),
            head.to_owned().into(),
            organisation_id.to_string().into(),
        ];
        self.query(&sql, values).await?.into_iter().next().map(rows::pull).transpose()
    }

    /// Pull requests, newest change first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn pulls(
        &self,
        organisation_id: &OrganisationId,
        filter: PullFilter,
        limit: u32,
    ) -> Result<Vec<PullRow>, Error> {
        let list = rows::list(self.inner.dialect, organisation_id, filter, limit);
        let Some((sql, values)) = list else { return Ok(vec![]) };
        self.query(&sql, values).await?.into_iter().map(rows::pull).collect()
    }

    /// The journal of a pull request after `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn pull_events(
        &self,
        organisation_id: &OrganisationId,
        project_id: &ProjectId,
        number: u64,
        after: u64,
        limit: u32,
    ) -> Result<Vec<PullEvent>, Error> {
        self.pull(organisation_id, project_id, number).await?;
        let sql = "SELECT seq, at, who, event FROM pull_events WHERE project_id = $1 \
                   AND number = $2 AND seq > $3 ORDER BY seq LIMIT $4";
        let limit = limit.clamp(1, 10_000);
        let values = vec![project_id.to_string().into(), number.into(), after.into(), limit.into()];
        self.query(sql, values).await?.into_iter().map(rows::event).collect()
    }
}
