//! One job's place on this machine, and the attempts of its steps. What a step needs is made when the
//! first step needs it: a job that only has its pull request left needs no environment.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;
use windlass_policy::redact::Redactor;
use windlass_run::{
    StepId,
    job::{
        Rendered, Report, StepResult, rendered,
        start::{Basis, Missed, SET_UP},
    },
    spec::Action,
};
use windlass_wire::runner as wire;

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
    /// What the attempts under way were given. Those that go on at once are of one user in one
    /// environment: what one is given is within reach of the others.
    given: BTreeMap<StepId, Vec<wire::Secret>>,
    /// Set once the environment is to be made anew, as soon as nothing goes on in it.
    unclean: bool,
    /// How long getting the repository took; told with the first start.
    opened: Duration,
}

/// A place that several attempts share. Whatever changes it has it for itself for so long.
pub(crate) struct Shared(Arc<Mutex<Place>>);

/// Which attempt of which step, and where its output goes.
pub(crate) struct Attempt {
    /// The instance's name.
    pub(crate) step_id: StepId,
    /// The name of its step in the spec, by which it is given secrets.
    pub(crate) path: StepId,
    /// What its commands refer to: names and values.
    pub(crate) variables: Vec<(String, String)>,
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
        Ok(Self {
            workshop,
            job,
            work,
            environment: None,
            redactor,
            secrets,
            meter,
            facts,
            given: BTreeMap::new(),
            unclean: false,
            opened,
        })
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
        let given = self.secrets.of(&attempt.path);
        self.given.insert(attempt.step_id.clone(), given.all().to_vec());
        let environment = self.environment.as_mut().expect("it was made just now");
        environment
            .doors
            .offer(&offered(&self.given))
            .map_err(|why| Attempted::JobEnded(failed("secrets", format!("{why}."))))?;
        Ok(environment)
    }

    /// Whether another attempt has something of what it was given in files.
    pub(super) fn shares_files(&self, attempt: &Attempt) -> bool {
        let others = self.given.iter().filter(|(step_id, _)| **step_id != attempt.step_id);
        others.flat_map(|(_, given)| given).any(|secret| secret.file.is_some())
    }

    /// What comes after an attempt, whatever came of it.
    async fn after(
        &mut self,
        attempt: &Attempt,
        attempted: Result<Attempted, Attempted>,
    ) -> Attempted {
        self.given.remove(&attempt.step_id);
        if let Some(environment) = &mut self.environment {
            let _ = environment.doors.offer(&offered(&self.given));
        }
        self.forget_secrets(attempt).await;
        if let Some(environment) = &self.environment {
            environment.services.detach();
        }
        if let Err(error) = attempt.log.finish() {
            return checkpoint::disk_full(&error);
        }
        attempted.unwrap_or_else(|attempted| attempted).redacted(&self.redactor)
    }

    /// Services run beside a step as the same user and could keep a secret that it was given until an
    /// agent asks for it: after such a step the environment is made anew.
    async fn forget_secrets(&mut self, attempt: &Attempt) {
        let has_services = |environment: &Environment| environment.services.is_any();
        self.unclean |= self.secrets.of(&attempt.path).has_secrets()
            && self.environment.as_ref().is_some_and(has_services);
        if !self.unclean || !self.given.is_empty() {
            return;
        }
        self.unclean = false;
        if let Some(environment) = self.environment.take() {
            let why = "[windlass: environment: made anew after a step with secrets, since its services could know \
                       them]\n";
            let _ = attempt.log.append(why.as_bytes());
            environment.destroy().await;
        }
    }
}

/// What the doors offer to all attempts together.
fn offered(given: &BTreeMap<StepId, Vec<wire::Secret>>) -> Vec<wire::Secret> {
    let mut offered: Vec<wire::Secret> = Vec::new();
    for secret in given.values().flatten() {
        if offered.iter().all(|other| other.name != secret.name) {
            offered.push(secret.clone());
        }
    }
    offered
}

impl Shared {
    pub(crate) fn new(place: Place) -> Self {
        Self(Arc::new(Mutex::new(place)))
    }
}

impl Work for Shared {
    fn attempt(
        &self,
        index: usize,
        number: u32,
        stop: CancellationToken,
    ) -> BoxFuture<'static, Attempted> {
        let shared = self.0.clone();
        let began = Instant::now();
        Box::pin(async move {
            let mut place = shared.lock().await;
            let found = place.job.look(|state| {
                let step = state.definition(index).clone();
                let ids = (state.steps[index].id.clone(), state.path(index));
                (ids, step, rendered(state, index))
            });
            let ((step_id, path), step, rendered) = found;
            let Rendered { action, variables } = match rendered {
                Ok(rendered) => rendered,
                Err(no_value) => {
                    let (code, reason) = ("template".to_owned(), format!("{no_value}."));
                    return Attempted::Ended(StepResult::Failed { code, reason });
                }
            };
            if let Err(attempted) = secrets::refresh(&mut place, &stop).await {
                return attempted;
            }
            let log = place.job.held.open_log(&step_id, number, &place.redactor);
            let timeout = step.timeout.to_std();
            let attempt = Attempt { step_id, path, variables, number, timeout, began, log, stop };
            if let Some(environment) = &place.environment {
                environment.services.attach(&attempt.log);
            }
            let attempted = match action {
                Action::Run { command } => {
                    // Others may have the place while the command runs.
                    drop(place);
                    let attempted = command::run(&shared, command.as_str(), &step, &attempt).await;
                    return shared.lock().await.after(&attempt, attempted).await;
                }
                Action::Agent(action) => agent::run(&mut place, &action, &step, &attempt).await,
                Action::PullRequest(action) => publish::run(&mut place, &action, &attempt).await,
                Action::Readiness(action) => readiness::run(&mut place, action, &attempt).await,
                other => Err(Attempted::JobEnded(failed(
                    "internal",
                    format!("A `{}` step is not for a runner to execute.", other.word()),
                ))),
            };
            place.after(&attempt, attempted).await
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let environment = self.0.lock().await.environment.take();
            if let Some(environment) = environment {
                environment.destroy().await;
            }
        })
    }
}
