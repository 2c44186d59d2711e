//! The web door: an HTTP/1.1 proxy (CONNECT, and plain HTTP in absolute form) that reaches what the
//! network rules allow. It resolves names itself, connects to the very address that was checked, and
//! in a tunnel demands a TLS handshake for the host that CONNECT named. Every request leaves one
//! [`Record`]. It reads no body. What it adds a credential to is the business of [`credential`] alone.

pub mod credential;
mod forward;
mod hello;
mod reach;
mod record;
mod tunnel;

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use windlass_policy::network::{Destination, Network};

pub use self::{
    credential::{Credential, Credentials},
    reach::{Resolver, SystemResolver},
    record::{Outcome, Record},
};
use crate::{
    door::{self, Body, Door, Limits, Sink, Visit},
    upstream::Proxy,
};

/// How a web door behaves.
#[derive(Clone)]
pub struct Options {
    /// The rules in force for the job.
    pub network: Network,
    /// Who resolves names.
    pub resolver: Arc<dyn Resolver>,
    /// Who keeps the records.
    pub records: Arc<dyn Sink<Record>>,
    /// What a client may use up.
    pub limits: Limits,
    /// How long resolving a name, and connecting, may take each.
    pub connect_time: Duration,
    /// The operator's own proxy, where the runner reaches the world only through one. Destinations
    /// that an operator's rule names with addresses are reached directly.
    pub proxy: Option<Proxy>,
    /// Ports on which a tunnel may carry something else than TLS, such as 22 for SSH. The rules must
    /// still allow the destination.
    pub raw_ports: Vec<u16>,
    /// What the programs of the present step may have added to their requests.
    pub credentials: Credentials,
    /// How to check those who are sent a credential, from [`upstream::tls`](crate::upstream::tls).
    /// Without, a credential for an `https://` place can't be used.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl Options {
    /// Rules and a sink for records, and the rest as usual.
    pub fn new(network: Network, records: Arc<dyn Sink<Record>>) -> Self {
        Self {
            network,
            resolver: Arc::new(SystemResolver),
            records,
            limits: Limits::default(),
            connect_time: Duration::from_secs(15),
            proxy: None,
            raw_ports: Vec::new(),
            credentials: Credentials::default(),
            tls: None,
        }
    }
}

/// Serves a web door on a socket until the door is dropped. Must be called within a Tokio runtime.
pub fn serve(listener: TcpListener, options: Options) -> io::Result<Door> {
    let limits = options.limits.clone();
    let options = Arc::new(options);
    door::serve(listener, &limits, move |request, visit| {
        let options = options.clone();
        let answer: BoxFuture<'static, _> =
            Box::pin(async move { answer(&options, request, visit).await });
        answer
    })
}

async fn answer(
    options: &Arc<Options>,
    request: Request<Incoming>,
    visit: Visit,
) -> Response<Body> {
    if request.method() == Method::CONNECT {
        return tunnel::answer(options, request, visit).await;
    }
    match request.uri().scheme_str() {
        Some("http") => forward::answer(options, request).await,
        Some(_) => bad_request(
            "only http:// URLs can be asked for directly; https:// goes through CONNECT",
        ),
        None if request.uri().path().starts_with(credential::PATH) => {
            credential::answer(options, request).await
        }
        None => bad_request(
            "this is an HTTP proxy, not a server; set it as HTTP_PROXY and HTTPS_PROXY and ask for a whole URL",
        ),
    }
}

fn bad_request(text: &str) -> Response<Body> {
    door::plain(StatusCode::BAD_REQUEST, &format!("windlass web door: {text}"))
}

/// What a client reads when its request was refused.
fn refused(place: &str, why: &str) -> Response<Body> {
    door::plain(StatusCode::FORBIDDEN, &format!("windlass web door: {place} is refused: {why}"))
}

/// The destination, or a record and an answer that says why it is none.
fn destination(
    options: &Options,
    method: &Method,
    host: &str,
    port: u16,
) -> Result<Destination, Box<Response<Body>>> {
    Destination::new(host, port).map_err(|error| {
        let mut recording = record::Recording::new(options.records.clone(), method, host, port);
        recording.refuse(&error.to_string());
        Box::new(bad_request(&error.to_string()))
    })
}
