//! What belongs to the platform inside of an environment: ports and variables that no definition may
//! take, because a repository's text must not redirect how an environment reaches its doors.

use std::collections::BTreeSet;

use crate::place::{Findings, Place};

/// What belongs to the platform inside of an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Ports on which the platform itself listens.
    pub ports: BTreeSet<u16>,
    /// Names of variables.
    pub variables: BTreeSet<String>,
    /// How further names of variables begin.
    pub prefixes: Vec<String>,
}

impl Reserved {
    /// Refuses a variable that is the platform's, or that no process could have.
    pub fn check_variable(
        &self,
        name: &str,
        value: Option<&str>,
        place: &Place,
        findings: &mut Findings,
    ) {
        if name.is_empty() || name.contains(['=', '\0']) {
            let what = format!("`{name}` is no variable's name: it is empty or holds `=` or NUL");
            findings.refuse(place, what);
        }
        if value.is_some_and(|value| value.contains('\0')) {
            findings.refuse(place, format!("the value of `{name}` holds a NUL: remove it"));
        }
        let begins = self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
        if begins || self.variables.contains(name) {
            let what = format!(
                "the variable `{name}` belongs to the platform, which works by it: choose another \
                 name"
            );
            findings.refuse(place, what);
        }
    }
}
