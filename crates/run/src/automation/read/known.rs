//! What expressions can speak of at a place of a file. A name that nothing will ever have is found when
//! the file is read, and not at three in the morning.

use std::collections::BTreeMap;

use windlass_document::read::nearest_hint;

use crate::expression::Path;

/// The names at one place.
#[derive(Clone, Debug, Default)]
pub(in crate::automation) struct Known {
    /// The steps before, by id, with the names of their outputs where the file says them.
    pub(super) steps: BTreeMap<String, Option<Vec<String>>>,
    /// The inputs.
    pub(super) inputs: Vec<String>,
    /// Names at the root: some of [`ROOTS`], and what containers bind.
    pub(super) roots: Vec<String>,
    /// The steps that stand later in the file or beside this place.
    pub(super) elsewhere: Vec<String>,
}

/// What a job's expressions always have.
pub(super) const ROOTS: [&str; 6] = ["inputs", "event", "target", "run", "automation", "steps"];
/// The fields of what is not the file's to name.
const FIELDS: [(&str, &[&str]); 3] = [
    ("target", &["repository", "project", "forge", "base", "url"]),
    ("run", &["id", "url"]),
    ("automation", &["name", "version"]),
];
/// What is known of a step, besides its outputs.
const OF_STEP: [&str; 4] = ["outputs", "outcome", "reason", "all"];
/// The fields of an event.
const OF_EVENT: [&str; 10] =
    ["id", "source", "type", "family", "action", "subject", "time", "trust", "actor", "data"];

impl Known {
    /// The names of a job's steps.
    pub(super) fn of_steps(inputs: Vec<String>) -> Self {
        let roots = ROOTS.iter().map(|name| (*name).to_owned()).collect();
        Self { inputs, roots, ..Self::default() }
    }

    /// Only these names.
    pub(super) fn only(roots: &[&str], inputs: Vec<String>) -> Self {
        let roots = roots.iter().map(|name| (*name).to_owned()).collect();
        Self { inputs, roots, ..Self::default() }
    }

    /// Why an expression can't read this here; absent if it may.
    pub(super) fn refuses(&self, path: &Path) -> Option<String> {
        let root = path.first()?.as_str();
        if !self.roots.iter().any(|name| name == root) {
            let names: Vec<&str> = self.roots.iter().map(String::as_str).collect();
            let hint = nearest_hint(root, &names);
            return Some(match hint.is_empty() {
                true => format!("nothing is called `{root}` here: there is {}", names.join(", ")),
                false => format!("nothing is called `{root}` here{hint}"),
            });
        }
        let field = path.get(1).map(String::as_str)?;
        match root {
            "inputs" => self.unknown(field, &self.inputs, "input"),
            "steps" => self.refuses_step(field, path),
            "event" => unknown_field(field, "event", &OF_EVENT),
            _ => {
                let (_, fields) = FIELDS.iter().find(|(name, _)| *name == root)?;
                unknown_field(field, root, fields)
            }
        }
    }

    fn refuses_step(&self, id: &str, path: &Path) -> Option<String> {
        let Some(outputs) = self.steps.get(id) else {
            if self.elsewhere.iter().any(|other| other == id) {
                return Some(format!(
                    "the step `{id}` has not ended when this is worked out: only steps before this \
                     one are known"
                ));
            }
            let known: Vec<String> = self.steps.keys().cloned().collect();
            return self.unknown(id, &known, "step before this one");
        };
        let field = path.get(2).map(String::as_str)?;
        if !OF_STEP.contains(&field) {
            return unknown_field(field, &format!("steps.{id}"), &OF_STEP);
        }
        let output = path.get(3).filter(|_| field == "outputs")?;
        self.unknown(output, outputs.as_ref()?, &format!("output of the step `{id}`"))
    }

    fn unknown(&self, name: &str, known: &[String], what: &str) -> Option<String> {
        if known.iter().any(|other| other == name) {
            return None;
        }
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = nearest_hint(name, &names);
        Some(match (hint.is_empty(), names.is_empty()) {
            (false, _) => format!("there is no {what} called `{name}`{hint}"),
            (true, true) => format!("there is no {what} called `{name}`, nor any other"),
            (true, false) => {
                format!("there is no {what} called `{name}`: there is {}", names.join(", "))
            }
        })
    }
}

fn unknown_field(field: &str, of: &str, fields: &[&str]) -> Option<String> {
    if fields.contains(&field) {
        return None;
    }
    let hint = nearest_hint(field, fields);
    Some(match hint.is_empty() {
        true => format!("`{of}` has no `{field}`: it has {}", fields.join(", ")),
        false => format!("`{of}` has no `{field}`{hint}"),
    })
}
