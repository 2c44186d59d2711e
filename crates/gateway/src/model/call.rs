//! One call through the model door, from the request to the answer.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    Source, State, beyond,
    estimate::Asked,
    failure::failure,
    meter::Call,
    pass::{self, Closing},
    record::{Ended, Record},
    route::{Api, Purpose, Route, Wire, route},
    tally::Usage,
    usage_chunk,
};
use crate::door::{Body, Moving, full};

pub(super) async fn answer(state: &Arc<State>, request: Request<Incoming>) -> Response<Body> {
    let anthropic = request.headers().contains_key("anthropic-version");
    let route = match route(request.method(), request.uri().path(), anthropic) {
        Ok(route) => route,
        Err(api) => {
            let message = format!(
                "{} {} is not one of the calls that agents may make",
                request.method(),
                request.uri().path()
            );
            return failure(api, StatusCode::NOT_FOUND, &message);
        }
    };
    if route.purpose == Purpose::Alive {
        return Response::new(full(""));
    }
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(header::CONTENT_ENCODING) {
        let message = "compressed requests are not read; send the body as it is";
        return failure(route.api, StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    }
    let place = place(state, &body).await;
    let body = match read(state, route.api, body).await {
        Ok(body) => body,
        Err(response) => return *response,
    };
    // Kept until the provider begins to answer, which is when the request is no longer needed.
    let _place = place;
    let asked = Asking { route, parts, body };
    if asked.route.purpose == Purpose::CountTokens
        && let Some(what) = beyond(state, asked.route.api.usual_wire(), &asked.body)
    {
        return failure(asked.route.api, StatusCode::FORBIDDEN, &what);
    }
    match &asked.route.purpose {
        Purpose::Generate { wire, model, stream } => {
            let (wire, model, stream) = (*wire, model.clone(), *stream);
            generate(state, asked, wire, model, stream).await
        }
        Purpose::CountTokens | Purpose::Models | Purpose::Alive => match &state.options.source {
            Source::Replay(replay) => replay.aside(asked.route.api, &asked.body),
            Source::Providers(_) => pass::send(state, asked, None).await,
        },
    }
}

/// A request that was read and is let through.
pub(super) struct Asking {
    pub(super) route: Route,
    pub(super) parts: http::request::Parts,
    pub(super) body: Bytes,
}

/// Requests up to this many bytes are taken at any time; every connection may hold one.
const SMALL_REQUEST: u64 = 256 * 1024;

/// A place for a request that is, or does not say that it is not, large.
async fn place(state: &State, body: &Incoming) -> Option<OwnedSemaphorePermit> {
    let is_small = body.size_hint().upper().is_some_and(|bytes| bytes <= SMALL_REQUEST);
    if is_small {
        return None;
    }
    Some(state.held.clone().acquire_owned().await.expect("the semaphore is never closed"))
}

async fn read(state: &State, api: Api, body: Incoming) -> Result<Bytes, Box<Response<Body>>> {
    let limits = &state.options.limits;
    let limited = Limited::new(Moving::new(body, limits.idle), state.options.request_bytes);
    match limited.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let message =
                format!("the request has more than {} bytes", state.options.request_bytes);
            Err(Box::new(failure(api, StatusCode::PAYLOAD_TOO_LARGE, &message)))
        }
        Err(error) => {
            let message = format!("the request broke off: {error}");
            Err(Box::new(failure(api, StatusCode::BAD_REQUEST, &message)))
        }
    }
}

async fn generate(
    state: &Arc<State>,
    mut asking: Asking,
    wire: Wire,
    model: Option<String>,
    stream: Option<bool>,
) -> Response<Body> {
    let since = Instant::now();
    let mut asked = match Asked::parse(&asking.body) {
        Ok(asked) => asked,
        Err(error) => {
            let message = format!("the request's body is not what this call takes: {error}");
            return failure(wire.api(), StatusCode::BAD_REQUEST, &message);
        }
    };
    asked.model = model.unwrap_or(asked.model);
    asked.stream = stream.unwrap_or(asked.stream);
    let number = state.calls.fetch_add(1, Ordering::Relaxed);
    let id = format!("{}-{number}", state.options.call_prefix);
    let call = asked.call(id, wire, &asking.body, state.options.default_output_tokens);
    if let Some(what) = refusal(state, wire, &asked, &asking.body) {
        let status = StatusCode::FORBIDDEN;
        record_refusal(state, call, asked.stream, since, status, Ended::Refused, &what);
        return failure(wire.api(), status, &what);
    }
    if let Err(spent) = state.options.meter.reserve(&call).await {
        let status = StatusCode::PAYMENT_REQUIRED;
        record_refusal(state, call, asked.stream, since, status, Ended::OverBudget, &spent.why);
        return failure(wire.api(), status, &spent.why);
    }
    let mut closing = Closing::new(state.clone(), call, asked.stream, since, asking.body.clone());
    match &state.options.source {
        Source::Replay(replay) => match replay.answer(
            wire,
            &asked.model,
            asked.stream,
            &asking.body,
            is_array(wire, &asked, &asking),
        ) {
            Ok(answer) => pass::watch(answer, closing),
            Err(mismatch) => {
                let message = mismatch.to_string();
                closing.fail(StatusCode::BAD_REQUEST, Ended::Unexpected, &message);
                failure(wire.api(), StatusCode::BAD_REQUEST, &message)
            }
        },
        Source::Providers(_) => {
            if asked.lacks_stream_usage(wire)
                && let Some(wished) = usage_chunk::ask(&asking.body)
            {
                asking.body = wished.into();
                closing.drop_usage_chunk();
            }
            pass::send(state, asking, Some(closing)).await
        }
    }
}

/// Why a call that can be read is not sent.
fn refusal(state: &State, wire: Wire, asked: &Asked, body: &[u8]) -> Option<String> {
    if asked.is_uncounted() {
        return Some("`background` is not taken: nobody could count what it uses".to_owned());
    }
    beyond(state, wire, body)
}

/// Why a request that reaches beyond the model is not sent, if it does.
fn beyond(state: &State, wire: Wire, body: &[u8]) -> Option<String> {
    if state.options.provider_reach {
        return None;
    }
    match beyond::reach(wire, body) {
        Ok(None) => None,
        Ok(Some(what)) => Some(format!(
            "the request asks for {what}, which would leave the environment past its web door; \
             turn that off in the agent's settings, or reach it from inside"
        )),
        Err(error) => Some(format!("the request's body cannot be judged: {error}")),
    }
}

fn record_refusal(
    state: &State,
    call: Call,
    stream: bool,
    since: Instant,
    status: StatusCode,
    ended: Ended,
    problem: &str,
) {
    state.options.records.record(Record {
        call_id: call.id,
        wire: call.wire,
        model: call.model,
        stream,
        status: status.as_u16(),
        usage: Usage::default(),
        exact: true,
        duration_us: u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX),
        ended,
        problem: Some(problem.to_owned()),
    });
}

/// Gemini's stream is one JSON array unless events are asked for.
fn is_array(wire: Wire, asked: &Asked, asking: &Asking) -> bool {
    let query = asking.parts.uri.query().unwrap_or("");
    wire == Wire::GeminiContent && asked.stream && !query.split('&').any(|pair| pair == "alt=sse")
}
