//! The front door of the model: faults, tokens, limits, tags and pages; then one line a route.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::{Access, Exchange, Fault, World, git_backend, objects, pulls};

type Shared = Arc<tokio::sync::Mutex<World>>;

/// What a handler answers.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) link: Option<String>,
}

pub(super) fn reply(status: u16, body: Value) -> Reply {
    Reply { status, body, link: None }
}

/// A complaint in GitHub's form.
pub(super) fn complaint(status: u16, message: &str) -> Reply {
    reply(
        status,
        json!({
            "message": message,
            "documentation_url": "https://docs.github.com/rest",
            "status": status.to_string(),
        }),
    )
}

/// A complaint about fields.
pub(super) fn invalid(errors: Value) -> Reply {
    reply(
        422,
        json!({
            "message": "Validation Failed",
            "errors": errors,
            "documentation_url": "https://docs.github.com/rest",
            "status": "422",
        }),
    )
}

/// A request that has passed the door.
pub(super) struct Asked {
    pub(super) method: Method,
    /// The path in parts, without the API's root.
    pub(super) parts: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Value,
    pub(super) login: String,
}

impl Asked {
    pub(super) fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.body.get(key).and_then(Value::as_str)
    }
}

pub(super) async fn handle(State(world): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 256 << 20).await.unwrap_or_default();
    let path = parts.uri.path().to_owned();
    if path.contains(".git/") {
        return git_backend::serve(&world, &parts, body).await;
    }
    let mut world = world.lock().await;
    let path = path.strip_prefix("/api/v3").unwrap_or(&path).to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let fault = world.faults.pop_front().flatten();
    let answer = match fault.and_then(refusal) {
        Some(answer) => answer,
        None => answer(&mut world, &parts.method, &path, &query, &parts.headers, &body).await,
    };
    if fault == Some(Fault::LostAnswer) {
        let broken =
            futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("the connection broke"))]);
        return Response::builder()
            .header(header::CONTENT_LENGTH, "100000")
            .body(Body::from_stream(broken))
            .unwrap_or_default();
    }
    answer
}

/// The answer to a request that is not carried out, if the fault is of that kind.
fn refusal(fault: Fault) -> Option<Response> {
    let build = |status: u16, body: String, headers: &[(&str, String)]| {
        let builder =
            headers.iter().fold(Response::builder().status(status), |builder, (name, value)| {
                builder.header(*name, value)
            });
        Some(builder.body(Body::from(body)).unwrap_or_default())
    };
    let secondary =
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    match fault {
        Fault::Status(status) => {
            build(status, complaint(status, "Something went wrong").body.to_string(), &[])
        }
        Fault::SecondaryLimit(seconds) => build(
            403,
            complaint(403, secondary).body.to_string(),
            &[("retry-after", seconds.to_string())],
        ),
        Fault::SecondaryLimitUnsaid => build(429, complaint(429, secondary).body.to_string(), &[]),
        Fault::Garbage => build(200, "<html>hello</html>".to_owned(), &[]),
        Fault::LostAnswer => None,
    }
}

async fn answer(
    world: &mut World,
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    let request = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(body).unwrap_or(Value::String("not JSON".into()))
    };
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let token = text(header::AUTHORIZATION)
        .and_then(|value| value.split_once(' '))
        .map(|(_, token)| token.to_owned());
    let (reply, limits) = match count(world, token.as_deref(), path) {
        Err(reply) => (*reply.0, reply.1),
        Ok((login, access, limits)) => {
            let parts = path.trim_matches('/').split('/').map(decode).collect();
            let asked = Asked {
                method: method.clone(),
                parts,
                query: parse_query(query),
                body: request.clone(),
                login,
            };
            let writes = *method != Method::GET;
            let mut reply = match writes && access == Access::Read {
                true => complaint(403, "Resource not accessible by personal access token"),
                false => route(world, &asked).await,
            };
            if *method == Method::GET && reply.status == 200 {
                paginate(
                    &mut reply,
                    &asked,
                    &format!("{}/api/v3{path}", world.root),
                    world.page_cap,
                );
            }
            (reply, limits)
        }
    };
    let exchange = Exchange {
        method: method.to_string(),
        path: path.to_owned(),
        query: query.to_owned(),
        request,
        status: reply.status,
        response: reply.body.clone(),
    };
    let response = build(reply, limits, text(header::IF_NONE_MATCH));
    world.exchanges.push(Exchange { status: response.status().as_u16(), ..exchange });
    response
}

type Limits = Vec<(&'static str, String)>;

/// Counts a request against its token's limit.
fn count(
    world: &mut World,
    token: Option<&str>,
    path: &str,
) -> Result<(String, Access, Limits), (Box<Reply>, Limits)> {
    let refuse =
        |status, message: &str, limits| Err((Box::new(complaint(status, message)), limits));
    let reset = (world.now / 3600 + 1) * 3600;
    let Some(token) = token else { return refuse(401, "Requires authentication", vec![]) };
    let Some(token) = world.tokens.get_mut(token) else {
        return refuse(401, "Bad credentials", vec![]);
    };
    let spent = token.used >= token.limit;
    if path != "/rate_limit" && !spent {
        token.used += 1;
    }
    let limits = vec![
        ("x-ratelimit-limit", token.limit.to_string()),
        ("x-ratelimit-remaining", (token.limit - token.used).to_string()),
        ("x-ratelimit-used", token.used.to_string()),
        ("x-ratelimit-reset", reset.to_string()),
        ("x-ratelimit-resource", "core".to_owned()),
    ];
    if spent && path != "/rate_limit" {
        return refuse(
            403,
            &format!("API rate limit exceeded for user ID {}.", token.login),
            limits,
        );
    }
    Ok((token.login.clone(), token.access, limits))
}

async fn route(world: &mut World, asked: &Asked) -> Reply {
    let parts: Vec<&str> = asked.parts.iter().map(String::as_str).collect();
    match (asked.method.as_str(), parts.as_slice()) {
        ("GET", ["user"]) => reply(200, objects::account(world, &asked.login)),
        ("GET", ["rate_limit"]) => rate_limit(world, asked),
        (_, ["repos", owner, name, rest @ ..]) => {
            let key = format!("{owner}/{name}").to_ascii_lowercase();
            if !world.repositories.contains_key(&key) {
                return complaint(404, "Not Found");
            }
            match (asked.method.as_str(), rest) {
                ("GET", []) => reply(200, objects::full_repository(world, &key)),
                ("GET", ["pulls"]) => pulls::list(world, asked, &key).await,
                ("POST", ["pulls"]) => pulls::open(world, asked, &key).await,
                ("GET", ["pulls", number]) => pulls::get(world, &key, number).await,
                ("PATCH", ["pulls", number]) => pulls::change(world, asked, &key, number).await,
                ("PUT", ["pulls", number, "merge"]) => {
                    pulls::merge(world, asked, &key, number).await
                }
                ("GET", ["pulls", number, "reviews"]) => pulls::reviews(world, &key, number),
                ("POST", ["pulls", number, "reviews"]) => {
                    pulls::review(world, asked, &key, number).await
                }
                ("GET", ["issues", number, "comments"]) => pulls::comments(world, &key, number),
                ("POST", ["issues", number, "comments"]) => {
                    pulls::comment(world, asked, &key, number)
                }
                ("POST", ["issues", number, "labels"]) => pulls::label(world, asked, &key, number),
                ("POST", ["statuses", commit]) => pulls::status(world, asked, &key, commit).await,
                _ => complaint(404, "Not Found"),
            }
        }
        _ => complaint(404, "Not Found"),
    }
}

fn rate_limit(world: &World, asked: &Asked) -> Reply {
    let Some(token) = world.tokens.values().find(|token| token.login == asked.login) else {
        return complaint(404, "Not Found");
    };
    let core = json!({
        "limit": token.limit,
        "used": token.used,
        "remaining": token.limit - token.used,
        "reset": (world.now / 3600 + 1) * 3600,
    });
    reply(200, json!({ "resources": { "core": core, "search": core }, "rate": core }))
}

/// Cuts a list to the page asked for and says where the others are.
fn paginate(reply: &mut Reply, asked: &Asked, address: &str, cap: usize) {
    let Value::Array(items) = &mut reply.body else { return };
    let number = |key: &str, default: usize| {
        asked
            .query(key)
            .and_then(|value| value.parse::<usize>().ok())
            .filter(|&value| value > 0)
            .unwrap_or(default)
    };
    let (per_page, page) = (number("per_page", 30).min(cap), number("page", 1));
    let last = items.len().div_ceil(per_page).max(1);
    let rest: String = asked
        .query
        .iter()
        .filter(|(key, _)| key != "page")
        .map(|(key, value)| format!("{key}={value}&"))
        .collect();
    let to = |page: usize, name: &str| format!("<{address}?{rest}page={page}>; rel=\"{name}\"");
    let mut links = Vec::new();
    if page > 1 {
        links.extend([to(page - 1, "prev"), to(1, "first")]);
    }
    if page < last {
        links.extend([to(page + 1, "next"), to(last, "last")]);
    }
    reply.link = (!links.is_empty()).then(|| links.join(", "));
    *items = std::mem::take(items).into_iter().skip((page - 1) * per_page).take(per_page).collect();
}

fn build(reply: Reply, limits: Limits, if_none_match: Option<&str>) -> Response {
    let text = if reply.body.is_null() { String::new() } else { reply.body.to_string() };
    // Any hash does for a tag.
    let tag = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let tag = format!("W/\"{tag:016x}\"");
    let unchanged = reply.status == 200 && if_none_match == Some(tag.as_str());
    let status = if unchanged {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    };
    let mut builder = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    builder =
        limits.into_iter().fold(builder, |builder, (name, value)| builder.header(name, value));
    if reply.status == 200 {
        builder = builder.header(header::ETAG, tag);
    }
    if let Some(link) = reply.link {
        builder = builder.header(header::LINK, link);
    }
    builder.body(if unchanged { Body::empty() } else { Body::from(text) }).unwrap_or_default()
}

fn parse_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match (bytes[at], digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
