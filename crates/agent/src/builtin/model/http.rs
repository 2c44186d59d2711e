//! Plain HTTP to the model door on loopback. No TLS, no proxy and no redirects, on purpose: there is
//! no other way out of an environment, and no credential here that could go astray.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;

/// The most bytes of an answer.
const ANSWER: usize = 32 * 1024 * 1024;

/// An answer.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// Says what is wrong with a base URL, if it is not plain HTTP on loopback.
pub(in crate::builtin) fn check_address(url: &str) -> Result<(), String> {
    address(url).map(|_| ())
}

/// Posts JSON. The error is for people.
pub(super) async fn post(
    url: &str,
    headers: &[(&'static str, &str)],
    body: String,
) -> Result<Response, String> {
    let (host, port, uri) = address(url)?;
    let stream = tokio::net::TcpStream::connect((host.as_str(), port))
        .await
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path)
        .header(HOST, uri.authority().map_or("localhost", |authority| authority.as_str()))
        .header(CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| chain(&error))?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let body = Limited::new(response.into_body(), ANSWER)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok(Response { status, retry_after, body: body.to_bytes() })
    };
    // The connection is driven here and not by a task, so that a cancelled turn closes it.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        response = exchange => response,
        () = drive => Err("the connection ended".to_owned()),
    }
}

fn address(url: &str) -> Result<(String, u16, Uri), String> {
    let uri: Uri = url.parse().map_err(|error| format!("`{url}` is no URL: {error}"))?;
    if uri.scheme_str() != Some("http") {
        return Err(format!("`{url}` is not plain http, which the model door speaks"));
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !is_loopback {
        return Err(format!("`{url}` is not on loopback, where the model door is"));
    }
    let port = uri.port_u16().unwrap_or(80);
    Ok((host, port, uri))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
