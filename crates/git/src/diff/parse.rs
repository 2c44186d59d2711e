//! Reads what `git diff-tree` prints. Which files differ comes from the raw form, whose names are
//! exact; the patch is matched to it by order, and only its hunks are read.

use std::collections::HashMap;

use super::{Content, Diff, File, Hunk, Line, LineKind, Side, Status};
use crate::{Error, Oid, RepoPath, Result};

const SUBMODULE: u32 = 0o160_000;

/// Reads `--raw --numstat -z --no-abbrev`: all raw entries, then all counts, in the same order.
pub(super) fn raw(bytes: &[u8]) -> Result<Diff> {
    let mut fields = bytes.split(|&byte| byte == 0).filter(|field| !field.is_empty()).peekable();
    let mut diff = Diff::default();
    while let Some(entry) = fields.next_if(|field| field.first() == Some(&b':')) {
        let entry = std::str::from_utf8(&entry[1..]).map_err(|_| odd())?;
        let parts: Vec<&str> = entry.split(' ').collect();
        let [old_mode, new_mode, old_id, new_id, status] = parts[..] else { return Err(odd()) };
        let mode = |text: &str| u32::from_str_radix(text, 8).map_err(|_| odd());
        let path = RepoPath::from_bytes(fields.next().ok_or_else(odd)?);
        let (status, new_path) = match status.as_bytes().first() {
            Some(b'A') => (Status::Added, path.clone()),
            Some(b'D') => (Status::Deleted, path.clone()),
            Some(b'T') => (Status::Retyped, path.clone()),
            Some(b'R' | b'C') => {
                let percent = status[1..].parse().unwrap_or(100);
                (Status::Renamed(percent), RepoPath::from_bytes(fields.next().ok_or_else(odd)?))
            }
            _ => (Status::Modified, path.clone()),
        };
        let old = Side { path, mode: mode(old_mode)?, id: Oid::parse(old_id)? };
        let new = Side { path: new_path, mode: mode(new_mode)?, id: Oid::parse(new_id)? };
        let is_submodule = old.mode == SUBMODULE || new.mode == SUBMODULE;
        diff.files.push(File {
            status,
            old: (!old.id.is_null()).then_some(old),
            new: (!new.id.is_null()).then_some(new),
            added: None,
            removed: None,
            content: if is_submodule { Content::Submodule } else { Content::NotRead },
        });
    }
    let counts = counts(&mut fields);
    for file in &mut diff.files {
        // A file without counts differs only in what is ignored.
        (file.added, file.removed) =
            counts.get(file.path().as_bytes()).copied().unwrap_or((Some(0), Some(0)));
    }
    Ok(diff)
}

type Counts<'a> = HashMap<&'a [u8], (Option<u64>, Option<u64>)>;

/// Records of `added<TAB>removed<TAB>path`; a rename has an empty path and then two fields, of
/// which the second is the new path.
fn counts<'a>(fields: &mut impl Iterator<Item = &'a [u8]>) -> Counts<'a> {
    let mut counts = HashMap::new();
    while let Some(record) = fields.next() {
        let mut parts = record.splitn(3, |&byte| byte == b'\t');
        let mut count = || {
            std::str::from_utf8(parts.next().unwrap_or_default())
                .ok()
                .and_then(|text| text.parse().ok())
        };
        let both = (count(), count());
        let path = match parts.next() {
            Some(b"") => fields.nth(1),
            path => path,
        };
        counts.extend(path.map(|path| (path, both)));
    }
    counts
}

/// Fills in contents from a patch in which names are quoted, so that no line of a header can look
/// like another. `cut` says that the patch stops somewhere in the middle.
pub(super) fn patch(bytes: &[u8], cut: bool, diff: &mut Diff, most_lines: usize) {
    let mut lines = Lines { bytes, at: 0 };
    let mut sections = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with(b"diff --git ") {
            sections.push(section(&mut lines, most_lines));
        }
    }
    if cut && let Some(last) = sections.last_mut() {
        match &mut last.content {
            Content::Text { cut, .. } => *cut = true,
            Content::Binary | Content::TooLarge | Content::Submodule | Content::NotRead => {}
        }
    }
    let mut sections = sections.into_iter().peekable();
    for file in &mut diff.files {
        if let Some(section) = sections.next_if(|section| section.is_of(file)) {
            // What became another kind of thing is printed as a deletion and a creation.
            let second = if file.status == Status::Retyped { sections.next() } else { None };
            let content = join(section.content, second.map(|section| section.content));
            if file.content != Content::Submodule {
                file.content = content;
            }
        } else if sections.peek().is_some() || !cut {
            // Passed over: it differs only in what is ignored.
            if file.content != Content::Submodule {
                file.content = Content::Text { hunks: Vec::new(), cut: false };
            }
        }
    }
}

/// One file's part of a patch.
struct Section {
    /// The objects of its `index` line; without one, nothing inside the file changed.
    ids: Option<(Vec<u8>, Vec<u8>)>,
    content: Content,
}

impl Section {
    fn is_of(&self, file: &File) -> bool {
        let same = |side: &Option<Side>, id: &[u8]| match side {
            Some(side) => side.id.as_str().as_bytes() == id,
            None => id.iter().all(|&byte| byte == b'0'),
        };
        match &self.ids {
            // The first of the two parts shows the old side only.
            Some((old, _)) if file.status == Status::Retyped => same(&file.old, old),
            Some((old, new)) => same(&file.old, old) && same(&file.new, new),
            None => matches!((&file.old, &file.new), (Some(old), Some(new)) if old.id == new.id),
        }
    }
}

fn join(first: Content, second: Option<Content>) -> Content {
    match (first, second) {
        (Content::Text { mut hunks, cut }, Some(Content::Text { hunks: more, cut: more_cut })) => {
            hunks.extend(more);
            Content::Text { hunks, cut: cut || more_cut }
        }
        (content, None) => content,
        (_, Some(content)) => content,
    }
}

/// Reads one file's part of the patch, up to the next header.
fn section(lines: &mut Lines<'_>, most_lines: usize) -> Section {
    let (mut hunks, mut cut, mut n_lines, mut ids) = (Vec::new(), false, 0, None);
    while let Some(line) = lines.peek() {
        if line.starts_with(b"diff --git ") {
            break;
        }
        lines.next();
        if line.starts_with(b"Binary files ") {
            return Section { ids, content: Content::Binary };
        }
        if let Some(index) = line.strip_prefix(b"index ") {
            ids = index_ids(index);
        }
        if line.starts_with(b"@@ ")
            && let Some(mut hunk) = hunk_head(line)
        {
            let complete = hunk_lines(lines, &mut hunk, &mut n_lines, most_lines);
            cut |= !complete;
            if !hunk.lines.is_empty() {
                hunks.push(hunk);
            }
        }
    }
    Section { ids, content: Content::Text { hunks, cut } }
}

/// Reads `old..new` and leaves the mode that may follow.
fn index_ids(index: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let ids = index.split(|&byte| byte == b' ').next()?;
    let dots = ids.windows(2).position(|pair| pair == b"..")?;
    Some((ids[..dots].to_vec(), ids[dots + 2..].to_vec()))
}

/// Reads `@@ -1,2 +3,4 @@ section`.
fn hunk_head(line: &[u8]) -> Option<Hunk> {
    let text = String::from_utf8_lossy(line);
    let (ranges, section) = text.strip_prefix("@@ -")?.split_once(" @@")?;
    let (old, new) = ranges.split_once(" +")?;
    let range = |text: &str| match text.split_once(',') {
        Some((start, lines)) => Some((start.parse::<u32>().ok()?, lines.parse::<u32>().ok()?)),
        None => Some((text.parse::<u32>().ok()?, 1)),
    };
    let ((old_start, old_lines), (new_start, new_lines)) = (range(old)?, range(new)?);
    Some(Hunk {
        old_start,
        old_lines,
        new_start,
        new_lines,
        section: section.trim().to_owned(),
        lines: Vec::new(),
    })
}

/// Reads as many lines as the head announced; false if some are missing or were dropped.
fn hunk_lines(
    lines: &mut Lines<'_>,
    hunk: &mut Hunk,
    n_lines: &mut usize,
    most_lines: usize,
) -> bool {
    let (mut old, mut new) = (hunk.old_start, hunk.new_start);
    let (mut old_left, mut new_left) = (hunk.old_lines, hunk.new_lines);
    let mut complete = true;
    while old_left > 0 || new_left > 0 {
        let Some(line) = lines.peek() else { return false };
        let (kind, text) = match line.split_first() {
            Some((b' ', text)) => (LineKind::Context, text),
            Some((b'+', text)) => (LineKind::Added, text),
            Some((b'-', text)) => (LineKind::Removed, text),
            Some((b'\\', _)) => {
                lines.next();
                mark_no_newline(hunk);
                continue;
            }
            Some(_) | None => return false,
        };
        lines.next();
        let has = (kind != LineKind::Added, kind != LineKind::Removed);
        let line = Line {
            kind,
            old: has.0.then_some(old),
            new: has.1.then_some(new),
            text: String::from_utf8_lossy(text).into_owned(),
            no_newline: false,
        };
        old = old.saturating_add(has.0.into());
        new = new.saturating_add(has.1.into());
        old_left = old_left.saturating_sub(has.0.into());
        new_left = new_left.saturating_sub(has.1.into());
        if *n_lines < most_lines {
            *n_lines += 1;
            hunk.lines.push(line);
        } else {
            complete = false;
        }
    }
    if lines.peek().is_some_and(|line| line.starts_with(b"\\")) {
        lines.next();
        if complete {
            mark_no_newline(hunk);
        }
    }
    complete
}

fn mark_no_newline(hunk: &mut Hunk) {
    if let Some(last) = hunk.lines.last_mut() {
        last.no_newline = true;
    }
}

struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn peek(&self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        Some(rest.iter().position(|&byte| byte == b'\n').map_or(rest, |end| &rest[..end]))
    }

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.peek()?;
        self.at += line.len() + 1;
        Some(line)
    }
}

fn odd() -> Error {
    Error::Corrupt {
        what: "compare".to_owned(),
        detail: "git printed an entry that cannot be read".to_owned(),
    }
}
