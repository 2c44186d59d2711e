//! The scripted ACP agent as a process. Its script is a JSON file named by `--script FILE`, or the
//! JSON text in the variable `WINDLASS_SCRIPTED_AGENT`. It does nothing that its script does not say.

#![allow(
    clippy::disallowed_methods,
    reason = "a test program of its own: its script comes by a variable, and it ends as the script says"
)]

use std::process::ExitCode;

use tokio::io::BufReader;
use windlass_testkit::acp_agent::{End, OnCancel, Script, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let script = match script() {
        Ok(script) => script,
        Err(problem) => return fail(&problem),
    };
    let is_deaf = script.on_cancel == OnCancel::Ignore;
    let stdin = BufReader::new(tokio::io::stdin());
    let variable = |name: &str| std::env::var(name).ok();
    let end = serve(stdin, tokio::io::stdout(), script, variable).await;
    // A thread that still reads standard input would hold up an ordinary return.
    match end {
        // Deaf to that as well: only its caller can end it.
        Ok(End::Closed) if is_deaf => std::future::pending().await,
        Ok(End::Closed) => std::process::exit(0),
        Ok(End::Exit(code)) => std::process::exit(code),
        Ok(End::Kill) => {
            let pid = rustix::process::getpid();
            match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
                Ok(()) => std::process::exit(137),
                Err(error) => fail(&format!("failed to kill itself: {error}")),
            }
        }
        Err(error) => fail(&format!("failed to play the script: {error}")),
    }
}

fn script() -> Result<Script, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = match arguments.as_slice() {
        [] => std::env::var("WINDLASS_SCRIPTED_AGENT").map_err(|_| {
            "no script: use --script FILE or set WINDLASS_SCRIPTED_AGENT".to_owned()
        })?,
        [flag, file] if flag == "--script" => std::fs::read_to_string(file)
            .map_err(|error| format!("failed to read {file}: {error}"))?,
        _ => return Err("usage: scripted-agent [--script FILE]".to_owned()),
    };
    serde_json::from_str(&json).map_err(|error| format!("failed to read the script: {error}"))
}

#[expect(
    clippy::print_stderr,
    reason = "a test program's way to say what is wrong with its script"
)]
fn fail(problem: &str) -> ExitCode {
    eprintln!("scripted-agent: {problem}");
    ExitCode::from(2)
}
