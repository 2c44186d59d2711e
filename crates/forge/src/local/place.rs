//! The line that a comment is about, and where that line went when the head moved.

use windlass_git::diff::{Content, Diff, LineKind};
use windlass_git::{Oid, RepoPath};

use super::PullRequest;
use crate::forge::Side;

/// A line of a difference.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// The file's path on that side.
    pub path: RepoPath,
    /// The side.
    pub side: Side,
    /// The line on that side, from 1.
    pub line: u32,
    /// The head that it was seen on.
    pub commit: Oid,
}

/// Where a comment's line is now.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Carried {
    /// The comment's id.
    pub comment: String,
    /// The line on the new head; `None` if it is gone.
    pub now: Option<Place>,
}

/// Carries the comments of a pull request to a new head. `old_side` is the difference from the old
/// merge base to the new one, `new_side` that from the old head to the new one (see
/// [`windlass_git::Repository::diff`]; without context lines is enough). A comment that is outdated
/// stays so.
pub fn carry(
    state: &PullRequest,
    head_commit: &Oid,
    old_side: &Diff,
    new_side: &Diff,
) -> Vec<Carried> {
    let placed =
        state.comments.iter().filter_map(|(id, comment)| Some((id, comment.now.as_ref()?)));
    placed
        .map(|(id, place)| {
            let diff = match place.side {
                Side::Old => old_side,
                Side::New => new_side,
            };
            let now = follow(diff, place).map(|(path, line)| Place {
                path,
                side: place.side,
                line,
                commit: head_commit.clone(),
            });
            Carried { comment: id.clone(), now }
        })
        .collect()
}

/// The path and line that a line of the old side of `diff` has on its new side.
fn follow(diff: &Diff, place: &Place) -> Option<(RepoPath, u32)> {
    let file =
        diff.files.iter().find(|file| file.old.as_ref().is_some_and(|old| old.path == place.path));
    let Some(file) = file else {
        // A file that is not in the difference is as it was; unless the list was cut.
        return (diff.files_changed as usize <= diff.files.len())
            .then(|| (place.path.clone(), place.line));
    };
    let path = file.new.as_ref()?.path.clone();
    let Content::Text { hunks, cut } = &file.content else { return None };
    let mut shift: i64 = 0;
    for hunk in hunks {
        // A hunk without old lines stands after the line that it names.
        let first_after = if hunk.old_lines == 0 { hunk.old_start + 1 } else { hunk.old_start };
        if place.line < first_after {
            break;
        }
        if place.line < hunk.old_start + hunk.old_lines {
            let line = hunk.lines.iter().find(|line| line.old == Some(place.line))?;
            return (line.kind == LineKind::Context).then(|| line.new.map(|new| (path, new)))?;
        }
        shift += i64::from(hunk.new_lines) - i64::from(hunk.old_lines);
    }
    if *cut {
        return None;
    }
    u32::try_from(i64::from(place.line) + shift)
        .ok()
        .filter(|&line| line > 0)
        .map(|line| (path, line))
}
