//! The runner's journal: what was decided within leases and may not have reached the server yet. One
//! append-only file for all leases; a restarted runner reads it, delivers what is left, and gives the
//! jobs back.
//!
//! While the server answers, its commit is what makes a report durable, so nothing is synced here;
//! whoever sends reports calls [`Journal::sync`] as soon as the server is away. No credential is
//! ever written here.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use windlass_run::{JobId, StepId};
use windlass_wire::runner::NumberedReport;

/// From this size on the file is rewritten when that makes it much smaller.
const COMPACT: u64 = 4 << 20;

/// A lease: the job and the epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct LeaseId {
    pub(crate) job_id: JobId,
    pub(crate) epoch: u64,
}

impl LeaseId {
    /// The name of the lease's folder.
    pub(crate) fn folder(&self) -> String {
        format!("{}.{}", self.job_id, self.epoch)
    }
}

/// Something that the server has yet to take, in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "item", rename_all = "snake_case")]
pub(crate) enum Item {
    /// A report.
    Report {
        /// It is sent only when the server has all output of the lease's streams.
        after_streams: bool,
        /// The report at its place.
        #[serde(flatten)]
        report: NumberedReport,
    },
    /// The file of a checkpoint's bundle.
    Checkpoint { step_id: StepId, commit: String, file: PathBuf },
    /// The file of the work so far as a patch.
    Diff { step_id: StepId, file: PathBuf },
    /// The file with the report of a `readiness` step.
    Readiness { step_id: StepId, file: PathBuf },
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line {
    Opened { lease: LeaseId },
    Item { lease: LeaseId, what: Item },
    Closed { lease: LeaseId },
}

/// What an earlier process left: leases that were not closed, with all their items.
pub(crate) type Left = BTreeMap<LeaseId, Vec<Item>>;

/// The open journal.
pub(crate) struct Journal {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    length: u64,
    /// A write failed in the middle of a line.
    torn: bool,
    /// The lines of leases that are not closed.
    live: BTreeMap<LeaseId, Vec<String>>,
    unsynced: bool,
}

impl Journal {
    /// Opens the journal, making it if there is none, and says what an earlier process left.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Left)> {
        let left = match File::open(path) {
            Ok(file) => read(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Left::new(),
            Err(error) => return Err(error),
        };
        let mut live = BTreeMap::new();
        for (lease, items) in &left {
            let mut lines = vec![line(&Line::Opened { lease: lease.clone() })];
            lines.extend(
                items
                    .iter()
                    .map(|what| line(&Line::Item { lease: lease.clone(), what: what.clone() })),
            );
            live.insert(lease.clone(), lines);
        }
        let (file, length) = rewrite(path, &live)?;
        let inner = Inner { file, length, torn: false, live, unsynced: false };
        Ok((Self { path: path.to_owned(), inner: Mutex::new(inner) }, left))
    }

    /// Where it is, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that a lease began.
    pub(crate) fn opened(&self, lease: &LeaseId) -> io::Result<()> {
        self.append(lease, &Line::Opened { lease: lease.clone() })
    }

    /// Notes something that the server has yet to take.
    pub(crate) fn item(&self, lease: &LeaseId, what: &Item) -> io::Result<()> {
        self.append(lease, &Line::Item { lease: lease.clone(), what: what.clone() })
    }

    /// Notes that a lease is over: the server has everything, or wants nothing more.
    pub(crate) fn closed(&self, lease: &LeaseId) -> io::Result<()> {
        let mut inner = self.lock();
        inner.live.remove(lease);
        let text = line(&Line::Closed { lease: lease.clone() });
        inner.write(&text)?;
        let live: u64 = inner.live.values().flatten().map(|line| line.len() as u64).sum();
        if inner.length > COMPACT && inner.length > live * 4 {
            let (file, length) = rewrite(&self.path, &inner.live)?;
            inner.file = file;
            inner.length = length;
            inner.torn = false;
        }
        Ok(())
    }

    /// Brings everything to the disk itself. Blocks.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let file = {
            let mut inner = self.lock();
            if !std::mem::take(&mut inner.unsynced) {
                return Ok(());
            }
            inner.file.try_clone()?
        };
        file.sync_data()
    }

    /// From now on the disk is full.
    #[cfg(test)]
    pub(crate) fn fill_disk(&self) {
        self.lock().file =
            File::options().write(true).open("/dev/full").expect("every Linux has it");
    }

    fn append(&self, lease: &LeaseId, what: &Line) -> io::Result<()> {
        let text = line(what);
        let mut inner = self.lock();
        inner.write(&text)?;
        inner.live.entry(lease.clone()).or_default().push(text);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, text: &str) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        // One call per line: after a kill a line is there or it is not.
        let outcome = self.file.write_all(text.as_bytes());
        self.torn = outcome.is_err();
        outcome?;
        self.length += text.len() as u64;
        self.unsynced = true;
        Ok(())
    }
}

fn line(what: &Line) -> String {
    let mut text = serde_json::to_string(what).expect("a journal line is plain data");
    text.push('\n');
    text
}

fn read(file: File) -> io::Result<Left> {
    let mut left = Left::new();
    for text in BufReader::new(file).split(b'\n') {
        let text = text?;
        // A torn last line was never acted upon by anybody else; an old or foreign one can't be.
        let Ok(line) = serde_json::from_slice::<Line>(&text) else {
            if !text.is_empty() {
                tracing::warn!(
                    bytes = text.len(),
                    "a line of the runner's journal can't be read; it is left out"
                );
            }
            continue;
        };
        match line {
            Line::Opened { lease } => {
                left.entry(lease).or_default();
            }
            Line::Item { lease, what } => left.entry(lease).or_default().push(what),
            Line::Closed { lease } => {
                left.remove(&lease);
            }
        }
    }
    Ok(left)
}

/// Writes the file anew with only the living lines, atomically.
fn rewrite(path: &Path, live: &BTreeMap<LeaseId, Vec<String>>) -> io::Result<(File, u64)> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    let text: String = live.values().flatten().map(String::as_str).collect();
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    std::fs::rename(&fresh, path)?;
    drop(file);
    let file = OpenOptions::new().append(true).open(path)?;
    Ok((file, text.len() as u64))
}

#[cfg(test)]
mod tests {
    use windlass_run::{Time, job::Report};

    use super::*;

    fn lease(epoch: u64) -> LeaseId {
        LeaseId { job_id: JobId::new(Time::from_micros(1_000), 7), epoch }
    }

    fn report(seq: u64) -> Item {
        let report = Report::Tokens { total: seq };
        Item::Report {
            after_streams: false,
            report: NumberedReport { seq, at: Time::from_micros(5), report },
        }
    }

    fn text(left: &Left) -> String {
        serde_json::to_string(&left.iter().collect::<Vec<_>>()).expect("plain data")
    }

    #[test]
    fn a_restart_finds_what_was_not_closed_and_only_that() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let (journal, left) = Journal::open(&path).expect("a new journal");
        assert!(left.is_empty());
        journal.opened(&lease(1)).expect("written");
        journal.item(&lease(1), &report(1)).expect("written");
        journal.opened(&lease(2)).expect("written");
        journal.item(&lease(2), &report(1)).expect("written");
        journal.item(&lease(2), &report(2)).expect("written");
        journal.closed(&lease(1)).expect("written");
        drop(journal);
        let (_, left) = Journal::open(&path).expect("the same journal");
        let expected = Left::from([(lease(2), vec![report(1), report(2)])]);
        assert_eq!(text(&left), text(&expected));
        let (_, again) = Journal::open(&path).expect("the same journal");
        assert_eq!(text(&again), text(&expected));
    }

    #[test]
    fn a_line_cut_by_a_crash_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let (journal, _) = Journal::open(&path).expect("a new journal");
        journal.opened(&lease(1)).expect("written");
        journal.item(&lease(1), &report(1)).expect("written");
        drop(journal);
        let mut bytes = std::fs::read(&path).expect("its bytes");
        bytes.truncate(bytes.len() - 5);
        std::fs::write(&path, bytes).expect("written");
        let (_, left) = Journal::open(&path).expect("the same journal");
        assert_eq!(text(&left), text(&Left::from([(lease(1), vec![])])));
    }

    #[test]
    fn a_journal_of_closed_leases_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let (journal, _) = Journal::open(&path).expect("a new journal");
        for epoch in 0..20_000 {
            journal.opened(&lease(epoch)).expect("written");
            journal.item(&lease(epoch), &report(1)).expect("written");
            journal.closed(&lease(epoch)).expect("written");
        }
        let length = std::fs::metadata(&path).expect("a file").len();
        assert!(length <= COMPACT + 1024, "{length}");
    }
}
