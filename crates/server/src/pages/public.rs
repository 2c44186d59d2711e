//! What anybody sees, signed in or not: the sign-in page, the pages of problem codes, and the files that
//! pages load.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;

use super::{
    assets,
    frame::{Frame, page, page_with},
    markdown,
    text::Text,
    view::{
        Crumb,
        people::SignIn,
        problem::{CodePage, CodesPage, ProblemPage},
    },
};
use crate::{
    auth,
    endpoint::{Access, Endpoint},
    extract::{Keys, Place},
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::page(Method::GET, "/sign-in", Access::Public, sign_in),
        Endpoint::page(Method::GET, "/problems", Access::Public, codes),
        Endpoint::page(Method::GET, "/problems/{code}", Access::Public, code),
        Endpoint::new(Method::GET, "/assets/{version}/{name}", Access::Public, asset),
        Endpoint::new(Method::GET, "/favicon.ico", Access::Public, favicon),
    ]
}

#[derive(Deserialize)]
struct Arrival {
    link: Option<String>,
    #[serde(default)]
    next: String,
}

async fn sign_in(frame: Frame, Keys(arrival): Keys<Arrival>) -> Result<Response, Problem> {
    // Whoever is signed in already may still use a link: it may be another person's.
    let frame = frame.of_nobody();
    page(&SignIn {
        shell: frame.shell(None, "Sign in", Vec::new()),
        link: arrival.link.map(Text::from),
        next: Text::from(arrival.next),
    })
}

async fn codes(frame: Frame) -> Result<Response, Problem> {
    let codes = Code::ALL
        .iter()
        .map(|code| (code.name().to_owned(), code.status(), code.title().to_owned()));
    page(&CodesPage {
        shell: frame.shell(None, "Problems", vec![Crumb::here("Problems")]),
        codes: codes.collect(),
    })
}

async fn code(frame: Frame, Place(name): Place<String>) -> Result<Response, Problem> {
    let code = Code::ALL.iter().find(|code| code.name() == name);
    let code = code.ok_or_else(|| Problem::not_found("such code"))?;
    let crumbs = vec![Crumb::to("Problems", "/problems"), Crumb::here(code.name())];
    page(&CodePage {
        shell: frame.shell(None, code.title(), crumbs),
        html: markdown::render(code.page()),
    })
}

async fn asset(Place((version, name)): Place<(String, String)>) -> Result<Response, Problem> {
    let asset = assets::find(&name).ok_or_else(|| Problem::not_found("such file"))?;
    let is_present = version == assets::version();
    let keep = if is_present { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(keep)),
    ];
    Ok((headers, asset.content).into_response())
}

async fn favicon() -> Response {
    let address = assets::url("windlass.svg");
    axum::response::Redirect::temporary(&address).into_response()
}

/// A layer around everything: a person's browser gets a problem as a page. Programs, and everything
/// below `/api` and `/git`, get it as it is.
pub(crate) async fn show_problems(
    State(app): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let is_program = ["/api/", "/git/", "/hooks/", "/assets/"]
        .iter()
        .any(|prefix| request.uri().path().starts_with(prefix));
    let wants_html = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if is_program || !wants_html {
        return next.run(request).await;
    }
    let headers = request.headers().clone();
    let here = request.uri().path_and_query().map_or("/", |here| here.as_str()).to_owned();
    let response = next.run(request).await;
    let Some(problem) = response.extensions().get::<Problem>().cloned() else { return response };
    let principal = match auth::session_cookie(&headers) {
        Some(session) => app.principal_of_session(session).await.ok(),
        None => None,
    };
    let frame = Frame::new(principal, app.now(), &headers, here, None);
    let title = problem.code.title();
    let view = ProblemPage {
        shell: frame.shell(None, title, vec![Crumb::to("Home", "/"), Crumb::here(title)]),
        status: problem.code.status(),
        code: problem.code.name().to_owned(),
        title: title.to_owned(),
        detail: Text::from(problem.detail.as_str()),
        place: problem.place.as_deref().map(Text::from),
        retry_after: problem.retry_after,
    };
    let status =
        StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Headers such as `Retry-After` stay; the body is another one.
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    match page_with(status, &view) {
        Ok(shown) => {
            let (shown, body) = shown.into_parts();
            parts.headers.extend(shown.headers);
            Response::from_parts(parts, body)
        }
        Err(_) => Response::from_parts(parts, Body::from(problem.detail)),
    }
}
