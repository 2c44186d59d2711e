//! The upgrade of an HTTP/1.1 connection to a stream into an environment (RFC 9110, 7.8).

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use windlass_wire::attach::PROTOCOL;

use crate::problem::{Code, Problem};

/// The answer that lets a connection become a stream.
///
/// # Errors
/// The request asks for no upgrade, or for another one.
pub(crate) fn answer(request: &Request) -> Result<Response, Problem> {
    let wanted = request.headers().get(header::UPGRADE).and_then(|name| name.to_str().ok());
    if wanted != Some(PROTOCOL) {
        let why =
            format!("ask with `Connection: upgrade` and `Upgrade: {PROTOCOL}`, over HTTP/1.1");
        return Err(Problem::new(Code::BadRequest, why).at("Upgrade"));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    Ok(response)
}
