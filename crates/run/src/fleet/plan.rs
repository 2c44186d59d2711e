//! How a fleet is to go: rings, what opens the next one, what stops all of it, and its limits. In the words
//! of the automation file, but for times (microseconds) and money (millionths).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Duration,
    fleet::{Amount, Share, Trouble, bound::Method},
};

/// The most rings of a plan.
pub const MOST_RINGS: usize = 20;
/// The most stop rules of a plan.
pub const MOST_RULES: usize = 8;
/// The most forges with a pace of their own.
pub const MOST_FORGES: usize = 16;
/// The longest look back of a stop rule, in observations.
pub const LONGEST_LOOK: u32 = 1_000;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// In which order targets are begun.
    #[serde(default)]
    pub rollout: Rollout,
    /// How much at once.
    #[serde(default)]
    pub limits: Limits,
}

/// Rings, and the rules between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// How far each ring goes; the last one takes the rest.
    #[serde(default = "one_ring")]
    pub rings: Vec<RingSize>,
    /// What must be true of a ring before the next one is opened, beside that all its jobs have ended.
    #[serde(default)]
    pub advance_when: AdvanceWhen,
    /// What stops the fleet, any of them.
    #[serde(default = "usual_rules")]
    pub stop_when: Vec<StopRule>,
}

/// How far a ring goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RingSize {
    /// Until so many targets, or so large a part of all, are in this ring and those before it.
    UpTo(Amount),
    /// All that are left.
    Rest(Rest),
    /// Canaries: the targets that bear a label. They are in no other ring.
    Label(Canaries),
}

/// The word `rest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rest {
    /// All that are left.
    #[serde(rename = "rest")]
    Rest,
}

/// Targets chosen by a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canaries {
    /// The label.
    pub label: String,
    /// At most so many of them; the others come later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<u32>,
}

/// What must be true of a ring, all of it. What is absent asks for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdvanceWhen {
    /// At least this part of the jobs that had something to do ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<Share>,
    /// At least this part of the changes was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Share>,
    /// So many of the changes, or this part, were approved or merged. If there are fewer, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed: Option<Amount>,
    /// So long after the ring's last job ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
}

/// What stops a fleet: a rate of which it is known, at a confidence, that it is above what is allowed. How
/// many must have been seen for that follows from the confidence alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopRule {
    /// Of what.
    pub rate: Rate,
    /// The rate that is allowed.
    pub above: Share,
    /// How sure one must be: above 50 %, below 100 %.
    #[serde(default = "usual_confidence")]
    pub confidence: Share,
    /// Over which observations.
    #[serde(default)]
    pub over: Over,
    /// How the bound is computed.
    #[serde(default)]
    pub method: Method,
    /// For [`Rate::Failures`]: which kinds of trouble count; all if none is named. What does not count is
    /// not seen at all: neither bad nor good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<Trouble>,
}

/// Which rate a rule watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rate {
    /// Jobs that failed or gave up, among those that ended with something to do.
    Failures,
    /// Changes that a reviewer sent back or closed, among those decided.
    Rejections,
}

/// Over which observations a rule looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// Those since the newest ring was opened.
    #[default]
    Ring,
    /// All of them.
    Fleet,
    /// The newest so many.
    Last(u32),
}

/// How much at once. What is absent has no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Jobs at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// Changes opened within any hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes_per_hour: Option<u32>,
    /// The same for single forges, by their host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forges: BTreeMap<String, Pace>,
    /// Changes open at once: neither merged nor closed. That of a target that is retried goes on counting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_changes: Option<u32>,
    /// The same in one repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_changes_per_repository: Option<u32>,
    /// Changes that wait for one owner's review at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_changes_per_owner: Option<u32>,
    /// Tokens of all jobs together, after which no more are begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Money of all jobs together, in millionths of a US dollar, after which no more are begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_usd: Option<u64>,
}

/// The pace of one forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// Changes opened there within any hour.
    pub changes_per_hour: u32,
}

/// A plan that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// Which field, as a path from the plan.
    pub field: String,
    /// What is wrong with it and what to do.
    pub why: String,
}

fn one_ring() -> Vec<RingSize> {
    vec![RingSize::Rest(Rest::Rest)]
}

fn usual_rules() -> Vec<StopRule> {
    vec![StopRule {
        rate: Rate::Failures,
        above: Share::percent(50),
        confidence: usual_confidence(),
        over: Over::Ring,
        method: Method::Exact,
        of: Vec::new(),
    }]
}

fn usual_confidence() -> Share {
    Share::percent(95)
}

impl Default for Rollout {
    fn default() -> Self {
        Self { rings: one_ring(), advance_when: AdvanceWhen::default(), stop_when: usual_rules() }
    }
}

impl RingSize {
    fn takes_the_rest(&self) -> bool {
        matches!(self, Self::Rest(_) | Self::UpTo(Amount::Share(Share::ALL)))
    }
}

impl Plan {
    /// Whether such a plan can be.
    ///
    /// # Errors
    /// The first fault, with its place and a remedy.
    pub fn check(&self) -> Result<(), Invalid> {
        self.rollout.check()?;
        self.limits.check()
    }

    /// Which ring each target is in, given the labels of each in the order in which they are to be begun.
    /// Call [`Plan::check`] first: of a plan that can't be, what no ring takes is in the last.
    pub fn allot<'a, L>(&self, targets: impl IntoIterator<Item = L>) -> Vec<u16>
    where
        L: IntoIterator<Item = &'a str>,
    {
        let rings = &self.rollout.rings;
        let last = rings.len().saturating_sub(1);
        let mut taken = vec![0_u32; rings.len().max(1)];
        let mut places: Vec<Option<usize>> = Vec::new();
        for labels in targets {
            let labels: Vec<&str> = labels.into_iter().collect();
            let ring = rings.iter().enumerate().position(|(ring, size)| match size {
                RingSize::Label(canaries) => {
                    labels.contains(&canaries.label.as_str())
                        && canaries.most.is_none_or(|most| taken[ring] < most)
                }
                RingSize::UpTo(_) | RingSize::Rest(_) => false,
            });
            if let Some(ring) = ring {
                taken[ring] += 1;
            }
            places.push(ring);
        }
        let all = u32::try_from(places.len()).unwrap_or(u32::MAX);
        let mut waiting = places.iter_mut().filter(|place| place.is_none());
        for (ring, size) in rings.iter().enumerate() {
            let RingSize::UpTo(amount) = size else { continue };
            let before: u32 = taken[..ring].iter().sum();
            for place in waiting.by_ref().take(amount.of(all).saturating_sub(before) as usize) {
                *place = Some(ring);
                taken[ring] += 1;
            }
        }
        let index = |ring: usize| u16::try_from(ring).unwrap_or(u16::MAX);
        places.into_iter().map(|place| index(place.unwrap_or(last))).collect()
    }
}

impl Rollout {
    fn check(&self) -> Result<(), Invalid> {
        let fault = |field: String, why: &str| Err(Invalid { field, why: why.to_owned() });
        let rings = &self.rings;
        if rings.len() > MOST_RINGS {
            return fault("rollout.rings".into(), "give at most 20 rings");
        }
        if !rings.last().is_some_and(RingSize::takes_the_rest) {
            let why =
                "the last ring must be `rest` or `100%`: otherwise some targets would be in none";
            return fault("rollout.rings".into(), why);
        }
        let (mut count, mut share) = (0, Share::default());
        for (n, ring) in rings.iter().enumerate() {
            let field = format!("rollout.rings[{n}]");
            if ring.takes_the_rest() && n + 1 < rings.len() {
                return fault(field, "only the last ring can take the rest");
            }
            match ring {
                RingSize::UpTo(Amount::Count(upto)) if *upto > count => count = *upto,
                RingSize::UpTo(Amount::Share(upto)) if *upto > share => share = *upto,
                RingSize::UpTo(_) => {
                    let why = "each ring says how far the fleet has come with it, so it must say more than the \
                               one before";
                    return fault(field, why);
                }
                RingSize::Label(canaries) if canaries.label.is_empty() => {
                    return fault(field, "name the label of the canaries");
                }
                RingSize::Label(Canaries { most: Some(0), .. }) => {
                    return fault(field, "a ring of no target would never be begun: leave it out");
                }
                RingSize::Label(_) | RingSize::Rest(_) => {}
            }
        }
        if self.advance_when.after.is_some_and(|after| after.as_micros() < 0) {
            return fault("rollout.advance_when.after".into(), "a time can't be negative");
        }
        if self.stop_when.len() > MOST_RULES {
            return fault("rollout.stop_when".into(), "give at most 8 rules");
        }
        self.stop_when.iter().enumerate().try_for_each(|(n, rule)| {
            rule.check().map_err(|(field, why)| Invalid {
                field: format!("rollout.stop_when[{n}].{field}"),
                why: why.to_owned(),
            })
        })
    }
}

impl StopRule {
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.above >= Share::ALL {
            return Err(("above", "no rate is above 100%: give less"));
        }
        if self.confidence <= Share::percent(50) || self.confidence >= Share::ALL {
            return Err(("confidence", "give more than 50% and less than 100%"));
        }
        if let Over::Last(last) = self.over
            && !(1..=LONGEST_LOOK).contains(&last)
        {
            return Err(("over", "give 1 to 1000 observations"));
        }
        if let Over::Last(last) = self.over
            && crate::fleet::bound::stops_at(self.method, last, self.above, self.confidence)
                .is_none()
        {
            return Err(("over", "so few observations can never be enough: look at more of them"));
        }
        if self.rate == Rate::Rejections && !self.of.is_empty() {
            return Err(("of", "kinds of trouble are told apart among failures only"));
        }
        Ok(())
    }
}

impl Limits {
    fn check(&self) -> Result<(), Invalid> {
        let counts = [
            ("parallel", self.parallel),
            ("changes_per_hour", self.changes_per_hour),
            ("open_changes", self.open_changes),
            ("open_changes_per_repository", self.open_changes_per_repository),
            ("open_changes_per_owner", self.open_changes_per_owner),
        ];
        let none = counts
            .into_iter()
            .find(|(_, count)| *count == Some(0))
            .map(|(name, _)| name.to_owned());
        let none = none.or_else(|| {
            let still = self.forges.iter().find(|(_, pace)| pace.changes_per_hour == 0);
            still.map(|(host, _)| format!("forges.{host}.changes_per_hour"))
        });
        if let Some(name) = none {
            let why =
                "with 0 nothing would ever be begun: give at least 1, or leave it out".to_owned();
            return Err(Invalid { field: format!("limits.{name}"), why });
        }
        if self.forges.len() > MOST_FORGES {
            return Err(Invalid {
                field: "limits.forges".into(),
                why: "give at most 16 forges".into(),
            });
        }
        Ok(())
    }
}
