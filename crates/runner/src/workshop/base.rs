//! Makes ready what an environment is made from, as its definition says: pulls or builds an image, and
//! tells the log of the first step how that goes. What a Dockerfile may copy is the project as the job
//! began with it, never what its steps made of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use windlass_git::checkout::Objects;
use windlass_run::job::StepResult;
use windlass_sandbox::{
    Backend, Base, Image, Limits, Prepared, Progress,
    backend::{Companion, Login, Pull, Recipe},
};

use super::{
    Workshop, beside, dockerfile,
    environment::{Tenant, broken},
    features::{self, Shelf},
    place::Attempt,
    repository::{self, JobRepository},
    setup::LIMIT,
};
use crate::{
    definition::{Basis, Definition, Dockerfile},
    executor::Attempted,
    job::failed,
};

/// Makes it ready, unless somebody says to stop or its time is over.
pub(super) async fn prepare(
    making: &Making<'_>,
    definition: &Definition,
    known: &Known,
) -> Result<Prepared, Attempted> {
    let Making { workshop, tenant, work, tree, .. } = *making;
    let plan = definition.devcontainer.as_ref().and_then(|resolved| resolved.build.as_ref());
    let base = match &definition.basis {
        Basis::Default => match &workshop.options.default_image {
            Some(image) => named(workshop, tenant, image),
            None => Base::Host,
        },
        Basis::Image(image) => named(workshop, tenant, image),
        Basis::Dockerfile(dockerfile) => match plan {
            Some(plan) => return dockerfile::build(making, dockerfile, plan, known).await,
            None => Base::Image(built(dockerfile, work, tree).await?),
        },
    };
    ready(making, &base).await
}

/// Has the backend make something ready.
pub(super) async fn ready(making: &Making<'_>, base: &Base) -> Result<Prepared, Attempted> {
    let Making { workshop, backend, attempt, .. } = *making;
    with_progress(attempt, |mut tell| async move { backend.prepare(base, &mut tell).await })
        .await?
        .map_err(|error| broken(workshop, &error))
}

/// Installs a definition's Features over what it is made from; nothing to do without any.
pub(super) async fn with_features(
    made: &Making<'_>,
    prepared: Prepared,
    definition: &Definition,
    known: &Known,
) -> Result<Prepared, Attempted> {
    let Some(resolved) = definition.features() else { return Ok(prepared) };
    let Making { workshop, work, tree, name, .. } = *made;
    let project = project(work, tree).await?;
    let root = crate::definition::root(name);
    let recipe = known.shelf.recipe(workshop, resolved, &root, &project)?;
    extended(made, &prepared, &recipe).await
}

/// What runs beside the environment, with its images, and what is left for the environment itself.
pub(super) async fn beside(
    making: &Making<'_>,
    definition: &Definition,
    limits: &Limits,
) -> Result<(Limits, Vec<Companion>), Attempted> {
    let Making { workshop, tenant, work, tree, .. } = *making;
    let services = &definition.services;
    let (own, shares) = beside::shares(limits, services).map_err(|why| {
        let reason = format!("The environment can't be made: {why}.");
        Attempted::JobEnded(failed("environment", reason))
    })?;
    let mut companions = Vec::with_capacity(services.beside.len());
    for (service, limits) in services.beside.iter().zip(shares) {
        let base = match &service.basis {
            Basis::Default => Base::Empty,
            Basis::Image(image) if service.service.may_pull => named(workshop, tenant, image),
            Basis::Image(image) => Base::Image(Image::Named {
                reference: image.clone(),
                pull: Pull::Never,
                login: None,
            }),
            Basis::Dockerfile(dockerfile) => Base::Image(built(dockerfile, work, tree).await?),
        };
        let image = ready(making, &base).await?;
        companions.push(beside::companion(service, image, limits));
    }
    Ok((own, companions))
}

/// What is here already of what a definition needs to be whole.
#[derive(Default)]
pub(super) struct Known {
    pub(super) shelf: Shelf,
    /// The images of a Dockerfile's stages, by name.
    pub(super) images: BTreeMap<String, Prepared>,
}

impl Known {
    /// Gets what a definition lacks; answers whether there was something, so that it has to be read again.
    pub(super) async fn complete(
        &mut self,
        making: &Making<'_>,
        definition: &Definition,
    ) -> Result<bool, Attempted> {
        let Making { workshop, tenant, attempt, .. } = *making;
        let features = definition.missing_features();
        self.shelf.fetch(workshop, tenant, &features, attempt).await?;
        let mut images = definition.stage_images();
        images.retain(|name| !self.images.contains_key(name));
        for name in &images {
            let prepared = ready(making, &named(workshop, tenant, name)).await?;
            self.images.insert(name.clone(), prepared);
        }
        Ok(!features.is_empty() || !images.is_empty())
    }

    /// What the images say about themselves.
    pub(super) fn settings(&self) -> BTreeMap<String, windlass_sandbox::ImageSettings> {
        let images = self.images.iter();
        images.map(|(name, prepared)| (name.clone(), prepared.settings.clone())).collect()
    }
}

/// What it takes to make something for an environment.
pub(super) struct Making<'a> {
    pub(super) workshop: &'a Workshop,
    pub(super) backend: &'a dyn Backend,
    pub(super) tenant: &'a Tenant,
    pub(super) work: &'a JobRepository,
    pub(super) tree: &'a Tree<'a>,
    /// The project's name as one folder name.
    pub(super) name: &'a str,
    pub(super) attempt: &'a Attempt,
}

/// Adds to what was made ready.
pub(super) async fn extended(
    made: &Making<'_>,
    below: &Prepared,
    recipe: &Recipe,
) -> Result<Prepared, Attempted> {
    let Making { workshop, backend, tenant, .. } = *made;
    let serve = |listeners| features::serve(workshop, tenant, listeners);
    let serve = &serve;
    let extended = with_progress(made.attempt, |mut tell| async move {
        backend.extend(below, recipe, serve, &mut tell).await
    });
    extended.await?.map_err(|error| broken(workshop, &error))
}

/// Does something that takes long and tells the log of the first step how that goes, unless somebody says to
/// stop or its time is over.
async fn with_progress<T, F: Future<Output = T>>(
    attempt: &Attempt,
    work: impl FnOnce(Box<dyn FnMut(Progress) + Send>) -> F,
) -> Result<T, Attempted> {
    let (mut told, log) = (BTreeSet::new(), attempt.log.clone());
    let tell = move |progress: Progress| {
        let said = match progress {
            Progress::Building { text } => log.append(text.as_bytes()),
            // Registries say the same again and again while a part is on its way.
            Progress::Pulling { text } if told.insert(text.clone()) => {
                log.append(format!("[windlass: image: {text}]\n").as_bytes())
            }
            Progress::Pulling { .. } => Ok(()),
        };
        // A full disk is met again by the step itself, which says so.
        let _met_again = said;
    };
    let limit = LIMIT.min(attempt.left());
    tokio::select! {
        done = work(Box::new(tell)) => Ok(done),
        () = attempt.stop.cancelled() => {
            let reason = "It was stopped while its image was made ready.".to_owned();
            Err(Attempted::Ended(StepResult::Failed { code: "stopped".to_owned(), reason }))
        }
        () = tokio::time::sleep(limit) => {
            let seconds = limit.as_secs();
            let reason = format!("Its image was not ready when {seconds} s were over.");
            Err(Attempted::JobEnded(failed("environment_failed", reason)))
        }
    }
}

/// Where an environment's files are on this machine.
pub(super) struct Tree<'a> {
    /// The folder for all of them, gone with the environment.
    pub(super) folder: &'a Path,
    /// The work tree.
    pub(super) tree: &'a Path,
}

fn named(workshop: &Workshop, tenant: &Tenant, reference: &str) -> Base {
    let login = login(workshop, tenant, reference);
    Base::Image(Image::Named { reference: reference.to_owned(), pull: Pull::Missing, login })
}

/// Who asks the registry of an image: the project before the runner's operator.
pub(super) fn login(workshop: &Workshop, tenant: &Tenant, reference: &str) -> Option<Login> {
    let registry = windlass_sandbox::backend::registry(reference);
    let of_project = tenant.registries.iter().find_map(|secret| {
        let login = secret.registry.as_ref().filter(|login| login.host == registry)?;
        Some(Login {
            user: login.user.clone(),
            password: secret.value.clone(),
            realm: login.realm.clone(),
        })
    });
    if of_project.is_some() {
        return of_project;
    }
    workshop.options.registries.get(registry).cloned().flatten()
}

async fn built(
    dockerfile: &Dockerfile,
    work: &JobRepository,
    tree: &Tree<'_>,
) -> Result<Image, Attempted> {
    let project = project(work, tree).await?;
    let context = within(&project, &dockerfile.context).map_err(|why| {
        let reason = format!("The context of the image's build can't be used: {why}.");
        Attempted::JobEnded(failed("environment", reason))
    })?;
    let definition = serde_json::to_string(dockerfile).unwrap_or_default();
    let digest = Sha256::digest(format!("{}\n{definition}", work.base));
    Ok(Image::Built {
        context,
        dockerfile: dockerfile.dockerfile.clone(),
        arguments: dockerfile.arguments.clone(),
        target: dockerfile.target.clone(),
        digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

/// The project as the job began with it, whatever its steps have made of it since.
pub(super) async fn project(work: &JobRepository, tree: &Tree<'_>) -> Result<PathBuf, Attempted> {
    let folder = tree.folder.join("context");
    if work.tip == work.base {
        return Ok(tree.tree.to_owned());
    }
    if !folder.exists() {
        let options = windlass_git::checkout::Options {
            commit: work.base.clone(),
            remote_branches: Vec::new(),
            branch: None,
            objects: Objects::Copied,
            origin: None,
            identity: None,
            index_copy: None,
        };
        let made = work.repository.checkout(&folder, &options).await;
        made.map_err(|error| match repository::of_git(error) {
            crate::executor::Unopened::End(end) => Attempted::JobEnded(end),
            crate::executor::Unopened::GiveBack(why) => Attempted::GiveBack(why),
        })?;
    }
    Ok(folder)
}

/// A folder of the project; a link that leads out of it is refused.
pub(super) fn within(project: &Path, below: &str) -> Result<PathBuf, String> {
    let real = |path: &Path| {
        path.canonicalize().map_err(|error| format!("`{below}` can't be opened: {error}"))
    };
    let (project, folder) = (real(project)?, real(&project.join(below))?);
    if !folder.starts_with(&project) {
        return Err(format!("`{below}` is a link that leads out of the project"));
    }
    if folder.is_dir() { Ok(folder) } else { Err(format!("`{below}` is no folder")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_a_folder_of_the_project_and_nothing_else() {
        let world = tempfile::tempdir().unwrap();
        let project = world.path().join("project");
        std::fs::create_dir_all(project.join("docker")).unwrap();
        std::fs::write(project.join("file"), "").unwrap();
        std::os::unix::fs::symlink("..", project.join("out")).unwrap();
        let real = project.canonicalize().unwrap();
        assert_eq!(within(&project, ""), Ok(real.clone()));
        assert_eq!(within(&project, "docker"), Ok(real.join("docker")));
        assert!(within(&project, "out").unwrap_err().contains("leads out of the project"));
        assert!(within(&project, "file").unwrap_err().contains("is no folder"));
        assert!(within(&project, "gone").unwrap_err().contains("can't be opened"));
    }
}
