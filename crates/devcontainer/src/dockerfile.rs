//! Dockerfiles: which image and user one starts from, for every backend, and how to build one without
//! an engine, for those that have none. What a build without an engine can't do is refused with its
//! place before anything runs.

mod expand;
mod instruction;
mod plan;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use parse_dockerfile as syntax;

use crate::place::{Finding, Findings, Lines, Place, Severity};

use expand::Expansion;
use instruction::{Argument, Instruction};

pub use plan::{Action, CopySource, Plan, PlannedStage, Setup, StageSource, Step};

/// A Dockerfile that was read.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    file: String,
    /// The `ARG`s before the first stage.
    arguments: Vec<Argument>,
    stages: Vec<Stage>,
}

/// One `FROM` and what follows it.
#[derive(Clone, Debug)]
struct Stage {
    place: Place,
    /// The image or stage that it starts from, as written.
    from: String,
    platform: Option<(Place, String)>,
    name: Option<String>,
    instructions: Vec<(Place, Instruction)>,
}

/// How a Dockerfile is to be built.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    /// Values for `ARG`.
    pub arguments: &'a IndexMap<String, String>,
    /// The stage to stop at; `None` is the last.
    pub target: Option<&'a str>,
    /// The variables of an image, as far as they are known.
    pub images: &'a dyn Fn(&str) -> BTreeMap<String, String>,
}

/// Where a Dockerfile starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The image, once stages are followed; `None` if it is `scratch`.
    pub image: Option<String>,
    /// The user that it ends as, if it names one.
    pub user: Option<String>,
}

impl Dockerfile {
    /// Reads a Dockerfile.
    ///
    /// # Errors
    /// The place at which it isn't one.
    pub fn parse(file: &str, text: &str) -> Result<Self, Finding> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let parsed = syntax::parse(text).map_err(|error| {
            let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let place = Place {
                file: file.into(),
                line: number(error.line()),
                column: number(error.column()),
            };
            let message = error.to_string();
            let what = message.split(" at line ").next().unwrap_or(&message);
            refusal(place, format!("it is no Dockerfile: {what}"))
        })?;
        let escape =
            parsed.parser_directives.escape.as_ref().map_or('\\', |escape| escape.value.value);
        let lines = Lines::new(file, text);
        let mut dockerfile =
            Self { file: file.to_owned(), arguments: Vec::new(), stages: Vec::new() };
        for instruction in &parsed.instructions {
            if let syntax::Instruction::From(from) = instruction {
                dockerfile.stages.push(Stage {
                    place: lines.at(from.from.span.start),
                    from: from.image.value.trim_matches(['"', '\'']).to_owned(),
                    platform: from.options.iter().find(|flag| flag.name.value == "platform").map(
                        |flag| {
                            let value = flag.value.as_ref().map(|value| value.value.to_string());
                            (lines.at(flag.span().start), value.unwrap_or_default())
                        },
                    ),
                    name: from.as_.as_ref().map(|(_, name)| name.value.to_string()),
                    instructions: Vec::new(),
                });
                continue;
            }
            let (place, instruction) = instruction::convert(instruction, escape, &lines);
            match (dockerfile.stages.last_mut(), instruction) {
                (Some(stage), instruction) => stage.instructions.push((place, instruction)),
                (None, Instruction::Arg(arguments)) => dockerfile.arguments.extend(arguments),
                (None, _) => return Err(refusal(place, "begin with FROM".to_owned())),
            }
        }
        Ok(dockerfile)
    }

    /// Where it starts from and which user it ends as.
    ///
    /// # Errors
    /// A target that isn't a stage, said at `place`, or a `FROM` that can't be worked out.
    pub fn origin(&self, choice: &Choice<'_>, place: &Place) -> Result<Origin, Finding> {
        let mut stages = vec![self.target(choice.target, place)?];
        let image = loop {
            let Some(stage) = stages.last().and_then(|at| self.stages.get(*at)) else {
                break String::new();
            };
            let from = self.from(stage, choice)?;
            match self.stage(&from, stages[stages.len() - 1]) {
                Some(at) => stages.push(at),
                None => break from,
            }
        };
        let mut scope = (choice.images)(&image);
        let mut user = None;
        for at in stages.iter().rev() {
            let stage = &self.stages[*at];
            let mut arguments = IndexMap::new();
            for (place, instruction) in &stage.instructions {
                let expansion = Expansion { place, environment: &scope, arguments: &arguments };
                // An engine understands more than we do: what it can't do, it says when it builds.
                match instruction {
                    Instruction::User(written) => {
                        let written = expansion.word(written).unwrap_or_default();
                        user = Some(written).filter(|user| !user.is_empty());
                    }
                    Instruction::Env(pairs) => {
                        let pairs = expansion.pairs(pairs).unwrap_or_default();
                        scope.extend(pairs);
                    }
                    Instruction::Arg(declared) => {
                        let values = self.values(declared, choice, &expansion).unwrap_or_default();
                        arguments.extend(values);
                    }
                    _ => {}
                }
            }
        }
        Ok(Origin { image: Some(image).filter(|image| image != "scratch"), user })
    }

    /// Works out how to build it without an engine; `None` if something in it needs one, which is
    /// then told.
    pub fn plan(
        &self,
        choice: &Choice<'_>,
        place: &Place,
        findings: &mut Findings,
    ) -> Option<Plan> {
        plan::plan(self, choice, place, findings)
    }

    /// The stage to stop at.
    fn target(&self, target: Option<&str>, place: &Place) -> Result<usize, Finding> {
        let last = self.stages.len().saturating_sub(1);
        let Some(target) = target else { return Ok(last) };
        let by_number = target.parse().ok().filter(|at| *at <= last);
        self.stage(target, self.stages.len()).or(by_number).ok_or_else(|| {
            let names: Vec<&str> =
                self.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
            let what = format!(
                "the target `{target}` is no stage of {}; its stages are: {}",
                self.file,
                if names.is_empty() { "none has a name".to_owned() } else { names.join(", ") }
            );
            refusal(place.clone(), what)
        })
    }

    /// The stage of a name before another. Case doesn't count.
    fn stage(&self, name: &str, before: usize) -> Option<usize> {
        let stages = self.stages.iter().take(before);
        stages.enumerate().find_map(|(at, stage)| {
            let is_it = stage.name.as_deref().is_some_and(|other| other.eq_ignore_ascii_case(name));
            is_it.then_some(at)
        })
    }

    /// What a stage starts from, with its variables: only the `ARG`s before the first stage count.
    fn from(&self, stage: &Stage, choice: &Choice<'_>) -> Result<String, Finding> {
        let none = BTreeMap::new();
        let arguments = self.global_arguments(&stage.place, choice)?;
        let place = &stage.place;
        Expansion { place, environment: &none, arguments: &arguments }.word(&stage.from)
    }

    fn global_arguments(
        &self,
        place: &Place,
        choice: &Choice<'_>,
    ) -> Result<IndexMap<String, String>, Finding> {
        let none = BTreeMap::new();
        let mut arguments: IndexMap<String, String> = platform().into_iter().collect();
        for argument in &self.arguments {
            let expansion = Expansion { place, environment: &none, arguments: &arguments };
            let value = match (choice.arguments.get(&argument.name), &argument.default) {
                (Some(value), _) => value.clone(),
                (None, Some(default)) => expansion.word(default)?,
                (None, None) => continue,
            };
            arguments.insert(argument.name.clone(), value);
        }
        Ok(arguments)
    }

    /// The values of the `ARG`s of a stage: given, or by default, or from before the first stage.
    fn values(
        &self,
        declared: &[Argument],
        choice: &Choice<'_>,
        expansion: &Expansion<'_>,
    ) -> Result<Vec<(String, String)>, Finding> {
        let global = self.global_arguments(expansion.place, choice)?;
        let mut values = Vec::new();
        for argument in declared {
            let value = match (choice.arguments.get(&argument.name), &argument.default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => Some(expansion.word(default)?),
                (None, None) => global.get(&argument.name).cloned(),
            };
            values.extend(value.map(|value| (argument.name.clone(), value)));
        }
        Ok(values)
    }
}

/// The arguments that a builder sets by itself. Only Linux on x86-64 is built for without an engine.
fn platform() -> [(String, String); 8] {
    [
        ("BUILDPLATFORM", "linux/amd64"),
        ("BUILDOS", "linux"),
        ("BUILDARCH", "amd64"),
        ("BUILDVARIANT", ""),
        ("TARGETPLATFORM", "linux/amd64"),
        ("TARGETOS", "linux"),
        ("TARGETARCH", "amd64"),
        ("TARGETVARIANT", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

fn refusal(place: Place, what: String) -> Finding {
    Finding { severity: Severity::Refuse, place, what }
}
