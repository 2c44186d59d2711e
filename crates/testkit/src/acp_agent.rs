//! A scripted ACP agent: a process that speaks the agent's side of the Agent Client Protocol and
//! does exactly what a script says, faults among it. It shares no code with our client: messages are
//! plain JSON, so that an error in our wrapper can't cancel itself out.
//!
//! It never decides anything and never calls a model.

mod script;
mod turn;

pub use script::{OnCancel, Script, Step};

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Mutex, oneshot};

/// How [`serve`] ended; the binary turns it into its own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client closed our standard input.
    Closed,
    /// The script says: exit with this code.
    Exit(i32),
    /// The script says: die by SIGKILL.
    Kill,
}

/// The session that the scripted agent has; there is only one.
const SESSION: &str = "scripted-session";

/// Plays `script` on the streams. `variable` looks up an environment variable for
/// [`Step::Leak`].
///
/// # Errors
/// When a stream fails, or the client sends what is no JSON.
pub async fn serve<R, W>(
    stdin: R,
    stdout: W,
    script: Script,
    variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> std::io::Result<End>
where
    R: AsyncBufRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let voice = Voice {
        stdout: Arc::new(Mutex::new(Box::new(stdout))),
        waiting: Arc::default(),
        variable: Arc::new(variable),
    };
    Agent { voice, script, cwd: PathBuf::from("."), turns: 0, running: None, greeted: false }
        .listen(stdin)
        .await
}

/// The path of the `scripted-agent` binary, built with cargo if this build has not made it yet.
///
/// # Panics
/// When cargo can't build it: a test that needs a process can't go on.
pub fn binary() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT.get_or_init(build).clone()
}

/// Tests lie in `<target>/<profile>/deps`, binaries one directory up.
#[allow(clippy::disallowed_methods, reason = "cargo tells tests its own path by a variable")]
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let profile = test.ancestors().nth(2).expect("a test lies in a target directory").to_owned();
    let target = profile.parent().expect("a profile lies in a target directory");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.args(["build", "--quiet", "--package", "windlass-testkit", "--bin", "scripted-agent"]);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let status = command
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "cargo failed to build scripted-agent");
    profile.join("scripted-agent")
}

struct Agent {
    voice: Voice,
    script: Script,
    cwd: PathBuf,
    turns: usize,
    running: Option<Running>,
    greeted: bool,
}

struct Running {
    id: Value,
    task: tokio::task::JoinHandle<turn::TurnEnd>,
}

impl Agent {
    async fn listen(mut self, stdin: impl AsyncBufRead + Unpin) -> std::io::Result<End> {
        let mut lines = stdin.lines();
        loop {
            let finished = async {
                match &mut self.running {
                    Some(running) => (&mut running.task).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                line = lines.next_line() => {
                    let Some(line) = line? else { break };
                    let message: Value = serde_json::from_str(&line)?;
                    if let Some(end) = self.hear(message).await? {
                        return Ok(end);
                    }
                }
                ended = finished => {
                    let id = self.running.take().map(|running| running.id).unwrap_or_default();
                    // A turn that panicked is a defect of the script's player; the test sees it die.
                    let ended = ended.map_err(std::io::Error::other)?;
                    if let Some(end) = self.turn_ended(id, ended).await? {
                        return Ok(end);
                    }
                }
            }
        }
        if let Some(running) = self.running.take() {
            running.task.abort();
        }
        Ok(match self.script.exit_code_at_close {
            Some(code) => End::Exit(code),
            None => End::Closed,
        })
    }

    async fn hear(&mut self, message: Value) -> std::io::Result<Option<End>> {
        let id = message.get("id").cloned();
        let params = message.get("params").cloned().unwrap_or_default();
        match (message.get("method").and_then(Value::as_str), id) {
            (Some("initialize"), Some(id)) => return self.initialize(id).await,
            (Some("session/new"), Some(id)) => self.new_session(id, &params).await?,
            (Some("session/set_mode"), Some(id)) => {
                self.script.mode = params["modeId"].as_str().map(str::to_owned);
                self.voice.answer(id, json!({})).await?;
            }
            (Some("session/set_config_option"), Some(id)) => {
                self.script.model = params["value"].as_str().map(str::to_owned);
                self.voice.answer(id, json!({"configOptions": self.config_options()})).await?;
            }
            (Some("session/prompt"), Some(id)) => self.prompt(id, &params).await?,
            (Some("session/cancel"), None) => return self.cancel().await,
            (Some(method), Some(id)) => {
                let error = json!({"code": -32601, "message": format!("no method {method}")});
                self.voice.send(json!({"jsonrpc": "2.0", "id": id, "error": error})).await?;
            }
            (Some(_), None) => {}
            (None, Some(id)) => self.voice.heard_answer(&id, message["result"].clone()).await,
            (None, None) => {}
        }
        Ok(None)
    }

    async fn initialize(&mut self, id: Value) -> std::io::Result<Option<End>> {
        if !self.greeted {
            self.greeted = true;
            let stage = self.stage(String::new());
            let end = turn::play(&stage, &self.script.at_start).await?;
            match end {
                turn::TurnEnd::Exit(code) => return Ok(Some(End::Exit(code))),
                turn::TurnEnd::Kill => return Ok(Some(End::Kill)),
                turn::TurnEnd::Error { code, message } => {
                    self.voice.refuse(id, code, &message).await?;
                    return Ok(None);
                }
                turn::TurnEnd::Stop { .. } => {}
            }
        }
        let answer = json!({
            "protocolVersion": self.script.protocol_version,
            "agentInfo": {"name": "scripted-agent", "version": env!("CARGO_PKG_VERSION")},
            "agentCapabilities": {},
            "authMethods": [],
        });
        self.voice.answer(id, answer).await?;
        Ok(None)
    }

    async fn new_session(&mut self, id: Value, params: &Value) -> std::io::Result<()> {
        if self.script.sign_in {
            return self.voice.refuse(id, -32000, "Authentication required").await;
        }
        if let Some(cwd) = params["cwd"].as_str() {
            self.cwd = PathBuf::from(cwd);
        }
        let mut answer = json!({"sessionId": SESSION});
        if !self.script.modes.is_empty() {
            let modes: Vec<Value> =
                self.script.modes.iter().map(|mode| json!({"id": mode, "name": mode})).collect();
            let current = self.script.mode.as_ref().unwrap_or(&self.script.modes[0]);
            answer["modes"] = json!({"currentModeId": current, "availableModes": modes});
        }
        if !self.script.models.is_empty() {
            answer["configOptions"] = self.config_options();
        }
        self.voice.answer(id, answer).await
    }

    fn config_options(&self) -> Value {
        let options: Vec<Value> =
            self.script.models.iter().map(|model| json!({"value": model, "name": model})).collect();
        let current = self.script.model.as_ref().or(self.script.models.first());
        json!([{"id": "model", "name": "Model", "category": "model", "type": "select",
            "currentValue": current, "options": options}])
    }

    async fn prompt(&mut self, id: Value, params: &Value) -> std::io::Result<()> {
        if self.running.is_some() {
            return self.voice.refuse(id, -32600, "a turn is running already").await;
        }
        let prompt: Vec<&str> = params["prompt"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|block| block["text"].as_str())
            .collect();
        let stage = self.stage(prompt.join("\n"));
        let steps = self.script.turns.get(self.turns).cloned().unwrap_or_else(|| {
            vec![Step::Say { text: "The script has no more turns.".to_owned() }]
        });
        self.turns += 1;
        let task = tokio::spawn(async move {
            turn::play(&stage, &steps).await.unwrap_or_else(|error| turn::TurnEnd::Error {
                code: -32603,
                message: format!("the script failed: {error}"),
            })
        });
        self.running = Some(Running { id, task });
        Ok(())
    }

    async fn cancel(&mut self) -> std::io::Result<Option<End>> {
        match self.script.on_cancel {
            OnCancel::Ignore => Ok(None),
            OnCancel::Exit => Ok(Some(End::Exit(143))),
            OnCancel::End => {
                if let Some(running) = self.running.take() {
                    running.task.abort();
                    // Children of a dropped turn are killed by then.
                    let _ = running.task.await;
                    self.voice.answer(running.id, json!({"stopReason": "cancelled"})).await?;
                }
                Ok(None)
            }
        }
    }

    async fn turn_ended(
        &mut self,
        id: Value,
        ended: turn::TurnEnd,
    ) -> std::io::Result<Option<End>> {
        match ended {
            turn::TurnEnd::Exit(code) => return Ok(Some(End::Exit(code))),
            turn::TurnEnd::Kill => return Ok(Some(End::Kill)),
            turn::TurnEnd::Error { code, message } => self.voice.refuse(id, code, &message).await?,
            turn::TurnEnd::Stop { reason, meta } => {
                let mut answer = json!({"stopReason": reason});
                if let Some(meta) = meta {
                    answer["_meta"] = meta;
                }
                self.voice.answer(id, answer).await?;
            }
        }
        Ok(None)
    }

    fn stage(&self, prompt: String) -> turn::Stage {
        turn::Stage { voice: self.voice.clone(), cwd: self.cwd.clone(), prompt }
    }
}

/// Speaks on standard output, and knows who waits for which answer.
#[derive(Clone)]
struct Voice {
    stdout: Arc<Mutex<Box<dyn AsyncWrite + Unpin + Send>>>,
    waiting: Arc<Mutex<Waiting>>,
    variable: Arc<Lookup>,
}

/// Looks up an environment variable.
type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

#[derive(Default)]
struct Waiting {
    last: u64,
    answers: HashMap<u64, oneshot::Sender<Value>>,
}

impl Voice {
    async fn print(&self, bytes: &[u8]) -> std::io::Result<()> {
        let mut stdout = self.stdout.lock().await;
        stdout.write_all(bytes).await?;
        stdout.flush().await
    }

    async fn send(&self, message: Value) -> std::io::Result<()> {
        self.print(format!("{message}\n").as_bytes()).await
    }

    async fn answer(&self, id: Value, result: Value) -> std::io::Result<()> {
        self.send(json!({"jsonrpc": "2.0", "id": id, "result": result})).await
    }

    async fn refuse(&self, id: Value, code: i64, message: &str) -> std::io::Result<()> {
        let error = json!({"code": code, "message": message});
        self.send(json!({"jsonrpc": "2.0", "id": id, "error": error})).await
    }

    async fn update(&self, update: Value) -> std::io::Result<()> {
        let params = json!({"sessionId": SESSION, "update": update});
        self.send(json!({"jsonrpc": "2.0", "method": "session/update", "params": params})).await
    }

    async fn request(&self, method: &str, mut params: Value) -> std::io::Result<Value> {
        params["sessionId"] = json!(SESSION);
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut waiting = self.waiting.lock().await;
            waiting.last += 1;
            let id = waiting.last;
            waiting.answers.insert(id, sender);
            id
        };
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await?;
        receiver.await.map_err(std::io::Error::other)
    }

    async fn heard_answer(&self, id: &Value, result: Value) {
        let sender = match id.as_u64() {
            Some(id) => self.waiting.lock().await.answers.remove(&id),
            None => None,
        };
        if let Some(sender) = sender {
            // A turn that was cancelled waits no more.
            let _ = sender.send(result);
        }
    }
}
