//! Moments as people write them.

use crate::Time;

/// A text that names no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no moment: write RFC 3339 with an offset, as in 2026-03-29T01:30:00+01:00 or 2026-03-29T00:30:00Z"
)]
pub struct InvalidMoment {
    /// What was written.
    pub text: String,
}

/// A moment in RFC 3339, in UTC, to the second.
pub fn rfc3339(time: Time) -> String {
    let second = time.as_micros().div_euclid(1_000_000);
    jiff::Timestamp::from_second(second).map_or_else(|_| second.to_string(), |at| at.to_string())
}

/// Reads a moment in RFC 3339. What is finer than a microsecond is cut off, towards the past.
///
/// # Errors
/// If it isn't one, or has no offset.
pub fn parse_rfc3339(text: &str) -> Result<Time, InvalidMoment> {
    let moment: jiff::Timestamp =
        text.parse().map_err(|_| InvalidMoment { text: text.to_owned() })?;
    let micros = moment.as_nanosecond().div_euclid(1_000);
    i64::try_from(micros)
        .map(Time::from_micros)
        .map_err(|_| InvalidMoment { text: text.to_owned() })
}
