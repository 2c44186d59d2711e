//! `windlass env exec` and `windlass env cp`: programs in an environment, on a stream.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use windlass_runner::attach::{self, read, write, write_json};
use windlass_wire::attach::{End, FrameKind, Open};

use crate::{arguments::ExecEnv, client::Client, exit::Exit, terminal};

/// The end of a program that could not be started, as `env(1)` has it.
const NOT_STARTED: u8 = 126;
/// The end of a program whose environment stopped.
const LOST: u8 = 125;

pub(super) async fn run(client: &Client, exec: ExecEnv, as_json: bool) -> Result<Exit> {
    let open = Open {
        argv: exec.argv,
        is_windlass: false,
        env: exec.variables,
        cwd: exec.cwd,
        input: exec.input,
        terminal: None,
        operation: exec.operation,
    };
    let input = exec.input.then(tokio::io::stdin);
    let began = Instant::now();
    let mut output = Lines { to: std::io::stdout(), is_begun: false };
    let end = program(client, &exec.env, &open, input, &mut output).await?;
    if as_json {
        if output.is_begun {
            println!();
        }
        println!("{}", told(&end, began.elapsed(), open.operation.as_deref()));
    }
    Ok(exit(end))
}

/// The end of a program in one line.
fn told(end: &End, took: Duration, operation: Option<&str>) -> Value {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let (exit, signal, out_of_memory, why) = match end {
        End::Exited { code } => (Some(*code), None, false, None),
        End::Signalled { signal, out_of_memory } => (None, Some(*signal), *out_of_memory, None),
        End::NotStarted { why } | End::Lost { why } => (None, None, false, Some(why)),
    };
    json!({
        "exit": exit,
        "signal": signal,
        "out_of_memory": out_of_memory,
        "why": why,
        "duration_micros": micros,
        "operation": operation,
    })
}

/// Output that knows whether its last line has ended.
struct Lines<W> {
    to: W,
    is_begun: bool,
}

impl<W: std::io::Write> std::io::Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.to.write(bytes)?;
        if let Some(last) = bytes[..n].last() {
            self.is_begun = *last != b'\n';
        }
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

/// Copies one file.
pub(super) async fn copy(client: &Client, from: &str, to: &str) -> Result<Exit> {
    match (inside(from), inside(to)) {
        (Some((env, path)), None) => {
            // Beside the target, so that half a file never bears its name.
            let fresh = format!("{to}.windlass-{:08x}", rand::random::<u32>());
            let file = std::fs::File::create_new(&fresh)
                .with_context(|| format!("failed to make {fresh}"))?;
            let argv = ["cat", "--", path].map(str::to_owned).to_vec();
            // With input, so that nothing of it is cut: what is captured has a limit.
            let open = Open { argv, input: true, ..Open::default() };
            let copied = program(client, env, &open, Some(tokio::io::empty()), file).await;
            if matches!(copied, Ok(End::Exited { code: 0 })) {
                std::fs::rename(&fresh, to).with_context(|| format!("failed to write {to}"))?;
            } else {
                let _ = std::fs::remove_file(&fresh);
            }
            copied.map(exit)
        }
        (None, Some((env, path))) => {
            let file = tokio::fs::File::open(from).await;
            let file = file.with_context(|| format!("failed to open {from}"))?;
            let script = "cat > \"$1.windlass-part\" && mv -- \"$1.windlass-part\" \"$1\"";
            let argv = ["sh", "-euc", script, "sh", path].map(str::to_owned).to_vec();
            let open = Open { argv, input: true, ..Open::default() };
            program(client, env, &open, Some(file), std::io::stdout()).await.map(exit)
        }
        (None, None) | (Some(_), Some(_)) => {
            Err(Exit::Failure.error("one of the two is in an environment: write ENV:PATH"))
        }
    }
}

/// The environment and the path of `ENV:PATH`; absent for a file of this machine.
pub(super) fn inside(place: &str) -> Option<(&str, &str)> {
    let (env, path) = place.split_once(':')?;
    (!env.is_empty() && !env.contains('/') && !path.is_empty()).then_some((env, path))
}

/// Executes a program to its end.
async fn program(
    client: &Client,
    env: &str,
    open: &Open,
    input: Option<impl AsyncRead + Unpin + Send + 'static>,
    mut output: impl std::io::Write,
) -> Result<End> {
    let stream = client.upgrade(&format!("{}/exec", super::path(env))).await?;
    let (mut from, mut to) = tokio::io::split(stream);
    let broke = "the stream broke off";
    write_json(&mut to, FrameKind::Open, open).await.context(broke)?;
    // Held to the end even without input: the end of the stream would be the program's.
    let sending = tokio::spawn(async move {
        if let Some(input) = input {
            let _ended_early = send(input, &mut to).await;
        }
        std::future::pending::<()>().await;
        drop(to);
    });
    let end = loop {
        match read(&mut from).await.context(broke)? {
            Some((FrameKind::Output, bytes)) => {
                output.write_all(&bytes).context("failed to write the output")?;
                output.flush().context("failed to write the output")?;
            }
            Some((FrameKind::Errors, bytes)) => {
                let mut errors = std::io::stderr();
                errors.write_all(&bytes).context("failed to write the output")?;
            }
            Some((FrameKind::End, content)) => break attach::json(&content).context(broke)?,
            // What only clients say.
            Some(_) => {}
            None => break End::Lost { why: broke.to_owned() },
        }
    };
    sending.abort();
    Ok(end)
}

pub(super) async fn send(
    mut input: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = input.read(&mut buffer).await?;
        // An empty frame ends the input.
        write(to, FrameKind::Input, &buffer[..n]).await?;
        if n == 0 {
            return Ok(());
        }
    }
}

pub(super) fn exit(end: End) -> Exit {
    match end {
        End::Exited { code } => Exit::Of(u8::try_from(code).unwrap_or(u8::MAX)),
        End::Signalled { signal, out_of_memory } => {
            if out_of_memory {
                eprintln!("the environment's memory was used up");
            }
            Exit::Of(u8::try_from(128 + signal).unwrap_or(u8::MAX))
        }
        End::NotStarted { why } => {
            eprintln!("not executed: {}", terminal::one_line(&why, 400));
            Exit::Of(NOT_STARTED)
        }
        End::Lost { why } => {
            eprintln!("lost: {}", terminal::one_line(&why, 400));
            Exit::Of(LOST)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_an_environment_is_told_from_a_file() {
        assert_eq!(inside("one:/etc/hosts"), Some(("one", "/etc/hosts")));
        assert_eq!(inside("./a:b"), None);
        assert_eq!(inside("file"), None);
        assert_eq!(inside("one:"), None);
    }
}
