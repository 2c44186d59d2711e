//! Files of an environment that lives by itself, as its own user sees them inside. Paths are relative to
//! the folder where programs begin (the work tree), or absolute; what is given back is relative where it
//! is below that folder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A page of a folder, in the order of the names' bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Folder {
    /// The folder, links followed; empty for the one where programs begin.
    pub path: String,
    /// What is in it, hidden ones too.
    pub items: Vec<Entry>,
    /// Hand this back as `after` to go on; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A file with content.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A socket, a pipe or a device.
    Other,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// True if the name is not UTF-8: it is shown as well as it can be, and can't be asked for here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nameless: bool,
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: u64,
    /// Its permissions, as in `chmod`.
    pub mode: u32,
    /// When it changed last.
    pub changed_at: i64,
    /// Where a link points, as it is written in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What a link leads to; absent where that is nothing that can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leads_to: Option<Kind>,
}

/// A file as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileState {
    /// Its path, links followed.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its permissions, as in `chmod`.
    pub mode: u32,
    /// When it changed last.
    pub changed_at: i64,
    /// Its tag, as in `ETag`: of its content, or, above 10 MiB, a weak one of its size and time.
    pub etag: String,
}

/// A folder to make, with those above it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFolder {
    /// Its path.
    pub path: String,
}

/// What shall be called otherwise, or be elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// Its path.
    pub from: String,
    /// Its path afterwards. Nothing may be there yet.
    pub to: String,
}

/// A path after it was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// The path.
    pub path: String,
}

/// Which folder is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FolderQuery {
    /// Its path; absent: the folder where programs begin.
    #[serde(default)]
    pub path: String,
    /// `next` of the page before; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many entries, 1 to 1000. 500 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Which file is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileQuery {
    /// Its path.
    pub path: String,
}

/// What is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveQuery {
    /// Its path. A link is removed itself.
    pub path: String,
    /// With a folder, everything below it. There is no undoing.
    #[serde(default)]
    pub recursive: bool,
}

/// What a work tree is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The commit that it began with.
    #[default]
    Base,
    /// The newest commit that was made in it.
    Head,
}

/// Which difference is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffQuery {
    /// What the work tree is compared with: `base` if absent.
    #[serde(default)]
    pub against: Against,
    /// Only below this path of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// True: only which files differ, and by how many lines.
    #[serde(default)]
    pub stat: bool,
}

/// How a work tree differs from a commit. New files that `.gitignore` does not name count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diff {
    /// What it is compared with.
    pub against: Against,
    /// That commit.
    pub commit: String,
    /// The files that differ, at most 2,000.
    pub files: Vec<DiffFile>,
    /// How many files differ.
    pub total_files: u64,
    /// The difference as a git patch; absent if only the files were wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// True if the patch goes on: it is cut after 4 MiB, between two lines.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// How one file differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiffFile {
    /// Its path in the repository; before the change, where it is gone.
    pub path: String,
    /// Its path before, where it was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// `new`, `changed`, `removed` or `renamed`.
    pub change: String,
    /// Lines that came; absent where it is not text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<u64>,
    /// Lines that went; absent where it is not text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<u64>,
}
