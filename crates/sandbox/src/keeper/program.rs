//! From an operation to a running program: what `execve` needs, and the last steps before it.
//!
//! As much as can be is prepared before the fork; what fails after it is told over a pipe.

use std::{
    ffi::{CString, OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
};

use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use crate::{
    kernel::{self, Forked},
    operation::{Exec, Io},
    plan::{Limits, SYSTEM_PATH},
};

/// Forks and executes the program on its three standard descriptors; answers once the kernel has taken it, or why it has not.
pub(super) fn start(exec: &Exec, limits: &Limits, given: [OwnedFd; 3]) -> Result<i32, String> {
    let image = Image::prepare(exec)?;
    let (failure, report) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| format!("make a pipe: {error}"))?;
    match kernel::fork() {
        Err(error) => Err(format!("no process could be made: {error}")),
        Ok(Forked::Child) => {
            let why = image.become_program(exec, limits, &given);
            // The keeper waits for this pipe, so somebody reads.
            let _written = rustix::io::write(&report, why.as_bytes());
            kernel::exit_now(127);
        }
        Ok(Forked::Parent(pid)) => {
            drop(report);
            drop(given);
            let mut why = String::new();
            File::from(failure)
                .read_to_string(&mut why)
                .map_err(|error| format!("hear from the new process: {error}"))?;
            if why.is_empty() { Ok(pid) } else { Err(why) }
        }
    }
}

/// Everything that `execve` needs, made before the fork.
struct Image {
    candidates: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Image {
    fn prepare(exec: &Exec) -> Result<Self, String> {
        let program = exec.argv.first().ok_or("the argument list is empty")?;
        let argv = exec.argv.iter().map(|text| c_string(text)).collect::<Result<_, _>>()?;
        let variables = variables(exec);
        let path = variables
            .iter()
            .find(|(name, _)| name == "PATH")
            .map_or(OsStr::new(SYSTEM_PATH), |(_, value)| value.as_os_str());
        let candidates = candidates(program, path)?;
        let env = variables
            .iter()
            .map(|(name, value)| {
                let mut text = name.clone();
                text.push("=");
                text.push(value);
                c_string(&text)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { candidates, argv, env })
    }

    /// Turns this process into the program; answers only why it could not.
    fn become_program(&self, exec: &Exec, limits: &Limits, given: &[OwnedFd; 3]) -> String {
        for (number, descriptor) in (0..).zip(given) {
            if let Err(error) = kernel::place_descriptor(descriptor.as_fd(), number, false) {
                return format!("hand over descriptor {number}: {error}");
            }
        }
        // A session of its own: no terminal but its own, and a process group that can be signalled.
        if let Err(error) = rustix::process::setsid() {
            return format!("start a session: {error}");
        }
        if matches!(exec.io, Io::Terminal { .. })
            && let Err(error) = kernel::take_terminal()
        {
            return format!("take the terminal: {error}");
        }
        if let Err(error) = rustix::process::chdir(&exec.cwd) {
            return format!("enter the folder {}: {error}", exec.cwd.display());
        }
        if let Err(error) = limit(limits) {
            return format!("set limits: {error}");
        }
        kernel::reset_signals();
        let mut answer = io::Error::from_raw_os_error(libc::ENOENT);
        for candidate in &self.candidates {
            let error = kernel::execute(candidate, &self.argv, &self.env);
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::EACCES) if self.candidates.len() > 1 => answer = error,
                _ => {
                    answer = error;
                    break;
                }
            }
        }
        let name = exec.argv.first().map(|name| name.to_string_lossy().into_owned());
        format!("execute {}: {answer}", name.unwrap_or_default())
    }
}

/// The files that a program's name may mean.
fn candidates(program: &OsStr, path: &OsStr) -> Result<Vec<CString>, String> {
    if program.is_empty() {
        return Err("the program's name is empty".to_owned());
    }
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(program)?]);
    }
    path.as_bytes()
        .split(|byte| *byte == b':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| {
            let mut file = folder.to_vec();
            file.push(b'/');
            file.extend_from_slice(program.as_bytes());
            c_string(&OsString::from_vec(file))
        })
        .collect()
}

/// The program's variables: the supervisor's, which has said who the program is, and a way to find others.
fn variables(exec: &Exec) -> Vec<(OsString, OsString)> {
    let mut variables = exec.env.clone();
    if !variables.iter().any(|(known, _)| known == "PATH") {
        variables.push(("PATH".into(), SYSTEM_PATH.into()));
    }
    variables
}

fn c_string(text: &OsStr) -> Result<CString, String> {
    CString::new(text.as_bytes())
        .map_err(|_| format!("{:?} holds a NUL byte", text.to_string_lossy()))
}

/// Lowers the limits of this process; never above what the host allows.
fn limit(limits: &Limits) -> io::Result<()> {
    let wanted = [
        (Resource::Nofile, limits.open_files),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nproc, limits.processes.map(u64::from)),
    ];
    for (resource, value) in wanted {
        let Some(value) = value else { continue };
        let allowed = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let value = Some(value.min(allowed));
        setrlimit(resource, Rlimit { current: value, maximum: value })?;
    }
    Ok(())
}

/// Sees to it that no crash of this process, or of what it starts, is dumped: neither to a file, for which
/// one byte is too little, nor to the host's handler, which the kernel starts at any limit but 1.
pub(crate) fn forbid_core_dumps() -> io::Result<()> {
    let allowed = getrlimit(Resource::Core).maximum.unwrap_or(u64::MAX);
    let value = Some(allowed.min(1));
    Ok(setrlimit(Resource::Core, Rlimit { current: value, maximum: value })?)
}
