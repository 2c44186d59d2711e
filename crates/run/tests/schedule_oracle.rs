//! Schedules beside others that answer the same question: a slow clock that is watched minute by minute
//! (the rules as they are stated), the Rust crate `croner`, npm's `cron-parser` and PyPI's `croniter`, over
//! random expressions, zones and dates, and over every change of the clock in ten zones.
//!
//! The last two need node, npm, Python with pip and their registries once: they run with
//! WINDLASS_TEST_NPM=1 or WINDLASS_TEST_ALL=1. WINDLASS_TEST_SOAK=1 makes everything many times longer.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by a panic, skips loudly, and is steered by variables"
)]

#[path = "schedule_oracle/brute.rs"]
mod brute;
#[path = "schedule_oracle/crates.rs"]
mod crates;
#[path = "schedule_oracle/engine.rs"]
mod engine;
#[path = "schedule_oracle/generate.rs"]
mod generate;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use windlass_run::{Time, schedule::Schedule};

use generate::{Dialect, Dice, EVERYTHING, Expression, Wish};

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;
/// 1970 to 2038.
const BEGIN: i64 = 2 * DAY;
const END: i64 = 68 * 365 * DAY;

/// Clocks that are changed at night, at midnight, by half an hour, by two hours, by a day, around Ramadan,
/// in the southern winter.
const ZONES: [&str; 10] = [
    "Europe/Berlin",
    "America/New_York",
    "Africa/Casablanca",
    "America/Havana",
    "America/Sao_Paulo",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Pacific/Apia",
];

/// How many times the usual size.
fn extent() -> u64 {
    if std::env::var("WINDLASS_TEST_SOAK").as_deref() == Ok("1") { 20 } else { 1 }
}

fn zone(name: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(name).unwrap()
}

fn ours(expression: &Expression, zone: &str) -> Option<Schedule> {
    let cron = expression.text(Dialect::Ours).parse().ok()?;
    Some(Schedule::new(cron, zone.parse().unwrap()))
}

fn time(seconds: i64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

fn seconds(time: Time) -> i64 {
    assert_eq!(time.as_micros() % 1_000_000, 0, "fires come at whole seconds");
    time.as_micros() / 1_000_000
}

#[test]
fn fires_follow_the_stated_rules_through_every_change_of_ten_zones() {
    let (mut dice, mut n_changes, mut n_fires) = (Dice(1), 0, 0);
    for name in ZONES {
        let zone = zone(name);
        let changes = brute::changes(&zone, BEGIN, END);
        n_changes += changes.len();
        for (change, _) in changes {
            for _ in 0..3 * extent() {
                let expression = generate::expression(&mut dice, EVERYTHING);
                let (before, after) = (dice.within(DAY, 2 * DAY), dice.within(DAY, 2 * DAY));
                let (from, to) = ((change - before) / 60 * 60, (change + after) / 60 * 60);
                n_fires += follows(&expression, name, &zone, (from, to), 60, &mut dice);
            }
            let expression = generate::expression(&mut dice, Wish { seconds: true, ..EVERYTHING });
            let window = (change - 2 * HOUR, change + 3 * HOUR);
            if dice.one_in(4) {
                n_fires += follows(&expression, name, &zone, window, 1, &mut dice);
            }
        }
    }
    eprintln!("{n_changes} changes in ten zones, {n_fires} fires compared");
    assert!(n_changes > 900, "{n_changes}");
    assert!(n_fires > 50_000, "{n_fires}");
}

/// Compares all fires in a window with those of the watched clock; answers how many there were.
fn follows(
    expression: &Expression,
    name: &str,
    zone: &TimeZone,
    (from, to): (i64, i64),
    step: i64,
    dice: &mut Dice,
) -> usize {
    let Some(schedule) = ours(expression, name) else { return 0 };
    let text = expression.text(Dialect::Ours);
    let expected = brute::fires(expression, zone, from, to, step);
    let fires: Vec<i64> =
        schedule.fires_after(time(from - 1)).map(seconds).take_while(|fire| *fire <= to).collect();
    assert_eq!(fires, expected, "{text} in {name} from {from} to {to}");

    // From anywhere in the window, forwards and backwards, to the microsecond.
    for _ in 0..4 {
        let at = dice.within(from, to);
        let next = schedule.next_after(time(at)).map(seconds).filter(|fire| *fire <= to);
        let later = expected.iter().copied().find(|fire| *fire > at);
        assert_eq!(next, later, "{text} in {name} after {at}");
        let last = schedule.last_until(time(at)).map(seconds).filter(|fire| *fire >= from);
        let earlier = expected.iter().rev().copied().find(|fire| *fire <= at);
        assert_eq!(last, earlier, "{text} in {name} until {at}");
    }
    for fire in expected.iter().take(3) {
        let almost = Time::from_micros(fire * 1_000_000 - 1);
        assert_eq!(schedule.next_after(almost).map(seconds), Some(*fire), "{text} in {name}");
        assert_eq!(schedule.last_until(time(*fire)).map(seconds), Some(*fire), "{text} in {name}");
    }
    expected.len()
}

/// A question to another engine: the fire after a moment.
struct Case {
    expression: Expression,
    zone: &'static str,
    from: i64,
    ours: Schedule,
}

/// Random ones in any zone at any time, and some just before each change of the ten zones.
fn cases(wish: Wish, dice: &mut Dice) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |dice: &mut Dice, zone: &'static str, from: i64| {
        let wish = Wish { seconds: wish.seconds && dice.one_in(5), ..wish };
        let expression = generate::expression(dice, wish);
        if let Some(ours) = ours(&expression, zone) {
            cases.push(Case { expression, zone, from, ours });
        }
    };
    let database = TimeZoneDatabase::bundled();
    let names: Vec<&'static str> = database
        .available()
        .filter(|name| name.as_str() != "Factory")
        .map(|name| &*name.as_str().to_owned().leak())
        .collect();
    for _ in 0..3_000 * extent() {
        let zone = dice.pick(&names);
        let from = dice.within(BEGIN, END);
        add(dice, zone, from);
    }
    for name in ZONES {
        for (change, _) in brute::changes(&zone(name), BEGIN, END) {
            for _ in 0..extent() {
                let from = change - dice.within(0, 30 * HOUR);
                add(dice, name, from);
            }
        }
    }
    cases
}

/// Whether the clock is changed around one of these moments, so that rules differ by design.
fn is_near_a_change(zone: &TimeZone, moments: &[Option<i64>]) -> bool {
    moments
        .iter()
        .flatten()
        .any(|at| !brute::changes(zone, at - 27 * HOUR, at + 27 * HOUR).is_empty())
}
