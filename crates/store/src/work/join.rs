//! Codes by which a runner joins, once each.

use std::sync::Arc;

use windlass_run::{
    OrganisationId, RunnerId, Time,
    actor::{Actor, By},
};

use crate::{
    Error,
    identity::{self, Role, SecretHash, Token},
    work::{Join, runners},
    writer::tx::{Tx, who},
};

/// Makes a code.
pub(super) fn invite(
    tx: &mut Tx<'_>,
    by: &Arc<str>,
    organisation_id: &OrganisationId,
    code: SecretHash,
    expires_at: Time,
    now: Time,
) -> Result<(), Error> {
    // Those that nobody used go along, so that the table stays as long as runners join.
    tx.write(
        "DELETE FROM runner_invitations WHERE organisation_id = $1 AND used_at IS NULL \
         AND expires_at <= $2",
        &[organisation_id.as_str().into(), now.into()],
    )?;
    tx.write(
        "INSERT INTO runner_invitations (hash, organisation_id, who, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5)",
        &[
            code.hex().into(),
            organisation_id.as_str().into(),
            (&**by).into(),
            now.into(),
            expires_at.into(),
        ],
    )?;
    tx.audit(by, organisation_id, "runner.invite", "", "{}", now);
    Ok(())
}

/// Uses a code up.
pub(super) fn join(tx: &mut Tx<'_>, join: &Join, now: Time) -> Result<Option<RunnerId>, Error> {
    let sql = "SELECT organisation_id, expires_at, token_hash, runner_id FROM runner_invitations \
               WHERE hash = $1";
    let mut rows = tx.read(sql, &[join.code.hex().into()])?;
    let Some(row) = rows.first_mut() else { return Ok(None) };
    let (organisation_id, expires_at): (OrganisationId, Time) = (row.parsed(0)?, row.time(1)?);
    if let Some(token) = row.maybe_text(2)? {
        let is_same = token == join.token.hex();
        return Ok(row.maybe_parsed(3)?.filter(|_| is_same));
    }
    if expires_at <= now {
        return Ok(None);
    }
    let mut runner = join.runner.clone();
    runner.organisation_id = organisation_id.clone();
    let runner_id = runner.id.clone();
    let by = who(&By::own(Actor::Runner(runner_id.clone())));
    runners::put(tx, &by, &runner, now)?;
    let token = Token {
        id: join.token_id.clone(),
        organisation_id,
        name: runner.name.clone(),
        role: Role::Runner,
        user_id: None,
        runner_id: Some(runner_id.clone()),
        created_at: now,
        expires_at: None,
        revoked_at: None,
    };
    identity::create_token(tx, &by, &token, join.token)?;
    tx.write(
        "UPDATE runner_invitations SET used_at = $1, token_hash = $2, runner_id = $3 \
         WHERE hash = $4",
        &[now.into(), join.token.hex().into(), runner_id.as_str().into(), join.code.hex().into()],
    )?;
    Ok(Some(runner_id))
}
