//! When schedules are due, over all of them. While none is, one number is looked at, however many there are.
//! Pure: whoever asks brings the time and keeps what comes of it.

use std::{collections::HashMap, sync::Arc};

use windlass_run::{
    Duration, Time,
    automation::On,
    schedule::{Agenda, Calendar, Due},
};

use super::index::{Index, Known};

/// How late a fire may be before it counts as missed.
const GRACE: Duration = Duration::from_secs(60);

/// A schedule that is watched.
struct Watched {
    automation: String,
    calendar: Calendar,
    /// Up to which fire everything is handled.
    handled: Time,
}

/// What came due of a schedule.
pub(crate) struct Came {
    /// The key of its trigger.
    pub(crate) trigger: String,
    /// The name of its automation.
    pub(crate) automation: String,
    /// What is to be started, and what was missed.
    pub(crate) due: Due,
}

/// See the room.
#[derive(Default)]
pub(crate) struct Timetable {
    watched: HashMap<String, Watched>,
    agenda: Agenda<String>,
    /// How many calendars were ever looked into: what a test counts instead of time.
    #[cfg(test)]
    looks: u64,
}

/// What a new index changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Schedules that are watched from now on, and from when each counts.
    pub(crate) watch: Vec<(String, Time)>,
    /// Those that are not any more.
    pub(crate) forget: Vec<String>,
    /// Automations with a schedule that never fires again.
    pub(crate) dead: Vec<String>,
    /// Automations with schedules, all of which fire.
    pub(crate) alive: Vec<String>,
}

impl Timetable {
    /// One that was kept: up to which fire each is handled.
    pub(crate) fn kept(index: &Index, kept: Vec<(String, Time)>) -> (Self, Changes) {
        let mut table = Self::default();
        let kept: HashMap<String, Time> = kept.into_iter().collect();
        let mut changes = table.update_with(index, &kept);
        changes.watch.retain(|(key, _)| !kept.contains_key(key));
        changes.forget = kept.into_keys().filter(|key| !table.watched.contains_key(key)).collect();
        (table, changes)
    }

    /// Takes over what automations say now.
    pub(crate) fn update(&mut self, index: &Index) -> Changes {
        self.update_with(index, &HashMap::new())
    }

    fn update_with(&mut self, index: &Index, kept: &HashMap<String, Time>) -> Changes {
        let mut changes = Changes::default();
        let mut before = std::mem::take(&mut self.watched);
        for known in index.all().filter(|known| !known.is_paused && known.automation.enabled) {
            let (mut has_one, mut is_alive) = (false, true);
            for (key, calendar) in schedules(known) {
                has_one = true;
                let watched = before.remove(&key).unwrap_or_else(|| {
                    let from = kept.get(&key).copied().unwrap_or(known.changed_at);
                    changes.watch.push((key.clone(), from));
                    let automation = known.automation.name.to_string();
                    Watched { automation, calendar, handled: from }
                });
                self.watched.insert(key.clone(), watched);
                is_alive &= self.agenda.get(&key).is_some() || self.put_on(&key);
            }
            if has_one {
                let name = known.automation.name.to_string();
                if is_alive { changes.alive.push(name) } else { changes.dead.push(name) }
            }
        }
        for key in before.into_keys() {
            self.agenda.remove(&key);
            changes.forget.push(key);
        }
        changes
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.agenda.next_due()
    }

    /// How many calendars were ever looked into.
    #[cfg(test)]
    fn looks(&self) -> u64 {
        self.looks
    }

    /// What is due now, at most so many schedules of it. They are on the agenda again afterwards.
    pub(crate) fn take_due(&mut self, now: Time, most: usize) -> Vec<Came> {
        let mut all = Vec::new();
        while all.len() < most {
            let Some((_, key)) = self.agenda.pop_due(now) else { break };
            self.look();
            let Some(watched) = self.watched.get_mut(&key) else { continue };
            let due = watched.calendar.due(watched.handled, now, GRACE);
            let handled = due.handled;
            if let Some(handled) = handled {
                watched.handled = handled;
                let automation = watched.automation.clone();
                all.push(Came { trigger: key.clone(), automation, due });
            }
            self.put_on(&key);
        }
        all
    }

    fn look(&mut self) {
        #[cfg(test)]
        {
            self.looks += 1;
        }
    }

    /// Puts the next fire of a schedule on the agenda. False if there is none.
    fn put_on(&mut self, key: &str) -> bool {
        self.look();
        let Some(watched) = self.watched.get(key) else { return false };
        match watched.calendar.next_after(watched.handled) {
            Some(fire) => {
                self.agenda.insert(key.to_owned(), fire.starts_at);
                true
            }
            None => false,
        }
    }
}

fn schedules(known: &Arc<Known>) -> impl Iterator<Item = (String, Calendar)> {
    known.triggers().filter_map(|waiting| match &waiting.trigger().on {
        On::Schedule(settings) => {
            let key = waiting.key().to_owned();
            Some((key.clone(), Calendar::new(settings, key)))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use windlass_run::{
        OrganisationId, actor::By, automation::Automation, schedule::parse_rfc3339,
    };
    use windlass_store::automations::{self as stored, Origin, Pause, Version};

    use super::*;

    fn at(text: &str) -> Time {
        parse_rfc3339(&format!("2026-11-02T{text}Z")).expect("a moment")
    }

    fn known(name: &str, on: &str, changed_at: Time, is_paused: bool) -> Arc<Known> {
        let text = format!("name: {name}\non:\n  - {on}\nsteps:\n  - run: \"true\"\n");
        let by = By::system("test");
        let pause = Pause { at: changed_at, by: by.clone(), why: "test".to_owned() };
        let row = stored::Automation {
            organisation_id: OrganisationId::new(changed_at, 1),
            name: name.to_owned(),
            current: Version {
                version: 1,
                file: format!("{name}.yaml"),
                digest: "d".to_owned(),
                origin: Origin::Hand,
                by: by.clone(),
                at: changed_at,
                text: text.clone(),
            },
            applied: by,
            paused: is_paused.then_some(pause),
            created_at: changed_at,
            changed_at,
        };
        Arc::new(Known::new(Automation::read("test.yaml", &text).expect("a file"), row))
    }

    fn index(all: impl IntoIterator<Item = Arc<Known>>) -> Index {
        Index::of(all, Some(1))
    }

    #[test]
    fn ten_thousand_schedules_of_which_none_is_due_are_not_looked_at() {
        let daily = (0..10_000).map(|n| {
            let on = format!("schedule: \"{} 6 * * *\"", n % 60);
            known(&format!("a{n}"), &on, at("00:00:00"), false)
        });
        let (mut table, changes) = Timetable::kept(&index(daily), vec![]);
        assert_eq!((changes.watch.len(), changes.alive.len()), (10_000, 10_000));
        let looks = table.looks();
        assert_eq!(looks, 10_000, "each once, to know when it is due");
        let mut now = at("00:00:01");
        while now < at("05:59:59") {
            assert!(table.take_due(now, 1_000).is_empty());
            assert_eq!(table.next_due(), Some(at("06:00:00")));
            now = now + Duration::from_secs(60);
        }
        assert_eq!(table.looks(), looks, "none was looked at while none was due");
        let due: usize =
            std::iter::repeat_with(|| table.take_due(at("06:00:00"), 100).len()).take(3).sum();
        assert_eq!(due, 167, "those of that minute, in parts");
        assert_eq!(table.next_due(), Some(at("06:01:00")));
    }

    #[test]
    fn a_fire_comes_once_and_what_was_kept_is_gone_on_from() {
        let on = "schedule: \"0 * * * *\"";
        let one = || index([known("hourly", on, at("00:30:00"), false)]);
        let (mut table, changes) = Timetable::kept(&one(), vec![]);
        let key = changes.watch[0].0.clone();
        assert_eq!(changes.watch, [(key.clone(), at("00:30:00"))]);
        let came = table.take_due(at("01:00:00"), 10).pop().expect("due");
        assert_eq!((came.trigger, came.due.handled), (key.clone(), Some(at("01:00:00"))));
        assert!(table.take_due(at("01:00:01"), 10).is_empty());
        assert_eq!(
            table.update(&one()),
            Changes { alive: vec!["hourly".into()], ..Changes::default() }
        );
        assert!(table.take_due(at("01:30:00"), 10).is_empty());
        let kept = vec![(key.clone(), at("01:00:00")), ("gone".to_owned(), at("01:00:00"))];
        let (mut table, changes) = Timetable::kept(&one(), kept);
        assert_eq!((changes.watch, changes.forget), (vec![], vec!["gone".to_owned()]));
        let came = table.take_due(at("05:10:00"), 10).pop().expect("due");
        assert_eq!(came.due.fires.len(), 1, "one stands for those that were missed");
        assert_eq!(came.due.missed.expect("missed").count, 4);
    }

    #[test]
    fn what_is_paused_is_forgotten_and_counts_anew_when_it_goes_on() {
        let on = "schedule: \"0 * * * *\"";
        let (mut table, changes) =
            Timetable::kept(&index([known("hourly", on, at("00:30:00"), false)]), vec![]);
        let key = changes.watch[0].0.clone();
        let paused = table.update(&index([known("hourly", on, at("00:40:00"), true)]));
        assert_eq!(paused.forget, std::slice::from_ref(&key));
        assert_eq!(table.next_due(), None);
        let resumed = table.update(&index([known("hourly", on, at("09:30:00"), false)]));
        assert_eq!(resumed.watch, [(key, at("09:30:00"))]);
        assert_eq!(table.next_due(), Some(at("10:00:00")));
    }

    #[test]
    fn a_schedule_that_only_fires_in_its_blackouts_is_told_to_be_dead() {
        let on = "schedule: \"0 12 * * SAT\"\n    blackout: Sat - Sun";
        let (table, changes) =
            Timetable::kept(&index([known("never", on, at("00:00:00"), false)]), vec![]);
        assert_eq!((changes.dead, table.next_due()), (vec!["never".to_owned()], None));
    }
}
