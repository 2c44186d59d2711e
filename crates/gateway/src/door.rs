//! What all doors share: serving HTTP/1.1 on a given socket within limits, stopping with everything
//! that is served, and handing out records of what happened. Knows nothing of what a door is for.

use std::{
    convert::Infallible,
    error::Error,
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::{Instant, Sleep},
};
use tokio_util::sync::CancellationToken;

/// An error of any kind, with its chain.
pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// The body of a response or of a request that we send on.
pub(crate) type Body = UnsyncBoxBody<Bytes, AnyError>;

/// Takes records of what a door did. Must not block.
pub trait Sink<T>: Send + Sync {
    /// Takes one record.
    fn record(&self, record: T);
}

impl<T, F: Fn(T) + Send + Sync> Sink<T> for F {
    fn record(&self, record: T) {
        self(record);
    }
}

/// What a client inside an environment may use up.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time, tunnels included; further ones wait in the socket's backlog.
    pub connections: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Header lines of a request.
    pub headers: usize,
    /// How long a client may take to send a request's head, or to keep a connection unused.
    pub head_time: Duration,
    /// How long a body or a tunnel may stand still.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            head_bytes: 64 * 1024,
            headers: 128,
            head_time: Duration::from_secs(30),
            idle: Duration::from_secs(300),
        }
    }
}

/// A door that is being served. Dropping it stops the door and everything it serves.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Door {
    /// The address that the door's socket is bound to, as seen from inside.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the door, and returns when its socket is closed. Open connections and tunnels end.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // The task only ends; there is nothing to learn from it.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What a handler gets beside the request.
#[derive(Clone)]
pub(crate) struct Visit {
    /// Ends when the door stops.
    pub(crate) stop: CancellationToken,
    /// The place among [`Limits::connections`]; a tunnel keeps it after the request is answered.
    pub(crate) place: Arc<OwnedSemaphorePermit>,
}

/// Serves a socket until the door is dropped. The handler never fails: it answers.
pub(crate) fn serve<H, F>(listener: TcpListener, limits: &Limits, handler: H) -> io::Result<Door>
where
    H: Fn(Request<Incoming>, Visit) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let stop = CancellationToken::new();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head_bytes.max(8192))
        .max_headers(limits.headers);
    let places = Arc::new(Semaphore::new(limits.connections));
    let task = tokio::spawn(accept(listener, builder, places, stop.clone(), handler));
    Ok(Door { address, stop, task })
}

async fn accept<H, F>(
    listener: tokio::net::TcpListener,
    builder: http1::Builder,
    places: Arc<Semaphore>,
    stop: CancellationToken,
    handler: H,
) where
    H: Fn(Request<Incoming>, Visit) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => return,
            place = places.clone().acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, or a client that left: neither may end the door, nor spin.
                tracing::warn!(%error, "a door could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // A streamed answer is many small writes; each should leave at once.
        let _ = stream.set_nodelay(true);
        let visit = Visit { stop: stop.clone(), place: Arc::new(place) };
        let handler = handler.clone();
        let stop = stop.clone();
        let service = {
            let visit = visit.clone();
            service_fn(move |request| {
                let answer = handler(request, visit.clone());
                async move { Ok::<_, Infallible>(answer.await) }
            })
        };
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::spawn(async move {
            let _visit = visit;
            tokio::select! {
                () = stop.cancelled() => {}
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to a door ended early");
                },
            }
        });
    }
}

/// A body that is known whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A short text answer that ends the connection.
pub(crate) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(full(format!("{text}\n")));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Removes what concerns one connection only (RFC 9110 7.6.1), with the headers that `Connection`
/// names, and everything that speaks of proxies.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Nobody may have the length or the host of a message removed.
        .filter(|name| *name != header::CONTENT_LENGTH && *name != header::HOST)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "proxy-authentication-info", "http2-settings"] {
        headers.remove(name);
    }
}

/// A body that fails when it stands still for too long, so that a slow sender cannot hold a place.
pub(crate) struct Moving<B> {
    inner: B,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
}

impl<B> Moving<B> {
    pub(crate) fn new(inner: B, idle: Duration) -> Self {
        Self { inner, idle, timer: Box::pin(tokio::time::sleep(idle)) }
    }
}

impl<B> HttpBody for Moving<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<AnyError>,
{
    type Data = Bytes;
    type Error = AnyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnyError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(frame) => {
                let next = Instant::now() + this.idle;
                this.timer.as_mut().reset(next);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => match this.timer.as_mut().poll(context) {
                Poll::Ready(()) => {
                    Poll::Ready(Some(Err("the body stood still for too long".into())))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
