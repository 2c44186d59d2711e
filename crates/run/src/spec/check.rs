//! What types can't say of a spec.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Action, Output, Source, Spec, Step, tree};
use crate::{Duration, template::Text};

/// How many steps a spec has at most, over its whole tree. The runner and the server hold a few hundred
/// bytes for each.
pub const MOST_STEPS: usize = 1_000;
/// How many steps of a job come into being at most, rounds counted one by one.
pub const MOST_ROUNDS: usize = 10_000;
/// How many containers stand in each other at most.
pub const DEEPEST: usize = 8;
/// The longest id of a step with the blocks and rounds around it, in bytes: it becomes the name of
/// files and references.
pub const LONGEST_ID: usize = 180;

/// How many bytes a round takes behind a dot in an id.
const ROUND: usize = 6;
/// How many outputs a step has at most.
const MOST_OUTPUTS: usize = 64;
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(90 * 24 * 3600);

/// Why a spec can't become a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct InvalidSpec {
    /// Where, as a path of keys: `steps[2].id`.
    pub place: String,
    /// What is wrong and what to do.
    pub why: String,
}

type Checked = Result<(), InvalidSpec>;

fn refuse<T>(place: impl Into<String>, why: impl Into<String>) -> Result<T, InvalidSpec> {
    Err(InvalidSpec { place: place.into(), why: why.into() })
}

impl Spec {
    /// Checks what types can't say.
    ///
    /// # Errors
    /// The first fault found, with its place.
    pub fn check(&self) -> Checked {
        if self.target.base.is_empty() {
            return refuse("target.base", "name the branch that the change is meant for");
        }
        if !matches!(self.context, Value::Null | Value::Object(_)) {
            return refuse("context", "it must be an object");
        }
        check_lists(&self.steps, &self.on_failure, &self.finally, Files::WorkedOut)
    }
}

/// Whether the steps of called automations stand in a tree already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    /// As in a file: calls have names only.
    AsWritten,
    /// As in a job.
    WorkedOut,
}

/// Checks the lists of a spec, or of a file.
pub(crate) fn check_lists(
    main: &[Step],
    on_failure: &[Step],
    finally: &[Step],
    files: Files,
) -> Checked {
    if main.is_empty() {
        return refuse("steps", "at least one step is needed");
    }
    let lists = [main, on_failure, finally];
    if tree::every(lists).take(MOST_STEPS + 1).count() > MOST_STEPS {
        return refuse("steps", format!("at most {MOST_STEPS} steps are allowed"));
    }
    let mut names = BTreeSet::new();
    for (name, list) in ["steps", "on_failure", "finally"].into_iter().zip(lists) {
        let main = name == "steps";
        let around = Around { main, depth: 0, at_once: false, id: 0, in_block: false, files };
        steps(list, name, &around, &mut names)?;
    }
    Ok(())
}

/// What stands around a list of steps.
#[derive(Clone, Copy)]
struct Around {
    /// Whether it is the main list, or within it.
    main: bool,
    /// How many containers.
    depth: usize,
    /// Whether one of them has several things going on at once.
    at_once: bool,
    /// How many bytes they put around the ids.
    id: usize,
    /// Whether a block is among them.
    in_block: bool,
    /// Whether calls are worked out.
    files: Files,
}

fn steps<'a>(
    list: &'a [Step],
    place: &str,
    around: &Around,
    names: &mut BTreeSet<&'a str>,
) -> Checked {
    for (i, step) in list.iter().enumerate() {
        let place = format!("{place}[{i}]");
        let id = step.id.as_str();
        if id.contains('.') {
            return refuse(format!("{place}.id"), "a dot in a step's name stands for a round");
        }
        if around.in_block && id == "lock" {
            return refuse(
                format!("{place}.id"),
                "a step of a called automation can't be called `lock`: git keeps that ending for itself",
            );
        }
        if !names.insert(id) {
            return refuse(format!("{place}.id"), "another step has this name already");
        }
        if id.len() + around.id > LONGEST_ID {
            return refuse(
                format!("{place}.id"),
                format!(
                    "with what stands around it, it has more than {LONGEST_ID} bytes: shorten it"
                ),
            );
        }
        one(step, &place, around)?;
        within(step, &place, around, names)?;
    }
    Ok(())
}

fn within<'a>(
    step: &'a Step,
    place: &str,
    around: &Around,
    names: &mut BTreeSet<&'a str>,
) -> Checked {
    if !step.action.is_container() {
        return Ok(());
    }
    if around.depth + 1 > DEEPEST {
        return refuse(place, format!("at most {DEEPEST} containers stand in each other"));
    }
    if step.action.steps().is_empty() {
        if around.files == Files::AsWritten
            && matches!(step.action, Action::Block { call: Some(_), .. })
        {
            return Ok(());
        }
        return refuse(format!("{place}.steps"), "at least one step is needed");
    }
    let mut inner = Around { depth: around.depth + 1, ..*around };
    let place = format!("{place}.steps");
    match &step.action {
        Action::Parallel { .. } => inner.at_once = true,
        Action::ForEach { limit, .. } => {
            inner.at_once |= *limit > 1;
            inner.id += ROUND;
        }
        Action::Until { .. } => inner.id += ROUND,
        _ => {
            inner.in_block = true;
            inner.id += step.id.as_str().len() + 1;
            // A block's steps are named among themselves.
            return steps(step.action.steps(), &place, &inner, &mut BTreeSet::new());
        }
    }
    steps(step.action.steps(), &place, &inner, names)
}

fn one(step: &Step, place: &str, around: &Around) -> Checked {
    let at = |key: &str| format!("{place}.{key}");
    if step.retry.attempts == 0 {
        return refuse(at("retry.attempts"), "it must be at least 1");
    }
    if step.retry.attempts > 1 && !step.action.is_executed() {
        return refuse(
            at("retry"),
            format!("a `{}` step can't be repeated: repeat the steps in it", step.action.word()),
        );
    }
    if step.timeout <= Duration::default() {
        return refuse(at("timeout"), "it must be more than zero");
    }
    outputs(step, place)?;
    match &step.action {
        Action::Run { command } => {
            not_blank(command, at("run"), "the command is empty")?;
            shell(command, at("run"))
        }
        Action::Agent(agent) => {
            not_blank(&agent.prompt, at("agent"), "the task is empty: say what to do")?;
            if around.at_once {
                return refuse(
                    place,
                    "an agent has the work tree for itself: put it before or behind what goes on at once, \
                     or let the `for_each` around it have one round at a time",
                );
            }
            if agent.attempts == 0 {
                return refuse(at("attempts"), "it must be at least 1");
            }
            agent
                .verify
                .iter()
                .enumerate()
                .try_for_each(|(i, command)| shell(command, format!("{place}.verify[{i}]")))
        }
        Action::PullRequest(pull_request) => {
            if around.at_once {
                return refuse(
                    place,
                    "a pull request can't be made beside other steps: put it behind them",
                );
            }
            match &pull_request.branch {
                Some(branch) if !branch.as_str().starts_with("windlass/") => {
                    refuse(at("branch"), "a job's branches begin with `windlass/`")
                }
                _ => Ok(()),
            }
        }
        Action::Readiness(_) if around.at_once => {
            refuse(place, "readiness can't be looked at beside other steps: put it behind them")
        }
        Action::Report(report) => not_blank(&report.title, at("title"), "the title is empty"),
        Action::End(_) if !around.main => {
            refuse(place, "`end` has nothing to end here: the verdict is made already")
        }
        Action::End(end) => not_blank(&end.reason, at("reason"), "say why the job ends here"),
        Action::Wait(super::WaitAction::For { duration }) => rest(*duration, at("wait")),
        Action::Approve(approve) => {
            not_blank(&approve.prompt, at("prompt"), "say what is to be decided")?;
            approve.timeout.map_or(Ok(()), |timeout| rest(timeout, at("timeout")))
        }
        Action::Parallel { limit: Some(0), .. } | Action::ForEach { limit: 0, .. } => {
            refuse(at("limit"), "it must be at least 1")
        }
        Action::ForEach { name, .. } => name_of_item(name, at("name")),
        Action::Until { rounds, pause, .. } => {
            if *rounds == 0 || *rounds as usize > MOST_ROUNDS {
                return refuse(at("rounds"), format!("it must be from 1 to {MOST_ROUNDS}"));
            }
            if *pause < Duration::default() || *pause > LONGEST_REST {
                return refuse(at("pause"), "it must be from zero to 90 days");
            }
            Ok(())
        }
        Action::Readiness(_) | Action::Parallel { .. } | Action::Block { .. } => Ok(()),
    }
}

fn outputs(step: &Step, place: &str) -> Checked {
    if step.outputs.is_empty() {
        return Ok(());
    }
    let is_command = matches!(step.action, Action::Run { .. });
    if !is_command && !matches!(step.action, Action::Agent(_)) {
        let why = format!("a `{}` step gives no outputs of its own", step.action.word());
        return refuse(format!("{place}.outputs"), why);
    }
    if step.outputs.len() > MOST_OUTPUTS {
        return refuse(
            format!("{place}.outputs"),
            format!("a step has at most {MOST_OUTPUTS} outputs"),
        );
    }
    for (name, output) in &step.outputs {
        let place = format!("{place}.outputs.{name}");
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !first || !rest || name.len() > 64 {
            return refuse(
                place,
                "a letter or `_`, then letters, digits or `_`, at most 64 in all",
            );
        }
        source(output, is_command, place)?;
    }
    Ok(())
}

fn source(output: &Output, is_command: bool, place: String) -> Checked {
    let part = match &output.source {
        Source::File { path, pointer, regex } => {
            let plain = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
            if !plain || path.contains('\0') || path.len() > 255 {
                return refuse(
                    place,
                    "the file is named by a path below $WINDLASS_OUTPUTS, without `.` and `..`",
                );
            }
            Some((pointer, regex))
        }
        Source::Stdout { .. } | Source::ExitCode if !is_command => {
            return refuse(
                place,
                "only a `run` step has a standard output and an exit code: let the agent write a file",
            );
        }
        Source::Stdout { pointer, regex } => Some((pointer, regex)),
        Source::ExitCode => None,
        Source::Ask { .. } => {
            return refuse(
                place,
                "outputs can't be asked of a model yet: tell the agent in its prompt to write the value \
                 into a file in $WINDLASS_OUTPUTS, and take that file",
            );
        }
    };
    match part {
        Some((Some(_), Some(_))) => refuse(place, "a pointer and a regex don't go together"),
        Some((Some(pointer), _)) if !pointer.is_empty() && !pointer.starts_with('/') => {
            refuse(place, "a JSON pointer begins with `/`")
        }
        Some((_, Some(regex))) => super::output::pattern(regex)
            .map(drop)
            .or_else(|why| refuse(place, format!("it {why}"))),
        _ => Ok(()),
    }
}

fn not_blank(text: &Text, place: String, why: &str) -> Checked {
    if text.as_str().trim().is_empty() { refuse(place, why) } else { Ok(()) }
}

fn shell(command: &Text, place: String) -> Checked {
    command.check_command().or_else(|invalid| refuse(place, invalid.why))
}

fn rest(duration: Duration, place: String) -> Checked {
    if duration <= Duration::default() || duration > LONGEST_REST {
        return refuse(place, "it must be more than zero and at most 90 days");
    }
    Ok(())
}

/// Names that expressions know already.
const TAKEN: [&str; 9] =
    ["inputs", "event", "target", "run", "automation", "steps", "round", "value", "verdict"];

fn name_of_item(name: &str, place: String) -> Checked {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let rest = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !first || !rest || name.len() > 64 {
        return refuse(
            place,
            "a small letter, then small letters, digits or `_`, at most 64 in all",
        );
    }
    if TAKEN.contains(&name) {
        return refuse(place, format!("`{name}` means something else already: take another name"));
    }
    Ok(())
}
