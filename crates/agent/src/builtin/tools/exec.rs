//! `exec`: a shell command in its own process group, with a time limit and bounded output. The group
//! is killed when the time is over or the turn is cancelled; what a command left running in the
//! background on purpose lives on until the environment ends.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::AsyncReadExt;

use crate::builtin::Limits;

/// The most bytes of a command's output that are kept: this much of its beginning ...
const HEAD: usize = 8 * 1024;
/// ... and this much of its end.
const TAIL: usize = 24 * 1024;
/// How long output is waited for after the shell ended; something in the background may hold the pipe.
const AFTER: Duration = Duration::from_millis(300);
/// How often new output is shown while a command runs.
const SHOW: Duration = Duration::from_secs(2);

/// The input of `exec`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::builtin) struct Exec {
    pub(in crate::builtin) command: String,
    #[serde(default)]
    seconds: Option<u64>,
}

/// How a command ended.
#[derive(Debug)]
pub(in crate::builtin) struct Ended {
    /// Its output and how it ended, for the model.
    pub(in crate::builtin) text: String,
    /// True if it exited with 0.
    pub(in crate::builtin) well: bool,
}

/// Runs a command; `show` gets its output so far, now and then. Dropping the future kills it.
pub(in crate::builtin) async fn run(
    cwd: &Path,
    input: &Exec,
    limits: &Limits,
    mut show: impl FnMut(String),
) -> Result<Ended, String> {
    let limit =
        input.seconds.map_or(limits.command, Duration::from_secs).min(limits.longest_command);
    let (reader, writer) = std::io::pipe().map_err(|error| format!("no pipe: {error}"))?;
    let also = writer.try_clone().map_err(|error| format!("no pipe: {error}"))?;
    let mut command = tokio::process::Command::new("/bin/sh");
    command
        .args(["-c", &input.command])
        .current_dir(cwd)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(also)
        .process_group(0);
    let mut child =
        command.spawn().map_err(|error| format!("the shell can't be started: {error}"))?;
    // It holds our ends of the pipe, which must close for the end to be seen.
    drop(command);
    let group = Group::new(child.id());
    let mut pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into())
        .map_err(|error| format!("the output can't be read: {error}"))?;
    let mut output = Output::default();
    let mut buffer = vec![0; 16 * 1024];
    let deadline = tokio::time::Instant::now() + limit;
    let mut ticks = tokio::time::interval(SHOW);
    let mut shown = 0;
    let mut status = None;
    let mut open = true;
    let mut until = deadline;
    while status.is_none() || open {
        tokio::select! {
            biased;
            // First, so that a flood of output can't hold it off.
            () = tokio::time::sleep_until(until) => break,
            read = pipe.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => open = false,
                Ok(n) => output.push(&buffer[..n]),
            },
            ended = child.wait(), if status.is_none() => {
                status = Some(ended.map_err(|error| format!("the shell can't be waited for: {error}"))?);
                until = tokio::time::Instant::now() + AFTER;
            }
            _ = ticks.tick() => if output.n_bytes != shown {
                shown = output.n_bytes;
                show(output.text());
            },
        }
    }
    let how = match status {
        None => {
            drop(group);
            // Killed just now, so that this does not wait long.
            let _ = child.wait().await;
            format!("(ended by the time limit of {} s)", limit.as_secs())
        }
        Some(status) => {
            group.leave();
            match status.code() {
                Some(code) => format!("(exit code {code})"),
                None => format!("({status})"),
            }
        }
    };
    let well = status.is_some_and(|status| status.success());
    let printed = output.text();
    let separator = if printed.is_empty() || printed.ends_with('\n') { "" } else { "\n" };
    Ok(Ended { text: format!("{printed}{separator}{how}"), well })
}

/// A process group that is killed when this is dropped.
struct Group(Option<Pid>);

impl Group {
    fn new(id: Option<u32>) -> Self {
        Self(id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// Lets the group live.
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Output that keeps its beginning and its end.
#[derive(Default)]
struct Output {
    head: Vec<u8>,
    tail: std::collections::VecDeque<u8>,
    n_bytes: usize,
}

impl Output {
    fn push(&mut self, bytes: &[u8]) {
        self.n_bytes += bytes.len();
        let to_head = bytes.len().min(HEAD - self.head.len());
        self.head.extend(&bytes[..to_head]);
        self.tail.extend(&bytes[to_head..]);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..excess);
    }

    fn text(&self) -> String {
        let left_out = self.n_bytes - self.head.len() - self.tail.len();
        let mut bytes = self.head.clone();
        if left_out > 0 {
            bytes.extend(format!("\n[... {left_out} bytes left out ...]\n").bytes());
        }
        bytes.extend(&self.tail);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn exec(cwd: &Path, command: &str, seconds: Option<u64>) -> Ended {
        let input = Exec { command: command.to_owned(), seconds };
        run(cwd, &input, &Limits::default(), |_| {}).await.unwrap()
    }

    #[tokio::test]
    async fn a_command_says_what_it_printed_on_both_streams_and_how_it_ended() {
        let cwd = tempfile::tempdir().unwrap();
        let ended = exec(cwd.path(), "echo out; echo err >&2; printf end; exit 3", None).await;
        assert_eq!((ended.text.as_str(), ended.well), ("out\nerr\nend\n(exit code 3)", false));
        let ended = exec(cwd.path(), "cat; pwd", None).await;
        let path = cwd.path().canonicalize().unwrap();
        assert_eq!((ended.text, ended.well), (format!("{}\n(exit code 0)", path.display()), true));
    }

    #[tokio::test]
    async fn long_output_keeps_its_beginning_and_its_end() {
        let cwd = tempfile::tempdir().unwrap();
        let ended = exec(cwd.path(), "echo first; yes | head -c 5000000; echo last", None).await;
        assert!(ended.text.starts_with("first\n") && ended.text.ends_with("last\n(exit code 0)"));
        assert!(ended.text.contains("bytes left out") && ended.text.len() < HEAD + TAIL + 200);
    }

    #[tokio::test]
    async fn the_time_limit_ends_the_whole_group() {
        let cwd = tempfile::tempdir().unwrap();
        let ended = exec(cwd.path(), "sleep 1000 & echo $! > pid; echo begun; wait", Some(1)).await;
        assert_eq!(
            (ended.text.as_str(), ended.well),
            ("begun\n(ended by the time limit of 1 s)", false)
        );
        assert!(gone(cwd.path()).await);
    }

    #[tokio::test]
    async fn the_time_limit_holds_in_a_flood() {
        let cwd = tempfile::tempdir().unwrap();
        let ended = exec(cwd.path(), "yes", Some(1)).await;
        assert!(ended.text.ends_with("(ended by the time limit of 1 s)"));
    }

    #[tokio::test]
    async fn a_dropped_command_ends_with_its_group() {
        let cwd = tempfile::tempdir().unwrap();
        let file = cwd.path().join("pid");
        {
            let running = exec(cwd.path(), "sleep 1000 & echo $! > pid; wait", None);
            let begun = async {
                while std::fs::read_to_string(&file).unwrap_or_default().is_empty() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! { _ = running => panic!("it waits for ever"), () = begun => {} }
        }
        assert!(gone(cwd.path()).await);
    }

    #[tokio::test]
    async fn something_in_the_background_does_not_hold_the_command_up() {
        let cwd = tempfile::tempdir().unwrap();
        let ended = exec(cwd.path(), "sleep 1000 & echo $! > pid; echo begun", None).await;
        assert_eq!(ended.text, "begun\n(exit code 0)");
        let id = std::fs::read_to_string(cwd.path().join("pid")).unwrap();
        let pid = Pid::from_raw(id.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }

    /// Waits until the process that a test's command started is gone (or a zombie that nobody reaps).
    async fn gone(cwd: &Path) -> bool {
        let id = std::fs::read_to_string(cwd.join("pid")).unwrap();
        for _ in 0..1000 {
            let stat =
                std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}
