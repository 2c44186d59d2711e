//! The model door: the APIs of model providers on one address, so that an agent inside needs only a
//! base URL and no key. Whatever credential comes from inside is dropped; the real one is added here.
//! Only the calls that agents need are let through. Each call is reserved with a [`Meter`] before it
//! is sent and settled after it ended, by the tokens that the provider reported.
//!
//! Base URLs: `/anthropic`, `/openai/v1`, `/gemini`; for clients that take no path, the same calls
//! are understood at the root. Instead of providers, a [`replay`](crate::replay) may answer.

mod beyond;
mod call;
mod credential;
mod estimate;
mod failure;
mod meter;
mod pass;
mod record;
mod route;
mod sse;
mod tally;
mod usage_chunk;

use std::{
    io,
    net::TcpListener,
    sync::{Arc, atomic::AtomicU64},
};

use futures::future::BoxFuture;
use tokio::sync::Semaphore;

pub use self::{
    credential::Credential,
    meter::{Allotment, Call, Meter, Spent, Unmetered},
    record::{Ended, Record},
    route::{Api, Wire},
    tally::Usage,
};
pub(crate) use self::{sse::Events, tally::usage_of};
use crate::{
    door::{self, Door, Limits, Sink},
    replay::Replay,
};

/// Where one API's calls go.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The base URL as the provider's own clients take it: `https://api.anthropic.com`,
    /// `https://api.openai.com/v1`, `https://generativelanguage.googleapis.com`.
    pub base_url: reqwest::Url,
    /// What to add to each call.
    pub credential: Credential,
}

/// Model providers, by the API that they speak.
#[derive(Clone, Debug)]
pub struct Providers {
    /// The client to reach them with, from [`upstream::client`](crate::upstream::client).
    pub client: reqwest::Client,
    /// Who speaks the Anthropic API.
    pub anthropic: Option<Provider>,
    /// Who speaks the OpenAI APIs.
    pub openai: Option<Provider>,
    /// Who speaks the Gemini API.
    pub gemini: Option<Provider>,
}

/// Who answers.
#[derive(Clone, Debug)]
pub enum Source {
    /// Model providers.
    Providers(Box<Providers>),
    /// A session file. No model is called, and whoever shows the session must say so.
    Replay(Arc<Replay>),
}

/// How a model door behaves.
#[derive(Clone)]
pub struct Options {
    /// Who answers.
    pub source: Source,
    /// Who grants and counts tokens.
    pub meter: Arc<dyn Meter>,
    /// Who keeps the records.
    pub records: Arc<dyn Sink<Record>>,
    /// Writes down what was asked and answered, as a session that can be replayed.
    pub recorder: Option<Arc<crate::replay::Recorder>>,
    /// What call ids begin with. Must be unique for each door ever served, for instance made of the
    /// job, the lease's epoch and a random part: the ledger drops a second settlement of an id.
    pub call_prefix: String,
    /// What a client may use up.
    pub limits: Limits,
    /// The longest request body, in bytes.
    pub request_bytes: usize,
    /// Output tokens to reserve for a call that names no limit of its own.
    pub default_output_tokens: u64,
    /// Whether a request may have the provider itself search the web, fetch addresses, call remote
    /// tools or run code. None of that passes the web door.
    pub provider_reach: bool,
}

impl Options {
    /// A source, a meter, a sink and a prefix for call ids, and the rest as usual.
    pub fn new(
        source: Source,
        meter: Arc<dyn Meter>,
        records: Arc<dyn Sink<Record>>,
        call_prefix: String,
    ) -> Self {
        Self {
            source,
            meter,
            records,
            recorder: None,
            call_prefix,
            limits: Limits::default(),
            // What providers themselves take.
            request_bytes: 32 * 1024 * 1024,
            default_output_tokens: 8192,
            provider_reach: false,
        }
    }
}

/// Serves a model door on a socket until the door is dropped. Must be called within a Tokio runtime.
pub fn serve(listener: TcpListener, options: Options) -> io::Result<Door> {
    let limits = options.limits.clone();
    let held = Arc::new(Semaphore::new(HELD_REQUESTS));
    let state = Arc::new(State { options, calls: AtomicU64::new(0), held });
    door::serve(listener, &limits, move |request, _| {
        let state = state.clone();
        let answer: BoxFuture<'static, _> =
            Box::pin(async move { call::answer(&state, request).await });
        answer
    })
}

/// Large requests in memory at a time, of one door; further ones wait with their bodies unread. Agents
/// make few calls at once, and a hundred connections with a body each would fill the runner's memory.
const HELD_REQUESTS: usize = 8;

/// A door's options, how many calls it has seen, and the places for large requests.
struct State {
    options: Options,
    calls: AtomicU64,
    held: Arc<Semaphore>,
}
