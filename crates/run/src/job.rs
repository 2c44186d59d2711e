//! The job machine: leases, steps, retries, cancel, limits, effects, end.
//!
//! A job is queued, leased (with an epoch and a deadline), perhaps requeued, and ends once. Within a
//! lease the runner owns step order: it drives this machine and reports; the server re-checks each
//! report with the same code and folds the events. A report under a stale epoch is refused.
//!
//! Steps are a tree, and a job holds *instances* of them: one for each round of the containers around it.
//! What follows by itself (a condition that is false, a container that is over, the end) is worked out
//! within [`decide`] after each report; a runner executes leaves and says when a time has passed.

mod apply;
mod cancel;
mod decide;
mod decision;
mod end;
mod grant;
mod lease;
mod next;
mod record;
mod rendered;
mod report;
mod scope;
mod settle;
pub mod start;
mod tree;
mod turn;
mod watch;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use decide::decide;
pub use next::{LONGEST_WAIT, next};
pub use rendered::{Rendered, rendered};
pub use start::Start;
pub use tree::{Container, List, Place};
pub use watch::GRACE;

use crate::{
    Duration, EffectKey, RunnerId, StepId, Time,
    actor::By,
    effect,
    spec::{InvalidSpec, Spec},
};

/// What a job is, folded from its events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What it was asked to do. Shared, since it never changes and may be long.
    pub spec: Arc<Spec>,
    /// Who asked.
    pub by: By,
    /// When it was created.
    pub created_at: Time,
    /// Where it stands.
    pub phase: Phase,
    /// The instances of steps, in the order in which they came into being: those of the main list first.
    /// [`State::in_order`] is the order for people.
    pub steps: Vec<StepState>,
    /// The epoch of the newest lease; 0 before the first. Grows by one with each lease.
    pub epoch: u64,
    /// The newest report accepted under that epoch; 0 before the first.
    pub last_report: u64,
    /// When the first lease began. The job's duration counts from here.
    pub started_at: Option<Time>,
    /// The commit that the work starts from, once known.
    pub base_commit: Option<String>,
    /// How often it was requeued after a lost lease.
    pub requeues: u32,
    /// Set once somebody asked it to stop.
    pub cancel: Option<Cancel>,
    /// Its effects, in the order in which they were staged.
    pub effects: Vec<effect::Effect>,
    /// Tokens used so far, as reported by the model door.
    pub tokens: u64,
    /// How its environments came to be, the newest last; only so many are kept.
    #[serde(default)]
    pub starts: Vec<Start>,
    /// How the job will end, once that is known and other lists of steps are still to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<End>,
    /// The index of the first instance of the list that is done after a failure, once that has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<usize>,
    /// The same of the list that is done last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finally: Option<usize>,
    /// Since when it rests without a runner, by its own will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resting_since: Option<Time>,
    /// How long it has rested so far. It does not count as the job's duration.
    #[serde(default)]
    pub rested: Duration,
    /// How many bytes its steps' values have.
    #[serde(default)]
    pub kept_bytes: usize,
    /// The instances with a checkpoint, in the order in which those were made. Not those of states that
    /// were written before there were trees: see [`State::checkpoints`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpointed: Vec<usize>,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// It waits for a runner.
    Queued {
        /// Not before then.
        not_before: Time,
    },
    /// A runner has it.
    Leased {
        /// Which runner.
        runner_id: RunnerId,
        /// Until when, unless renewed.
        deadline: Time,
    },
    /// It is over.
    Ended(End),
}

/// Somebody asked for the job to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Who.
    pub by: By,
    /// Why, in their words.
    pub reason: String,
    /// When.
    pub at: Time,
}

/// The state of one instance of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// Its name: the step's, with the blocks and rounds around it.
    pub id: StepId,
    /// Where it stands.
    pub phase: StepPhase,
    /// Attempts begun, over all leases.
    pub attempts: u32,
    /// Attempts that failed and count against the step's retries (a lost lease does not).
    pub failures: u32,
    /// The hidden-ref commit of the work tree after the step, where it succeeded.
    pub checkpoint: Option<String>,
    /// Where it stands in the tree.
    #[serde(default)]
    pub place: Place,
    /// The values that it gave.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Value>,
    /// What it holds, if it is a container that was entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// What a `report` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
    /// What was decided, where somebody was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// What lies behind its failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Cause>,
}

/// What a `report` step says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// One line.
    pub title: String,
    /// Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// What lies behind a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The stable code for the job's end.
    pub code: String,
    /// The agent's report, where it gave up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub give_up: Option<GiveUp>,
}

/// What was decided on a step that asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What.
    pub verdict: Verdict,
    /// Who.
    pub by: By,
    /// In their words.
    #[serde(default)]
    pub note: String,
    /// When.
    pub at: Time,
}

/// What can be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It goes on.
    Approved,
    /// It does not.
    Declined,
    /// Nobody decided in time, and then it does not go on.
    TimedOut,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum StepPhase {
    /// Not begun, or to be begun again after a lost lease.
    Pending,
    /// An attempt runs.
    Running {
        /// Since when.
        since: Time,
    },
    /// The last attempt failed; the next begins then.
    Backoff {
        /// When.
        until: Time,
    },
    /// It ended well.
    Succeeded,
    /// It failed for good.
    Failed {
        /// Why, for a person.
        reason: String,
    },
    /// It was not done, and need not be.
    Skipped {
        /// Why, for a person.
        reason: String,
    },
    /// A container that has begun.
    Entered {
        /// When.
        since: Time,
    },
    /// It rests.
    Resting {
        /// Until then.
        until: Time,
    },
    /// It waits for somebody to decide.
    Asked {
        /// Since when.
        since: Time,
        /// What is to be decided.
        prompt: String,
        /// Until when, if not as long as it takes.
        until: Option<Time>,
    },
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The verdict.
    pub outcome: Outcome,
    /// A stable code: `done`, `no_change`, `agent_gave_up`, `step_failed`, `verify_failed`,
    /// `cancelled`, `duration`, `tokens`, `lease_lost`, `layer_missing`, `repository`, ...
    pub code: String,
    /// One or more sentences that a person can act on.
    pub reason: String,
    /// The structured report of a job without a change, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub give_up: Option<GiveUp>,
}

/// The verdict on a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All steps ended well, with or without a change.
    Succeeded,
    /// The agent, honestly, could not do it.
    GaveUp,
    /// Something broke.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// There was nothing to do.
    Skipped,
}

/// Why there is no change: the structured end of a job without one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveUp {
    /// What was tried, in order.
    pub tried: Vec<String>,
    /// Why it stopped.
    pub stopped_because: String,
    /// What would unblock it.
    pub would_unblock: String,
}

/// What somebody wants of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Gives the job to a runner. Legal while queued and due.
    Lease {
        /// The runner.
        runner_id: RunnerId,
        /// How long until the lease must be renewed.
        ttl: Duration,
    },
    /// Renews the lease. Legal under the current epoch.
    Heartbeat {
        /// The lease's epoch.
        epoch: u64,
        /// How long until it must be renewed again.
        ttl: Duration,
    },
    /// The runner reports. Legal under the current epoch; a report that was accepted before is a
    /// duplicate and yields no events.
    Report {
        /// The lease's epoch.
        epoch: u64,
        /// From 1 within the epoch, without gaps.
        seq: u64,
        /// What happened.
        report: Report,
    },
    /// An executor asks to act on an effect.
    Grant {
        /// Which effect.
        key: EffectKey,
        /// The lease's epoch for a runner; the server's own generation for a reconciler.
        epoch: u64,
        /// Who asks.
        executor: effect::Executor,
        /// How long the grant should last.
        ttl: Duration,
        /// True if the executor has looked at the far side since the last grant expired and the
        /// effect is not there.
        looked: bool,
    },
    /// An executor records what came of a granted effect (or what it found when it looked). Legal
    /// after the job's end too: what happened outside is always recorded.
    Record {
        /// Which effect.
        key: EffectKey,
        /// The lease's epoch for a runner; the server's own generation for a reconciler.
        epoch: u64,
        /// Who records.
        executor: effect::Executor,
        /// What came of it: `Done`, `Failed` or `Unknown`.
        state: effect::State,
    },
    /// Somebody asks for the job to stop. A queued job ends at once; a leased one when its runner
    /// says so or its lease runs out.
    Cancel(Cancel),
    /// Somebody decides on a step that asks. Legal once, while it asks. Whether they may is for the
    /// caller to know.
    Decide {
        /// The instance.
        step_id: StepId,
        /// What, by whom.
        decision: Decision,
    },
    /// Others go first: the job waits until it is told to go on. Legal before the first lease.
    Hold,
    /// It is the job's turn. Always legal; yields nothing unless it is held.
    GoOn {
        /// Why, for a person.
        reason: String,
    },
    /// The runner gives the job back unharmed (it drains or can't run it).
    Release {
        /// The lease's epoch.
        epoch: u64,
        /// Why.
        reason: String,
    },
    /// The server's watchdog looks: expired leases and passed limits are acted on. Always legal;
    /// often yields nothing.
    Watch,
}

/// What a runner reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// The commit that the work starts from. Once per job.
    Base {
        /// The full commit id.
        commit: String,
    },
    /// An attempt of a step began.
    StepStarted {
        /// The step.
        step_id: StepId,
    },
    /// An attempt of a step ended.
    StepEnded {
        /// The step.
        step_id: StepId,
        /// How.
        result: StepResult,
    },
    /// A step wants an outward write.
    EffectStaged {
        /// The step.
        step_id: StepId,
        /// Its key.
        key: EffectKey,
        /// What to do.
        request: effect::Request,
    },
    /// Tokens used by the job so far.
    Tokens {
        /// The total.
        total: u64,
    },
    /// An environment of the job is ready.
    Started(Start),
    /// Something follows by itself: see [`Next::Settle`].
    Settle,
    /// A rest is over.
    Rested {
        /// The instance that rested.
        step_id: StepId,
    },
    /// A decision was heard of.
    Decided {
        /// The instance that asked.
        step_id: StepId,
    },
    /// Nothing can be gone on with for a while: the lease is given back until then.
    Rest,
    /// The job can't go on (environment refused, repository gone), or was stopped on request.
    Ended(End),
}

/// How an attempt of a step ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum StepResult {
    /// Well.
    Succeeded {
        /// The hidden-ref commit of the work tree after it; absent if the tree did not change.
        checkpoint: Option<String>,
        /// The values that it gives. Any that is missing or isn't as its step says is a failure.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        outputs: BTreeMap<String, Value>,
    },
    /// Badly, but another attempt may help.
    Failed {
        /// A stable code for the job's end.
        code: String,
        /// Why, for a person.
        reason: String,
    },
    /// The agent gave up; another attempt would not help.
    GaveUp(GiveUp),
    /// There is nothing to do: the job ends well and without a change.
    NothingToDo {
        /// Why, for a person.
        reason: String,
    },
}

/// What happened to a job. The journal's content: variants are only ever added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// It was created.
    Created {
        /// What it was asked to do.
        spec: Arc<Spec>,
        /// Who asked.
        by: By,
    },
    /// A runner got it.
    Leased {
        /// The runner.
        runner_id: RunnerId,
        /// The lease's epoch.
        epoch: u64,
        /// Until when, unless renewed.
        deadline: Time,
    },
    /// The lease was renewed. Not journalled one by one: a projection holds the deadline.
    Renewed {
        /// Until when, unless renewed.
        deadline: Time,
    },
    /// A report was accepted; the events it caused follow.
    Reported {
        /// Its place within the epoch.
        seq: u64,
    },
    /// The commit that the work starts from is known.
    BaseKnown {
        /// The full commit id.
        commit: String,
    },
    /// An attempt of a step began.
    StepStarted {
        /// The step.
        step_id: StepId,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// A step ended well.
    StepSucceeded {
        /// The step.
        step_id: StepId,
        /// The hidden-ref commit of the work tree after it.
        checkpoint: Option<String>,
        /// The values that it gave.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        outputs: BTreeMap<String, Value>,
    },
    /// An attempt failed and another follows.
    StepRetried {
        /// The step.
        step_id: StepId,
        /// When the next attempt begins.
        until: Time,
        /// Why the last one failed.
        reason: String,
    },
    /// A step failed for good.
    StepFailed {
        /// The step.
        step_id: StepId,
        /// Why.
        reason: String,
        /// What lies behind it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
    },
    /// A step is not done, and need not be.
    StepSkipped {
        /// The step.
        step_id: StepId,
        /// Why.
        reason: String,
    },
    /// A `report` says this, and is over.
    StepTold {
        /// The step.
        step_id: StepId,
        /// What it says.
        told: Told,
        /// Its values.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        values: BTreeMap<String, Value>,
    },
    /// A container begins.
    Entered {
        /// The container.
        step_id: StepId,
        /// The elements of a `for_each`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        items: Vec<Value>,
        /// What a block is given.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        inputs: BTreeMap<String, Value>,
    },
    /// A container's next round begins: its steps come into being.
    RoundBegan {
        /// The container.
        step_id: StepId,
        /// How many rounds at its beginning are over.
        over: usize,
    },
    /// A step rests; a container, before its next round.
    RestBegan {
        /// The step.
        step_id: StepId,
        /// Until then.
        until: Time,
    },
    /// A step asks for a decision.
    Asked {
        /// The step.
        step_id: StepId,
        /// What is to be decided.
        prompt: String,
        /// Until when it waits, if not as long as it takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Time>,
    },
    /// Somebody decided on it.
    Decided {
        /// The step.
        step_id: StepId,
        /// What, by whom.
        decision: Decision,
    },
    /// The job will end so; other lists of steps come first.
    VerdictMade {
        /// The end.
        end: End,
    },
    /// Another list of steps begins: they come into being.
    ListBegan {
        /// Which.
        list: List,
    },
    /// The lease was given back until there is something to do.
    Rests {
        /// Until then, if nothing happens before.
        until: Time,
    },
    /// An effect was staged.
    EffectStaged {
        /// Its key.
        key: EffectKey,
        /// The step that wants it.
        step_id: StepId,
        /// What to do.
        request: effect::Request,
    },
    /// An effect's state changed.
    EffectChanged {
        /// Its key.
        key: EffectKey,
        /// Its new state.
        state: effect::State,
    },
    /// An environment of it was made ready.
    Started(Start),
    /// Tokens used so far.
    TokensUsed {
        /// The total.
        total: u64,
    },
    /// Somebody asked it to stop.
    CancelRequested(Cancel),
    /// The lease was lost or given back: it waits for a runner again, from its last durable step.
    Requeued {
        /// Why.
        reason: String,
        /// True if it counts against the job's requeues.
        counted: bool,
        /// Not before then.
        not_before: Time,
    },
    /// It is over.
    Ended(End),
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// The job has ended.
    #[error("the job has ended")]
    Ended,
    /// The job isn't queued, or not due yet.
    #[error("the job isn't waiting for a runner")]
    NotQueued,
    /// The epoch isn't the current lease's: whoever speaks has lost the job and must stop.
    #[error("the lease was lost: epoch {given} isn't the current one, {current}")]
    StaleEpoch {
        /// The epoch given.
        given: u64,
        /// The current one.
        current: u64,
    },
    /// A report is missing between the last one and this one.
    #[error("report {given} came after {last}: send the missing ones first")]
    Gap {
        /// The report given.
        given: u64,
        /// The last one accepted.
        last: u64,
    },
    /// The command does not fit the job's state.
    #[error("{why}")]
    Illegal {
        /// Why, for a person.
        why: String,
    },
    /// An effect is granted to somebody else, or its grant expired and nobody has looked.
    #[error("the effect can't be granted: {why}")]
    NotGranted {
        /// Why.
        why: String,
    },
}

/// What the runner that holds the lease should do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Report [`Report::Settle`]: something follows by itself.
    Settle,
    /// Report [`Report::Rested`]: a rest is over.
    Rested {
        /// The instance's index.
        index: usize,
    },
    /// Report [`Report::Decided`]: somebody has decided.
    Decided {
        /// The instance's index.
        index: usize,
    },
    /// Work.
    Go {
        /// Start an attempt of each of these instances.
        start: Vec<usize>,
        /// An attempt of these runs: see it to its end.
        running: Vec<usize>,
        /// Ask again then, if nothing happens before.
        until: Option<Time>,
    },
    /// Nothing before then.
    Wait {
        /// When.
        until: Time,
    },
    /// Nothing for a while: report [`Report::Rest`].
    Rest,
    /// Stop what runs and report the job's end: somebody asked, or a limit has passed.
    Stop(End),
    /// It is over.
    Ended,
}

/// The first event of a job.
///
/// # Errors
/// The first fault of the spec.
pub fn create(spec: Arc<Spec>, by: By) -> Result<Event, InvalidSpec> {
    spec.check()?;
    Ok(Event::Created { spec, by })
}

impl StepResult {
    /// Well, with that checkpoint and no values.
    pub fn succeeded(checkpoint: Option<String>) -> Self {
        Self::Succeeded { checkpoint, outputs: BTreeMap::new() }
    }
}

impl Event {
    /// An instance that ended well and left nothing.
    fn succeeded(step_id: StepId) -> Self {
        Self::StepSucceeded { step_id, checkpoint: None, outputs: BTreeMap::new() }
    }
}
