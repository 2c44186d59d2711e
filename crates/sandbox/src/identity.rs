//! Who an environment's processes are, on the host and inside.
//!
//! Never root, and never a person's account while there is a choice: as root every environment gets a
//! number of its own that no account has; without root there is only the caller's own number, shown as
//! another one inside. The reasons are in `docs/decisions/0002-environment-identity.md`.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Ranges of ids that belong to no account: one that systemd's registry of ids leaves unused, and for
/// hosts whose own ids are few (containers) the one for passing services.
const RANGES: [(u32, u32); 2] = [(1_900_000_000, 65_536), (61_184, 4_000)];

/// How this supervisor can make environments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    /// Root with the capabilities that count, and a range of ids (first, count) to give away.
    Root {
        /// The first id that is free to give.
        first: u32,
        /// How many there are.
        count: u32,
    },
    /// Anyone else: only with a user namespace, only the caller's own ids.
    Ordinary,
}

/// The ids of one environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The user id on the host.
    pub(crate) outside_uid: u32,
    /// The group id on the host.
    pub(crate) outside_gid: u32,
    /// Whether the supervisor is root and gives files away.
    pub(crate) by_root: bool,
}

/// Capabilities that make root able to build environments: chown, dac_override, kill, setgid, setuid,
/// net_admin, sys_admin.
const NEEDED: u64 = 1 | 1 << 1 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 12 | 1 << 21;

impl Power {
    /// What this process can do.
    pub(crate) fn of_this_process() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let groups = std::fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
        Self::judge(rustix::process::geteuid().is_root(), &status, &map, &groups)
    }

    /// The one identity that whoever made the container chose.
    pub(crate) fn given(user_id: u32) -> Self {
        Self::Root { first: user_id, count: 1 }
    }

    fn judge(is_root: bool, status: &str, uid_map: &str, gid_map: &str) -> Self {
        let held = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
            .unwrap_or(0);
        if !is_root || held & NEEDED != NEEDED {
            return Self::Ordinary;
        }
        RANGES
            .into_iter()
            .find(|(first, count)| {
                is_mapped(uid_map, *first, *count) && is_mapped(gid_map, *first, *count)
            })
            .map_or(Self::Ordinary, |(first, count)| Self::Root { first, count })
    }

    /// The identity for an environment: stable for its name, and not one of those `taken`.
    pub(crate) fn identity(self, name: &str, taken: impl Fn(u32) -> bool) -> Identity {
        match self {
            Self::Ordinary => Identity {
                outside_uid: rustix::process::geteuid().as_raw(),
                outside_gid: rustix::process::getegid().as_raw(),
                by_root: false,
            },
            Self::Root { first, count } => {
                let mut hasher = DefaultHasher::new();
                name.hash(&mut hasher);
                let start = u32::try_from(hasher.finish() % u64::from(count)).unwrap_or(0);
                let id = (0..count)
                    .map(|step| first + (start + step) % count)
                    .find(|id| !taken(*id))
                    .unwrap_or(first + start);
                Identity { outside_uid: id, outside_gid: id, by_root: true }
            }
        }
    }
}

impl Identity {
    /// The `uid_map` of the environment's user namespace.
    pub(crate) fn uid_map(&self, inside: u32) -> String {
        format!("{inside} {} 1\n", self.outside_uid)
    }

    /// The `gid_map` of the environment's user namespace.
    pub(crate) fn gid_map(&self, inside: u32) -> String {
        format!("{inside} {} 1\n", self.outside_gid)
    }
}

/// Whether a range of ids means something in this process's own user namespace.
fn is_mapped(map: &str, first: u32, count: u32) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u64>);
        match (fields.next(), fields.next(), fields.next()) {
            (Some(Ok(inside)), Some(Ok(_)), Some(Ok(length))) => {
                u64::from(first) >= inside && u64::from(first) + u64::from(count) <= inside + length
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "CapEff:\t000001ffffffffff\n";
    const HOST: &str = "         0          0 4294967295\n";

    #[test]
    fn only_root_with_capabilities_and_spare_ids_gives_files_away() {
        let cases = [
            (
                Power::judge(true, ALL, HOST, HOST),
                Power::Root { first: 1_900_000_000, count: 65_536 },
            ),
            (
                Power::judge(true, ALL, "0 100000 65536\n", "0 100000 65536\n"),
                Power::Root { first: 61_184, count: 4_000 },
            ),
            (Power::judge(true, ALL, "0 1001 1\n", "0 1001 1\n"), Power::Ordinary),
            (Power::judge(true, "CapEff:\t00000000a80425fb\n", HOST, HOST), Power::Ordinary),
            (Power::judge(false, ALL, HOST, HOST), Power::Ordinary),
        ];
        for (seen, expected) in cases {
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn two_environments_never_share_an_identity() {
        let power = Power::Root { first: 10, count: 3 };
        let one = power.identity("same", |_| false);
        let two = power.identity("same", |id| id == one.outside_uid);
        assert_ne!(one.outside_uid, two.outside_uid);
    }
}
