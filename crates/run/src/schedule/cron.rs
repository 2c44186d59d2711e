//! Cron expressions as sets of numbers, and the search over calendar and clock alone: no time zone is
//! known here, so nothing is skipped or repeated yet. `docs/schedules.md` has the dialect.

mod days;
mod invalid;
mod parse;

use std::{fmt, str::FromStr};

use jiff::civil::{Date, DateTime, Time};
use serde::{Deserialize, Serialize};

use days::{MonthDays, WeekDays};
pub use invalid::{Field, InvalidCron};

/// The calendar repeats after 400 years, weekdays included. What doesn't come in that time never comes.
const MONTHS_OF_A_CYCLE: u32 = 400 * 12;

/// A cron expression that was understood and that fires some day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    seconds: Numbers,
    minutes: Numbers,
    hours: Numbers,
    months: Numbers,
    days: MonthDays,
    weekdays: WeekDays,
    /// A day must be in both fields, because one of them begins with `*`. Else one of them will do.
    both: bool,
    repeats: bool,
}

impl Cron {
    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it says "every so often" rather than "at this time": the field of the minute or the hour begins
    /// with `*`. It then goes by time that passed, whatever the clocks on the wall do.
    pub fn repeats(&self) -> bool {
        self.repeats
    }

    /// The first reading of calendar and clock that matches, from this one on.
    pub(super) fn first_from(&self, from: DateTime) -> Option<DateTime> {
        if self.has_day(from.date())
            && let Some(time) = self.time_from(from.time())
        {
            return Some(from.date().to_datetime(time));
        }
        let date = self.day_from(from.date().tomorrow().ok()?)?;
        Some(date.to_datetime(self.time_from(Time::midnight())?))
    }

    /// The last reading that matches, up to this one.
    pub(super) fn last_until(&self, until: DateTime) -> Option<DateTime> {
        if self.has_day(until.date())
            && let Some(time) = self.time_until(until.time())
        {
            return Some(until.date().to_datetime(time));
        }
        let date = self.day_until(until.date().yesterday().ok()?)?;
        Some(date.to_datetime(self.time_until(Time::constant(23, 59, 59, 0))?))
    }

    fn has_day(&self, date: Date) -> bool {
        self.days_in(date.year(), date.month()) & (1 << date.day()) != 0
    }

    /// The days of this month that match; bit `n` is day `n`.
    fn days_in(&self, year: i16, month: i8) -> u32 {
        let Ok(first) = Date::new(year, month, 1) else { return 0 };
        if !self.months.has(month) {
            return 0;
        }
        let days = self.days.of(first);
        let weekdays = self.weekdays.of(first);
        if self.both { days & weekdays } else { days | weekdays }
    }

    fn day_from(&self, from: Date) -> Option<Date> {
        let (mut year, mut month) = (from.year(), from.month());
        let mut wanted = u32::MAX << from.day();
        for _ in 0..=MONTHS_OF_A_CYCLE {
            let days = self.days_in(year, month) & wanted;
            if days != 0 {
                return Date::new(year, month, days.trailing_zeros() as i8).ok();
            }
            (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            wanted = u32::MAX;
        }
        None
    }

    fn day_until(&self, until: Date) -> Option<Date> {
        let (mut year, mut month) = (until.year(), until.month());
        let mut wanted = u32::MAX >> (31 - until.day());
        for _ in 0..=MONTHS_OF_A_CYCLE {
            let days = self.days_in(year, month) & wanted;
            if days != 0 {
                return Date::new(year, month, days.ilog2() as i8).ok();
            }
            (year, month) = if month == 1 { (year - 1, 12) } else { (year, month - 1) };
            wanted = u32::MAX;
        }
        None
    }

    fn time_from(&self, from: Time) -> Option<Time> {
        let (hour, minute, second) = (from.hour(), from.minute(), from.second());
        if self.hours.has(hour) {
            if self.minutes.has(minute)
                && let Some(second) = self.seconds.first_from(second)
            {
                return Time::new(hour, minute, second, 0).ok();
            }
            if let Some(minute) = self.minutes.first_from(minute + 1) {
                return Time::new(hour, minute, self.seconds.first_from(0)?, 0).ok();
            }
        }
        let hour = self.hours.first_from(hour + 1)?;
        Time::new(hour, self.minutes.first_from(0)?, self.seconds.first_from(0)?, 0).ok()
    }

    fn time_until(&self, until: Time) -> Option<Time> {
        let (hour, minute, second) = (until.hour(), until.minute(), until.second());
        if self.hours.has(hour) {
            if self.minutes.has(minute)
                && let Some(second) = self.seconds.last_until(second)
            {
                return Time::new(hour, minute, second, 0).ok();
            }
            if let Some(minute) = self.minutes.last_until(minute - 1) {
                return Time::new(hour, minute, self.seconds.last_until(59)?, 0).ok();
            }
        }
        let hour = self.hours.last_until(hour - 1)?;
        Time::new(hour, self.minutes.last_until(59)?, self.seconds.last_until(59)?, 0).ok()
    }
}

impl FromStr for Cron {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, InvalidCron> {
        parse::parse(text)
    }
}

impl TryFrom<String> for Cron {
    type Error = InvalidCron;

    fn try_from(text: String) -> Result<Self, InvalidCron> {
        text.parse()
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A set of numbers from 0 to 63.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Numbers(u64);

impl Numbers {
    fn add(&mut self, number: u8) {
        self.0 |= 1 << number;
    }

    fn has(self, number: i8) -> bool {
        self.0 & (1 << number) != 0
    }

    fn first_from(self, from: i8) -> Option<i8> {
        let rest = self.0.checked_shr(u32::try_from(from).ok()?)?;
        (rest != 0).then(|| from + rest.trailing_zeros() as i8)
    }

    fn last_until(self, until: i8) -> Option<i8> {
        let beyond = 63_u32.checked_sub(u32::try_from(until).ok()?)?;
        let rest = self.0 << beyond;
        (rest != 0).then(|| until - rest.leading_zeros() as i8)
    }
}
