//! What a file says, in a line for people: lists and plans show these.

use std::fmt;

use serde_json::json;

use super::{Glob, On, Targets};
use crate::Time;

impl fmt::Display for On {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())?;
        let told = match self {
            Self::Manual => String::new(),
            Self::Schedule(settings) => format!(" {} {}", settings.cron, settings.timezone),
            Self::Push { branches, paths } => globs(" to", branches) + &globs(" touching", paths),
            Self::Tag { names } => globs("", names),
            Self::PullRequest { actions, branches, labels, .. } => {
                list("", actions) + &globs(" into", branches) + &list(" labelled", labels)
            }
            Self::Review { verdicts } => list("", verdicts),
            Self::Comment { command, .. } => {
                command.as_ref().map(|word| format!(" /{word}")).unwrap_or_default()
            }
            Self::Issue { actions, labels } => list("", actions) + &list(" labelled", labels),
            Self::Check { outcomes, names } => list("", outcomes) + &globs(" of", names),
            Self::Release { actions } => list("", actions),
            Self::Webhook { source } => format!(" {source}"),
            Self::Automation { name, outcomes } => {
                let outcomes: Vec<String> = outcomes
                    .iter()
                    .filter_map(|outcome| json!(outcome).as_str().map(str::to_owned))
                    .collect();
                format!(" {name}") + &list("", &outcomes)
            }
            Self::Advisory { ecosystems, .. } => list("", ecosystems),
            Self::Drift { path, .. } => format!(" {path}"),
            Self::Watch { schedule, .. } => format!(" {} {}", schedule.cron, schedule.timezone),
        };
        formatter.write_str(&told)
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.is_from_trigger() {
            parts.push("the project of the event".to_owned());
        }
        match &self.repositories[..] {
            [] => {}
            [one] => parts.push(one.clone()),
            many if many.len() <= 3 => parts.push(many.join(", ")),
            many => parts.push(format!("{} and {} more", many[..2].join(", "), many.len() - 2)),
        }
        if let Some(labels) = &self.labels {
            parts.push(format!("projects with {labels}"));
        }
        if let Some(search) = &self.search {
            parts.push(format!("what {} finds for `{}`", search.forge, search.query));
        }
        if let Some(file) = &self.file {
            parts.push(format!("the lines of {file}"));
        }
        if self.command.is_some() {
            parts.push("what a command prints".to_owned());
        }
        formatter.write_str(&parts.join("; "))
    }
}

impl super::Automation {
    /// When its schedules start it after a time: the next `n`, in order.
    pub fn starts_after(&self, after: Time, n: usize) -> Vec<Time> {
        let mut starts: Vec<Time> = self
            .triggers
            .iter()
            .enumerate()
            .filter_map(|(place, trigger)| Some((place, trigger.on.schedule()?)))
            .flat_map(|(place, settings)| {
                let calendar = crate::schedule::Calendar::new(settings, self.schedule_key(place));
                calendar.upcoming(after, n).into_iter().map(|fire| fire.starts_at)
            })
            .collect();
        starts.sort_unstable();
        starts.truncate(n);
        starts
    }

    /// The key of the calendar of one of its triggers, by its place in `on`. What fires and what is shown go
    /// by the same, so that their jitter is.
    pub fn schedule_key(&self, place: usize) -> String {
        format!("{}/{place}", self.name)
    }
}

impl On {
    /// When it fires by the clock; absent for what waits for something else.
    pub fn schedule(&self) -> Option<&crate::schedule::ScheduleSettings> {
        match self {
            Self::Schedule(settings) => Some(settings),
            _ => None,
        }
    }
}

fn list(before: &str, words: &[String]) -> String {
    match words {
        [] => String::new(),
        words => format!("{before} {}", words.join(", ")),
    }
}

fn globs(before: &str, globs: &[Glob]) -> String {
    let globs: Vec<String> = globs.iter().map(|glob| glob.as_str().to_owned()).collect();
    list(before, &globs)
}
