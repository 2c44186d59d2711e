//! The README's first command.

use std::path::Path;

use crate::world::{World, git};

#[test]
fn the_demo_ends_with_three_pull_requests_on_real_repositories() {
    let world = World::new();
    let folder = world.path("demo");
    let tour = world.json(&["demo", "--once", "--json", "--dir", folder.to_str().expect("UTF-8")]);
    let changes = tour["changes"].as_array().expect("a list of changes");
    let text = |i: usize, key: &str| changes[i][key].as_str().unwrap_or_default().to_owned();
    let states: Vec<String> = (0..changes.len()).map(|i| text(i, "state")).collect();
    assert_eq!(states, ["merged", "open", "open"]);
    for i in 0..3 {
        let repository = text(i, "path");
        let repository = Path::new(&repository);
        let head = text(i, "head");
        git(repository, &["merge-base", "--is-ancestor", &head, &text(i, "branch")]);
        let count = git(repository, &["rev-list", "--count", &format!("main..{head}")]);
        let expected = if i == 0 { "0" } else { "1" };
        assert_eq!(count, expected, "{} is beyond main in {}", head, repository.display());
    }
    let merged = git(Path::new(&text(0, "path")), &["show", "main:wordcount.c"]);
    assert!(merged.contains("if (!inside)"), "{merged}");
}
