//! How the work tree differs from a commit, by the environment's own git. What git executes for that
//! (filters of the repository's attributes, say) runs where whatever else the repository brings runs.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use windlass_wire::api::file::{Against, Diff, DiffFile};

use super::{Answer, Place, Refused};

/// The most files that are listed.
const FILES: usize = 2_000;
/// The most bytes of a patch.
const PATCH: usize = 4 << 20;
/// The commit before all commits: git's empty tree.
const NOTHING: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

impl Place {
    /// How the work tree differs from a commit.
    pub(super) fn diff(
        &self,
        against: Against,
        path: Option<&str>,
        with_patch: bool,
    ) -> Answer<Diff> {
        let top = self.asked(&["rev-parse", "--show-toplevel"])?;
        let top = Path::new(&top);
        let commit = self.commit(against)?;
        let index = TemporaryIndex::of(self)?;
        let all = [":/".to_owned()];
        let one = path.map(|path| [format!(":(top,literal){path}")]);
        let paths = one.as_ref().unwrap_or(&all);
        // New files take part with their names. One that can't be read is left out.
        let mut add = git(top);
        add.env("GIT_INDEX_FILE", &index.file);
        add.args(["add", "--intent-to-add", "--ignore-errors", "--", ":/"]);
        let _some_may_be_unreadable = output(add)?;
        let compare = |how: &[&str]| {
            let mut command = git(top);
            command.env("GIT_INDEX_FILE", &index.file).args(["diff", "--no-ext-diff"]);
            command.args(["--no-textconv", "--no-color", "--find-renames"]);
            command.args(how).arg(&commit).arg("--").args(paths);
            command
        };
        let listed = output(compare(&["-z", "--raw", "--numstat"]))?;
        if !listed.status.success() {
            return Err(said("compare the work tree", &listed));
        }
        let mut files = files(&listed.stdout);
        let total_files = files.len() as u64;
        files.truncate(FILES);
        let (patch, cut) = match with_patch {
            true => patch(compare(&["--patch", "--src-prefix=a/", "--dst-prefix=b/"]))?,
            false => (None, false),
        };
        Ok(Diff { against, commit, files, total_files, patch, cut })
    }

    fn commit(&self, against: Against) -> Answer<String> {
        let name = match (against, &self.base) {
            (Against::Base, Some(base)) => base.as_str(),
            (Against::Base, None) => {
                let why = "this environment does not know the commit that its work tree began with: \
                           start it again, or compare with `head`";
                return Err(Refused::in_the_way(why));
            }
            (Against::Head, _) => "HEAD",
        };
        let name = format!("{name}^{{commit}}");
        match self.asked(&["rev-parse", "--verify", "--quiet", "--end-of-options", &name]) {
            Ok(commit) => Ok(commit),
            Err(_) if against == Against::Head => Ok(NOTHING.to_owned()),
            Err(_) => {
                let why = "the repository in the environment does not have the commit that the work \
                           tree began with any more: compare with `head`";
                Err(Refused::in_the_way(why))
            }
        }
    }

    /// One line that git gives.
    fn asked(&self, arguments: &[&str]) -> Answer<String> {
        let mut command = git(&self.root);
        command.args(arguments);
        let output = output(command)?;
        if !output.status.success() {
            return Err(said("find the repository", &output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())
    }
}

/// An index for one question: the repository's own is not touched.
struct TemporaryIndex {
    file: std::path::PathBuf,
}

impl TemporaryIndex {
    fn of(place: &Place) -> Answer<Self> {
        let own = place.asked(&["rev-parse", "--git-path", "index"])?;
        let file =
            std::env::temp_dir().join(format!("windlass-index-{:016x}", rand::random::<u64>()));
        match std::fs::copy(place.root.join(own), &file) {
            Ok(_) => {}
            // Nothing was ever added.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Refused::of("the repository's index", &error)),
        }
        Ok(Self { file })
    }
}

impl Drop for TemporaryIndex {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .arg("--no-optional-locks")
        .args(["-c", "core.quotePath=true", "-c", "core.fsmonitor=false", "-c", "core.pager=cat"])
        .args(["-c", "advice.addEmbeddedRepo=false", "-c", "diff.renameLimit=2000"])
        .current_dir(folder)
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    command
}

fn output(mut command: Command) -> Answer<Output> {
    command.output().map_err(|error| no_git(&error))
}

fn no_git(error: &std::io::Error) -> Refused {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => {
            "there is no git in the environment: add it to its image, with the Feature \
             `ghcr.io/devcontainers/features/git:1` for one"
                .to_owned()
        }
        _ => format!("git can't be executed in the environment: {error}"),
    };
    Refused::in_the_way(why)
}

fn said(what: &str, output: &Output) -> Refused {
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    Refused::in_the_way(format!("git could not {what}: {}", line.trim()))
}

/// What `--raw --numstat -z` lists: first a record for each file, then its lines.
fn files(listed: &[u8]) -> Vec<DiffFile> {
    let mut fields = listed.split(|byte| *byte == 0).map(|field| String::from_utf8_lossy(field));
    let mut files: Vec<DiffFile> = Vec::new();
    // The lines come in the order of the records.
    let mut n = 0;
    while let Some(field) = fields.next() {
        if let Some(record) = field.strip_prefix(':') {
            let status = record.split(' ').nth(4).unwrap_or_default().chars().next();
            let first = fields.next().unwrap_or_default().into_owned();
            let (path, was) = match status {
                Some('R' | 'C') => (fields.next().unwrap_or_default().into_owned(), Some(first)),
                _ => (first, None),
            };
            let change = match status {
                Some('A' | 'C') => "new",
                Some('D') => "removed",
                Some('R') => "renamed",
                _ => "changed",
            };
            let was = was.filter(|_| change == "renamed");
            files.push(DiffFile {
                path,
                was,
                change: change.to_owned(),
                added: None,
                removed: None,
            });
            continue;
        }
        let mut parts = field.splitn(3, '\t');
        let (Some(added), Some(removed), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let path = match path {
            // Of a rename both paths follow.
            "" => {
                fields.next();
                fields.next().unwrap_or_default().into_owned()
            }
            path => path.to_owned(),
        };
        if let Some(file) = files.get_mut(n).filter(|file| file.path == path) {
            (file.added, file.removed) = (added.parse().ok(), removed.parse().ok());
        }
        n += 1;
    }
    files
}

/// The patch, cut between two lines if it is too long.
fn patch(mut command: Command) -> Answer<(Option<String>, bool)> {
    let broke = |error: std::io::Error| Refused::in_the_way(format!("git broke off: {error}"));
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| no_git(&error))?;
    let Some(output) = child.stdout.take() else {
        return Err(Refused::in_the_way("git broke off"));
    };
    let mut output = BufReader::new(output);
    let (mut patch, mut is_cut) = (Vec::new(), false);
    loop {
        let before = patch.len();
        let left = (PATCH - before) as u64 + 1;
        let n = output.by_ref().take(left).read_until(b'\n', &mut patch).map_err(broke)?;
        if n == 0 {
            break;
        }
        if patch.len() > PATCH {
            patch.truncate(before);
            is_cut = true;
            break;
        }
    }
    drop(output);
    let _ = child.kill();
    child.wait().map_err(broke)?;
    Ok((Some(String::from_utf8_lossy(&patch).into_owned()), is_cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_lists_is_read_with_renames_and_files_that_are_no_text() {
        let listed = b":100644 100644 a b M\0one\0:100644 100644 a b R090\0old\0new\0:000000 100644 a b A\0bin\0\
                       :100644 000000 a b D\0gone\0\
                       3\t1\tone\x002\t0\t\0old\0new\0-\t-\tbin\x000\t7\tgone\0";
        let file =
            |path: &str, was: Option<&str>, change: &str, lines: Option<(u64, u64)>| DiffFile {
                path: path.to_owned(),
                was: was.map(str::to_owned),
                change: change.to_owned(),
                added: lines.map(|lines| lines.0),
                removed: lines.map(|lines| lines.1),
            };
        let expected = [
            file("one", None, "changed", Some((3, 1))),
            file("new", Some("old"), "renamed", Some((2, 0))),
            file("bin", None, "new", None),
            file("gone", None, "removed", Some((0, 7))),
        ];
        assert_eq!(files(listed), expected);
    }
}
