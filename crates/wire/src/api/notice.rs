//! Notices: what is not well and needs somebody.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that is not well, or was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// What sort of thing: `automation-paused`, `automation-refused`, `credential-refused`, `hook-refused`,
    /// `schedule-dead`, `schedule-missed`, `trigger-unwatched`.
    pub kind: String,
    /// What it is about: the name of an automation, a project or a hook.
    pub subject: String,
    /// What is wrong and what to do, for a person.
    pub text: String,
    /// When it began.
    pub since: i64,
    /// When it was well again; absent while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<i64>,
}

/// Which notices are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoticesQuery {
    /// Also those that were resolved; only those that stand if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
}
