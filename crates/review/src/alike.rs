//! How alike two changes are, and which pairs are worth the question.
//!
//! Likeness is the mean of two Jaccard indices: over runs of tokens without names, and over the names that
//! came or went. The first alone would take each one-line replacement for each other one, the second alone
//! would part repositories that call their own things otherwise.
//!
//! Pairs are found by MinHash (Broder 1997) with bands: two changes that share half of their features meet in one
//! of 32 bands in 98 of 100 cases, a third in 70. One pair of many is enough to join two changes to the same
//! cluster. All constants are fixed: which pairs are found depends on the two changes and on nothing else.

use std::collections::BTreeSet;

use crate::Summary;

/// Changes more alike than this belong together: the same shape alone is not enough.
pub(crate) const TOGETHER: f64 = 0.5;
const BANDS: usize = 32;
const ROWS: usize = 3;

/// How alike two changes are: from 0 to 1.
pub(crate) fn likeness(a: &Summary, b: &Summary) -> f64 {
    if a.digest == b.digest {
        return 1.0;
    }
    // Where one has no names, nothing is known about them.
    let names = match a.names.is_empty() || b.names.is_empty() {
        true => None,
        false => jaccard(&a.names, &b.names),
    };
    let parts = [jaccard(&a.shape, &b.shape), names];
    let parts: Vec<f64> = parts.into_iter().flatten().collect();
    if parts.is_empty() { 0.0 } else { parts.iter().sum::<f64>() / parts.len() as f64 }
}

/// How much two sorted lists have in common; absent if both are empty.
fn jaccard(a: &[u64], b: &[u64]) -> Option<f64> {
    let (mut i, mut j, mut both) = (0, 0, 0_usize);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, both) = (i + 1, j + 1, both + 1),
        }
    }
    let all = a.len() + b.len() - both;
    (all > 0).then(|| both as f64 / all as f64)
}

/// Groups the places of changes that are alike, directly or over others; and how many pairs were compared.
pub(crate) fn groups(summaries: &[&Summary]) -> (Vec<Vec<usize>>, u64) {
    let mut joined = Joined((0..summaries.len()).collect());
    let mut meetings: Vec<(usize, u64, usize)> = Vec::with_capacity(summaries.len() * BANDS);
    for (place, summary) in summaries.iter().enumerate() {
        let bands = bands(summary);
        meetings.extend(bands.into_iter().enumerate().map(|(band, key)| (band, key, place)));
    }
    meetings.sort_unstable();
    let mut compared: BTreeSet<(usize, usize)> = BTreeSet::new();
    for meeting in meetings.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        // Those of this meeting by what they are joined to, so that what is known is not asked again.
        let mut parties: Vec<Vec<usize>> = Vec::new();
        for &(_, _, place) in meeting {
            let party = parties.iter_mut().find(|party| {
                joined.root(party[0]) == joined.root(place)
                    || party.iter().any(|&other| {
                        let is_new = compared.insert((other.min(place), other.max(place)));
                        let alike =
                            is_new && likeness(summaries[other], summaries[place]) > TOGETHER;
                        if alike {
                            joined.join(other, place);
                        }
                        alike
                    })
            });
            match party {
                Some(party) => party.push(place),
                None => parties.push(vec![place]),
            }
        }
    }
    (joined.groups(), compared.len() as u64)
}

/// What a change is called in each band; nothing if it has no features.
fn bands(summary: &Summary) -> Vec<u64> {
    let features = || summary.shape.iter().chain(&summary.names);
    if features().next().is_none() {
        return Vec::new();
    }
    let least = |row: usize| {
        let salt = mixed(row as u64 + 1);
        features().map(|feature| mixed(feature ^ salt)).min().unwrap_or(0)
    };
    (0..BANDS)
        .map(|band| (0..ROWS).fold(0, |key, row| mixed(key ^ least(band * ROWS + row))))
        .collect()
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a fixed permutation that scatters.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Which places belong together: for each, another one of its group; the least is its own.
struct Joined(Vec<usize>);

impl Joined {
    fn root(&mut self, mut place: usize) -> usize {
        while self.0[place] != place {
            self.0[place] = self.0[self.0[place]];
            place = self.0[place];
        }
        place
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }

    fn groups(mut self) -> Vec<Vec<usize>> {
        let mut groups = vec![Vec::new(); self.0.len()];
        for place in 0..self.0.len() {
            let root = self.root(place);
            groups[root].push(place);
        }
        groups.retain(|group| !group.is_empty());
        groups
    }
}
