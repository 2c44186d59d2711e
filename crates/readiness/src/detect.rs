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
                let is_above = |unit: &&mut Unit| unit.folder.is_empty() || unit.folder == folder;
                let Some(found) = (marker.unit)(tree, path) else { continue };
                match units.iter_mut().filter(is_above).find(|unit| belongs(unit, &found, marker)) {
                    None => units.push(found),
                    Some(unit) if unit.ecosystem == "native" && unit.folder == folder => {
                        merge(unit, found);
                    }
                    Some(_) => {}
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

/// True if what a marker tells is only more of a unit that is known.
fn belongs(unit: &Unit, found: &Unit, marker: &Marker) -> bool {
    unit.ecosystem == found.ecosystem || is_wrapped(unit, marker)
}

/// Several build systems for the same sources: which of them can be used is seen by what there is, so only
/// the tools that all of them need are wanted.
fn merge(unit: &mut Unit, other: Unit) {
    unit.tools.retain(|tool| other.tools.contains(tool));
    for (ways, more) in [(&mut unit.build, other.build), (&mut unit.test, other.test)] {
        for way in more {
            if ways.iter().all(|known| known.line != way.line) {
                ways.push(way);
            }
        }
    }
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
