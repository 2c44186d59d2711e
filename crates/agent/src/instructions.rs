//! What a repository asks of agents: its `AGENTS.md` files, from the root down to where the work is.
//! The work tree is hostile ground: files are opened so that no link leads out of it, and what is
//! read is bounded. The text is only ever a part of a prompt.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::clip;

/// The name of the files that are gathered.
pub const FILE_NAME: &str = "AGENTS.md";

/// The most bytes of one file that are kept.
const FILE: usize = 32 * 1024;
/// The most bytes that are read of one file to say how long it is.
const READ: u64 = 4 * 1024 * 1024;
/// The most bytes of all files together.
const TOTAL: usize = 96 * 1024;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instructions {
    /// The text for the prompt, root first; empty if there is none. Where files disagree, the later
    /// one, which is nearer to the work, wins, and the text says so.
    pub text: String,
    /// The files that are in it, relative to the tree, root first.
    pub files: Vec<String>,
    /// What could not be used, and why; one sentence each, for people.
    pub problems: Vec<String>,
}

/// Why nothing could be gathered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tree can't be opened.
    #[error("failed to open the work tree {}: {source}", path.display())]
    Tree {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The path of the work is not a path inside the tree.
    #[error("`{0}` is not a path inside the work tree: it must be relative and without `..`")]
    Path(String),
}

/// Gathers the files from the root of `tree` down to `work`, the directory (relative to the tree)
/// where the work is.
///
/// # Errors
/// [`Error`]. A file that can't be used is a problem in the result, not an error.
pub fn gather(tree: &Path, work: Option<&Path>) -> Result<Instructions, Error> {
    let root = open_tree(tree)?;
    let mut found = Instructions::default();
    let mut sections = Vec::new();
    for directory in directories(work)? {
        let path = directory.join(FILE_NAME);
        let name = path.to_string_lossy().into_owned();
        match read(&root, &path) {
            Ok(None) => {}
            Ok(Some(text)) => {
                if text.len() > FILE {
                    found.problems.push(format!(
                        "{name} is longer than {FILE} bytes; its middle was left out."
                    ));
                }
                sections.push((name, clip::head_and_tail(text.trim_end(), FILE)));
            }
            Err(why) => found.problems.push(format!("{name} was not used: {why}.")),
        }
    }
    // The nearest files matter most, so the room is given out from the end.
    let mut room = TOTAL;
    let mut kept = Vec::new();
    for (name, text) in sections.into_iter().rev() {
        if text.len() > room {
            found.problems.push(format!(
                "{name} was not used: nearer files fill the {TOTAL} bytes that there are."
            ));
            continue;
        }
        room -= text.len();
        kept.push((name, text));
    }
    kept.reverse();
    if kept.len() > 1 {
        found.text.push_str("Where these files disagree, the later one counts.\n\n");
    }
    for (name, text) in kept {
        found.text.push_str(&format!("## {name}\n\n{text}\n\n"));
        found.files.push(name);
    }
    found.text.truncate(found.text.trim_end().len());
    Ok(found)
}

fn open_tree(tree: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(tree, flags, Mode::empty())
        .map_err(|error| Error::Tree { path: tree.to_owned(), source: error.into() })
}

/// The root, and each directory on the way to `work`.
fn directories(work: Option<&Path>) -> Result<Vec<PathBuf>, Error> {
    let mut directories = vec![PathBuf::new()];
    let mut current = PathBuf::new();
    for component in work.unwrap_or(Path::new("")).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => {
                current.push(name);
                directories.push(current.clone());
            }
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                let path = work.unwrap_or(Path::new("")).to_string_lossy();
                return Err(Error::Path(clip::printable(path.as_bytes(), 500)));
            }
        }
    }
    Ok(directories)
}

/// A file's text; `None` if there is no such file.
fn read(root: &OwnedFd, path: &Path) -> Result<Option<String>, String> {
    // Not blocking: opening a pipe would otherwise wait for a writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH) {
        Ok(file) => std::fs::File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(rustix::io::Errno::XDEV) => {
            return Err("it is a link that leads out of the work tree".to_owned());
        }
        Err(rustix::io::Errno::LOOP) => {
            return Err("it is a link that leads in a circle".to_owned());
        }
        Err(error) => return Err(std::io::Error::from(error).to_string()),
    };
    if !file.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(READ).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 == READ {
        return Err(format!("it is longer than {READ} bytes"));
    }
    String::from_utf8(bytes).map(Some).map_err(|error| {
        format!("it is not UTF-8 from byte {} on", error.utf8_error().valid_up_to())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        tree
    }

    #[test]
    fn files_are_gathered_from_the_root_to_the_work_and_the_nearest_counts() {
        let tree = tree(&[
            ("AGENTS.md", b"Use tabs.\n"),
            ("a/b/AGENTS.md", b"Use spaces.\n"),
            ("a/other/AGENTS.md", b"Not here.\n"),
        ]);
        let found = gather(tree.path(), Some(Path::new("a/./b/c"))).unwrap();
        assert_eq!(
            found,
            Instructions {
                text: "Where these files disagree, the later one counts.\n\n## AGENTS.md\n\nUse tabs.\n\n\
                       ## a/b/AGENTS.md\n\nUse spaces."
                    .to_owned(),
                files: vec!["AGENTS.md".to_owned(), "a/b/AGENTS.md".to_owned()],
                problems: vec![],
            }
        );
        assert_eq!(gather(tree.path(), None).unwrap().text, "## AGENTS.md\n\nUse tabs.");
    }

    #[test]
    fn a_link_may_lead_around_in_the_tree_but_not_out_of_it() {
        let outside = tree(&[("secret", b"root:x:0")]);
        let tree = tree(&[("docs/agents.md", b"Be kind."), ("out/x", b""), ("loop/x", b"")]);
        std::os::unix::fs::symlink("docs/agents.md", tree.path().join("AGENTS.md")).unwrap();
        std::os::unix::fs::symlink(
            outside.path().join("secret"),
            tree.path().join("out/AGENTS.md"),
        )
        .unwrap();
        std::os::unix::fs::symlink("AGENTS.md", tree.path().join("loop/AGENTS.md")).unwrap();
        assert_eq!(gather(tree.path(), None).unwrap().text, "## AGENTS.md\n\nBe kind.");
        let out = gather(tree.path(), Some(Path::new("out"))).unwrap();
        assert_eq!(out.files, vec!["AGENTS.md"]);
        assert_eq!(
            out.problems,
            vec!["out/AGENTS.md was not used: it is a link that leads out of the work tree."]
        );
        let circle = gather(tree.path(), Some(Path::new("loop"))).unwrap();
        assert_eq!(
            circle.problems,
            vec!["loop/AGENTS.md was not used: it is a link that leads in a circle."]
        );
        std::os::unix::fs::symlink(outside.path(), tree.path().join("away")).unwrap();
        assert_eq!(gather(tree.path(), Some(Path::new("away"))).unwrap().files, vec!["AGENTS.md"]);
    }

    #[test]
    fn what_is_no_text_is_reported() {
        let tree = tree(&[("AGENTS.md", b"ok \xff"), ("d/AGENTS.md/x", b"")]);
        assert_eq!(
            gather(tree.path(), Some(Path::new("d"))).unwrap(),
            Instructions {
                problems: vec![
                    "AGENTS.md was not used: it is not UTF-8 from byte 3 on.".to_owned(),
                    "d/AGENTS.md was not used: it is not a regular file.".to_owned(),
                ],
                ..Instructions::default()
            }
        );
    }

    #[test]
    fn a_long_file_is_shortened_and_the_nearest_files_have_the_room() {
        let long = vec![b'x'; 40 * 1024];
        let tree = tree(&[
            ("AGENTS.md", &long),
            ("a/AGENTS.md", &long),
            ("a/b/AGENTS.md", &long),
            ("a/b/c/AGENTS.md", &long),
        ]);
        let found = gather(tree.path(), Some(Path::new("a/b/c"))).unwrap();
        assert!(found.text.len() < 110 * 1024);
        assert_eq!(found.files.last().map(String::as_str), Some("a/b/c/AGENTS.md"));
        assert!(!found.files.contains(&"AGENTS.md".to_owned()));
        assert!(found.problems.iter().any(|problem| problem.starts_with("AGENTS.md was not used")));
    }

    #[test]
    fn the_work_must_lie_in_the_tree() {
        let tree = tree(&[]);
        assert!(matches!(gather(tree.path(), Some(Path::new("../x"))), Err(Error::Path(_))));
        assert!(matches!(gather(tree.path(), Some(Path::new("/etc"))), Err(Error::Path(_))));
        assert!(matches!(gather(&tree.path().join("none"), None), Err(Error::Tree { .. })));
        assert_eq!(gather(tree.path(), None).unwrap(), Instructions::default());
    }
}
