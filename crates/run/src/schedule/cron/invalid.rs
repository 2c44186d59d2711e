//! What is wrong with a cron expression: where, and what would do.

use std::fmt;

/// A field of a cron expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// 0 to 59; absent from expressions of five fields.
    Second,
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    Day,
    /// 1 to 12, JAN to DEC.
    Month,
    /// 0 to 7, SUN to SAT; 0 and 7 are Sunday.
    Weekday,
}

impl Field {
    /// As it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day of the month",
            Self::Month => "month",
            Self::Weekday => "day of the week",
        }
    }

    /// The least and the largest number.
    pub(super) fn bounds(self) -> (u8, u8) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::Day => (1, 31),
            Self::Month => (1, 12),
            Self::Weekday => (0, 7),
        }
    }

    /// Where `*` stops: Sunday isn't counted twice.
    pub(super) fn end(self) -> u8 {
        if self == Self::Weekday { 6 } else { self.bounds().1 }
    }

    /// The names that numbers of this field have, from its least number on.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &[
                "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
            ],
            Self::Weekday => &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
            Self::Second | Self::Minute | Self::Hour | Self::Day => &[],
        }
    }

    /// What a value may be, for messages.
    pub(super) fn values(self) -> &'static str {
        match self {
            Self::Second | Self::Minute => "a number from 0 to 59",
            Self::Hour => "a number from 0 to 23",
            Self::Day => "a number from 1 to 31",
            Self::Month => "a number from 1 to 12 or JAN to DEC",
            Self::Weekday => "a number from 0 to 7 (0 and 7 are Sunday) or SUN to SAT",
        }
    }
}

/// A cron expression that isn't one, or that would never fire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCron {
    /// In which field, if it is in one.
    pub field: Option<Field>,
    /// At which character of the expression, counted from 1.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// What would do.
    pub remedy: String,
}

impl fmt::Display for InvalidCron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, at, what, remedy } = self;
        match field {
            Some(field) => {
                write!(f, "{} (character {at}): {what}: {remedy}", field.name())
            }
            None => write!(f, "character {at}: {what}: {remedy}"),
        }
    }
}

impl std::error::Error for InvalidCron {}
