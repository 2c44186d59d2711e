//! Secrets and variables that jobs may be given. A secret's value comes here sealed and leaves sealed;
//! nothing here can open it. Lists never carry a value of a secret, the audit log never any value.

use std::{fmt, sync::Arc};

use serde_json::Value as Json;
use windlass_run::{OrganisationId, ProjectId, SecretId, Time, UserId, actor::By};

use crate::{
    Error, Store,
    database::{Row, Value},
    writer::tx::{Tx, who},
};

/// What [`secret`] reads.
const COLUMNS: &str = "id, organisation_id, kind, scope, owner, name, form, grants, version, \
    created_at, created_by, updated_at, updated_by";

/// Where the columns of a value begin after [`COLUMNS`].
const VALUE: usize = 13;

/// How many secrets and variables an organisation may have.
const MOST: u64 = 10_000;

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Sealed, and never shown again.
    Secret,
    /// In clear, and shown.
    Variable,
}

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The organisation's.
    Organisation,
    /// A project's.
    Project,
    /// A user's.
    User,
}

/// A value as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub enum Stored {
    /// Of a secret.
    Sealed(Vec<u8>),
    /// Of a variable.
    Clear(String),
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed(_) => f.write_str("Sealed(..)"),
            Self::Clear(_) => f.write_str("Clear(..)"),
        }
    }
}

/// A secret or variable, without its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Secret {
    /// Its id.
    pub id: SecretId,
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// What it is.
    pub kind: Kind,
    /// Whose it is.
    pub scope: Scope,
    /// The id of the organisation, project or user that the scope says.
    pub owner: String,
    /// The name, unique for its owner.
    pub name: String,
    /// How a step sees it.
    pub form: Json,
    /// Where it is given.
    pub grants: Json,
    /// How often it was set, from 1. A sealed value is bound to it.
    pub version: u64,
    /// When it was set first.
    pub created_at: Time,
    /// Who set it first.
    pub created_by: By,
    /// When it was set last.
    pub updated_at: Time,
    /// Who set it last.
    pub updated_by: By,
}

/// Which ones a list shall show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this kind only.
    pub kind: Option<Kind>,
    /// Of this scope only.
    pub scope: Option<Scope>,
    /// Of this owner only.
    pub owner: Option<String>,
    /// Of this name only.
    pub name: Option<String>,
    /// Of users, only this one's; absent means everybody's.
    pub visible_to: Option<String>,
    /// Only those after this name and id.
    pub after: Option<(String, String)>,
}

impl Kind {
    /// The word that the database and the API use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Variable => "variable",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Secret, Self::Variable]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("`{text}` is neither secret nor variable"))
    }
}

impl Scope {
    /// The word that the database and the API use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Organisation => "organisation",
            Self::Project => "project",
            Self::User => "user",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Organisation, Self::Project, Self::User]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a scope"))
    }
}

impl Store {
    /// Sets a secret or variable: a new one at version 1, or the next version of one that is there.
    ///
    /// # Errors
    /// [`Error::Conflict`] if its version is not the next one, or its name is another one's;
    /// [`Error::Invalid`] if there are too many.
    pub async fn set_secret(&self, by: By, secret: Secret, value: Stored) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| set(tx, &who, &secret, &value)).await
    }

    /// Removes a secret or variable with all that was kept of its value.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn remove_secret(
        &self,
        by: By,
        organisation_id: OrganisationId,
        secret_id: SecretId,
        now: Time,
    ) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| remove(tx, &who, &organisation_id, &secret_id, now)).await
    }

    /// Secrets and variables by name, with the values of variables.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn secrets(
        &self,
        organisation_id: &OrganisationId,
        wanted: Wanted,
        limit: u32,
    ) -> Result<Vec<(Secret, Option<String>)>, Error> {
        let sql = format!(
            "SELECT {COLUMNS}, clear FROM secrets WHERE organisation_id = $1 \
             AND (name > $2 OR (name = $2 AND id > $3)) \
             AND ($4 = '' OR kind = $4) AND ($5 = '' OR scope = $5) AND ($6 = '' OR owner = $6) \
             AND ($7 = '' OR name = $7) AND (scope <> 'user' OR $8 = '*' OR owner = $8) \
             ORDER BY name, id LIMIT $9"
        );
        let (name, id) = wanted.after.unwrap_or_default();
        let values = vec![
            organisation_id.to_string().into(),
            name.into(),
            id.into(),
            wanted.kind.map(Kind::as_str).unwrap_or_default().to_owned().into(),
            wanted.scope.map(Scope::as_str).unwrap_or_default().to_owned().into(),
            wanted.owner.unwrap_or_default().into(),
            wanted.name.unwrap_or_default().into(),
            wanted.visible_to.unwrap_or_else(|| "*".to_owned()).into(),
            limit.clamp(1, 1_000).into(),
        ];
        let rows = self.query(&sql, values).await?;
        rows.into_iter()
            .map(|mut row| {
                let clear = row.maybe_text(VALUE)?;
                Ok((secret(row)?, clear))
            })
            .collect()
    }

    /// One secret or variable, with the value of a variable.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn secret(
        &self,
        organisation_id: &OrganisationId,
        secret_id: &SecretId,
    ) -> Result<(Secret, Option<String>), Error> {
        let sql =
            format!("SELECT {COLUMNS}, clear FROM secrets WHERE id = $1 AND organisation_id = $2");
        let values = vec![secret_id.to_string().into(), organisation_id.to_string().into()];
        let row = self.query(&sql, values).await?.into_iter().next();
        let mut row = row.ok_or_else(|| not_found(secret_id))?;
        let clear = row.maybe_text(VALUE)?;
        Ok((secret(row)?, clear))
    }

    /// Everything that a job of that project and user could be given, as stored: the organisation's,
    /// the project's and the user's. Which of it a step gets is not decided here.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn secrets_for(
        &self,
        organisation_id: &OrganisationId,
        project_id: &ProjectId,
        user_id: Option<&UserId>,
    ) -> Result<Vec<(Secret, Stored)>, Error> {
        let sql = format!(
            "SELECT {COLUMNS}, sealed, clear FROM secrets WHERE organisation_id = $1 \
             AND (scope = 'organisation' OR (scope = 'project' AND owner = $2) \
             OR (scope = 'user' AND owner = $3)) ORDER BY name, id"
        );
        let values = vec![
            organisation_id.to_string().into(),
            project_id.to_string().into(),
            user_id.map(ToString::to_string).unwrap_or_default().into(),
        ];
        let rows = self.query(&sql, values).await?;
        rows.into_iter()
            .map(|mut row| {
                let sealed = row.maybe_bytes(VALUE)?;
                let clear = row.maybe_text(VALUE + 1)?;
                let secret = secret(row)?;
                let stored = match (secret.kind, sealed, clear) {
                    (Kind::Secret, Some(sealed), None) => Stored::Sealed(sealed),
                    (Kind::Variable, None, Some(clear)) => Stored::Clear(clear),
                    _ => {
                        let context = format!("the value of {} is not of its kind", secret.id);
                        return Err(Error::Database { context });
                    }
                };
                Ok((secret, stored))
            })
            .collect()
    }
}

/// Removes what belongs to a project, with the project.
pub(crate) fn remove_of_project(tx: &mut Tx<'_>, project_id: &ProjectId) -> Result<(), Error> {
    let sql = "DELETE FROM secrets WHERE scope = 'project' AND owner = $1";
    tx.write(sql, &[project_id.as_str().into()])
}

fn not_found(id: &SecretId) -> Error {
    Error::NotFound { what: "secret", id: id.to_string() }
}

fn secret(mut row: Row) -> Result<Secret, Error> {
    Ok(Secret {
        id: row.parsed(0)?,
        organisation_id: row.parsed(1)?,
        kind: row.parsed(2)?,
        scope: row.parsed(3)?,
        owner: row.text(4)?,
        name: row.text(5)?,
        form: row.json(6)?,
        grants: row.json(7)?,
        version: row.natural(8)?,
        created_at: row.time(9)?,
        created_by: row.json(10)?,
        updated_at: row.time(11)?,
        updated_by: row.json(12)?,
    })
}

fn set(tx: &mut Tx<'_>, who: &Arc<str>, new: &Secret, value: &Stored) -> Result<(), Error> {
    let (sealed, clear) = match (new.kind, value) {
        (Kind::Secret, Stored::Sealed(sealed)) => (Value::Bytes(sealed), Value::Null),
        (Kind::Variable, Stored::Clear(clear)) => (Value::Null, clear.into()),
        (Kind::Secret, Stored::Clear(_)) | (Kind::Variable, Stored::Sealed(_)) => {
            return Err(Error::Invalid { why: "only the value of a secret is sealed".to_owned() });
        }
    };
    let sql = "SELECT id, version, kind FROM secrets WHERE organisation_id = $1 AND scope = $2 \
               AND owner = $3 AND name = $4";
    let place = [
        new.organisation_id.as_str().into(),
        new.scope.as_str().into(),
        (&new.owner).into(),
        (&new.name).into(),
    ];
    let found = match tx.read(sql, &place)?.into_iter().next() {
        Some(mut row) => Some((row.text(0)?, row.natural(1)?, row.parsed::<Kind>(2)?)),
        None => None,
    };
    let moved =
        || Error::Conflict { why: format!("{} was set by somebody else just now", new.name) };
    match &found {
        None if new.version != 1 => return Err(moved()),
        Some((id, version, _)) if id != new.id.as_str() || version + 1 != new.version => {
            return Err(moved());
        }
        Some((.., kind)) if *kind != new.kind => {
            let why = format!("there is a {} {} already: remove it first", kind.as_str(), new.name);
            return Err(Error::Conflict { why });
        }
        None => few_enough(tx, &new.organisation_id)?,
        Some(_) => {}
    }
    write(tx, new, sealed, clear)?;
    let command = if found.is_none() { "secret.create" } else { "secret.update" };
    audit(tx, who, new, command, new.updated_at);
    Ok(())
}

fn few_enough(tx: &mut Tx<'_>, organisation_id: &OrganisationId) -> Result<(), Error> {
    let sql = "SELECT COUNT(*) FROM secrets WHERE organisation_id = $1";
    let mut rows = tx.read(sql, &[organisation_id.as_str().into()])?;
    let count = rows.first_mut().map_or(Ok(0), |row| row.natural(0))?;
    if count < MOST {
        return Ok(());
    }
    Err(Error::Invalid {
        why: format!("there are {MOST} secrets and variables: remove some first"),
    })
}

fn write(tx: &mut Tx<'_>, new: &Secret, sealed: Value<'_>, clear: Value<'_>) -> Result<(), Error> {
    let by = |by: &By| serde_json::to_string(by).unwrap_or_default();
    tx.write(
        "INSERT INTO secrets (id, organisation_id, kind, scope, owner, name, form, grants, version, \
         sealed, clear, created_at, created_by, updated_at, updated_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
         ON CONFLICT (id) DO UPDATE SET form = excluded.form, grants = excluded.grants, \
         version = excluded.version, sealed = excluded.sealed, clear = excluded.clear, \
         updated_at = excluded.updated_at, updated_by = excluded.updated_by",
        &[
            new.id.as_str().into(),
            new.organisation_id.as_str().into(),
            new.kind.as_str().into(),
            new.scope.as_str().into(),
            (&new.owner).into(),
            (&new.name).into(),
            new.form.to_string().into(),
            new.grants.to_string().into(),
            new.version.into(),
            sealed,
            clear,
            new.created_at.into(),
            by(&new.created_by).into(),
            new.updated_at.into(),
            by(&new.updated_by).into(),
        ],
    )
}

fn remove(
    tx: &mut Tx<'_>,
    who: &Arc<str>,
    organisation_id: &OrganisationId,
    secret_id: &SecretId,
    now: Time,
) -> Result<(), Error> {
    let sql = format!("SELECT {COLUMNS} FROM secrets WHERE id = $1 AND organisation_id = $2");
    let values = [secret_id.as_str().into(), organisation_id.as_str().into()];
    let row = tx.read(&sql, &values)?.into_iter().next();
    let found = secret(row.ok_or_else(|| not_found(secret_id))?)?;
    tx.write("DELETE FROM secrets WHERE id = $1", &[secret_id.as_str().into()])?;
    audit(tx, who, &found, "secret.remove", now);
    Ok(())
}

fn audit(tx: &mut Tx<'_>, who: &Arc<str>, secret: &Secret, command: &'static str, now: Time) {
    let detail = serde_json::json!({
        "kind": secret.kind.as_str(),
        "scope": secret.scope.as_str(),
        "owner": secret.owner,
        "name": secret.name,
        "version": secret.version,
        "form": secret.form,
        "grants": secret.grants,
    });
    tx.audit(who, &secret.organisation_id, command, secret.id.as_str(), detail.to_string(), now);
}
