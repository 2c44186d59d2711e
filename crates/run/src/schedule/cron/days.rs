//! Which days of a given month the two fields of days mean. Bit `n` of a month's days is day `n`.

use jiff::civil::{Date, Weekday};

use super::Numbers;

/// The field of the day of the month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MonthDays {
    /// `15`: these days.
    pub(super) days: Numbers,
    /// `L`, `L-3`: these many days before the last.
    pub(super) before_last: Numbers,
    /// `15W`: the working day nearest to these days.
    pub(super) nearest: Numbers,
    /// `LW`: the last working day.
    pub(super) last_working_day: bool,
}

impl MonthDays {
    /// The days of the month that begins on `first`.
    pub(super) fn of(&self, first: Date) -> u32 {
        let last = first.days_in_month();
        let mut days = self.days.0 as u32 & all_until(last);
        for before in 0..last {
            if self.before_last.has(before) {
                days |= 1 << (last - before);
            }
        }
        for day in 1..=last {
            if self.nearest.has(day) {
                days |= 1 << nearest_working_day(first, day);
            }
        }
        if self.last_working_day {
            days |= 1 << nearest_working_day(first, last);
        }
        days
    }
}

/// The field of the day of the week; Sunday is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WeekDays {
    /// `MON`: these weekdays.
    pub(super) every: Numbers,
    /// `MON#2`: for each weekday, which ones of the month.
    pub(super) nth: [Numbers; 7],
    /// `MONL`: the last ones of the month.
    pub(super) last: Numbers,
}

impl WeekDays {
    /// The days of the month that begins on `first`.
    pub(super) fn of(&self, first: Date) -> u32 {
        let last = first.days_in_month();
        let mut days = 0;
        for day in 1..=last {
            let weekday = weekday_of(first, day).to_sunday_zero_offset();
            let nth = (day - 1) / 7 + 1;
            let is_last = day + 7 > last;
            if self.every.has(weekday)
                || self.nth[weekday as usize].has(nth)
                || (is_last && self.last.has(weekday))
            {
                days |= 1 << day;
            }
        }
        days
    }
}

/// Monday to Friday; never leaves the month.
fn nearest_working_day(first: Date, day: i8) -> i8 {
    let last = first.days_in_month();
    match weekday_of(first, day) {
        Weekday::Saturday if day == 1 => 3,
        Weekday::Saturday => day - 1,
        Weekday::Sunday if day == last => day - 2,
        Weekday::Sunday => day + 1,
        Weekday::Monday
        | Weekday::Tuesday
        | Weekday::Wednesday
        | Weekday::Thursday
        | Weekday::Friday => day,
    }
}

fn weekday_of(first: Date, day: i8) -> Weekday {
    first.weekday().wrapping_add(day - 1)
}

fn all_until(last: i8) -> u32 {
    (u32::MAX >> (31 - last)) & !1
}
