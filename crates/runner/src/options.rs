//! Everything that a runner is told when it starts. Nothing here is read from the process
//! environment; whoever starts the runner did that.

use std::{collections::BTreeMap, ffi::OsString, fmt, path::PathBuf, sync::Arc};

use windlass_gateway::Secret;
use windlass_policy::network::LayerText;
use windlass_run::{Labels, Time};
use windlass_sandbox::{Bind, Layers, Limits, backend::Login};

use crate::{
    definition::{BackendKind, Strictness},
    stock,
};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// How a runner works.
#[derive(Clone)]
pub struct Options {
    /// Where the server is: `http://127.0.0.1:7171` or `https://...`.
    pub server_url: String,
    /// A service token of the role `runner`.
    pub token: Secret,
    /// The SHA-256 of the server's certificate (hexadecimal digits), pinned. Without it an `https`
    /// server must show a certificate that the CA bundle vouches for.
    pub server_certificate: Option<String>,
    /// The folder that this runner owns: journal, mirrors, work trees, environments. Absolute. One
    /// runner at a time; it should be on a file system with room for a work tree per job.
    pub state_dir: PathBuf,
    /// How many jobs are worked on at once, at least 1.
    pub capacity: u32,
    /// How many environments that live by themselves run at once; 0: none.
    pub environments: u32,
    /// The runner's name, for a person's eye.
    pub name: String,
    /// What it is and has, for jobs that need it. The system, the processor's kind and the backend are
    /// added.
    pub labels: Labels,
    /// Starts the supervisor of environments for the folder `<state_dir>/environments`, which is
    /// appended as the last argument.
    pub supervisor_argv: Vec<OsString>,
    /// The `windlass` program itself, shown read-only inside for the built-in agent.
    pub windlass_exe: PathBuf,
    /// Where agents are installed, shown read-only inside.
    pub agents_dir: Option<PathBuf>,
    /// The model providers that the model door may call.
    pub providers: Providers,
    /// Where session files lie that answer instead of a model.
    pub replay_dir: Option<PathBuf>,
    /// What whoever runs this machine says about the network of environments.
    pub network: LayerText,
    /// Further folders shown read-only inside, such as toolchains. Not shown to images, which have their
    /// own; neither are `path` and `environment`.
    pub binds: Vec<Bind>,
    /// Directories that come before the system's in `PATH` inside, such as those of toolchains.
    pub path: Vec<PathBuf>,
    /// Further environment variables of every program inside. No secret belongs here.
    pub environment: Vec<(String, String)>,
    /// The host's bundle of certificate authorities (PEM), trusted by the doors and shown inside.
    pub ca_bundle: Option<PathBuf>,
    /// What environments are made by.
    pub backend: BackendKind,
    /// The socket of the container engine, for the backend `oci`.
    pub engine_socket: PathBuf,
    /// What the container's first process is called with, before its own arguments: the words after
    /// `windlass_exe`.
    pub first_process: Vec<String>,
    /// The image of environments whose definition names none; absent means the host's own folders, which
    /// only the backend `process` can show.
    pub default_image: Option<String>,
    /// Who asks which registry, by host: `ghcr.io`, `127.0.0.1:5000`. `None` is an operator's word that
    /// the registry may be asked by nobody in particular.
    pub registries: BTreeMap<String, Option<Login>>,
    /// How many bytes of images are kept: of those that are here without an engine, or that an engine built
    /// for environments.
    pub image_bytes: u64,
    /// What each environment may use of the machine.
    pub limits: Limits,
    /// What must, and what should, be in force in each environment.
    pub layers: Layers,
    /// How a repository's definition of its environment is taken.
    pub environment_definition: Strictness,
    /// What is kept ready so that starts are fast.
    pub stock: stock::Options,
    /// Tells the time.
    pub clock: Clock,
    /// For benchmarks only: jobs of no-op steps are done without an environment, and no other job is.
    pub null_executor: bool,
}

/// The model providers that a runner may call.
#[derive(Clone, Debug, Default)]
pub struct Providers {
    /// Anthropic's Messages.
    pub anthropic: Option<Provider>,
    /// OpenAI's Responses and Chat Completions.
    pub openai: Option<Provider>,
    /// Google's Gemini.
    pub gemini: Option<Provider>,
}

/// One model provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its address, such as `https://api.anthropic.com`; absent means the provider's public one.
    pub base_url: Option<String>,
    /// The key; absent for a server that wants none.
    pub key: Option<Secret>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("server_url", &self.server_url)
            .field("state_dir", &self.state_dir)
            .field("capacity", &self.capacity)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
