//! `Idempotency-Key`: a request that is sent again with the same key is not done twice and gets the
//! first answer. Answers that a retry might improve (5xx) are not kept, nor are secrets. While the first request is
//! under way, a second one with the same key waits for it.
//!
//! Starting a run hands its key to the store, which keeps it in the run's own transaction; for other
//! commands the answer is kept right after the command, and those are safe to repeat by themselves.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json,
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt as _, Limited};
use serde::Serialize;
use windlass_store::intake::Answer;

use crate::{
    auth::Principal,
    problem::{Code, Problem},
    secret,
    state::AppState,
};

/// The largest body that is looked at, in bytes.
const LIMIT: usize = 2 << 20;
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The requests with a key that are under way.
#[derive(Default)]
pub(crate) struct UnderWay {
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl UnderWay {
    fn lock(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.entry(name.to_owned()).or_default().clone()
    }

    fn forget(&self, name: &str, lock: Arc<tokio::sync::Mutex<()>>) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        drop(lock);
        if locks.get(name).is_some_and(|kept| Arc::strong_count(kept) == 1) {
            locks.remove(name);
        }
    }
}

/// An answer with a secret in it, as JSON: it is shown once and kept by nobody.
pub(crate) struct ShownOnce<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for ShownOnce<T> {
    fn into_response(self) -> Response {
        let kept_by_nobody = [(header::CACHE_CONTROL, NO_STORE)];
        (kept_by_nobody, Json(self.0)).into_response()
    }
}

/// The key of a request, where it has one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().map(str::trim);
    match key {
        Some(key) if (1..=128).contains(&key.len()) => Ok(Some(key.to_owned())),
        Some(_) | None => {
            let why = "a key has 1 to 128 printable ASCII characters";
            Err(Problem::new(Code::BadRequest, why).at("Idempotency-Key"))
        }
    }
}

/// Runs a request once per key.
pub(crate) async fn once(
    app: &AppState,
    principal: &Principal,
    request: Request<Body>,
    next: Next,
) -> Response {
    let key = match key(request.headers()) {
        Ok(Some(key)) if *request.method() == Method::POST => key,
        Ok(_) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    let name = format!("{:?}/{key}", principal.actor);
    let lock = app.under_way().lock(&name);
    let guard = lock.lock().await;
    let answer = keyed(app, principal, key, request, next).await;
    drop(guard);
    app.under_way().forget(&name, lock);
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn keyed(
    app: &AppState,
    principal: &Principal,
    key: String,
    request: Request<Body>,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, LIMIT)
        .collect()
        .await
        .map_err(|_| Problem::new(Code::TooLarge, "a request with a key has at most 2 MiB"))?
        .to_bytes();
    let head = format!("{} {}\n", parts.method, parts.uri);
    let digest = secret::digest_of(&[head.as_bytes(), &body]);
    let organisation_id = principal.organisation_id.clone();
    let by = principal.by();
    if let Some(answer) =
        app.store().remembered(&by, &organisation_id, &key, &digest).await.map_err(mismatch)?
    {
        return Ok(replay(answer));
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    if response.status().is_server_error() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|error| Problem::internal("finish the answer", error))?
        .to_bytes();
    let answer = match is_secret(&parts.headers) {
        false => Answer {
            request: digest,
            status: parts.status.as_u16(),
            body: String::from_utf8_lossy(&body).into_owned(),
        },
        true => shown_once(digest).await?,
    };
    app.store().remember(by, organisation_id, key, answer, app.now()).await.map_err(mismatch)?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// An answer with a secret in it says that nobody may keep it.
fn is_secret(headers: &HeaderMap) -> bool {
    headers.get(header::CACHE_CONTROL).is_some_and(|value| *value == NO_STORE)
}

/// What a repeated request is told where the answer can't be given again.
async fn shown_once(request: String) -> Result<Answer, Problem> {
    let why = "this was done already, and its answer held a secret, which is shown once: take back \
               what was made and make another";
    let response = Problem::new(Code::Conflict, why).into_response();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| Problem::internal("write the answer", error))?.to_bytes();
    Ok(Answer { request, status, body: String::from_utf8_lossy(&body).into_owned() })
}

fn replay(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let kind = match status.is_success() {
        true => "application/json",
        false => "application/problem+json",
    };
    let mut response = (status, answer.body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}

fn mismatch(error: windlass_store::Error) -> Problem {
    match error {
        windlass_store::Error::Conflict { why } => {
            Problem::new(Code::IdempotencyMismatch, why).at("Idempotency-Key")
        }
        other => other.into(),
    }
}
