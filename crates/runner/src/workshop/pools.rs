//! What is kept ahead of demand, for whoever decides whether it is worth it: how many, for which project,
//! what demand wants, how the last starts went, and what those that wait hold of memory and disk.
//!
//! Nothing is executed in an environment that waits, so what one holds is measured once.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use windlass_run::ProjectId;
use windlass_sandbox::{Backend, EnvironmentId};
use windlass_wire::runner::{House, ProjectPool};

use super::{disk, stocked::micros};
use crate::stock::{Bounds, OfProject, Pool, Started};

/// What environments that wait hold.
#[derive(Default)]
pub(super) struct Costs(Mutex<BTreeMap<EnvironmentId, Cost>>);

/// What one holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    memory: u64,
    disk: u64,
}

impl Costs {
    /// Measures those that were not yet.
    pub(super) async fn measure(&self, pool: &Pool, backend: &dyn Backend) {
        let ready: Vec<_> =
            pool.of_projects(Instant::now()).into_iter().flat_map(|it| it.ready).collect();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known.retain(|id, _| ready.iter().any(|(ready, _)| ready == id));
        if ready.iter().any(|(id, _)| !known.contains_key(id)) {
            let pids: HashMap<_, _> = match backend.list().await {
                Ok(listed) => listed.into_iter().map(|one| (one.id, one.pid)).collect(),
                // It is asked again soon.
                Err(_) => return,
            };
            let memory = tokio::task::spawn_blocking(memory_by_process).await.unwrap_or_default();
            for (id, folder) in ready {
                let Some(pid) = pids.get(&id) else { continue };
                if let Entry::Vacant(unknown) = known.entry(id) {
                    let home = backend.home(unknown.key());
                    let disk = disk::Disk::new(&folder, home.as_deref(), None).used().await;
                    unknown.insert(Cost { memory: below(&memory, *pid), disk });
                }
            }
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// What is kept ahead for each project.
    pub(super) fn told(&self, pool: &Pool) -> Vec<ProjectPool> {
        let costs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_projects = pool.of_projects(Instant::now()).into_iter();
        of_projects.filter_map(|it| told(&it, &costs, pool.most())).collect()
    }
}

fn told(it: &OfProject, costs: &BTreeMap<EnvironmentId, Cost>, most: usize) -> Option<ProjectPool> {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let held = it.ready.iter().filter_map(|(id, _)| costs.get(id));
    let (memory, disk) =
        held.fold((0, 0), |(memory, disk), cost| (memory + cost.memory, disk + cost.disk));
    Some(ProjectPool {
        project_id: ProjectId::parse(&it.project).ok()?,
        ready: count(it.ready.len()),
        making: count(it.making),
        wanted: count(it.wanted),
        most: count(most),
        gap: it.gap.map(micros),
        refill: it.refill.map(micros),
        memory,
        disk,
        starts: it.starts.iter().map(|start| (start.hit, micros(start.took))).collect(),
    })
}

/// What a project says of its environments ahead.
pub(crate) fn bounds(house: &House) -> Bounds {
    let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    Bounds { min: size(house.pool_min), max: house.pool_max.map(size) }
}

/// A start that is over.
pub(crate) fn started(hit: bool, micros: u64) -> Started {
    Started { hit, took: Duration::from_micros(micros) }
}

/// The parent of each process, and the bytes of memory that are its alone (proc_pid_smaps(5)).
fn memory_by_process() -> HashMap<u32, (u32, u64)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may contain anything, parentheses too.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        Some((pid, (parent, private(&rollup))))
    })
    .collect()
}

/// What is nobody else's.
fn private(rollup: &str) -> u64 {
    let lines = rollup.lines().filter(|line| line.starts_with("Private_"));
    let kib = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.sum::<u64>() << 10
}

/// The memory of a process and of all below it.
fn below(memory: &HashMap<u32, (u32, u64)>, pid: u32) -> u64 {
    let mut bytes = 0;
    let mut waiting = vec![pid];
    while let Some(pid) = waiting.pop() {
        bytes += memory.get(&pid).map_or(0, |(_, own)| *own);
        waiting
            .extend(memory.iter().filter(|(_, (parent, _))| *parent == pid).map(|(pid, _)| *pid));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_holds_alone_is_summed_with_those_below_it() {
        let rollup =
            "Rss: 900 kB\nPrivate_Clean:  100 kB\nPrivate_Dirty:  28 kB\nShared_Clean: 7 kB\n";
        assert_eq!(private(rollup), 128 << 10);
        let memory = HashMap::from([(1, (0, 1)), (2, (1, 10)), (3, (2, 100)), (4, (1, 1000))]);
        assert_eq!((below(&memory, 2), below(&memory, 1), below(&memory, 9)), (110, 1111, 0));
        let all = memory_by_process();
        assert!(below(&all, std::process::id()) > 0, "this one holds something");
    }
}
