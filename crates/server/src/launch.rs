//! The run of an automation, made: an automation, the event that starts it and the targets that it is for
//! become a run with its jobs, frozen. By hand, by a trigger and by a fleet it is the same here. Nothing here
//! asks whether it may start, and nothing here keeps anything.

pub(crate) mod frozen;
pub(crate) mod targets;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use windlass_run::{
    JobId, OrganisationId, RunId,
    actor::By,
    automation::{Automation, Calls, InvalidCall, Made},
    event::Event,
    spec::{Spec, Target},
};
use windlass_store::{
    automations::Pinned,
    fleets::{NewFleet, NewTarget},
    projects::Project,
    runs::{NewJob, NewRun, Started},
};

use crate::{
    launch::{
        frozen::{Asked, Frozen},
        targets::Chosen,
    },
    links,
    problem::{Code, Problem},
    state::AppState,
    triggers,
};

/// An automation whose calls are worked out: what runs can be made of.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) automation: Arc<Automation>,
    pub(crate) made: Arc<Made>,
    pub(crate) pinned: Pinned,
}

impl Ready {
    /// Works out what an automation calls. `version` is absent for a file that nobody applied.
    ///
    /// # Errors
    /// A call that can't be worked out.
    pub(crate) fn of(
        automation: Arc<Automation>,
        text: &str,
        version: Option<u64>,
        calls: Calls<'_>,
    ) -> Result<Self, InvalidCall> {
        let made = Arc::new(automation.made(calls)?);
        let name = automation.name.to_string();
        let pinned = Pinned { automation: name, version, digest: digest(text) };
        Ok(Self { automation, made, pinned })
    }
}

/// SHA-256 of a file's text, in hex.
pub(crate) fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is the same for all jobs of a run.
pub(crate) struct Launch<'a> {
    pub(crate) run_id: RunId,
    pub(crate) ready: &'a Ready,
    /// What starts it.
    pub(crate) event: Event,
    /// Its inputs, complete and of their kinds.
    pub(crate) inputs: Map<String, Value>,
    /// On whose behalf it goes on.
    pub(crate) by: By,
    pub(crate) organisation_id: OrganisationId,
}

impl Launch<'_> {
    /// The run with one job for each project. `notes` gets what a person should know.
    ///
    /// # Errors
    /// A branch, class or step that does not hold for one of the projects; the store's failures.
    pub(crate) async fn run(
        &self,
        app: &AppState,
        projects: &[Project],
        notes: &mut Vec<String>,
    ) -> Result<NewRun, Problem> {
        let name = self.ready.automation.name.as_str();
        let mut jobs = Vec::with_capacity(projects.len());
        for project in projects {
            let spec = self.spec(app, project, notes).await?;
            let title = format!("{name} on {}", project.name);
            jobs.push(NewJob { id: JobId::new(app.now(), app.random()), title, spec });
        }
        let turn = triggers::turn(&self.ready.automation, jobs.iter().map(|job| &job.spec))?;
        Ok(NewRun {
            id: self.run_id.clone(),
            organisation_id: self.organisation_id.clone(),
            title: name.to_owned(),
            jobs,
            automation: Some(self.ready.pinned.clone()),
            turn,
            idempotency_key: None,
        })
    }

    /// What the job on one project does.
    ///
    /// # Errors
    /// As [`Launch::run`].
    pub(crate) async fn spec(
        &self,
        app: &AppState,
        project: &Project,
        notes: &mut Vec<String>,
    ) -> Result<Spec, Problem> {
        let asked = Asked {
            organisation_id: &self.organisation_id,
            by: &self.by,
            project,
            base: None,
            attempt: 1,
            instruction: None,
        };
        self.frozen(app, project)?.job(app, asked, notes).await
    }

    /// The run as a fleet: its targets are rows first, and have jobs when they are begun.
    ///
    /// # Errors
    /// A step that does not hold for any target.
    pub(crate) fn fleet(&self, app: &AppState, chosen: &Chosen) -> Result<NewFleet, Problem> {
        let automation = &self.ready.automation;
        if automation.concurrency.is_some() {
            let why = "this server can't keep to the concurrency of a fleet yet: leave it out, or run it \
                       on one project";
            return Err(Problem::new(Code::InvalidAutomation, why).at("concurrency"));
        }
        let Some(first) = chosen.projects.first() else {
            let why = "there is no project to work on: nothing was selected";
            return Err(Problem::new(Code::InvalidSpec, why).at("projects"));
        };
        let frozen = self.frozen(app, first)?;
        let target = |project: &Project| NewTarget {
            project_id: project.id.clone(),
            repository: project.name.clone(),
            forge: targets::host(project),
            owner: targets::owner(project),
            base: frozen.base.clone().or_else(|| project.default_branch.clone()),
            labels: targets::labels(project),
        };
        Ok(NewFleet {
            id: self.run_id.clone(),
            organisation_id: self.organisation_id.clone(),
            title: automation.name.to_string(),
            automation: Some(self.ready.pinned.clone()),
            plan: automation.rollout.clone(),
            selected: chosen.selected.clone(),
            targets: chosen.projects.iter().map(target).collect(),
            frozen: serde_json::to_string(&frozen)
                .map_err(|error| Problem::internal("freeze an automation", error))?,
            idempotency_key: None,
        })
    }

    /// Starts it: as a fleet where it goes over many targets or says how, else as a run with its job. With a
    /// `key`, the same request starts it once.
    ///
    /// # Errors
    /// As [`Launch::run`] and [`Launch::fleet`]; the store's failures.
    pub(crate) async fn start(
        &self,
        app: &AppState,
        chosen: &Chosen,
        key: Option<String>,
        notes: &mut Vec<String>,
    ) -> Result<Started, Problem> {
        let (by, now) = (self.by.clone(), app.now());
        let idempotency_key = key.map(|key| format!("run:{key}"));
        if chosen.is_fleet {
            let new = NewFleet { idempotency_key, ..self.fleet(app, chosen)? };
            return Ok(app.store().create_fleet(by, new, now).await?);
        }
        let new = self.run(app, &chosen.projects, notes).await?;
        Ok(app.store().create_run(by, NewRun { idempotency_key, ..new }, now).await?)
    }

    /// What all jobs have in common. The project is one of those that they are for.
    fn frozen(&self, app: &AppState, project: &Project) -> Result<Frozen, Problem> {
        let automation = &self.ready.automation;
        let base = automation.targets.base.clone();
        let anywhere = base.clone().or_else(|| project.default_branch.clone());
        let target = Target {
            project_id: project.id.clone(),
            base: anywhere.unwrap_or_else(|| "main".to_owned()),
            commit: None,
        };
        let spec = automation.spec(&self.ready.made, target, None, self.context(app));
        let spec =
            spec.map_err(|error| Problem::new(Code::InvalidSpec, error.why).at(error.place))?;
        let needs = automation.environment.runs_on.iter().map(str::to_owned).collect();
        let class = automation.environment.class.clone();
        Ok(Frozen { name: automation.name.to_string(), class, needs, base, spec })
    }

    /// What expressions of the steps can speak of, whatever the target.
    fn context(&self, app: &AppState) -> Value {
        let Pinned { automation, version, digest } = &self.ready.pinned;
        let run_url = format!("{}{}", app.base_url(), links::run(&self.run_id));
        json!({
            "inputs": self.inputs,
            "event": self.event.as_context(),
            "run": { "id": self.run_id, "url": run_url },
            "automation": {
                "name": automation,
                "version": version.map_or_else(|| digest[..12].to_owned(), |it| it.to_string()),
            },
        })
    }
}
