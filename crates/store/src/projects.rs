//! Projects: repositories with their settings and sealed secrets.

use windlass_run::{OrganisationId, ProjectId, Time, actor::By};

use std::sync::Arc;

use crate::{
    Error, Store,
    database::{Row, Value},
    writer::tx::{Tx, who},
};

const COLUMNS: &str = "id, organisation_id, name, forge, source, default_branch, settings, \
    created_at, archived_at";

/// A project.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// The name, unique among the organisation's projects that are not archived.
    pub name: String,
    /// Who hosts its pull requests: `local`, `github`, ...
    pub forge: String,
    /// Where its repository is: a path or a URL, without a credential.
    pub source: String,
    /// The branch that changes are meant for if a task names none.
    pub default_branch: Option<String>,
    /// Everything else that the server knows of it.
    pub settings: serde_json::Value,
    /// When it was added.
    pub created_at: Time,
    /// When it was taken away.
    pub archived_at: Option<Time>,
}

impl Store {
    /// Adds a project.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the name or id is taken.
    pub async fn create_project(&self, by: By, project: Project) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| create(tx, &who, &project)).await
    }

    /// Changes a project: everything but id, organisation and creation.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if the name is taken.
    pub async fn update_project(&self, by: By, project: Project, now: Time) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| update(tx, &who, &project, now)).await
    }

    /// All projects of an organisation that are not archived, by name, after `after` where given.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn projects(
        &self,
        organisation_id: &OrganisationId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Project>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM projects WHERE organisation_id = $1 AND archived_at IS NULL \
             AND name > $2 ORDER BY name LIMIT $3"
        );
        let values = vec![
            organisation_id.to_string().into(),
            after.unwrap_or_default().to_owned().into(),
            limit.clamp(1, 1_000).into(),
        ];
        self.query(&sql, values).await?.into_iter().map(project).collect()
    }

    /// One project, archived or not.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn project(
        &self,
        organisation_id: &OrganisationId,
        project_id: &ProjectId,
    ) -> Result<Project, Error> {
        let sql = format!("SELECT {COLUMNS} FROM projects WHERE id = $1 AND organisation_id = $2");
        let values = vec![project_id.to_string().into(), organisation_id.to_string().into()];
        let row = self.query(&sql, values).await?.into_iter().next();
        project(row.ok_or_else(|| not_found(project_id.as_str()))?)
    }

    /// One project that is not archived, by its name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn project_named(
        &self,
        organisation_id: &OrganisationId,
        name: &str,
    ) -> Result<Project, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM projects WHERE organisation_id = $1 AND name = $2 \
             AND archived_at IS NULL"
        );
        let values = vec![organisation_id.to_string().into(), name.to_owned().into()];
        let row = self.query(&sql, values).await?.into_iter().next();
        project(row.ok_or_else(|| not_found(name))?)
    }

    /// Keeps a sealed secret of a project under a name, in place of an earlier one. The store never
    /// sees what is in it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn seal_secret(
        &self,
        by: By,
        organisation_id: OrganisationId,
        project_id: ProjectId,
        name: String,
        sealed: Vec<u8>,
        now: Time,
    ) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| {
            seal(tx, &who, (&organisation_id, &project_id), (&name, &sealed), now)
        })
        .await
    }

    /// A sealed secret of a project; absent if there is none of that name.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn sealed_secret(
        &self,
        organisation_id: &OrganisationId,
        project_id: &ProjectId,
        name: &str,
    ) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT sealed FROM project_secrets WHERE project_id = $1 AND name = $2 \
                   AND organisation_id = $3";
        let values = vec![
            project_id.to_string().into(),
            name.to_owned().into(),
            organisation_id.to_string().into(),
        ];
        let mut rows = self.query(sql, values).await?;
        rows.first_mut().map_or(Ok(None), |row| row.maybe_bytes(0))
    }
}

fn not_found(id: &str) -> Error {
    Error::NotFound { what: "project", id: id.to_owned() }
}

fn project(mut row: Row) -> Result<Project, Error> {
    Ok(Project {
        id: row.parsed(0)?,
        organisation_id: row.parsed(1)?,
        name: row.text(2)?,
        forge: row.text(3)?,
        source: row.text(4)?,
        default_branch: row.maybe_text(5)?,
        settings: row.json(6)?,
        created_at: row.time(7)?,
        archived_at: row.maybe_time(8)?,
    })
}

fn create(tx: &mut Tx<'_>, who: &Arc<str>, new: &Project) -> Result<(), Error> {
    let sql = "SELECT id FROM projects WHERE id = $1";
    if !tx.read(sql, &[new.id.as_str().into()])?.is_empty() {
        return Err(Error::Conflict { why: format!("the project {} is there already", new.id) });
    }
    free_name(tx, new)?;
    let settings = new.settings.to_string();
    tx.write(
        "INSERT INTO projects (id, organisation_id, name, forge, source, default_branch, \
         settings, created_at, archived_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            new.id.as_str().into(),
            new.organisation_id.as_str().into(),
            (&new.name).into(),
            (&new.forge).into(),
            (&new.source).into(),
            new.default_branch.as_deref().into(),
            (&settings).into(),
            new.created_at.into(),
            new.archived_at.into(),
        ],
    )?;
    told(tx, who, new, "project.create", "created", new.created_at);
    Ok(())
}

fn update(tx: &mut Tx<'_>, who: &Arc<str>, project: &Project, now: Time) -> Result<(), Error> {
    own(tx, &project.organisation_id, &project.id)?;
    if project.archived_at.is_none() {
        free_name(tx, project)?;
    }
    let settings = project.settings.to_string();
    tx.write(
        "UPDATE projects SET name = $1, forge = $2, source = $3, default_branch = $4, \
         settings = $5, archived_at = $6 WHERE id = $7",
        &[
            (&project.name).into(),
            (&project.forge).into(),
            (&project.source).into(),
            project.default_branch.as_deref().into(),
            (&settings).into(),
            project.archived_at.into(),
            project.id.as_str().into(),
        ],
    )?;
    if project.archived_at.is_some() {
        crate::secrets::remove_of_project(tx, &project.id)?;
    }
    tx.memory.projects.remove(&project.id);
    let what = if project.archived_at.is_some() { "archived" } else { "updated" };
    told(tx, who, project, "project.update", what, now);
    Ok(())
}

fn seal(
    tx: &mut Tx<'_>,
    who: &Arc<str>,
    (organisation_id, project_id): (&OrganisationId, &ProjectId),
    (name, sealed): (&str, &[u8]),
    now: Time,
) -> Result<(), Error> {
    own(tx, organisation_id, project_id)?;
    tx.write(
        "INSERT INTO project_secrets (project_id, name, organisation_id, sealed, updated_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (project_id, name) DO UPDATE SET \
         sealed = excluded.sealed, updated_at = excluded.updated_at",
        &[
            project_id.as_str().into(),
            name.into(),
            organisation_id.as_str().into(),
            Value::Bytes(sealed),
            now.into(),
        ],
    )?;
    let detail = serde_json::json!({ "name": name }).to_string();
    tx.audit(who, organisation_id, "project.secret", project_id.as_str(), detail, now);
    Ok(())
}

fn own(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    project_id: &ProjectId,
) -> Result<(), Error> {
    let sql = "SELECT id FROM projects WHERE id = $1 AND organisation_id = $2";
    let found = tx.read(sql, &[project_id.as_str().into(), organisation_id.as_str().into()])?;
    if found.is_empty() { Err(not_found(project_id.as_str())) } else { Ok(()) }
}

fn free_name(tx: &mut Tx<'_>, project: &Project) -> Result<(), Error> {
    let sql = "SELECT id FROM projects WHERE organisation_id = $1 AND name = $2 \
               AND archived_at IS NULL AND id <> $3";
    let organisation_id = project.organisation_id.as_str();
    let values = [organisation_id.into(), (&project.name).into(), project.id.as_str().into()];
    if tx.read(sql, &values)?.is_empty() {
        return Ok(());
    }
    Err(Error::Conflict { why: format!("there is a project `{}` already", project.name) })
}

fn told(
    tx: &mut Tx<'_>,
    who: &Arc<str>,
    project: &Project,
    command: &'static str,
    what: &str,
    now: Time,
) {
    let id = project.id.to_string();
    let detail = serde_json::json!({ "name": project.name, "forge": project.forge }).to_string();
    tx.audit(who, &project.organisation_id, command, id.clone(), detail, now);
    tx.tell(&project.organisation_id, "project", id, what, now);
}
