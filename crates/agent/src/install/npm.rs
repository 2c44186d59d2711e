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
    /// Its whole environment; [`environment`] picks it from the host's.
    pub environment: Vec<(String, String)>,
    /// How long one run may take.
    pub limit: Duration,
}

/// What npm gets of the host's variables: what it needs to run and to reach its registry (without
/// `NODE_EXTRA_CA_CERTS` it can't where a private authority signs), and nothing else, so that no
/// other secret of the host comes near it.
pub fn environment(host: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    const NAMES: [&str; 14] = [
        "PATH",
        "HOME",
        "LANG",
        "TMPDIR",
        "NODE_EXTRA_CA_CERTS",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "NPM_TOKEN",
    ];
    let is_wanted =
        |name: &str| NAMES.contains(&name) || name.to_ascii_lowercase().starts_with("npm_config_");
    host.into_iter().filter(|(name, _)| is_wanted(name)).collect()
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
            .map_err(|error| {
                format!(
                    "{} can't be started: {error}; install Node 20 or newer",
                    self.program.display()
                )
            })?;
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
            Err(_) => Err(format!(
                "it took longer than {} s; the end of what it said:\n{}",
                self.limit.as_secs(),
                tail.text()
            )),
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
