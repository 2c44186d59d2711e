//! How bad a rate must be at least, given what was seen: lower bounds of a binomial proportion. Two
//! methods; which one a rule uses is in its plan.
//!
//! *Exact* (Clopper and Pearson 1934) never claims more than it may: the chance that the bound lies above
//! the true rate is at most 1 − confidence, whatever the rate and however few were seen. *Wilson*'s score
//! interval (1927) is right on average and quicker, at the price of judging by very few: at 95 %, one
//! failure of one already says "more than 26 %". The functions below them are `statrs`'.
//!
//! After how many bad ones of how many a rule stops at 95 % (exact / Wilson; `-`: not even if all are bad):
//!
//! | of | above 5 % | above 10 % | above 20 % | above 50 % | above 20 %, at 99 % |
//! |---|---|---|---|---|---|
//! | 2 | 2 / 1 | 2 / 1 | 2 / 2 | - / - | - / 2 |
//! | 3 | 2 / 1 | 2 / 2 | 3 / 2 | - / 3 | 3 / 3 |
//! | 5 | 2 / 2 | 3 / 2 | 4 / 3 | 5 / 5 | 4 / 4 |
//! | 10 | 3 / 2 | 4 / 3 | 5 / 5 | 9 / 8 | 6 / 5 |
//! | 20 | 4 / 3 | 5 / 5 | 8 / 7 | 15 / 14 | 9 / 9 |
//! | 50 | 6 / 6 | 10 / 9 | 16 / 15 | 32 / 31 | 18 / 17 |
//! | 100 | 10 / 9 | 16 / 15 | 28 / 27 | 59 / 59 | 31 / 30 |
//! | 1000 | 63 / 62 | 117 / 116 | 222 / 221 | 527 / 527 | 231 / 230 |
//!
//! A rule looks after each observation, and each look is at its confidence. So over many looks a fleet whose
//! true rate is what is allowed is stopped more often than one look would: with "above 20 %" and 200 looks,
//! in 24 % of all cases at 95 % and in 7 % at 99 % (exact). At half the allowed rate it is 1.5 % and 0.15 %; at twice
//! the allowed rate it is stopped for certain.

use serde::{Deserialize, Serialize};
use statrs::function::{beta::beta_reg, erf::erfc_inv};

use crate::fleet::Share;

/// Above so many observations the two methods differ by less than 0.01 %, and the exact one is not computed.
const MANY: f64 = 20_000.0;

/// How a lower bound is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Clopper and Pearson's: never claims more than its confidence.
    #[default]
    Exact,
    /// Wilson's score interval, without correction for continuity.
    Wilson,
}

/// The one-sided lower bound of the rate of something that was seen `bad` times in `of`, at that
/// confidence: a number from 0 to 1. Nothing seen, nothing known: 0.
pub fn lower(method: Method, bad: u32, of: u32, confidence: Share) -> f64 {
    let (bad, of) = (f64::from(bad.min(of)), f64::from(of));
    let alpha = 1.0 - confidence.as_fraction();
    if bad == 0.0 || alpha <= 0.0 {
        return 0.0;
    }
    match method {
        Method::Exact if of <= MANY => exact(bad, of, alpha),
        Method::Exact | Method::Wilson => wilson(bad, of, alpha),
    }
}

/// The least number of bad ones of `of` at which the lower bound is above `allowed`; absent if not even
/// all of them are enough.
pub fn stops_at(method: Method, of: u32, allowed: Share, confidence: Share) -> Option<u32> {
    let is_above = |bad| lower(method, bad, of, confidence) > allowed.as_fraction();
    if !is_above(of) {
        return None;
    }
    // The bound grows with the bad ones.
    let (mut below, mut above) = (0, of);
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        match is_above(middle) {
            true => above = middle,
            false => below = middle,
        }
    }
    Some(above)
}

/// The rate at which so many bad ones or more would be seen with a chance of `alpha`. By halving: `statrs`'
/// own inverse does not always come to an end.
fn exact(bad: f64, of: f64, alpha: f64) -> f64 {
    let (mut low, mut high) = (0.0, bad / of);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        match beta_reg(bad, of - bad + 1.0, middle) < alpha {
            true => low = middle,
            false => high = middle,
        }
    }
    low
}

fn wilson(bad: f64, of: f64, alpha: f64) -> f64 {
    let z = std::f64::consts::SQRT_2 * erfc_inv(2.0 * alpha);
    let (rate, square) = (bad / of, z * z);
    let middle = rate + square / (2.0 * of);
    let spread = z * (rate * (1.0 - rate) / of + square / (4.0 * of * of)).sqrt();
    ((middle - spread) / (1.0 + square / of)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(text: &str) -> Share {
        text.parse().expect("a share")
    }

    /// Lower bounds as statsmodels 0.15.0 computes them: `proportion_confint(bad, of, alpha=2 * (1 - c),
    /// method="beta")` and `"wilson"`.
    const STATSMODELS: [(u32, u32, &str, f64, f64); 11] = [
        (1, 1, "95%", 0.050000000000, 0.269865948784),
        (2, 2, "95%", 0.223606797750, 0.425030609006),
        (3, 5, "95%", 0.189255377438, 0.272483171866),
        (5, 10, "95%", 0.222441101008, 0.269271821138),
        (10, 20, "99%", 0.238959636517, 0.269258271704),
        (30, 100, "95%", 0.224923224371, 0.230704954369),
        (7, 1000, "90%", 0.003898877514, 0.004336925731),
        (300, 1000, "99.9%", 0.256185053250, 0.257282289857),
        (2500, 10000, "95%", 0.242882014841, 0.242945837436),
        (9999, 10000, "95%", 0.999525702341, 0.999551882469),
        (1, 10000, "95%", 0.000005129316, 0.000022309538),
    ];

    #[test]
    fn both_bounds_are_those_of_another_library() {
        for (bad, of, confidence, exact, wilson) in STATSMODELS {
            let lower = |method| lower(method, bad, of, share(confidence));
            let off =
                (lower(Method::Exact) - exact).abs().max((lower(Method::Wilson) - wilson).abs());
            assert!(off < 1e-9, "{bad} of {of} at {confidence}: off by {off}");
        }
    }

    #[test]
    fn a_rule_stops_where_the_table_says() {
        // From the bounds of statsmodels 0.15.0, as above; `None` is `-`.
        type Row = (u32, [(Option<u32>, Option<u32>); 5]);
        let table: [Row; 8] = [
            (
                2,
                [
                    (Some(2), Some(1)),
                    (Some(2), Some(1)),
                    (Some(2), Some(2)),
                    (None, None),
                    (None, Some(2)),
                ],
            ),
            (
                3,
                [
                    (Some(2), Some(1)),
                    (Some(2), Some(2)),
                    (Some(3), Some(2)),
                    (None, Some(3)),
                    (Some(3), Some(3)),
                ],
            ),
            (
                5,
                [
                    (Some(2), Some(2)),
                    (Some(3), Some(2)),
                    (Some(4), Some(3)),
                    (Some(5), Some(5)),
                    (Some(4), Some(4)),
                ],
            ),
            (
                10,
                [
                    (Some(3), Some(2)),
                    (Some(4), Some(3)),
                    (Some(5), Some(5)),
                    (Some(9), Some(8)),
                    (Some(6), Some(5)),
                ],
            ),
            (
                20,
                [
                    (Some(4), Some(3)),
                    (Some(5), Some(5)),
                    (Some(8), Some(7)),
                    (Some(15), Some(14)),
                    (Some(9), Some(9)),
                ],
            ),
            (
                50,
                [
                    (Some(6), Some(6)),
                    (Some(10), Some(9)),
                    (Some(16), Some(15)),
                    (Some(32), Some(31)),
                    (Some(18), Some(17)),
                ],
            ),
            (
                100,
                [
                    (Some(10), Some(9)),
                    (Some(16), Some(15)),
                    (Some(28), Some(27)),
                    (Some(59), Some(59)),
                    (Some(31), Some(30)),
                ],
            ),
            (
                1000,
                [
                    (Some(63), Some(62)),
                    (Some(117), Some(116)),
                    (Some(222), Some(221)),
                    (Some(527), Some(527)),
                    (Some(231), Some(230)),
                ],
            ),
        ];
        let rules = [("5%", "95%"), ("10%", "95%"), ("20%", "95%"), ("50%", "95%"), ("20%", "99%")];
        let text = include_str!("bound.rs");
        for (of, wanted) in table {
            let stops = rules.map(|(above, confidence)| {
                let stops = |method| stops_at(method, of, share(above), share(confidence));
                (stops(Method::Exact), stops(Method::Wilson))
            });
            assert_eq!(stops, wanted, "of {of}");
            let cell = |count: Option<u32>| {
                count.map_or_else(|| "-".to_owned(), |count| count.to_string())
            };
            let cells = stops.map(|(exact, wilson)| format!("{} / {}", cell(exact), cell(wilson)));
            let row = format!("//! | {of} | {} |\n", cells.join(" | "));
            assert!(text.contains(&row), "the documentation lacks {row}");
        }
    }

    /// The chance that a rule stops within so many looks at that true rate, exactly.
    fn chance(method: Method, confidence: &str, looks: u32, rate: f64) -> f64 {
        let mut chances = vec![1.0];
        let mut stopped = 0.0;
        for of in 1..=looks {
            let mut next = vec![0.0; chances.len() + 1];
            for (bad, chance) in chances.iter().enumerate() {
                next[bad] += chance * (1.0 - rate);
                next[bad + 1] += chance * rate;
            }
            let stops = stops_at(method, of, Share::percent(20), share(confidence));
            let stops = stops.map_or(next.len(), |stops| stops as usize);
            stopped += next.iter().skip(stops).sum::<f64>();
            next.truncate(stops);
            chances = next;
        }
        stopped
    }

    #[test]
    fn a_healthy_fleet_is_seldom_stopped_and_a_sick_one_always() {
        // Computed with scipy 1.17.1 and statsmodels 0.15.0 by the same recursion.
        for (confidence, rate, wanted) in [
            ("95%", 0.1, 0.015153),
            ("95%", 0.2, 0.244050),
            ("95%", 0.4, 0.999999),
            ("99%", 0.1, 0.001543),
            ("99%", 0.2, 0.068379),
            ("99%", 0.4, 0.999976),
        ] {
            let chance = chance(Method::Exact, confidence, 200, rate);
            assert!((chance - wanted).abs() < 1e-6, "{confidence} {rate}: {chance}");
        }
        assert!((chance(Method::Wilson, "95%", 200, 0.2) - 0.437589).abs() < 1e-6);
    }

    #[test]
    fn a_bound_is_between_nothing_and_the_rate_and_grows_with_the_bad_ones() {
        for method in [Method::Exact, Method::Wilson] {
            for of in [1, 2, 3, 7, 40, 333, 100_000, u32::MAX] {
                let mut before = 0.0;
                for part in 0..=20_u32 {
                    let bad =
                        u32::try_from(u64::from(of) * u64::from(part) / 20).expect("not more");
                    let bound = lower(method, bad, of, Share::percent(95));
                    let rate = f64::from(bad) / f64::from(of);
                    assert!(bound >= before && bound <= rate, "{method:?} {bad} of {of}: {bound}");
                    before = bound;
                }
            }
        }
        assert_eq!(
            lower(Method::Exact, 9, 3, share("95%")),
            lower(Method::Exact, 3, 3, share("95%"))
        );
        assert_eq!(lower(Method::Wilson, 0, 0, share("95%")), 0.0);
    }
}
