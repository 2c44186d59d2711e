//! How many of a cluster to look at, and which.
//!
//! Of `n` changes of which `k` are bad, a random sample of `s` shows none of them with the chance
//! `C(n−k, s) / C(n, s)` (hypergeometric). If all looked at are good, "`k` or more are bad" is refuted at the
//! confidence `c` when that chance is at most `1 − c`. The size is the least `s` for which that holds with the
//! least `k` that is `bad` of `n` or more: then, with that confidence, *fewer* than that part are bad.

use sha2::{Digest as _, Sha256};

use crate::Cluster;

/// What can't be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give a part and a confidence between 0 and 1, both exclusive")]
pub struct Impossible;

/// How many of `n` to look at so that, if all of them are good, with that confidence fewer than the part `bad`
/// of all are bad. Both are between 0 and 1.
///
/// # Errors
/// [`Impossible`] if they are not.
pub fn size(n: u32, bad: f64, confidence: f64) -> Result<u32, Impossible> {
    let is_between = |part: f64| part > 0.0 && part < 1.0;
    if !is_between(bad) || !is_between(confidence) {
        return Err(Impossible);
    }
    // A part like 0.1 is not exact; 10 of 100 must not become 11 for that.
    let k = (f64::from(n) * bad - 1e-9).ceil().max(1.0);
    let n_all = f64::from(n);
    let mut chance = 1.0_f64;
    for s in 0..n {
        if chance <= 1.0 - confidence + 1e-12 {
            return Ok(s);
        }
        let s = f64::from(s);
        chance *= ((n_all - k - s) / (n_all - s)).max(0.0);
    }
    Ok(n)
}

/// Which ones: as many of each part of the cluster as its size says, from those nearest to the exemplar to
/// the farthest; within a part by a hash over `seed` and id, so that nobody who writes a change can tell
/// whether it will be looked at. The same seed chooses the same ones. The outliers are to be looked at
/// beside these.
pub fn choose<'a>(cluster: &'a Cluster, count: u32, seed: &str) -> Vec<&'a str> {
    let mut ranked: Vec<(&f64, [u8; 32], &str)> = cluster
        .members
        .iter()
        .map(|member| (&member.distance, rank(seed, &member.id), member.id.as_str()))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(b.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
    let (all, count) = (ranked.len() as u64, u64::from(count).min(ranked.len() as u64));
    // One of each of `count` stretches of the same length, at a place that the seed chooses.
    let start = u64::from_be_bytes(rank(seed, "").first_chunk().copied().unwrap_or_default());
    let start = start % all.max(1);
    let places = (0..count).map(|n| ((start + n * all) / count) % all);
    let mut chosen: Vec<&str> =
        places.map(|place| ranked[usize::try_from(place).unwrap_or(0)].2).collect();
    chosen.sort_unstable();
    chosen
}

fn rank(seed: &str, id: &str) -> [u8; 32] {
    Sha256::new().chain_update(seed).chain_update([0]).chain_update(id).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_another_library() {
        // The least s with scipy.stats.hypergeom.pmf(0, n, k, s) <= 1 - c, scipy 1.17.1.
        let asked = [(0.05, 0.95), (0.1, 0.95), (0.01, 0.95), (0.05, 0.99), (0.2, 0.9)];
        for (n, wanted) in [
            (1, [1, 1, 1, 1, 1]),
            (2, [2, 2, 2, 2, 2]),
            (5, [5, 5, 5, 5, 5]),
            (10, [10, 10, 10, 10, 7]),
            (20, [19, 16, 19, 20, 9]),
            (50, [31, 22, 48, 39, 10]),
            (100, [45, 25, 95, 59, 10]),
            (250, [51, 27, 158, 73, 11]),
            (1000, [57, 29, 258, 86, 11]),
            (10000, [59, 29, 294, 90, 11]),
        ] {
            assert_eq!(
                asked.map(|(bad, confidence)| size(n, bad, confidence)),
                wanted.map(Ok),
                "of {n}"
            );
        }
        assert_eq!(size(0, 0.05, 0.95), Ok(0));
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for (bad, confidence) in
            [(0.0, 0.9), (1.0, 0.9), (0.1, 0.0), (0.1, 1.0), (f64::NAN, 0.5), (-1.0, 0.5)]
        {
            assert_eq!(size(10, bad, confidence), Err(Impossible));
        }
    }
}
