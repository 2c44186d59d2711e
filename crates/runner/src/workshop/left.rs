//! The volumes that an environment which lives by itself begins with and leaves to the next one of its project.

use windlass_sandbox::{Backend, Created, EnvironmentId};

use super::{Workshop, environment::Tenant};
use crate::{
    definition::Definition,
    executor::Attempted,
    options::Clock,
    stock::owner,
    volumes::{LARGEST, Taken, Volumes},
};

/// What one environment leaves.
pub(crate) struct Left {
    volumes: Volumes,
    project_id: String,
    project: String,
    /// The places of its volumes in the plan, and their names.
    all: Vec<(usize, String)>,
    clock: Clock,
}

impl Left {
    /// Fills the volumes of an environment that was made just now. `None` if it has none with a name.
    pub(super) async fn begin(
        workshop: &Workshop,
        tenant: &Tenant,
        definition: &Definition,
        backend: &dyn Backend,
        created: &Created,
        id: &EnvironmentId,
    ) -> Result<Option<Self>, Attempted> {
        let Some(repository) = tenant.repository.as_ref() else { return Ok(None) };
        if definition.left.is_empty() {
            return Ok(None);
        }
        let left = Self {
            volumes: workshop.volumes.clone(),
            project_id: repository.project_id.to_string(),
            project: repository.name.clone(),
            all: definition.left.clone(),
            clock: workshop.options.clock.clone(),
        };
        let ids = (created.report.outside_uid, created.report.outside_gid);
        for (index, name) in &left.all {
            let Some(folder) = backend.volume(id, *index) else { continue };
            // One that was taken over has it already.
            let is_empty = std::fs::read_dir(&folder).is_ok_and(|mut it| it.next().is_none());
            if !is_empty {
                continue;
            }
            let filled =
                left.volumes.fill(&left.project_id, name, &folder, owner(&folder, ids)).await;
            filled.map_err(|error| {
                Attempted::GiveBack(format!("the volume `{name}` can't be copied: {error}"))
            })?;
        }
        Ok(Some(left))
    }

    /// Takes the volumes out of the environment, which must be destroyed next.
    pub(super) fn take(&self, backend: &dyn Backend, id: &EnvironmentId) -> Vec<Taken> {
        let mut taken = Vec::new();
        for (index, name) in &self.all {
            let Some(folder) = backend.volume(id, *index) else { continue };
            match self.volumes.take(name, &folder) {
                Ok(one) => taken.push(one),
                Err(error) => {
                    tracing::warn!(%error, volume = name, environment = %id, "a volume is not kept");
                }
            }
        }
        taken
    }

    /// Keeps them, now that the environment is gone.
    pub(super) async fn keep(&self, taken: Vec<Taken>) {
        let at = (self.clock)().as_micros();
        for one in taken {
            let project = (self.project_id.as_str(), self.project.as_str());
            match self.volumes.keep(one, project, at).await {
                Ok(Some(volume)) => {
                    tracing::debug!(volume.name, volume.bytes, "a volume is kept");
                }
                Ok(None) => tracing::warn!(
                    project = self.project,
                    "a volume is not kept: it holds more than {} GiB or {} files",
                    LARGEST.0 >> 30,
                    LARGEST.1
                ),
                Err(error) => {
                    tracing::warn!(%error, project = self.project, "a volume is not kept")
                }
            }
        }
    }
}
