//! Time zones by their IANA names, from the database that is part of the binary: what is installed on a
//! machine must not decide when something fires.

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase},
};
use serde::{Deserialize, Serialize};

use crate::Time;

/// A time zone with a name, such as `Europe/Berlin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// A name that is no time zone's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no time zone: {remedy}")]
pub struct UnknownZone {
    /// What was written.
    pub name: String,
    /// What would do.
    pub remedy: String,
}

/// Where a reading of the clock on the wall stands in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// It comes once.
    Once(Timestamp),
    /// The clock was put forward past it, at this moment.
    Skipped(Timestamp),
    /// The clock was put back: it comes at these two moments. `end` is the first reading after it that comes
    /// only once again.
    Twice { first: Timestamp, second: Timestamp, end: DateTime },
}

impl Zone {
    /// Universal time, whose clock is never changed.
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    /// Its name, as the database spells it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The moment in RFC 3339 with the zone's offset at that moment. None beyond the year 9999.
    pub fn rfc3339(&self, time: Time) -> Option<String> {
        self.formatted(time, "%Y-%m-%dT%H:%M:%S%.f%:z")
    }

    /// The moment for people: with its weekday, and the zone's offset. None beyond the year 9999.
    pub fn for_people(&self, time: Time) -> Option<String> {
        self.formatted(time, "%a %Y-%m-%d %H:%M:%S%.f %:z %Z")
    }

    fn formatted(&self, time: Time, format: &str) -> Option<String> {
        let at = Timestamp::from_microsecond(time.as_micros()).ok()?;
        // RFC 3339 can't say the odd seconds that offsets had long ago.
        let is_sayable = self.offset(at).seconds() % 60 == 0;
        let zone = if is_sayable { self.zone.clone() } else { TimeZone::UTC };
        Some(at.to_zoned_datetime(zone).strftime(format).to_string())
    }

    pub(super) fn offset(&self, at: Timestamp) -> Offset {
        self.zone.to_offset(at)
    }

    pub(super) fn local(&self, at: Timestamp) -> DateTime {
        self.offset(at).to_datetime(at)
    }

    /// The next moment at which the clock is changed, after this one.
    pub(super) fn change_after(&self, at: Timestamp) -> Option<Timestamp> {
        self.zone.following(at).next().map(|change| change.timestamp())
    }

    /// The last moment at which the clock was changed, up to this one.
    pub(super) fn change_until(&self, at: Timestamp) -> Option<Timestamp> {
        let beyond = at.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
        self.zone.preceding(beyond).next().map(|change| change.timestamp())
    }

    /// Where a reading stands. None at the very ends of time.
    pub(super) fn reading(&self, local: DateTime) -> Option<Reading> {
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => {
                Some(Reading::Once(offset.to_timestamp(local).ok()?))
            }
            AmbiguousOffset::Gap { before, .. } => {
                // With the old offset, the reading is at or after the moment of the change.
                Some(Reading::Skipped(self.change_until(before.to_timestamp(local).ok()?)?))
            }
            AmbiguousOffset::Fold { before, after } => {
                let second = after.to_timestamp(local).ok()?;
                let end = before.to_datetime(self.change_until(second)?);
                Some(Reading::Twice { first: before.to_timestamp(local).ok()?, second, end })
            }
        }
    }
}

/// In the database, the zone of a machine that was never told where it is.
const NOWHERE: &str = "Factory";

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        let database = TimeZoneDatabase::bundled();
        match database.get(name) {
            Ok(zone) if !zone.is_unknown() && zone.iana_name() != Some(NOWHERE) => {
                let name = zone.iana_name().unwrap_or(name).to_owned();
                Ok(Self { name, zone })
            }
            Ok(_) | Err(_) => Err(unknown(name, &database)),
        }
    }
}

impl TryFrom<String> for Zone {
    type Error = UnknownZone;

    fn try_from(name: String) -> Result<Self, UnknownZone> {
        name.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Says which name may have been meant. People often know the city only.
fn unknown(name: &str, database: &TimeZoneDatabase) -> UnknownZone {
    let wanted = name.trim().to_lowercase().replace(' ', "_");
    let distance = |known: &str| {
        let known = known.to_lowercase();
        let city = known.rsplit('/').next().unwrap_or(&known);
        let whole = strsim::damerau_levenshtein(&wanted, &known);
        whole.min(strsim::damerau_levenshtein(&wanted, city))
    };
    let nearest = database
        .available()
        .filter(|known| known.as_str() != NOWHERE)
        .map(|known| (distance(known.as_str()), known.as_str().to_owned()))
        .min();
    let is_offset =
        wanted.starts_with(['+', '-']) || wanted.as_bytes().first().is_some_and(u8::is_ascii_digit);
    let remedy = match nearest {
        _ if is_offset => {
            "an offset doesn't say when clocks change: name a place, as in Europe/Berlin, or UTC"
                .to_owned()
        }
        Some((distance, nearest)) if distance <= 1 + wanted.chars().count() / 3 => {
            format!("did you mean {nearest}?")
        }
        Some(_) | None => "use an IANA name, as in Europe/Berlin, or UTC".to_owned(),
    };
    UnknownZone { name: name.to_owned(), remedy }
}
