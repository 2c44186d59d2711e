//! How each known agent is pointed at the model door: environment variables and files in its home.
//! The values are what the real programs were seen to obey; none of them is a secret, since the door
//! replaces whatever credential an agent sends.

use serde_json::json;

use super::Mode;

/// What agents send where a credential is expected. The model door drops it.
const PLACEHOLDER: &str = "windlass";

/// The addresses of a job's model door, as an agent inside sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelDoor {
    /// For clients of Anthropic's API, which add `/v1/messages`.
    pub anthropic: String,
    /// For clients of OpenAI's APIs, which add `/responses` or `/chat/completions`.
    pub openai: String,
    /// For clients of Gemini's API, which add `/v1beta/models/...`.
    pub gemini: String,
}

impl ModelDoor {
    /// The door at `root`, such as `http://127.0.0.1:4000`.
    pub fn at(root: &str) -> Self {
        let root = root.trim_end_matches('/');
        Self {
            anthropic: format!("{root}/anthropic"),
            openai: format!("{root}/openai/v1"),
            gemini: format!("{root}/gemini"),
        }
    }
}

/// What an agent's process gets beside the common variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Variables, name and value.
    pub variables: Vec<(String, String)>,
    /// Files in its home.
    pub files: Vec<HomeFile>,
}

/// A file in an agent's home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeFile {
    /// Relative to the home, with `/`, without `..`.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

impl HomeFile {
    /// The command that writes it, to be executed inside the environment.
    pub fn writer(&self) -> [&str; 6] {
        const SCRIPT: &str = r#"cd && mkdir -p -- "$(dirname -- "$1")" && printf %s "$2" > "$1""#;
        ["sh", "-euc", SCRIPT, "sh", &self.path, &self.text]
    }
}

/// How one agent is configured.
pub(super) type Settings = fn(&ModelDoor, Option<&str>, Mode) -> Environment;

pub(super) fn builtin(door: &ModelDoor, model: Option<&str>, _mode: Mode) -> Environment {
    // `windlass agent` takes these as arguments as well; the variables keep the command line short.
    let mut environment = Environment::default();
    environment.set("WINDLASS_AGENT_ANTHROPIC_URL", &door.anthropic);
    environment.set("WINDLASS_AGENT_OPENAI_URL", &door.openai);
    environment.set_if("WINDLASS_AGENT_MODEL", model);
    environment
}

pub(super) fn claude_code(door: &ModelDoor, model: Option<&str>, _mode: Mode) -> Environment {
    let mut environment = Environment::default();
    environment.set("ANTHROPIC_BASE_URL", &door.anthropic);
    environment.set("ANTHROPIC_API_KEY", PLACEHOLDER);
    environment.set_if("ANTHROPIC_MODEL", model);
    environment.set("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
    environment.set("CLAUDE_CODE_MAX_RETRIES", "4");
    environment.set("DISABLE_AUTOUPDATER", "1");
    environment.set("DISABLE_ERROR_REPORTING", "1");
    environment.set("DISABLE_TELEMETRY", "1");
    // Without it, it refuses its full mode for root; the environment is a sandbox.
    environment.set("IS_SANDBOX", "1");
    environment
}

pub(super) fn codex(door: &ModelDoor, model: Option<&str>, _mode: Mode) -> Environment {
    let mut environment = Environment::default();
    environment.set("WINDLASS_DOOR_KEY", PLACEHOLDER);
    let provider = toml::toml! {
        name = "the model door"
        env_key = "WINDLASS_DOOR_KEY"
        wire_api = "responses"
        request_max_retries = 3
        stream_max_retries = 3
    };
    let mut provider = provider;
    provider.insert("base_url".to_owned(), door.openai.clone().into());
    let mut providers = toml::Table::new();
    providers.insert("windlass".to_owned(), provider.into());
    let mut config = toml::toml! {
        model_provider = "windlass"
        check_for_update_on_startup = false
        // The model door refuses what the provider would do in the world; Codex offers it unasked.
        web_search = "disabled"
        [analytics]
        enabled = false
    };
    if let Some(model) = model {
        config.insert("model".to_owned(), model.into());
    }
    config.insert("model_providers".to_owned(), providers.into());
    environment.file(".codex/config.toml", config.to_string());
    environment
}

pub(super) fn opencode(door: &ModelDoor, model: Option<&str>, mode: Mode) -> Environment {
    let mut environment = Environment::default();
    environment.set("OPENCODE_DISABLE_AUTOUPDATE", "1");
    environment.set("OPENCODE_DISABLE_MODELS_FETCH", "1");
    let (edit, shell) = match mode {
        Mode::Ask => ("ask", "ask"),
        Mode::Auto => ("allow", "ask"),
        Mode::Full => ("allow", "allow"),
    };
    let mut config = json!({
        "autoupdate": false,
        "share": "disabled",
        "permission": {"edit": edit, "bash": shell, "webfetch": shell},
        "provider": {"windlass": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "the model door",
            "options": {"baseURL": door.openai, "apiKey": PLACEHOLDER},
            "models": {},
        }},
    });
    if let Some(model) = model {
        config["provider"]["windlass"]["models"][model] = json!({"name": model});
        config["model"] = json!(format!("windlass/{model}"));
        config["small_model"] = json!(format!("windlass/{model}"));
    }
    environment.file(".config/opencode/opencode.json", config.to_string());
    environment
}

pub(super) fn gemini(door: &ModelDoor, model: Option<&str>, _mode: Mode) -> Environment {
    let mut environment = Environment::default();
    environment.set("GEMINI_API_KEY", PLACEHOLDER);
    environment.set("GOOGLE_GEMINI_BASE_URL", &door.gemini);
    environment.set("GEMINI_CLI_TRUST_WORKSPACE", "true");
    environment.set_if("GEMINI_MODEL", model);
    let settings = json!({
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "general": {"disableAutoUpdate": true, "disableUpdateNag": true},
        "privacy": {"usageStatisticsEnabled": false},
        "telemetry": {"enabled": false},
        "context": {"fileName": ["AGENTS.md", "GEMINI.md"]},
    });
    environment.file(".gemini/settings.json", settings.to_string());
    environment
}

pub(super) fn qwen(door: &ModelDoor, model: Option<&str>, _mode: Mode) -> Environment {
    let mut environment = Environment::default();
    environment.set("OPENAI_API_KEY", PLACEHOLDER);
    environment.set("OPENAI_BASE_URL", &door.openai);
    environment.set_if("OPENAI_MODEL", model);
    let settings = json!({
        "security": {"auth": {"selectedType": "openai"}},
        "general": {"disableAutoUpdate": true, "disableUpdateNag": true},
        "privacy": {"usageStatisticsEnabled": false},
        "telemetry": {"enabled": false},
        "context": {"fileName": ["AGENTS.md", "QWEN.md"]},
    });
    environment.file(".qwen/settings.json", settings.to_string());
    environment
}

impl Environment {
    fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn set_if(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    fn file(&mut self, path: &str, text: String) {
        self.files.push(HomeFile { path: path.to_owned(), text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codex_is_given_the_door_as_its_provider() {
        let environment = codex(&ModelDoor::at("http://127.0.0.1:1/"), Some("m\"x"), Mode::Full);
        let config: toml::Table = environment.files[0].text.parse().unwrap();
        assert_eq!(config["model"].as_str(), Some("m\"x"));
        assert_eq!(config["web_search"].as_str(), Some("disabled"));
        assert_eq!(
            config["model_providers"]["windlass"]["base_url"].as_str(),
            Some("http://127.0.0.1:1/openai/v1")
        );
    }
}
