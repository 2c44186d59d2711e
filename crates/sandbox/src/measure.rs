//! How long a start takes: from asking for an environment until its first program has ended, beside
//! `bwrap ... true` in the same rounds.
//!
//! Only ratios are worth comparing: both sides are timed in turn, so that whatever else the machine does
//! hits both alike.

use std::{
    ffi::OsString,
    fmt, fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    client::Client,
    error::{Error, Result},
    operation::Exec,
    plan::{EnvironmentId, OperationId, Plan},
};

/// Times of one measurement, in the order of the rounds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// From `create` to the end of `/bin/true` inside.
    pub subject: Vec<Duration>,
    /// The part of it until the environment was ready.
    pub ready: Vec<Duration>,
    /// From spawning `bwrap` to its end; `None` when it is not installed.
    pub floor: Option<Vec<Duration>>,
}

/// Measures `rounds` starts with a supervisor below `scratch_dir`, which stays there afterwards.
///
/// # Errors
/// [`Error::Io`] or [`Error::LayerMissing`] when environments are not to be had.
pub fn start(scratch_dir: &Path, supervisor_argv: &[OsString], rounds: u32) -> Result<Samples> {
    let client = Client::spawn_or_connect(scratch_dir, supervisor_argv)?;
    let samples = measure(&client, scratch_dir, rounds);
    client.shutdown().block()?;
    samples
}

fn measure(client: &Client, scratch_dir: &Path, rounds: u32) -> Result<Samples> {
    let name = scratch_dir.file_name().and_then(|name| name.to_str()).unwrap_or("windlass");
    let tree = scratch_dir.with_file_name(format!("{name}.bench-tree"));
    fs::create_dir_all(&tree)
        .map_err(|error| Error::io(format!("make {}", tree.display()), error))?;
    let mut samples = Samples { floor: Some(Vec::new()), ..Samples::default() };
    // One of each first: what is loaded once is no part of a start.
    for round in 0..=rounds {
        let floor = bubblewrap();
        let (ready, subject) = environment(client, &tree, round)?;
        if round == 0 {
            continue;
        }
        samples.ready.push(ready);
        samples.subject.push(subject);
        match (&mut samples.floor, floor) {
            (Some(times), Some(time)) => times.push(time),
            (floor, _) => *floor = None,
        }
    }
    crate::tree::remove(&tree).map_err(|error| Error::io("remove the work tree", error))?;
    Ok(samples)
}

fn environment(client: &Client, tree: &Path, round: u32) -> Result<(Duration, Duration)> {
    let id = EnvironmentId::parse(&format!("bench-{round}"))?;
    let operation = OperationId::parse("true")?;
    let plan = Plan::new(id.clone(), tree, "/workspace/bench");
    let begin = Instant::now();
    client.create(&plan).block()?;
    let ready = begin.elapsed();
    client.exec(&id, &Exec::capture(operation.clone(), ["/bin/true"])).block()?;
    let status = client.wait(&id, &operation).block()?;
    let whole = begin.elapsed();
    client.destroy(&id).block()?;
    if status.state.is_success() {
        Ok((ready, whole))
    } else {
        Err(Error::build("run /bin/true", format!("{:?}", status.state)))
    }
}

/// All namespaces, the host's root read-only, own `/proc` and `/dev`: the nearest that `bwrap` has.
fn bubblewrap() -> Option<Duration> {
    let begin = Instant::now();
    let status = Command::new("bwrap")
        .args(["--unshare-all", "--die-with-parent", "--ro-bind", "/", "/"])
        .args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/bin/true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    status.success().then(|| begin.elapsed())
}

/// The middle of some times.
pub fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

impl Samples {
    /// Our median divided by that of `bwrap`, when there was one.
    pub fn ratio(&self) -> Option<f64> {
        let floor = median(self.floor.as_deref()?).as_secs_f64();
        (floor > 0.0).then(|| median(&self.subject).as_secs_f64() / floor)
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |times: &[Duration]| median(times).as_secs_f64() * 1000.0;
        write!(
            formatter,
            "start to first exec {:.2} ms (ready after {:.2} ms), median of {}",
            millis(&self.subject),
            millis(&self.ready),
            self.subject.len()
        )?;
        match (&self.floor, self.ratio()) {
            (Some(floor), Some(ratio)) => {
                write!(formatter, "; bwrap {:.2} ms; ratio {ratio:.2}", millis(floor))
            }
            _ => write!(formatter, "; bwrap is not installed, so there is no ratio"),
        }
    }
}
