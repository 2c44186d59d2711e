//! What every way of making environments has in common: one trait, and the data that goes through it.
//!
//! A caller chooses a backend once and works through the trait; nothing above may ask which one it has.
//! Where backends differ, they say so in data: [`Capabilities`] before a start, the [`Report`] of each
//! environment after it. A backend that can't honour what is asked refuses with what to do; none does
//! less in silence. What is said here is what the suite in `tests/conformance` tries on each of them.
//!
//! [`Report`]: crate::plan::Report

pub mod companion;
mod ignored;
mod process;
pub mod recipe;

use std::{
    any::Any, collections::BTreeMap, fmt, future::Future, net::TcpStream, path::PathBuf, pin::Pin,
};

use crate::{
    client::{Created, DoorListener, Started},
    error::Result,
    operation::{Exec, Size, Status},
    plan::{EnvironmentId, OperationId, Plan, User},
    protocol::Listed,
    spool::Chunk,
};

pub use companion::{Companion, Standing};
pub use ignored::{Ignored, path_matches};
pub use recipe::Recipe;

/// An answer that is on its way, of no particular runtime unless its backend says so.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Hears of progress while something takes long.
pub type Tell<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// Serves the doors of programs that make something, until what it answers is dropped. A message says why
/// it can't.
pub type Serve<'a> = &'a (
        dyn Fn(Vec<DoorListener>) -> std::result::Result<Box<dyn Any + Send>, String> + Send + Sync
    );

/// Hears of output as it comes.
pub type Hear<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// A way of making environments.
///
/// Every method may be repeated after a crash of the caller: `create` with the same plan and `exec` with
/// the same operation answer what is there already, `destroy` of what is gone is done.
pub trait Backend: Send + Sync + fmt::Debug {
    /// What this backend is and can do, known before anything is started.
    fn capabilities(&self) -> Capabilities;

    /// Makes ready what environments are made from: pulls or builds an image, once for all that share it.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`](crate::Error::InvalidPlan) for a base that this backend can't have,
    /// [`Error::Build`](crate::Error::Build) when it can't be had.
    fn prepare<'a>(&'a self, base: &'a Base, tell: Tell<'a>) -> Answer<'a, Prepared>;

    /// Makes ready what environments are made from with more in it: once for all that add the same to the
    /// same, and kept like an image. What was half made is never used.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`](crate::Error::InvalidPlan) for what this backend can't add,
    /// [`Error::Build`](crate::Error::Build) with the end of its output when a program fails.
    fn extend<'a>(
        &'a self,
        _below: &'a Prepared,
        _recipe: &'a Recipe,
        _serve: Serve<'a>,
        _tell: Tell<'a>,
    ) -> Answer<'a, Prepared> {
        Box::pin(async {
            Err(crate::Error::InvalidPlan {
                why: "this backend adds nothing to what it starts from; put it into the image"
                    .to_owned(),
            })
        })
    }

    /// Makes an environment, ready with every layer that its plan requires seen in force, or refuses and
    /// leaves nothing.
    ///
    /// # Errors
    /// [`Error::LayerMissing`](crate::Error::LayerMissing) and whatever keeps it from being built;
    /// [`Error::Conflict`](crate::Error::Conflict) when the id stands for another plan.
    fn create<'a>(&'a self, plan: &'a Plan, prepared: &'a Prepared) -> Answer<'a, Created>;

    /// Takes over an environment that another caller, or this one before its restart, has made.
    fn adopt<'a>(&'a self, id: &'a EnvironmentId) -> Answer<'a, Created>;

    /// Executes a program, once for each operation id.
    ///
    /// # Errors
    /// [`Error::Conflict`](crate::Error::Conflict) when the operation id stands for another program.
    fn exec<'a>(&'a self, id: &'a EnvironmentId, exec: &'a Exec) -> Answer<'a, Started>;

    /// Answers when the operation's program has ended, with all that it had written by then kept.
    fn wait<'a>(&'a self, id: &'a EnvironmentId, operation: &'a OperationId) -> Answer<'a, Status>;

    /// Answers once there is output after `after` (a position that [`Output::next`] gave, or 0), or the
    /// operation has ended.
    fn output<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
        after: u64,
    ) -> Answer<'a, Output>;

    /// How the operation stands now.
    fn status<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
    ) -> Answer<'a, Status>;

    /// Sends a signal to the program's process group.
    fn signal<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
        signal: i32,
    ) -> Answer<'a, ()>;

    /// Says how large an operation's terminal is now.
    fn resize<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
        size: Size,
    ) -> Answer<'a, ()>;

    /// A connection to a port of the environment's own loopback, made inside.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) where nothing listens.
    fn dial<'a>(&'a self, id: &'a EnvironmentId, port: u16) -> Answer<'a, TcpStream>;

    /// Kills an operation with everything it started, daemons included; answers when nothing is left.
    fn kill<'a>(&'a self, id: &'a EnvironmentId, operation: &'a OperationId) -> Answer<'a, ()>;

    /// Drops the record and the output of an ended operation; its id is free again.
    fn forget<'a>(&'a self, id: &'a EnvironmentId, operation: &'a OperationId) -> Answer<'a, ()>;

    /// Destroys an environment with everything but its work tree; answers when nothing is left.
    fn destroy<'a>(&'a self, id: &'a EnvironmentId) -> Answer<'a, ()>;

    /// Starts a program beside an environment, from an image of its own and in the environment's network. One
    /// of this name that runs is left as it is; one that ended is started again. It is gone with the environment.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`](crate::Error::InvalidPlan) where the backend has none,
    /// [`Error::Build`](crate::Error::Build) when it can't be started.
    fn accompany<'a>(&'a self, _id: &'a EnvironmentId, _with: &'a Companion) -> Answer<'a, ()> {
        Box::pin(async {
            Err(crate::Error::InvalidPlan {
                why: "this backend starts nothing from a second image; describe the service in \
                      .windlass/environment.yaml, or choose the backend `oci`"
                    .to_owned(),
            })
        })
    }

    /// How a companion stands now.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) when there is none of this name.
    fn companion<'a>(&'a self, id: &'a EnvironmentId, name: &'a str) -> Answer<'a, Standing> {
        Box::pin(async move {
            let what = format!("the service {name} of environment {id}");
            Err(crate::Error::NotFound { what })
        })
    }

    /// Hands a companion's output on from its last start until it ends; answers how.
    fn follow_companion<'a>(
        &'a self,
        id: &'a EnvironmentId,
        name: &'a str,
        _hear: Hear<'a>,
    ) -> Answer<'a, Standing> {
        self.companion(id, name)
    }

    /// The home folder of an environment, seen from here; absent where it can't be. It belongs to the
    /// environment's user; what programs inside wrote into it is not to be trusted.
    fn home(&self, _id: &EnvironmentId) -> Option<PathBuf> {
        None
    }

    /// The folder of one of an environment's volumes, by its place in the plan, seen from here; absent where it
    /// can't be. It belongs to the environment's user. It may be renamed away before the environment is destroyed,
    /// and is then not gone with it.
    fn volume(&self, _id: &EnvironmentId, _index: usize) -> Option<PathBuf> {
        None
    }

    /// All environments of this caller's.
    fn list(&self) -> Answer<'_, Vec<Listed>>;

    /// Removes what owners that are gone have left; answers how many things that were.
    fn sweep(&self) -> Answer<'_, usize>;
}

/// What stands between an environment and its host, from weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    /// Namespaces of our own making: the kernel is shared.
    SharedKernel,
    /// A container of an engine: the kernel is shared, and the engine's daemon is trusted as well.
    ContainerEngine,
    /// A kernel of its own.
    VirtualMachine,
}

/// What a backend is and can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The backend's name in settings: `process`, `oci`.
    pub name: &'static str,
    /// What stands between its environments and the host.
    pub isolation: Isolation,
    /// Whether it hands out listening sockets for the plan's doors. Without, nothing inside reaches a
    /// model, git or the web, and a plan with doors is refused.
    pub doors: bool,
    /// Whether the host itself can be what an environment sees, read-only and masked.
    pub host_base: bool,
    /// Whether images can be named or built.
    pub images: bool,
    /// Whether there can be programs from other images beside an environment.
    pub companions: bool,
}

/// What an environment is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// The host's own system folders.
    Host,
    /// A container image.
    Image(Image),
    /// Nothing at all, to be added to.
    Empty,
}

/// A container image, to be had or to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// One that is named.
    Named {
        /// The reference, as engines take it: `debian:bookworm`, `registry.example/a/b@sha256:...`.
        reference: String,
        /// Whether it may be fetched.
        pull: Pull,
        /// For a registry that wants to know who asks.
        login: Option<Login>,
    },
    /// One that is built from a Dockerfile, unless it was built from the same definition before.
    Built {
        /// The folder that the Dockerfile may copy from.
        context: PathBuf,
        /// The Dockerfile's path in the context.
        dockerfile: String,
        /// Its build arguments.
        arguments: BTreeMap<String, String>,
        /// The stage to stop at.
        target: Option<String>,
        /// Names everything that the image depends on: the same digest is the same image.
        digest: String,
    },
}

/// Whether an image may be fetched from a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// When it is not there.
    #[default]
    Missing,
    /// Never: what is not there is an error.
    Never,
}

/// Who asks a registry. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The password or token.
    pub password: String,
    /// Whose login it is. What was brought with one that has a name is there only for those who come
    /// with the same; with an empty one, the operator's, it is there for everybody.
    pub realm: String,
}

/// The registry that an image's reference names: the first part, if it looks like a host.
pub fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Login")
            .field("user", &self.user)
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}

/// What a backend made ready; only good for the backend that made it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prepared {
    /// The backend's own name for it: empty for the host, an image's id.
    pub name: String,
    /// What the image says about itself; empty for the host.
    pub settings: ImageSettings,
    /// The accounts that are there; none for the host.
    pub accounts: Vec<User>,
}

/// What an image says about itself. A stranger's text, none of which is applied by a backend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageSettings {
    /// The variables that it wants its programs to have, in its order.
    pub variables: Vec<(String, String)>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The user that its programs would be; empty is root.
    pub user: String,
    /// The folder that its programs would begin in; empty is the root.
    pub folder: String,
}

impl ImageSettings {
    /// From what an image's configuration holds: variables as `NAME=value`. What has no `=` is left out.
    pub fn new<'a>(
        variables: impl IntoIterator<Item = &'a str>,
        labels: BTreeMap<String, String>,
        user: &str,
    ) -> Self {
        let variables = variables
            .into_iter()
            .filter_map(|text| text.split_once('='))
            .filter(|(name, _)| !name.is_empty())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self { variables, labels, user: user.to_owned(), folder: String::new() }
    }

    /// The same with the folder that programs would begin in.
    #[must_use]
    pub fn in_folder(self, folder: &str) -> Self {
        Self { folder: folder.to_owned(), ..self }
    }
}

/// Something that happened while a base was made ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A part of an image is being fetched.
    Pulling {
        /// Which part, and how it stands, in the registry's words.
        text: String,
    },
    /// The build said something.
    Building {
        /// What it said, as it came; not necessarily a whole line.
        text: String,
    },
}

/// Output of an operation, from where the caller had left off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How the operation stood when the chunks were read.
    pub status: Status,
    /// What is new.
    pub chunks: Vec<Chunk>,
    /// Where to go on.
    pub next: u64,
}

/// Most of a megabyte of chunks: what one answer of [`Backend::output`] holds at most.
pub(crate) const OUTPUT_AT_ONCE: usize = 1 << 20;

/// Reads the chunks of a spool file from a position, as many as one answer holds.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) when the file can't be read or the position is not one.
pub fn read_spool(path: &std::path::Path, after: u64, status: Status) -> Result<Output> {
    let mut reader = crate::spool::Reader::open(path, after)?;
    let mut chunks = Vec::new();
    let mut held = 0;
    while held < OUTPUT_AT_ONCE
        && let Some(chunk) = reader.next_chunk()?
    {
        held += chunk.bytes.len();
        chunks.push(chunk);
    }
    Ok(Output { status, chunks, next: reader.offset() })
}
