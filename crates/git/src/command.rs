//! One git command in a clean room. Builds the child's whole environment from nothing, bounds its
//! time and output, kills its process group when it is dropped, and clears credentials from what
//! it says. No other module may start a process.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::error::classify;
use crate::{Credential, Error, Remote, Result};

/// How git is found and held. Time limits are upper bounds; none of them is a schedule.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program, by name or absolute path.
    pub program: PathBuf,
    /// The `PATH` of every git command, through which git finds its own helpers.
    pub path: OsString,
    /// The limit for a command that only touches this machine.
    pub local_limit: Duration,
    /// The limit for a command that transfers objects.
    pub transfer_limit: Duration,
    /// The most bytes that a command may print where the whole output is needed.
    pub output_limit: usize,
    /// A file of certificates that `https` is checked against, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// A proxy for `http` and `https`, without credentials.
    pub proxy: Option<String>,
    /// How `ssh` addresses are reached. Without it they are refused.
    pub ssh: Option<Ssh>,
}

/// How `ssh` addresses are reached: the user's own files are never read.
#[derive(Clone, Debug)]
pub struct Ssh {
    /// The private key's file.
    pub identity_file: PathBuf,
    /// The file of known hosts; an unknown host is refused.
    pub known_hosts: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            program: PathBuf::from("git"),
            path: OsString::from("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            local_limit: Duration::from_secs(300),
            transfer_limit: Duration::from_secs(3600),
            output_limit: 256 << 20,
            ca_file: None,
            proxy: None,
            ssh: None,
        }
    }
}

/// The way to git. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Git {
    options: Arc<Options>,
}

impl Git {
    /// Git with these options. Nothing is started yet.
    pub fn new(options: Options) -> Self {
        Git { options: Arc::new(options) }
    }

    /// The options in force.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The version of git, as it prints it; fails if it is older than 2.38, which first had the
    /// merge without a work tree that we depend on.
    pub async fn version(&self) -> Result<String> {
        let output = self.call("ask git for its version").arg("version").run().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.trim().strip_prefix("git version ").unwrap_or(text.trim()).to_owned();
        let mut numbers = version.split(['.', ' ']).map(|part| part.parse::<u32>().unwrap_or(0));
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if found < (2, 38) { Err(Error::GitTooOld { found: version }) } else { Ok(version) }
    }

    /// Begins a command. `what` finishes the sentence "failed to ..."; it may hold no secret.
    pub(crate) fn call(&self, what: impl Into<String>) -> Call {
        Call {
            git: self.clone(),
            what: what.into(),
            place: None,
            args: Vec::new(),
            envs: Vec::new(),
            config: Vec::new(),
            current_dir: None,
            stdin: None,
            secrets: Vec::new(),
            limit: self.options.local_limit,
            overflow: Overflow::Fail(self.options.output_limit),
        }
    }
}

impl Default for Git {
    fn default() -> Self {
        Git::new(Options::default())
    }
}

/// What to do with output beyond a bound.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Overflow {
    /// Stop git and fail.
    Fail(usize),
    /// Stop git and keep what fits.
    Cut(usize),
}

/// What a command printed.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    /// Whether stdout was cut at the bound; the status then means nothing.
    pub(crate) cut: bool,
    /// The last part of stderr, without credentials.
    pub(crate) stderr: String,
}

impl Output {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }
}

/// A git command being put together.
#[must_use]
pub(crate) struct Call {
    git: Git,
    what: String,
    place: Option<String>,
    args: Vec<OsString>,
    envs: Vec<(&'static str, OsString)>,
    config: Vec<(String, OsString)>,
    current_dir: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
    secrets: Vec<String>,
    limit: Duration,
    overflow: Overflow,
}

impl Call {
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// The bare repository to work in; also the place that errors name.
    pub(crate) fn git_dir(mut self, dir: &Path) -> Self {
        self.place.get_or_insert_with(|| dir.display().to_string());
        self.env("GIT_DIR", dir)
    }

    pub(crate) fn current_dir(mut self, dir: &Path) -> Self {
        self.current_dir = Some(dir.to_owned());
        self
    }

    pub(crate) fn env(mut self, key: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((key, value.as_ref().to_owned()));
        self
    }

    pub(crate) fn config(mut self, key: impl Into<String>, value: impl AsRef<OsStr>) -> Self {
        self.config.push((key.into(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Lets the command reach one remote, by that remote's transport and with its credential only.
    pub(crate) fn remote(mut self, remote: &Remote) -> Result<Self> {
        let options = self.git.options.clone();
        self.place = Some(remote.address.to_string());
        self.limit = options.transfer_limit;
        self = self.config(format!("protocol.{}.allow", remote.address.transport()), "always");
        match &remote.address {
            crate::Address::Path(_) => Ok(self),
            crate::Address::Http(_) => {
                if let Some(credential) = &remote.credential {
                    self = self.credential(credential)?;
                }
                if let Some(file) = &options.ca_file {
                    self = self.config("http.sslCAInfo", file);
                }
                Ok(match &options.proxy {
                    Some(proxy) => self.config("http.proxy", proxy),
                    None => self,
                })
            }
            crate::Address::Ssh(_) => match &options.ssh {
                Some(ssh) => {
                    Ok(self.env("GIT_SSH_COMMAND", ssh_command(ssh)).env("GIT_SSH_VARIANT", "ssh"))
                }
                None => Err(Error::Invalid {
                    what: format!("`{}`", remote.address),
                    why:
                        "needs ssh, for which no key is set up: use an https address, or give a key"
                            .to_owned(),
                }),
            },
        }
    }

    fn credential(mut self, credential: &Credential) -> Result<Self> {
        let value = credential.authorization()?;
        self.secrets.extend(credential.forms());
        Ok(self.config("http.extraHeader", format!("Authorization: {value}")))
    }

    /// Runs to the end; anything but exit status 0 is an error.
    pub(crate) async fn run(self) -> Result<Output> {
        self.run_accepting(&[0]).await
    }

    /// Runs to the end; a status that is not in `accepted` is an error.
    pub(crate) async fn run_accepting(self, accepted: &[i32]) -> Result<Output> {
        let (what, place) =
            (self.what.clone(), self.place.clone().unwrap_or_else(|| "git".to_owned()));
        let output = self.run_any().await?;
        if output.cut || accepted.contains(&output.status) {
            return Ok(output);
        }
        Err(classify(&what, &place, output.status, &output.stderr))
    }

    /// Runs to the end, whatever its status.
    pub(crate) async fn run_any(mut self) -> Result<Output> {
        let stdin = self.stdin.take();
        let (what, limit, overflow, secrets) =
            (self.what.clone(), self.limit, self.overflow, self.secrets.clone());
        let mut running = self.spawn(stdin.is_some())?;
        let work = async {
            let (bound, fail) = match overflow {
                Overflow::Fail(bound) => (bound, true),
                Overflow::Cut(bound) => (bound, false),
            };
            let child_stdin = running.child.stdin.take();
            let feed = async move {
                if let (Some(mut pipe), Some(bytes)) = (child_stdin, stdin) {
                    // A child that stops reading tells us why by its status.
                    let _ = pipe.write_all(&bytes).await;
                    let _ = pipe.shutdown().await;
                }
            };
            let stdout = read_bounded(running.child.stdout.take(), bound);
            let stderr = read_tail(running.child.stderr.take());
            let reading = async {
                let stdout = stdout.await?;
                // Once the output is cut nobody reads on: end git, so that stderr ends too.
                if stdout.1 {
                    running.group.kill();
                }
                Ok::<_, std::io::Error>(stdout)
            };
            let ((), stdout, stderr) = tokio::join!(feed, reading, stderr);
            let (stdout, cut) =
                stdout.map_err(|error| Error::io(format!("{what}: read from git"), error))?;
            let status = running
                .child
                .wait()
                .await
                .map_err(|error| Error::io(format!("{what}: wait for git"), error))?;
            running.group.forget();
            if cut && fail {
                return Err(Error::TooLarge {
                    what: format!("the output of git ({what})"),
                    limit: bound as u64,
                    unit: "bytes",
                });
            }
            Ok(Output {
                status: status.code().unwrap_or(-1),
                stdout,
                cut,
                stderr: redact(&stderr, &secrets),
            })
        };
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(Error::TimedOut { what, seconds: limit.as_secs() }),
        }
    }

    /// Starts the command with all three streams as pipes (stdin only if asked), for streaming.
    pub(crate) fn spawn(self, with_stdin: bool) -> Result<Running> {
        let options = &self.git.options;
        let mut command = Command::new(&options.program);
        command.env_clear().env("PATH", &options.path);
        for (key, value) in CLEAN_ENVIRONMENT {
            command.env(key, value);
        }
        for (key, value) in &self.envs {
            command.env(key, value);
        }
        let fixed =
            CLEAN_CONFIG.iter().map(|(key, value)| ((*key).to_owned(), OsString::from(value)));
        let all: Vec<(String, OsString)> = fixed.chain(self.config).collect();
        command.env("GIT_CONFIG_COUNT", all.len().to_string());
        for (index, (key, value)) in all.into_iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        command.args(&self.args).current_dir(self.current_dir.as_deref().unwrap_or(Path::new("/")));
        command.stdin(if with_stdin { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
        let child = command.spawn().map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound
                if self.current_dir.as_ref().is_none_or(|dir| dir.is_dir()) =>
            {
                Error::GitMissing { program: options.program.display().to_string(), source }
            }
            _ => Error::io(format!("{}: start git", self.what), source),
        })?;
        let group = Group(
            child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .and_then(rustix::process::Pid::from_raw),
        );
        Ok(Running { group, child })
    }
}

/// A started git command. Dropping it kills the whole process group.
pub(crate) struct Running {
    // Dropped first: the group's id is ours for as long as the child has not been waited for.
    group: Group,
    pub(crate) child: Child,
}

impl Running {
    /// Waits for the end.
    pub(crate) async fn wait(&mut self) -> std::io::Result<std::process::ExitStatus> {
        let status = self.child.wait().await?;
        self.group.forget();
        Ok(status)
    }
}

struct Group(Option<rustix::process::Pid>);

impl Group {
    fn kill(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself in the meantime.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }

    fn forget(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The environment of every git command; nothing of ours is inherited.
const CLEAN_ENVIRONMENT: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    ("LANGUAGE", "C"),
    ("TZ", "UTC"),
    // No home: neither `.netrc`, nor `.ssh`, nor XDG files are found.
    ("HOME", "/dev/null"),
    ("XDG_CONFIG_HOME", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", "/bin/false"),
    ("SSH_ASKPASS", "/bin/false"),
    ("GIT_PROTOCOL_FROM_USER", "0"),
    ("GIT_LITERAL_PATHSPECS", "1"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_PAGER", "cat"),
    ("GIT_EDITOR", "/bin/false"),
    ("GIT_ADVICE", "0"),
];

/// The configuration of every git command. It outranks any file, so a repository cannot undo it.
const CLEAN_CONFIG: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.untrackedCache", "false"),
    ("core.splitIndex", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.alternateRefsCommand", "true"),
    ("core.sshCommand", "/bin/false"),
    ("core.askPass", "/bin/false"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("core.symlinks", "true"),
    ("core.ignoreCase", "false"),
    ("core.autocrlf", "false"),
    ("core.logAllRefUpdates", "false"),
    ("core.quotePath", "true"),
    // What a reference names must survive a power cut: everything up to the commit is synced.
    ("core.fsync", "committed"),
    ("core.fsyncMethod", "batch"),
    ("credential.helper", ""),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("receive.autogc", "false"),
    ("safe.directory", "*"),
    ("safe.bareRepository", "explicit"),
    ("protocol.allow", "never"),
    ("protocol.version", "2"),
    ("http.followRedirects", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("push.recurseSubmodules", "no"),
    ("transfer.fsckObjects", "true"),
    ("transfer.bundleURI", "false"),
    // Old histories have these harmless faults; refusing them would refuse well-known projects.
    ("fetch.fsck.badTimezone", "ignore"),
    ("fetch.fsck.missingSpaceBeforeDate", "ignore"),
    ("fetch.fsck.zeroPaddedFilemode", "ignore"),
    ("receive.fsck.badTimezone", "ignore"),
    ("receive.fsck.missingSpaceBeforeDate", "ignore"),
    ("receive.fsck.zeroPaddedFilemode", "ignore"),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("push.gpgSign", "false"),
    ("log.showSignature", "false"),
    ("i18n.commitEncoding", "UTF-8"),
    ("i18n.logOutputEncoding", "UTF-8"),
    ("user.useConfigOnly", "true"),
    ("init.defaultBranch", "main"),
    ("diff.noprefix", "false"),
    ("advice.detachedHead", "false"),
];

/// What the far side's program is run as when the far side is a path on this machine. Git takes
/// our configuration out of that program's environment, so it is said again here: a repository
/// that somebody else owns must not run its hooks, or anything its configuration names.
pub(crate) fn guarded(program: &str) -> String {
    let settings = [
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "core.alternateRefsCommand=true",
        "core.sshCommand=/bin/false",
        "gc.auto=0",
        "maintenance.auto=false",
        "receive.autogc=false",
        "receive.denyCurrentBranch=refuse",
        "transfer.fsckObjects=true",
        "protocol.allow=never",
        "safe.directory=*",
    ];
    let settings: Vec<String> = settings.iter().map(|setting| format!("-c '{setting}'")).collect();
    format!("git {} {program}", settings.join(" "))
}

fn ssh_command(ssh: &Ssh) -> String {
    let quote = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
    format!(
        "ssh -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o ForwardAgent=no \
         -o PermitLocalCommand=no -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile={} -i {}",
        quote(&ssh.known_hosts),
        quote(&ssh.identity_file)
    )
}

async fn read_bounded(
    pipe: Option<impl AsyncRead + Unpin>,
    bound: usize,
) -> std::io::Result<(Vec<u8>, bool)> {
    let Some(pipe) = pipe else { return Ok((Vec::new(), false)) };
    let mut bytes = Vec::new();
    pipe.take(bound as u64 + 1).read_to_end(&mut bytes).await?;
    let cut = bytes.len() > bound;
    bytes.truncate(bound);
    Ok((bytes, cut))
}

/// Reads to the end and keeps the last part.
pub(crate) async fn read_tail(pipe: Option<impl AsyncRead + Unpin>) -> String {
    const KEEP: usize = 16 << 10;
    let Some(mut pipe) = pipe else { return String::new() };
    let mut kept: Vec<u8> = Vec::new();
    let mut chunk = vec![0; 8 << 10];
    // A broken pipe only means that there is no more to read.
    while let Ok(n @ 1..) = pipe.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..n]);
        if kept.len() > 2 * KEEP {
            kept.drain(..kept.len() - KEEP);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn redact(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "[redacted]"))
}
