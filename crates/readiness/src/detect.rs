//! Which ecosystems a repository is of, by the files that only they have. One table, one module per
//! ecosystem that needs more than a few lines.

mod native;
mod node;
mod perl;
mod python;
mod rust;
mod simple;

use crate::{
    plan::Unit,
    tree::{Tree, folder_of, name_of},
};

/// One way to tell an ecosystem.
struct Marker {
    /// A file's name; with `*` at the front, the end of one.
    name: &'static str,
    /// Makes the unit that the file at this path stands for, if it does.
    unit: fn(&Tree, &str) -> Option<Unit>,
}

/// In the order of trust: of two markers in one folder that tell the same ecosystem the first counts.
const MARKERS: &[Marker] = &[
    Marker { name: "Cargo.toml", unit: rust::unit },
    Marker { name: "go.mod", unit: simple::go },
    Marker { name: "package.json", unit: node::unit },
    Marker { name: "pyproject.toml", unit: python::unit },
    Marker { name: "setup.py", unit: python::unit },
    Marker { name: "setup.cfg", unit: python::unit },
    Marker { name: "tox.ini", unit: python::unit },
    Marker { name: "requirements.txt", unit: python::unit },
    Marker { name: "pom.xml", unit: simple::maven },
    Marker { name: "build.gradle", unit: simple::gradle },
    Marker { name: "build.gradle.kts", unit: simple::gradle },
    Marker { name: "Gemfile", unit: simple::ruby },
    Marker { name: "*.gemspec", unit: simple::ruby },
    Marker { name: "Rakefile", unit: simple::ruby },
    Marker { name: "composer.json", unit: simple::php },
    Marker { name: "*.sln", unit: simple::dotnet },
    Marker { name: "*.csproj", unit: simple::dotnet },
    Marker { name: "Build.PL", unit: perl::unit },
    Marker { name: "Makefile.PL", unit: perl::unit },
    Marker { name: "meson.build", unit: native::meson },
    Marker { name: "CMakeLists.txt", unit: native::cmake },
    Marker { name: "configure", unit: native::autotools },
    Marker { name: "configure.ac", unit: native::autotools },
    Marker { name: "Makefile", unit: native::make },
    Marker { name: "makefile", unit: native::make },
    Marker { name: "GNUmakefile", unit: native::make },
];

/// How deep a unit may lie.
const DEPTH: usize = 2;
/// Folders whose contents are other people's, or examples.
const NOT_OURS: &[&str] = &[
    "vendor",
    "node_modules",
    "third_party",
    "examples",
    "example",
    "fixtures",
    "testdata",
    "tests",
    "test",
    "docs",
];

/// The units of a repository. Where the root is one, those below it that are of the same ecosystem belong
/// to it.
pub fn units(tree: &Tree) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for depth in 0..=DEPTH {
        for marker in MARKERS {
            let at_depth = |path: &&str| path.matches('/').count() == depth && is_ours(path);
            for path in tree.paths().filter(at_depth).filter(|path| marker.tells(path)) {
                let folder = folder_of(path);
                let is_taken = units.iter().any(|unit| {
                    let above = unit.folder.is_empty() || unit.folder == folder;
                    above && (same(unit, marker, tree, path) || is_wrapped(unit, marker))
                });
                if !is_taken && let Some(unit) = (marker.unit)(tree, path) {
                    units.push(unit);
                }
            }
        }
        // What lies deeper is looked at only where nothing nearer was found.
        if !units.is_empty() {
            break;
        }
    }
    units
}

impl Marker {
    fn tells(&self, path: &str) -> bool {
        match self.name.strip_prefix('*') {
            Some(end) => name_of(path).ends_with(end),
            None => name_of(path) == self.name,
        }
    }
}

fn same(unit: &Unit, marker: &Marker, tree: &Tree, path: &str) -> bool {
    (marker.unit)(tree, path).is_some_and(|other| other.ecosystem == unit.ecosystem)
}

/// A makefile or a configure script beside another ecosystem's manifest only wraps it.
fn is_wrapped(unit: &Unit, marker: &Marker) -> bool {
    let wraps = matches!(
        marker.name,
        "Makefile"
            | "makefile"
            | "GNUmakefile"
            | "configure"
            | "configure.ac"
            | "CMakeLists.txt"
            | "meson.build"
    );
    wraps
        || unit.ecosystem == "perl"
        || (unit.ecosystem == "python" && marker.name == "package.json")
}

fn is_ours(path: &str) -> bool {
    !folder_of(path).split('/').any(|part| NOT_OURS.contains(&part) || part.starts_with('.'))
}

#[cfg(test)]
mod tests;
