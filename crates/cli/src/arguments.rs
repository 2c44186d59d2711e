//! The command line, as clap sees it.

mod automation;
mod class;
mod env;
mod event;
mod fleet;
mod hook;
mod image;
mod key;
mod notices;
mod runner;
mod schedule;
mod secret;
mod volume;

pub(crate) use automation::{
    ApplyAutomations, Automation, Library, LibraryVerb, RunAutomation, ShowAutomation,
    SyncAutomations, TestAutomation,
};
pub(crate) use class::{Class, Gives, OfBackend};
pub(crate) use env::{
    Admission, CreateEnv, Env, ExecEnv, OneService, PortsAdmission, PublishPort, RepairEnv,
    ServiceWish, Services, ShellEnv,
};
pub(crate) use event::{Event, ListEvents, OfForge, ParseEvent};
pub(crate) use fleet::{Fleet, ListTargets, Operate};
pub(crate) use hook::{CreateHook, Hook, OfScheme, OfTrust};
pub(crate) use image::{Backend, Image, Images, LoadImage};
pub(crate) use key::Key;
pub(crate) use notices::Notices;
pub(crate) use runner::{JoinRunner, Runner, RunnerVerb, Tell, WorkAsRunner};
pub(crate) use schedule::{NextFires, Schedule};
pub(crate) use secret::{Secret, SetSecret};
pub(crate) use volume::{RemoveVolume, Volume};

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::exit;

/// Runs background coding agents on machines you own.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, after_help = exit::HELP, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Where Windlass keeps its data [default: $XDG_DATA_HOME/windlass or ~/.local/share/windlass].
    #[arg(long, global = true, env = "WINDLASS_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The server to talk to [default: the one that runs on the data folder].
    #[arg(long, global = true, env = "WINDLASS_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// A file with the service token for that server; WINDLASS_TOKEN works too.
    #[arg(long, global = true, env = "WINDLASS_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start the server, with a runner of its own.
    Up(Up),
    /// Give an agent a task in a repository.
    Run(Run),
    /// List runs.
    Runs(List),
    /// Look at a job, stop it, or see its diff.
    #[command(subcommand)]
    Job(Job),
    /// Print the log of a job's steps.
    Logs(Logs),
    /// Review changes: list, diff, comment, approve, merge.
    #[command(subcommand)]
    Review(Review),
    /// Add, list or remove projects.
    #[command(subcommand)]
    Project(Project),
    /// Work on jobs of a server (or list its runners).
    Runner(Runner),
    /// List, install or check coding agents.
    #[command(subcommand)]
    Agents(Agents),
    /// List, make or change environment classes: what environments may use of their machines.
    #[command(subcommand)]
    Class(Class),
    /// Create, list and use environments that live by themselves.
    #[command(subcommand)]
    Env(Env),
    /// List the images that environments are made from, or load one from a file.
    #[command(subcommand)]
    Image(Image),
    /// List or remove what environments of a project leave to each other.
    #[command(subcommand)]
    Volume(Volume),
    /// Automations: check files, put them in force, run one, see how they go; and ready ones to take over.
    #[command(subcommand)]
    Automation(Automation),
    /// See what a repository says of its environment, and what of it can't be honoured.
    #[command(subcommand)]
    Environment(Environment),
    /// See when a schedule fires.
    #[command(subcommand)]
    Schedule(Schedule),
    /// See what happened and what became of it, say it again, or read a webhook of a code host.
    #[command(subcommand)]
    Event(Event),
    /// Runs over many projects: watch, steer, review and land them.
    #[command(subcommand)]
    Fleet(Fleet),
    /// Make, list or change hooks: named places that receive webhooks.
    #[command(subcommand)]
    Hook(Hook),
    /// See what is not well and needs somebody.
    Notices(Notices),
    /// Make, list or revoke service tokens.
    #[command(subcommand)]
    Token(Token),
    /// Set, list or remove secrets: `run` steps are given them, agents never are.
    #[command(subcommand)]
    Secret(Secret),
    /// Set, list or remove variables: like secrets, but not secret.
    #[command(subcommand)]
    Variable(Secret),
    /// Add, list or remove your public keys for SSH into environments.
    #[command(subcommand)]
    Key(Key),
    /// Invite a user, or make a new sign-in link.
    #[command(subcommand)]
    User(User),
    /// See what this machine can enforce, by trying it.
    Doctor,
    /// The whole tour on three small repositories made for it.
    Demo(Demo),
    /// Print the version of this binary, and of the server if one answers.
    Version,
    /// Print a completion script for a shell.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// The built-in agent: speaks the Agent Client Protocol on standard input and output.
    #[command(hide = true)]
    Agent,
    /// Speaks SFTP on standard input and output; started inside of an environment.
    #[command(hide = true)]
    SftpServer,
    /// Answers one question about files on standard input and output; started inside of an environment.
    #[command(hide = true)]
    FileServer,
    /// Owns this host's environments; started by a runner.
    #[command(hide = true)]
    Supervisor(Supervisor),
    /// Owns one container's environment; started by a container engine.
    #[command(hide = true)]
    FirstProcess {
        /// What the runner says about the container.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// `windlass up`
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The address to listen on. Anything but loopback needs --tls.
    #[arg(long, default_value = "127.0.0.1:8420", env = "WINDLASS_LISTEN", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// Let people into environments by SSH, on this address: 127.0.0.1:8422, for example [default: no SSH].
    #[arg(long, env = "WINDLASS_SSH", value_name = "ADDRESS")]
    pub(crate) ssh: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) ports: PortsOptions,
    /// The database: `postgres://...` or `sqlite:PATH` [default: SQLite in the data folder].
    #[arg(long, env = "WINDLASS_DATABASE", value_name = "URL")]
    pub(crate) database: Option<String>,
    /// Serve HTTPS, with a certificate made at the first start and kept in the data folder.
    #[arg(long)]
    pub(crate) tls: bool,
    /// No runner of its own: others lease the jobs.
    #[arg(long)]
    pub(crate) no_runner: bool,
    /// How long a lease lasts without a heartbeat.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(2..=3600))]
    pub(crate) lease_seconds: u32,
    #[command(flatten)]
    pub(crate) limits: EnvironmentLimits,
    /// After how many days environments that stay stopped are archived: `30`, or `never`. A project may say
    /// otherwise.
    #[arg(long, default_value = "14", env = "WINDLASS_ARCHIVE_AFTER", value_name = "DAYS", value_parser = days)]
    pub(crate) archive_after: u64,
    /// For benchmarks: at the end, write what the store did to this file.
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) stats_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) runner: RunnerOptions,
}

/// How ports of environments are published.
#[derive(Clone, Debug, Args)]
pub(crate) struct PortsOptions {
    /// The name below which each published port has a name of its own. All names below it must lead to this
    /// server [default: localhost where the server listens on loopback, else none].
    #[arg(long, env = "WINDLASS_PORTS_HOST", value_name = "HOST")]
    pub(crate) ports_host: Option<String>,
    /// For whom ports may be published at most. Those that were published for more are shut.
    #[arg(
        long,
        default_value = "organisation",
        env = "WINDLASS_PORTS_ADMISSION",
        value_name = "WHO"
    )]
    pub(crate) ports_admission: PortsAdmission,
}

/// How many environments that live by themselves there may be.
#[derive(Clone, Debug, Args)]
pub(crate) struct EnvironmentLimits {
    /// How many environments one person may have, archived ones too.
    #[arg(long, default_value_t = 50, env = "WINDLASS_ENVIRONMENTS_OF_PERSON", value_name = "N")]
    pub(crate) environments_of_person: u32,
    /// How many of them may run at once.
    #[arg(long, default_value_t = 10, env = "WINDLASS_ENVIRONMENTS_RUNNING", value_name = "N")]
    pub(crate) environments_running: u32,
    /// How many environments one project may have.
    #[arg(long, default_value_t = 200, env = "WINDLASS_ENVIRONMENTS_OF_PROJECT", value_name = "N")]
    pub(crate) environments_of_project: u32,
}

/// A network rule that names addresses, as it was written.
fn private_rule(text: &str) -> Result<String, String> {
    use windlass_policy::network::{Layer, LayerText, Network};
    if !text.contains(" in ") {
        return Err(format!("it names no address: write `{text} in CIDR`"));
    }
    let layer = LayerText { allow: Some(vec![text.to_owned()]), deny: Vec::new() };
    match Network::nothing().with_layer(Layer::Operator, &layer) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What a runner works with, embedded or not.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RunnerOptions {
    /// How many jobs at once.
    #[arg(long, default_value_t = 4, env = "WINDLASS_CAPACITY", value_name = "N")]
    pub(crate) capacity: u32,
    /// What this runner is or has, for jobs that need it (`windlass run --runs-on`): a word like `gpu` or
    /// `region=eu`. Repeatable. The system, the processor's kind and the backend are labels anyway.
    #[arg(long = "label", env = "WINDLASS_LABELS", value_delimiter = ',', value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
    /// How many environments that live by themselves run at once; 0: none.
    #[arg(long, default_value_t = 8, env = "WINDLASS_ENVIRONMENTS", value_name = "N")]
    pub(crate) environments: u32,
    /// Let environments reach a host on a non-global address, such as a package mirror on a private
    /// network: `HOST:PORT in CIDR`, or `@registries in CIDR` for all the usual registries. Repeatable;
    /// jobs still have to ask for the host.
    #[arg(
        long = "allow-private",
        env = "WINDLASS_ALLOW_PRIVATE",
        value_delimiter = ',',
        value_name = "HOST:PORT in CIDR",
        value_parser = private_rule
    )]
    pub(crate) allow_private: Vec<String>,
    /// A folder with session files for `replay:`.
    #[arg(long, env = "WINDLASS_REPLAYS", value_name = "DIR")]
    pub(crate) replays: Option<PathBuf>,
    /// Memory for each environment, in MiB.
    #[arg(long, env = "WINDLASS_MEMORY_MIB", value_name = "MIB")]
    pub(crate) memory_mib: Option<u64>,
    /// Processes for each environment.
    #[arg(long, env = "WINDLASS_PROCESSES", value_name = "N")]
    pub(crate) processes: Option<u32>,
    #[command(flatten)]
    pub(crate) images: Images,
    /// What a repository's devcontainer.json and .windlass/environment.yaml count for.
    #[arg(
        long,
        value_enum,
        default_value_t,
        env = "WINDLASS_ENVIRONMENT_DEFINITION",
        value_name = "HOW"
    )]
    pub(crate) environment_definition: EnvironmentDefinition,
    /// Disk space for prepared work trees and snapshots, in MiB. The least lately used go first.
    #[arg(long, default_value_t = 20 * 1024, env = "WINDLASS_PREPARED_MIB", value_name = "MIB")]
    pub(crate) prepared_mib: u64,
    /// At most so many environments are started ahead of demand; 0 starts none ahead.
    #[arg(long, default_value_t = 4, env = "WINDLASS_AHEAD", value_name = "N")]
    pub(crate) ahead: usize,
}

/// How a repository's definition of its environment is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum EnvironmentDefinition {
    /// What can't be honoured refuses the job.
    Strict,
    /// What can't be honoured is told in the job's log; the host's system folders stand in for what can't
    /// be built.
    #[default]
    Lenient,
    /// Definitions are not read.
    Off,
}

impl EnvironmentDefinition {
    /// What the runner calls it.
    pub(crate) fn strictness(self) -> windlass_runner::definition::Strictness {
        use windlass_runner::definition::Strictness;
        match self {
            Self::Strict => Strictness::Strict,
            Self::Lenient => Strictness::Lenient,
            Self::Off => Strictness::Off,
        }
    }
}

impl RunnerOptions {
    /// The same options again, for a runner that is started as a process of its own.
    pub(crate) fn as_arguments(&self) -> Vec<OsString> {
        let mut all: Vec<OsString> =
            vec!["--capacity".into(), self.capacity.max(1).to_string().into()];
        all.extend(["--environments".into(), self.environments.to_string().into()]);
        for label in &self.labels {
            all.extend(["--label".into(), label.into()]);
        }
        for rule in &self.allow_private {
            all.extend(["--allow-private".into(), rule.into()]);
        }
        if let Some(folder) = &self.replays {
            all.extend(["--replays".into(), folder.into()]);
        }
        if let Some(mib) = self.memory_mib {
            all.extend(["--memory-mib".into(), mib.to_string().into()]);
        }
        if let Some(processes) = self.processes {
            all.extend(["--processes".into(), processes.to_string().into()]);
        }
        all.extend(self.images.as_arguments());
        if let Some(how) = self.environment_definition.to_possible_value() {
            all.extend(["--environment-definition".into(), how.get_name().into()]);
        }
        all.extend(["--prepared-mib".into(), self.prepared_mib.to_string().into()]);
        all.extend(["--ahead".into(), self.ahead.to_string().into()]);
        all
    }
}

/// `windlass run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The task, as you would tell a colleague.
    pub(crate) task: String,
    /// A project's name, a path on the server's disk, or a git URL [default: this folder's repository].
    #[arg(long, value_name = "PROJECT|PATH|URL")]
    pub(crate) repo: Option<String>,
    /// The agent: `builtin`, a name from `windlass agents list`, or `custom: COMMAND`.
    #[arg(long, env = "WINDLASS_AGENT", value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// The model to ask for.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// How much the agent does without asking, inside its environment.
    #[arg(long, value_enum)]
    pub(crate) mode: Option<Mode>,
    /// A command that must succeed before the agent can end; repeatable.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) verify: Vec<String>,
    /// How often the agent may try to make them succeed.
    #[arg(long, value_name = "N")]
    pub(crate) attempts: Option<u32>,
    /// The branch that the change is meant for [default: the project's].
    #[arg(long, value_name = "BRANCH")]
    pub(crate) base: Option<String>,
    /// A host that the environment may reach, as `HOST:PORT`; repeatable.
    #[arg(long = "allow", value_name = "HOST:PORT")]
    pub(crate) allow: Vec<String>,
    /// A label that a runner must have to take the job; repeatable.
    #[arg(long = "runs-on", value_name = "LABEL")]
    pub(crate) runs_on: Vec<String>,
    /// The class of its environment, from `windlass class list` [default: what the project says].
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<String>,
    /// End the job after this many minutes.
    #[arg(long, value_name = "MINUTES")]
    pub(crate) minutes: Option<u64>,
    /// Stop the job when its model calls have used this many tokens.
    #[arg(long, value_name = "N")]
    pub(crate) tokens: Option<u64>,
    /// Answer from this session file instead of a model.
    #[arg(long, value_name = "NAME")]
    pub(crate) replay: Option<String>,
    /// Work in the plain environment, without what the repository says of it: to repair just that.
    #[arg(long)]
    pub(crate) plain_environment: bool,
    /// Keep the work as a checkpoint: no branch, no pull request.
    #[arg(long)]
    pub(crate) no_pull_request: bool,
    /// Start it and return at once.
    #[arg(long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) runner: RunnerOptions,
}

/// How much an agent does without asking.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// It asks before it changes anything, and is denied.
    Ask,
    /// It asks for what it finds risky, and is allowed.
    Auto,
    /// It does not ask.
    Full,
}

/// `windlass runs`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only runs in this state: queued, running, succeeded, gave_up, failed, cancelled.
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// How many.
    #[arg(long, short = 'n', default_value_t = 20)]
    pub(crate) limit: u32,
    /// Go on where the last page ended.
    #[arg(long)]
    pub(crate) cursor: Option<String>,
}

/// `windlass job`
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Show a job: its steps, effects and end. A run's id works too.
    Show {
        /// The job's or run's id, or the last part of one.
        id: String,
        /// Wait for its end, showing what happens.
        #[arg(long, short)]
        follow: bool,
    },
    /// Ask a job to stop.
    Cancel {
        /// The job's or run's id.
        id: String,
        /// Why, for those who read it later.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Approve a step that asks, so that the job goes on.
    Approve {
        /// The job's or run's id.
        id: String,
        /// The step; it need not be named where only one asks.
        step: Option<String>,
        /// For those who read it later, and for the steps after it.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Decline a step that asks: it fails.
    Decline {
        /// The job's or run's id.
        id: String,
        /// The step; it need not be named where only one asks.
        step: Option<String>,
        /// Why, for those who read it later.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Print the work so far as a patch.
    Diff {
        /// The job's or run's id.
        id: String,
    },
    /// Print an agent step's session.
    Session {
        /// The job's or run's id.
        id: String,
        /// The step [default: the first agent step].
        #[arg(long)]
        step: Option<String>,
    },
    /// Print the job's journal.
    Events {
        /// The job's or run's id.
        id: String,
    },
}

/// `windlass logs`
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The job's or run's id.
    pub(crate) id: String,
    /// Only this step.
    #[arg(long)]
    pub(crate) step: Option<String>,
    /// Go on until the job has ended.
    #[arg(long, short)]
    pub(crate) follow: bool,
}

/// `windlass review`
#[derive(Debug, Subcommand)]
pub(crate) enum Review {
    /// List pull requests.
    List {
        /// Only those in this state: open, merged or closed.
        #[arg(long, default_value = "open")]
        state: String,
        /// Only those of this project.
        #[arg(long)]
        project: Option<String>,
    },
    /// Show a pull request and its conversation.
    Show(Change),
    /// Print its diff.
    Diff(Change),
    /// Comment, on the whole or at a line.
    Comment {
        #[command(flatten)]
        change: Change,
        /// The comment.
        body: String,
        /// The line, as `PATH:LINE` of the new side.
        #[arg(long)]
        at: Option<String>,
        /// Send it to the agent as a follow-up turn.
        #[arg(long)]
        send: bool,
    },
    /// Send the comments that were not sent yet to the agent.
    Send {
        #[command(flatten)]
        change: Change,
        /// Something to add.
        #[arg(long)]
        note: Option<String>,
    },
    /// Approve the head as it is.
    Approve {
        #[command(flatten)]
        change: Change,
        /// A word with it.
        #[arg(long, default_value = "")]
        body: String,
    },
    /// Ask for changes.
    RequestChanges {
        #[command(flatten)]
        change: Change,
        /// Which ones.
        body: String,
    },
    /// Merge it.
    Merge {
        #[command(flatten)]
        change: Change,
        /// How.
        #[arg(long, value_enum, default_value = "merge")]
        method: Method,
        /// For a project from a path: move the base branch there too, if that is safe.
        #[arg(long)]
        update_source: bool,
    },
    /// Close it without merging.
    Close(Change),
    /// Open a closed one again.
    Reopen(Change),
    /// For a project from a path: make the change visible there as a branch.
    Publish(Change),
}

/// How to merge.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Method {
    /// A merge commit.
    Merge,
    /// One commit with everything.
    Squash,
    /// The commits on top of the base.
    Rebase,
}

/// Names a pull request.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// The pull request, as PROJECT#NUMBER or PROJECT/NUMBER.
    #[arg(value_name = "PROJECT#NUMBER")]
    pub(crate) change: String,
}

/// `windlass project`
#[derive(Debug, Subcommand)]
pub(crate) enum Project {
    /// Add one from a path, a git URL, or `github:OWNER/NAME`.
    Add {
        /// Where the repository is.
        source: String,
        /// Its name [default: the last part of the source].
        #[arg(long)]
        name: Option<String>,
        /// The branch that changes are meant for [default: the one that HEAD names].
        #[arg(long)]
        branch: Option<String>,
        /// For GitHub: a file with the token.
        #[arg(long, value_name = "FILE")]
        github_token_file: Option<PathBuf>,
        /// For GitHub: a file with the webhook's secret.
        #[arg(long, value_name = "FILE")]
        webhook_secret_file: Option<PathBuf>,
        /// For GitHub Enterprise Server: the base URL of its API.
        #[arg(long, value_name = "URL")]
        api_url: Option<String>,
    },
    /// List them.
    List,
    /// Show one.
    Show {
        /// Its name or id.
        project: String,
    },
    /// Find out how ready one is for agents: build it, test it, say what is missing.
    Check(Check),
    /// Prepare its environment now, so that the next task on the branch finds it prepared. It is a run
    /// without a change: the runner that does it keeps a snapshot. Task and prebuild need the same hosts.
    Prebuild {
        /// Its name or id.
        project: String,
        /// The branch [default: the project's].
        #[arg(long, value_name = "BRANCH")]
        base: Option<String>,
        /// A host that the environment may reach, as HOST:PORT or *.SUFFIX:PORT; repeatable.
        #[arg(long = "allow", value_name = "HOST:PORT")]
        allow: Vec<String>,
    },
    /// Change what one wants of its environments: when they are prepared, and when idle ones are stopped.
    Set {
        /// Its name or id.
        project: String,
        #[command(flatten)]
        wants: ProjectWants,
    },
    /// Remove one. Its runs stay; its local pull requests go.
    Remove {
        /// Its name or id.
        project: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// What is changed by `windlass project set`.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct ProjectWants {
    /// Prepare the environment whenever the default branch moved.
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no)]
    pub(crate) prebuild_on_push: Option<bool>,
    /// Prepare it by the clock: `6h`, `90m`, `2d`, or `never`.
    #[arg(long, value_name = "SPAN", value_parser = minutes)]
    pub(crate) prebuild_every: Option<u64>,
    /// A host that prebuilds may reach, as HOST:PORT or *.SUFFIX:PORT; repeatable, in place of those before;
    /// `none` for none.
    #[arg(long = "prebuild-allow", value_name = "HOST:PORT")]
    pub(crate) prebuild_allow: Vec<String>,
    /// After how long without anything happening environments are stopped that do not say otherwise: `30m`,
    /// `2h`, or `never`.
    #[arg(long, value_name = "SPAN", value_parser = minutes)]
    pub(crate) idle: Option<u64>,
    /// The class of jobs and environments that do not choose one, from `windlass class list`.
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<String>,
    /// At least how many environments each runner keeps ahead for it, whether or not anybody asks.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=64))]
    pub(crate) pool_min: Option<u32>,
    /// At most how many; `any` for as many as the runner keeps (its --ahead).
    #[arg(long, value_name = "N", value_parser = pool_max)]
    pub(crate) pool_max: Option<u32>,
    /// What automations choose it by, in place of what it has, with commas; `none` for nothing. `owner=NAME`
    /// says who reviews its changes.
    #[arg(long, value_name = "LABELS")]
    pub(crate) labels: Option<String>,
    /// After how many days environments that stay stopped are archived: `30`, or `never`.
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub(crate) archive_after: Option<u64>,
}

/// A size of the pool; beyond all that can be is any.
fn pool_max(text: &str) -> Result<u32, String> {
    match text.parse() {
        _ if text == "any" => Ok(u32::MAX),
        Ok(size @ 0..=64) => Ok(size),
        _ => Err(format!("`{text}` is no number from 0 to 64: or write any")),
    }
}

/// Days; 0 is never.
fn days(text: &str) -> Result<u64, String> {
    if text == "never" {
        return Ok(0);
    }
    let digits = text.strip_suffix('d').unwrap_or(text);
    match digits.parse() {
        Ok(days @ 1..=3_650) => Ok(days),
        _ => Err(format!("`{text}` is no number of days from 1 to 3650: write 30, or never")),
    }
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        other => Err(format!("say yes or no, not {other}")),
    }
}

/// A span in minutes; 0 is never.
fn minutes(text: &str) -> Result<u64, String> {
    if text == "never" {
        return Ok(0);
    }
    let unit = match text.chars().last() {
        Some('m') => 1,
        Some('h') => 60,
        Some('d') => 24 * 60,
        _ => return Err(format!("say how long as in 30m, 6h or 2d, or never: not {text}")),
    };
    let count: u64 = text[..text.len() - 1]
        .parse()
        .map_err(|_| format!("say how long as in 30m, 6h or 2d, or never: not {text}"))?;
    match count.checked_mul(unit) {
        Some(minutes) if minutes > 0 => Ok(minutes),
        _ => Err("a span is at least a minute; say never for never".to_owned()),
    }
}

/// `windlass project check`
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A project's name, a path on the server's disk, or a git URL.
    #[arg(default_value = ".", value_name = "PROJECT|PATH|URL")]
    pub(crate) project: String,
    /// Propose what would make it better as a pull request.
    #[arg(long)]
    pub(crate) pull_request: bool,
    /// The branch to look at [default: the project's].
    #[arg(long, value_name = "BRANCH")]
    pub(crate) base: Option<String>,
    /// What the environment may reach besides the usual package registries, as `HOST:PORT`; repeatable.
    #[arg(long = "allow", value_name = "HOST:PORT")]
    pub(crate) allow: Vec<String>,
    /// Reach nothing, the package registries neither.
    #[arg(long, conflicts_with = "allow")]
    pub(crate) offline: bool,
    /// How long it may take.
    #[arg(long, default_value_t = 30, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..=720))]
    pub(crate) minutes: u32,
    #[command(flatten)]
    pub(crate) runner: RunnerOptions,
}

/// `windlass agents`
#[derive(Debug, Subcommand)]
pub(crate) enum Agents {
    /// List known agents and what is installed.
    List,
    /// Install one from npm, with a Node of its own.
    Install {
        /// `NAME` or `NAME@VERSION`.
        agent: String,
    },
    /// Start an installed agent in an environment and shake hands.
    Check {
        /// Which one.
        name: String,
    },
}

/// `windlass environment`
#[derive(Debug, Subcommand)]
pub(crate) enum Environment {
    /// Print what devcontainer.json and .windlass/environment.yaml come to, without starting anything.
    /// Exits with 8 if they are refused.
    Resolve(Resolve),
    /// Print only what is to be said about them. Exits with 8 if they are refused.
    Check(Resolve),
}

/// Which project, and how it is judged.
#[derive(Debug, Args)]
pub(crate) struct Resolve {
    /// The project's folder.
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Judge for this backend.
    #[arg(long, value_enum, default_value_t, env = "WINDLASS_BACKEND", value_name = "NAME")]
    pub(crate) backend: Backend,
    /// Judge as a runner with this option would.
    #[arg(
        long,
        value_enum,
        default_value_t,
        env = "WINDLASS_ENVIRONMENT_DEFINITION",
        value_name = "HOW"
    )]
    pub(crate) environment_definition: EnvironmentDefinition,
}

/// `windlass token`
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make one. It is printed once.
    Create {
        /// What it is for.
        name: String,
        /// What it may do.
        #[arg(long, value_enum)]
        role: Role,
        /// How long it lasts, in days [default: for ever].
        #[arg(long)]
        days: Option<u64>,
    },
    /// List them.
    List,
    /// Revoke one.
    Revoke {
        /// Its id.
        id: String,
    },
}

/// `windlass user`
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Invite a user, or give an existing one a new sign-in link.
    Invite {
        /// The name.
        name: String,
        /// What they may do.
        #[arg(long, value_enum, default_value = "operator")]
        role: Role,
    },
    /// List them.
    List,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Role {
    /// Reads.
    Viewer,
    /// Reads, starts and stops runs.
    Operator,
    /// The same, and reviews and merges.
    Reviewer,
    /// Everything that people may.
    Admin,
    /// Only the runner protocol.
    Runner,
}

/// `windlass demo`
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// End when the changes are there, instead of keeping the pages open.
    #[arg(long)]
    pub(crate) once: bool,
    /// Do it for real: an installed agent, or `builtin` with a model key.
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// The model to ask for, with --agent.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Where the repositories and the demo's data go [default: a new temporary folder].
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The address to listen on [default: a free port on loopback].
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
}

/// `windlass supervisor`
#[derive(Debug, Args)]
pub(crate) struct Supervisor {
    /// Where its socket and the environments' folders are.
    #[arg(long)]
    pub(crate) state_dir: PathBuf,
}
