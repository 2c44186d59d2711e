//! What is added to what environments are made from: Features, and the instructions of a Dockerfile where
//! no engine reads it. Only data: each backend makes it in its own way, once, and keeps it by a digest of
//! everything that it depends on.

use std::path::PathBuf;

use serde::Serialize;

use super::Prepared;
use crate::plan::{Door, Layers, Limits};

/// What is added, in order, and what its programs may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipe {
    /// What is added. Each is kept by itself once it is made, so that the next recipe that begins so goes on
    /// from there.
    pub additions: Vec<Addition>,
    /// Variables of every program that are not kept: how it reaches the doors.
    pub variables: Vec<(String, String)>,
    /// The doors of every program, where the backend has them.
    pub doors: Vec<Door>,
    /// What programs may use of the machine.
    pub limits: Limits,
    /// What must stand between programs and the machine.
    pub layers: Layers,
    /// A file for programs that reach the network: the certificate authorities of this machine.
    pub certificates: Option<PathBuf>,
}

/// One thing that is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// What messages call it: "the Feature `x`", "Dockerfile:3".
    pub name: String,
    /// What it is made of, in order.
    pub changes: Vec<Change>,
}

/// One change of what environments are made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A program runs to its end.
    Run {
        /// It and its arguments.
        command: Vec<String>,
        /// Its variables, over those of the image.
        variables: Vec<(String, String)>,
        /// The folder that it begins in; it is made if it isn't there. `None` is [`FILES`].
        folder: Option<String>,
        /// Who it is, as `USER` names it; `None` is root.
        user: Option<String>,
        /// A folder whose files it sees as its own copy at [`FILES`] while it runs.
        #[serde(skip)]
        files: Option<PathBuf>,
        /// Folders that are empty at first and whose contents are not kept.
        caches: Vec<String>,
    },
    /// Files are copied.
    Copy {
        /// From where.
        #[serde(skip)]
        from: Origin,
        /// The paths there, perhaps with `*` and `?`.
        sources: Vec<String>,
        /// Where to; a folder if it ends in `/`.
        to: String,
        /// Their permissions, in octal.
        mode: Option<u32>,
        /// Whether archives are unpacked.
        unpack: bool,
    },
    /// A folder is made, if it isn't there.
    MakeFolder(String),
    /// Variables that programs have from now on. `${NAME}` and `$NAME` are what they were before.
    Set(Vec<(String, String)>),
}

/// From where files are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A folder of this machine, without what its `.dockerignore` names.
    Folder(PathBuf),
    /// Something that was made ready by the same backend.
    Prepared(Prepared),
}

/// Where a program that makes something finds its files.
pub const FILES: &str = "/tmp/.windlass";
/// Where it finds the recipe's certificate authorities.
pub const CERTIFICATES: &str = "/tmp/.windlass/.certificates.pem";

/// Replaces `${NAME}` and `$NAME` by what a variable was before; nothing if it wasn't. What else has a `$`
/// stays as it is.
pub fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let braced = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let (name, after) = match braced {
            Some((name, after)) if is_name(name) => (name, after),
            _ => {
                let end = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(rest.len());
                (&rest[..end], &rest[end..])
            }
        };
        if is_name(name) {
            let known = variables.iter().rev().find(|(known, _)| known == name);
            out.push_str(known.map_or("", |(_, value)| value));
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// Sets variables over others, each worked out from those before.
pub fn set(variables: &mut Vec<(String, String)>, more: &[(String, String)]) {
    let before = variables.clone();
    for (name, value) in more {
        let value = expand(value, &before);
        variables.retain(|(known, _)| known != name);
        variables.push((name.clone(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_speaks_of_what_was_set_before() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut variables = vec![pair("PATH", "/bin"), pair("A", "1")];
        let more = [pair("PATH", "/go/bin:${PATH}"), pair("A", "2"), pair("B", "$A-${GONE}$$ ${A")];
        set(&mut variables, &more);
        assert_eq!(
            variables,
            [pair("PATH", "/go/bin:/bin"), pair("A", "2"), pair("B", "1-$$ ${A")]
        );
    }
}
