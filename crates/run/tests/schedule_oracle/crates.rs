//! Beside `croner`, which has the same rules for schedules of one time of the day and for those without any
//! list: there it has to agree at changes of the clock, too.

use croner::{Cron, JobType, parser::CronParser};
use jiff_of_croner::{Timestamp, tz::TimeZoneDatabase};

use crate::{
    Case, brute, cases,
    generate::{Dialect, Dice, EVERYTHING, Item},
    is_near_a_change, seconds, time, zone,
};

#[test]
fn croner_fires_at_the_same_moments() {
    let mut wish = EVERYTHING;
    wish.seconds = true;
    let (mut compared, mut at_changes, mut failures) = (0, 0, Vec::new());
    for case in cases(wish, &mut Dice(2)) {
        // It knows neither L-3 nor a star beside others.
        let has_star =
            |items: &Vec<Item>| items.len() > 1 && items.contains(&Item::All { step: 1 });
        if case.expression.has(|item| matches!(item, Item::BeforeLast(1..)))
            || case.expression.fields.iter().any(has_star)
        {
            continue;
        }
        let cron = theirs(&case);
        let ours = case.ours.next_after(time(case.from)).map(seconds);
        let zone = zone(case.zone);
        let is_near = is_near_a_change(&zone, &[Some(case.from), ours]);
        if is_near && !has_our_rule(&case, &cron) {
            continue;
        }
        let from = Timestamp::from_second(case.from).unwrap();
        let from = from.to_zoned(TimeZoneDatabase::bundled().get(case.zone).unwrap());
        let next = cron.find_next_occurrence(&from, false).ok();
        let next = next.map(|next| next.timestamp().as_second());
        compared += 1;
        at_changes += i32::from(is_near);
        if next != ours {
            let text = case.expression.text(Dialect::Ours);
            failures.push(format!(
                "{text} in {} after {}: {ours:?}, croner {next:?}",
                case.zone, case.from
            ));
        }
    }
    eprintln!("{compared} fires are croner's, {at_changes} of them near changes of the clock");
    let shown = &failures[..failures.len().min(20)];
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), shown.join("\n"));
    assert!(compared > 2_500 && at_changes > 300, "{compared}, {at_changes}");
}

fn theirs(case: &Case) -> Cron {
    let parser =
        CronParser::builder().dom_and_dow(case.expression.needs_both()).sloppy_ranges(true);
    parser
        .build()
        .parse(&case.expression.text(Dialect::Ours))
        .unwrap_or_else(|error| panic!("{}: {error}", case.expression.text(Dialect::Ours)))
}

/// Theirs goes by time that passed also for a list of hours, and knows no change of more than two hours.
fn has_our_rule(case: &Case, cron: &Cron) -> bool {
    let repeats = cron.determine_job_type() == JobType::IntervalWildcard;
    let changes = brute::changes(&zone(case.zone), case.from - 86_400, case.from + 40 * 86_400);
    repeats == case.expression.repeats() && changes.iter().all(|(_, by)| by.abs() <= 7_200)
}
