//! Who may do what: organisations, users, sign-in sessions, one-time links, service tokens; and the
//! audit log of what they did. Only hashes of secrets come here. What a role may do is the server's.

mod audit;
mod keys;
mod sign_in;
mod tokens;
mod users;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use windlass_run::{OrganisationId, RunnerId, Time, TokenId, UserId, actor::By};

pub use keys::Key;
pub(crate) use tokens::{Known, create as create_token};

use crate::{Error, Store, writer::tx::who};

/// The SHA-256 hash of a secret with at least 128 bits of chance in it (a token, a session cookie, a
/// one-time link). Never for a password: those are hashed by argon2id before they come here.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    pub(crate) fn hex(&self) -> String {
        crate::hex(&self.0)
    }

    /// The hash of a secret.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }
}

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, starts and stops runs.
    Operator,
    /// What an operator may, and reviews and merges.
    Reviewer,
    /// Everything that people may.
    Admin,
    /// Only the runner protocol.
    Runner,
}

impl Role {
    /// The word that the database and the API use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Reviewer => "reviewer",
            Self::Admin => "admin",
            Self::Runner => "runner",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "viewer" => Self::Viewer,
            "operator" => Self::Operator,
            "reviewer" => Self::Reviewer,
            "admin" => Self::Admin,
            "runner" => Self::Runner,
            other => return Err(format!("`{other}` is not a role")),
        })
    }
}

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organisation {
    /// Its id.
    pub id: OrganisationId,
    /// Its name, unique.
    pub name: String,
    /// When it was made.
    pub created_at: Time,
}

/// A local user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// The name, unique in the organisation.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The argon2id hash of a password in PHC form, where it has one.
    pub password_hash: Option<String>,
    /// When it was made.
    pub created_at: Time,
    /// When it was shut out, where it was.
    pub disabled_at: Option<Time>,
}

/// A service token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The user that it acts for, where it does.
    pub user_id: Option<UserId>,
    /// The runner that it belongs to: the one that first came with it.
    pub runner_id: Option<RunnerId>,
    /// When it was made.
    pub created_at: Time,
    /// When it expires.
    pub expires_at: Option<Time>,
    /// When it was taken back.
    pub revoked_at: Option<Time>,
}

impl Token {
    /// True if it is neither expired nor taken back.
    pub fn is_good(&self, now: Time) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place in the log.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// Who, and for whom.
    pub by: By,
    /// What was done, `noun.verb`.
    pub command: String,
    /// To what.
    pub subject: String,
    /// What else matters, as JSON; no secret.
    pub detail: String,
}

impl Store {
    /// Makes an organisation. Safe to repeat with the same id and name.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the name is taken.
    pub async fn create_organisation(
        &self,
        by: By,
        organisation: Organisation,
    ) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| users::create_organisation(tx, &who, &organisation)).await
    }

    /// All organisations, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn organisations(&self) -> Result<Vec<Organisation>, Error> {
        let sql = "SELECT id, name, created_at FROM organisations ORDER BY id LIMIT 1000";
        let rows = self.query(sql, vec![]).await?;
        rows.into_iter().map(users::organisation).collect()
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the name is taken.
    pub async fn create_user(&self, by: By, user: User) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| users::create(tx, &who, &user)).await
    }

    /// Changes a user's role, password or ban: everything but id, organisation and name. Shutting a
    /// user out ends its sign-in sessions.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if the organisation would be left without an admin.
    pub async fn update_user(&self, by: By, user: User, now: Time) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| users::update(tx, &who, &user, now)).await
    }

    /// All users of an organisation, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn users(&self, organisation_id: &OrganisationId) -> Result<Vec<User>, Error> {
        let columns = users::COLUMNS;
        let sql = format!("SELECT {columns} FROM users WHERE organisation_id = $1 ORDER BY id");
        let rows = self.query(&sql, vec![organisation_id.to_string().into()]).await?;
        rows.into_iter().map(users::user).collect()
    }

    /// One user by its id, of whatever organisation.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn user(&self, user_id: &UserId) -> Result<User, Error> {
        let sql = format!("SELECT {} FROM users WHERE id = $1", users::COLUMNS);
        let row = self.query(&sql, vec![user_id.to_string().into()]).await?.into_iter().next();
        let not_found = || Error::NotFound { what: "user", id: user_id.to_string() };
        users::user(row.ok_or_else(not_found)?)
    }

    /// One user by its name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn user_named(
        &self,
        organisation_id: &OrganisationId,
        name: &str,
    ) -> Result<User, Error> {
        let columns = users::COLUMNS;
        let sql = format!("SELECT {columns} FROM users WHERE organisation_id = $1 AND name = $2");
        let values = vec![organisation_id.to_string().into(), name.to_owned().into()];
        let row = self.query(&sql, values).await?.into_iter().next();
        users::user(row.ok_or_else(|| Error::NotFound { what: "user", id: name.to_owned() })?)
    }

    /// Makes a link that signs a user in once.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn create_link(
        &self,
        by: By,
        user_id: UserId,
        link: SecretHash,
        expires_at: Time,
        now: Time,
    ) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| sign_in::create_link(tx, &who, &user_id, link, expires_at, now))
            .await
    }

    /// Uses up a link and begins a sign-in session. Absent if the link is unknown, used or expired,
    /// or its user is shut out.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn use_link(
        &self,
        link: SecretHash,
        session: SecretHash,
        session_expires_at: Time,
        now: Time,
    ) -> Result<Option<User>, Error> {
        self.command(move |tx| sign_in::use_link(tx, link, session, session_expires_at, now)).await
    }

    /// Begins a sign-in session of a user (who has shown a password).
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn create_session(
        &self,
        by: By,
        user_id: UserId,
        session: SecretHash,
        expires_at: Time,
        now: Time,
    ) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| {
            let user = users::find(tx, &user_id)?;
            sign_in::begin(tx, &who, &user, session, expires_at, now)
        })
        .await
    }

    /// The user of a sign-in session; absent if it is unknown or over, or its user is shut out.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn session_user(
        &self,
        session: SecretHash,
        now: Time,
    ) -> Result<Option<User>, Error> {
        let columns = users::prefixed("u.");
        let sql = format!(
            "SELECT {columns} FROM sign_in_sessions s JOIN users u ON u.id = s.user_id \
             WHERE s.hash = $1 AND s.expires_at > $2 AND u.disabled_at IS NULL"
        );
        let rows = self.query(&sql, vec![session.hex().into(), now.into()]).await?;
        rows.into_iter().next().map(users::user).transpose()
    }

    /// Ends a sign-in session. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn end_session(&self, by: By, session: SecretHash, now: Time) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| sign_in::end(tx, &who, session, now)).await
    }

    /// Makes a service token.
    ///
    /// # Errors
    /// [`Error::Conflict`] if its id is taken.
    pub async fn create_token(
        &self,
        by: By,
        token: Token,
        secret: SecretHash,
    ) -> Result<(), Error> {
        let who = who(&by);
        self.command(move |tx| tokens::create(tx, &who, &token, secret)).await
    }

    /// The token with that secret; absent if it is unknown, expired or taken back. Answered from
    /// memory where possible.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn token(&self, secret: SecretHash, now: Time) -> Result<Option<Token>, Error> {
        if let Some(token) = self.inner.tokens.get(&secret) {
            return Ok(token.is_good(now).then_some(token));
        }
        let generation = self.inner.tokens.generation();
        let sql = format!("SELECT {} FROM service_tokens WHERE hash = $1", tokens::COLUMNS);
        let rows = self.query(&sql, vec![secret.hex().into()]).await?;
        let Some(token) = rows.into_iter().next().map(tokens::token).transpose()? else {
            return Ok(None);
        };
        self.inner.tokens.put(secret, &token, generation);
        Ok(token.is_good(now).then_some(token))
    }

    /// All tokens of an organisation, oldest first, also those taken back.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn tokens(&self, organisation_id: &OrganisationId) -> Result<Vec<Token>, Error> {
        let columns = tokens::COLUMNS;
        let sql =
            format!("SELECT {columns} FROM service_tokens WHERE organisation_id = $1 ORDER BY id");
        let rows = self.query(&sql, vec![organisation_id.to_string().into()]).await?;
        rows.into_iter().map(tokens::token).collect()
    }

    /// Takes a token back. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn revoke_token(
        &self,
        by: By,
        organisation_id: OrganisationId,
        token_id: TokenId,
        now: Time,
    ) -> Result<(), Error> {
        let who = who(&by);
        let revoked = self
            .command(move |tx| tokens::revoke(tx, &who, &organisation_id, &token_id, now))
            .await;
        self.inner.tokens.forget();
        revoked
    }

    /// Writes an entry of the audit log for something that is no command of this crate.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn note(
        &self,
        by: By,
        organisation_id: OrganisationId,
        command: &'static str,
        subject: String,
        detail: serde_json::Value,
        now: Time,
    ) -> Result<(), Error> {
        let (who, detail) = (who(&by), detail.to_string());
        self.command(move |tx| {
            tx.audit(&who, &organisation_id, command, &*subject, &*detail, now);
            Ok(())
        })
        .await
    }

    /// The audit log, newest first, before entry `before` where given.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn audit(
        &self,
        organisation_id: &OrganisationId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, Error> {
        let before = before.map_or(i64::MAX, |n| i64::try_from(n).unwrap_or(i64::MAX));
        let limit = limit.clamp(1, 1_000);
        let values = vec![organisation_id.to_string().into(), before.into(), limit.into()];
        let rows = self.query(audit::PAGE, values).await?;
        rows.into_iter().map(audit::entry).collect()
    }
}
