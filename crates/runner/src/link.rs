//! The link to the server: two loops that carry everything all leases have to say, in few calls.
//!
//! One sends reports and heartbeats, one sends pieces of streams; uploads run beside them, one per
//! lease. A call that fails is repeated until it works; while the server is away the journal is
//! synced to disk and everything waits. Nothing is decided here.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use windlass_run::{JobId, RunnerId};
use windlass_wire::runner::{PieceAnswer, Register, Registered, ReportRequest, StreamRequest};

use crate::{
    client::{Client, Error},
    held::{Held, Wakes},
    journal::{Item, Journal, LeaseId},
};

/// How long the loops collect before they send.
const FLUSH: Duration = Duration::from_millis(10);
/// The most reports of one lease in one call.
const REPORTS_PER_JOB: usize = 200;
/// The most reports in one call; further leases wait for the next one.
const REPORTS: usize = 2_000;
/// About how many bytes of streams one call carries, and one piece.
const STREAM_BYTES: u64 = 1 << 20;
const PIECE_BYTES: u64 = 256 << 10;

/// The link. Cheap to share.
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) journal: Arc<Journal>,
    pub(crate) wakes: Arc<Wakes>,
    register: Register,
    registered: Mutex<Registered>,
    leases: Mutex<BTreeMap<LeaseId, Arc<Held>>>,
    /// How often a job was given back because something on this machine failed it.
    strikes: Mutex<BTreeMap<JobId, u32>>,
    away: AtomicBool,
    back: Notify,
}

impl Link {
    /// A link for a runner that is registered.
    pub(crate) fn new(
        client: Client,
        journal: Arc<Journal>,
        register: Register,
        registered: Registered,
    ) -> Self {
        Self {
            client,
            journal,
            wakes: Arc::default(),
            register,
            registered: Mutex::new(registered),
            leases: Mutex::default(),
            strikes: Mutex::default(),
            away: AtomicBool::new(false),
            back: Notify::new(),
        }
    }

    pub(crate) fn runner_id(&self) -> RunnerId {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner).runner_id.clone()
    }

    /// Takes up a lease: from now on it is heard and renewed.
    pub(crate) fn take_up(&self, id: LeaseId, folder: PathBuf, items: Vec<Item>) -> Arc<Held> {
        let held = Arc::new(Held::new(
            id.clone(),
            folder,
            self.journal.clone(),
            self.wakes.clone(),
            items,
        ));
        self.leases().insert(id, held.clone());
        // What an earlier process kept of its streams waits to be sent.
        self.wakes.streams.notify_one();
        held
    }

    /// Lets go of a lease that is over, with its files.
    pub(crate) fn let_go(&self, held: &Held) {
        self.leases().remove(&held.id);
        if let Err(error) = self.journal.closed(&held.id) {
            tracing::warn!(%error, "the journal could not note the end of a lease; the next start looks at it again");
        }
        let _ = std::fs::remove_dir_all(&held.folder);
    }

    /// How many leases are taken up.
    pub(crate) fn n_leases(&self) -> usize {
        self.leases().len()
    }

    /// Registers anew, after the server said that it doesn't know this runner.
    pub(crate) async fn register_anew(&self) -> Result<(), Error> {
        let mut register = self.register.clone();
        register.previous = Some(self.runner_id());
        let registered = self.client.register(&register).await?;
        *self.registered.lock().unwrap_or_else(PoisonError::into_inner) = registered;
        Ok(())
    }

    /// Counts that something on this machine failed a job. How often it did so far.
    pub(crate) fn strike(&self, job_id: &JobId) -> u32 {
        let mut strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        let n = strikes.entry(job_id.clone()).or_default();
        *n += 1;
        *n
    }

    fn heartbeat(&self) -> Duration {
        let registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_millis(registered.heartbeat_ms.clamp(50, 60_000))
    }

    fn leases(&self) -> MutexGuard<'_, BTreeMap<LeaseId, Arc<Held>>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call worked: the server is there.
    fn here(&self) {
        if self.away.swap(false, Ordering::AcqRel) {
            tracing::info!("the server is back");
            self.back.notify_waiters();
        }
    }

    /// A call failed: what was decided goes to disk, and the loop waits.
    async fn trouble(&self, error: &Error, backoff: &mut Backoff) {
        if !self.away.swap(true, Ordering::AcqRel) {
            tracing::warn!(%error, "the server can't be told; everything is kept on disk until it can");
        }
        let journal = self.journal.clone();
        let synced = tokio::task::spawn_blocking(move || journal.sync()).await;
        if let Ok(Err(error)) = synced {
            tracing::error!(%error, "the runner's journal can't be synced to disk");
        }
        if let Error::Unknown(_) = error
            && let Err(error) = self.register_anew().await
        {
            tracing::debug!(%error, "could not register anew");
        }
        tokio::select! {
            () = self.back.notified() => {}
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}

/// Carries reports and heartbeats until `stop`.
pub(crate) async fn carry_reports(link: Arc<Link>, stop: CancellationToken) {
    let mut backoff = Backoff::default();
    let mut next_beat = Instant::now() + link.heartbeat();
    loop {
        let beat = tokio::select! {
            () = stop.cancelled() => return,
            () = link.wakes.reports.notified() => {
                tokio::time::sleep(FLUSH).await;
                Instant::now() >= next_beat
            }
            () = tokio::time::sleep_until(next_beat) => true,
        };
        if beat {
            next_beat = Instant::now() + link.heartbeat();
        }
        begin_uploads(&link);
        let leases: Vec<Arc<Held>> = link.leases().values().cloned().collect();
        let mut said: Vec<Arc<Held>> =
            leases.into_iter().filter(|held| held.take_dirty() || beat).collect();
        // Set when something in a batch was refused: one lease per call then.
        let mut alone = false;
        while !said.is_empty() {
            let (batch, request) = collect(&link, &mut said, alone);
            let answer = tokio::select! {
                () = stop.cancelled() => return,
                answer = link.client.report(&request) => answer,
            };
            match answer {
                Ok(answer) => {
                    backoff = Backoff::default();
                    link.here();
                    // Matched by job, not by place: an answer out of order must not reach another job.
                    let mut answers: BTreeMap<_, _> = answer
                        .jobs
                        .into_iter()
                        .map(|answer| (answer.job_id.clone(), answer))
                        .collect();
                    for held in batch {
                        if answers
                            .remove(&held.id.job_id)
                            .is_some_and(|answer| held.answered(answer))
                        {
                            said.push(held);
                        }
                    }
                }
                Err(Error::Refused(why)) if batch.len() == 1 => {
                    // Nothing that is said of this job will ever be taken, and the others must go on.
                    tracing::error!(job_id = %batch[0].id.job_id, %why, "the server does not take what this job reports; it is let go");
                    batch[0].lost();
                }
                Err(Error::Refused(why)) => {
                    tracing::warn!(%why, "the server refused reports; each job's are sent by themselves");
                    alone = true;
                    said.extend(batch);
                }
                Err(error) => {
                    for held in batch.into_iter().chain(said.drain(..)) {
                        held.touch();
                    }
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = link.trouble(&error, &mut backoff) => {}
                    }
                }
            }
        }
        begin_uploads(&link);
    }
}

/// As much of `said` as one call carries. A job whose older lease waits too comes in the next one.
fn collect(link: &Link, said: &mut Vec<Arc<Held>>, alone: bool) -> (Vec<Arc<Held>>, ReportRequest) {
    let mut batch: Vec<Arc<Held>> = Vec::new();
    let mut later = Vec::new();
    let mut jobs = Vec::new();
    let mut n_reports = 0;
    for held in said.drain(..) {
        let twice = batch.iter().any(|other| other.id.job_id == held.id.job_id);
        if n_reports >= REPORTS || twice || (alone && !batch.is_empty()) {
            later.push(held);
            continue;
        }
        let job = held.to_say(REPORTS_PER_JOB);
        n_reports += job.reports.len();
        jobs.push(job);
        batch.push(held);
    }
    *said = later;
    (batch, ReportRequest { runner_id: link.runner_id(), jobs })
}

/// Carries pieces of streams until `stop`.
pub(crate) async fn carry_streams(link: Arc<Link>, stop: CancellationToken) {
    let mut backoff = Backoff::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = link.wakes.streams.notified() => tokio::time::sleep(FLUSH).await,
        }
        loop {
            let (sources, request) = gather(&link);
            if request.pieces.is_empty() {
                break;
            }
            let answer = tokio::select! {
                () = stop.cancelled() => return,
                answer = link.client.streams(&request) => answer,
            };
            match answer {
                Ok(answer) => {
                    backoff = Backoff::default();
                    link.here();
                    for ((held, stream), answer) in sources.into_iter().zip(answer.pieces) {
                        match answer {
                            PieceAnswer::Have { length } => stream.has(length),
                            PieceAnswer::Lost => {
                                // Whether the lease is over is for the answer to a report to say. Were
                                // it let go here and still held, its job would wait for nobody.
                                tracing::warn!(job_id = %held.id.job_id, step_id = %stream.step_id(), "the server does not take output of a step; its rest is lost");
                                stream.give_up();
                                held.touch();
                            }
                        }
                        if !held.is_behind() {
                            held.touch();
                        }
                    }
                }
                Err(Error::Refused(why)) => {
                    // These pieces will never be taken; without them the job's end can be told at least.
                    tracing::error!(%why, "the server does not take output of these jobs");
                    for (held, stream) in sources {
                        stream.give_up();
                        held.touch();
                    }
                }
                Err(error) => tokio::select! {
                    () = stop.cancelled() => return,
                    () = link.trouble(&error, &mut backoff) => {}
                },
            }
        }
    }
}

type Source = (Arc<Held>, Arc<crate::stream::Stream>);

fn gather(link: &Link) -> (Vec<Source>, StreamRequest) {
    let leases: Vec<Arc<Held>> = link.leases().values().cloned().collect();
    let mut sources = Vec::new();
    let mut pieces = Vec::new();
    let mut bytes = 0;
    for held in leases {
        for stream in held.streams() {
            if bytes >= STREAM_BYTES {
                break;
            }
            match stream.piece(&held.id, PIECE_BYTES) {
                Ok(Some((piece, size))) => {
                    bytes += size;
                    pieces.push(piece);
                    sources.push((held.clone(), stream));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, job_id = %held.id.job_id, "kept output can't be read; the rest of it is lost");
                    stream.give_up();
                    held.touch();
                }
            }
        }
    }
    (sources, StreamRequest { runner_id: link.runner_id(), pieces })
}

/// Starts the uploads that something waits for.
fn begin_uploads(link: &Arc<Link>) {
    let leases: Vec<Arc<Held>> = link.leases().values().cloned().collect();
    for held in leases {
        if let Some(item) = held.begin_upload() {
            tokio::spawn(upload(link.clone(), held, item));
        }
    }
}

async fn upload(link: Arc<Link>, held: Arc<Held>, item: Item) {
    let mut backoff = Backoff::default();
    let mut told = held.told();
    loop {
        let sent = tokio::select! {
            _ = told.wait_for(|told| told.status == windlass_wire::runner::JobStatus::Lost) => break,
            sent = send(&link, &held, &item) => sent,
        };
        match sent {
            Ok(()) => break,
            Err(error @ (Error::Away(_) | Error::Token(_))) => {
                link.trouble(&error, &mut backoff).await
            }
            Err(error @ (Error::Unknown(_) | Error::Refused(_))) => {
                tracing::error!(%error, job_id = %held.id.job_id, "the server does not keep a checkpoint; it stays on this runner only");
                break;
            }
        }
    }
    let (Item::Checkpoint { file, .. } | Item::Diff { file, .. } | Item::Readiness { file, .. }) =
        &item
    else {
        return;
    };
    let _ = tokio::fs::remove_file(file).await;
    held.end_upload();
}

async fn send(link: &Link, held: &Held, item: &Item) -> Result<(), Error> {
    let (job_id, epoch) = (&held.id.job_id, held.id.epoch);
    let open = async |file: &PathBuf| {
        let opened = tokio::fs::File::open(file).await;
        opened.map_err(|error| Error::Refused(format!("{} can't be read: {error}", file.display())))
    };
    match item {
        Item::Checkpoint { step_id, commit, file } => {
            link.client.put_checkpoint(job_id, step_id, epoch, commit, open(file).await?).await
        }
        Item::Diff { step_id, file } => {
            link.client.put_diff(job_id, step_id, epoch, open(file).await?).await
        }
        Item::Readiness { step_id, file } => {
            link.client.put_readiness(job_id, step_id, epoch, open(file).await?).await
        }
        Item::Report { .. } => Ok(()),
    }
}

/// Pauses between tries: doubling from 100 ms to 5 s, each shortened by chance so that runners that
/// lost the server together don't come back together.
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(Duration::from_millis(100))
    }
}

impl Backoff {
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Duration::from_secs(5));
        pause.mul_f64(rand::random_range(0.5..1.0))
    }
}
