//! Times at which a schedule doesn't fire: windows of the week or the day, and dates. They are readings of
//! the clock on the wall in the schedule's zone, so they move with it when clocks change.

use std::{fmt, str::FromStr};

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, Weekday},
};
use serde::{Deserialize, Serialize};

use super::zone::Zone;

const DAY: i64 = 24 * 60 * 60;

/// One window, as it was written: `Fri 18:00 - Mon 06:00`, `22:00 - 06:00`, `2026-12-24`,
/// `2026-12-24 - 2027-01-02`, or `12-24 - 01-02` for every year.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Blackout {
    text: String,
    window: Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    /// Seconds since the week's Monday, from the first until before the second.
    EachWeek(i64, i64),
    /// Seconds since midnight, from the first until before the second.
    EachDay(i64, i64),
    /// Whole days, both included.
    Dates(Date, Date),
    /// Whole days of each year as (month, day), both included.
    EachYear((i8, i8), (i8, i8)),
}

/// A window that isn't one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no blackout: {what}")]
pub struct InvalidBlackout {
    /// What was written.
    pub text: String,
    /// What is wrong with it and what would do.
    pub what: String,
}

impl Blackout {
    /// The window as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The window around `at`, if `at` is in it: from its first moment until the first one after it. Cut off
    /// where clocks change, since what is beyond has to be read anew.
    pub(super) fn around(&self, zone: &Zone, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let (passed, rest) = self.window.around(zone.local(at))?;
        let begin = at.checked_sub(SignedDuration::from_secs(passed)).ok()?;
        let end = at.checked_add(SignedDuration::from_secs(rest)).ok()?;
        let begin = zone.change_until(at).map_or(begin, |change| change.max(begin));
        let end = zone.change_after(at).map_or(end, |change| change.min(end));
        Some((begin, end))
    }
}

impl Window {
    /// If a reading is in the window: for how many seconds it has been, and for how many more.
    fn around(self, local: DateTime) -> Option<(i64, i64)> {
        match self {
            Self::EachWeek(from, to) => round(second_of_week(local), from, to, 7 * DAY),
            Self::EachDay(from, to) => round(second_of_day(local), from, to, DAY),
            Self::Dates(from, to) => between(local, from, to),
            Self::EachYear(from, to) => {
                let (year, today) = (local.year(), (local.month(), local.day()));
                let (from_year, to_year) = match from <= to {
                    true => (year, year),
                    false if today >= from => (year, year + 1),
                    false => (year - 1, year),
                };
                between(local, day_of(from_year, from)?, day_of(to_year, to)?)
            }
        }
    }
}

fn round(now: i64, from: i64, to: i64, length: i64) -> Option<(i64, i64)> {
    let lasts = (to - from).rem_euclid(length);
    let passed = (now - from).rem_euclid(length);
    (passed < lasts).then_some((passed, lasts - passed))
}

/// Whole days, both included.
fn between(local: DateTime, from: Date, to: Date) -> Option<(i64, i64)> {
    if !(from..=to).contains(&local.date()) {
        return None;
    }
    let days = |from: Date, to: Date| from.duration_until(to).as_hours() / 24;
    let now = second_of_day(local);
    let passed = days(from, local.date()) * DAY + now;
    Some((passed, (days(local.date(), to) + 1) * DAY - now))
}

fn second_of_week(local: DateTime) -> i64 {
    i64::from(local.weekday().to_monday_zero_offset()) * DAY + second_of_day(local)
}

fn second_of_day(local: DateTime) -> i64 {
    i64::from(local.hour()) * 3_600 + i64::from(local.minute()) * 60 + i64::from(local.second())
}

/// 29 February is the 28th in years that don't have it.
fn day_of(year: i16, (month, day): (i8, i8)) -> Option<Date> {
    let first = Date::new(year, month, 1).ok()?;
    Date::new(year, month, day.min(first.days_in_month())).ok()
}

impl FromStr for Blackout {
    type Err = InvalidBlackout;

    fn from_str(text: &str) -> Result<Self, InvalidBlackout> {
        let window =
            parse(text.trim()).map_err(|what| InvalidBlackout { text: text.to_owned(), what })?;
        Ok(Self { text: text.trim().to_owned(), window })
    }
}

const FORMS: &str = "write `Fri 18:00 - Mon 06:00`, `22:00 - 06:00`, `2026-12-24`, \
                     `2026-12-24 - 2027-01-02`, or `12-24 - 01-02` for every year";

/// One end of a window.
#[derive(Clone, Copy)]
enum End {
    OfWeek(Weekday, Option<i64>),
    OfDay(i64),
    Date(Date),
    OfYear((i8, i8)),
}

fn parse(text: &str) -> Result<Window, String> {
    let (from, to) = match text.split_once(" - ") {
        Some((from, to)) => (end(from.trim())?, Some(end(to.trim())?)),
        None => (end(text)?, None),
    };
    match (from, to.unwrap_or(from)) {
        (End::Date(from), End::Date(to)) if from <= to => Ok(Window::Dates(from, to)),
        (End::Date(_), End::Date(_)) => Err("it ends before it begins".to_owned()),
        (End::OfYear(from), End::OfYear(to)) => Ok(Window::EachYear(from, to)),
        (End::OfWeek(from, None), End::OfWeek(to, None)) => {
            let (from, to) = (monday_based(from), monday_based(to) + DAY);
            if (to - from).rem_euclid(7 * DAY) == 0 {
                return Err("it is the whole week: nothing would ever fire".to_owned());
            }
            Ok(Window::EachWeek(from, to % (7 * DAY)))
        }
        (End::OfWeek(..) | End::OfDay(_), _) if to.is_none() => {
            Err(format!("a time of day needs an end: {FORMS}"))
        }
        (End::OfWeek(day, Some(time)), End::OfWeek(to_day, Some(to_time))) => {
            let (from, to) = (monday_based(day) + time, monday_based(to_day) + to_time);
            if from % (7 * DAY) == to % (7 * DAY) {
                return Err("it ends when it begins".to_owned());
            }
            Ok(Window::EachWeek(from, to % (7 * DAY)))
        }
        (End::OfDay(from), End::OfDay(to)) if from % DAY != to % DAY => {
            Ok(Window::EachDay(from, to % DAY))
        }
        (End::OfDay(_), End::OfDay(_)) => Err("it ends when it begins".to_owned()),
        _ => Err(format!("its ends are not of one kind: {FORMS}")),
    }
}

fn monday_based(day: Weekday) -> i64 {
    i64::from(day.to_monday_zero_offset()) * DAY
}

fn end(text: &str) -> Result<End, String> {
    let mut words = text.split_whitespace();
    let (first, second, more) = (words.next().unwrap_or(""), words.next(), words.next());
    if more.is_some() {
        return Err(format!("{text:?} has too many words: {FORMS}"));
    }
    if let Some(day) = weekday(first) {
        return Ok(End::OfWeek(day, second.map(time).transpose()?));
    }
    if second.is_some() {
        return Err(format!("{first:?} is no weekday: {FORMS}"));
    }
    if first.contains(':') {
        return Ok(End::OfDay(time(first)?));
    }
    match first.split('-').collect::<Vec<_>>().as_slice() {
        [year, month, day] => {
            let date = number(year, 4).zip(number(month, 2)).zip(number(day, 2));
            date.and_then(|((year, month), day)| {
                Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
            })
            .map(End::Date)
            .ok_or_else(|| format!("{first:?} is no day of the calendar: {FORMS}"))
        }
        [month, day] => {
            let date = number(month, 2).zip(number(day, 2));
            // A leap year has all the days.
            date.and_then(|(month, day)| {
                let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
                Date::new(2000, month, day).ok().map(|_| End::OfYear((month, day)))
            })
            .ok_or_else(|| format!("{first:?} is no month and day: {FORMS}"))
        }
        _ => Err(format!("{text:?} is not understood: {FORMS}")),
    }
}

/// `SUN`, `Sunday`, in any case.
fn weekday(text: &str) -> Option<Weekday> {
    const NAMES: [(&str, Weekday); 7] = [
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
        ("sunday", Weekday::Sunday),
    ];
    let lower = text.to_ascii_lowercase();
    let found = NAMES.iter().find(|(name, _)| lower == *name || lower == name[..3]);
    found.map(|(_, day)| *day)
}

/// Seconds since midnight of `HH:MM`; 24:00 is the day's end.
fn time(text: &str) -> Result<i64, String> {
    let read = || {
        let (hour, minute) = text.split_once(':')?;
        let (hour, minute) = (number(hour, 2)?, number(minute, 2)?);
        let is_time = (hour < 24 && minute < 60) || (hour == 24 && minute == 0);
        is_time.then(|| i64::from(hour) * 3_600 + i64::from(minute) * 60)
    };
    read().ok_or_else(|| format!("{text:?} is no time of day: write HH:MM, from 00:00 to 24:00"))
}

fn number(text: &str, digits: usize) -> Option<i16> {
    let is_number = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

impl TryFrom<String> for Blackout {
    type Error = InvalidBlackout;

    fn try_from(text: String) -> Result<Self, InvalidBlackout> {
        text.parse()
    }
}

impl From<Blackout> for String {
    fn from(blackout: Blackout) -> Self {
        blackout.text
    }
}

impl fmt::Display for Blackout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
