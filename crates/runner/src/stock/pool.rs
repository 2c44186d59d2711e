//! Environments that were started ahead of demand. Each is used once, by a claim with the very recipe that
//! it was made by; nothing is executed in it before. A claim that finds none starts cold.
//!
//! How many are kept follows demand: as many as are asked for in the time that one takes to make. Recipes
//! that nobody asked for lately lose theirs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::task::TaskTracker;
use windlass_sandbox::Backend;

use super::{
    start::{Made, Maker, Recipe},
    store::Key,
};

/// How many environments are kept ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// At least this many of each recipe that was asked for lately.
    pub min: usize,
    /// At most this many altogether; 0 keeps none.
    pub max: usize,
    /// A recipe that nobody asked for this long loses its environments.
    pub idle: Duration,
}

impl Default for PoolLimits {
    /// One of each recipe, four altogether, for a quarter of an hour.
    fn default() -> Self {
        Self { min: 1, max: 4, idle: Duration::from_secs(15 * 60) }
    }
}

/// How often something is asked for, and how long it takes to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    last: Instant,
    /// Seconds between two claims, smoothed; none before the second.
    gap: Option<f64>,
    /// Seconds that making one takes, smoothed; none before the first.
    refill: Option<f64>,
}

/// What the pool knows of starts alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    /// How many are ready.
    pub ready: usize,
    /// How many should be.
    pub wanted: usize,
    /// Between two claims, smoothed; none before the second.
    pub gap: Option<Duration>,
    /// What making one takes, smoothed; none before the first.
    pub refill: Option<Duration>,
    /// How many are kept ahead at most, of all kinds.
    pub most: usize,
}

/// How much a new observation counts.
const WEIGHT: f64 = 0.3;

impl Demand {
    /// Asked for the first time.
    pub fn new(now: Instant) -> Self {
        Self { last: now, gap: None, refill: None }
    }

    /// Asked for again.
    pub fn asked(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.last).as_secs_f64();
        self.gap = Some(smooth(self.gap, gap));
        self.last = now;
    }

    /// One was made.
    pub fn made(&mut self, took: Duration) {
        self.refill = Some(smooth(self.refill, took.as_secs_f64()));
    }

    /// How many should be ready: rate of claims × time to refill, within the limits.
    pub fn target(&self, limits: &PoolLimits, now: Instant) -> usize {
        if now.saturating_duration_since(self.last) >= limits.idle {
            return 0;
        }
        let wanted = match (self.gap, self.refill) {
            (Some(gap), Some(refill)) => (refill / gap.max(1e-6)).ceil(),
            _ => 0.0,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is not negative, and cut at the limit"
        )]
        let wanted = wanted.min(limits.max as f64) as usize;
        wanted.max(limits.min).min(limits.max)
    }
}

fn smooth(old: Option<f64>, new: f64) -> f64 {
    old.map_or(new, |old| old * (1.0 - WEIGHT) + new * WEIGHT)
}

/// Environments ahead of demand. Cheap to clone; all clones share it.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    maker: Maker,
    limits: PoolLimits,
    state: Mutex<State>,
    refills: TaskTracker,
}

#[derive(Default)]
struct State {
    shelves: BTreeMap<Key, Shelf>,
    closed: bool,
    claimed: u64,
    missed: u64,
}

impl State {
    /// What is to be made, which counts as being made, and what is to be taken down.
    fn settle(&mut self, limits: &PoolLimits, now: Instant) -> (Vec<(Key, Recipe)>, Vec<Made>) {
        let (mut wanted, mut over) = (Vec::new(), Vec::new());
        self.shelves.retain(|_, shelf| {
            let target = shelf.demand.target(limits, now);
            over.extend(shelf.ready.drain(target.min(shelf.ready.len())..));
            target > 0 || shelf.making > 0
        });
        let mut keys: Vec<_> =
            self.shelves.iter().map(|(key, shelf)| (shelf.demand.last, key.clone())).collect();
        keys.sort();
        // Those that were asked for last come first; those before them give way.
        for (position, (_, key)) in keys.iter().enumerate().rev() {
            while self.lacks(key, limits, now) {
                if self.held() >= limits.max {
                    let Some(made) = self.give_way(&keys[..position]) else { break };
                    over.push(made);
                }
                if let Some(shelf) = self.shelves.get_mut(key) {
                    shelf.making += 1;
                    wanted.push((key.clone(), shelf.recipe.clone()));
                }
            }
        }
        (wanted, over)
    }

    fn lacks(&self, key: &Key, limits: &PoolLimits, now: Instant) -> bool {
        self.shelves.get(key).is_some_and(|shelf| {
            shelf.demand.target(limits, now) > shelf.ready.len() + shelf.making
        })
    }

    fn held(&self) -> usize {
        self.shelves.values().map(|shelf| shelf.ready.len() + shelf.making).sum()
    }

    /// One of those that were asked for least lately.
    fn give_way(&mut self, oldest: &[(Instant, Key)]) -> Option<Made> {
        oldest.iter().find_map(|(_, key)| self.shelves.get_mut(key)?.ready.pop())
    }
}

struct Shelf {
    recipe: Recipe,
    demand: Demand,
    ready: Vec<Made>,
    making: usize,
}

impl Pool {
    /// An empty pool.
    pub fn new(maker: Maker, limits: PoolLimits) -> Self {
        let refills = TaskTracker::new();
        Self(Arc::new(Inner { maker, limits, state: Mutex::default(), refills }))
    }

    /// An environment by this recipe, if there is one, and counts the demand either way. Call
    /// [`Pool::refill`] when the start is over.
    pub fn claim(&self, recipe: &Recipe, now: Instant) -> Option<Made> {
        if self.0.limits.max == 0 {
            return None;
        }
        let key = recipe.key();
        let mut state = self.state();
        let made = match state.shelves.get_mut(&key) {
            Some(shelf) => {
                shelf.demand.asked(now);
                shelf.ready.pop()
            }
            None => {
                let shelf = Shelf {
                    recipe: recipe.clone(),
                    demand: Demand::new(now),
                    ready: Vec::new(),
                    making: 0,
                };
                state.shelves.insert(key, shelf);
                None
            }
        };
        match made {
            Some(_) => state.claimed += 1,
            None => state.missed += 1,
        }
        made
    }

    /// What is known of starts by this recipe; absent if nobody asked for one lately.
    pub fn look(&self, recipe: &Recipe, now: Instant) -> Option<Shown> {
        let key = recipe.key();
        let state = self.state();
        let shelf = state.shelves.get(&key)?;
        Some(Shown {
            ready: shelf.ready.len(),
            wanted: shelf.demand.target(&self.0.limits, now),
            gap: shelf.demand.gap.map(Duration::from_secs_f64),
            refill: shelf.demand.refill.map(Duration::from_secs_f64),
            most: self.0.limits.max,
        })
    }

    /// How many are kept at most.
    pub fn most(&self) -> usize {
        self.0.limits.max
    }

    /// How many claims found an environment, and how many did not.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.claimed, state.missed)
    }

    /// How many environments are ready.
    pub fn ready(&self) -> usize {
        self.state().shelves.values().map(|shelf| shelf.ready.len()).sum()
    }

    /// Brings each recipe to what its demand wants: starts what is missing, beside whatever else is to
    /// be done, and takes down what is too many.
    pub fn refill(&self, backend: &Arc<dyn Backend>, now: Instant) {
        let (wanted, over) = {
            let mut state = self.state();
            if state.closed {
                return;
            }
            state.settle(&self.0.limits, now)
        };
        self.take_down(over);
        for (key, recipe) in wanted {
            let (pool, backend) = (self.clone(), backend.clone());
            self.0.refills.spawn(async move { pool.make(&backend, key, &recipe).await });
        }
    }

    /// Waits until everything that is being made is ready.
    pub async fn filled(&self) {
        self.0.refills.close();
        self.0.refills.wait().await;
        self.0.refills.reopen();
    }

    /// Takes everything down, because the supervisor is gone or this is the end.
    pub fn clear(&self) {
        let shelves = std::mem::take(&mut self.state().shelves);
        self.take_down(shelves.into_values().flat_map(|shelf| shelf.ready).collect());
    }

    /// Takes everything down for good and waits for it.
    pub async fn close(&self) {
        self.state().closed = true;
        self.clear();
        self.filled().await;
        self.clear();
    }

    async fn make(&self, backend: &Arc<dyn Backend>, key: Key, recipe: &Recipe) {
        let began = Instant::now();
        let made = self.0.maker.make(backend, recipe, "ahead").await;
        let surplus = {
            let mut state = self.state();
            let closed = state.closed;
            match (state.shelves.get_mut(&key), made) {
                (Some(shelf), Ok(made)) if !closed => {
                    shelf.making = shelf.making.saturating_sub(1);
                    shelf.demand.made(began.elapsed());
                    shelf.ready.push(made);
                    None
                }
                (shelf, made) => {
                    if let Some(shelf) = shelf {
                        shelf.making = shelf.making.saturating_sub(1);
                    }
                    made.inspect_err(|error| {
                        tracing::debug!(%error, "no environment could be started ahead");
                    })
                    .ok()
                }
            }
        };
        self.take_down(surplus.into_iter().collect());
    }

    fn take_down(&self, all: Vec<Made>) {
        for made in all {
            self.0.maker.end(made.backend, made.id, made.folder);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_holds_what_is_asked_for_while_one_is_made() {
        let limits = PoolLimits { min: 1, max: 8, idle: Duration::from_secs(60) };
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut demand = Demand::new(start);
        assert_eq!(demand.target(&limits, start), 1, "asked for once");
        demand.made(Duration::from_millis(100));
        demand.asked(at(50));
        assert_eq!(demand.target(&limits, at(50)), 2, "20 per second × 0.1 s");
        (2..50).for_each(|n| demand.asked(at(50 + n)));
        assert_eq!(demand.target(&limits, at(100)), 8, "the maximum");
        assert_eq!(demand.target(&limits, at(100 + 60_000)), 0, "nobody asks any more");
        let none = PoolLimits { min: 1, max: 0, ..limits };
        assert_eq!(demand.target(&none, at(100)), 0);
    }
}
