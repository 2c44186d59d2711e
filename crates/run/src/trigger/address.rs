//! What a trigger is called, and where it waits. Both follow from what stands in the file, so that a trigger
//! is the same one in each version of its automation that says the same.

use sha2::{Digest as _, Sha256};

use crate::{
    automation::{Name, On},
    event::Event,
};

/// A trigger's own name: its automation's, its kind, and digits of what it waits for. Two entries of a file
/// that wait for the same have the same name.
pub fn key(automation: &Name, on: &On) -> String {
    let text = serde_json::to_string(on).unwrap_or_default();
    let digest = Sha256::digest(text);
    let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{automation}/{}-{digits}", on.name())
}

/// Where a trigger waits: an event can be what it waits for only if it [arrives](arrives_at) there. `key` is
/// the trigger's name.
pub fn waits_at(on: &On, key: &str) -> String {
    match on {
        On::Webhook { source } => format!("webhook/{source}"),
        On::Automation { name, .. } => format!("automation/{name}"),
        On::Schedule(_) | On::Watch { .. } => format!("{}/{key}", on.name()),
        On::Manual
        | On::Push { .. }
        | On::Tag { .. }
        | On::PullRequest { .. }
        | On::Review { .. }
        | On::Comment { .. }
        | On::Issue { .. }
        | On::Check { .. }
        | On::Release { .. }
        | On::Advisory { .. }
        | On::Drift { .. } => on.name().to_owned(),
    }
}

/// Where an event arrives. Those of schedules say in `data.trigger` whose they are.
pub fn arrives_at(event: &Event) -> String {
    match event.family() {
        "webhook" => event.source.clone(),
        "automation" => format!("automation/{}", event.subject.as_deref().unwrap_or_default()),
        family @ ("schedule" | "watch") => {
            format!("{family}/{}", event.data["trigger"].as_str().unwrap_or_default())
        }
        family => family.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, Time, automation::Automation, event::Trust};

    fn triggers(on: &str) -> Vec<(String, String)> {
        let text = format!("name: tidy\non:\n{on}\nsteps:\n  - run: \"true\"\n");
        let automation = Automation::read("tidy.yaml", &text).expect("a file");
        let triggers = automation.triggers.iter();
        triggers
            .map(|one| {
                let key = key(&automation.name, &one.on);
                let at = waits_at(&one.on, &key);
                (key, at)
            })
            .collect()
    }

    fn event(kind: &str, source: &str, subject: &str, data: serde_json::Value) -> Event {
        Event {
            id: EventId::new(Time::from_micros(1), 1),
            source: source.to_owned(),
            delivery: "1".to_owned(),
            kind: kind.to_owned(),
            subject: Some(subject.to_owned()),
            time: Time::from_micros(1),
            project_id: None,
            actor: None,
            trust: Trust::Own,
            ancestry: Default::default(),
            data,
        }
    }

    #[test]
    fn an_event_arrives_where_the_trigger_for_it_waits() {
        let found = triggers(
            "  - webhook: pager\n  - automation: build\n  - push\n  - schedule: \"0 6 * * *\"",
        );
        let of_schedule = serde_json::json!({ "trigger": found[3].0 });
        let null = serde_json::Value::Null;
        let arriving = [
            event("webhook", "webhook/pager", "", null.clone()),
            event("automation.failed", "automation", "build", null.clone()),
            event("push", "local/api", "refs/heads/main", null),
            event("schedule", "schedule/tidy", "", of_schedule),
        ];
        for (event, (_, at)) in arriving.iter().zip(&found) {
            assert_eq!(arrives_at(event), *at);
        }
    }

    #[test]
    fn a_trigger_keeps_its_name_while_it_waits_for_the_same() {
        let one = triggers("  - push\n  - schedule: \"0 6 * * *\"");
        let moved = triggers("  - schedule: \"0 6 * * *\"\n    cooldown: 5m\n  - tag");
        assert_eq!(one[1].0, moved[0].0);
        assert!(one[1].0.starts_with("tidy/schedule-"), "{}", one[1].0);
        assert_ne!(one[1].0, triggers("  - schedule: \"0 7 * * *\"")[0].0);
    }
}
