//! Errors that the door itself answers with, in the form that each API's clients understand.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::route::Api;
use crate::door::{Body, full};

/// Makes an error answer. Clients are told not to try again, except where the provider could not be
/// reached.
pub(crate) fn failure(api: Api, status: StatusCode, message: &str) -> Response<Body> {
    let body = body(api, status, &format!("windlass model door: {message}"));
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if !status.is_server_error() {
        headers
            .insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"));
    }
    response
}

fn body(api: Api, status: StatusCode, message: &str) -> Value {
    match api {
        Api::Anthropic => {
            let kind = match status {
                StatusCode::NOT_FOUND => "not_found_error",
                StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
                StatusCode::PAYMENT_REQUIRED => "billing_error",
                _ if status.is_client_error() => "invalid_request_error",
                _ => "api_error",
            };
            json!({ "type": "error", "error": { "type": kind, "message": message } })
        }
        Api::Openai => {
            let (kind, code) = match status {
                StatusCode::PAYMENT_REQUIRED => ("insufficient_quota", json!("insufficient_quota")),
                _ if status.is_client_error() => ("invalid_request_error", Value::Null),
                _ => ("server_error", Value::Null),
            };
            json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })
        }
        Api::Gemini => {
            let kind = match status {
                StatusCode::NOT_FOUND => "NOT_FOUND",
                StatusCode::PAYMENT_REQUIRED => "RESOURCE_EXHAUSTED",
                _ if status.is_client_error() => "INVALID_ARGUMENT",
                _ => "UNAVAILABLE",
            };
            json!({ "error": { "code": status.as_u16(), "message": message, "status": kind } })
        }
    }
}
