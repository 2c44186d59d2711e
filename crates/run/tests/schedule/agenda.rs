//! Many schedules at once: what isn't due costs nothing. Counted, not timed.

use std::{
    cell::Cell,
    cmp::Ordering,
    hash::{Hash, Hasher},
};

use windlass_run::{Duration, Time, schedule::Agenda};

use crate::{at, schedule};

thread_local! {
    static TOUCHED: Cell<u64> = const { Cell::new(0) };
}

/// A key that counts how often any key is looked at.
#[derive(Clone, Debug)]
struct Key(usize);

impl Key {
    fn touch(&self) -> usize {
        TOUCHED.with(|touched| touched.set(touched.get() + 1));
        self.0
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.touch() == other.0
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.touch().cmp(&other.0)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.touch().hash(state);
    }
}

fn touched_by<T>(act: impl FnOnce() -> T) -> (T, u64) {
    TOUCHED.set(0);
    let answer = act();
    (answer, TOUCHED.get())
}

#[test]
fn ten_thousand_schedules_cost_nothing_while_none_is_due() {
    let mut agenda = Agenda::new();
    let now = at("2026-06-01T00:00:30Z");
    for n in 0..10_000 {
        let daily = schedule(&format!("{} {} * * *", n % 60, 1 + n / 60 % 23), "Europe/Berlin");
        agenda.insert(Key(n), daily.next_after(now).expect("it fires every day"));
    }
    let first = at("2026-06-01T01:00:00+02:00") + Duration::from_secs(24 * 60 * 60);
    let earliest = (0..10_000).map(|_| agenda.next_due().expect("there are some")).min();
    assert!(earliest < Some(first));

    let quiet = Time::from_micros(earliest.expect("there is one").as_micros() - 1);
    let (answers, touched) = touched_by(|| {
        let answers =
            (0..10_000).map(|_| agenda.pop_due(quiet).is_some() || agenda.next_due() != earliest);
        answers.filter(|is_wrong| *is_wrong).count()
    });
    assert_eq!((answers, touched), (0, 0), "no key is looked at while nothing is due");
}

#[test]
fn what_is_due_costs_by_itself_and_not_by_what_is_not() {
    let cost = |n: usize| {
        let mut agenda = Agenda::new();
        for key in 0..n {
            agenda.insert(Key(key), Time::from_micros(1_000 + key as i64));
        }
        let (popped, touched) = touched_by(|| agenda.pop_due(Time::from_micros(1_000)));
        assert_eq!(popped.map(|(at, key)| (at.as_micros(), key.0)), Some((1_000, 0)));
        touched
    };
    assert!(cost(10_000) <= cost(10) + 4, "{} and {}", cost(10_000), cost(10));
}

#[test]
fn the_agenda_answers_in_order_and_forgets_what_was_taken_off() {
    let time = Time::from_micros;
    let mut agenda = Agenda::new();
    assert_eq!((agenda.next_due(), agenda.pop_due(time(100))), (None, None));
    assert_eq!(agenda.insert("b", time(20)), None);
    assert_eq!(agenda.insert("a", time(20)), None);
    assert_eq!(agenda.insert("c", time(10)), None);
    assert_eq!(agenda.insert("c", time(30)), Some(time(10)), "one time for each key");
    assert_eq!(agenda.insert("d", time(5)), None);
    assert_eq!(agenda.remove(&"d"), Some(time(5)));
    assert_eq!(agenda.remove(&"d"), None);
    assert_eq!(
        (agenda.len(), agenda.get(&"c"), agenda.next_due()),
        (3, Some(time(30)), Some(time(20)))
    );
    assert_eq!(agenda.pop_due(time(19)), None);
    let due: Vec<_> = std::iter::from_fn(|| agenda.pop_due(time(29))).collect();
    assert_eq!(due, [(time(20), "a"), (time(20), "b")]);
    assert_eq!(agenda.pop_due(time(30)), Some((time(30), "c")));
    assert!(agenda.is_empty() && agenda.next_due().is_none());
}
