//! The files of a repository as a detector sees them: all paths, and the text of those few that say how
//! it is built and tested.

use std::collections::{BTreeMap, BTreeSet};

/// The largest file that is worth reading, in bytes.
pub const LARGEST: u64 = 128 << 10;
/// How many files are read at most.
const MOST: usize = 120;
/// How many of them are files with tests.
const MOST_TESTS: usize = 40;

/// Names of files that are read wherever they lie, up to two folders deep.
const NAMES: &[&str] = &[
    ".node-version",
    ".nvmrc",
    ".python-version",
    ".ruby-version",
    ".tool-versions",
    ".env.example",
    ".env.sample",
    "AGENTS.md",
    "Build.PL",
    "CMakeLists.txt",
    "Cargo.toml",
    "Gemfile",
    "GNUmakefile",
    "Makefile",
    "Makefile.PL",
    "Pipfile",
    "README",
    "README.md",
    "README.rst",
    "Rakefile",
    "build.gradle",
    "build.gradle.kts",
    "composer.json",
    "compose.yaml",
    "compose.yml",
    "conftest.py",
    "docker-compose.yaml",
    "docker-compose.yml",
    "go.mod",
    "global.json",
    "makefile",
    "meson.build",
    "package.json",
    "pom.xml",
    "pyproject.toml",
    "pytest.ini",
    "rust-toolchain",
    "rust-toolchain.toml",
    "setup.cfg",
    "setup.py",
    "tox.ini",
];

/// A repository's files.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    paths: BTreeSet<String>,
    texts: BTreeMap<String, String>,
}

impl Tree {
    /// A tree with these files and the text of some of them. Paths are relative, with `/`.
    pub fn new(
        paths: impl IntoIterator<Item = String>,
        texts: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut tree =
            Self { paths: paths.into_iter().collect(), texts: texts.into_iter().collect() };
        tree.paths.extend(tree.texts.keys().cloned());
        tree
    }

    /// Which of these files are worth reading, the most telling first.
    pub fn worth_reading<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let (mut named, mut tests) = (Vec::new(), Vec::new());
        for path in paths {
            let depth = path.matches('/').count();
            let name = name_of(path);
            let is_workflow = path.starts_with(".github/workflows/") || path == ".gitlab-ci.yml";
            let is_requirements = depth <= 2 && name.ends_with(".txt") && path.contains("require");
            let is_telling = NAMES.contains(&name) || name.ends_with(".gemspec");
            if is_workflow || is_requirements || (depth <= 2 && is_telling) {
                named.push((depth, path.to_owned()));
            } else if depth <= 4 && is_python_test(path) {
                tests.push((depth, path.to_owned()));
            }
        }
        named.sort();
        tests.sort();
        tests.truncate(MOST_TESTS);
        let all = named.into_iter().chain(tests).map(|(_, path)| path);
        all.take(MOST).collect()
    }

    /// True if there is such a file.
    pub fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// True if there is a file below such a folder.
    pub fn has_folder(&self, folder: &str) -> bool {
        let prefix = format!("{folder}/");
        self.paths.range(prefix.clone()..).next().is_some_and(|path| path.starts_with(&prefix))
    }

    /// The text of a file, if it was read.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// All files that were read.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The first of these names that is a file in the folder, as a path.
    pub fn first(&self, folder: &str, names: &[&str]) -> Option<String> {
        names.iter().map(|name| join(folder, name)).find(|path| self.has(path))
    }
}

/// A name in a folder; the empty folder is the root.
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The folder that a path lies in; empty for the root.
pub fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The last part of a path.
pub fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// True if a path is that of a Python file with tests.
pub fn is_python_test(path: &str) -> bool {
    let name = name_of(path);
    name.ends_with(".py")
        && (name.starts_with("test_")
            || name.ends_with("_test.py")
            || name == "tests.py"
            || name == "conftest.py")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telling_files_are_read_before_tests_and_deep_ones_never() {
        let paths = [
            "tests/test_a.py",
            "a/b/c/package.json",
            "setup.py",
            ".github/workflows/ci.yml",
            "src/x.c",
        ];
        let read = Tree::worth_reading(paths);
        assert_eq!(read, ["setup.py", ".github/workflows/ci.yml", "tests/test_a.py"]);
    }

    #[test]
    fn a_folder_is_known_by_what_lies_in_it() {
        let tree = Tree::new(["tests/a.py".to_owned(), "testsuite".to_owned()], []);
        assert!(
            tree.has_folder("tests") && !tree.has_folder("test") && !tree.has_folder("testsuite")
        );
        assert_eq!(tree.first("tests", &["b.py", "a.py"]), Some("tests/a.py".to_owned()));
    }
}
