//! The agent's side of ACP: sessions, modes, prompts, cancelling. One session at a time; a new one
//! forgets the old.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use agent_client_protocol::schema::ProtocolVersion;
use agent_client_protocol::v1::{ConnectionTo, schema as acp};
use agent_client_protocol::{Agent, Client, Lines};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::watch;

use super::turn::{self, TurnEnd};
use super::voice::Voice;
use super::{Error, Options};
use crate::give_up;
use crate::known::Mode;

/// Serves the built-in agent on the streams until the client closes its side.
///
/// # Errors
/// [`Error::Connection`] if a stream fails.
pub async fn serve<R, W>(stdin: R, stdout: W, options: Options) -> Result<(), Error>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let incoming = futures::stream::unfold(BufReader::new(stdin).lines(), |mut lines| async move {
        lines.next_line().await.transpose().map(|line| (line, lines))
    });
    let outgoing = futures::sink::unfold(stdout, |mut stdout, line: String| async move {
        stdout.write_all(line.as_bytes()).await?;
        stdout.write_all(b"\n").await?;
        stdout.flush().await?;
        Ok::<_, std::io::Error>(stdout)
    });
    let sessions = Arc::new(Sessions { options, all: Mutex::default() });
    let (for_new, for_mode, for_prompt, for_cancel) =
        (sessions.clone(), sessions.clone(), sessions.clone(), sessions.clone());
    let on_close = sessions.clone();
    Agent
        .v1()
        .name("windlass-agent")
        .on_receive_request(
            async move |_: acp::InitializeRequest, responder, _| {
                let info = acp::Implementation::new("windlass", env!("CARGO_PKG_VERSION"));
                responder
                    .respond(acp::InitializeResponse::new(ProtocolVersion::V1).agent_info(info))
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |request: acp::NewSessionRequest, responder, _| {
                responder.respond(for_new.begin(request.cwd))
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |request: acp::SetSessionModeRequest, responder, _| {
                let answer = for_mode.set_mode(&request);
                responder.respond_with_result(answer)
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |request: acp::PromptRequest,
                        responder,
                        connection: ConnectionTo<Client>| {
                // Begun here and not in the task, so that a cancel that follows at once is not lost.
                let begun = match for_prompt.begin_turn(&request.session_id) {
                    Ok(begun) => begun,
                    Err(error) => return responder.respond_with_error(error),
                };
                let sessions = for_prompt.clone();
                let speaking = connection.clone();
                // A turn takes long, and a cancel must get through meanwhile.
                connection.spawn(async move {
                    let answer = sessions.prompt(speaking, request, begun).await;
                    responder.respond_with_result(answer)
                })
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_notification(
            async move |request: acp::CancelNotification, _| {
                for_cancel.cancel(&request.session_id);
                Ok(())
            },
            agent_client_protocol::on_receive_notification!(),
        )
        .on_close(async move |_| {
            on_close.cancel_all();
            Ok(())
        })
        .connect_to(Lines::new(Box::pin(outgoing), Box::pin(incoming)))
        .await
        .map_err(|error| Error::Connection(error.message.clone()))
}

/// The ids of the modes; the same as in [`crate::known`].
const MODES: [(&str, Mode, &str); 3] = [
    ("ask", Mode::Ask, "Asks before it edits or runs anything"),
    ("auto", Mode::Auto, "Edits freely, asks before it runs anything"),
    ("full", Mode::Full, "Never asks"),
];

struct Sessions {
    options: Options,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    last: u32,
    sessions: HashMap<acp::SessionId, Session>,
}

struct Session {
    mode: Mode,
    cancel: watch::Sender<bool>,
    /// Away while a turn runs.
    memory: Option<turn::Memory>,
}

/// A turn that is about to run.
struct Begun {
    memory: turn::Memory,
    mode: Mode,
    cancel: watch::Receiver<bool>,
}

impl Sessions {
    fn begin(&self, cwd: PathBuf) -> acp::NewSessionResponse {
        let mut all = self.lock();
        all.last += 1;
        let id = acp::SessionId::new(format!("session-{}", all.last));
        let session = Session {
            mode: Mode::Ask,
            cancel: watch::Sender::new(false),
            memory: Some(turn::Memory::new(cwd)),
        };
        all.sessions.clear();
        all.sessions.insert(id.clone(), session);
        let modes = MODES
            .iter()
            .map(|(id, _, description)| {
                acp::SessionMode::new(*id, *id).description((*description).to_owned())
            })
            .collect();
        acp::NewSessionResponse::new(id).modes(acp::SessionModeState::new(MODES[0].0, modes))
    }

    fn set_mode(
        &self,
        request: &acp::SetSessionModeRequest,
    ) -> Result<acp::SetSessionModeResponse, agent_client_protocol::Error> {
        let mode = MODES.iter().find(|(id, _, _)| *id == &*request.mode_id.0);
        let (_, mode, _) =
            mode.ok_or_else(|| wrong(format!("there is no mode `{}`", request.mode_id)))?;
        let mut all = self.lock();
        all.session(&request.session_id)?.mode = *mode;
        Ok(acp::SetSessionModeResponse::new())
    }

    fn begin_turn(&self, id: &acp::SessionId) -> Result<Begun, agent_client_protocol::Error> {
        let mut all = self.lock();
        let session = all.session(id)?;
        let memory =
            session.memory.take().ok_or_else(|| wrong("a turn is running already".to_owned()))?;
        session.cancel.send_replace(false);
        Ok(Begun { memory, mode: session.mode, cancel: session.cancel.subscribe() })
    }

    async fn prompt(
        &self,
        connection: ConnectionTo<Client>,
        request: acp::PromptRequest,
        begun: Begun,
    ) -> Result<acp::PromptResponse, agent_client_protocol::Error> {
        let Begun { mut memory, mode, mut cancel } = begun;
        let prompt = read_prompt(&request.prompt);
        let voice = Voice::new(connection, request.session_id.clone(), memory.calls.clone());
        let end = tokio::select! {
            biased;
            _ = cancel.wait_for(|cancelled| *cancelled) => TurnEnd::Cancelled,
            end = turn::take(&mut memory, &self.options, mode, &voice, prompt) => end,
        };
        memory.turn_ended();
        if let Ok(session) = self.lock().session(&request.session_id) {
            session.memory = Some(memory);
        }
        answer(end)
    }

    fn cancel(&self, id: &acp::SessionId) {
        if let Ok(session) = self.lock().session(id) {
            session.cancel.send_replace(true);
        }
    }

    fn cancel_all(&self) {
        for session in self.lock().sessions.values() {
            session.cancel.send_replace(true);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, All> {
        self.all.lock().expect("nothing panics while it holds this lock")
    }
}

impl All {
    fn session(
        &mut self,
        id: &acp::SessionId,
    ) -> Result<&mut Session, agent_client_protocol::Error> {
        self.sessions.get_mut(id).ok_or_else(|| wrong(format!("there is no session `{id}`")))
    }
}

fn answer(end: TurnEnd) -> Result<acp::PromptResponse, agent_client_protocol::Error> {
    let reason = match end {
        TurnEnd::Done => acp::StopReason::EndTurn,
        TurnEnd::GaveUp(report) => {
            let report = serde_json::to_value(report).expect("strings always serialise");
            let meta = acp::Meta::from_iter([(give_up::META_KEY.to_owned(), report)]);
            return Ok(acp::PromptResponse::new(acp::StopReason::EndTurn).meta(meta));
        }
        TurnEnd::OutOfTokens => acp::StopReason::MaxTokens,
        TurnEnd::OutOfCalls => acp::StopReason::MaxTurnRequests,
        TurnEnd::Refused => acp::StopReason::Refusal,
        TurnEnd::Cancelled => acp::StopReason::Cancelled,
        TurnEnd::Failed(problem) => return Err(agent_client_protocol::Error::new(-32603, problem)),
    };
    Ok(acp::PromptResponse::new(reason))
}

fn wrong(problem: String) -> agent_client_protocol::Error {
    agent_client_protocol::Error::invalid_params().data(serde_json::Value::String(problem))
}

fn read_prompt(blocks: &[acp::ContentBlock]) -> String {
    let texts: Vec<String> = blocks
        .iter()
        .filter_map(|block| match block {
            acp::ContentBlock::Text(text) => Some(text.text.clone()),
            acp::ContentBlock::ResourceLink(link) => Some(link.uri.clone()),
            // Not among our capabilities, so that no client sends others.
            _ => None,
        })
        .collect();
    texts.join("\n")
}
