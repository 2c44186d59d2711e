//! Users and service tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_run::{TokenId, UserId};

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// A local user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Its id.
    #[schemars(with = "String")]
    pub id: UserId,
    /// The name, unique.
    pub name: String,
    /// The role.
    pub role: Role,
    /// When it was made.
    pub created_at: i64,
}

/// Invites a user, or gives an existing one a new sign-in link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The name: 1 to 64 characters without control characters.
    pub name: String,
    /// The role; not `runner`.
    pub role: Role,
}

/// A user with the link that signs it in once.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Invited {
    /// The user.
    pub user: User,
    /// Signs in once, until it expires. Shown only here.
    pub sign_in_link: String,
    /// When it expires.
    pub expires_at: i64,
}

/// A service token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// Its id.
    #[schemars(with = "String")]
    pub id: TokenId,
    /// What it is for.
    pub name: String,
    /// The role.
    pub role: Role,
    /// When it was made.
    pub created_at: i64,
    /// When it expires; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

/// Makes a service token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for: 1 to 64 characters without control characters.
    pub name: String,
    /// The role; at most one's own.
    pub role: Role,
    /// How long it lasts, in seconds; absent if it never expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// A token that was just made.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct CreatedToken {
    /// The token.
    pub token: Token,
    /// Goes into `Authorization: Bearer`. Shown only here.
    pub secret: String,
}

/// A public key by which its owner signs in over SSH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    /// Its id, made from the key itself.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// The key as OpenSSH writes it, without a comment.
    pub public_key: String,
    /// When it was added.
    pub created_at: i64,
}

/// Adds a public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// The key as it stands in `~/.ssh/id_ed25519.pub`.
    pub public_key: String,
    /// What to call it; absent: the key's own comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Where SSH into environments listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ssh {
    /// The address and port.
    pub address: String,
    /// The server's own public key, as OpenSSH writes it.
    pub host_key: String,
}
