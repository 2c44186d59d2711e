//! From readings of the clock on the wall to moments. The two rules for days on which clocks change are
//! here and nowhere else:
//!
//! - A schedule for certain times of the day (see `Cron::repeats`) fires once for each of its readings: at the first of two
//!   moments if the reading comes twice, and at the moment of the change if it is skipped (once, however
//!   many of its readings are).
//! - A schedule that repeats fires whenever the clock has one of its readings: twice if it has it twice,
//!   never if the clock skips it. So the time that passes between fires stays the same.
//!
//! Each step goes to the next match or the next change of the clock, never from second to second.

use jiff::{SignedDuration, Timestamp};

use super::{
    cron::Cron,
    zone::{Reading, Zone},
};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The first fire after a whole second.
pub(super) fn after(cron: &Cron, zone: &Zone, second: Timestamp) -> Option<Timestamp> {
    let from = second.checked_add(SECOND).ok()?;
    if cron.repeats() { repeating_from(cron, zone, from) } else { timed_after(cron, zone, second) }
}

/// The last fire up to a whole second, that one included.
pub(super) fn until(cron: &Cron, zone: &Zone, second: Timestamp) -> Option<Timestamp> {
    if cron.repeats() {
        repeating_until(cron, zone, second)
    } else {
        timed_until(cron, zone, second)
    }
}

/// Between two changes of the clock, readings and moments go side by side.
fn repeating_from(cron: &Cron, zone: &Zone, mut from: Timestamp) -> Option<Timestamp> {
    loop {
        let offset = zone.offset(from);
        let change = zone.change_after(from);
        let reading = cron.first_from(offset.to_datetime(from))?;
        match (offset.to_timestamp(reading), change) {
            (Ok(fire), None) => return Some(fire),
            (Ok(fire), Some(change)) if fire < change => return Some(fire),
            (Ok(_) | Err(_), Some(change)) => from = change,
            (Err(_), None) => return None,
        }
    }
}

fn repeating_until(cron: &Cron, zone: &Zone, mut until: Timestamp) -> Option<Timestamp> {
    loop {
        let offset = zone.offset(until);
        let change = zone.change_until(until);
        let reading = cron.last_until(offset.to_datetime(until))?;
        match (offset.to_timestamp(reading), change) {
            (Ok(fire), None) => return Some(fire),
            (Ok(fire), Some(change)) if fire >= change => return Some(fire),
            (Ok(_) | Err(_), Some(change)) => until = change.checked_sub(SECOND).ok()?,
            (Err(_), None) => return None,
        }
    }
}

/// Later readings never have earlier moments here, so the first one beyond is the next fire.
fn timed_after(cron: &Cron, zone: &Zone, second: Timestamp) -> Option<Timestamp> {
    let mut from = zone.local(second).checked_add(SECOND).ok()?;
    loop {
        let reading = cron.first_from(from)?;
        match zone.reading(reading)? {
            Reading::Once(fire) | Reading::Skipped(fire) | Reading::Twice { first: fire, .. }
                if fire > second =>
            {
                return Some(fire);
            }
            // It fired before the clock was put back.
            Reading::Twice { end, .. } => from = end,
            Reading::Once(_) | Reading::Skipped(_) => from = reading.checked_add(SECOND).ok()?,
        }
    }
}

fn timed_until(cron: &Cron, zone: &Zone, second: Timestamp) -> Option<Timestamp> {
    let mut until = zone.local(second);
    if let Some(Reading::Twice { second: again, end, .. }) = zone.reading(until)
        && again <= second
    {
        // All that the clock was put back from has fired.
        until = end.checked_sub(SECOND).ok()?;
    }
    match zone.reading(cron.last_until(until)?)? {
        Reading::Once(fire) | Reading::Skipped(fire) | Reading::Twice { first: fire, .. } => {
            Some(fire)
        }
    }
}
