//! Days on which clocks change. Berlin: 2026-03-29 from 02:00 to 03:00, 2026-10-25 from 03:00 to 02:00.

use crate::{at, next, schedule};

const BERLIN: &str = "Europe/Berlin";

#[test]
fn a_time_that_is_skipped_fires_when_the_clock_is_put_forward() {
    assert_eq!(
        next("30 2 * * *", BERLIN, "2026-03-27T12:00:00+01:00", 3),
        ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    );
}

#[test]
fn several_skipped_times_fire_once() {
    assert_eq!(
        next("0,15,30,45 2,3 * * *", BERLIN, "2026-03-29T00:00:00+01:00", 3),
        ["2026-03-29T03:00:00+02:00", "2026-03-29T03:15:00+02:00", "2026-03-29T03:30:00+02:00"]
    );
    assert_eq!(
        next("0,30 2 * * *", BERLIN, "2026-03-29T00:00:00+01:00", 2),
        ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]
    );
}

#[test]
fn a_time_that_comes_twice_fires_at_the_first() {
    let expected =
        ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00", "2026-10-27T02:30:00+01:00"];
    assert_eq!(next("30 2 * * *", BERLIN, "2026-10-25T00:00:00+02:00", 3), expected);
    // Also when one asks in between, or after the second.
    for from in
        ["2026-10-25T02:30:00+02:00", "2026-10-25T02:10:00+01:00", "2026-10-25T02:40:00+01:00"]
    {
        assert_eq!(next("30 2 * * *", BERLIN, from, 2), expected[1..], "{from}");
    }
    // A list of hours is no repetition.
    assert_eq!(
        next("0 1-3 * * *", BERLIN, "2026-10-25T00:00:00+02:00", 3),
        ["2026-10-25T01:00:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T03:00:00+01:00"]
    );
}

#[test]
fn what_repeats_goes_by_the_time_that_passed() {
    assert_eq!(
        next("30 * * * *", BERLIN, "2026-03-29T01:00:00+01:00", 3),
        ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-29T04:30:00+02:00"]
    );
    assert_eq!(
        next("*/30 * * * *", BERLIN, "2026-10-25T02:00:00+02:00", 5),
        [
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-25T03:00:00+01:00",
            "2026-10-25T03:30:00+01:00"
        ]
    );
    // Within one hour of the day, too: in both of them in autumn, in none in spring.
    assert_eq!(
        next("*/30 2 * * *", BERLIN, "2026-03-28T12:00:00+01:00", 1),
        ["2026-03-30T02:00:00+02:00"]
    );
    // A range with steps names its times.
    assert_eq!(
        next("0-30/30 2 * * *", BERLIN, "2026-03-28T12:00:00+01:00", 1),
        ["2026-03-29T03:00:00+02:00"]
    );
    assert_eq!(
        next("*/30 2 * * *", BERLIN, "2026-10-25T02:15:00+02:00", 3),
        ["2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00"]
    );
}

#[test]
fn a_day_that_begins_at_one_is_the_same_day() {
    // In Cairo, 2026-04-24 begins at 01:00.
    assert_eq!(
        next("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00+02:00", 2),
        ["2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00"]
    );
}

#[test]
fn a_day_that_is_left_out_fires_when_the_next_one_begins() {
    // Samoa had no 30 December 2011.
    assert_eq!(
        next("0 9 * * *", "Pacific/Apia", "2011-12-29T08:00:00-10:00", 4),
        [
            "2011-12-29T09:00:00-10:00",
            "2011-12-31T00:00:00+14:00",
            "2011-12-31T09:00:00+14:00",
            "2012-01-01T09:00:00+14:00"
        ]
    );
}

#[test]
fn half_an_hour_and_another_day_are_changes_like_all() {
    // Lord Howe goes from 02:00 to 02:30.
    assert_eq!(
        next("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00+10:30", 2),
        ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"]
    );
    // In Havana, midnight comes twice.
    assert_eq!(
        next("0 0 * * *", "America/Havana", "2024-11-02T12:00:00-04:00", 2),
        ["2024-11-03T00:00:00-04:00", "2024-11-04T00:00:00-05:00"]
    );
}

#[test]
fn the_last_fire_is_found_as_well_around_changes() {
    let daily = schedule("30 2 * * *", BERLIN);
    for (until, fire) in [
        ("2026-03-29T01:59:59+01:00", "2026-03-28T02:30:00+01:00"),
        ("2026-03-29T03:00:00+02:00", "2026-03-29T03:00:00+02:00"),
        ("2026-10-25T02:29:59+02:00", "2026-10-24T02:30:00+02:00"),
        ("2026-10-25T02:45:00+02:00", "2026-10-25T02:30:00+02:00"),
        ("2026-10-25T02:15:00+01:00", "2026-10-25T02:30:00+02:00"),
        ("2026-10-25T02:45:00+01:00", "2026-10-25T02:30:00+02:00"),
    ] {
        assert_eq!(daily.last_until(at(until)), Some(at(fire)), "{until}");
    }
    let often = schedule("*/30 2 * * *", BERLIN);
    for (until, fire) in [
        ("2026-03-29T12:00:00+02:00", "2026-03-28T02:30:00+01:00"),
        ("2026-10-25T02:15:00+01:00", "2026-10-25T02:00:00+01:00"),
        ("2026-10-25T02:00:00+01:00", "2026-10-25T02:00:00+01:00"),
        ("2026-10-25T02:59:59+02:00", "2026-10-25T02:30:00+02:00"),
    ] {
        assert_eq!(often.last_until(at(until)), Some(at(fire)), "{until}");
    }
}
