//! Paths reduced to what a reviewer cares about: what kind of file it is and what it is for.

use serde::{Deserialize, Serialize};

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What decides whether a change is good: pipelines, owners, hooks.
    Ci,
    /// Tests and what they need.
    Test,
    /// Program text.
    Source,
    /// Settings, manifests, build files.
    Configuration,
    /// For people.
    Documentation,
    /// Written by programs: lock files, bundles, snapshots. Its content says little.
    Generated,
    /// Anything else.
    Other,
}

/// A file, without its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// What it is for.
    pub role: Role,
    /// Its extension in lower case, or its whole name where that says what it is.
    pub kind: String,
}

const LOCKS: &[&str] = &[
    "cargo.lock",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "bun.lockb",
    "go.sum",
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "pipfile.lock",
    "gemfile.lock",
    "composer.lock",
    "flake.lock",
    "mix.lock",
    "pubspec.lock",
    "packages.lock.json",
    "gradle.lockfile",
];
/// Files whose whole name says what they are, all of them settings.
const MANIFESTS: &[&str] = &[
    "cargo.toml",
    "package.json",
    "go.mod",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "pom.xml",
    "gemfile",
    "composer.json",
    "dockerfile",
    "makefile",
    "cmakelists.txt",
    "build.gradle",
    "requirements.txt",
];
const PIPELINES: &[&str] = &[
    ".gitlab-ci.yml",
    ".travis.yml",
    "jenkinsfile",
    "azure-pipelines.yml",
    "bitbucket-pipelines.yml",
    "codeowners",
    ".pre-commit-config.yaml",
];
const SOURCES: &[&str] = &[
    "rs", "py", "js", "jsx", "ts", "tsx", "mjs", "cjs", "go", "java", "kt", "scala", "rb", "php",
    "c", "h", "cc", "cpp", "hpp", "cs", "swift", "m", "sh", "bash", "pl", "lua", "ex", "exs",
    "erl", "hs", "ml", "sql", "vue", "svelte", "css", "scss", "html", "proto", "dart", "zig",
    "nim", "clj", "r", "jl",
];
const SETTINGS: &[&str] = &[
    "toml",
    "yaml",
    "yml",
    "json",
    "jsonc",
    "ini",
    "cfg",
    "conf",
    "env",
    "xml",
    "properties",
    "gradle",
    "tf",
    "nix",
];
const PROSE: &[&str] = &["md", "rst", "txt", "adoc", "org", "tex"];

impl Place {
    /// The place of a path in a repository.
    pub fn of(path: &str) -> Self {
        let path = path.to_lowercase();
        let name = path.rsplit('/').next().unwrap_or(&path);
        let kind =
            if MANIFESTS.contains(&name) || LOCKS.contains(&name) || PIPELINES.contains(&name) {
                name
            } else {
                name.rsplit_once('.').map_or("", |(_, extension)| extension)
            };
        let kind: String = kind.chars().take(40).collect();
        Self { role: role(&path, name, &kind), kind }
    }

    /// For a person: `CI files (yml)`.
    pub fn describe(&self) -> String {
        match self.kind.as_str() {
            "" => self.role.describe().to_owned(),
            kind => format!("{} ({kind})", self.role.describe()),
        }
    }
}

impl Role {
    /// In words, for a person.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Ci => "CI files",
            Self::Test => "tests",
            Self::Source => "source files",
            Self::Configuration => "configuration",
            Self::Documentation => "documentation",
            Self::Generated => "lock or generated files",
            Self::Other => "other files",
        }
    }

    /// Whether a number in such a file is more likely a version than a value of a program.
    pub(crate) fn holds_versions(self) -> bool {
        matches!(self, Self::Ci | Self::Configuration | Self::Generated | Self::Documentation)
    }
}

fn role(path: &str, name: &str, kind: &str) -> Role {
    let mut folders = path.split('/').rev().skip(1);
    let is_ci = path.starts_with(".github/")
        || [".circleci/", ".buildkite/", ".forgejo/", ".gitea/", ".husky/", ".gitlab/"]
            .iter()
            .any(|folder| path.starts_with(folder))
        || PIPELINES.contains(&name);
    let is_generated = LOCKS.contains(&name)
        || [".min.js", ".min.css", ".snap", ".map", ".pb.go", "_pb2.py", ".g.dart"]
            .iter()
            .any(|end| name.ends_with(end));
    let stem = name.split('.').next().unwrap_or(name);
    let is_test = ["test_", "spec_"].iter().any(|start| stem.starts_with(start))
        || ["_test", "_tests", "_spec"].iter().any(|end| stem.ends_with(end))
        || [".test.", ".spec."].iter().any(|part| name.contains(part))
        || ["test", "tests", "conftest"].contains(&stem);
    if is_ci {
        Role::Ci
    } else if is_generated
        || path.starts_with("vendor/")
        || path.split('/').any(|part| part == "node_modules")
    {
        Role::Generated
    } else if is_test
        || folders.any(|part| ["test", "tests", "spec", "__tests__", "testdata"].contains(&part))
    {
        Role::Test
    } else if SOURCES.contains(&kind) {
        Role::Source
    } else if MANIFESTS.contains(&name) || SETTINGS.contains(&kind) {
        Role::Configuration
    } else if PROSE.contains(&kind) || ["readme", "license", "changelog"].contains(&stem) {
        Role::Documentation
    } else {
        Role::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_what_the_file_is_for() {
        let of = |path| {
            let Place { role, kind } = Place::of(path);
            (role, kind)
        };
        let is = |role, kind: &str| (role, kind.to_owned());
        assert_eq!(of("src/deep/Billing.rs"), is(Role::Source, "rs"));
        assert_eq!(of("tests/billing.rs"), is(Role::Test, "rs"));
        assert_eq!(of("src/test_billing.py"), is(Role::Test, "py"));
        assert_eq!(of("web/app.spec.ts"), is(Role::Test, "ts"));
        assert_eq!(of(".github/workflows/ci.yml"), is(Role::Ci, "yml"));
        assert_eq!(of("docs/CODEOWNERS"), is(Role::Ci, "codeowners"));
        assert_eq!(of("sub/package-lock.json"), is(Role::Generated, "package-lock.json"));
        assert_eq!(of("package.json"), is(Role::Configuration, "package.json"));
        assert_eq!(of("setup.py"), is(Role::Configuration, "setup.py"));
        assert_eq!(of("README.md"), is(Role::Documentation, "md"));
        assert_eq!(
            of("latest.rs"),
            is(Role::Source, "rs"),
            "not every word with `test` in it is one"
        );
        assert_eq!(of(""), is(Role::Other, ""));
    }
}
