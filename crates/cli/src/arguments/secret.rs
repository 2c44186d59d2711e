//! `windlass secret` and `windlass variable`. There is no argument for a value, and never will be:
//! other accounts of the machine can read a command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `windlass secret`, `windlass variable`
#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// Set one. The value is read from standard input, asked for on a terminal, or read from a file.
    Set(Box<SetSecret>),
    /// List them, without the values of secrets.
    List {
        /// Only this project's.
        #[arg(long, value_name = "PROJECT", conflicts_with = "user")]
        project: Option<String>,
        /// Only those of users.
        #[arg(long)]
        user: bool,
    },
    /// Remove one.
    Rm {
        /// Its name.
        name: String,
        /// This project's [default: the organisation's].
        #[arg(long, value_name = "PROJECT", conflicts_with = "user")]
        project: Option<String>,
        /// Your own.
        #[arg(long)]
        user: bool,
    },
}

/// `windlass secret set`, `windlass variable set`
#[derive(Debug, Args)]
pub(crate) struct SetSecret {
    /// The name: a letter or `_`, then letters, digits and `_`.
    pub(crate) name: String,
    /// For jobs of this project only [default: the organisation's].
    #[arg(long, value_name = "PROJECT", conflicts_with = "user")]
    pub(crate) project: Option<String>,
    /// For jobs that you start.
    #[arg(long)]
    pub(crate) user: bool,
    /// An environment variable of its name [default for a new one].
    #[arg(long, conflicts_with = "file")]
    pub(crate) env: bool,
    /// A file in memory: `/run/secrets/NAME`.
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<String>,
    /// The file's permission bits.
    #[arg(long, value_name = "MODE", default_value = "0600", requires = "file")]
    pub(crate) mode: String,
    /// Never given to a step: the web door adds it to requests for this place, `https://HOST/PATH`.
    /// The step, an agent's too, has the address `$WINDLASS_DOOR_NAME` instead.
    #[arg(long, value_name = "URL", conflicts_with_all = ["env", "file"])]
    pub(crate) door: Option<String>,
    /// The header that the door adds.
    #[arg(long, value_name = "NAME", default_value = "authorization", requires = "door")]
    pub(crate) header: String,
    /// What the header says, with `{}` for the value.
    #[arg(long, value_name = "TEXT", default_value = "Bearer {}", requires = "door")]
    pub(crate) template: String,
    /// Send it as this user's password, by HTTP's basic authentication.
    #[arg(long, value_name = "USER", requires = "door", conflicts_with = "template")]
    pub(crate) basic: Option<String>,
    /// A method that the door adds it to; repeatable [default: GET and HEAD]. A step that shall write
    /// must be named with --step.
    #[arg(long, value_name = "METHOD", requires = "door")]
    pub(crate) method: Vec<String>,
    /// Never given to a step: runners pull images and Features of this registry with it, `HOST[:PORT]` as
    /// in images' names, `docker.io` where they have none.
    #[arg(long, value_name = "HOST", conflicts_with_all = ["env", "file", "door"], requires = "login")]
    pub(crate) registry: Option<String>,
    /// The user of the registry whose password or token it is.
    #[arg(long, value_name = "USER", requires = "registry")]
    pub(crate) login: Option<String>,
    /// Only in jobs of this project; repeatable. With --project there is nothing to add.
    #[arg(long = "grant-project", value_name = "PROJECT", conflicts_with = "project")]
    pub(crate) grant_project: Vec<String>,
    /// Only in jobs whose change is meant for such a branch, as `main` or `release/*`; repeatable.
    #[arg(long, value_name = "GLOB")]
    pub(crate) branch: Vec<String>,
    /// Only in steps of such a name; repeatable. A step after an agent must be named in full. `setup`
    /// stands for the commands that make an environment ready (postCreateCommand, postStartCommand), which
    /// are given nothing else; `exec` for what people execute in an environment.
    #[arg(long, value_name = "ID")]
    pub(crate) step: Vec<String>,
    /// Let agents' own processes read it too. Jobs with such agents are shown as sensitive.
    #[arg(long, conflicts_with = "door")]
    pub(crate) beside_agents: bool,
    /// Take back the limits by project, branch and step. Without any of them, one that is there
    /// keeps those it has.
    #[arg(long, conflicts_with_all = ["grant_project", "branch", "step", "beside_agents"])]
    pub(crate) everywhere: bool,
    /// Read the value from this file, as it is. From standard input, one line end is dropped.
    #[arg(long, value_name = "FILE")]
    pub(crate) from_file: Option<PathBuf>,
}
