//! An `agent` step: a harness in the environment, driven over its own streams, its model behind the
//! model door. What the agent claims is recorded; what counts is the work tree and the `verify:`
//! commands.

use std::{
    collections::BTreeMap, ffi::OsString, os::fd::OwnedFd, path::Path, sync::Arc, time::Duration,
};

use tokio::{io::AsyncReadExt, net::unix::pipe, sync::mpsc};
use tokio_util::sync::CancellationToken;
use windlass_agent::{
    acp::{
        self, Model, Outcome, Permissions, Stop, Streams, Tail, Verified, Verifier, VerifyResult,
    },
    instructions,
    known::{self, Agent, Harness, HomeFile, ModelDoor},
    prompt,
};
use windlass_gateway::{Door, model::Ended};
use windlass_run::{
    job::{GiveUp, StepResult},
    spec::{AgentAction, Mode},
};
use windlass_sandbox::{OperationId, Pipes, State};
use windlass_wire::session::Event;

use super::{
    checkpoint, command,
    doors::{self, Watch},
    environment::{Broken, Environment, Ran, broken, set_all},
    facts,
    outputs::Outputs,
    place::{Attempt, Place},
    repository::with_causes,
};
use crate::{executor::Attempted, held::Writer, job::failed};

/// How many session events may wait to be written.
const EVENTS: usize = 256;
/// How long writing one file of settings may take.
const SETTINGS: Duration = Duration::from_secs(30);
/// The most bytes of a `verify:` command's output that go back to the agent.
const OUTPUT: usize = 16 * 1024;

/// Lets the agent work; `Err` is an end as well, for `?`.
pub(super) async fn run(
    place: &mut Place,
    action: &AgentAction,
    declared: &windlass_run::spec::Step,
    attempt: &Attempt,
) -> Result<Attempted, Attempted> {
    let harness = Harness::parse(&action.harness).map_err(|error| {
        Attempted::JobEnded(failed("unknown_agent", sentence(&error.to_string())))
    })?;
    let argv = command_line(&harness, place.workshop.options.agents_dir.as_deref())?;
    let model = model(place, &harness, action)?;
    let (source, scripted) = doors::source(&place.workshop, action.replay.as_deref())
        .map_err(|why| Attempted::JobEnded(failed("model", sentence(&why))))?;
    let began = place.job.now();
    let deadline = tokio::time::Instant::now() + attempt.timeout;
    let session = place.job.held.open_session(&attempt.step_id, attempt.number, &place.redactor);
    place.environment(attempt).await?;
    let watch = Watch::new();
    let prefix = format!(
        "{}.{}.{}.{}.{:016x}",
        place.job.job_id,
        place.job.epoch,
        attempt.step_id,
        attempt.number,
        rand::random::<u64>()
    );
    let environment = place.environment(attempt).await?;
    let address = environment.doors.model_address();
    let socket = environment.doors.model_socket();
    place.meter.begin_step(session.clone());
    let door = socket
        .and_then(|socket| doors::serve_model(socket, source, place.meter.clone(), &watch, prefix));
    let door = door
        .map_err(|error| Attempted::GiveBack(format!("the model door can't be served: {error}")))?;
    let mut step = Step {
        action,
        verify: action.verify.iter().map(|command| command.as_str().to_owned()).collect(),
        outputs: Outputs::of(declared),
        harness: &harness,
        argv,
        model,
        session: &session,
        watch: &watch,
        scripted,
        deadline,
    };
    let driven = step.drive(place, attempt, &address).await;
    close(door).await;
    place.meter.end_step();
    let finished = session.finish();
    let (driven, died) = driven?;
    finished.map_err(|error| checkpoint::disk_full(&error))?;
    let took = place.job.now().since(began).to_std();
    tracing::debug!(job_id = %place.job.job_id, step = %attempt.step_id, ?took, "an agent's turns are over");
    match driven {
        Ok(outcome) => step.judge(place, attempt, outcome).await,
        Err(error) => {
            record(&session, place, Event::Problem { text: with_causes(&error) });
            Err(step.broke_off(&error, died))
        }
    }
}

struct Step<'a> {
    action: &'a AgentAction,
    verify: Vec<String>,
    outputs: Outputs<'a>,
    harness: &'a Harness,
    argv: Option<Vec<OsString>>,
    model: Option<String>,
    session: &'a Writer,
    watch: &'a Watch,
    scripted: bool,
    deadline: tokio::time::Instant,
}

type Driven = (Result<Outcome, acp::Error>, Option<State>);

impl Step<'_> {
    /// Starts the agent, drives it to the end of its last turn, and ends its process.
    async fn drive(
        &mut self,
        place: &mut Place,
        attempt: &Attempt,
        address: &str,
    ) -> Result<Driven, Attempted> {
        let workshop = place.workshop.clone();
        let instructions = match self.harness {
            Harness::Known(agent) if agent.reads_agents_md => String::new(),
            Harness::Known(_) | Harness::Custom { .. } => self.instructions(place, attempt).await?,
        };
        let settings = match self.harness {
            Harness::Known(agent) => agent.environment(
                &ModelDoor::at(address),
                self.model.as_deref(),
                mode(self.action.mode),
            ),
            Harness::Custom { .. } => custom_settings(address),
        };
        let log = attempt.log.clone();
        let stop = attempt.stop.clone();
        // Only of a job that was announced as sensitive when it began.
        let given = place.secrets.of(&attempt.path);
        let environment = place.environment(attempt).await?;
        for file in &settings.files {
            write_home_file(environment, file, &stop)
                .await
                .map_err(|error| of_broken(&workshop, error))?;
        }
        let built_in = || environment.windlass.iter().cloned().chain(["agent".into()]).collect();
        let argv = self.argv.clone().unwrap_or_else(built_in);
        let mut exec = environment
            .exec(&format!("{}-agent", attempt.step_id), argv)
            .map_err(|error| broken(&workshop, &error))?
            .with_pipes();
        // The agent's own settings win over whatever the repository would like to set.
        set_all(&mut exec.env, settings.variables.iter().map(|(name, value)| (name, value)));
        let programs = environment.programs();
        self.outputs.enter(&programs, &mut exec).await?;
        given.enter(environment, &mut exec).await.map_err(|error| of_broken(&workshop, error))?;
        let operation = exec.operation.clone();
        let started = environment
            .backend
            .exec(&environment.id, &exec)
            .await
            .map_err(|error| broken(&workshop, &error))?;
        let Some(pipes) = started.pipes else {
            return Err(Attempted::GiveBack(
                "the agent's process came without its streams".to_owned(),
            ));
        };
        let streams = streams(pipes, log.clone()).map_err(|error| {
            Attempted::GiveBack(format!("the agent's streams can't be had: {error}"))
        })?;
        let options = self.options(&environment.inside);
        let (watched, room) = (environment.disk.clone(), environment.allowance.clone());
        let prompt = prompt::task(&prompt::Task {
            text: self.action.prompt.as_str(),
            instructions: &instructions,
            verify: &self.verify,
        });
        let job = place.job.clone();
        let (sender, receiver) = mpsc::channel(EVENTS);
        let written = tokio::spawn(write_events(receiver, self.session.clone(), job));
        let deadline = self.deadline;
        let mut over = None;
        let ending = async {
            tokio::select! {
                found = watched.over() => {
                    over = Some(found);
                    Stop::Cancelled
                }
                () = stop.cancelled() => Stop::Cancelled,
                () = tokio::time::sleep_until(deadline) => Stop::Deadline,
            }
        };
        let mut verifier = Commands {
            place,
            commands: &self.verify,
            log,
            stop: stop.clone(),
            deadline,
            step: attempt,
        };
        let driven = acp::drive(streams, options, prompt, &mut verifier, sender, ending).await;
        let disk = written.await.unwrap_or(Ok(()));
        let died = end_process(place, &operation).await;
        if let Some(environment) = &place.environment
            && let Err(error) = given.leave(environment).await
        {
            return Err(command::unfit(place, &error).await);
        }
        if let Some(over) = over {
            let reason = format!(
                "The agent was stopped: {}. {}",
                super::disk::in_words(over),
                room.larger()
            );
            let code = "disk_limit".to_owned();
            return Err(Attempted::Ended(StepResult::Failed { code, reason }));
        }
        disk.map_err(|error| checkpoint::disk_full(&error))?;
        Ok((driven, died.map_err(|error| broken(&workshop, &error))?))
    }

    /// What the repository asks of agents.
    async fn instructions(
        &self,
        place: &mut Place,
        attempt: &Attempt,
    ) -> Result<String, Attempted> {
        let tree = place.environment(attempt).await?.host_tree.clone();
        let gathered = tokio::task::spawn_blocking(move || instructions::gather(&tree, None)).await;
        let gathered = gathered.map_err(|error| Attempted::GiveBack(error.to_string()))?;
        let found = gathered.map_err(|error| Attempted::GiveBack(error.to_string()))?;
        for text in found.problems {
            record(self.session, place, Event::Problem { text });
        }
        Ok(found.text)
    }

    fn options(&self, inside: &Path) -> acp::Options {
        let name = match self.harness {
            Harness::Known(agent) => agent.name.to_owned(),
            Harness::Custom { command } => command::one_line(command),
        };
        let mut options = acp::Options::new(name, inside);
        if let Harness::Known(agent) = self.harness {
            options.mode = agent.modes.id(mode(self.action.mode)).map(str::to_owned);
        }
        options.model = self.model.clone().map(|model| match self.harness {
            Harness::Known(_) => Model::InEnvironment(model),
            Harness::Custom { .. } => Model::Select(model),
        });
        options.scripted = self.scripted;
        options.permissions = match self.action.mode {
            Mode::Ask => {
                Permissions::deny_all("the step's mode is `ask`, and nobody is there to ask")
            }
            Mode::Auto | Mode::Full => Permissions::allow_once(),
        };
        options.attempts = self.action.attempts;
        options.progress = self.watch.progress.clone();
        options
    }

    /// What a step came to whose agent ended its last turn.
    async fn judge(
        &self,
        place: &mut Place,
        attempt: &Attempt,
        outcome: Outcome,
    ) -> Result<Attempted, Attempted> {
        place.facts.agent = Some(facts::Agent {
            name: self.name(),
            scripted: self.scripted,
            summary: place.redactor.redact_text(&outcome.last_message),
        });
        let taken = checkpoint::take(place, attempt).await?;
        let result = |code: &str, reason: String| {
            Ok(Attempted::Ended(StepResult::Failed {
                code: code.to_owned(),
                reason: sentence(&reason),
            }))
        };
        if let Some(gave_up) = outcome.gave_up {
            return Ok(Attempted::Ended(StepResult::GaveUp(GiveUp {
                tried: gave_up.tried,
                stopped_because: gave_up.stopped_because,
                would_unblock: gave_up.would_unblock,
            })));
        }
        if let Verified::Failed(results) = &outcome.verified {
            return result("verify_failed", red(results, outcome.turns));
        }
        let passed = outcome.verified == Verified::Passed;
        if outcome.stop_reason == "refusal" {
            return result(
                "agent_refused",
                format!("the model refused the task; it said: {}", quoted(&outcome.last_message)),
            );
        }
        if let Some((ended, problem)) = self.watch.last_problem().filter(|_| !passed) {
            return match ended {
                Ended::OverBudget => Err(Attempted::JobEnded(failed("tokens", sentence(&problem)))),
                _ => result(
                    "model_failed",
                    format!("the agent's last call to its model failed: {problem}"),
                ),
            };
        }
        if outcome.denied > 0 && taken.is_none() && !passed {
            let n = outcome.denied;
            return result(
                "denied",
                format!(
                    "the agent was denied {n} requests and changed nothing; give the step another mode"
                ),
            );
        }
        let outputs = match &place.environment {
            Some(environment) => self.outputs.read(&environment.programs(), None).await?,
            None => BTreeMap::new(),
        };
        let checkpoint = taken.map(|commit| commit.to_string());
        Ok(Attempted::Ended(StepResult::Succeeded { checkpoint, outputs }))
    }

    /// What a step came to whose agent did not get to its end.
    fn broke_off(&self, error: &acp::Error, died: Option<State>) -> Attempted {
        let problem = self.watch.last_problem();
        if let Some((Ended::OverBudget, why)) = &problem {
            return Attempted::JobEnded(failed("tokens", sentence(why)));
        }
        let code = match (&died, error) {
            (Some(State::Signalled { out_of_memory: true, .. }), _) => "out_of_memory",
            (_, acp::Error::Deadline { .. }) => "timeout",
            (_, acp::Error::Cancelled { .. }) => "stopped",
            (_, acp::Error::Stalled { .. }) => "agent_stalled",
            (_, acp::Error::SignIn(_)) => "agent_sign_in",
            (_, acp::Error::Verify(_)) => "verify_failed",
            _ => "agent_failed",
        };
        let mut reason = with_causes(error);
        match died {
            Some(State::Signalled { out_of_memory: true, .. }) => reason.push_str(
                ". The kernel killed it, since the environment's memory limit was reached: raise the runner's limit",
            ),
            Some(State::Signalled { signal, .. }) => reason.push_str(&format!(". It was ended by signal {signal}")),
            Some(State::NotStarted { why }) => reason = format!("the agent could not be started: {why}"),
            Some(State::Exited { code }) => reason.push_str(&format!(". It had exited with {code}")),
            Some(State::Lost { .. } | State::Running) | None => {}
        }
        if let Some((_, why)) = problem {
            reason.push_str(&format!(". Its last call to its model had failed: {why}"));
        }
        Attempted::Ended(StepResult::Failed { code: code.to_owned(), reason: sentence(&reason) })
    }

    fn name(&self) -> String {
        match self.harness {
            Harness::Known(agent) => agent.name.to_owned(),
            Harness::Custom { command } => command::one_line(command),
        }
    }
}

/// The model to ask for, where one is named or needed.
fn model(
    place: &Place,
    harness: &Harness,
    action: &AgentAction,
) -> Result<Option<String>, Attempted> {
    let Harness::Known(agent) = harness else { return Ok(action.model.clone()) };
    let end = |why: String| Err(Attempted::JobEnded(failed("model", why)));
    let providers = &place.workshop.options.providers;
    let none =
        providers.anthropic.is_none() && providers.openai.is_none() && providers.gemini.is_none();
    match (&action.model, &action.replay) {
        (_, None) if none => end(
            "This runner knows no model provider. Give it a key, for instance ANTHROPIC_API_KEY or OPENAI_API_KEY in \
             the environment of the program that starts it, and start the task again."
                .to_owned(),
        ),
        (Some(model), _) => Ok(Some(model.clone())),
        // A session file answers whatever model is asked.
        (None, Some(_)) if agent.needs_model => Ok(Some("replayed".to_owned())),
        (None, None) if agent.needs_model => {
            end(format!("The agent `{}` can't choose a model itself: name one with `model:` or `--model`.", agent.name))
        }
        (None, _) => Ok(None),
    }
}

/// Runs a step's `verify:` commands in the same environment.
struct Commands<'a> {
    place: &'a mut Place,
    commands: &'a [String],
    log: Writer,
    stop: CancellationToken,
    deadline: tokio::time::Instant,
    step: &'a Attempt,
}

impl Verifier for Commands<'_> {
    async fn verify(
        &mut self,
        turn: u32,
    ) -> Result<Vec<VerifyResult>, Box<dyn std::error::Error + Send + Sync>> {
        let mut results = Vec::new();
        self.place.facts.verified.clear();
        for (n, command) in self.commands.iter().enumerate() {
            let began = self.place.job.now();
            let redactor = self.place.redactor.clone();
            let Some(environment) = &mut self.place.environment else { break };
            let name = format!("{}-verify-{turn}-{n}", self.step.step_id);
            let mut exec = environment.exec(&name, Environment::shell(command))?;
            let variables = self.step.variables.iter();
            exec.env.extend(variables.map(|(name, value)| (name.into(), value.into())));
            let _ = self
                .log
                .append(format!("[windlass: verify: {}]\n", command::one_line(command)).as_bytes());
            let mut tail = Vec::new();
            let left = self.deadline.saturating_duration_since(tokio::time::Instant::now());
            let log = self.log.clone();
            let output = |bytes: &[u8]| {
                tail.extend_from_slice(bytes);
                let excess = tail.len().saturating_sub(OUTPUT);
                tail.drain(..excess);
                log.append(bytes)
            };
            let ran = environment.run(exec, left, &self.stop, output).await?;
            let exit_code = match ran {
                Ran::Ended(State::Exited { code }) => Some(code),
                Ran::Ended(_) | Ran::TimedOut | Ran::Stopped | Ran::Short(_) => None,
            };
            let output = redactor.redact_text(&String::from_utf8_lossy(&tail));
            let took = self.place.job.now().since(began).to_std();
            let ended = command::in_words(&ran);
            self.place.facts.verified.push(facts::Command {
                command: command.clone(),
                ended,
                took,
            });
            results.push(VerifyResult { command: command.clone(), exit_code, output });
        }
        Ok(results)
    }
}

/// Writes session events down as they come; goes on taking them after the disk failed, so that the
/// agent is not held up for ever.
async fn write_events(
    mut receiver: mpsc::Receiver<Event>,
    session: Writer,
    job: Arc<crate::job::Job>,
) -> std::io::Result<()> {
    let mut outcome = Ok(());
    while let Some(event) = receiver.recv().await {
        if outcome.is_ok() {
            outcome = session.record(job.now(), event);
        }
    }
    outcome
}

fn record(session: &Writer, place: &Place, event: Event) {
    if let Err(error) = session.record(place.job.now(), event) {
        tracing::warn!(%error, "a session's last event could not be kept");
    }
}

async fn close(door: Door) {
    door.stop().await;
}

/// Kills the agent with everything it started, and says how it had ended, if it had.
async fn end_process(
    place: &mut Place,
    operation: &OperationId,
) -> windlass_sandbox::Result<Option<State>> {
    let Some(environment) = &place.environment else { return Ok(None) };
    let (backend, id) = (&environment.backend, &environment.id);
    let status = backend.status(id, operation).await?;
    backend.kill(id, operation).await?;
    backend.forget(id, operation).await?;
    Ok(status.state.has_ended().then_some(status.state))
}

/// The exact command line of a harness inside; `None` for the built-in one, which is `windlass` itself.
fn command_line(
    harness: &Harness,
    agents_dir: Option<&Path>,
) -> Result<Option<Vec<OsString>>, Attempted> {
    match harness {
        Harness::Known(agent) if agent.package.is_none() => Ok(None),
        Harness::Known(agent) => {
            let version = installed(agent, agents_dir)?;
            let command = agent.command(Path::new(known::INSTALLED_UNDER), &version);
            Ok(Some(command.into_iter().map(OsString::from).collect()))
        }
        Harness::Custom { command } => Ok(Some(["sh", "-c", command].map(OsString::from).into())),
    }
}

/// The installed version of an agent: the pinned one if it is there, else the newest by name.
fn installed(agent: &Agent, agents_dir: Option<&Path>) -> Result<String, Attempted> {
    let missing = || {
        let reason = format!(
            "The agent `{0}` is not installed on this runner. Install it with `windlass agents install {0}`.",
            agent.name
        );
        Attempted::JobEnded(failed("agent_missing", reason))
    };
    let dir = agents_dir.ok_or_else(missing)?.join(agent.name);
    let pinned = agent.package.map(|package| package.version).unwrap_or_default();
    if dir.join(pinned).is_dir() {
        return Ok(pinned.to_owned());
    }
    let entries = std::fs::read_dir(&dir).map_err(|_| missing())?;
    let mut versions: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    versions.sort_by_key(|version| {
        let parts = version.split(['.', '-']).map(|part| part.parse::<u64>().unwrap_or(0));
        parts.collect::<Vec<_>>()
    });
    versions.pop().ok_or_else(missing)
}

/// What a command that nobody knows is told of the doors, in the names that most programs read.
fn custom_settings(address: &str) -> known::Environment {
    let door = ModelDoor::at(address);
    let variables = [
        ("WINDLASS_MODEL_ANTHROPIC", &door.anthropic),
        ("WINDLASS_MODEL_OPENAI", &door.openai),
        ("WINDLASS_MODEL_GEMINI", &door.gemini),
        ("ANTHROPIC_BASE_URL", &door.anthropic),
        ("OPENAI_BASE_URL", &door.openai),
        ("GOOGLE_GEMINI_BASE_URL", &door.gemini),
    ];
    let mut environment = known::Environment {
        variables: variables.map(|(name, value)| (name.to_owned(), value.clone())).into(),
        ..known::Environment::default()
    };
    // Programs refuse to start without a key; the door drops whatever they send.
    for name in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"] {
        environment.variables.push((name.to_owned(), "windlass".to_owned()));
    }
    environment
}

/// Writes one file of settings into the home inside.
async fn write_home_file(
    environment: &mut Environment,
    file: &HomeFile,
    stop: &CancellationToken,
) -> Result<(), Broken> {
    let argv = file.writer().map(OsString::from).into();
    let exec = environment.exec("settings", argv)?;
    let ran = environment.run(exec, SETTINGS, stop, |_| Ok(())).await?;
    match ran {
        Ran::Ended(State::Exited { code: 0 }) | Ran::Stopped => Ok(()),
        Ran::Ended(_) | Ran::TimedOut | Ran::Short(_) => {
            let why = format!(
                "~/{} could not be written inside ({})",
                file.path,
                command::in_words(&ran)
            );
            Err(Broken::Disk(std::io::Error::other(why)))
        }
    }
}

/// The agent's streams, with its standard error going to the step's log.
fn streams(pipes: Pipes, log: Writer) -> std::io::Result<Streams<pipe::Receiver, pipe::Sender>> {
    let stdout = pipe::Receiver::from_owned_fd(pipes.stdout)?;
    let stdin = pipe::Sender::from_owned_fd(pipes.stdin)?;
    let tail = Tail::default();
    tokio::spawn(read_errors(pipes.stderr, tail.clone(), log));
    Ok(Streams { stdout, stdin, stderr: tail })
}

async fn read_errors(stderr: OwnedFd, tail: Tail, log: Writer) {
    if let Ok(mut stderr) = pipe::Receiver::from_owned_fd(stderr) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
            tail.push(&buffer[..length]);
            // A full disk is noticed where the session is written.
            let _ = log.append(&buffer[..length]);
        }
    }
    tail.close();
}

fn mode(mode: Mode) -> known::Mode {
    match mode {
        Mode::Ask => known::Mode::Ask,
        Mode::Auto => known::Mode::Auto,
        Mode::Full => known::Mode::Full,
    }
}

fn of_broken(workshop: &super::Workshop, error: Broken) -> Attempted {
    match error {
        Broken::Environment(error) => broken(workshop, &error),
        Broken::Disk(error) => checkpoint::disk_full(&error),
    }
}

/// The red `verify:` commands, for the reason of a failure.
fn red(results: &[VerifyResult], turns: u32) -> String {
    let mut reason = format!("after {turns} turns of the agent these commands did not pass:");
    for result in results.iter().filter(|result| !result.passed()) {
        let how = result
            .exit_code
            .map_or("did not end by itself".to_owned(), |code| format!("exit {code}"));
        let lines: Vec<&str> = result.output.trim_end().lines().collect();
        let last = lines[lines.len().saturating_sub(8)..].join("\n");
        reason.push_str(&format!("\n`{}` ({how}):\n{last}", command::one_line(&result.command)));
    }
    reason
}

fn quoted(text: &str) -> String {
    let short: String = text.trim().chars().take(500).collect();
    format!("\"{short}\"")
}

fn sentence(text: &str) -> String {
    let mut letters = text.trim().chars();
    let first: String =
        letters.next().map(|letter| letter.to_uppercase().collect()).unwrap_or_default();
    let mut text = format!("{first}{}", letters.as_str());
    if !text.ends_with(['.', '!', '?', '\n', '"', '`']) {
        text.push('.');
    }
    text
}
