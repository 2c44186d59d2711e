//! Git's own HTTP front end, `git http-backend`, as the model's git address: an implementation of
//! the smart protocol that is not ours.

use std::process::Stdio;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{header, request::Parts};
use axum::response::Response;
use tokio::io::AsyncWriteExt;

use super::{Access, World};

pub(super) async fn serve(
    world: &Arc<tokio::sync::Mutex<World>>,
    parts: &Parts,
    body: Bytes,
) -> Response {
    let path = parts.uri.path();
    let Some((repository, rest)) = path.trim_start_matches('/').split_once(".git/") else {
        return plain(404, "Not Found");
    };
    let query = parts.uri.query().unwrap_or_default();
    let is_push = rest == "git-receive-pack" || query.contains("git-receive-pack");
    let (dir, path_variable) = {
        let world = world.lock().await;
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(password);
        let access = token.and_then(|token| world.tokens.get(&token)).map(|token| token.access);
        let found = world.repositories.get(&repository.to_ascii_lowercase());
        let public = found.is_some_and(|found| !found.private);
        match (access, is_push) {
            (None, false) if public => {}
            (None, _) => return challenge(),
            (Some(Access::Read), true) => return plain(403, "Permission to push denied"),
            (Some(_), _) => {}
        }
        let Some(found) = found else { return plain(404, "Repository not found.") };
        (found.dir.clone(), world.git.options().path.clone())
    };
    let text = |name: &str| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut command = tokio::process::Command::new("git");
    command
        .arg("http-backend")
        .env_clear()
        .env("PATH", path_variable)
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    command
        .env("GIT_PROJECT_ROOT", &dir)
        .env("PATH_INFO", format!("/{rest}"))
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", parts.method.as_str());
    command
        .env("CONTENT_TYPE", text("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", text("content-encoding"));
    command
        .env("GIT_PROTOCOL", text("git-protocol"))
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "somebody");
    command
        .env("GIT_CONFIG_COUNT", "2")
        .env("GIT_CONFIG_KEY_0", "http.receivepack")
        .env("GIT_CONFIG_VALUE_0", "true");
    command.env("GIT_CONFIG_KEY_1", "safe.directory").env("GIT_CONFIG_VALUE_1", "*");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    match run(command, body).await {
        Ok(output) => answer(&output),
        Err(error) => plain(500, &error.to_string()),
    }
}

async fn run(mut command: tokio::process::Command, body: Bytes) -> std::io::Result<Vec<u8>> {
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // It may answer before it has read everything.
            let _ = stdin.write_all(&body).await;
        }
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    Ok(output?.stdout)
}

/// Turns the program's headers and body into an answer.
fn answer(output: &[u8]) -> Response {
    let Some(end) = output.windows(4).position(|window| window == b"\r\n\r\n") else {
        return plain(500, "no headers");
    };
    let mut builder = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        if let Some((name, value)) = line.split_once(": ") {
            builder = match name {
                "Status" => builder.status(value.split(' ').next().unwrap_or("500")),
                _ => builder.header(name, value),
            };
        }
    }
    builder.body(Body::from(output[end + 4..].to_vec())).unwrap_or_default()
}

/// The password of HTTP Basic, or the token of Bearer.
fn password(value: &str) -> Option<String> {
    match value.split_once(' ')? {
        ("Bearer" | "token", token) => Some(token.to_owned()),
        (_, encoded) => {
            let decoded = base64(encoded)?;
            decoded.split_once(':').map(|(_, password)| password.to_owned())
        }
    }
}

fn base64(text: &str) -> Option<String> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut out = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = group.iter().try_fold(0u32, |bits, &byte| Some(bits << 6 | digit(byte)?))?
            << (6 * (4 - group.len()));
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    String::from_utf8(out).ok()
}

fn challenge() -> Response {
    let builder =
        Response::builder().status(401).header(header::WWW_AUTHENTICATE, "Basic realm=\"GitHub\"");
    builder.body(Body::from("Authentication required")).unwrap_or_default()
}

fn plain(status: u16, text: &str) -> Response {
    Response::builder().status(status).body(Body::from(text.to_owned())).unwrap_or_default()
}
