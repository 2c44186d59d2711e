//! Installing agents on the runner's host: a plan as data, and what carries it out.
//!
//! An agent's version lies in `<root>/<name>/<version>` with its own Node beside it, readable for
//! everybody, written once and never changed: it appears by a rename when it is whole. npm's install
//! scripts never run; every known agent works without. This is the one place of the crate that starts
//! a process, and it is never a process of an environment.

mod npm;

pub use npm::{HostNpm, Npm, environment};

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::known::{self, Agent, Entry, NODE_VERSION};

/// The name of the record in an installed version's directory.
const RECORD: &str = "windlass-agent.json";
/// How the name of a directory begins in which an install is under way.
const STAGING: &str = ".installing-";
/// The file that whoever installs holds a lock on.
const LOCK: &str = ".lock";

/// What an install will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The agent.
    pub name: String,
    /// The exact version of its package.
    pub version: String,
    /// The directory that will hold it.
    pub target: PathBuf,
    /// What is done, in order, in a directory beside the target.
    pub steps: Vec<Step>,
}

/// One step of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write a file.
    Write {
        /// Relative to the new directory.
        path: String,
        /// Its whole text.
        text: String,
    },
    /// Run npm there with these arguments.
    Npm {
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// See that a file that the agent is started by is there and can be executed or read.
    Expect {
        /// Relative to the new directory.
        path: String,
    },
    /// Record the versions and hashes of what came, from npm's lock file.
    Record {
        /// The packages to record.
        packages: Vec<String>,
    },
    /// Make everything readable for the users that agents run as.
    Open,
    /// Move the whole directory to its place.
    Publish,
}

/// What is recorded of an installed version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    /// The agent.
    pub name: String,
    /// The version of its package.
    pub version: String,
    /// What came from the registry.
    pub packages: Vec<Fetched>,
}

/// One package as npm fetched it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetched {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The hash that npm checked it against, in the form of Subresource Integrity.
    pub integrity: String,
}

/// One entry of [`list`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// A version that can be used.
    Installed(Installed),
    /// A directory that is no usable version, and why.
    Broken {
        /// The directory.
        path: PathBuf,
        /// Why it can't be used.
        why: String,
    },
}

/// Why an agent was not installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such agent.
    #[error("no agent is called `{name}`; there are: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The agent is part of Windlass.
    #[error("`{0}` is part of Windlass; there is nothing to install")]
    NothingToInstall(String),
    /// The version is not exact.
    #[error(
        "`{0}` is not an exact version such as 1.2.3; agents are pinned, so ranges and tags are not taken"
    )]
    Version(String),
    /// Somebody else is installing this agent.
    #[error("another install of `{0}` is under way; wait for it and try again")]
    Busy(String),
    /// npm did not do what it was asked.
    #[error("npm failed: {0}")]
    Npm(String),
    /// Something that the agent is started by did not come.
    #[error("{package} came without {path}: it may not exist for this machine ({machine})")]
    Incomplete {
        /// The package.
        package: String,
        /// What is missing.
        path: String,
        /// The kind of this machine.
        machine: String,
    },
    /// npm's lock file does not say what came.
    #[error("npm's lock file is not as expected: {0}")]
    LockFile(String),
    /// A file could not be read or written.
    #[error("failed to {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The agent and the version that `NAME` or `NAME@VERSION` names.
///
/// # Errors
/// [`Error::Unknown`], [`Error::NothingToInstall`], [`Error::Version`].
pub fn parse(text: &str) -> Result<(&'static Agent, String), Error> {
    let (name, version) = match text.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let agent = known::find(name).ok_or_else(|| {
        let known: Vec<&str> = known::ALL.iter().map(|agent| agent.name).collect();
        Error::Unknown { name: name.to_owned(), known: known.join(", ") }
    })?;
    let package = agent.package.as_ref().ok_or_else(|| Error::NothingToInstall(name.to_owned()))?;
    let version = version.unwrap_or(package.version);
    if !is_exact(version) {
        return Err(Error::Version(version.to_owned()));
    }
    Ok((agent, version.to_owned()))
}

/// What installing `version` of `agent` under `root` will do.
///
/// # Errors
/// [`Error::NothingToInstall`], [`Error::Version`].
pub fn plan(agent: &Agent, version: &str, root: &Path) -> Result<Plan, Error> {
    let package =
        agent.package.as_ref().ok_or_else(|| Error::NothingToInstall(agent.name.to_owned()))?;
    if !is_exact(version) {
        return Err(Error::Version(version.to_owned()));
    }
    let mut dependencies = serde_json::Map::new();
    dependencies.insert(package.name.to_owned(), json!(version));
    let node = known::node_package();
    let mut expected = Vec::new();
    match package.entry {
        Entry::Node { .. } => {
            dependencies.insert(node, json!(NODE_VERSION));
        }
        Entry::Native { .. } => {}
    }
    let target = known::directory(root, agent.name, version);
    let command = agent.command(root, version);
    for word in &command {
        if let Ok(path) = Path::new(word).strip_prefix(&target) {
            expected.push(Step::Expect { path: path.to_string_lossy().into_owned() });
        }
    }
    let packages = dependencies.keys().cloned().collect();
    let manifest = json!({"private": true, "dependencies": dependencies});
    let arguments = [
        "install",
        "--ignore-scripts",
        "--omit=dev",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
    ];
    let mut steps = vec![
        Step::Write { path: "package.json".to_owned(), text: format!("{manifest:#}\n") },
        Step::Npm { arguments: arguments.map(str::to_owned).to_vec() },
    ];
    steps.extend(expected);
    steps.extend([Step::Record { packages }, Step::Open, Step::Publish]);
    Ok(Plan { name: agent.name.to_owned(), version: version.to_owned(), target, steps })
}

/// Carries out `plan`; `report` hears of each step before it is taken. If the version is there
/// already, nothing is done.
///
/// # Errors
/// See [`Error`]. What was begun is removed; what an earlier, killed install left is removed too.
pub async fn carry_out(
    plan: &Plan,
    npm: &mut impl Npm,
    mut report: impl FnMut(&Step),
) -> Result<Installed, Error> {
    if let Ok(installed) = read_record(&plan.target) {
        return Ok(installed);
    }
    let parent = plan.target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(file_error("create", parent))?;
    let _lock = lock(parent, &plan.name)?;
    sweep(parent)?;
    // Somebody else may have finished while this one waited for nothing.
    if let Ok(installed) = read_record(&plan.target) {
        return Ok(installed);
    }
    let staging = tempfile::Builder::new()
        .prefix(&format!("{STAGING}{}-", plan.version))
        .tempdir_in(parent)
        .map_err(file_error("create a directory in", parent))?;
    let mut installed = None;
    for step in &plan.steps {
        report(step);
        take(step, plan, staging.path(), npm, &mut installed).await?;
    }
    // Published; there is nothing left to remove.
    let _ = staging.keep();
    installed.ok_or_else(|| Error::LockFile("nothing was recorded".to_owned()))
}

/// Everything that is installed under `root`, by name and version.
///
/// # Errors
/// When `root` exists and can't be read.
pub fn list(root: &Path) -> Result<Vec<Listed>, Error> {
    let mut listed = Vec::new();
    for name in directories(root)? {
        for version in directories(&name)? {
            listed.push(match read_record(&version) {
                Ok(installed) => Listed::Installed(installed),
                Err(why) => Listed::Broken { path: version, why },
            });
        }
    }
    Ok(listed)
}

async fn take(
    step: &Step,
    plan: &Plan,
    staging: &Path,
    npm: &mut impl Npm,
    installed: &mut Option<Installed>,
) -> Result<(), Error> {
    match step {
        Step::Write { path, text } => write(&staging.join(path), text),
        Step::Npm { arguments } => npm.run(arguments, staging).await.map_err(Error::Npm),
        Step::Expect { path } => {
            if staging.join(path).is_file() {
                return Ok(());
            }
            let machine = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
            Err(Error::Incomplete { package: plan.name.clone(), path: path.clone(), machine })
        }
        Step::Record { packages } => {
            let fetched = read_lock_file(&staging.join("package-lock.json"), packages)?;
            let record = Installed {
                name: plan.name.clone(),
                version: plan.version.clone(),
                packages: fetched,
            };
            let text = serde_json::to_string_pretty(&record).expect("strings always serialise");
            *installed = Some(record);
            write(&staging.join(RECORD), &format!("{text}\n"))
        }
        Step::Open => open(staging),
        Step::Publish => {
            if plan.target.exists() {
                // Without a record it is no version; it was judged under the lock.
                std::fs::remove_dir_all(&plan.target)
                    .map_err(file_error("replace", &plan.target))?;
            }
            std::fs::rename(staging, &plan.target)
                .map_err(file_error("move into place", &plan.target))
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(file_error("write", path))
}

/// Holds off other installs of the same agent until it is dropped.
fn lock(parent: &Path, name: &str) -> Result<std::fs::File, Error> {
    let path = parent.join(LOCK);
    let file = std::fs::File::create(&path).map_err(file_error("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Busy(name.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => {
            Err(Error::File { action: "lock", path, source })
        }
    }
}

/// Removes what a killed install left. Only under the lock.
fn sweep(parent: &Path) -> Result<(), Error> {
    for directory in directories_and_hidden(parent)? {
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(STAGING) {
            std::fs::remove_dir_all(&directory).map_err(file_error("remove", &directory))?;
        }
    }
    Ok(())
}

fn read_record(directory: &Path) -> Result<Installed, String> {
    let text = std::fs::read_to_string(directory.join(RECORD))
        .map_err(|error| format!("its record can't be read: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("its record is damaged: {error}"))
}

fn read_lock_file(path: &Path, packages: &[String]) -> Result<Vec<Fetched>, Error> {
    let text = std::fs::read_to_string(path).map_err(file_error("read", path))?;
    let lock: LockFile =
        serde_json::from_str(&text).map_err(|error| Error::LockFile(error.to_string()))?;
    let mut fetched = Vec::new();
    for package in packages {
        let entry = lock.packages.get(&format!("node_modules/{package}"));
        let entry = entry.ok_or_else(|| Error::LockFile(format!("it does not name {package}")))?;
        let integrity = entry.integrity.clone();
        fetched.push(Fetched {
            package: package.clone(),
            version: entry.version.clone(),
            integrity: integrity
                .ok_or_else(|| Error::LockFile(format!("it has no hash of {package}")))?,
        });
    }
    Ok(fetched)
}

#[derive(Deserialize)]
struct LockFile {
    packages: std::collections::BTreeMap<String, LockEntry>,
}

#[derive(Deserialize)]
struct LockEntry {
    #[serde(default)]
    version: String,
    integrity: Option<String>,
}

/// Agents run as another user than the one that installs.
fn open(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::symlink_metadata(path).map_err(file_error("look at", path))?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let readable = if metadata.is_dir() || mode & 0o100 != 0 { mode | 0o555 } else { mode | 0o444 };
    let wanted = readable & !0o022;
    if wanted != mode {
        let permissions = std::fs::Permissions::from_mode(wanted);
        std::fs::set_permissions(path, permissions).map_err(file_error("change", path))?;
    }
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).map_err(file_error("read", path))? {
            open(&entry.map_err(file_error("read", path))?.path())?;
        }
    }
    Ok(())
}

fn directories(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let all = directories_and_hidden(path)?;
    let is_shown =
        |path: &PathBuf| !path.file_name().unwrap_or_default().to_string_lossy().starts_with('.');
    Ok(all.into_iter().filter(is_shown).collect())
}

fn directories_and_hidden(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(file_error("read", path))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(file_error("read", path))?;
        if entry.file_type().map_err(file_error("look at", path))?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}

/// Three numbers, and perhaps what follows a `-` or `+`; also safe as the name of a directory.
fn is_exact(version: &str) -> bool {
    let (numbers, rest) = match version.find(['-', '+']) {
        Some(at) => (&version[..at], Some(&version[at + 1..])),
        None => (version, None),
    };
    let parts: Vec<&str> = numbers.split('.').collect();
    let is_number = |part: &&str| {
        !part.is_empty() && part.len() < 10 && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_plain = |rest: &str| {
        !rest.is_empty()
            && rest.len() < 100
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+'))
    };
    parts.len() == 3 && parts.iter().all(is_number) && rest.is_none_or(is_plain)
}

#[cfg(test)]
mod tests;
