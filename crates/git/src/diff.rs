//! The difference of two commits as a model: files, hunks, lines. Names are bytes and never come
//! from the patch text; sizes are bounded, and whatever was cut says so.

use crate::command::Overflow;
use crate::{Error, Oid, RepoPath, Repository, Result};

mod parse;

/// How to compare.
#[derive(Clone, Debug)]
pub struct Options {
    /// Lines of context around a change.
    pub context: u32,
    /// Leave out changes in white space only.
    pub ignore_space: bool,
    /// Only these paths; empty means all.
    pub paths: Vec<RepoPath>,
    /// More files than this are counted and not listed.
    pub files: usize,
    /// A file larger than this is not compared line by line, in bytes.
    pub file_bytes: u64,
    /// More lines than this in one file are cut.
    pub file_lines: usize,
    /// The patch beyond this many bytes is cut.
    pub total_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            context: 3,
            ignore_space: false,
            paths: Vec::new(),
            files: 2000,
            file_bytes: 2 << 20,
            file_lines: 5000,
            total_bytes: 16 << 20,
        }
    }
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Diff {
    /// The files, in git's order of paths.
    pub files: Vec<File>,
    /// How many files differ, listed or not.
    pub files_changed: u64,
    /// Lines added in all files, text only.
    pub added: u64,
    /// Lines removed in all files, text only.
    pub removed: u64,
    /// Whether anything was cut: some file, some lines, or files at the end.
    pub cut: bool,
}

/// One file that differs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct File {
    /// What happened to it.
    pub status: Status,
    /// Before; `None` if it was added.
    pub old: Option<Side>,
    /// After; `None` if it was deleted.
    pub new: Option<Side>,
    /// Lines added; `None` if it is not text.
    pub added: Option<u64>,
    /// Lines removed; `None` if it is not text.
    pub removed: Option<u64>,
    /// The difference itself.
    pub content: Content,
}

impl File {
    /// The path that it has now, or had last.
    pub fn path(&self) -> &RepoPath {
        match (&self.new, &self.old) {
            (Some(side), _) | (None, Some(side)) => &side.path,
            (None, None) => unreachable!("a file that differs has a side"),
        }
    }
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
    /// Its content or mode changed.
    Modified,
    /// It has another name; how much of it is the same, in percent.
    Renamed(u8),
    /// It became another kind of thing (a link, a submodule, a file).
    Retyped,
}

/// A file on one side.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Side {
    /// Its path.
    pub path: RepoPath,
    /// Its mode (0o100644, 0o100755, 0o120000, 0o160000).
    pub mode: u32,
    /// Its object; for a submodule the commit.
    pub id: Oid,
}

/// What differs inside a file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    /// Lines. Empty if only the name or mode changed.
    Text {
        /// The places that differ.
        hunks: Vec<Hunk>,
        /// Whether lines are missing at the end.
        cut: bool,
    },
    /// Not text.
    Binary,
    /// Too large to compare line by line.
    TooLarge,
    /// Another commit of a submodule.
    Submodule,
    /// Not read, since the whole had become too large before.
    NotRead,
}

/// Neighbouring lines that differ, with context.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hunk {
    /// The first line on the old side, from 1 (0 if there is none).
    pub old_start: u32,
    /// How many lines it spans on the old side.
    pub old_lines: u32,
    /// The first line on the new side.
    pub new_start: u32,
    /// How many lines it spans on the new side.
    pub new_lines: u32,
    /// The line that git names the place by, such as a function's head.
    pub section: String,
    /// The lines.
    pub lines: Vec<Line>,
}

/// One line of a hunk.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Line {
    /// Which sides have it.
    pub kind: LineKind,
    /// Its number on the old side, if that side has it.
    pub old: Option<u32>,
    /// Its number on the new side, if that side has it.
    pub new: Option<u32>,
    /// Its text without the line break; bytes that are not UTF-8 are replaced. A carriage return
    /// before the line break is kept.
    pub text: String,
    /// Whether the file ends here without a line break.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_newline: bool,
}

/// Which sides have a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// Both.
    Context,
    /// Only the new one.
    Added,
    /// Only the old one.
    Removed,
}

impl Repository {
    /// Compares two commits or trees. For what a pull request shows, compare the merge base of base
    /// and head with the head.
    pub async fn diff(&self, from: &Oid, to: &Oid, options: &Options) -> Result<Diff> {
        let raw = self
            .diff_call("list changed files", from, to, options)
            .args(["--raw", "--numstat", "-z", "--no-abbrev"])
            .arg("--")
            .args(options.paths.iter().map(RepoPath::to_os))
            .run()
            .await?;
        let mut diff = parse::raw(&raw.stdout)?;
        diff.files_changed = diff.files.len() as u64;
        diff.added = diff.files.iter().filter_map(|file| file.added).sum();
        diff.removed = diff.files.iter().filter_map(|file| file.removed).sum();
        let patch = self
            .diff_call("compare files", from, to, options)
            .args([
                "--patch",
                "--full-index",
                "--src-prefix=a/",
                "--dst-prefix=b/",
                "--inter-hunk-context=0",
                "--indent-heuristic",
            ])
            .arg(format!("--unified={}", options.context))
            .arg("--")
            .args(options.paths.iter().map(RepoPath::to_os))
            .overflow(Overflow::Cut(options.total_bytes))
            .run()
            .await?;
        parse::patch(&patch.stdout, patch.cut, &mut diff, options.file_lines);
        self.mark_large_files(&mut diff, options).await?;
        if diff.files.len() > options.files {
            diff.files.truncate(options.files);
            diff.cut = true;
        }
        let incomplete = |file: &File| {
            matches!(
                file.content,
                Content::Text { cut: true, .. } | Content::TooLarge | Content::NotRead
            )
        };
        diff.cut |= diff.files.iter().any(incomplete);
        Ok(diff)
    }

    fn diff_call(
        &self,
        what: &str,
        from: &Oid,
        to: &Oid,
        options: &Options,
    ) -> crate::command::Call {
        self.call(what)
            // Git treats files beyond this as not text, so they cost no time.
            .config("core.bigFileThreshold", options.file_bytes.to_string())
            .config("diff.renameLimit", "1000")
            .config("diff.orderFile", "")
            .config("diff.algorithm", "histogram")
            .args([
                "diff-tree",
                "-r",
                "--find-renames",
                "--no-ext-diff",
                "--no-textconv",
                "--no-color",
                "--no-relative",
            ])
            .args(["--ignore-submodules=none", "--submodule=short"])
            .args(options.ignore_space.then_some("--ignore-all-space"))
            .args([from.as_str(), to.as_str()])
    }

    /// Git says "binary" of files that are only large; tells the two apart by size.
    async fn mark_large_files(&self, diff: &mut Diff, options: &Options) -> Result<()> {
        let suspects: Vec<usize> = (0..diff.files.len())
            .filter(|&index| matches!(diff.files[index].content, Content::Binary))
            .collect();
        if suspects.is_empty() {
            return Ok(());
        }
        let sides = |file: &File| [file.old.clone(), file.new.clone()].into_iter().flatten();
        let ids: Vec<Oid> = suspects
            .iter()
            .flat_map(|&index| sides(&diff.files[index]))
            .map(|side| side.id)
            .collect();
        let input: String = ids.iter().map(|id| format!("{id}\n")).collect();
        let output = self
            .call("read sizes")
            .args(["cat-file", "--batch-check=%(objectname) %(objectsize)"])
            .stdin(input)
            .run()
            .await?;
        let text = output.text();
        let sizes: std::collections::HashMap<&str, u64> = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(id, size)| Some((id, size.parse().ok()?)))
            .collect();
        for index in suspects {
            let file = &mut diff.files[index];
            let large = [&file.old, &file.new].into_iter().flatten().any(|side| {
                sizes.get(side.id.as_str()).is_some_and(|&size| size > options.file_bytes)
            });
            if large {
                file.content = Content::TooLarge;
            }
        }
        Ok(())
    }

    /// The patch as text, for people and tools that read that. Bounded; an error beyond `limit`.
    pub async fn patch_text(&self, from: &Oid, to: &Oid, limit: usize) -> Result<Vec<u8>> {
        let output = self
            .call("write a patch")
            .args([
                "diff-tree",
                "-r",
                "-p",
                "--binary",
                "--full-index",
                "--find-renames",
                "--no-ext-diff",
                "--no-textconv",
                "--no-color",
            ])
            .args([from.as_str(), to.as_str()])
            .overflow(Overflow::Fail(limit))
            .run()
            .await
            .map_err(|error| match error {
                Error::TooLarge { limit, unit, .. } => {
                    Error::TooLarge { what: "the patch".to_owned(), limit, unit }
                }
                error => error,
            })?;
        Ok(output.stdout)
    }
}
