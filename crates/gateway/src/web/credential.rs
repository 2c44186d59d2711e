//! Credentials that the door adds: a request for `/credential/NAME/PATH` goes to that credential's
//! own address with its header, over TLS that ends here. The value never goes inside: not in the
//! request, and not where the far side repeats it in its answer.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::TryStreamExt;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header, uri::PathAndQuery,
};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Body as HttpBody, Frame, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use windlass_policy::{
    network::Destination,
    redact::Redactor,
    secrets::{Injection, placeholder},
};
use zeroize::Zeroizing;

use super::{
    Options,
    forward::{Counted, End},
    reach::{Unreached, Use, reach},
    record::{Outcome, Recording},
    refused,
};
use crate::{
    door::{self, AnyError, Body, Moving, strip_hop_by_hop},
    secret::{NotAHeader, Secret},
};

/// The first part of the paths that lead to credentials.
pub const PATH: &str = "/credential/";

/// What a request brings that a credential replaces, or that could stand for another one.
const NEVER_SENT: &[HeaderName] =
    &[header::AUTHORIZATION, header::COOKIE, header::EXPECT, header::ACCEPT_ENCODING];

/// The credentials that the programs of the present step may use. Clones share them.
#[derive(Clone, Default)]
pub struct Credentials(Arc<RwLock<HashMap<String, Arc<Credential>>>>);

/// One credential with the place that it is for.
pub struct Credential {
    name: String,
    url: reqwest::Url,
    destination: Destination,
    methods: Vec<Method>,
    header: HeaderName,
    value: HeaderValue,
    redactor: Redactor,
}

/// Why a credential can't be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The value can't be sent.
    #[error(transparent)]
    Value(#[from] NotAHeader),
    /// The place isn't one.
    #[error("{0}")]
    Place(String),
}

impl Credentials {
    /// These and no others from now on.
    pub fn replace(&self, credentials: Vec<Credential>) {
        let named = credentials.into_iter().map(|one| (one.name.clone(), Arc::new(one))).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = named;
    }

    fn find(&self, name: &str) -> Option<Arc<Credential>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Credentials(..)")
    }
}

impl Credential {
    /// A credential of that name, to be sent as it says.
    ///
    /// # Errors
    /// [`Error`] if there is no such place, or the value can't be a header.
    pub fn new(name: &str, injection: &Injection, secret: &Secret) -> Result<Self, Error> {
        let place = |why: String| Error::Place(why);
        let url = reqwest::Url::parse(&injection.url).map_err(|error| place(error.to_string()))?;
        let host = url.host_str().ok_or_else(|| place("the URL has no host".to_owned()))?;
        let port = url.port_or_known_default().unwrap_or(443);
        let destination = Destination::new(host, port).map_err(|error| place(error.to_string()))?;
        let header = HeaderName::from_bytes(injection.header.as_bytes())
            .map_err(|error| place(error.to_string()))?;
        let methods = injection
            .methods
            .iter()
            .map(|method| Method::from_bytes(method.as_bytes()))
            .collect::<Result<_, _>>()
            .map_err(|error| place(error.to_string()))?;
        let sent = match &injection.user {
            Some(user) => {
                let pair = Zeroizing::new(format!("{user}:{}", secret.expose()));
                Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
            }
            None => {
                let (before, after) = placeholder(&injection.template)
                    .ok_or_else(|| place("the template has no `{}`".to_owned()))?;
                Zeroizing::new(format!("{before}{}{after}", secret.expose()))
            }
        };
        let hidden = [(name, secret.expose().as_bytes()), (name, sent.as_bytes())];
        let redactor = Redactor::new(hidden).map_err(|error| place(error.to_string()))?;
        let value = Secret::new(sent.as_str()).header("")?;
        Ok(Self { name: name.to_owned(), url, destination, methods, header, value, redactor })
    }

    /// Where a path inside leads, if it stays below the URL's own.
    fn target(&self, path: &str, query: Option<&str>) -> Result<PathAndQuery, &'static str> {
        let climbs = |part: &str| {
            let part = part.to_ascii_lowercase().replace("%2e", ".");
            part == "." || part == ".." || part.contains("%2f") || part.contains("%5c")
        };
        if path.split('/').any(climbs) || path.contains('\\') {
            return Err("the path has `.`, `..` or an encoded slash as a part");
        }
        let base = self.url.path().trim_end_matches('/');
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        format!("{base}{slash}{path}{query}").parse().map_err(|_| "the path can't be written")
    }
}

pub(super) async fn answer(options: &Arc<Options>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().strip_prefix(PATH).unwrap_or_default();
    let (name, rest) = path.split_once('/').unwrap_or((path, ""));
    let Some(credential) = options.credentials.find(name) else {
        let why = "windlass web door: this step has no credential of that name";
        return door::plain(StatusCode::NOT_FOUND, why);
    };
    let destination = &credential.destination;
    let (method, port) = (request.method(), destination.port());
    let mut recording = Recording::new(options.records.clone(), method, &destination.host(), port);
    if !credential.methods.contains(method) {
        let why = format!("the credential {name} is not for {method} requests");
        recording.refuse(&why);
        return refused(&destination.to_string(), &why);
    }
    let target = match credential.target(rest, request.uri().query()) {
        Ok(target) => target,
        Err(why) => {
            recording.refuse(why);
            return refused(&destination.to_string(), why);
        }
    };
    let reached = match reach(options, destination, Use::Tunnel, &mut recording).await {
        Ok(reached) => reached,
        Err(Unreached::Refused(why)) => return refused(&destination.to_string(), &why),
        Err(Unreached::Unreachable(status, why)) => {
            return door::plain(status, &format!("windlass web door: {why}"));
        }
    };
    let outgoing = outgoing(request, &credential, target, options, &recording);
    let sent = match credential.url.scheme() {
        "https" => match encrypted(options, destination, reached.stream).await {
            Ok(stream) => send(options, stream, outgoing).await,
            Err(why) => Err(why),
        },
        _ => send(options, reached.stream, outgoing).await,
    };
    match sent {
        Ok(response) => returned(options, &credential, response, recording),
        Err(why) => {
            let why = credential.redactor.redact_text(&why);
            let text = format!("windlass web door: {destination} did not answer: {why}");
            door::plain(StatusCode::BAD_GATEWAY, &text)
        }
    }
}

fn outgoing(
    request: Request<Incoming>,
    credential: &Credential,
    target: PathAndQuery,
    options: &Options,
    recording: &Recording,
) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    for name in NEVER_SENT {
        parts.headers.remove(name);
    }
    // What is compressed could hide the value from the redaction of the answer.
    parts.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    parts.headers.insert(credential.header.clone(), credential.value.clone());
    let host = match credential.url.port() {
        None => credential.destination.host(),
        Some(_) => credential.destination.to_string(),
    };
    // A destination is made of letters, digits and a few signs.
    if let Ok(host) = HeaderValue::from_str(&host) {
        parts.headers.insert(header::HOST, host);
    }
    parts.uri = Uri::from(target);
    parts.version = Version::HTTP_11;
    let end = End::Up(recording.traffic.clone());
    let body = Counted { inner: Moving::new(body, options.limits.idle), end };
    Request::from_parts(parts, body.boxed_unsync())
}

async fn encrypted<S: AsyncRead + AsyncWrite + Unpin>(
    options: &Options,
    destination: &Destination,
    stream: S,
) -> Result<tokio_rustls::client::TlsStream<S>, String> {
    let Some(tls) = &options.tls else {
        return Err("this runner has no certificates to check it by".to_owned());
    };
    let host = destination.host();
    let name = rustls::pki_types::ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|error| error.to_string())?;
    let connecting = tokio_rustls::TlsConnector::from(tls.clone()).connect(name, stream);
    match tokio::time::timeout(options.connect_time, connecting).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err("its TLS handshake took too long".to_owned()),
    }
}

async fn send<S>(
    options: &Options,
    stream: S,
    request: Request<Body>,
) -> Result<Response<Incoming>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = http1::Builder::new()
        .max_buf_size(options.limits.head_bytes.max(8192))
        .handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    match tokio::time::timeout(options.limits.idle, sender.send_request(request)).await {
        Ok(answered) => answered.map_err(|error| door::chain(&error)),
        Err(_) => Err("it took too long".to_owned()),
    }
}

/// The answer without anything of the credential, whatever the far side repeats.
fn returned(
    options: &Options,
    credential: &Credential,
    response: Response<Incoming>,
    mut recording: Recording,
) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let encoding = parts.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if !matches!(encoding, None | Some(b"identity")) {
        let why =
            "the answer is compressed though it was asked not to be, so it can't be looked through";
        recording.refuse(why);
        return door::plain(StatusCode::BAD_GATEWAY, &format!("windlass web door: {why}"));
    }
    recording.ended(if body.is_end_stream() { Outcome::Done } else { Outcome::Cut });
    strip_hop_by_hop(&mut parts.headers);
    for name in [header::SET_COOKIE, header::CONTENT_LENGTH, header::WWW_AUTHENTICATE] {
        parts.headers.remove(name);
    }
    parts.headers = without(&credential.redactor, parts.headers);
    let body = Counted { inner: Moving::new(body, options.limits.idle), end: End::Down(recording) };
    let mut redact = credential.redactor.stream();
    let pieces = body.into_data_stream().map_ok(Some);
    let pieces =
        futures::StreamExt::chain(pieces, futures::stream::once(async { Ok::<_, AnyError>(None) }));
    let frames = pieces.map_ok(move |piece| {
        let clean = match piece {
            Some(bytes) => redact.push(&bytes),
            None => redact.finish(),
        };
        Frame::data(Bytes::from(clean))
    });
    Response::from_parts(parts, BodyExt::boxed_unsync(StreamBody::new(frames)))
}

fn without(redactor: &Redactor, headers: HeaderMap) -> HeaderMap {
    let mut clean = HeaderMap::with_capacity(headers.len());
    for (name, value) in &headers {
        // A redaction is made of letters and brackets, so it is a header again.
        if let Ok(value) = HeaderValue::from_bytes(&redactor.redact(value.as_bytes())) {
            clean.append(name, value);
        }
    }
    clean
}
