//! One environment and what is executed in it. Thin over `sandbox`: the plan of a job, and programs
//! with a time limit.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use windlass_sandbox::{
    Client, Demand, EnvironmentId, Error, Exec, OperationId, State, Status,
    plan::{HOME, SYSTEM_PATH},
    spool,
};

use super::{
    Workshop,
    doors::{self, Doors},
    repository::JobRepository,
    services::Services,
    stocked::{self, Prebuild, Stocked},
};
use crate::{
    definition::{Definition, folder_name},
    executor::Attempted,
    job::{Job, failed},
    stock::{Made, Maker},
};

/// Where the programs of Windlass are inside.
pub(super) const PROGRAM: &str = "/opt/windlass/bin/windlass";
/// Where the host's certificate authorities are inside.
pub(super) const CERTIFICATES: &str = "/opt/windlass/certificates.pem";
/// How long a program may take to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most bytes of one program's output that are kept.
const OUTPUT: u64 = 64 << 20;

/// An environment that is ready.
pub(super) struct Environment {
    pub(super) client: Client,
    pub(super) id: EnvironmentId,
    /// Where programs run inside: the work tree or a folder of it.
    pub(super) inside: PathBuf,
    /// What the repository says of its environment.
    pub(super) definition: Arc<Definition>,
    /// What runs beside the steps.
    pub(super) services: Services,
    name: String,
    pub(super) doors: Doors,
    maker: Maker,
    folder: PathBuf,
    /// Where the work tree is on this machine.
    pub(super) host_tree: PathBuf,
    /// The index that snapshots of the work tree use.
    pub(super) index: PathBuf,
    /// What of it was made before.
    pub(super) prebuild: Prebuild,
    /// Where the time of its start went, in one line.
    pub(super) started: String,
    variables: Vec<(OsString, OsString)>,
    operations: AtomicU64,
}

/// The way into an environment, for what outlives a call.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) client: Client,
    pub(super) id: EnvironmentId,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ran {
    /// By itself or by a signal that we did not send.
    Ended(State),
    /// Its time was over.
    TimedOut,
    /// Somebody told us to stop.
    Stopped,
}

/// Why nothing could be executed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The environment or its supervisor failed us.
    #[error(transparent)]
    Environment(#[from] Error),
    /// The runner's disk does not take the output.
    #[error("the output can't be kept: {0}")]
    Disk(#[from] io::Error),
}

impl Environment {
    /// Makes a work tree at the job's newest checkpoint and an environment around it, or takes one that
    /// was started ahead.
    pub(super) async fn make(
        workshop: &Arc<Workshop>,
        job: &Arc<Job>,
        work: &JobRepository,
    ) -> Result<Self, Attempted> {
        let name = job.repository.as_ref().map_or("work", |repository| repository.name.as_str());
        let name = folder_name(name);
        let platform = variables(workshop, job);
        let client = workshop.supervisor().await.map_err(|error| broken(workshop, &error))?;
        let stocked = stocked::get(workshop, job, work, &client, &name, &platform).await?;
        let Stocked { definition, prebuild, made, started } = stocked;
        let unforced = made.created.report.layers.iter();
        for row in unforced.filter(|row| !row.in_force && row.demand != Demand::Off) {
            tracing::debug!(layer = %row.layer, detail = %row.detail, "a wanted layer is not in force");
        }
        let Made { id, folder, tree: host_tree, index, created, .. } = made;
        let doors = Doors::open(workshop, job, created.doors).map_err(|why| {
            workshop.maker.end(client.clone(), id.clone(), folder.clone());
            Attempted::GiveBack(why)
        })?;
        let mut variables: Vec<(OsString, OsString)> =
            platform.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        for (name, value) in &definition.variables {
            set(&mut variables, name, value.as_deref());
        }
        let inside = PathBuf::from(&definition.folder);
        Ok(Self {
            client,
            id,
            inside,
            definition,
            services: Services::default(),
            name,
            doors,
            maker: workshop.maker.clone(),
            folder,
            host_tree,
            index,
            prebuild,
            started,
            variables,
            operations: AtomicU64::new(0),
        })
    }

    /// The project's name as one folder name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The way in, for what outlives a call.
    pub(super) fn access(&self) -> Access {
        Access { client: self.client.clone(), id: self.id.clone() }
    }

    /// The exact arguments of a shell command as steps have them.
    pub(super) fn shell(command: &str) -> Vec<OsString> {
        let bash = ["/bin/bash", "/usr/bin/bash"].iter().any(|path| Path::new(path).exists());
        let words: &[&str] =
            if bash { &["bash", "-euo", "pipefail", "-c"] } else { &["sh", "-eu", "-c"] };
        words.iter().map(OsString::from).chain([OsString::from(command)]).collect()
    }

    /// What shall be executed, with the environment's own variables, in the work tree.
    pub(super) fn exec(&self, name: &str, argv: Vec<OsString>) -> Result<Exec, Error> {
        let n = self.operations.fetch_add(1, Ordering::Relaxed) + 1;
        let operation = OperationId::parse(&format!("{name}-{n}"))?;
        let mut exec = Exec::capture(operation, argv).in_folder(&self.inside);
        exec.env = self.variables.clone();
        exec.env.extend_from_slice(self.doors.offered());
        exec.io = windlass_sandbox::Io::Capture { limit_bytes: OUTPUT };
        Ok(exec)
    }

    /// Executes a program to its end, at most for `limit`; its output is handed on as it comes. When
    /// it has ended, nothing that it started runs any more.
    pub(super) async fn run(
        &self,
        exec: Exec,
        limit: Duration,
        stop: &CancellationToken,
        output: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Ran, Broken> {
        self.access().run(exec, limit, stop, output).await
    }

    /// Stops what runs in the environment; the rest of it goes away beside whatever else is to be done.
    pub(super) async fn destroy(self) {
        self.services.stop().await;
        self.doors.close().await;
        self.maker.end(self.client, self.id, self.folder);
    }
}

impl Access {
    /// As [`Environment::run`].
    pub(super) async fn run(
        &self,
        exec: Exec,
        limit: Duration,
        stop: &CancellationToken,
        mut output: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Ran, Broken> {
        let operation = exec.operation.clone();
        let started = self.client.exec(&self.id, &exec).await?;
        let Some(path) = started.spool else {
            return Err(Broken::Environment(Error::Protocol {
                why: "a captured program has no output file".into(),
            }));
        };
        let mut reader = spool::Reader::open(&path, 0)?;
        let ended = tokio::select! {
            ended = self.follow(&operation, &mut reader, &mut output) => Some(ended?),
            () = tokio::time::sleep(limit) => None,
            () = stop.cancelled() => None,
        };
        let ran = match ended {
            Some(status) => Ran::Ended(status.state),
            None => {
                const TERM: i32 = 15;
                self.client.signal(&self.id, &operation, TERM).await?;
                let follow = self.follow(&operation, &mut reader, &mut output);
                let _ = tokio::time::timeout(PATIENCE, follow).await;
                if stop.is_cancelled() { Ran::Stopped } else { Ran::TimedOut }
            }
        };
        // Daemons that it left behind would change the work tree under the snapshot.
        self.client.kill(&self.id, &operation).await?;
        while let Some(chunk) = reader.next_chunk()? {
            output(&chunk.bytes)?;
        }
        self.client.forget(&self.id, &operation).await?;
        Ok(ran)
    }

    /// Waits for a program's end; its output is handed on as it comes.
    pub(super) async fn follow(
        &self,
        operation: &OperationId,
        reader: &mut spool::Reader,
        output: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Status, Broken> {
        loop {
            let status = self.client.output(&self.id, operation, reader.offset()).await?;
            while let Some(chunk) = reader.next_chunk()? {
                output(&chunk.bytes)?;
            }
            if status.state.has_ended() {
                return Ok(status);
            }
        }
    }
}

/// Sets a variable, or takes it away; a name never stands twice.
pub(super) fn set(variables: &mut Vec<(OsString, OsString)>, name: &str, value: Option<&str>) {
    variables.retain(|(other, _)| other != name);
    variables.extend(value.map(|value| (name.into(), value.into())));
}

/// Sets several variables.
pub(super) fn set_all<'a>(
    variables: &mut Vec<(OsString, OsString)>,
    more: impl IntoIterator<Item = (&'a String, &'a String)>,
) {
    for (name, value) in more {
        set(variables, name, Some(value));
    }
}

/// What an attempt ends with when its environment failed.
pub(super) fn broken(workshop: &Workshop, error: &Error) -> Attempted {
    match error {
        Error::LayerMissing { .. } => {
            let reason = format!("The environment was refused: {error}.");
            Attempted::JobEnded(failed("layer_missing", reason))
        }
        Error::InvalidPlan { .. } => Attempted::JobEnded(failed(
            "environment",
            format!("The environment was refused: {error}."),
        )),
        Error::Disconnected { .. } => {
            workshop.supervisor_is_gone();
            Attempted::GiveBack(error.to_string())
        }
        Error::Build { .. } => Attempted::JobEnded(failed(
            "environment",
            format!("The environment can't be built: {error}."),
        )),
        Error::NotFound { .. }
        | Error::Conflict { .. }
        | Error::Protocol { .. }
        | Error::Io { .. } => Attempted::GiveBack(format!("the environment failed: {error}")),
    }
}

/// The variables of every program inside. None of them is secret.
fn variables(workshop: &Workshop, job: &Job) -> BTreeMap<String, String> {
    let options = &workshop.options;
    let mut path: Vec<String> =
        options.path.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    path.push(SYSTEM_PATH.to_owned());
    let mut variables = vec![
        ("PATH".to_owned(), path.join(":")),
        ("HOME".to_owned(), HOME.to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("TERM".to_owned(), "xterm-256color".to_owned()),
        ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
        ("WINDLASS".to_owned(), "1".to_owned()),
        ("WINDLASS_JOB_ID".to_owned(), job.job_id.to_string()),
        ("WINDLASS_RUN_ID".to_owned(), job.run_id.to_string()),
    ];
    let web = doors::web_address();
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        variables.push((name.to_owned(), web.clone()));
    }
    for name in ["NO_PROXY", "no_proxy"] {
        variables.push((name.to_owned(), "127.0.0.1,localhost,::1".to_owned()));
    }
    if options.ca_bundle.is_some() {
        for name in [
            "SSL_CERT_FILE",
            "CURL_CA_BUNDLE",
            "REQUESTS_CA_BUNDLE",
            "PIP_CERT",
            "NODE_EXTRA_CA_CERTS",
            "GIT_SSL_CAINFO",
            "CARGO_HTTP_CAINFO",
        ] {
            variables.push((name.to_owned(), CERTIFICATES.to_owned()));
        }
    }
    variables.extend(options.environment.clone());
    variables.into_iter().collect()
}
