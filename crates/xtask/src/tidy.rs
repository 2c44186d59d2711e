//! The rules of the house that a compiler doesn't check: which crate may use which, what each file
//! opens with, which words never stand in the tree, which licences come in. Every finding names its
//! place and says what to do.

mod dependencies;
mod documents;
mod sources;

use std::{fmt, path::PathBuf};

use anyhow::Result;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, from the workspace's root.
    pub file: PathBuf,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong and what to do.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// Looks at the whole workspace.
///
/// # Errors
/// If a file can't be read or `cargo metadata` fails: then nothing is known.
pub fn check() -> Result<Vec<Finding>> {
    let root = crate::root();
    let files = sources::tracked(&root)?;
    let mut findings = Vec::new();
    findings.extend(dependencies::edges(&root)?);
    findings.extend(dependencies::bans_and_licences(&root)?);
    findings.extend(sources::check(&root, &files)?);
    findings.extend(documents::check(&root, &files)?);
    findings.sort();
    Ok(findings)
}
