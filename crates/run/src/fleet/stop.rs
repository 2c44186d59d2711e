//! Stop rules: what they have seen, and whether that is enough.

use serde::{Deserialize, Serialize};

use crate::{
    fleet::{
        Event, Review, State, Trouble, bound,
        plan::{Over, Rate, StopRule},
    },
    job::Outcome,
};

/// What one stop rule has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// How many were bad.
    pub bad: u32,
    /// Of how many.
    pub of: u32,
    /// For a rule over the newest ones: each of them, the oldest first; `x` was bad.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub newest: String,
}

impl Watched {
    fn see(&mut self, is_bad: bool, over: Over) {
        self.of = self.of.saturating_add(1);
        self.bad = self.bad.saturating_add(u32::from(is_bad));
        let Over::Last(last) = over else { return };
        self.newest.push(if is_bad { 'x' } else { '.' });
        if self.of > last {
            self.of -= 1;
            self.bad -= u32::from(self.newest.starts_with('x'));
            self.newest.remove(0);
        }
    }
}

impl State {
    /// All rules look at the end of a job.
    pub(super) fn see_end(&mut self, outcome: Outcome, trouble: Option<Trouble>) {
        for (rule, watched) in self.plan.rollout.stop_when.iter().zip(&mut self.watched) {
            let counts = |trouble| rule.of.is_empty() || rule.of.contains(&trouble);
            match (rule.rate, outcome, trouble) {
                (Rate::Rejections, ..) | (_, Outcome::Skipped | Outcome::Cancelled, _) => {}
                (Rate::Failures, Outcome::Succeeded, _) => watched.see(false, rule.over),
                (Rate::Failures, _, Some(trouble)) if counts(trouble) => {
                    watched.see(true, rule.over)
                }
                (Rate::Failures, ..) => {}
            }
        }
    }

    /// All rules look at what a reviewer said. A change is seen when it is decided while it waits for a review:
    /// one that was sent back and is closed later is seen once.
    pub(super) fn see_review(&mut self, from: Review, to: Review) {
        if from != Review::Open || to == Review::Open {
            return;
        }
        let is_bad = matches!(to, Review::SentBack | Review::Closed);
        for (rule, watched) in self.plan.rollout.stop_when.iter().zip(&mut self.watched) {
            if rule.rate == Rate::Rejections {
                watched.see(is_bad, rule.over);
            }
        }
    }

    /// A ring was opened: rules over rings begin to count anew.
    pub(super) fn see_ring(&mut self) {
        for (rule, watched) in self.plan.rollout.stop_when.iter().zip(&mut self.watched) {
            if rule.over == Over::Ring {
                *watched = Watched::default();
            }
        }
    }

    /// The first rule that says stop.
    pub(super) fn crossed(&self) -> Option<Event> {
        let rules = self.plan.rollout.stop_when.iter().zip(&self.watched).enumerate();
        rules.filter(|(_, (_, watched))| watched.bad > 0).find_map(|(n, (rule, watched))| {
            let least = bound::lower(rule.method, watched.bad, watched.of, rule.confidence);
            (least > rule.above.as_fraction()).then(|| Event::Stopped {
                rule: u16::try_from(n).unwrap_or(u16::MAX),
                bad: watched.bad,
                of: watched.of,
                reason: in_words(rule, watched, least),
            })
        })
    }
}

fn in_words(rule: &StopRule, watched: &Watched, least: f64) -> String {
    let what = match rule.rate {
        Rate::Failures if rule.of.is_empty() => "jobs failed".to_owned(),
        Rate::Failures => {
            let kinds: Vec<&str> = rule.of.iter().map(|trouble| trouble.describe()).collect();
            format!("jobs failed ({})", kinds.join(", "))
        }
        Rate::Rejections => "changes were sent back or closed".to_owned(),
    };
    let Watched { bad, of, .. } = watched;
    // Rounded down: what is claimed is never more than what is known.
    let least = (least * 1000.0).floor() / 10.0;
    format!(
        "{bad} of {of} {what}: at a confidence of {} that is a rate of at least {least} %, and {} is allowed",
        rule.confidence, rule.above
    )
}
