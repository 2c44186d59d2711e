//! Moments, spans and amounts as a person reads them: relative with the exact one behind it, always
//! with a unit. The time now is a parameter.

use std::fmt;

use askama::filters::HtmlSafe;
use time::{OffsetDateTime, UtcOffset};
use windlass_run::{Duration, Time};

/// A moment seen from now: `<time>` with the exact time as its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// When.
    pub(crate) at: Time,
    /// The time now.
    pub(crate) now: Time,
}

impl Moment {
    /// A moment, in microseconds since the Unix epoch, seen from now.
    pub(crate) fn new(at: i64, now: Time) -> Self {
        Self { at: Time::from_micros(at), now }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = Calendar::of(self.at);
        write!(
            f,
            "<time datetime=\"{}\" title=\"{exact}\">{}</time>",
            exact.machine(),
            ago(self.at, self.now)
        )
    }
}

impl HtmlSafe for Moment {}

/// How long ago, or how far ahead, in one or two words; a date where that is long.
pub(crate) fn ago(at: Time, now: Time) -> String {
    let ahead = at.since(now).as_micros() / 1_000_000;
    match ahead {
        // Clocks differ a little: that is now.
        ..=9 => {}
        10..=59 => return format!("in {ahead} s"),
        60..=3_599 => return format!("in {} min", ahead / 60),
        3_600..=172_799 => return format!("in {} h", ahead / 3_600),
        172_800..=1_209_599 => return format!("in {} d", ahead / 86_400),
        _ => return Calendar::of(at).date(),
    }
    let seconds = now.since(at).as_micros() / 1_000_000;
    match seconds {
        0..=9 => "just now".to_owned(),
        10..=59 => format!("{seconds} s ago"),
        60..=3_599 => format!("{} min ago", seconds / 60),
        3_600..=86_399 => format!("{} h ago", seconds / 3_600),
        86_400..=1_209_599 => format!("{} d ago", seconds / 86_400),
        _ => Calendar::of(at).date(),
    }
}

/// A span with its unit, as exact as its size deserves.
pub(crate) fn span(duration: Duration) -> String {
    let micros = duration.as_micros().max(0);
    let seconds = micros / 1_000_000;
    match seconds {
        0 if micros < 1_000 => "0 s".to_owned(),
        0 => format!("{} ms", micros / 1_000),
        1..=9 => format!("{}.{} s", seconds, micros / 100_000 % 10),
        10..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600..=172_799 => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A count with its thousands apart: `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A size in bytes with a unit.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..=1_023 => format!("{bytes} B"),
        1_024..=1_048_575 => format!("{}.{} KiB", bytes / 1_024, bytes % 1_024 * 10 / 1_024),
        _ => format!("{}.{} MiB", bytes / 1_048_576, bytes % 1_048_576 * 10 / 1_048_576),
    }
}

/// A span of microseconds that may be a part of a millisecond: `6.1 ms`.
pub(crate) fn micros(micros: u64) -> String {
    match micros {
        0..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => span(Duration::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))),
    }
}

/// A moment on the calendar, in UTC.
struct Calendar(OffsetDateTime);

impl Calendar {
    fn of(at: Time) -> Self {
        let nanos = i128::from(at.as_micros()) * 1_000;
        let at = OffsetDateTime::from_unix_timestamp_nanos(nanos);
        Self(at.unwrap_or(OffsetDateTime::UNIX_EPOCH).to_offset(UtcOffset::UTC))
    }

    fn month(&self) -> &'static str {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        MONTHS[usize::from(u8::from(self.0.month())) - 1]
    }

    fn date(&self) -> String {
        format!("{} {} {}", self.0.day(), self.month(), self.0.year())
    }

    fn machine(&self) -> String {
        let (year, month, day) = (self.0.year(), u8::from(self.0.month()), self.0.day());
        let (hour, minute, second) = self.0.to_hms();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = self.0.to_hms();
        write!(f, "{}, {hour:02}:{minute:02}:{second:02} UTC", self.date())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_767_268_800_000_000;

    #[test]
    fn moments_are_relative_with_the_exact_one_behind() {
        let now = Time::from_micros(NOON);
        let shown = |seconds: i64| Moment::new(NOON - seconds * 1_000_000, now).to_string();
        assert_eq!(
            shown(150),
            "<time datetime=\"2026-01-01T11:57:30Z\" title=\"1 Jan 2026, 11:57:30 UTC\">2 min ago</time>"
        );
        let words = [0, 59, 7_200, 86_400 * 3, 86_400 * 40]
            .map(|seconds| ago(Time::from_micros(NOON - seconds * 1_000_000), now));
        assert_eq!(words, ["just now", "59 s ago", "2 h ago", "3 d ago", "22 Nov 2025"]);
        let ahead = [5, 59, 7_200, 86_400 * 3, 86_400 * 40]
            .map(|seconds| ago(Time::from_micros(NOON + seconds * 1_000_000), now));
        assert_eq!(ahead, ["just now", "in 59 s", "in 2 h", "in 3 d", "10 Feb 2026"]);
    }

    #[test]
    fn spans_and_amounts_have_units_and_groups() {
        let spans = [0, 42_000, 2_340_000, 59_000_000, 125_000_000, 7_500_000_000, 200_000_000_000]
            .map(|micros| span(Duration::from_micros(micros)));
        assert_eq!(
            spans,
            ["0 s", "42 ms", "2.3 s", "59 s", "2 min 05 s", "2 h 05 min", "2 d 07 h"]
        );
        assert_eq!([7, 1_000, 1_234_567].map(count), ["7", "1,000", "1,234,567"]);
        assert_eq!([5, 1_536, 5_000_000].map(size), ["5 B", "1.5 KiB", "4.7 MiB"]);
    }
}
