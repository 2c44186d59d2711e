//! Who may do what: organisations, users, sign-in sessions, one-time links, service tokens; and the
//! audit log of what they did. Only hashes of secrets come here. What a role may do is the server's.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use windlass_run::{OrganisationId, Time, TokenId, UserId, actor::By};

use crate::{Error, Store};

/// The SHA-256 hash of a secret with at least 128 bits of chance in it (a token, a session cookie, a
/// one-time link). Never for a password: those are hashed by argon2id before they come here.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
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
    /// When it was made.
    pub created_at: Time,
    /// When it expires.
    pub expires_at: Option<Time>,
    /// When it was taken back.
    pub revoked_at: Option<Time>,
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
        let _ = (by, organisation);
        self.unfinished()
    }

    /// All organisations, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn organisations(&self) -> Result<Vec<Organisation>, Error> {
        self.unfinished()
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the name is taken.
    pub async fn create_user(&self, by: By, user: User) -> Result<(), Error> {
        let _ = (by, user);
        self.unfinished()
    }

    /// Changes a user's role, password or ban: everything but id, organisation and name. Shutting a
    /// user out ends its sign-in sessions.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if the organisation would be left without an admin.
    pub async fn update_user(&self, by: By, user: User, now: Time) -> Result<(), Error> {
        let _ = (by, user, now);
        self.unfinished()
    }

    /// All users of an organisation, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn users(&self, organisation_id: &OrganisationId) -> Result<Vec<User>, Error> {
        let _ = organisation_id;
        self.unfinished()
    }

    /// One user by its id, of whatever organisation.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn user(&self, user_id: &UserId) -> Result<User, Error> {
        let _ = user_id;
        self.unfinished()
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
        let _ = (organisation_id, name);
        self.unfinished()
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
        let _ = (by, user_id, link, expires_at, now);
        self.unfinished()
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
        let _ = (link, session, session_expires_at, now);
        self.unfinished()
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
        let _ = (by, user_id, session, expires_at, now);
        self.unfinished()
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
        let _ = (session, now);
        self.unfinished()
    }

    /// Ends a sign-in session. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn end_session(&self, by: By, session: SecretHash, now: Time) -> Result<(), Error> {
        let _ = (by, session, now);
        self.unfinished()
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
        let _ = (by, token, secret);
        self.unfinished()
    }

    /// The token with that secret; absent if it is unknown, expired or taken back. Answered from
    /// memory where possible.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn token(&self, secret: SecretHash, now: Time) -> Result<Option<Token>, Error> {
        let _ = (secret, now);
        self.unfinished()
    }

    /// All tokens of an organisation, oldest first, also those taken back.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn tokens(&self, organisation_id: &OrganisationId) -> Result<Vec<Token>, Error> {
        let _ = organisation_id;
        self.unfinished()
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
        let _ = (by, organisation_id, token_id, now);
        self.unfinished()
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
        let _ = (by, organisation_id, command, subject, detail, now);
        self.unfinished()
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
        let _ = (organisation_id, before, limit);
        self.unfinished()
    }
}
