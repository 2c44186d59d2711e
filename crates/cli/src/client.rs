//! The API's client, for the verbs.

use std::time::Duration;

use anyhow::{Context as _, Result};
use eventsource_stream::Eventsource as _;
use futures::{Stream, StreamExt as _};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use windlass_wire::api::problem::Problem;

use crate::{
    exit::Exit,
    settings::{Connection, Settings},
};

/// Speaks to one server.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    connection: Connection,
}

/// A file, as it comes.
pub(crate) struct File {
    /// Its tag.
    pub(crate) etag: String,
    /// Its content.
    pub(crate) pieces: futures::stream::BoxStream<'static, Result<Vec<u8>>>,
}

impl Client {
    /// The server that the user named, or the one that runs on the data folder.
    pub(crate) async fn find(settings: &Settings) -> Result<Self> {
        let connection = match (&settings.server, settings.connection()) {
            (Some(url), known) => {
                let url = url.trim_end_matches('/').to_owned();
                let known = known.filter(|known| known.url == url);
                let token = settings.token.clone().or(known.as_ref().map(|k| k.token.clone()));
                let Some(token) = token else {
                    return Err(Exit::Refused.error(
                        "a server that isn't this data folder's needs a token: --token-file FILE",
                    ));
                };
                Connection { url, token, certificate: known.and_then(|known| known.certificate) }
            }
            (None, Some(mut known)) => {
                if let Some(token) = &settings.token {
                    known.token.clone_from(token);
                }
                known
            }
            (None, None) => return Err(no_server("none has run on this data folder")),
        };
        let client = Self::new(connection)?;
        let health: Result<serde_json::Value> = client.get("/api/v1/health").await;
        health.map(|_| client)
    }

    /// Speaks to this server.
    pub(crate) fn new(connection: Connection) -> Result<Self> {
        let http = Self::builder(&connection)?.build().context("failed to set up the client")?;
        Ok(Self { http, connection })
    }

    fn builder(connection: &Connection) -> Result<reqwest::ClientBuilder> {
        let mut builder = reqwest::Client::builder().connect_timeout(Duration::from_secs(5));
        if let Some(fingerprint) = &connection.certificate {
            builder = builder.tls_backend_preconfigured(windlass_runner::tls::pinned(fingerprint)?);
        }
        Ok(builder)
    }

    /// Reads.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let response = self.send(self.request(Method::GET, path)).await?;
        json(response).await
    }

    /// Reads with a query.
    pub(crate) async fn query<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &(impl Serialize + ?Sized),
    ) -> Result<T> {
        let response = self.send(self.request(Method::GET, path).query(query)).await?;
        json(response).await
    }

    /// Reads text.
    pub(crate) async fn text(&self, path: &str) -> Result<String> {
        let response = self.send(self.request(Method::GET, path)).await?;
        let bytes = response.bytes().await.context("failed to read the answer")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads bytes.
    pub(crate) async fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        let response = self.send(self.request(Method::GET, path)).await?;
        Ok(response.bytes().await.context("failed to read the answer")?.into())
    }

    /// Reads a file with its tag, as it comes.
    pub(crate) async fn file(&self, path: &str, query: &impl Serialize) -> Result<File> {
        let response = self.send(self.request(Method::GET, path).query(query)).await?;
        let etag = response.headers().get("ETag").and_then(|tag| tag.to_str().ok());
        let etag = etag.unwrap_or_default().to_owned();
        let pieces = response
            .bytes_stream()
            .map(|piece| piece.map(|piece| piece.to_vec()).context("the file broke off"));
        Ok(File { etag, pieces: Box::pin(pieces) })
    }

    /// Writes a file under a condition: a header and its value.
    pub(crate) async fn put_file<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
        (name, value): (&'static str, &str),
        content: Vec<u8>,
    ) -> Result<T> {
        let request = self.request(Method::PUT, path).query(query).header(name, value);
        json(self.send(request.body(content)).await?).await
    }

    /// Upgrades a connection to a stream into an environment.
    pub(crate) async fn upgrade(&self, path: &str) -> Result<reqwest::Upgraded> {
        let client = Self::builder(&self.connection)?.http1_only().build();
        let request = client
            .context("failed to set up the client")?
            .get(format!("{}{path}", self.connection.url))
            .bearer_auth(&self.connection.token)
            .header("Connection", "upgrade")
            .header("Upgrade", windlass_wire::attach::PROTOCOL);
        let response = self.send(request).await?;
        response.upgrade().await.context("the server did not open a stream")
    }

    /// Commands. The key makes a repeated call the same call.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let key = format!("{:032x}", rand::random::<u128>());
        let request = self.request(Method::POST, path).header("Idempotency-Key", key).json(body);
        json(self.send(request).await?).await
    }

    /// Commands whose body is not to be kept, not even as a digest: without a key.
    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        json(self.send(self.request(Method::PUT, path).json(body)).await?).await
    }

    /// Changes.
    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        json(self.send(self.request(Method::PATCH, path).json(body)).await?).await
    }

    /// Commands without an answer worth reading.
    pub(crate) async fn command(&self, method: Method, path: &str) -> Result<()> {
        let mut request = self.request(method.clone(), path);
        if method == Method::POST {
            request = request.json(&serde_json::json!({}));
        }
        self.send(request).await.map(|_| ())
    }

    /// Follows a stream from after `last`, as (id, data) pairs. It ends when the server ends it.
    pub(crate) async fn follow(
        &self,
        path: &str,
        last: Option<&str>,
    ) -> Result<impl Stream<Item = Result<(String, String)>> + Unpin + use<>> {
        let mut request = self.request(Method::GET, path).header("Accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = self.send(request).await?;
        let stream = response
            .bytes_stream()
            .eventsource()
            .map(|event| event.map(|event| (event.id, event.data)).context("the stream broke off"));
        Ok(Box::pin(stream))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.connection.url))
            .bearer_auth(&self.connection.token)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|e| {
            if e.is_connect() || e.is_timeout() {
                no_server(&format!("{} doesn't answer", self.connection.url))
            } else {
                anyhow::Error::new(e.without_url()).context("the server's answer broke off")
            }
        })?;
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let exit = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Refused,
            _ => Exit::Failure,
        };
        let body = response.bytes().await.unwrap_or_default();
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => {
                let place = problem.place.map(|place| format!("{place}: ")).unwrap_or_default();
                exit.error(format!("{place}{} ({})", problem.detail, problem.code))
            }
            Err(_) => exit.error(format!("the server answered {status}")),
        })
    }
}

async fn json<T: DeserializeOwned>(response: Response) -> Result<T> {
    let body = response.bytes().await.context("failed to read the answer")?;
    let body = if body.is_empty() { b"null".as_slice() } else { &body };
    serde_json::from_slice(body)
        .context("failed to understand the answer: is the server another version?")
}

fn no_server(why: &str) -> anyhow::Error {
    Exit::NoServer.error(format!("no server: {why}. Start one with `windlass up`"))
}
