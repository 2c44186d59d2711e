//! `windlass env`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `windlass env`
#[derive(Debug, Subcommand)]
pub(crate) enum Env {
    /// Create one, and wait until it runs.
    Create(CreateEnv),
    /// List them, the newest first.
    List {
        /// Only your own.
        #[arg(long)]
        mine: bool,
        /// Only this project's.
        #[arg(long, value_name = "PROJECT")]
        project: Option<String>,
        /// Archived and deleted ones too.
        #[arg(long)]
        all: bool,
    },
    /// Show one: how it stands and where the time of its start went.
    Show {
        /// Its name or id.
        env: String,
    },
    /// Print the log of its last start, or what a service or a task printed lately.
    Logs {
        /// Its name or id.
        env: String,
        /// Of this service.
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        /// Of this task's last run.
        #[arg(long, value_name = "NAME", conflicts_with = "service")]
        task: Option<String>,
        /// Go on with what comes: of a service until you interrupt it, of a task to its end.
        #[arg(long, short)]
        follow: bool,
    },
    /// List the services of one, or start, stop or restart one of them.
    Services(Services),
    /// List the tasks of one, or run one and print what it prints. Ends as its command does.
    Task {
        /// Its name or id.
        env: String,
        /// The task to run, after what it depends on.
        name: Option<String>,
    },
    /// Say where each millisecond of a start went, whether the pool had it, and what would help. Of an
    /// environment, or of a job's.
    WhySlow {
        /// The name or id of an environment, or the id of a job.
        #[arg(value_name = "ENV|JOB")]
        what: String,
    },
    /// Let an agent repair what the repository says of its environment: of an environment in recovery, or of
    /// a job that ended because of it. It works in a plain environment and proposes a pull request.
    Repair(RepairEnv),
    /// List what happened to one and who went in, the newest first.
    Journal {
        /// Its name or id.
        env: String,
    },
    /// Start one again, and wait until it runs.
    Start {
        /// Its name or id.
        env: String,
        /// Don't wait.
        #[arg(long)]
        no_wait: bool,
    },
    /// Create another one that begins with the work tree of this one as it is now, and wait until it runs.
    /// Programs, home folder and services are its own.
    Fork {
        /// Its name or id.
        env: String,
        /// What to call the fork [default: made from the project's name].
        #[arg(long)]
        name: Option<String>,
        /// Don't wait.
        #[arg(long)]
        no_wait: bool,
    },
    /// Stop one, and wait until it has. Its work tree is kept.
    Stop {
        /// Its name or id.
        env: String,
        /// Don't wait.
        #[arg(long)]
        no_wait: bool,
    },
    /// Stop one and put it away.
    Archive {
        /// Its name or id.
        env: String,
    },
    /// Take an archived one out again.
    Unarchive {
        /// Its name or id.
        env: String,
    },
    /// Stop and delete one. It can be had back for a day.
    Delete {
        /// Its name or id.
        env: String,
    },
    /// Have a deleted one back.
    Undelete {
        /// Its name or id.
        env: String,
    },
    /// Execute a program in one. Ends as the program does; with --json, one more line says how.
    Exec(ExecEnv),
    /// Open a shell in one, in this terminal. Ends as the shell does.
    Shell(ShellEnv),
    /// List its ports: those that are published, each with its address, and those that the repository names.
    Ports {
        /// Its name or id.
        env: String,
    },
    /// Publish a port at an address of its own, or change its name or who is let in.
    Publish(PublishPort),
    /// Close a published port. What is open to it is cut at once.
    Unpublish {
        /// Its name or id.
        env: String,
        /// The port.
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
    },
    /// Print what `ssh` needs to reach yours by their names, as `ssh NAME.windlass`.
    SshConfig {
        /// Write it below ~/.ssh/windlass instead, with the server's key.
        #[arg(long)]
        write: bool,
    },
    /// List what is in a folder of one, hidden files too.
    Files {
        /// Its name or id.
        env: String,
        /// The folder [default: the work tree].
        #[arg(default_value = "", hide_default_value = true)]
        path: String,
    },
    /// Print a file of one.
    Cat {
        /// Its name or id.
        env: String,
        /// The file.
        path: String,
    },
    /// Edit a file of one with $VISUAL or $EDITOR. Nothing is written if it changed there meanwhile.
    Edit {
        /// Its name or id.
        env: String,
        /// The file; one that is not there is made.
        path: String,
    },
    /// Show how its work tree differs from the commit that it began with; new files count.
    Diff {
        /// Its name or id.
        env: String,
        /// Only below this path of the repository.
        path: Option<String>,
        /// Only which files differ, and by how many lines.
        #[arg(long)]
        stat: bool,
        /// Compare with the newest commit that was made in it.
        #[arg(long)]
        head: bool,
    },
    /// Copy a file into one or out of one: `ENV:PATH` names a file in it.
    Cp {
        /// A folder with everything in it.
        #[arg(long, short)]
        recursive: bool,
        /// What is copied.
        from: String,
        /// Where to.
        to: String,
    },
    /// Fetch the work in it that no repository had at its last stop, as a git bundle.
    Work {
        /// Its name or id.
        env: String,
        /// Where the bundle goes.
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
}

/// `windlass env services`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Services {
    /// What is wanted of one.
    #[command(subcommand)]
    pub(crate) wish: Option<ServiceWish>,
    /// The environment's name or id.
    #[arg(required = true)]
    pub(crate) env: Option<String>,
}

/// `windlass env services start | stop | restart`
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceWish {
    /// Start a service, after what it depends on, and wait until it is ready.
    Start(OneService),
    /// Stop a service. It is not started again by itself.
    Stop(OneService),
    /// Stop a service and start it.
    Restart(OneService),
}

/// One service of an environment.
#[derive(Debug, Args)]
pub(crate) struct OneService {
    /// The environment's name or id.
    pub(crate) env: String,
    /// The service.
    pub(crate) service: String,
}

/// `windlass env create`
#[derive(Debug, Args)]
pub(crate) struct CreateEnv {
    /// The project, by name or id.
    pub(crate) project: String,
    /// The branch to begin with [default: the project's default branch].
    #[arg(long = "ref", value_name = "BRANCH")]
    pub(crate) base: Option<String>,
    /// What to call it: a letter, then a-z, 0-9 and `-` [default: made from the project's].
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Let programs inside reach a host, as `host:port` or `*.suffix:port`; repeatable.
    #[arg(long = "allow", value_name = "HOST:PORT")]
    pub(crate) allow: Vec<String>,
    /// Stop it after so many minutes without anything happening; 0: never [default: what the project says,
    /// or 30].
    #[arg(long, value_name = "MINUTES")]
    pub(crate) idle: Option<u64>,
    /// Delete it after so many hours, whatever happens [default: never].
    #[arg(long, value_name = "HOURS")]
    pub(crate) life: Option<u64>,
    /// Its class, from `windlass class list` [default: what the project says].
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<String>,
    /// A label that a runner must have to take it; repeatable.
    #[arg(long = "runs-on", value_delimiter = ',', value_name = "LABEL")]
    pub(crate) runs_on: Vec<String>,
    /// Don't wait until it runs.
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// `windlass env repair`
#[derive(Debug, Args)]
pub(crate) struct RepairEnv {
    /// The name or id of an environment, or the id of a job.
    #[arg(value_name = "ENV|JOB")]
    pub(crate) what: String,
    /// The agent: `builtin`, a name from `windlass agents list`, or `custom: COMMAND`.
    #[arg(long, env = "WINDLASS_AGENT", value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// The model to ask for.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// A host that the agent's environment may reach besides the environment's own, as `HOST:PORT`;
    /// repeatable.
    #[arg(long = "allow", value_name = "HOST:PORT")]
    pub(crate) allow: Vec<String>,
    /// Answer from this session file instead of a model.
    #[arg(long, value_name = "NAME")]
    pub(crate) replay: Option<String>,
    /// Start it and return at once.
    #[arg(long)]
    pub(crate) detach: bool,
}

/// `windlass env exec`
#[derive(Debug, Args)]
pub(crate) struct ExecEnv {
    /// Its name or id.
    pub(crate) env: String,
    /// Send standard input to the program.
    #[arg(long, short)]
    pub(crate) input: bool,
    /// Where the program begins [default: the work tree].
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<String>,
    /// A variable for the program, as `NAME=VALUE`; repeatable. Others on this machine can read a
    /// command line: it is no place for a secret.
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) variables: Vec<(String, String)>,
    /// A name for this operation: asked for again, it is not executed twice but gives the output and
    /// the end of the first.
    #[arg(long, value_name = "NAME", conflicts_with = "input")]
    pub(crate) operation: Option<String>,
    /// The program and its arguments, as they are: there is no shell.
    #[arg(last = true, required = true)]
    pub(crate) argv: Vec<String>,
}

/// `windlass env publish`
#[derive(Debug, Args)]
pub(crate) struct PublishPort {
    /// Its name or id.
    pub(crate) env: String,
    /// The port, on which a program inside listens.
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// What people call it [default: as it is, or what the repository calls it].
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Who is let in: whoever may use the environment, everybody who is signed in, or anybody [default: as
    /// it is, or owner].
    #[arg(long, value_name = "WHO")]
    pub(crate) admission: Option<Admission>,
}

/// Who is let in to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Admission {
    /// Its owner, and admins.
    Owner,
    /// Everybody who is signed in.
    Organisation,
    /// Anybody who knows the address.
    Public,
}

/// The widest admission of a port at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PortsAdmission {
    /// Its owner, and admins.
    Owner,
    /// Everybody who is signed in.
    Organisation,
    /// Anybody who knows the address.
    Public,
    /// Nobody: no port is published.
    Off,
}

/// `windlass env shell`
#[derive(Debug, Args)]
pub(crate) struct ShellEnv {
    /// Its name or id.
    pub(crate) env: String,
    /// Where the shell begins [default: the work tree].
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<String>,
    /// Another program than a shell, with its arguments.
    #[arg(last = true)]
    pub(crate) argv: Vec<String>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
