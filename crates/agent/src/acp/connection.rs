//! One agent step from the handshake to the last turn: what is sent, what is waited for, and what
//! ends the waiting.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use agent_client_protocol::v1::{ConnectionTo, schema as acp};
use agent_client_protocol::{Agent, Client, Lines};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use windlass_wire::session::{Event, PermissionDecision};

use super::handshake;
use super::lines::{self, Desk, Ears};
use super::permissions::{self, Answer, Ask};
use super::recorder::{Recorder, Sender};
use super::updates::Translator;
use super::{
    Error, Introduction, Limits, Next, Options, Outcome, Progress, Stop, Streams, Tail, TurnEnd,
    Turns, Verifier, VerifyResult,
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
                handshake::within(&talk, handshake::introduce(&talk, &connection, cwd)).await?;
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
pub(super) struct Wires {
    pub(super) ears: Ears,
    pub(super) sender: Sender,
    stderr: Tail,
    progress: Progress,
    pub(super) limits: Limits,
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
    pub(super) async fn answer<T>(
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
        session = handshake::within(wires, handshake::begin(wires, connection, options)) => session?,
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
