//! The model door between a real HTTP client and the scripted model server, over loopback sockets.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail loudly")]

use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
};

use futures::StreamExt;
use reqwest::{Client, Response, Url};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use windlass_gateway::{
    Door, Secret,
    model::{
        self, Allotment, Credential, Ended, Meter, Options, Provider, Providers, Record, Source,
        Usage, Wire,
    },
    upstream,
};
use windlass_testkit::model_server::{Answer, Fault, ModelServer, Reply, Script, calls, says};

const KEY: &str = "sk-real-key-0123456789abcdef";

/// Records as they come, and a way to wait for them.
#[derive(Clone)]
struct Records {
    sender: tokio::sync::mpsc::UnboundedSender<Record>,
    receiver: Arc<tokio::sync::Mutex<tokio::sync::mpsc::UnboundedReceiver<Record>>>,
    all: Arc<Mutex<Vec<String>>>,
}

impl Records {
    fn new() -> Self {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        Self { sender, receiver: Arc::new(receiver.into()), all: Arc::default() }
    }

    fn sink(&self) -> Arc<dyn windlass_gateway::Sink<Record>> {
        let this = self.clone();
        Arc::new(move |record: Record| {
            this.all.lock().unwrap().push(format!("{record:?}"));
            this.sender.send(record).unwrap();
        })
    }

    async fn next(&self) -> Record {
        self.receiver.lock().await.recv().await.expect("a record")
    }
}

struct World {
    server: ModelServer,
    door: Door,
    records: Records,
    meter: Arc<Allotment>,
    client: Client,
}

fn install_tls() {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a loopback port")
}

fn provider(base: &str) -> Option<Provider> {
    let base_url: Url = base.parse().expect("a URL");
    Some(Provider { base_url, credential: Credential::Key(Secret::new(KEY)) })
}

async fn world_with(script: Script, tokens: u64) -> World {
    install_tls();
    let server = ModelServer::start(script).await.expect("a server");
    let client = upstream::client(&upstream::Options::default()).expect("a client");
    let source = Source::Providers(Box::new(Providers {
        client: client.clone(),
        anthropic: provider(&server.url()),
        openai: provider(&format!("{}/v1", server.url())),
        gemini: provider(&server.url()),
    }));
    let records = Records::new();
    let meter = Arc::new(Allotment::new(tokens));
    let options = Options::new(source, meter.clone(), records.sink(), "job-1".to_owned());
    let door = model::serve(socket(), options).expect("a door");
    World { server, door, records, meter, client }
}

async fn world(answers: impl IntoIterator<Item = Answer>) -> World {
    world_with(Script::sequence(answers), 1_000_000).await
}

impl World {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.door.address())
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        let request = self
            .client
            .post(self.url(path))
            .json(body)
            .header("authorization", "Bearer from-inside");
        request.header("x-api-key", "from-inside").send().await.expect("an answer")
    }
}

/// The four formats, with a request of each.
fn requests(stream: bool) -> [(Wire, &'static str, Value); 4] {
    let messages = json!([{ "role": "user", "content": "hello" }]);
    [
        (
            Wire::AnthropicMessages,
            "/anthropic/v1/messages?beta=true",
            json!({ "model": "claude", "max_tokens": 100, "messages": messages, "stream": stream }),
        ),
        (
            Wire::OpenaiChat,
            "/openai/v1/chat/completions",
            json!({ "model": "gpt", "max_tokens": 100, "messages": messages, "stream": stream }),
        ),
        (
            Wire::OpenaiResponses,
            "/openai/v1/responses",
            json!({ "model": "gpt", "max_output_tokens": 100, "input": "hello", "stream": stream }),
        ),
        (
            Wire::GeminiContent,
            if stream {
                "/gemini/v1beta/models/gemini:streamGenerateContent?alt=sse&key=from-inside"
            } else {
                "/gemini/v1beta/models/gemini:generateContent?key=from-inside"
            },
            json!({
                "contents": [{ "role": "user", "parts": [{ "text": "hello" }] }],
                "generationConfig": { "maxOutputTokens": 100 },
            }),
        ),
    ]
}

const USAGE: Usage = Usage { input: 120, output: 17, cached: 40 };

#[tokio::test]
async fn tokens_are_counted_exactly_in_every_format_streamed_or_not() {
    for stream in [false, true] {
        for (wire, path, body) in requests(stream) {
            let reply = calls(
                "I look at the file first, and then I say more.",
                "read",
                json!({ "path": "a.py" }),
            );
            let world = world([reply.into()]).await;
            let response = world.post(path, &body).await;
            assert_eq!(response.status(), 200, "{path}");
            let text = response.text().await.expect("a body");
            assert!(text.contains("a.py") && text.contains("I look at the file"), "{text}");
            let record = world.records.next().await;
            let model = body["model"].as_str().unwrap_or("gemini").to_owned();
            let expected = Record {
                call_id: "job-1-0".to_owned(),
                wire,
                model,
                stream,
                status: 200,
                usage: USAGE,
                exact: true,
                duration_us: record.duration_us,
                ended: Ended::Complete,
                problem: None,
            };
            assert_eq!(record, expected);
            assert_eq!((world.meter.used(), world.meter.remaining()), (USAGE, 1_000_000 - 177));
        }
    }
}

#[tokio::test]
async fn a_gemini_stream_that_is_one_array_is_counted_too() {
    let world = world([says("some words that come in more than one piece").into()]).await;
    let (_, _, body) = &requests(true)[3];
    let response = world.post("/v1beta/models/gemini:streamGenerateContent", body).await;
    let chunks: Vec<Value> = response.json().await.expect("an array");
    assert_eq!(chunks.len(), 2);
    assert_eq!(world.records.next().await.usage, USAGE);
}

#[tokio::test]
async fn what_comes_from_inside_is_dropped_and_the_real_key_is_added() {
    for (wire, path, body) in requests(false) {
        let world = world([says("hi").into()]).await;
        world.post(path, &body).await;
        let seen = world.server.calls().remove(0);
        let all = format!("{:?} {}", seen.headers, seen.query);
        assert!(!all.contains("from-inside"), "{all}");
        let value = match wire {
            Wire::AnthropicMessages => seen.headers["x-api-key"].to_str().unwrap().to_owned(),
            Wire::OpenaiChat | Wire::OpenaiResponses => {
                seen.headers["authorization"].to_str().unwrap().replace("Bearer ", "")
            }
            Wire::GeminiContent => seen.headers["x-goog-api-key"].to_str().unwrap().to_owned(),
        };
        assert_eq!(value, KEY);
        assert_eq!(seen.headers.get_all("host").iter().count(), 1);
    }
}

#[tokio::test]
async fn clients_that_take_no_path_find_the_same_calls_at_the_root() {
    let paths = [
        "/v1/messages",
        "/v1/chat/completions",
        "/v1/responses",
        "/v1beta/models/gemini:generateContent",
    ];
    for (path, (_, _, body)) in paths.into_iter().zip(requests(false)) {
        let world = world([says("hi").into()]).await;
        assert_eq!(world.post(path, &body).await.status(), 200);
        assert_eq!(world.records.next().await.usage, USAGE);
        assert_eq!(world.client.head(world.url("/")).send().await.expect("alive").status(), 200);
    }
}

#[tokio::test]
async fn a_chunk_that_the_client_did_not_ask_for_is_taken_out_and_one_that_it_did_is_left() {
    let (_, path, body) = requests(true)[1].clone();
    let mut wishing = body.clone();
    wishing["stream_options"] = json!({ "include_usage": true });
    for (body, chunks) in [(body, 0), (wishing, 1)] {
        let world = world([says("hi").into()]).await;
        let text = world.post(path, &body).await.text().await.expect("a body");
        assert_eq!(text.matches("\"choices\":[]").count(), chunks, "{text}");
        assert!(text.ends_with("data: [DONE]\n\n"));
        let record = world.records.next().await;
        assert_eq!((record.usage, record.exact), (USAGE, true));
        assert_eq!(world.server.calls()[0].body["stream_options"]["include_usage"], true);
    }
}

#[tokio::test]
async fn events_pass_as_they_come() {
    for (_, path, body) in requests(true) {
        let reply = says("first some words and then, after a while, some others");
        let world = world([Fault::Held { reply, after: 1 }.into()]).await;
        let mut stream = world.post(path, &body).await.bytes_stream();
        // The rest is held by the server until this first piece has arrived here.
        let first = stream.next().await.expect("a piece").expect("no error");
        assert!(!first.is_empty());
        world.server.release();
        while let Some(piece) = stream.next().await {
            piece.expect("no error");
        }
        assert_eq!(world.records.next().await.ended, Ended::Complete);
    }
}

#[tokio::test]
async fn errors_of_the_provider_pass_as_they_are_and_cost_nothing() {
    for status in [400, 401, 429, 500, 529] {
        for (_, path, body) in requests(true) {
            let retry_after = (status == 429).then_some(7);
            let fault = Fault::Status { status, message: "no, sorry".to_owned(), retry_after };
            let world = world([fault.into()]).await;
            let response = world.post(path, &body).await;
            assert_eq!(response.status(), status);
            let header = response
                .headers()
                .get("retry-after")
                .map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(header, retry_after.map(|seconds| seconds.to_string()));
            let value: Value = response.json().await.expect("JSON");
            assert_eq!(value["error"]["message"], "no, sorry");
            let record = world.records.next().await;
            assert_eq!(
                (record.status, record.ended, record.usage),
                (status, Ended::Failed, Usage::default())
            );
            assert_eq!(world.meter.remaining(), 1_000_000);
        }
    }
}

#[tokio::test]
async fn a_cut_or_short_stream_is_noted_and_paid_for_by_estimate() {
    for (_, path, body) in requests(true) {
        let reply = says(&"words that never end ".repeat(40));
        for (fault, breaks) in [
            (Fault::Cut { reply: reply.clone(), after: 4 }, true),
            (Fault::Short { reply, after: 4 }, false),
        ] {
            let world = world([fault.into()]).await;
            let text = world.post(path, &body).await.text().await;
            assert_eq!(text.is_err(), breaks, "{path}: {text:?}");
            let record = world.records.next().await;
            assert_eq!((record.ended, record.exact), (Ended::Cut, false));
            assert!(record.problem.is_some() && record.usage.input > 0 && record.usage.output > 0);
            assert_eq!(world.meter.used(), record.usage);
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_still_pays() {
    let reply = says(&"many words ".repeat(20));
    let world = world([Fault::Held { reply, after: 5 }.into()]).await;
    let (_, path, mut body) = requests(true)[0].clone();
    body["max_tokens"] = json!(5000);
    let mut stream = world.post(path, &body).await.bytes_stream();
    stream.next().await.expect("a piece").expect("no error");
    drop(stream);
    let record = world.records.next().await;
    assert_eq!((record.ended, record.exact), (Ended::ClientLeft, false));
    // Nobody knows what the provider went on to make: leaving early saves nothing.
    assert_eq!((record.usage.input, record.usage.output), (120, 5000));
    assert_eq!(world.meter.used(), record.usage);
}

#[tokio::test]
async fn garbage_is_passed_and_paid_for_by_estimate() {
    let world = world([Fault::Garbage.into()]).await;
    let (_, path, body) = requests(false)[0].clone();
    assert!(world.post(path, &body).await.text().await.expect("a body").contains("not an answer"));
    let record = world.records.next().await;
    assert_eq!((record.ended, record.exact), (Ended::Cut, false));
    assert!(record.usage.input > 0);
}

#[tokio::test]
async fn without_budget_nothing_is_sent_and_the_error_has_the_apis_form() {
    for (wire, path, body) in requests(true) {
        let world = world_with(Script::sequence([says("never")]), 50).await;
        let response = world.post(path, &body).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-should-retry"]),
            (402, &"false".parse().unwrap())
        );
        let value: Value = response.json().await.expect("JSON");
        let message = value["error"]["message"].as_str().expect("a message");
        assert!(message.contains("token budget") && message.contains("limits.tokens"), "{message}");
        match wire {
            Wire::AnthropicMessages => assert_eq!(value["error"]["type"], "billing_error"),
            Wire::OpenaiChat | Wire::OpenaiResponses => {
                assert_eq!(value["error"]["code"], "insufficient_quota")
            }
            Wire::GeminiContent => assert_eq!(value["error"]["status"], "RESOURCE_EXHAUSTED"),
        }
        assert_eq!(world.records.next().await.ended, Ended::OverBudget);
        assert!(world.server.requests().is_empty());
    }
}

#[tokio::test]
async fn calls_in_flight_count_against_the_budget_and_settling_twice_counts_once() {
    let reply = says("held");
    let world = world_with(Script::sequence([Fault::Held { reply, after: 1 }]), 250).await;
    let (_, path, body) = requests(true)[0].clone();
    let mut first = world.post(path, &body).await.bytes_stream();
    first.next().await.expect("a piece").expect("no error");
    assert_eq!(world.post(path, &body).await.status(), 402);
    world.server.release();
    while first.next().await.is_some() {}
    assert_eq!(world.records.next().await.ended, Ended::OverBudget);
    assert_eq!(world.records.next().await.ended, Ended::Complete);
    world.meter.settle("job-1-0", USAGE);
    assert_eq!((world.meter.used(), world.meter.remaining()), (USAGE, 250 - 177));
    world.meter.grant(1000);
    assert_eq!(world.meter.remaining(), 1250 - 177);
}

#[tokio::test]
async fn only_the_calls_that_agents_need_pass() {
    let world = world([]).await;
    for path in
        ["/openai/v1/files", "/anthropic/v1/messages/batches", "/gemini/v1beta/files", "/other"]
    {
        let response = world.post(path, &json!({})).await;
        assert_eq!(response.status(), 404, "{path}");
        assert!(response.text().await.expect("a body").contains("not one of the calls"), "{path}");
    }
    assert!(world.server.requests().is_empty());
    let models = world.client.get(world.url("/openai/v1/models")).send().await.expect("an answer");
    assert_eq!(models.status(), 200);
    let count = world.post("/anthropic/v1/messages/count_tokens", &json!({ "messages": [] })).await;
    assert_eq!(count.json::<Value>().await.expect("JSON"), json!({ "input_tokens": 7 }));
    assert_eq!(world.server.requests()[0].headers["authorization"], format!("Bearer {KEY}"));
}

#[tokio::test]
async fn bad_requests_are_answered_in_words() {
    let world = world([]).await;
    let post = |body: &'static str| world.client.post(world.url("/v1/messages")).body(body);
    let answer = post("not json").send().await.expect("an answer");
    assert_eq!(answer.status(), 400);
    let answer = post("{}").header("content-encoding", "zstd").send().await.expect("an answer");
    assert_eq!(answer.status(), 415);
    assert!(world.server.requests().is_empty());
}

#[tokio::test]
async fn a_provider_that_is_away_or_not_configured_is_an_error_without_secrets() {
    install_tls();
    let gone = socket();
    let address = gone.local_addr().expect("an address");
    drop(gone);
    let client = upstream::client(&upstream::Options::default()).expect("a client");
    let base_url: Url = format!("http://user:{KEY}@{address}/?token={KEY}").parse().expect("a URL");
    let credential = Credential::Bearer(Secret::new(KEY));
    let source = Source::Providers(Box::new(Providers {
        client: client.clone(),
        anthropic: Some(Provider { base_url, credential }),
        openai: None,
        gemini: None,
    }));
    let records = Records::new();
    let meter = Arc::new(Allotment::new(10_000));
    let options = Options::new(source, meter.clone(), records.sink(), "job".to_owned());
    let door = model::serve(socket(), options).expect("a door");
    for (index, status, word) in
        [(0, 502, "cannot be reached"), (1, 404, "no provider for the OpenAI API")]
    {
        let (_, path, body) = requests(false)[index].clone();
        let response = client
            .post(format!("http://{}{path}", door.address()))
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status);
        let text = response.text().await.expect("a body");
        assert!(text.contains(word) && !text.contains(KEY), "{text}");
        let record = records.next().await;
        assert_eq!((record.ended, record.usage), (Ended::Unreachable, Usage::default()));
    }
    assert!(!records.all.lock().unwrap().concat().contains(KEY));
    assert_eq!(meter.remaining(), 10_000);
}

#[tokio::test]
async fn an_answer_that_repeats_the_key_is_redacted() {
    for stream in [false, true] {
        for (_, path, body) in requests(stream) {
            let world = world([says(&format!("your key is {KEY} and that is bad")).into()]).await;
            let text = world.post(path, &body).await.text().await.expect("a body");
            assert!(!text.contains(KEY), "{text}");
            assert!(text.contains("[redacted:credential]"), "{text}");
            assert_eq!(world.records.next().await.usage, USAGE);
        }
        let fault =
            Fault::Status { status: 401, message: format!("bad key {KEY}"), retry_after: None };
        let world = world([fault.into()]).await;
        let (_, path, body) = requests(stream)[0].clone();
        assert!(!world.post(path, &body).await.text().await.expect("a body").contains(KEY));
        assert!(!format!("{:?}", world.records.next().await).contains(KEY));
    }
}

#[tokio::test]
async fn nothing_is_sent_that_the_provider_would_do_in_the_world_or_where_nobody_counts() {
    let world = world([]).await;
    let image = json!([{ "role": "user", "content": [{ "type": "image",
        "source": { "type": "url", "url": "https://collect.example/?secret" } }] }]);
    for (path, key, value) in [
        ("/openai/v1/responses", "background", json!(true)),
        ("/openai/v1/responses", "tools", json!([{ "type": "web_search" }])),
        ("/anthropic/v1/messages", "tools", json!([{ "type": "web_fetch_20250910" }])),
        ("/anthropic/v1/messages", "mcp_servers", json!([{ "url": "https://collect.example" }])),
        ("/anthropic/v1/messages", "messages", image.clone()),
        ("/anthropic/v1/messages/count_tokens", "messages", image),
    ] {
        let response = world.post(path, &json!({ "model": "m", key: value })).await;
        assert_eq!(response.status(), 403, "{path} with {key}");
        assert!(response.text().await.expect("a body").contains("windlass model door"));
        if !path.ends_with("count_tokens") {
            assert_eq!(world.records.next().await.ended, Ended::Refused);
        }
    }
    assert_eq!(world.server.requests().len(), 0);
    assert_eq!(world.meter.remaining(), 1_000_000);
}

#[tokio::test]
async fn several_answers_to_one_call_are_all_reserved() {
    let world = world_with(Script::sequence(Vec::<Answer>::new()), 1_000).await;
    let messages = json!([{ "role": "user", "content": "hello" }]);
    let body = json!({ "model": "gpt", "max_tokens": 100, "n": 100, "messages": messages });
    assert_eq!(world.post("/openai/v1/chat/completions", &body).await.status(), 402);
    let body = json!({
        "contents": [],
        "generationConfig": { "maxOutputTokens": 100, "candidateCount": 100 },
    });
    let path = "/gemini/v1beta/models/gemini:generateContent";
    assert_eq!(world.post(path, &body).await.status(), 402);
    assert_eq!(world.server.requests().len(), 0);
}

#[tokio::test]
async fn large_requests_wait_unread_while_others_are_in_memory() {
    let world = world([says("a small one passes").into()]).await;
    let mut large = Vec::new();
    for _ in 0..9 {
        let mut stream = tokio::net::TcpStream::connect(world.door.address()).await.unwrap();
        let head = "POST /anthropic/v1/messages HTTP/1.1\r\nhost: door\r\n\
                    content-length: 30000000\r\nexpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        if large.len() < 8 {
            let mut told = [0; 25];
            stream.read_exact(&mut told).await.unwrap();
            assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        large.push(stream);
    }
    let (_, path, body) = requests(false)[0].clone();
    assert_eq!(world.post(path, &body).await.status(), 200);
    let mut ninth = large.pop().unwrap();
    let mut told = [0; 25];
    assert!(ninth.try_read(&mut told).is_err(), "the ninth was asked for its body");
    drop(large);
    ninth.read_exact(&mut told).await.unwrap();
}

#[tokio::test]
async fn stopping_the_door_ends_what_it_serves() {
    let reply = says(&"words ".repeat(50));
    let world = world([Fault::Held { reply, after: 2 }.into()]).await;
    let (_, path, body) = requests(true)[0].clone();
    let mut stream = world.post(path, &body).await.bytes_stream();
    stream.next().await.expect("a piece").expect("no error");
    let World { door, records, .. } = world;
    door.stop().await;
    assert_eq!(records.next().await.ended, Ended::ClientLeft);
    while let Some(Ok(_)) = stream.next().await {}
}

#[tokio::test]
async fn a_recorded_session_answers_as_the_model_did() {
    use std::{collections::BTreeMap, io::Write};
    use windlass_gateway::replay::{Recorder, Session};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    install_tls();
    for stream in [false, true] {
        for (wire, path, body) in requests(stream) {
            let mut reply = calls("I read it.", "read", json!({ "path": "ä.py", "lines": [1, 2] }));
            reply.tools.push(reply.tools[0].clone());
            let server = ModelServer::start(Script::sequence([reply.clone(), says("Done.")]))
                .await
                .expect("a server");
            let client = upstream::client(&upstream::Options::default()).expect("a client");
            let source = Source::Providers(Box::new(Providers {
                client: client.clone(),
                anthropic: provider(&server.url()),
                openai: provider(&format!("{}/v1", server.url())),
                gemini: provider(&server.url()),
            }));
            let file = Shared::default();
            let recorder =
                Arc::new(Recorder::new(Box::new(file.clone()), "a recording").expect("written"));
            let records = Records::new();
            let meter = Arc::new(Allotment::new(10_000));
            let mut options = Options::new(source, meter, records.sink(), "job".to_owned());
            options.recorder = Some(recorder.clone());
            let door = model::serve(socket(), options).expect("a door");
            let url = format!("http://{}{path}", door.address());
            let mut answers = Vec::new();
            for _ in 0..2 {
                answers.push(
                    client.post(&url).json(&body).send().await.unwrap().text().await.unwrap(),
                );
                records.next().await;
            }
            assert_eq!(recorder.finish().expect("all written"), 2, "{wire:?}");

            let text = String::from_utf8(file.0.lock().unwrap().clone()).expect("text");
            let session = Session::parse(&text, &BTreeMap::new()).expect("a session");
            let replies: Vec<Reply> = session.turns.iter().map(|turn| turn.reply.clone()).collect();
            assert_eq!(replies, [reply, says("Done.")], "{wire:?}");
            assert!(!session.scripted);
        }
    }
}
