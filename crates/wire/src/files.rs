//! What the server asks about files inside of an environment, version 1. `windlass file-server` answers, which
//! runs inside as the environment's own user: no path of an environment is ever opened from outside.
//!
//! On its input there is one line of JSON, an [`Ask`], and for a write the file's bytes to the end. On its
//! output there is one line of JSON, a [`Told`], and for a read as many bytes as that says.

use serde::{Deserialize, Serialize};

use crate::api::file::{Against, Diff, FileState, Folder};

/// The largest file that is written at once, and the largest whose tag is of its content, in bytes.
pub const MOST: u64 = 10 << 20;
/// The variable in which programs of an environment find the commit that their work tree began with.
pub const BASE: &str = "WINDLASS_BASE_COMMIT";

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// What is in a folder.
    List {
        /// Its path.
        path: String,
        /// After which name.
        after: Option<String>,
        /// How many entries.
        limit: u32,
    },
    /// A file's content.
    Read {
        /// Its path.
        path: String,
        /// From which byte on.
        from: u64,
        /// At most so many bytes; absent: to the end.
        most: Option<u64>,
    },
    /// A file with the content that follows.
    Write {
        /// Its path.
        path: String,
        /// How many bytes follow: with fewer, nothing is written.
        length: u64,
        /// What must be there so that it is written.
        when: When,
    },
    /// A folder, with those above it.
    MakeFolder {
        /// Its path.
        path: String,
    },
    /// Another name or place.
    Rename {
        /// The path.
        from: String,
        /// The path afterwards.
        to: String,
    },
    /// Nothing there any more.
    Remove {
        /// The path.
        path: String,
        /// What a file's tag must be; absent for folders and links.
        tag: Option<String>,
        /// With a folder, everything below it.
        recursive: bool,
    },
    /// A folder with everything in it. A tar archive follows the answer.
    Pack {
        /// Its path.
        path: String,
    },
    /// What is in the tar archive that follows, as a folder.
    Unpack {
        /// Where to: what is there already is the folder above.
        path: String,
        /// The folder's name, if it goes into another.
        name: String,
    },
    /// How the work tree differs from a commit.
    Diff {
        /// From which one.
        against: Against,
        /// Only below this path of the repository.
        path: Option<String>,
        /// Whether the patch is wanted too.
        patch: bool,
    },
}

/// What must be there so that a file is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// A file with one of these tags.
    Is(Vec<String>),
    /// Nothing.
    Absent,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "snake_case")]
pub enum Told {
    /// To a list.
    Folder {
        /// The folder.
        folder: Folder,
    },
    /// To a read. So many bytes follow.
    Content {
        /// The file.
        file: FileState,
        /// The first byte that follows.
        from: u64,
        /// How many bytes follow.
        length: u64,
    },
    /// To a write.
    Written {
        /// The file as it is now.
        file: FileState,
        /// Whether there was none before.
        is_new: bool,
    },
    /// To every other change.
    Changed {
        /// The path that it is about, afterwards.
        path: String,
    },
    /// To the wish for a folder. A tar archive follows to the end.
    Packed,
    /// To the wish for a difference.
    Diff {
        /// The difference.
        diff: Diff,
    },
    /// Nothing was done.
    Refused {
        /// What kind of refusal it is.
        refusal: Refusal,
        /// Why and what to do, for a person.
        why: String,
    },
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Refusal {
    /// Nothing is there.
    NotFound,
    /// It is not what whoever asked believes that it is.
    Changed {
        /// Its tag now; absent if it is not there.
        is: Option<String>,
    },
    /// It would be too large.
    TooLarge,
    /// The question can't be understood: `windlass` is another version inside.
    NotUnderstood,
    /// Whatever else stands in the way inside: permissions, the kind of file, a full disk, no git.
    InTheWay,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_are_one_line_each_and_come_back_as_they_were() {
        let ask = Ask::Write {
            path: "a\nb".to_owned(),
            length: 3,
            when: When::Is(vec!["\"x\"".to_owned()]),
        };
        let line = serde_json::to_string(&ask).expect("JSON");
        assert!(!line.contains('\n'), "{line}");
        assert_eq!(serde_json::from_str::<Ask>(&line).expect("an ask"), ask);
        let told =
            Told::Refused { refusal: Refusal::Changed { is: None }, why: "it is gone".to_owned() };
        let line = serde_json::to_string(&told).expect("JSON");
        assert_eq!(serde_json::from_str::<Told>(&line).expect("an answer"), told);
    }
}
