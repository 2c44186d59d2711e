//! The floor: the store and the state machine, in this process, without any protocol.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use windlass_run::{
    Duration, JobId, OrganisationId, ProjectId, RunId, RunnerId, StepId, Time,
    actor::By,
    job::{Report, StepResult},
    spec::{Action, Spec, Step, Target},
};
use windlass_store::{
    Options, Store,
    identity::Organisation,
    projects::Project,
    runs::{NewJob, NewRun},
    work::{JobReports, LeaseAsk, Leased, NewRunner, NumberedReport, Registration},
};

use crate::{Arguments, Sample, cpu_us, database::Database};

const TTL: Duration = Duration::from_secs(60);

/// One round on a fresh database.
pub(crate) async fn round(arguments: &Arguments, database: &Database) -> Result<Sample> {
    let folder = tempfile::tempdir()?;
    let url = database.fresh(folder.path())?;
    let store = Store::open(&url, Options::new(folder.path().join("blobs"), now())).await?;
    let place = Place::make(&store).await?;

    let fsyncs = store.stats().fsyncs;
    let cpu = cpu_us("self") + Database::cpu_us(&url)?;
    let started = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut producers = tokio::task::JoinSet::new();
    for _ in 0..arguments.producers {
        let (store, place) = (store.clone(), place.clone());
        let (next, runs) = (next.clone(), arguments.runs);
        producers.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < runs {
                store.create_run(By::system("bench"), place.run(), now()).await?;
            }
            anyhow::Ok(())
        });
    }
    drive(&store, &place, arguments.runs).await?;
    while let Some(done) = producers.join_next().await {
        done.context("a producer ended badly")??;
    }
    let seconds = started.elapsed().as_secs_f64();
    let runs = arguments.runs as f64;
    let sample = Sample {
        runs_per_second: runs / seconds,
        cpu_us_per_run: (cpu_us("self") + Database::cpu_us(&url)? - cpu) as f64 / runs,
        fsyncs_per_run: (store.stats().fsyncs - fsyncs) as f64 / runs,
    };
    store.close().await;
    Ok(sample)
}

/// Leases what there is and reports it done, as a runner would.
async fn drive(store: &Store, place: &Place, runs: usize) -> Result<()> {
    let mut hints = store.subscribe();
    let mut done = 0;
    while done < runs {
        let ask = LeaseAsk {
            organisation_id: place.organisation_id.clone(),
            runner_id: place.runner_id.clone(),
            max: 256,
            ttl: TTL,
        };
        let leased = store.lease(ask, now()).await?.leases;
        if leased.is_empty() {
            hints.changed().await.context("the store is gone")?;
            continue;
        }
        done += leased.len();
        let reports = leased.iter().map(reports).collect();
        let answers = store.report(place.runner_id.clone(), reports, TTL, now()).await?;
        for answer in answers {
            anyhow::ensure!(answer.refused.is_none(), "refused: {:?}", answer.refused);
        }
    }
    Ok(())
}

fn reports(leased: &Leased) -> JobReports {
    let mut reports = Vec::new();
    let mut say = |report| {
        let seq = reports.len() as u64 + 1;
        reports.push(NumberedReport { seq, at: now(), report });
    };
    for step in &leased.state.spec.steps {
        say(Report::StepStarted { step_id: step.id.clone() });
        let result = StepResult::succeeded(None);
        say(Report::StepEnded { step_id: step.id.clone(), result });
    }
    JobReports { job_id: leased.job_id.clone(), epoch: leased.epoch, reports, release: None }
}

#[derive(Clone)]
struct Place {
    organisation_id: OrganisationId,
    project_id: ProjectId,
    runner_id: RunnerId,
}

impl Place {
    async fn make(store: &Store) -> Result<Self> {
        let place = Self {
            organisation_id: OrganisationId::new(now(), rand::random()),
            project_id: ProjectId::new(now(), rand::random()),
            runner_id: RunnerId::new(now(), rand::random()),
        };
        let by = || By::system("bench");
        let organisation = Organisation {
            id: place.organisation_id.clone(),
            name: "bench".to_owned(),
            created_at: now(),
        };
        store.create_organisation(by(), organisation).await?;
        let project = Project {
            id: place.project_id.clone(),
            organisation_id: place.organisation_id.clone(),
            name: "bench".to_owned(),
            forge: "local".to_owned(),
            source: String::new(),
            default_branch: Some("main".to_owned()),
            settings: serde_json::json!({}),
            created_at: now(),
            archived_at: None,
        };
        store.create_project(by(), project).await?;
        let runner = NewRunner {
            id: place.runner_id.clone(),
            organisation_id: place.organisation_id.clone(),
            name: "bench".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capacity: 256,
            environments: 0,
            labels: Default::default(),
        };
        store.register_runner(by(), Registration::without_token(runner), now()).await?;
        Ok(place)
    }

    fn run(&self) -> NewRun {
        let step = |name: &str| Step {
            timeout: Duration::from_secs(60),
            ..Step::new(StepId::parse(name).expect("the name is a literal"), Action::run("true"))
        };
        let project_id = self.project_id.clone();
        let target = Target { project_id, base: "main".to_owned(), commit: None };
        let spec = Spec::new(target, vec![step("one"), step("two"), step("three")]);
        let id = JobId::new(now(), rand::random());
        NewRun {
            id: RunId::new(now(), rand::random()),
            organisation_id: self.organisation_id.clone(),
            title: "no-op".to_owned(),
            jobs: vec![NewJob { id, title: "no-op".to_owned(), spec }],
            automation: None,
            turn: None,
            idempotency_key: None,
        }
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
