//! One agent step from the handshake to the last turn: what is sent, what is waited for, and what
//! ends the waiting.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use agent_client_protocol::schema::ProtocolVersion;
use agent_client_protocol::v1::{ConnectionTo, schema as acp};
use agent_client_protocol::{Agent, Client, Lines};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use windlass_wire::session::{Event, PermissionDecision};

use super::lines::{self, Desk, Ears};
use super::permissions::{self, Answer, Ask};
use super::recorder::{Recorder, Sender};
use super::updates::Translator;
use super::{
    Error, Introduction, Limits, Model, Next, Options, Outcome, Progress, Stop, Streams, Tail,
    TurnEnd, Turns, Verifier, VerifyResult,
};
use crate::{clip, give_up};

/// How long the end of an answer or of standard error is waited for once standard output ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The most bytes of an agent's error that are quoted.
const QUOTE: usize = 2000;
/// How many permission answers are sent before the oldest event must have been taken.
const CHECK_EVENTS: usize = 64;

/// Drives one agent step to its end.
///
/// `prompt` is the first prompt, whole ([`crate::prompt::task`] writes one). After each turn
/// `verifier` is asked; while it is not content and attempts are left, the agent gets feedback and
/// another turn. Every event goes to `events` in order; while the channel is full, the agent waits.
/// When `stop` resolves, the agent is told to cancel and gets [`Limits::cancel_grace`] to end its turn.
///
/// The streams are dropped on return. The process is the caller's: it ends it afterwards, and it may
/// ignore the exit status, since some agents exit badly after a turn that ended well.
///
/// # Errors
/// See [`Error`]; every event that was recorded before is in the channel.
pub async fn drive<Out, In, V>(
    streams: Streams<Out, In>,
    options: Options,
    prompt: String,
    verifier: &mut V,
    events: mpsc::Sender<Event>,
    stop: impl Future<Output = Stop> + Send,
) -> Result<Outcome, Error>
where
    Out: AsyncRead + Unpin + Send + 'static,
    In: AsyncWrite + Unpin + Send + 'static,
    V: Verifier,
{
    let wires = Wires::new(&options.limits, options.progress.clone(), events, streams.stderr);
    let permissions = options.permissions.clone();
    let talk = wires.clone();
    converse(streams.stdout, streams.stdin, wires, permissions, async move |connection| {
        step(&talk, &connection, &options, prompt, verifier, stop).await
    })
    .await
}

/// Asks an agent who it is: the handshake and a session in `cwd`, without a prompt.
///
/// # Errors
/// The same as [`drive`], as far as they can come up in a handshake.
pub async fn check<Out, In>(
    streams: Streams<Out, In>,
    cwd: &Path,
    limits: Limits,
) -> Result<Introduction, Error>
where
    Out: AsyncRead + Unpin + Send + 'static,
    In: AsyncWrite + Unpin + Send + 'static,
{
    let (events, mut receiver) = mpsc::channel(CHECK_EVENTS);
    let wires = Wires::new(&limits, Progress::default(), events, streams.stderr);
    let permissions = permissions::Permissions::deny_all("only a check");
    let talk = wires.clone();
    let conversation =
        converse(streams.stdout, streams.stdin, wires, permissions, async move |connection| {
            let (introduction, _) =
                within_handshake(&talk, introduce(&talk, &connection, cwd)).await?;
            Ok(introduction)
        });
    let mut conversation = pin!(conversation);
    loop {
        tokio::select! {
            result = &mut conversation => return result,
            Some(_) = receiver.recv() => {}
        }
    }
}

/// What both sides of a conversation share.
#[derive(Clone)]
struct Wires {
    ears: Ears,
    sender: Sender,
    stderr: Tail,
    progress: Progress,
    limits: Limits,
    /// True once the turn was cancelled: open requests for permission are then answered so.
    cancelled: std::sync::Arc<watch::Sender<bool>>,
    denied: std::sync::Arc<std::sync::atomic::AtomicU32>,
}

impl Wires {
    fn new(limits: &Limits, progress: Progress, events: mpsc::Sender<Event>, stderr: Tail) -> Self {
        progress.touch();
        let sender = Sender::new(events, limits);
        let translator = Translator::new(limits.output);
        let recorder = Recorder::new(sender.clone(), limits);
        Self {
            ears: Ears::new(Desk { translator, recorder }),
            sender,
            stderr,
            progress,
            limits: limits.clone(),
            cancelled: std::sync::Arc::new(watch::Sender::new(false)),
            denied: std::sync::Arc::default(),
        }
    }

    /// The error that says why nothing more is heard.
    async fn silence(&self, during: &str) -> Error {
        if let Some(fault) = self.ears.take_fault() {
            return fault;
        }
        let _ = tokio::time::timeout(LAST_WORDS, self.stderr.closed()).await;
        let mut stderr = self.stderr.text();
        if stderr.is_empty() {
            "(nothing)".clone_into(&mut stderr);
        }
        if let Some(line) = self.ears.first_garbage() {
            stderr.push_str(&format!("\n(its standard output began with: {line})"));
        }
        Error::Died { during: during.to_owned(), stderr }
    }

    /// Waits for the answer to a request, or for the end of the stream.
    async fn answer<T>(
        &self,
        request: &'static str,
        during: &str,
        answer: impl Future<Output = Result<T, agent_client_protocol::Error>>,
    ) -> Result<T, Error> {
        let mut answer = pin!(answer);
        let answered = tokio::select! {
            biased;
            answered = &mut answer => Some(answered),
            // An answer that was read before the end may still be on its way through the crate.
            () = self.ears.ended() => tokio::time::timeout(LAST_WORDS, &mut answer).await.ok(),
        };
        match answered {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) if !self.ears.has_ended() => Err(agent_error(request, &error)),
            Some(Err(_)) | None => Err(self.silence(during).await),
        }
    }

    /// Resolves with the limit that was passed when nothing happened for too long.
    async fn stalled(&self) -> Duration {
        loop {
            let in_tool = self.ears.open_calls() > 0;
            let limit = if in_tool { self.limits.quiet_in_tool } else { self.limits.quiet };
            let now = tokio::time::Instant::now();
            let at = self.progress.last() + limit;
            if now >= at {
                return limit;
            }
            // A tool call may end meanwhile, which makes the limit the shorter one.
            tokio::time::sleep_until(at.min(now + self.limits.quiet)).await;
        }
    }
}

/// Opens the connection, runs `talk` on it, and closes it without waiting for an agent that does not
/// read.
async fn converse<Out, In, T>(
    stdout: Out,
    stdin: In,
    wires: Wires,
    permissions: permissions::Permissions,
    talk: impl AsyncFnOnce(ConnectionTo<Agent>) -> Result<T, Error>,
) -> Result<T, Error>
where
    Out: AsyncRead + Unpin + Send + 'static,
    In: AsyncWrite + Unpin + Send + 'static,
{
    let incoming =
        lines::messages(stdout, wires.ears.clone(), wires.limits.clone(), wires.progress.clone());
    let outgoing = futures::sink::unfold(stdin, |mut stdin, line: String| async move {
        stdin.write_all(line.as_bytes()).await?;
        stdin.write_all(b"\n").await?;
        stdin.flush().await?;
        Ok::<_, std::io::Error>(stdin)
    });
    let (done, mut ended) = oneshot::channel();
    let asked = wires.clone();
    let connection = Client
        .v1()
        .name("windlass")
        .on_receive_request(
            async move |request: acp::RequestPermissionRequest,
                        responder,
                        connection: ConnectionTo<Agent>| {
                let asked = asked.clone();
                let permissions = permissions.clone();
                // Spawned, since a person may take their time and other messages must go on.
                connection.spawn(async move {
                    let outcome = permit(&asked, &permissions, &request).await;
                    responder.respond(acp::RequestPermissionResponse::new(outcome))
                })
            },
            agent_client_protocol::on_receive_request!(),
        )
        .connect_with(
            Lines::new(Box::pin(outgoing), Box::pin(incoming)),
            async move |connection| {
                // The receiver lives until this function returns, so that the send can't fail.
                let _ = done.send(talk(connection).await);
                Ok(())
            },
        );
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        result = &mut ended => {
            // Lets what was said last (a cancel, for one) reach an agent that still reads.
            let _ = tokio::time::timeout(LAST_WORDS, connection).await;
            result.map_err(|_| Error::Handshake("the connection was dropped".to_owned()))?
        }
        closed = &mut connection => match ended.try_recv() {
            Ok(result) => result,
            Err(_) => {
                if let Err(error) = closed {
                    tracing::debug!(code = %error.code, "the connection to the agent failed");
                }
                Err(wires.silence("during the conversation").await)
            }
        },
    }
}

/// Answers one request for permission and records both.
async fn permit(
    wires: &Wires,
    permissions: &permissions::Permissions,
    request: &acp::RequestPermissionRequest,
) -> acp::RequestPermissionOutcome {
    let ask = Ask::read(request);
    let (tool_call, title) = (ask.tool_call.clone(), ask.title.clone());
    let mut cancelled = wires.cancelled.subscribe();
    let answer: Option<Answer> = tokio::select! {
        biased;
        _ = cancelled.wait_for(|cancelled| *cancelled) => None,
        answer = permissions.decide(ask) => Some(answer),
    };
    let (outcome, decision, reason) = match answer {
        None => {
            let reason = "the step was cancelled".to_owned();
            (acp::RequestPermissionOutcome::Cancelled, PermissionDecision::Cancelled, reason)
        }
        Some(answer) => {
            let (outcome, allowed) = permissions::outcome(request, &answer);
            let decision =
                if allowed { PermissionDecision::Allowed } else { PermissionDecision::Denied };
            let reason = if answer.allow && !allowed {
                format!("{}, but the agent offers no way to allow it only once", answer.reason)
            } else {
                answer.reason
            };
            (outcome, decision, reason)
        }
    };
    if decision == PermissionDecision::Denied {
        wires.denied.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    wires.progress.touch();
    if let Err(error) =
        wires.sender.send(Event::Permission { tool_call, title, decision, reason }).await
    {
        wires.ears.fail(error);
    }
    outcome
}

async fn step<V: Verifier>(
    wires: &Wires,
    connection: &ConnectionTo<Agent>,
    options: &Options,
    prompt: String,
    verifier: &mut V,
    stop: impl Future<Output = Stop> + Send,
) -> Result<Outcome, Error> {
    let mut stop = pin!(stop);
    let session = tokio::select! {
        biased;
        stop = &mut stop => return Err(stopped(stop, true)),
        session = within_handshake(wires, begin(wires, connection, options)) => session?,
    };
    let mut turns = Turns::new(options.attempts);
    let mut prompt = prompt;
    loop {
        let turn = turns.turn();
        wires.sender.send(Event::Prompt { text: prompt.clone(), turn }).await?;
        let said = take_turn(wires, connection, &session, prompt, turn, &mut stop).await?;
        if let Some(failure) = options.model_watch.as_ref().and_then(|watch| watch.last_failure()) {
            return Err(Error::ModelFailed(clip::printable(failure.as_bytes(), QUOTE)));
        }
        let mut next = turns.ended(&said.end);
        if next == Next::Verify {
            let verifying = verify(wires, verifier, turn);
            let results = tokio::select! {
                biased;
                stop = &mut stop => return Err(stopped(stop, true)),
                results = verifying => results?,
            };
            next = turns.verified(results);
        }
        match next {
            Next::Prompt(feedback) => prompt = feedback,
            // `ended` is the only one to ask for verification, and that was just done.
            Next::Verify => prompt = String::new(),
            Next::Done(verified) => {
                let cost = wires.ears.desk.lock().await.translator.cost();
                return Ok(Outcome {
                    stop_reason: said.end.stop_reason,
                    turns: turn,
                    verified,
                    gave_up: said.end.gave_up,
                    last_message: said.message,
                    denied: wires.denied.load(std::sync::atomic::Ordering::Relaxed),
                    claimed_cost: cost,
                    garbage_lines: wires.ears.garbage_lines(),
                });
            }
        }
    }
}

async fn within_handshake<T>(
    wires: &Wires,
    handshake: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let limit = wires.limits.handshake;
    match tokio::time::timeout(limit, handshake).await {
        Ok(result) => result,
        Err(_) => {
            let began = match wires.ears.first_garbage() {
                Some(line) => format!("; its standard output began with: {line}"),
                None => String::new(),
            };
            let problem = format!("it was not finished within {} s{began}", limit.as_secs());
            Err(Error::Handshake(problem))
        }
    }
}

/// The handshake, the mode and the model.
async fn begin(
    wires: &Wires,
    connection: &ConnectionTo<Agent>,
    options: &Options,
) -> Result<acp::SessionId, Error> {
    let (introduction, session) = introduce(wires, connection, &options.cwd).await?;
    if let Some(mode) = &options.mode {
        set_mode(wires, connection, &session, mode).await?;
    }
    if let Some(Model::Select(model)) = &options.model {
        set_model(wires, connection, &session, model).await?;
    }
    wires.ears.session(&session.session_id);
    let mode = options.mode.clone().or(introduction.current_mode);
    wires.ears.desk.lock().await.translator.mode_set(mode.clone());
    wires
        .sender
        .send(Event::Started {
            agent: options.agent.clone(),
            version: introduction.version,
            mode,
            model: options.model.as_ref().map(|model| model.name().to_owned()),
            scripted: options.scripted,
        })
        .await?;
    Ok(session.session_id)
}

const IN_HANDSHAKE: &str = "before the handshake was done";

async fn introduce(
    wires: &Wires,
    connection: &ConnectionTo<Agent>,
    cwd: &Path,
) -> Result<(Introduction, acp::NewSessionResponse), Error> {
    let request = acp::InitializeRequest::new(ProtocolVersion::V1)
        .client_info(acp::Implementation::new("windlass", env!("CARGO_PKG_VERSION")));
    let hello = wires
        .answer("initialize", IN_HANDSHAKE, connection.send_request(request).block_task())
        .await?;
    let request = acp::NewSessionRequest::new(cwd);
    let session = wires
        .answer("session/new", IN_HANDSHAKE, connection.send_request(request).block_task())
        .await?;
    let modes = session.modes.as_ref();
    let configured = choices(&session, &acp::SessionConfigOptionCategory::Mode);
    let introduction = Introduction {
        name: hello.agent_info.as_ref().map(|info| clip::printable(info.name.as_bytes(), 200)),
        version: hello
            .agent_info
            .as_ref()
            .map(|info| clip::printable(info.version.as_bytes(), 200)),
        modes: match modes {
            Some(modes) => modes.available_modes.iter().map(|mode| mode.id.to_string()).collect(),
            None => configured.as_ref().map(|choice| choice.values.clone()).unwrap_or_default(),
        },
        current_mode: match modes {
            Some(modes) => Some(modes.current_mode_id.to_string()),
            None => configured.map(|choice| choice.current),
        },
        models: choices(&session, &acp::SessionConfigOptionCategory::Model)
            .map(|choice| choice.values)
            .unwrap_or_default(),
    };
    Ok((introduction, session))
}

async fn set_mode(
    wires: &Wires,
    connection: &ConnectionTo<Agent>,
    session: &acp::NewSessionResponse,
    mode: &str,
) -> Result<(), Error> {
    let offered: Vec<String> = match &session.modes {
        Some(modes) => modes.available_modes.iter().map(|mode| mode.id.to_string()).collect(),
        None => Vec::new(),
    };
    if offered.iter().any(|id| id == mode) {
        let request = acp::SetSessionModeRequest::new(session.session_id.clone(), mode.to_owned());
        let answer = connection.send_request(request).block_task();
        wires.answer("session/set_mode", IN_HANDSHAKE, answer).await?;
        return Ok(());
    }
    match choices(session, &acp::SessionConfigOptionCategory::Mode) {
        Some(choice) if choice.values.iter().any(|value| value == mode) => {
            choose(wires, connection, session, choice.id, mode).await
        }
        choice => {
            let mut all = offered;
            all.extend(choice.map(|choice| choice.values).unwrap_or_default());
            Err(Error::Mode { wanted: mode.to_owned(), offered: listed(&all) })
        }
    }
}

async fn set_model(
    wires: &Wires,
    connection: &ConnectionTo<Agent>,
    session: &acp::NewSessionResponse,
    model: &str,
) -> Result<(), Error> {
    match choices(session, &acp::SessionConfigOptionCategory::Model) {
        Some(choice) if choice.values.iter().any(|value| value == model) => {
            choose(wires, connection, session, choice.id, model).await
        }
        choice => {
            let all = choice.map(|choice| choice.values).unwrap_or_default();
            Err(Error::Model { wanted: model.to_owned(), offered: listed(&all) })
        }
    }
}

async fn choose(
    wires: &Wires,
    connection: &ConnectionTo<Agent>,
    session: &acp::NewSessionResponse,
    option: acp::SessionConfigId,
    value: &str,
) -> Result<(), Error> {
    let value = acp::SessionConfigValueId::new(value.to_owned());
    let request =
        acp::SetSessionConfigOptionRequest::new(session.session_id.clone(), option, value);
    let answer = connection.send_request(request).block_task();
    wires.answer("session/set_config_option", IN_HANDSHAKE, answer).await?;
    Ok(())
}

/// One of the session's options that is a choice between values.
struct Choice {
    id: acp::SessionConfigId,
    current: String,
    values: Vec<String>,
}

fn choices(
    session: &acp::NewSessionResponse,
    category: &acp::SessionConfigOptionCategory,
) -> Option<Choice> {
    let options = session.config_options.iter().flatten();
    let option = options.into_iter().find(|option| option.category.as_ref() == Some(category))?;
    let acp::SessionConfigKind::Select(select) = &option.kind else { return None };
    let values = match &select.options {
        acp::SessionConfigSelectOptions::Ungrouped(options) => {
            options.iter().map(|option| option.value.to_string()).collect()
        }
        acp::SessionConfigSelectOptions::Grouped(groups) => groups
            .iter()
            .flat_map(|group| &group.options)
            .map(|option| option.value.to_string())
            .collect(),
        _ => Vec::new(),
    };
    Some(Choice { id: option.id.clone(), current: select.current_value.to_string(), values })
}

fn listed(values: &[String]) -> String {
    if values.is_empty() {
        return "nothing".to_owned();
    }
    clip::printable(values.join(", ").as_bytes(), QUOTE)
}

/// What a turn ended with.
struct Said {
    end: TurnEnd,
    message: String,
}

async fn take_turn(
    wires: &Wires,
    connection: &ConnectionTo<Agent>,
    session: &acp::SessionId,
    prompt: String,
    turn: u32,
    stop: &mut (impl Future<Output = Stop> + Unpin),
) -> Result<Said, Error> {
    let during = format!("during turn {turn}");
    wires.ears.desk.lock().await.recorder.take_last_message();
    wires.progress.touch();
    let block = acp::ContentBlock::Text(acp::TextContent::new(prompt));
    let request = acp::PromptRequest::new(session.clone(), vec![block]);
    let answer =
        wires.answer("session/prompt", &during, connection.send_request(request).block_task());
    let mut answer = pin!(answer);
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer?,
        stop = &mut *stop => {
            wires.cancelled.send_replace(true);
            // An agent that is gone already can't be told; then it did not end its turn cleanly.
            let told = connection.send_notification(acp::CancelNotification::new(session.clone())).is_ok();
            let ended = tokio::time::timeout(wires.limits.cancel_grace, &mut answer).await;
            return Err(stopped(stop, told && matches!(ended, Ok(Ok(_)))));
        }
        quiet = wires.stalled() => {
            wires.cancelled.send_replace(true);
            // Only a courtesy: the caller ends the process.
            let _ = connection.send_notification(acp::CancelNotification::new(session.clone()));
            return Err(Error::Stalled { quiet, during: during.clone() });
        }
    };
    let message = {
        let mut desk = wires.ears.desk.lock().await;
        desk.recorder.flush().await?;
        desk.translator.turn_ended();
        desk.recorder.last_message().to_owned()
    };
    let stop_reason = stop_reason(answer.stop_reason).to_owned();
    let gave_up = give_up::in_meta(answer.meta.as_ref()).or_else(|| give_up::in_message(&message));
    if let Some(report) = &gave_up {
        wires.sender.send(Event::GaveUp(report.clone())).await?;
    }
    wires.sender.send(Event::TurnEnded { stop_reason: stop_reason.clone() }).await?;
    Ok(Said { end: TurnEnd { stop_reason, gave_up }, message })
}

async fn verify<V: Verifier>(
    wires: &Wires,
    verifier: &mut V,
    turn: u32,
) -> Result<Vec<VerifyResult>, Error> {
    let results = verifier.verify(turn).await.map_err(Error::Verify)?;
    for result in &results {
        wires
            .sender
            .send(Event::Verify {
                command: result.command.clone(),
                exit_code: result.exit_code,
                output: clip::head_and_tail(&result.output, wires.limits.output),
            })
            .await?;
    }
    Ok(results)
}

fn stopped(stop: Stop, clean: bool) -> Error {
    match stop {
        Stop::Cancelled => Error::Cancelled { clean },
        Stop::Deadline => Error::Deadline { clean },
    }
}

fn stop_reason(reason: acp::StopReason) -> &'static str {
    match reason {
        acp::StopReason::MaxTokens => "max_tokens",
        acp::StopReason::MaxTurnRequests => "max_turn_requests",
        acp::StopReason::Refusal => "refusal",
        acp::StopReason::Cancelled => "cancelled",
        // The protocol's default; what a later version adds is an end as well.
        _ => "end_turn",
    }
}

/// ACP's code for "sign in first".
const AUTH_REQUIRED: i32 = -32000;

fn agent_error(request: &'static str, error: &agent_client_protocol::Error) -> Error {
    let code = i32::from(error.code);
    let data = error.data.as_ref().map(|data| match data {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let text = match data {
        Some(data) => format!("{}: {data}", error.message),
        None => error.message.clone(),
    };
    let message = clip::printable(text.as_bytes(), QUOTE);
    match (request, code) {
        (_, AUTH_REQUIRED) => Error::SignIn(message),
        // Also what the protocol crate says when the agent speaks another version.
        ("initialize", _) => Error::Handshake(message),
        _ => Error::Agent { request, code, message },
    }
}
