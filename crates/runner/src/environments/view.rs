//! What a keeper sees of its environment, for whoever tells the server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use windlass_run::{
    EnvironmentId, Time,
    environment::{Ended, Seen},
};
use windlass_wire::runner::{EnvironmentStart, Looked, ObservedEnvironment};

use crate::workshop::environment::Entry;

/// What a keeper sees.
pub(super) struct View {
    now: Mutex<Now>,
    entry: watch::Sender<Option<Entry>>,
    news: Arc<Notify>,
}

struct Now {
    generation: u64,
    seen: Seen,
    active_at: Option<Time>,
    looked: Option<Looked>,
    ended: Vec<Ended>,
    start: EnvironmentStart,
    /// Grows with each change of `start`.
    version: u64,
}

impl View {
    /// Nothing has been done yet.
    pub(super) fn new(generation: u64, news: Arc<Notify>) -> Self {
        let now = Now {
            generation,
            seen: Seen::Starting { waits: None },
            active_at: None,
            looked: None,
            ended: Vec::new(),
            start: EnvironmentStart::default(),
            version: 0,
        };
        Self { now: Mutex::new(now), entry: watch::Sender::new(None), news }
    }

    /// It stands so, under the wish of this generation.
    pub(super) fn see(&self, generation: u64, seen: Seen) {
        let mut now = self.now();
        if now.generation == generation && now.seen == seen {
            return;
        }
        (now.generation, now.seen) = (generation, seen);
        drop(now);
        self.news.notify_one();
    }

    /// How programs are executed in it from now on; absent: not at all.
    pub(super) fn enter(&self, entry: Option<Entry>) {
        self.entry.send_replace(entry);
    }

    /// How programs are executed in it, as that changes.
    pub(super) fn entry(&self) -> watch::Receiver<Option<Entry>> {
        self.entry.subscribe()
    }

    /// Something happened in it. Told with the next question, which is soon enough.
    pub(super) fn active(&self, at: Time) {
        let mut now = self.now();
        now.active_at = now.active_at.max(Some(at));
    }

    /// Work that no repository has was looked for.
    pub(super) fn looked(&self, looked: Looked) {
        self.now().looked = Some(looked);
    }

    /// How its services ended lately.
    pub(super) fn services_ended(&self, ended: Vec<Ended>) {
        let mut now = self.now();
        if now.ended == ended {
            return;
        }
        now.ended = ended;
        drop(now);
        self.news.notify_one();
    }

    /// There is news of its start.
    pub(super) fn started(&self, start: EnvironmentStart) {
        let mut now = self.now();
        if now.start == start {
            return;
        }
        now.start = start;
        now.version += 1;
        drop(now);
        self.news.notify_one();
    }

    /// What to tell the server, which has news of the start up to `told`; and up to where it is told
    /// by this.
    pub(super) fn observe(&self, id: &EnvironmentId, told: u64) -> (u64, ObservedEnvironment) {
        let now = self.now();
        let observed = ObservedEnvironment {
            id: id.clone(),
            generation: now.generation,
            seen: now.seen.clone(),
            active_at: now.active_at,
            looked: now.looked.clone(),
            ended: now.ended.clone(),
            start: (now.version > told).then(|| now.start.clone()),
        };
        (now.version, observed)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
