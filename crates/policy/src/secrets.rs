//! Which secrets and variables a step may have: names and places that are allowed, grants by project,
//! branch and step, and which of several of one name counts.
//!
//! Knows no value, ever. A step that an agent works in is given nothing; a step after one is given
//! only what names it, since the agent may have changed what the step executes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The folder inside an environment where secrets are files. It is in memory.
pub const FOLDER: &str = "/run/secrets";

/// The largest value, in bytes.
pub const MAX_VALUE: usize = 64 * 1024;

/// The step's name in [`Grants::steps`] that stands for the commands with which a definition makes an
/// environment ready.
pub const SETUP: &str = "setup";

/// The step's name in [`Grants::steps`] that stands for programs which people execute in an environment
/// that lives by itself.
pub const EXEC: &str = "exec";

/// The longest name, in characters.
const MAX_NAME: usize = 128;
/// The most patterns of a kind that a grant has.
const MAX_PATTERNS: usize = 64;

/// Names that steer programs, or that Windlass itself sets: no secret or variable has one.
const RESERVED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "PWD",
    "OLDPWD",
    "IFS",
    "ENV",
    "TERM",
    "LANG",
    "TMPDIR",
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "CARGO_HTTP_CAINFO",
    "GIT_TERMINAL_PROMPT",
    "GIT_SSL_CAINFO",
    "PROMPT_COMMAND",
    "PS4",
    "SHELLOPTS",
    "BASHOPTS",
];
const RESERVED_PREFIXES: &[&str] = &["WINDLASS_", "LD_", "DYLD_", "LC_", "BASH_", "GIT_CONFIG"];

/// The methods that change nothing.
const READING: &[&str] = &["GET", "HEAD"];
/// All methods that a door adds a secret to.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// Headers by which a message is understood: a value in one of them would change what is asked.
const FRAMING: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
    "content-encoding",
    "proxy-authorization",
    "cookie",
    "content-type",
];

/// Who owns a secret or variable. Of one name, the more special one counts: the later variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Jobs of every project.
    Organisation,
    /// Jobs of one project.
    Project,
    /// Jobs that one user started.
    User,
}

/// How a step sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Form {
    /// As an environment variable of its name.
    Environment,
    /// As a file in memory.
    File {
        /// Where: a file right in [`FOLDER`].
        path: String,
        /// Its permission bits; only the environment's own user ever has any.
        mode: u32,
    },
    /// Not at all: the web door adds it to requests for one place, and the step knows the door's
    /// address only.
    Door(Injection),
    /// Not at all: the runner pulls images and Features of one registry with it.
    Registry(Registry),
}

/// Whose password it is, and for which registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// The registry's host, with a port if images' names have one: `registry.example`, `docker.io`.
    pub host: String,
    /// The user whose password or token it is.
    pub user: String,
}

/// How the web door sends a secret that nothing inside ever has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// The one place it is sent to: a scheme, a host, and the beginning of the path.
    pub url: String,
    /// The header that carries it.
    #[serde(default = "authorization")]
    pub header: String,
    /// What the header says, with `{}` where the value goes.
    #[serde(default = "bearer")]
    pub template: String,
    /// For HTTP's basic authentication: the user whose password it is. The template has no meaning
    /// then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The methods of requests that it is added to.
    #[serde(default = "reading")]
    pub methods: Vec<String>,
}

impl Injection {
    /// Whether it is only for requests that change nothing, by HTTP's own rules.
    pub fn only_reads(&self) -> bool {
        self.methods.iter().all(|method| READING.contains(&method.as_str()))
    }
}

/// What stands before and after the place of the value.
pub fn placeholder(template: &str) -> Option<(&str, &str)> {
    template.split_once("{}").filter(|(_, after)| !after.contains("{}"))
}

fn authorization() -> String {
    "authorization".to_owned()
}

fn bearer() -> String {
    "Bearer {}".to_owned()
}

fn reading() -> Vec<String> {
    READING.iter().map(|&method| method.to_owned()).collect()
}

/// Where a secret or variable is given. An empty list means everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Only in these projects, by id.
    pub projects: Vec<String>,
    /// Only where the change is meant for such a branch. `*` stands for anything but `/`, `**` for
    /// anything.
    pub branches: Vec<String>,
    /// Only in steps of such names. A step after an agent must be named in full. [`SETUP`] and [`EXEC`]
    /// are such names too.
    pub steps: Vec<String>,
    /// Whether an agent's own process is given it. A job that is given such a one is *sensitive*.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub beside_agents: bool,
}

/// What a step is, as far as it matters for what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Commands, before any agent has worked on the tree.
    Commands,
    /// Commands in a tree that an agent may have changed, in this job or one it continues.
    CommandsAfterAgent,
    /// An agent's.
    Agent,
    /// Commands of the definition that make an environment ready. What they are given must name
    /// [`SETUP`]: most repositories' need nothing, and what they leave running is ended for it.
    Setup,
    /// The same in a tree that an agent may have changed: nothing comes inside.
    SetupAfterAgent,
}

/// A step that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking<'a> {
    /// The project's id.
    pub project: &'a str,
    /// The branch that the change is meant for.
    pub branch: &'a str,
    /// The step's name.
    pub step: &'a str,
    /// What the step is.
    pub work: Work,
}

/// Something about a secret or variable that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Invalid {
    /// Which field of a request is at fault.
    pub place: &'static str,
    /// What is wrong and what to do. Holds no value.
    pub why: String,
}

/// Refuses a name that no environment variable may have here.
///
/// # Errors
/// [`Invalid`] with the rule that it breaks.
pub fn check_name(name: &str) -> Result<(), Invalid> {
    let refuse = |why: String| Err(Invalid { place: "name", why });
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !first || !rest || name.len() > MAX_NAME {
        return refuse(format!(
            "a name is a letter or `_`, then letters, digits and `_`, at most {MAX_NAME} in all, \
             as in DEPLOY_TOKEN"
        ));
    }
    let upper = name.to_ascii_uppercase();
    let is_reserved = RESERVED.contains(&upper.as_str())
        || upper == "WINDLASS"
        || upper.ends_with("_PROXY")
        || RESERVED_PREFIXES.iter().any(|prefix| upper.starts_with(prefix));
    if is_reserved {
        return refuse(format!(
            "{name} is reserved: it steers programs, or Windlass sets it itself; choose another name"
        ));
    }
    Ok(())
}

/// Refuses a file that is not right in [`FOLDER`], or whose mode opens it to others, and what no door
/// could send.
///
/// # Errors
/// [`Invalid`] with the rule that it breaks.
pub fn check_form(form: &Form) -> Result<(), Invalid> {
    let (path, mode) = match form {
        Form::Environment => return Ok(()),
        Form::Door(injection) => return check_injection(injection),
        Form::Registry(registry) => return check_registry(registry),
        Form::File { path, mode } => (path, mode),
    };
    let name = path.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/'));
    let good = |name: &str| {
        (1..=64).contains(&name.len())
            && !name.starts_with(['.', '-'])
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    if !name.is_some_and(good) {
        let why = format!(
            "a file is `{FOLDER}/NAME`, where NAME has 1 to 64 letters, digits, `.`, `_` or `-` and \
             begins with none of `.` and `-`: that folder is in memory, no other is"
        );
        return Err(Invalid { place: "form.path", why });
    }
    if mode & !0o700 != 0 || mode & 0o400 == 0 {
        let why = "a mode lets the owner read and gives others nothing: 0400, 0600, 0500 or 0700";
        return Err(Invalid { place: "form.mode", why: why.to_owned() });
    }
    Ok(())
}

fn check_registry(registry: &Registry) -> Result<(), Invalid> {
    let refuse = |place: &'static str, why: &str| Err(Invalid { place, why: why.to_owned() });
    let Registry { host, user } = registry;
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b);
    if !host.contains(|c: char| c.is_ascii_alphanumeric())
        || host.len() > 255
        || !host.bytes().all(good)
    {
        let why = "a registry is the host that stands first in an image's name, as \
                   `registry.example` or `registry.example:5000`, and `docker.io` where none does";
        return refuse("form.host", why);
    }
    let is_sent = user.bytes().all(|b| (b' '..=b'~').contains(&b));
    if user.is_empty() || user.len() > 256 || user.contains(':') || !is_sent {
        return refuse("form.user", "a user is ASCII text without `:`");
    }
    Ok(())
}

fn check_injection(injection: &Injection) -> Result<(), Invalid> {
    let refuse = |place: &'static str, why: &str| Err(Invalid { place, why: why.to_owned() });
    let rest = ["https://", "http://"].iter().find_map(|scheme| injection.url.strip_prefix(scheme));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
    let good = |host: &str| {
        host.contains(|c: char| c.is_ascii_alphanumeric())
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    };
    let is_plain = injection.url.len() <= 2048
        && injection.url.bytes().all(|b| b.is_ascii_graphic() && !b"?#@\\".contains(&b));
    if !host.is_some_and(good) || !is_plain {
        return refuse(
            "form.url",
            "a place is `https://HOST` (or `http://`), with a port and a path if wanted, and without \
             user, `?` and `#`",
        );
    }
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let header = injection.header.to_ascii_lowercase();
    if header.is_empty() || header.len() > 128 || !header.bytes().all(is_name) {
        return refuse("form.header", "a header's name has 1 to 128 letters, digits and `-`");
    }
    if FRAMING.contains(&header.as_str()) {
        return refuse(
            "form.header",
            "that header says how a request is read: it can't carry a secret",
        );
    }
    let can_be_sent =
        |text: &str| text.len() <= 256 && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    if placeholder(&injection.template).is_none() || !can_be_sent(&injection.template) {
        let why = "a template is ASCII text with `{}` once, where the value goes, as `Bearer {}`";
        return refuse("form.template", why);
    }
    if injection.user.as_ref().is_some_and(|user| user.contains(':') || !can_be_sent(user)) {
        return refuse("form.user", "a user is ASCII text without `:`");
    }
    let known = |method: &String| METHODS.contains(&method.as_str());
    if injection.methods.is_empty() || !injection.methods.iter().all(known) {
        return refuse("form.methods", "methods are some of GET, HEAD, POST, PUT, PATCH, DELETE");
    }
    Ok(())
}

/// Refuses a value that can't be given, and a secret that could not be redacted.
///
/// # Errors
/// [`Invalid`] with the rule that it breaks; never with the value.
pub fn check_value(value: &str, is_secret: bool) -> Result<(), Invalid> {
    let refuse = |why: String| Err(Invalid { place: "value", why });
    if value.len() > MAX_VALUE {
        return refuse(format!("a value has at most {} KiB", MAX_VALUE / 1024));
    }
    if value.contains('\0') {
        return refuse("a value has no NUL byte: encode bytes as base64".to_owned());
    }
    let min = crate::redact::MIN_SECRET;
    if is_secret && value.trim().len() < min {
        return refuse(format!(
            "a secret has at least {min} bytes, or it could not be redacted from logs: use a longer \
             one, or a variable if it is no secret"
        ));
    }
    Ok(())
}

/// Refuses a value that its form can't carry.
///
/// # Errors
/// [`Invalid`] with the rule that it breaks; never with the value.
pub fn check_in_form(form: &Form, value: &str, is_secret: bool) -> Result<(), Invalid> {
    let (Form::Door(_) | Form::Registry(_)) = form else { return Ok(()) };
    if !is_secret {
        let why = "a door and a registry are for secrets: a variable has nothing to hide, give it to \
                   steps as it is";
        return Err(Invalid { place: "form", why: why.to_owned() });
    }
    if !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        let why = "what is sent in a header is one line of ASCII text: none carries anything else";
        return Err(Invalid { place: "value", why: why.to_owned() });
    }
    Ok(())
}

impl Grants {
    /// Refuses patterns that match nothing or are too many.
    ///
    /// # Errors
    /// [`Invalid`] with the list at fault.
    pub fn check(&self) -> Result<(), Invalid> {
        let lists = [
            ("grants.projects", &self.projects),
            ("grants.branches", &self.branches),
            ("grants.steps", &self.steps),
        ];
        for (place, list) in lists {
            if list.len() > MAX_PATTERNS {
                let why = format!("at most {MAX_PATTERNS} are allowed");
                return Err(Invalid { place, why });
            }
            let is_bad = |pattern: &String| {
                pattern.is_empty() || pattern.len() > 256 || pattern.chars().any(char::is_control)
            };
            if list.iter().any(is_bad) {
                let why = "a pattern has 1 to 256 characters and no control characters";
                return Err(Invalid { place, why: why.to_owned() });
            }
        }
        Ok(())
    }

    /// Refuses limits that have no meaning for what is given to no step.
    ///
    /// # Errors
    /// [`Invalid`] with the list at fault.
    pub fn check_for(&self, form: &Form) -> Result<(), Invalid> {
        let is_odd = !self.steps.is_empty() || self.beside_agents;
        if matches!(form, Form::Registry(_)) && is_odd {
            let why = "a registry's password is given to no step and no agent: limit it by project and branch";
            return Err(Invalid { place: "grants.steps", why: why.to_owned() });
        }
        Ok(())
    }

    /// Whether images are pulled with it for that project and branch.
    pub fn allow_images(&self, project: &str, branch: &str) -> bool {
        (self.projects.is_empty() || self.projects.iter().any(|id| id == project))
            && (self.branches.is_empty() || self.branches.iter().any(|one| matches(one, branch)))
    }

    /// Whether the step is given it in that form. What stays outside and only reads is given to agents
    /// as well; what stays outside and writes, if the step is named in full.
    pub fn allow(&self, form: &Form, asking: Asking<'_>) -> bool {
        let any = |list: &[String], text: &str| {
            list.is_empty() || list.iter().any(|pattern| matches(pattern, text))
        };
        let is_named = self.steps.iter().any(|step| step == asking.step);
        (self.projects.is_empty() || self.projects.iter().any(|id| id == asking.project))
            && any(&self.branches, asking.branch)
            && any(&self.steps, asking.step)
            && match (form, asking.work) {
                (Form::Registry(_), _) => false,
                (_, Work::Commands) => true,
                (_, Work::Setup) | (Form::Door(_), Work::SetupAfterAgent) => is_named,
                (_, Work::SetupAfterAgent) => false,
                (Form::Door(injection), _) => is_named || injection.only_reads(),
                (_, Work::CommandsAfterAgent) => is_named,
                (_, Work::Agent) => self.beside_agents,
            }
    }
}

/// Of several of one name the most special counts, and of several files at one path too. Takes those
/// that a step is granted; gives them by name.
pub fn most_special<T>(granted: Vec<(Scope, String, Form, T)>) -> Vec<T> {
    let mut granted = granted;
    granted.sort_by_key(|(scope, ..)| *scope);
    let mut by_name = BTreeMap::new();
    for (scope, name, form, what) in granted {
        by_name.insert(name, (scope, form, what));
    }
    let mut left: Vec<_> = by_name.into_values().collect();
    left.sort_by_key(|(scope, ..)| std::cmp::Reverse(*scope));
    let mut paths: Vec<String> = Vec::new();
    left.retain(|(_, form, _)| match form {
        Form::Environment | Form::Door(_) | Form::Registry(_) => true,
        Form::File { path, .. } if paths.contains(path) => false,
        Form::File { path, .. } => {
            paths.push(path.clone());
            true
        }
    });
    left.into_iter().map(|(_, _, what)| what).collect()
}

/// Whether a pattern stands for a text: `*` for anything but `/`, `**` for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    // Which prefixes of the text the pattern read so far stands for.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        let is_star = pattern[at] == b'*';
        let is_double = is_star && pattern.get(at + 1) == Some(&b'*');
        let mut next = vec![false; text.len() + 1];
        for end in 0..=text.len() {
            next[end] = if is_star {
                reached[end] || (end > 0 && next[end - 1] && (is_double || text[end - 1] != b'/'))
            } else {
                end > 0 && reached[end - 1] && text[end - 1] == pattern[at]
            };
        }
        reached = next;
        at += if is_double { 2 } else { 1 };
    }
    reached[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking<'a>(branch: &'a str, step: &'a str) -> Asking<'a> {
        Asking { project: "prj_1", branch, step, work: Work::Commands }
    }

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_star_stops_at_a_slash_and_two_do_not() {
        let cases = [
            ("main", "main", true),
            ("main", "mainly", false),
            ("release/*", "release/1", true),
            ("release/*", "release/1/2", false),
            ("release/**", "release/1/2", true),
            ("*", "main", true),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("v*.*", "v1.2", true),
            ("v*.*", "v12", false),
            ("**/end", "a/b/end", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_long_pattern_of_stars_is_judged_at_once() {
        assert!(!matches(&"*a".repeat(100), &"a".repeat(99)));
    }

    #[test]
    fn a_grant_holds_only_where_all_of_its_lists_do() {
        let grants = Grants {
            projects: list(&["prj_1"]),
            branches: list(&["main", "release/*"]),
            steps: list(&["deploy", "push-*"]),
            beside_agents: false,
        };
        assert!(grants.allow(&Form::Environment, asking("main", "deploy")));
        assert!(grants.allow(&Form::Environment, asking("release/2", "push-docs")));
        assert!(!grants.allow(&Form::Environment, asking("main", "build")));
        assert!(!grants.allow(&Form::Environment, asking("feature", "deploy")));
        assert!(
            !grants
                .allow(&Form::Environment, Asking { project: "prj_2", ..asking("main", "deploy") })
        );
        assert!(Grants::default().allow(&Form::Environment, asking("any/branch", "any")));
    }

    #[test]
    fn after_an_agent_only_a_step_that_is_named_in_full_is_given_anything() {
        let after = |step| Asking { work: Work::CommandsAfterAgent, ..asking("main", step) };
        let grants = |steps: &[&str]| Grants { steps: list(steps), ..Grants::default() };
        assert!(!grants(&[]).allow(&Form::Environment, after("deploy")));
        assert!(!grants(&["*"]).allow(&Form::Environment, after("deploy")));
        assert!(!grants(&["dep*"]).allow(&Form::Environment, after("deploy")));
        assert!(grants(&["deploy"]).allow(&Form::Environment, after("deploy")));
    }

    #[test]
    fn the_set_up_is_given_only_what_names_it_and_nothing_inside_once_an_agent_was_there() {
        let named = Grants { steps: list(&[SETUP]), ..Grants::default() };
        let starred = Grants { steps: list(&["*"]), ..Grants::default() };
        let door = Form::Door(injection());
        let cases = [
            (&Form::Environment, Work::Setup, [false, true, false]),
            (&Form::Environment, Work::SetupAfterAgent, [false, false, false]),
            (&door, Work::Setup, [false, true, false]),
            (&door, Work::SetupAfterAgent, [false, true, false]),
        ];
        for (form, work, expected) in cases {
            let asking = Asking { work, ..asking("main", SETUP) };
            let allowed = [&Grants::default(), &named, &starred].map(|g| g.allow(form, asking));
            assert_eq!(allowed, expected, "{form:?} {work:?}");
        }
    }

    #[test]
    fn beside_an_agent_is_only_what_says_so() {
        let agent = Asking { work: Work::Agent, ..asking("main", "agent") };
        let beside = Grants { beside_agents: true, ..Grants::default() };
        assert!(beside.allow(&Form::Environment, agent));
        let named = Grants { steps: list(&["agent"]), ..Grants::default() };
        assert!(!named.allow(&Form::Environment, agent));
        let elsewhere = Grants { steps: list(&["deploy"]), ..beside };
        assert!(!elsewhere.allow(&Form::Environment, agent));
    }

    #[test]
    fn names_that_steer_programs_are_refused() {
        for name in ["DEPLOY_TOKEN", "_x", "npm_token", "GIT_TOKEN", "PATHS"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in [
            "",
            "1A",
            "A-B",
            "A B",
            "A=B",
            "Ä",
            "PATH",
            "path",
            "HOME",
            "https_proxy",
            "ALL_PROXY",
            "WINDLASS_JOB_ID",
            "WINDLASS",
            "LD_PRELOAD",
            "BASH_ENV",
            "GIT_CONFIG_GLOBAL",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name(&"A".repeat(129)).is_err());
    }

    #[test]
    fn a_file_lies_right_in_its_folder_and_is_for_its_owner_only() {
        let file = |path: &str, mode| check_form(&Form::File { path: path.to_owned(), mode });
        assert_eq!(file("/run/secrets/npmrc", 0o600), Ok(()));
        assert_eq!(file("/run/secrets/id_ed25519", 0o400), Ok(()));
        for path in [
            "npmrc",
            "/etc/passwd",
            "/run/secrets",
            "/run/secrets/",
            "/run/secrets/../x",
            "/run/secrets/a/b",
            "/run/secrets/.x",
            "/run/secrets/-x",
            "/run/secretsx",
            "/run/secrets/a b",
            "/run/secrets/a\n",
        ] {
            assert_eq!(file(path, 0o600).expect_err(path).place, "form.path");
        }
        for mode in [0, 0o200, 0o644, 0o640, 0o4600, 0o1600] {
            assert_eq!(file("/run/secrets/a", mode).expect_err("open").place, "form.mode");
        }
    }

    #[test]
    fn values_that_could_not_be_given_or_redacted_are_refused_without_being_told() {
        assert_eq!(check_value("longenough", true), Ok(()));
        assert_eq!(check_value("", false), Ok(()));
        let short = check_value("hunter2", true).expect_err("too short");
        assert!(!short.why.contains("hunter2"), "{short}");
        assert!(check_value("12345678\0", true).is_err());
        assert!(check_value("      12345      ", true).is_err());
        assert!(check_value(&"x".repeat(MAX_VALUE), true).is_ok());
        assert!(check_value(&"x".repeat(MAX_VALUE + 1), false).is_err());
    }

    #[test]
    fn of_one_name_the_most_special_counts_and_of_one_path_too() {
        let of = |scope, name: &str, what: &'static str| {
            (scope, name.to_owned(), Form::Environment, what)
        };
        let file = |scope, name: &str, what: &'static str| {
            let form = Form::File { path: "/run/secrets/a".to_owned(), mode: 0o600 };
            (scope, name.to_owned(), form, what)
        };
        let mut given = most_special(vec![
            of(Scope::User, "A", "a of the user"),
            of(Scope::Organisation, "A", "a of all"),
            of(Scope::Project, "A", "a of the project"),
            of(Scope::Organisation, "B", "b of all"),
            file(Scope::Organisation, "C", "file of all"),
            file(Scope::Project, "D", "file of the project"),
        ]);
        given.sort_unstable();
        assert_eq!(given, ["a of the user", "b of all", "file of the project"]);
    }

    #[test]
    fn a_registrys_password_is_for_images_of_its_project_and_branch_and_for_no_step() {
        let registry = |host: &str, user: &str| {
            Form::Registry(Registry { host: host.to_owned(), user: user.to_owned() })
        };
        for host in ["docker.io", "registry.example:5000", "127.0.0.1:5000", "[::1]:5000"] {
            assert_eq!(check_form(&registry(host, "ada")), Ok(()), "{host}");
        }
        for host in ["", ":", "https://registry.example", "registry.example/team", "A.example"] {
            let refused = check_form(&registry(host, "ada")).expect_err(host);
            assert_eq!(refused.place, "form.host");
        }
        for user in ["", "a:b", "a\nb"] {
            let refused = check_form(&registry("a.example", user)).expect_err(user);
            assert_eq!(refused.place, "form.user");
        }
        let form = registry("a.example", "ada");
        let open = Grants::default();
        assert!(open.allow_images("prj_1", "main") && open.check_for(&form).is_ok());
        for work in [Work::Commands, Work::Agent, Work::Setup] {
            assert!(!open.allow(&form, Asking { work, ..asking("main", "setup") }), "{work:?}");
        }
        let grants = Grants { projects: list(&["prj_1"]), branches: list(&["main"]), ..open };
        assert!(grants.allow_images("prj_1", "main"));
        assert!(!grants.allow_images("prj_2", "main") && !grants.allow_images("prj_1", "x"));
        let named = Grants { steps: list(&["setup"]), ..Grants::default() };
        assert_eq!(named.check_for(&form).expect_err("refused").place, "grants.steps");
        assert_eq!(named.check_for(&Form::Environment), Ok(()));
    }

    fn injection() -> Injection {
        let json = serde_json::json!({ "url": "https://registry.example/npm" });
        serde_json::from_value(json).expect("an injection")
    }

    #[test]
    fn what_stays_outside_is_for_agents_too_but_to_write_a_step_must_be_named() {
        let reads = Form::Door(injection());
        let methods = list(&["GET", "POST"]);
        let writes = Form::Door(Injection { methods, ..injection() });
        let named = Grants { steps: list(&["deploy"]), ..Grants::default() };
        let starred = Grants { steps: list(&["dep*"]), ..Grants::default() };
        let cases = [
            (&reads, Work::Agent, [true, true, true]),
            (&reads, Work::CommandsAfterAgent, [true, true, true]),
            (&writes, Work::Commands, [true, true, true]),
            (&writes, Work::CommandsAfterAgent, [false, true, false]),
            (&writes, Work::Agent, [false, true, false]),
            (&Form::Environment, Work::Agent, [false, false, false]),
        ];
        for (form, work, expected) in cases {
            let asking = Asking { work, ..asking("main", "deploy") };
            let allowed = [&Grants::default(), &named, &starred].map(|g| g.allow(form, asking));
            assert_eq!(allowed, expected, "{form:?} {work:?}");
        }
    }

    #[test]
    fn a_door_leads_to_one_place_by_one_header() {
        assert_eq!(check_form(&Form::Door(injection())), Ok(()));
        let bad: [(&str, Injection); 10] = [
            ("form.url", Injection { url: "ftp://a.example".to_owned(), ..injection() }),
            ("form.url", Injection { url: "https://me@a.example".to_owned(), ..injection() }),
            ("form.url", Injection { url: "https://a.example/?b".to_owned(), ..injection() }),
            ("form.url", Injection { url: "https:///b".to_owned(), ..injection() }),
            ("form.header", Injection { header: "Host".to_owned(), ..injection() }),
            ("form.header", Injection { header: "a b".to_owned(), ..injection() }),
            ("form.template", Injection { template: "Bearer".to_owned(), ..injection() }),
            ("form.template", Injection { template: "{}{}".to_owned(), ..injection() }),
            ("form.user", Injection { user: Some("a:b".to_owned()), ..injection() }),
            ("form.methods", Injection { methods: list(&["CONNECT"]), ..injection() }),
        ];
        for (place, injection) in bad {
            let refused = check_form(&Form::Door(injection.clone())).expect_err("refused");
            assert_eq!(refused.place, place, "{injection:?}");
        }
    }

    #[test]
    fn a_door_sends_one_line_of_ascii_and_only_secrets() {
        let door = Form::Door(injection());
        assert_eq!(check_in_form(&door, "sk-0123456789", true), Ok(()));
        let refused =
            |value, is_secret| check_in_form(&door, value, is_secret).map_err(|e| e.place);
        assert_eq!(refused("two\nlines", true), Err("value"));
        assert_eq!(refused("schl\u{fc}ssel", true), Err("value"));
        assert_eq!(refused("sk-0123456789", false), Err("form"));
        assert_eq!(check_in_form(&Form::Environment, "two\nlines", true), Ok(()));
    }
}
