//! `devcontainer-feature.json`: what a Feature says of itself.

use indexmap::IndexMap;
use serde::Serialize;

use super::{OptionValue, Options};
use crate::{
    configuration::Settings,
    place::{Findings, Place},
    read::{self, Fields, nearest_hint},
    tree::{Node, Value},
};

/// What a Feature says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Its short name.
    pub id: String,
    /// Its version.
    pub version: Option<String>,
    /// A name for people.
    pub name: Option<String>,
    /// Its options, by name.
    pub options: IndexMap<String, OptionDeclaration>,
    /// Variables set while it is installed and ever after.
    pub container_env: IndexMap<String, String>,
    /// Features that must be installed before, with their options.
    pub depends_on: IndexMap<String, Options>,
    /// Features that go first if they are installed at all, without version.
    pub installs_after: Vec<String>,
    /// Its name today, if it was renamed since.
    pub current_id: Option<String>,
    /// Its names of old.
    pub legacy_ids: Vec<String>,
    /// Whether nobody keeps it up any more.
    pub deprecated: bool,
    /// A program that runs before the container's own.
    pub entrypoint: Option<String>,
    /// What it brings besides.
    pub settings: Settings,
}

/// An option that a Feature takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OptionDeclaration {
    /// True if it takes yes or no, false if it takes text.
    pub is_truth: bool,
    /// Its value if none is given.
    pub default: Option<OptionValue>,
    /// The only values that it takes; none listed means any.
    #[serde(rename = "enum")]
    pub choices: Vec<String>,
}

impl Manifest {
    /// Reads a `devcontainer-feature.json`.
    pub fn read(node: &Node, findings: &mut Findings) -> Self {
        let Some(mut fields) = Fields::open(node, "the Feature", findings) else {
            return Self::default();
        };
        let manifest = Self {
            id: fields.text("id").unwrap_or_default(),
            version: fields.text("version"),
            name: fields.text("name"),
            options: fields
                .read("options", |node, name, findings| {
                    read::map(node, name, findings, read_option)
                })
                .unwrap_or_default(),
            container_env: fields.text_map("containerEnv"),
            depends_on: fields
                .read("dependsOn", |node, name, findings| {
                    read::map(node, name, findings, Options::read)
                })
                .unwrap_or_default(),
            installs_after: fields.texts("installsAfter"),
            current_id: fields.text("currentId"),
            legacy_ids: fields.texts("legacyIds"),
            deprecated: fields.truth("deprecated").unwrap_or(false),
            entrypoint: fields.text("entrypoint").filter(|program| !program.is_empty()),
            settings: Settings::read(&mut fields),
        };
        if manifest.id.is_empty() {
            fields.findings.refuse(&node.place, "the Feature has no `id`: add it");
        }
        manifest
    }

    /// The variables with which its `install.sh` runs: its options, the given ones over the defaults.
    pub fn environment(
        &self,
        options: &Options,
        place: &Place,
        findings: &mut Findings,
    ) -> IndexMap<String, String> {
        let mut values: IndexMap<&str, OptionValue> = self
            .options
            .iter()
            .filter_map(|(name, option)| Some((name.as_str(), option.default.clone()?)))
            .collect();
        match options {
            Options::Values(given) => {
                for (name, value) in given {
                    self.check(name, value, place, findings);
                    values.insert(name, value.clone());
                }
            }
            Options::Version(version) if self.options.contains_key("version") => {
                values.insert("version", OptionValue::Text(version.clone()));
            }
            Options::Default(truth) if self.options.contains_key("version") => {
                values.insert("version", OptionValue::Truth(*truth));
            }
            Options::Version(_) | Options::Default(_) => {}
        }
        values.iter().map(|(name, value)| (variable(name), value.to_string())).collect()
    }

    fn check(&self, name: &str, value: &OptionValue, place: &Place, findings: &mut Findings) {
        let Some(option) = self.options.get(name) else {
            let known: Vec<&str> = self.options.keys().map(String::as_str).collect();
            let hint = nearest_hint(name, &known);
            findings.warn(place, format!("the Feature `{}` has no option `{name}`{hint}", self.id));
            return;
        };
        let is_choice = option.choices.is_empty() || option.choices.contains(&value.to_string());
        if !is_choice {
            let choices = option.choices.join(", ");
            let what =
                format!("the option `{name}` of `{}` can't be `{value}`: use {choices}", self.id);
            findings.refuse(place, what);
        }
        if option.is_truth && !matches!(value.to_string().as_str(), "true" | "false") {
            let what = format!("the option `{name}` of `{}` takes true or false", self.id);
            findings.warn(place, what);
        }
    }
}

fn read_option(node: &Node, name: &str, findings: &mut Findings) -> Option<OptionDeclaration> {
    let mut fields = Fields::open(node, name, findings)?;
    let is_truth = fields.word("type", &[("boolean", true), ("string", false)]).unwrap_or(false);
    let default = fields.read("default", OptionValue::read);
    let choices = fields
        .read("enum", |node, name, findings| {
            read::list(node, name, findings, |node, name, findings| match &node.value {
                Value::Text(text) => Some(text.clone()),
                _ => OptionValue::read(node, name, findings).map(|value| value.to_string()),
            })
        })
        .unwrap_or_default();
    Some(OptionDeclaration { is_truth, default, choices })
}

/// The variable of an option: what isn't a word becomes `_`, digits and `_` in front become one `_`,
/// all in capitals.
pub fn variable(option: &str) -> String {
    // What JavaScript counts as one character becomes one `_`.
    let mut name = String::with_capacity(option.len());
    for c in option.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            name.push(c.to_ascii_uppercase());
        } else {
            name.extend(std::iter::repeat_n('_', c.len_utf16()));
        }
    }
    let rest = name.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
    if rest.len() < name.len() { format!("_{rest}") } else { name }
}
