//! How this machine is, as `/proc` and the file system say. What can't be found out is left out.

use std::{fs, path::Path};

use windlass_sandbox::space;
use windlass_wire::runner::Health;

/// Looks.
pub(crate) fn look(state_dir: &Path) -> Health {
    let space = space::of(state_dir).ok();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cpus = std::thread::available_parallelism().ok();
    Health {
        disk_free: space.map(|space| space.free),
        disk: space.map(|space| space.all),
        memory_free: field(&memory, "MemAvailable:"),
        memory: field(&memory, "MemTotal:"),
        cpus: cpus.and_then(|n| u32::try_from(n.get()).ok()),
        load: hundredths(&load),
    }
}

/// A field of `/proc/meminfo`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The first mean of `/proc/loadavg`.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_whitespace().next()?.split_once('.')?;
    let (whole, part): (u32, u32) = (whole.parse().ok()?, part.parse().ok()?);
    whole.checked_mul(100)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let memory = "MemTotal:       24684092 kB\nMemFree:  1 kB\nMemAvailable:   23000000 kB\n";
        assert_eq!(field(memory, "MemTotal:"), Some(24_684_092 * 1024));
        assert_eq!(field(memory, "MemAvailable:"), Some(23_000_000 * 1024));
        assert_eq!(field(memory, "SwapTotal:"), None);
        assert_eq!(hundredths("3.07 2.10 1.00 2/300 4711\n"), Some(307));
        assert_eq!(hundredths(""), None);
    }

    #[test]
    fn this_machine_has_a_disk_memory_and_processors() {
        let health = look(&std::env::temp_dir());
        assert!(health.disk > Some(0) && health.memory > Some(0) && health.cpus > Some(0));
    }
}
