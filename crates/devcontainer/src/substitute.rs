//! Variables in a definition, replaced in three passes: what is known when the file is read, what is
//! known before a container is made, what only the running container knows. Keys are never touched,
//! and what a pass doesn't know stays as it is written.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::{
    path,
    place::{Finding, Findings, Place, Severity},
    read,
    tree::Node,
};

/// What is known when the file is read.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// What `${localEnv:NAME}` may see. Never the environment of a process of ours: a definition is
    /// written by others and would carry our secrets inside.
    pub environment: &'a BTreeMap<String, String>,
    /// The project's folder outside.
    pub workspace_folder: &'a str,
    /// The project's folder inside, as written: its own variables are replaced first.
    pub container_workspace_folder: Option<&'a str>,
}

/// The first pass: `${localEnv:NAME:default}` (or `env`), `${localWorkspaceFolder}`,
/// `${containerWorkspaceFolder}` and their `...Basename`.
///
/// # Errors
/// `${localEnv}` without a name.
pub fn local(node: &Node, local: &Local<'_>, findings: &mut Findings) -> Result<Node, Finding> {
    let folder_inside = match local.container_workspace_folder {
        Some(folder) if !folder.is_empty() => {
            Some(replace_local(local, Some(folder), &node.place, folder, &mut Findings::default())?)
        }
        folder => folder.map(str::to_owned),
    };
    node.map_text(&mut |place, text| {
        replace_local(local, folder_inside.as_deref(), place, text, findings)
    })
}

fn replace_local(
    local: &Local<'_>,
    folder_inside: Option<&str>,
    place: &Place,
    text: &str,
    findings: &mut Findings,
) -> Result<String, Finding> {
    replace(text, |variable| match variable.name {
        "env" | "localEnv" => {
            let known = variable.argument.is_none_or(|name| local.environment.contains_key(name));
            if !known && variable.default.is_none() {
                let what = format!(
                    "`{}` is empty here, the variables of the host aren't passed in: use a secret \
                     or write a default, `${{localEnv:NAME:default}}`",
                    variable.whole
                );
                findings.warn(place, what);
            }
            look_up(&variable, local.environment, place).map(Some)
        }
        "localWorkspaceFolder" => Ok(Some(local.workspace_folder.to_owned())),
        "localWorkspaceFolderBasename" => Ok(Some(path::name(local.workspace_folder).to_owned())),
        "containerWorkspaceFolder" => Ok(folder_inside.map(str::to_owned)),
        "containerWorkspaceFolderBasename" => {
            Ok(folder_inside.map(|folder| path::name(folder).to_owned()))
        }
        name => {
            warn_of_slip(name, place, findings);
            Ok(None)
        }
    })
}

/// The second pass: `${devcontainerId}`.
pub fn identity(node: &Node, id: &str) -> Node {
    let replaced: Result<Node, std::convert::Infallible> = node.map_text(&mut |_, text| {
        replace(text, |variable| Ok((variable.name == "devcontainerId").then(|| id.to_owned())))
    });
    let Ok(node) = replaced;
    node
}

/// The third pass: `${containerEnv:NAME:default}`, with the variables of the running container.
///
/// # Errors
/// `${containerEnv}` without a name.
pub fn container(node: &Node, environment: &BTreeMap<String, String>) -> Result<Node, Finding> {
    node.map_text(&mut |place, text| {
        replace(text, |variable| match variable.name {
            "containerEnv" => look_up(&variable, environment, place).map(Some),
            _ => Ok(None),
        })
    })
}

/// The identifier of an environment: the same for the same labels, 52 digits and small letters.
pub fn devcontainer_id(labels: &BTreeMap<String, String>) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    // A map of strings always serialises, with its keys in order.
    let text = serde_json::to_string(labels).unwrap_or_default();
    let hash = Sha256::digest(text.as_bytes());
    // The hash as one number in base 32: 256 bits are one bit and 51 groups of five.
    let bit = |i: usize| (hash[i / 8] >> (7 - i % 8)) & 1;
    let mut id = String::with_capacity(52);
    id.push(char::from(DIGITS[usize::from(bit(0))]));
    for group in 0..51 {
        let digit = (0..5).fold(0, |digit, i| digit << 1 | bit(1 + group * 5 + i));
        id.push(char::from(DIGITS[usize::from(digit)]));
    }
    id
}

/// One `${name:argument:default}`.
struct Variable<'a> {
    whole: &'a str,
    name: &'a str,
    argument: Option<&'a str>,
    default: Option<&'a str>,
}

/// Replaces each `${...}` for which there is a value. It ends at the first `}`; one that a line break
/// interrupts is none. After the default, what follows further colons is dropped.
fn replace<E>(
    text: &str,
    mut value: impl FnMut(Variable<'_>) -> Result<Option<String>, E>,
) -> Result<String, E> {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let inner = &rest[start + 2..];
        let end = inner.find(['}', '\n', '\r', '\u{2028}', '\u{2029}']);
        let Some(end) = end.filter(|end| inner[*end..].starts_with('}')) else {
            replaced.push_str(&rest[..start + 1]);
            rest = &rest[start + 1..];
            continue;
        };
        let whole = &rest[start..start + 2 + end + 1];
        let mut parts = inner[..end].split(':');
        let name = parts.next().unwrap_or("");
        let variable = Variable { whole, name, argument: parts.next(), default: parts.next() };
        replaced.push_str(&rest[..start]);
        match value(variable)? {
            Some(value) => replaced.push_str(&value),
            None => replaced.push_str(whole),
        }
        rest = &inner[end + 1..];
    }
    replaced.push_str(rest);
    Ok(replaced)
}

fn look_up(
    variable: &Variable<'_>,
    environment: &BTreeMap<String, String>,
    place: &Place,
) -> Result<String, Finding> {
    let Some(name) = variable.argument else {
        let what =
            format!("`{}` names no variable: write `${{{}:NAME}}`", variable.whole, variable.name);
        return Err(Finding { severity: Severity::Refuse, place: place.clone(), what });
    };
    let value = environment.get(name).map(String::as_str);
    Ok(value.or(variable.default).unwrap_or_default().to_owned())
}

const NAMES: [&str; 8] = [
    "localEnv",
    "containerEnv",
    "devcontainerId",
    "localWorkspaceFolder",
    "localWorkspaceFolderBasename",
    "containerWorkspaceFolder",
    "containerWorkspaceFolderBasename",
    "env",
];

/// A shell's own `${NAME}` is left alone without a word; only what is nearly one of ours is told.
fn warn_of_slip(name: &str, place: &Place, findings: &mut Findings) {
    if name.len() < 6 || NAMES.contains(&name) {
        return;
    }
    let hint = read::nearest_hint(name, &NAMES);
    if !hint.is_empty() {
        findings.warn(place, format!("`${{{name}}}` is no variable and stays as it is{hint}"));
    }
}
