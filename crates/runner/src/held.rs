//! One lease as the link to the server sees it: what waits to be sent, and what the server said last.
//!
//! Decides nothing. Everything pushed here is in the journal before it can be sent.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Notify, watch};
use windlass_policy::redact::Redactor;
use windlass_run::{
    StepId, Time,
    effect::Effect,
    job::{Cancel, Decision, Report},
};
use windlass_wire::{
    runner::{JobAnswer, JobReports, JobStatus, NumberedReport},
    session,
};

use crate::{
    journal::{Item, Journal, LeaseId},
    stream::{Stream, StreamId},
};

/// What the server said of a lease last.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) status: JobStatus,
    pub(crate) accepted: u64,
    pub(crate) cancel: Option<Cancel>,
    /// `None` until the server has said something.
    pub(crate) effects: Option<Vec<Effect>>,
    /// What was decided on steps that ask.
    pub(crate) decisions: Vec<(StepId, Decision)>,
    pub(crate) refused: Option<String>,
}

/// What wakes the link's two loops.
#[derive(Default)]
pub(crate) struct Wakes {
    pub(crate) reports: Notify,
    pub(crate) streams: Notify,
}

/// One lease.
pub(crate) struct Held {
    pub(crate) id: LeaseId,
    /// Where its streams and uploads are kept.
    pub(crate) folder: PathBuf,
    journal: Arc<Journal>,
    wakes: Arc<Wakes>,
    queue: Mutex<Queue>,
    streams: Mutex<Vec<Arc<Stream>>>,
    told: watch::Sender<Told>,
    dirty: AtomicBool,
    uploading: AtomicBool,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    /// The number of the newest report.
    newest: u64,
    release: Option<String>,
}

impl Held {
    /// A lease that begins, or one that an earlier process left with these items.
    pub(crate) fn new(
        id: LeaseId,
        folder: PathBuf,
        journal: Arc<Journal>,
        wakes: Arc<Wakes>,
        items: Vec<Item>,
    ) -> Self {
        let newest = items.iter().rev().find_map(seq).unwrap_or(0);
        let streams = Stream::recover(&folder).into_iter().map(Arc::new).collect();
        let told = Told {
            status: JobStatus::Held,
            accepted: 0,
            cancel: None,
            effects: None,
            decisions: Vec::new(),
            refused: None,
        };
        Self {
            id,
            folder,
            journal,
            wakes,
            queue: Mutex::new(Queue { items: items.into(), newest, release: None }),
            streams: Mutex::new(streams),
            told: watch::Sender::new(told),
            dirty: AtomicBool::new(false),
            uploading: AtomicBool::new(false),
        }
    }

    /// Queues a report, journalled. Its number is returned.
    ///
    /// # Errors
    /// When the journal can't be written; the report is queued all the same, since the server may
    /// still take it.
    pub(crate) fn report(
        &self,
        at: Time,
        report: Report,
        after_streams: bool,
    ) -> (u64, io::Result<()>) {
        let mut queue = self.queue();
        queue.newest += 1;
        let seq = queue.newest;
        let item = Item::Report { after_streams, report: NumberedReport { seq, at, report } };
        let written = self.journal.item(&self.id, &item);
        queue.items.push_back(item);
        drop(queue);
        self.touch();
        (seq, written)
    }

    /// Queues the upload of a file below [`Held::folder`], journalled. What is queued after it waits for it.
    ///
    /// # Errors
    /// When the journal can't be written; the upload is queued all the same.
    pub(crate) fn upload(&self, item: Item) -> io::Result<()> {
        let mut queue = self.queue();
        let written = self.journal.item(&self.id, &item);
        queue.items.push_back(item);
        drop(queue);
        self.touch();
        written
    }

    /// Gives the job back once everything queued before has been sent.
    pub(crate) fn release(&self, why: &str) {
        self.queue().release.get_or_insert_with(|| why.to_owned());
        self.touch();
    }

    /// Whether the lease is neither over nor being given back.
    pub(crate) fn is_kept(&self) -> bool {
        self.told.borrow().status == JobStatus::Held && self.queue().release.is_none()
    }

    /// Asks the server for news at the next flush.
    pub(crate) fn touch(&self) {
        self.dirty.store(true, Ordering::Release);
        self.wakes.reports.notify_one();
    }

    /// What the server said, as it changes.
    pub(crate) fn told(&self) -> watch::Receiver<Told> {
        self.told.subscribe()
    }

    /// Opens the log of an attempt.
    pub(crate) fn open_log(&self, step_id: &StepId, attempt: u32, redactor: &Redactor) -> Writer {
        let path = self.folder.join(format!("{step_id}.{attempt}.log"));
        self.open(Stream::log(StreamId { step_id: step_id.clone(), attempt }, path, redactor))
    }

    /// Opens the session of an attempt.
    pub(crate) fn open_session(
        &self,
        step_id: &StepId,
        attempt: u32,
        redactor: &Redactor,
    ) -> Writer {
        let path = self.folder.join(format!("{step_id}.{attempt}.session"));
        self.open(Stream::session(StreamId { step_id: step_id.clone(), attempt }, path, redactor))
    }

    fn open(&self, stream: Stream) -> Writer {
        let stream = Arc::new(stream);
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).push(stream.clone());
        Writer { stream, wakes: self.wakes.clone() }
    }

    /// Whether everything queued was taken and all output has arrived.
    pub(crate) fn is_delivered(&self) -> bool {
        let queue = self.queue();
        queue.items.is_empty() && queue.release.is_none() && !self.is_behind()
    }

    /// Whether the server lacks some output.
    pub(crate) fn is_behind(&self) -> bool {
        self.streams().iter().any(|stream| stream.is_behind())
    }

    pub(crate) fn streams(&self) -> Vec<Arc<Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What only the link calls.
impl Held {
    /// Whether there is something to say beside a heartbeat; asked once per flush.
    pub(crate) fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::AcqRel)
    }

    /// What to say of this lease now: at most `limit` reports.
    pub(crate) fn to_say(&self, limit: usize) -> JobReports {
        let queue = self.queue();
        let behind = self.is_behind();
        let mut reports = Vec::new();
        for item in &queue.items {
            match item {
                Item::Report { after_streams, report }
                    if reports.len() < limit && !(*after_streams && behind) =>
                {
                    reports.push(report.clone());
                }
                Item::Report { .. }
                | Item::Checkpoint { .. }
                | Item::Diff { .. }
                | Item::Readiness { .. } => break,
            }
        }
        let whole = reports.len() == queue.items.len() && !behind;
        let release = queue.release.clone().filter(|_| whole);
        JobReports { job_id: self.id.job_id.clone(), epoch: self.id.epoch, reports, release }
    }

    /// The server answered. True if there is more to say at once.
    pub(crate) fn answered(&self, answer: JobAnswer) -> bool {
        let more = {
            let mut queue = self.queue();
            let before = queue.items.len();
            while queue.items.front().and_then(seq).is_some_and(|seq| seq <= answer.accepted) {
                queue.items.pop_front();
            }
            let moved = queue.items.len() < before;
            let ready = !queue.items.is_empty() || queue.release.is_some();
            answer.status == JobStatus::Held && answer.refused.is_none() && moved && ready
        };
        if answer.status != JobStatus::Held {
            self.over(answer.status);
        }
        self.told.send_modify(|told| {
            told.status = worse(told.status, answer.status);
            told.accepted = told.accepted.max(answer.accepted);
            told.cancel = answer.cancel.or(told.cancel.take());
            told.effects = Some(answer.effects);
            told.decisions = answer.decisions;
            told.refused = answer.refused;
        });
        more
    }

    /// The lease is lost: nothing of it is wanted any more.
    pub(crate) fn lost(&self) {
        self.over(JobStatus::Lost);
        self.told.send_modify(|told| told.status = JobStatus::Lost);
    }

    fn over(&self, status: JobStatus) {
        let mut queue = self.queue();
        queue.release = None;
        if status == JobStatus::Lost {
            queue.items.clear();
            drop(queue);
            self.streams().iter().for_each(|stream| stream.give_up());
        } else {
            // What belongs to an ended job's history is still wanted; reports are not.
            queue.items.retain(|item| matches!(item, Item::Diff { .. } | Item::Readiness { .. }));
        }
    }

    /// The upload that everything behind it waits for, unless one is under way.
    pub(crate) fn begin_upload(&self) -> Option<Item> {
        let queue = self.queue();
        match queue.items.front() {
            Some(item @ (Item::Checkpoint { .. } | Item::Diff { .. } | Item::Readiness { .. }))
                if !self.uploading.swap(true, Ordering::AcqRel) =>
            {
                Some(item.clone())
            }
            Some(
                Item::Report { .. }
                | Item::Checkpoint { .. }
                | Item::Diff { .. }
                | Item::Readiness { .. },
            )
            | None => None,
        }
    }

    /// The upload is over, one way or the other.
    pub(crate) fn end_upload(&self) {
        {
            let mut queue = self.queue();
            if queue.items.front().is_some_and(|item| seq(item).is_none()) {
                queue.items.pop_front();
            }
        }
        self.uploading.store(false, Ordering::Release);
        self.touch();
    }
}

/// Where an attempt writes its output.
#[derive(Clone)]
pub(crate) struct Writer {
    stream: Arc<Stream>,
    wakes: Arc<Wakes>,
}

impl Writer {
    /// A log that nobody carries to the server: it is a file, redacted.
    pub(crate) fn to_file(step_id: StepId, path: PathBuf, redactor: &Redactor) -> Self {
        let stream = Stream::log(StreamId { step_id, attempt: 1 }, path, redactor);
        Self { stream: Arc::new(stream), wakes: Arc::default() }
    }

    /// Adds output to a log.
    ///
    /// # Errors
    /// When the runner's disk does not take it.
    pub(crate) fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let written = self.stream.append(bytes);
        self.wakes.streams.notify_one();
        written
    }

    /// Says that a log has ended.
    ///
    /// # Errors
    /// When the runner's disk does not take it.
    pub(crate) fn finish(&self) -> io::Result<()> {
        let written = self.stream.finish();
        self.wakes.streams.notify_one();
        written
    }

    /// Adds an event to a session.
    ///
    /// # Errors
    /// When the runner's disk does not take it.
    pub(crate) fn record(&self, at: Time, event: session::Event) -> io::Result<()> {
        let written = self.stream.record(at.as_micros(), event);
        self.wakes.streams.notify_one();
        written
    }

    /// Lets the last lines begin here: what was written before is not what a reason is about.
    pub(crate) fn begin_lines(&self) {
        self.stream.begin_lines();
    }

    /// The last lines of a log, redacted.
    pub(crate) fn last_lines(&self, lines: usize) -> String {
        self.stream.last_lines(lines)
    }
}

fn seq(item: &Item) -> Option<u64> {
    match item {
        Item::Report { report, .. } => Some(report.seq),
        Item::Checkpoint { .. } | Item::Diff { .. } | Item::Readiness { .. } => None,
    }
}

/// A lease that is over stays over, whatever a late answer says.
fn worse(before: JobStatus, now: JobStatus) -> JobStatus {
    if before == JobStatus::Held { now } else { before }
}
