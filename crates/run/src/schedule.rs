//! Schedules of automations: when a `schedule` trigger fires. Pure: whoever asks brings the time, and time
//! zones come from the database in the binary, never from the machine. What expressions mean, and what
//! happens on days on which clocks change, is said in `docs/schedules.md`.
//!
//! ```text
//! Cron, Zone, Blackout     what people write; each is made by parsing only, with an error that helps
//! Schedule                 cron + zone: next_after(time), last_until(time)
//! ScheduleSettings         what a trigger says; Calendar::new(settings, key) puts it to work
//! Calendar                 with jitter and blackouts: next_after, upcoming, due(last, now)
//! Agenda                   which of many is due next, at no cost while none is
//! ```

mod agenda;
mod blackout;
mod calendar;
mod cron;
mod moment;
mod search;
mod zone;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Duration, Time};

pub use agenda::Agenda;
pub use blackout::{Blackout, InvalidBlackout};
pub use calendar::{Calendar, Due, Fire, MOST_AT_ONCE, MissedFires};
pub use cron::{Cron, Field, InvalidCron};
pub use moment::{InvalidMoment, parse_rfc3339, rfc3339};
pub use zone::{UnknownZone, Zone};

/// What a `schedule` trigger says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSettings {
    /// When it fires, by the clock on the wall in `timezone`.
    pub cron: Cron,
    /// Where that clock hangs.
    #[serde(default = "Zone::utc")]
    pub timezone: Zone,
    /// Each start is delayed by a part of this, always the same for the same trigger and fire, so that not
    /// everything that fires at midnight starts at once. Never as far as the next fire.
    #[serde(default)]
    pub jitter: Duration,
    /// When it doesn't fire. Such fires are not missed, they are not meant.
    #[serde(default)]
    pub blackout: Vec<Blackout>,
    /// What becomes of fires at which nobody was there to start anything.
    #[serde(default)]
    pub missed: Missed,
}

impl ScheduleSettings {
    /// A schedule without anything special.
    pub fn new(cron: Cron, timezone: Zone) -> Self {
        Self {
            cron,
            timezone,
            jitter: Duration::default(),
            blackout: Vec::new(),
            missed: Missed::default(),
        }
    }
}

/// What becomes of fires that were missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Nothing.
    Skip,
    /// One start stands for them all.
    #[default]
    Once,
    /// Each is started, the latest [`MOST_AT_ONCE`] at most.
    All,
}

/// When something fires: a cron expression, read off the clock of a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    cron: Cron,
    zone: Zone,
}

impl Schedule {
    /// The expression, read in the zone.
    pub fn new(cron: Cron, zone: Zone) -> Self {
        Self { cron, zone }
    }

    /// The expression.
    pub fn cron(&self) -> &Cron {
        &self.cron
    }

    /// The zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The first fire after `after`, never at it. None if there is none before the end of the year 9999.
    pub fn next_after(&self, after: Time) -> Option<Time> {
        let second = match whole_second(after) {
            Ok(second) => second,
            Err(Beyond::Past) => Timestamp::MIN,
            Err(Beyond::Future) => return None,
        };
        search::after(&self.cron, &self.zone, second).map(time)
    }

    /// The last fire up to `until`, or at it.
    pub fn last_until(&self, until: Time) -> Option<Time> {
        let second = match whole_second(until) {
            Ok(second) => second,
            Err(Beyond::Past) => return None,
            Err(Beyond::Future) => Timestamp::MAX,
        };
        search::until(&self.cron, &self.zone, second).map(time)
    }

    /// The fires after `after`, in order.
    pub fn fires_after(&self, after: Time) -> impl Iterator<Item = Time> {
        std::iter::successors(self.next_after(after), |last| self.next_after(*last))
    }
}

/// A time that the calendar doesn't reach: before the year -9999 or after 9999.
enum Beyond {
    Past,
    Future,
}

/// The whole second at or before a time.
fn whole_second(time: Time) -> Result<Timestamp, Beyond> {
    let seconds = time.as_micros().div_euclid(1_000_000);
    Timestamp::from_second(seconds)
        .map_err(|_| if seconds < 0 { Beyond::Past } else { Beyond::Future })
}

fn time(timestamp: Timestamp) -> Time {
    Time::from_micros(timestamp.as_microsecond())
}
