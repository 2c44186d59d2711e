//! Outputs as the test programs write them.

use super::*;

fn counts(output: &str) -> (String, u64, u64, u64) {
    let found = tests(output);
    (found.runner, found.passed, found.failed, found.skipped)
}

fn told(runner: &str, passed: u64, failed: u64, skipped: u64) -> (String, u64, u64, u64) {
    (runner.to_owned(), passed, failed, skipped)
}

#[test]
fn cargo_sums_over_its_binaries_and_names_what_failed() {
    let output = "running 2 tests\ntest a::b ... ok\ntest c ... FAILED\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\nrunning 1 test\ntest d ... ignored\ntest result: ok. 0 passed; 0 failed; 1 ignored; 0 measured\n";
    assert_eq!(counts(output), told("cargo test", 1, 1, 1));
    assert_eq!(tests(output).failures, BTreeSet::from(["c".to_owned()]));
}

#[test]
fn pytest_and_unittest_sum_up_in_one_line() {
    let output = "FAILED tests/test_a.py::test_b - assert 1\n==== 1 failed, 12 passed, 2 skipped, 3 warnings in 1.25s ====\n";
    assert_eq!(counts(output), told("pytest", 12, 1, 2));
    assert_eq!(tests(output).failures, BTreeSet::from(["tests/test_a.py::test_b".to_owned()]));
    assert_eq!(counts("5 passed in 0.02s\n"), told("pytest", 5, 0, 0));
    let output = "Ran 4 tests in 0.003s\n\nFAILED (failures=1, errors=1, skipped=1)\n";
    assert_eq!(counts(output), told("unittest", 1, 2, 1));
    assert_eq!(counts("Ran 4 tests in 0.003s\n\nOK\n"), told("unittest", 4, 0, 0));
}

#[test]
fn javascript_has_many_ways_to_say_it() {
    let mocha = "  \u{1b}[92m 5 passing\u{1b}[0m (20ms)\n  1 failing\n  2 pending\n";
    assert_eq!(counts(mocha), told("mocha", 5, 1, 2));
    let jest = "Tests:       1 failed, 2 skipped, 5 passed, 8 total\n";
    assert_eq!(counts(jest), told("jest", 5, 1, 2));
    let vitest = "      Tests  1 failed | 7 passed (8)\n";
    assert_eq!(counts(vitest), told("vitest", 7, 1, 0));
    let node = "ℹ tests 5\nℹ suites 0\nℹ pass 4\nℹ fail 1\nℹ cancelled 0\nℹ skipped 0\nℹ todo 0\n";
    assert_eq!(counts(node), told("node --test or tape", 4, 1, 0));
    let tape = "TAP version 13\n# one\nok 1 should be\nnot ok 2 other\n\n1..2\n# tests 2\n# pass  1\n# fail  1\n";
    assert_eq!(counts(tape).1..=counts(tape).2, 1..=1);
}

#[test]
fn makefiles_ctest_prove_and_meson_are_known() {
    let automake = "PASS: a\nFAIL: b\n# TOTAL: 2\n# PASS:  1\n# SKIP:  0\n# XFAIL: 0\n# FAIL:  1\n# XPASS: 0\n# ERROR: 0\n";
    assert_eq!(counts(automake), told("automake", 1, 1, 0));
    let ctest = "1/2 Test #1: one ......   Passed    0.01 sec\n2/2 Test #2: two ......***Failed    0.01 sec\n\n50% tests passed, 1 tests failed out of 2\n";
    assert_eq!(counts(ctest), told("ctest", 1, 1, 0));
    assert_eq!(tests(ctest).failures, BTreeSet::from(["two".to_owned()]));
    let prove =
        "t/a.t .. ok\nAll tests successful.\nFiles=1, Tests=7,  0 wallclock secs\nResult: PASS\n";
    assert_eq!(counts(prove), told("prove", 7, 0, 0));
    assert_eq!(
        counts("Ok:                 3   \nFail:               1   \n"),
        told("meson", 3, 1, 0)
    );
}

#[test]
fn go_java_ruby_and_php_are_known() {
    assert_eq!(
        counts("--- PASS: TestA (0.00s)\n    --- FAIL: TestB/x (0.00s)\nFAIL\n"),
        told("go test", 1, 1, 0)
    );
    let surefire = "[INFO] Tests run: 3, Failures: 0, Errors: 0, Skipped: 0, Time elapsed: 0.1 s -- in A\n[WARNING] Tests run: 5, Failures: 1, Errors: 0, Skipped: 1\n";
    assert_eq!(counts(surefire), told("surefire", 3, 1, 1));
    assert_eq!(counts("5 examples, 1 failure, 1 pending\n"), told("rspec", 3, 1, 1));
    assert_eq!(
        counts("5 runs, 8 assertions, 1 failures, 0 errors, 1 skips\n"),
        told("minitest", 3, 1, 1)
    );
    assert_eq!(counts("OK (5 tests, 8 assertions)\n"), told("phpunit", 5, 0, 0));
}

#[test]
fn what_tells_of_no_test_started_none() {
    for output in [
        "",
        "all good\n",
        "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured\n",
        "==== no tests ran in 0.01s ====\n",
        "==== 1 error in 0.10s ====\n",
        "ERROR: file or directory not found: tests\n",
        "Ran 0 tests in 0.000s\n\nOK\n",
        "# tests 0\n# pass 0\n# fail 0\n",
        "bash: pytest: command not found\n",
    ] {
        assert!(!tests(output).have_started(), "{output:?} is {:?}", tests(output));
    }
}

#[test]
fn a_program_that_was_ended_half_way_had_started() {
    let output = "running 3 tests\ntest a ... ok\ntest b has been running for over 60 seconds\n";
    assert_eq!(counts(output), told("cargo test", 1, 0, 0));
}
