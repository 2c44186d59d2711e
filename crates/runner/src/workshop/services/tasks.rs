//! Tasks of an environment: how each ran last, what it printed, and the values that it gave. A task runs at
//! most once at a time.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_devcontainer::automation::Task;
use windlass_run::Time;
use windlass_sandbox::{Error, Exec, State};
use windlass_wire::api::service::TaskRun;

use super::log::Log;
use crate::{
    options::Clock,
    workshop::environment::{Access, Environment, Execs, Ran, set_all},
};

/// The variable with the folder for the files of a task's outputs.
pub(crate) const FOLDER: &str = "WINDLASS_OUTPUTS";
/// The most bytes of a file that holds an output.
const FILE: usize = 1 << 20;
/// How long reading one may take.
const READING: Duration = Duration::from_secs(30);
/// The longest last line that is an output.
const LINE: usize = 64 * 1024;

/// How the tasks of one environment ran.
pub(crate) struct Tasks {
    clock: Clock,
    runs: Mutex<Runs>,
}

#[derive(Default)]
struct Runs {
    number: u64,
    last: HashMap<String, Run>,
}

/// One run of a task.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) log: Arc<Log>,
    clock: Clock,
    state: watch::Sender<TaskRun>,
    /// The end of what it printed, from the beginning of the last line on.
    line: Arc<Mutex<Vec<u8>>>,
}

impl Tasks {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), runs: Mutex::default() }
    }

    /// How the task ran last.
    pub(crate) fn last(&self, name: &str) -> Option<Run> {
        self.runs().last.get(name).cloned()
    }

    /// A run begins. If one is under way, that is given instead, and false.
    pub(crate) fn begin(&self, name: &str) -> (Run, bool) {
        let mut runs = self.runs();
        if let Some(run) = runs.last.get(name).filter(|run| run.is_under_way()) {
            return (run.clone(), false);
        }
        runs.number += 1;
        let began_at: Time = (self.clock)();
        let state = TaskRun {
            number: runs.number,
            state: "running".to_owned(),
            began_at: began_at.as_micros(),
            ended_at: None,
            exit: None,
            why: None,
            outputs: BTreeMap::new(),
        };
        let run = Run {
            log: Arc::default(),
            clock: self.clock.clone(),
            state: watch::Sender::new(state),
            line: Arc::default(),
        };
        runs.last.insert(name.to_owned(), run.clone());
        (run, true)
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// How it stands.
    pub(crate) fn now(&self) -> TaskRun {
        self.state.borrow().clone()
    }

    fn is_under_way(&self) -> bool {
        self.state.borrow().ended_at.is_none()
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> TaskRun {
        let mut state = self.state.subscribe();
        match state.wait_for(|run| run.ended_at.is_some()).await {
            Ok(run) => run.clone(),
            Err(_) => self.now(),
        }
    }

    /// It printed this.
    pub(crate) fn printed(&self, bytes: &[u8]) {
        self.log.add(bytes);
        let mut line = self.line();
        for byte in bytes {
            // A line begins with what follows the end of another.
            if line.last() == Some(&b'\n') {
                line.clear();
            }
            if line.len() < LINE {
                line.push(*byte);
            } else if *byte == b'\n' {
                line.clear();
                line.push(b'\n');
            }
        }
    }

    /// It ended, and gave these values or failed for this reason.
    pub(crate) fn ends(&self, exit: Option<i32>, given: Result<BTreeMap<String, Value>, String>) {
        let now = (self.clock)().as_micros();
        if let Err(why) = &given {
            self.log.add(format!("[windlass: {why}]\n").as_bytes());
        }
        self.log.finish();
        self.state.send_modify(|run| {
            (run.ended_at, run.exit) = (Some(now), exit);
            match given {
                Ok(outputs) => (run.state, run.outputs) = ("succeeded".to_owned(), outputs),
                Err(why) => (run.state, run.why) = ("failed".to_owned(), Some(why)),
            }
        });
    }

    fn line(&self) -> MutexGuard<'_, Vec<u8>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task as a program, and where the files of its outputs will be.
pub(crate) struct Prepared {
    pub(crate) exec: Exec,
    folder: Option<String>,
}

/// Makes a program of a task.
///
/// # Errors
/// A name that is none, which is ours.
pub(crate) fn prepare(execs: &Execs, task: &Task) -> Result<Prepared, Error> {
    let mut exec = execs.exec("task", Environment::shell(&task.command))?;
    set_all(&mut exec.env, &task.env);
    if !task.outputs.values().any(|output| output.from.is_some()) {
        return Ok(Prepared { exec, folder: None });
    }
    let folder = format!("/tmp/windlass-outputs/{}", exec.operation);
    exec.env.push((FOLDER.into(), folder.clone().into()));
    // The folder is made by the same program, so that there is nothing to be cleared away if it fails.
    const FIRST: &str = "mkdir -p -- \"$WINDLASS_OUTPUTS\" || exit; exec \"$@\"";
    let mut argv: Vec<OsString> = ["sh", "-c", FIRST, "sh"].map(OsString::from).into();
    argv.append(&mut exec.argv);
    exec.argv = argv;
    Ok(Prepared { exec, folder: Some(folder) })
}

/// The values that a task gave that ended well.
///
/// # Errors
/// The first one that is not there or not of its type, for a person: the task, the output, the value.
pub(crate) async fn outputs(
    access: &Access,
    execs: &Execs,
    (name, task): (&str, &Task),
    run: &Run,
    prepared: &Prepared,
) -> Result<BTreeMap<String, Value>, String> {
    let mut outputs = BTreeMap::new();
    for (output, declared) in &task.outputs {
        let wrong = |why: String| format!("The task `{name}` gave no `{output}`: {why}.");
        let text = match (&declared.from, &prepared.folder) {
            (Some(file), Some(folder)) => {
                read(access, execs, &format!("{folder}/{file}")).await.map_err(wrong)?
            }
            (Some(_), None) | (None, _) => String::from_utf8_lossy(&run.line()).into_owned(),
        };
        let wrong = |why: String| format!("The task `{name}` gave no `{output}`: {why}.");
        outputs.insert(output.clone(), declared.value(&text).map_err(wrong)?);
    }
    Ok(outputs)
}

/// Reads a file inside, as the environment's user.
pub(crate) async fn read(access: &Access, execs: &Execs, path: &str) -> Result<String, String> {
    let argv = ["cat", "--", path].map(OsString::from).into();
    let exec = execs.exec("output", argv).map_err(|error| error.to_string())?;
    let mut content = Vec::new();
    let keep = |bytes: &[u8]| {
        content.extend(bytes.iter().take((FILE + 1).saturating_sub(content.len())));
        Ok(())
    };
    let never = CancellationToken::new();
    let ran = access.run(exec, READING, &never, keep).await.map_err(|error| error.to_string())?;
    match ran {
        Ran::Ended(State::Exited { code: 0 }) if content.len() > FILE => {
            Err(format!("its file is longer than {FILE} bytes"))
        }
        Ran::Ended(State::Exited { code: 0 }) => {
            String::from_utf8(content).map_err(|_| "its file is not UTF-8".to_owned())
        }
        Ran::Ended(_) | Ran::Short(_) => {
            let said = String::from_utf8_lossy(&content);
            Err(format!("its file can't be read ({})", said.trim().replace('\n', " ")))
        }
        Ran::TimedOut | Ran::Stopped => Err("its file could not be read in time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks() -> Tasks {
        let clock: Clock = Arc::new(|| Time::from_micros(7));
        Tasks::new(&clock)
    }

    #[test]
    fn the_last_line_is_what_follows_the_end_of_the_one_before() {
        let (run, _) = tasks().begin("a");
        let last = |printed: &[&[u8]]| {
            run.line().clear();
            printed.iter().for_each(|bytes| run.printed(bytes));
            String::from_utf8_lossy(&run.line()).into_owned()
        };
        assert_eq!(last(&[b"one\ntw", b"o\n"]), "two\n");
        assert_eq!(last(&[b"one\n", b"two"]), "two");
        assert_eq!(last(&[b""]), "");
        assert_eq!(last(&[&[b'x'; LINE + 10], b"\nend\n"]), "end\n");
    }

    #[tokio::test]
    async fn a_task_runs_once_at_a_time_and_its_last_run_is_known() {
        let tasks = tasks();
        let (run, is_new) = tasks.begin("a");
        assert!(is_new && !tasks.begin("a").1);
        let (run, outputs) = (run, BTreeMap::from([("n".to_owned(), Value::from(1))]));
        run.ends(Some(0), Ok(outputs.clone()));
        let ended = tasks.last("a").expect("it ran").ended().await;
        let expected = TaskRun {
            number: 1,
            state: "succeeded".to_owned(),
            began_at: 7,
            ended_at: Some(7),
            exit: Some(0),
            why: None,
            outputs,
        };
        assert_eq!(ended, expected);
        let (again, is_new) = tasks.begin("a");
        assert_eq!((again.now().number, is_new), (2, true));
    }
}
