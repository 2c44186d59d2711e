//! What an automation would have started, had it been there: events of the past are looked at in their order,
//! and what it would have started before counts as its past.

use std::collections::HashMap;

use super::{DEEPEST_CHAIN, Past, Start, WhyNot, address, admits, looks};
use crate::{Time, automation::Automation, event::Event};

/// An automation that only says what it would do.
pub struct Rehearsal<'a> {
    automation: &'a Automation,
    /// The name and the place of each trigger, and what it would have started.
    triggers: Vec<(String, Before)>,
}

/// What a trigger would have started before.
#[derive(Default)]
struct Before {
    keys: HashMap<String, Time>,
    subjects: HashMap<String, Time>,
    starts: Vec<Time>,
}

impl<'a> Rehearsal<'a> {
    /// Before anything happened.
    pub fn new(automation: &'a Automation) -> Self {
        let triggers = automation.triggers.iter().map(|one| {
            let key = address::key(&automation.name, &one.on);
            (address::waits_at(&one.on, &key), Before::default())
        });
        Self { automation, triggers: triggers.collect() }
    }

    /// What each trigger that waits for such an event makes of it, by its place in the file. `at` is when the
    /// event arrived; events come in that order.
    pub fn see(&mut self, event: &Event, at: Time) -> Vec<(usize, Result<Start, WhyNot>)> {
        let arrives = address::arrives_at(event);
        let mut said = Vec::new();
        for (n, (place, before)) in self.triggers.iter_mut().enumerate() {
            if *place != arrives {
                continue;
            }
            let trigger = &self.automation.triggers[n];
            let start = looks(self.automation, trigger, event, DEEPEST_CHAIN).and_then(|start| {
                let most = trigger.rate.map_or(1, |rate| rate.most as usize);
                let past = Past {
                    same_key: before.keys.get(&start.key).copied(),
                    same_subject: before.subjects.get(&start.subject).copied(),
                    rate_began: before.starts.iter().rev().nth(most.saturating_sub(1)).copied(),
                };
                admits(trigger, &past, at)?;
                before.keys.insert(start.key.clone(), at);
                before.subjects.insert(start.subject.clone(), at);
                before.starts.push(at);
                Ok(start)
            });
            if start != Err(WhyNot::Other) {
                said.push((n, start));
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, event::Trust};

    #[test]
    fn what_would_have_been_started_before_counts() {
        let text = "name: fix\non:\n  - webhook: pager\n    rate: 2/h\n    dedup: ${{ event.data.n }}\nsteps:\n  \
                    - run: \"true\"\n";
        let automation = Automation::read("fix.yaml", text).expect("a file");
        let mut rehearsal = Rehearsal::new(&automation);
        let mut see = |minute: i64, source: &str, n: &str| {
            let at = Time::from_micros(minute * 60_000_000);
            let event = Event {
                id: EventId::new(at, 1),
                source: source.to_owned(),
                delivery: minute.to_string(),
                kind: "webhook".to_owned(),
                subject: None,
                time: at,
                project_id: None,
                actor: None,
                trust: Trust::Member,
                ancestry: Default::default(),
                data: serde_json::json!({ "n": n }),
            };
            let said = rehearsal.see(&event, at);
            said.into_iter().map(|(_, said)| said.err().map(|why| why.word())).collect::<Vec<_>>()
        };
        assert_eq!(see(0, "webhook/pager", "a"), [None]);
        assert_eq!(see(1, "webhook/other", "b"), []);
        assert_eq!(see(2, "webhook/pager", "a"), [Some("duplicate")]);
        assert_eq!(see(3, "webhook/pager", "b"), [None]);
        assert_eq!(see(4, "webhook/pager", "c"), [Some("rate")]);
        assert_eq!(see(61, "webhook/pager", "c"), [None]);
        assert_eq!(see(1_441, "webhook/pager", "a"), [None]);
    }
}
