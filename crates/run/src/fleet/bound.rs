//! How bad a rate must be at least, given what was seen: lower bounds of a binomial proportion. Two
//! methods; which one a rule uses is in its plan.
//!
//! *Exact* (Clopper and Pearson 1934) never claims more than it may: the chance that the bound lies above
//! the true rate is at most 1 − confidence, whatever the rate and however few were seen. *Wilson*'s score
//! interval (1927) is right on average and quicker, at the price of judging by very few: at 95 %, one
//! failure of one already says "more than 26 %". The functions below them are `statrs`'.

use serde::{Deserialize, Serialize};
use statrs::function::{beta::inv_beta_reg, erf::erfc_inv};

use crate::fleet::Share;

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
        Method::Exact => inv_beta_reg(bad, of - bad + 1.0, alpha),
        Method::Wilson => wilson(bad, of, alpha),
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

fn wilson(bad: f64, of: f64, alpha: f64) -> f64 {
    let z = std::f64::consts::SQRT_2 * erfc_inv(2.0 * alpha);
    let (rate, square) = (bad / of, z * z);
    let middle = rate + square / (2.0 * of);
    let spread = z * (rate * (1.0 - rate) / of + square / (4.0 * of * of)).sqrt();
    ((middle - spread) / (1.0 + square / of)).clamp(0.0, 1.0)
}
