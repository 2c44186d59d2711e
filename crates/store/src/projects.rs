//! Projects: repositories with their settings and sealed secrets.

use windlass_run::{OrganisationId, ProjectId, Time, actor::By};

use crate::{Error, Store};

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
        let _ = (by, project);
        self.unfinished()
    }

    /// Changes a project: everything but id, organisation and creation.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if the name is taken.
    pub async fn update_project(&self, by: By, project: Project, now: Time) -> Result<(), Error> {
        let _ = (by, project, now);
        self.unfinished()
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
        let _ = (organisation_id, after, limit);
        self.unfinished()
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
        let _ = (organisation_id, project_id);
        self.unfinished()
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
        let _ = (organisation_id, name);
        self.unfinished()
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
        let _ = (by, organisation_id, project_id, name, sealed, now);
        self.unfinished()
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
        let _ = (organisation_id, project_id, name);
        self.unfinished()
    }
}
