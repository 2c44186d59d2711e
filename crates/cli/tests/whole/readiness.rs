//! How ready a repository is for agents: small repositories always, real ones from package registries
//! in a soak.

use std::fs;

use serde_json::Value;

use crate::world::World;

/// A repository whose tests need nothing but Python's own library, so that no registry is asked.
fn small(world: &World) -> String {
    let makefile = "test:\n\tpython3 -m unittest discover -v\n";
    let test = "import unittest\n\nclass Test(unittest.TestCase):\n    def test_one(self):\n        self.assertEqual(1, 1)\n";
    let files = [
        ("Makefile", makefile),
        ("main.c", "int main(void) { return 0; }\n"),
        ("test_one.py", test),
    ];
    world.repository("small", &files).to_str().expect("UTF-8").to_owned()
}

fn lines(found: &Value) -> Vec<(String, String, Option<i64>)> {
    let commands = found["report"]["commands"].as_array().expect("a list");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    commands
        .iter()
        .map(|ran| (text(&ran["phase"]), text(&ran["line"]), ran["exit"].as_i64()))
        .collect()
}

#[test]
fn a_repository_is_tried_and_what_would_make_it_better_becomes_a_pull_request() {
    let world = World::new();
    let path = small(&world);
    let _up = world.up(&[]);
    let found = world.json(&["--json", "project", "check", &path, "--offline", "--pull-request"]);
    let ran = |phase: &str, line: &str| (phase.to_owned(), line.to_owned(), Some(0));
    assert_eq!(
        lines(&found),
        [ran("build", "make -j2"), ran("test", "make test"), ran("again", "make test")]
    );
    let report = &found["report"];
    assert_eq!(
        (&report["tests_started"], &report["tests"]["passed"]),
        (&Value::Bool(true), &Value::from(1))
    );
    assert_eq!(report["score"]["points"], 90);
    let changes = world.json(&["--json", "review", "list"]);
    let body = changes["items"][0].to_string();
    assert!(body.contains("Describe the environment and the tests to agents"), "{body}");
    let diff = world.run(&["review", "diff", "small#1"]).out;
    assert!(diff.contains("devcontainer.json") && diff.contains("AGENTS.md"), "{diff}");
    assert!(!diff.contains("__pycache__"), "what the tests left behind is no change: {diff}");
    // Once more, now that both are there.
    world.json(&["--json", "review", "merge", "small#1"]);
    let again = world.json(&["--json", "project", "check", "small", "--offline", "--pull-request"]);
    assert_eq!(again["report"]["score"]["points"], 100);
    let shown = world.json(&["--json", "project", "show", "small"]);
    let scores: Vec<i64> = shown["readiness"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["score"].as_i64())
        .collect();
    assert_eq!(scores, [100, 90]);
}

#[test]
fn a_repository_that_tells_nothing_gets_a_report_that_says_so() {
    let world = World::new();
    let path = world.repository("empty", &[("notes.txt", "nothing here\n")]);
    let path = path.to_str().expect("UTF-8");
    let found = world.json(&["--json", "project", "check", path, "--offline"]);
    assert_eq!(found["report"]["tests_started"], false);
    assert_eq!((&found["report"]["score"]["points"], lines(&found)), (&Value::from(0), vec![]));
    let words = world.run(&["project", "check", path, "--offline"]);
    assert!(
        words.out.contains("0 of 100") && words.out.contains("no file tells how it is built"),
        "{words}"
    );
}

/// Twenty in a soak, four small ones where everything must be tried. Registries may be on private
/// addresses, which an operator has to name: here they are those that their names lead to.
#[test]
fn real_repositories_come_to_where_their_tests_start() {
    let is = |name: &str| std::env::var(name).as_deref() == Ok("1");
    let (soak, all) = (is("WINDLASS_TEST_SOAK"), is("WINDLASS_TEST_ALL"));
    if !soak && !all {
        eprintln!("SKIPPED real repositories: needs package registries: set WINDLASS_TEST_SOAK=1");
        return;
    }
    let world = World::new();
    let wanted = if soak { sources::SOURCES } else { sources::FEW };
    let fetched = sources::fetch(&world, wanted)
        .unwrap_or_else(|why| panic!("the sources can't be had: {why}"));
    let rules: Vec<String> =
        sources::addresses().iter().map(|address| format!("@registries in {address}")).collect();
    let up: Vec<&str> = rules.iter().flat_map(|rule| ["--allow-private", rule]).collect();
    let _up = world.up(&up);
    let (mut table, mut n_started) = (String::new(), 0);
    for (language, path) in &fetched {
        let path = path.to_str().expect("UTF-8");
        let ended = world.run(&["--json", "project", "check", path, "--minutes", "20"]);
        let found: Value = serde_json::from_str(&ended.out).unwrap_or_default();
        let report = &found["report"];
        let started = report["tests_started"] == true;
        n_started += usize::from(started);
        let commands = report["commands"].as_array().cloned().unwrap_or_default();
        let took: i64 = commands.iter().filter_map(|ran| ran["took"].as_i64()).sum();
        table.push_str(&format!(
            "{language:8} {:24} {:8} {:>3} {:>6} passed {:>4} failed {:>5} s\n",
            path.rsplit('/').next().unwrap_or_default(),
            if started { "started" } else { "not" },
            report["score"]["points"].as_i64().unwrap_or(-1),
            report["tests"]["passed"].as_i64().unwrap_or(0),
            report["tests"]["failed"].as_i64().unwrap_or(0),
            took / 1_000_000,
        ));
    }
    eprintln!("{table}{n_started} of {} came to where tests start", fetched.len());
    let least = fetched.len() * 16 / 20;
    assert!(n_started >= least, "at least {least} were expected:\n{table}");
}

mod sources {
    //! Package sources with their tests, by the registries' own clients. Named one by one: the list is
    //! part of the test.

    use std::{
        collections::BTreeSet,
        net::{IpAddr, ToSocketAddrs as _},
        path::{Path, PathBuf},
        process::Command,
    };

    use super::{World, fs};

    /// A language, and a package of that name in its registry.
    type Source = (&'static str, &'static str);

    /// Twenty, of five languages.
    pub(super) const SOURCES: &[Source] = &[
        ("rust", "itoa"),
        ("rust", "semver"),
        ("rust", "hex"),
        ("rust", "httparse"),
        ("node", "is-regex@1.1.4"),
        ("node", "object-inspect@1.13.1"),
        ("node", "is-callable@1.2.7"),
        ("node", "minimist@1.2.8"),
        ("python", "iniconfig"),
        ("python", "toolz"),
        ("python", "pluggy"),
        ("python", "more-itertools"),
        ("perl", "libtry-tiny-perl"),
        ("perl", "libtext-glob-perl"),
        ("perl", "libnumber-compare-perl"),
        ("perl", "libpath-tiny-perl"),
        ("c", "hello"),
        ("c", "libtasn1-6"),
        ("c", "gzip"),
        ("c", "popt"),
    ];

    /// Four small ones.
    pub(super) const FEW: &[Source] = &[
        ("rust", "hex"),
        ("node", "minimist@1.2.8"),
        ("python", "iniconfig"),
        ("perl", "libtry-tiny-perl"),
    ];

    /// Where the registries of these languages are.
    pub(super) fn addresses() -> BTreeSet<IpAddr> {
        let hosts = [
            "index.crates.io",
            "static.crates.io",
            "registry.npmjs.org",
            "pypi.org",
            "files.pythonhosted.org",
        ];
        let found =
            hosts.iter().flat_map(|host| (*host, 443).to_socket_addrs().into_iter().flatten());
        found.map(|address| address.ip()).collect()
    }

    /// Fetches them and makes a repository of each.
    pub(super) fn fetch(
        world: &World,
        wanted: &[Source],
    ) -> Result<Vec<(&'static str, PathBuf)>, String> {
        let mut fetched = Vec::new();
        for (language, name) in wanted {
            let folder = world.path(&format!("fetched/{language}-{name}"));
            fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
            let archive = match *language {
                "rust" => cargo(&folder, name)?,
                "node" => by(&folder, &["npm", "pack", "--silent", name])?,
                "python" => {
                    let words = [
                        "python3",
                        "-m",
                        "pip",
                        "download",
                        "--quiet",
                        "--no-deps",
                        "--no-binary",
                        ":all:",
                    ];
                    by(&folder, &[&words[..], &[*name]].concat())?
                }
                _ => debian(&folder, name)?,
            };
            let repository = world.repository(&format!("{language}-{name}"), &[]);
            let strip = ["tar", "--extract", "--strip-components=1", "--file"];
            let archive = archive.to_str().ok_or("a path that is not UTF-8")?;
            run(&repository, &[&strip[..], &[archive]].concat())?;
            run(&repository, &["git", "add", "--all", "--force"])?;
            let who = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org"];
            run(&repository, &[&who[..], &["commit", "--quiet", "--message", "sources"]].concat())?;
            fetched.push((*language, repository));
        }
        Ok(fetched)
    }

    /// The file that a client left in the folder.
    fn by(folder: &Path, words: &[&str]) -> Result<PathBuf, String> {
        run(folder, words)?;
        let is_archive = |path: &PathBuf| {
            let name = path.to_string_lossy();
            [".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".crate"]
                .iter()
                .any(|end| name.ends_with(end))
        };
        let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
        let found = entries.flatten().map(|entry| entry.path()).find(is_archive);
        found.ok_or_else(|| format!("`{}` left no archive", words.join(" ")))
    }

    /// Cargo keeps what it fetched for a package that depends on it.
    fn cargo(folder: &Path, name: &str) -> Result<PathBuf, String> {
        let manifest = format!(
            "[package]\nname = \"wants\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[dependencies]\n{name} = \"*\"\n"
        );
        fs::create_dir_all(folder.join("src")).map_err(|error| error.to_string())?;
        fs::write(folder.join("src/lib.rs"), "").map_err(|error| error.to_string())?;
        fs::write(folder.join("Cargo.toml"), manifest).map_err(|error| error.to_string())?;
        let home = folder.join("home");
        let mut command = Command::new("cargo");
        command.args(["fetch", "--quiet"]).env("CARGO_HOME", &home);
        ended(folder, &mut command, "cargo fetch")?;
        let cache = home.join("registry/cache");
        let entries = fs::read_dir(&cache).map_err(|error| error.to_string())?;
        let crates = entries.flatten().filter_map(|registry| fs::read_dir(registry.path()).ok());
        let mut files = crates.flat_map(|entries| entries.flatten()).map(|entry| entry.path());
        let is_it = |path: &PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            file.strip_prefix(&format!("{name}-"))
                .is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
        };
        files.find(is_it).ok_or_else(|| format!("cargo fetched no {name}"))
    }

    /// Upstream's archive, as Debian keeps it; with lists of its own, since a machine need not know sources.
    fn debian(folder: &Path, name: &str) -> Result<PathBuf, String> {
        let lists = folder.parent().unwrap_or(folder).join("apt");
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        let sources = lists.join("debian.sources");
        let options = [
            option("Dir::Etc::sourcelist", &sources),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            option("Dir::State::lists", &lists.join("lists")),
            "APT::Sandbox::User=".to_owned(),
        ];
        let apt: Vec<&str> = ["apt-get", "--quiet"]
            .into_iter()
            .chain(options.iter().flat_map(|option| ["-o", option]))
            .collect();
        if !sources.exists() {
            fs::create_dir_all(lists.join("lists/partial")).map_err(|error| error.to_string())?;
            let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
            let suite = release
                .lines()
                .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
                .unwrap_or("stable");
            let text = format!(
                "Types: deb-src\nURIs: http://deb.debian.org/debian\nSuites: {suite}\nComponents: main\n\
                 Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
            );
            fs::write(&sources, text).map_err(|error| error.to_string())?;
            run(folder, &[&apt[..], &["update"]].concat())?;
        }
        by(folder, &[&apt[..], &["source", "--download-only", "--tar-only", name]].concat())
    }

    fn run(folder: &Path, words: &[&str]) -> Result<(), String> {
        let mut command = Command::new(words[0]);
        ended(folder, command.args(&words[1..]), &words.join(" "))
    }

    fn ended(folder: &Path, command: &mut Command, words: &str) -> Result<(), String> {
        let output =
            command.current_dir(folder).output().map_err(|error| format!("`{words}`: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("`{words}`: {}", String::from_utf8_lossy(&output.stderr))),
        }
    }
}
