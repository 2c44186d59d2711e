//! Makes ready what an environment is made from, as its definition says: pulls or builds an image, and
//! tells the log of the first step how that goes. What a Dockerfile may copy is the project as the job
//! began with it, never what its steps made of it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use windlass_git::checkout::Objects;
use windlass_run::job::StepResult;
use windlass_sandbox::{
    Backend, Base, Image, Prepared, Progress,
    backend::{Login, Pull},
};

use super::{
    Workshop,
    environment::broken,
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
    workshop: &Workshop,
    backend: &dyn Backend,
    definition: &Definition,
    work: &JobRepository,
    tree: &Tree<'_>,
    attempt: &Attempt,
) -> Result<Prepared, Attempted> {
    let base = match &definition.basis {
        Basis::Default => match &workshop.options.default_image {
            Some(image) => named(workshop, image),
            None => Base::Host,
        },
        Basis::Image(image) => named(workshop, image),
        Basis::Dockerfile(dockerfile) => Base::Image(built(dockerfile, work, tree).await?),
    };
    let mut told = BTreeSet::new();
    let mut tell = |progress: Progress| {
        let said = match progress {
            Progress::Building { text } => attempt.log.append(text.as_bytes()),
            // Registries say the same again and again while a part is on its way.
            Progress::Pulling { text } if told.insert(text.clone()) => {
                attempt.log.append(format!("[windlass: image: {text}]\n").as_bytes())
            }
            Progress::Pulling { .. } => Ok(()),
        };
        // A full disk is met again by the step itself, which says so.
        let _met_again = said;
    };
    let limit = LIMIT.min(attempt.left());
    tokio::select! {
        prepared = backend.prepare(&base, &mut tell) => {
            prepared.map_err(|error| broken(workshop, &error))
        }
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

fn named(workshop: &Workshop, reference: &str) -> Base {
    let login = login(workshop, reference);
    Base::Image(Image::Named { reference: reference.to_owned(), pull: Pull::Missing, login })
}

/// Who asks the registry of an image.
fn login(workshop: &Workshop, reference: &str) -> Option<Login> {
    let registry = windlass_sandbox::backend::registry(reference);
    workshop.options.registries.get(registry).cloned().flatten()
}

async fn built(
    dockerfile: &Dockerfile,
    work: &JobRepository,
    tree: &Tree<'_>,
) -> Result<Image, Attempted> {
    let project = if work.tip == work.base {
        tree.tree.to_owned()
    } else {
        let folder = tree.folder.join("context");
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
        folder
    };
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

/// A folder of the project; a link that leads out of it is refused.
fn within(project: &Path, below: &str) -> Result<PathBuf, String> {
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
