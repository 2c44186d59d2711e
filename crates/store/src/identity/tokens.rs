//! Service tokens, and those of them that were asked for lately.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use windlass_run::{OrganisationId, Time, TokenId};

use crate::{
    Error,
    database::Row,
    identity::{SecretHash, Token},
    writer::tx::Tx,
};

/// The columns that [`token`] reads.
pub(super) const COLUMNS: &str =
    "id, organisation_id, name, role, user_id, created_at, expires_at, revoked_at, runner_id";

/// How many tokens are remembered.
const REMEMBERED: usize = 1_000;

/// A token of [`COLUMNS`].
pub(super) fn token(mut row: Row) -> Result<Token, Error> {
    Ok(Token {
        id: row.parsed(0)?,
        organisation_id: row.parsed(1)?,
        name: row.text(2)?,
        role: row.parsed(3)?,
        user_id: row.maybe_parsed(4)?,
        created_at: row.time(5)?,
        expires_at: row.maybe_time(6)?,
        revoked_at: row.maybe_time(7)?,
        runner_id: row.maybe_parsed(8)?,
    })
}

/// Makes a token.
pub(crate) fn create(
    tx: &mut Tx<'_>,
    who: &Arc<str>,
    new: &Token,
    secret: SecretHash,
) -> Result<(), Error> {
    let sql = "SELECT id FROM service_tokens WHERE id = $1 OR hash = $2";
    if !tx.read(sql, &[new.id.as_str().into(), secret.hex().into()])?.is_empty() {
        return Err(Error::Conflict { why: format!("the token {} is there already", new.id) });
    }
    tx.write(
        "INSERT INTO service_tokens (id, organisation_id, hash, name, role, user_id, created_at, \
         expires_at, revoked_at, runner_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            new.id.as_str().into(),
            new.organisation_id.as_str().into(),
            secret.hex().into(),
            (&new.name).into(),
            new.role.as_str().into(),
            new.user_id.as_ref().map(|user_id| user_id.as_str()).into(),
            new.created_at.into(),
            new.expires_at.into(),
            new.revoked_at.into(),
            new.runner_id.as_ref().map(|runner_id| runner_id.as_str()).into(),
        ],
    )?;
    let detail = serde_json::json!({ "name": new.name, "role": new.role.as_str() }).to_string();
    tx.audit(who, &new.organisation_id, "token.create", new.id.as_str(), detail, new.created_at);
    Ok(())
}

/// Takes a token back.
pub(super) fn revoke(
    tx: &mut Tx<'_>,
    who: &Arc<str>,
    organisation_id: &OrganisationId,
    token_id: &TokenId,
    now: Time,
) -> Result<(), Error> {
    let sql = format!("SELECT {COLUMNS} FROM service_tokens WHERE id = $1");
    let row = tx.read(&sql, &[token_id.as_str().into()])?.into_iter().next();
    let known = row.map(token).transpose()?.filter(|t| t.organisation_id == *organisation_id);
    let not_found = || Error::NotFound { what: "token", id: token_id.to_string() };
    if known.ok_or_else(not_found)?.revoked_at.is_some() {
        return Ok(());
    }
    tx.write(
        "UPDATE service_tokens SET revoked_at = $1 WHERE id = $2",
        &[now.into(), token_id.as_str().into()],
    )?;
    tx.audit(who, organisation_id, "token.revoke", token_id.as_str(), "{}", now);
    Ok(())
}

/// Tokens that were asked for lately. Every call of a runner asks for one.
#[derive(Default)]
pub(crate) struct Known(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    tokens: HashMap<SecretHash, Token>,
    generation: u64,
}

impl Known {
    pub(super) fn get(&self, secret: &SecretHash) -> Option<Token> {
        self.lock().tokens.get(secret).cloned()
    }

    /// To be asked for before the database is.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Remembers a token, unless something was taken back since `generation`.
    pub(super) fn put(&self, secret: SecretHash, token: &Token, generation: u64) {
        let mut known = self.lock();
        if known.generation != generation {
            return;
        }
        if known.tokens.len() >= REMEMBERED {
            known.tokens.clear();
        }
        known.tokens.insert(secret, token.clone());
    }

    /// Forgets all of them.
    pub(crate) fn forget(&self) {
        let mut known = self.lock();
        known.tokens.clear();
        known.generation += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
