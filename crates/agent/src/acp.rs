//! The client side of the Agent Client Protocol: one agent step, from the handshake to the end of
//! the last turn, over streams that the caller opened. The protocol crate is wrapped here and shows
//! nowhere else, since its interface changes with every major version.
//!
//! Everything that arrives is untrusted and bounded: line length, garbage, number and size of
//! events, silence. Nothing here starts or kills a process, and nothing here believes what an agent
//! says about its success.

mod connection;
mod handshake;
mod lines;
mod permissions;
mod recorder;
mod tail;
mod turns;
mod updates;

pub use connection::{check, drive};
pub use permissions::{Answer, Ask, Decide, Permissions, Rule};
pub use tail::Tail;
pub use turns::{Next, TurnEnd, Turns};

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use windlass_wire::session::GiveUp;

/// The streams of an agent process, opened by whoever started it.
pub struct Streams<Out, In> {
    /// The agent's standard output, which carries the protocol.
    pub stdout: Out,
    /// The agent's standard input.
    pub stdin: In,
    /// The end of the agent's standard error, filled by the caller. It is only quoted in errors.
    pub stderr: Tail,
}

/// How one agent step is driven.
#[derive(Clone)]
pub struct Options {
    /// The agent's name, for [`windlass_wire::session::Event::Started`].
    pub agent: String,
    /// The work tree as the agent sees it; absolute, inside the environment.
    pub cwd: PathBuf,
    /// The mode to set, in the agent's own words ([`crate::known::Agent::modes`]). `None` leaves the
    /// agent's default, which differs between agents and is rarely what is wanted.
    pub mode: Option<String>,
    /// The model, where one was asked for.
    pub model: Option<Model>,
    /// True if the model's answers come from a file and no model is called.
    pub scripted: bool,
    /// What the agent may do when it asks.
    pub permissions: Permissions,
    /// How many turns there may be in all while `verify:` commands fail; at least 1.
    pub attempts: u32,
    /// Bounds in time and size.
    pub limits: Limits,
    /// A sign of life from elsewhere, such as traffic at the model door; see [`Progress`].
    pub progress: Progress,
    /// What the model door knows; see [`ModelWatch`].
    pub model_watch: Option<Arc<dyn ModelWatch>>,
}

impl Options {
    /// The defaults for `agent` working in `cwd`: the agent's own mode, every request denied, one
    /// turn.
    pub fn new(agent: impl Into<String>, cwd: impl Into<PathBuf>) -> Self {
        Self {
            agent: agent.into(),
            cwd: cwd.into(),
            mode: None,
            model: None,
            scripted: false,
            permissions: Permissions::deny_all("no permission was given"),
            attempts: 1,
            limits: Limits::default(),
            progress: Progress::default(),
            model_watch: None,
        }
    }
}

/// What whoever owns the model door knows about the agent's calls. Some agents end a turn as done
/// although their last call failed, so the door is asked, not the agent.
pub trait ModelWatch: Send + Sync {
    /// What went wrong with the last call that ended, if it went wrong: one line for a person.
    /// `None` if it ended well, or if there was none.
    fn last_failure(&self) -> Option<String>;
}

/// How an agent learns which model to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Model {
    /// It was told by its environment or its settings; this is only recorded.
    InEnvironment(String),
    /// It is told over ACP, by the session's configuration option for models.
    Select(String),
}

impl Model {
    fn name(&self) -> &str {
        match self {
            Self::InEnvironment(name) | Self::Select(name) => name,
        }
    }
}

/// Bounds in time and size. All of them are generous for an honest agent.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For the handshake: `initialize`, `session/new`, mode and model together.
    pub handshake: Duration,
    /// How long an agent may be silent while it has no tool call open.
    pub quiet: Duration,
    /// How long an agent may be silent while a tool call is open (a long build says nothing).
    pub quiet_in_tool: Duration,
    /// How long an agent may take to end its turn after it was told to stop.
    pub cancel_grace: Duration,
    /// The longest line, in bytes.
    pub line: usize,
    /// How many lines that are no message may appear on standard output.
    pub garbage_lines: usize,
    /// How many requests the agent may make.
    pub requests: u64,
    /// How many events are recorded.
    pub events: u64,
    /// How many bytes of events are recorded.
    pub event_bytes: u64,
    /// The most bytes of one tool call's output or one side of a diff that an event carries.
    pub output: usize,
    /// How long a piece of text waits for the next one so that both become one event.
    pub coalesce: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(120),
            quiet: Duration::from_secs(15 * 60),
            quiet_in_tool: Duration::from_secs(60 * 60),
            cancel_grace: Duration::from_secs(10),
            line: 32 * 1024 * 1024,
            garbage_lines: 200,
            requests: 20_000,
            events: 200_000,
            event_bytes: 256 * 1024 * 1024,
            output: 32 * 1024,
            coalesce: Duration::from_millis(150),
        }
    }
}

/// A shared mark of when the step last made progress. Whoever sees the agent live in a way that the
/// protocol does not show (tokens passing the model door) calls [`Progress::touch`].
#[derive(Clone, Debug)]
pub struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    /// Something happened just now.
    pub fn touch(&self) {
        *self.0.lock().expect("nothing panics while it holds this lock") = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().expect("nothing panics while it holds this lock")
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

/// Why a caller stops an agent step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody cancelled it.
    Cancelled,
    /// Its time is over.
    Deadline,
}

/// Runs the `verify:` commands of a step in the environment, after the agent ended a turn.
pub trait Verifier: Send {
    /// Runs every command and says how each ended; an empty list means that there are none.
    ///
    /// # Errors
    /// When a command could not be run at all. That ends the step with [`Error::Verify`]; a command
    /// that ran and failed is a result, not an error.
    fn verify(
        &mut self,
        turn: u32,
    ) -> impl Future<Output = Result<Vec<VerifyResult>, Box<dyn std::error::Error + Send + Sync>>> + Send;
}

/// A verifier without commands: every end of a turn is accepted.
pub struct NothingToVerify;

impl Verifier for NothingToVerify {
    async fn verify(
        &mut self,
        _turn: u32,
    ) -> Result<Vec<VerifyResult>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Vec::new())
    }
}

/// How one `verify:` command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyResult {
    /// The command as the automation names it.
    pub command: String,
    /// Its exit code; `None` if a signal or the time limit ended it.
    pub exit_code: Option<i32>,
    /// The end of what it printed, both streams together.
    pub output: String,
}

impl VerifyResult {
    /// True if the command ended well.
    pub fn passed(&self) -> bool {
        self.exit_code == Some(0)
    }
}

/// How an agent step ended in the agent's own words, and what the verifiers said last. Whether the
/// task succeeded is read from the work tree, never from here.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Why the last turn ended, in ACP's words: `end_turn`, `max_tokens`, `max_turn_requests`,
    /// `refusal`, `cancelled`.
    pub stop_reason: String,
    /// How many turns there were.
    pub turns: u32,
    /// What the `verify:` commands said after the last turn.
    pub verified: Verified,
    /// The agent's give-up report, if it made one in its last turn.
    pub gave_up: Option<GiveUp>,
    /// The agent's last message: its claim of what it did. Bounded, untrusted.
    pub last_message: String,
    /// How many requests for permission were denied. An agent that was denied may still say that it
    /// is done.
    pub denied: u32,
    /// What the agent says the session cost, where it says so.
    pub claimed_cost: Option<ClaimedCost>,
    /// How many lines on standard output were no message.
    pub garbage_lines: usize,
}

/// What the `verify:` commands said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// There were none, or the agent gave up before they were asked.
    NotAsked,
    /// All ended well.
    Passed,
    /// These did not, and there was no attempt left.
    Failed(Vec<VerifyResult>),
}

/// Money, as an agent counts it. The model door's ledger is what is charged.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedCost {
    /// The amount, in units of the currency.
    pub amount: f64,
    /// ISO 4217.
    pub currency: String,
}

/// What an agent said of itself in the handshake; what [`check`] returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The name it gives itself.
    pub name: Option<String>,
    /// The version it gives itself.
    pub version: Option<String>,
    /// The modes it offers for a session, by id.
    pub modes: Vec<String>,
    /// The mode that a session starts in.
    pub current_mode: Option<String>,
    /// The models it offers for a session, by id.
    pub models: Vec<String>,
}

/// Why an agent step ended without an [`Outcome`]. The texts are for people; they quote the agent
/// only escaped and shortened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The handshake was not finished in time, or the agent refused it.
    #[error("the handshake with the agent failed: {0}")]
    Handshake(String),
    /// The agent wants somebody to sign in, which nobody can do here.
    #[error(
        "the agent wants a sign-in ({0}): its settings do not point at the model door, or the installed version ignores them"
    )]
    SignIn(String),
    /// The agent does not offer the mode that was asked for.
    #[error("the agent offers no mode `{wanted}`; it offers: {offered}")]
    Mode {
        /// What was asked for.
        wanted: String,
        /// What there is, separated by commas.
        offered: String,
    },
    /// The agent does not offer the model that was asked for.
    #[error("the agent offers no model `{wanted}`; it offers: {offered}")]
    Model {
        /// What was asked for.
        wanted: String,
        /// What there is, separated by commas.
        offered: String,
    },
    /// What came over standard output is not the protocol.
    #[error(
        "the agent does not speak ACP on its standard output: {problem}; the first such line: {first_line}"
    )]
    Protocol {
        /// What is wrong.
        problem: String,
        /// The first line that was wrong, escaped and shortened.
        first_line: String,
    },
    /// The agent closed its standard output while something was expected of it.
    #[error("the agent ended {during}; the end of its standard error:\n{stderr}")]
    Died {
        /// What was going on: "before the handshake was done", "during turn 2".
        during: String,
        /// The end of its standard error, or a note that there was none.
        stderr: String,
    },
    /// Nothing was heard for too long.
    #[error("the agent made no progress for {} s {during}", quiet.as_secs())]
    Stalled {
        /// The limit that was passed.
        quiet: Duration,
        /// What was going on.
        during: String,
    },
    /// It sent more than a step may hold.
    #[error("the agent sent too much: {0}")]
    Flood(String),
    /// The agent answered a request with an error. A failing model API often shows here.
    #[error("the agent answered {request} with error {code}: {message}")]
    Agent {
        /// The method that was answered.
        request: &'static str,
        /// JSON-RPC's code.
        code: i32,
        /// The agent's message and data, escaped and shortened.
        message: String,
    },
    /// The agent ended its turn as if all was well, but its last call of a model had failed.
    #[error("the model could not be reached: {0}")]
    ModelFailed(String),
    /// The caller cancelled the step.
    #[error("cancelled{}", if *.clean { "" } else { "; the agent did not end its turn in time" })]
    Cancelled {
        /// True if the agent ended its turn when it was told to.
        clean: bool,
    },
    /// The caller's time limit passed.
    #[error("the time limit passed{}", if *.clean { "" } else { "; the agent did not end its turn in time" })]
    Deadline {
        /// True if the agent ended its turn when it was told to.
        clean: bool,
    },
    /// A `verify:` command could not be run.
    #[error("a verify command could not be run: {0}")]
    Verify(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody takes the events any more.
    #[error("the receiver of the session's events is gone")]
    Events,
}
