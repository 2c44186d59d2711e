//! Parts of a whole as the file says them: `90%`, `>=90%`, `>20%`; and `1 or 50%`. Kept as millionths, so
//! that comparing is exact.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A whole, in the unit of [`Share`].
const WHOLE: u32 = 1_000_000;

/// A part of a whole, from nothing to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

/// A number of things, or a part of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Amount {
    /// So many.
    Count(u32),
    /// So large a part.
    Share(Share),
}

/// A text that says no part of a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a part of a whole: write a percentage from 0% to 100%, like `90%` or `12.5%`"
)]
pub struct InvalidShare(String);

impl Share {
    /// All of it.
    pub const ALL: Self = Self(WHOLE);

    /// So many percent; at most all.
    pub const fn percent(percent: u32) -> Self {
        let millionths = percent.saturating_mul(WHOLE / 100);
        Self(if millionths < WHOLE { millionths } else { WHOLE })
    }

    /// As a number from 0 to 1.
    pub fn as_fraction(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }

    /// Whether `part` is at least this of `whole`. Of nothing, nothing is enough.
    pub fn is_reached(self, part: u32, whole: u32) -> bool {
        u64::from(part) * u64::from(WHOLE) >= u64::from(self.0) * u64::from(whole)
    }

    /// The least number that is at least this of `whole`.
    pub fn of(self, whole: u32) -> u32 {
        let least = (u64::from(self.0) * u64::from(whole)).div_ceil(u64::from(WHOLE));
        u32::try_from(least).unwrap_or(whole)
    }
}

impl Amount {
    /// How many of `whole` that is; never more than there are.
    pub fn of(self, whole: u32) -> u32 {
        match self {
            Self::Count(count) => count.min(whole),
            Self::Share(share) => share.of(whole),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / (WHOLE / 100), self.0 % (WHOLE / 100));
        let text = format!("{whole}.{rest:04}");
        write!(f, "{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl FromStr for Share {
    type Err = InvalidShare;

    /// Reads a percentage. A comparison in front (`>=`, `>`) is for people and changes nothing: a field
    /// says by itself in which direction it counts.
    fn from_str(text: &str) -> Result<Self, InvalidShare> {
        let invalid = || InvalidShare(text.chars().take(40).collect());
        let number = text.trim().trim_start_matches('>').trim_start_matches('=').trim_start();
        let number = number.strip_suffix('%').ok_or_else(invalid)?.trim_end();
        let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| {
            !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit())
        };
        if !digits(whole) || !digits(rest) {
            return Err(invalid());
        }
        let whole: u32 = whole.parse().map_err(|_| invalid())?;
        let rest: u32 = format!("{rest:0<4}").parse().map_err(|_| invalid())?;
        match whole * (WHOLE / 100) + rest {
            millionths @ 0..=WHOLE => Ok(Self(millionths)),
            _ => Err(invalid()),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Share(share) => write!(f, "{share}"),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Share(share) => share.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Word {
            Count(u32),
            Text(String),
        }
        let text = match Word::deserialize(deserializer) {
            Ok(Word::Count(count)) => return Ok(Self::Count(count)),
            Ok(Word::Text(text)) => text,
            Err(_) => {
                return Err(de::Error::custom(
                    "give a number like `3`, or a percentage like `50%`",
                ));
            }
        };
        match text.trim().parse() {
            Ok(count) => Ok(Self::Count(count)),
            Err(_) => text.parse().map(Self::Share).map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_exactly_and_said_as_it_was_meant() {
        for (text, said) in
            [("90%", "90%"), (">=90%", "90%"), ("> 12.5 %", "12.5%"), ("0.0001%", "0.0001%")]
        {
            assert_eq!(text.parse::<Share>().expect("a share").to_string(), said);
        }
        for text in ["", "90", "101%", "100.0001%", "-1%", "1e1%", "%", "<5%", "1.23456%", "99999%"]
        {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        assert_eq!(Share::percent(250), Share::ALL);
    }

    #[test]
    fn a_part_of_a_number_is_rounded_up_and_compared_without_rounding() {
        let third: Share = "33.3333%".parse().expect("a share");
        assert_eq!((third.of(3), third.of(0), Share::percent(10).of(11)), (1, 0, 2));
        assert!(Share::percent(90).is_reached(9, 10) && !Share::percent(90).is_reached(8, 9));
        assert!(Share::ALL.is_reached(0, 0));
    }

    #[test]
    fn an_amount_is_a_number_or_a_part() {
        let read = |json: &str| serde_json::from_str::<Amount>(json).ok();
        assert_eq!(read("3"), Some(Amount::Count(3)));
        assert_eq!(read("\"3\""), Some(Amount::Count(3)));
        assert_eq!(read("\"50%\""), Some(Amount::Share(Share::percent(50))));
        assert_eq!((read("-1"), read("\"many\""), read("1.5")), (None, None, None));
        assert_eq!((Amount::Count(9).of(4), Amount::Share(Share::percent(50)).of(5)), (4, 3));
    }
}
