//! A `run` step: one shell command in the environment.

use std::time::Duration;

use tokio::sync::Mutex;
use windlass_run::{job::StepResult, spec::Step};
use windlass_sandbox::{State, spool::Stream};

use super::{
    Workshop, checkpoint, disk,
    environment::{Broken, Environment, Ran, Short, broken},
    facts::Command,
    limits::Allowance,
    outputs::Outputs,
    place::{Attempt, Place},
    secrets::Given,
};
use crate::executor::Attempted;

/// How many lines of a command's output stand in the reason of its failure.
const LINES: usize = 12;

/// Runs the command; `Err` is an end as well, for `?`. Others may have the place while it runs.
pub(super) async fn run(
    shared: &Mutex<Place>,
    command: &str,
    step: &Step,
    attempt: &Attempt,
) -> Result<Attempted, Attempted> {
    let mut outputs = Outputs::of(step);
    let log = attempt.log.clone();
    let (programs, exec, given, began, workshop);
    {
        let mut place = shared.lock().await;
        let place = &mut *place;
        workshop = place.workshop.clone();
        place.environment(attempt).await?;
        began = place.job.now();
        given = place.secrets.of(&attempt.path);
        let shares_files = place.shares_files(attempt);
        let environment = place.environment(attempt).await?;
        programs = environment.programs();
        let mut prepared = environment
            .exec(attempt.step_id.as_str(), Environment::shell(command))
            .map_err(|error| broken(&workshop, &error))?;
        let variables = attempt.variables.iter();
        prepared.env.extend(variables.map(|(name, value)| (name.into(), value.into())));
        outputs.enter(&programs, &mut prepared).await?;
        log.begin_lines();
        let entered = match shares_files {
            false => given.enter(environment, &mut prepared).await,
            true => given.enter_beside(environment, &mut prepared).await,
        };
        if let Err(error) = entered {
            return Err(leave(place, &given, attempt)
                .await
                .err()
                .unwrap_or_else(|| of(&workshop, error)));
        }
        exec = prepared;
    }
    let ran = programs
        .run(exec, attempt.left(), &attempt.stop, |stream, bytes| {
            if stream == Stream::Output {
                outputs.printed(bytes);
            }
            log.append(bytes)
        })
        .await;
    let mut place = shared.lock().await;
    let place = &mut *place;
    leave(place, &given, attempt).await?;
    let ran = ran.map_err(|error| of(&workshop, error))?;
    let Some(environment) = &place.environment else {
        return Err(Attempted::GiveBack("the environment was removed beside the step".to_owned()));
    };
    let allowance = environment.allowance.clone();
    let refusals = environment.doors.refusals();
    environment.services.detach();
    let took = place.job.now().since(began).to_std();
    place.facts.commands.push(Command { command: command.to_owned(), ended: in_words(&ran), took });
    if let Ran::Ended(State::Exited { code }) = ran
        && (code == 0 || outputs.takes_any_exit())
    {
        let values = outputs.read(&programs, Some(code)).await?;
        return checkpoint::succeeded(place, attempt, values).await;
    }
    let (code, how) = verdict(&ran, attempt.timeout, &allowance);
    let _ = attempt.log.finish();
    let mut reason = format!("`{}` {how}", one_line(command));
    let last = attempt.log.last_lines(LINES);
    if last.is_empty() {
        reason.push_str(" It printed nothing.");
    } else {
        reason.push_str(&format!(" The end of its output:\n{last}"));
    }
    for refusal in refusals {
        reason.push_str(&format!("\nThe web door: {refusal}"));
    }
    // What was refused may have carried a secret.
    let reason = place.redactor.redact_text(&reason);
    Ok(Attempted::Ended(StepResult::Failed { code: code.to_owned(), reason }))
}

/// What a program's end is that could not be had.
fn of(workshop: &Workshop, error: Broken) -> Attempted {
    match error {
        Broken::Environment(error) => broken(workshop, &error),
        Broken::Disk(error) => checkpoint::disk_full(&error),
    }
}

/// Takes back what a step was given in files, once nobody else has any.
async fn leave(place: &mut Place, given: &Given, attempt: &Attempt) -> Result<(), Attempted> {
    if place.shares_files(attempt) {
        return Ok(());
    }
    let left = match &place.environment {
        Some(environment) => given.leave(environment).await,
        None => Ok(()),
    };
    match left {
        Ok(()) => Ok(()),
        Err(error) => Err(unfit(place, &error).await),
    }
}

/// An environment that secrets may be left in: nothing else is executed there.
pub(super) async fn unfit(place: &mut Place, error: &Broken) -> Attempted {
    if let Some(environment) = place.environment.take() {
        environment.destroy().await;
    }
    Attempted::GiveBack(format!("the environment was removed: {error}"))
}

/// The code and the words for a program that did not end well.
pub(super) fn verdict(ran: &Ran, limit: Duration, allowance: &Allowance) -> (&'static str, String) {
    match ran {
        Ran::TimedOut => {
            ("timeout", format!("did not end within its {} s and was stopped.", limit.as_secs()))
        }
        Ran::Stopped => ("stopped", "was stopped.".to_owned()),
        Ran::Ended(State::Exited { code: 137 }) => (
            "step_failed",
            "exited with 137: something in it was killed, most often for want of memory."
                .to_owned(),
        ),
        Ran::Ended(State::Exited { code }) => ("step_failed", format!("exited with {code}.")),
        Ran::Ended(State::Signalled { out_of_memory: true, .. }) => (
            "out_of_memory",
            format!(
                "was killed by the kernel: the environment's memory limit{} was reached. {}",
                allowance
                    .limits
                    .memory_bytes
                    .map(|bytes| format!(" of {} MiB", bytes >> 20))
                    .unwrap_or_default(),
                allowance.larger()
            ),
        ),
        Ran::Short(Short::Processes(state)) => (
            "out_of_processes",
            format!(
                "failed ({}) after the kernel had refused it a process: the environment's limit{} was reached. \
                 {}",
                in_words(&Ran::Ended(state.clone())),
                allowance
                    .limits
                    .processes
                    .map(|count| format!(" of {count} processes and threads"))
                    .unwrap_or_default(),
                allowance.larger()
            ),
        ),
        Ran::Short(Short::Disk(over)) => (
            "disk_limit",
            format!(
                "was stopped: {} (the environment's disk limit). {}",
                disk::in_words(*over),
                allowance.larger()
            ),
        ),
        Ran::Ended(State::Signalled { signal, .. }) => {
            ("step_failed", format!("was ended by signal {signal}."))
        }
        Ran::Ended(State::NotStarted { why }) => {
            ("step_failed", format!("could not be started: {why}."))
        }
        Ran::Ended(State::Lost { why }) => ("step_failed", format!("was lost: {why}.")),
        Ran::Ended(State::Running) => ("step_failed", "was still running.".to_owned()),
    }
}

/// How a program ended, in a few words.
pub(super) fn in_words(ran: &Ran) -> String {
    match ran {
        Ran::Ended(State::Exited { code: 0 }) => "passed".to_owned(),
        Ran::Ended(State::Exited { code }) => format!("exit {code}"),
        Ran::Ended(State::Signalled { out_of_memory: true, .. }) => "out of memory".to_owned(),
        Ran::Ended(State::Signalled { signal, .. }) => format!("signal {signal}"),
        Ran::Ended(State::NotStarted { .. }) => "not started".to_owned(),
        Ran::Ended(State::Lost { .. } | State::Running) => "lost".to_owned(),
        Ran::Short(Short::Processes(_)) => "out of processes".to_owned(),
        Ran::Short(Short::Disk(_)) => "over its disk limit".to_owned(),
        Ran::TimedOut => "timed out".to_owned(),
        Ran::Stopped => "stopped".to_owned(),
    }
}

/// A command's first line, shortened.
pub(super) fn one_line(command: &str) -> String {
    let first = command.trim().lines().next().unwrap_or_default();
    let mut line: String = first.chars().take(120).collect();
    if line.len() < command.trim().len() {
        line.push_str(" …");
    }
    line
}
