//! npm as a process of the host.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::acp::Tail;

/// Runs npm.
pub trait Npm {
    /// Runs npm with `arguments` in `directory`; says for people what went wrong.
    fn run(
        &mut self,
        arguments: &[String],
        directory: &Path,
    ) -> impl Future<Output = Result<(), String>> + Send;
}

/// The npm of this host.
pub struct HostNpm {
    /// Its program: a path, or a name that is looked up in the `PATH` of `environment`.
    pub program: PathBuf,
    /// Its whole environment. Keep what the host has of `PATH`, `HOME`, `NODE_EXTRA_CA_CERTS`,
    /// `HTTPS_PROXY`, `NO_PROXY` and `npm_config_*`: without them npm can't reach every registry.
    pub environment: Vec<(String, String)>,
    /// How long one run may take.
    pub limit: Duration,
}

impl Npm for HostNpm {
    async fn run(&mut self, arguments: &[String], directory: &Path) -> Result<(), String> {
        let mut child = tokio::process::Command::new(&self.program)
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{} can't be started: {error}; install Node 20 or newer", self.program.display()))?;
        let tail = Tail::default();
        let stderr = child.stderr.take();
        let ended = tokio::time::timeout(self.limit, async {
            let read = read_into(stderr, &tail);
            let (status, ()) = tokio::join!(child.wait(), read);
            status
        });
        match ended.await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("{status}; the end of what it said:\n{}", tail.text())),
            Ok(Err(error)) => Err(format!("it can't be waited for: {error}")),
            Err(_) => Err(format!("it took longer than {} s; the end of what it said:\n{}", self.limit.as_secs(), tail.text())),
        }
    }
}

async fn read_into(stream: Option<tokio::process::ChildStderr>, tail: &Tail) {
    let Some(mut stream) = stream else { return };
    let mut buffer = [0; 4096];
    while let Ok(n) = stream.read(&mut buffer).await {
        if n == 0 {
            break;
        }
        tail.push(&buffer[..n]);
    }
}
