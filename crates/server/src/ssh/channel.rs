//! One channel of an SSH connection: a program in the environment, or a port of it.

use russh::{
    Channel, ChannelMsg, ChannelOpenFailure, Sig,
    server::{ChannelOpenHandle, Msg},
};
use tokio::io::WriteHalf;
use windlass_wire::attach::{Dial, End, FrameKind, Open, SHELL, Size};

use super::{Connection, Visitor};
use crate::{
    problem::Problem,
    state::AppState,
    views,
    ways::{self, Stream, frames},
};

/// The code of a program that could not be executed, or whose environment stopped, as `ssh` has it.
const FAILED: u32 = 255;
/// Executes a command as a login would: by bash where there is one.
const COMMAND: &str =
    "if command -v bash >/dev/null 2>&1; then exec bash -c \"$1\"; fi; exec sh -c \"$1\"";

/// Serves a session: hears what is wanted, then carries it out.
pub(super) async fn session(
    app: &AppState,
    visitor: &Visitor,
    mut channel: Channel<Msg>,
    connection: Connection,
) {
    let id = channel.id();
    let Some(open) = wanted(&mut channel, &connection).await else {
        let _ = connection.close(id).await;
        return;
    };
    let has_terminal = open.terminal.is_some();
    let end = match dial_to_execute(app, visitor).await {
        Ok(stream) => program(stream, &open, &mut channel).await,
        Err(problem) => Ok(Some(End::NotStarted { why: problem.detail })),
    };
    if let Ok(Some(end)) = end {
        tell(&channel, &connection, end, has_terminal).await;
    }
    let _ = connection.eof(id).await;
    let _ = connection.close(id).await;
}

async fn dial_to_execute(app: &AppState, visitor: &Visitor) -> Result<Stream, Problem> {
    let id = visitor.environment_id.as_str();
    let row = views::environments::find_to_use(app, &visitor.principal, id).await?;
    ways::dial_to_execute(app, &visitor.principal, &row).await
}

async fn dial(app: &AppState, visitor: &Visitor) -> Result<Stream, Problem> {
    let id = visitor.environment_id.as_str();
    let row = views::environments::find_to_use(app, &visitor.principal, id).await?;
    ways::dial(app, &row).await
}

/// Hears what the client wants until that is a program; absent if it is gone before that.
async fn wanted(channel: &mut Channel<Msg>, connection: &Connection) -> Option<Open> {
    let id = channel.id();
    let mut open = Open { input: true, ..Open::default() };
    loop {
        let (is_fine, wants_reply, is_all) = match channel.wait().await? {
            ChannelMsg::RequestPty { want_reply, term, col_width, row_height, .. } => {
                open.terminal = Some(size(col_width, row_height));
                open.env.push(("TERM".to_owned(), term));
                (true, want_reply, false)
            }
            ChannelMsg::SetEnv { want_reply, variable_name, variable_value } => {
                let is_few = open.env.len() < 100;
                if is_few {
                    open.env.push((variable_name, variable_value));
                }
                (is_few, want_reply, false)
            }
            ChannelMsg::RequestShell { want_reply } => {
                open.argv = SHELL.map(str::to_owned).to_vec();
                (true, want_reply, true)
            }
            ChannelMsg::Exec { want_reply, command } => {
                let command = String::from_utf8_lossy(&command).into_owned();
                open.argv = ["sh", "-c", COMMAND, "sh", &command].map(str::to_owned).to_vec();
                (true, want_reply, true)
            }
            ChannelMsg::RequestSubsystem { want_reply, name } if name == "sftp" => {
                open.is_windlass = true;
                open.argv = vec!["sftp-server".to_owned()];
                open.terminal = None;
                (true, want_reply, true)
            }
            ChannelMsg::RequestSubsystem { want_reply, .. }
            | ChannelMsg::AgentForward { want_reply }
            | ChannelMsg::RequestX11 { want_reply, .. } => (false, want_reply, false),
            ChannelMsg::Eof | ChannelMsg::Close => return None,
            _ => continue,
        };
        if wants_reply {
            match is_fine {
                true => connection.channel_success(id).await.ok()?,
                false => connection.channel_failure(id).await.ok()?,
            }
        }
        if is_all {
            return Some(open);
        }
    }
}

/// Carries a program's input and output until it ends; absent if the client is gone before that.
async fn program(
    stream: Stream,
    open: &Open,
    channel: &mut Channel<Msg>,
) -> std::io::Result<Option<End>> {
    let (mut from, mut to) = tokio::io::split(stream);
    frames::write_json(&mut to, FrameKind::Open, open).await?;
    let (mut output, mut errors) = (channel.make_writer(), channel.make_writer_ext(Some(1)));
    let shown = async {
        use tokio::io::AsyncWriteExt as _;
        while let Some((kind, content)) = frames::read(&mut from).await? {
            match kind {
                FrameKind::Output => output.write_all(&content).await?,
                FrameKind::Errors => errors.write_all(&content).await?,
                FrameKind::End => {
                    return serde_json::from_slice(&content)
                        .map(Some)
                        .map_err(std::io::Error::other);
                }
                _ => {}
            }
        }
        Ok(Some(End::Lost { why: "the stream broke off".to_owned() }))
    };
    let said = async {
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } if !data.is_empty() => {
                    frames::write(&mut to, FrameKind::Input, &data).await?;
                }
                // A terminal is hung up by its end only.
                ChannelMsg::Eof if open.terminal.is_none() => {
                    frames::write(&mut to, FrameKind::Input, &[]).await?;
                }
                ChannelMsg::WindowChange { col_width, row_height, .. } => {
                    let size = size(col_width, row_height);
                    frames::write_json(&mut to, FrameKind::Size, &size).await?;
                }
                ChannelMsg::Signal { signal } => say_signal(&mut to, &signal).await?,
                ChannelMsg::Close => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    };
    tokio::select! {
        end = shown => end,
        gone = said => gone,
    }
}

async fn say_signal(to: &mut WriteHalf<Stream>, signal: &Sig) -> std::io::Result<()> {
    let is_same = |known: &Sig| std::mem::discriminant(known) == std::mem::discriminant(signal);
    match SIGNALS.iter().find(|(known, _)| is_same(known)) {
        Some((_, number)) => frames::write_json(to, FrameKind::Signal, number).await,
        None => Ok(()),
    }
}

/// Tells how a program ended.
async fn tell(channel: &Channel<Msg>, connection: &Connection, end: End, has_terminal: bool) {
    let id = channel.id();
    let told = match end {
        End::Exited { code } => {
            connection.exit_status_request(id, u32::try_from(code).unwrap_or(FAILED)).await
        }
        End::Signalled { signal, out_of_memory } => {
            let why = if out_of_memory { "the environment's memory was used up" } else { "" };
            match SIGNALS.iter().find(|(_, number)| *number == signal) {
                Some((name, _)) => {
                    let name = name.clone();
                    connection
                        .exit_signal_request(id, name, false, why.to_owned(), String::new())
                        .await
                }
                None => {
                    let code = u32::try_from(128 + signal).unwrap_or(FAILED);
                    connection.exit_status_request(id, code).await
                }
            }
        }
        End::NotStarted { why } | End::Lost { why } => {
            let end = if has_terminal { "\r\n" } else { "\n" };
            let _ = channel.extended_data_bytes(1, format!("windlass: {why}{end}")).await;
            connection.exit_status_request(id, FAILED).await
        }
    };
    // Whoever would hear it may be gone.
    let _ = told;
}

/// Serves a connection to a port of the environment.
pub(super) async fn port(
    app: &AppState,
    visitor: &Visitor,
    port: u16,
    mut channel: Channel<Msg>,
    reply: ChannelOpenHandle,
) {
    let Ok(stream) = dial(app, visitor).await else {
        return reply.reject(ChannelOpenFailure::ConnectFailed).await;
    };
    let (mut from, mut to) = tokio::io::split(stream);
    let asked = frames::write_json(&mut to, FrameKind::Dial, &Dial { port }).await;
    let answer = frames::read(&mut from).await;
    let (Ok(()), Ok(Some((FrameKind::Output, _)))) = (asked, answer) else {
        return reply.reject(ChannelOpenFailure::ConnectFailed).await;
    };
    reply.accept().await;
    let mut output = channel.make_writer();
    let answers = async {
        use tokio::io::AsyncWriteExt as _;
        while let Ok(Some((FrameKind::Output, content))) = frames::read(&mut from).await {
            if output.write_all(&content).await.is_err() {
                return;
            }
        }
    };
    let questions = async {
        while let Some(message) = channel.wait().await {
            let sent = match message {
                ChannelMsg::Data { data } if !data.is_empty() => {
                    frames::write(&mut to, FrameKind::Input, &data).await
                }
                ChannelMsg::Eof => frames::write(&mut to, FrameKind::Input, &[]).await,
                ChannelMsg::Close => return,
                _ => Ok(()),
            };
            if sent.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = answers => {}
        () = questions => {}
    }
    let _ = channel.eof().await;
    let _ = channel.close().await;
}

fn size(columns: u32, rows: u32) -> Size {
    let part = |count: u32, usual| u16::try_from(count).ok().filter(|n| *n > 0).unwrap_or(usual);
    Size { columns: part(columns, 80), rows: part(rows, 24) }
}

/// Signals by their names in SSH (RFC 4254, 6.10).
const SIGNALS: [(Sig, i32); 12] = [
    (Sig::HUP, 1),
    (Sig::INT, 2),
    (Sig::QUIT, 3),
    (Sig::ILL, 4),
    (Sig::ABRT, 6),
    (Sig::FPE, 8),
    (Sig::KILL, 9),
    (Sig::USR1, 10),
    (Sig::SEGV, 11),
    (Sig::PIPE, 13),
    (Sig::ALRM, 14),
    (Sig::TERM, 15),
];
