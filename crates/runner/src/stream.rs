//! What a step prints and what an agent says, on their way to the server: redacted, kept in a file
//! until the server has them, sent from wherever the server's copy ends.
//!
//! Nothing is written here that was not redacted first.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use windlass_policy::redact;
use windlass_run::StepId;
use windlass_wire::{
    runner::{Content, Piece},
    session::{Entry, Event},
};

use crate::journal::LeaseId;

/// How much of a log is kept and sent. What comes after is counted.
pub(crate) const LOG_LIMIT: u64 = 64 << 20;
/// How many bytes of the end of a log are remembered for the reason of a failure.
const TAIL: usize = 4 * 1024;

/// Which stream of which attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamId {
    pub(crate) step_id: StepId,
    pub(crate) attempt: u32,
}

/// A stream with a cursor of what the server has.
pub(crate) struct Stream {
    id: StreamId,
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    file: Option<File>,
    /// Bytes in the file.
    length: u64,
    /// What the server has: bytes of a log, entries of a session.
    sent: u64,
    kind: Kind,
}

enum Kind {
    Log {
        redact: redact::Stream,
        tail: Vec<u8>,
        dropped: u64,
        finished: bool,
    },
    Session {
        redactor: redact::Redactor,
        /// Where each entry begins in the file.
        starts: Vec<u64>,
        /// Text that came in pieces and may end in the middle of a secret.
        open: Option<OpenText>,
    },
}

/// A text that comes in pieces, each its own event.
struct OpenText {
    is_thought: bool,
    redact: redact::Stream,
    /// When the last piece came.
    at: i64,
}

impl OpenText {
    fn event(is_thought: bool, bytes: Vec<u8>) -> Event {
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        if is_thought { Event::Thought { text } } else { Event::Message { text } }
    }
}

impl Stream {
    /// A log that will be kept in the file. The file is made with the first byte.
    pub(crate) fn log(id: StreamId, path: PathBuf, redactor: &redact::Redactor) -> Self {
        let kind =
            Kind::Log { redact: redactor.stream(), tail: Vec::new(), dropped: 0, finished: false };
        Self { id, path, inner: Mutex::new(Inner { file: None, length: 0, sent: 0, kind }) }
    }

    /// A session that will be kept in the file.
    pub(crate) fn session(id: StreamId, path: PathBuf, redactor: &redact::Redactor) -> Self {
        let kind = Kind::Session { redactor: redactor.clone(), starts: Vec::new(), open: None };
        Self { id, path, inner: Mutex::new(Inner { file: None, length: 0, sent: 0, kind }) }
    }

    /// The streams that an earlier process kept in a folder, to be sent from wherever the server's
    /// copies end. They are not written to any more.
    pub(crate) fn recover(folder: &Path) -> Vec<Self> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        entries.flatten().filter_map(|entry| Self::recover_one(&entry.path())).collect()
    }

    fn recover_one(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (rest, kind) = name.rsplit_once('.')?;
        let (step_id, attempt) = rest.rsplit_once('.')?;
        let id = StreamId { step_id: StepId::parse(step_id).ok()?, attempt: attempt.parse().ok()? };
        let nothing = redact::Redactor::nothing();
        let bytes = std::fs::read(path).ok()?;
        let (kind, length) = match kind {
            "log" => {
                let redact = nothing.stream();
                (
                    Kind::Log { redact, tail: Vec::new(), dropped: 0, finished: true },
                    bytes.len() as u64,
                )
            }
            "session" => {
                let mut starts = vec![0];
                let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
                starts.extend(ends.map(|(end, _)| end as u64 + 1));
                // What follows the last line's end was cut by a crash, or is nothing.
                let length = starts.pop()?;
                (Kind::Session { redactor: nothing, starts, open: None }, length)
            }
            _ => return None,
        };
        let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
        let inner = Inner { file: Some(file), length, sent: 0, kind };
        Some(Self { id, path: path.to_owned(), inner: Mutex::new(inner) })
    }

    /// Adds output to a log.
    ///
    /// # Errors
    /// When the runner's disk does not take it.
    pub(crate) fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        let Kind::Log { redact, .. } = &mut inner.kind else { return Ok(()) };
        let clean = redact.push(bytes);
        inner.write_log(&self.path, &clean)
    }

    /// Says that the stream has ended: what the redactor held back is added.
    ///
    /// # Errors
    /// When the runner's disk does not take it.
    pub(crate) fn finish(&self) -> io::Result<()> {
        let mut inner = self.lock();
        let Kind::Log { redact, finished, dropped, .. } = &mut inner.kind else {
            return inner.end_text(&self.path);
        };
        if std::mem::replace(finished, true) {
            return Ok(());
        }
        let held = redact.finish();
        let dropped = *dropped;
        inner.write_log(&self.path, &held)?;
        if dropped > 0 {
            let note = format!("\n[windlass: {dropped} further bytes of output were not kept]\n");
            inner.write(&self.path, note.as_bytes())?;
        }
        Ok(())
    }

    /// Adds an event to a session; its number is given here.
    ///
    /// # Errors
    /// When the runner's disk does not take it.
    pub(crate) fn record(&self, at: i64, event: Event) -> io::Result<()> {
        let mut inner = self.lock();
        match event {
            Event::Message { text } => inner.add_text(&self.path, at, false, &text),
            Event::Thought { text } => inner.add_text(&self.path, at, true, &text),
            event => {
                inner.end_text(&self.path)?;
                inner.add_entry(&self.path, at, event)
            }
        }
    }

    /// Lets the last lines begin here.
    pub(crate) fn begin_lines(&self) {
        if let Kind::Log { tail, .. } = &mut self.lock().kind {
            tail.clear();
        }
    }

    /// The last lines of a log, for a reason; at most `lines`.
    pub(crate) fn last_lines(&self, lines: usize) -> String {
        let inner = self.lock();
        let Kind::Log { tail, .. } = &inner.kind else { return String::new() };
        let text = String::from_utf8_lossy(tail);
        let mut last: Vec<&str> = text.trim_end().lines().rev().take(lines).collect();
        last.reverse();
        last.join("\n")
    }

    /// The instance of a step whose it is.
    pub(crate) fn step_id(&self) -> &StepId {
        &self.id.step_id
    }

    /// Whether the server lacks something.
    pub(crate) fn is_behind(&self) -> bool {
        let inner = self.lock();
        inner.sent < inner.end()
    }

    /// The next piece for the server, of about `limit` bytes.
    ///
    /// # Errors
    /// When the file can't be read.
    pub(crate) fn piece(&self, lease: &LeaseId, limit: u64) -> io::Result<Option<(Piece, u64)>> {
        let inner = self.lock();
        let (Some(file), true) = (&inner.file, inner.sent < inner.end()) else { return Ok(None) };
        let (from, to) = match &inner.kind {
            Kind::Log { .. } => (inner.sent, inner.length.min(inner.sent + limit)),
            Kind::Session { starts, .. } => {
                let from = starts[usize::try_from(inner.sent).map_err(io::Error::other)?];
                let next =
                    starts.iter().copied().rfind(|start| *start > from && *start <= from + limit);
                let whole = if inner.length <= from + limit { Some(inner.length) } else { next };
                let first =
                    starts.iter().copied().find(|start| *start > from).unwrap_or(inner.length);
                (from, whole.unwrap_or(first))
            }
        };
        let mut bytes = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, from)?;
        let content = match &inner.kind {
            Kind::Log { .. } => Content::Log { offset: from, base64: STANDARD.encode(&bytes) },
            Kind::Session { .. } => Content::Session {
                entries: bytes
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty())
                    .map(serde_json::from_slice)
                    .collect::<Result<_, _>>()
                    .map_err(io::Error::other)?,
            },
        };
        let piece = Piece {
            job_id: lease.job_id.clone(),
            epoch: lease.epoch,
            step_id: self.id.step_id.clone(),
            attempt: self.id.attempt,
            content,
        };
        Ok(Some((piece, to - from)))
    }

    /// The server's copy reaches to here.
    pub(crate) fn has(&self, length: u64) {
        let mut inner = self.lock();
        inner.sent = length.min(inner.end());
    }

    /// Nobody wants the rest.
    pub(crate) fn give_up(&self) {
        let mut inner = self.lock();
        inner.sent = inner.end();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn end(&self) -> u64 {
        match &self.kind {
            Kind::Log { .. } => self.length,
            Kind::Session { starts, .. } => starts.len() as u64,
        }
    }

    /// Adds a piece of text, but for an end that may be the beginning of a secret.
    fn add_text(&mut self, path: &Path, at: i64, is_thought: bool, text: &str) -> io::Result<()> {
        if matches!(&self.kind, Kind::Session { open: Some(open), .. } if open.is_thought != is_thought)
        {
            self.end_text(path)?;
        }
        let Kind::Session { redactor, open, .. } = &mut self.kind else { return Ok(()) };
        let open =
            open.get_or_insert_with(|| OpenText { is_thought, redact: redactor.stream(), at });
        open.at = at;
        let clean = open.redact.push(text.as_bytes());
        if clean.is_empty() {
            Ok(())
        } else {
            self.add_entry(path, at, OpenText::event(is_thought, clean))
        }
    }

    /// Adds what was held back of the text so far.
    fn end_text(&mut self, path: &Path) -> io::Result<()> {
        let Kind::Session { open, .. } = &mut self.kind else { return Ok(()) };
        let Some(mut open) = open.take() else { return Ok(()) };
        let held = open.redact.finish();
        if held.is_empty() {
            Ok(())
        } else {
            self.add_entry(path, open.at, OpenText::event(open.is_thought, held))
        }
    }

    fn add_entry(&mut self, path: &Path, at: i64, event: Event) -> io::Result<()> {
        let Kind::Session { redactor, starts, .. } = &self.kind else { return Ok(()) };
        let entry = Entry { seq: starts.len() as u64 + 1, at, event };
        let mut value = serde_json::to_value(&entry).map_err(io::Error::other)?;
        redact_strings(redactor, &mut value);
        let mut line = value.to_string();
        line.push('\n');
        let start = self.length;
        self.write(path, line.as_bytes())?;
        if let Kind::Session { starts, .. } = &mut self.kind {
            starts.push(start);
        }
        Ok(())
    }

    fn write_log(&mut self, path: &Path, clean: &[u8]) -> io::Result<()> {
        let room = usize::try_from(LOG_LIMIT.saturating_sub(self.length)).unwrap_or(usize::MAX);
        let kept = &clean[..clean.len().min(room)];
        self.write(path, kept)?;
        if let Kind::Log { tail, dropped, .. } = &mut self.kind {
            *dropped += (clean.len() - kept.len()) as u64;
            tail.extend_from_slice(&clean[clean.len().saturating_sub(TAIL)..]);
            let excess = tail.len().saturating_sub(TAIL);
            tail.drain(..excess);
        }
        Ok(())
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            self.file = Some(
                OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?,
            );
        }
        let file = self.file.as_mut().expect("it was opened just now");
        // A write that failed half way leaves bytes behind `length`; the next one replaces them.
        file.write_all_at(bytes, self.length)?;
        file.flush()?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// Redacts every text inside a value, keys included: a tool's input may carry a secret anywhere.
fn redact_strings(redactor: &redact::Redactor, value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::String(text) => *text = redactor.redact_text(text),
        Value::Array(list) => list.iter_mut().for_each(|item| redact_strings(redactor, item)),
        Value::Object(map) => {
            let taken = std::mem::take(map);
            for (key, mut item) in taken {
                redact_strings(redactor, &mut item);
                map.insert(redactor.redact_text(&key), item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_run::{JobId, Time};

    fn lease() -> LeaseId {
        LeaseId { job_id: JobId::new(Time::from_micros(1_000), 7), epoch: 3 }
    }

    fn id() -> StreamId {
        StreamId { step_id: StepId::parse("build").expect("a step's name"), attempt: 1 }
    }

    fn bytes(stream: &Stream, limit: u64) -> Vec<u8> {
        let (piece, _) =
            stream.piece(&lease(), limit).expect("readable").expect("something to send");
        let Content::Log { base64, .. } = piece.content else { panic!("a log was expected") };
        STANDARD.decode(base64).expect("base 64")
    }

    #[test]
    fn a_log_goes_on_where_the_server_says_and_carries_no_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let redactor =
            redact::Redactor::new([("key", b"hunter2hunter2".as_slice())]).expect("long enough");
        let stream = Stream::log(id(), folder.path().join("a/build.1.log"), &redactor);
        assert!(!stream.is_behind());
        stream.append(b"the key is hunter2").expect("written");
        stream.append(b"hunter2, again\n").expect("written");
        stream.finish().expect("written");
        assert_eq!(bytes(&stream, 1 << 20), b"the key is [redacted:key], again\n");
        stream.has(4);
        assert_eq!(bytes(&stream, 3), b"key");
        stream.has(1_000);
        assert!(!stream.is_behind());
        assert_eq!(stream.last_lines(5), "the key is [redacted:key], again");
        stream.begin_lines();
        assert_eq!(stream.last_lines(5), "");
    }

    #[test]
    fn a_session_is_sent_entry_by_entry_and_redacted_inside_of_inputs() {
        let folder = tempfile::tempdir().expect("a folder");
        let redactor =
            redact::Redactor::new([("key", b"hunter2hunter2".as_slice())]).expect("long enough");
        let stream = Stream::session(id(), folder.path().join("build.1.session"), &redactor);
        for n in 0..5 {
            let text = format!("hunter2hunter2 {n}");
            stream.record(n, Event::Problem { text }).expect("written");
        }
        let seqs = |limit: u64| {
            let (piece, _) = stream.piece(&lease(), limit).expect("readable").expect("something");
            let Content::Session { entries } = piece.content else {
                panic!("a session was expected")
            };
            entries.iter().map(|entry| entry.seq).collect::<Vec<_>>()
        };
        assert_eq!(seqs(1 << 20), [1, 2, 3, 4, 5]);
        assert_eq!(seqs(1), [1]);
        stream.has(3);
        assert_eq!(seqs(1 << 20), [4, 5]);
        let (piece, _) = stream.piece(&lease(), 1).expect("readable").expect("something");
        let expected = Content::Session {
            entries: vec![Entry {
                seq: 4,
                at: 3,
                event: Event::Problem { text: "[redacted:key] 3".to_owned() },
            }],
        };
        assert_eq!(
            serde_json::to_value(&piece.content).expect("data"),
            serde_json::to_value(&expected).expect("data")
        );
    }

    fn texts(stream: &Stream) -> Vec<Event> {
        let (piece, _) = stream.piece(&lease(), 1 << 20).expect("readable").expect("something");
        let Content::Session { entries } = piece.content else { panic!("a session was expected") };
        entries.into_iter().map(|entry| entry.event).collect()
    }

    #[test]
    fn a_secret_that_a_model_says_in_two_pieces_is_redacted() {
        let folder = tempfile::tempdir().expect("a folder");
        let redactor =
            redact::Redactor::new([("key", b"hunter2hunter2".as_slice())]).expect("long enough");
        let stream = Stream::session(id(), folder.path().join("build.1.session"), &redactor);
        let message = |text: &str| Event::Message { text: text.to_owned() };
        let thought = |text: &str| Event::Thought { text: text.to_owned() };
        for event in [
            message("it is hunter2"),
            message("hunter2"),
            message("!"),
            thought("hun"),
            message("gry"),
        ] {
            stream.record(1, event).expect("written");
        }
        stream.finish().expect("written");
        let expected = [
            message("it is "),
            message("[redacted:key]"),
            message("!"),
            thought("hun"),
            message("gry"),
        ];
        assert_eq!(texts(&stream), expected);
    }

    #[test]
    fn what_a_killed_process_kept_is_sent_by_the_next_one_but_for_a_torn_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let nothing = redact::Redactor::nothing();
        let session = Stream::session(id(), folder.path().join("build.1.session"), &nothing);
        let problem = |text: &str| Event::Problem { text: text.to_owned() };
        session.record(1, problem("one")).expect("written");
        session.record(2, problem("two")).expect("written");
        let path = folder.path().join("build.1.session");
        let mut bytes = std::fs::read(&path).expect("readable");
        bytes.extend_from_slice(b"{\"seq\":3,");
        std::fs::write(&path, bytes).expect("written");
        std::fs::write(folder.path().join("build.2.log"), "kept").expect("written");
        std::fs::write(folder.path().join("build.2.bundle"), "no stream").expect("written");
        let mut found = Stream::recover(folder.path());
        found.sort_by_key(|stream| stream.id.attempt);
        let [session, log] = found.try_into().ok().expect("two streams");
        assert_eq!(texts(&session), [problem("one"), problem("two")]);
        assert_eq!(bytes_of(&log), b"kept");
        session.has(2);
        assert!(!session.is_behind());
    }

    fn bytes_of(stream: &Stream) -> Vec<u8> {
        bytes(stream, 1 << 20)
    }
}
