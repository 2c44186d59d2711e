//! The stated rules, the slow way: a clock on the wall that is watched minute by minute (or second by
//! second), with calendar arithmetic of its own. Only the zone's offsets come from the database.

use jiff::{Timestamp, tz::TimeZone};

use crate::generate::{BOUNDS, Expression, Item};

/// Seconds since 1970, and the offset of the zone's clock then.
pub(crate) fn offset(zone: &TimeZone, at: i64) -> i64 {
    let at = Timestamp::from_second(at).expect("not too far");
    i64::from(zone.to_offset(at).seconds())
}

/// The changes of the clock between two moments: when, and by how many seconds it was put forward.
pub(crate) fn changes(zone: &TimeZone, from: i64, to: i64) -> Vec<(i64, i64)> {
    let begin = Timestamp::from_second(from).expect("not too far");
    zone.following(begin)
        .map(|change| change.timestamp().as_second())
        .take_while(|at| *at <= to)
        .map(|at| (at, offset(zone, at) - offset(zone, at - 1)))
        .filter(|(_, by)| *by != 0)
        .collect()
}

/// All fires from `from` to `to`, both included, watched each `step` seconds. The clock must not be changed
/// shortly before `from`.
pub(crate) fn fires(
    expression: &Expression,
    zone: &TimeZone,
    from: i64,
    to: i64,
    step: i64,
) -> Vec<i64> {
    let matcher = Matcher::new(expression);
    let mut fires = Vec::new();
    // Up to here, the clock has shown every reading, or has left it out.
    let mut shown = from + offset(zone, from) - step;
    let mut day = (i64::MIN, false);
    for at in (from..=to).step_by(step as usize) {
        let local = at + offset(zone, at);
        if expression.repeats() {
            if matcher.matches(local, &mut day) {
                fires.push(at);
            }
            continue;
        }
        let mut reading = shown + step;
        let mut has_fired = false;
        while reading <= local {
            has_fired |= matcher.matches(reading, &mut day);
            reading += step;
        }
        if has_fired {
            fires.push(at);
        }
        shown = shown.max(local);
    }
    fires
}

/// The plain fields as tables; the days are worked out.
struct Matcher<'a> {
    expression: &'a Expression,
    seconds: Vec<bool>,
    minutes: Vec<bool>,
    hours: Vec<bool>,
}

impl<'a> Matcher<'a> {
    fn new(expression: &'a Expression) -> Self {
        let table = |field: usize| {
            (0..=BOUNDS[field].1).map(|value| has_plain(expression, field, value)).collect()
        };
        Self { expression, seconds: table(0), minutes: table(1), hours: table(2) }
    }

    /// `day` remembers the last answer for a day.
    fn matches(&self, local: i64, day: &mut (i64, bool)) -> bool {
        let (date, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        let is_time = self.minutes[(second / 60 % 60) as usize]
            && self.hours[(second / 3_600) as usize]
            && self.seconds[(second % 60) as usize];
        if !is_time {
            return false;
        }
        if day.0 != date {
            *day = (date, has_day(self.expression, date));
        }
        day.1
    }
}

fn has_plain(expression: &Expression, field: usize, value: i64) -> bool {
    let (least, most) = BOUNDS[field];
    let is_in = |item: Item, value: i64| match item {
        Item::All { step } => (value - least) % step == 0,
        Item::Any => true,
        Item::One(one) => value == one,
        Item::Range { from, to, step } => {
            (from..=to).contains(&value) && (value - from) % step == 0
        }
        Item::From { from, step } => (from..=most).contains(&value) && (value - from) % step == 0,
        Item::BeforeLast(_)
        | Item::Nearest(_)
        | Item::LastWorkingDay
        | Item::Nth { .. }
        | Item::LastOf(_) => false,
    };
    // Sunday is 7 where it ends something.
    let is_sunday = field == 5 && value == 0;
    let mut items = expression.fields[field].iter();
    items.any(|item| {
        let is_star = matches!(item, Item::All { .. });
        is_in(*item, value) || (is_sunday && !is_star && is_in(*item, 7))
    })
}

/// Whether the days' fields and the month match a day, counted from 1970.
fn has_day(expression: &Expression, date: i64) -> bool {
    let (month, day) = civil(date);
    let weekday = weekday(date);
    let last = (28..=31).rev().find(|last| civil(date - day + last).0 == month).expect("a length");
    let is_working =
        |day_of_month: i64| (1..=5).contains(&self::weekday(date - day + day_of_month));
    // The nearest one within the month, the earlier one of two.
    let nearest = |wanted: i64| {
        let near = (1..=last).filter(|near| is_working(*near));
        near.min_by_key(|near| ((near - wanted).abs(), *near))
    };
    let in_month = expression.fields[3].iter().any(|item| match *item {
        Item::BeforeLast(before) => day == last - before,
        Item::Nearest(wanted) => wanted <= last && nearest(wanted) == Some(day),
        Item::LastWorkingDay => (1..=last).rev().find(|late| is_working(*late)) == Some(day),
        _ => false,
    });
    let in_week = expression.fields[5].iter().any(|item| match *item {
        Item::Nth { weekday: wanted, nth } => weekday == wanted && (day - 1) / 7 + 1 == nth,
        Item::LastOf(wanted) => weekday == wanted && civil(date + 7).0 != month,
        _ => false,
    });
    let in_month = in_month || has_plain(expression, 3, day);
    let in_week = in_week || has_plain(expression, 5, weekday);
    let is_day = if expression.needs_both() { in_month && in_week } else { in_month || in_week };
    is_day && has_plain(expression, 4, month)
}

/// Sunday is 0; 1 January 1970 was a Thursday.
fn weekday(date: i64) -> i64 {
    (date + 4).rem_euclid(7)
}

/// Month and day, by counting.
fn civil(date: i64) -> (i64, i64) {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut rest) = (1970, date);
    while rest < 0 {
        year -= 1;
        rest += if is_leap(year) { 366 } else { 365 };
    }
    while rest >= if is_leap(year) { 366 } else { 365 } {
        rest -= if is_leap(year) { 366 } else { 365 };
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    for (n, days) in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate()
    {
        if rest < days {
            return (n as i64 + 1, rest + 1);
        }
        rest -= days;
    }
    unreachable!("a year has twelve months")
}
