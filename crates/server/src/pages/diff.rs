//! Reads git's patch format into files, hunks and lines. It never fails: what it can't read it leaves
//! out and says so, since a patch is made of an agent's work and a page must show what there is. What
//! it gives is plain data; [`super::view::diff`] makes it visible. The same data is made of what the
//! git wrapper gives.

/// A patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patch {
    /// Its files, in git's order.
    pub(crate) files: Vec<File>,
}

/// What happened to one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct File {
    /// Its path before; absent for a new file.
    pub(crate) old_path: Option<String>,
    /// Its path after; absent for a removed file.
    pub(crate) new_path: Option<String>,
    /// Its mode before and after, where that changed.
    pub(crate) modes: Option<(String, String)>,
    /// Why its lines are not here, where they are not, for a person.
    pub(crate) note: Option<&'static str>,
    /// What changed.
    pub(crate) hunks: Vec<Hunk>,
    /// Lines that came.
    pub(crate) added: u32,
    /// Lines that went.
    pub(crate) removed: u32,
}

/// A stretch of lines around a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hunk {
    /// The first line before, from 1.
    pub(crate) old_start: u32,
    /// The first line after, from 1.
    pub(crate) new_start: u32,
    /// What git says of where this is: mostly the head of a function.
    pub(crate) heading: String,
    /// The lines.
    pub(crate) lines: Vec<Line>,
}

/// A line of a hunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Whether it came, went or stayed.
    pub(crate) kind: Kind,
    /// Its number before, unless it came.
    pub(crate) old: Option<u32>,
    /// Its number after, unless it went.
    pub(crate) new: Option<u32>,
    /// Its text, without the line break.
    pub(crate) text: String,
    /// True if the file ends here without a line break.
    pub(crate) lacks_line_break: bool,
}

/// Whether a line came, went or stayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It stayed.
    Kept,
    /// It came.
    Added,
    /// It went.
    Removed,
}

impl File {
    /// The path that names the file: after the change, or before it where it is gone.
    pub(crate) fn path(&self) -> &str {
        self.new_path.as_deref().or(self.old_path.as_deref()).unwrap_or("")
    }
}

/// What is said of a file that is not text.
const BINARY: &str = "Not text: its bytes are not shown.";

/// The same of a difference that git's wrapper has read already.
pub(crate) fn of_git(diff: &windlass_git::diff::Diff) -> Patch {
    Patch { files: diff.files.iter().map(file_of_git).collect() }
}

fn file_of_git(file: &windlass_git::diff::File) -> File {
    use windlass_git::diff::Content;
    let path = |side: &Option<windlass_git::diff::Side>| {
        side.as_ref().map(|side| String::from_utf8_lossy(side.path.as_bytes()).into_owned())
    };
    let modes = match (&file.old, &file.new) {
        (Some(old), Some(new)) if old.mode != new.mode => {
            Some((format!("{:o}", old.mode), format!("{:o}", new.mode)))
        }
        (Some(_) | None, Some(_) | None) => None,
    };
    let (hunks, note) = match &file.content {
        Content::Text { hunks, cut: false } => (hunks.iter().map(hunk_of_git).collect(), None),
        Content::Text { hunks, cut: true } => (
            hunks.iter().map(hunk_of_git).collect(),
            Some("It goes on: the rest is too long to show."),
        ),
        Content::Binary => (Vec::new(), Some(BINARY)),
        Content::TooLarge => (Vec::new(), Some("Too large to compare line by line.")),
        Content::Submodule => (Vec::new(), Some("Another commit of a submodule.")),
        Content::NotRead => (Vec::new(), Some("Not read: the whole change is too large to show.")),
    };
    let count = |lines: Option<u64>| lines.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    File {
        old_path: path(&file.old),
        new_path: path(&file.new),
        modes,
        note,
        hunks,
        added: count(file.added),
        removed: count(file.removed),
    }
}

fn hunk_of_git(hunk: &windlass_git::diff::Hunk) -> Hunk {
    let line = |line: &windlass_git::diff::Line| Line {
        kind: match line.kind {
            windlass_git::diff::LineKind::Context => Kind::Kept,
            windlass_git::diff::LineKind::Added => Kind::Added,
            windlass_git::diff::LineKind::Removed => Kind::Removed,
        },
        old: line.old,
        new: line.new,
        text: line.text.clone(),
        lacks_line_break: line.no_newline,
    };
    Hunk {
        old_start: hunk.old_start,
        new_start: hunk.new_start,
        heading: hunk.section.clone(),
        lines: hunk.lines.iter().map(line).collect(),
    }
}

/// Reads a patch. Bytes that are not UTF-8 become U+FFFD.
pub(crate) fn parse(patch: &[u8]) -> Patch {
    let text = String::from_utf8_lossy(patch);
    let mut reader = Reader::default();
    for line in text.split('\n') {
        reader.line(line);
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    files: Vec<File>,
    /// Lines before and after that the current hunk still has.
    left: (u32, u32),
    /// The numbers of the next lines.
    next: (u32, u32),
}

impl Reader {
    fn line(&mut self, line: &str) {
        if self.left != (0, 0) && self.hunk_line(line) {
            return;
        }
        if let Some(names) = line.strip_prefix("diff --git ") {
            self.left = (0, 0);
            let (old, new) = split_names(names);
            return self.files.push(File { old_path: old, new_path: new, ..File::default() });
        }
        if line.starts_with("\\ ") {
            if let Some(last) = self.last_line() {
                last.lacks_line_break = true;
            }
            return;
        }
        let Some(file) = self.files.last_mut() else { return };
        if let Some(hunk) = line.strip_prefix("@@ -").and_then(parse_hunk_head) {
            let (hunk, left) = hunk;
            self.left = left;
            self.next = (hunk.old_start, hunk.new_start);
            return file.hunks.push(hunk);
        }
        head_line(file, line);
    }

    /// Takes a line of the hunk under way. False if it can't be one.
    fn hunk_line(&mut self, line: &str) -> bool {
        let mut characters = line.chars();
        let kind = match characters.next() {
            Some(' ') | None => Kind::Kept,
            Some('+') => Kind::Added,
            Some('-') => Kind::Removed,
            Some('\\') => {
                if let Some(last) = self.last_line() {
                    last.lacks_line_break = true;
                }
                return true;
            }
            Some(_) => {
                self.left = (0, 0);
                return false;
            }
        };
        let is_old = kind != Kind::Added;
        let is_new = kind != Kind::Removed;
        let Some(file) = self.files.last_mut() else { return false };
        let Some(hunk) = file.hunks.last_mut() else { return false };
        hunk.lines.push(Line {
            kind,
            old: is_old.then_some(self.next.0),
            new: is_new.then_some(self.next.1),
            text: characters.as_str().to_owned(),
            lacks_line_break: false,
        });
        file.added += u32::from(kind == Kind::Added);
        file.removed += u32::from(kind == Kind::Removed);
        self.next.0 = self.next.0.saturating_add(u32::from(is_old));
        self.next.1 = self.next.1.saturating_add(u32::from(is_new));
        self.left.0 = self.left.0.saturating_sub(u32::from(is_old));
        self.left.1 = self.left.1.saturating_sub(u32::from(is_new));
        true
    }

    fn last_line(&mut self) -> Option<&mut Line> {
        self.files.last_mut()?.hunks.last_mut()?.lines.last_mut()
    }

    fn finish(self) -> Patch {
        Patch { files: self.files }
    }
}

/// A line between `diff --git` and the first hunk.
fn head_line(file: &mut File, line: &str) {
    let value = |name: &str| line.strip_prefix(name).map(str::to_owned);
    if line.starts_with("new file mode") {
        file.old_path = None;
    } else if line.starts_with("deleted file mode") {
        file.new_path = None;
    } else if let Some(mode) = value("old mode ") {
        file.modes = Some((mode, String::new()));
    } else if let Some(mode) = value("new mode ") {
        if let Some(modes) = &mut file.modes {
            modes.1 = mode;
        }
    } else if let Some(path) = line.strip_prefix("rename from ").or(line.strip_prefix("copy from "))
    {
        file.old_path = Some(unquote(path));
    } else if let Some(path) = line.strip_prefix("rename to ").or(line.strip_prefix("copy to ")) {
        file.new_path = Some(unquote(path));
    } else if let Some(path) = line.strip_prefix("--- ") {
        file.old_path = side(path, "a/");
    } else if let Some(path) = line.strip_prefix("+++ ") {
        file.new_path = side(path, "b/");
    } else if line.starts_with("Binary files ") || line == "GIT binary patch" {
        file.note = Some(BINARY);
    }
}

/// The path of a `---` or `+++` line; none for `/dev/null`.
fn side(text: &str, prefix: &str) -> Option<String> {
    let path = unquote(text.strip_suffix('\t').unwrap_or(text));
    if path == "/dev/null" {
        return None;
    }
    Some(path.strip_prefix(prefix).map(str::to_owned).unwrap_or(path))
}

/// `a/PATH b/PATH`, either of them perhaps quoted. Where neither is, and the names have spaces, they
/// are the two equal halves: for a rename, later lines say it better.
fn split_names(names: &str) -> (Option<String>, Option<String>) {
    let strip =
        |path: String, prefix: &str| path.strip_prefix(prefix).map(str::to_owned).unwrap_or(path);
    let cut = if let Some(quoted) = names.strip_prefix('"') {
        closing_quote(quoted).map(|end| (&names[..end + 2], names[end + 2..].trim_start()))
    } else if let Some(at) = names.find(" \"b/") {
        Some((&names[..at], &names[at + 1..]))
    } else {
        let half = names.len() / 2;
        let halves = names.is_char_boundary(half) && names[half..].starts_with(" b/");
        if halves { Some((&names[..half], &names[half + 1..])) } else { names.split_once(" b/") }
    };
    match cut {
        Some((old, new)) => (Some(strip(unquote(old), "a/")), Some(strip(unquote(new), "b/"))),
        None => (Some(names.to_owned()), Some(names.to_owned())),
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })
}

/// Takes back git's quoting of unusual paths: `"a\tb\303\251"`.
fn unquote(text: &str) -> String {
    let Some(inside) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut bytes = Vec::with_capacity(inside.len());
    let mut rest = inside.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'n') => bytes.push(b'\n'),
            Some(b't') => bytes.push(b'\t'),
            Some(b'r') => bytes.push(b'\r'),
            Some(b'a') => bytes.push(7),
            Some(b'b') => bytes.push(8),
            Some(b'v') => bytes.push(11),
            Some(b'f') => bytes.push(12),
            Some(digit @ b'0'..=b'7') => {
                let mut value = u32::from(digit - b'0');
                for _ in 0..2 {
                    value =
                        value * 8 + u32::from(rest.next().unwrap_or(b'0').wrapping_sub(b'0') & 7);
                }
                bytes.push(u8::try_from(value & 255).unwrap_or(b'?'));
            }
            Some(other) => bytes.push(other),
            None => {}
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `12,3 +14,5 @@ heading`, after the `@@ -`.
fn parse_hunk_head(text: &str) -> Option<(Hunk, (u32, u32))> {
    let (old, rest) = text.split_once(" +")?;
    let (new, rest) = rest.split_once(" @@")?;
    let (old_start, n_old) = parse_range(old)?;
    let (new_start, n_new) = parse_range(new)?;
    let hunk = Hunk { old_start, new_start, heading: rest.trim().to_owned(), lines: Vec::new() };
    Some((hunk, (n_old, n_new)))
}

fn parse_range(text: &str) -> Option<(u32, u32)> {
    match text.split_once(',') {
        Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
        None => Some((text.parse().ok()?, 1)),
    }
}

/// A patch of one file, made from its text before and after. `None` for a side that isn't there.
pub(crate) fn between(path: &str, old: Option<&str>, new: &str) -> File {
    let before = old.unwrap_or("");
    let diff = similar::TextDiff::configure()
        .timeout(std::time::Duration::from_millis(200))
        .diff_lines(before, new);
    let mut file = File {
        old_path: old.map(|_| path.to_owned()),
        new_path: Some(path.to_owned()),
        ..File::default()
    };
    for group in diff.grouped_ops(3) {
        let mut hunk = Hunk::default();
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let kind = match change.tag() {
                similar::ChangeTag::Equal => Kind::Kept,
                similar::ChangeTag::Insert => Kind::Added,
                similar::ChangeTag::Delete => Kind::Removed,
            };
            let number = |index: Option<usize>| {
                index.map(|index| u32::try_from(index + 1).unwrap_or(u32::MAX))
            };
            file.added += u32::from(kind == Kind::Added);
            file.removed += u32::from(kind == Kind::Removed);
            hunk.lines.push(Line {
                kind,
                old: number(change.old_index()),
                new: number(change.new_index()),
                text: change.value().trim_end_matches(['\r', '\n']).to_owned(),
                lacks_line_break: change.missing_newline(),
            });
        }
        hunk.old_start = hunk.lines.iter().find_map(|line| line.old).unwrap_or(0);
        hunk.new_start = hunk.lines.iter().find_map(|line| line.new).unwrap_or(0);
        file.hunks.push(hunk);
    }
    file
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(kind: Kind, old: Option<u32>, new: Option<u32>, text: &str) -> Line {
        Line { kind, old, new, text: text.to_owned(), lacks_line_break: false }
    }

    #[test]
    fn a_patch_of_gits_becomes_files_hunks_and_numbered_lines() {
        let patch = "diff --git a/src/a.rs b/src/a.rs\nindex 1..2 100644\n--- a/src/a.rs\n+++ b/src/a.rs\n\
                     @@ -3,3 +3,3 @@ fn main() {\n keep\n--- not a head\n+++ not a head either\n end\n\
                     \\ No newline at end of file\n";
        let expected = File {
            old_path: Some("src/a.rs".into()),
            new_path: Some("src/a.rs".into()),
            hunks: vec![Hunk {
                old_start: 3,
                new_start: 3,
                heading: "fn main() {".into(),
                lines: vec![
                    line(Kind::Kept, Some(3), Some(3), "keep"),
                    line(Kind::Removed, Some(4), None, "-- not a head"),
                    line(Kind::Added, None, Some(4), "++ not a head either"),
                    Line { lacks_line_break: true, ..line(Kind::Kept, Some(5), Some(5), "end") },
                ],
            }],
            added: 1,
            removed: 1,
            ..File::default()
        };
        assert_eq!(parse(patch.as_bytes()).files, [expected]);
    }

    #[test]
    fn new_removed_renamed_binary_and_oddly_named_files_are_told_apart() {
        let patch = "diff --git a/n b/n\nnew file mode 100644\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+x\n\
                     diff --git a/g b/g\ndeleted file mode 100644\n--- a/g\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\
                     diff --git a/from here b/to there\nsimilarity index 100%\nrename from from here\nrename to to there\n\
                     diff --git a/i.png b/i.png\nBinary files a/i.png and b/i.png differ\n\
                     diff --git \"a/\\303\\251 \\\"x\" \"b/\\303\\251 \\\"x\"\nold mode 100644\nnew mode 100755\n\
                     diff --git a/a b c b/a b c\nold mode 100644\nnew mode 100755\n";
        let seen: Vec<_> = parse(patch.as_bytes())
            .files
            .into_iter()
            .map(|file| {
                (file.old_path, file.new_path, file.note.is_some(), file.added, file.removed)
            })
            .collect();
        let path = |text: &str| Some(text.to_owned());
        assert_eq!(
            seen,
            [
                (None, path("n"), false, 1, 0),
                (path("g"), None, false, 0, 1),
                (path("from here"), path("to there"), false, 0, 0),
                (path("i.png"), path("i.png"), true, 0, 0),
                (path("é \"x"), path("é \"x"), false, 0, 0),
                (path("a b c"), path("a b c"), false, 0, 0),
            ]
        );
    }

    #[test]
    fn two_texts_become_the_lines_that_differ() {
        let file = between("a", Some("one\ntwo\nthree\n"), "one\n2\nthree\n");
        assert_eq!(
            file.hunks,
            [Hunk {
                old_start: 1,
                new_start: 1,
                heading: String::new(),
                lines: vec![
                    line(Kind::Kept, Some(1), Some(1), "one"),
                    line(Kind::Removed, Some(2), None, "two"),
                    line(Kind::Added, None, Some(2), "2"),
                    line(Kind::Kept, Some(3), Some(3), "three"),
                ],
            }]
        );
        assert_eq!(between("a", None, "x\n").old_path, None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(text in "(diff --git a/x b/x\n|@@ -1,[0-9]{1,10} \\+1,2 @@\n|[-+ \\\\].{0,9}\n|\\PC{0,9}\n){0,30}") {
            parse(text.as_bytes());
        }

        #[test]
        fn what_differs_is_what_a_patch_would_say(old in "[ab\n]{0,30}", new in "[ab\n]{0,30}") {
            let file = between("a", Some(&old), &new);
            let kept_or = |kind: Kind| -> Vec<String> {
                file.hunks.iter().flat_map(|h| &h.lines).filter(|l| l.kind == kind).map(|l| l.text.clone()).collect()
            };
            prop_assert_eq!(kept_or(Kind::Added).len(), file.added as usize);
            prop_assert_eq!(kept_or(Kind::Removed).len(), file.removed as usize);
            prop_assert_eq!(old == new, file.hunks.is_empty());
        }
    }
}
