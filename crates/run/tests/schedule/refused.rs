//! What isn't a schedule gets an error that says where and what would do.

use proptest::prelude::*;
use windlass_run::schedule::{Blackout, Cron, ScheduleSettings, Zone, parse_rfc3339};

fn refused(cron: &str) -> String {
    cron.parse::<Cron>().expect_err(cron).to_string()
}

#[test]
fn nonsense_in_a_field_is_shown_with_its_place_and_a_remedy() {
    for (cron, said) in [
        ("60 * * * *", "minute (character 1): 60 is more than 59: write a number from 0 to 59"),
        ("0 24 * * *", "hour (character 3): 24 is more than 23: write a number from 0 to 23"),
        (
            "* * 0 * *",
            "day of the month (character 5): 0 is less than 1: write a number from 1 to 31",
        ),
        ("61 0 0 * * *", "second (character 1): 61 is more than 59: write a number from 0 to 59"),
        (
            "* * * 13 *",
            "month (character 7): 13 is more than 12: write a number from 1 to 12 or JAN to DEC",
        ),
        (
            "* * * * 8",
            "day of the week (character 9): 8 is more than 7: write a number from 0 to 7 (0 and 7 are \
             Sunday) or SUN to SAT",
        ),
        (
            "0 0 * * MON,Funday",
            "day of the week (character 13): \"Funday\" is no value: write a number from \
          0 to 7 (0 and 7 are Sunday) or SUN to SAT",
        ),
        (
            "0 0 * * monday",
            "day of the week (character 9): \"monday\" is longer than names are: write MON",
        ),
        ("0 MON * * *", "hour (character 3): \"MON\" is no value: write a number from 0 to 23"),
        ("1,,2 * * * *", "minute (character 3): a value is missing: write a number from 0 to 59"),
        ("1- * * * *", "minute (character 3): a value is missing: write a number from 0 to 59"),
        ("0 22-2 * * *", "hour (character 3): 22-2 goes backwards: write 22-23,0-2"),
        (
            "0 0 * * FRI-MON",
            "day of the week (character 9): FRI-MON goes backwards: write FRI-SAT,SUN-MON",
        ),
        (
            "*/0 * * * *",
            "minute (character 3): \"0\" is no step from 1 to 60: steps begin anew with each \
          round; longer ones need the next field",
        ),
        (
            "*/90 * * * *",
            "minute (character 3): \"90\" is no step from 1 to 60: steps begin anew with each \
          round; longer ones need the next field",
        ),
        (
            "? * * * *",
            "minute (character 1): ? has to be the whole field, for the day of the month or of the \
          week only: write a number from 0 to 59",
        ),
        (
            "H * * * *",
            "minute (character 1): H (a value made up for each job) is not known; jitter spreads \
          fires instead: write a number from 0 to 59",
        ),
        (
            "0 0 L-31 * *",
            "day of the month (character 7): \"31\" is no number from 0 to 30: L-3 is the third \
          day before the last",
        ),
        (
            "0 0 1-5W * *",
            "day of the month (character 5): W belongs to one day, not to several: write each \
          day: 1W,2W,3W",
        ),
        (
            "0 0 W * *",
            "day of the month (character 5): a value is missing: write a number from 1 to 31, as in \
          15W",
        ),
        (
            "0 0 * * L",
            "day of the week (character 9): L names no weekday: write FRIL for the last Friday of \
          the month, or SAT for Saturdays",
        ),
        (
            "0 0 * * MON#6",
            "day of the week (character 13): \"6\" is no number from 1 to 5: MON#2 is the second \
          Monday of the month, MONL the last one",
        ),
        (
            "0 0 ä * *",
            "day of the month (character 5): \"ä\" is no value: write a number from 1 to 31",
        ),
        ("1 ü 60 * *", "hour (character 3): \"ü\" is no value: write a number from 0 to 23"),
        ("-5 * * * *", "minute (character 1): a value is missing: write a number from 0 to 59"),
        ("+5 * * * *", "minute (character 1): \"+5\" is no value: write a number from 0 to 59"),
        (
            "99999999999999999999 * * * *",
            "minute (character 1): 99999999999999999999 is more than 59: write a \
          number from 0 to 59",
        ),
        (
            "*-5 * * * *",
            "minute (character 1): * can't be a part of a range: write a number from 0 to 59",
        ),
        (
            "5/ * * * *",
            "minute (character 3): \"\" is no step from 1 to 60: steps begin anew with each round; \
          longer ones need the next field",
        ),
    ] {
        assert_eq!(refused(cron), said, "{cron}");
    }
}

#[test]
fn a_wrong_number_of_fields_is_said_with_their_order() {
    let order = "write `minute hour day month weekday`, with the second before them if it matters";
    for (cron, said) in [
        ("", format!("character 1: there is nothing: {order}")),
        ("  ", format!("character 1: there is nothing: {order}")),
        ("5", format!("character 2: one field is too few: {order}")),
        ("* * * *", format!("character 8: 4 fields are too few: {order}")),
        (
            "0 0 0 1 1 ? 2030",
            "character 13: 7 fields are too many: write five, or six with the second first; no year".into(),
        ),
        (
            " @reboot",
            "character 2: \"@reboot\" is no known name: write one of @yearly, @annually, @monthly, @weekly, \
             @daily, @midnight, @hourly"
                .into(),
        ),
    ] {
        assert_eq!(refused(cron), said, "{cron:?}");
    }
}

#[test]
fn what_would_never_fire_is_refused() {
    let remedy = "name a day that the month has; L is its last one";
    for (cron, said) in [
        ("0 0 31 2 *", "no day 31 comes in month 2"),
        ("0 0 30 FEB ?", "no day 30 comes in month FEB"),
        ("0 0 31 4,6,9,11 *", "no day 31 comes in month 4,6,9,11"),
        ("0 0 31W 6 *", "no day 31W comes in month 6"),
        ("0 0 L-29 2 *", "no day L-29 comes in month 2"),
        ("0 0 */30 2 SUN#2", "no day */30 that is also weekday SUN#2 comes in month 2"),
    ] {
        let said = format!("day of the month (character 5): it never fires: {said}: {remedy}");
        assert_eq!(refused(cron), said, "{cron}");
    }
    // These do fire: by the other field, in leap years, or once in a while.
    for cron in ["0 0 31 2 MON", "0 0 29 2 *", "0 0 L-28 2 *", "0 0 ? 2 SUN#5", "0 0 29 2 */6"] {
        assert!(cron.parse::<Cron>().is_ok(), "{cron}");
    }
}

#[test]
fn an_unknown_zone_is_answered_with_the_nearest_known_one() {
    for (name, said) in [
        ("Europe/Berln", "\"Europe/Berln\" is no time zone: did you mean Europe/Berlin?"),
        ("berlin", "\"berlin\" is no time zone: did you mean Europe/Berlin?"),
        (
            "America/New York",
            "\"America/New York\" is no time zone: did you mean America/New_York?",
        ),
        (
            "+02:00",
            "\"+02:00\" is no time zone: an offset doesn't say when clocks change: name a place, as in \
             Europe/Berlin, or UTC",
        ),
        ("", "\"\" is no time zone: use an IANA name, as in Europe/Berlin, or UTC"),
        ("Factory", "\"Factory\" is no time zone: use an IANA name, as in Europe/Berlin, or UTC"),
        (
            "Middle-earth/Shire",
            "\"Middle-earth/Shire\" is no time zone: use an IANA name, as in Europe/Berlin, or UTC",
        ),
        (
            "../../etc/passwd",
            "\"../../etc/passwd\" is no time zone: use an IANA name, as in Europe/Berlin, or UTC",
        ),
    ] {
        assert_eq!(name.parse::<Zone>().expect_err(name).to_string(), said);
    }
    let zone: Zone = "europe/berlin".parse().expect("names have no case");
    assert_eq!(zone.name(), "Europe/Berlin");
    assert_eq!("UTC".parse::<Zone>(), Ok(Zone::utc()));
}

#[test]
fn a_blackout_that_is_none_is_refused() {
    let forms = "write `Fri 18:00 - Mon 06:00`, `22:00 - 06:00`, `2026-12-24`, `2026-12-24 - 2027-01-02`, or \
                 `12-24 - 01-02` for every year";
    for (text, said) in [
        ("", format!("\"\" is not understood: {forms}")),
        ("Fri 18:00", format!("a time of day needs an end: {forms}")),
        ("18:00", format!("a time of day needs an end: {forms}")),
        ("Fri 18:00 - Mon", format!("its ends are not of one kind: {forms}")),
        ("Fri 18:00 - 2026-12-24", format!("its ends are not of one kind: {forms}")),
        (
            "Fri 18:00 - Mon 25:00",
            "\"25:00\" is no time of day: write HH:MM, from 00:00 to 24:00".into(),
        ),
        (
            "Fri 6pm - Mon 06:00",
            "\"6pm\" is no time of day: write HH:MM, from 00:00 to 24:00".into(),
        ),
        ("Fri 18:00 - Fri 18:00", "it ends when it begins".into()),
        ("Mon 00:00 - Sun 24:00", "it ends when it begins".into()),
        ("00:00 - 24:00", "it ends when it begins".into()),
        ("Tue - Mon", "it is the whole week: nothing would ever fire".into()),
        ("2026-12-24 - 2026-12-23", "it ends before it begins".into()),
        ("2026-02-29", format!("\"2026-02-29\" is no day of the calendar: {forms}")),
        ("02-30 - 03-01", format!("\"02-30\" is no month and day: {forms}")),
        ("Frei 18:00 - Mon 06:00", format!("\"Frei\" is no weekday: {forms}")),
        ("Fri 18:00 h - Mon 06:00", format!("\"Fri 18:00 h\" has too many words: {forms}")),
    ] {
        let error = text.parse::<Blackout>().expect_err(text).to_string();
        assert_eq!(error, format!("{text:?} is no blackout: {said}"));
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange_to_be_answered(text in "([0-9a-zA-Z*/,#?LW@:-]{0,6}|\\PC{0,3})([ \t]([0-9MONl*/,#?LWw-]{0,6}|\\PC{0,2})){0,7}") {
        if let Err(error) = text.parse::<Cron>() {
            let length = text.chars().count();
            prop_assert!((1..=length + 1).contains(&error.at), "{text:?}: {error}");
            prop_assert!(!error.what.is_empty() && !error.remedy.is_empty());
        }
        let _ = (text.parse::<Blackout>(), text.parse::<Zone>(), parse_rfc3339(&text));
    }

    #[test]
    fn what_looks_like_a_blackout_is_read_or_refused(text in "(Mon|Sunday|2026|12|02)?[ -]?([0-9]{1,2}[:-][0-9]{1,2})?( - )?(Fri|2027)?[ -]?([0-9]{1,2}[:-][0-9]{1,2})?") {
        if let Ok(blackout) = text.parse::<Blackout>() {
            prop_assert_eq!(blackout.as_str(), text.trim());
        }
    }
}

#[test]
fn a_moment_needs_an_offset() {
    for text in ["", "2026-06-01", "2026-06-01T06:00:00", "now", "2026-13-01T06:00:00Z"] {
        assert!(parse_rfc3339(text).is_err(), "{text}");
    }
    let micros = |text| parse_rfc3339(text).map(windlass_run::Time::as_micros);
    assert_eq!(micros("1970-01-01T01:00:00.0000015+01:00"), Ok(1));
    assert_eq!(micros("1969-12-31T23:59:59.9999995Z"), Ok(-1));
}

#[test]
fn settings_are_checked_when_they_are_read() {
    let read = |json: &str| {
        serde_json::from_str::<ScheduleSettings>(json).map_err(|error| error.to_string())
    };
    let whole = r#"{"cron":"0 6 * * 1-5","timezone":"Europe/Berlin","jitter":600000000,
        "blackout":["12-24 - 01-02"],"missed":"all"}"#;
    let settings = read(whole).expect("it is right");
    let again = serde_json::to_string(&settings).expect("it can be written");
    assert_eq!(read(&again).expect("it can be read again"), settings);
    let short = read(r#"{"cron":"@daily"}"#).expect("the rest has defaults");
    assert_eq!(short, ScheduleSettings::new("@daily".parse().expect("a cron"), Zone::utc()));
    for (json, said) in [
        (r#"{"cron":"0 6 * *"}"#, "4 fields are too few"),
        (r#"{"cron":"@daily","timezone":"Berlin/Europe"}"#, "is no time zone"),
        (r#"{"cron":"@daily","blackout":["never"]}"#, "is no blackout"),
        (r#"{"cron":"@daily","missed":"twice"}"#, "expected one of `skip`, `once`, `all`"),
        (r#"{"cron":"@daily","zone":"UTC"}"#, "unknown field `zone`"),
    ] {
        let error = read(json).expect_err(json);
        assert!(error.contains(said), "{error}");
    }
}
