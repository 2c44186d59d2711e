//! A schedule at work: with its blackouts, its jitter, and what becomes of fires that were missed. Nothing
//! is remembered here: whoever asks says which fire was the last that was handled.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Blackout, Missed, Schedule, ScheduleSettings, time, whole_second};
use crate::{Duration, Time};

/// The most fires that [`Calendar::due`] has started at once after an absence.
pub const MOST_AT_ONCE: usize = 100;

/// How many missed fires are counted before "at least" has to do.
const MOST_COUNTED: usize = 1_000;

/// How many blackouts in a row are looked behind before a schedule counts as one that never fires. For a
/// schedule of one fire a week, that is nineteen years.
const MOST_BLACKOUTS: usize = 1_000;

/// The fires of one trigger.
#[derive(Clone, Debug)]
pub struct Calendar {
    schedule: Schedule,
    jitter: Duration,
    blackout: Vec<Blackout>,
    missed: Missed,
    key: String,
}

/// One fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fire {
    /// When the schedule fires. This names the fire: there is one at most for each moment.
    pub at: Time,
    /// When to start, which jitter may have made later.
    pub starts_at: Time,
}

/// What is to be done now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// What to start, in order.
    pub fires: Vec<Fire>,
    /// What was missed, for whoever has to be told.
    pub missed: Option<MissedFires>,
    /// Up to this fire all is handled; None if nothing was due. The next call's `last`.
    pub handled: Option<Time>,
}

/// Fires at which nothing was started in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedFires {
    /// How many there were.
    pub count: usize,
    /// They were not counted to the end: there were more.
    pub and_more: bool,
    /// The first.
    pub first: Time,
    /// The last.
    pub last: Time,
    /// For how many of them nothing is started now either.
    pub dropped: usize,
}

impl Calendar {
    /// The fires of a trigger. `key` is its id: the same key has the same jitter always.
    pub fn new(settings: &ScheduleSettings, key: impl Into<String>) -> Self {
        Self {
            schedule: Schedule::new(settings.cron.clone(), settings.timezone.clone()),
            jitter: settings.jitter,
            blackout: settings.blackout.clone(),
            missed: settings.missed,
            key: key.into(),
        }
    }

    /// The schedule itself, without blackouts and jitter.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The first fire after `after`. None if it doesn't fire any more, as far as can be seen.
    pub fn next_after(&self, after: Time) -> Option<Fire> {
        let mut after = after;
        for _ in 0..MOST_BLACKOUTS {
            let at = self.schedule.next_after(after)?;
            match self.blackout_around(at) {
                None => return Some(self.fire(at)),
                // A fire at the end of the blackout is outside of it.
                Some((_, end)) => after = end - Duration::from_micros(1),
            }
        }
        None
    }

    /// The next `n` fires after `after`.
    pub fn upcoming(&self, after: Time, n: usize) -> Vec<Fire> {
        let first = self.next_after(after);
        std::iter::successors(first, |last| self.next_after(last.at)).take(n).collect()
    }

    /// What is to be started at `now`, when all fires up to `last` were handled (for a trigger that is new or
    /// was changed or paused, the moment from which it counts). A fire counts as missed when it should have started longer than `grace` ago.
    pub fn due(&self, last: Time, now: Time, grace: Duration) -> Due {
        let (mut latest, more) = self.started_between(last, now);
        let Some(handled) = latest.last().map(|fire| fire.at) else { return Due::default() };
        let in_time = latest.partition_point(|fire| fire.starts_at + grace < now);
        let mut fires = latest.split_off(in_time);
        let missed = latest;
        let started = match self.missed {
            Missed::Skip => 0,
            Missed::Once => usize::from(fires.is_empty()),
            Missed::All => MOST_AT_ONCE.saturating_sub(fires.len()),
        }
        .min(missed.len());
        let report = missed.last().zip(missed.first()).map(|(newest, oldest)| MissedFires {
            count: missed.len(),
            and_more: more,
            first: if more {
                self.next_after(last).map_or(oldest.at, |fire| fire.at)
            } else {
                oldest.at
            },
            last: newest.at,
            dropped: missed.len() - started,
        });
        fires.splice(..0, missed[missed.len() - started..].iter().copied());
        Due { fires, missed: report, handled: Some(handled) }
    }

    /// The latest fires after `last` that should have started by `now`, in order, and whether there are more
    /// before them.
    fn started_between(&self, last: Time, now: Time) -> (Vec<Fire>, bool) {
        let mut fires = Vec::new();
        let mut until = now;
        let mut blackouts = 0;
        while let Some(at) = self.schedule.last_until(until).filter(|at| *at > last) {
            until = at - Duration::from_micros(1);
            if let Some((begin, _)) = self.blackout_around(at) {
                until = begin - Duration::from_micros(1);
                blackouts += 1;
                if blackouts == MOST_BLACKOUTS {
                    fires.reverse();
                    return (fires, true);
                }
                continue;
            }
            let fire = self.fire(at);
            if fire.starts_at > now {
                continue;
            }
            if fires.len() == MOST_COUNTED {
                fires.reverse();
                return (fires, true);
            }
            fires.push(fire);
        }
        fires.reverse();
        (fires, false)
    }

    fn fire(&self, at: Time) -> Fire {
        if self.jitter == Duration::default() {
            return Fire { at, starts_at: at };
        }
        let room = self.schedule.next_after(at).map_or(self.jitter, |next| next.since(at));
        let starts_at = at + delay(&self.key, at, self.jitter.min(room));
        // Jitter doesn't lead into a blackout.
        let starts_at = if self.blackout_around(starts_at).is_some() { at } else { starts_at };
        Fire { at, starts_at }
    }

    /// The blackout that covers this moment: when it began, and when it is over.
    fn blackout_around(&self, at: Time) -> Option<(Time, Time)> {
        if self.blackout.is_empty() {
            return None;
        }
        let second = whole_second(at).ok()?;
        let zone = self.schedule.zone();
        let mut windows = self.blackout.iter().filter_map(|window| window.around(zone, second));
        windows.next().map(|(begin, end)| (time(begin), time(end)))
    }
}

/// From nothing to just before `most`, by the key and the fire alone: alike on every machine and in every
/// version, so that a restart doesn't start anything a second time.
fn delay(key: &str, at: Time, most: Duration) -> Duration {
    let Ok(most) = u64::try_from(most.as_micros()) else { return Duration::default() };
    if most == 0 {
        return Duration::default();
    }
    let mut hash = Sha256::new();
    hash.update(at.as_micros().to_be_bytes());
    hash.update(key.as_bytes());
    let digest = hash.finalize();
    let number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    Duration::from_micros(i64::try_from(number % most).unwrap_or(0))
}
