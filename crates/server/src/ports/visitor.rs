//! Who comes to a port: a program by a token, a browser by its pass. A pass counts only for requests that the
//! port's own pages make: neighbours are other people's programs.

use axum::http::{HeaderMap, Method, header};

use super::{address::Address, admission, headers, pass::Pass, text};
use crate::{
    actions::accounts::TOKEN_PREFIX,
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
};

/// Whoever comes; absent if they don't say who they are.
///
/// # Errors
/// They say so in a way that does not hold; the store's failures.
pub(super) async fn find(
    app: &AppState,
    address: &Address,
    origin: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Option<Principal>, Problem> {
    if let Some(credential) = headers.get(headers::CREDENTIAL) {
        let token = bearer(credential.to_str().unwrap_or_default()).ok_or_else(|| {
            let why = "`Windlass-Authorization` is `Bearer` with a service token";
            Problem::new(Code::NotSignedIn, why)
        })?;
        return app.principal_of_token(token).await.map(Some);
    }
    misdirected(app, headers).await?;
    if !is_own_page(origin, method, headers) {
        return Ok(None);
    }
    let name = app.ports().cookie(headers::PASS);
    let now = app.now();
    let passes: Vec<Pass> = headers::cookies(headers, &name)
        .filter_map(|value| Pass::open(app.sealer(), address, value, now))
        .collect();
    for pass in passes {
        let Some(row) = admission::row(app, address).await? else { continue };
        let opening = row.state.published(address.port).map(|published| published.opening);
        if opening != Some(pass.opening) || row.state.generation != pass.generation {
            continue;
        }
        match app.behind(&pass.credential).await {
            Ok(principal) => return Ok(Some(principal)),
            Err(problem) if problem.code == Code::NotSignedIn => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(None)
}

/// A token of this server that is sent to the service instead is kept from it.
async fn misdirected(app: &AppState, headers: &HeaderMap) -> Result<(), Problem> {
    let value = text(headers, header::AUTHORIZATION.as_str()).and_then(bearer);
    let Some(token) = value.filter(|token| token.starts_with(TOKEN_PREFIX)) else { return Ok(()) };
    match app.principal_of_token(token).await {
        Ok(_) => {
            let why = "a token of this server is in `Authorization`, which goes to the service: send it as \
                       `Windlass-Authorization: Bearer`, and revoke it if the service may have seen it before";
            Err(Problem::new(Code::NotSignedIn, why))
        }
        Err(problem) if problem.code == Code::NotSignedIn => Ok(()),
        Err(problem) => Err(problem),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether the browser says that one of the port's own pages asks, or a person who goes there.
fn is_own_page(origin: &str, method: &Method, headers: &HeaderMap) -> bool {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    match (text(headers, "sec-fetch-site"), text(headers, header::ORIGIN.as_str())) {
        (Some("same-origin" | "none"), _) => true,
        (Some(_), _) => is_navigation(method, headers),
        (None, Some(from)) => from == origin,
        // An old browser says where a request comes from if that changes something, or opens a socket.
        (None, None) => is_read && !headers.contains_key(header::UPGRADE),
    }
}

/// Whether a person goes to a page, as far as the browser says.
pub(super) fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    if !matches!(*method, Method::GET | Method::HEAD) || headers.contains_key(header::UPGRADE) {
        return false;
    }
    match (text(headers, "sec-fetch-mode"), text(headers, "sec-fetch-dest")) {
        (Some(mode), dest) => mode == "navigate" && matches!(dest, None | Some("document")),
        (None, _) => {
            text(headers, header::ACCEPT.as_str()).is_some_and(|kind| kind.contains("text/html"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "http://80--x.localhost:8420";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (name.parse().expect("a name"), value.parse().expect("a value"))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_pass_counts_for_the_ports_own_pages_and_for_people_who_go_there() {
        let counts = |method, pairs| is_own_page(ORIGIN, &method, &headers(pairs));
        for own in [
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")][..],
            &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ],
            &[("origin", ORIGIN)],
            &[],
        ] {
            assert!(counts(Method::GET, own), "{own:?}");
        }
        for other in [
            &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")][..],
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "websocket"),
                ("upgrade", "websocket"),
            ],
            &[
                ("sec-fetch-site", "same-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "iframe"),
            ],
            &[("origin", "http://81--x.localhost:8420")],
            &[("upgrade", "websocket")],
        ] {
            assert!(!counts(Method::GET, other), "{other:?}");
        }
        let form = [
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert!(!counts(Method::POST, &form));
        assert!(!counts(Method::POST, &[]));
    }

    #[test]
    fn only_somebody_who_goes_to_a_page_is_sent_to_sign_in() {
        let goes = |pairs| is_navigation(&Method::GET, &headers(pairs));
        assert!(goes(&[("accept", "text/html,*/*")]));
        assert!(goes(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]));
        for not in [
            &[("accept", "*/*")][..],
            &[("accept", "text/html"), ("sec-fetch-mode", "cors")],
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            &[("accept", "text/html"), ("upgrade", "websocket")],
        ] {
            assert!(!goes(not), "{not:?}");
        }
        assert!(!is_navigation(&Method::POST, &headers(&[("accept", "text/html")])));
    }
}
