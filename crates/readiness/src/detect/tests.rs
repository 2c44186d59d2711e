//! Repositories as their files tell them.

use super::*;
use crate::plan::Plan;

fn tree(files: &[(&str, &str)]) -> Tree {
    Tree::new([], files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())))
}

fn told(files: &[(&str, &str)]) -> Vec<(String, String, String)> {
    let units = Plan::of(&tree(files)).units.into_iter();
    let first = |commands: &[crate::Command]| {
        commands.first().map(|it| it.line.clone()).unwrap_or_default()
    };
    units.map(|unit| (unit.ecosystem.to_owned(), first(&unit.install), first(&unit.test))).collect()
}

fn unit(ecosystem: &str, install: &str, test: &str) -> (String, String, String) {
    (ecosystem.to_owned(), install.to_owned(), test.to_owned())
}

#[test]
fn each_ecosystem_is_told_by_its_own_files() {
    type Case = (&'static [(&'static str, &'static str)], (String, String, String));
    let cases: &[Case] = &[
        (
            &[("Cargo.toml", "[package]\nname='a'\n"), ("Cargo.lock", "")],
            unit("rust", "cargo fetch --locked", "cargo test --no-fail-fast"),
        ),
        (
            &[("package.json", r#"{"scripts":{"test":"mocha"}}"#), ("package-lock.json", "")],
            unit("node", "npm ci", "npm test"),
        ),
        (&[("go.mod", "module a\n\ngo 1.22\n")], unit("go", "go mod download", "go test -v ./...")),
        (&[("pom.xml", "")], unit("java", "", "mvn -B -ntp test")),
        (
            &[("gradlew", ""), ("build.gradle", "")],
            unit("java", "", "sh ./gradlew --no-daemon --console=plain test -i"),
        ),
        (
            &[("Gemfile", ""), ("Rakefile", "")],
            unit("ruby", "bundle install", "bundle exec rake test"),
        ),
        (
            &[("composer.json", "{}")],
            unit("php", "composer install --no-interaction", "vendor/bin/phpunit"),
        ),
        (&[("a.sln", "")], unit("dotnet", "dotnet restore", "dotnet test --no-build")),
        (&[("Makefile.PL", ""), ("t/a.t", "")], unit("perl", "", "make test")),
        (
            &[("CMakeLists.txt", "")],
            unit("native", "", "ctest --test-dir build --output-on-failure"),
        ),
        (&[("meson.build", "")], unit("native", "", "meson test -C build --print-errorlogs")),
        (&[("configure.ac", "")], unit("native", "", "make check")),
        (&[("Makefile", "all:\n\ntest: all\n")], unit("native", "", "make test")),
        (&[("README.md", "```\n./test.sh\n```\n")], unit("other", "", "./test.sh")),
    ];
    for (files, expected) in cases {
        assert_eq!(told(files), std::slice::from_ref(expected), "{files:?}");
    }
}

#[test]
fn a_python_package_gets_its_extras_groups_and_the_helpers_that_its_tests_show() {
    let project = "[project]\nname='a'\nrequires-python='>=3.9'\n[project.optional-dependencies]\ntest=['x']\ndocs=['y']\n[dependency-groups]\ndev=['z']\n";
    let files =
        [("pyproject.toml", project), ("tests/test_a.py", "from hypothesis import given\n")];
    let units = Plan::of(&tree(&files)).units;
    let lines: Vec<&str> = units[0].install.iter().map(|it| it.line.as_str()).collect();
    let before = "python3 -m venv .venv && .venv/bin/python -m pip install";
    assert_eq!(
        lines,
        [
            format!("{before} -e '.[test]' --group dev pytest hypothesis"),
            format!("{before} -e '.[test]' pytest hypothesis"),
            format!("{before} -e '.' pytest hypothesis"),
            format!("{before} pytest hypothesis"),
        ]
    );
    assert_eq!(units[0].tools, [crate::plan::Tool::of("python3", ">=3.9", "pyproject.toml")]);
}

#[test]
fn a_makefile_beside_a_manifest_only_wraps_it_and_vendored_code_is_not_ours() {
    let files =
        [("Cargo.toml", "[package]\nname='a'\n"), ("Makefile", "test:\n"), ("vendor/x/go.mod", "")];
    let names: Vec<&str> =
        Plan::of(&tree(&files)).units.iter().map(|unit| unit.ecosystem).collect();
    assert_eq!(names, ["rust"]);
}

#[test]
fn a_repository_of_two_ecosystems_has_two_units() {
    let files =
        [("Cargo.toml", "[workspace]\n"), ("package.json", r#"{"scripts":{"test":"jest"}}"#)];
    let names: Vec<&str> =
        Plan::of(&tree(&files)).units.iter().map(|unit| unit.ecosystem).collect();
    assert_eq!(names, ["rust", "node"]);
}

#[test]
fn nonsense_is_no_ecosystem() {
    assert_eq!(Plan::of(&tree(&[])).units, []);
    assert_eq!(Plan::of(&tree(&[("package.json", "{")])).units, []);
    assert_eq!(
        told(&[("Cargo.toml", "][")]).len(),
        1,
        "a manifest that can't be read is still tried"
    );
}

#[test]
fn of_several_build_systems_for_the_same_sources_any_will_do() {
    let files = [("CMakeLists.txt", ""), ("configure", ""), ("configure.ac", ""), ("a.c", "")];
    let units = Plan::of(&tree(&files)).units;
    let [unit] = units.as_slice() else { panic!("one unit was expected") };
    assert_eq!(unit.tools, [crate::plan::Tool::any("cc")]);
    assert!(unit.build.iter().any(|way| way.needs == ["cmake"]));
    assert!(unit.build.iter().any(|way| way.needs == ["make"]));
    assert!(unit.test.iter().any(|way| way.line == "make check"));
}
