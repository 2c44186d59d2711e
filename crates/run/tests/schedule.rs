//! Schedules as those who write automations meet them: what expressions mean, what happens when clocks
//! change, what is refused and with which words.

#[path = "schedule/agenda.rs"]
mod agenda;
#[path = "schedule/calendar.rs"]
mod calendar;
#[path = "schedule/clocks.rs"]
mod clocks;
#[path = "schedule/expressions.rs"]
mod expressions;
#[path = "schedule/refused.rs"]
mod refused;

use windlass_run::{
    Time,
    schedule::{Schedule, parse_rfc3339},
};

fn schedule(cron: &str, zone: &str) -> Schedule {
    let cron = cron.parse().unwrap_or_else(|error| panic!("{cron:?}: {error}"));
    Schedule::new(cron, zone.parse().expect("a time zone"))
}

fn at(text: &str) -> Time {
    parse_rfc3339(text).expect("a moment")
}

/// The next fires, in RFC 3339 with the zone's offsets.
fn next(cron: &str, zone: &str, from: &str, n: usize) -> Vec<String> {
    let schedule = schedule(cron, zone);
    let fires = schedule.fires_after(at(from)).take(n);
    fires.map(|fire| schedule.zone().rfc3339(fire).expect("before the year 10000")).collect()
}
