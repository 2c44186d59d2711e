//! What handlers take from a request: axum's extractors with our problems instead of its plain text.

use axum::{
    Json,
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request,
        rejection::{BytesRejection, FailedToBufferBody, JsonRejection},
    },
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use crate::{
    auth::Principal,
    problem::{Code, Problem},
};

/// The body, read as JSON. A body that is missing counts as `{}`.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await?.0;
        let bytes = if bytes.is_empty() { b"{}".as_slice().into() } else { bytes };
        match Json::<T>::from_bytes(&bytes) {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(bad_json(&rejection)),
        }
    }
}

/// The body as it is.
pub(crate) struct Bytes(pub(crate) axum::body::Bytes);

impl<S: Send + Sync> FromRequest<S> for Bytes {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        axum::body::Bytes::from_request(request, state).await.map(Self).map_err(|rejection| {
            match &rejection {
                BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                    Problem::new(Code::TooLarge, "the body is longer than this endpoint takes")
                }
                _ => Problem::new(Code::BadRequest, "the body ended early"),
            }
        })
    }
}

fn bad_json(rejection: &JsonRejection) -> Problem {
    let text = rejection.body_text();
    let said = text
        .strip_prefix("Failed to deserialize the JSON body into the target type: ")
        .or_else(|| text.strip_prefix("Failed to parse the request body as JSON: "))
        .unwrap_or(&text);
    let problem = Problem::new(Code::BadRequest, format!("the body can't be read: {said}"));
    // What serde says of a value begins with its place, as in `steps[2].id: missing field`.
    match said.split_once(": ") {
        Some((place, _)) if !place.contains(' ') => problem.at(place),
        _ => problem,
    }
}

/// The query's keys.
pub(crate) struct Keys<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Keys<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                let text = rejection.body_text();
                let said = text
                    .strip_prefix("Failed to deserialize query string: ")
                    .unwrap_or(&text)
                    .to_owned();
                Err(Problem::new(Code::BadRequest, format!("the query can't be read: {said}")))
            }
        }
    }
}

/// The path's parameters. What can't be read names nothing, so it is not found.
pub(crate) struct Place<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Place<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(
                Code::NotFound,
                format!("nothing is here: {}", rejection.body_text()),
            )),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            Problem::new(Code::NotSignedIn, "open a sign-in link, or send a service token")
        })
    }
}
