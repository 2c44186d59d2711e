//! Rust: `Cargo.toml`.

use crate::{
    plan::{Command, Tool, Unit},
    tree::{Tree, folder_of, join},
};

pub(super) fn unit(tree: &Tree, path: &str) -> Option<Unit> {
    let folder = folder_of(path);
    let manifest: toml::Table =
        tree.text(path).and_then(|text| text.parse().ok()).unwrap_or_default();
    if !manifest.is_empty()
        && !manifest.contains_key("package")
        && !manifest.contains_key("workspace")
    {
        return None;
    }
    let lock = join(folder, "Cargo.lock");
    let (fetch, why) = match tree.has(&lock) {
        true => (vec!["cargo fetch --locked", "cargo fetch"], "the lock file names every crate"),
        false => (vec!["cargo fetch"], "there is no lock file: the newest crates that fit"),
    };
    let all = if manifest.contains_key("workspace") { " --workspace" } else { "" };
    let test = |line: String, reason: &str| Command::new(line, reason, path);
    Some(Unit {
        ecosystem: "rust",
        folder: folder.to_owned(),
        place: path.to_owned(),
        tools: vec![toolchain(tree, folder, &manifest, path)],
        install: fetch.into_iter().map(|line| Command::new(line, why, path)).collect(),
        build: vec![
            Command::new(
                format!("cargo test{all} --no-run"),
                "builds the package with its tests",
                path,
            ),
            Command::new("cargo build", "builds the package alone", path),
        ],
        test: vec![
            test(format!("cargo test{all} --no-fail-fast"), "cargo's own tests"),
            test(
                format!("cargo test{all} --no-fail-fast --all-features"),
                "tests may want features",
            ),
            test("cargo test --lib --no-fail-fast".to_owned(), "the library's own tests alone"),
        ],
    })
}

/// `cargo`, at the version that `rust-toolchain.toml` or `rust-version` names.
fn toolchain(tree: &Tree, folder: &str, manifest: &toml::Table, path: &str) -> Tool {
    let pinned = tree.first(folder, &["rust-toolchain.toml", "rust-toolchain"]);
    if let Some((place, text)) = pinned.and_then(|place| Some((place.clone(), tree.text(&place)?)))
    {
        let table: toml::Table = text.parse().unwrap_or_default();
        let channel = table
            .get("toolchain")
            .and_then(|toolchain| toolchain.get("channel"))
            .and_then(|it| it.as_str());
        let channel = channel.unwrap_or(text).trim();
        if channel.starts_with(|first: char| first.is_ascii_digit()) && channel.len() < 20 {
            return Tool::of("cargo", &format!("={channel}"), &place);
        }
    }
    let package = manifest
        .get("package")
        .or_else(|| manifest.get("workspace").and_then(|it| it.get("package")));
    match package
        .and_then(|package| package.get("rust-version"))
        .and_then(|version| version.as_str())
    {
        Some(version) => Tool::of("cargo", &format!(">={version}"), path),
        None => Tool::any("cargo"),
    }
}
