//! The way out and back: the credential goes on, the answer passes as it comes, is counted, and is
//! settled when it is over, however it ends.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame};
use tokio::time::Instant;
use windlass_policy::redact;

use super::{
    Provider, Source, State,
    call::Asking,
    credential::{strip, strip_query},
    failure::failure,
    meter::Call,
    record::{Ended, Record},
    route::{Api, Route},
    tally::{Tallied, Tally},
    usage_chunk::Filter,
};
use crate::door::{AnyError, Body, chain, strip_hop_by_hop};

/// Sends a call to its provider and passes the answer. Without `closing` it is not metered.
pub(super) async fn send(
    state: &Arc<State>,
    asking: Asking,
    mut closing: Option<Closing>,
) -> Response<Body> {
    let api = asking.route.api;
    let fail = |closing: &mut Option<Closing>, status, message: &str| {
        if let Some(closing) = closing {
            closing.fail(status, Ended::Unreachable, message);
        }
        failure(api, status, message)
    };
    let Some((client, provider)) = provider(&state.options.source, api) else {
        let message = format!("no provider for the {} API is configured for this job", name(api));
        return fail(&mut closing, StatusCode::NOT_FOUND, &message);
    };
    let redactor = provider.credential.redactor();
    let request = match outgoing(client, provider, asking) {
        Ok(request) => request,
        Err(message) => return fail(&mut closing, StatusCode::BAD_GATEWAY, &message),
    };
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => {
            let message = redactor.redact_text(&format!(
                "the model provider at {} cannot be reached: {}",
                provider.base_url.host_str().unwrap_or("?"),
                chain(&error.without_url())
            ));
            return fail(&mut closing, StatusCode::BAD_GATEWAY, &message);
        }
    };
    if let Some(problem) = unusable(&response) {
        return fail(&mut closing, StatusCode::BAD_GATEWAY, problem);
    }
    let (mut parts, body) = Response::<reqwest::Body>::from(response).into_parts();
    clean(&mut parts.headers, &redactor);
    let body = body.map_err(AnyError::from).boxed_unsync();
    let mut answer = Answer { inner: body, redact: redactor.stream(), closing: None, over: false };
    if let Some(mut closing) = closing {
        closing.begin(parts.status, &parts.headers);
        answer.closing = Some(closing);
    }
    Response::from_parts(parts, answer.boxed_unsync())
}

/// Watches an answer that did not come from a provider.
pub(super) fn watch(response: Response<Body>, mut closing: Closing) -> Response<Body> {
    let (parts, inner) = response.into_parts();
    closing.begin(parts.status, &parts.headers);
    let redact = redact::Redactor::nothing().stream();
    let answer = Answer { inner, redact, closing: Some(closing), over: false };
    Response::from_parts(parts, answer.boxed_unsync())
}

fn provider(source: &Source, api: Api) -> Option<(&reqwest::Client, &Provider)> {
    match source {
        Source::Providers(providers) => {
            let provider = match api {
                Api::Anthropic => &providers.anthropic,
                Api::Openai => &providers.openai,
                Api::Gemini => &providers.gemini,
            };
            provider.as_ref().map(|provider| (&providers.client, provider))
        }
        Source::Replay(_) => None,
    }
}

fn name(api: Api) -> &'static str {
    match api {
        Api::Anthropic => "Anthropic",
        Api::Openai => "OpenAI",
        Api::Gemini => "Gemini",
    }
}

fn outgoing(
    client: &reqwest::Client,
    provider: &Provider,
    asking: Asking,
) -> Result<reqwest::RequestBuilder, String> {
    let Asking { route: Route { api, path, .. }, parts, body } = asking;
    let mut url = provider.base_url.clone();
    url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
    let query = strip_query(parts.uri.query().unwrap_or(""));
    let own = url.query().map(ToOwned::to_owned);
    let queries: Vec<String> =
        own.into_iter().chain(Some(query)).filter(|query| !query.is_empty()).collect();
    url.set_query((!queries.is_empty()).then(|| queries.join("&")).as_deref());
    let mut headers = parts.headers;
    strip_hop_by_hop(&mut headers);
    strip(&mut headers);
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::EXPECT);
    // A compressed answer could not be counted.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some((name, value)) =
        provider.credential.header(api).map_err(|error| error.to_string())?
    {
        headers.insert(name, value);
    }
    Ok(client.request(parts.method, url).headers(headers).body(body))
}

/// Answers that cannot be passed on: one that leads elsewhere, and one that cannot be read.
fn unusable(response: &reqwest::Response) -> Option<&'static str> {
    let encoding = response.headers().get(header::CONTENT_ENCODING);
    if response.status().is_redirection() {
        Some(
            "the model provider answered with a redirect, which is not followed; check the configured base URL",
        )
    } else if encoding.is_some_and(|encoding| encoding != "identity") {
        Some(
            "the model provider compressed its answer although it was asked not to, so it cannot be counted",
        )
    } else {
        None
    }
}

/// Removes what concerns our own connection and account, and whatever repeats the credential.
fn clean(headers: &mut HeaderMap, redactor: &redact::Redactor) {
    strip_hop_by_hop(headers);
    headers.remove(header::SET_COOKIE);
    headers.remove(header::CONTENT_LENGTH);
    headers.remove("alt-svc");
    let repeating: Vec<_> = headers
        .iter()
        .filter(|(_, value)| redactor.redact(value.as_bytes()) != value.as_bytes())
        .map(|(name, _)| name.clone())
        .collect();
    for name in repeating {
        headers.remove(name);
    }
}

/// What is left to do when a metered call is over. Dropping it settles the call as far as it came.
pub(super) struct Closing {
    state: Arc<State>,
    call: Call,
    stream: bool,
    since: Instant,
    /// For the recorder.
    request: Bytes,
    answer: Option<Vec<u8>>,
    status: StatusCode,
    tally: Option<Tally>,
    filter: Option<Filter>,
    ended: Ended,
    problem: Option<String>,
    tallied: Option<Tallied>,
}

impl Closing {
    pub(super) fn new(
        state: Arc<State>,
        call: Call,
        stream: bool,
        since: Instant,
        request: Bytes,
    ) -> Self {
        let answer = state.options.recorder.as_ref().map(|_| Vec::new());
        // A request may be large; only the recorder needs it until the end.
        let request = if answer.is_some() { request } else { Bytes::new() };
        Self {
            state,
            call,
            stream,
            since,
            request,
            answer,
            status: StatusCode::OK,
            tally: None,
            filter: None,
            ended: Ended::ClientLeft,
            problem: None,
            tallied: None,
        }
    }

    /// The answer will have a chunk that the client did not ask for.
    pub(super) fn drop_usage_chunk(&mut self) {
        self.filter = Some(Filter::default());
    }

    /// Notes that there is no answer; nothing was used.
    pub(super) fn fail(&mut self, status: StatusCode, ended: Ended, problem: &str) {
        self.status = status;
        self.ended = ended;
        self.problem = Some(problem.to_owned());
        self.tallied = Some(Tallied { exact: true, ..Tallied::default() });
    }

    fn begin(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = status;
        let kind =
            headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        self.tally = Some(Tally::new(self.call.wire, kind.starts_with("text/event-stream")));
        if !kind.starts_with("text/event-stream") {
            self.filter = None;
        }
    }

    fn push(&mut self, bytes: Bytes) -> Bytes {
        if let Some(tally) = &mut self.tally {
            tally.push(&bytes);
        }
        if let Some(answer) = &mut self.answer {
            answer.extend_from_slice(&bytes);
        }
        match &mut self.filter {
            None => bytes,
            Some(filter) => filter.push(&bytes).into(),
        }
    }

    /// The transfer is over; `error` says that it broke off. Returns bytes that were held back.
    fn finish(&mut self, error: Option<&str>) -> Vec<u8> {
        let held = self.filter.as_mut().map(Filter::finish).unwrap_or_default();
        let tallied =
            self.tally.as_mut().map(|tally| tally.finish(error.is_none())).unwrap_or_default();
        self.problem = error.map(ToOwned::to_owned).or_else(|| tallied.problem.clone());
        self.ended = if !self.status.is_success() {
            Ended::Failed
        } else if tallied.complete {
            Ended::Complete
        } else {
            self.problem
                .get_or_insert_with(|| "the answer ended before it was complete".to_owned());
            Ended::Cut
        };
        self.tallied = Some(tallied);
        held
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let left = Tallied::default;
        let tallied = self.tallied.take();
        let tallied = tallied
            .unwrap_or_else(|| self.tally.as_mut().map_or_else(left, |tally| tally.finish(false)));
        let (usage, exact) = if self.status.is_success() {
            let mut usage = tallied.usage(self.call.input_tokens, self.call.output_tokens);
            if self.ended == Ended::ClientLeft && !tallied.exact {
                // What was left unread may have been made all the same, and leaving must not be a way to
                // pay less.
                usage.output = usage.output.max(self.call.output_tokens);
            }
            (usage, tallied.exact)
        } else {
            // Providers take nothing for an answer that is an error.
            Default::default()
        };
        let exact = exact || !self.status.is_success();
        self.state.options.meter.settle(&self.call.id, usage);
        if let (Some(recorder), Some(answer), Ended::Complete) =
            (&self.state.options.recorder, &self.answer, self.ended)
        {
            recorder.record(self.call.wire, &self.request, answer);
        }
        self.state.options.records.record(Record {
            call_id: self.call.id.clone(),
            wire: self.call.wire,
            model: self.call.model.clone(),
            stream: self.stream,
            status: self.status.as_u16(),
            usage,
            exact,
            duration_us: u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX),
            ended: self.ended,
            problem: self.problem.take(),
        });
    }
}

/// An answer on its way inside.
struct Answer {
    inner: Body,
    redact: redact::Stream,
    closing: Option<Closing>,
    over: bool,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = AnyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnyError>>> {
        let this = self.get_mut();
        while !this.over {
            let frame = match Pin::new(&mut this.inner).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(frame) => frame,
            };
            let passed = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => {
                        let bytes = this
                            .closing
                            .as_mut()
                            .map_or_else(|| bytes.clone(), |closing| closing.push(bytes.clone()));
                        this.redact.push(&bytes)
                    }
                    // Trailers could only repeat what headers may not say.
                    Err(_) => Vec::new(),
                },
                Some(Err(error)) => {
                    this.over = true;
                    if let Some(mut closing) = this.closing.take() {
                        closing.finish(Some(&format!(
                            "the answer broke off: {}",
                            chain(error.as_ref())
                        )));
                    }
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.over = true;
                    let held = this
                        .closing
                        .take()
                        .map(|mut closing| closing.finish(None))
                        .unwrap_or_default();
                    let mut last = this.redact.push(&held);
                    last.extend(this.redact.finish());
                    last
                }
            };
            if !passed.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(passed.into()))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}
