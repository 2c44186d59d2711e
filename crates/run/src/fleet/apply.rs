//! Events to state: the only way in which a state changes. Total: an event that was once written is always
//! taken.

use std::collections::BTreeMap;

use crate::{
    Time,
    fleet::{
        Event, Failures, Hold, Operation, Phase, REMEMBERED, Retry, Review, Ring, Spent, State,
        Watched, Which, Window,
    },
    job::Outcome,
    run::Tally,
};

impl State {
    /// The state right after its first event; absent if that is not [`Event::Opened`].
    pub fn begin(opened: &Event, at: Time) -> Option<Self> {
        let Event::Opened { plan, rings, by } = opened else { return None };
        let ring = |&targets: &u32| Ring { targets, planned: targets, ..Ring::default() };
        Some(Self {
            watched: vec![Watched::default(); plan.rollout.stop_when.len()],
            plan: plan.clone(),
            by: by.clone(),
            opened_at: at,
            phase: Phase::Going,
            hold: None,
            ring: 0,
            rings: rings.iter().map(ring).collect(),
            pace: Window::default(),
            paces: BTreeMap::new(),
            waits: BTreeMap::new(),
            spent: Spent::default(),
            jobs_ended: 0,
            retries: Vec::new(),
            operations: Vec::new(),
            n_operations: 0,
        })
    }

    /// The state after all of a journal; absent if the journal is empty or does not begin with
    /// [`Event::Opened`].
    pub fn fold<'a>(journal: impl IntoIterator<Item = (Time, &'a Event)>) -> Option<Self> {
        let mut journal = journal.into_iter();
        let (at, opened) = journal.next()?;
        let mut state = Self::begin(opened, at)?;
        for (at, event) in journal {
            state.apply(event, at);
        }
        Some(state)
    }

    /// Takes an event that happened at that time.
    pub fn apply(&mut self, event: &Event, at: Time) {
        match event {
            Event::Opened { .. } => {}
            Event::Admitted { ring, count } => self.change_ring(*ring, |ring| {
                let count = (*count).min(ring.planned);
                ring.planned -= count;
                ring.running += count;
            }),
            Event::JobEnded { ring, outcome, kind, trouble, spent } => {
                self.spent.tokens = self.spent.tokens.saturating_add(spent.tokens);
                self.spent.micro_usd = self.spent.micro_usd.saturating_add(spent.micro_usd);
                self.jobs_ended = self.jobs_ended.saturating_add(1);
                self.see_end(*outcome, *trouble);
                self.change_ring(*ring, |ring| {
                    ring.running = ring.running.saturating_sub(1);
                    ring.ended_at = Some(ring.ended_at.map_or(at, |before| before.max(at)));
                    match (kind, trouble, outcome) {
                        (Some(kind), Some(trouble), _) => {
                            let failures = ring.failures.entry(kind.clone());
                            failures.or_insert(Failures { count: 0, trouble: *trouble }).count += 1;
                        }
                        (_, _, Outcome::Skipped) => ring.skipped += 1,
                        _ => ring.succeeded += 1,
                    }
                });
            }
            Event::ChangeOpened { ring, forge, verified } => {
                self.pace.record(at);
                if self.plan.limits.forges.contains_key(forge) {
                    self.paces.entry(forge.clone()).or_default().record(at);
                }
                self.change_ring(*ring, |ring| {
                    ring.changes.open += 1;
                    ring.changes.verified += u32::from(*verified);
                });
            }
            Event::Moved { ring, from, to } => {
                self.see_review(from.review, to.review);
                self.change_ring(*ring, |ring| {
                    let before = ring.changes.count_mut(from.review);
                    *before = before.saturating_sub(1);
                    *ring.changes.count_mut(to.review) += 1;
                    let verified = ring.changes.verified.saturating_sub(u32::from(from.verified));
                    ring.changes.verified = verified + u32::from(to.verified);
                });
            }
            Event::ForgeWaits { forge, until } => {
                self.waits.retain(|_, until| *until > at);
                self.waits.insert(forge.clone(), *until);
            }
            Event::Paused { by, reason } => {
                self.hold = Some(Hold { by: Some(by.clone()), reason: reason.clone(), since: at });
            }
            Event::Stopped { reason, .. } => {
                self.hold = Some(Hold { by: None, reason: reason.clone(), since: at });
            }
            Event::Resumed { .. } => {
                if self.hold.take().is_some_and(|hold| hold.by.is_none()) {
                    self.watched.fill(Watched::default());
                }
            }
            Event::Cancelled { by, reason } => {
                self.hold = None;
                let hold = Hold { by: Some(by.clone()), reason: reason.clone(), since: at };
                self.phase = Phase::Cancelled(hold);
            }
            Event::Retried { which, instruction, by, count } => {
                self.plan_again(which);
                if let Phase::Settled { .. } = self.phase {
                    // A person has seen how it ended; what the rules saw is no reason against trying again.
                    self.watched.fill(Watched::default());
                    self.phase = Phase::Going;
                }
                let (which, instruction) = (which.clone(), instruction.clone());
                self.retries.push(Retry { which, instruction, by: by.clone(), count: *count, at });
                forget(&mut self.retries);
            }
            Event::RingOpened { ring, .. } => {
                self.ring = *ring;
                self.see_ring();
            }
            Event::Operated { number, what, of, by } => {
                self.n_operations = *number;
                let (number, what, of, by) = (*number, *what, *of, by.clone());
                self.operations.push(Operation { number, what, of, done: 0, failed: 0, by, at });
                forget(&mut self.operations);
            }
            Event::Progressed { number, done, failed } => {
                if let Some(known) =
                    self.operations.iter_mut().find(|known| known.number == *number)
                {
                    known.done += done;
                    known.failed += failed;
                }
            }
            Event::Settled => {
                self.hold = None;
                self.phase = Phase::Settled { since: at };
            }
        }
    }

    /// What its jobs together say, as for any run. After a cancel, what was never begun is cancelled.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for ring in &self.rings {
            tally.jobs += ring.targets;
            tally.begun += ring.targets - ring.planned;
            tally.succeeded += ring.succeeded;
            tally.skipped += ring.skipped;
            for failures in ring.failures.values() {
                match failures.trouble {
                    crate::fleet::Trouble::GaveUp => tally.gave_up += failures.count,
                    crate::fleet::Trouble::Stopped => tally.cancelled += failures.count,
                    _ => tally.failed += failures.count,
                }
            }
            if let Phase::Cancelled(_) = self.phase {
                tally.cancelled += ring.planned;
            }
        }
        tally
    }

    /// The changes of all rings.
    pub fn count_changes(&self, review: Review) -> u32 {
        self.rings.iter().map(|ring| ring.changes.count(review)).sum()
    }

    fn plan_again(&mut self, which: &Which) {
        for ring in &mut self.rings {
            let mut count = 0;
            ring.failures.retain(|kind, failures| {
                let again = which.is(kind, failures.trouble);
                count += if again { failures.count } else { 0 };
                !again
            });
            ring.planned += count;
        }
    }

    fn change_ring(&mut self, ring: u16, change: impl FnOnce(&mut Ring)) {
        if let Some(ring) = self.rings.get_mut(usize::from(ring)) {
            change(ring);
        }
    }
}

fn forget<T>(list: &mut Vec<T>) {
    list.drain(..list.len().saturating_sub(REMEMBERED));
}
