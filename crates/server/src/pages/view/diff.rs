//! A patch made visible: rows side by side or in one column, coloured, with what changed within a line
//! emphasised, and with the conversation at its lines. Big, generated and binary files are folded, so
//! that a page stays small and a reviewer reads what people wrote first.

use std::ops::Range;

use askama::{Template, filters::HtmlSafe};

use super::{
    Html, Text,
    change::{CommentForm, Thread},
};
use crate::pages::{
    diff::{File, Hunk, Kind, Line, Patch},
    highlight::{self, Language},
};

/// The most lines of one file that are shown without being asked for.
const FILE_LINES: usize = 600;
/// The most lines of one page.
const PAGE_LINES: usize = 4_000;

/// How a diff is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Before on the left, after on the right.
    #[default]
    Split,
    /// One column.
    Unified,
}

impl Layout {
    /// The layout of this name; side by side for any other.
    pub(crate) fn parse(name: &str) -> Self {
        if name == "unified" { Self::Unified } else { Self::Split }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Unified => "unified",
        }
    }
}

/// A line that a comment stands at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct At {
    /// The file's path on that side.
    pub(crate) path: String,
    /// True for the side before the change.
    pub(crate) is_old: bool,
    /// The line, from 1.
    pub(crate) line: u32,
    /// True if the line is of another state of the change: then it is not looked for.
    pub(crate) is_gone: bool,
}

/// What is said at a line, and the form to say more.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Talk {
    pub(crate) threads: Vec<(At, Thread)>,
    /// A form that is open at a line.
    pub(crate) form: Option<(At, CommentForm)>,
}

impl Talk {
    fn take(&mut self, at: &At) -> Vec<Row> {
        let mut rows = Vec::new();
        if let Some(i) = self.threads.iter().position(|(place, _)| place == at) {
            rows.push(Row::Thread(Box::new(self.threads.swap_remove(i).1)));
        }
        if self.form.as_ref().is_some_and(|(place, _)| place == at)
            && let Some((_, form)) = self.form.take()
        {
            rows.push(Row::Form(Box::new(form)));
        }
        rows
    }
}

/// How a diff is to be shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) layout: Layout,
    /// True if a person may comment at lines.
    pub(crate) can_comment: bool,
    /// The path of a file that is shown whole, however long it is.
    pub(crate) whole: Option<String>,
    /// The address of this page with everything but `whole`, ready for one more key.
    pub(crate) here: String,
}

/// A whole diff.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DiffView {
    pub(crate) layout: Layout,
    pub(crate) can_comment: bool,
    pub(crate) files: Vec<FileView>,
    pub(crate) added: u32,
    pub(crate) removed: u32,
    /// What was said at lines that this diff does not show.
    pub(crate) elsewhere: Vec<(At, Thread)>,
}

impl DiffView {
    /// Makes a patch visible. What people wrote comes first, generated files last.
    pub(crate) fn new(patch: &Patch, mut talk: Talk, options: &Options) -> Self {
        let mut order: Vec<usize> = (0..patch.files.len()).collect();
        order.sort_by_key(|i| is_generated(patch.files[*i].path()));
        let mut left = PAGE_LINES;
        let mut files = Vec::with_capacity(order.len());
        for (index, i) in order.into_iter().enumerate() {
            files.push(FileView::new(&patch.files[i], index, &mut talk, &mut left, options));
        }
        Self {
            layout: options.layout,
            can_comment: options.can_comment,
            added: patch.files.iter().map(|file| file.added).sum(),
            removed: patch.files.iter().map(|file| file.removed).sum(),
            elsewhere: talk.threads,
            files,
        }
    }
}

/// One file of a diff.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "parts/diff_file.html")]
pub(crate) struct FileView {
    /// Its place on the page, from 0; names its anchors.
    pub(crate) index: usize,
    pub(crate) path: Text,
    /// Its path before, where it was renamed.
    pub(crate) was: Option<Text>,
    /// What happened to it, in a word.
    pub(crate) what: &'static str,
    pub(crate) added: u32,
    pub(crate) removed: u32,
    pub(crate) layout: Layout,
    pub(crate) can_comment: bool,
    /// True if it is unfolded at once.
    pub(crate) is_open: bool,
    /// True if it stands among others of an agent's own words, where it has no anchors.
    pub(crate) is_claim: bool,
    pub(crate) body: FileBody,
}

impl HtmlSafe for FileView {}

/// What there is to see of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FileBody {
    /// Its rows.
    Rows(Vec<Row>),
    /// Nothing: this sentence says why.
    Note(String),
    /// It is long: so many lines, and where it is shown.
    Long { lines: usize, href: String },
}

/// A row of a diff.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Row {
    /// Lines that are not shown; the head of the function that follows.
    Gap(Text),
    /// A line before and a line after, side by side.
    Pair { old: Option<Cell>, new: Option<Cell>, is_kept: bool },
    /// A line in one column.
    One { kind: Kind, old: Option<u32>, new: Option<u32>, cell: Cell },
    /// What was said at the line above.
    Thread(Box<Thread>),
    /// A form to say something at the line above.
    Form(Box<CommentForm>),
}

/// Rows in runs: changed lines that follow each other, and what stands between them. On a phone a run
/// of changed lines is shown as all lines before, then all lines after.
pub(crate) fn runs(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|one, next| is_changed(one) == is_changed(next))
}

/// Whether a run of rows is of changed lines.
pub(crate) fn is_change(run: &[Row]) -> bool {
    run.first().is_some_and(is_changed)
}

fn is_changed(row: &Row) -> bool {
    matches!(row, Row::Pair { is_kept: false, .. })
}

/// A line of one side.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) line: u32,
    pub(crate) html: Html,
    pub(crate) lacks_line_break: bool,
}

impl FileView {
    /// A file that an agent says it changed: in one column and without conversation.
    pub(crate) fn claimed(file: &File) -> Self {
        let options = Options { layout: Layout::Unified, ..Options::default() };
        let mut left = FILE_LINES;
        let mut view = Self::new(file, 0, &mut Talk::default(), &mut left, &options);
        view.is_open = view.added + view.removed <= 40;
        view.is_claim = true;
        view
    }

    fn new(
        file: &File,
        index: usize,
        talk: &mut Talk,
        left: &mut usize,
        options: &Options,
    ) -> Self {
        let lines: usize = file.hunks.iter().map(|hunk| hunk.lines.len()).sum();
        let is_wanted = options.whole.as_deref() == Some(file.path());
        let is_generated = is_generated(file.path());
        let most = if is_generated { 60 } else { FILE_LINES };
        let body = if let (Some(note), 0) = (file.note, lines) {
            FileBody::Note(note.to_owned())
        } else if let (Some((old, new)), 0) = (&file.modes, lines) {
            FileBody::Note(format!("Only its mode changed, from {old} to {new}."))
        } else if lines == 0 {
            FileBody::Note("Its text did not change.".to_owned())
        } else if !is_wanted && (lines > most || lines > *left) {
            let path = percent_encoded(file.path());
            FileBody::Long { lines, href: format!("{}whole={path}#f{index}", options.here) }
        } else {
            *left = left.saturating_sub(lines);
            FileBody::Rows(rows(file, options.layout, talk))
        };
        let was = match (&file.old_path, &file.new_path) {
            (Some(old), Some(new)) if old != new => Some(Text::from(old.as_str())),
            _ => None,
        };
        Self {
            index,
            path: Text::from(file.path()),
            what: match (&file.old_path, &file.new_path, &was) {
                (None, _, _) => "new",
                (_, None, _) => "removed",
                (_, _, Some(_)) => "renamed",
                (_, _, None) => "changed",
            },
            was,
            added: file.added,
            removed: file.removed,
            layout: options.layout,
            can_comment: options.can_comment,
            is_open: is_wanted || !is_generated,
            is_claim: false,
            body,
        }
    }
}

/// True for files that programs write: they are folded and come last.
fn is_generated(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(
        name,
        "Cargo.lock"
            | "package-lock.json"
            | "yarn.lock"
            | "pnpm-lock.yaml"
            | "poetry.lock"
            | "uv.lock"
            | "go.sum"
            | "Gemfile.lock"
            | "composer.lock"
            | "flake.lock"
    ) || name.ends_with(".min.js")
        || name.ends_with(".snap")
        || path.starts_with("vendor/")
        || path.contains("/node_modules/")
}

fn rows(file: &File, layout: Layout, talk: &mut Talk) -> Vec<Row> {
    let language = Language::of_path(file.path());
    let mut rows = Vec::new();
    for hunk in &file.hunks {
        rows.push(Row::Gap(Text::from(hunk.heading.as_str())));
        let coloured = colour(hunk, language);
        match layout {
            Layout::Split => split_rows(file, hunk, coloured, talk, &mut rows),
            Layout::Unified => unified_rows(file, hunk, coloured, talk, &mut rows),
        }
    }
    rows.extend(file.note.map(|note| Row::Gap(Text::from(note))));
    rows
}

/// The lines of a hunk as HTML, in their order. Both sides have a state of their own, since a comment
/// may begin on one side only.
fn colour(hunk: &Hunk, language: Option<&'static Language>) -> Vec<Cell> {
    let emphasis = emphasis(hunk);
    let (mut before, mut after) = (highlight::State::default(), highlight::State::default());
    hunk.lines
        .iter()
        .zip(emphasis)
        .map(|(line, emphasis)| {
            let text = line.text.strip_suffix('\r').unwrap_or(&line.text);
            let html = match line.kind {
                Kind::Removed => highlight::code(text, language, &mut before, emphasis),
                Kind::Added => highlight::code(text, language, &mut after, emphasis),
                Kind::Kept => {
                    let html = highlight::code(text, language, &mut after, None);
                    before = after;
                    html
                }
            };
            let number = line.new.or(line.old).unwrap_or(0);
            Cell { line: number, html, lacks_line_break: line.lacks_line_break }
        })
        .collect()
}

/// For each line of a hunk, what changed within it: known where a removed line has an added one for a
/// partner and the two have much in common.
fn emphasis(hunk: &Hunk) -> Vec<Option<Range<usize>>> {
    let mut emphasis = vec![None; hunk.lines.len()];
    for (removed, added) in blocks(&hunk.lines) {
        for (old, new) in removed.zip(added) {
            let pair = differing(&hunk.lines[old].text, &hunk.lines[new].text);
            if let Some((before, after)) = pair {
                emphasis[old] = Some(before);
                emphasis[new] = Some(after);
            }
        }
    }
    emphasis
}

/// The runs of removed lines with the added ones that follow.
fn blocks(lines: &[Line]) -> Vec<(Range<usize>, Range<usize>)> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let start = at;
        while at < lines.len() && lines[at].kind == Kind::Removed {
            at += 1;
        }
        let middle = at;
        while at < lines.len() && lines[at].kind == Kind::Added {
            at += 1;
        }
        if at > start {
            blocks.push((start..middle, middle..at));
        } else {
            at += 1;
        }
    }
    blocks
}

/// What differs between two lines once what they begin and end with alike is taken off. `None` if
/// that is most of both.
fn differing(old: &str, new: &str) -> Option<(Range<usize>, Range<usize>)> {
    let prefix: usize =
        old.chars().zip(new.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    let (old_rest, new_rest) = (&old[prefix..], &new[prefix..]);
    let suffix: usize = old_rest
        .chars()
        .rev()
        .zip(new_rest.chars().rev())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a.len_utf8())
        .sum();
    let (prefix, suffix) = whole_words(old, new, prefix, suffix);
    let (before, after) = (prefix..old.len() - suffix, prefix..new.len() - suffix);
    let most = before.len().max(after.len());
    let length = old.trim_start().len().max(new.trim_start().len());
    (most * 3 <= length * 2).then_some((before, after))
}

/// Moves both edges out to where no word is cut, on either side.
fn whole_words(old: &str, new: &str, prefix: usize, suffix: usize) -> (usize, usize) {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let cuts = |text: &str, at: usize| {
        text[..at].chars().next_back().is_some_and(is_word)
            && text[at..].chars().next().is_some_and(is_word)
    };
    let mut prefix = prefix;
    while cuts(old, prefix) || cuts(new, prefix) {
        prefix -= old[..prefix].chars().next_back().map_or(0, char::len_utf8);
    }
    let mut suffix = suffix;
    while cuts(old, old.len() - suffix) || cuts(new, new.len() - suffix) {
        suffix -= old[old.len() - suffix..].chars().next().map_or(0, char::len_utf8);
    }
    (prefix, suffix)
}

fn split_rows(file: &File, hunk: &Hunk, cells: Vec<Cell>, talk: &mut Talk, rows: &mut Vec<Row>) {
    let mut cells: Vec<Option<Cell>> = cells.into_iter().map(Some).collect();
    let blocks = blocks(&hunk.lines);
    let mut at = 0;
    let mut next_block = blocks.into_iter().peekable();
    while at < hunk.lines.len() {
        let Some((removed, added)) = next_block.next_if(|(removed, _)| removed.start == at) else {
            let line = &hunk.lines[at];
            let new = cells[at].take();
            let old = new.clone().map(|cell| Cell { line: line.old.unwrap_or(0), ..cell });
            rows.push(Row::Pair { old, new, is_kept: true });
            rows.extend(said(file, line.old, line.new, talk));
            at += 1;
            continue;
        };
        for i in 0..removed.len().max(added.len()) {
            let old = removed.clone().nth(i);
            let new = added.clone().nth(i);
            rows.push(Row::Pair {
                old: old.and_then(|old| cells[old].take()),
                new: new.and_then(|new| cells[new].take()),
                is_kept: false,
            });
            let number = |line: Option<usize>, pick: fn(&Line) -> Option<u32>| {
                line.and_then(|line| pick(&hunk.lines[line]))
            };
            rows.extend(said(
                file,
                number(old, |line| line.old),
                number(new, |line| line.new),
                talk,
            ));
        }
        at = added.end;
    }
}

fn unified_rows(file: &File, hunk: &Hunk, cells: Vec<Cell>, talk: &mut Talk, rows: &mut Vec<Row>) {
    for (line, cell) in hunk.lines.iter().zip(cells) {
        rows.push(Row::One { kind: line.kind, old: line.old, new: line.new, cell });
        rows.extend(said(file, line.old, line.new, talk));
    }
}

/// What was said at a line, before it on the one side and after it on the other.
fn said(file: &File, old: Option<u32>, new: Option<u32>, talk: &mut Talk) -> Vec<Row> {
    if talk.threads.is_empty() && talk.form.is_none() {
        return Vec::new();
    }
    let mut rows = Vec::new();
    if let (Some(line), Some(path)) = (old, &file.old_path) {
        rows.extend(talk.take(&At { path: path.clone(), is_old: true, line, is_gone: false }));
    }
    if let (Some(line), Some(path)) = (new, &file.new_path) {
        rows.extend(talk.take(&At { path: path.clone(), is_old: false, line, is_gone: false }));
    }
    rows
}

/// Text for the value of a query's key.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::diff::parse;

    const PATCH: &str = "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1,4 +1,4 @@\n keep\n-the old one\n\
                         -gone\n+the new one\n end\n+last\n";

    fn shape(rows: &[Row]) -> Vec<String> {
        rows.iter()
            .map(|row| match row {
                Row::Gap(_) => "gap".to_owned(),
                Row::Pair { old, new, is_kept } => {
                    let number = |cell: &Option<Cell>| cell.as_ref().map_or(0, |cell| cell.line);
                    format!("{}|{}{}", number(old), number(new), if *is_kept { "" } else { "!" })
                }
                Row::One { old, new, .. } => format!("{}/{}", old.unwrap_or(0), new.unwrap_or(0)),
                Row::Thread(_) => "thread".to_owned(),
                Row::Form(_) => "form".to_owned(),
            })
            .collect()
    }

    fn view(layout: Layout, talk: Talk) -> DiffView {
        let options = Options { layout, ..Options::default() };
        DiffView::new(&parse(PATCH.as_bytes()), talk, &options)
    }

    fn rows_of(view: &DiffView) -> Vec<String> {
        let FileBody::Rows(rows) = &view.files[0].body else { panic!("rows") };
        shape(rows)
    }

    #[test]
    fn removed_and_added_lines_stand_beside_each_other() {
        assert_eq!(
            rows_of(&view(Layout::Split, Talk::default())),
            ["gap", "1|1", "2|2!", "3|0!", "4|3", "0|4!"]
        );
        assert_eq!(
            rows_of(&view(Layout::Unified, Talk::default())),
            ["gap", "1/1", "2/0", "3/0", "0/2", "4/3", "0/4"]
        );
    }

    #[test]
    fn what_was_said_stands_below_its_line_and_nothing_said_is_lost() {
        let at = |is_old, line| At { path: "a.txt".into(), is_old, line, is_gone: false };
        let talk = Talk {
            threads: vec![
                (at(true, 3), Thread::default()),
                (at(false, 3), Thread::default()),
                (at(false, 99), Thread::default()),
            ],
            form: None,
        };
        let view = view(Layout::Split, talk);
        assert_eq!(
            rows_of(&view),
            ["gap", "1|1", "2|2!", "3|0!", "thread", "4|3", "thread", "0|4!"]
        );
        assert_eq!(view.elsewhere, [(at(false, 99), Thread::default())]);
    }

    #[test]
    fn only_what_changed_within_a_line_is_emphasised() {
        assert_eq!(differing("the old one", "the new one"), Some((4..7, 4..7)));
        assert_eq!(differing("let max = 250;", "let max = 300;"), Some((10..13, 10..13)));
        assert_eq!(differing("abc", "xyz"), None);
        assert_eq!(differing("é = 1", "é = 2"), Some((5..6, 5..6)));
    }

    #[test]
    fn files_that_programs_write_come_last_and_long_ones_wait_to_be_asked_for() {
        let many = |path: &str, lines: usize| {
            let mut patch = format!(
                "diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -0,0 +1,{lines} @@\n"
            );
            (0..lines).for_each(|_| patch.push_str("+x\n"));
            patch
        };
        let patch = many("Cargo.lock", 100) + &many("a.rs", 700) + &many("b.rs", 3);
        let options = Options { here: "?".into(), ..Options::default() };
        let seen = |options: &Options| -> Vec<(String, bool, bool)> {
            let view = DiffView::new(&parse(patch.as_bytes()), Talk::default(), options);
            let is_long = |file: &FileView| matches!(file.body, FileBody::Long { .. });
            view.files
                .iter()
                .map(|file| (file.path.raw().to_owned(), file.is_open, is_long(file)))
                .collect()
        };
        let file = |path: &str, is_open, is_long| (path.to_owned(), is_open, is_long);
        assert_eq!(
            seen(&options),
            [file("a.rs", true, true), file("b.rs", true, false), file("Cargo.lock", false, true)]
        );
        let whole = Options { whole: Some("a.rs".into()), ..options };
        assert_eq!(seen(&whole)[0], file("a.rs", true, false));
    }
}
