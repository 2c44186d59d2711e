//! Hooks: named places that receive webhooks. Their secrets come here sealed and leave sealed; nothing
//! here can open them. Who may send is judged elsewhere; what was received is in [`crate::events`].

use std::fmt;

use windlass_run::{OrganisationId, ProjectId, Time, actor::By, event::Trust};

use crate::{
    Error, Store,
    database::Row,
    writer::tx::{Tx, who},
};

/// How many hooks an organisation may have.
pub const MOST: u64 = 10_000;

const COLUMNS: &str = "organisation_id, name, scheme, trust, project_id, version, sealed, before, \
    before_until, created_at, created_by, changed_at";

/// A hook.
#[derive(Clone, PartialEq)]
pub struct Hook {
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// Its name, unique in the organisation.
    pub name: String,
    /// How senders show that they know the secret, as the server names it.
    pub scheme: String,
    /// How far what they send may be trusted.
    pub trust: Trust,
    /// The project that it is about.
    pub project_id: Option<ProjectId>,
    /// How often it was given a secret, from 1. A sealed secret is bound to it.
    pub version: u64,
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// The secret of the version before, while it is still taken.
    pub before: Option<Before>,
    /// When it was made.
    pub created_at: Time,
    /// Who made it.
    pub created_by: By,
    /// When it was changed last.
    pub changed_at: Time,
}

/// An earlier secret that is still taken.
#[derive(Clone, PartialEq, Eq)]
pub struct Before {
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// Until when.
    pub until: Time,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("name", &self.name)
            .field("scheme", &self.scheme)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Makes a hook.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the name is taken; [`Error::Invalid`] if there are too many.
    pub async fn create_hook(&self, by: By, hook: Hook) -> Result<(), Error> {
        self.command(move |tx| {
            let organisation_id = hook.organisation_id.as_str();
            if find(tx, &hook.organisation_id, &hook.name)?.is_some() {
                let why = format!("there is a hook `{}` already", hook.name);
                return Err(Error::Conflict { why });
            }
            let sql = "SELECT COUNT(*) FROM hooks WHERE organisation_id = $1";
            let mut rows = tx.read(sql, &[organisation_id.into()])?;
            if rows.first_mut().map_or(Ok(0), |row| row.natural(0))? >= MOST {
                let why = format!("an organisation has at most {MOST} hooks: remove one first");
                return Err(Error::Invalid { why });
            }
            put(tx, &by, &hook, "hook.create")
        })
        .await
    }

    /// Changes a hook's secrets to those of `hook`, whose version is the next one; or, with the version
    /// that is there, ends the time of the earlier secret.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if somebody else was faster.
    pub async fn change_hook(&self, by: By, hook: Hook) -> Result<(), Error> {
        self.command(move |tx| {
            let found = find(tx, &hook.organisation_id, &hook.name)?;
            let version = found.ok_or_else(|| not_found(&hook.name))?.version;
            let command = match hook.version.checked_sub(version) {
                Some(1) => "hook.rotate",
                Some(0) => "hook.finish",
                _ => {
                    let why = format!("{} was changed by somebody else just now", hook.name);
                    return Err(Error::Conflict { why });
                }
            };
            put(tx, &by, &hook, command)
        })
        .await
    }

    /// Removes a hook with its secrets. What it received stays.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn remove_hook(
        &self,
        by: By,
        organisation_id: OrganisationId,
        name: String,
        now: Time,
    ) -> Result<(), Error> {
        self.command(move |tx| {
            find(tx, &organisation_id, &name)?.ok_or_else(|| not_found(&name))?;
            let sql = "DELETE FROM hooks WHERE organisation_id = $1 AND name = $2";
            tx.write(sql, &[organisation_id.as_str().into(), (&name).into()])?;
            tx.audit(&who(&by), &organisation_id, "hook.remove", name.as_str(), "{}", now);
            Ok(())
        })
        .await
    }

    /// One hook.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn hook(&self, organisation_id: &OrganisationId, name: &str) -> Result<Hook, Error> {
        if name.contains('\0') {
            return Err(not_found(name));
        }
        let sql = format!("SELECT {COLUMNS} FROM hooks WHERE organisation_id = $1 AND name = $2");
        let values = vec![organisation_id.to_string().into(), name.to_owned().into()];
        let row = self.query(&sql, values).await?.into_iter().next();
        hook(row.ok_or_else(|| not_found(name))?)
    }

    /// Hooks by name, those after `after`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn hooks(
        &self,
        organisation_id: &OrganisationId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Hook>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM hooks WHERE organisation_id = $1 AND name > $2 \
             ORDER BY name LIMIT $3"
        );
        let values = vec![
            organisation_id.to_string().into(),
            after.unwrap_or_default().replace('\0', "").into(),
            limit.clamp(1, 1_000).into(),
        ];
        self.query(&sql, values).await?.into_iter().map(hook).collect()
    }
}

fn not_found(name: &str) -> Error {
    Error::NotFound { what: "hook", id: name.chars().take(64).collect() }
}

fn hook(mut row: Row) -> Result<Hook, Error> {
    let missing = || Error::Database { context: "a hook has no secret".to_owned() };
    let before = row.maybe_bytes(7)?.zip(row.maybe_time(8)?);
    Ok(Hook {
        organisation_id: row.parsed(0)?,
        name: row.text(1)?,
        scheme: row.text(2)?,
        trust: crate::events::trust(&row.text(3)?)?,
        project_id: row.maybe_parsed(4)?,
        version: row.natural(5)?,
        sealed: row.maybe_bytes(6)?.ok_or_else(missing)?,
        before: before.map(|(sealed, until)| Before { sealed, until }),
        created_at: row.time(9)?,
        created_by: row.json(10)?,
        changed_at: row.time(11)?,
    })
}

fn find(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    name: &str,
) -> Result<Option<Hook>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM hooks WHERE organisation_id = $1 AND name = $2");
    let rows = tx.read(&sql, &[organisation_id.as_str().into(), name.into()])?;
    rows.into_iter().next().map(hook).transpose()
}

fn put(tx: &mut Tx<'_>, by: &By, hook: &Hook, command: &'static str) -> Result<(), Error> {
    tx.write(
        "INSERT INTO hooks (organisation_id, name, scheme, trust, project_id, version, sealed, \
         before, before_until, created_at, created_by, changed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (organisation_id, name) DO UPDATE SET version = excluded.version, \
         sealed = excluded.sealed, before = excluded.before, before_until = excluded.before_until, \
         changed_at = excluded.changed_at",
        &[
            hook.organisation_id.as_str().into(),
            (&hook.name).into(),
            (&hook.scheme).into(),
            hook.trust.name().into(),
            hook.project_id.as_ref().map(|id| id.as_str()).into(),
            hook.version.into(),
            hook.sealed.as_slice().into(),
            hook.before.as_ref().map(|before| before.sealed.as_slice()).into(),
            hook.before.as_ref().map(|before| before.until).into(),
            hook.created_at.into(),
            serde_json::to_string(&hook.created_by).unwrap_or_default().into(),
            hook.changed_at.into(),
        ],
    )?;
    let detail = serde_json::json!({
        "scheme": hook.scheme,
        "trust": hook.trust,
        "version": hook.version,
        "before_until": hook.before.as_ref().map(|before| before.until),
    });
    let (organisation_id, name) = (&hook.organisation_id, hook.name.as_str());
    tx.audit(&who(by), organisation_id, command, name, detail.to_string(), hook.changed_at);
    Ok(())
}
