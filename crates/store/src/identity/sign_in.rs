//! Sign-in sessions and the links that begin one.

use std::sync::Arc;

use windlass_run::{
    Time, UserId,
    actor::{Actor, By},
};

use crate::{
    Error,
    identity::{SecretHash, User, users},
    writer::tx::{Tx, who},
};

/// Makes a link.
pub(super) fn create_link(
    tx: &mut Tx<'_>,
    by: &Arc<str>,
    user_id: &UserId,
    link: SecretHash,
    expires_at: Time,
    now: Time,
) -> Result<(), Error> {
    let user = users::find(tx, user_id)?;
    tx.write(
        "INSERT INTO sign_in_links (hash, organisation_id, user_id, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5)",
        &[
            link.hex().into(),
            user.organisation_id.as_str().into(),
            user_id.as_str().into(),
            now.into(),
            expires_at.into(),
        ],
    )?;
    tx.audit(by, &user.organisation_id, "sign_in.link", user_id.as_str(), "{}", now);
    Ok(())
}

/// Uses a link up and begins a session.
pub(super) fn use_link(
    tx: &mut Tx<'_>,
    link: SecretHash,
    session: SecretHash,
    session_expires_at: Time,
    now: Time,
) -> Result<Option<User>, Error> {
    let sql = "SELECT user_id FROM sign_in_links WHERE hash = $1 AND used_at IS NULL \
               AND expires_at > $2";
    let mut rows = tx.read(sql, &[link.hex().into(), now.into()])?;
    let Some(row) = rows.first_mut() else { return Ok(None) };
    let user = users::find(tx, &row.parsed(0)?)?;
    if user.disabled_at.is_some() {
        return Ok(None);
    }
    tx.write(
        "UPDATE sign_in_links SET used_at = $1 WHERE hash = $2",
        &[now.into(), link.hex().into()],
    )?;
    let by = who(&By::own(Actor::User(user.id.clone())));
    begin(tx, &by, &user, session, session_expires_at, now)?;
    Ok(Some(user))
}

/// Begins a session.
pub(super) fn begin(
    tx: &mut Tx<'_>,
    by: &Arc<str>,
    user: &User,
    session: SecretHash,
    expires_at: Time,
    now: Time,
) -> Result<(), Error> {
    if user.disabled_at.is_some() {
        return Err(Error::Conflict { why: format!("the user `{}` is shut out", user.name) });
    }
    // Those that are over go along, so that the table stays as long as its users sign in.
    tx.write(
        "DELETE FROM sign_in_sessions WHERE user_id = $1 AND expires_at <= $2",
        &[user.id.as_str().into(), now.into()],
    )?;
    tx.write(
        "INSERT INTO sign_in_sessions (hash, organisation_id, user_id, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5)",
        &[
            session.hex().into(),
            user.organisation_id.as_str().into(),
            user.id.as_str().into(),
            now.into(),
            expires_at.into(),
        ],
    )?;
    tx.audit(by, &user.organisation_id, "sign_in.begin", user.id.as_str(), "{}", now);
    Ok(())
}

/// Ends a session.
pub(super) fn end(
    tx: &mut Tx<'_>,
    by: &Arc<str>,
    session: SecretHash,
    now: Time,
) -> Result<(), Error> {
    let sql = "SELECT organisation_id, user_id FROM sign_in_sessions WHERE hash = $1";
    let mut rows = tx.read(sql, &[session.hex().into()])?;
    let Some(row) = rows.first_mut() else { return Ok(()) };
    let (organisation_id, user_id) = (row.parsed(0)?, row.text(1)?);
    tx.write("DELETE FROM sign_in_sessions WHERE hash = $1", &[session.hex().into()])?;
    tx.audit(by, &organisation_id, "sign_in.end", user_id, "{}", now);
    Ok(())
}
