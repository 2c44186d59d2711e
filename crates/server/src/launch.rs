//! The run of an automation, made: an automation, the event that starts it and the targets that it is for
//! become a run with its jobs, frozen. By hand, by a trigger and by a fleet it is the same here. Nothing here
//! asks whether it may start, and nothing here keeps anything.

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
    projects::Project,
    runs::{NewJob, NewRun},
};

use crate::{
    actions::runs,
    links,
    problem::{Code, Problem},
    state::AppState,
    views,
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
        Ok(NewRun {
            id: self.run_id.clone(),
            organisation_id: self.organisation_id.clone(),
            title: name.to_owned(),
            jobs,
            automation: Some(self.ready.pinned.clone()),
            turn: None,
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
        let automation = &self.ready.automation;
        let base = runs::base(app, project, automation.targets.base.as_deref(), notes).await?;
        let wants = views::projects::settings(project);
        let needs = automation.environment.runs_on.to_string();
        let needs = needs.split(',').filter(|label| !label.is_empty()).map(str::to_owned);
        let (class, runs_on) = views::classes::chosen(
            app,
            &self.organisation_id,
            automation.environment.class.as_deref(),
            wants.class.as_deref(),
            &needs.collect::<Vec<_>>(),
        )
        .await?;
        let context = self.context(app, project, &base);
        let target = Target { project_id: project.id.clone(), base, commit: None };
        let spec = automation.spec(&self.ready.made, target, class, context);
        let mut spec =
            spec.map_err(|error| Problem::new(Code::InvalidSpec, error.why).at(error.place))?;
        spec.runs_on = runs_on;
        spec.sensitive = views::secrets::beside_agents(app, &self.by, &spec).await?;
        Ok(spec)
    }

    /// What expressions of the steps can speak of.
    fn context(&self, app: &AppState, project: &Project, base: &str) -> Value {
        let Pinned { automation, version, digest } = &self.ready.pinned;
        let run_url = format!("{}{}", app.base_url(), links::run(&self.run_id));
        json!({
            "inputs": self.inputs,
            "event": self.event.as_context(),
            "target": {
                "repository": project.name,
                "project": project.id,
                "forge": project.forge,
                "base": base,
                "url": project.source,
            },
            "run": { "id": self.run_id, "url": run_url },
            "automation": {
                "name": automation,
                "version": version.map_or_else(|| digest[..12].to_owned(), |it| it.to_string()),
            },
        })
    }
}
