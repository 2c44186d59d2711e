//! Hooks: named places that receive webhooks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Who;
use super::secret::SecretValue;

/// A hook, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hook {
    /// Its name: what it receives has the source `webhook/NAME`.
    pub name: String,
    /// Where senders post to.
    pub url: String,
    /// `standard` (Standard Webhooks), `github` (`X-Hub-Signature-256`) or `bearer`.
    pub scheme: String,
    /// How far what it receives may be trusted: `member`, `known` or `public`.
    pub trust: String,
    /// The project that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// How often it was given a secret.
    pub version: u64,
    /// Until when the secret before is taken too; absent if only the newest is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_until: Option<i64>,
    /// When it was made.
    pub created_at: i64,
    /// Who made it.
    pub created_by: Who,
    /// When it was changed last.
    pub changed_at: i64,
    /// When it received something last; absent if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<i64>,
    /// What was refused since then, as far as the server has run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// Requests that a hook refused since it received something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// How many.
    pub count: u64,
    /// When the last one was.
    pub at: i64,
    /// Why that one was refused.
    pub reason: String,
}

/// A hook to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHook {
    /// What to call it: a letter, then a-z, 0-9 and `-`, at most 63.
    pub name: String,
    /// `standard`, `github` or `bearer`.
    pub scheme: String,
    /// The sender's secret, where the sender makes it; absent: one is made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretValue>,
    /// `member`, `known` or `public`; `member` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// The project that it is about, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// Gives a hook a new secret. The one before is taken too for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateHook {
    /// The sender's new secret; absent: one is made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretValue>,
    /// For how many seconds the one before is still taken; a day if absent, 0 for not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_seconds: Option<u64>,
}

/// A hook with its secret, which is shown only now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookWithSecret {
    /// The hook.
    #[serde(flatten)]
    pub hook: Hook,
    /// What the sender must know.
    pub secret: SecretValue,
}

/// What was received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// The event.
    pub event: String,
    /// False if it had been received before.
    pub fresh: bool,
}
