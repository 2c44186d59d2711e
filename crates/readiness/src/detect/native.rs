//! C, C++ and whatever else is built by make, configure, CMake or Meson.

use crate::{
    hints::makefile_targets,
    plan::{Command, Tool, Unit},
    tree::{Tree, folder_of, join, name_of},
};

pub(super) fn cmake(_: &Tree, path: &str) -> Option<Unit> {
    let build = Command::new(
        "cmake -S . -B build -DCMAKE_BUILD_TYPE=Debug -DBUILD_TESTING=ON && cmake --build build -j2",
        "CMake's usual way, beside the sources",
        path,
    );
    let test = [
        Command::new(
            "ctest --test-dir build --output-on-failure",
            "CTest runs what CMake registers",
            path,
        ),
        Command::new("cmake --build build --target check", "a target `check`", path),
        Command::new("cmake --build build --target test", "a target `test`", path),
    ];
    Some(unit(path, &["cmake", "cc"], vec![build.needing(&["cmake"])], test.into()))
}

pub(super) fn meson(_: &Tree, path: &str) -> Option<Unit> {
    let line = "meson setup build && meson compile -C build";
    let build = Command::new(line, "Meson's usual way, beside the sources", path);
    let test = Command::new("meson test -C build --print-errorlogs", "what Meson registers", path);
    Some(unit(path, &["meson", "ninja", "cc"], vec![build], vec![test]))
}

pub(super) fn autotools(tree: &Tree, path: &str) -> Option<Unit> {
    let folder = folder_of(path);
    let has = |name: &str| tree.has(&join(folder, name));
    let mut tools = vec!["make", "cc"];
    let mut build = Vec::new();
    let make = |before: &str, why: &str| Command::new(format!("{before} && make -j2"), why, path);
    if has("configure") {
        let why = "configure, then make";
        // A checkout knows no times: of files of one age make takes none to be in want of making again.
        let touched = "find . -path ./.git -prune -o -type f -exec touch -d 2001-01-01 {} + && \
                       sh ./configure";
        build.push(make(touched, why).needing(&["make"]));
        build.push(make("sh ./configure --disable-dependency-tracking", why).needing(&["make"]));
    }
    for script in ["autogen.sh", "bootstrap", "bootstrap.sh"] {
        if has(script) {
            let line = format!("NOCONFIGURE=1 sh ./{script} && sh ./configure");
            build.push(
                make(&line, "the repository's own script makes configure")
                    .needing(&["make", "autoconf"]),
            );
        }
    }
    if has("configure.ac") {
        build.push(make("autoreconf -fi && sh ./configure", "configure is made from configure.ac"));
        if !has("configure") {
            tools.extend(["autoconf", "automake"]);
        }
    }
    let mut unit = unit(path, &tools, build, make_tests(tree, folder, path));
    // What configure makes can't be read before it is made.
    for target in ["check", "test"] {
        let line = format!("make {target}");
        if unit.test.iter().all(|command| command.line != line) {
            unit.test.push(Command::new(line, "the usual target of configure's makefiles", path));
        }
    }
    Some(unit)
}

pub(super) fn make(tree: &Tree, path: &str) -> Option<Unit> {
    let folder = folder_of(path);
    let test = make_tests(tree, folder, path);
    if tree.text(path).is_some() && test.is_empty() && !has_sources(tree, folder) {
        return None;
    }
    let build = Command::new("make -j2", "the makefile's first target", path);
    Some(unit(path, &["make", "cc"], vec![build], test))
}

fn make_tests(tree: &Tree, folder: &str, path: &str) -> Vec<Command> {
    let makefile = tree.first(folder, &["Makefile", "makefile", "GNUmakefile"]);
    let Some((place, text)) = makefile.and_then(|place| Some((place.clone(), tree.text(&place)?)))
    else {
        return Vec::new();
    };
    let targets = makefile_targets(text);
    let wanted = ["check", "test", "tests", "runtests", "unittest"];
    let there = wanted.into_iter().filter(|name| targets.contains(name));
    let make =
        |name: &str| Command::new(format!("make {name}"), format!("the target `{name}`"), &place);
    let _ = path;
    there.map(make).collect()
}

fn has_sources(tree: &Tree, folder: &str) -> bool {
    let is_source =
        |path: &str| [".c", ".cc", ".cpp", ".cxx"].iter().any(|end| name_of(path).ends_with(end));
    tree.paths().any(|path| path.starts_with(folder) && is_source(path))
}

fn unit(path: &str, tools: &[&str], build: Vec<Command>, test: Vec<Command>) -> Unit {
    Unit {
        ecosystem: "native",
        folder: folder_of(path).to_owned(),
        place: path.to_owned(),
        tools: tools.iter().map(|name| Tool::any(name)).collect(),
        install: Vec::new(),
        build,
        test,
    }
}
