//! A `readiness` step: the platform reads what the repository says, tries it in the environment as a
//! `run` step would, and reports what came of it. Order and verdict are `windlass_readiness`'s.
//!
//! What runs here is a stranger's code: it is given no secret, its output is only counted, and what it
//! leaves in the work tree never becomes part of a change. Proposed files are put into the commit from
//! outside.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;
use windlass_git::{RepoPath, repository::TreeEntry};
use windlass_readiness::{
    Check, Ended, How, Report, Tree, check::Todo, plan::Phase, tree::LARGEST,
};
use windlass_run::{job::StepResult, spec::ReadinessAction};
use windlass_sandbox::State;

use super::{
    checkpoint, command,
    environment::{Broken, Ran, broken},
    facts::Command,
    place::{Attempt, Place},
};
use crate::{executor::Attempted, job::failed, journal::Item};

/// How much of the beginning, and of the end, of one command's output is read for tests.
const OUTPUT: usize = 4 << 20;
/// How much of the step's time one command may take, as a part of all.
const SHARE: u32 = 2;
/// What is left for the report when commands are no longer begun.
const RESERVE: Duration = Duration::from_secs(5);
/// How many files of a repository are looked at.
const FILES: usize = 100_000;

/// Finds out; `Err` is an end as well, for `?`.
pub(super) async fn run(
    place: &mut Place,
    action: ReadinessAction,
    attempt: &Attempt,
) -> Result<Attempted, Attempted> {
    let tree = read(place).await?;
    let mut check = Check::new(place.work.tip.to_string(), &tree);
    place.environment(attempt).await?;
    while let Some(todo) = check.todo() {
        if attempt.left() <= RESERVE {
            say(attempt, "no time is left for what would come next");
            break;
        }
        let ended = execute(place, &todo, attempt).await?;
        if attempt.stop.is_cancelled() {
            let reason = "It was stopped.".to_owned();
            return Err(Attempted::Ended(StepResult::Failed {
                code: "stopped".to_owned(),
                reason,
            }));
        }
        check.ended(&ended);
    }
    let refused = place.environment.as_ref().map(|environment| environment.doors.refusals());
    let refused: Vec<String> = refused.unwrap_or_default();
    let refused: Vec<String> =
        refused.iter().map(|line| place.redactor.redact_text(line)).collect();
    let report = check.report(&refused);
    say(attempt, &format!("readiness: {} of 100", report.score.points));
    keep(place, attempt, &report).await?;
    place.facts.readiness = Some(place.redactor.redact_text(&report.markdown()));
    // What the tests left behind is nobody's work: a later step starts from the checkpoint.
    if let Some(environment) = place.environment.take() {
        environment.destroy().await;
    }
    let checkpoint = match action.propose {
        true => propose(place, attempt, &report).await?,
        false => None,
    };
    Ok(Attempted::Ended(StepResult::succeeded(checkpoint)))
}

/// The repository's files at the commit, from the platform's own copy.
async fn read(place: &Place) -> Result<Tree, Attempted> {
    let (repository, tip) = (&place.work.repository, &place.work.tip);
    let git = |error: windlass_git::Error| checkpoint::of_git(&error);
    let entries = repository.list(tip, None, true).await.map_err(git)?;
    let path_of =
        |entry: &TreeEntry| Some(std::str::from_utf8(entry.path.as_bytes()).ok()?.to_owned());
    let files: Vec<(String, TreeEntry)> = entries
        .into_iter()
        .take(FILES)
        .filter_map(|entry| Some((path_of(&entry)?, entry)))
        .collect();
    let wanted = Tree::worth_reading(files.iter().map(|(path, _)| path.as_str()));
    let mut texts = Vec::with_capacity(wanted.len());
    for path in wanted {
        let found = files.iter().find(|(known, _)| *known == path);
        let Some((_, entry)) = found else { continue };
        if entry.size.is_none_or(|size| size > LARGEST) {
            continue;
        }
        let limit = usize::try_from(LARGEST).unwrap_or(usize::MAX);
        let bytes = repository.read_file(tip, &entry.path, limit).await.map_err(git)?;
        if let Ok(text) = String::from_utf8(bytes) {
            texts.push((path, text));
        }
    }
    Ok(Tree::new(files.into_iter().map(|(path, _)| path), texts))
}

/// Runs one command and says what the platform saw of it.
async fn execute(place: &mut Place, todo: &Todo, attempt: &Attempt) -> Result<Ended, Attempted> {
    let workshop = place.workshop.clone();
    let environment = place.environment(attempt).await?;
    let name = format!("{}-{}", attempt.step_id, todo.phase.word().replace(' ', "-"));
    // A shell without `-e`: these are other people's lines.
    let argv = ["sh", "-c", &todo.line].map(Into::into).to_vec();
    let mut exec = environment.exec(&name, argv).map_err(|error| broken(&workshop, &error))?;
    if !todo.folder.is_empty() {
        exec = exec.in_folder(environment.inside.join(&todo.folder));
    }
    // Tests behave in CI as they do for nobody: quiet, without questions.
    for (key, value) in
        [("CI", "true"), ("NO_COLOR", "1"), ("TERM", "dumb"), ("DEBIAN_FRONTEND", "noninteractive")]
    {
        super::environment::set(&mut exec.env, key, Some(value));
    }
    if todo.phase != Phase::Probe {
        let place =
            if todo.folder.is_empty() { String::new() } else { format!(" in {}", todo.folder) };
        say(attempt, &format!("{}{place}: {} ({})", todo.phase.word(), todo.line, todo.reason));
    }
    let limit = (attempt.timeout / SHARE).min(attempt.left().saturating_sub(RESERVE));
    let (log, mut kept) = (attempt.log.clone(), Kept::default());
    let began = Instant::now();
    let output = |bytes: &[u8]| {
        kept.add(bytes);
        if todo.phase == Phase::Probe { Ok(()) } else { log.append(bytes) }
    };
    let ran = environment.run(exec, limit, &attempt.stop, output).await;
    let ran = ran.map_err(|error| match error {
        Broken::Environment(error) => broken(&workshop, &error),
        Broken::Disk(error) => checkpoint::disk_full(&error),
    })?;
    let took = began.elapsed();
    let ended = command::in_words(&ran);
    if todo.phase != Phase::Probe {
        say(attempt, &format!("{ended} after {:.1} s", took.as_secs_f64()));
        place.facts.commands.push(Command {
            command: todo.line.clone(),
            ended: ended.clone(),
            took,
        });
    }
    let how = match &ran {
        Ran::Ended(State::Exited { code }) => How::Exited(*code),
        Ran::Ended(_) | Ran::TimedOut | Ran::Stopped | Ran::Short(_) => How::Otherwise(ended),
    };
    let output = place.redactor.redact_text(&kept.text());
    Ok(Ended { how, took: i64::try_from(took.as_micros()).unwrap_or(i64::MAX), output })
}

/// The beginning and the end of an output.
#[derive(Default)]
struct Kept {
    first: Vec<u8>,
    last: VecDeque<u8>,
    is_cut: bool,
}

impl Kept {
    fn add(&mut self, bytes: &[u8]) {
        let room = OUTPUT.saturating_sub(self.first.len()).min(bytes.len());
        self.first.extend_from_slice(&bytes[..room]);
        self.last.extend(&bytes[room..]);
        let excess = self.last.len().saturating_sub(OUTPUT);
        self.is_cut |= excess > 0;
        self.last.drain(..excess);
    }

    fn text(self) -> String {
        let mut bytes = self.first;
        if self.is_cut {
            bytes.extend_from_slice(b"\n");
        }
        bytes.extend(self.last);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Queues the report for the server, redacted.
async fn keep(place: &Place, attempt: &Attempt, report: &Report) -> Result<(), Attempted> {
    let folder = &place.job.held.folder;
    let text = serde_json::to_string(report).map_err(|error| {
        Attempted::GiveBack(format!("the report can't be written as JSON: {error}"))
    })?;
    let text = place.redactor.redact_text(&text);
    let file = folder.join(format!("{}.{}.readiness", attempt.step_id, attempt.number));
    let written = async {
        tokio::fs::create_dir_all(folder).await?;
        tokio::fs::write(&file, text).await
    };
    written.await.map_err(|error| checkpoint::disk_full(&error))?;
    let item = Item::Readiness { step_id: attempt.step_id.clone(), file };
    place
        .job
        .upload(item)
        .map_err(|error| Attempted::JobEnded(failed("runner_disk", error.to_string())))
}

/// Puts the proposed files into the commit, beside what was there.
async fn propose(
    place: &mut Place,
    attempt: &Attempt,
    report: &Report,
) -> Result<Option<String>, Attempted> {
    if report.proposed.is_empty() {
        return Ok(None);
    }
    let mut files = Vec::with_capacity(report.proposed.len());
    for file in &report.proposed {
        let path = RepoPath::parse(&file.path).map_err(|error| checkpoint::of_git(&error))?;
        files.push((path, place.redactor.redact_text(&file.text).into_bytes()));
    }
    let scratch =
        place.job.held.folder.join(format!("{}.{}.proposed", attempt.step_id, attempt.number));
    super::trees::remove(&scratch).await;
    let tree = place.work.repository.with_files(&place.work.tip, &files, &scratch).await;
    super::trees::remove(&scratch).await;
    let tree = tree.map_err(|error| checkpoint::of_git(&error))?;
    let taken = checkpoint::take_tree(place, attempt, tree).await?;
    Ok(taken.map(|commit| commit.to_string()))
}

fn say(attempt: &Attempt, text: &str) {
    let line: String = text.chars().filter(|it| !it.is_control()).collect();
    let _ = attempt.log.append(format!("[windlass: {line}]\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_output_the_beginning_and_the_end_are_kept() {
        let mut kept = Kept::default();
        kept.add(b"first");
        for _ in 0..3 {
            kept.add(&vec![b'x'; OUTPUT]);
        }
        kept.add(b"last");
        let text = kept.text();
        assert!(text.starts_with("first") && text.ends_with("last"));
        assert_eq!(text.len(), 2 * OUTPUT + 1);
    }
}
