//! How services and tasks of an environment stand, and what somebody who is allowed to wants of them. What
//! they depend on comes first, as at a start.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use windlass_devcontainer::automation::{Automation, Occasion, Restart};
use windlass_sandbox::State;
use windlass_wire::{
    api::service::{self as wire, TaskRun},
    automation::{Of, Wish},
};

use super::{Running, Services, Stage, log::Log, tasks};
use crate::{
    definition::Definition,
    workshop::{
        command,
        environment::{Access, Execs, Ran},
    },
};

/// How long a service may take to be as somebody wants it, for whoever waits.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a task may run that somebody asked for.
const LIMIT: Duration = Duration::from_secs(12 * 3600);

/// What it takes to look at services and tasks of an environment, and to change them.
#[derive(Clone)]
pub(crate) struct Board {
    services: Arc<Services>,
    definition: Arc<Definition>,
    execs: Execs,
    access: Access,
    /// Ends when the environment does.
    end: CancellationToken,
}

/// Why something could not be done.
pub(crate) enum Refused {
    /// There is none of that name.
    Unknown(String),
    /// It stands in the way, for a person.
    Why(String),
}

impl Board {
    pub(crate) fn new(
        services: Arc<Services>,
        definition: Arc<Definition>,
        execs: Execs,
        access: Access,
    ) -> Self {
        let end = services.end.clone();
        Self { services, definition, execs, access, end }
    }

    fn automation(&self) -> &Automation {
        &self.definition.automation
    }

    /// How everything stands.
    pub(crate) fn look(&self) -> wire::Automation {
        let (services, tasks) = (self.automation().services.keys(), &self.automation().tasks);
        let task = |(name, task): (&String, &windlass_devcontainer::automation::Task)| wire::Task {
            name: name.clone(),
            description: task.description.clone(),
            on: task.on.iter().map(|on| occasion(*on).to_owned()).collect(),
            depends_on: task.depends_on.clone(),
            outputs: task
                .outputs
                .iter()
                .map(|(name, output)| (name.clone(), output.kind.name().to_owned()))
                .collect(),
            last: self.services.tasks.last(name).map(|run| run.now()),
        };
        wire::Automation {
            services: services.filter_map(|name| self.service(name)).collect(),
            tasks: tasks.iter().map(task).collect(),
        }
    }

    fn service(&self, name: &str) -> Option<wire::Service> {
        let declared = self.automation().services.get(name)?;
        let status = self.services.find(name).map(|running| running.status());
        Some(wire::Service {
            name: name.to_owned(),
            description: declared.description.clone(),
            state: status.as_ref().map_or("absent", |status| status.stage.name()).to_owned(),
            since: status.as_ref().map(|status| status.since.as_micros()),
            restarts: status.as_ref().map_or(0, |status| status.starts.saturating_sub(1)),
            last_end: status.and_then(|status| status.last_end),
            ports: declared.ports.clone(),
            depends_on: declared.depends_on.clone(),
            restart: match declared.restart {
                Restart::Never => "never",
                Restart::OnFailure => "on_failure",
                Restart::Always => "always",
            }
            .to_owned(),
        })
    }

    /// Does what somebody wants of a service, and waits until it is so or it is clear that it will not be
    /// soon.
    pub(crate) async fn wish(&self, name: &str, wish: Wish) -> Result<wire::Service, Refused> {
        if !self.automation().services.contains_key(name) {
            return Err(self.unknown("service", name));
        }
        match wish {
            Wish::Stop => {
                if let Some(running) = self.services.find(name) {
                    running.stop();
                    settled(&running).await;
                }
            }
            Wish::Start | Wish::Restart => {
                let mut seen = HashSet::from([name.to_owned()]);
                for other in self.automation().depends_on(name) {
                    Box::pin(self.provide(other, &mut seen)).await?;
                }
                let running = self.running(name)?;
                match wish {
                    Wish::Restart => running.restart(),
                    Wish::Start | Wish::Stop => running.start(),
                }
                settled(&running).await;
            }
        }
        self.service(name).ok_or_else(|| self.unknown("service", name))
    }

    /// Sees to it that something is there that another thing needs.
    async fn provide(&self, name: &str, seen: &mut HashSet<String>) -> Result<(), Refused> {
        if !seen.insert(name.to_owned()) {
            return Ok(());
        }
        for other in self.automation().depends_on(name) {
            Box::pin(self.provide(other, seen)).await?;
        }
        if self.automation().services.contains_key(name) {
            let running = self.running(name)?;
            running.start();
            settled(&running).await;
            return match running.status().stage {
                Stage::Ready => Ok(()),
                stage => Err(Refused::Why(format!(
                    "the service {name}, which is needed before, is not ready: it is {}",
                    stage.name()
                ))),
            };
        }
        let was_fine =
            self.services.tasks.last(name).is_some_and(|run| run.now().state == "succeeded");
        if was_fine {
            return Ok(());
        }
        let (run, is_new) = self.services.tasks.begin(name);
        if is_new {
            self.spawn(name, run.clone());
        }
        match run.ended().await {
            ended if ended.state == "succeeded" => Ok(()),
            ended => Err(Refused::Why(format!(
                "the task {name}, which is needed before, failed: {}",
                ended.why.unwrap_or_default()
            ))),
        }
    }

    fn running(&self, name: &str) -> Result<Running, Refused> {
        if let Some(running) = self.services.find(name) {
            return Ok(running);
        }
        let declared = self.automation().services.get(name);
        let declared = declared.ok_or_else(|| self.unknown("service", name))?;
        if self.end.is_cancelled() {
            return Err(Refused::Why("the environment is being stopped".to_owned()));
        }
        let started = self.services.start(&self.execs, &self.access, name, declared);
        started.map_err(|error| Refused::Why(error.to_string()))?;
        self.services.find(name).ok_or_else(|| self.unknown("service", name))
    }

    /// Runs a task after what it depends on, unless it runs. It has begun then.
    pub(crate) async fn run(&self, name: &str) -> Result<TaskRun, Refused> {
        let Some(task) = self.automation().tasks.get(name) else {
            return Err(self.unknown("task", name));
        };
        let mut seen = HashSet::from([name.to_owned()]);
        for other in &task.depends_on {
            Box::pin(self.provide(other, &mut seen)).await?;
        }
        let (run, is_new) = self.services.tasks.begin(name);
        if is_new {
            self.spawn(name, run.clone());
        }
        Ok(run.now())
    }

    /// Runs a task beside whoever asked: it goes on when they are gone.
    fn spawn(&self, name: &str, run: tasks::Run) {
        let (board, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move { board.run_to_its_end(&name, &run).await });
    }

    async fn run_to_its_end(&self, name: &str, run: &tasks::Run) {
        let Some(task) = self.automation().tasks.get(name) else {
            return run.ends(None, Err("There is no such task.".to_owned()));
        };
        let prepared = match tasks::prepare(&self.execs, task) {
            Ok(prepared) => prepared,
            Err(error) => return run.ends(None, Err(error.to_string())),
        };
        let print = |bytes: &[u8]| {
            run.printed(bytes);
            Ok(())
        };
        let ran = self.access.run(prepared.exec.clone(), LIMIT, &self.end, print).await;
        let exit = match &ran {
            Ok(Ran::Ended(State::Exited { code })) => Some(*code),
            _ => None,
        };
        let given = match ran {
            Ok(Ran::Ended(State::Exited { code: 0 })) => {
                let (access, execs) = (&self.access, &self.execs);
                tasks::outputs(access, execs, (name, task), run, &prepared).await
            }
            Ok(ran) => {
                let how = command::in_words(&ran);
                Err(format!("The task `{name}` ended: {how}."))
            }
            Err(error) => Err(format!("The task `{name}` could not be run: {error}.")),
        };
        run.ends(exit, given);
    }

    /// What is kept of an output.
    pub(crate) fn log(&self, of: &Of) -> Result<Option<Arc<Log>>, Refused> {
        match of {
            Of::Service(name) if self.automation().services.contains_key(name) => {
                Ok(self.services.find(name).map(|running| running.log))
            }
            Of::Service(name) => Err(self.unknown("service", name)),
            Of::Task(name) if self.automation().tasks.contains_key(name) => {
                Ok(self.services.tasks.last(name).map(|run| run.log))
            }
            Of::Task(name) => Err(self.unknown("task", name)),
        }
    }

    fn unknown(&self, kind: &str, name: &str) -> Refused {
        let (services, tasks) = (&self.automation().services, &self.automation().tasks);
        let names: Vec<&str> = match kind {
            "service" => services.keys().map(String::as_str).collect(),
            _ => tasks.keys().map(String::as_str).collect(),
        };
        let name: String = name.chars().take(64).collect();
        let there = match names.as_slice() {
            [] => format!("the environment has no {kind}s"),
            names => format!("there are: {}", names.join(", ")),
        };
        Refused::Unknown(format!("there is no {kind} {name}; {there}"))
    }
}

async fn settled(running: &Running) {
    let _or_time_is_over = tokio::time::timeout(PATIENCE, running.settled()).await;
}

/// The word that the file has for it.
fn occasion(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::Manual => "manual",
        Occasion::Start => "start",
        Occasion::Prebuild => "prebuild",
        Occasion::BeforeSnapshot => "before_snapshot",
    }
}
