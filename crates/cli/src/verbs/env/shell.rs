//! `windlass env shell`: a terminal in an environment, in this one. This one is raw meanwhile and as it
//! was again afterwards, whichever way that comes.

use std::io::{IsTerminal as _, Read as _, Write as _};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use windlass_runner::attach::{json, read, write, write_json};
use windlass_wire::attach::{End, FrameKind, Open, SHELL, Size};

use super::exec;
use crate::{arguments::ShellEnv, client::Client, exit::Exit};

pub(super) async fn run(client: &Client, shell: ShellEnv) -> Result<Exit> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        let why = "`env shell` needs a terminal on both sides: use `env exec` in scripts";
        return Err(Exit::Failure.error(why));
    }
    let argv = match shell.argv.is_empty() {
        true => SHELL.map(str::to_owned).to_vec(),
        false => shell.argv,
    };
    let kind = std::env::var("TERM").unwrap_or_else(|_| "xterm-256color".to_owned());
    let open = Open {
        argv,
        env: vec![("TERM".to_owned(), kind)],
        cwd: shell.cwd,
        terminal: Some(size()),
        ..Open::default()
    };
    let stream = client.upgrade(&format!("{}/exec", super::path(&shell.env))).await?;
    let (mut from, mut to) = tokio::io::split(stream);
    write_json(&mut to, FrameKind::Open, &open).await.context("the stream broke off")?;
    let raw = Raw::enter()?;
    let end = converse(&mut from, &mut to).await;
    drop(raw);
    Ok(exec::exit(end?))
}

/// Carries keys and what is shown until the program ends.
async fn converse(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<End> {
    let shown = async {
        let mut screen = std::io::stdout();
        loop {
            match read(from).await.context("the stream broke off")? {
                Some((FrameKind::Output, bytes)) => {
                    screen.write_all(&bytes).context("failed to write to the terminal")?;
                    screen.flush().context("failed to write to the terminal")?;
                }
                Some((FrameKind::End, content)) => return json(&content).context("bad end"),
                Some(_) => {}
                None => return Ok(End::Lost { why: "the stream broke off".to_owned() }),
            }
        }
    };
    let typed = async {
        let mut keys = keys();
        let mut resized =
            signal(SignalKind::window_change()).context("failed to watch the size")?;
        let mut hung_up = signal(SignalKind::hangup()).context("failed to watch for signals")?;
        let mut terminated =
            signal(SignalKind::terminate()).context("failed to watch for signals")?;
        loop {
            let sent = tokio::select! {
                typed = keys.recv() => {
                    // Without keys there is nobody any more.
                    let typed = typed.unwrap_or_default();
                    write(to, FrameKind::Input, &typed).await.map(|()| !typed.is_empty())
                }
                _ = resized.recv() => write_json(to, FrameKind::Size, &size()).await.map(|()| true),
                _ = hung_up.recv() => Ok(false),
                _ = terminated.recv() => Ok(false),
            };
            match sent {
                Ok(true) => {}
                Ok(false) => return Ok(End::Lost { why: "it was hung up".to_owned() }),
                // Why the stream is gone is told by whoever reads from it.
                Err(_) => std::future::pending::<()>().await,
            }
        }
    };
    tokio::select! {
        end = shown => end,
        end = typed => end,
    }
}

/// What is typed. Read by a thread of its own, which nobody waits for: a runtime would, for one more key.
fn keys() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut keys = std::io::stdin().lock();
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = keys.read(&mut buffer) {
            if sender.blocking_send(buffer[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// How large this terminal is.
fn size() -> Size {
    match crossterm::terminal::size() {
        Ok((columns, rows)) if columns > 0 && rows > 0 => Size { columns, rows },
        _ => Size::default(),
    }
}

/// This terminal while it is raw.
struct Raw;

impl Raw {
    fn enter() -> Result<Self> {
        crossterm::terminal::enable_raw_mode().context("failed to make the terminal raw")?;
        Ok(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Also while a panic unwinds. There is nobody left to tell that it did not work.
        let _ = crossterm::terminal::disable_raw_mode();
    }
}
