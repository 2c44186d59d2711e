//! The backend that environments are made by: connected to when it is first needed, and again when the
//! connection broke. Nothing else of the runner knows which one it is.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use windlass_image::{Store, WithImages};
use windlass_oci::Oci;
use windlass_sandbox::{Backend, Client, Error, Result};

use crate::{definition::BackendKind, options::Options};

/// How long a container outlives this runner: long enough for it to come back.
const GRACE: Duration = Duration::from_secs(120);

/// The connection, if there is one.
#[derive(Default)]
pub(super) struct Connection(Mutex<Option<Connected>>);

#[derive(Clone)]
struct Connected {
    backend: Arc<dyn Backend>,
    /// What ends with the runner, where environments have an owner of their own.
    supervisor: Option<Client>,
}

impl Connection {
    /// The backend.
    pub(super) async fn get(&self, options: &Options) -> Result<Arc<dyn Backend>> {
        if let Some(connected) = self.lock().clone() {
            return Ok(connected.backend);
        }
        let connected = match options.backend {
            BackendKind::Process => process(options).await?,
            BackendKind::Oci => containers(options).await?,
        };
        *self.lock() = Some(connected.clone());
        Ok(connected.backend)
    }

    /// The backend, if there is a connection to it now.
    pub(super) fn current(&self) -> Option<Arc<dyn Backend>> {
        self.lock().as_ref().map(|connected| connected.backend.clone())
    }

    /// It broke: the next caller makes a new one.
    pub(super) fn is_gone(&self) {
        *self.lock() = None;
    }

    /// Ends what environments belong to.
    pub(super) async fn shut(&self) {
        let connected = self.lock().take();
        let Some(supervisor) = connected.and_then(|connected| connected.supervisor) else { return };
        if let Err(error) = supervisor.shutdown().await {
            tracing::debug!(%error, "the supervisor of environments had ended already");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How what comes from registries is kept, in a folder of the state's.
pub(super) async fn image_options(
    options: &Options,
    folder: &str,
    limit_bytes: u64,
) -> windlass_image::Options {
    windlass_image::Options {
        folder: options.state_dir.join(folder),
        limit_bytes,
        registries: options.registries.keys().cloned().collect(),
        certificates: match &options.ca_bundle {
            Some(bundle) => tokio::fs::read(bundle).await.unwrap_or_default(),
            None => Vec::new(),
        },
    }
}

async fn process(options: &Options) -> Result<Connected> {
    let state_dir: PathBuf = options.state_dir.join("environments");
    let mut argv = options.supervisor_argv.clone();
    argv.push(state_dir.clone().into_os_string());
    let connect = move || Client::spawn_or_connect(&state_dir, &argv);
    let connected = tokio::task::spawn_blocking(connect).await;
    let client = connected.map_err(|error| Error::Disconnected { why: error.to_string() })??;
    let images = image_options(options, "images", options.image_bytes).await;
    let opened = tokio::task::spawn_blocking(move || Store::open(images)).await;
    let store = opened.map_err(|error| Error::Disconnected { why: error.to_string() })??;
    let backend = Arc::new(WithImages::new(client.clone(), store));
    Ok(Connected { backend, supervisor: Some(client) })
}

async fn containers(options: &Options) -> Result<Connected> {
    let oci = Oci::connect(windlass_oci::Options {
        socket: options.engine_socket.clone(),
        state_dir: options.state_dir.join("containers"),
        helper: options.windlass_exe.clone(),
        helper_arguments: options.first_process.clone(),
        orphan_grace: GRACE,
        image_bytes: options.image_bytes,
    });
    Ok(Connected { backend: Arc::new(oci.await?), supervisor: None })
}
