//! The floor: git, cp, xargs and bubblewrap, as a script would use them.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::timed;

/// Makes a bare repository with this many files and five hundred commits. Answers where it is.
pub(crate) fn project(folder: &Path, files: usize) -> Result<PathBuf> {
    let place = folder.join("project.git");
    git(folder, &["init", "-q", "--bare", "-b", "main", "project.git"])?;
    let mut import = Command::new("git")
        .args(["fast-import", "--quiet"])
        .current_dir(&place)
        .stdin(Stdio::piped())
        .spawn()
        .context("failed to start git")?;
    let mut stream = String::new();
    for commit in 0..500 {
        let who = format!("A <a@example.org> {} +0000", 1_600_000_000 + commit);
        stream.push_str(&format!("commit refs/heads/main\ncommitter {who}\ndata 2\nc\n"));
        let changed = if commit == 0 { 0..files } else { commit..commit + 1 };
        for n in changed {
            // About five kilobytes that differ from file to file.
            let line = format!("file {n} in commit {commit}: the work of somebody\n");
            let text = line.repeat(5000 / line.len());
            let path = format!("part{}/module{}/file{n}.txt", n % 15, n % 10);
            stream.push_str(&format!("M 100644 inline {path}\ndata {}\n{text}\n", text.len()));
        }
    }
    import.stdin.take().context("a pipe")?.write_all(stream.as_bytes())?;
    ensure!(import.wait()?.success(), "git fast-import failed");
    Ok(place)
}

/// The cheapest correct ways to a work tree that nobody else can spoil.
const WAYS: [(&str, &str); 3] = [
    ("cp -a of a checked-out clone", "cp -a \"$1/clone\" \"$2\""),
    ("git clone --shared", "git clone -q --shared \"$1/project.git\" \"$2\""),
    ("git worktree add", "git --git-dir=\"$1/project.git\" worktree add -q --detach \"$2\" main"),
];

/// Bubblewrap with all namespaces and the host's root read-only, the nearest that it has.
const BWRAP: &str =
    "bwrap --unshare-all --die-with-parent --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp";

pub(crate) struct Floor {
    folder: PathBuf,
    way: usize,
    serial: usize,
}

impl Floor {
    pub(crate) fn new(folder: &Path, project: &Path) -> Result<Self> {
        let project = project.to_string_lossy();
        // Everything that a copy needs is in it; the objects are shared.
        git(folder, &["clone", "-q", "--shared", &project, "clone"])?;
        let floor = Self { folder: folder.to_owned(), way: 0, serial: 0 };
        floor
            .sh(&format!("{BWRAP} /bin/true"), &[])
            .context("bubblewrap is the floor: apt-get install bubblewrap")?;
        Ok(floor)
    }

    /// Tries each way five times and keeps the fastest.
    pub(crate) fn choose(&mut self) -> Result<&'static str> {
        let mut best = (Duration::MAX, 0);
        for way in 0..WAYS.len() {
            self.way = way;
            let mut times = (0..5).map(|_| self.cold()).collect::<Result<Vec<_>>>()?;
            times.sort();
            best = best.min((times[2], way));
        }
        self.way = best.1;
        Ok(WAYS[self.way].0)
    }

    /// `bwrap ... true`.
    pub(crate) fn bubblewrap(&self) -> Result<Duration> {
        let mut words = BWRAP.split(' ');
        timed(|| {
            let mut command = Command::new(words.next().unwrap_or_default());
            let status = command.args(words).arg("/bin/true").status()?;
            ensure!(status.success(), "bwrap failed");
            Ok(())
        })
    }

    /// A check-out, and bubblewrap around it.
    pub(crate) fn cold(&mut self) -> Result<Duration> {
        let trees = self.trees(1);
        let script = self.script();
        let took = timed(|| self.sh(&script, &[&self.folder, &trees[0]]))?;
        self.remove(&trees)?;
        Ok(took)
    }

    /// The same, this many at once.
    pub(crate) fn at_once(&mut self, n: usize) -> Result<Duration> {
        let trees = self.trees(n);
        let list: String = trees.iter().map(|tree| format!("{}\n", tree.display())).collect();
        let script = self.script();
        let took = timed(|| {
            let mut xargs = Command::new("xargs")
                .arg(format!("-P{n}"))
                .args(["-I", "{}", "sh", "-c", &script, "sh"])
                .arg(&self.folder)
                .arg("{}")
                .stdin(Stdio::piped())
                .spawn()?;
            xargs.stdin.take().context("a pipe")?.write_all(list.as_bytes())?;
            ensure!(xargs.wait()?.success(), "xargs failed");
            Ok(())
        })?;
        self.remove(&trees)?;
        Ok(took)
    }

    fn script(&self) -> String {
        let way = WAYS[self.way].1;
        format!("{way} && exec {BWRAP} --bind \"$2\" \"$2\" --chdir \"$2\" /bin/true")
    }

    fn trees(&mut self, n: usize) -> Vec<PathBuf> {
        self.serial += n;
        (0..n).map(|i| self.folder.join(format!("floor-{}", self.serial - i))).collect()
    }

    fn remove(&self, trees: &[PathBuf]) -> Result<()> {
        for tree in trees {
            std::fs::remove_dir_all(tree)?;
        }
        git(&self.folder.join("project.git"), &["worktree", "prune"])
    }

    fn sh(&self, script: &str, arguments: &[&Path]) -> Result<()> {
        let status = Command::new("sh").args(["-c", script, "sh"]).args(arguments).status()?;
        ensure!(status.success(), "failed: {script}");
        Ok(())
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Result<()> {
    let status = Command::new("git").args(arguments).current_dir(folder).status()?;
    ensure!(status.success(), "git {arguments:?} failed");
    Ok(())
}
