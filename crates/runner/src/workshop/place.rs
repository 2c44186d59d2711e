//! One job's place on this machine, and the attempts of its steps. What a step needs is made when the
//! first step needs it: a job that only has its pull request left needs no environment.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_policy::redact::Redactor;
use windlass_run::{
    StepId,
    job::{
        Report,
        start::{Basis, Missed, SET_UP},
    },
    spec::Action,
};

use super::{
    Workshop, agent, checkpoint, command,
    doors::JobMeter,
    environment::Environment,
    facts::Facts,
    pools, publish, readiness,
    repository::{self, JobRepository},
    secrets::{self, Secrets},
    setup, stocked,
};
use crate::{
    executor::{Attempted, Unopened, Work},
    held::Writer,
    job::{Job, failed},
};

/// One job's place.
pub(crate) struct Place {
    pub(crate) workshop: Arc<Workshop>,
    pub(crate) job: Arc<Job>,
    pub(crate) work: JobRepository,
    pub(crate) environment: Option<Environment>,
    pub(crate) redactor: Redactor,
    pub(crate) secrets: Secrets,
    pub(crate) meter: Arc<JobMeter>,
    pub(crate) facts: Facts,
    /// How long getting the repository took; told with the first start.
    opened: Duration,
}

/// Which attempt of which step, and where its output goes.
pub(crate) struct Attempt {
    pub(crate) step_id: StepId,
    pub(crate) number: u32,
    pub(crate) timeout: Duration,
    /// When it began; getting its environment ready counts.
    pub(crate) began: Instant,
    pub(crate) log: Writer,
    pub(crate) stop: CancellationToken,
}

impl Attempt {
    /// How much of its time is left.
    pub(crate) fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.began.elapsed())
    }
}

impl Place {
    /// Gets the repository, with what earlier leases did.
    pub(crate) async fn open(workshop: Arc<Workshop>, job: Arc<Job>) -> Result<Self, Unopened> {
        let began = Instant::now();
        let work = repository::get(&workshop, &job).await?;
        let opened = began.elapsed();
        let secrets = Secrets::default();
        let redactor = workshop.redactor(&job, &secrets);
        let meter = Arc::new(JobMeter::new(job.clone()));
        let mut facts = Facts::new(job.now());
        facts.sensitive = job.look(|state| state.spec.sensitive.clone());
        Ok(Self { workshop, job, work, environment: None, redactor, secrets, meter, facts, opened })
    }

    /// The environment, made and set up now if there is none.
    pub(crate) async fn environment(
        &mut self,
        attempt: &Attempt,
    ) -> Result<&mut Environment, Attempted> {
        if self.environment.is_none() {
            let registries = self.secrets.registries();
            let made =
                Environment::make(&self.workshop, &self.job, &self.work, attempt, registries)
                    .await?;
            // Kept before it is set up, so that `close` removes it if nobody waits for the end of this.
            let environment = self.environment.insert(made);
            let findings = environment.definition.findings.all();
            self.facts.environment = findings.iter().map(ToString::to_string).collect();
            let (workshop, redactor) = (&self.workshop, &self.redactor);
            let began = Instant::now();
            let given = self.secrets.of_setup();
            environment
                .doors
                .offer(given.all())
                .map_err(|why| Attempted::JobEnded(failed("secrets", format!("{why}."))))?;
            let ready = setup::get_ready(workshop, environment, redactor, attempt, &given).await;
            let start = environment.start.take();
            if ready.is_ok()
                && let Some(mut start) = start
            {
                let opened =
                    ("repository".to_owned(), stocked::micros(std::mem::take(&mut self.opened)));
                start.stages.insert(0, opened);
                let set_up = stocked::micros(began.elapsed());
                start.stages.push((SET_UP.to_owned(), set_up));
                if start.missed != Some(Missed::Own) {
                    let started = pools::started(start.from == Basis::Pool, start.total());
                    self.workshop.pool.started(self.work.project.as_str(), started);
                }
                self.job
                    .report(Report::Started(start))
                    .map_err(|error| Attempted::GiveBack(error.to_string()))?;
            }
            if let Err(end) = ready {
                if let Some(environment) = self.environment.take() {
                    environment.destroy().await;
                }
                return Err(end);
            }
        }
        let environment = self.environment.as_mut().expect("it was made just now");
        let given = self.secrets.of(&attempt.step_id);
        environment
            .doors
            .offer(given.all())
            .map_err(|why| Attempted::JobEnded(failed("secrets", format!("{why}."))))?;
        Ok(environment)
    }

    async fn attempt_step(&mut self, action: Action, attempt: Attempt) -> Attempted {
        if let Some(environment) = &self.environment {
            environment.services.attach(&attempt.log);
        }
        let attempted = match action {
            Action::Run { command } => command::run(self, &command, &attempt).await,
            Action::Agent(action) => agent::run(self, &action, &attempt).await,
            Action::PullRequest(action) => publish::run(self, &action, &attempt).await,
            Action::Readiness(action) => readiness::run(self, action, &attempt).await,
        };
        if let Some(environment) = &mut self.environment {
            let _ = environment.doors.offer(&[]);
        }
        self.forget_secrets(&attempt).await;
        if let Some(environment) = &self.environment {
            environment.services.detach();
        }
        if let Err(error) = attempt.log.finish() {
            return checkpoint::disk_full(&error);
        }
        attempted.unwrap_or_else(|attempted| attempted).redacted(&self.redactor)
    }
}

impl Place {
    /// Services run beside a step as the same user and could keep a secret that it was given until an
    /// agent asks for it: after such a step the environment is made anew.
    async fn forget_secrets(&mut self, attempt: &Attempt) {
        let has_services = |environment: &Environment| environment.services.is_any();
        if !self.secrets.of(&attempt.step_id).has_secrets()
            || !self.environment.as_ref().is_some_and(has_services)
        {
            return;
        }
        if let Some(environment) = self.environment.take() {
            let why = "[windlass: environment: made anew after a step with secrets, since its services could know \
                       them]\n";
            let _ = attempt.log.append(why.as_bytes());
            environment.destroy().await;
        }
    }
}

impl Work for Place {
    fn attempt(
        &mut self,
        index: usize,
        attempt: u32,
        stop: CancellationToken,
    ) -> BoxFuture<'_, Attempted> {
        let step = self.job.look(|state| state.spec.steps[index].clone());
        let began = Instant::now();
        Box::pin(async move {
            if let Err(attempted) = secrets::refresh(self, &stop).await {
                return attempted;
            }
            let log = self.job.held.open_log(&step.id, attempt, &self.redactor);
            let attempt = Attempt {
                step_id: step.id,
                number: attempt,
                timeout: step.timeout.to_std(),
                began,
                log,
                stop,
            };
            self.attempt_step(step.action, attempt).await
        })
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Some(environment) = self.environment.take() {
                environment.destroy().await;
            }
        })
    }
}
