//! Files of an environment: a folder, a file, an editor, and how the work tree differs from a commit.

use askama::Template;

use super::{
    Html, Moment, Shell, Text,
    diff::{DiffView, Layout},
    home::FormProblem,
    shell::Commit,
};

/// The pages of one environment, side by side.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tabs {
    /// What each is called, where it is, and whether it is this one.
    pub(crate) tabs: Vec<(&'static str, String, bool)>,
}

/// A part of a path, with the page of the folder that it names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) name: Text,
    /// Absent for the last one.
    pub(crate) href: Option<String>,
}

/// A folder.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "files.html")]
pub(crate) struct FolderPage {
    pub(crate) shell: Shell,
    pub(crate) tabs: Tabs,
    /// Where its forms go.
    pub(crate) here: String,
    /// The folder's path; empty for the one where programs begin.
    pub(crate) path: Text,
    pub(crate) parts: Vec<Part>,
    /// The folder above.
    pub(crate) above: Option<String>,
    pub(crate) rows: Vec<FileRow>,
    pub(crate) next: Option<String>,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FileRow {
    pub(crate) name: Text,
    /// What it is, in a word.
    pub(crate) kind: &'static str,
    /// Its page, if it has one.
    pub(crate) href: Option<String>,
    /// Where a link points.
    pub(crate) target: Option<Text>,
    /// Its size with its unit; empty where that says nothing.
    pub(crate) size: String,
    /// Its permissions, as `chmod` takes them.
    pub(crate) mode: String,
    pub(crate) changed: Moment,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "file.html")]
pub(crate) struct FilePage {
    pub(crate) shell: Shell,
    pub(crate) tabs: Tabs,
    /// Where its forms go.
    pub(crate) here: String,
    pub(crate) path: Text,
    pub(crate) parts: Vec<Part>,
    pub(crate) size: String,
    pub(crate) mode: String,
    pub(crate) changed: Moment,
    /// The tag of what is shown.
    pub(crate) etag: String,
    /// Its editor, if it can be edited in a page.
    pub(crate) edit: Option<String>,
    /// Why it can't, where it can't.
    pub(crate) no_edit: Option<&'static str>,
    /// Where its bytes are.
    pub(crate) raw: String,
    /// Its lines; absent if it is not text.
    pub(crate) lines: Option<Vec<Html>>,
    /// True if only its beginning is shown.
    pub(crate) is_cut: bool,
}

/// An editor of a file.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "file_edit.html")]
pub(crate) struct EditPage {
    pub(crate) shell: Shell,
    pub(crate) tabs: Tabs,
    /// Where its form goes.
    pub(crate) save: String,
    /// Where one goes without saving.
    pub(crate) back: String,
    pub(crate) path: Text,
    pub(crate) parts: Vec<Part>,
    /// The text to edit.
    pub(crate) text: Text,
    /// The tag of what it replaces; empty for a new file.
    pub(crate) etag: String,
    /// True if its lines end as on Windows.
    pub(crate) is_crlf: bool,
    pub(crate) problem: Option<FormProblem>,
    /// What is there now against what somebody wants to save, after it changed meanwhile.
    pub(crate) conflict: Option<DiffView>,
}

/// How the work tree differs from a commit.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "environment_diff.html")]
pub(crate) struct DiffPage {
    pub(crate) shell: Shell,
    pub(crate) tabs: Tabs,
    /// What it is compared with: name, address, whether it is this.
    pub(crate) against: Vec<(&'static str, String, bool)>,
    /// How it is laid out: name, address, whether it is so.
    pub(crate) layouts: Vec<(&'static str, String, bool)>,
    pub(crate) commit: Commit,
    pub(crate) diff: DiffView,
    /// How many files differ.
    pub(crate) total_files: u64,
    /// True if the patch goes on.
    pub(crate) is_cut: bool,
}

impl Layout {
    /// What a person calls it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Split => "Side by side",
            Self::Unified => "One column",
        }
    }
}
