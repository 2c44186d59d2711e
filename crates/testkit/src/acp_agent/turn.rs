//! Plays the steps of one turn.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::{Step, Voice};

/// Where a turn plays.
pub(super) struct Stage {
    pub(super) voice: Voice,
    pub(super) cwd: PathBuf,
    pub(super) prompt: String,
}

/// How a turn ended.
pub(super) enum TurnEnd {
    Stop { reason: String, meta: Option<Value> },
    Error { code: i64, message: String },
    Exit(i32),
    Kill,
}

/// Plays `steps` to their end.
pub(super) async fn play(stage: &Stage, steps: &[Step]) -> std::io::Result<TurnEnd> {
    let mut calls = 0;
    match play_some(stage, steps, &mut calls).await? {
        Some(end) => Ok(end),
        None => Ok(TurnEnd::Stop { reason: "end_turn".to_owned(), meta: None }),
    }
}

async fn play_some(
    stage: &Stage,
    steps: &[Step],
    calls: &mut u32,
) -> std::io::Result<Option<TurnEnd>> {
    for step in steps {
        if let Some(end) = Box::pin(one(stage, step, calls)).await? {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

async fn one(stage: &Stage, step: &Step, calls: &mut u32) -> std::io::Result<Option<TurnEnd>> {
    let voice = &stage.voice;
    match step {
        Step::Say { text } => voice.update(chunk("agent_message_chunk", text)).await?,
        Step::SayInPieces { text, piece } => {
            let characters: Vec<char> = text.chars().collect();
            for piece in characters.chunks((*piece).max(1)) {
                voice
                    .update(chunk("agent_message_chunk", &piece.iter().collect::<String>()))
                    .await?;
            }
        }
        Step::Think { text } => voice.update(chunk("agent_thought_chunk", text)).await?,
        Step::Plan { entries } => {
            let entries: Vec<Value> = entries
                .iter()
                .map(|(text, status)| json!({"content": text, "priority": "medium", "status": status}))
                .collect();
            voice.update(json!({"sessionUpdate": "plan", "entries": entries})).await?;
        }
        Step::Edit { path, text } => edit(stage, path, text, calls).await?,
        Step::Run { command } => run(stage, command, calls).await?,
        Step::Ask { title, options, input, allowed, denied } => {
            let next =
                if ask(stage, title, options, input, calls).await? { allowed } else { denied };
            return play_some(stage, next, calls).await;
        }
        Step::WaitForFile { path } => {
            let path = stage.cwd.join(path);
            while !tokio::fs::try_exists(&path).await? {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Step::Leak { variable } => {
            let value = (voice.variable)(variable).unwrap_or_else(|| "(not set)".to_owned());
            voice.update(chunk("agent_message_chunk", &format!("{variable}={value}"))).await?;
        }
        Step::Update { update } => voice.update(update.clone()).await?,
        Step::Print { line } => voice.print(format!("{line}\n").as_bytes()).await?,
        Step::PrintBytes { bytes } => voice.print(bytes).await?,
        Step::Complain { line } => complain(line).await?,
        Step::Flood { update, times } => {
            for _ in 0..*times {
                voice.update(update.clone()).await?;
            }
        }
        Step::ExpectPrompt { holds } => {
            if !stage.prompt.contains(holds) {
                let message = format!("the prompt does not hold {holds:?}: {:?}", stage.prompt);
                return Ok(Some(TurnEnd::Error { code: -32602, message }));
            }
        }
        Step::Orphan { command, pid_file } => {
            let child = Command::new("sh")
                .args(["-c", command])
                .current_dir(&stage.cwd)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()?;
            tokio::fs::write(stage.cwd.join(pid_file), child.id().unwrap_or(0).to_string()).await?;
        }
        Step::GiveUp { report } => {
            let text = format!("I could not do it.\n\n```windlass-give-up\n{report}\n```\n");
            voice.update(chunk("agent_message_chunk", &text)).await?;
        }
        Step::Hang => std::future::pending().await,
        Step::Exit { code } => return Ok(Some(TurnEnd::Exit(*code))),
        Step::Kill => return Ok(Some(TurnEnd::Kill)),
        Step::Fail { code, message } => {
            return Ok(Some(TurnEnd::Error { code: *code, message: message.clone() }));
        }
        Step::End { reason, meta } => {
            return Ok(Some(TurnEnd::Stop { reason: reason.clone(), meta: meta.clone() }));
        }
    }
    Ok(None)
}

fn chunk(kind: &str, text: &str) -> Value {
    json!({"sessionUpdate": kind, "content": {"type": "text", "text": text}})
}

async fn edit(stage: &Stage, path: &str, text: &str, calls: &mut u32) -> std::io::Result<()> {
    let whole = stage.cwd.join(path);
    let old = tokio::fs::read_to_string(&whole).await.ok();
    let id = call_id(calls);
    stage
        .voice
        .update(
            json!({"sessionUpdate": "tool_call", "toolCallId": id, "title": format!("Edit {path}"),
            "kind": "edit", "status": "in_progress", "rawInput": {"path": path}}),
        )
        .await?;
    if let Some(parent) = whole.parent() {
        tokio::fs::create_dir_all(parent).await?;
    }
    tokio::fs::write(&whole, text).await?;
    let mut diff = json!({"type": "diff", "path": whole, "newText": text});
    if let Some(old) = old {
        diff["oldText"] = json!(old);
    }
    stage
        .voice
        .update(json!({"sessionUpdate": "tool_call_update", "toolCallId": id, "status": "completed", "content": [diff]}))
        .await
}

async fn run(stage: &Stage, command: &str, calls: &mut u32) -> std::io::Result<()> {
    let id = call_id(calls);
    stage
        .voice
        .update(json!({"sessionUpdate": "tool_call", "toolCallId": id, "title": command, "kind": "execute",
            "status": "in_progress", "rawInput": {"command": command}}))
        .await?;
    let mut child = Command::new("sh")
        .args(["-c", command])
        .current_dir(&stage.cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (mut out, mut err) = (String::new(), String::new());
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    tokio::join!(read(stdout, &mut out), read(stderr, &mut err));
    let status = child.wait().await?;
    let output = format!("{out}{err}");
    let how = if status.success() { "completed" } else { "failed" };
    stage
        .voice
        .update(json!({"sessionUpdate": "tool_call_update", "toolCallId": id, "status": how,
            "content": [{"type": "content", "content": {"type": "text", "text": output}}],
            "rawOutput": {"exit_code": status.code()}}))
        .await
}

async fn read(stream: Option<impl tokio::io::AsyncRead + Unpin>, text: &mut String) {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What a command printed before its pipe broke is all that there is.
        let _ = stream.read_to_end(&mut bytes).await;
    }
    text.push_str(&String::from_utf8_lossy(&bytes));
}

async fn ask(
    stage: &Stage,
    title: &str,
    options: &[String],
    input: &Value,
    calls: &mut u32,
) -> std::io::Result<bool> {
    let id = call_id(calls);
    stage
        .voice
        .update(json!({"sessionUpdate": "tool_call", "toolCallId": id, "title": title, "kind": "execute",
            "status": "pending", "rawInput": input}))
        .await?;
    let offered: Vec<Value> =
        options.iter().map(|kind| json!({"optionId": kind, "name": kind, "kind": kind})).collect();
    let call = json!({"toolCallId": id, "title": title, "kind": "execute", "status": "pending", "rawInput": input});
    let answer = stage
        .voice
        .request("session/request_permission", json!({"toolCall": call, "options": offered}))
        .await?;
    let allowed = answer["outcome"]["optionId"].as_str().is_some_and(|id| id.starts_with("allow"));
    let status = if allowed { "completed" } else { "failed" };
    stage
        .voice
        .update(json!({"sessionUpdate": "tool_call_update", "toolCallId": id, "status": status}))
        .await?;
    Ok(allowed)
}

async fn complain(line: &str) -> std::io::Result<()> {
    use tokio::io::AsyncWriteExt;
    let mut stderr = tokio::io::stderr();
    stderr.write_all(format!("{line}\n").as_bytes()).await?;
    stderr.flush().await
}

fn call_id(calls: &mut u32) -> String {
    *calls += 1;
    format!("call-{calls}")
}
