//! The stage that the tests share: an agent that plays a script at the other end of two pipes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::mpsc;
use windlass_agent::acp::{
    Error, NothingToVerify, Options, Outcome, Permissions, Stop, Streams, Tail, Verifier,
    VerifyResult, drive,
};
use windlass_testkit::acp_agent::{Script, Step, serve};
use windlass_wire::session::Event;

/// What came of one step.
pub(crate) struct Played {
    pub(crate) result: Result<Outcome, Error>,
    pub(crate) events: Vec<Event>,
}

impl Played {
    /// The text of the error that the step must have ended with.
    pub(crate) fn error(self) -> String {
        match self.result {
            Ok(outcome) => panic!("expected an error, not {outcome:?}"),
            Err(error) => error.to_string(),
        }
    }

    /// The outcome that the step must have ended with.
    pub(crate) fn outcome(&self) -> &Outcome {
        self.result.as_ref().expect("the step has an outcome")
    }
}

/// Options that allow everything and leave no event to chance.
pub(crate) fn options(cwd: &std::path::Path) -> Options {
    let mut options = Options::new("scripted", cwd);
    options.permissions = Permissions::allow_once();
    // Only what comes next sends what waits, so that events do not depend on the clock.
    options.limits.coalesce = Duration::from_secs(24 * 3600);
    options
}

/// The streams of an agent that plays `script` and says `stderr` on its standard error.
pub(crate) fn agent(script: Script, stderr: &str) -> Streams<DuplexStream, DuplexStream> {
    let (stdout, agent_stdout) = tokio::io::duplex(64 * 1024);
    let (stdin, agent_stdin) = tokio::io::duplex(64 * 1024);
    let tail = Tail::default();
    let told = tail.clone();
    let stderr = stderr.to_owned();
    tokio::spawn(async move {
        let _ = serve(BufReader::new(agent_stdin), agent_stdout, script, |_| None).await;
        told.push(stderr.as_bytes());
        told.close();
    });
    Streams { stdout, stdin, stderr: tail }
}

/// An agent whose standard output is `bytes` and nothing else; it stays open.
pub(crate) fn parrot(bytes: &[u8]) -> Streams<DuplexStream, DuplexStream> {
    let (stdout, mut agent_stdout) = tokio::io::duplex(64 * 1024);
    let (stdin, agent_stdin) = tokio::io::duplex(64 * 1024);
    let bytes = bytes.to_vec();
    tokio::spawn(async move {
        let _ = agent_stdout.write_all(&bytes).await;
        std::future::pending::<()>().await;
        drop((agent_stdout, agent_stdin));
    });
    Streams { stdout, stdin, stderr: Tail::default() }
}

/// Plays turns with nothing special.
pub(crate) async fn play(turns: Vec<Vec<Step>>) -> Played {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    play_on(agent(Script::turns(turns), ""), options, &mut NothingToVerify, std::future::pending())
        .await
}

/// Plays with everything given.
pub(crate) async fn play_on(
    streams: Streams<DuplexStream, DuplexStream>,
    options: Options,
    verifier: &mut impl Verifier,
    stop: impl Future<Output = Stop> + Send,
) -> Played {
    let (sender, mut receiver) = mpsc::channel(16);
    let collect = tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(event) = receiver.recv().await {
            events.push(event);
        }
        events
    });
    let result = drive(streams, options, "Do it.".to_owned(), verifier, sender, stop).await;
    Played { result, events: collect.await.unwrap() }
}

/// A verifier that answers from a list, and notes for which turns it was asked.
pub(crate) struct Listed {
    pub(crate) answers: Vec<Vec<VerifyResult>>,
    pub(crate) asked: Arc<Mutex<Vec<u32>>>,
}

impl Listed {
    pub(crate) fn new(answers: Vec<Vec<VerifyResult>>) -> Self {
        Self { answers, asked: Arc::default() }
    }
}

impl Verifier for Listed {
    async fn verify(
        &mut self,
        turn: u32,
    ) -> Result<Vec<VerifyResult>, Box<dyn std::error::Error + Send + Sync>> {
        self.asked.lock().unwrap().push(turn);
        if self.answers.is_empty() {
            return Err("the environment is gone".into());
        }
        Ok(self.answers.remove(0))
    }
}

pub(crate) fn verified(exit_code: i32, output: &str) -> VerifyResult {
    VerifyResult {
        command: "make test".to_owned(),
        exit_code: Some(exit_code),
        output: output.to_owned(),
    }
}

pub(crate) fn say(text: &str) -> Step {
    Step::Say { text: text.to_owned() }
}
