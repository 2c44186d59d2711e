//! How much happened in the last hour, in a few numbers: a sliding window of minutes.
//!
//! What happened counts until the whole of its minute is more than an hour ago. So in no hour, wherever it
//! begins, there is more than was allowed; the price is that up to a minute is waited too long.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{Duration, Time};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60;

/// Counts by minute, the oldest first: at most 61.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Window(VecDeque<(i64, u32)>);

impl Window {
    /// How many count at that time.
    pub fn count(&self, now: Time) -> u32 {
        let oldest = minute(now) - HOUR;
        self.0.iter().filter(|(at, _)| *at >= oldest).map(|(_, count)| *count).sum()
    }

    /// When at most `most` will count, if nothing else happens; that time itself if it is so already.
    pub fn free_at(&self, most: u32, now: Time) -> Time {
        let mut left = self.count(now);
        let mut at = now;
        for (minute_of, count) in self.0.iter().filter(|(at, _)| *at >= minute(now) - HOUR) {
            if left <= most {
                break;
            }
            left -= count;
            at = Time::from_micros((minute_of + HOUR + 1) * MINUTE);
        }
        at
    }

    /// Something happened.
    pub(super) fn record(&mut self, at: Time) {
        let now = minute(at);
        while self.0.front().is_some_and(|(oldest, _)| *oldest < now - HOUR) {
            self.0.pop_front();
        }
        match self.0.back_mut() {
            // A clock that was set back must not make room.
            Some((newest, count)) if *newest >= now => *count += 1,
            _ => self.0.push_back((now, 1)),
        }
    }
}

fn minute(at: Time) -> i64 {
    at.as_micros().div_euclid(MINUTE)
}

/// The span in which openings are counted.
pub const SPAN: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn what_happened_counts_for_an_hour_and_the_rest_of_its_minute() {
        let mut window = Window::default();
        for second in [0, 59, 60, 3000] {
            window.record(at(second));
        }
        assert_eq!(
            [at(3000), at(3659), at(3660), at(3720), at(9999)].map(|t| window.count(t)),
            [4, 4, 2, 1, 0]
        );
        assert_eq!(window.free_at(3, at(3000)), at(3660));
        assert_eq!(window.free_at(1, at(3000)), at(3720));
        assert_eq!(window.free_at(4, at(3000)), at(3000));
    }

    #[test]
    fn a_window_stays_small_and_a_clock_set_back_makes_no_room() {
        let mut window = Window::default();
        for second in 0..100_000 {
            window.record(at(second));
        }
        assert!(window.0.len() <= 61, "{}", window.0.len());
        let before = window.count(at(99_999));
        window.record(at(50));
        assert_eq!(window.count(at(99_999)), before + 1);
    }
}
