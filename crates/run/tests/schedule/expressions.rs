//! What expressions mean, where no clock is changed.

use crate::{at, next, schedule};

/// The dates of the next fires, by universal time.
fn days(cron: &str, from: &str, n: usize) -> Vec<String> {
    next(cron, "UTC", from, n).into_iter().map(|fire| fire[..10].to_owned()).collect()
}

fn times(cron: &str, n: usize) -> Vec<String> {
    let fires = next(cron, "UTC", "2026-06-01T00:00:00Z", n);
    fires.into_iter().map(|fire| fire[11..19].to_owned()).collect()
}

#[test]
fn five_fields_begin_with_the_minute_and_six_with_the_second() {
    assert_eq!(times("30 6 * * *", 1), ["06:30:00"]);
    assert_eq!(times("15 30 6 * * *", 1), ["06:30:15"]);
    assert_eq!(times("*/20 * * * * *", 4), ["00:00:20", "00:00:40", "00:01:00", "00:01:20"]);
}

#[test]
fn lists_ranges_and_steps_can_be_mixed() {
    assert_eq!(times("5,50-52 1 * * *", 4), ["01:05:00", "01:50:00", "01:51:00", "01:52:00"]);
    assert_eq!(times("10-40/15 1 * * *", 3), ["01:10:00", "01:25:00", "01:40:00"]);
    assert_eq!(times("50/4 1 * * *", 3), ["01:50:00", "01:54:00", "01:58:00"]);
    assert_eq!(times("0 */9 * * *", 4), ["09:00:00", "18:00:00", "00:00:00", "09:00:00"]);
}

#[test]
fn months_and_weekdays_have_names_in_any_case() {
    assert_eq!(days("0 0 1 jan,Jul *", "2026-06-01T00:00:00Z", 2), ["2026-07-01", "2027-01-01"]);
    let working =
        ["2026-06-01", "2026-06-02", "2026-06-03", "2026-06-04", "2026-06-05", "2026-06-08"];
    assert_eq!(days("0 9 * * Mon-fri", "2026-06-01T00:00:00Z", 6), working);
    assert_eq!(days("0 9 * * 1-5", "2026-06-01T00:00:00Z", 6), working);
}

#[test]
fn sunday_is_0_and_7_and_the_end_of_a_week() {
    let sundays = ["2026-06-07", "2026-06-14"];
    for cron in ["0 0 * * 0", "0 0 * * 7", "0 0 * * SUN", "0 0 * * 7,0", "@weekly"] {
        assert_eq!(days(cron, "2026-06-01T00:00:00Z", 2), sundays, "{cron}");
    }
    let weekend = ["2026-06-05", "2026-06-06", "2026-06-07", "2026-06-12"];
    for cron in ["0 9 * * FRI-SUN", "0 9 * * 5-7"] {
        assert_eq!(days(cron, "2026-06-01T00:00:00Z", 4), weekend, "{cron}");
    }
    let every_other = days("0 9 * * WED/2", "2026-06-01T00:00:00Z", 4);
    assert_eq!(every_other, ["2026-06-03", "2026-06-05", "2026-06-07", "2026-06-10"]);
    // From Sunday to Tuesday, Sunday is 0.
    assert_eq!(
        days("0 9 * * SUN-TUE", "2026-06-03T00:00:00Z", 3),
        ["2026-06-07", "2026-06-08", "2026-06-09"]
    );
}

#[test]
fn two_fields_of_days_are_either_unless_one_begins_with_a_star() {
    // The 13th, and each Friday.
    assert_eq!(
        days("0 0 13 * FRI", "2026-06-01T00:00:00Z", 4),
        ["2026-06-05", "2026-06-12", "2026-06-13", "2026-06-19"]
    );
    // Odd days that are Fridays.
    assert_eq!(
        days("0 0 */2 * FRI", "2026-06-01T00:00:00Z", 3),
        ["2026-06-05", "2026-06-19", "2026-07-03"]
    );
    for cron in ["0 0 * * FRI", "0 0 ? * FRI"] {
        assert_eq!(days(cron, "2026-06-01T00:00:00Z", 2), ["2026-06-05", "2026-06-12"], "{cron}");
    }
    assert_eq!(days("0 0 13 * ?", "2026-06-01T00:00:00Z", 1), ["2026-06-13"]);
}

#[test]
fn days_are_counted_from_the_end_of_the_month() {
    assert_eq!(
        days("0 0 L * *", "2028-01-31T00:00:00Z", 3),
        ["2028-02-29", "2028-03-31", "2028-04-30"]
    );
    assert_eq!(days("0 0 L-2 * *", "2027-01-31T00:00:00Z", 2), ["2027-02-26", "2027-03-29"]);
    // There is no 30th day before the last one in shorter months.
    assert_eq!(days("0 0 L-30 * *", "2027-01-31T00:00:00Z", 2), ["2027-03-01", "2027-05-01"]);
}

#[test]
fn the_nearest_working_day_never_leaves_the_month() {
    // Saturday 15 August, Sunday 15 November.
    assert_eq!(days("0 0 15W 8,11 *", "2026-06-01T00:00:00Z", 2), ["2026-08-14", "2026-11-16"]);
    // Saturday 1 August, Sunday 31 May.
    assert_eq!(days("0 0 1W 8 *", "2026-06-01T00:00:00Z", 1), ["2026-08-03"]);
    assert_eq!(days("0 0 31W 5 *", "2026-05-01T00:00:00Z", 1), ["2026-05-29"]);
    assert_eq!(
        days("0 0 LW * *", "2026-05-01T00:00:00Z", 3),
        ["2026-05-29", "2026-06-30", "2026-07-31"]
    );
    // A month without a 31st has no working day nearest to it.
    assert_eq!(days("0 0 31W * *", "2026-06-01T00:00:00Z", 1), ["2026-07-31"]);
}

#[test]
fn weekdays_are_counted_within_the_month() {
    for cron in ["0 0 * * TUE#2", "0 0 * * 2#2"] {
        assert_eq!(days(cron, "2026-06-01T00:00:00Z", 2), ["2026-06-09", "2026-07-14"], "{cron}");
    }
    for cron in ["0 0 * * FRIL", "0 0 * * 5L", "0 0 * * 5l"] {
        assert_eq!(days(cron, "2026-06-01T00:00:00Z", 2), ["2026-06-26", "2026-07-31"], "{cron}");
    }
    assert_eq!(days("0 0 * * 7#5", "2026-06-01T00:00:00Z", 2), ["2026-08-30", "2026-11-29"]);
    assert_eq!(
        days("0 0 * * SUNL,MON#1", "2026-06-01T00:00:00Z", 3),
        ["2026-06-28", "2026-07-06", "2026-07-26"]
    );
}

#[test]
fn whole_expressions_have_names() {
    let from = "2026-06-01T12:30:00Z";
    for (name, expression) in [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 JAN *"),
        ("@Monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * SUN"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        (" @HOURLY ", "0 * * * *"),
    ] {
        assert_eq!(
            next(name, "Asia/Tokyo", from, 3),
            next(expression, "Asia/Tokyo", from, 3),
            "{name}"
        );
    }
}

#[test]
fn the_next_fire_is_strictly_later_to_the_microsecond() {
    let daily = schedule("0 6 * * *", "UTC");
    let six = at("2026-06-01T06:00:00Z");
    assert_eq!(daily.next_after(at("2026-06-01T05:59:59.999999Z")), Some(six));
    assert_eq!(daily.next_after(six), Some(at("2026-06-02T06:00:00Z")));
    assert_eq!(
        daily.next_after(at("2026-06-01T06:00:00.000001Z")),
        Some(at("2026-06-02T06:00:00Z"))
    );
    assert_eq!(daily.last_until(six), Some(six));
    assert_eq!(
        daily.last_until(at("2026-06-01T05:59:59.999999Z")),
        Some(at("2026-05-31T06:00:00Z"))
    );
    // Before 1970, too.
    assert_eq!(
        daily.next_after(at("1969-12-31T05:59:59.999999Z")),
        Some(at("1969-12-31T06:00:00Z"))
    );
}

#[test]
fn what_comes_once_in_forty_years_is_found() {
    // 29 February on a Sunday, over the year 2100, which has none.
    let fires = days("0 0 29 2 */7", "2072-03-01T00:00:00Z", 3);
    assert_eq!(fires, ["2088-02-29", "2128-02-29", "2156-02-29"]);
}

#[test]
fn an_expression_without_end_ends_with_the_calendar() {
    let daily = schedule("0 6 * * *", "UTC");
    assert_eq!(daily.next_after(windlass_run::Time::from_micros(i64::MAX)), None);
    assert_eq!(daily.last_until(windlass_run::Time::from_micros(i64::MIN)), None);
    assert!(daily.next_after(windlass_run::Time::from_micros(i64::MIN)).is_some());
    assert!(daily.last_until(windlass_run::Time::from_micros(i64::MAX)).is_some());
}
