//! `windlass volume`, on what a runner has left.

use serde_json::json;

use crate::world::World;

#[test]
fn volumes_are_listed_with_their_sizes_and_removed_by_name() {
    let world = World::new();
    world.run(&["volume", "list"]).says(0, &[]);
    let state = world.path("runner-of-test");
    let about = |name: &str| json!({ "project_id": "prj_1", "project": "shop", "name": name, "bytes": 3 << 20, "entries": 7, "kept_at": 0 });
    for name in ["cache", "data"] {
        let newest = state.join("volumes/prj_1").join(name).join("2");
        std::fs::create_dir_all(newest.join("data")).expect("made");
        std::fs::write(newest.join("data/file"), "kept").expect("written");
        std::fs::write(newest.join("about.json"), about(name).to_string()).expect("written");
    }
    let state_dir = state.to_str().expect("text");
    let here = |arguments: &[&str]| world.run(&[arguments, &["--state-dir", state_dir]].concat());
    here(&["volume", "list"]).says(0, &["shop cache  3 MiB in 7 files", "shop data"]);
    here(&["volume", "remove", "shop", "cache"]).says(0, &["removed shop cache"]);
    assert!(!state.join("volumes/prj_1/cache").exists());
    here(&["volume", "remove", "shop", "cache"]).says(1, &["there is no such volume"]);
    here(&["volume", "remove", "shop"]).says(2, &["<NAME>"]);
    here(&["volume", "remove", "prj_1", "--all"]).says(0, &["removed shop data"]);
    let left = world.json(&["--json", "volume", "list", "--state-dir", state_dir]);
    assert_eq!(left, json!({ "volumes": [] }));
}
