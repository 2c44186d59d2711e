//! Which rows: the limits that belong to single repositories, owners and forges. A fleet's state has no
//! count for each of thousands of repositories, so whoever has the rows brings what they hold.

use std::collections::BTreeMap;

use crate::{Time, fleet::State};

/// A planned target, as the store offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its repository.
    pub repository: &'a str,
    /// Who would review its change, where that is known.
    pub owner: Option<&'a str>,
    /// Its forge's host.
    pub forge: &'a str,
    /// Whether an earlier job of it left an open change: a retry goes on with that one and adds none.
    pub has_change: bool,
}

/// What repositories and owners have already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Of each repository: its open changes and the jobs that run in it.
    pub repositories: BTreeMap<String, u32>,
    /// Of each owner: the changes that wait for their review and the jobs whose changes will.
    pub owners: BTreeMap<String, u32>,
}

/// What was picked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picked {
    /// The places of the picked candidates, in order.
    pub places: Vec<usize>,
    /// Why the others were passed over.
    pub passed: Passed,
}

/// How many candidates were passed over, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Their repository has as many open changes as it may.
    pub repository: u32,
    /// Their owner has as many reviews waiting as one can take.
    pub owner: u32,
    /// Their forge asked to be left alone.
    pub forge: u32,
    /// When the first of those forges may be asked again.
    pub next_at: Option<Time>,
}

/// Picks at most `count` of the candidates, the first ones first, within the limits of each repository,
/// owner and forge. Those picked count for those after them.
pub fn pick(
    state: &State,
    now: Time,
    count: u32,
    candidates: &[Candidate<'_>],
    load: &Load,
) -> Picked {
    let limits = &state.plan.limits;
    let mut repositories: BTreeMap<&str, u32> = BTreeMap::new();
    let mut owners: BTreeMap<&str, u32> = BTreeMap::new();
    let mut picked = Picked::default();
    for (place, candidate) in candidates.iter().enumerate() {
        if picked.places.len() >= count as usize {
            break;
        }
        let passed = &mut picked.passed;
        if let Some(until) = state.waits.get(candidate.forge).filter(|until| **until > now) {
            passed.forge += 1;
            passed.next_at = Some(passed.next_at.map_or(*until, |next_at| next_at.min(*until)));
            continue;
        }
        if candidate.has_change {
            picked.places.push(place);
            continue;
        }
        let before = load.repositories.get(candidate.repository).copied().unwrap_or(0);
        let in_repository = repositories.entry(candidate.repository).or_insert(before);
        if limits.open_changes_per_repository.is_some_and(|most| *in_repository >= most) {
            passed.repository += 1;
            continue;
        }
        if let Some(owner) = candidate.owner {
            let before = load.owners.get(owner).copied().unwrap_or(0);
            let of_owner = owners.entry(owner).or_insert(before);
            if limits.open_changes_per_owner.is_some_and(|most| *of_owner >= most) {
                passed.owner += 1;
                continue;
            }
            *of_owner += 1;
        }
        *in_repository += 1;
        picked.places.push(place);
    }
    picked
}
