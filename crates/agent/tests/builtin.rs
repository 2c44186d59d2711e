//! The built-in agent, driven by our client over pipes, against a scripted model on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by a panic and skips loudly"
)]

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use windlass_agent::acp::{
    self, Error, Outcome, Permissions, Stop, Streams, Tail, Verified, Verifier, VerifyResult,
};
use windlass_agent::builtin::{Api, Limits, Options, serve};
use windlass_testkit::model_server::{
    Answer, Fault, ModelServer, Reply, Script, ToolUse, calls, says,
};
use windlass_wire::session::{Event, FileDiff, GiveUp, ToolKind, ToolStatus};

const APIS: [Api; 2] = [Api::AnthropicMessages, Api::OpenAiChat];

struct Stage {
    repository: tempfile::TempDir,
    server: ModelServer,
    api: Api,
    limits: Limits,
    mode: &'static str,
    permissions: Permissions,
    attempts: u32,
}

struct Played {
    result: Result<Outcome, Error>,
    events: Vec<Event>,
}

impl Stage {
    async fn new(api: Api, script: Script) -> Self {
        Self {
            repository: tempfile::tempdir().unwrap(),
            server: ModelServer::start(script).await.unwrap(),
            api,
            limits: Limits { pause: Duration::from_millis(1), ..Limits::default() },
            mode: "full",
            permissions: Permissions::deny_all("the test denies everything"),
            attempts: 1,
        }
    }

    fn path(&self) -> &Path {
        self.repository.path()
    }

    fn start(&self) -> Streams<DuplexStream, DuplexStream> {
        let (stdout, agent_stdout) = tokio::io::duplex(64 * 1024);
        let (stdin, agent_stdin) = tokio::io::duplex(64 * 1024);
        let base = match self.api {
            Api::AnthropicMessages => self.server.url(),
            Api::OpenAiChat => format!("{}/v1", self.server.url()),
        };
        let mut options = Options::new(self.api, &base, "scripted-model").unwrap();
        options.limits = self.limits.clone();
        tokio::spawn(async move { serve(agent_stdin, agent_stdout, options).await });
        Streams { stdout, stdin, stderr: Tail::default() }
    }

    async fn play(&self) -> Played {
        self.play_with(&mut acp::NothingToVerify, std::future::pending()).await
    }

    async fn play_with(
        &self,
        verifier: &mut impl Verifier,
        stop: impl Future<Output = Stop> + Send,
    ) -> Played {
        let mut options = acp::Options::new("builtin", self.path());
        options.mode = Some(self.mode.to_owned());
        options.permissions = self.permissions.clone();
        options.attempts = self.attempts;
        options.limits.coalesce = Duration::from_secs(24 * 3600);
        let (sender, mut receiver) = mpsc::channel(64);
        let collect = tokio::spawn(async move {
            let mut events = Vec::new();
            while let Some(event) = receiver.recv().await {
                events.push(event);
            }
            events
        });
        let result =
            acp::drive(self.start(), options, "Do it.".to_owned(), verifier, sender, stop).await;
        Played { result, events: collect.await.unwrap() }
    }

    fn call_bodies(&self) -> Vec<Value> {
        self.server.calls().into_iter().map(|seen| seen.body).collect()
    }
}

impl Played {
    fn outcome(&self) -> &Outcome {
        match &self.result {
            Ok(outcome) => outcome,
            Err(error) => panic!("{error}\n{:#?}", self.events),
        }
    }
}

fn finish(summary: &str) -> Reply {
    calls("", "finish", json!({"summary": summary}))
}

#[tokio::test]
async fn it_reads_edits_runs_and_finishes() {
    for api in APIS {
        let stage = Stage::new(
            api,
            Script::sequence([
                calls("I look.", "read", json!({"path": "a.txt"})),
                calls("", "edit", json!({"path": "a.txt", "old": "one", "new": "1"})),
                calls("", "exec", json!({"command": "cat a.txt; exit 4"})),
                calls("I am done.", "finish", json!({"summary": "Done."})),
            ]),
        )
        .await;
        std::fs::write(stage.path().join("a.txt"), "one\n").unwrap();
        let played = stage.play().await;

        let call = |id: &str, title: &str, kind, input| Event::ToolCall {
            id: id.to_owned(),
            title: title.to_owned(),
            kind,
            input,
        };
        let update = |id: &str, status, output: Option<&str>, diffs| Event::ToolUpdate {
            id: id.to_owned(),
            status,
            output: output.map(str::to_owned),
            diffs,
        };
        let diff = FileDiff {
            path: stage.path().join("a.txt").display().to_string(),
            old: Some("one\n".to_owned()),
            new: "1\n".to_owned(),
        };
        let expected = vec![
            Event::Started {
                agent: "builtin".to_owned(),
                version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                mode: Some("full".to_owned()),
                model: None,
                scripted: false,
            },
            Event::Prompt { text: "Do it.".to_owned(), turn: 1 },
            Event::Message { text: "I look.".to_owned() },
            call("tool-1", "Read a.txt", ToolKind::Read, json!({"path": "a.txt"})),
            update("tool-1", ToolStatus::Completed, Some("    1\tone\n"), vec![]),
            call(
                "tool-2",
                "Edit a.txt",
                ToolKind::Edit,
                json!({"path": "a.txt", "old": "one", "new": "1"}),
            ),
            update("tool-2", ToolStatus::Completed, None, vec![diff]),
            call(
                "tool-3",
                "cat a.txt; exit 4",
                ToolKind::Execute,
                json!({"command": "cat a.txt; exit 4"}),
            ),
            update("tool-3", ToolStatus::Failed, Some("1\n(exit code 4)"), vec![]),
            Event::Message { text: "I am done.\n\nDone.".to_owned() },
            Event::TurnEnded { stop_reason: "end_turn".to_owned() },
        ];
        let seen: Vec<Event> = played
            .events
            .iter()
            .filter(|event| {
                !matches!(event, Event::ToolUpdate { status: ToolStatus::InProgress, .. })
            })
            .cloned()
            .collect();
        assert_eq!(seen, expected, "{api:?}");
        assert_eq!(played.outcome().last_message, "I am done.\n\nDone.");
        assert_eq!(stage.server.unexpected(), 0);
        // The model is told what its tools brought.
        let last = stage.call_bodies().pop().unwrap().to_string();
        assert!(last.contains("(exit code 4)") && last.contains("scripted-model"), "{last}");
    }
}

#[tokio::test]
async fn several_calls_in_one_answer_are_run_in_order_and_wrong_ones_are_explained() {
    for api in APIS {
        let several = Reply {
            tools: vec![
                ToolUse { name: "edit".to_owned(), input: json!({"path": "b", "new": "x"}) },
                ToolUse { name: "read".to_owned(), input: json!({"path": "b"}) },
                ToolUse { name: "fly".to_owned(), input: json!({}) },
                ToolUse { name: "exec".to_owned(), input: json!({"cmd": "ls"}) },
            ],
            ..says("")
        };
        let stage = Stage::new(api, Script::sequence([several, finish("Done.")])).await;
        let played = stage.play().await;
        played.outcome();
        let last = stage.call_bodies().pop().unwrap().to_string();
        assert!(last.contains("there is no tool `fly`"), "{last}");
        assert!(last.contains("unknown field `cmd`"), "{last}");
        assert_eq!(std::fs::read_to_string(stage.path().join("b")).unwrap(), "x");
    }
}

#[tokio::test]
async fn giving_up_arrives_as_data() {
    let report = GiveUp {
        tried: vec!["cargo update".to_owned()],
        stopped_because: "the registry is not reachable".to_owned(),
        would_unblock: "allow registry.example".to_owned(),
    };
    let input = json!({"summary": "It can't be done here.", "gave_up": report});
    let stage =
        Stage::new(Api::AnthropicMessages, Script::sequence([calls("", "finish", input)])).await;
    let played = stage.play().await;
    assert_eq!(played.outcome().gave_up, Some(report.clone()));
    // Clients that do not know our `_meta` find it in the message.
    assert_eq!(windlass_agent::give_up::in_message(&played.outcome().last_message), Some(report));
}

#[tokio::test]
async fn an_answer_without_a_tool_ends_the_turn_and_a_second_turn_remembers_the_first() {
    struct Twice;
    impl Verifier for Twice {
        async fn verify(
            &mut self,
            turn: u32,
        ) -> Result<Vec<VerifyResult>, Box<dyn std::error::Error + Send + Sync>> {
            let exit_code = Some(if turn == 1 { 1 } else { 0 });
            Ok(vec![VerifyResult {
                command: "make".to_owned(),
                exit_code,
                output: "broken".to_owned(),
            }])
        }
    }
    for api in APIS {
        let mut stage = Stage::new(api, Script::sequence([says("First."), says("Second.")])).await;
        stage.attempts = 2;
        let played = stage.play_with(&mut Twice, std::future::pending()).await;
        assert_eq!((played.outcome().turns, &played.outcome().verified), (2, &Verified::Passed));
        let last = stage.call_bodies().pop().unwrap().to_string();
        assert!(last.contains("First.") && last.contains("broken"), "{last}");
    }
}

#[tokio::test]
async fn it_asks_as_its_mode_says_and_takes_no_for_an_answer() {
    for (mode, edited, asked) in [("ask", false, 2), ("auto", true, 1)] {
        let mut stage = Stage::new(
            Api::OpenAiChat,
            Script::sequence([
                calls("", "edit", json!({"path": "a", "new": "x"})),
                calls("", "exec", json!({"command": "touch b"})),
                finish("Done."),
            ]),
        )
        .await;
        stage.mode = mode;
        let played = stage.play().await;
        assert_eq!(played.outcome().denied, asked, "{mode}");
        assert_eq!(stage.path().join("a").exists(), edited, "{mode}");
        assert!(!stage.path().join("b").exists(), "{mode}");
        assert!(stage.call_bodies().pop().unwrap().to_string().contains("This was not allowed"));
    }
}

#[tokio::test]
async fn errors_of_the_api_that_pass_are_waited_out() {
    for api in APIS {
        let fault = |status, retry_after| {
            Answer::Fault(Fault::Status { status, message: "later".to_owned(), retry_after })
        };
        let stage = Stage::new(
            api,
            Script::sequence([
                fault(529, None),
                fault(429, Some(0)),
                fault(500, None),
                Answer::Fault(Fault::Garbage),
                Answer::Fault(Fault::Cut { reply: says("Half"), after: 10 }),
                finish("Done.").into(),
            ]),
        )
        .await;
        let played = stage.play().await;
        assert_eq!(played.outcome().last_message, "Done.", "{api:?}");
        assert_eq!(stage.server.calls().len(), 6, "{api:?}");
    }
}

#[tokio::test]
async fn an_api_that_keeps_failing_ends_the_turn_with_its_reason() {
    for (status, tries, calls) in [(500, 3, 3), (401, 3, 1)] {
        let fault =
            Fault::Status { status, message: "the door is shut".to_owned(), retry_after: None };
        let script = Script::each(move |_| Answer::Fault(fault.clone()));
        let mut stage = Stage::new(Api::AnthropicMessages, script).await;
        stage.limits.tries = tries;
        let played = stage.play().await;
        let error = played.result.unwrap_err().to_string();
        assert!(
            error.contains(&format!("the model door answered {status}: the door is shut")),
            "{error}"
        );
        assert_eq!(stage.server.calls().len(), calls);
    }
}

#[tokio::test]
async fn a_door_that_is_not_there_is_named() {
    let mut stage = Stage::new(Api::OpenAiChat, Script::sequence([finish("Done.")])).await;
    stage.limits.tries = 2;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (stdout, agent_stdout) = tokio::io::duplex(64 * 1024);
    let (stdin, agent_stdin) = tokio::io::duplex(64 * 1024);
    let mut options = Options::new(Api::OpenAiChat, &format!("http://{address}/v1"), "m").unwrap();
    options.limits = stage.limits.clone();
    tokio::spawn(async move { serve(agent_stdin, agent_stdout, options).await });
    let (sender, _receiver) = mpsc::channel(64);
    let result = acp::drive(
        Streams { stdout, stdin, stderr: Tail::default() },
        acp::Options::new("builtin", stage.path()),
        "Do it.".to_owned(),
        &mut acp::NothingToVerify,
        sender,
        std::future::pending(),
    )
    .await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("the model door can't be reached"), "{error}");
}

#[tokio::test]
async fn bounds_end_a_turn_that_goes_on_for_ever() {
    let for_ever = || Script::each(|_| calls("", "read", json!({"path": "."})).into());
    let mut stage = Stage::new(Api::OpenAiChat, for_ever()).await;
    stage.limits.calls = 5;
    let played = stage.play().await;
    assert_eq!(played.outcome().stop_reason, "max_turn_requests");
    assert_eq!(stage.server.calls().len(), 5);

    let mut stage = Stage::new(Api::OpenAiChat, for_ever()).await;
    stage.limits.tokens = 300;
    let played = stage.play().await;
    assert_eq!(played.outcome().stop_reason, "max_tokens");
    assert_eq!(stage.server.calls().len(), 2);
}

#[tokio::test]
async fn an_answer_that_was_cut_off_goes_on_and_not_for_ever() {
    for api in APIS {
        let cut = || Reply { truncated: true, ..says("I was about to") };
        let stage = Stage::new(api, Script::sequence([cut(), finish("Done.")])).await;
        assert!(stage.play().await.outcome().last_message.ends_with("Done."));
        let stage = Stage::new(api, Script::each(move |_| cut().into())).await;
        assert_eq!(stage.play().await.outcome().stop_reason, "max_tokens");
        assert_eq!(stage.server.calls().len(), 4);
    }
}

#[tokio::test]
async fn a_conversation_that_is_too_long_is_shortened_and_tried_again() {
    let too_long = Fault::Status {
        status: 400,
        message: "prompt is too long: 200001 tokens > 200000 maximum".to_owned(),
        retry_after: None,
    };
    let mut answers: Vec<Answer> = (0..12)
        .map(|_| calls("", "exec", json!({"command": "yes | head -c 20000"})).into())
        .collect();
    answers.push(too_long.into());
    answers.push(finish("Done.").into());
    let mut stage = Stage::new(Api::AnthropicMessages, Script::sequence(answers)).await;
    stage.limits.context_tokens = 100_000;
    let played = stage.play().await;
    assert_eq!(played.outcome().last_message, "Done.");
    let bodies = stage.call_bodies();
    let length = |n: usize| bodies[n].to_string().len();
    assert!(length(13) < length(12), "{} and {}", length(13), length(12));
    assert!(bodies[13].to_string().contains("Do it."));
}

#[tokio::test]
async fn cancelling_ends_a_running_command() {
    let stage = Stage::new(
        Api::AnthropicMessages,
        Script::sequence([calls("", "exec", json!({"command": "echo $$ > pid; sleep 1000"}))]),
    )
    .await;
    let file = stage.path().join("pid");
    let stop = async {
        while std::fs::read_to_string(&file).unwrap_or_default().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Stop::Cancelled
    };
    let played = stage.play_with(&mut acp::NothingToVerify, stop).await;
    assert!(matches!(played.result, Err(Error::Cancelled { clean: true })), "{:?}", played.result);
    let pid = std::fs::read_to_string(&file).unwrap();
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    // Killed before the turn's end was said; it takes the kernel a moment, and may leave a zombie.
    while !(stat().is_empty() || stat().contains(") Z ")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn cancelling_ends_a_call_of_the_model() {
    let held = Fault::Held { reply: says("Hm."), after: 0 };
    let stage = Stage::new(Api::OpenAiChat, Script::sequence([held])).await;
    let stop = async {
        stage.server.wait_for(1).await;
        Stop::Deadline
    };
    let played = stage.play_with(&mut acp::NothingToVerify, stop).await;
    assert!(matches!(played.result, Err(Error::Deadline { clean: true })), "{:?}", played.result);
}
