//! The simulated world: a server on the real store, runners that drive the real job machine, clients
//! and a forge, all in one thread and in virtual time. One number, the seed, decides everything that
//! goes wrong: the server and runners crash, messages are lost, doubled and overtaken, heartbeats are
//! late, commits fail, effects are slow, people cancel.
//!
//! What must hold, looked at all the time and at the end:
//! - no task that was accepted is lost, and none is started twice;
//! - no effect happens twice;
//! - no job runs without a live lease;
//! - an ended job stays ended, and every end has a reason;
//! - journal and projections agree;
//! - once nothing goes wrong any more, every job ends.
//!
//! A seed always gives the same story, so a failure is looked at by running its seed again with the
//! story told ([`tell`]).

mod clients;
mod forge;
mod random;
mod runner;
mod server;
mod world;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use world::World;

/// What one seed's world went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Jobs that were brought to their end.
    pub jobs: u64,
    /// Messages between the parts.
    pub messages: u64,
    /// Crashes of the server and of runners.
    pub crashes: u64,
    /// Effects that happened on the forge.
    pub effects: u64,
    /// Leases that were lost.
    pub lost_leases: u64,
    /// A digest of the whole story: the same seed gives the same one.
    pub digest: u64,
}

/// A seed whose world broke a promise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}: {what}")]
pub struct Broken {
    /// The seed. Running it again gives the same story.
    pub seed: u64,
    /// Which promise, and how.
    pub what: String,
}

/// What many seeds gave together.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many seeds ran.
    pub seeds: u64,
    /// All stories added up (the digest is meaningless).
    pub total: Story,
    /// The seeds that broke a promise.
    pub broken: Vec<Broken>,
}

/// Runs one seed's world to its end.
///
/// # Errors
/// [`Broken`] if a promise did not hold.
pub fn run(seed: u64) -> Result<Story, Broken> {
    let ground = Ground::make().map_err(|what| Broken { seed, what })?;
    World::new(seed, &ground, false).live()
}

/// As [`run`], and gives the whole story, one line per thing that happened.
pub fn tell(seed: u64) -> (Vec<String>, Result<Story, Broken>) {
    match Ground::make() {
        Err(what) => (vec![], Err(Broken { seed, what })),
        Ok(ground) => World::new(seed, &ground, true).live_and_tell(),
    }
}

/// Runs the seeds from `first` on, `count` of them, on so many threads. Stops early once something
/// broke.
pub fn run_many(first: u64, count: u64, threads: usize) -> Report {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let work = || {
        let mut report = Report::default();
        let ground = match Ground::make() {
            Ok(ground) => ground,
            Err(what) => {
                report.broken.push(Broken { seed: first, what });
                return report;
            }
        };
        while !stop.load(Ordering::Relaxed) {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                break;
            }
            report.seeds += 1;
            match World::new(first + n, &ground, false).live() {
                Ok(story) => report.total.add(story),
                Err(broken) => {
                    stop.store(true, Ordering::Relaxed);
                    report.broken.push(broken);
                }
            }
        }
        report
    };
    let mut all = Report::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let report = worker.join().unwrap_or_else(|_| Report {
                broken: vec![Broken { seed: first, what: "a worker panicked".into() }],
                ..Report::default()
            });
            all.seeds += report.seeds;
            all.total.add(report.total);
            all.broken.extend(report.broken);
        }
    });
    all
}

impl Story {
    /// Adds what another seed's world went through.
    pub fn add(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.messages += other.messages;
        self.crashes += other.crashes;
        self.effects += other.effects;
        self.lost_leases += other.lost_leases;
        self.digest ^= other.digest;
    }
}

/// Where worlds keep their databases: in memory where the host has such a place. It goes when the
/// worlds on it are gone.
struct Ground {
    directory: tempfile::TempDir,
}

impl Ground {
    fn make() -> Result<Self, String> {
        let shared_memory = Path::new("/dev/shm");
        let mut builder = tempfile::Builder::new();
        builder.prefix("windlass-sim-");
        let directory = match shared_memory.is_dir() {
            true => builder.tempdir_in(shared_memory).or_else(|_| builder.tempdir()),
            false => builder.tempdir(),
        };
        let directory = directory.map_err(|e| format!("no directory for the worlds: {e}"))?;
        let ground = Self { directory };
        server::prepare(&ground.template())?;
        Ok(ground)
    }

    /// An empty database, to be copied.
    fn template(&self) -> PathBuf {
        self.directory.path().join("template.db")
    }

    /// The directory of one world.
    fn plot(&self, seed: u64) -> PathBuf {
        self.directory.path().join(format!("seed-{seed}"))
    }
}
