//! A runner that keeps environments without making any: one runs as soon as that is wanted, and its loopback is
//! that of this machine. Over the real protocol, with real streams.

use std::{collections::HashMap, sync::Mutex};

use reqwest::{Method, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::{AbortHandle, JoinHandle},
};
use windlass_run::{
    EnvironmentId, RunnerId,
    environment::{Seen, Wanted},
};
use windlass_wire::{
    api::account::Role,
    attach::{Attach, Dial, End, FrameKind, PROTOCOL as ATTACH, frames, head},
    runner::{
        EnvironmentStart, Environments, EnvironmentsRequest, ObservedEnvironment, PROTOCOL,
        Register, Registered, WantedEnvironment,
    },
};

use super::house::{House, client, expect};

/// A runner of environments. Ends when it is dropped.
pub(crate) struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Keeper {
    /// Registers, and keeps whatever there is. Repositories name these ports.
    pub(crate) async fn new(house: &House, offered: &[(u16, &str)]) -> Self {
        let token = house.token(Role::Runner).await;
        let register = Register {
            name: "keeper".to_owned(),
            protocol: PROTOCOL,
            version: "1".to_owned(),
            previous: None,
            capacity: 0,
            environments: 8,
            labels: Default::default(),
        };
        let request = house.request_as(&token, Method::POST, "/api/v1/runner/register");
        let answer = expect(StatusCode::OK, request.json(&register)).await;
        let registered: Registered = serde_json::from_value(answer).expect("registered");
        let keeping = Keeping {
            url: house.url.clone(),
            token,
            id: registered.runner_id,
            offered: offered.iter().map(|(port, name)| (*port, (*name).to_owned())).collect(),
            streams: Mutex::default(),
        };
        Self(tokio::spawn(keeping.keep()))
    }
}

struct Keeping {
    url: String,
    token: String,
    id: RunnerId,
    offered: Vec<(u16, String)>,
    streams: Mutex<HashMap<EnvironmentId, Vec<AbortHandle>>>,
}

impl Keeping {
    async fn keep(self) {
        let (mut told, mut kept) = (String::new(), Vec::<WantedEnvironment>::new());
        loop {
            let request = EnvironmentsRequest {
                runner_id: self.id.clone(),
                capacity: 8,
                told: told.clone(),
                wait_ms: 5_000,
                observed: kept.iter().map(|wanted| self.observed(wanted)).collect(),
            };
            let path = format!("{}/api/v1/runner/environments", self.url);
            let sent = client().post(path).bearer_auth(&self.token).json(&request).send().await;
            let Ok(answer) = sent else { return };
            let Ok(answer) = answer.json::<Environments>().await else { return };
            if answer.digest != told {
                (told, kept) = (answer.digest, answer.environments);
            }
            for attach in answer.attach {
                self.attach(attach);
            }
        }
    }

    fn observed(&self, wanted: &WantedEnvironment) -> ObservedEnvironment {
        let seen = match wanted.wanted {
            Wanted::Running => Seen::Running,
            Wanted::Stopped => Seen::Stopped,
            Wanted::Gone => Seen::Gone,
        };
        let start = EnvironmentStart { offered: self.offered.clone(), ..Default::default() };
        ObservedEnvironment {
            id: wanted.id.clone(),
            generation: wanted.generation,
            seen,
            active_at: None,
            looked: None,
            ended: Vec::new(),
            start: (wanted.wanted == Wanted::Running).then_some(start),
        }
    }

    fn attach(&self, attach: Attach) {
        let url =
            format!("{}/api/v1/runner/streams/{}?runner_id={}", self.url, attach.stream, self.id);
        let token = self.token.clone();
        let stream = tokio::spawn(async move {
            let client =
                reqwest::Client::builder().http1_only().no_proxy().build().expect("a client");
            let dialled = client
                .get(url)
                .bearer_auth(token)
                .header("connection", "upgrade")
                .header("upgrade", ATTACH)
                .send()
                .await;
            // One that was dialled already, or is not wanted any more, is refused.
            if let Ok(answer) = dialled
                && let Ok(stream) = answer.upgrade().await
            {
                serve(stream).await;
            }
        });
        let mut streams = self.streams.lock().expect("nobody panicked");
        streams.entry(attach.environment_id).or_default().push(stream.abort_handle());
    }
}

async fn frame(from: &mut (impl AsyncRead + Unpin)) -> Option<(FrameKind, Vec<u8>)> {
    let mut bytes = [0; 5];
    from.read_exact(&mut bytes).await.ok()?;
    let (kind, length) = head(bytes).expect("a frame");
    let mut content = vec![0; length];
    from.read_exact(&mut content).await.ok()?;
    Some((kind, content))
}

/// Connects to the port that is asked for, on this machine.
async fn serve(stream: reqwest::Upgraded) {
    let (mut from, mut to) = tokio::io::split(stream);
    let Some((FrameKind::Dial, content)) = frame(&mut from).await else { return };
    let dial: Dial = serde_json::from_slice(&content).expect("a port");
    let Ok(mut service) = TcpStream::connect(("127.0.0.1", dial.port)).await else {
        let end = End::NotStarted { why: "nothing listens".to_owned() };
        let end = serde_json::to_vec(&end).expect("JSON");
        let _ = to.write_all(&frames(FrameKind::End, &end)).await;
        let _ = to.shutdown().await;
        return;
    };
    let (mut answers, mut questions) = service.split();
    if to.write_all(&frames(FrameKind::Output, &[])).await.is_err() || to.flush().await.is_err() {
        return;
    }
    let outward = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = answers.read(&mut buffer).await {
            let sent = to.write_all(&frames(FrameKind::Output, &buffer[..n])).await;
            if sent.is_err() || to.flush().await.is_err() {
                return;
            }
        }
    };
    let inward = async {
        while let Some((kind, content)) = frame(&mut from).await {
            match (kind, content.is_empty()) {
                (FrameKind::Input, false) if questions.write_all(&content).await.is_err() => return,
                (FrameKind::Input, true) => drop(questions.shutdown().await),
                _ => {}
            }
        }
    };
    tokio::select! {
        () = outward => {}
        () = inward => {}
    }
}
