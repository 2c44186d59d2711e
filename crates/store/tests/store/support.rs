//! A store with an organisation, a project and a runner in it, and a clock of its own.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
};

use tempfile::TempDir;
use windlass_run::{
    Duration, EffectKey, JobId, OrganisationId, ProjectId, RunId, RunnerId, StepId, Time, UserId,
    actor::{Actor, By},
    effect,
    job::{Report, StepResult},
    spec::{Action, Spec, Step, Target},
};
use windlass_store::{
    Options, Store,
    identity::{Organisation, Role, User},
    options::Durability,
    projects::Project,
    runs::{NewJob, NewRun, Started},
    work::{JobAnswer, JobReports, LeaseAsk, Leased, NewRunner, NumberedReport, Registration},
};

pub(crate) const TTL: Duration = Duration::from_secs(30);

/// Which database a test runs on.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// Runs each of these functions as a test on both databases.
macro_rules! on_both {
    ($($(#[$attribute:meta])* $name:ident;)*) => {
        mod sqlite {
            $(#[test] $(#[$attribute])* fn $name() {
                crate::support::on(crate::support::Kind::Sqlite, stringify!($name), super::$name);
            })*
        }
        mod postgres {
            $(#[test] $(#[$attribute])* fn $name() {
                crate::support::on(crate::support::Kind::Postgres, stringify!($name), super::$name);
            })*
        }
    };
}

/// Runs a test in a fresh world.
pub(crate) fn on<F>(kind: Kind, name: &str, test: impl FnOnce(World) -> F)
where
    F: Future<Output = ()>,
{
    let Some(home) = Home::new(kind, name) else { return };
    block_on(async { test(World::new(home).await).await });
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}

/// Where a world's data is.
pub(crate) struct Home {
    pub directory: TempDir,
    pub url: String,
    pub kind: Kind,
}

impl Home {
    pub(crate) fn new(kind: Kind, name: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let url = match kind {
            Kind::Sqlite => format!("sqlite:{}", directory.path().join("windlass.db").display()),
            Kind::Postgres => {
                windlass_testkit::postgres::shared(name)?.database().expect("a database")
            }
        };
        Some(Self { directory, url, kind })
    }

    pub(crate) fn options(&self, now: Time) -> Options {
        let mut options = Options::new(self.directory.path().join("blobs"), now);
        options.lease_ttl = TTL;
        options.durability = Durability::Process;
        options
    }
}

pub(crate) struct World {
    pub home: Home,
    pub store: Store,
    pub now: Time,
    pub organisation_id: OrganisationId,
    pub project_id: ProjectId,
    pub runner_id: RunnerId,
    pub by: By,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Chance that repeats: the same tests give the same ids within a thread's order.
pub(crate) fn chance() -> u128 {
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060)
}

pub(crate) fn at(seconds: i64) -> Time {
    Time::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
}

impl World {
    pub(crate) async fn new(home: Home) -> Self {
        let now = at(0);
        let store = Store::open(&home.url, home.options(now)).await.expect("it opens");
        let organisation_id = OrganisationId::new(now, chance());
        let user_id = UserId::new(now, chance());
        let by = By::own(Actor::User(user_id.clone()));
        let (project_id, runner_id) = (ProjectId::new(now, chance()), RunnerId::new(now, chance()));
        let world = Self { home, store, now, organisation_id, project_id, runner_id, by };
        world.furnish(user_id).await;
        world
    }

    async fn furnish(&self, user_id: UserId) {
        let organisation = Organisation {
            id: self.organisation_id.clone(),
            name: "acme".into(),
            created_at: self.now,
        };
        self.store.create_organisation(self.by.clone(), organisation).await.expect("made");
        let user = User {
            id: user_id,
            organisation_id: self.organisation_id.clone(),
            name: "ada".into(),
            role: Role::Admin,
            password_hash: None,
            created_at: self.now,
            disabled_at: None,
        };
        self.store.create_user(self.by.clone(), user).await.expect("made");
        self.store.create_project(self.by.clone(), self.project("billing")).await.expect("made");
        let runner = self.runner(self.runner_id.clone());
        self.store
            .register_runner(self.by.clone(), Registration::without_token(runner), self.now)
            .await
            .expect("registered");
    }

    pub(crate) fn project(&self, name: &str) -> Project {
        Project {
            id: self.project_id.clone(),
            organisation_id: self.organisation_id.clone(),
            name: name.into(),
            forge: "local".into(),
            source: "/srv/git/billing.git".into(),
            default_branch: Some("main".into()),
            settings: serde_json::json!({}),
            created_at: self.now,
            archived_at: None,
        }
    }

    pub(crate) fn runner(&self, id: RunnerId) -> NewRunner {
        NewRunner {
            id,
            organisation_id: self.organisation_id.clone(),
            name: "here".into(),
            version: "0.1.0".into(),
            capacity: 4,
            environments: 0,
            labels: Default::default(),
        }
    }

    /// Closes the store and opens it again, as a server that was restarted.
    pub(crate) async fn reopen(&mut self) {
        self.store.clone().close().await;
        let options = self.home.options(self.now);
        self.store = Store::open(&self.home.url, options).await.expect("it opens again");
    }

    pub(crate) fn spec(&self, steps: &[&str]) -> Spec {
        let steps = steps.iter().map(|id| Step {
            timeout: Duration::from_secs(600),
            ..Step::new(StepId::parse(id).expect("a step id"), Action::run("true"))
        });
        let project_id = self.project_id.clone();
        let target = Target { project_id, base: "main".into(), commit: None };
        Spec::new(target, steps.collect())
    }

    pub(crate) fn new_run(&self, title: &str, specs: Vec<Spec>) -> NewRun {
        let jobs = specs.into_iter().map(|spec| NewJob {
            id: JobId::new(self.now, chance()),
            title: title.into(),
            spec,
        });
        NewRun {
            id: RunId::new(self.now, chance()),
            organisation_id: self.organisation_id.clone(),
            title: title.into(),
            jobs: jobs.collect(),
            automation: None,
            turn: None,
            idempotency_key: None,
        }
    }

    pub(crate) async fn start(&self, title: &str, steps: &[&str]) -> Started {
        let new = self.new_run(title, vec![self.spec(steps)]);
        self.store.create_run(self.by.clone(), new, self.now).await.expect("started")
    }

    /// Another runner, with these labels.
    pub(crate) async fn another_runner(&self, labels: &str) -> RunnerId {
        let runner = self.runner(RunnerId::new(self.now, chance()));
        let runner = NewRunner { labels: labels.parse().expect("labels"), ..runner };
        let registration = Registration::without_token(runner);
        let registered = self.store.register_runner(self.by.clone(), registration, self.now).await;
        registered.expect("registered")
    }

    pub(crate) async fn lease(&self, max: u32) -> Vec<Leased> {
        let ask = LeaseAsk {
            organisation_id: self.organisation_id.clone(),
            runner_id: self.runner_id.clone(),
            max,
            ttl: TTL,
        };
        self.store.lease(ask, self.now).await.expect("leased").leases
    }

    pub(crate) async fn report(&self, reports: JobReports) -> JobAnswer {
        let answers = self.store.report(self.runner_id.clone(), vec![reports], TTL, self.now);
        answers.await.expect("reported").pop().expect("one answer")
    }

    pub(crate) fn reports(&self, leased: &Leased, first: u64, reports: Vec<Report>) -> JobReports {
        let numbered = (first..).zip(reports).map(|(seq, report)| NumberedReport {
            seq,
            at: self.now,
            report,
        });
        JobReports {
            job_id: leased.job_id.clone(),
            epoch: leased.epoch,
            reports: numbered.collect(),
            release: None,
        }
    }

    /// No test leaves a store in which anything contradicts anything.
    pub(crate) async fn check(&self) {
        assert_eq!(self.store.check().await.expect("checked"), Vec::<String>::new());
    }
}

pub(crate) fn step_id(id: &str) -> StepId {
    StepId::parse(id).expect("a step id")
}

pub(crate) fn started(id: &str) -> Report {
    Report::StepStarted { step_id: step_id(id) }
}

pub(crate) fn succeeded(id: &str) -> Report {
    let result = StepResult::succeeded(None);
    Report::StepEnded { step_id: step_id(id), result }
}

pub(crate) fn failed(id: &str) -> Report {
    let result = StepResult::Failed { code: "exit_code".into(), reason: "exit code 1".into() };
    Report::StepEnded { step_id: step_id(id), result }
}

/// The reports of a job that does these steps well.
pub(crate) fn all_well(steps: &[&str]) -> Vec<Report> {
    steps.iter().flat_map(|id| [started(id), succeeded(id)]).collect()
}

pub(crate) fn pull_request(job_id: &JobId, step: &str) -> (EffectKey, effect::Request) {
    let request = effect::Request::PullRequest {
        base: "main".into(),
        head: "windlass/x".into(),
        commit: "c0ffee".into(),
        title: "Fix it".into(),
        body: "It is fixed.".into(),
        draft: false,
    };
    (EffectKey::new(job_id, &step_id(step), request.kind(), "digest"), request)
}

impl Home {
    /// Runs SQL beside the store, which must be closed.
    pub(crate) fn execute(&self, sql: &str) {
        match self.kind {
            Kind::Sqlite => self.sqlite().execute_batch(sql).expect("executed"),
            Kind::Postgres => {
                let cluster = windlass_testkit::postgres::shared("execute").expect("a cluster");
                cluster.sql(&self.url, sql).expect("executed");
            }
        }
    }

    /// How many rows a table has.
    pub(crate) fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        match self.kind {
            Kind::Sqlite => self.sqlite().query_row(&sql, [], |row| row.get(0)).expect("counted"),
            Kind::Postgres => {
                let cluster = windlass_testkit::postgres::shared("count").expect("a cluster");
                let counted = cluster.sql(&self.url, &sql).expect("counted");
                counted.trim().parse().expect("a number")
            }
        }
    }

    fn sqlite(&self) -> rusqlite::Connection {
        let path = self.url.strip_prefix("sqlite:").expect("a SQLite URL");
        rusqlite::Connection::open(path).expect("opened")
    }
}
