//! What comes before what. Circles are found while reading; after that an order always exists.

use std::collections::BTreeSet;

/// Sorts names into lists: each name stands in a later list than those of the same call that it
/// depends on. Within a list they stand as they came.
pub(super) fn levels<'a>(
    names: Vec<&'a str>,
    depends_on: impl Fn(&str) -> &'a [String],
) -> Vec<Vec<&'a str>> {
    let mut rest = names;
    let mut levels = Vec::new();
    while !rest.is_empty() {
        let waiting: BTreeSet<&str> = rest.iter().copied().collect();
        let (now, later): (Vec<&str>, Vec<&str>) = rest.into_iter().partition(|name| {
            depends_on(name).iter().all(|other| !waiting.contains(other.as_str()))
        });
        if now.is_empty() {
            // A circle, which reading refuses: nobody waits for it here.
            break;
        }
        levels.push(now);
        rest = later;
    }
    levels
}

/// The first circle among the names, beginning and ending with the same one.
pub(super) fn circle<'a>(
    names: &[&'a str],
    depends_on: &dyn Fn(&str) -> &'a [String],
) -> Option<Vec<&'a str>> {
    let mut done = BTreeSet::new();
    names.iter().find_map(|name| walk(name, depends_on, &mut Vec::new(), &mut done))
}

fn walk<'a>(
    name: &'a str,
    depends_on: &dyn Fn(&str) -> &'a [String],
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    if let Some(start) = path.iter().position(|other| *other == name) {
        let mut circle = path[start..].to_vec();
        circle.push(name);
        return Some(circle);
    }
    if done.contains(name) {
        return None;
    }
    path.push(name);
    let found = depends_on(name).iter().find_map(|other| walk(other, depends_on, path, done));
    path.pop();
    done.insert(name);
    found
}
