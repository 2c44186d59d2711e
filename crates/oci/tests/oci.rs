//! The backend `oci` with a real engine, which this test starts: the suite that every backend must pass,
//! and what only images have.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    unreachable_pub,
    reason = "helpers of tests may panic, and tests may read the process environment"
)]

#[path = "oci/companions.rs"]
mod companions;
#[path = "oci/docker.rs"]
mod docker;
#[path = "oci/ends.rs"]
mod ends;
#[path = "oci/images.rs"]
mod images;
#[path = "oci/stage.rs"]
mod stage;
#[path = "../../sandbox/tests/conformance/suite.rs"]
mod suite;

/// One test, because one engine is enough and starting it takes its time.
#[test]
fn containers_are_a_backend() {
    let engine = match docker::Engine::start() {
        Ok(engine) => engine,
        Err(why) => return skip("containers_are_a_backend", &why),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _inside = runtime.enter();
    engine.import_image();
    {
        let stage = stage::OciStage::new(&engine);
        suite::run(&stage);
        images::all(&stage);
        ends::all(&stage);
        companions::all(&stage);
    }
    assert_eq!(engine.containers(), Vec::<String>::new());
    drop(engine);
    assert_eq!(docker::group_folders(), Vec::<std::path::PathBuf>::new());
}

/// Says loudly that a test could not be run; fails instead where everything must be.
fn skip(test: &str, why: &str) {
    assert!(std::env::var_os("WINDLASS_TEST_ALL").is_none(), "{test}: {why}");
    eprintln!("SKIPPED {test}: {why}");
}
