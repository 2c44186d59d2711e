//! Proof that a request which a cookie signed in was made by one of our own pages. Browsers say where
//! a request comes from (`Sec-Fetch-Site`, `Origin`); on top of that every form carries a token that
//! only our own pages can read. Both must hold. Requests with a service token need neither: no
//! browser adds one by itself.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Request, header},
};
use http_body_util::{BodyExt as _, Limited};

use crate::problem::{Code, Problem};

/// The header in which a script gives the session's token.
pub(crate) const HEADER: &str = "x-windlass-csrf";

/// The largest form, in bytes.
const FORM_LIMIT: usize = 1 << 20;

/// Judges where the browser says that the request comes from.
pub(crate) fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_ours = match (text("sec-fetch-site"), text("origin")) {
        (Some("same-origin"), _) => true,
        (Some(_), _) => false,
        (None, Some(origin)) => origin.split_once("://").map(|(_, host)| host) == text("host"),
        (None, None) => false,
    };
    if is_ours {
        Ok(())
    } else {
        Err(refuse("the browser does not say that it comes from this site"))
    }
}

/// Judges a request that only reads: pages of other sites, our neighbours' too, may lead a person here and
/// nothing else. A browser that does not say is not one that would let them read the answer.
pub(super) fn check_read(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_foreign = matches!(text("sec-fetch-site"), Some("same-site" | "cross-site"));
    let is_led =
        text("sec-fetch-mode") == Some("navigate") && text("sec-fetch-dest") == Some("document");
    if is_foreign && !is_led {
        return Err(refuse("another site asks for it"));
    }
    Ok(())
}

/// Judges the headers. False means that the token must be in the form: see [`check_form`].
pub(super) fn check_headers(headers: &HeaderMap, csrf: &str) -> Result<bool, Problem> {
    check_origin(headers)?;
    match headers.get(HEADER).and_then(|value| value.to_str().ok()) {
        Some(given) if given == csrf => Ok(true),
        Some(_) => Err(refuse("its token is not this session's")),
        None => Ok(false),
    }
}

/// Judges the form's field `csrf`, and hands the request on with its body whole.
pub(super) async fn check_form(request: Request<Body>) -> Result<Request<Body>, Problem> {
    let (parts, body) = request.into_parts();
    let is_form = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return Err(refuse("it carries no `X-Windlass-Csrf`"));
    }
    let body: Bytes = Limited::new(body, FORM_LIMIT)
        .collect()
        .await
        .map_err(|_| Problem::new(Code::TooLarge, "a form may have at most 1 MiB"))?
        .to_bytes();
    let expected = parts.extensions.get::<super::Principal>().map(super::Principal::csrf);
    // The token is made of hexadecimal digits, which no form encoding changes.
    let given = body
        .split(|byte| *byte == b'&')
        .find_map(|pair| pair.strip_prefix(b"csrf="))
        .unwrap_or_default();
    if expected.is_some_and(|expected| !expected.is_empty() && expected.as_bytes() == given) {
        return Ok(Request::from_parts(parts, Body::from(body)));
    }
    Err(refuse("its form carries no token of this session"))
}

fn refuse(why: &str) -> Problem {
    Problem::new(Code::CrossSite, format!("the request was refused: {why}; reload the page"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| ((*name).parse().expect("name"), value.parse().expect("value")))
            .collect()
    }

    #[test]
    fn another_site_leads_a_person_here_and_reads_nothing() {
        let verdict = |site, mode, dest| {
            let pairs =
                [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
            check_read(&headers(&pairs)).map_err(|problem| problem.code)
        };
        for site in ["same-site", "cross-site"] {
            assert_eq!(verdict(site, "navigate", "document"), Ok(()));
            for (mode, dest) in [
                ("navigate", "iframe"),
                ("no-cors", "image"),
                ("cors", "empty"),
                ("websocket", "websocket"),
            ] {
                assert_eq!(verdict(site, mode, dest), Err(Code::CrossSite), "{mode} {dest}");
            }
        }
        assert_eq!(verdict("same-origin", "cors", "empty"), Ok(()));
        assert_eq!(verdict("none", "navigate", "document"), Ok(()));
        assert_eq!(check_read(&headers(&[])).map_err(|problem| problem.code), Ok(()));
    }

    #[test]
    fn only_requests_of_our_own_pages_pass() {
        let verdict = |pairs| check_headers(&headers(pairs), "abc").map_err(|problem| problem.code);
        assert_eq!(verdict(&[("sec-fetch-site", "same-origin"), (HEADER, "abc")]), Ok(true));
        assert_eq!(verdict(&[("sec-fetch-site", "same-origin")]), Ok(false));
        assert_eq!(
            verdict(&[("origin", "http://127.0.0.1:7"), ("host", "127.0.0.1:7"), (HEADER, "abc")]),
            Ok(true)
        );
        for refused in [
            &[(HEADER, "abc")][..],
            &[("sec-fetch-site", "same-site"), (HEADER, "abc")],
            &[("sec-fetch-site", "cross-site"), (HEADER, "abc")],
            &[("sec-fetch-site", "same-origin"), (HEADER, "abd")],
            &[("origin", "http://evil.test"), ("host", "127.0.0.1:7"), (HEADER, "abc")],
            &[("origin", "null"), ("host", "127.0.0.1:7"), (HEADER, "abc")],
        ] {
            assert_eq!(verdict(refused), Err(Code::CrossSite), "{refused:?}");
        }
    }
}
