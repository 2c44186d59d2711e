//! Signing in, and the settings: who there is, and which tokens.

use askama::Template;

use super::{Moment, Shell, Text, home::FormProblem};

/// The sign-in page.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignIn {
    pub(crate) shell: Shell,
    /// The secret of the link, if one led here.
    pub(crate) link: Option<Text>,
    /// Where to go then.
    pub(crate) next: Text,
}

/// The settings.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "settings.html")]
pub(crate) struct Settings {
    pub(crate) shell: Shell,
    /// What the person's role allows, in words.
    pub(crate) permissions: Vec<Text>,
    pub(crate) tokens: Vec<TokenRow>,
    pub(crate) users: Vec<UserRow>,
    /// The person's own public keys; absent if their role has no use for them.
    pub(crate) keys: Option<Vec<KeyRow>>,
    /// Where SSH listens, if it does.
    pub(crate) ssh: Option<Text>,
    /// Roles to choose from, for people and for tokens.
    pub(crate) user_roles: Vec<&'static str>,
    pub(crate) token_roles: Vec<&'static str>,
    /// A secret that is shown once: what it is, and itself.
    pub(crate) fresh: Option<Fresh>,
    pub(crate) problem: Option<FormProblem>,
    /// The version of the server.
    pub(crate) version: String,
}

/// A secret that was just made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fresh {
    pub(crate) what: Text,
    pub(crate) secret: Text,
    pub(crate) how: &'static str,
}

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TokenRow {
    pub(crate) id: String,
    pub(crate) name: Text,
    pub(crate) role: &'static str,
    pub(crate) created: Moment,
    pub(crate) expires: Option<String>,
    /// Where it is revoked, if this person may.
    pub(crate) revoke: Option<String>,
}

/// A public key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeyRow {
    pub(crate) name: Text,
    pub(crate) kind: Text,
    pub(crate) created: Moment,
    /// Where it is removed.
    pub(crate) remove: String,
}

/// A user.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UserRow {
    pub(crate) name: Text,
    pub(crate) role: &'static str,
    pub(crate) created: Moment,
}
