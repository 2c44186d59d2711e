//! The agent's standard output as a bounded stream of protocol lines. Session updates are taken out
//! and recorded right here, before the next line is read, so that a fast agent waits for a slow
//! reader and events keep their order. Only requests and answers go on to the protocol crate.
//!
//! A line that is no message is tolerated up to a bound: real agents print banners and warnings.

use std::sync::{Arc, Mutex};

use agent_client_protocol::v1::schema as acp;
use futures::Stream;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

use super::recorder::Recorder;
use super::updates::Translator;
use super::{Error, Limits, Progress};
use crate::clip;

/// The most bytes of a line that an error quotes.
const QUOTE: usize = 300;
/// The size of one read.
const READ: usize = 64 * 1024;

/// What the reading side knows, for the side that waits.
#[derive(Clone)]
pub(super) struct Ears {
    heard: Arc<Mutex<Heard>>,
    ended: Arc<watch::Sender<bool>>,
    /// Where updates go. Behind a lock that is held while an event is sent.
    pub(super) desk: Arc<tokio::sync::Mutex<Desk>>,
}

/// What turns updates into recorded events.
pub(super) struct Desk {
    pub(super) translator: Translator,
    pub(super) recorder: Recorder,
}

#[derive(Default)]
struct Heard {
    session: Option<String>,
    open_calls: usize,
    garbage_lines: usize,
    first_garbage: Option<String>,
    fault: Option<Error>,
}

impl Ears {
    pub(super) fn new(desk: Desk) -> Self {
        Self {
            heard: Arc::default(),
            ended: Arc::new(watch::Sender::new(false)),
            desk: Arc::new(tokio::sync::Mutex::new(desk)),
        }
    }

    /// From now on updates of this session, and no other, are recorded.
    pub(super) fn session(&self, id: &acp::SessionId) {
        self.with(|heard| heard.session = Some(id.to_string()));
    }

    /// How many tool calls are open.
    pub(super) fn open_calls(&self) -> usize {
        self.with(|heard| heard.open_calls)
    }

    /// How many lines were no message.
    pub(super) fn garbage_lines(&self) -> usize {
        self.with(|heard| heard.garbage_lines)
    }

    /// The first line that was no message, escaped and shortened.
    pub(super) fn first_garbage(&self) -> Option<String> {
        self.with(|heard| heard.first_garbage.clone())
    }

    /// Why reading ended, if it was not the end of the stream. Can be taken once.
    pub(super) fn take_fault(&self) -> Option<Error> {
        self.with(|heard| heard.fault.take())
    }

    /// Ends the step with `error`, from wherever it was noticed.
    pub(super) fn fail(&self, error: Error) {
        self.with(|heard| {
            heard.fault.get_or_insert(error);
        });
        self.ended.send_replace(true);
    }

    /// True if nothing more will be read.
    pub(super) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Resolves when nothing more will be read.
    pub(super) async fn ended(&self) {
        // The sender is held by `self`, so the wait can't fail.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    fn with<T>(&self, act: impl FnOnce(&mut Heard) -> T) -> T {
        act(&mut self.heard.lock().expect("nothing panics while it holds this lock"))
    }
}

/// The requests and answers of the agent, line by line.
pub(super) fn messages<R>(
    stdout: R,
    ears: Ears,
    limits: Limits,
    progress: Progress,
) -> impl Stream<Item = std::io::Result<String>> + Send + 'static
where
    R: AsyncRead + Unpin + Send + 'static,
{
    let reader =
        Reader { stdout, buffer: Vec::new(), scanned: 0, requests: 0, ears, limits, progress };
    futures::stream::unfold(reader, |mut reader| async move {
        match reader.next().await {
            Ok(Some(line)) => Some((Ok(line), reader)),
            Ok(None) => {
                reader.ears.ended.send_replace(true);
                None
            }
            Err(error) => {
                reader.ears.fail(error);
                None
            }
        }
    })
}

struct Reader<R> {
    stdout: R,
    buffer: Vec<u8>,
    scanned: usize,
    requests: u64,
    ears: Ears,
    limits: Limits,
    progress: Progress,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// The next line for the protocol crate; `None` at the end of the stream.
    async fn next(&mut self) -> Result<Option<String>, Error> {
        loop {
            let due = self.ears.desk.lock().await.recorder.due();
            let line = tokio::select! {
                biased;
                line = self.line() => line?,
                () = sleep_until(due) => {
                    self.ears.desk.lock().await.recorder.flush_words().await?;
                    continue;
                }
            };
            let Some(line) = line else {
                self.ears.desk.lock().await.recorder.flush().await?;
                return Ok(None);
            };
            if let Some(message) = self.take(line).await? {
                return Ok(Some(message));
            }
        }
    }

    /// The next line without its end; `None` at the end of the stream. What follows the last line
    /// end is a line too. Nothing is lost when the future is dropped.
    async fn line(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            if let Some(at) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(self.scanned + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                self.scanned = 0;
                line.pop();
                return Ok(Some(line));
            }
            self.scanned = self.buffer.len();
            if self.buffer.len() > self.limits.line {
                return Err(Error::Protocol {
                    problem: format!("a line is longer than {} bytes", self.limits.line),
                    first_line: clip::printable(&self.buffer, QUOTE),
                });
            }
            self.buffer.reserve(READ);
            match self.stdout.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) if self.buffer.is_empty() => return Ok(None),
                Ok(0) | Err(_) => {
                    self.scanned = 0;
                    return Ok(Some(std::mem::take(&mut self.buffer)));
                }
                Ok(_) => {}
            }
        }
    }

    /// Takes one line: records an update, counts garbage, and returns what the protocol crate is to
    /// see.
    async fn take(&mut self, line: Vec<u8>) -> Result<Option<String>, Error> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let Ok(text) = String::from_utf8(line) else {
            return self.garbage("a line that is not UTF-8".as_bytes());
        };
        let Ok(envelope) = serde_json::from_str::<Envelope>(&text) else {
            return self.garbage(text.as_bytes());
        };
        if !envelope.is_message() {
            return self.garbage(text.as_bytes());
        }
        self.progress.touch();
        match (envelope.method.as_deref(), envelope.id) {
            (Some("session/update"), None) => {
                self.update(envelope.params).await?;
                self.progress.touch();
                Ok(None)
            }
            (Some("$/cancel_request"), None) => Ok(Some(text)),
            // Other notifications are an agent's own extensions.
            (Some(_), None) => Ok(None),
            // A request, or an answer to one of ours. Both wait in the protocol crate, so they are counted.
            (Some(_), Some(_)) | (None, _) => {
                self.requests += 1;
                if self.requests > self.limits.requests {
                    return Err(Error::Flood(format!(
                        "more than {} requests",
                        self.limits.requests
                    )));
                }
                self.ears.desk.lock().await.recorder.flush().await?;
                Ok(Some(text))
            }
        }
    }

    async fn update(&mut self, params: Option<&RawValue>) -> Result<(), Error> {
        let params = params.map_or("null", RawValue::get);
        let notification = match serde_json::from_str::<acp::SessionNotification>(params) {
            Ok(notification) => notification,
            Err(error) => {
                // A kind of update that is newer than we are is no reason to end a step.
                tracing::debug!(%error, "a session update was not understood");
                return Ok(());
            }
        };
        let session = notification.session_id.to_string();
        // Nothing that is said before the first prompt belongs to the step's history.
        if self.ears.with(|heard| heard.session.as_ref() != Some(&session)) {
            return Ok(());
        }
        let mut desk = self.ears.desk.lock().await;
        for event in desk.translator.events(notification.update) {
            desk.recorder.record(event).await?;
        }
        let open_calls = desk.translator.open_calls();
        self.ears.with(|heard| heard.open_calls = open_calls);
        Ok(())
    }

    fn garbage(&mut self, line: &[u8]) -> Result<Option<String>, Error> {
        let quote = clip::printable(line, QUOTE);
        tracing::debug!(line = %quote, "a line on the agent's standard output is no message");
        let (lines, first_line) = self.ears.with(|heard| {
            heard.garbage_lines += 1;
            (heard.garbage_lines, heard.first_garbage.get_or_insert(quote).clone())
        });
        if lines > self.limits.garbage_lines {
            let problem = format!("more than {} lines are no message", self.limits.garbage_lines);
            return Err(Error::Protocol { problem, first_line });
        }
        Ok(None)
    }
}

/// As much of a JSON-RPC message as is needed to know where it goes.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    method: Option<String>,
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

impl Envelope<'_> {
    fn is_message(&self) -> bool {
        let is_answer = self.id.is_some() && (self.result.is_some() || self.error.is_some());
        self.method.is_some() || is_answer
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
