//! Plain HTTP: one request, taken apart and written anew, so that nothing that two programs could
//! read differently is passed on.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header, uri::PathAndQuery};
use http_body_util::BodyExt;
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use windlass_policy::network::Destination;

use super::{
    Options, bad_request, destination,
    reach::{Unreached, Use, reach},
    record::{Outcome, Recording, Traffic},
    refused,
};
use crate::door::{self, AnyError, Body, Moving, strip_hop_by_hop};

pub(super) async fn answer(options: &Arc<Options>, request: Request<Incoming>) -> Response<Body> {
    let Some(authority) = request.uri().authority().cloned() else {
        return bad_request("the URL has no host");
    };
    if authority.as_str().contains('@') {
        return bad_request("the URL may not have a user part");
    }
    let port = match (authority.port(), authority.port_u16()) {
        (None, _) => 80,
        (Some(_), Some(port)) => port,
        (Some(_), None) => return bad_request("the URL's port is not a number from 1 to 65535"),
    };
    let destination = match destination(options, request.method(), authority.host(), port) {
        Ok(destination) => destination,
        Err(response) => return *response,
    };
    if let Err(problem) = same_host(&request, &destination) {
        let mut recording =
            Recording::new(options.records.clone(), request.method(), &destination.host(), port);
        recording.refuse(problem);
        return bad_request(problem);
    }
    let mut recording =
        Recording::new(options.records.clone(), request.method(), &destination.host(), port);
    let reached = match reach(options, &destination, Use::Request, &mut recording).await {
        Ok(reached) => reached,
        Err(Unreached::Refused(why)) => return refused(&destination.to_string(), &why),
        Err(Unreached::Unreachable(status, why)) => {
            return door::plain(status, &format!("windlass web door: {why}"));
        }
    };
    let traffic = recording.traffic.clone();
    let outgoing = match rewritten(request, &destination, reached.through, options, traffic) {
        Ok(outgoing) => outgoing,
        Err(problem) => return bad_request(problem),
    };
    let handshake = http1::Builder::new()
        .max_buf_size(options.limits.head_bytes.max(8192))
        .handshake(TokioIo::new(reached.stream));
    let unreachable = |error: hyper::Error| {
        let why = format!("windlass web door: {destination} did not answer as HTTP does: {error}");
        door::plain(StatusCode::BAD_GATEWAY, &why)
    };
    let mut sender = match handshake.await {
        Ok((sender, connection)) => {
            tokio::spawn(connection);
            sender
        }
        Err(error) => return unreachable(error),
    };
    let response =
        match tokio::time::timeout(options.limits.idle, sender.send_request(outgoing)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return unreachable(error),
            Err(_) => {
                recording.ended(Outcome::TimedOut);
                return door::plain(
                    StatusCode::GATEWAY_TIMEOUT,
                    &format!("windlass web door: {destination} did not answer in time"),
                );
            }
        };
    let (mut parts, body) = response.into_parts();
    // A body without bytes is never asked for; any other is cut until its end is seen.
    recording.ended(if body.is_end_stream() { Outcome::Done } else { Outcome::Cut });
    strip_hop_by_hop(&mut parts.headers);
    let body = Counted { inner: Moving::new(body, options.limits.idle), end: End::Down(recording) };
    Response::from_parts(parts, body.boxed_unsync())
}

/// The Host header must name what the URL names: the far side goes by the one, our rules by the
/// other.
fn same_host<B>(request: &Request<B>, destination: &Destination) -> Result<(), &'static str> {
    const PROBLEM: &str = "the Host header and the URL name different hosts";
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let Some(host) = hosts.next() else {
        // Only HTTP/1.0 may leave it out.
        return if request.version() < Version::HTTP_11 {
            Ok(())
        } else {
            Err("the Host header is missing")
        };
    };
    if hosts.next().is_some() {
        return Err("there is more than one Host header");
    }
    let host = host.to_str().map_err(|_| PROBLEM)?;
    let named = match Destination::parse(host) {
        Ok(named) => named,
        Err(_) => Destination::new(host, 80).map_err(|_| PROBLEM)?,
    };
    if named == *destination { Ok(()) } else { Err(PROBLEM) }
}

fn rewritten(
    request: Request<Incoming>,
    destination: &Destination,
    through: Option<Option<HeaderValue>>,
    options: &Options,
    traffic: Arc<Traffic>,
) -> Result<Request<Body>, &'static str> {
    let (mut parts, body) = request.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    let host = match destination.port() {
        80 => destination.to_string().trim_end_matches(":80").to_owned(),
        _ => destination.to_string(),
    };
    let path = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let host =
        HeaderValue::from_str(&host).map_err(|_| "the host cannot be written as a header")?;
    parts.uri = match &through {
        None => Uri::from(path),
        Some(_) => format!("http://{destination}{path}")
            .parse()
            .map_err(|_| "the URL cannot be written")?,
    };
    parts.headers.insert(header::HOST, host);
    if let Some(Some(authorization)) = through {
        parts.headers.insert(header::PROXY_AUTHORIZATION, authorization);
    }
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    parts.version = Version::HTTP_11;
    let body = Counted { inner: Moving::new(body, options.limits.idle), end: End::Up(traffic) };
    Ok(Request::from_parts(parts, body.boxed_unsync()))
}

/// A body whose bytes are counted. The one that goes inside also keeps the recording, which is
/// therefore sent when the answer is over.
pub(super) struct Counted<B> {
    pub(super) inner: B,
    pub(super) end: End,
}

/// Whose bytes they are.
pub(super) enum End {
    Up(Arc<Traffic>),
    Down(Recording),
}

impl<B> HttpBody for Counted<B>
where
    B: HttpBody<Data = Bytes, Error = AnyError> + Unpin,
{
    type Data = Bytes;
    type Error = AnyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                match &this.end {
                    End::Up(traffic) => traffic.up.fetch_add(length, Ordering::Relaxed),
                    End::Down(recording) => {
                        recording.traffic.down.fetch_add(length, Ordering::Relaxed)
                    }
                };
                if this.inner.is_end_stream() {
                    this.note_the_end();
                }
            }
            Poll::Ready(None) => this.note_the_end(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: HttpBody> Counted<B> {
    fn note_the_end(&mut self) {
        if let End::Down(recording) = &mut self.end {
            recording.ended(Outcome::Done);
        }
    }
}
