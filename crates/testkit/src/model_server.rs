//! A scripted model server: answers the Anthropic Messages, OpenAI Responses, OpenAI Chat and Gemini
//! APIs on loopback from a script, with faults, and remembers every request it saw. No model is
//! behind it. Its answers are written by the same renderer as a replayed session's; that the
//! providers' own client libraries can read them is tested in `gateway`.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header},
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
pub use windlass_gateway::replay::{Failure, Prompt, Reply, ToolUse, Usage};
use windlass_gateway::{
    model::Wire,
    replay::{Rendered, render},
};

/// A server that is running. Dropping it stops it.
#[derive(Debug)]
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

/// A request that the server saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The HTTP method.
    pub method: Method,
    /// The path, as it was sent.
    pub path: String,
    /// The query, without its question mark.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; `Null` if it is no JSON.
    pub body: Value,
    /// What kind of generating call it is, if it is one.
    pub wire: Option<Wire>,
    /// What it asks, if it is a generating call.
    pub prompt: Option<Prompt>,
}

/// What the server does with one generating call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It answers.
    Reply(Reply),
    /// It answers, but something is wrong.
    Fault(Fault),
}

/// What can be wrong with an answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// An error of the API, in its own form.
    Status {
        /// The HTTP status.
        status: u16,
        /// What it says.
        message: String,
        /// The `Retry-After` header, in seconds.
        retry_after: Option<u32>,
    },
    /// The connection breaks after so many events (or bytes, when not streamed).
    Cut {
        /// The answer that is begun.
        reply: Reply,
        /// How much of it is sent.
        after: usize,
    },
    /// The stream ends in order after so many events, without the event that says so.
    Short {
        /// The answer that is begun.
        reply: Reply,
        /// How much of it is sent.
        after: usize,
    },
    /// The rest of the answer waits after so many events until [`ModelServer::release`].
    Held {
        /// The answer.
        reply: Reply,
        /// How much of it is sent before the wait.
        after: usize,
    },
    /// So long a pause before each event.
    Slow {
        /// The answer.
        reply: Reply,
        /// The pause.
        pause: Duration,
    },
    /// Status 200 and a body that is no answer.
    Garbage,
}

/// What the server answers.
pub enum Script {
    /// These, in order; a further call is answered with status 500 and counted as unexpected.
    Sequence(VecDeque<Answer>),
    /// Whatever the function says.
    Each(Box<dyn FnMut(&Seen) -> Answer + Send>),
}

#[derive(Debug)]
struct Shared {
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
    count: watch::Sender<usize>,
    unexpected: Mutex<usize>,
    release: Notify,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Script")
    }
}

/// An answer of text alone, with some tokens used.
pub fn says(text: &str) -> Reply {
    Reply {
        text: text.to_owned(),
        usage: Usage { input: 120, output: 17, cached: 40 },
        ..Reply::default()
    }
}

/// An answer that calls one tool.
pub fn calls(text: &str, tool: &str, input: Value) -> Reply {
    Reply { tools: vec![ToolUse { name: tool.to_owned(), input }], ..says(text) }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Script {
    /// Answers in order.
    pub fn sequence<A: Into<Answer>>(answers: impl IntoIterator<Item = A>) -> Self {
        Self::Sequence(answers.into_iter().map(Into::into).collect())
    }

    /// Answers by a function of the request.
    pub fn each(answer: impl FnMut(&Seen) -> Answer + Send + 'static) -> Self {
        Self::Each(Box::new(answer))
    }
}

impl ModelServer {
    /// Starts on a free loopback port.
    pub async fn start(script: Script) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            seen: Mutex::default(),
            count: watch::Sender::new(0),
            unexpected: Mutex::default(),
            release: Notify::new(),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let task = tokio::spawn(async move {
            // Ends only with the task itself.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, shared, task })
    }

    /// The base URL for Anthropic and Gemini clients; OpenAI clients want `/v1` behind it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// The generating calls among the requests.
    pub fn calls(&self) -> Vec<Seen> {
        lock(&self.shared.seen).iter().filter(|seen| seen.wire.is_some()).cloned().collect()
    }

    /// How many generating calls the script had no answer for.
    pub fn unexpected(&self) -> usize {
        *lock(&self.shared.unexpected)
    }

    /// Returns when so many requests of any kind have arrived.
    pub async fn wait_for(&self, requests: usize) {
        // The sender lives as long as the server, so that the wait cannot fail.
        let _ = self.shared.count.subscribe().wait_for(|count| *count >= requests).await;
    }

    /// Lets one held answer go on, also one that is held only later.
    pub fn release(&self) {
        self.shared.release.notify_one();
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, 64 * 1024 * 1024).await else {
        return json_answer(
            StatusCode::BAD_REQUEST,
            &json!({ "error": { "message": "the body broke off" } }),
        );
    };
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or("").to_owned();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let wire = if parts.method == Method::POST { wire_of(&path) } else { None };
    let prompt = wire.map(|wire| Prompt::read(wire, &body));
    let seen =
        Seen { method: parts.method, path, query, headers: parts.headers, body, wire, prompt };
    lock(&shared.seen).push(seen.clone());
    shared.count.send_modify(|count| *count += 1);
    let (Some(wire), Some(prompt)) = (seen.wire, &seen.prompt) else { return beside(&seen) };
    let next = match &mut *lock(&shared.script) {
        Script::Sequence(answers) => answers.pop_front(),
        Script::Each(answer) => Some(answer(&seen)),
    };
    let Some(next) = next else {
        *lock(&shared.unexpected) += 1;
        let message = "the script has no further answer".to_owned();
        let reply = failing(500, message, None);
        return send(render(wire, false, false, prompt, &reply, 0), Fate::Whole, &shared);
    };
    let is_stream = seen.body["stream"] == true || seen.path.ends_with(":streamGenerateContent");
    let whole_array = wire == Wire::GeminiContent && !seen.query.contains("alt=sse");
    let number = *shared.count.borrow() as u64;
    let rendered =
        |reply: &Reply| render(wire, is_stream, whole_array && is_stream, prompt, reply, number);
    match next {
        Answer::Reply(reply) => send(rendered(&reply), Fate::Whole, &shared),
        Answer::Fault(Fault::Status { status, message, retry_after }) => {
            send(rendered(&failing(status, message, retry_after)), Fate::Whole, &shared)
        }
        Answer::Fault(Fault::Cut { reply, after }) => {
            send(rendered(&reply), Fate::Cut(after), &shared)
        }
        Answer::Fault(Fault::Short { reply, after }) => {
            send(rendered(&reply), Fate::Short(after), &shared)
        }
        Answer::Fault(Fault::Held { reply, after }) => {
            send(rendered(&reply), Fate::Held(after), &shared)
        }
        Answer::Fault(Fault::Slow { reply, pause }) => {
            send(rendered(&reply), Fate::Slow(pause), &shared)
        }
        Answer::Fault(Fault::Garbage) => {
            let mut response = Response::new(Body::from("<html>\u{0}not an answer"));
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
    }
}

fn failing(status: u16, message: String, retry_after: Option<u32>) -> Reply {
    Reply { error: Some(Failure { status, message, retry_after }), ..Reply::default() }
}

fn wire_of(path: &str) -> Option<Wire> {
    if path.ends_with("/v1/messages") {
        Some(Wire::AnthropicMessages)
    } else if path.ends_with("/responses") {
        Some(Wire::OpenaiResponses)
    } else if path.ends_with("/chat/completions") {
        Some(Wire::OpenaiChat)
    } else if path.ends_with(":generateContent") || path.ends_with(":streamGenerateContent") {
        Some(Wire::GeminiContent)
    } else {
        None
    }
}

/// Calls beside the script: is anyone there, which models are there, how many tokens is this.
fn beside(seen: &Seen) -> Response<Body> {
    if seen.path.ends_with("/count_tokens") || seen.path.ends_with("/input_tokens") {
        return json_answer(StatusCode::OK, &json!({ "input_tokens": 7 }));
    }
    if seen.path.ends_with(":countTokens") {
        return json_answer(StatusCode::OK, &json!({ "totalTokens": 7 }));
    }
    if seen.path.contains("/models") {
        let model = json!({ "id": "scripted", "type": "model", "object": "model", "display_name": "scripted" });
        return json_answer(
            StatusCode::OK,
            &json!({ "object": "list", "data": [model], "has_more": false }),
        );
    }
    let status = if seen.path == "/" { StatusCode::OK } else { StatusCode::NOT_FOUND };
    json_answer(status, &json!({}))
}

fn json_answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// How much of an answer is sent, and how.
enum Fate {
    Whole,
    Cut(usize),
    Short(usize),
    Held(usize),
    Slow(Duration),
}

fn send(rendered: Rendered, fate: Fate, shared: &Arc<Shared>) -> Response<Body> {
    let status = StatusCode::from_u16(rendered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if rendered.is_event_stream {
        "text/event-stream; charset=utf-8"
    } else {
        "application/json"
    };
    let retry_after = rendered.retry_after;
    let mut pieces: Vec<Bytes> = rendered.pieces.into_iter().map(Bytes::from).collect();
    if !rendered.is_event_stream && !matches!(fate, Fate::Whole) {
        // One piece cannot be cut between events; cut it between bytes.
        pieces = pieces.concat().chunks(1).map(Bytes::copy_from_slice).collect();
    }
    let body = match fate {
        Fate::Whole => Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>))),
        Fate::Short(after) => {
            pieces.truncate(after);
            Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)))
        }
        Fate::Cut(after) => {
            pieces.truncate(after);
            let broken = Err(io::Error::from(io::ErrorKind::ConnectionReset));
            // The pause lets what was sent leave before the connection is dropped.
            let cut = stream::once(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                broken
            });
            Body::from_stream(stream::iter(pieces.into_iter().map(Ok)).chain(cut))
        }
        Fate::Held(after) => {
            let rest = pieces.split_off(after.min(pieces.len()));
            let shared = shared.clone();
            let held = stream::once(async move {
                shared.release.notified().await;
                stream::iter(rest.into_iter().map(Ok::<_, Infallible>))
            });
            Body::from_stream(stream::iter(pieces.into_iter().map(Ok)).chain(held.flatten()))
        }
        Fate::Slow(pause) => {
            Body::from_stream(stream::iter(pieces).then(move |piece| async move {
                tokio::time::sleep(pause).await;
                Ok::<_, Infallible>(piece)
            }))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
