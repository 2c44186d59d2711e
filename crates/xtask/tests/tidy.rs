//! `cargo xtask tidy`, as a test.

#[test]
fn the_house_is_tidy() {
    let findings = windlass_xtask::tidy::check().expect("tidy could not look");
    let list = findings.iter().map(|finding| format!("{finding}\n")).collect::<String>();
    assert!(findings.is_empty(), "{list}");
}
