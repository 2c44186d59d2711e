//! Environments that were started ahead of demand. Each is used once, by a claim with the very recipe that
//! it was made by; nothing is executed in it before. A claim that finds none starts cold.
//!
//! How many are kept follows demand: as many as are asked for in the time that one takes to make. Recipes
//! that nobody asked for lately lose theirs.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::task::TaskTracker;
use windlass_sandbox::{Backend, EnvironmentId};

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

/// How a start went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Whether the pool had it.
    pub hit: bool,
    /// How long it took, set-up and all.
    pub took: Duration,
}

/// What is kept ahead for a project.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfProject {
    /// The project.
    pub project: String,
    /// What is ready, with the folders of the work trees.
    pub ready: Vec<(EnvironmentId, PathBuf)>,
    /// How many are being made.
    pub making: usize,
    /// How many should be ready.
    pub wanted: usize,
    /// What the project wants whatever the demand.
    pub bounds: Bounds,
    /// Between two claims of what was asked for last, smoothed.
    pub gap: Option<Duration>,
    /// What making one of these takes, smoothed.
    pub refill: Option<Duration>,
    /// The last starts, the newest last.
    pub starts: Vec<Started>,
}

/// How many starts of a project are remembered.
const STARTS: usize = 50;
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

/// How many environments a project wants ahead, whatever the demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// At least so many, of what was asked for last, also when nobody asks any more.
    pub min: usize,
    /// At most so many of all kinds; absent: as many as the runner keeps.
    pub max: Option<usize>,
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
    /// What projects want, by their names.
    bounds: BTreeMap<String, Bounds>,
    /// The last starts of each project.
    starts: BTreeMap<String, VecDeque<Started>>,
    closed: bool,
    claimed: u64,
    missed: u64,
}

impl State {
    /// What is to be made, which counts as being made, and what is to be taken down.
    fn settle(&mut self, limits: &PoolLimits, now: Instant) -> (Vec<(Key, Recipe)>, Vec<Made>) {
        let (mut wanted, mut over) = (Vec::new(), Vec::new());
        let targets = self.targets(limits, now);
        self.shelves.retain(|key, shelf| {
            let target = targets.get(key).copied().unwrap_or(0);
            over.extend(shelf.ready.drain(target.min(shelf.ready.len())..));
            target > 0 || shelf.making > 0
        });
        let keys = self.by_age();
        // Those that were asked for last come first; those before them give way.
        for (position, key) in keys.iter().enumerate().rev() {
            let target = targets.get(key).copied().unwrap_or(0);
            while self.shelves.get(key).is_some_and(|it| target > it.ready.len() + it.making) {
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

    /// How many of each kind should be ready: what demand wants, within what their projects want. What a
    /// project wants at least is of the kind that was asked for last.
    fn targets(&self, limits: &PoolLimits, now: Instant) -> BTreeMap<Key, usize> {
        let mut targets = BTreeMap::new();
        let mut of_project: BTreeMap<&str, usize> = BTreeMap::new();
        for key in self.by_age().into_iter().rev() {
            let Some(shelf) = self.shelves.get(&key) else { continue };
            let project = shelf.recipe.project.as_str();
            let bounds = self.bounds.get(project).copied().unwrap_or_default();
            let before = of_project.get(project).copied();
            let least = if before.is_none() { bounds.min } else { 0 };
            let left = bounds.max.unwrap_or(limits.max).saturating_sub(before.unwrap_or(0));
            let target = shelf.demand.target(limits, now).max(least).min(left).min(limits.max);
            *of_project.entry(project).or_default() += target;
            targets.insert(key, target);
        }
        targets
    }

    /// The kinds, those that were asked for least lately first.
    fn by_age(&self) -> Vec<Key> {
        let mut keys: Vec<_> =
            self.shelves.iter().map(|(key, shelf)| (shelf.demand.last, key.clone())).collect();
        keys.sort();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    fn held(&self) -> usize {
        self.shelves.values().map(|shelf| shelf.ready.len() + shelf.making).sum()
    }

    /// One of those that were asked for least lately.
    fn give_way(&mut self, oldest: &[Key]) -> Option<Made> {
        oldest.iter().find_map(|key| self.shelves.get_mut(key)?.ready.pop())
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
            wanted: state.targets(&self.0.limits, now).get(&key).copied().unwrap_or(0),
            gap: shelf.demand.gap.map(Duration::from_secs_f64),
            refill: shelf.demand.refill.map(Duration::from_secs_f64),
            most: self.0.limits.max,
        })
    }

    /// What a project wants from now on, whatever the demand.
    pub fn bound(&self, project: &str, bounds: Bounds) {
        self.state().bounds.insert(project.to_owned(), bounds);
    }

    /// A start of a project is over.
    pub fn started(&self, project: &str, started: Started) {
        let mut state = self.state();
        let starts = state.starts.entry(project.to_owned()).or_default();
        starts.push_back(started);
        if starts.len() > STARTS {
            starts.pop_front();
        }
    }

    /// What is kept ahead for each project, and how its last starts went.
    pub fn of_projects(&self, now: Instant) -> Vec<OfProject> {
        let state = self.state();
        let targets = state.targets(&self.0.limits, now);
        let mut all: BTreeMap<String, OfProject> = BTreeMap::new();
        for (project, starts) in &state.starts {
            let of_project = all.entry(project.clone()).or_default();
            of_project.starts = starts.iter().copied().collect();
        }
        for key in state.by_age() {
            let Some(shelf) = state.shelves.get(&key) else { continue };
            let of_project = all.entry(shelf.recipe.project.clone()).or_default();
            of_project
                .ready
                .extend(shelf.ready.iter().map(|made| (made.id.clone(), made.folder.clone())));
            of_project.making += shelf.making;
            of_project.wanted += targets.get(&key).copied().unwrap_or(0);
            // Of the kind that was asked for last.
            of_project.gap = shelf.demand.gap.map(Duration::from_secs_f64);
            of_project.refill = shelf.demand.refill.map(Duration::from_secs_f64);
        }
        for (project, of_project) in &mut all {
            of_project.bounds = state.bounds.get(project).copied().unwrap_or_default();
            of_project.project.clone_from(project);
        }
        all.into_values().collect()
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
    use windlass_sandbox::{Plan, Prepared};

    use super::{super::store::Store, *};

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

    #[tokio::test]
    async fn what_a_project_wants_holds_whatever_the_demand() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(&dir.path().join("prepared"), u64::MAX).expect("a store");
        let recipe = async |project: &str, name: &str| {
            let empty = |_| async { Ok::<(), std::io::Error>(()) };
            let (from, _) = store.get_or_make(&Key::of(&[name]), empty).await.expect("made");
            let id = EnvironmentId::parse("recipe").expect("a name");
            let plan = Plan::new(id, "/", "/workspace/work");
            let prepared = Prepared::default();
            Recipe { project: project.to_owned(), from, home: None, prepared, plan }
        };
        let limits = PoolLimits { min: 1, max: 8, idle: Duration::from_secs(60) };
        let pool = Pool::new(Maker::new(dir.path(), store.copies_by()), limits);
        let (old, new) = (recipe("a", "old").await, recipe("a", "new").await);
        let other = recipe("b", "other").await;
        pool.bound("a", Bounds { min: 3, max: Some(4) });
        let start = Instant::now();
        for (recipe, millis) in [(&old, 0), (&new, 1), (&other, 2)] {
            assert!(pool.claim(recipe, start + Duration::from_millis(millis)).is_none());
        }
        let wanted = |now| {
            [&old, &new, &other].map(|recipe| pool.look(recipe, now).expect("asked for").wanted)
        };
        let soon = start + Duration::from_secs(1);
        assert_eq!(wanted(soon), [1, 3, 1], "what was asked for last has what is left of the most");
        // Nobody asks any more: the least of the kind that was asked for last stays.
        let late = start + Duration::from_secs(600);
        assert_eq!(wanted(late), [0, 3, 0]);
        pool.bound("a", Bounds { min: 0, max: Some(0) });
        assert_eq!(wanted(soon), [0, 0, 1]);
        pool.bound("a", Bounds { min: 50, max: None });
        assert_eq!(wanted(late), [0, 8, 0], "no more than the runner keeps");
        // And what is told of it.
        pool.started("a", Started { hit: false, took: Duration::from_millis(7) });
        let told = pool.of_projects(late);
        let sizes: Vec<_> = told.iter().map(|it| (it.project.as_str(), it.wanted)).collect();
        assert_eq!(sizes, [("a", 8), ("b", 0)]);
        assert_eq!(told[0].starts, [Started { hit: false, took: Duration::from_millis(7) }]);
    }
}
