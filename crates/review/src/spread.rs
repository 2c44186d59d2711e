//! What differs among the changes of a cluster, in words.

use std::collections::{BTreeMap, BTreeSet};

use crate::{place::Place, summary::Facts};

/// So many kinds of file are named at most.
const MOST_PLACES: usize = 5;

/// What differs. Empty if nothing that is known does.
pub(crate) fn in_words(facts: &[&Facts]) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(range(facts.iter().map(|facts| facts.files), "files"));
    words.extend(range(facts.iter().map(|facts| facts.lines()), "lines"));
    words.extend(versions(facts));
    let mut places: BTreeMap<&Place, usize> = BTreeMap::new();
    for (place, _) in facts.iter().flat_map(|facts| &facts.places) {
        *places.entry(place).or_default() += 1;
    }
    let some = places.into_iter().filter(|(_, count)| *count < facts.len());
    let mut some: Vec<_> = some.collect();
    some.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let some = some.into_iter().take(MOST_PLACES);
    words.extend(
        some.map(|(place, count)| format!("{} in {count} of {}", place.describe(), facts.len())),
    );
    words
}

fn range(counts: impl Iterator<Item = u32> + Clone, of: &str) -> Option<String> {
    let (least, most) = (counts.clone().min()?, counts.max()?);
    (least < most).then(|| format!("{least} to {most} {of}"))
}

fn versions(facts: &[&Facts]) -> Option<String> {
    let all: BTreeSet<&str> =
        facts.iter().flat_map(|facts| &facts.versions).map(String::as_str).collect();
    let mut all: Vec<&str> = all.into_iter().collect();
    all.sort_by_key(|version| parts(version));
    match all.as_slice() {
        [] | [_] => None,
        [first, second] => Some(format!("versions {first} and {second}")),
        [first, .., last] => Some(format!("{} versions, {first} to {last}", all.len())),
    }
}

/// The numbers of a version, for sorting.
fn parts(version: &str) -> Vec<u64> {
    let digits = version.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    digits.map(|part| part.parse().unwrap_or(u64::MAX)).collect()
}
