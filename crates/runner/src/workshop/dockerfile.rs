//! A Dockerfile that is built without an engine: its plan becomes recipes, one for each stage, of which every
//! step that changes files is kept by itself.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, PoisonError},
};

use windlass_devcontainer::dockerfile::{
    Action, CopySource, Plan, PlannedStage, StageSource, Step,
};
use windlass_sandbox::{
    Base, ImageSettings, Prepared,
    backend::{
        Recipe,
        recipe::{Addition, Change, Origin},
    },
};

use super::{
    base::{self, Known, Making},
    features,
};
use crate::{definition::Dockerfile, executor::Attempted, job::failed};

/// How many builds are remembered.
const REMEMBERED: usize = 256;

/// What was built of which commit, definition and images.
pub(super) type Built = Mutex<BTreeMap<(String, String, Vec<String>), Prepared>>;

/// Builds all stages; answers the last.
pub(super) async fn build(
    making: &Making<'_>,
    dockerfile: &Dockerfile,
    plan: &Plan,
    known: &Known,
) -> Result<Prepared, Attempted> {
    // Which files there are is what the commit says: they need not be looked at again.
    let key = (
        making.work.base.to_string(),
        serde_json::to_string(&(dockerfile, plan)).unwrap_or_default(),
        known.images.values().map(|image| image.name.clone()).collect(),
    );
    let memory = &making.workshop.built;
    let before = memory.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    if let Some(before) = before {
        let serve = |_| Err("nothing runs".to_owned());
        let nothing = Recipe::default();
        let there = making.backend.extend(&before, &nothing, &serve, &mut |_| {}).await;
        // What was given up meanwhile is built again.
        if there.is_ok() {
            return Ok(before);
        }
    }
    let project = base::project(making.work, making.tree).await?;
    let context = base::within(&project, &dockerfile.context).map_err(|why| {
        refused(format!("The context of the image's build can't be used: {why}."))
    })?;
    let mut stages: Vec<Prepared> = Vec::with_capacity(plan.stages.len());
    for stage in &plan.stages {
        let below = match &stage.from {
            StageSource::Scratch => base::ready(making, &Base::Empty).await?,
            StageSource::Image(name) => image(known, name)?,
            StageSource::Stage(at) => earlier(&stages, *at)?,
        };
        let root = crate::definition::root(making.name);
        let sources = Sources { context: &context, stages: &stages, known, root: &root };
        let additions = stage
            .steps
            .iter()
            .map(|step| sources.addition(step, &below.settings))
            .collect::<Result<_, _>>()?;
        let recipe = Recipe { additions, ..features::recipe(making.workshop) };
        let made = base::extended(making, &below, &recipe).await?;
        let settings = settings(stage, &below.settings);
        stages.push(Prepared { settings, ..made });
    }
    let Some(built) = stages.pop() else {
        return Err(refused("The Dockerfile has no stage.".to_owned()));
    };
    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    if memory.len() >= REMEMBERED {
        memory.clear();
    }
    memory.insert(key, built.clone());
    Ok(built)
}

/// How what a stage makes is run.
fn settings(stage: &PlannedStage, below: &ImageSettings) -> ImageSettings {
    let setup = &stage.setup;
    let mut labels = below.labels.clone();
    labels.extend(setup.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
    ImageSettings {
        variables: setup.environment.clone().into_iter().collect(),
        labels,
        user: setup.user.clone().unwrap_or_else(|| below.user.clone()),
        folder: setup.folder.clone().unwrap_or_else(|| below.folder.clone()),
    }
}

fn image(known: &Known, name: &str) -> Result<Prepared, Attempted> {
    let found = known.images.get(name).cloned();
    found.ok_or_else(|| refused(format!("The image `{name}` was not made ready.")))
}

fn earlier(stages: &[Prepared], at: usize) -> Result<Prepared, Attempted> {
    let found = stages.get(at).cloned();
    found.ok_or_else(|| {
        refused("A stage of the Dockerfile comes before the one it needs.".to_owned())
    })
}

fn refused(reason: String) -> Attempted {
    Attempted::JobEnded(failed("environment", reason))
}

/// From where a stage copies.
struct Sources<'a> {
    context: &'a Path,
    stages: &'a [Prepared],
    known: &'a Known,
    /// What places begin with that lie in the project.
    root: &'a str,
}

impl Sources<'_> {
    fn addition(&self, step: &Step, below: &ImageSettings) -> Result<Addition, Attempted> {
        let file = step.place.file.strip_prefix(self.root).unwrap_or(&step.place.file);
        let name = format!("{}:{}", file.trim_start_matches('/'), step.place.line);
        let folder = match (&step.folder, below.folder.as_str()) {
            (Some(folder), _) => folder.clone(),
            (None, "") => "/".to_owned(),
            (None, folder) => folder.to_owned(),
        };
        let change = match &step.action {
            Action::MakeFolder(path) => Change::MakeFolder(path.clone()),
            Action::Run { command, caches } => Change::Run {
                command: command.clone(),
                variables: step.environment.clone().into_iter().collect(),
                folder: Some(folder),
                user: step.user.clone().or_else(|| Some(below.user.clone())),
                files: None,
                caches: caches.clone(),
            },
            Action::Copy { from, sources, to, owner: _, mode, unpack } => {
                let from = match from {
                    CopySource::Context => Origin::Folder(self.context.to_owned()),
                    CopySource::Stage(at) => Origin::Prepared(earlier(self.stages, *at)?),
                    CopySource::Image(name) => Origin::Prepared(image(self.known, name)?),
                };
                let mode = mode.as_deref().map(|mode| {
                    u32::from_str_radix(mode, 8).map_err(|_| {
                        refused(format!(
                            "{name}: `--chmod={mode}` is no number in octal: write 755."
                        ))
                    })
                });
                let is_folder = to.ends_with('/') || to == "." || to.ends_with("/.");
                let end = if is_folder { "/" } else { "" };
                Change::Copy {
                    from,
                    sources: sources.clone(),
                    to: format!(
                        "{}{end}",
                        crate::definition::join(&folder, to).trim_end_matches('/')
                    ),
                    mode: mode.transpose()?,
                    unpack: *unpack,
                }
            }
        };
        Ok(Addition { name, changes: vec![change] })
    }
}
