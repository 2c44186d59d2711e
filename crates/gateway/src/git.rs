//! The git door: one repository on a forge, by git's smart HTTP protocol. The forge's token is added
//! here and nothing inside ever sees it. Fetching that repository is free; of a push, every command
//! is read first, and unless the job's rules allow all of them nothing reaches the forge.
//!
//! Any path that ends in one of git's endpoints is taken (`/git/acme/api.git/info/refs`): the
//! repository is the configured one, whatever the client calls it.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tokio_util::io::{ReaderStream, StreamReader};
use windlass_git::{
    receive::{self, RefRules},
    smart_http::{Endpoint, Service, route},
};
use windlass_policy::redact::Redactor;
use zeroize::Zeroizing;

use crate::{
    door::{self, AnyError, Body, Door, Limits, Moving, Sink, full, plain},
    secret::{NotAHeader, Secret},
};

/// How a git door behaves.
#[derive(Clone)]
pub struct Options {
    /// The client to reach the forge with, from [`upstream::client`](crate::upstream::client).
    pub client: reqwest::Client,
    /// The repository's URL on the forge, such as `https://github.com/acme/api.git`. A user part in
    /// it is ignored.
    pub repository: reqwest::Url,
    /// The user and the token to sign in with; for GitHub the user is `x-access-token`.
    pub credential: Option<(String, Secret)>,
    /// What may be pushed. The empty rules allow nothing.
    pub push: RefRules,
    /// Who keeps the records.
    pub records: Arc<dyn Sink<Record>>,
    /// What a client may use up.
    pub limits: Limits,
    /// How long a pack may stand still, in either direction.
    pub idle: Duration,
}

/// One request through the git door that reads or writes the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `git-upload-pack` for a fetch, `git-receive-pack` for a push.
    pub service: String,
    /// The references that a push asks to change, with what they are to become; empty for a fetch.
    pub commands: Vec<PushCommand>,
    /// The HTTP status that the client got.
    pub status: u16,
    /// Why a push was refused here; absent when it went to the forge.
    pub refused: Option<String>,
}

/// One change of a reference that a push asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushCommand {
    /// The reference.
    pub name: String,
    /// What the pusher believed it was; absent if it was to be created.
    pub old: Option<String>,
    /// What it was to become; absent if it was to be deleted.
    pub new: Option<String>,
}

/// Why a git door cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token cannot be sent.
    #[error(transparent)]
    Credential(#[from] NotAHeader),
    /// The URL is not one of HTTP.
    #[error("the repository's URL is not http:// or https://; the git door speaks only these")]
    Scheme,
    /// The socket cannot be used.
    #[error("the git door's socket cannot be served: {0}")]
    Socket(#[from] io::Error),
}

/// Serves a git door on a socket until the door is dropped. Must be called within a Tokio runtime.
pub fn serve(listener: TcpListener, options: Options) -> Result<Door, Error> {
    if !matches!(options.repository.scheme(), "http" | "https") {
        return Err(Error::Scheme);
    }
    let authorization = options.credential.as_ref().map(basic).transpose()?;
    let redactor = redactor(&options);
    let mut repository = options.repository.clone();
    // The parts of a URL with a host can always be unset.
    let _ = repository.set_username("");
    let _ = repository.set_password(None);
    repository.set_query(None);
    repository.set_fragment(None);
    let limits = options.limits.clone();
    let state = Arc::new(State { options, repository, authorization, redactor });
    let door = door::serve(listener, &limits, move |request, _| {
        let state = state.clone();
        let answer: BoxFuture<'static, _> = Box::pin(async move { answer(&state, request).await });
        answer
    })?;
    Ok(door)
}

struct State {
    options: Options,
    repository: reqwest::Url,
    authorization: Option<HeaderValue>,
    redactor: Redactor,
}

fn basic((user, token): &(String, Secret)) -> Result<HeaderValue, NotAHeader> {
    let pair = Zeroizing::new(format!("{user}:{}", token.expose()));
    Secret::new(STANDARD.encode(pair.as_bytes())).header("Basic ")
}

/// Finds the token in what the forge says. One that is too short to be found is nobody's real token.
fn redactor(options: &Options) -> Redactor {
    let token =
        options.credential.iter().map(|(_, token)| ("credential", token.expose().as_bytes()));
    Redactor::new(token).unwrap_or_else(|_| Redactor::nothing())
}

async fn answer(state: &State, request: Request<Incoming>) -> Response<Body> {
    let found = route(request.method(), request.uri().path(), request.uri().query());
    let Some((_, endpoint)) = found else {
        return plain(
            StatusCode::NOT_FOUND,
            "windlass git door: only fetch and push by git's smart HTTP protocol are served here",
        );
    };
    match endpoint {
        Endpoint::Advertise(service) => {
            let query = format!("service={}", service.name());
            let (parts, _) = request.into_parts();
            forward(state, parts.method, "info/refs", Some(&query), &parts.headers, None).await
        }
        Endpoint::Call(Service::UploadPack) => {
            let (parts, body) = request.into_parts();
            let mut headers = parts.headers.clone();
            let stream = match plain_stream(state, &mut headers, body) {
                Ok(stream) => bounded(stream, FETCH_REQUEST),
                Err(response) => return *response,
            };
            let response =
                forward(state, parts.method, "git-upload-pack", None, &headers, Some(stream)).await;
            record(state, Service::UploadPack, Vec::new(), response.status(), None);
            response
        }
        Endpoint::Call(Service::ReceivePack) => push(state, request).await,
    }
}

async fn push(state: &State, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    let is_compressed = headers.contains_key(header::CONTENT_ENCODING);
    let mut stream = match plain_stream(state, &mut headers, body) {
        Ok(stream) => stream,
        Err(response) => return *response,
    };
    let (head, seen) = match receive::read_head(&mut stream).await {
        Ok(read) => read,
        Err(bad) => {
            let why = bad.to_string();
            record(
                state,
                Service::ReceivePack,
                Vec::new(),
                StatusCode::BAD_REQUEST,
                Some(why.clone()),
            );
            return plain(StatusCode::BAD_REQUEST, &format!("windlass git door: {why}"));
        }
    };
    let commands: Vec<_> = head
        .commands
        .iter()
        .map(|command| PushCommand {
            name: command.name.to_string(),
            old: command.old.as_ref().map(ToString::to_string),
            new: command.new.as_ref().map(ToString::to_string),
        })
        .collect();
    if let Err(denied) = state.options.push.decide(&head) {
        // The client reads no answer before it has sent its pack; what it sends goes nowhere. Git
        // compresses no push, and unpacking without end for whoever does would cost the runner's time.
        if !is_compressed {
            while let Some(Ok(_)) = stream.next().await {}
        }
        let response = match receive::denial_report(&head, &denied) {
            Some(report) => {
                let mut response = Response::new(full(report));
                let kind = HeaderValue::from_static("application/x-git-receive-pack-result");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            None => plain(StatusCode::FORBIDDEN, &format!("windlass git door: {denied}")),
        };
        record(state, Service::ReceivePack, commands, response.status(), Some(denied.to_string()));
        return response;
    }
    let stream = futures::stream::once(async { Ok(seen) }).chain(stream).boxed();
    let response =
        forward(state, parts.method, "git-receive-pack", None, &headers, Some(stream)).await;
    // An empty list is git's question whether it may sign in; nothing is changed by it.
    if !commands.is_empty() {
        record(state, Service::ReceivePack, commands, response.status(), None);
    }
    response
}

fn record(
    state: &State,
    service: Service,
    commands: Vec<PushCommand>,
    status: StatusCode,
    refused: Option<String>,
) {
    let service = service.name().to_owned();
    state.options.records.record(Record { service, commands, status: status.as_u16(), refused });
}

type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// The body as git meant it: what was compressed is unpacked, so that what we read is what the forge
/// will read.
fn plain_stream(
    state: &State,
    headers: &mut HeaderMap,
    body: Incoming,
) -> Result<Pieces, Box<Response<Body>>> {
    let stream = Moving::new(body, state.options.idle).into_data_stream().map_err(io::Error::other);
    let encoding = headers.remove(header::CONTENT_ENCODING);
    match encoding.as_ref().map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(stream.boxed()),
        Some(b"gzip" | b"x-gzip") => {
            let mut decoder =
                async_compression::tokio::bufread::GzipDecoder::new(StreamReader::new(stream));
            decoder.multiple_members(false);
            Ok(ReaderStream::with_capacity(decoder, 32 * 1024).boxed())
        }
        Some(_) => Err(Box::new(plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "windlass git door: only gzip is understood as a content encoding",
        ))),
    }
}

/// The most bytes, unpacked, that a fetch may ask with: a million objects known and wanted.
const FETCH_REQUEST: u64 = 64 << 20;

/// A body that breaks off where it passes a limit, so that a few compressed bytes cannot become
/// gigabytes on their way to the forge.
fn bounded(stream: Pieces, limit: u64) -> Pieces {
    let mut left = limit;
    let counted = stream.map(move |piece| {
        let piece = piece?;
        match left.checked_sub(piece.len() as u64) {
            Some(rest) => left = rest,
            None => return Err(io::Error::other(format!("more than {limit} bytes"))),
        }
        Ok(piece)
    });
    counted.boxed()
}

/// What git's client sends that matters to the far side. Nothing else is passed on.
const PASSED: &[HeaderName] =
    &[header::ACCEPT, header::ACCEPT_LANGUAGE, header::CONTENT_TYPE, header::USER_AGENT];

/// What of the far side's answer matters to git's client.
const RETURNED: &[HeaderName] = &[
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::EXPIRES,
    header::PRAGMA,
    header::RETRY_AFTER,
];

async fn forward(
    state: &State,
    method: http::Method,
    endpoint: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Option<Pieces>,
) -> Response<Body> {
    let mut url = state.repository.clone();
    url.set_path(&format!("{}/{endpoint}", url.path().trim_end_matches('/')));
    url.set_query(query);
    let mut outgoing = HeaderMap::new();
    for name in PASSED {
        if let Some(value) = headers.get(name) {
            outgoing.insert(name.clone(), value.clone());
        }
    }
    if let Some(version) = headers.get("git-protocol") {
        outgoing.insert(HeaderName::from_static("git-protocol"), version.clone());
    }
    if let Some(authorization) = &state.authorization {
        outgoing.insert(header::AUTHORIZATION, authorization.clone());
    }
    let mut request = state.options.client.request(method, url).headers(outgoing);
    if let Some(body) = body {
        request = request.body(reqwest::Body::wrap_stream(body));
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => {
            let why = state.redactor.redact_text(&door::chain(&error.without_url()));
            let text = format!("windlass git door: the forge cannot be reached: {why}");
            return plain(StatusCode::BAD_GATEWAY, &text);
        }
    };
    passed_back(state, response)
}

fn passed_back(state: &State, response: reqwest::Response) -> Response<Body> {
    let status = response.status();
    // A client that was asked for a password would look for one; there is none inside.
    if status == StatusCode::UNAUTHORIZED || status.is_redirection() {
        let why = if status == StatusCode::UNAUTHORIZED {
            "the forge refused the token of this project; whoever manages the project can set another"
        } else {
            "the forge says that the repository has moved; whoever manages the project can set its new URL"
        };
        return plain(StatusCode::FORBIDDEN, &format!("windlass git door: {why}"));
    }
    let (parts, body) = Response::<reqwest::Body>::from(response).into_parts();
    let mut back = Response::new(());
    *back.status_mut() = status;
    for name in RETURNED {
        if let Some(value) = parts.headers.get(name) {
            back.headers_mut().insert(name.clone(), value.clone());
        }
    }
    let body = Moving::new(body, state.options.idle);
    if status.is_success() {
        return back.map(|()| body.boxed_unsync());
    }
    // An error is text for a person; a forge could repeat the token in it.
    let mut redact = state.redactor.stream();
    let stream =
        body.into_data_stream().map_ok(Some).chain(futures::stream::once(async { Ok(None) }));
    let stream = stream.map_ok(move |bytes| match bytes {
        Some(bytes) => hyper::body::Frame::data(Bytes::from(redact.push(&bytes))),
        None => hyper::body::Frame::data(Bytes::from(redact.finish())),
    });
    let body = http_body_util::StreamBody::new(stream.map_err(|error: AnyError| error));
    back.map(|()| BodyExt::boxed_unsync(body))
}
