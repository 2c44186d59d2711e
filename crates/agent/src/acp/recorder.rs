//! Puts events into the caller's channel: joins pieces of text that belong together, merges updates
//! of one tool call, and counts what the step holds. Reading the agent waits while the channel is
//! full, so a slow reader costs time and never memory.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio::time::Instant;
use windlass_wire::session::{Event, ToolStatus};

use super::{Error, Limits};
use crate::clip;

/// A piece of text is sent at the latest when it reaches this many bytes.
const TEXT: usize = 8 * 1024;
/// The most bytes of an unfinished word that are held back, so that a value without spaces in it
/// (a key, for one) is not torn between two events where nobody would recognise it.
const WORD: usize = 4 * 1024;
/// How much longer than other text a held word waits.
const HOLD: u32 = 20;
/// The most bytes of the last message that are kept for the outcome.
const LAST_MESSAGE: usize = 64 * 1024;

/// The one way for events out of a step. Clones share the counts and the channel.
#[derive(Clone)]
pub(super) struct Sender {
    events: mpsc::Sender<Event>,
    counts: Arc<Mutex<Counts>>,
    max_events: u64,
    max_bytes: u64,
}

#[derive(Default)]
struct Counts {
    events: u64,
    bytes: u64,
}

impl Sender {
    pub(super) fn new(events: mpsc::Sender<Event>, limits: &Limits) -> Self {
        Self {
            events,
            counts: Arc::default(),
            max_events: limits.events,
            max_bytes: limits.event_bytes,
        }
    }

    /// Sends one event.
    ///
    /// # Errors
    /// [`Error::Flood`] beyond the limits, [`Error::Events`] if nobody listens.
    pub(super) async fn send(&self, event: Event) -> Result<(), Error> {
        self.count(&event)?;
        self.events.send(event).await.map_err(|_| Error::Events)
    }

    fn count(&self, event: &Event) -> Result<(), Error> {
        let mut counts = self.counts.lock().expect("nothing panics while it holds this lock");
        counts.events += 1;
        counts.bytes += size(event);
        if counts.events > self.max_events {
            return Err(Error::Flood(format!("more than {} events", self.max_events)));
        }
        if counts.bytes > self.max_bytes {
            return Err(Error::Flood(format!("more than {} bytes of events", self.max_bytes)));
        }
        Ok(())
    }
}

/// A rough size of an event in bytes: its texts, and something for the rest.
fn size(event: &Event) -> u64 {
    let texts = match event {
        Event::Message { text }
        | Event::Thought { text }
        | Event::Problem { text }
        | Event::Prompt { text, .. } => text.len(),
        Event::ToolCall { title, input, .. } => title.len() + input.to_string().len(),
        Event::ToolUpdate { output, diffs, .. } => {
            let diffs: usize = diffs
                .iter()
                .map(|diff| {
                    diff.path.len() + diff.new.len() + diff.old.as_ref().map_or(0, String::len)
                })
                .sum();
            output.as_ref().map_or(0, String::len) + diffs
        }
        Event::Plan { entries } => entries.iter().map(|entry| entry.text.len()).sum(),
        Event::Permission { title, reason, .. } => title.len() + reason.len(),
        Event::Verify { command, output, .. } => command.len() + output.len(),
        Event::Started { .. }
        | Event::Usage { .. }
        | Event::GaveUp(_)
        | Event::TurnEnded { .. } => 0,
    };
    (texts + 64) as u64
}

/// Joins and merges before sending. Only one thing waits at a time, so the order never changes.
pub(super) struct Recorder {
    sender: Sender,
    coalesce: std::time::Duration,
    waiting: Option<Waiting>,
    since: Instant,
    /// True if what waits is a word that was held back.
    held: bool,
    last_message: String,
}

enum Waiting {
    Message(String),
    Thought(String),
    Update(Event),
}

impl Recorder {
    pub(super) fn new(sender: Sender, limits: &Limits) -> Self {
        Self {
            sender,
            coalesce: limits.coalesce,
            waiting: None,
            since: Instant::now(),
            held: false,
            last_message: String::new(),
        }
    }

    /// When what waits should be sent; `None` if nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        let patience = if self.held { self.coalesce * HOLD } else { self.coalesce };
        self.waiting.as_ref().map(|_| self.since + patience)
    }

    /// What the agent said since its last tool call or prompt, bounded.
    pub(super) fn take_last_message(&mut self) -> String {
        std::mem::take(&mut self.last_message)
    }

    /// What the agent said last, bounded.
    pub(super) fn last_message(&self) -> &str {
        &self.last_message
    }

    /// Takes one event.
    pub(super) async fn record(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Message { text } => {
                self.last_message.push_str(&text);
                if self.last_message.len() > 2 * LAST_MESSAGE {
                    self.last_message = clip::tail(&self.last_message, LAST_MESSAGE).to_owned();
                }
                self.message(text).await
            }
            Event::Thought { text } => self.thought(text).await,
            Event::ToolUpdate { .. } => self.update(event).await,
            other => {
                if matches!(other, Event::ToolCall { .. }) {
                    self.last_message.clear();
                }
                self.flush().await?;
                self.sender.send(other).await
            }
        }
    }

    /// Sends what waits.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        self.held = false;
        match self.waiting.take() {
            None => Ok(()),
            Some(Waiting::Message(text)) => self.sender.send(Event::Message { text }).await,
            Some(Waiting::Thought(text)) => self.sender.send(Event::Thought { text }).await,
            Some(Waiting::Update(event)) => self.sender.send(event).await,
        }
    }

    /// Sends what waits, but holds back the last word of a text that may still grow; if it did not
    /// grow since the last time, it goes too.
    pub(super) async fn flush_words(&mut self) -> Result<(), Error> {
        if self.held {
            return self.flush().await;
        }
        self.since = Instant::now();
        self.held = true;
        match self.waiting.take() {
            None => Ok(()),
            Some(Waiting::Update(event)) => self.sender.send(event).await,
            Some(Waiting::Message(text)) => {
                let (words, rest) = split_last_word(text);
                self.waiting = rest.map(Waiting::Message);
                self.send_text(words, |text| Event::Message { text }).await
            }
            Some(Waiting::Thought(text)) => {
                let (words, rest) = split_last_word(text);
                self.waiting = rest.map(Waiting::Thought);
                self.send_text(words, |text| Event::Thought { text }).await
            }
        }
    }

    async fn send_text(&mut self, text: String, event: fn(String) -> Event) -> Result<(), Error> {
        if text.is_empty() { Ok(()) } else { self.sender.send(event(text)).await }
    }

    async fn message(&mut self, text: String) -> Result<(), Error> {
        if !matches!(self.waiting, Some(Waiting::Message(_))) {
            self.flush().await?;
            self.wait(Waiting::Message(String::new()));
        }
        let mut full = false;
        self.grow();
        if let Some(Waiting::Message(waiting)) = &mut self.waiting {
            waiting.push_str(&text);
            full = waiting.len() >= TEXT;
        }
        if full { self.flush_words().await } else { Ok(()) }
    }

    async fn thought(&mut self, text: String) -> Result<(), Error> {
        if !matches!(self.waiting, Some(Waiting::Thought(_))) {
            self.flush().await?;
            self.wait(Waiting::Thought(String::new()));
        }
        let mut full = false;
        self.grow();
        if let Some(Waiting::Thought(waiting)) = &mut self.waiting {
            waiting.push_str(&text);
            full = waiting.len() >= TEXT;
        }
        if full { self.flush_words().await } else { Ok(()) }
    }

    /// Agents repeat the whole output with each update of a call; only the newest is worth keeping.
    async fn update(&mut self, event: Event) -> Result<(), Error> {
        let event = match (self.waiting.take(), event) {
            (Some(Waiting::Update(waiting)), event) => match merge(waiting, event) {
                Ok(merged) => merged,
                Err(both) => {
                    let (waiting, event) = *both;
                    self.sender.send(waiting).await?;
                    event
                }
            },
            (waiting, event) => {
                self.waiting = waiting;
                self.flush().await?;
                event
            }
        };
        let ended = matches!(
            event,
            Event::ToolUpdate { status: ToolStatus::Completed | ToolStatus::Failed, .. }
        );
        if ended {
            return self.sender.send(event).await;
        }
        self.wait(Waiting::Update(event));
        Ok(())
    }

    /// A word that was held back became part of a longer text.
    fn grow(&mut self) {
        if self.held {
            self.held = false;
            self.since = Instant::now();
        }
    }

    fn wait(&mut self, waiting: Waiting) {
        self.since = Instant::now();
        self.held = false;
        self.waiting = Some(waiting);
    }
}

/// Two updates of the same call as one.
fn merge(first: Event, second: Event) -> Result<Event, Box<(Event, Event)>> {
    match (first, second) {
        (
            Event::ToolUpdate { id, output: old_output, diffs: old_diffs, .. },
            Event::ToolUpdate { id: same, status, output, diffs },
        ) if id == same => Ok(Event::ToolUpdate {
            id,
            status,
            output: output.or(old_output),
            diffs: if diffs.is_empty() { old_diffs } else { diffs },
        }),
        other => Err(Box::new(other)),
    }
}

/// A text without its last word, and that word if it may still grow and is not too long.
fn split_last_word(mut text: String) -> (String, Option<String>) {
    let start = text
        .rfind(char::is_whitespace)
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    if start == text.len() || text.len() - start > WORD {
        return (text, None);
    }
    let word = text.split_off(start);
    (text, Some(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(capacity: usize) -> (Recorder, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(capacity);
        let limits = Limits::default();
        (Recorder::new(Sender::new(sender, &limits), &limits), receiver)
    }

    fn message(text: &str) -> Event {
        Event::Message { text: text.to_owned() }
    }

    fn update(id: &str, status: ToolStatus, output: &str) -> Event {
        Event::ToolUpdate {
            id: id.to_owned(),
            status,
            output: Some(output.to_owned()),
            diffs: vec![],
        }
    }

    fn received(receiver: &mut mpsc::Receiver<Event>) -> Vec<Event> {
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    #[tokio::test]
    async fn pieces_of_text_become_one_event_and_keep_their_order() {
        let (mut recorder, mut receiver) = recorder(100);
        for text in ["Hel", "lo ", "world"] {
            recorder.record(message(text)).await.unwrap();
        }
        recorder.record(Event::Thought { text: "hm".to_owned() }).await.unwrap();
        recorder.record(update("a", ToolStatus::InProgress, "1")).await.unwrap();
        recorder.record(update("a", ToolStatus::InProgress, "12")).await.unwrap();
        recorder.record(update("b", ToolStatus::InProgress, "x")).await.unwrap();
        recorder.record(update("b", ToolStatus::Completed, "xy")).await.unwrap();
        assert_eq!(
            received(&mut receiver),
            vec![
                message("Hello world"),
                Event::Thought { text: "hm".to_owned() },
                update("a", ToolStatus::InProgress, "12"),
                update("b", ToolStatus::Completed, "xy"),
            ]
        );
    }

    #[tokio::test]
    async fn a_word_is_not_torn_by_a_pause() {
        let (mut recorder, mut receiver) = recorder(100);
        recorder.record(message("the key is sk-ab")).await.unwrap();
        recorder.flush_words().await.unwrap();
        recorder.record(message("cdef today")).await.unwrap();
        recorder.flush().await.unwrap();
        assert_eq!(
            received(&mut receiver),
            vec![message("the key is "), message("sk-abcdef today")]
        );
    }

    #[tokio::test]
    async fn a_flood_of_pieces_becomes_few_events_and_then_an_error() {
        let (sender, mut receiver) = mpsc::channel(10_000);
        let limits = Limits { event_bytes: 100_000, ..Limits::default() };
        let mut recorder = Recorder::new(Sender::new(sender, &limits), &limits);
        let mut end = Ok(());
        for _ in 0..1_000_000 {
            end = recorder.record(message("word ")).await;
            if end.is_err() {
                break;
            }
        }
        assert_eq!(
            end.unwrap_err().to_string(),
            "the agent sent too much: more than 100000 bytes of events"
        );
        assert!(received(&mut receiver).len() < 20);
    }

    #[tokio::test]
    async fn the_last_message_begins_after_the_last_tool_call() {
        let (mut recorder, _receiver) = recorder(100);
        recorder.record(message("before")).await.unwrap();
        let call = Event::ToolCall {
            id: "a".to_owned(),
            title: "t".to_owned(),
            kind: windlass_wire::session::ToolKind::Other,
            input: serde_json::Value::Null,
        };
        recorder.record(call).await.unwrap();
        recorder.record(message("af")).await.unwrap();
        recorder.record(message("ter")).await.unwrap();
        assert_eq!(recorder.take_last_message(), "after");
    }
}
