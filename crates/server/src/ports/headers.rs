//! What happens to headers on their way to a service and back. Pure: nothing is decided here, and whatever
//! belongs to this server or to one connection stays behind (RFC 9110, 7.6.1).

use std::net::IpAddr;

use axum::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};

use crate::auth::SESSION_COOKIE;

/// The header by which a program says who it is. `Authorization` is the service's own.
pub(super) const CREDENTIAL: &str = "windlass-authorization";
/// The cookie by which a browser is known at the host of a port.
pub(super) const PASS: &str = "windlass_port";
/// The cookie that ties a sign-in to the browser that began it.
pub(super) const BEGUN: &str = "windlass_port_begun";
/// Where browsers let only the host itself set a cookie: under HTTPS.
pub(super) const HOST_ONLY: &str = "__Host-";

/// Headers that are about one connection, or about what proxies before us said.
const LEFT_OUT: [&str; 16] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];
/// Headers of an answer that would reach beyond the port's own origin, or speak of another address.
const OF_OTHERS: [&str; 2] = ["clear-site-data", "alt-svc"];

/// Whose headers they are.
pub(super) struct Between<'a> {
    /// The port inside.
    pub(super) port: u16,
    /// Where it is published: no slash at the end.
    pub(super) origin: &'a str,
    /// Who asks.
    pub(super) peer: Option<IpAddr>,
    /// What the connection shall become, where it shall become something else.
    pub(super) upgrade: Option<HeaderValue>,
}

impl Between<'_> {
    /// A request's headers as the service gets them.
    pub(super) fn inward(&self, from: &HeaderMap) -> HeaderMap {
        let mut to = passed(from);
        let inside = format!("http://localhost:{}", self.port);
        let (scheme, authority) = self.origin.split_once("://").unwrap_or(("http", self.origin));
        set(&mut to, header::HOST, &format!("localhost:{}", self.port));
        set(&mut to, HeaderName::from_static("x-forwarded-host"), authority);
        set(&mut to, HeaderName::from_static("x-forwarded-proto"), scheme);
        if let Some(peer) = self.peer {
            set(&mut to, HeaderName::from_static("x-forwarded-for"), &peer.to_string());
        }
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        if to.get(header::ORIGIN).and_then(text).as_deref() == Some(self.origin) {
            set(&mut to, header::ORIGIN, &inside);
        }
        if let Some(referer) = to.get(header::REFERER).and_then(text)
            && let Some(rest) = referer.strip_prefix(self.origin)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            set(&mut to, header::REFERER, &format!("{inside}{rest}"));
        }
        match cookies_of_the_service(from) {
            Some(cookies) => drop(to.insert(header::COOKIE, cookies)),
            None => drop(to.remove(header::COOKIE)),
        }
        self.upgraded(&mut to);
        to
    }

    /// An answer's headers as whoever asked gets them.
    pub(super) fn outward(&self, from: &HeaderMap) -> HeaderMap {
        let mut to = passed(from);
        OF_OTHERS.iter().for_each(|name| drop(to.remove(*name)));
        if let Entry::Occupied(entry) = to.entry(header::SET_COOKIE) {
            let kept: Vec<HeaderValue> =
                entry.iter().filter_map(|cookie| host_only(cookie.as_bytes())).collect();
            entry.remove_entry_mult();
            for cookie in kept {
                to.append(header::SET_COOKIE, cookie);
            }
        }
        for name in [header::LOCATION, header::ACCESS_CONTROL_ALLOW_ORIGIN] {
            let value = to.get(&name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            if let Some(outside) = value.and_then(|value| self.outside(&value)) {
                set(&mut to, name, &outside);
            }
        }
        self.upgraded(&mut to);
        to
    }

    /// An address of the service as it knows itself, as it is reached; absent if it is another one's.
    fn outside(&self, url: &str) -> Option<String> {
        let (scheme, rest) = url.split_once("//")?;
        if !["", "http:", "https:"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return None;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let is_itself = ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| {
            let is_usual = self.port == 80 && authority.eq_ignore_ascii_case(host);
            is_usual || authority.eq_ignore_ascii_case(&format!("{host}:{}", self.port))
        });
        is_itself.then(|| format!("{}{path}", self.origin))
    }

    fn upgraded(&self, headers: &mut HeaderMap) {
        if let Some(upgrade) = &self.upgrade {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, upgrade.clone());
        }
    }
}

/// The values of the cookies of this name, in their order.
pub(super) fn cookies<'a>(
    headers: &'a HeaderMap,
    wanted: &'a str,
) -> impl Iterator<Item = &'a str> {
    pairs(headers)
        .filter(move |(name, _)| *name == wanted.as_bytes())
        .filter_map(|(_, value)| std::str::from_utf8(value).ok())
}

/// How many bytes headers have.
pub(super) fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// What is handed on of headers: nothing that is about the connection, and nothing of ours.
fn passed(from: &HeaderMap) -> HeaderMap {
    let named = from.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<String> = named
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let mut to = HeaderMap::with_capacity(from.len());
    for (name, value) in from {
        let is_left_out = LEFT_OUT.contains(&name.as_str())
            || name.as_str().starts_with("windlass-")
            || named.iter().any(|named| named == name.as_str());
        if !is_left_out {
            to.append(name, value.clone());
        }
    }
    to
}

/// Whether a cookie is this server's.
fn is_ours(name: &[u8]) -> bool {
    let name = name.strip_prefix(HOST_ONLY.as_bytes()).unwrap_or(name);
    [PASS, BEGUN, SESSION_COOKIE].iter().any(|ours| ours.as_bytes() == name)
}

fn cookies_of_the_service(headers: &HeaderMap) -> Option<HeaderValue> {
    let kept = pairs(headers).filter(|(name, _)| !is_ours(name));
    let mut line = Vec::new();
    for (name, value) in kept {
        if !line.is_empty() {
            line.extend_from_slice(b"; ");
        }
        if !name.is_empty() {
            line.extend_from_slice(name);
            line.push(b'=');
        }
        line.extend_from_slice(value);
    }
    (!line.is_empty()).then(|| HeaderValue::from_bytes(&line).ok()).flatten()
}

/// Names and values of all cookies of a request.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .map(|pair| {
            let pair = pair.trim_ascii();
            match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()),
                // A value without a name, as browsers have it.
                None => (&b""[..], pair),
            }
        })
        .filter(|(name, value)| !name.is_empty() || !value.is_empty())
}

/// A cookie that a service sets, for its own host only; absent if it would be one of ours.
fn host_only(cookie: &[u8]) -> Option<HeaderValue> {
    let mut parts = cookie.split(|byte| *byte == b';');
    let pair = parts.next()?.trim_ascii();
    let mut named = pair.splitn(2, |byte| *byte == b'=');
    let (name, value) = (named.next()?.trim_ascii(), named.next());
    // What has no name is sent back as its value, which may look like another cookie.
    let shown = match (name, value) {
        (b"", Some(value)) => value.split(|byte| *byte == b'=').next().unwrap_or_default(),
        _ => name,
    };
    if is_ours(shown.trim_ascii()) {
        return None;
    }
    let mut line = pair.to_vec();
    for part in parts {
        let attribute = part.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        if !attribute.eq_ignore_ascii_case(b"domain") {
            line.push(b';');
            line.extend_from_slice(part);
        }
    }
    HeaderValue::from_bytes(&line).ok()
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => drop(headers.insert(name, value)),
        Err(_) => drop(headers.remove(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "https://8080--x.ports.test:8443";

    fn between() -> Between<'static> {
        Between { port: 8080, origin: ORIGIN, peer: Some([192, 0, 2, 7].into()), upgrade: None }
    }

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().expect("text"))
        };
        let mut lines: Vec<String> = headers.iter().map(line).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_service_sees_itself_at_localhost_and_nothing_of_ours() {
        let inward = between().inward(&map(&[
            ("host", "8080--x.ports.test:8443"),
            ("connection", "keep-alive, X-Secret-Hop"),
            ("x-secret-hop", "1"),
            ("te", "trailers"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-host", "evil.test"),
            ("forwarded", "for=203.0.113.9"),
            ("windlass-authorization", "Bearer wl_secret"),
            ("authorization", "Basic dTpw"),
            ("origin", ORIGIN),
            ("referer", "https://8080--x.ports.test:8443/a?b"),
            ("cookie", "a=1; windlass_port=v1.x; b=2=3"),
            ("cookie", "__Host-windlass_port=v1.y; windlass_session=wls_1; flag; c="),
        ]));
        assert_eq!(
            lines(&inward),
            [
                "authorization: Basic dTpw",
                "cookie: a=1; b=2=3; flag; c=",
                "host: localhost:8080",
                "origin: http://localhost:8080",
                "referer: http://localhost:8080/a?b",
                "x-forwarded-for: 192.0.2.7",
                "x-forwarded-host: 8080--x.ports.test:8443",
                "x-forwarded-proto: https",
            ]
        );
        let foreign = map(&[("origin", "https://evil.test"), ("cookie", "windlass_port=1")]);
        let foreign = between().inward(&foreign);
        assert_eq!(foreign["origin"], "https://evil.test");
        assert!(!foreign.contains_key("cookie"));
        let longer = map(&[("referer", "https://8080--x.ports.test:84430/a")]);
        assert_eq!(between().inward(&longer)["referer"], "https://8080--x.ports.test:84430/a");
    }

    #[test]
    fn an_answer_speaks_of_the_published_address_and_sets_no_cookie_of_ours_or_of_others() {
        let outward = between().outward(&map(&[
            ("location", "http://localhost:8080/next?a#b"),
            ("access-control-allow-origin", "http://localhost:8080"),
            ("set-cookie", "a=1; Domain=ports.test; Path=/; HttpOnly"),
            ("set-cookie", "b=2; domain=.test;Secure; dOmAin =x"),
            ("set-cookie", "windlass_port=stolen"),
            ("set-cookie", "__Host-windlass_port = stolen; Path=/"),
            ("set-cookie", "=windlass_port_begun=x"),
            ("set-cookie", "windlass_session=x"),
            ("clear-site-data", "\"cookies\""),
            ("alt-svc", "h3=\":1\""),
            ("transfer-encoding", "chunked"),
            ("x-own", "kept"),
        ]));
        assert_eq!(
            lines(&outward),
            [
                "access-control-allow-origin: https://8080--x.ports.test:8443",
                "location: https://8080--x.ports.test:8443/next?a#b",
                "set-cookie: a=1; Path=/; HttpOnly",
                "set-cookie: b=2;Secure",
                "x-own: kept",
            ]
        );
    }

    #[test]
    fn only_the_services_own_addresses_are_rewritten() {
        let itself = ["//127.0.0.1:8080/x", "HTTPS://[::1]:8080", "http://LOCALHOST:8080?q"];
        let itself = itself.map(|url| between().outside(url).expect("itself"));
        assert_eq!(itself, ["/x", "", "?q"].map(|rest| format!("{ORIGIN}{rest}")));
        for other in [
            "/x",
            "http://localhost:80801/",
            "http://localhost/",
            "ftp://localhost:8080/",
            "https://localhost:8080@evil.test/",
        ] {
            assert_eq!(between().outside(other), None, "{other}");
        }
        let usual = Between { port: 80, ..between() };
        assert_eq!(usual.outside("http://localhost/a"), Some(format!("{ORIGIN}/a")));
    }

    #[test]
    fn an_upgrade_is_asked_for_anew_on_each_side() {
        let upgrade = Some(HeaderValue::from_static("websocket"));
        let headers =
            map(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "k")]);
        let inward = Between { upgrade, ..between() }.inward(&headers);
        assert_eq!(
            (&inward["connection"], &inward["upgrade"]),
            (&"upgrade".parse().expect("a value"), &"websocket".parse().expect("a value"))
        );
        assert_eq!(inward["sec-websocket-key"], "k");
        assert!(!between().inward(&headers).contains_key("upgrade"));
    }
}
