//! The runner protocol, version 1: JSON over HTTP, every call made by the runner, every call safe to
//! repeat.
//!
//! | call | meaning |
//! |---|---|
//! | `POST /api/v1/runner/join` | uses a one-time code up, without a token: [`Join`] → [`Joined`] |
//! | `POST /api/v1/runner/register` | a runner process says that it is there: [`Register`] → [`Registered`] |
//! | `POST /api/v1/runner/lease` | long poll for jobs: [`LeaseRequest`] → [`Leases`] |
//! | `POST /api/v1/runner/report` | reports and heartbeats of many jobs: [`ReportRequest`] → [`ReportAnswer`] |
//! | `POST /api/v1/runner/streams` | pieces of logs and sessions of many jobs: [`StreamRequest`] → [`StreamAnswer`] |
//! | `POST /api/v1/runner/grant` | asks to act on an effect: [`GrantRequest`] → [`GrantAnswer`] |
//! | `POST /api/v1/runner/record` | records what came of an effect: [`RecordRequest`] → [`GrantAnswer`] |
//! | `PUT /api/v1/runner/jobs/{job}/checkpoints/{step}?epoch=&commit=` | a thin git bundle, as the body |
//! | `GET /api/v1/runner/jobs/{job}/checkpoints/{step}?epoch=` | the bundle again, for a later lease |
//! | `GET /api/v1/runner/jobs/{job}/secrets?runner_id=&epoch=` | what the job's steps may be given, as it is now: [`Secrets`] |
//! | `PUT /api/v1/runner/jobs/{job}/diffs/{step}?epoch=` | the work so far as a git patch, as the body |
//! | `PUT /api/v1/runner/jobs/{job}/readiness/{step}?epoch=` | the report of a `readiness` step as JSON, as the body |
//! | `POST /api/v1/runner/environments` | long poll: what environments the runner has, and what it shall have: [`EnvironmentsRequest`] → [`Environments`] |
//! | `PUT /api/v1/runner/environments/{environment}/work?runner_id=&commit=` | work that no repository had, as a git bundle in the body |
//! | `GET /api/v1/runner/streams/{stream}?runner_id=` | dials a stream that the server wants, by an HTTP upgrade: [`crate::attach`] |
//!
//! A runner authenticates with a service token of the role `runner` (`Authorization: Bearer`), which
//! is good for one runner: the one that first came with it. What concerns a job carries its lease's epoch; a stale epoch is answered with [`JobStatus::Lost`] and
//! the runner stops that job at once. A report is accepted when the server has committed it; until
//! then the runner keeps it on disk and sends it again. The job events and reports are those of
//! [`windlass_run::job`]: their stored form is versioned already, since the journal must stay
//! readable, so there is no second copy of them here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_run::{
    Class, EffectKey, EnvironmentId, JobId, Labels, ProjectId, RunId, RunnerId, StepId, Time,
    class::Limited,
    effect::{self, Effect},
    environment::{Ended, Seen, Spec, Unpushed, Wanted},
    job::{Cancel, Decision, Report, State, start::Basis},
};

use crate::{api::secret::SecretDoor, attach::Attach, session};

/// The version of this protocol that a runner and a server must share.
pub const PROTOCOL: u32 = 1;

/// A runner process says that it is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Register {
    /// Its name, unique for a person's eye: by default the host's name.
    pub name: String,
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The version of its binary.
    pub version: String,
    /// The id it had before a restart, so that leases it still holds stay its own.
    pub previous: Option<RunnerId>,
    /// How many jobs it works on at once.
    pub capacity: u32,
    /// How many environments that live by themselves it lets run at once.
    #[serde(default)]
    pub environments: u32,
    /// What it is and has.
    #[serde(default)]
    pub labels: Labels,
}

/// A runner joins by a code that an admin had made for it. Safe to repeat with the same token.
#[derive(Clone, Serialize, Deserialize)]
pub struct Join {
    /// The code.
    pub code: String,
    /// The SHA-256, as 64 hexadecimal digits, of the token that the runner made for itself and will
    /// come with. The token itself stays on its machine until then.
    pub token_sha256: String,
    /// Its name, for a person's eye.
    pub name: String,
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The version of its binary.
    pub version: String,
}

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Join").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The server's answer to [`Join`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Joined {
    /// The runner's id from now on.
    pub runner_id: RunnerId,
}

/// What is wanted of a runner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// That it takes jobs.
    #[default]
    Work,
    /// That it ends what it has and takes nothing more.
    Drain,
    /// That it ends its jobs and then starts anew, as whatever its program's file is by then.
    Restart,
}

/// How a runner's machine is. What it can't find out is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Bytes that are free where the runner keeps its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_free: Option<u64>,
    /// All bytes there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
    /// Bytes of memory that programs can still have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_free: Option<u64>,
    /// All bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Processes that ran or wanted to, as the mean of a minute, in hundredths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<u32>,
}

/// The server's answer to [`Register`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Registered {
    /// The runner's id from now on.
    pub runner_id: RunnerId,
    /// How long a lease lasts without a heartbeat, in milliseconds.
    pub lease_ttl_ms: u64,
    /// How often to send a heartbeat, in milliseconds.
    pub heartbeat_ms: u64,
    /// The server's clock.
    pub now: Time,
}

/// Asks for jobs. The server answers at once if there is one, else when there is one or the wait is
/// over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// Who asks.
    pub runner_id: RunnerId,
    /// How many jobs at most.
    pub max: u32,
    /// How long to wait for the first, in milliseconds; at most 30,000.
    pub wait_ms: u64,
    /// The wish that it knows of. The answer comes at once where another is wanted of it.
    #[serde(default)]
    pub wish: Wish,
    /// How its machine is.
    #[serde(default)]
    pub health: Health,
    /// What it keeps ahead of demand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<ProjectPool>,
}

/// Jobs for a runner.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Leases {
    /// What is wanted of the runner. There are no jobs for one that is to do anything but work.
    #[serde(default)]
    pub wish: Wish,
    /// The leases; empty when the wait was over.
    pub leases: Vec<Lease>,
}

/// One leased job with all that a runner needs to work on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// The job.
    pub job_id: JobId,
    /// Its run.
    pub run_id: RunId,
    /// The lease's epoch.
    pub epoch: u64,
    /// The machine's state right after the lease: what earlier leases did is in it.
    pub state: State,
    /// The task in one line, for titles.
    pub title: String,
    /// The repository and how to reach it. Absent for a job that needs none (all its steps are
    /// no-ops of a benchmark).
    pub repository: Option<Repository>,
    /// Checkpoints of earlier steps that the server keeps, in the order of the steps.
    pub checkpoints: Vec<Checkpoint>,
    /// What its organisation and its project say beside it.
    #[serde(default)]
    pub house: House,
}

/// What an organisation and a project say of all environments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct House {
    /// The classes that can be chosen: so that whoever gets too little is told which one would do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<Class>,
    /// At least how many environments of the project are kept ahead of demand.
    #[serde(default)]
    pub pool_min: u32,
    /// At most how many; absent: as many as the runner keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_max: Option<u32>,
}

/// What a runner keeps ahead of demand for a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectPool {
    /// The project.
    pub project_id: ProjectId,
    /// How many are ready.
    pub ready: u32,
    /// How many are being made.
    pub making: u32,
    /// How many should be ready.
    pub wanted: u32,
    /// How many the runner keeps at most, of all projects.
    pub most: u32,
    /// Microseconds between two starts alike, smoothed; absent before the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<u64>,
    /// Microseconds that making one takes, smoothed; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refill: Option<u64>,
    /// Bytes of memory that those which are ready hold.
    pub memory: u64,
    /// Bytes of disk that they hold; blocks that files share are counted for each.
    pub disk: u64,
    /// The last starts, the newest last: whether the pool had it, and the microseconds that it took.
    pub starts: Vec<(bool, u64)>,
}

/// A job's repository and how to reach it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Repository {
    /// The project.
    pub project_id: ProjectId,
    /// The project's name: the last part of the work tree's path inside the environment.
    pub name: String,
    /// The URL for clone and push over smart HTTP.
    pub url: String,
    /// The user name that goes with the credential.
    pub username: String,
    /// The credential for that URL and this lease. It lives in the memory of the runner's doors and
    /// nowhere else.
    pub credential: String,
    /// The branches, without `refs/heads/`, that this job may push.
    pub branches: Vec<String>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("project_id", &self.project_id)
            .field("name", &self.name)
            .field("url", &self.url)
            .field("branches", &self.branches)
            .finish_non_exhaustive()
    }
}

/// A checkpoint that the server keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The step after which it was made.
    pub step_id: StepId,
    /// The commit in the bundle.
    pub commit: String,
}

/// What the steps of a job may be given, as it is now. It lives in the runner's memory and nowhere
/// else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// Each secret and variable with the steps that are given it.
    pub secrets: Vec<Secret>,
}

/// A secret or variable in clear. Not formatted for debugging but for its name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The name.
    pub name: String,
    /// False for a variable, which may be seen by anybody.
    pub is_secret: bool,
    /// The file inside that it becomes; absent: an environment variable of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<SecretFile>,
    /// Set if it stays outside, and how the web door sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<SecretDoor>,
    /// Set if it stays outside, and images are pulled with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryLogin>,
    /// The value.
    pub value: String,
    /// The steps that are given it.
    #[serde(default)]
    pub steps: Vec<StepId>,
    /// Whether the commands that make the environment ready are given it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_setup: bool,
}

/// For which registry a password is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryLogin {
    /// The host as it stands in images' names.
    pub host: String,
    /// The user whose password it is.
    pub user: String,
    /// Names the secret: an image that was brought with it is only there for those who have it too.
    pub realm: String,
}

/// A file in an environment's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile {
    /// Where: `/run/secrets/NAME`.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("name", &self.name)
            .field("file", &self.file)
            .field("door", &self.door)
            .field("registry", &self.registry)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

/// Reports and heartbeats of many jobs in one call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportRequest {
    /// Who reports.
    pub runner_id: RunnerId,
    /// One entry per job that the runner holds: an entry without reports is a heartbeat.
    pub jobs: Vec<JobReports>,
}

/// One job's reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobReports {
    /// The job.
    pub job_id: JobId,
    /// The lease's epoch.
    pub epoch: u64,
    /// The reports in order; a first one that the server already has is skipped.
    pub reports: Vec<NumberedReport>,
    /// Set if the runner gives the job back unharmed after these reports, with the reason: it drains,
    /// was restarted, or its host can't run the job. Answered with [`JobStatus::Lost`], as the lease
    /// is over then. Safe to repeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// A report at its place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NumberedReport {
    /// From 1 within the lease's epoch, without gaps.
    pub seq: u64,
    /// When it happened, by the runner's clock.
    pub at: Time,
    /// What happened.
    pub report: Report,
}

/// The server's answer to [`ReportRequest`], in the same order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportAnswer {
    /// One answer per job.
    pub jobs: Vec<JobAnswer>,
}

/// What the server says of one job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobAnswer {
    /// The job.
    pub job_id: JobId,
    /// Where it stands.
    pub status: JobStatus,
    /// The newest report that the server has committed under this epoch.
    pub accepted: u64,
    /// Set once somebody asked the job to stop.
    pub cancel: Option<Cancel>,
    /// The job's effects as they stand now.
    pub effects: Vec<Effect>,
    /// What was decided on its steps that ask.
    #[serde(default)]
    pub decisions: Vec<(StepId, Decision)>,
    /// Why a report was refused, where one was; those after it were not looked at.
    pub refused: Option<String>,
}

/// Where a job stands, for its runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// The lease holds.
    Held,
    /// The lease is lost: stop everything of this job and report nothing more.
    Lost,
    /// The job has ended: clean up.
    Ended,
}

/// Pieces of logs and sessions of many jobs in one call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamRequest {
    /// Who sends.
    pub runner_id: RunnerId,
    /// The pieces.
    pub pieces: Vec<Piece>,
}

/// A piece of a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Piece {
    /// The job.
    pub job_id: JobId,
    /// The lease's epoch.
    pub epoch: u64,
    /// The step.
    pub step_id: StepId,
    /// The attempt of the step, from 1.
    pub attempt: u32,
    /// What it carries.
    pub content: Content,
}

/// What a piece of a stream carries. Streams only grow; what the server already has is skipped, a
/// gap is answered with where to go on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "stream", rename_all = "snake_case")]
pub enum Content {
    /// Output of a step, redacted already.
    Log {
        /// Where in the stream this begins, in bytes.
        offset: u64,
        /// The bytes, as base 64.
        base64: String,
    },
    /// Session events, redacted already.
    Session {
        /// The entries, in order.
        entries: Vec<session::Entry>,
    },
}

/// The server's answer to [`StreamRequest`], in the same order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamAnswer {
    /// One answer per piece.
    pub pieces: Vec<PieceAnswer>,
}

/// What the server says of one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum PieceAnswer {
    /// The stream now reaches to here: bytes of a log, or the last entry's number of a session.
    Have {
        /// The stream's length.
        length: u64,
    },
    /// The lease is lost.
    Lost,
}

/// Asks to act on an effect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrantRequest {
    /// Who asks.
    pub runner_id: RunnerId,
    /// The job.
    pub job_id: JobId,
    /// The lease's epoch.
    pub epoch: u64,
    /// Which effect.
    pub key: EffectKey,
    /// True if the runner looked at the far side and the effect is not there.
    pub looked: bool,
}

/// Records what came of an effect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordRequest {
    /// Who records.
    pub runner_id: RunnerId,
    /// The job.
    pub job_id: JobId,
    /// The lease's epoch.
    pub epoch: u64,
    /// Which effect.
    pub key: EffectKey,
    /// What came of it: done, failed or unknown.
    pub state: effect::State,
}

/// The answer to [`GrantRequest`] and [`RecordRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum GrantAnswer {
    /// The effect as it stands now; for a grant, its state is granted to the asker.
    Effect {
        /// The state.
        state: effect::State,
    },
    /// No: look at the far side first, or wait.
    Refused {
        /// Why.
        why: String,
    },
    /// The lease is lost.
    Lost,
}

/// Says what environments a runner keeps and how they stand, and asks what it shall keep. The server
/// answers at once if that is not what the runner was told last, else when it changes or the wait is
/// over. Levels, not edges: everything may be said again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnvironmentsRequest {
    /// Who asks.
    pub runner_id: RunnerId,
    /// How many environments it lets run at once.
    pub capacity: u32,
    /// [`Environments::digest`] of the last answer; empty before the first.
    pub told: String,
    /// How long to wait for news, in milliseconds; at most 30,000.
    pub wait_ms: u64,
    /// What it keeps.
    pub observed: Vec<ObservedEnvironment>,
}

/// One environment as its runner sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ObservedEnvironment {
    /// Which.
    pub id: EnvironmentId,
    /// The wish that the runner knew when it looked.
    pub generation: u64,
    /// What it sees.
    pub seen: Seen,
    /// When something happened in it last.
    pub active_at: Option<Time>,
    /// What the runner found when it looked for work that no repository has; absent if it did not
    /// look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<Looked>,
    /// The last start, if there is news of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<EnvironmentStart>,
    /// How its services ended by themselves lately, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<Ended>,
}

/// What a runner found when it looked for work that no repository has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// The work; absent if there is none.
    pub unpushed: Option<Unpushed>,
}

/// An environment's start, as its runner tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentStart {
    /// Its parts in order, each with its time in microseconds.
    pub stages: Vec<(String, u64)>,
    /// The end of its log, redacted.
    pub log: String,
    /// What it got of what its class says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limited>,
    /// What was there before its first start; absent of a later one, which has its own work tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Basis>,
    /// Ports that the repository names, each with what it calls it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offered: Vec<(u16, String)>,
}

/// What a runner shall keep. What it keeps and is not in here, it leaves alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Environments {
    /// Stands for the ids and generations in here.
    pub digest: String,
    /// The environments; empty where the digest is the one that the runner was told last.
    pub environments: Vec<WantedEnvironment>,
    /// Streams that the runner shall dial. One that it knows is only repeated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attach: Vec<Attach>,
}

/// One environment as it shall be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WantedEnvironment {
    /// Which.
    pub id: EnvironmentId,
    /// Grows with each new wish.
    pub generation: u64,
    /// What is wanted.
    pub wanted: Wanted,
    /// What it is.
    pub spec: Spec,
    /// When it was created.
    pub created_at: Time,
    /// Its repository and a credential that works for this generation; absent where nothing shall run,
    /// and where the repository can't be had.
    pub repository: Option<Repository>,
    /// Why the repository can't be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_refused: Option<String>,
    /// What its set-up is given, and the doors of all that runs in it. Only beside a repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// What its organisation and its project say beside it; nothing where there is no repository.
    #[serde(default)]
    pub house: House,
}
