//! The order of names as people read them: separators before digits before letters, capitals only when
//! nothing else tells two apart. The reference tool orders the Features of a round so.

use std::cmp::Ordering;

/// Separators in their order, as the Unicode collation has them.
const SEPARATORS: &str = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$";

/// Compares two names.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let keys = |text: &str| text.chars().map(key).collect::<Vec<_>>();
    // On a draw, small letters go before capitals.
    keys(a).cmp(&keys(b)).then_with(|| b.cmp(a))
}

fn key(c: char) -> (u8, usize, char) {
    match SEPARATORS.find(c) {
        Some(at) => (0, at, ' '),
        None if c.is_ascii_digit() => (1, 0, c),
        None => (2, 0, c.to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_the_unicode_collation_orders_them() {
        let mut names = ["b", "B", "a-b", "a_b", "a.b", "a/b", "a1", "ab", "a", "A"];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(names, ["a", "A", "a_b", "a-b", "a.b", "a/b", "a1", "ab", "b", "B"]);
    }
}
