//! `POST /hooks/in/{hook}`: a delivery of any sender that knows the hook's secret. It is durable before it
//! is answered with 202, and kept once however often it is sent.
//!
//! | what is wrong | answer |
//! |---|---|
//! | the hook is not there, or the sender does not know its secret | 401, the same for both |
//! | the body is larger than 1 MiB | 413 |
//! | the time is more than five minutes from now (`standard`), the body is no JSON | 400 |
//!
//! The id of a delivery is the sender's: `webhook-id` (signed, in `standard`), else `X-GitHub-Delivery`,
//! `X-Gitlab-Event-UUID` or `Idempotency-Key`. Without one it is a digest of the body and the minute in
//! which it arrived: the same body within a minute of the clock is the same event.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Method, StatusCode, header},
};
use serde_json::Value;
use windlass_run::{
    Time,
    event::{Ancestry, Event},
};
use windlass_wire::api::hook::Receipt;

use super::{
    registry::{self, Open},
    scheme::{Refusal, Scheme, Sent},
};
use crate::{
    endpoint::{Access, Endpoint},
    extract::{Bytes, Place},
    problem::{Code, Problem},
    secret::{Secret, digest_of},
    state::AppState,
};

/// The largest body.
const LIMIT: usize = 1 << 20;

/// What events of hooks have as their type.
const KIND: &str = "webhook";

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::POST, "/hooks/in/{hook}", Access::OwnCredential, handler)
        .body_limit(LIMIT)
}

async fn handler(
    State(app): State<AppState>,
    Place(name): Place<String>,
    headers: HeaderMap,
    body: Result<Bytes, Problem>,
) -> Result<(StatusCode, Json<Receipt>), Problem> {
    let hook = registry::find(&app, &name).await?;
    let Bytes(body) = match body {
        Ok(body) => body,
        Err(problem) => {
            if let Some(hook) = hook {
                registry::refuse(&app, &hook.name, &problem.detail).await?;
            }
            return Err(problem);
        }
    };
    let Some(hook) = hook else {
        // As much is computed for a hook that is not there.
        let nothing = Secret::fresh("");
        let _refused = Scheme::Github.check(&[nothing], &headers, &body, app.now());
        return Err(unknown());
    };
    match take(&app, &hook, &headers, &body).await {
        Ok(receipt) => {
            registry::received(&app, &hook.name).await?;
            Ok((StatusCode::ACCEPTED, Json(receipt)))
        }
        Err((reason, problem)) => {
            if problem.code.status() < 500 {
                registry::refuse(&app, &hook.name, &reason).await?;
            }
            Err(problem)
        }
    }
}

/// Takes a delivery. What is refused has a reason for those who may see the hook, and a problem for the
/// sender.
async fn take(
    app: &AppState,
    hook: &Open,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Receipt, (String, Problem)> {
    let now = app.now();
    let told = |problem: Problem| (problem.detail.clone(), problem);
    let sent = match hook.scheme.check(&hook.secrets(now), headers, body, now) {
        Ok(sent) => sent,
        Err(Refusal::Unknown(reason)) => return Err((reason.to_owned(), unknown())),
        Err(Refusal::Wrong(reason)) => {
            return Err(told(Problem::new(Code::BadRequest, reason)));
        }
    };
    let data = json(headers, body).map_err(told)?;
    let event = Event {
        id: app.event_id(),
        source: format!("{KIND}/{}", hook.name),
        delivery: sent.id.clone().unwrap_or_else(|| without_id(body, now)),
        kind: KIND.to_owned(),
        subject: None,
        time: sent_at(&sent, now),
        project_id: hook.project_id.clone(),
        actor: None,
        trust: hook.trust,
        ancestry: Ancestry::default(),
        data,
    };
    let received = app.store().receive_event(app.organisation_id().clone(), event, now).await;
    match received {
        Ok(received) => Ok(Receipt { event: received.id.to_string(), fresh: received.fresh }),
        Err(windlass_store::Error::Invalid { why }) => Err(told(Problem::new(Code::TooLarge, why))),
        Err(error) => Err(told(error.into())),
    }
}

fn sent_at(sent: &Sent, now: Time) -> Time {
    sent.at.unwrap_or(now)
}

/// The id of a delivery whose sender gave it none.
fn without_id(body: &[u8], now: Time) -> String {
    let minute = now.as_micros().div_euclid(60_000_000);
    format!("digest:{}", digest_of(&[&minute.to_be_bytes(), body]))
}

fn json(headers: &HeaderMap, body: &[u8]) -> Result<Value, Problem> {
    let given = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let kind = given.unwrap_or("application/json").split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    if kind != "application/json" && !(kind.starts_with("application/") && kind.ends_with("+json"))
    {
        let why = "the content type is not JSON: send application/json";
        return Err(Problem::new(Code::BadRequest, why).at("content-type"));
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(Code::BadRequest, format!("the body is not JSON: {error}")))
}

/// The one answer to whoever does not know the secret of a hook that may not even be there.
fn unknown() -> Problem {
    let why = "there is no such hook, or the delivery is not signed with its secret";
    Problem::new(Code::NotSignedIn, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_without_an_id_is_the_same_within_a_minute_of_the_clock() {
        let at = |seconds: i64| without_id(b"{}", Time::from_micros(seconds * 1_000_000));
        assert_eq!(at(60), at(119));
        assert_ne!(at(59), at(60));
        assert_ne!(at(60), without_id(b"{ }", Time::from_micros(60_000_000)));
    }
}
