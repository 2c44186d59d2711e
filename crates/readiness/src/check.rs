//! The order in which a repository is tried: which tools there are, then for each unit ways to install,
//! to build and to test until one works, then the tests once more. A machine: whoever drives it runs one
//! command at a time and says how it ended.

use std::collections::BTreeMap;

use crate::{
    diagnose,
    observe::{self, Tests},
    plan::{Command, Phase, Plan},
    propose,
    report::{CommandRun, Missing, Recognised, Report, Steady, ToolFound, VERSION},
    score::{Present, score},
    tree::Tree,
};

/// How often something missing is added before one way to test is given up.
const REPAIRS: u32 = 2;
/// How many things that are missing a report tells.
const MISSING: usize = 30;
/// What stands before each line of the probe's answer.
const MARK: &str = "windlass-tool";

/// A repository that is being tried.
#[derive(Debug)]
pub struct Check {
    commit: String,
    plan: Plan,
    present: Present,
    place: Stage,
    /// The programs that the environment has, with what they say of their version.
    found: BTreeMap<String, String>,
    commands: Vec<CommandRun>,
    tests: Vec<Tests>,
    steady: Steady,
    missing: Vec<Missing>,
}

/// Where the check stands. Each names the unit and which of its ways is next.
#[derive(Clone, Debug, PartialEq)]
enum Stage {
    Probe,
    Install(usize, usize),
    Build(usize, usize),
    Test { unit: usize, way: usize, repairs: u32 },
    Repair { unit: usize, way: usize, repairs: u32, command: Command },
    Again { unit: usize, way: usize, first: Tests },
    Done,
}

/// A command to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Todo {
    /// What for.
    pub phase: Phase,
    /// The folder below the work tree to run it in; empty for the work tree.
    pub folder: String,
    /// The shell command.
    pub line: String,
    /// Why this one.
    pub reason: String,
}

/// How a command ended, as the platform saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub how: How,
    /// How long it took, in microseconds.
    pub took: i64,
    /// What it wrote, on both streams. May be shortened in the middle.
    pub output: String,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// By itself, with this code.
    Exited(i32),
    /// In another way, in a few words: `timed out`, `out of memory`.
    Otherwise(String),
}

impl Check {
    /// Begins: reads what the files at this commit say. What it does not know of them it learns by trying.
    pub fn new(commit: String, tree: &Tree) -> Self {
        let has_definition = |path: &str| {
            path == ".devcontainer.json"
                || (path.starts_with(".devcontainer/") && path.ends_with("/devcontainer.json"))
        };
        let present = Present {
            devcontainer: tree.paths().any(has_definition),
            instructions: tree.has("AGENTS.md"),
        };
        Self {
            commit,
            plan: Plan::of(tree),
            present,
            place: Stage::Probe,
            found: BTreeMap::new(),
            commands: Vec::new(),
            tests: Vec::new(),
            steady: Steady::Unknown,
            missing: Vec::new(),
        }
    }

    /// The next command; `None` when nothing is left to try. Asked again before [`Check::ended`], it
    /// answers the same.
    pub fn todo(&mut self) -> Option<Todo> {
        loop {
            let (unit, phase, command) = match &self.place {
                Stage::Done => return None,
                Stage::Probe if self.plan.units.is_empty() => {
                    self.place = Stage::Done;
                    continue;
                }
                Stage::Probe => return Some(self.probe()),
                Stage::Install(unit, way) => {
                    (*unit, Phase::Install, self.way(&self.plan.units[*unit].install, *way))
                }
                Stage::Build(unit, way) => {
                    (*unit, Phase::Build, self.way(&self.plan.units[*unit].build, *way))
                }
                Stage::Test { unit, way, .. } => {
                    (*unit, Phase::Test, self.way(&self.plan.units[*unit].test, *way))
                }
                Stage::Repair { unit, command, .. } => {
                    (*unit, Phase::Repair, Some(command.clone()))
                }
                Stage::Again { unit, way, .. } => {
                    (*unit, Phase::Again, self.way(&self.plan.units[*unit].test, *way))
                }
            };
            let Some(command) = command else {
                self.place = match self.place {
                    Stage::Install(unit, _) => Stage::Build(unit, 0),
                    Stage::Build(unit, _) => Stage::Test { unit, way: 0, repairs: 0 },
                    _ => self.after(unit),
                };
                continue;
            };
            let folder = self.plan.units[unit].folder.clone();
            return Some(Todo { phase, folder, line: command.line, reason: command.reason });
        }
    }

    /// The command that [`Check::todo`] gave has ended.
    pub fn ended(&mut self, ended: &Ended) {
        let Some(todo) = self.todo() else { return };
        if todo.phase == Phase::Probe {
            self.found = found(&ended.output);
            self.place = Stage::Install(0, 0);
            return;
        }
        let tests =
            matches!(todo.phase, Phase::Test | Phase::Again).then(|| observe::tests(&ended.output));
        self.record(&todo, ended, tests.clone().filter(|tests| tests.total() > 0));
        let well = ended.how == How::Exited(0);
        self.place = match self.place.clone() {
            Stage::Install(unit, _) if well => Stage::Build(unit, 0),
            Stage::Install(unit, way) => Stage::Install(unit, way + 1),
            Stage::Build(unit, _) if well => Stage::Test { unit, way: 0, repairs: 0 },
            Stage::Build(unit, way) => Stage::Build(unit, way + 1),
            Stage::Repair { unit, way, repairs, .. } if well => Stage::Test { unit, way, repairs },
            Stage::Repair { unit, way, .. } => Stage::Test { unit, way: way + 1, repairs: REPAIRS },
            Stage::Test { unit, way, repairs } => {
                self.tested(unit, way, repairs, tests.unwrap_or_default(), ended)
            }
            Stage::Again { unit, first, .. } => {
                self.compare(&first, &tests.unwrap_or_default());
                self.after(unit)
            }
            Stage::Probe | Stage::Done => Stage::Done,
        };
        if !well {
            self.tell_missing(&ended.output);
        }
    }

    /// What came of it. `refused` are the web door's refusals, one line each: `host:port was refused: ...`.
    pub fn report(self, refused: &[String]) -> Report {
        let tests_started = !self.tests.is_empty();
        let mut missing = self.missing;
        for line in refused {
            let host = line.split_whitespace().next().unwrap_or_default();
            missing.push(Missing {
                kind: "host".to_owned(),
                name: host.to_owned(),
                evidence: line.chars().take(200).collect(),
                fix: format!("allow it if it is needed: `--allow {host}`, or an operator's rule"),
            });
        }
        let lacking = lacking(&self.plan, &self.found);
        for (name, line) in &lacking {
            missing.push(Missing {
                kind: "tool".to_owned(),
                name: name.clone(),
                evidence: format!("needed for `{line}`"),
                fix: format!("install the program {name} in the environment"),
            });
        }
        missing.truncate(MISSING);
        let units = self.plan.units.iter().map(|unit| Recognised {
            ecosystem: unit.ecosystem.to_owned(),
            folder: unit.folder.clone(),
            place: unit.place.clone(),
        });
        let mut report = Report {
            version: VERSION,
            commit: self.commit,
            units: units.collect(),
            tools: tools(&self.plan, &self.found, &lacking),
            commands: self.commands,
            tests_started,
            tests: self.tests.into_iter().next(),
            steady: self.steady,
            missing,
            services: self.plan.services,
            secrets: self.plan.secrets,
            score: Default::default(),
            proposed: Vec::new(),
        };
        report.proposed = propose::files(&report, self.present);
        report.score = score(&report, self.present);
        report
    }

    /// One of several ways, of those whose programs are there.
    fn way(&self, ways: &[Command], way: usize) -> Option<Command> {
        let has = |name: &String| self.found.contains_key(name);
        ways.iter().filter(|command| command.needs.iter().all(has)).nth(way).cloned()
    }

    fn after(&self, unit: usize) -> Stage {
        match unit + 1 < self.plan.units.len() {
            true => Stage::Install(unit + 1, 0),
            false => Stage::Done,
        }
    }

    fn tested(
        &mut self,
        unit: usize,
        way: usize,
        repairs: u32,
        tests: Tests,
        ended: &Ended,
    ) -> Stage {
        if tests.have_started() {
            self.tests.push(tests.clone());
            return match ended.how {
                How::Exited(_) => Stage::Again { unit, way, first: tests },
                // What did not end by itself would not the second time either.
                How::Otherwise(_) => self.after(unit),
            };
        }
        match diagnose::repair(&self.plan.units[unit], &ended.output) {
            Some(command) if repairs < REPAIRS => {
                Stage::Repair { unit, way, repairs: repairs + 1, command }
            }
            _ => Stage::Test { unit, way: way + 1, repairs },
        }
    }

    fn compare(&mut self, first: &Tests, second: &Tests) {
        let names = first.failures.symmetric_difference(&second.failures).cloned().collect();
        let counts = |tests: &Tests| (tests.passed, tests.failed, tests.skipped);
        let steady = match counts(first) == counts(second) && first.failures == second.failures {
            true => Steady::Yes,
            false => Steady::No { names },
        };
        // Of several units the least steady one counts.
        if !matches!(self.steady, Steady::No { .. }) {
            self.steady = steady;
        }
    }

    fn record(&mut self, todo: &Todo, ended: &Ended, tests: Option<Tests>) {
        let (exit, words) = match &ended.how {
            How::Exited(0) => (Some(0), "ended well".to_owned()),
            How::Exited(code) => (Some(*code), format!("exit {code}")),
            How::Otherwise(how) => (None, how.clone()),
        };
        let unit = self.plan.units.iter().find(|unit| unit.folder == todo.folder);
        let ways = unit
            .into_iter()
            .flat_map(|unit| unit.install.iter().chain(&unit.build).chain(&unit.test));
        let place = ways
            .clone()
            .find(|command| command.line == todo.line)
            .map(|command| command.place.clone());
        self.commands.push(CommandRun {
            phase: todo.phase,
            folder: todo.folder.clone(),
            line: todo.line.clone(),
            reason: todo.reason.clone(),
            place: place.or_else(|| unit.map(|unit| unit.place.clone())).unwrap_or_default(),
            exit,
            ended: words,
            took: ended.took,
            tests,
        });
    }

    fn tell_missing(&mut self, output: &str) {
        for missing in diagnose::missing(output) {
            if self
                .missing
                .iter()
                .all(|known| (&known.kind, &known.name) != (&missing.kind, &missing.name))
            {
                self.missing.push(missing);
            }
        }
    }

    /// Asks for every program that a way needs.
    fn probe(&self) -> Todo {
        let names = wanted(&self.plan);
        let names: Vec<&str> = names.iter().copied().filter(|name| is_plain(name)).collect();
        let line = format!(
            "for tool in {}; do if command -v \"$tool\" >/dev/null 2>&1; then case $tool in go) \
             flag=version ;; mvn|java) flag=-version ;; *) flag=--version ;; esac; \
             said=$(\"$tool\" $flag </dev/null 2>&1 | grep -v '^$' | head -n 1) || said=; \
             printf '{MARK} %s %s\\n' \"$tool\" \"$said\"; fi; done",
            names.join(" ")
        );
        Todo {
            phase: Phase::Probe,
            folder: String::new(),
            line,
            reason: "which tools there are".to_owned(),
        }
    }
}

/// Programs for want of which a phase could not be tried in any way, each with a command that needs it.
fn lacking(plan: &Plan, found: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let is_missing = |name: &&String| !found.contains_key(*name);
    let mut lacking: Vec<(String, String)> = Vec::new();
    for ways in plan.units.iter().flat_map(|unit| [&unit.install, &unit.build, &unit.test]) {
        if ways.iter().any(|way| !way.needs.iter().any(|name| is_missing(&name))) {
            continue;
        }
        for way in ways {
            for name in way.needs.iter().filter(is_missing) {
                if lacking.iter().all(|(known, _)| known != name) {
                    lacking.push((name.clone(), way.line.clone()));
                }
            }
        }
    }
    lacking
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|it| it.is_ascii_alphanumeric() || "._+-".contains(it))
}

/// Every program that a unit wants or a way needs.
fn wanted(plan: &Plan) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for unit in &plan.units {
        let needs =
            unit.install.iter().chain(&unit.build).chain(&unit.test).flat_map(|it| &it.needs);
        for name in unit.tools.iter().map(|tool| &tool.name).chain(needs) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    names
}

fn found(output: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in output.lines() {
        if let Some(rest) = line.trim().strip_prefix(MARK) {
            let (name, said) = rest.trim_start().split_once(' ').unwrap_or((rest.trim(), ""));
            found.insert(name.to_owned(), said.chars().take(80).collect());
        }
    }
    found
}

fn tools(
    plan: &Plan,
    found: &BTreeMap<String, String>,
    lacking: &[(String, String)],
) -> Vec<ToolFound> {
    let mut tools: Vec<ToolFound> = Vec::new();
    for tool in plan.units.iter().flat_map(|unit| &unit.tools) {
        if tools.iter().any(|known| known.name == tool.name) {
            continue;
        }
        let said = found.get(&tool.name).cloned();
        let (wanted, place) = tool.wanted.clone().unzip();
        let fits = said
            .as_ref()
            .is_some_and(|said| wanted.as_ref().is_none_or(|it| diagnose::fits(it, said)));
        tools.push(ToolFound { name: tool.name.clone(), wanted, place, found: said, fits });
    }
    for (name, _) in lacking {
        if tools.iter().all(|known| known.name != *name) {
            let name = name.clone();
            tools.push(ToolFound { name, wanted: None, place: None, found: None, fits: false });
        }
    }
    tools
}

#[cfg(test)]
mod tests;
