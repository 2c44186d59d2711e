//! What environments are made by and from, and `windlass image`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use windlass_runner::definition::BackendKind;

/// What environments are made by and from.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Images {
    /// What environments are made by.
    #[arg(long, value_enum, default_value_t, env = "WINDLASS_BACKEND", value_name = "NAME")]
    pub(crate) backend: Backend,
    /// The socket of Docker or Podman, for the backend `oci`.
    #[arg(
        long,
        default_value = "/var/run/docker.sock",
        env = "WINDLASS_ENGINE_SOCKET",
        value_name = "PATH"
    )]
    pub(crate) engine_socket: PathBuf,
    /// The image of environments whose repository names none [default: this machine's own system folders;
    /// the backend `oci` needs an image].
    #[arg(long = "image", env = "WINDLASS_IMAGE", value_name = "NAME")]
    pub(crate) default_image: Option<String>,
    /// A file as Docker's config.json: its `auths` say who asks which registry. A registry on an address
    /// of the own network must stand there, with or without a login.
    #[arg(long, env = "WINDLASS_REGISTRY_AUTH", value_name = "FILE")]
    pub(crate) registry_auth: Option<PathBuf>,
    /// How much room images may take, in MiB: those of the backend `process`, or those that the engine of
    /// `oci` built for environments. Those used longest ago go.
    #[arg(long, default_value_t = 20_480, env = "WINDLASS_IMAGE_MIB", value_name = "MIB")]
    pub(crate) image_mib: u64,
}

/// What environments are made by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// Namespaces of our own: no daemon, any user.
    #[default]
    Process,
    /// Containers of Docker or Podman: an engine, and root.
    Oci,
}

/// `windlass image`
#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// List the images that the backend `process` has on this machine.
    List {
        /// The runner's folder [default: the one in the data folder].
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
    /// Load an image for the backend `process` from a file: what `docker save` writes, or an OCI layout in a
    /// tar archive.
    Load(LoadImage),
}

/// Which file, and what its image is called.
#[derive(Debug, Args)]
pub(crate) struct LoadImage {
    /// The file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What it is called here [default: as the file says].
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The runner's folder [default: the one in the data folder].
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// How much room images may take, in MiB.
    #[arg(long, default_value_t = 20_480, env = "WINDLASS_IMAGE_MIB", value_name = "MIB")]
    pub(crate) image_mib: u64,
}

impl Backend {
    /// What the runner calls it.
    pub(crate) fn kind(self) -> BackendKind {
        match self {
            Self::Process => BackendKind::Process,
            Self::Oci => BackendKind::Oci,
        }
    }
}

impl Images {
    /// The same options again, for a runner that is started as a process of its own.
    pub(super) fn as_arguments(&self) -> Vec<OsString> {
        let backend = self.backend.to_possible_value();
        let backend = backend.map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut all: Vec<OsString> = vec!["--backend".into(), backend.into()];
        if !self.engine_socket.as_os_str().is_empty() {
            all.extend(["--engine-socket".into(), self.engine_socket.clone().into()]);
        }
        if let Some(image) = &self.default_image {
            all.extend(["--image".into(), image.into()]);
        }
        if let Some(file) = &self.registry_auth {
            all.extend(["--registry-auth".into(), file.into()]);
        }
        if self.image_mib > 0 {
            all.extend(["--image-mib".into(), self.image_mib.to_string().into()]);
        }
        all
    }
}
