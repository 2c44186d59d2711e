//! `read` and `edit`. Paths are relative to the repository but may lead anywhere: this runs inside
//! the environment, as the agent.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::clip;

/// The lines that are shown when the model does not say.
const LINES: usize = 1000;
/// The most bytes that are shown.
const SHOWN: usize = 48 * 1024;
/// The most bytes of one line that are shown.
const LINE: usize = 2000;
/// The longest file that is read or edited, in bytes.
const FILE: u64 = 16 * 1024 * 1024;
/// The most entries of a directory that are shown.
const ENTRIES: usize = 500;

/// The input of `read`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::builtin) struct Read {
    pub(in crate::builtin) path: String,
    #[serde(default)]
    from_line: Option<usize>,
    #[serde(default)]
    lines: Option<usize>,
}

/// The input of `edit`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::builtin) struct Edit {
    pub(in crate::builtin) path: String,
    #[serde(default)]
    old: Option<String>,
    new: String,
    #[serde(default)]
    all: bool,
}

/// A file before and after an edit.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::builtin) struct Changed {
    pub(in crate::builtin) path: PathBuf,
    /// `None` for a new file, and for one that was no text.
    pub(in crate::builtin) old: Option<String>,
    pub(in crate::builtin) new: String,
}

/// What `read` shows. The error is for the model.
pub(in crate::builtin) fn read(cwd: &Path, input: &Read) -> Result<String, String> {
    let path = cwd.join(&input.path);
    let metadata = std::fs::metadata(&path).map_err(|error| format!("{}: {error}", input.path))?;
    if metadata.is_dir() {
        return list(&path, &input.path);
    }
    let bytes = load(&path, &input.path)?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(format!("{} is no text ({} bytes)", input.path, metadata.len()));
    };
    let from = input.from_line.unwrap_or(1).max(1);
    let n_lines = text.lines().count();
    if n_lines == 0 {
        return Ok("(the file is empty)".to_owned());
    }
    if from > n_lines {
        return Err(format!("{} has only {n_lines} lines", input.path));
    }
    let mut shown = String::new();
    let mut last = from - 1;
    for (n, line) in text.lines().enumerate().skip(from - 1).take(input.lines.unwrap_or(LINES)) {
        if shown.len() > SHOWN {
            break;
        }
        shown.push_str(&format!("{:>5}\t{}\n", n + 1, clip::head_and_tail(line, LINE)));
        last = n + 1;
    }
    if last < n_lines {
        shown.push_str(&format!("({n_lines} lines in all; go on with from_line {})\n", last + 1));
    }
    Ok(shown)
}

fn list(path: &Path, name: &str) -> Result<String, String> {
    let entries = std::fs::read_dir(path).map_err(|error| format!("{name}: {error}"))?;
    let mut lines = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| format!("{name}: {error}"))?;
        let file_name = clip::printable(entry.file_name().as_encoded_bytes(), 500);
        let kind = entry.file_type().map_err(|error| format!("{name}: {error}"))?;
        if kind.is_dir() {
            lines.push(format!("{file_name}/"));
        } else if kind.is_symlink() {
            lines.push(format!("{file_name}@"));
        } else {
            lines.push(file_name);
        }
    }
    lines.sort();
    if lines.is_empty() {
        return Ok("(the directory is empty)".to_owned());
    }
    let more = lines.len().saturating_sub(ENTRIES);
    lines.truncate(ENTRIES);
    if more > 0 {
        lines.push(format!("(and {more} more)"));
    }
    Ok(lines.join("\n"))
}

/// Does what `edit` says. The error is for the model, and nothing was changed.
pub(in crate::builtin) fn edit(cwd: &Path, input: &Edit) -> Result<Changed, String> {
    let path = cwd.join(&input.path);
    let name = &input.path;
    let before = match std::fs::symlink_metadata(&path) {
        Ok(_) => Some(load(&path, name)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("{name}: {error}")),
    };
    let (old, new) = match (&input.old, before) {
        (Some(old), Some(before)) => {
            let before = String::from_utf8(before).map_err(|_| format!("{name} is no text"))?;
            let new = replace(&before, old, input)?;
            (Some(before), new)
        }
        (Some(_), None) => {
            return Err(format!("{name} does not exist; leave `old` out to create it"));
        }
        (None, before) => {
            (before.and_then(|bytes| String::from_utf8(bytes).ok()), input.new.clone())
        }
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|error| format!("{name}: {error}"))?;
    }
    std::fs::write(&path, &new).map_err(|error| format!("{name}: {error}"))?;
    Ok(Changed { path, old, new })
}

fn replace(before: &str, old: &str, input: &Edit) -> Result<String, String> {
    if old.is_empty() {
        return Err("`old` is empty; leave it out to write the whole file".to_owned());
    }
    if old == input.new {
        return Err("`old` and `new` are the same".to_owned());
    }
    match (before.matches(old).count(), input.all) {
        (0, _) => Err(format!(
            "{} does not hold that text; read it again, and copy it exactly",
            input.path
        )),
        (1, _) => Ok(before.replacen(old, &input.new, 1)),
        (_, true) => Ok(before.replace(old, &input.new)),
        (n, false) => Err(format!(
            "{} holds that text {n} times; give more of what is around it, or set `all`",
            input.path
        )),
    }
}

fn load(path: &Path, name: &str) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| format!("{name}: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("{name} is not a regular file"));
    }
    let file = std::fs::File::open(path).map_err(|error| format!("{name}: {error}"))?;
    let mut bytes = Vec::new();
    file.take(FILE + 1).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
    if bytes.len() as u64 > FILE {
        return Err(format!(
            "{name} is longer than {FILE} bytes; use exec with head, tail or grep"
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stage(text: &[u8]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a"), text).unwrap();
        directory
    }

    fn reading(cwd: &Path, input: serde_json::Value) -> Result<String, String> {
        read(cwd, &serde_json::from_value(input).unwrap())
    }

    fn editing(cwd: &Path, input: serde_json::Value) -> Result<Changed, String> {
        edit(cwd, &serde_json::from_value(input).unwrap())
    }

    #[test]
    fn a_file_is_shown_in_parts_with_line_numbers() {
        let stage = stage(b"one\ntwo\nthree\n");
        let cwd = stage.path();
        assert_eq!(
            reading(cwd, json!({"path": "a"})).unwrap(),
            "    1\tone\n    2\ttwo\n    3\tthree\n"
        );
        assert_eq!(
            reading(cwd, json!({"path": "a", "from_line": 2, "lines": 1})).unwrap(),
            "    2\ttwo\n(3 lines in all; go on with from_line 3)\n"
        );
        assert_eq!(
            reading(cwd, json!({"path": "a", "from_line": 9})).unwrap_err(),
            "a has only 3 lines"
        );
        assert_eq!(reading(cwd, json!({"path": "."})).unwrap(), "a");
        assert!(reading(cwd, json!({"path": "b"})).unwrap_err().starts_with("b: "));
    }

    #[test]
    fn a_huge_file_and_a_binary_file_are_bounded() {
        let stage = stage(&b"x".repeat(1_000_000));
        assert!(reading(stage.path(), json!({"path": "a"})).unwrap().len() < 3000);
        std::fs::write(stage.path().join("b"), b"\xff\x00").unwrap();
        assert_eq!(
            reading(stage.path(), json!({"path": "b"})).unwrap_err(),
            "b is no text (2 bytes)"
        );
        std::fs::write(stage.path().join("lines"), "line\n".repeat(100_000)).unwrap();
        let shown = reading(stage.path(), json!({"path": "lines", "lines": 90_000})).unwrap();
        assert!(shown.len() < SHOWN + 1000 && shown.contains("100000 lines in all"));
    }

    #[test]
    fn an_edit_replaces_exactly_what_it_names() {
        let stage = stage(b"one two two");
        let cwd = stage.path();
        let changed = editing(cwd, json!({"path": "a", "old": "one", "new": "1"})).unwrap();
        assert_eq!(
            changed,
            Changed {
                path: cwd.join("a"),
                old: Some("one two two".to_owned()),
                new: "1 two two".to_owned()
            }
        );
        let twice = editing(cwd, json!({"path": "a", "old": "two", "new": "2"})).unwrap_err();
        assert_eq!(
            twice,
            "a holds that text 2 times; give more of what is around it, or set `all`"
        );
        editing(cwd, json!({"path": "a", "old": "two", "new": "2", "all": true})).unwrap();
        assert_eq!(std::fs::read_to_string(cwd.join("a")).unwrap(), "1 2 2");
        assert!(editing(cwd, json!({"path": "a", "old": "three", "new": "3"})).is_err());
        assert!(editing(cwd, json!({"path": "none", "old": "x", "new": "y"})).is_err());
        assert!(editing(cwd, json!({"path": "a", "old": "", "new": "y"})).is_err());
        assert_eq!(std::fs::read_to_string(cwd.join("a")).unwrap(), "1 2 2");
    }

    #[test]
    fn an_edit_without_old_writes_the_whole_file() {
        let stage = stage(b"x");
        let changed = editing(stage.path(), json!({"path": "new/dir/b", "new": "text"})).unwrap();
        assert_eq!((changed.old, changed.new.as_str()), (None, "text"));
        let changed = editing(stage.path(), json!({"path": "a", "new": "y"})).unwrap();
        assert_eq!(changed.old.as_deref(), Some("x"));
        assert_eq!(std::fs::read_to_string(stage.path().join("new/dir/b")).unwrap(), "text");
    }

    #[test]
    fn an_edit_keeps_the_permissions_of_a_file() {
        use std::os::unix::fs::PermissionsExt;
        let stage = stage(b"#!/bin/sh\n");
        let path = stage.path().join("a");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        editing(stage.path(), json!({"path": "a", "new": "#!/bin/sh\necho\n"})).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
    }
}
