//! Clusters: changes that are the same but for what differs from one repository to the next, and those near
//! to them.
//!
//! Changes with the same digest are one *variant*. Variants that are alike are in one cluster, directly or
//! over others between them. So the clusters are the same whatever the order of the changes, and a change
//! that is added later joins clusters but never parts one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Summary, alike,
    outlier::{self, Outlier},
    split::Split,
    spread,
};

/// So many variants of a cluster are asked for the exemplar: the largest ones.
const CANDIDATES: usize = 64;

/// A change to be put into a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Its id: each only once.
    pub id: &'a str,
    /// What was read of it.
    pub summary: &'a Summary,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clusters {
    /// The largest first.
    pub clusters: Vec<Cluster>,
    /// How many pairs of variants were compared to find them.
    pub comparisons: u64,
}

/// Changes that are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// What it is called: from its exemplar's digest, or by the person who split it off.
    pub id: String,
    /// Whether somebody made it by hand.
    pub by_hand: bool,
    /// The change that stands for all: of the variant that is nearest to all others, the one with the least id.
    pub exemplar: String,
    /// All of them, the nearest to the exemplar first.
    pub members: Vec<Member>,
    /// How many variants there are among them.
    pub variants: u32,
    /// What differs among them, in words.
    pub spread: Vec<String>,
    /// Those that a reviewer should see for themselves, the oddest first.
    pub outliers: Vec<Outlier>,
}

/// A change of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// How far it is from the exemplar: 0 is the same, 1 has nothing in common.
    pub distance: f64,
}

/// A variant: the places of the changes that are the same.
struct Variant<'a> {
    summary: &'a Summary,
    changes: Vec<Change<'a>>,
}

/// Finds the clusters of changes. What somebody split off stays apart.
pub fn cluster(changes: &[Change<'_>], splits: &[Split]) -> Clusters {
    let mut apart: Vec<Vec<Change<'_>>> = vec![Vec::new(); splits.len()];
    let mut rest = Vec::new();
    for change in changes {
        match splits.iter().rposition(|split| split.changes.contains(change.id)) {
            Some(split) => apart[split].push(*change),
            None => rest.push(*change),
        }
    }
    let variants = variants(&rest);
    let summaries: Vec<&Summary> = variants.iter().map(|variant| variant.summary).collect();
    let (groups, comparisons) = alike::groups(&summaries);
    let mut variants: Vec<Option<Variant<'_>>> = variants.into_iter().map(Some).collect();
    let mut clusters: Vec<(Cluster, Change<'_>)> = groups
        .into_iter()
        .map(|group| build(group.into_iter().filter_map(|place| variants[place].take()).collect()))
        .collect();
    for (split, changes) in splits.iter().zip(apart).filter(|(_, changes)| !changes.is_empty()) {
        let (cluster, exemplar) = build(self::variants(&changes));
        clusters.push((Cluster { id: split.id.clone(), by_hand: true, ..cluster }, exemplar));
    }
    clusters.sort_by(|(a, _), (b, _)| {
        b.members.len().cmp(&a.members.len()).then_with(|| a.id.cmp(&b.id))
    });
    outlier::alone(&mut clusters);
    Clusters { clusters: clusters.into_iter().map(|(cluster, _)| cluster).collect(), comparisons }
}

impl Clusters {
    /// The same clusters under the names that they had before: each earlier one's name goes to the cluster
    /// that has most of its changes. `before` is which change was in which cluster.
    #[must_use]
    pub fn named_as_before(mut self, before: &BTreeMap<String, String>) -> Self {
        let mut shared: BTreeMap<(&str, usize), usize> = BTreeMap::new();
        for (place, cluster) in
            self.clusters.iter().enumerate().filter(|(_, cluster)| !cluster.by_hand)
        {
            for name in cluster.members.iter().filter_map(|member| before.get(&member.id)) {
                *shared.entry((name, place)).or_default() += 1;
            }
        }
        let mut shared: Vec<(usize, &str, usize)> =
            shared.into_iter().map(|((name, place), count)| (count, name, place)).collect();
        shared.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
        let (mut names, mut places) = (BTreeSet::new(), BTreeMap::new());
        for (_, name, place) in shared {
            if !places.contains_key(&place) && names.insert(name) {
                places.insert(place, name.to_owned());
            }
        }
        let taken: BTreeSet<String> = places.values().cloned().collect();
        for (place, cluster) in self.clusters.iter_mut().enumerate() {
            match places.remove(&place) {
                Some(name) => cluster.id = name,
                // A new one must not have the name of an old one that moved on.
                None => {
                    while !cluster.by_hand && taken.contains(&cluster.id) {
                        cluster.id.push('x');
                    }
                }
            }
        }
        self
    }

    /// Everything that a reviewer should see for themselves, with the cluster it is in, the oddest first.
    pub fn outliers(&self) -> Vec<(&Cluster, &Outlier)> {
        let all = self
            .clusters
            .iter()
            .flat_map(|cluster| cluster.outliers.iter().map(move |outlier| (cluster, outlier)));
        let mut all: Vec<_> = all.collect();
        all.sort_by(|(_, a), (_, b)| outlier::odder(a, b));
        all
    }
}

fn variants<'a>(changes: &[Change<'a>]) -> Vec<Variant<'a>> {
    let mut variants: BTreeMap<&str, Variant<'a>> = BTreeMap::new();
    for change in changes {
        let variant = variants.entry(&change.summary.digest);
        let variant = variant.or_insert(Variant { summary: change.summary, changes: Vec::new() });
        variant.changes.push(*change);
    }
    for variant in variants.values_mut() {
        variant.changes.sort_by_key(|change| change.id);
    }
    variants.into_values().collect()
}

/// A cluster of these variants, of which there is at least one; and its exemplar.
fn build(mut variants: Vec<Variant<'_>>) -> (Cluster, Change<'_>) {
    variants.sort_by(|a, b| {
        b.changes.len().cmp(&a.changes.len()).then_with(|| a.summary.digest.cmp(&b.summary.digest))
    });
    let candidates = &variants[..variants.len().min(CANDIDATES)];
    let closeness = |candidate: &Variant<'_>| -> f64 {
        let to = |other: &Variant<'_>| {
            alike::likeness(candidate.summary, other.summary) * other.changes.len() as f64
        };
        candidates.iter().map(to).sum()
    };
    let mut best = (0, f64::MIN);
    for (place, candidate) in candidates.iter().enumerate() {
        let closeness = closeness(candidate);
        if closeness > best.1 {
            best = (place, closeness);
        }
    }
    let exemplar = variants[best.0].changes[0];
    let n_variants = u32::try_from(variants.len()).unwrap_or(u32::MAX);
    let mut members: Vec<(Member, Change<'_>)> = Vec::new();
    for variant in &variants {
        let distance = 1.0 - alike::likeness(variant.summary, exemplar.summary);
        members.extend(
            variant
                .changes
                .iter()
                .map(|change| (Member { id: change.id.to_owned(), distance }, *change)),
        );
    }
    members
        .sort_by(|(a, _), (b, _)| a.distance.total_cmp(&b.distance).then_with(|| a.id.cmp(&b.id)));
    let facts: Vec<_> = members.iter().map(|(_, change)| &change.summary.facts).collect();
    let cluster = Cluster {
        id: format!("c{}", &exemplar.summary.digest.get(..12).unwrap_or_default()),
        by_hand: false,
        exemplar: exemplar.id.to_owned(),
        spread: spread::in_words(&facts),
        outliers: outlier::within(&members, exemplar),
        variants: n_variants,
        members: members.into_iter().map(|(member, _)| member).collect(),
    };
    (cluster, exemplar)
}
