//! What this process knows of runners' machines beside what the store keeps: how they were when they
//! were last heard of. It is gone when the server ends, and back within one long poll.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use windlass_run::{ProjectId, RunnerId};
use windlass_wire::runner::{Health, ProjectPool};

/// The least of a disk that should be free, in hundredths.
const DISK_FREE: u64 = 5;
/// The least of the memory that programs should still be able to have, in hundredths.
const MEMORY_FREE: u64 = 5;

/// How runners' machines were, and what they kept ahead of demand.
#[derive(Default)]
pub(crate) struct Registry(Mutex<HashMap<RunnerId, Heard>>);

/// What a runner said last.
#[derive(Default)]
struct Heard {
    health: Health,
    pools: Vec<ProjectPool>,
}

/// The most projects of whose pools one runner may tell, and the most starts of each.
const POOLS: (usize, usize) = (1_000, 50);

impl Registry {
    /// A runner said how its machine is, and what it keeps ahead.
    pub(crate) fn heard(&self, runner_id: &RunnerId, health: Health, mut pools: Vec<ProjectPool>) {
        pools.truncate(POOLS.0);
        pools.iter_mut().for_each(|pool| pool.starts.truncate(POOLS.1));
        self.lock().insert(runner_id.clone(), Heard { health, pools });
    }

    /// What a runner kept ahead for a project.
    pub(crate) fn pool(&self, runner_id: &RunnerId, project_id: &ProjectId) -> Option<ProjectPool> {
        let all = self.lock();
        let pools = &all.get(runner_id)?.pools;
        pools.iter().find(|pool| pool.project_id == *project_id).cloned()
    }

    /// How its machine was.
    pub(crate) fn health(&self, runner_id: &RunnerId) -> Option<Health> {
        self.lock().get(runner_id).map(|heard| heard.health.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunnerId, Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What somebody should look at, in sentences.
pub(crate) fn problems(health: Option<&Health>, version: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let own = env!("CARGO_PKG_VERSION");
    if version != own {
        problems.push(format!(
            "It is windlass {version}, this server is {own}: put the server's release in its place, \
             then `windlass runner restart`."
        ));
    }
    let Some(health) = health else { return problems };
    let is_short = |free: Option<u64>, all: Option<u64>, least: u64| {
        free.zip(all).filter(|(free, all)| free.saturating_mul(100) < all.saturating_mul(least))
    };
    if let Some((free, all)) = is_short(health.disk_free, health.disk, DISK_FREE) {
        problems.push(format!(
            "Its disk is nearly full: {} MiB of {} MiB are free. Lower --prepared-mib or --image-mib, \
             or delete environments.",
            free >> 20,
            all >> 20
        ));
    }
    if let Some((free, all)) = is_short(health.memory_free, health.memory, MEMORY_FREE) {
        problems.push(format!(
            "Its memory is nearly used up: {} MiB of {} MiB can still be had. Lower --capacity, or \
             limit environments by --memory-mib.",
            free >> 20,
            all >> 20
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_a_problem_and_a_full_glass_is_not() {
        let own = env!("CARGO_PKG_VERSION");
        let health = |free: u64| Health {
            disk_free: Some(free << 20),
            disk: Some(1000 << 20),
            ..Health::default()
        };
        assert_eq!(problems(Some(&health(50)), own), Vec::<String>::new());
        let [problem] = &problems(Some(&health(49)), own)[..] else { panic!("one problem") };
        assert!(problem.contains("49 MiB of 1000 MiB are free"), "{problem}");
        assert_eq!(problems(None, own), Vec::<String>::new());
        let [problem] = &problems(None, "0.0.7")[..] else { panic!("one problem") };
        assert!(problem.starts_with("It is windlass 0.0.7,"), "{problem}");
    }
}
