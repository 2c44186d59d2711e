//! The file of services and tasks: what is read, what is refused, with which words.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::{
    Automation, Occasion, Ready, Restart, Service, Task,
    output::{Kind, Output},
};
use crate::reserved::Reserved;

fn reserved() -> Reserved {
    Reserved {
        ports: BTreeSet::from([47101]),
        variables: BTreeSet::from(["HOME".to_owned()]),
        prefixes: vec!["WINDLASS".to_owned()],
    }
}

fn read(text: &str) -> Automation {
    Automation::read("e.yaml", text, &reserved()).unwrap_or_else(|refused| panic!("{refused}"))
}

/// Everything that is said about a text, one line each.
fn refused(text: &str) -> Vec<String> {
    match Automation::read("e.yaml", text, &reserved()) {
        Ok(automation) => panic!("it was taken: {automation:?}"),
        Err(refused) => refused.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn a_whole_file_is_read() {
    let text = "
services:
  db:
    description: Data for tests
    start: postgres -D /tmp/db
    ready: pg_isready
    ready_timeout: 2m
    stop: pg_ctl stop
    restart: on_failure
    ports: [5432]
    env: { PGPORT: 5432, FSYNC: false }
  web: { start: serve, depends_on: [migrate] }
tasks:
  migrate: { command: make migrate, on: start, depends_on: [db] }
  fetch: { command: make fetch, on: [prebuild, manual] }
";
    let db = Service {
        description: Some("Data for tests".to_owned()),
        start: "postgres -D /tmp/db".to_owned(),
        ready: Some(Ready { command: "pg_isready".to_owned(), timeout: Duration::from_secs(120) }),
        stop: Some("pg_ctl stop".to_owned()),
        restart: Restart::OnFailure,
        ports: vec![5432],
        depends_on: Vec::new(),
        env: [("PGPORT", "5432"), ("FSYNC", "false")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    };
    let web = Service {
        description: None,
        start: "serve".to_owned(),
        ready: None,
        stop: None,
        restart: Restart::Never,
        ports: Vec::new(),
        depends_on: vec!["migrate".to_owned()],
        env: [].into(),
    };
    let task = |command: &str, on: &[Occasion], depends_on: &[&str]| Task {
        description: None,
        command: command.to_owned(),
        on: on.to_vec(),
        depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
        env: [].into(),
        outputs: [].into(),
    };
    let expected = Automation {
        services: [("db".to_owned(), db), ("web".to_owned(), web)].into(),
        tasks: [
            ("migrate".to_owned(), task("make migrate", &[Occasion::Start], &["db"])),
            ("fetch".to_owned(), task("make fetch", &[Occasion::Prebuild, Occasion::Manual], &[])),
        ]
        .into(),
    };
    let found = read(text);
    assert_eq!(found, expected);
    assert_eq!(found.start(), [["db"], ["migrate"], ["web"]]);
    assert_eq!(found.prebuild(), [["fetch"]]);
}

#[test]
fn an_empty_file_holds_nothing() {
    assert_eq!(read(""), Automation::default());
    assert_eq!(read("# later\n"), Automation::default());
    assert_eq!(read("services:\n"), Automation::default());
}

#[test]
fn what_waits_for_nothing_starts_at_once_and_in_the_order_of_the_file() {
    let found = read(
        "services: { c: { start: x, depends_on: [a, b] }, b: { start: x }, a: { start: x } }\n\
         tasks: { t: { command: x }, s: { command: x, on: start, depends_on: [a] } }",
    );
    assert_eq!(found.start(), [vec!["b", "a"], vec!["c", "s"]]);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one_and_its_place() {
    assert_eq!(
        refused("services:\n  db:\n    start: x\n    depend_on: []\nservice: {}\n"),
        [
            "e.yaml:4:5: `depend_on` is no key of this place: did you mean `depends_on`?",
            "e.yaml:5:1: `service` is no key of this place: did you mean `services`?",
        ]
    );
}

#[test]
fn wrong_types_words_times_and_ports_are_refused_with_their_place() {
    assert_eq!(
        refused(
            "services:\n  a:\n    start: [x]\n    ready: ''\n    restart: sometimes\n    ports: \
             [0, 70000]\n    env: { A: [] }\n  b:\n    ready_timeout: 5\n    start: x\ntasks:\n  \
             t: { on: boot }\n"
        ),
        [
            "e.yaml:4:12: `ready` is empty or holds a NUL: name a command",
            "e.yaml:3:12: `start` must be a string, it is a list",
            "e.yaml:5:14: `restart` can't be `sometimes`: it is one of never, on_failure, always",
            "e.yaml:6:13: `ports[0]` must be a port from 1 to 65535",
            "e.yaml:6:16: `ports[1]` must be a port from 1 to 65535",
            "e.yaml:7:15: `env.A` must be a string, a number, true or false, it is a list",
            "e.yaml:9:20: `ready_timeout` must be a time from 1s to 24h, such as 90s, 5m or 1h",
            "e.yaml:12:12: `on` can't be `boot`: it is one of manual, start, prebuild, before_snapshot",
            "e.yaml:12:6: `tasks.t` has no `command`: add the command",
        ]
    );
}

#[test]
fn a_circle_is_named_from_end_to_end() {
    let text = "services:\n  a: { start: x, depends_on: [b] }\n  b: { start: x, depends_on: [c] \
                }\ntasks:\n  c: { command: x, on: start, depends_on: [a] }\n";
    assert_eq!(
        refused(text),
        ["e.yaml:2:30: these wait for each other: a → b → c → a: break the circle"]
    );
    assert_eq!(
        refused("services: { a: { start: x, depends_on: [a] } }"),
        ["e.yaml:1:40: `a` waits for itself: remove it from `depends_on`"]
    );
}

#[test]
fn two_services_on_one_port_and_a_port_of_the_platform_are_refused() {
    let text =
        "services:\n  a: { start: x, ports: [80, 80] }\n  b: { start: x, ports: [47101, 80] }\n";
    assert_eq!(
        refused(text),
        [
            "e.yaml:2:30: the port 80 stands twice: remove one",
            "e.yaml:3:26: the port 47101 belongs to the platform: choose another",
            "e.yaml:3:33: the port 80 is that of `a` too: choose another",
        ]
    );
}

#[test]
fn a_dependency_that_is_never_there_is_refused() {
    let text = "services:\n  a: { start: x, depends_on: [hnad, hand] }\ntasks:\n  hand: { command: \
                x }\n  early: { command: x, on: prebuild, depends_on: [a] }\n";
    assert_eq!(
        refused(text),
        [
            "e.yaml:2:31: no service or task is called `hnad`: did you mean `hand`?",
            "e.yaml:2:37: `hand` runs only when somebody asks: write `on: start` there",
            "e.yaml:5:51: `early` runs in a prebuild, where `a` is not: a prebuild holds files and \
             no running service",
        ]
    );
}

#[test]
fn names_and_variables_that_are_not_the_files_to_give_are_refused() {
    let text = "services:\n  a b: { start: x, env: { HOME: /, WINDLASS_X: 1, 'A=B': 1 } }\n  c: { \
                start: x }\ntasks:\n  c: { command: x }\n";
    assert_eq!(
        refused(text),
        [
            "e.yaml:2:3: `a b` is no name: use up to 64 letters, digits, `_` and `-`",
            "e.yaml:5:3: `c` is a service too: give one another name",
            "e.yaml:2:27: the variable `HOME` belongs to the platform, which works by it: choose \
             another name",
            "e.yaml:2:36: the variable `WINDLASS_X` belongs to the platform, which works by it: \
             choose another name",
            "e.yaml:2:51: `A=B` is no variable's name: it is empty or holds `=` or NUL",
        ]
    );
}

#[test]
fn text_that_is_no_yaml_is_refused_where_it_stops_to_be() {
    let said = refused("services: {\n  a: ]\n");
    assert!(said[0].starts_with("e.yaml:1:11: it can't be read as YAML"), "{said:?}");
    assert_eq!(refused("[]"), ["e.yaml:1:1: `the file` must be an object, it is a list"]);
}

#[test]
fn a_service_that_ends_is_started_again_as_its_policy_says_and_ever_more_slowly() {
    let again = [Restart::Never, Restart::OnFailure, Restart::Always]
        .map(|restart| (restart.again(true), restart.again(false)));
    assert_eq!(again, [(false, false), (false, true), (true, true)]);
    let pauses = [0, 1, 2, 3, 7, 1000].map(|ends| Restart::pause(ends).as_millis());
    assert_eq!(pauses, [500, 500, 1000, 2000, 30_000, 30_000]);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_a_reason(text in "[a-d:{}\\[\\], \n\"&*-]{0,80}") {
        if let Err(refused) = Automation::read("e.yaml", &text, &reserved()) {
            prop_assert!(!refused.to_string().is_empty());
        }
    }

    #[test]
    fn an_order_holds_each_name_once_after_all_that_it_waits_for(
        edges in prop::collection::vec((0..8usize, 0..8usize), 0..16),
    ) {
        let mut text = "services:\n".to_owned();
        for n in 0..8 {
            let before = edges.iter().filter(|(from, _)| *from == n);
            let before: BTreeSet<String> = before.map(|(_, to)| format!("s{to}")).collect();
            let before = before.into_iter().collect::<Vec<_>>().join(", ");
            text.push_str(&format!("  s{n}: {{ start: x, depends_on: [{before}] }}\n"));
        }
        match Automation::read("e.yaml", &text, &reserved()) {
            Ok(found) => {
                let mut seen = BTreeSet::new();
                for level in found.start() {
                    for name in &level {
                        prop_assert!(found.depends_on(name).iter().all(|other| seen.contains(other.as_str())));
                    }
                    seen.extend(level);
                }
                prop_assert_eq!(seen.len(), 8);
            }
            // Each edge was followed from somewhere back to where it began.
            Err(refused) => {
                let said = refused.to_string();
                prop_assert!(said.contains("wait for each other") || said.contains("waits for itself"), "{}", said);
                prop_assert!(has_circle(&edges), "{}", said);
            }
        }
    }
}

/// Found another way than the reader does: what can be reached from each name.
fn has_circle(edges: &[(usize, usize)]) -> bool {
    let mut reached: BTreeSet<(usize, usize)> = edges.iter().copied().collect();
    loop {
        let mut more = BTreeSet::new();
        for (a, b) in &reached {
            more.extend(reached.iter().filter(|(c, _)| c == b).map(|(_, d)| (*a, *d)));
        }
        let before = reached.len();
        reached.extend(more);
        if reached.len() == before {
            return reached.iter().any(|(a, b)| a == b);
        }
    }
}

#[test]
fn what_a_task_gives_is_declared_with_its_type_and_where_it_comes_from() {
    let found = read(
        "tasks:\n  audit:\n    command: make audit\n    on: [prebuild, before_snapshot]\n    outputs:\n      \
         version: string\n      count: { type: integer, from: audit.json, pointer: /vulnerabilities/count }\n",
    );
    let output = |kind, from: Option<&str>, pointer: Option<&str>| Output {
        kind,
        from: from.map(str::to_owned),
        pointer: pointer.map(str::to_owned),
    };
    let count = output(Kind::Integer, Some("audit.json"), Some("/vulnerabilities/count"));
    let expected =
        [("version".to_owned(), output(Kind::String, None, None)), ("count".to_owned(), count)];
    assert_eq!(found.tasks["audit"].outputs, expected.into());
    assert_eq!(
        (found.prebuild(), found.before_snapshot()),
        (vec![vec!["audit"]], vec![vec!["audit"]])
    );
}

#[test]
fn outputs_that_can_not_be_are_refused_with_their_place() {
    assert_eq!(
        refused(
            "tasks:\n  t:\n    command: x\n    outputs:\n      a: text\n      b: { from: ../x }\n      c: { \
             type: json, pointer: a/b, form: x }\n"
        ),
        [
            "e.yaml:5:10: `outputs.a` can't be `text`: it is one of string, integer, number, boolean, json",
            "e.yaml:6:18: `from` must be a file below $WINDLASS_OUTPUTS, such as audit.json",
            "e.yaml:6:10: `outputs.b` has no `type`: string, integer, number, boolean or json",
            "e.yaml:7:33: `pointer` must be a JSON pointer, such as /vulnerabilities/count",
            "e.yaml:7:38: `form` is no key of this place: did you mean `from`?",
        ]
    );
}

#[test]
fn what_runs_before_a_snapshot_waits_for_nothing_that_is_not_there() {
    assert_eq!(
        refused(
            "services: { db: { start: x } }\ntasks:\n  a: { command: x, on: before_snapshot, depends_on: [db] \
             }\n  b: { command: x, on: start, depends_on: [a] }\n"
        ),
        [
            "e.yaml:3:54: `a` runs before a snapshot is taken, where `db` is not: a snapshot holds files and no \
             running service",
            "e.yaml:4:44: `a` runs only where a snapshot is taken: write `on: [start, before_snapshot]` there",
        ]
    );
}
