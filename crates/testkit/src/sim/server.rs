//! The simulated server: the real store without its thread, a watchdog, a reconciler for pull
//! requests; and what it must never do, watched from beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    future::Future,
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use windlass_run::{
    Duration, EffectKey, JobId, OrganisationId, ProjectId, RunId, RunnerId, StepId, Time,
    actor::By,
    effect::{self, Outcome, Request},
    expression::Expression,
    job::{self, End},
    spec::{
        Action, ApproveAction, Kind, Limits, OnTimeout, Output, PullRequestAction, Retry, Source,
        Spec, Step, Target, WaitAction,
    },
};
use windlass_store::{
    Error, Options, Store,
    identity::Organisation,
    options::{Durability, Fault, Writer},
    outbox::OutboxItem,
    projects::Project,
    runs::{Filter, JobRow, NewJob, NewRun, Slice, Standing},
    work::{Executor, GrantAnswer, Hold, LeaseAsk, NewRunner, Registration},
};

use super::{
    Ground,
    clients::{Clients, Task},
    forge::{Forge, Reply},
    world::{Answer, Call, Event, FLIGHT, GRANT, Party, RunnerCall, TTL, World},
};

/// How often the watchdog and the reconciler look, in milliseconds.
const LOOK: i64 = 2_000;

const ALL: Slice = Slice { before: None, limit: 200 };

/// The server.
pub(super) struct Server {
    /// Which of its lives this is.
    pub life: u64,
    store: Option<Store>,
    plot: PathBuf,
    fault: Arc<AtomicBool>,
    organisation_id: OrganisationId,
    project_id: ProjectId,
    /// Requests to the forge that may still be under way: memory of this life.
    acting: BTreeMap<EffectKey, Time>,
    /// Until when each lease holds, kept beside the store and by other means.
    lease_until: BTreeMap<JobId, Time>,
    /// How jobs ended when that was first seen.
    ended: BTreeMap<JobId, End>,
    looked_at: Option<Time>,
    /// True if the watchdog has something to wait for.
    watches: bool,
}

/// Makes the database that every world begins with.
pub(super) fn prepare(template: &Path) -> Result<(), String> {
    let directory = template.with_extension("blobs");
    let now = Time::from_micros(1_799_000_000_000_000);
    let mut options = Options::new(&directory, now);
    (options.writer, options.durability) = (Writer::Inline, Durability::Process);
    let url = format!("sqlite:{}", template.display());
    let store = at_once(Store::open(&url, options)).map_err(|e| e.to_string())?;
    let (organisation_id, project_id) = ids();
    let by = || By::system("simulation");
    let organisation =
        Organisation { id: organisation_id.clone(), name: "world".into(), created_at: now };
    let made = at_once(store.create_organisation(by(), organisation));
    made.map_err(|e| e.to_string())?;
    let project = Project {
        id: project_id,
        organisation_id,
        name: "project".into(),
        forge: "simulated".into(),
        source: "/dev/null".into(),
        default_branch: None,
        settings: serde_json::json!({}),
        created_at: now,
        archived_at: None,
    };
    at_once(store.create_project(by(), project)).map_err(|e| e.to_string())?;
    at_once(store.close());
    Ok(())
}

fn ids() -> (OrganisationId, ProjectId) {
    let now = Time::from_micros(1_799_000_000_000_000);
    (OrganisationId::new(now, 1), ProjectId::new(now, 1))
}

/// The answer of a future that never waits: the inline store's are all like that.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("the inline store never waits"),
    }
}

impl Server {
    pub(super) fn new(ground: &Ground, seed: u64) -> Self {
        let plot = ground.plot(seed);
        let _made_at_start = fs::create_dir_all(&plot);
        let _found_at_start = fs::copy(ground.template(), plot.join("windlass.db"));
        let (organisation_id, project_id) = ids();
        Self {
            life: 0,
            store: None,
            plot,
            fault: Arc::default(),
            organisation_id,
            project_id,
            acting: BTreeMap::new(),
            lease_until: BTreeMap::new(),
            ended: BTreeMap::new(),
            looked_at: None,
            watches: false,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.store.is_some()
    }

    pub(super) fn start(&mut self, now: Time) -> Result<(), String> {
        let mut options = Options::new(self.plot.join("blobs"), now);
        (options.writer, options.durability) = (Writer::Inline, Durability::Process);
        options.lease_ttl = TTL;
        // Small, so that jobs are forgotten and read again.
        options.jobs_in_memory = 4;
        let fault = self.fault.clone();
        options.fault = Some(Fault(Arc::new(move || fault.swap(false, Ordering::Relaxed))));
        let url = format!("sqlite:{}", self.plot.join("windlass.db").display());
        let store = at_once(Store::open(&url, options)).map_err(|e| format!("opening: {e}"))?;
        self.store = Some(store);
        self.life += 1;
        for until in self.lease_until.values_mut() {
            *until = now + TTL;
        }
        Ok(())
    }

    pub(super) fn crash(&mut self) {
        // Nothing is closed properly: what was not committed is gone.
        self.store = None;
        self.acting.clear();
        self.looked_at = None;
    }

    /// Cleans up after the world.
    pub(super) fn leave(&mut self) {
        self.store = None;
        let _left_for_the_ground = fs::remove_dir_all(&self.plot);
    }

    pub(super) fn looked_just_now(&self, now: Time) -> bool {
        self.is_up() && self.looked_at == Some(now)
    }

    fn jobs(&self, filter: Filter) -> Result<Vec<JobRow>, String> {
        let Some(store) = &self.store else { return Ok(vec![]) };
        at_once(store.jobs(&self.organisation_id, filter, ALL)).map_err(|e| e.to_string())
    }

    /// True if every job has ended and every effect is settled: those for the server, and the grants
    /// of runners, which the watchdog waits for.
    pub(super) fn all_over(&self) -> Result<bool, String> {
        let Some(store) = &self.store else { return Ok(false) };
        let counts = at_once(store.counts(&self.organisation_id, None));
        let counts = counts.map_err(|e| e.to_string())?;
        let forever = Time::from_micros(i64::MAX);
        let open = at_once(store.outbox(forever, 1)).map_err(|e| e.to_string())?;
        Ok(counts.queued == 0 && counts.running == 0 && open.is_empty() && !self.watches)
    }

    pub(super) fn what_is_left(&self) -> String {
        let live = Filter { live: Some(true), ..Filter::default() };
        format!("{:?}", self.jobs(live))
    }

    /// The store's own check, and ours that no job runs without a lease.
    pub(super) fn check(&self) -> Result<(), String> {
        let Some(store) = &self.store else { return Ok(()) };
        let faults = at_once(store.check()).map_err(|e| e.to_string())?;
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    /// What must hold right after the watchdog has looked.
    fn check_jobs(&mut self, now: Time) -> Result<(), String> {
        for job in self.jobs(Filter { standing: Some(Standing::Running), ..Filter::default() })? {
            let until = self.lease_until.get(&job.id);
            if until.is_none_or(|until| *until <= now) {
                return Err(format!("{} runs without a live lease ({until:?})", job.id));
            }
        }
        for job in self.jobs(Filter { live: Some(false), ..Filter::default() })? {
            let end = job.end.ok_or_else(|| format!("{} ended without saying how", job.id))?;
            if end.code.trim().is_empty() || end.reason.trim().is_empty() {
                return Err(format!("{} ended without a reason", job.id));
            }
            let first = self.ended.entry(job.id.clone()).or_insert_with(|| end.clone());
            if *first != end {
                return Err(format!("{} ended twice: {first:?}, then {end:?}", job.id));
            }
        }
        Ok(())
    }

    /// What must hold once everything is over.
    pub(super) fn check_at_the_end(
        &mut self,
        clients: &Clients,
        forge: &Forge,
    ) -> Result<(), String> {
        self.check()?;
        let Some(store) = &self.store else { return Ok(()) };
        let jobs = self.jobs(Filter::default())?;
        if jobs.len() != clients.tasks.len() {
            let (jobs, tasks) = (jobs.len(), clients.tasks.len());
            return Err(format!("{tasks} tasks were accepted, but there are {jobs} jobs"));
        }
        let mut done = BTreeSet::new();
        for job in &jobs {
            let ledger = at_once(store.ledger(&self.organisation_id, &job.id));
            for row in ledger.map_err(|e| e.to_string())? {
                let key = row.effect.key;
                let times = forge.happened.get(&key).copied().unwrap_or(0);
                let agrees = match &row.effect.state {
                    effect::State::Done(_) => times == 1,
                    effect::State::Failed { .. } => times == 0,
                    effect::State::Unknown { .. } => times <= 1,
                    effect::State::Staged | effect::State::Granted { .. } => false,
                };
                if !agrees {
                    return Err(format!("{key} is {:?}, but happened {times}x", row.effect.state));
                }
                done.insert(key);
            }
        }
        match forge.happened.keys().find(|key| !done.contains(*key)) {
            Some(key) => Err(format!("{key} happened, but nobody wanted it")),
            None => Ok(()),
        }
    }
}

impl World {
    /// A call reaches the server, if it is there.
    pub(super) fn call(&mut self, call: Call) -> Result<(), String> {
        if !self.server.is_up() {
            return Ok(());
        }
        let fails = self.in_trouble() && self.random.one_in(40);
        self.server.fault.store(fails, Ordering::Relaxed);
        let answered = match call {
            Call::Create { task } => self.create(task),
            Call::Runner { runner, life, id, what } => self.runner_calls(runner, life, id, what),
        };
        let failed = self.server.fault.swap(false, Ordering::Relaxed) != fails;
        match answered {
            Err(error) if failed || matches!(error, Error::NotFound { .. }) => {
                self.say(|| format!("server: {error}"));
                Ok(())
            }
            Err(error) => Err(format!("the server failed: {error}")),
            Ok(()) => Ok(()),
        }
    }

    fn create(&mut self, task: usize) -> Result<(), Error> {
        let (now, server) = (self.now, &self.server);
        let Some(store) = &server.store else { return Ok(()) };
        // Each request gets ids of its own; the key makes it the same request.
        let new = NewRun {
            id: RunId::new(now, self.random.bits()),
            organisation_id: server.organisation_id.clone(),
            title: format!("Task {task}"),
            jobs: vec![NewJob {
                id: JobId::new(now, self.random.bits()),
                title: format!("Task {task}"),
                spec: spec(&server.project_id, &self.clients.tasks[task]),
            }],
            automation: None,
            turn: None,
            idempotency_key: Some(format!("task-{task}")),
        };
        let started = at_once(store.create_run(By::system("client"), new, now))?;
        self.say(|| format!("server: task {task} is {started:?}"));
        self.send(Event::Accepted { task });
        Ok(())
    }

    fn runner_calls(
        &mut self,
        runner: usize,
        life: u64,
        id: RunnerId,
        what: RunnerCall,
    ) -> Result<(), Error> {
        let now = self.now;
        let organisation_id = self.server.organisation_id.clone();
        let Some(store) = self.server.store.clone() else { return Ok(()) };
        let acting = |epoch| Executor::Runner { runner_id: id.clone(), epoch };
        let answer = match what {
            RunnerCall::Register => {
                let (name, version) = (format!("runner {runner}"), "0".to_owned());
                let new = NewRunner {
                    id,
                    organisation_id,
                    name,
                    version,
                    capacity: 2,
                    environments: 0,
                    labels: Default::default(),
                };
                at_once(store.register_runner(
                    By::system("runner"),
                    Registration::without_token(new),
                    now,
                ))?;
                Answer::Registered
            }
            RunnerCall::Lease { max } => {
                let ask = LeaseAsk { organisation_id, runner_id: id, max, ttl: TTL };
                let leased = at_once(store.lease(ask, now))?.leases;
                for leased in &leased {
                    self.server.lease_until.insert(leased.job_id.clone(), now + TTL);
                }
                Answer::Leased(leased)
            }
            RunnerCall::Report(jobs) => {
                // Job by job: when the database fails under one of them, the others are kept, and
                // their leases renewed, although the runner is told of the failure only.
                let (mut answers, mut failed) = (vec![], None);
                for job in jobs {
                    match at_once(store.report(id.clone(), vec![job], TTL, now)) {
                        Ok(answer) => answers.extend(answer),
                        Err(error) => failed = Some(error),
                    }
                }
                for answer in answers.iter().filter(|answer| answer.hold == Hold::Held) {
                    self.server.lease_until.insert(answer.job_id.clone(), now + TTL);
                }
                match failed {
                    Some(error) => return Err(error),
                    None => Answer::Reported(answers),
                }
            }
            RunnerCall::Grant { job_id, epoch, key, looked } => {
                let grant =
                    store.grant(acting(epoch), job_id.clone(), key.clone(), GRANT, looked, now);
                let answer = at_once(grant)?;
                Answer::Effect { job_id, key, answer }
            }
            RunnerCall::Record { job_id, epoch, key, state } => {
                let record = store.record(acting(epoch), job_id.clone(), key.clone(), state, now);
                let answer = at_once(record)?;
                Answer::Effect { job_id, key, answer }
            }
        };
        self.say(|| format!("server to runner {runner}: {answer:?}"));
        self.send(Event::Answer { runner, life, answer });
        Ok(())
    }

    /// Somebody wants a task to stop.
    pub(super) fn cancel(&mut self, task: usize) -> Result<(), String> {
        let title = format!("Task {task}");
        let found = self.server.jobs(Filter::default())?.into_iter().find(|job| job.title == title);
        let (Some(job), Some(store)) = (found, &self.server.store) else { return Ok(()) };
        let (by, organisation_id) = (By::system("client"), job.organisation_id.clone());
        let cancelled =
            at_once(store.cancel_job(by, organisation_id, job.id, "enough".into(), self.now));
        self.say(|| format!("cancel task {task}: {cancelled:?}"));
        match cancelled {
            Ok(()) | Err(Error::Refused(job::Refusal::Ended)) => Ok(()),
            Err(error) => Err(format!("cancelling: {error}")),
        }
    }

    /// The watchdog looks, then the reconciler.
    pub(super) fn server_looks(&mut self, life: u64) -> Result<(), String> {
        let now = self.now;
        let Some(store) = self.server.store.clone().filter(|_| self.server.life == life) else {
            return Ok(());
        };
        let watched = at_once(store.watch(now)).map_err(|e| format!("watching: {e}"))?;
        self.story.lost_leases += watched.requeued.len() as u64;
        self.story.jobs = self.server.ended.len() as u64;
        if !watched.requeued.is_empty() || !watched.ended.is_empty() {
            self.say(|| format!("watchdog: {watched:?}"));
        }
        self.server.check_jobs(now)?;
        for item in at_once(store.outbox(now, 100)).map_err(|e| format!("the outbox: {e}"))? {
            self.reconcile(&store, item)?;
        }
        self.server.looked_at = Some(now);
        self.server.watches = watched.next.is_some();
        self.after(LOOK, Event::Server { life });
        Ok(())
    }

    /// Brings one effect of the server nearer to its end: by what the journal says of it and by what
    /// the forge has, never by what happened a moment ago.
    fn reconcile(&mut self, store: &Store, item: OutboxItem) -> Result<(), String> {
        let (now, organisation_id) = (self.now, item.organisation_id.clone());
        if self.server.acting.get(&item.key).is_some_and(|until| now < *until) {
            return Ok(());
        }
        let ledger = at_once(store.ledger(&organisation_id, &item.job_id));
        let ledger = ledger.map_err(|e| e.to_string())?;
        let Some(row) = ledger.into_iter().find(|row| row.effect.key == item.key) else {
            return Err(format!("{} is in the outbox, but not in the ledger", item.key));
        };
        let looked = match row.effect.state {
            effect::State::Granted { until, .. } if now < until => return Ok(()),
            effect::State::Granted { .. } => true,
            _ => false,
        };
        if looked && let Some(reply) = self.forge.look(&item.request) {
            return self.record(store, &item.job_id, &item.key, outcome(&item.request, &reply));
        }
        let (job_id, key) = (item.job_id.clone(), item.key.clone());
        let grant = store.grant(reconciler(), job_id, key, GRANT, looked, now);
        match at_once(grant).map_err(|e| format!("a grant: {e}"))? {
            GrantAnswer::Effect(_) => {
                self.server.acting.insert(item.key.clone(), now + FLIGHT);
                let from = Party::Server { life: self.server.life };
                let (job_id, key, request) = (item.job_id, item.key, item.request);
                self.fly(Event::Forge { from, job_id, key, request });
                Ok(())
            }
            // The job ended, or somebody wants it to stop, and the forge has nothing.
            GrantAnswer::Refused(why) => {
                let failed = effect::State::Failed { reason: format!("It was not begun: {why}.") };
                self.record(store, &item.job_id, &item.key, failed)
            }
            GrantAnswer::Lost => Err(format!("the reconciler has no lease to lose: {}", item.key)),
        }
    }

    /// The forge has answered the reconciler.
    pub(super) fn forge_answers_server(
        &mut self,
        life: u64,
        job_id: JobId,
        key: EffectKey,
        reply: Reply,
    ) -> Result<(), String> {
        let Some(store) = self.server.store.clone().filter(|_| self.server.life == life) else {
            return Ok(());
        };
        let Reply::Pull(number) = reply else {
            return Err(format!("the forge answered {reply:?} to a pull request"));
        };
        self.record(&store, &job_id, &key, pull(number))
    }

    fn record(
        &mut self,
        store: &Store,
        job_id: &JobId,
        key: &EffectKey,
        state: effect::State,
    ) -> Result<(), String> {
        let record = store.record(reconciler(), job_id.clone(), key.clone(), state, self.now);
        let answer = at_once(record).map_err(|e| format!("a record: {e}"))?;
        self.say(|| format!("reconciler: {key}: {answer:?}"));
        Ok(())
    }
}

fn reconciler() -> Executor {
    Executor::Server { name: "pull-requests".into() }
}

fn pull(number: u64) -> effect::State {
    effect::State::Done(Outcome::PullRequest { number, url: format!("sim://pulls/{number}") })
}

/// What an answer of the forge means for an effect.
pub(super) fn outcome(request: &Request, reply: &Reply) -> effect::State {
    match (request, reply) {
        (Request::Push { branch, commit, .. }, Reply::Pushed) => {
            effect::State::Done(Outcome::Pushed { branch: branch.clone(), commit: commit.clone() })
        }
        (_, Reply::Pull(number)) => pull(*number),
        (_, Reply::Rejected | Reply::Pushed) => {
            effect::State::Failed { reason: "The branch points elsewhere.".into() }
        }
    }
}

fn spec(project_id: &ProjectId, task: &Task) -> Spec {
    let mut steps = Vec::new();
    for n in 0..task.steps {
        let last = n + 1 == task.steps;
        let action = match last && task.publishes {
            true => Action::PullRequest(PullRequestAction::default()),
            false => Action::run("true"),
        };
        steps.extend(step(&format!("step{n}"), action).map(|step| Step {
            timeout: Duration::from_secs(if last { 600 } else { 60 }),
            continue_on_error: n == 1 && !last,
            ..step
        }));
    }
    let target = Target { project_id: project_id.clone(), base: "main".into(), commit: None };
    let limits = Limits { duration: Duration::from_secs(900), tokens: Some(500), requeues: 8 };
    let mut spec = Spec { limits, ..Spec::new(target, steps) };
    if task.is_tree {
        spec.steps.splice(0..0, tree());
        spec.on_failure.extend(step("told", Action::run("true")));
        spec.finally.extend(step("tidy", Action::run("true")));
    }
    spec
}

fn step(id: &str, action: Action) -> Option<Step> {
    let retry = Retry { attempts: 2, backoff: Duration::from_secs(3), ..Retry::default() };
    let timeout = Duration::from_secs(60);
    Some(Step { timeout, retry, ..Step::new(StepId::parse(id).ok()?, action) })
}

/// Steps of all shapes: a list from an output, rounds, several at once, a rest, an approval that nobody
/// gives.
fn tree() -> Vec<Step> {
    let once =
        |id: &str, action| step(id, action).map(|step| Step { retry: Retry::default(), ..step });
    let source = Source::ExitCode;
    let list = Output { kind: Kind::Json, source, accept: None };
    let find = step("find", Action::run("true"))
        .map(|step| Step { outputs: [("list".to_owned(), list)].into(), ..step });
    let items = Expression::parse("steps.find.outputs.list").ok();
    let each = items.and_then(|items| {
        let steps = step("fix", Action::run("true")).into_iter().collect();
        once("each", Action::ForEach { items, name: "item".into(), steps, limit: 2 })
    });
    let at_once = {
        let wait = WaitAction::For { duration: Duration::from_secs(70) };
        let prompt = "Go on?".into();
        let timeout = Some(Duration::from_secs(90));
        let on_timeout = OnTimeout::Approve;
        let by_role = Default::default();
        let ask = ApproveAction { prompt, by_role, timeout, on_timeout };
        let steps = [
            step("one", Action::run("true")),
            once("rest", Action::Wait(wait)),
            once("ask", Action::Approve(ask)),
        ];
        once(
            "at-once",
            Action::Parallel { steps: steps.into_iter().flatten().collect(), limit: None },
        )
    };
    let until = Expression::parse("round == 2").ok().and_then(|condition| {
        let steps = step("again", Action::run("true")).into_iter().collect();
        once("until", Action::Until { condition, rounds: 3, pause: Duration::from_secs(5), steps })
    });
    [find, each, at_once, until].into_iter().flatten().collect()
}
