//! Signing in and out. A person signs in by a link that works once: the page behind `GET /sign-in?link=`
//! shows a button, and only `POST /sign-in` uses the link up, so that a program that looks at links
//! ahead of a person spends nothing.

use axum::{
    Form,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, header},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;
use windlass_run::{Duration, UserId, actor::By};
use windlass_store::identity::SecretHash;

use super::{Principal, SESSION_COOKIE, cross_site, session_cookie};
use crate::{
    endpoint::{Access, Endpoint},
    problem::{Code, Problem},
    secret::Secret,
    state::AppState,
};

/// How long a session lasts.
const SESSION: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a sign-in link works.
pub(crate) const LINK: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::page(Method::POST, "/sign-in", Access::Public, sign_in),
        Endpoint::page(Method::POST, "/sign-out", Access::SignedIn, sign_out),
    ]
}

/// Where whoever isn't signed in is sent to, with the page that was wanted.
pub(crate) fn address(wanted: &str) -> String {
    let mut address = String::from("/sign-in?next=");
    for byte in wanted.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                address.push(char::from(byte));
            }
            _ => address.push_str(&format!("%{byte:02X}")),
        }
    }
    address
}

/// Makes a sign-in link of a user. It works once, until it expires.
pub(crate) async fn link(
    app: &AppState,
    by: By,
    user_id: UserId,
) -> Result<(String, i64), Problem> {
    let secret = Secret::fresh("");
    let now = app.now();
    let expires_at = now + LINK;
    app.store().create_link(by, user_id, SecretHash::of(secret.expose()), expires_at, now).await?;
    let address = format!("{}/sign-in?link={}", app.base_url(), secret.expose());
    Ok((address, expires_at.as_micros()))
}

#[derive(Deserialize)]
struct Link {
    link: String,
    #[serde(default)]
    next: String,
}

async fn sign_in(
    State(app): State<AppState>,
    headers: HeaderMap,
    Form(form): Form<Link>,
) -> Result<Response, Problem> {
    cross_site::check_origin(&headers)?;
    let session = Secret::fresh("wls_");
    let now = app.now();
    // The whole link, or its last part.
    let link = form.link.trim();
    let link = SecretHash::of(link.rsplit_once("?link=").map_or(link, |(_, secret)| secret));
    let hash = SecretHash::of(session.expose());
    let user = app.store().use_link(link, hash, now + SESSION, now).await?.ok_or_else(|| {
        Problem::new(
            Code::LinkSpent,
            "the sign-in link was used already, has expired or is not one of this server's; \
             ask an admin for a new one, or start `windlass up` again where the server runs",
        )
    })?;
    tracing::info!(user = user.name, "signed in");
    let mut response = Redirect::to(local_path(&form.next)).into_response();
    set_cookie(&app, &mut response, session.expose(), SESSION);
    Ok(response)
}

async fn sign_out(
    State(app): State<AppState>,
    principal: Principal,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(session) = session_cookie(&headers) {
        let hash = SecretHash::of(session);
        app.store().end_session(principal.by(), hash, app.now()).await?;
        app.admission_narrows();
    }
    let mut response = Redirect::to("/sign-in").into_response();
    set_cookie(&app, &mut response, "", Duration::default());
    Ok(response)
}

fn set_cookie(app: &AppState, response: &mut Response, value: &str, lasts: Duration) {
    let secure = if app.is_secure() { "; Secure" } else { "" };
    let seconds = lasts.as_micros() / 1_000_000;
    let cookie = format!(
        "{SESSION_COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}"
    );
    let cookie = HeaderValue::from_str(&cookie).expect("a session's secret is plain ASCII");
    response.headers_mut().insert(header::SET_COOKIE, cookie);
}

/// A path on this server, or the home page: a link must not lead a person elsewhere.
pub(crate) fn local_path(next: &str) -> &str {
    let is_local = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && next.bytes().all(|byte| byte.is_ascii_graphic());
    if is_local { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_on_this_server_is_gone_to() {
        let gone_to =
            ["/runs?x=1", "//evil.test", "https://evil.test", "/\\evil.test", "/a\r\nb", ""]
                .map(local_path);
        assert_eq!(gone_to, ["/runs?x=1", "/", "/", "/", "/", "/"]);
        assert_eq!(address("/runs?a=b&c"), "/sign-in?next=/runs%3Fa%3Db%26c");
    }
}
