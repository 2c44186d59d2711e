//! A server in memory, with faults on request.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Request, State as Shared},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::sync::Notify;
use windlass_git::smart_http;
use windlass_run::{
    EnvironmentId, JobId, ProjectId, RunId, RunnerId, StepId, Time, UserId,
    actor::{Actor, By},
    effect,
    environment::{Seen, Spec as EnvironmentSpec, Wanted},
    job::{self, Command, End, Event, Phase, State},
    spec::{Action, Spec, Step, Target},
};
use windlass_wire::{runner as wire, session::Entry};

/// A server in memory and the address where it listens.
#[derive(Clone)]
pub(crate) struct World(Arc<Inner>);

struct Inner {
    url: String,
    jobs: Mutex<BTreeMap<JobId, Held>>,
    changed: Notify,
    /// Answers 503 without looking.
    away: AtomicBool,
    /// So many calls are carried out and then answered 503: the answer is lost.
    lose: AtomicU32,
    n_reports: AtomicU64,
    serial: AtomicU64,
    repository: Mutex<Option<wire::Repository>>,
    house: Mutex<wire::House>,
    refused: Mutex<Vec<JobId>>,
    origin: Mutex<Option<windlass_git::Repository>>,
    backend: smart_http::Backend,
    /// The references that pushes moved, in order.
    pushed: Mutex<Vec<String>>,
    pull_requests: Mutex<Vec<PullRequest>>,
    /// What jobs are given: each question takes one, the last one stays.
    secrets: Mutex<Vec<wire::Secrets>>,
    /// Environments that live by themselves: what is wanted of each, and what was seen of it last.
    kept: Mutex<BTreeMap<EnvironmentId, Kept>>,
}

struct Kept {
    wanted: wire::WantedEnvironment,
    seen: Option<wire::ObservedEnvironment>,
    work: Vec<u8>,
}

/// A pull request that the world opened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PullRequest {
    pub(crate) base: String,
    pub(crate) head: String,
    pub(crate) commit: String,
    pub(crate) title: String,
    pub(crate) body: String,
}

/// How long a lease lasts without a heartbeat.
const TTL: windlass_run::Duration = windlass_run::Duration::from_secs(30);

/// What opens the world's repository.
pub(crate) const CREDENTIAL: &str = "not-for-the-eyes-of-agents";

#[derive(Clone)]
struct Held {
    state: State,
    journal: Vec<Event>,
    streams: BTreeMap<(StepId, u32), Streams>,
    uploads: BTreeMap<String, Vec<u8>>,
    checkpoints: Vec<wire::Checkpoint>,
    cancels: u32,
}

#[derive(Clone, Default)]
pub(crate) struct Streams {
    pub(crate) log: Vec<u8>,
    pub(crate) session: Vec<Entry>,
}

pub(crate) fn now() -> Time {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Time::from_micros(i64::try_from(since.as_micros()).expect("before the year 294000"))
}

pub(crate) fn run_step(id: &str, command: &str) -> Step {
    step(id, Action::run(command))
}

pub(crate) fn step(id: &str, action: Action) -> Step {
    Step {
        timeout: windlass_run::Duration::from_secs(60),
        ..Step::new(StepId::parse(id).expect("a step's name"), action)
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let world = Self(Arc::new(Inner {
            url,
            jobs: Mutex::default(),
            changed: Notify::new(),
            away: AtomicBool::new(false),
            lose: AtomicU32::new(0),
            n_reports: AtomicU64::new(0),
            serial: AtomicU64::new(1),
            repository: Mutex::new(None),
            house: Mutex::default(),
            refused: Mutex::default(),
            origin: Mutex::new(None),
            backend: smart_http::Backend::new(smart_http::Limits::default()),
            pushed: Mutex::default(),
            pull_requests: Mutex::default(),
            secrets: Mutex::default(),
            kept: Mutex::default(),
        }));
        let app = Router::new()
            .route("/api/v1/runner/register", post(register))
            .route("/api/v1/runner/lease", post(lease))
            .route("/api/v1/runner/report", post(report))
            .route("/api/v1/runner/streams", post(streams))
            .route("/api/v1/runner/grant", post(grant))
            .route("/api/v1/runner/record", post(record))
            .route("/api/v1/runner/environments", post(environments))
            .route("/api/v1/runner/environments/{id}/work", put(environment_work))
            .route("/api/v1/runner/jobs/{job}/secrets", get(secrets))
            .route("/api/v1/runner/jobs/{job}/{kind}/{step}", put(upload).get(download))
            .fallback(git)
            .layer(middleware::from_fn_with_state(world.clone(), faults))
            .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
            .with_state(world.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        tokio::spawn(open_pull_requests(world.clone()));
        world
    }

    /// Serves this repository to the jobs.
    pub(crate) fn serve(&self, origin: windlass_git::Repository) {
        *self.0.origin.lock().expect("not poisoned") = Some(origin);
        self.set_repository(wire::Repository {
            project_id: ProjectId::new(now(), 77),
            name: "acme/sums".to_owned(),
            url: format!("{}/git/sums.git", self.url()),
            username: "windlass".to_owned(),
            credential: CREDENTIAL.to_owned(),
            branches: vec![],
        });
    }

    /// The references that pushes moved, in order.
    pub(crate) fn pushed(&self) -> Vec<String> {
        self.0.pushed.lock().expect("not poisoned").clone()
    }

    pub(crate) fn pull_requests(&self) -> Vec<PullRequest> {
        self.0.pull_requests.lock().expect("not poisoned").clone()
    }

    pub(crate) fn session(
        &self,
        job_id: &JobId,
        step: &str,
        attempt: u32,
    ) -> Vec<windlass_wire::session::Event> {
        self.streams(job_id, step, attempt).session.into_iter().map(|entry| entry.event).collect()
    }

    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.0.away.store(away, Ordering::SeqCst);
    }

    pub(crate) fn lose_answers(&self, n: u32) {
        self.0.lose.store(n, Ordering::SeqCst);
    }

    pub(crate) fn set_repository(&self, repository: wire::Repository) {
        *self.0.repository.lock().expect("not poisoned") = Some(repository);
    }

    /// What organisation and project say from now on.
    pub(crate) fn set_house(&self, house: wire::House) {
        *self.0.house.lock().expect("not poisoned") = house;
    }

    /// These are given to the jobs, the next ones with each question until the last.
    pub(crate) fn give(&self, in_turn: Vec<Vec<wire::Secret>>) {
        let in_turn = in_turn.into_iter().map(|secrets| wire::Secrets { secrets }).collect();
        *self.0.secrets.lock().expect("not poisoned") = in_turn;
    }

    /// From now on every call that says something of this job is refused whole.
    pub(crate) fn refuse(&self, job_id: &JobId) {
        self.0.refused.lock().expect("not poisoned").push(job_id.clone());
    }

    /// Adds a job with these steps.
    pub(crate) fn add(&self, steps: Vec<Step>) -> JobId {
        self.add_spec(steps, |_| {})
    }

    pub(crate) fn add_spec(&self, steps: Vec<Step>, change: impl FnOnce(&mut Spec)) -> JobId {
        let now = now();
        let serial = u128::from(self.0.serial.fetch_add(1, Ordering::SeqCst));
        let job_id = JobId::new(now, serial);
        let target = Target {
            project_id: ProjectId::new(now, serial),
            base: "main".to_owned(),
            commit: None,
        };
        let mut spec = Spec::new(target, steps);
        change(&mut spec);
        let by = By::own(Actor::User(UserId::new(now, 1)));
        let created = job::create(Arc::new(spec), by).expect("a sound spec");
        let state = State::begin(&created, now).expect("the first event");
        let held = Held {
            state,
            journal: vec![created],
            streams: BTreeMap::new(),
            uploads: BTreeMap::new(),
            checkpoints: vec![],
            cancels: 0,
        };
        self.jobs().insert(job_id.clone(), held);
        self.0.changed.notify_waiters();
        job_id
    }

    pub(crate) fn command(
        &self,
        job_id: &JobId,
        command: &Command,
    ) -> Result<Vec<Event>, job::Refusal> {
        let now = now();
        let events = {
            let mut jobs = self.jobs();
            let held = jobs.get_mut(job_id).expect("a job of this world");
            let events = job::decide(&held.state, command, now)?;
            for event in &events {
                held.state.apply(event, now);
            }
            held.journal.extend(events.clone());
            held.cancels += u32::from(matches!(command, Command::Cancel(_)));
            events
        };
        // A look that changed nothing must not wake those who look.
        if !events.is_empty() {
            self.0.changed.notify_waiters();
        }
        Ok(events)
    }

    pub(crate) fn state(&self, job_id: &JobId) -> State {
        self.jobs()[job_id].state.clone()
    }

    pub(crate) fn journal(&self, job_id: &JobId) -> Vec<Event> {
        self.jobs()[job_id].journal.clone()
    }

    pub(crate) fn streams(&self, job_id: &JobId, step: &str, attempt: u32) -> Streams {
        let key = (StepId::parse(step).expect("a step's name"), attempt);
        self.jobs()[job_id].streams.get(&key).cloned().unwrap_or_default()
    }

    pub(crate) fn has_ended(&self, job_id: &JobId) -> bool {
        matches!(self.jobs()[job_id].state.phase, Phase::Ended(_))
    }

    /// The log without the line that says how long the start took.
    pub(crate) fn log(&self, job_id: &JobId, step: &str, attempt: u32) -> String {
        let whole = self.whole_log(job_id, step, attempt);
        let lines = whole.split_inclusive('\n');
        lines.filter(|line| !line.starts_with("[windlass: environment: started in ")).collect()
    }

    pub(crate) fn whole_log(&self, job_id: &JobId, step: &str, attempt: u32) -> String {
        String::from_utf8_lossy(&self.streams(job_id, step, attempt).log).into_owned()
    }

    pub(crate) fn upload(&self, job_id: &JobId, name: &str) -> Option<Vec<u8>> {
        self.jobs()[job_id].uploads.get(name).cloned()
    }

    pub(crate) fn n_reports(&self) -> u64 {
        self.0.n_reports.load(Ordering::SeqCst)
    }

    /// Waits until the state of the job is so; panics with the state when it takes far too long.
    pub(crate) async fn until<T>(&self, job_id: &JobId, so: impl Fn(&State) -> Option<T>) -> T {
        let wait = async {
            loop {
                let changed = self.0.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(found) = so(&self.state(job_id)) {
                    return found;
                }
                changed.await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(120), wait).await {
            Ok(found) => found,
            Err(_) => panic!("it never came to this; the job is: {:#?}", self.state(job_id)),
        }
    }

    /// Waits until the log of an attempt holds the text.
    pub(crate) async fn until_log(&self, job_id: &JobId, step: &str, attempt: u32, text: &str) {
        self.until(job_id, |_| self.log(job_id, step, attempt).contains(text).then_some(())).await;
    }

    /// Waits until the session of a step's first attempt has such an event.
    pub(crate) async fn until_session(
        &self,
        job_id: &JobId,
        step: &str,
        such: impl Fn(&windlass_wire::session::Event) -> bool,
    ) {
        self.until(job_id, |_| self.session(job_id, step, 1).iter().any(&such).then_some(())).await;
    }

    pub(crate) async fn ended(&self, job_id: &JobId) -> End {
        self.until(job_id, |state| match &state.phase {
            Phase::Ended(end) => Some(end.clone()),
            Phase::Queued { .. } | Phase::Leased { .. } => None,
        })
        .await
    }

    /// Wants an environment of the world's repository that lives by itself.
    pub(crate) fn keep(&self, name: &str) -> EnvironmentId {
        self.keep_fork(name, None)
    }

    /// The same, which begins with the work tree of another one.
    pub(crate) fn keep_fork(&self, name: &str, forked: Option<EnvironmentId>) -> EnvironmentId {
        self.keep_with(name, |spec| spec.forked = forked)
    }

    /// The same, which is what somebody makes of it.
    pub(crate) fn keep_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut EnvironmentSpec),
    ) -> EnvironmentId {
        let repository = self.0.repository.lock().expect("not poisoned").clone();
        let serial = u128::from(self.0.serial.fetch_add(1, Ordering::SeqCst));
        let id = EnvironmentId::new(now(), serial);
        let mut spec = EnvironmentSpec {
            name: name.to_owned(),
            project_id: repository.as_ref().expect("it serves one").project_id.clone(),
            base: "main".to_owned(),
            network: vec![],
            idle: None,
            life: None,
            forked: None,
            runs_on: Default::default(),
            class: None,
            archive: None,
        };
        change(&mut spec);
        let wanted = wire::WantedEnvironment {
            id: id.clone(),
            generation: 1,
            wanted: Wanted::Running,
            spec,
            created_at: now(),
            repository,
            secrets: Vec::new(),
            repository_refused: None,
            house: self.0.house.lock().expect("not poisoned").clone(),
        };
        let kept = Kept { wanted, seen: None, work: Vec::new() };
        self.kept().insert(id.clone(), kept);
        self.0.changed.notify_waiters();
        id
    }

    /// Wants something else of it.
    pub(crate) fn want(&self, id: &EnvironmentId, wanted: Wanted) {
        if let Some(kept) = self.kept().get_mut(id) {
            kept.wanted.wanted = wanted;
            kept.wanted.generation += 1;
        }
        self.0.changed.notify_waiters();
    }

    /// The work that was given to the world, as a bundle.
    pub(crate) fn work_of(&self, id: &EnvironmentId) -> Vec<u8> {
        self.kept()[id].work.clone()
    }

    /// What was seen of it under what is wanted now.
    pub(crate) fn seen(&self, id: &EnvironmentId) -> Option<wire::ObservedEnvironment> {
        let kept = self.kept();
        let Kept { wanted, seen, .. } = &kept[id];
        seen.clone().filter(|seen| seen.generation == wanted.generation)
    }

    /// Waits until it stands somewhere where it stays.
    pub(crate) async fn settled(&self, id: &EnvironmentId) -> Seen {
        let is_settled = |seen: &Seen| !matches!(seen, Seen::Starting { .. } | Seen::Stopping);
        self.until_seen(id, is_settled).await
    }

    /// Waits until it stands in such a way.
    pub(crate) async fn until_seen(
        &self,
        id: &EnvironmentId,
        such: impl Fn(&Seen) -> bool,
    ) -> Seen {
        let wait = async {
            loop {
                let changed = self.0.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                match self.seen(id).map(|seen| seen.seen).filter(&such) {
                    None => changed.await,
                    Some(seen) => return seen,
                }
            }
        };
        match tokio::time::timeout(Duration::from_secs(120), wait).await {
            Ok(seen) => seen,
            Err(_) => panic!("it never came to rest: {:#?}", self.seen(id)),
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<EnvironmentId, Kept>> {
        self.0.kept.lock().expect("not poisoned")
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<JobId, Held>> {
        self.0.jobs.lock().expect("not poisoned")
    }
}

async fn environments(
    Shared(world): Shared<World>,
    Json(request): Json<wire::EnvironmentsRequest>,
) -> Json<wire::Environments> {
    for mut observed in request.observed {
        if let Some(kept) = world.kept().get_mut(&observed.id) {
            // News of a start are told once.
            let told = kept.seen.take().and_then(|seen| seen.start);
            observed.start = observed.start.or(told);
            kept.seen = Some(observed);
        }
    }
    world.0.changed.notify_waiters();
    let deadline = tokio::time::Instant::now() + Duration::from_millis(request.wait_ms);
    loop {
        let changed = world.0.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let environments: Vec<wire::WantedEnvironment> =
            world.kept().values().map(|kept| kept.wanted.clone()).collect();
        let lines =
            environments.iter().map(|wanted| format!("{} {}\n", wanted.id, wanted.generation));
        let digest: String = lines.collect();
        if digest != request.told {
            return Json(wire::Environments { digest, environments, attach: vec![] });
        }
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep_until(deadline) => {
                return Json(wire::Environments { digest, ..Default::default() });
            }
        }
    }
}

async fn environment_work(
    Shared(world): Shared<World>,
    Path(id): Path<EnvironmentId>,
    work: Bytes,
) -> StatusCode {
    match world.kept().get_mut(&id) {
        Some(kept) => {
            kept.work = work.to_vec();
            StatusCode::NO_CONTENT
        }
        None => StatusCode::NOT_FOUND,
    }
}

async fn secrets(Shared(world): Shared<World>) -> Json<wire::Secrets> {
    let mut left = world.0.secrets.lock().expect("not poisoned");
    let now = left.first().cloned().unwrap_or_default();
    if left.len() > 1 {
        left.remove(0);
    }
    Json(now)
}

async fn faults(Shared(world): Shared<World>, request: Request, next: Next) -> Response {
    if world.0.away.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let is_lease = request.uri().path().ends_with("/lease");
    let response = next.run(request).await;
    let lose =
        world.0.lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
    // A lost lease would only wait for its time to run out; the other answers are the interesting ones.
    if lose && !is_lease { StatusCode::SERVICE_UNAVAILABLE.into_response() } else { response }
}

async fn register(Json(request): Json<wire::Register>) -> Json<wire::Registered> {
    let runner_id = request.previous.unwrap_or_else(|| RunnerId::new(now(), 1));
    Json(wire::Registered { runner_id, lease_ttl_ms: 30_000, heartbeat_ms: 200, now: now() })
}

async fn lease(
    Shared(world): Shared<World>,
    Json(request): Json<wire::LeaseRequest>,
) -> Json<wire::Leases> {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(request.wait_ms);
    loop {
        let changed = world.0.changed.notified();
        let ids: Vec<JobId> = world.jobs().keys().cloned().collect();
        let mut leases = Vec::new();
        for job_id in ids {
            let command = Command::Lease { runner_id: request.runner_id.clone(), ttl: TTL };
            let _ = world.command(&job_id, &Command::Watch);
            if leases.len() < request.max as usize && world.command(&job_id, &command).is_ok() {
                let held = world.jobs()[&job_id].clone();
                leases.push(wire::Lease {
                    run_id: RunId::new(held.state.created_at, 5),
                    epoch: held.state.epoch,
                    state: held.state,
                    title: "Do it".to_owned(),
                    repository: world.0.repository.lock().expect("not poisoned").clone().map(
                        |repository| wire::Repository {
                            branches: vec![format!("windlass/{job_id}")],
                            ..repository
                        },
                    ),
                    checkpoints: held.checkpoints,
                    house: world.0.house.lock().expect("not poisoned").clone(),
                    job_id,
                });
            }
        }
        if !leases.is_empty() {
            return Json(wire::Leases { leases, ..Default::default() });
        }
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
            () = tokio::time::sleep_until(deadline) => return Json(wire::Leases::default()),
        }
    }
}

async fn report(
    Shared(world): Shared<World>,
    Json(request): Json<wire::ReportRequest>,
) -> Result<Json<wire::ReportAnswer>, StatusCode> {
    let refused = world.0.refused.lock().expect("not poisoned").clone();
    if request.jobs.iter().any(|job| refused.contains(&job.job_id)) {
        return Err(StatusCode::UNPROCESSABLE_ENTITY);
    }
    let answers = request.jobs.into_iter().map(|job| {
        let _ = world.command(&job.job_id, &Command::Heartbeat { epoch: job.epoch, ttl: TTL });
        let mut refused = None;
        let mut lost = false;
        for report in job.reports {
            world.0.n_reports.fetch_add(1, Ordering::SeqCst);
            let command =
                Command::Report { epoch: job.epoch, seq: report.seq, report: report.report };
            match world.command(&job.job_id, &command) {
                Ok(_) => {}
                Err(job::Refusal::StaleEpoch { .. }) => lost = true,
                Err(job::Refusal::Ended) => {}
                Err(refusal) => {
                    refused = Some(refusal.to_string());
                    break;
                }
            }
        }
        if let (Some(reason), None) = (job.release, &refused) {
            let _ = world.command(&job.job_id, &Command::Release { epoch: job.epoch, reason });
        }
        let state = world.state(&job.job_id);
        let status = match &state.phase {
            Phase::Leased { .. } if state.epoch == job.epoch && !lost => wire::JobStatus::Held,
            Phase::Ended(_) if state.epoch == job.epoch => wire::JobStatus::Ended,
            _ => wire::JobStatus::Lost,
        };
        wire::JobAnswer {
            job_id: job.job_id,
            status,
            accepted: state.last_report,
            decisions: state.decisions(),
            cancel: state.cancel,
            effects: state.effects,
            refused,
        }
    });
    Ok(Json(wire::ReportAnswer { jobs: answers.collect() }))
}

async fn streams(
    Shared(world): Shared<World>,
    Json(request): Json<wire::StreamRequest>,
) -> Json<wire::StreamAnswer> {
    let answers = request.pieces.into_iter().map(|piece| {
        let mut jobs = world.jobs();
        let held = jobs.get_mut(&piece.job_id).expect("a job of this world");
        if held.state.epoch != piece.epoch {
            return wire::PieceAnswer::Lost;
        }
        let streams = held.streams.entry((piece.step_id, piece.attempt)).or_default();
        let length = match piece.content {
            wire::Content::Log { offset, base64 } => {
                let bytes = STANDARD.decode(base64).expect("base 64");
                let have = streams.log.len() as u64;
                if offset <= have {
                    let skip = usize::try_from(have - offset).expect("small").min(bytes.len());
                    streams.log.extend_from_slice(&bytes[skip..]);
                }
                streams.log.len() as u64
            }
            wire::Content::Session { entries } => {
                for entry in entries {
                    if entry.seq == streams.session.len() as u64 + 1 {
                        streams.session.push(entry);
                    }
                }
                streams.session.len() as u64
            }
        };
        wire::PieceAnswer::Have { length }
    });
    let pieces = answers.collect();
    world.0.changed.notify_waiters();
    Json(wire::StreamAnswer { pieces })
}

async fn grant(
    Shared(world): Shared<World>,
    Json(request): Json<wire::GrantRequest>,
) -> Json<wire::GrantAnswer> {
    let command = Command::Grant {
        key: request.key.clone(),
        epoch: request.epoch,
        executor: effect::Executor::Runner,
        ttl: windlass_run::Duration::from_secs(2),
        looked: request.looked,
    };
    let decided = world.command(&request.job_id, &command).map(drop);
    Json(effect_answer(&world, &request.job_id, &request.key, decided))
}

async fn record(
    Shared(world): Shared<World>,
    Json(request): Json<wire::RecordRequest>,
) -> Json<wire::GrantAnswer> {
    let command = Command::Record {
        key: request.key.clone(),
        epoch: request.epoch,
        executor: effect::Executor::Runner,
        state: request.state,
    };
    let decided = world.command(&request.job_id, &command).map(drop);
    Json(effect_answer(&world, &request.job_id, &request.key, decided))
}

fn effect_answer(
    world: &World,
    job_id: &JobId,
    key: &windlass_run::EffectKey,
    decided: Result<(), job::Refusal>,
) -> wire::GrantAnswer {
    match decided {
        Ok(()) => {
            let state = world.state(job_id);
            let effect = state
                .effects
                .into_iter()
                .find(|effect| effect.key == *key)
                .expect("a known effect");
            wire::GrantAnswer::Effect { state: effect.state }
        }
        Err(job::Refusal::StaleEpoch { .. } | job::Refusal::Ended) => wire::GrantAnswer::Lost,
        Err(refusal) => wire::GrantAnswer::Refused { why: refusal.to_string() },
    }
}

async fn upload(
    Shared(world): Shared<World>,
    Path((job, kind, step)): Path<(String, String, String)>,
    axum::extract::Query(query): axum::extract::Query<BTreeMap<String, String>>,
    body: Bytes,
) -> StatusCode {
    let job_id = JobId::parse(&job).expect("a job's id");
    let mut jobs = world.jobs();
    let held = jobs.get_mut(&job_id).expect("a job of this world");
    if query["epoch"] != held.state.epoch.to_string() {
        return StatusCode::CONFLICT;
    }
    held.uploads.insert(format!("{kind}/{step}"), body.to_vec());
    if kind == "checkpoints" {
        let step_id = StepId::parse(&step).expect("a step's name");
        held.checkpoints.retain(|checkpoint| checkpoint.step_id != step_id);
        held.checkpoints.push(wire::Checkpoint { step_id, commit: query["commit"].clone() });
    }
    StatusCode::NO_CONTENT
}

async fn download(
    Shared(world): Shared<World>,
    Path((job, kind, step)): Path<(String, String, String)>,
) -> Result<Vec<u8>, StatusCode> {
    let job_id = JobId::parse(&job).expect("a job's id");
    world.upload(&job_id, &format!("{kind}/{step}")).ok_or(StatusCode::NOT_FOUND)
}

/// The world's git: one repository, one credential, pushes below `windlass/` only.
async fn git(Shared(world): Shared<World>, request: Request) -> Response {
    let origin = world.0.origin.lock().expect("not poisoned").clone();
    let uri = request.uri().clone();
    let route = smart_http::route(request.method(), uri.path(), uri.query());
    let (Some(origin), Some((_, endpoint))) = (origin, route) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let expected = format!("Basic {}", STANDARD.encode(format!("windlass:{CREDENTIAL}")));
    let given = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if given != Some(&expected) {
        let challenge = [("www-authenticate", "Basic realm=\"world\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    }
    let below =
        windlass_git::receive::RefPattern::parse("refs/heads/windlass/*").expect("a pattern");
    let push =
        windlass_git::receive::RefRules { allowed: vec![below], deletes: false, rewrites: true };
    let view = smart_http::View { hidden: vec![], push };
    let (ended, hear) = tokio::sync::oneshot::channel::<smart_http::PushEnded>();
    let hearing = world.clone();
    tokio::spawn(async move {
        if let Ok(push) = hear.await
            && push.succeeded
        {
            let names = push.head.commands.iter().map(|command| command.name.to_string());
            hearing.0.pushed.lock().expect("not poisoned").extend(names);
        }
    });
    let answer = world.0.backend.serve(&origin, endpoint, &view, request, Some(ended)).await;
    answer.map(axum::body::Body::new)
}

/// The world's reconciler: opens the pull requests that jobs want.
async fn open_pull_requests(world: World) {
    loop {
        let changed = world.0.changed.notified();
        let jobs: Vec<(JobId, State)> =
            world.jobs().iter().map(|(id, held)| (id.clone(), held.state.clone())).collect();
        for (job_id, state) in jobs {
            for wanted in state.effects {
                let effect::Request::PullRequest { base, head, commit, title, body, .. } =
                    wanted.request
                else {
                    continue;
                };
                if wanted.state != effect::State::Staged {
                    continue;
                }
                let number = {
                    let mut pull_requests = world.0.pull_requests.lock().expect("not poisoned");
                    pull_requests.push(PullRequest { base, head, commit, title, body });
                    pull_requests.len() as u64
                };
                let url = format!("{}/pulls/{number}", world.url());
                let done = effect::State::Done(effect::Outcome::PullRequest { number, url });
                let command = Command::Record {
                    key: wanted.key,
                    epoch: 1,
                    executor: effect::Executor::Server,
                    state: done,
                };
                world.command(&job_id, &command).expect("legal");
            }
        }
        changed.await;
    }
}
