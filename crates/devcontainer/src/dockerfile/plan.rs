//! How to build a Dockerfile without an engine: the stages that are needed, in order, each with the
//! steps that change files, every variable replaced.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde::Serialize;

use super::{
    Choice, Dockerfile, Stage,
    expand::Expansion,
    instruction::{Flag, Form, Instruction},
};
use crate::{
    path,
    place::{Finding, Findings, Place},
};

/// How to build an image: the stages in order. The last is the image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The stages that are needed, in order.
    pub stages: Vec<PlannedStage>,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedStage {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What it starts from.
    pub from: StageSource,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// How what it makes is to be run.
    pub setup: Setup,
}

/// What a stage starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageSource {
    /// Nothing.
    Scratch,
    /// An image.
    Image(String),
    /// A stage of the plan, by its index.
    Stage(usize),
}

/// How an image is to be run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Setup {
    /// Variables, those of the image below included as far as they are known.
    pub environment: BTreeMap<String, String>,
    /// The user; `None` as the image below.
    pub user: Option<String>,
    /// The folder to work in; `None` as the image below.
    pub folder: Option<String>,
    /// Labels.
    pub labels: IndexMap<String, String>,
    /// What shell forms are given to.
    pub shell: Vec<String>,
    /// The program before the command.
    pub entrypoint: Option<Vec<String>>,
    /// The command.
    pub command: Option<Vec<String>>,
    /// Ports, as written.
    pub exposed: Vec<String>,
}

/// Something that changes files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Where it is written.
    pub place: Place,
    /// As whom; `None` as the image's user.
    pub user: Option<String>,
    /// Where; `None` as the image's folder.
    pub folder: Option<String>,
    /// The variables to run with: `ENV` and `ARG`.
    pub environment: BTreeMap<String, String>,
    /// What.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Run a program.
    Run {
        /// It and its arguments.
        command: Vec<String>,
        /// Folders whose contents don't belong to the image.
        caches: Vec<String>,
    },
    /// Copy files.
    Copy {
        /// From where.
        from: CopySource,
        /// The paths, perhaps with `*` and `?`.
        sources: Vec<String>,
        /// Where to; a folder if it ends in `/`.
        to: String,
        /// `user[:group]` that owns them.
        owner: Option<String>,
        /// Their permissions.
        mode: Option<String>,
        /// Whether archives are unpacked.
        unpack: bool,
    },
    /// Make a folder, if it isn't there.
    MakeFolder(String),
}

/// From where files are copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CopySource {
    /// The project.
    Context,
    /// A stage of the plan, by its index.
    Stage(usize),
    /// An image.
    Image(String),
}

pub(super) fn plan(
    dockerfile: &Dockerfile,
    choice: &Choice<'_>,
    place: &Place,
    findings: &mut Findings,
) -> Option<Plan> {
    let before = findings.clone();
    let target = match dockerfile.target(choice.target, place) {
        Ok(target) => target,
        Err(finding) => {
            findings.refuse(&finding.place, finding.what);
            return None;
        }
    };
    let needed = needed(dockerfile, choice, target);
    let mut planner =
        Planner { dockerfile, choice, needed: needed.into_iter().collect(), findings };
    let mut stages: Vec<PlannedStage> = Vec::new();
    for at in planner.needed.clone() {
        match planner.stage(at, &stages) {
            Ok(stage) => stages.push(stage),
            Err(finding) => {
                planner.findings.refuse(&finding.place, finding.what);
                return None;
            }
        }
    }
    let refused = findings.verdict().is_err() && before.verdict().is_ok();
    (!refused).then_some(Plan { stages })
}

/// The stages that the target is made of, itself included.
fn needed(dockerfile: &Dockerfile, choice: &Choice<'_>, target: usize) -> BTreeSet<usize> {
    let mut needed = BTreeSet::new();
    let mut waiting = vec![target];
    while let Some(at) = waiting.pop() {
        if !needed.insert(at) {
            continue;
        }
        let stage = &dockerfile.stages[at];
        // A name that doesn't expand is refused when its stage is planned.
        let from = dockerfile.from(stage, choice).ok();
        waiting.extend(from.and_then(|from| dockerfile.stage(&from, at)));
        for (_, instruction) in &stage.instructions {
            if let Instruction::Copy { flags, .. } = instruction {
                let from = flags.iter().find(|flag| flag.name == "from");
                waiting.extend(from.and_then(|flag| earlier(dockerfile, &flag.value, at)));
            }
        }
    }
    needed
}

/// A stage before another, by name or number.
fn earlier(dockerfile: &Dockerfile, name: &str, before: usize) -> Option<usize> {
    let by_number = || name.parse().ok().filter(|number| *number < before);
    dockerfile.stage(name, before).or_else(by_number)
}

struct Planner<'a, 'f> {
    dockerfile: &'a Dockerfile,
    choice: &'a Choice<'a>,
    needed: Vec<usize>,
    findings: &'f mut Findings,
}

/// What is so while a stage is gone through.
struct State {
    at: usize,
    setup: Setup,
    arguments: IndexMap<String, String>,
    steps: Vec<Step>,
}

impl Planner<'_, '_> {
    fn stage(&mut self, at: usize, done: &[PlannedStage]) -> Result<PlannedStage, Finding> {
        let dockerfile = self.dockerfile;
        let stage = &dockerfile.stages[at];
        self.platform(stage);
        let from = dockerfile.from(stage, self.choice)?;
        let below = dockerfile.stage(&from, at).and_then(|below| self.planned(below));
        let (from, setup) = match below {
            Some(below) => (StageSource::Stage(below), done[below].setup.clone()),
            None if from == "scratch" => (StageSource::Scratch, Setup::default()),
            None if from.is_empty() => {
                let what = format!("`FROM {}` comes out empty: set its ARG", stage.from);
                return Err(super::refusal(stage.place.clone(), what));
            }
            None => {
                let environment = (self.choice.images)(&from);
                (StageSource::Image(from), Setup { environment, ..Setup::default() })
            }
        };
        let mut state = State { at, setup, arguments: IndexMap::new(), steps: Vec::new() };
        if state.setup.shell.is_empty() {
            state.setup.shell = ["/bin/sh", "-c"].map(str::to_owned).to_vec();
        }
        for (place, instruction) in &stage.instructions {
            self.instruction(&mut state, place, instruction)?;
        }
        Ok(PlannedStage { name: stage.name.clone(), from, steps: state.steps, setup: state.setup })
    }

    /// The index in the plan of a stage of the file.
    fn planned(&self, at: usize) -> Option<usize> {
        self.needed.iter().position(|needed| *needed == at)
    }

    fn platform(&mut self, stage: &Stage) {
        if let Some((place, platform)) = &stage.platform
            && !platform.starts_with('$')
            && platform != "linux/amd64"
        {
            let what = format!("a build without an engine is for linux/amd64, not `{platform}`");
            self.findings.refuse(place, what);
        }
    }

    fn instruction(
        &mut self,
        state: &mut State,
        place: &Place,
        instruction: &Instruction,
    ) -> Result<(), Finding> {
        let environment = state.setup.environment.clone();
        let arguments = state.arguments.clone();
        let expansion = Expansion { place, environment: &environment, arguments: &arguments };
        match instruction {
            Instruction::Arg(declared) => {
                let values = self.dockerfile.values(declared, self.choice, &expansion)?;
                state.arguments.extend(values);
            }
            Instruction::Env(pairs) => state.setup.environment.extend(expansion.pairs(pairs)?),
            Instruction::Label(pairs) => state.setup.labels.extend(expansion.pairs(pairs)?),
            Instruction::Workdir(written) => {
                let written = expansion.word(written)?;
                let base = state.setup.folder.as_deref().unwrap_or("/");
                let folder = path::join(base, &written);
                state.setup.folder = Some(folder.clone());
                self.push(state, place, Action::MakeFolder(folder));
            }
            Instruction::User(written) => state.setup.user = Some(expansion.word(written)?),
            Instruction::Shell(words) => state.setup.shell.clone_from(words),
            Instruction::Entrypoint(form) => {
                state.setup.entrypoint = Some(command(form, &state.setup.shell));
                state.setup.command = None;
            }
            Instruction::Cmd(form) => {
                state.setup.command = Some(command(form, &state.setup.shell));
            }
            Instruction::Expose(ports) => {
                for port in ports {
                    state.setup.exposed.push(expansion.word(port)?);
                }
            }
            Instruction::Run { command: form, flags, has_heredoc } => {
                self.heredoc(place, *has_heredoc, "a script in the project and `RUN` it");
                let caches = self.run_flags(flags);
                let command = command(form, &state.setup.shell);
                self.push(state, place, Action::Run { command, caches });
            }
            Instruction::Copy { sources, to, flags, is_add, has_heredoc } => {
                self.heredoc(place, *has_heredoc, "a file in the project and copy it");
                let mut words = Vec::with_capacity(sources.len());
                for source in sources {
                    words.push(expansion.word(source)?);
                }
                let to = expansion.word(to)?;
                if *is_add {
                    self.remote(place, &words);
                }
                let action = self.copy(state, words, to, flags, *is_add, &expansion)?;
                self.push(state, place, action);
            }
            Instruction::Idle(name, why) => {
                self.findings.warn(place, format!("{name} is ignored: {why}"));
            }
            Instruction::Engine(name) => {
                let what = format!("{name} needs a container engine: choose the backend `oci`");
                self.findings.refuse(place, what);
            }
        }
        Ok(())
    }

    fn push(&self, state: &mut State, place: &Place, action: Action) {
        let mut environment = BTreeMap::new();
        environment.extend(state.arguments.clone());
        environment.extend(state.setup.environment.clone());
        state.steps.push(Step {
            place: place.clone(),
            user: state.setup.user.clone(),
            folder: state.setup.folder.clone(),
            environment,
            action,
        });
    }

    fn heredoc(&mut self, place: &Place, has_heredoc: bool, instead: &str) {
        if has_heredoc {
            let what = format!("a here-document needs a container engine: put it into {instead}");
            self.findings.refuse(place, what);
        }
    }

    /// Only local files are added: what comes over the network isn't checked by anyone.
    fn remote(&mut self, place: &Place, sources: &[String]) {
        for source in sources {
            if source.contains("://") || source.starts_with("git@") {
                let what = format!("ADD fetches `{source}`: fetch and check it in a RUN instead");
                self.findings.refuse(place, what);
            }
        }
    }

    /// Folders of cache mounts; everything else that a RUN can be given is refused.
    fn run_flags(&mut self, flags: &[Flag]) -> Vec<String> {
        let mut caches = Vec::new();
        for flag in flags {
            let field = |key: &str| {
                let mut fields = flag.value.split(',').filter_map(|field| field.split_once('='));
                fields.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
            };
            let target = field("target").or_else(|| field("dst")).or_else(|| field("destination"));
            match (flag.name.as_str(), field("type").as_deref(), target) {
                ("mount", Some("cache"), Some(target)) => caches.push(target),
                ("network", _, _) if flag.value == "default" => {}
                ("security", _, _) if flag.value == "sandbox" => {}
                _ => {
                    let what = format!(
                        "`--{}={}` needs a container engine: choose the backend `oci`",
                        flag.name, flag.value
                    );
                    self.findings.refuse(&flag.place, what);
                }
            }
        }
        caches
    }

    fn copy(
        &mut self,
        state: &State,
        sources: Vec<String>,
        to: String,
        flags: &[Flag],
        is_add: bool,
        expansion: &Expansion<'_>,
    ) -> Result<Action, Finding> {
        let (mut from, mut owner, mut mode, mut unpack) = (CopySource::Context, None, None, is_add);
        for flag in flags {
            match flag.name.as_str() {
                "from" => {
                    let earlier = earlier(self.dockerfile, &flag.value, state.at);
                    from = match earlier.and_then(|at| self.planned(at)) {
                        Some(at) => CopySource::Stage(at),
                        None => CopySource::Image(flag.value.clone()),
                    };
                }
                "chown" => owner = Some(expansion.word(&flag.value)?),
                "chmod" => mode = Some(expansion.word(&flag.value)?),
                "unpack" => unpack = flag.value != "false",
                // It only says how layers are made.
                "link" => {}
                name => {
                    let what =
                        format!("`--{name}` needs a container engine: choose the backend `oci`");
                    self.findings.refuse(&flag.place, what);
                }
            }
        }
        Ok(Action::Copy { from, sources, to, owner, mode, unpack })
    }
}

fn command(form: &Form, shell: &[String]) -> Vec<String> {
    match form {
        Form::Exec(words) => words.clone(),
        Form::Shell(line) => shell.iter().chain([line]).cloned().collect(),
    }
}
