//! Where a project's definition is: the specification's order, or the path that the project names.

use std::collections::BTreeMap;

use crate::{
    path,
    place::{Finding, Place, Severity},
};

/// The files of a project, as the caller has them: on disk, in a commit, in a test. Paths are
/// absolute, with `/`, without `.` and `..`; nothing outside of the project is asked for.
pub trait Files {
    /// A file's text; `None` if there is no file.
    ///
    /// # Errors
    /// Why it can't be read: not UTF-8, too large, not permitted. Reads well after the path.
    fn read(&self, path: &str) -> Result<Option<String>, String>;

    /// The names of the folders in a folder; none if it isn't one.
    fn folders(&self, path: &str) -> Vec<String>;

    /// True if there is a file.
    fn is_file(&self, path: &str) -> bool {
        !matches!(self.read(path), Ok(None))
    }
}

/// A project that is all in memory, by path.
impl Files for BTreeMap<String, String> {
    fn read(&self, path: &str) -> Result<Option<String>, String> {
        Ok(self.get(path).cloned())
    }

    fn folders(&self, path: &str) -> Vec<String> {
        let below = self.keys().filter_map(|key| path::below(key, path));
        let mut names: Vec<String> = below
            .filter_map(|rest| rest.split_once('/').map(|(name, _)| name.to_owned()))
            .collect();
        names.dedup();
        names
    }
}

/// Finds the definition of the project in `folder`; `None` if it has none. A path that the project
/// names is relative to `folder`.
///
/// # Errors
/// A named file that isn't there or lies outside, and a choice that the project must make.
pub fn find(
    files: &dyn Files,
    folder: &str,
    named: Option<&str>,
) -> Result<Option<String>, Finding> {
    if let Some(named) = named {
        let path = path::join(folder, named);
        if !path::is_within(&path, folder) {
            let what = format!("the project names `{named}`, which lies outside of it");
            return Err(refusal(&path, what));
        }
        if !files.is_file(&path) {
            let what = "the project names this file, but it isn't there: add it or change the name";
            return Err(refusal(&path, what.to_owned()));
        }
        return Ok(Some(path));
    }
    for name in [".devcontainer/devcontainer.json", ".devcontainer.json"] {
        let path = path::join(folder, name);
        if files.is_file(&path) {
            return Ok(Some(path));
        }
    }
    let parent = path::join(folder, ".devcontainer");
    let mut found: Vec<String> = files
        .folders(&parent)
        .iter()
        .map(|name| format!("{parent}/{name}/devcontainer.json"))
        .filter(|path| files.is_file(path))
        .collect();
    found.sort();
    if found.len() > 1 {
        let names: Vec<&str> = found.iter().filter_map(|path| path::below(path, folder)).collect();
        let what = format!("there are {}: name one of them in the project", names.join(", "));
        return Err(refusal(&parent, what));
    }
    Ok(found.pop())
}

fn refusal(path: &str, what: String) -> Finding {
    Finding { severity: Severity::Refuse, place: Place::whole(path), what }
}
