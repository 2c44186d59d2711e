//! The runner protocol over HTTP: one method per call of [`windlass_wire::runner`], each a single
//! try. Whoever calls decides whether and when to try again.

use std::{sync::Arc, time::Duration};

use reqwest::{Method, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use windlass_gateway::Secret;
use windlass_run::{EnvironmentId, JobId, RunnerId, StepId};
use windlass_wire::{attach::PROTOCOL, runner as wire};

/// How long a call may take, beside the wait of a long poll.
const CALL: Duration = Duration::from_secs(30);
/// How long an upload or download of a bundle may take.
const TRANSFER: Duration = Duration::from_secs(15 * 60);
/// The most bytes of an error answer that are read.
const ANSWER: usize = 4 * 1024;

/// A connection to the server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// Speaks HTTP/1.1 only, which alone knows upgrades.
    dialler: reqwest::Client,
    base: Arc<str>,
    token: Secret,
}

/// Why a call failed, as far as the caller does different things about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server can't be reached, or has trouble of its own: try again.
    #[error("the server is away: {0}")]
    Away(String),
    /// The token is not (or no longer) accepted.
    #[error("the server does not accept this runner's token: {0}")]
    Token(String),
    /// The server does not know what was asked for.
    #[error("the server does not know it: {0}")]
    Unknown(String),
    /// The server refuses the call; repeating it would not help.
    #[error("the server refused: {0}")]
    Refused(String),
}

impl Client {
    /// Prepares a client; nothing is sent.
    pub(crate) fn new(base: &str, token: Secret, tls: rustls::ClientConfig) -> Result<Self, Error> {
        let builder = || {
            reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .tcp_nodelay(true)
                .connect_timeout(Duration::from_secs(10))
                .pool_idle_timeout(Duration::from_secs(60))
                .tls_backend_preconfigured(tls.clone())
        };
        let built = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| Error::Refused(chain(&error)))
        };
        let (http, dialler) = (built(builder())?, built(builder().http1_only())?);
        Ok(Self { http, dialler, base: base.trim_end_matches('/').into(), token })
    }

    pub(crate) async fn register(&self, body: &wire::Register) -> Result<wire::Registered, Error> {
        self.call("register", body, CALL).await
    }

    /// Uses a code up. The code is the credential; the token of this client is not good before.
    pub(crate) async fn join(&self, body: &wire::Join) -> Result<wire::Joined, Error> {
        self.call("join", body, CALL).await
    }

    pub(crate) async fn lease(&self, body: &wire::LeaseRequest) -> Result<wire::Leases, Error> {
        self.call("lease", body, CALL + Duration::from_millis(body.wait_ms)).await
    }

    pub(crate) async fn report(
        &self,
        body: &wire::ReportRequest,
    ) -> Result<wire::ReportAnswer, Error> {
        self.call("report", body, CALL).await
    }

    pub(crate) async fn streams(
        &self,
        body: &wire::StreamRequest,
    ) -> Result<wire::StreamAnswer, Error> {
        self.call("streams", body, CALL).await
    }

    pub(crate) async fn grant(
        &self,
        body: &wire::GrantRequest,
    ) -> Result<wire::GrantAnswer, Error> {
        self.call("grant", body, CALL).await
    }

    pub(crate) async fn record(
        &self,
        body: &wire::RecordRequest,
    ) -> Result<wire::GrantAnswer, Error> {
        self.call("record", body, CALL).await
    }

    /// Says what environments there are, and asks what there shall be.
    pub(crate) async fn environments(
        &self,
        body: &wire::EnvironmentsRequest,
    ) -> Result<wire::Environments, Error> {
        self.call("environments", body, CALL + Duration::from_millis(body.wait_ms)).await
    }

    /// Uploads an environment's work as a bundle.
    pub(crate) async fn put_environment_work(
        &self,
        id: &EnvironmentId,
        runner_id: &RunnerId,
        commit: &str,
        bundle: tokio::fs::File,
    ) -> Result<(), Error> {
        let path = format!("environments/{id}/work?runner_id={runner_id}&commit={commit}");
        self.put(&path, "application/x-git-bundle", bundle).await
    }

    /// Dials a stream that the server wants.
    pub(crate) async fn dial(
        &self,
        stream: &str,
        runner_id: &RunnerId,
    ) -> Result<reqwest::Upgraded, Error> {
        let url = format!("{}/api/v1/runner/streams/{stream}?runner_id={runner_id}", self.base);
        let request = self
            .dialler
            .get(url)
            .bearer_auth(self.token.expose())
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, PROTOCOL);
        // No time limit: it would count for the stream too.
        let response = request.send().await.map_err(|error| Error::Away(chain(&error)))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let response = checked(Ok(response)).await?;
            return Err(Error::Refused(format!("{} instead of a stream", response.status())));
        }
        response.upgrade().await.map_err(|error| Error::Away(chain(&error)))
    }

    /// Asks for what a job's steps may be given.
    pub(crate) async fn secrets(
        &self,
        job_id: &JobId,
        runner_id: &RunnerId,
        epoch: u64,
    ) -> Result<wire::Secrets, Error> {
        let path = format!("jobs/{job_id}/secrets?runner_id={runner_id}&epoch={epoch}");
        let request = self.request(Method::GET, &path).timeout(CALL);
        let response = checked(request.send().await).await?;
        let bytes = response.bytes().await.map_err(|error| Error::Away(chain(&error)))?;
        // What can't be read of it is not told: it may be a secret.
        serde_json::from_slice(&bytes)
            .map_err(|_| Error::Refused("its answer about secrets can't be read".to_owned()))
    }

    /// Uploads the bundle of a checkpoint.
    pub(crate) async fn put_checkpoint(
        &self,
        job_id: &JobId,
        step_id: &StepId,
        epoch: u64,
        commit: &str,
        bundle: tokio::fs::File,
    ) -> Result<(), Error> {
        let path = format!("jobs/{job_id}/checkpoints/{step_id}?epoch={epoch}&commit={commit}");
        self.put(&path, "application/x-git-bundle", bundle).await
    }

    /// Uploads the work so far as a patch.
    pub(crate) async fn put_diff(
        &self,
        job_id: &JobId,
        step_id: &StepId,
        epoch: u64,
        patch: tokio::fs::File,
    ) -> Result<(), Error> {
        let path = format!("jobs/{job_id}/diffs/{step_id}?epoch={epoch}");
        self.put(&path, "text/x-patch", patch).await
    }

    /// Uploads the report of a `readiness` step.
    pub(crate) async fn put_readiness(
        &self,
        job_id: &JobId,
        step_id: &StepId,
        epoch: u64,
        report: tokio::fs::File,
    ) -> Result<(), Error> {
        let path = format!("jobs/{job_id}/readiness/{step_id}?epoch={epoch}");
        self.put(&path, "application/json", report).await
    }

    /// Downloads the bundle of a checkpoint into a file, at most `limit` bytes.
    pub(crate) async fn get_checkpoint(
        &self,
        job_id: &JobId,
        step_id: &StepId,
        epoch: u64,
        into: &mut tokio::fs::File,
        limit: u64,
    ) -> Result<(), Error> {
        use tokio::io::AsyncWriteExt;
        let path = format!("jobs/{job_id}/checkpoints/{step_id}?epoch={epoch}");
        let request = self.request(Method::GET, &path).timeout(TRANSFER);
        let mut response = checked(request.send().await).await?;
        let mut length = 0u64;
        while let Some(piece) =
            response.chunk().await.map_err(|error| Error::Away(chain(&error)))?
        {
            length += piece.len() as u64;
            if length > limit {
                return Err(Error::Refused(format!("the checkpoint is larger than {limit} bytes")));
            }
            into.write_all(&piece).await.map_err(|error| {
                Error::Refused(format!("could not write the checkpoint: {error}"))
            })?;
        }
        into.flush()
            .await
            .map_err(|error| Error::Refused(format!("could not write the checkpoint: {error}")))
    }

    async fn put(
        &self,
        path: &str,
        kind: &'static str,
        file: tokio::fs::File,
    ) -> Result<(), Error> {
        let length = file
            .metadata()
            .await
            .map_err(|error| Error::Refused(format!("could not read it: {error}")))?
            .len();
        let request = self
            .request(Method::PUT, path)
            .timeout(TRANSFER)
            .header(header::CONTENT_TYPE, kind)
            .header(header::CONTENT_LENGTH, length)
            .body(file);
        checked(request.send().await).await.map(drop)
    }

    async fn call<B: Serialize, A: DeserializeOwned>(
        &self,
        name: &str,
        body: &B,
        limit: Duration,
    ) -> Result<A, Error> {
        let request = self.request(Method::POST, name).timeout(limit).json(body);
        let response = checked(request.send().await).await?;
        let bytes = response.bytes().await.map_err(|error| Error::Away(chain(&error)))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Refused(format!("its answer to {name} can't be read: {error}")))
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}/api/v1/runner/{path}", self.base))
            .bearer_auth(self.token.expose())
    }
}

async fn checked(answer: reqwest::Result<reqwest::Response>) -> Result<reqwest::Response, Error> {
    let mut response = answer.map_err(|error| Error::Away(chain(&error)))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let mut body = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece[..piece.len().min(ANSWER - body.len())]);
        if body.len() >= ANSWER {
            break;
        }
    }
    let why = format!("{status}: {}", problem(&body));
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Token(why),
        StatusCode::NOT_FOUND | StatusCode::GONE => Error::Unknown(why),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Error::Away(why),
        status if status.is_server_error() => Error::Away(why),
        _ => Error::Refused(why),
    })
}

/// What a person should read of a problem document (RFC 9457), or of anything else.
fn problem(body: &[u8]) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let detail = document.as_ref().and_then(|document| {
        document.get("detail").or_else(|| document.get("title")).and_then(serde_json::Value::as_str)
    });
    match detail {
        Some(detail) => detail.to_owned(),
        None => String::from_utf8_lossy(body).trim().escape_debug().to_string(),
    }
}

/// An error with its causes, without the address: it may carry nothing secret, but it is long.
fn chain(error: &reqwest::Error) -> String {
    let mut text =
        if error.is_timeout() { "no answer in time".to_owned() } else { error.to_string() };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
