//! A request on its way to a service inside, and the answer on its way back: as streams, and as another protocol
//! after an upgrade. What happens to headers is in [`super::headers`].

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::ConnectInfo,
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header},
    response::Response,
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt as _, time::Instant};

use super::{
    admission::Entry,
    headers::{self, Between},
    tunnel::{self, Asker},
};
use crate::{
    problem::{Code, Problem},
    state::AppState,
};

/// The most bytes of the headers of a request.
const HEADERS: usize = 32 * 1024;
/// How long a service may take to begin its answer, since it was given the last of the request.
const FIRST_BYTE: Duration = Duration::from_secs(120);

/// Has the service answer a request.
///
/// # Errors
/// A request that can't be handed on; a service that can't be reached or does not answer.
pub(super) async fn forward(
    app: &AppState,
    entry: &Entry,
    mut request: Request<Body>,
) -> Result<Response, Problem> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        let why = format!("{} is not handed on to a port", request.method());
        return Err(Problem::new(Code::MethodNotAllowed, why));
    }
    if headers::size(request.headers()) > HEADERS {
        let why = format!("the headers of a request to a port may have {} KiB", HEADERS / 1024);
        return Err(Problem::new(Code::TooLarge, why));
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let origin = app.ports().origin(&entry.address);
    let upgrade = wanted_upgrade(&request);
    let between = Between { port: entry.address.port, origin: &origin, peer, upgrade };
    let asked = between.upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let sent = Arc::new(Mutex::new(Instant::now()));
    let inner = inward(&between, request, &sent)?;
    let (answer, asker) = ask(app, entry, inner, &sent, asked.is_some()).await?;
    match (answer.status() == StatusCode::SWITCHING_PROTOCOLS, asked) {
        (true, Some(asked)) => Ok(switch(&between, answer, asked)),
        (true, None) => {
            let why = format!("port {} changed the protocol unasked", entry.address.port);
            Err(Problem::new(Code::PortSilent, why))
        }
        (false, _) => {
            tunnel::keep(app, entry, asker);
            let (parts, body) = answer.into_parts();
            let mut response = Response::new(Body::new(body));
            *response.status_mut() = parts.status;
            let between = Between { upgrade: None, ..between };
            *response.headers_mut() = between.outward(&parts.headers);
            Ok(response)
        }
    }
}

/// What the connection shall become, if it can become something else.
fn wanted_upgrade(request: &Request<Body>) -> Option<HeaderValue> {
    let headers = request.headers();
    let names = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let is_asked = names
        .flat_map(|names| names.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    let can_be = request.version() == Version::HTTP_11 && request.method() == Method::GET;
    headers.get(header::UPGRADE).filter(|_| is_asked && can_be).cloned()
}

/// The request as the service gets it.
fn inward(
    between: &Between<'_>,
    request: Request<Body>,
    sent: &Arc<Mutex<Instant>>,
) -> Result<Request<Body>, Problem> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri = path.parse::<Uri>().map_err(|error| {
        Problem::new(Code::BadRequest, format!("the path can't be read: {error}"))
    })?;
    let body = Body::new(Watched { body, sent: Arc::clone(sent) });
    let mut inner = Request::new(body);
    *inner.method_mut() = parts.method;
    *inner.uri_mut() = uri;
    *inner.headers_mut() = between.inward(&parts.headers);
    Ok(inner)
}

/// Asks, on a connection that is still open if there is one; gives the answer's head, and the connection.
async fn ask(
    app: &AppState,
    entry: &Entry,
    mut request: Request<Body>,
    sent: &Mutex<Instant>,
    is_upgrade: bool,
) -> Result<(Response<Incoming>, Asker), Problem> {
    let silent = |error: hyper::Error| {
        let port = entry.address.port;
        let why = format!("what listens on port {port} broke off, or does not speak HTTP");
        Problem::new(Code::PortSilent, why).because(error)
    };
    let left_open = match is_upgrade {
        true => None,
        false => app.ports().tunnels.left_open(entry),
    };
    if let Some(mut asker) = left_open {
        match in_time(sent, asker.try_send_request(request)).await? {
            Ok(answer) => return Ok((answer, asker)),
            // The service closed it in this moment: it has heard nothing of the request.
            Err(mut error) => match error.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(silent(error.into_error())),
            },
        }
    }
    let mut asker = tunnel::connect(app, entry).await?;
    let answer = in_time(sent, asker.send_request(request)).await?.map_err(silent)?;
    Ok((answer, asker))
}

/// Waits for the head of an answer, but not for ever.
async fn in_time<T>(sent: &Mutex<Instant>, answer: impl Future<Output = T>) -> Result<T, Problem> {
    let late = async {
        loop {
            let until = *sent.lock().unwrap_or_else(PoisonError::into_inner) + FIRST_BYTE;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    };
    tokio::select! {
        answer = answer => Ok(answer),
        () = late => {
            let seconds = FIRST_BYTE.as_secs();
            let why = format!("the service did not begin to answer within {seconds} s");
            Err(Problem::new(Code::PortSlow, why))
        }
    }
}

/// Joins two connections that have become something else.
fn switch(between: &Between<'_>, mut answer: Response<Incoming>, asked: OnUpgrade) -> Response {
    let inside = hyper::upgrade::on(&mut answer);
    tokio::spawn(async move {
        let (Ok(asked), Ok(inside)) = tokio::join!(asked, inside) else { return };
        let (mut questions, mut answers) = tokio::io::split(TokioIo::new(asked));
        let (mut from, mut to) = tokio::io::split(TokioIo::new(inside));
        let outward = async {
            let _ = tokio::io::copy(&mut from, &mut answers).await;
            let _ = answers.shutdown().await;
        };
        let inward = async {
            let _ = tokio::io::copy(&mut questions, &mut to).await;
            let _ = to.shutdown().await;
            std::future::pending::<()>().await;
        };
        // It ends with the inside, which is cut when the visitor is shut out.
        tokio::select! {
            () = outward => {}
            () = inward => {}
        }
    });
    let upgrade = answer.headers().get(header::UPGRADE).cloned();
    let between = Between { upgrade: upgrade.or_else(|| between.upgrade.clone()), ..*between };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers: &HeaderMap = answer.headers();
    *response.headers_mut() = between.outward(headers);
    response
}

/// A body that says when the last piece of it was handed on.
struct Watched {
    body: Body,
    sent: Arc<Mutex<Instant>>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_service_has_its_time_from_the_last_of_the_request_on() {
        let sent = Mutex::new(Instant::now());
        let still_sending = async {
            tokio::time::sleep(FIRST_BYTE / 2).await;
            *sent.lock().expect("nobody panicked") = Instant::now();
            tokio::time::sleep(FIRST_BYTE * 3 / 4).await;
            "answered"
        };
        assert_eq!(in_time(&sent, still_sending).await.expect("in time"), "answered");
        let silent = in_time(&sent, std::future::pending::<()>()).await;
        assert_eq!(silent.map_err(|problem| problem.code), Err(Code::PortSlow));
    }
}
