//! Environments that live by themselves, on this runner: what the server wants of each is asked for by
//! a long poll, one keeper per environment brings it there, and what the keepers see goes back with
//! the next question. Levels, not edges: everything may be said and heard again.
//!
//! Never done here: deciding what is wanted, and removing what the server does not say is gone. What
//! lies in the folder of kept environments and nobody knows is left alone.

mod activity;
mod board;
mod exec;
mod keeper;
mod record;
mod view;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use windlass_run::{EnvironmentId, environment::Seen};
use windlass_wire::attach::Attach;
use windlass_wire::runner::{Environments, EnvironmentsRequest, WantedEnvironment};

use self::{keeper::Keeper, view::View};
use crate::{
    client,
    link::{Backoff, Link},
    workshop::Workshop,
};

/// How long one question for news waits for an answer.
const LONG_POLL: Duration = Duration::from_secs(20);

/// How many streams that were dialled are remembered: the server repeats itself for a moment only.
const DIALLED: usize = 1024;

/// One environment and its keeper.
struct Kept {
    wanted: watch::Sender<WantedEnvironment>,
    view: Arc<View>,
    /// The newest news of its start that the server has.
    told: u64,
}

/// Keeps environments until the end of the runner.
pub(crate) async fn keep(workshop: Arc<Workshop>, link: Arc<Link>, end: CancellationToken) {
    let keepers = TaskTracker::new();
    let mut house = House {
        rooms: Arc::new(Semaphore::new(workshop.options.environments as usize)),
        workshop,
        link,
        end: end.clone(),
        news: Arc::default(),
        kept: HashMap::new(),
        keepers: keepers.clone(),
        dialled: VecDeque::new(),
    };
    end.run_until_cancelled(house.follow()).await;
    keepers.close();
    keepers.wait().await;
}

struct House {
    workshop: Arc<Workshop>,
    link: Arc<Link>,
    end: CancellationToken,
    rooms: Arc<Semaphore>,
    /// Some keeper sees something else.
    news: Arc<Notify>,
    kept: HashMap<EnvironmentId, Kept>,
    keepers: TaskTracker,
    /// Streams that were dialled lately.
    dialled: VecDeque<String>,
}

impl House {
    async fn follow(&mut self) {
        let mut backoff = Backoff::default();
        let mut told = String::new();
        loop {
            let (request, versions) = self.request(&told);
            let answer = tokio::select! {
                answer = self.link.client.environments(&request) => answer,
                () = self.news.notified() => continue,
            };
            match answer {
                Ok(mut answer) => {
                    backoff = Backoff::default();
                    told.clone_from(&answer.digest);
                    self.heard(&request, &versions);
                    let attach = std::mem::take(&mut answer.attach);
                    self.obey(answer);
                    self.dial(attach);
                }
                Err(error) => {
                    if let client::Error::Unknown(_) = error {
                        let _ = self.link.register_anew().await;
                    }
                    told.clear();
                    tracing::debug!(%error, "the server could not be asked about environments");
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }

    /// What to say, and which news of starts it carries.
    fn request(&self, told: &str) -> (EnvironmentsRequest, HashMap<EnvironmentId, u64>) {
        let mut versions = HashMap::new();
        let mut observed = Vec::with_capacity(self.kept.len());
        for (id, kept) in &self.kept {
            let (version, seen) = kept.view.observe(id, kept.told);
            versions.insert(id.clone(), version);
            observed.push(seen);
        }
        let request = EnvironmentsRequest {
            runner_id: self.link.runner_id(),
            capacity: self.workshop.options.environments,
            told: told.to_owned(),
            wait_ms: u64::try_from(LONG_POLL.as_millis()).unwrap_or(20_000),
            observed,
        };
        (request, versions)
    }

    /// The server has what was said.
    fn heard(&mut self, request: &EnvironmentsRequest, versions: &HashMap<EnvironmentId, u64>) {
        for observed in &request.observed {
            if observed.seen == Seen::Gone {
                self.kept.remove(&observed.id);
            } else if let Some(kept) = self.kept.get_mut(&observed.id) {
                kept.told = versions.get(&observed.id).copied().unwrap_or(kept.told);
            }
        }
    }

    fn obey(&mut self, answer: Environments) {
        for wanted in answer.environments {
            match self.kept.get(&wanted.id) {
                Some(kept) => {
                    let _ = kept.wanted.send(wanted);
                }
                None => self.take_up(wanted),
            }
        }
    }

    /// Dials the streams that the server wants, each once.
    fn dial(&mut self, attach: Vec<Attach>) {
        for attach in attach {
            if self.dialled.contains(&attach.stream) {
                continue;
            }
            self.dialled.push_back(attach.stream.clone());
            if self.dialled.len() > DIALLED {
                self.dialled.pop_front();
            }
            let Some(kept) = self.kept.get(&attach.environment_id) else { continue };
            let (view, link, end) = (kept.view.clone(), self.link.clone(), self.end.clone());
            let clock = self.workshop.options.clock.clone();
            self.keepers.spawn(async move {
                end.run_until_cancelled(exec::serve(&link, &view, &clock, &attach)).await;
            });
        }
    }

    fn take_up(&mut self, wanted: WantedEnvironment) {
        let view = Arc::new(View::new(wanted.generation, self.news.clone()));
        let id = wanted.id.clone();
        let (sender, receiver) = watch::channel(wanted);
        let mut keeper = Keeper::new(
            self.workshop.clone(),
            self.link.clone(),
            receiver,
            view.clone(),
            self.rooms.clone(),
        );
        let end = self.end.clone();
        self.keepers.spawn(async move {
            end.run_until_cancelled(keeper.keep()).await;
            keeper.part().await;
        });
        self.kept.insert(id, Kept { wanted: sender, view, told: 0 });
    }
}
