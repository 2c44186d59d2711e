//! The simulated world holds its promises.

use windlass_testkit::sim;

/// How many seeds an ordinary test run takes; `cargo xtask sim` takes more.
const SEEDS: u64 = 60;

/// Seeds that once broke a promise.
const KEPT: [u64; 2] = [269, 1135];

#[test]
fn no_seed_breaks_a_promise() {
    let report = sim::run_many(1, SEEDS, 2);
    assert_eq!(report.broken, []);
    assert_eq!(report.seeds, SEEDS);
    // The worlds must be rough enough to prove something.
    assert!(report.total.lost_leases > SEEDS / 4, "{report:?}");
    assert!(report.total.effects > SEEDS, "{report:?}");
    assert!(report.total.crashes > SEEDS, "{report:?}");
}

#[test]
fn seeds_that_once_broke_a_promise_keep_it_now() {
    for seed in KEPT {
        sim::run(seed).expect("kept");
    }
}

#[test]
fn a_seed_always_tells_the_same_story() {
    for seed in [3, 4, 5] {
        let (first, outcome) = sim::tell(seed);
        let (second, _) = sim::tell(seed);
        assert_eq!(first, second);
        assert_eq!(sim::run(seed), outcome);
    }
}
