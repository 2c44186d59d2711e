//! Arguments for `docker run`, taken apart: what follows an option is its value, and nothing else may
//! stand there, because it would be taken for the image.

use super::{Capabilities, Definition, RunArguments, added, element};
use crate::place::Findings;

/// What changes nothing about the confinement.
pub(super) const PASSED: [&str; 20] = [
    "--add-host",
    "--cpus",
    "--dns",
    "--env",
    "-e",
    "--hostname",
    "-h",
    "--init",
    "--memory",
    "-m",
    "--memory-swap",
    "--pids-limit",
    "--shm-size",
    "--stop-timeout",
    "--tmpfs",
    "--ulimit",
    "--user",
    "-u",
    "--workdir",
    "-w",
];

/// What the platform decides: how containers are called, found, cleaned up and talked to.
pub(super) const DROPPED: [&str; 13] = [
    "--name",
    "--label",
    "-l",
    "--rm",
    "-it",
    "-i",
    "-t",
    "--interactive",
    "--tty",
    "--detach",
    "-d",
    "--restart",
    "--pull",
];

/// Options that take no value after a blank.
const FLAGS: [&str; 14] = [
    "--init",
    "--privileged",
    "--read-only",
    "--rm",
    "-it",
    "-i",
    "-t",
    "--interactive",
    "--tty",
    "--detach",
    "-d",
    "-P",
    "--publish-all",
    "--oom-kill-disable",
];

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOption {
    /// Its name, such as `--shm-size`; empty for a word that belongs to no option.
    pub name: String,
    /// Its value; empty for a flag.
    pub value: String,
    /// Which argument it is.
    pub index: usize,
}

/// Takes arguments apart.
pub fn run_options(arguments: &[String]) -> Vec<RunOption> {
    let mut options = Vec::new();
    let mut rest = arguments.iter().enumerate().peekable();
    while let Some((index, argument)) = rest.next() {
        let (name, value) = match argument.split_once('=') {
            _ if !argument.starts_with('-') => ("", argument.clone()),
            Some((name, value)) => (name, value.to_owned()),
            None if FLAGS.contains(&argument.as_str()) => (argument.as_str(), String::new()),
            None => {
                let value = rest.next_if(|(_, next)| !next.starts_with('-'));
                (argument.as_str(), value.map(|(_, value)| value.clone()).unwrap_or_default())
            }
        };
        options.push(RunOption { name: name.to_owned(), value, index });
    }
    options
}

pub(super) fn check(definition: &Definition<'_>, can: &Capabilities, findings: &mut Findings) {
    for option in run_options(&definition.configuration.run_args) {
        let place = element(definition.configuration_node, "runArgs", option.index);
        let name = &option.name;
        let backend = &can.backend;
        let (passed, dropped) = match &can.run_arguments {
            RunArguments::Listed { passed, dropped } => (passed, dropped),
            RunArguments::Ignored => {
                let shown = if name.is_empty() { &option.value } else { name };
                let what =
                    format!("`{shown}` is for `docker run`; the backend `{backend}` ignores it");
                findings.warn(place, what);
                continue;
            }
        };
        if name.is_empty() {
            let what =
                format!("`{}` belongs to no option of `docker run`: remove it", option.value);
            findings.refuse(place, what);
        } else if name == "--cap-add" {
            added(&option.value, place, can, findings);
        } else if dropped.contains(name) {
            findings.warn(place, format!("`{name}` is the platform's to decide and is ignored"));
        } else if !passed.contains(name) {
            let what = format!(
                "`{name}` isn't among the allowed arguments of `docker run`: use the property for \
                 it (`mounts`, `capAdd`, `init`, ...) or ask the operator to allow it"
            );
            findings.refuse(place, what);
        }
    }
}
