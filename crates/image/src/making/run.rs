//! Programs that change a copy of an image: each in an environment of its own, whose root is the copy.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use windlass_sandbox::{
    CopyBy, CopyLimits, EnvironmentId, Error, Exec, OperationId, Plan, Progress, Result, Scratch,
    State, User, accounts,
    backend::{Tell, recipe},
    copy_folder,
    plan::SYSTEM_PATH,
};

use super::{Half, Making, files};
use crate::{
    layout::{self, failed},
    store::blocking,
};

/// How many lines of a program's output its failure repeats, and how many bytes of it are kept for that.
const LINES: usize = 20;
const TAIL: usize = 16 * 1024;
/// The most bytes of one program's output that are kept while it runs.
const OUTPUT: u64 = 64 << 20;

/// A program that changes an image.
pub(super) struct Program<'a> {
    pub(super) command: &'a [String],
    pub(super) variables: &'a [(String, String)],
    pub(super) folder: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    pub(super) files: Option<&'a Path>,
    pub(super) caches: &'a [String],
    /// The variables that the image has by now.
    pub(super) of_image: &'a [(String, String)],
}

impl Making<'_> {
    /// Runs a program to its end.
    pub(super) async fn run(
        &self,
        half: &mut Half,
        name: &str,
        program: &Program<'_>,
        tell: Tell<'_>,
    ) -> Result<()> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let user = user(&half.root(), name, program.user)?;
        let shown = half.folder.join("files");
        let (from, to) = (program.files.map(Path::to_owned), shown.clone());
        let certificates = self.recipe.certificates.clone();
        blocking(move || lay_out(from.as_deref(), &to, certificates.as_deref())).await?;
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let id = EnvironmentId::parse(&format!("make-{}-{serial}", std::process::id()))?;
        let mut plan = Plan::new(id.clone(), shown, recipe::FILES);
        plan.root = Some(half.root());
        plan.writable_root = true;
        plan.user = Some(user.clone());
        plan.scratch = Scratch::Disk;
        plan.volumes = program.caches.iter().map(PathBuf::from).collect();
        plan.doors.clone_from(&self.recipe.doors);
        plan.limits = self.recipe.limits.clone();
        plan.layers = self.recipe.layers.clone();
        half.environment = Some(id.clone());
        let created = self.client.create(&plan).await?;
        let serving = (self.serve)(created.doors)
            .map_err(|why| Error::Build { step: format!("run {name}"), why })?;
        let ended = self.to_its_end(&id, name, program, &user, tell).await;
        drop(serving);
        self.client.destroy(&id).await?;
        half.environment = None;
        let (state, tail) = ended?;
        if state.is_success() {
            return Ok(());
        }
        let command = match program.command {
            // Of a script the last line is what it is for.
            [_, flag, script] if flag.starts_with('-') && flag.ends_with('c') => {
                script.lines().last().unwrap_or_default().to_owned()
            }
            words => words.join(" "),
        };
        let command: String = command.chars().take(300).collect();
        Err(Error::Build {
            step: name.to_owned(),
            why: format!("`{command}` {}{}", verdict(&state), in_words(&tail)),
        })
    }

    async fn to_its_end(
        &self,
        id: &EnvironmentId,
        name: &str,
        program: &Program<'_>,
        user: &User,
        tell: Tell<'_>,
    ) -> Result<(State, Vec<u8>)> {
        let operation = OperationId::parse("run")?;
        let mut exec = Exec::capture(operation.clone(), program.command.to_vec())
            .in_folder(program.folder.unwrap_or(recipe::FILES));
        exec.io = windlass_sandbox::Io::Capture { limit_bytes: OUTPUT };
        let mut variables: Vec<(String, String)> = vec![
            ("PATH".to_owned(), SYSTEM_PATH.to_owned()),
            // There is no other user that the package manager could become.
            ("APT_CONFIG".to_owned(), format!("{}/.apt.conf", recipe::FILES)),
            ("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned()),
            ("HOME".to_owned(), user.home.display().to_string()),
        ];
        for more in [program.of_image, &self.recipe.variables, program.variables] {
            for (name, value) in more {
                variables.retain(|(known, _)| known != name);
                variables.push((name.clone(), value.clone()));
            }
        }
        let text = |text: String| OsString::from(text);
        exec.env = variables.into_iter().map(|(name, value)| (text(name), text(value))).collect();
        tell(Progress::Building { text: format!("[windlass: {name}]\n") });
        let backend: &dyn windlass_sandbox::Backend = self.client;
        backend.exec(id, &exec).await?;
        let (mut position, mut tail) = (0, Vec::new());
        loop {
            let new = backend.output(id, &operation, position).await?;
            position = new.next;
            let is_all = new.chunks.is_empty();
            for chunk in new.chunks {
                tail.extend_from_slice(&chunk.bytes);
                let excess = tail.len().saturating_sub(TAIL);
                tail.drain(..excess);
                let text = String::from_utf8_lossy(&chunk.bytes).into_owned();
                tell(Progress::Building { text });
            }
            if new.status.state.has_ended() && is_all {
                return Ok((new.status.state, tail));
            }
        }
    }
}

/// Who a program is, by the accounts that the image has by now.
fn user(root: &Path, name: &str, written: Option<&str>) -> Result<User> {
    let Some(written) = written.filter(|written| !written.is_empty()) else {
        return Ok(User::root());
    };
    let known = accounts::parse(&files::text(root, "etc/passwd"));
    let group = files::text(root, "etc/group");
    accounts::find(&known, &group, written).ok_or_else(|| Error::Build {
        step: name.to_owned(),
        why: format!("the image has no user `{written}`: make it before, or name another one"),
    })
}

/// The folder that a program sees beside the image.
fn lay_out(from: Option<&Path>, to: &Path, certificates: Option<&Path>) -> Result<()> {
    layout::remove(to)?;
    match from {
        Some(from) => {
            let limits = CopyLimits { bytes: 256 << 20, entries: 100_000 };
            let copied = copy_folder(from, to, CopyBy::Bytes, limits);
            copied.map_err(|error| failed("copy", from, &error))?;
        }
        None => super::make_folder(to)?,
    }
    let write = |name: &str, bytes: &[u8]| {
        let path = to.join(name);
        layout::remove(&path)?;
        fs::write(&path, bytes).map_err(|error| failed("write", &path, &error))
    };
    write(".apt.conf", b"APT::Sandbox::User \"root\";\n")?;
    if let Some(path) = certificates {
        let bytes = fs::read(path).map_err(|error| failed("read", path, &error))?;
        write(".certificates.pem", &bytes)?;
    }
    Ok(())
}

/// How a program ended, as the end of a sentence.
fn verdict(state: &State) -> String {
    match state {
        State::Running => "is still running.".to_owned(),
        State::Exited { code: 137 } => {
            "ended with code 137: it, or a program of its, was killed, most often because the memory limit \
             was reached."
                .to_owned()
        }
        State::Exited { code } => format!("ended with code {code}."),
        State::Signalled { out_of_memory: true, .. } => {
            "was ended because the memory limit was reached: give the environment more memory.".to_owned()
        }
        State::Signalled { signal, .. } => format!("was ended by signal {signal}."),
        State::NotStarted { why } | State::Lost { why } => format!("could not be run: {why}."),
    }
}

fn in_words(tail: &[u8]) -> String {
    let text = String::from_utf8_lossy(tail);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    if lines.is_empty() {
        return " It printed nothing".to_owned();
    }
    format!(" The end of its output:\n{}", lines[lines.len().saturating_sub(LINES)..].join("\n"))
}
