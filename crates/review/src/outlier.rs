//! Which changes a reviewer should see for themselves, and why.

use std::{cmp::Ordering, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use crate::{
    alike,
    cluster::{Change, Cluster, Member},
    place::{Place, Role},
    summary::Facts,
};

/// Below so many there is no "most" to stand out from.
const FEW: usize = 3;
/// Farther from the exemplar than this is said.
const FAR: f64 = 0.4;
/// So much of a cluster touches a kind of file at most, where touching it is odd.
const ODD_SHARE: f64 = 0.2;
/// So many times the usual size is large, and at least so many lines more.
const LARGE: (u32, u32) = (3, 20);
/// By so many lines tests must have become shorter to be told.
const LOST_TESTS: u32 = 5;
/// To so many large clusters what stands alone is compared.
const NEIGHBOURS: usize = 64;

/// A change that stands out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outlier {
    /// Its id.
    pub id: String,
    /// How far it is from the exemplar of its cluster, or of the nearest one if it stands alone.
    pub distance: f64,
    /// Why, for a person; at least one reason.
    pub why: Vec<String>,
    /// How much it should be looked at: more is sooner.
    pub weight: f64,
}

/// The order in which outliers are shown.
pub(crate) fn odder(a: &Outlier, b: &Outlier) -> Ordering {
    b.weight.total_cmp(&a.weight).then_with(|| a.id.cmp(&b.id))
}

/// The outliers within a cluster, the oddest first.
pub(crate) fn within(members: &[(Member, Change<'_>)], exemplar: Change<'_>) -> Vec<Outlier> {
    if members.len() < FEW {
        return Vec::new();
    }
    let usual = Usual::of(members, &exemplar.summary.facts);
    let mut outliers: Vec<Outlier> = members
        .iter()
        .filter_map(|(member, change)| {
            let mut reasons = usual.reasons(&change.summary.facts);
            if member.distance > FAR {
                let percent = (member.distance * 100.0).round();
                reasons.push((
                    member.distance,
                    format!("differs from the exemplar in {percent} % of what was compared"),
                ));
            }
            outlier(change.id, member.distance, reasons)
        })
        .collect();
    outliers.sort_by(odder);
    outliers
}

/// What stands alone, or in two, beside larger clusters, is an outlier of the whole.
pub(crate) fn alone(clusters: &mut [(Cluster, Change<'_>)]) {
    let large: Vec<(String, Change<'_>)> = clusters
        .iter()
        .take_while(|(cluster, _)| cluster.members.len() >= FEW)
        .take(NEIGHBOURS)
        .map(|(cluster, exemplar)| (cluster.id.clone(), *exemplar))
        .collect();
    for (cluster, exemplar) in
        clusters.iter_mut().filter(|(cluster, _)| cluster.members.len() < FEW)
    {
        let nearest = large
            .iter()
            .map(|(id, other)| (1.0 - alike::likeness(exemplar.summary, other.summary), id, other))
            .min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
        let Some((distance, id, other)) = nearest else { continue };
        let mut reasons = Usual::one(&other.summary.facts).reasons(&exemplar.summary.facts);
        let percent = (distance * 100.0).round();
        reasons.push((
            1.0 + distance,
            format!("is like no other: differs from the nearest cluster, {id}, in {percent} %"),
        ));
        let found = cluster
            .members
            .iter()
            .filter_map(|member| outlier(&member.id, distance, reasons.clone()));
        cluster.outliers = found.collect();
    }
}

fn outlier(id: &str, distance: f64, mut reasons: Vec<(f64, String)>) -> Option<Outlier> {
    reasons.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let weight = reasons.iter().map(|(weight, _)| weight).sum();
    let why: Vec<String> = reasons.into_iter().map(|(_, reason)| reason).collect();
    (!why.is_empty()).then(|| Outlier { id: id.to_owned(), distance, why, weight })
}

/// What is usual in a cluster.
struct Usual<'a> {
    exemplar: &'a Facts,
    count: usize,
    places: BTreeMap<&'a Place, usize>,
    deleted_tests: usize,
    lost_tests: usize,
    lines: u32,
}

impl<'a> Usual<'a> {
    fn of(members: &[(Member, Change<'a>)], exemplar: &'a Facts) -> Self {
        let mut usual = Self { count: members.len(), ..Self::one(exemplar) };
        usual.places.clear();
        (usual.deleted_tests, usual.lost_tests) = (0, 0);
        let mut lines = Vec::new();
        for (_, change) in members {
            let facts = &change.summary.facts;
            for (place, _) in &facts.places {
                *usual.places.entry(place).or_default() += 1;
            }
            usual.deleted_tests += usize::from(facts.deleted_tests > 0);
            usual.lost_tests += usize::from(facts.lost_tests() >= LOST_TESTS);
            lines.push(facts.lines());
        }
        lines.sort_unstable();
        usual.lines = lines.get(lines.len() / 2).copied().unwrap_or(0);
        usual
    }

    fn one(facts: &'a Facts) -> Self {
        Self {
            exemplar: facts,
            count: 1,
            places: facts.places.iter().map(|(place, _)| (place, 1)).collect(),
            deleted_tests: usize::from(facts.deleted_tests > 0),
            lost_tests: usize::from(facts.lost_tests() >= LOST_TESTS),
            lines: facts.lines(),
        }
    }

    /// Why a change stands out, each reason with its weight.
    fn reasons(&self, facts: &Facts) -> Vec<(f64, String)> {
        let mut reasons = Vec::new();
        let is_odd =
            |count: usize, share: f64| (count as f64) < (self.count as f64 * share).max(1.01);
        let as_many = |count: usize| format!(", as {count} of {} do", self.count);
        let as_many = |count: usize| if self.count > 1 { as_many(count) } else { String::new() };
        for (place, _) in &facts.places {
            let count = self.places.get(place).copied().unwrap_or(0);
            let in_exemplar = self.exemplar.places.iter().any(|(other, _)| other == place);
            let (share, weight) =
                if place.role == Role::Ci { (0.5, 1.0) } else { (ODD_SHARE, 0.25) };
            if !in_exemplar && is_odd(count, share) {
                reasons.push((weight, format!("touches {}{}", place.describe(), as_many(count))));
            }
        }
        if facts.deleted_tests > 0
            && is_odd(self.deleted_tests, 0.5)
            && self.exemplar.deleted_tests == 0
        {
            let files = if facts.deleted_tests == 1 { "file" } else { "files" };
            reasons.push((
                1.5,
                format!(
                    "deletes {} test {files}{}",
                    facts.deleted_tests,
                    as_many(self.deleted_tests)
                ),
            ));
        }
        let lost = facts.lost_tests();
        if lost >= LOST_TESTS
            && is_odd(self.lost_tests, 0.5)
            && self.exemplar.lost_tests() < LOST_TESTS
        {
            reasons.push((
                1.0,
                format!("makes tests {lost} lines shorter{}", as_many(self.lost_tests)),
            ));
        }
        let (times, more) = LARGE;
        if facts.lines() >= self.lines.saturating_mul(times)
            && facts.lines() >= self.lines.saturating_add(more)
        {
            let times = facts.lines() / self.lines.max(1);
            let than = if self.count > 1 { "most" } else { "that one" };
            reasons.push((
                0.5,
                format!("is {times} times as large as {than}: {} lines", facts.lines()),
            ));
        }
        for odd in facts.odd.difference(&self.exemplar.odd) {
            reasons.push((0.75, format!("brings {odd}")));
        }
        reasons
    }
}
