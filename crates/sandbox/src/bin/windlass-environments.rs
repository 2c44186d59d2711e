//! Runs this crate's own processes by themselves: the supervisor, one program in an environment, the
//! doctor and the benchmark. A tool for those who work on environments; `windlass` does the same with
//! its own verbs. Nothing else may depend on what it prints.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use windlass_sandbox::{
    Client, EnvironmentId, Error, Exec, OperationId, Plan, Result, State, contained, doctor,
    measure, spool, supervisor,
};

const USAGE: &str = "usage:
  windlass-environments serve STATE_DIR GRACE_SECONDS
  windlass-environments run STATE_DIR WORK_TREE PROGRAM [ARGUMENT...]
  windlass-environments contained GRACE_MILLIS USER_ID FILES NAMESPACES
  windlass-environments doctor STATE_DIR
  windlass-environments bench STATE_DIR ROUNDS
Run by root, `run` gives the files of WORK_TREE to the environment's own user.
";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let text: Vec<&str> = arguments.iter().filter_map(|one| one.to_str()).collect();
    let result = match text.as_slice() {
        ["contained", ..] => contained::serve(&arguments[1..]).map(|()| ExitCode::SUCCESS),
        ["serve", state, grace] => serve(Path::new(state), grace),
        ["run", state, work_tree, ..] if arguments.len() > 3 => {
            run(Path::new(state), Path::new(work_tree), arguments[3..].to_vec())
        }
        ["doctor", state] => examine(Path::new(state)),
        ["bench", state, rounds] => bench(Path::new(state), rounds),
        _ => Err(Error::InvalidPlan { why: USAGE.to_owned() }),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // Nothing can be done when the error cannot be written either.
            let _written = writeln!(io::stderr(), "windlass-environments: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(state_dir: &Path, grace: &str) -> Result<ExitCode> {
    let orphan_grace = Duration::from_secs_f64(
        grace.parse().map_err(|_| Error::InvalidPlan { why: USAGE.to_owned() })?,
    );
    supervisor::serve(&supervisor::Options { state_dir: state_dir.to_path_buf(), orphan_grace })?;
    Ok(ExitCode::SUCCESS)
}

fn run(state_dir: &Path, work_tree: &Path, argv: Vec<OsString>) -> Result<ExitCode> {
    let client = Client::spawn_or_connect(state_dir, &supervisor_argv(state_dir)?)?;
    let id = EnvironmentId::parse(&format!("run-{}", std::process::id()))?;
    let work_tree = work_tree.canonicalize().map_err(|error| written(&error))?;
    let plan = Plan::new(id.clone(), work_tree, "/workspace/tree");
    client.create(&plan).block()?;
    let operation = OperationId::parse("run")?;
    let exec = Exec::capture(operation.clone(), argv).in_folder("/workspace/tree");
    let started = client.exec(&id, &exec).block()?;
    let status = client.wait(&id, &operation).block()?;
    if let Some(path) = started.spool {
        let mut reader = spool::Reader::open(&path, 0)?;
        while let Some(chunk) = reader.next_chunk()? {
            match chunk.stream {
                spool::Stream::Output => io::stdout().write_all(&chunk.bytes),
                spool::Stream::Errors => io::stderr().write_all(&chunk.bytes),
            }
            .map_err(|error| written(&error))?;
        }
    }
    client.destroy(&id).block()?;
    client.shutdown().block()?;
    match status.state {
        State::Exited { code } => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        State::Running
        | State::Signalled { .. }
        | State::NotStarted { .. }
        | State::Lost { .. } => {
            writeln!(io::stderr(), "{:?}", status.state).map_err(|error| written(&error))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn examine(state_dir: &Path) -> Result<ExitCode> {
    let rows = doctor::examine(state_dir, &supervisor_argv(state_dir)?)?;
    let mut out = io::stdout().lock();
    for row in &rows {
        let mark = if row.ok { "ok  " } else { "FAIL" };
        writeln!(out, "{mark} {:<34} {}", row.check, row.detail)
            .map_err(|error| written(&error))?;
        if let Some(remedy) = row.remedy.as_ref().filter(|_| !row.ok) {
            writeln!(out, "     to fix: {remedy}").map_err(|error| written(&error))?;
        }
    }
    Ok(if rows.iter().all(|row| row.ok || !row.required) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn bench(state_dir: &Path, rounds: &str) -> Result<ExitCode> {
    let rounds = rounds.parse().map_err(|_| Error::InvalidPlan { why: USAGE.to_owned() })?;
    let samples = measure::start(state_dir, &supervisor_argv(state_dir)?, rounds)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{samples}").map_err(|error| written(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn supervisor_argv(state_dir: &Path) -> Result<Vec<OsString>> {
    let program: PathBuf = std::env::current_exe().map_err(|error| written(&error))?;
    Ok(vec![program.into(), "serve".into(), state_dir.into(), "120".into()])
}

fn written(error: &io::Error) -> Error {
    Error::Io { doing: "run this tool".to_owned(), why: error.to_string() }
}
