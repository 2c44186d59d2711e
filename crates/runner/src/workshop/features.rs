//! Features of Dev Containers: fetched until a definition lacks none, and the recipe that installs them.
//!
//! Where they come from is what a repository says. A registry is asked as for images; an archive is fetched
//! through a web door, by the rules of what the environment itself may reach. Their `install.sh` runs as
//! root of an environment, never of this machine.

use std::{
    any::Any,
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
};

use windlass_devcontainer::{
    feature::{Fetched, Planned, Reference},
    resolve::Resolved,
};
use windlass_image::Artifact;
use windlass_run::job::StepResult;
use windlass_sandbox::{
    Door, DoorListener,
    backend::{
        Recipe,
        recipe::{Addition, Change},
    },
};

use super::{
    Workshop, base, doors,
    environment::{CERTIFICATE_VARIABLES, Tenant, broken},
    place::Attempt,
};
use crate::{executor::Attempted, job::failed};

/// The largest archive that is fetched.
const LARGEST: u64 = 64 << 20;

/// Installs the Feature in the folder that it is started in. The homes of the two users stand in the accounts,
/// which a Feature before may have changed.
const INSTALL: &str = r#"home_of() {
  while IFS=: read -r name _ id _ _ home _; do
    if [ "$name" = "$1" ] || [ "$id" = "$1" ]; then echo "$home"; return; fi
  done < /etc/passwd
}
_CONTAINER_USER_HOME=$(home_of "$_CONTAINER_USER" 2>/dev/null)
_REMOTE_USER_HOME=$(home_of "$_REMOTE_USER" 2>/dev/null)
export _CONTAINER_USER_HOME _REMOTE_USER_HOME
chmod +x install.sh
exec ./install.sh"#;

/// The Features that were fetched for one definition, by the reference as written.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) manifests: BTreeMap<String, Fetched>,
    folders: BTreeMap<String, PathBuf>,
}

impl Shelf {
    /// Fetches what a definition lacks.
    pub(super) async fn fetch(
        &mut self,
        workshop: &Workshop,
        tenant: &Tenant,
        missing: &BTreeMap<String, Option<String>>,
        attempt: &Attempt,
    ) -> Result<(), Attempted> {
        for (written, wanted) in missing {
            let fetch = one(workshop, tenant, written, wanted.as_deref());
            let artifact = tokio::select! {
                artifact = fetch => artifact?,
                () = attempt.stop.cancelled() => {
                    let reason = "It was stopped while a Feature was fetched.".to_owned();
                    return Err(Attempted::Ended(StepResult::Failed {
                        code: "stopped".to_owned(),
                        reason,
                    }));
                }
            };
            let file = artifact.folder.join("devcontainer-feature.json");
            let manifest = tokio::fs::read_to_string(&file).await.map_err(|error| {
                refused(format!("The Feature `{written}` can't be read: {error}."))
            })?;
            let fetched = Fetched { manifest, digest: artifact.digest };
            self.manifests.insert(written.clone(), fetched);
            self.folders.insert(written.clone(), artifact.folder);
        }
        Ok(())
    }

    /// What installs a definition's Features, in their order. `project` is the folder on disk that
    /// `root` stands for.
    pub(super) fn recipe(
        &self,
        workshop: &Workshop,
        resolved: &Resolved,
        root: &str,
        project: &Path,
    ) -> Result<Recipe, Attempted> {
        let mut changes = Vec::new();
        let mut names = Vec::new();
        for feature in &resolved.features {
            let folder = self.folder(feature, root, project)?;
            let environment: Vec<(String, String)> =
                feature.manifest.container_env.clone().into_iter().collect();
            if !environment.is_empty() {
                changes.push(Change::Set(environment));
            }
            changes.push(Change::Run {
                command: ["/bin/sh", "-c", INSTALL].map(str::to_owned).into(),
                variables: resolved.install_environment(feature).into_iter().collect(),
                folder: None,
                user: None,
                files: Some(folder),
                caches: Vec::new(),
            });
            names.push(feature.written.clone());
        }
        let name = match names.as_slice() {
            [one] => format!("the Feature {one}"),
            all => format!("the Features {}", all.join(", ")),
        };
        let additions = vec![Addition { name, changes }];
        Ok(Recipe { additions, ..recipe(workshop) })
    }

    fn folder(&self, feature: &Planned, root: &str, project: &Path) -> Result<PathBuf, Attempted> {
        let why = match (&feature.folder, self.folders.get(&feature.written)) {
            (None, Some(folder)) => return Ok(folder.clone()),
            (None, None) => "it was not fetched".to_owned(),
            (Some(folder), _) => {
                let below = folder.strip_prefix(root).unwrap_or(folder).trim_matches('/');
                match base::within(project, below) {
                    Ok(folder) if folder.join("install.sh").is_file() => return Ok(folder),
                    Ok(_) => format!("there is no `install.sh` in `{below}`: add it"),
                    Err(why) => why,
                }
            }
        };
        Err(refused(format!("The Feature `{}` can't be installed: {why}.", feature.written)))
    }
}

/// A recipe that adds nothing yet: what its programs may use and how they reach the network.
pub(super) fn recipe(workshop: &Workshop) -> Recipe {
    let options = &workshop.options;
    let mut variables: Vec<(String, String)> =
        ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"]
            .map(|name| (name.to_owned(), doors::web_address()))
            .into();
    for name in ["NO_PROXY", "no_proxy"] {
        variables.push((name.to_owned(), "127.0.0.1,localhost,::1".to_owned()));
    }
    if options.ca_bundle.is_some() {
        let path = windlass_sandbox::backend::recipe::CERTIFICATES;
        variables.extend(CERTIFICATE_VARIABLES.map(|name| (name.to_owned(), path.to_owned())));
    }
    Recipe {
        additions: Vec::new(),
        variables,
        doors: doors::NAMES
            .iter()
            .map(|(name, port)| Door { name: (*name).to_owned(), port: *port })
            .collect(),
        limits: options.limits.clone(),
        layers: options.layers.clone(),
        certificates: options.ca_bundle.clone(),
    }
}

/// Serves the web door of a program that makes something, and no other door.
pub(super) fn serve(
    workshop: &Workshop,
    tenant: &Tenant,
    listeners: Vec<DoorListener>,
) -> Result<Box<dyn Any + Send>, String> {
    let web = listeners.into_iter().find(|listener| listener.name == doors::NAMES[2].0);
    let web = web.ok_or("the environment came without its web door")?;
    Ok(Box::new(doors::serve_web_alone(workshop, tenant, &web.listener)?))
}

fn refused(reason: String) -> Attempted {
    Attempted::JobEnded(failed("environment", reason))
}

async fn one(
    workshop: &Workshop,
    tenant: &Tenant,
    written: &str,
    wanted: Option<&str>,
) -> Result<Artifact, Attempted> {
    let artifacts = &workshop.artifacts;
    let reference = Reference::parse(written)
        .map_err(|error| refused(format!("The Feature can't be fetched: {error}.")))?;
    match reference {
        Reference::Local(_) => Err(refused(format!("The Feature `{written}` isn't there."))),
        Reference::Oci(reference) => {
            let name = reference.to_string();
            let login = base::login(workshop, tenant, &name);
            let pulled = artifacts.pull(&name, wanted, login.as_ref()).await;
            pulled.map_err(|error| broken(workshop, &error))
        }
        Reference::Tarball { url, .. } => {
            let found = artifacts.find(&url, wanted).map_err(|error| broken(workshop, &error))?;
            if let Some(found) = found {
                return Ok(found);
            }
            let bytes = download(workshop, tenant, &url).await.map_err(|why| {
                refused(format!("The Feature `{written}` can't be fetched: {why}."))
            })?;
            let kept = artifacts.keep_archive(&url, wanted, bytes).await;
            kept.map_err(|error| broken(workshop, &error))
        }
    }
}

/// Fetches an archive through a web door of its own, which knows the rules.
async fn download(workshop: &Workshop, tenant: &Tenant, url: &str) -> Result<Vec<u8>, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| words(&error))?;
    let address = listener.local_addr().map_err(|error| words(&error))?;
    let door = doors::serve_web_alone(workshop, tenant, &listener)?;
    let client = windlass_gateway::upstream::through_door(
        address,
        &match &workshop.options.ca_bundle {
            Some(path) => tokio::fs::read(path).await.map_err(|error| words(&error))?,
            None => Vec::new(),
        },
    )
    .map_err(|error| words(&error))?;
    let outcome = async {
        let mut answer = client.get(url).send().await.map_err(|error| in_full(&error))?;
        if !answer.status().is_success() {
            return Err(format!("its host answered {}", answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| in_full(&error))? {
            bytes.extend_from_slice(&part);
            if bytes.len() as u64 > LARGEST {
                return Err(format!("it is larger than {} MiB", LARGEST >> 20));
            }
        }
        Ok(bytes)
    }
    .await;
    let refusals = door.refusals();
    door.stop().await;
    outcome.map_err(|why| match refusals.first() {
        Some(refusal) => format!("{refusal}; let the project reach that host"),
        None => why,
    })
}

/// An error with what caused it.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
