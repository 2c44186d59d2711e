//! From a destination to a connection: judge the name, resolve it, judge the addresses, connect to
//! one of exactly those. Nothing resolves twice, so the answer cannot change in between.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use windlass_policy::network::Destination;

use super::{
    Options,
    record::{Outcome, Recording},
};
use crate::upstream::Proxy;

/// Turns a host name into addresses.
pub trait Resolver: Send + Sync {
    /// All addresses of a name, in order of preference. An empty list means that there is none.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// Asks the system, as every other program on this machine does.
#[derive(Clone, Copy, Debug)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Unreached {
    /// The rules refuse it.
    Refused(String),
    /// It is allowed, but cannot be reached.
    Unreachable(StatusCode, String),
}

/// What a tunnel is for; the operator's proxy is used in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Bytes both ways.
    Tunnel,
    /// One plain HTTP request, which the operator's proxy takes in absolute form.
    Request,
}

/// A connection to the destination.
pub(super) struct Reached {
    pub(super) stream: Stream,
    /// Set when the stream leads to the operator's proxy, which expects absolute-form requests.
    pub(super) through: Option<Option<HeaderValue>>,
}

/// A connection, direct or inside the operator's proxy.
pub(super) enum Stream {
    Direct(TcpStream),
    Tunnelled(Box<TokioIo<hyper::upgrade::Upgraded>>),
}

/// Judges, resolves, judges again and connects, noting each in the recording.
pub(super) async fn reach(
    options: &Options,
    destination: &Destination,
    purpose: Use,
    recording: &mut Recording,
) -> Result<Reached, Unreached> {
    let judged = options.network.judge(destination);
    recording.decided(&judged);
    if !judged.is_allowed() {
        return Err(Unreached::Refused(judged.why));
    }
    recording.ended(Outcome::Unreachable);
    let proxy = options.proxy.as_ref().filter(|_| !options.network.is_internal(destination));
    let resolved = resolve(options, destination).await;
    let addresses = match (resolved, proxy) {
        (Ok(addresses), _) => addresses,
        // In networks with a proxy, names outside often resolve only there.
        (Err(_), Some(proxy)) => return through_proxy(options, proxy, destination, purpose).await,
        (Err(why), None) => return Err(Unreached::Unreachable(StatusCode::BAD_GATEWAY, why)),
    };
    let decision = options.network.decide(destination, &addresses);
    recording.decided(&decision);
    if !decision.is_allowed() {
        return Err(Unreached::Refused(decision.why));
    }
    recording.ended(Outcome::Unreachable);
    if let Some(proxy) = proxy {
        return through_proxy(options, proxy, destination, purpose).await;
    }
    let stream = connect(options.connect_time, destination, &decision.addresses).await?;
    recording.connected(stream.peer_addr().ok().map(|address| address.ip()));
    Ok(Reached { stream: Stream::Direct(stream), through: None })
}

async fn resolve(options: &Options, destination: &Destination) -> Result<Vec<IpAddr>, String> {
    if let Some(address) = destination.address() {
        return Ok(vec![address]);
    }
    let host = destination.host();
    match timeout(options.connect_time, options.resolver.resolve(&host)).await {
        Ok(Ok(addresses)) if addresses.is_empty() => Err(format!("{host} has no address")),
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(format!("{host} does not resolve: {error}")),
        Err(_) => Err(format!("{host} did not resolve in time")),
    }
}

async fn connect(
    limit: Duration,
    destination: &Destination,
    addresses: &[IpAddr],
) -> Result<TcpStream, Unreached> {
    let mut last = String::from("no address was left to try");
    for &address in addresses {
        let target = SocketAddr::new(address, destination.port());
        match timeout(limit, TcpStream::connect(target)).await {
            Ok(Ok(stream)) => {
                // Small writes should leave at once; a refusal to set this changes nothing else.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = format!("{target}: {error}"),
            Err(_) => last = format!("{target}: no answer in time"),
        }
    }
    let why = format!("{destination} cannot be reached ({last})");
    Err(Unreached::Unreachable(StatusCode::BAD_GATEWAY, why))
}

/// Connects to the operator's proxy, whose address the operator gave and which needs no rule.
async fn through_proxy(
    options: &Options,
    proxy: &Proxy,
    destination: &Destination,
    purpose: Use,
) -> Result<Reached, Unreached> {
    let failed = |why: String| {
        Unreached::Unreachable(
            StatusCode::BAD_GATEWAY,
            format!("{destination} cannot be reached: {why}"),
        )
    };
    let connecting = TcpStream::connect((proxy.host(), proxy.port()));
    let stream = match timeout(options.connect_time, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(failed(format!("the operator's proxy does not answer: {error}")));
        }
        Err(_) => return Err(failed("the operator's proxy does not answer in time".to_owned())),
    };
    let _ = stream.set_nodelay(true);
    if purpose == Use::Request {
        return Ok(Reached {
            stream: Stream::Direct(stream),
            through: Some(proxy.authorization().cloned()),
        });
    }
    match timeout(options.connect_time, open_tunnel(stream, proxy, destination)).await {
        Ok(Ok(upgraded)) => {
            let stream = Stream::Tunnelled(Box::new(TokioIo::new(upgraded)));
            Ok(Reached { stream, through: None })
        }
        Ok(Err(why)) => Err(failed(why)),
        Err(_) => Err(failed("the operator's proxy did not open a tunnel in time".to_owned())),
    }
}

async fn open_tunnel(
    stream: TcpStream,
    proxy: &Proxy,
    destination: &Destination,
) -> Result<hyper::upgrade::Upgraded, String> {
    let broken = |error: hyper::Error| format!("the operator's proxy broke off: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection.with_upgrades());
    let authority = destination.to_string();
    let mut request = Request::connect(&authority)
        .header(header::HOST, &authority)
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| error.to_string())?;
    if let Some(authorization) = proxy.authorization() {
        request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
    }
    let response = sender.send_request(request).await.map_err(broken)?;
    if response.status() != StatusCode::OK {
        return Err(format!("the operator's proxy answered {}", response.status()));
    }
    hyper::upgrade::on(response).await.map_err(broken)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tunnelled(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tunnelled(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_flush(context),
            Self::Tunnelled(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tunnelled(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
