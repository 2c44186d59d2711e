//! `windlass runner`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::RunnerOptions;

/// `windlass runner`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Runner {
    #[command(subcommand)]
    pub(crate) verb: Option<RunnerVerb>,
    #[command(flatten)]
    pub(crate) work: WorkAsRunner,
}

/// `windlass runner VERB`
#[derive(Debug, Subcommand)]
pub(crate) enum RunnerVerb {
    /// List the server's runners.
    List,
    /// Show one runner: what it does, how its machine is, what to look at.
    Show(NamedRunner),
    /// Make a code by which one runner can join, and print what to type on its machine.
    Invite(InviteRunner),
    /// Join a server by a code (read from standard input), and work on its jobs.
    Join(Box<JoinRunner>),
    /// Let a runner end what it has and take nothing more.
    Drain(Tell),
    /// Let a drained runner take jobs again.
    Resume(NamedRunner),
    /// Let a runner end its jobs and then start anew, as whatever its program's file is by then.
    Restart(Tell),
    /// Remove a runner: its token is good no more.
    Remove(RemoveRunner),
}

/// How this process works as a runner.
#[derive(Debug, Args)]
pub(crate) struct WorkAsRunner {
    /// The runner's name [default: the host's].
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The SHA-256 of the server's certificate, as `windlass up --tls` prints it.
    #[arg(long, env = "WINDLASS_CERTIFICATE", value_name = "HEX")]
    pub(crate) certificate: Option<String>,
    /// Where this runner keeps its state [default: `runner` in the data folder].
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Where agents are installed [default: `agents` in the data folder].
    #[arg(long, value_name = "DIR")]
    pub(crate) agents_dir: Option<PathBuf>,
    /// End when standard input is closed: for whoever starts this process and may die.
    #[arg(long, hide = true)]
    pub(crate) until_closed: bool,
    /// For benchmarks: steps whose command is `true` end well without an environment.
    #[arg(long, hide = true)]
    pub(crate) null_executor: bool,
    #[command(flatten)]
    pub(crate) options: RunnerOptions,
}

/// One runner.
#[derive(Debug, Args)]
pub(crate) struct NamedRunner {
    /// Its name or id.
    pub(crate) runner: String,
}

/// One runner, or all, told something that takes a while.
#[derive(Debug, Args)]
pub(crate) struct Tell {
    /// Its name or id.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) runner: Option<String>,
    /// All runners that are there.
    #[arg(long)]
    pub(crate) all: bool,
    /// Return when it is done: no job is left, or the runner is back.
    #[arg(long)]
    pub(crate) wait: bool,
}

/// `windlass runner invite`
#[derive(Debug, Args)]
pub(crate) struct InviteRunner {
    /// For how many minutes the code is good; at most a week.
    #[arg(long, default_value_t = 60, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=10_080))]
    pub(crate) minutes: u64,
}

/// `windlass runner join`
#[derive(Debug, Args)]
pub(crate) struct JoinRunner {
    /// Where the server is, as `windlass runner invite` printed it.
    pub(crate) url: String,
    /// Only join: `windlass runner` works on jobs later.
    #[arg(long)]
    pub(crate) only: bool,
    #[command(flatten)]
    pub(crate) work: WorkAsRunner,
}

/// `windlass runner remove`
#[derive(Debug, Args)]
pub(crate) struct RemoveRunner {
    /// Its name or id.
    pub(crate) runner: String,
    /// Also one that holds jobs (they go to others) or keeps environments (their work trees are out of
    /// reach then).
    #[arg(long)]
    pub(crate) force: bool,
}
