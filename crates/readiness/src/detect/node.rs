//! JavaScript on Node: `package.json`, with npm, yarn or pnpm.

use serde_json::Value;

use crate::{
    plan::{Command, Tool, Unit},
    tree::{Tree, folder_of, join},
};

/// Test programs that packages start by themselves, and how to start one without the script around it.
const RUNNERS: &[(&str, &str)] = &[
    ("vitest", "npx --no-install vitest run"),
    ("jest", "npx --no-install jest"),
    ("mocha", "npx --no-install mocha"),
    ("ava", "npx --no-install ava"),
    ("tap", "npx --no-install tap --disable-coverage --allow-empty-coverage"),
    ("tape", "npx --no-install tape 'test/**/*.js'"),
    ("jasmine", "npx --no-install jasmine"),
    ("uvu", "npx --no-install uvu"),
];

/// Scripts that hold only tests where `test` does more (linting, coverage limits).
const SCRIPTS: &[&str] = &[
    "tests-only",
    "test:unit",
    "test:only",
    "test:node",
    "test-node",
    "unit",
    "test-unit",
    "mocha",
];

pub(super) fn unit(tree: &Tree, path: &str) -> Option<Unit> {
    let folder = folder_of(path);
    let text = tree.text(path)?;
    let manifest: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()?;
    let script =
        |name: &str| manifest["scripts"][name].as_str().map(str::trim).filter(|it| !it.is_empty());
    let test = tests(tree, folder, path, &manifest, &script);
    let build = script("build").map(|_| Command::new("npm run build", "the script `build`", path));
    Some(Unit {
        ecosystem: "node",
        folder: folder.to_owned(),
        place: path.to_owned(),
        tools: tools(tree, folder, &manifest, path),
        install: install(tree, folder, path),
        build: build.into_iter().collect(),
        test,
    })
}

fn tests<'a>(
    tree: &Tree,
    folder: &str,
    path: &str,
    manifest: &Value,
    script: &impl Fn(&str) -> Option<&'a str>,
) -> Vec<Command> {
    let mut test = Vec::new();
    if script("test").is_some_and(|line| !line.contains("no test specified")) {
        test.push(Command::new("npm test", "the script `test`", path));
    }
    for name in SCRIPTS.iter().filter(|name| script(name).is_some()) {
        let why = format!("the script `{name}`: the tests alone");
        test.push(Command::new(format!("npm run {name}"), why, path));
    }
    let depends = |name: &str| {
        ["devDependencies", "dependencies"].iter().any(|group| manifest[group].get(name).is_some())
    };
    for (name, line) in RUNNERS.iter().filter(|(name, _)| depends(name)) {
        test.push(Command::new(*line, format!("{name} is among the dependencies"), path));
    }
    let knows_other = RUNNERS.iter().any(|(name, _)| depends(name));
    let has_folder = ["test", "tests"].iter().any(|name| tree.has_folder(&join(folder, name)));
    // To Node's own runner a file of another one is a test that passes or fails by being loaded.
    if has_folder && !knows_other {
        test.push(Command::new("node --test", "there is a folder with tests", path));
    }
    test
}

fn install(tree: &Tree, folder: &str, path: &str) -> Vec<Command> {
    let has = |name: &str| tree.has(&join(folder, name));
    let mut install = Vec::new();
    if has("pnpm-lock.yaml") {
        let place = join(folder, "pnpm-lock.yaml");
        install.push(Command::new("pnpm install --frozen-lockfile", "pnpm's lock file", &place));
    }
    if has("yarn.lock") {
        let place = join(folder, "yarn.lock");
        install.push(Command::new("yarn install --frozen-lockfile", "yarn's lock file", &place));
    }
    if let Some(place) = tree.first(folder, &["package-lock.json", "npm-shrinkwrap.json"]) {
        install.push(Command::new("npm ci", "npm's lock file", &place));
    }
    let why = "what package.json names";
    install.push(Command::new("npm install --no-audit --no-fund", why, path));
    let why = "what package.json names, without its own set-up scripts, which may want more than there is";
    install.push(Command::new(
        "npm install --no-audit --no-fund --ignore-scripts --legacy-peer-deps",
        why,
        path,
    ));
    install
}

fn tools(tree: &Tree, folder: &str, manifest: &Value, path: &str) -> Vec<Tool> {
    let pinned = tree.first(folder, &[".nvmrc", ".node-version"]);
    let pinned = pinned.and_then(|place| {
        Some((tree.text(&place)?.trim().trim_start_matches('v').to_owned(), place))
    });
    let node = match (manifest["engines"]["node"].as_str(), pinned) {
        (Some(range), _) => Tool::of("node", range, path),
        (None, Some((version, place)))
            if version.starts_with(|first: char| first.is_ascii_digit()) =>
        {
            Tool::of("node", &format!("^{version}"), &place)
        }
        (None, _) => Tool::any("node"),
    };
    let manager = if tree.has(&join(folder, "pnpm-lock.yaml")) {
        "pnpm"
    } else if tree.has(&join(folder, "yarn.lock")) {
        "yarn"
    } else {
        "npm"
    };
    vec![node, Tool::any(manager)]
}
