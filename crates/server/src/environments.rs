//! What this process knows of runners that keep environments, and the database does not: who asks for
//! news, who was heard of when, which streams they are asked to dial. Nothing here is a fact about an environment: those are in the store.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use hyper::upgrade::OnUpgrade;
use tokio::sync::{oneshot, watch};
use windlass_run::{Duration, EnvironmentId, RunnerId, Time};
use windlass_wire::{attach::Attach, runner::Secret};

/// How long a runner may be silent before what is under way on it counts as lost.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(75);

/// After what time a runner is told again of a stream that it has not dialled: an answer may be lost.
pub(crate) const TELL_AGAIN: std::time::Duration = std::time::Duration::from_millis(500);

/// What this process knows of runners that keep environments.
pub(crate) struct Registry {
    changed: watch::Sender<u64>,
    heard: Mutex<HashMap<RunnerId, Time>>,
    streams: Mutex<HashMap<String, Asked>>,
    /// Who looked at whose files, and when that was written down last.
    looked: Mutex<HashMap<(EnvironmentId, String), Time>>,
}

/// A stream that a runner is asked to dial.
struct Asked {
    runner_id: RunnerId,
    environment_id: EnvironmentId,
    given: Vec<Secret>,
    told: Option<Instant>,
    dialled: oneshot::Sender<OnUpgrade>,
}

/// A stream that is waited for. Dropping it takes the request back.
pub(crate) struct Awaited<'a> {
    registry: &'a Registry,
    stream: String,
    /// The runner's end.
    pub(crate) dialled: oneshot::Receiver<OnUpgrade>,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.registry.streams().remove(&self.stream);
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            changed: watch::Sender::new(0),
            heard: Mutex::default(),
            streams: Mutex::default(),
            looked: Mutex::default(),
        }
    }
}

impl Registry {
    /// Something else is wanted of some environment: runners that wait for news look again.
    pub(crate) fn changed(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Ends when something changed after this was called, whether or not it was awaited by then.
    pub(crate) fn news(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut changed = self.changed.subscribe();
        async move {
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Asks a runner to dial a stream into an environment.
    pub(crate) fn ask(
        &self,
        runner_id: RunnerId,
        environment_id: EnvironmentId,
        stream: String,
        given: Vec<Secret>,
    ) -> Awaited<'_> {
        let (sender, dialled) = oneshot::channel();
        let asked = Asked { runner_id, environment_id, given, told: None, dialled: sender };
        self.streams().insert(stream.clone(), asked);
        self.changed();
        Awaited { registry: self, stream, dialled }
    }

    /// The streams that a runner was not told of lately.
    pub(crate) fn to_dial(&self, runner_id: &RunnerId) -> Vec<Attach> {
        let mut streams = self.streams();
        let untold = streams.iter_mut().filter(|(_, asked)| {
            let lately = asked.told.is_some_and(|told| told.elapsed() < TELL_AGAIN);
            asked.runner_id == *runner_id && !lately
        });
        untold
            .map(|(stream, asked)| {
                asked.told = Some(Instant::now());
                let environment_id = asked.environment_id.clone();
                Attach { stream: stream.clone(), environment_id, given: asked.given.clone() }
            })
            .collect()
    }

    /// Whether a runner has yet to dial a stream.
    pub(crate) fn is_awaited(&self, runner_id: &RunnerId) -> bool {
        self.streams().values().any(|asked| asked.runner_id == *runner_id)
    }

    /// A runner dials: where its end is to be given. Absent if nobody waits for it.
    pub(crate) fn dialled(
        &self,
        runner_id: &RunnerId,
        stream: &str,
    ) -> Option<oneshot::Sender<OnUpgrade>> {
        let mut streams = self.streams();
        streams.get(stream).filter(|asked| asked.runner_id == *runner_id)?;
        streams.remove(stream).map(|asked| asked.dialled)
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<String, Asked>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is to be written down that somebody looks at an environment's files: it was not for
    /// this long.
    pub(crate) fn looks_again(
        &self,
        id: &EnvironmentId,
        who: &str,
        now: Time,
        after: Duration,
    ) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |at: &Time| now.since(*at).as_micros() >= after.as_micros();
        let key = (id.clone(), who.to_owned());
        if looked.get(&key).is_some_and(|at| !is_old(at)) {
            return false;
        }
        looked.retain(|_, at| !is_old(at));
        looked.insert(key, now);
        true
    }

    /// A runner was heard of.
    pub(crate) fn heard(&self, runner_id: &RunnerId, now: Time) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.insert(runner_id.clone(), now);
    }

    /// Whether a runner was silent for too long. One that was not heard of since this process began
    /// gets the whole time from now on.
    pub(crate) fn is_silent(&self, runner_id: &RunnerId, now: Time) -> bool {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let last = *heard.entry(runner_id.clone()).or_insert(now);
        now.since(last).as_micros() > LOST_AFTER.as_micros()
    }
}
