//! Whether programs in an environment use the processor: the time of its first process and of everything
//! below it, as the host's process table has it.

use std::{collections::HashMap, time::Duration};

/// What one look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    /// In ticks of a hundredth of a second.
    ticks: u64,
}

/// How much of one processor must be used for an environment to count as busy.
const BUSY: f64 = 0.05;
/// Ticks in a second: what Linux shows in `/proc` on every machine (`USER_HZ`).
const TICKS: f64 = 100.0;

/// What the process and its descendants have used so far; absent if it is not there.
pub(super) fn used(pid: u32) -> Option<Used> {
    let entries = std::fs::read_dir("/proc").ok()?;
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut ticks: HashMap<u32, u64> = HashMap::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((parent, used)) = parse(&stat) else { continue };
        children.entry(parent).or_default().push(pid);
        ticks.insert(pid, used);
    }
    ticks.get(&pid)?;
    let (mut sum, mut below) = (0, vec![pid]);
    while let Some(pid) = below.pop() {
        sum += ticks.get(&pid).copied().unwrap_or(0);
        below.extend(children.remove(&pid).unwrap_or_default());
    }
    Some(Used { ticks: sum })
}

/// Whether so much more was used within that time that somebody is at work.
pub(super) fn is_busy(before: Used, after: Used, between: Duration) -> bool {
    let more = after.ticks.saturating_sub(before.ticks);
    #[expect(clippy::cast_precision_loss, reason = "ticks of years fit")]
    let seconds = more as f64 / TICKS;
    seconds > BUSY * between.as_secs_f64()
}

/// Parent, and the time used by the process and by its children that have ended (proc_pid_stat(5)).
fn parse(stat: &str) -> Option<(u32, u64)> {
    // The name is in parentheses and may contain anything, parentheses too.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field).and_then(|text| text.parse::<u64>().ok());
    let parent = u32::try_from(number(1)?).ok()?;
    Some((parent, (11..=14).filter_map(number).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_is_read_past() {
        let stat = "7 (a) b) (c) S 3 7 7 0 -1 4194560 1 0 0 0 5 6 7 8 20 0 1 0 9";
        assert_eq!(parse(stat), Some((3, 26)));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn a_twentieth_of_a_processor_is_busy() {
        let (none, some) = (Used { ticks: 100 }, Used { ticks: 160 });
        assert!(is_busy(none, some, Duration::from_secs(10)));
        assert!(!is_busy(none, some, Duration::from_secs(20)));
        assert!(used(std::process::id()).is_some());
        assert_eq!(used(u32::MAX), None);
    }
}
