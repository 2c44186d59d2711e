//! What is answered at the host of a port where the service does not answer: a page for people, a problem for
//! programs. It loads nothing from the server's own host and runs no script.

use askama::Template;
use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use crate::{
    pages::{Text, asset},
    problem::Problem,
    state::AppState,
};

/// The page's style sheets, below [`super::OWN`].
const STYLES: [&str; 2] = ["tokens.css", "windlass.css"];

/// A page that says what is wrong and what to do.
#[derive(Template)]
#[template(path = "port_notice.html")]
struct Notice {
    status: u16,
    code: &'static str,
    title: &'static str,
    detail: Text,
    server: String,
    /// Where it is tried again; empty: here.
    again: &'static str,
}

/// A problem as a page.
pub(super) fn page(app: &AppState, problem: Problem, again: &'static str) -> Response {
    let view = Notice {
        status: problem.code.status(),
        code: problem.code.name(),
        title: problem.code.title(),
        detail: Text::from(problem.detail.as_str()),
        server: app.base_url().to_owned(),
        again,
    };
    let Ok(html) = view.render() else { return plain(problem) };
    let told = plain(problem);
    let (mut parts, _) = told.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    parts.headers.insert(header::CONTENT_TYPE, kind);
    Response::from_parts(parts, html.into())
}

/// A problem as programs get it.
pub(super) fn plain(problem: Problem) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().remove(header::WWW_AUTHENTICATE);
    harden(response.headers_mut());
    response
}

/// A file that the page loads.
pub(super) fn file(path: &str) -> Option<Response> {
    let name = path.strip_prefix(super::OWN)?;
    let file = STYLES.contains(&name).then(|| asset(name)).flatten()?;
    let kind = HeaderValue::from_static(file.media_type);
    let mut response = (StatusCode::OK, file.content).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    harden(response.headers_mut());
    Some(response)
}

/// Headers of everything that is answered here and not by the service.
pub(super) fn harden(headers: &mut HeaderMap) {
    const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
        frame-ancestors 'none'";
    let own: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in own {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
