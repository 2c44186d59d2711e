//! Secrets and variables that jobs may be given. A secret's value goes in and never comes out.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use windlass_run::SecretId;

use super::Who;

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// Sealed at rest, redacted from logs, never shown.
    Secret,
    /// Not secret: shown to whoever may see settings.
    Variable,
}

/// Whose it is. Of one name the more special one counts: a user's before a project's before the
/// organisation's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretScope {
    /// Jobs of every project may be given it.
    Organisation,
    /// Jobs of one project may.
    Project,
    /// Jobs that one user started may.
    User,
}

/// How a step sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretForm {
    /// As an environment variable of its name.
    Environment,
    /// As a file in memory, while the step runs.
    File {
        /// Where: `/run/secrets/NAME`.
        path: String,
        /// Permission bits in octal, as in `0600`; others than the owner never have any.
        #[serde(default = "private")]
        mode: String,
    },
    /// Not at all: it is added to requests on their way out. The step has `WINDLASS_DOOR_<NAME>`, an
    /// address inside that stands for the place. Also for agents, where the grants allow it.
    Door(SecretDoor),
    /// Not at all: runners pull images and Features of a registry with it.
    Registry(SecretRegistry),
}

/// Whose password it is, and for which registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRegistry {
    /// The host as it stands in images' names, `registry.example:5000`; `docker.io` where none does.
    pub host: String,
    /// The user whose password or token it is.
    pub user: String,
}

/// How the web door sends a secret that no step ever has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretDoor {
    /// The one place it is sent to: `https://HOST`, with a port and the beginning of a path if wanted.
    pub url: String,
    /// The header that carries it.
    #[serde(default = "authorization")]
    pub header: String,
    /// What the header says, with `{}` where the value goes.
    #[serde(default = "bearer")]
    pub template: String,
    /// For HTTP's basic authentication: the user whose password it is, instead of a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The methods of the requests that it is added to.
    #[serde(default = "reading")]
    pub methods: Vec<String>,
}

impl SecretDoor {
    /// As a bearer token to that place, for requests that change nothing.
    pub fn to(url: String) -> Self {
        Self { url, header: authorization(), template: bearer(), user: None, methods: reading() }
    }
}

fn authorization() -> String {
    "authorization".to_owned()
}

fn bearer() -> String {
    "Bearer {}".to_owned()
}

fn reading() -> Vec<String> {
    vec!["GET".to_owned(), "HEAD".to_owned()]
}

fn private() -> String {
    "0600".to_owned()
}

/// Where it is given. An empty list means everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretGrants {
    /// Only in jobs of these projects, by name or id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
    /// Only in jobs whose change is meant for such a branch: `*` stands for anything but `/`, `**`
    /// for anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
    /// Only in steps of such names. A `run` step after an agent must be named in full, and so must any
    /// step that shall write through a door. `setup` names the commands that make an environment ready,
    /// which must be named too, and `exec` the programs that people execute in environments that live by
    /// themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// Whether agents' own processes may read it. Jobs of such agents are shown as sensitive.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub beside_agents: bool,
}

/// A secret or variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Secret {
    /// Its id.
    #[schemars(with = "String")]
    pub id: SecretId,
    /// What it is.
    pub kind: SecretKind,
    /// The name, unique for its owner.
    pub name: String,
    /// Whose it is.
    pub scope: SecretScope,
    /// The project's name, for the scope `project`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The user, for the scope `user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Who>,
    /// How a step sees it.
    pub form: SecretForm,
    /// Where it is given.
    pub grants: SecretGrants,
    /// How often it was set.
    pub version: u64,
    /// The value of a variable; absent for a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// When it was set first.
    pub created_at: i64,
    /// Who set it first.
    pub created_by: Who,
    /// When it was set last.
    pub updated_at: i64,
    /// Who set it last.
    pub updated_by: Who,
}

/// Sets a secret or variable. One of this name that is there already gets a new value, and keeps its
/// form and grants where none are given.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSecret {
    /// What it is.
    pub kind: SecretKind,
    /// The name: a letter or `_`, then letters, digits and `_`.
    pub name: String,
    /// Whose it is. A user sets only their own.
    pub scope: SecretScope,
    /// The project's name or id, for the scope `project`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// How a step sees it. Absent: as before, or an environment variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<SecretForm>,
    /// Where it is given. Absent: as before, or everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<SecretGrants>,
    /// The value: text of at most 64 KiB without NUL bytes; a secret has at least 8 bytes.
    pub value: SecretValue,
}

/// Which secrets and variables are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretsQuery {
    /// `next` of the page before; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many entries, 1 to 200. 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SecretKind>,
    /// Only of this scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<SecretScope>,
    /// Only of this project, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Only of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A value on its way in. It is not formatted for debugging, and what can't be read of it is not
/// told in an error.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct SecretValue(pub String);

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(..)")
    }
}

impl<'de> Deserialize<'de> for SecretValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer) {
            Ok(serde_json::Value::String(text)) => Ok(Self(text)),
            Ok(_) | Err(_) => Err(de::Error::custom("the value is not a text")),
        }
    }
}
