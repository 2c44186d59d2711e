//! Organisations and users.

use std::sync::Arc;

use windlass_run::{Time, UserId};

use crate::{
    Error,
    database::Row,
    identity::{Organisation, Role, User},
    writer::tx::Tx,
};

/// The columns that [`user`] reads.
pub(super) const COLUMNS: &str =
    "id, organisation_id, name, role, password_hash, created_at, disabled_at";

/// [`COLUMNS`] of a table with another name.
pub(super) fn prefixed(prefix: &str) -> String {
    COLUMNS.split(", ").map(|column| format!("{prefix}{column}")).collect::<Vec<_>>().join(", ")
}

/// A user of [`COLUMNS`].
pub(super) fn user(mut row: Row) -> Result<User, Error> {
    Ok(User {
        id: row.parsed(0)?,
        organisation_id: row.parsed(1)?,
        name: row.text(2)?,
        role: row.parsed(3)?,
        password_hash: row.maybe_text(4)?,
        created_at: row.time(5)?,
        disabled_at: row.maybe_time(6)?,
    })
}

/// An organisation of `id, name, created_at`.
pub(super) fn organisation(mut row: Row) -> Result<Organisation, Error> {
    Ok(Organisation { id: row.parsed(0)?, name: row.text(1)?, created_at: row.time(2)? })
}

/// A user by its id.
pub(super) fn find(tx: &mut Tx<'_>, user_id: &UserId) -> Result<User, Error> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE id = $1");
    let row = tx.read(&sql, &[user_id.as_str().into()])?.into_iter().next();
    user(row.ok_or_else(|| Error::NotFound { what: "user", id: user_id.to_string() })?)
}

/// Makes an organisation.
pub(super) fn create_organisation(
    tx: &mut Tx<'_>,
    who: &Arc<str>,
    new: &Organisation,
) -> Result<(), Error> {
    let sql = "SELECT id, name, created_at FROM organisations WHERE id = $1 OR name = $2";
    let known = tx.read(sql, &[new.id.as_str().into(), (&new.name).into()])?;
    if let Some(row) = known.into_iter().next() {
        let known = organisation(row)?;
        if known.id == new.id && known.name == new.name {
            return Ok(());
        }
        let why = format!("there is an organisation `{}` already", known.name);
        return Err(Error::Conflict { why });
    }
    tx.write(
        "INSERT INTO organisations (id, name, created_at) VALUES ($1, $2, $3)",
        &[new.id.as_str().into(), (&new.name).into(), new.created_at.into()],
    )?;
    tx.audit(who, &new.id, "organisation.create", new.id.as_str(), "{}", new.created_at);
    Ok(())
}

/// Makes a user.
pub(super) fn create(tx: &mut Tx<'_>, who: &Arc<str>, new: &User) -> Result<(), Error> {
    let sql = "SELECT id FROM users WHERE id = $1 OR (organisation_id = $2 AND name = $3)";
    let values = [new.id.as_str().into(), new.organisation_id.as_str().into(), (&new.name).into()];
    if !tx.read(sql, &values)?.is_empty() {
        return Err(Error::Conflict { why: format!("there is a user `{}` already", new.name) });
    }
    let sql = "SELECT id FROM organisations WHERE id = $1";
    if tx.read(sql, &[new.organisation_id.as_str().into()])?.is_empty() {
        return Err(Error::NotFound { what: "organisation", id: new.organisation_id.to_string() });
    }
    tx.write(
        "INSERT INTO users (id, organisation_id, name, role, password_hash, created_at, \
         disabled_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            new.id.as_str().into(),
            new.organisation_id.as_str().into(),
            (&new.name).into(),
            new.role.as_str().into(),
            new.password_hash.as_deref().into(),
            new.created_at.into(),
            new.disabled_at.into(),
        ],
    )?;
    let detail = serde_json::json!({ "name": new.name, "role": new.role.as_str() }).to_string();
    tx.audit(who, &new.organisation_id, "user.create", new.id.as_str(), detail, new.created_at);
    Ok(())
}

/// Changes a user.
pub(super) fn update(tx: &mut Tx<'_>, who: &Arc<str>, user: &User, now: Time) -> Result<(), Error> {
    let known = find(tx, &user.id)?;
    if known.organisation_id != user.organisation_id {
        return Err(Error::NotFound { what: "user", id: user.id.to_string() });
    }
    let was_admin = known.role == Role::Admin && known.disabled_at.is_none();
    let is_admin = user.role == Role::Admin && user.disabled_at.is_none();
    if was_admin && !is_admin && !has_another_admin(tx, user)? {
        return Err(Error::Conflict {
            why: "this is the organisation's last admin: make another one first".to_owned(),
        });
    }
    tx.write(
        "UPDATE users SET role = $1, password_hash = $2, disabled_at = $3 WHERE id = $4",
        &[
            user.role.as_str().into(),
            user.password_hash.as_deref().into(),
            user.disabled_at.into(),
            user.id.as_str().into(),
        ],
    )?;
    if user.disabled_at.is_some() {
        tx.write("DELETE FROM sign_in_sessions WHERE user_id = $1", &[user.id.as_str().into()])?;
    }
    let detail = serde_json::json!({
        "role": user.role.as_str(),
        "disabled": user.disabled_at.is_some(),
        "password_changed": user.password_hash != known.password_hash,
    });
    let organisation_id = &user.organisation_id;
    tx.audit(who, organisation_id, "user.update", user.id.as_str(), detail.to_string(), now);
    Ok(())
}

fn has_another_admin(tx: &mut Tx<'_>, user: &User) -> Result<bool, Error> {
    let sql = "SELECT id FROM users WHERE organisation_id = $1 AND role = 'admin' \
               AND disabled_at IS NULL AND id <> $2 LIMIT 1";
    let values = [user.organisation_id.as_str().into(), user.id.as_str().into()];
    Ok(!tx.read(sql, &values)?.is_empty())
}
