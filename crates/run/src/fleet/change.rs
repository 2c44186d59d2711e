//! Changes: when one may be opened, and how they stand.

use crate::{
    Time,
    fleet::{Change, Changes, Event, Phase, Refusal, Review, State},
};

pub(super) fn open(
    state: &State,
    ring: u16,
    forge: &str,
    verified: bool,
    now: Time,
) -> Result<Vec<Event>, Refusal> {
    if let Phase::Cancelled(_) = state.phase {
        return Err(Refusal::Cancelled);
    }
    if state.rings.get(usize::from(ring)).is_none_or(|ring| ring.running == 0) {
        return Err(Refusal::Illegal { why: format!("no job of ring {} runs", ring + 1) });
    }
    let wait = state.waits.get(forge).filter(|until| **until > now);
    let wait = wait.map(|until| (*until, format!("{forge} asked to be left alone")));
    let all = state.plan.limits.changes_per_hour.map(|most| {
        let free_at = state.pace.free_at(most.saturating_sub(1), now);
        (free_at, format!("{most} changes were opened within an hour"))
    });
    let own = state.plan.limits.forges.get(forge).map(|pace| {
        let most = pace.changes_per_hour;
        let free_at = state
            .paces
            .get(forge)
            .map_or(now, |window| window.free_at(most.saturating_sub(1), now));
        (free_at, format!("{most} changes were opened at {forge} within an hour"))
    });
    let latest = [wait, all, own].into_iter().flatten().max_by_key(|(until, _)| *until);
    match latest {
        Some((until, why)) if until > now => Err(Refusal::NotBefore { until, why }),
        Some(_) | None => Ok(vec![Event::ChangeOpened { ring, forge: forge.to_owned(), verified }]),
    }
}

pub(super) fn moved(
    state: &State,
    ring: u16,
    from: Change,
    to: Change,
) -> Result<Vec<Event>, Refusal> {
    if from == to {
        return Ok(Vec::new());
    }
    let changes = state.rings.get(usize::from(ring)).map(|ring| ring.changes).unwrap_or_default();
    let is_there = changes.count(from.review) > 0 && (!from.verified || changes.verified > 0);
    match is_there {
        true => Ok(vec![Event::Moved { ring, from, to }]),
        false => Err(Refusal::Illegal {
            why: format!("no change of ring {} stands like that", ring + 1),
        }),
    }
}

impl Changes {
    /// How many stand like that.
    pub fn count(&self, review: Review) -> u32 {
        match review {
            Review::Open => self.open,
            Review::SentBack => self.sent_back,
            Review::Approved => self.approved,
            Review::Merged => self.merged,
            Review::Closed => self.closed,
        }
    }

    pub(super) fn count_mut(&mut self, review: Review) -> &mut u32 {
        match review {
            Review::Open => &mut self.open,
            Review::SentBack => &mut self.sent_back,
            Review::Approved => &mut self.approved,
            Review::Merged => &mut self.merged,
            Review::Closed => &mut self.closed,
        }
    }
}
