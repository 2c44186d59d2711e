//! Problems: the one way in which the server refuses (RFC 9457). A code is stable, and it can't exist
//! without its page in `docs/problems/`: the table below includes each page when it is compiled.
//! What a person reads is in the problem; what only an operator may read is in its source, which is
//! logged once, here, when the response is made.

mod from;

use std::{error::Error, fmt, sync::Arc};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

macro_rules! codes {
    ($($variant:ident = $code:literal, $status:literal, $title:literal;)*) => {
        /// The stable code of a problem. Each variant's page says what it means and what to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each variant's title and page say what it means")]
        pub enum Code { $($variant,)* }

        impl Code {
            /// All codes, in the order of their statuses.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as the API spells it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// What it means, in one line.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// Its page, Markdown.
            pub fn page(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(
                        concat!("../../../docs/problems/", $code, ".md")
                    ),)*
                }
            }
        }
    };
}

codes! {
    BadRequest = "bad-request", 400, "The request could not be read";
    NotSignedIn = "not-signed-in", 401, "You are not signed in";
    Forbidden = "forbidden", 403, "Your role does not allow this";
    CrossSite = "cross-site", 403, "The request came from another site";
    PortsOff = "ports-off", 403, "This server does not publish that port";
    NotFound = "not-found", 404, "There is no such thing here";
    MethodNotAllowed = "method-not-allowed", 405, "This address does not take that method";
    Conflict = "conflict", 409, "That does not fit the present state";
    NameTaken = "name-taken", 409, "The name is taken";
    JobEnded = "job-ended", 409, "The job has ended";
    EnvironmentState = "environment-state", 409, "The environment can't do that now";
    LimitReached = "limit-reached", 409, "A limit is reached";
    LeaseLost = "lease-lost", 409, "The lease is lost";
    HeadMoved = "head-moved", 409, "The change has moved on";
    MergeConflict = "merge-conflict", 409, "The change conflicts with its base";
    SecretUnreadable = "secret-unreadable", 409, "A secret can't be opened";
    FileChanged = "file-changed", 412, "The file is not what you have seen";
    FileRefused = "file-refused", 422, "The environment's files don't allow that";
    ConditionMissing = "condition-missing", 428, "Say which state of the file you have seen";
    PullRequestState = "pull-request-state", 409, "The pull request is not open";
    IdempotencyMismatch = "idempotency-mismatch", 422, "The key was used for another request";
    ProtocolMismatch = "protocol-mismatch", 409, "Runner and server speak different protocols";
    LinkSpent = "link-spent", 410, "The sign-in link no longer works";
    TooLarge = "too-large", 413, "The request is too large";
    InvalidAutomation = "invalid-automation", 422, "The automation's file is refused";
    InvalidSpec = "invalid-spec", 422, "The task can't become a job";
    NotARepository = "not-a-repository", 422, "That is not a git repository";
    EmptyRepository = "empty-repository", 422, "The repository has no commit";
    MissingBranch = "missing-branch", 422, "There is no such branch";
    CredentialRefused = "credential-refused", 422, "The forge refused the credential";
    RateLimited = "rate-limited", 429, "Too many requests";
    Internal = "internal", 500, "The server failed";
    ForgeUnavailable = "forge-unavailable", 502, "The forge could not be reached";
    PortSilent = "port-silent", 502, "Nothing answers on the port";
    Busy = "busy", 503, "The server is busy";
    PortSlow = "port-slow", 504, "The service took too long to answer";
}

/// A refusal or failure, on its way to whoever asked.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The code.
    pub code: Code,
    /// What was wrong this time and what to do. Shown to whoever asked.
    pub detail: String,
    /// Where in the request.
    pub place: Option<String>,
    /// Try again after so many seconds.
    pub retry_after: Option<u64>,
    /// The tag of a file as it is now, of a request about another state of it.
    pub etag: Option<String>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A problem with this code and these words.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { code, detail, place: None, retry_after: None, etag: None, source: None }
    }

    /// There is no such thing: `what` with its id, as in "run run_01...".
    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("there is no {what}"))
    }

    /// The server's own fault. Whoever asked learns only what failed; the log has the rest.
    pub fn internal(what: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Code::Internal, format!("the server failed to {what}")).because(source)
    }

    /// Says where in the request the fault is.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Says when to try again, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Says what the tag of the file is now.
    #[must_use]
    pub fn now(mut self, etag: Option<String>) -> Self {
        self.etag = etag;
        self
    }

    /// Keeps the cause for the server's log.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// The problem as the API spells it.
    pub fn to_wire(&self) -> windlass_wire::api::problem::Problem {
        windlass_wire::api::problem::Problem {
            kind: format!("/problems/{}", self.code.name()),
            code: self.code.name().to_owned(),
            title: self.code.title().to_owned(),
            status: self.code.status(),
            detail: self.detail.clone(),
            place: self.place.clone(),
            retry_after: self.retry_after,
            etag: self.etag.clone(),
        }
    }

    fn log(&self) {
        let Some(source) = &self.source else { return };
        let mut chain = source.to_string();
        let mut next = source.source();
        while let Some(cause) = next {
            chain.push_str(": ");
            chain.push_str(&cause.to_string());
            next = cause.source();
        }
        if self.code.status() >= 500 {
            tracing::error!(code = self.code.name(), cause = chain, "{}", self.detail);
        } else {
            tracing::debug!(code = self.code.name(), cause = chain, "{}", self.detail);
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.code.name())
    }
}

impl Error for Problem {}

impl IntoResponse for Problem {
    /// The response carries the problem itself as an extension, so that the layer of the pages can
    /// show a person a page instead.
    fn into_response(self) -> Response {
        self.log();
        let status =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.to_wire())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.code == Code::NotSignedIn {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(etag) = self.etag.as_deref().and_then(|etag| HeaderValue::from_str(etag).ok()) {
            headers.insert(header::ETAG, etag);
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::Code;

    #[test]
    fn every_code_has_a_page_with_its_title_and_every_page_has_a_code() {
        for code in Code::ALL {
            let head =
                format!("# {}\n\n`{}` · HTTP {}\n", code.title(), code.name(), code.status());
            assert!(code.page().starts_with(&head), "docs/problems/{}.md", code.name());
            assert!(code.page().contains("## What to do\n"), "docs/problems/{}.md", code.name());
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/problems");
        let pages: BTreeSet<String> = fs::read_dir(folder)
            .expect("docs/problems can be read")
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        let codes = Code::ALL.iter().map(|code| format!("{}.md", code.name())).collect();
        assert_eq!(pages, codes);
    }
}
