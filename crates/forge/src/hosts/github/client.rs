//! Requests to GitHub: errors by their status, the host's limits, pages, and answers that have not
//! changed. Nothing here knows what a pull request is, and nothing is tried twice here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Options;
use crate::{Error, Result};

/// The most that one answer may have, in bytes.
const ANSWER_BYTES: usize = 16 << 20;
/// The most pages that a search goes through.
const PAGES: usize = 200;
/// How many answers are kept to ask "has it changed?".
const KEPT: usize = 256;
/// How long to wait where the host asks for patience without saying how much, in microseconds.
const PATIENCE: i64 = 60_000_000;

/// Answers by path, with the tag to ask "has it changed?" by.
type Kept = HashMap<String, (HeaderValue, Vec<u8>)>;

#[derive(Clone)]
pub(super) struct Client {
    octocrab: octocrab::Octocrab,
    options: Options,
    /// Nothing is sent before this time.
    quiet_until: Arc<AtomicI64>,
    kept: Arc<Mutex<Kept>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.options.fmt(f)
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Client {
    pub(super) fn new(options: Options) -> Result<Self> {
        let invalid =
            |message: String| Error::Invalid { what: "the GitHub connection".to_owned(), message };
        if options.token.is_empty() || !options.token.chars().all(|c| c.is_ascii_graphic()) {
            return Err(invalid(
                "the token is empty or has characters that no token has".to_owned(),
            ));
        }
        let octocrab = octocrab::Octocrab::builder()
            .base_uri(options.api_root.trim_end_matches('/'))
            .map_err(|error| invalid(error.to_string()))?
            .personal_token(options.token.clone())
            .add_header(header::USER_AGENT, "windlass".to_owned())
            .add_header(
                header::HeaderName::from_static("x-github-api-version"),
                "2022-11-28".to_owned(),
            )
            .set_connect_timeout(Some(options.time_limit))
            .set_read_timeout(Some(options.time_limit))
            .build()
            .map_err(|error| invalid(error.to_string()))?;
        Ok(Client { octocrab, options, quiet_until: Arc::default(), kept: Arc::default() })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<T> {
        let answer = self.send(what, Method::GET, path, None::<&()>, HeaderMap::new()).await?;
        read(what, &answer.body)
    }

    /// Like `get`, but asks only whether the answer has changed, which costs nothing of the limits.
    pub(super) async fn get_cached<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
    ) -> Result<T> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        let mut headers = HeaderMap::new();
        if let Some((tag, _)) = &kept {
            headers.insert(header::IF_NONE_MATCH, tag.clone());
        }
        let answer = self.send(what, Method::GET, path, None::<&()>, headers).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            let body = kept.map(|(_, body)| body).unwrap_or_default();
            return read(what, &body);
        }
        if let Some(tag) = answer.headers.get(header::ETAG) {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= KEPT {
                kept.clear();
            }
            kept.insert(path.to_owned(), (tag.clone(), answer.body.clone()));
        }
        read(what, &answer.body)
    }

    pub(super) async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        body: &B,
    ) -> Result<T> {
        let answer = self.send(what, Method::POST, path, Some(body), HeaderMap::new()).await?;
        read(what, &answer.body)
    }

    pub(super) async fn patch<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        body: &B,
    ) -> Result<T> {
        let answer = self.send(what, Method::PATCH, path, Some(body), HeaderMap::new()).await?;
        read(what, &answer.body)
    }

    pub(super) async fn put<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        body: &B,
    ) -> Result<T> {
        let answer = self.send(what, Method::PUT, path, Some(body), HeaderMap::new()).await?;
        read(what, &answer.body)
    }

    /// All pages of a list, up to `limit` entries.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        limit: usize,
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let mut next = Some(first_page(path, limit.min(100)));
        while let Some(path) = next.take().filter(|_| all.len() < limit) {
            let (page, following) = self.page::<T>(what, &path).await?;
            all.extend(page);
            next = following;
        }
        all.truncate(limit);
        Ok(all)
    }

    /// The first entry of a list that is wanted.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        wanted: impl Fn(&T) -> bool + Send,
    ) -> Result<Option<T>> {
        let mut next = Some(first_page(path, 100));
        for _ in 0..PAGES {
            let Some(path) = next else { return Ok(None) };
            let (page, following) = self.page::<T>(what, &path).await?;
            if let Some(found) = page.into_iter().find(|entry| wanted(entry)) {
                return Ok(Some(found));
            }
            next = following;
        }
        // Not having found it must not look like its not being there.
        Err(Error::Invalid {
            what: what.to_owned(),
            message: format!("the list has more than {PAGES} pages"),
        })
    }

    async fn page<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
    ) -> Result<(Vec<T>, Option<String>)> {
        let answer = self.send(what, Method::GET, path, None::<&()>, HeaderMap::new()).await?;
        let next = next_page(&answer.headers, &self.options.api_root);
        Ok((read(what, &answer.body)?, next))
    }

    async fn send<B: Serialize + Sync>(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<&B>,
        headers: HeaderMap,
    ) -> Result<Answer> {
        let now = (self.options.clock)();
        let until = self.quiet_until.load(Ordering::Relaxed);
        if now < until {
            return Err(Error::RateLimited { until, message: "asked to wait before".to_owned() });
        }
        let unavailable = |message: String| Error::Unavailable {
            what: what.to_owned(),
            message: self.without_token(&message),
        };
        let work = async {
            let response = match method {
                Method::POST => self.octocrab._post(path, body).await,
                Method::PATCH => self.octocrab._patch(path, body).await,
                Method::PUT => self.octocrab._put(path, body).await,
                _ => self.octocrab._get_with_headers(path, Some(headers)).await,
            };
            let (parts, body) = response.map_err(|error| unavailable(chain(&error)))?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES)
                .collect()
                .await
                .map_err(|error| unavailable(error.to_string()))?;
            Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body: body.to_bytes().to_vec(),
            })
        };
        let limit = self.options.time_limit;
        let answer = tokio::time::timeout(limit, work)
            .await
            .map_err(|_| unavailable(format!("no answer within {} s", limit.as_secs())))??;
        self.obey_limits(&answer, now);
        match answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED {
            true => Ok(answer),
            false => Err(self.error(what, &answer, now)),
        }
    }

    /// Remembers that the host has no more answers for now.
    fn obey_limits(&self, answer: &Answer, now: i64) {
        if let Some(until) = limited_until(answer, now) {
            self.quiet_until.fetch_max(until, Ordering::Relaxed);
        }
    }

    fn error(&self, what: &str, answer: &Answer, now: i64) -> Error {
        let what = what.to_owned();
        let message = self.without_token(&message_of(answer));
        let refused =
            [StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS].contains(&answer.status);
        if let Some(until) = limited_until(answer, now).filter(|_| refused) {
            return Error::RateLimited { until, message };
        }
        match answer.status.as_u16() {
            401 => Error::Forbidden {
                what,
                message: format!("the token was not accepted ({message})"),
            },
            403 | 451 => Error::Forbidden { what, message },
            404 | 410 => Error::NotFound { what },
            405 | 409 | 412 | 423 => Error::Conflict { what, message },
            300..=399 => Error::Invalid {
                what,
                message: "it has moved: use the repository's present name".to_owned(),
            },
            500..=599 | 408 => Error::Unavailable {
                what,
                message: format!("status {}: {message}", answer.status.as_u16()),
            },
            _ => Error::Invalid { what, message },
        }
    }

    fn without_token(&self, text: &str) -> String {
        text.replace(&self.options.token, "[redacted]")
    }
}

/// Until when nothing more may be asked, if this answer says so (microseconds).
fn limited_until(answer: &Answer, now: i64) -> Option<i64> {
    let number = |name: &str| answer.headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let refused =
        answer.status == StatusCode::FORBIDDEN || answer.status == StatusCode::TOO_MANY_REQUESTS;
    if refused && let Some(seconds) = number("retry-after") {
        return Some(now.saturating_add(seconds.clamp(1, 86_400) * 1_000_000));
    }
    if number("x-ratelimit-remaining") == Some(0) {
        let reset = number("x-ratelimit-reset")
            .map_or(now + PATIENCE, |seconds| seconds.saturating_mul(1_000_000));
        // A clock that is off must not stop us for days, nor make us knock without a pause.
        return Some(reset.clamp(now + 1_000_000, now.saturating_add(2 * 3_600_000_000)));
    }
    let secondary = answer.status == StatusCode::TOO_MANY_REQUESTS
        || (refused && message_of(answer).to_ascii_lowercase().contains("rate limit"));
    secondary.then_some(now + PATIENCE)
}

/// The host's words, with the fields that it complains of.
fn message_of(answer: &Answer) -> String {
    #[derive(serde::Deserialize)]
    struct Complaint {
        message: Option<String>,
        #[serde(default)]
        errors: serde_json::Value,
    }
    let Ok(complaint) = serde_json::from_slice::<Complaint>(&answer.body) else {
        return format!("status {}", answer.status.as_u16());
    };
    let mut words =
        vec![complaint.message.unwrap_or_else(|| format!("status {}", answer.status.as_u16()))];
    for error in complaint.errors.as_array().into_iter().flatten() {
        let text = |key: &str| error.get(key).and_then(serde_json::Value::as_str);
        let said = error.as_str().or_else(|| text("message")).map(str::to_owned);
        words.push(said.unwrap_or_else(|| {
            format!(
                "{} {}",
                text("field").unwrap_or("a field"),
                text("code").unwrap_or("is not accepted")
            )
        }));
    }
    words.join("; ").chars().take(1000).collect()
}

fn first_page(path: &str, per_page: usize) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}per_page={per_page}")
}

/// The path of the next page, if it is at the same host: the token goes nowhere else.
fn next_page(headers: &HeaderMap, api_root: &str) -> Option<String> {
    let links = headers.get(header::LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    let path = address.strip_prefix(api_root.trim_end_matches('/'))?;
    path.starts_with('/').then(|| path.to_owned())
}

fn read<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| Error::Unavailable {
        what: what.to_owned(),
        message: format!("the answer cannot be read: {error}"),
    })
}

/// Escapes a value for a query.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into())
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut words = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        words.push(error.to_string());
        source = error.source();
    }
    words.dedup();
    words.join(": ")
}
