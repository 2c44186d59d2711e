//! The floor of the engine benchmark: the whole life of runs with three steps that do nothing, driven
//! in this process by calls to the store. Same storage, same grouping, no protocol.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Semaphore;
use windlass_run::{
    Duration, JobId, OrganisationId, ProjectId, RunId, RunnerId, StepId, Time,
    actor::By,
    job::{Report, StepResult},
    spec::{Action, Spec, Step, Target},
};
use windlass_store::{
    Error, Store,
    identity::Organisation,
    projects::Project,
    runs::{NewJob, NewRun},
    work::{JobReports, LeaseAsk, Leased, NewRunner, NumberedReport, Registration},
};

const STEPS: [&str; 3] = ["one", "two", "three"];

const TTL: Duration = Duration::from_secs(60);

/// How much there is to do.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many runs.
    pub runs: u64,
    /// How many producers start runs at the same time, each waiting for its answer.
    pub producers: u64,
    /// How many jobs the runner leases and reports in one call.
    pub batch: u32,
}

/// What it took.
#[derive(Clone, Copy, Debug)]
pub struct Driven {
    /// From the first run's start to the last one's end.
    pub elapsed: std::time::Duration,
    /// Transactions committed.
    pub commits: u64,
    /// Times that the database was made to reach the disk.
    pub fsyncs: u64,
}

/// Brings `load.runs` runs to their end: each is started, leased, and reported step by step, every
/// answer durable before the next call that depends on it.
///
/// # Errors
/// The first call that failed, or a report that was refused.
pub async fn drive(store: &Store, load: Load) -> Result<Driven, Error> {
    let place = Place::furnish(store).await?;
    let before = store.stats();
    let begun = Instant::now();
    let produce = futures::future::try_join_all((0..load.producers).map(|producer| {
        let count = load.runs / load.producers + u64::from(producer < load.runs % load.producers);
        place.produce(store, producer, count)
    }));
    let (_, ()) = tokio::try_join!(produce, place.work(store, load))?;
    let after = store.stats();
    Ok(Driven {
        elapsed: begun.elapsed(),
        commits: after.commits - before.commits,
        fsyncs: after.fsyncs - before.fsyncs,
    })
}

/// Where the runs take place.
struct Place {
    by: By,
    organisation_id: OrganisationId,
    runner_id: RunnerId,
    spec: Spec,
}

impl Place {
    async fn furnish(store: &Store) -> Result<Self, Error> {
        let (at, by) = (now(), By::system("benchmark"));
        let organisation_id = OrganisationId::new(at, chance());
        let project_id = ProjectId::new(at, chance());
        let runner_id = RunnerId::new(at, chance());
        let organisation = Organisation {
            id: organisation_id.clone(),
            name: organisation_id.to_string(),
            created_at: at,
        };
        store.create_organisation(by.clone(), organisation).await?;
        let project = Project {
            id: project_id.clone(),
            organisation_id: organisation_id.clone(),
            name: "benchmark".into(),
            forge: "local".into(),
            source: "/dev/null".into(),
            default_branch: None,
            settings: serde_json::json!({}),
            created_at: at,
            archived_at: None,
        };
        store.create_project(by.clone(), project).await?;
        let runner = NewRunner {
            id: runner_id.clone(),
            organisation_id: organisation_id.clone(),
            name: "benchmark".into(),
            version: "0".into(),
            capacity: 10_000,
            environments: 0,
            labels: Default::default(),
        };
        store.register_runner(by.clone(), Registration::without_token(runner), at).await?;
        Ok(Self { by, organisation_id, runner_id, spec: spec(project_id)? })
    }

    async fn produce(&self, store: &Store, producer: u64, count: u64) -> Result<(), Error> {
        for n in 0..count {
            let (at, title) = (now(), format!("Nothing, number {n} of producer {producer}"));
            let (id, spec) = (JobId::new(at, chance()), self.spec.clone());
            let new = NewRun {
                id: RunId::new(at, chance()),
                organisation_id: self.organisation_id.clone(),
                title: title.clone(),
                jobs: vec![NewJob { id, title, spec }],
                automation: None,
                turn: None,
                idempotency_key: None,
            };
            store.create_run(self.by.clone(), new, at).await?;
        }
        Ok(())
    }

    /// Leases while earlier batches are still being worked on, as a runner with many slots does.
    async fn work(&self, store: &Store, load: Load) -> Result<(), Error> {
        let mut hint = store.subscribe();
        let slots = Semaphore::new(16);
        let mut taken = 0;
        let mut batches = futures::stream::FuturesUnordered::new();
        while taken < load.runs || !batches.is_empty() {
            use futures::StreamExt;
            hint.borrow_and_update();
            let leased = match taken < load.runs && slots.available_permits() > 0 {
                true => self.lease(store, load.batch).await?,
                false => vec![],
            };
            if leased.is_empty() {
                tokio::select! {
                    Some(done) = batches.next() => done?,
                    _ = hint.changed(), if taken < load.runs => {}
                }
                continue;
            }
            taken += leased.len() as u64;
            let slots = &slots;
            batches.push(async move {
                let _slot = slots.acquire().await;
                self.report(store, &leased).await
            });
        }
        Ok(())
    }

    async fn lease(&self, store: &Store, max: u32) -> Result<Vec<Leased>, Error> {
        let (organisation_id, runner_id) = (self.organisation_id.clone(), self.runner_id.clone());
        let ask = LeaseAsk { organisation_id, runner_id, max, ttl: TTL };
        Ok(store.lease(ask, now()).await?.leases)
    }

    /// Each step is a call of its own: its end is durable before the next one begins.
    async fn report(&self, store: &Store, leased: &[Leased]) -> Result<(), Error> {
        for (first, id) in (1..).step_by(2).zip(STEPS) {
            let step_id = step_id(id)?;
            let result = StepResult::succeeded(None);
            let at = now();
            let reports = [
                (first, Report::StepStarted { step_id: step_id.clone() }),
                (first + 1, Report::StepEnded { step_id, result }),
            ];
            let reports = reports.map(|(seq, report)| NumberedReport { seq, at, report });
            let jobs = leased.iter().map(|leased| JobReports {
                job_id: leased.job_id.clone(),
                epoch: leased.epoch,
                reports: reports.to_vec(),
                release: None,
            });
            let jobs = jobs.collect();
            for answer in store.report(self.runner_id.clone(), jobs, TTL, now()).await? {
                if answer.refused.is_some() || answer.accepted != first + 1 {
                    return Err(Error::Invalid { why: format!("{answer:?}") });
                }
            }
        }
        Ok(())
    }
}

fn spec(project_id: ProjectId) -> Result<Spec, Error> {
    let mut steps = Vec::new();
    for id in STEPS {
        let timeout = Duration::from_secs(600);
        steps.push(Step { timeout, ..Step::new(step_id(id)?, Action::run("true")) });
    }
    let target = Target { project_id, base: "main".into(), commit: None };
    Ok(Spec::new(target, steps))
}

fn step_id(id: &str) -> Result<StepId, Error> {
    StepId::parse(id).map_err(|why| Error::Invalid { why: why.to_string() })
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Distinct ids; nothing here needs them to be hard to guess.
fn chance() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = u128::from(NEXT.fetch_add(1, Ordering::Relaxed));
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) ^ u128::from(std::process::id()) << 32
}
