//! Problems: every refusal of the API (RFC 9457), with a stable code.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a request was refused or failed, as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The address of the page that explains the code, relative to the server: `/problems/CODE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The stable code.
    pub code: String,
    /// What the code means, one line, always the same.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong this time and what to do.
    pub detail: String,
    /// Where in the request: a path of keys (`steps[2].id`), a query key or a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// For `rate-limited` and `busy`: try again after so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// For `file-changed`: the file's tag now, as in `ETag`; absent if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}
