//! A schedule at work: blackouts, jitter, and what becomes of fires that nobody was there for.

use windlass_run::{
    Duration, Time,
    schedule::{
        Calendar, Due, Fire, MOST_AT_ONCE, Missed, MissedFires, ScheduleSettings, parse_rfc3339,
    },
};

use crate::at;

const HOUR: Duration = Duration::from_secs(60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

fn settings(cron: &str) -> ScheduleSettings {
    let zone = "Europe/Berlin".parse().expect("a zone");
    ScheduleSettings::new(cron.parse().expect("a cron"), zone)
}

fn without(cron: &str, blackout: &[&str]) -> Calendar {
    let blackout = blackout.iter().map(|text| text.parse().expect("a blackout")).collect();
    Calendar::new(&ScheduleSettings { blackout, ..settings(cron) }, "trigger")
}

fn upcoming(calendar: &Calendar, from: &str, n: usize) -> Vec<String> {
    let zone = calendar.schedule().zone();
    let fires = calendar.upcoming(at(from), n);
    fires.iter().map(|fire| zone.rfc3339(fire.at).expect("not too far")).collect()
}

#[test]
fn nothing_fires_in_a_window_of_the_week() {
    let calendar = without("0 */6 * * *", &["Fri 18:00 - Mon 06:00"]);
    assert_eq!(
        upcoming(&calendar, "2026-06-05T06:00:00+02:00", 3),
        ["2026-06-05T12:00:00+02:00", "2026-06-08T06:00:00+02:00", "2026-06-08T12:00:00+02:00"]
    );
    let weekend = without("0 12 * * *", &["Sat - Sun"]);
    assert_eq!(
        upcoming(&weekend, "2026-06-05T00:00:00+02:00", 2),
        ["2026-06-05T12:00:00+02:00", "2026-06-08T12:00:00+02:00"]
    );
}

#[test]
fn nothing_fires_in_a_window_of_the_day_or_on_dates() {
    let calendar =
        without("0 */4 * * *", &["22:00 - 06:00", "2026-06-02", "2026-06-04 - 2026-06-05"]);
    assert_eq!(
        upcoming(&calendar, "2026-06-01T15:00:00+02:00", 7),
        [
            "2026-06-01T16:00:00+02:00",
            "2026-06-01T20:00:00+02:00",
            "2026-06-03T08:00:00+02:00",
            "2026-06-03T12:00:00+02:00",
            "2026-06-03T16:00:00+02:00",
            "2026-06-03T20:00:00+02:00",
            "2026-06-06T08:00:00+02:00"
        ]
    );
}

#[test]
fn a_window_of_the_year_comes_every_year() {
    let calendar = without("0 9 * * MON", &["12-20 - 01-06", "02-29"]);
    assert_eq!(
        upcoming(&calendar, "2026-12-13T00:00:00+01:00", 2),
        ["2026-12-14T09:00:00+01:00", "2027-01-11T09:00:00+01:00"]
    );
    assert_eq!(upcoming(&calendar, "2027-12-26T00:00:00+01:00", 1), ["2028-01-10T09:00:00+01:00"]);
}

#[test]
fn a_window_is_read_off_the_clock_when_the_clock_is_changed() {
    // Each quarter of an hour, but not from 02:15 to 02:45: on the day on which 02:00 to 03:00 comes twice,
    // both times.
    let calendar = without("*/15 * * * *", &["02:15 - 02:45"]);
    assert_eq!(
        upcoming(&calendar, "2026-10-25T01:50:00+02:00", 5),
        [
            "2026-10-25T02:00:00+02:00",
            "2026-10-25T02:45:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T02:45:00+01:00",
            "2026-10-25T03:00:00+01:00"
        ]
    );
    // One that ends within: what comes after its end and before it begins again, fires.
    let calendar = without("*/15 * * * *", &["00:00 - 02:30"]);
    assert_eq!(
        upcoming(&calendar, "2026-10-24T23:50:00+02:00", 3),
        ["2026-10-25T02:30:00+02:00", "2026-10-25T02:45:00+02:00", "2026-10-25T02:30:00+01:00"]
    );
}

#[test]
fn a_window_over_a_change_of_the_clock_covers_its_readings_only() {
    let calendar = without("*/15 * * * *", &["02:45 - 03:30"]);
    assert_eq!(
        upcoming(&calendar, "2026-10-25T02:20:00+02:00", 5),
        [
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T02:15:00+01:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-25T03:30:00+01:00"
        ]
    );
    let calendar = without("*/30 * * * *", &["01:30 - 03:30"]);
    assert_eq!(
        upcoming(&calendar, "2026-03-29T00:50:00+01:00", 2),
        ["2026-03-29T01:00:00+01:00", "2026-03-29T03:30:00+02:00"]
    );
}

#[test]
fn looking_back_finds_the_same_fires_as_looking_forward() {
    for cron in ["*/15 * * * *", "0,20,40 0-4 * * *"] {
        for blackout in [
            "02:45 - 03:30",
            "00:00 - 02:30",
            "22:30 - 01:30",
            "Sat 12:00 - Sun 02:15",
            "Sun - Mon",
        ] {
            for day in ["2026-03-28", "2026-10-24"] {
                let blackout = vec![blackout.parse().expect("a blackout")];
                let settings = ScheduleSettings { blackout, missed: Missed::All, ..settings(cron) };
                let calendar = Calendar::new(&settings, "a");
                let begin = at(&format!("{day}T12:00:00Z"));
                for step in 0..22 {
                    let begin = begin + Duration::from_secs(step * 45 * 60);
                    let end = begin + Duration::from_secs(20 * 60 * 60);
                    let forward = calendar.upcoming(begin, 100);
                    let forward: Vec<Fire> =
                        forward.into_iter().filter(|fire| fire.at <= end).collect();
                    let due = calendar.due(begin, end, Duration::default());
                    assert_eq!(due.fires, forward, "{settings:?} from {begin:?}");
                }
            }
        }
    }
}

#[test]
fn a_schedule_that_only_fires_in_its_blackout_has_no_next_fire() {
    assert_eq!(
        without("0 12 * * SAT", &["Sat - Sun"]).next_after(at("2026-06-01T00:00:00Z")),
        None
    );
}

#[test]
fn jitter_is_the_same_for_the_same_key_and_never_reaches_the_next_fire() {
    let spread = |cron: &str, jitter: Duration, key: &str| {
        let calendar = Calendar::new(&ScheduleSettings { jitter, ..settings(cron) }, key);
        calendar.upcoming(at("2026-06-01T00:00:00Z"), 300)
    };
    let hourly = spread("0 * * * *", Duration::from_secs(6 * 60 * 60), "a");
    for pair in hourly.windows(2) {
        assert!(pair[0].at <= pair[0].starts_at && pair[0].starts_at < pair[1].at, "{pair:?}");
    }
    assert_eq!(spread("0 * * * *", Duration::from_secs(6 * 60 * 60), "a"), hourly);
    assert_ne!(spread("0 * * * *", Duration::from_secs(6 * 60 * 60), "b"), hourly);

    // It is spread over all of its span, and not beyond.
    let delays: Vec<i64> = spread("0 * * * *", Duration::from_secs(600), "a")
        .iter()
        .map(|fire| fire.starts_at.since(fire.at).as_micros() / 1_000_000)
        .collect();
    let in_tenth = |n: i64| delays.iter().filter(|delay| **delay / 60 == n).count();
    assert!((0..10).all(|n| in_tenth(n) >= 12), "{delays:?}");
    assert!(delays.iter().all(|delay| *delay < 600), "{delays:?}");

    // Known values: a new version must not start anything a second time.
    let known: Vec<i64> = hourly[..2].iter().map(|fire| fire.starts_at.as_micros()).collect();
    assert_eq!(known, [1_780_277_007_418_928, 1_780_279_885_437_305]);
}

#[test]
fn jitter_does_not_lead_into_a_blackout() {
    let blackout = vec!["18:05 - 20:00".parse().expect("a blackout")];
    let settings = ScheduleSettings { jitter: HOUR, blackout, ..settings("0 18 * * *") };
    let fires = Calendar::new(&settings, "a").upcoming(at("2026-06-01T00:00:00Z"), 200);
    let delays: Vec<i64> =
        fires.iter().map(|fire| fire.starts_at.since(fire.at).as_micros()).collect();
    assert!(delays.iter().all(|delay| *delay < 5 * MINUTE.as_micros()), "{delays:?}");
    assert!(delays.iter().any(|delay| *delay > 0), "{delays:?}");
}

fn fire(text: &str) -> Fire {
    Fire { at: at(text), starts_at: at(text) }
}

/// Fires every hour; nobody was there from noon, when the fire of that hour was started, to 15:00:30.
fn after_an_absence(missed: Missed) -> Due {
    let calendar = Calendar::new(&ScheduleSettings { missed, ..settings("0 * * * *") }, "a");
    calendar.due(at("2026-06-01T12:00:00Z"), at("2026-06-01T15:00:30Z"), MINUTE)
}

#[test]
fn missed_fires_are_skipped_started_once_or_all() {
    let [one, two, three] =
        ["13", "14", "15"].map(|hour| fire(&format!("2026-06-01T{hour}:00:00Z")));
    let missed = |dropped| {
        Some(MissedFires { count: 2, and_more: false, first: one.at, last: two.at, dropped })
    };
    let handled = Some(three.at);
    assert_eq!(
        after_an_absence(Missed::Skip),
        Due { fires: vec![three], missed: missed(2), handled }
    );
    // The one that is in time stands for those that weren't.
    assert_eq!(
        after_an_absence(Missed::Once),
        Due { fires: vec![three], missed: missed(2), handled }
    );
    let all = Due { fires: vec![one, two, three], missed: missed(0), handled };
    assert_eq!(after_an_absence(Missed::All), all);
}

#[test]
fn once_starts_the_latest_when_none_is_in_time() {
    let due = |missed| {
        let calendar = Calendar::new(&ScheduleSettings { missed, ..settings("0 * * * *") }, "a");
        calendar.due(at("2026-06-01T12:00:00Z"), at("2026-06-01T15:30:00Z"), MINUTE)
    };
    let last = fire("2026-06-01T15:00:00Z");
    let missed = MissedFires {
        count: 3,
        and_more: false,
        first: at("2026-06-01T13:00:00Z"),
        last: last.at,
        dropped: 2,
    };
    let once = Due { fires: vec![last], missed: Some(missed), handled: Some(last.at) };
    assert_eq!(due(Missed::Once), once);
    let none = Due {
        fires: Vec::new(),
        missed: Some(MissedFires { dropped: 3, ..missed }),
        handled: Some(last.at),
    };
    assert_eq!(due(Missed::Skip), none);
}

#[test]
fn after_a_long_absence_the_latest_are_started_and_the_rest_is_told() {
    let calendar =
        Calendar::new(&ScheduleSettings { missed: Missed::All, ..settings("* * * * * *") }, "a");
    let (last, now) = (at("2016-01-01T00:00:00Z"), at("2026-06-01T00:00:00Z"));
    let due = calendar.due(last, now, Duration::default());
    // The one of this second is in time.
    let missed = due.missed.expect("some were missed");
    assert_eq!(due.fires.len(), MOST_AT_ONCE);
    assert_eq!(due.fires.first().map(|fire| fire.at), Some(now - Duration::from_secs(99)));
    assert_eq!(due.handled, Some(now));
    assert_eq!(
        missed,
        MissedFires {
            count: 999,
            and_more: true,
            first: at("2016-01-01T00:00:01Z"),
            last: now - Duration::from_secs(1),
            dropped: 900,
        }
    );
}

#[test]
fn blacked_out_fires_are_not_missed() {
    let calendar = without("0 * * * *", &["2026-06-01 - 2026-06-14"]);
    let due =
        calendar.due(at("2026-05-31T12:00:00+02:00"), at("2026-06-14T12:00:00+02:00"), MINUTE);
    let missed = due.missed.expect("those before the blackout were missed");
    assert_eq!((missed.count, missed.last), (11, at("2026-05-31T23:00:00+02:00")));
    let none =
        calendar.due(at("2026-06-01T00:00:00+02:00"), at("2026-06-14T12:00:00+02:00"), MINUTE);
    assert_eq!(none, Due::default());
}

#[test]
fn a_fire_is_due_when_its_jitter_is_over() {
    let settings = ScheduleSettings { jitter: HOUR, ..settings("0 0 * * *") };
    let calendar = Calendar::new(&settings, "a");
    let last = at("2026-06-01T00:00:00Z");
    let next = calendar.next_after(last).expect("it fires every day");
    assert!(next.at < next.starts_at, "{next:?}");
    let just_before = Time::from_micros(next.starts_at.as_micros() - 1);
    assert_eq!(calendar.due(last, just_before, MINUTE), Due::default());
    let due = Due { fires: vec![next], missed: None, handled: Some(next.at) };
    assert_eq!(calendar.due(last, next.starts_at, MINUTE), due);
    assert_eq!(calendar.due(next.at, next.starts_at, MINUTE), Due::default(), "it was handled");
}

#[test]
fn whoever_asks_again_and_again_misses_nothing_and_doubles_nothing() {
    let settings =
        ScheduleSettings { jitter: HOUR, missed: Missed::All, ..settings("0 */2 * * *") };
    let calendar = Calendar::new(&settings, "a");
    let begin = parse_rfc3339("2026-10-20T00:00:00Z").expect("a moment");
    let (mut last, mut now, mut fired) = (begin, begin, Vec::new());
    // Every 37 minutes, with a long absence.
    for n in 0..400 {
        now = now + Duration::from_secs(if n == 200 { 40 * 60 * 60 } else { 37 * 60 });
        let due = calendar.due(last, now, HOUR);
        fired.extend(due.fires);
        last = due.handled.unwrap_or(last);
    }
    let expected: Vec<Fire> =
        calendar.upcoming(begin, 1_000).into_iter().filter(|fire| fire.starts_at <= now).collect();
    assert_eq!(fired, expected);
}
