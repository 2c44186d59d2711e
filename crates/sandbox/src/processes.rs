//! Who descends from whom inside an environment, and killing all of them.
//!
//! Reads the environment's own `/proc`, which programs cannot cover. Only for the environment's first
//! process and the keepers.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use crate::kernel;

/// How often killing is repeated before it is called hopeless.
const PASSES: u32 = 200;

/// Everything that descends from `ancestor`, without what descends from one of `spared` (and those).
pub(crate) fn descendants(ancestor: i32, spared: &BTreeSet<i32>) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, parent) in all() {
        children.entry(parent).or_default().push(pid);
    }
    let mut found = Vec::new();
    let mut open = vec![ancestor];
    while let Some(parent) = open.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            if !spared.contains(&child) {
                found.push(child);
                open.push(child);
            }
        }
    }
    found
}

/// Kills all descendants of this process but the spared ones, until none is left; tells `ended` about
/// each own child that was reaped. False when children are made faster than they can be killed.
pub(crate) fn kill_descendants(
    spared: &BTreeSet<i32>,
    mut ended: impl FnMut(i32, kernel::Ended),
) -> bool {
    let this = i32::try_from(std::process::id()).expect("process ids are positive i32");
    for pass in 0..PASSES {
        let found = descendants(this, spared);
        // Stopping all of them first keeps a parent from making more while its children die.
        if pass == 0 {
            signal_all(&found, libc::SIGSTOP);
        }
        signal_all(&found, libc::SIGKILL);
        while let Ok(Some((pid, how))) = kernel::reap_any(false) {
            ended(pid, how);
        }
        if descendants(this, spared).is_empty() {
            return true;
        }
        pause(pass);
    }
    false
}

fn signal_all(pids: &[i32], signal: i32) {
    for pid in pids {
        // One that has just ended cannot be signalled; the next pass sees who is left.
        let _sent = kernel::send_signal(*pid, signal);
    }
}

/// Lets dying processes finish: not at all at first, then up to 25 ms.
#[expect(clippy::disallowed_methods, reason = "the end of a grandchild is told to nobody")]
fn pause(pass: u32) {
    std::thread::sleep(std::time::Duration::from_millis(u64::from(pass.min(25))));
}

/// Every process with its parent.
pub(crate) fn all() -> Vec<(i32, i32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| Some((pid, parent(pid).ok()?)))
        .collect()
}

fn parent(pid: i32) -> io::Result<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything, also parentheses: what counts comes after the last.
    let rest = stat.iter().rposition(|byte| *byte == b')').map(|at| &stat[at + 1..]);
    rest.and_then(|rest| std::str::from_utf8(rest).ok())
        .and_then(|rest| rest.split_whitespace().nth(1))
        .and_then(|parent| parent.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
