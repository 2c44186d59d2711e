//! Triggers over the real processes: a webhook becomes a pull request, and however often the server is killed,
//! each accepted delivery starts its run once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use serde_json::Value;
use windlass_run::{Time, actor::By};
use windlass_store::{
    Options, Store,
    automations::{Change, NewVersion, Origin},
};

use crate::world::{Up, World};

/// How often the server is killed.
const KILLS: usize = 20;

/// How many senders there are.
const SENDERS: usize = 8;

const GREET: &str = "name: greet
on:
  - webhook: pager
    filter: event.data.word != 'nothing'
    inputs: { word: '${{ event.data.word }}' }
inputs: { word: string }
targets: { repositories: [api] }
steps:
  - run: echo ${{ inputs.word }} >> greeting.txt
  - pull_request:
      branch: windlass/greet-${{ run.id }}
      title: Say ${{ inputs.word }}
";

const AFTER: &str = "name: after
on:
  - automation: { name: greet, outcomes: [succeeded] }
steps:
  - id: told
    run: echo greeted by ${{ event.data.run.id }}
";

const LOAD: &str = "name: load
on:
  - webhook: load
    dedup: ${{ event.data.n }}
targets: { repositories: [api] }
steps:
  - run: \"true\"
";

/// A world with a project, hooks, and these automations in force.
fn world(hooks: &[&str], files: &[(&str, &str)]) -> (World, BTreeMap<String, String>) {
    let world = World::new();
    let repository = world.repository("api", &[("greeting.txt", "good day\n")]);
    let mut up = world.up(&["--no-runner"]);
    world.run(&["project", "add", repository.to_str().expect("UTF-8")]).says(0, &[]);
    let mut secrets = BTreeMap::new();
    for hook in hooks {
        let made = world.json(&["--json", "hook", "create", hook, "--scheme", "bearer"]);
        secrets.insert((*hook).to_owned(), text(&made, "secret"));
    }
    up.stop();
    runtime().block_on(apply(&world, files));
    (world, secrets)
}

/// Puts files in force while no server has the database.
async fn apply(world: &World, files: &[(&str, &str)]) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let now = Time::from_micros(i64::try_from(since.as_micros()).expect("a time"));
    let database = format!("sqlite:{}", world.path("data/windlass.db").display());
    let options = Options::new(world.path("data/blobs"), now);
    let store = Store::open(&database, options).await.expect("it opens");
    let organisation = store.organisations().await.expect("read").pop().expect("one");
    let admin = store.users(&organisation.id).await.expect("read").pop().expect("one");
    let by = By::own(windlass_run::actor::Actor::User(admin.id));
    let change = |(name, text): &(&str, &str)| Change {
        name: (*name).to_owned(),
        expected: 0,
        to: Some(NewVersion {
            file: format!("{name}.yaml"),
            text: (*text).to_owned(),
            origin: Origin::Hand,
        }),
    };
    let changes = files.iter().map(change).collect();
    store.apply_automations(by, organisation.id, changes, None, now).await.expect("applied");
    store.close().await;
}

fn send(world: &World, secret: &str, id: &str, body: &str) -> String {
    let url = text(&world.json(&["--json", "hook", "show", "pager"]), "url");
    let (secret, id, body) = (secret.to_owned(), id.to_owned(), body.to_owned());
    runtime().block_on(async move {
        let request = client().post(&url).bearer_auth(secret).header("webhook-id", id);
        let answer = request.body(body).send().await.expect("answered");
        assert_eq!(answer.status().as_u16(), 202);
        let receipt: Value = answer.json().await.expect("JSON");
        receipt["event"].as_str().expect("an event").to_owned()
    })
}

#[test]
fn a_webhook_becomes_a_pull_request_and_the_next_automation_goes_on_from_there() {
    let (world, secrets) = world(&["pager"], &[("greet", GREET), ("after", AFTER)]);
    let file = world.path("greet.yaml");
    fs::write(&file, GREET).expect("written");
    let _up = world.up(&[]);
    let secret = &secrets["pager"];
    let filtered = send(&world, secret, "1", r#"{"word":"nothing"}"#);
    let fired = send(&world, secret, "2", r#"{"word":"hello; touch /tmp/x"}"#);
    let run = wait(&world, &fired, "fired");
    world.run(&["event", "show", &filtered]).says(0, &["filtered"]);
    let ended = wait_for_end(&world, &run);
    assert_eq!(ended["state"], "succeeded", "{ended}");
    let changes = world.json(&["--json", "review", "list"]);
    assert_eq!(changes["items"][0]["title"], "Say hello; touch /tmp/x");
    // The end of that run is an event, which starts the other one.
    let told = loop {
        let told = world.json(&["--json", "event", "list", "--type", "automation.succeeded"]);
        if let Some(first) = told["items"].as_array().and_then(|items| items.last()) {
            break text(first, "id");
        }
    };
    let next = wait(&world, &told, "fired");
    assert_eq!(wait_for_end(&world, &next)["state"], "succeeded");
    let shown = world.json(&["--json", "event", "show", &told]);
    assert_eq!(shown["ancestry"][0]["run_id"], run.as_str(), "{shown}");
    world
        .run(&["automation", "test", "greet.yaml", "--last", "10"])
        .says(0, &["the filter does not hold", "1 of the last", "starts a run with"]);
    world.run(&["notices"]).says(0, &["All is well."]);
}

#[test]
fn each_accepted_delivery_starts_its_run_once_however_often_the_server_is_killed() {
    let (world, secrets) = world(&["load"], &[("load", LOAD)]);
    let secret = secrets["load"].clone();
    let mut up = world.up(&["--no-runner"]);
    let mut accepted: BTreeSet<String> = BTreeSet::new();
    for kill in 0..KILLS {
        let before = accepted.len();
        accepted.extend(storm(&world, &secret, kill, up));
        assert!(accepted.len() > before);
        up = world.up(&["--no-runner"]);
    }
    let mut waiting = 1;
    while waiting > 0 {
        let page = world.json(&["--json", "event", "list", "--handled", "no", "--limit", "1"]);
        waiting = page["items"].as_array().expect("items").len();
    }
    up.stop();
    let (kept, runs) = runtime().block_on(what_was_kept(&world));
    let lost: Vec<_> = accepted.iter().filter(|id| !kept.contains_key(*id)).collect();
    let wrong: Vec<_> = kept.iter().filter(|(_, runs)| **runs != 1).collect();
    assert_eq!((lost, wrong), (vec![], vec![]));
    assert_eq!(runs, kept.len(), "each run belongs to one delivery");
    eprintln!("{} accepted, {} kept, {runs} runs, {KILLS} kills", accepted.len(), kept.len());
}

/// Sends until enough was accepted, then kills the server under it; what was accepted.
fn storm(world: &World, secret: &str, kill: usize, up: Up) -> BTreeSet<String> {
    let url = text(&world.json(&["--json", "hook", "show", "load"]), "url");
    let accepted = Arc::new(Mutex::new(BTreeSet::new()));
    let runtime = runtime();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (accepted, url, secret) = (accepted.clone(), url.clone(), secret.to_owned());
            runtime.spawn(async move {
                let client = client();
                for n in 0.. {
                    let id = format!("{kill}-{sender}-{n}");
                    let request = client.post(&url).bearer_auth(&secret);
                    let request = request.header("webhook-id", &id);
                    // The server is gone: what it had not answered may be there or not.
                    let body = format!("{{\"n\":\"{id}\"}}");
                    let Ok(answer) = request.body(body).send().await else { return };
                    assert_eq!(answer.status().as_u16(), 202);
                    accepted.lock().expect("locked").insert(id);
                }
            })
        })
        .collect();
    // Each time at another place of its work.
    while accepted.lock().expect("locked").len() < 10 + kill * 3 {
        std::thread::yield_now();
    }
    up.kill();
    for sender in senders {
        runtime.block_on(sender).expect("a sender ends with the server");
    }
    let accepted = accepted.lock().expect("locked");
    accepted.clone()
}

/// How many runs each delivery started, and how many runs there are.
async fn what_was_kept(world: &World) -> (BTreeMap<String, usize>, usize) {
    let database = format!("sqlite:{}", world.path("data/windlass.db").display());
    let options = Options::new(world.path("data/blobs"), Time::from_micros(1));
    let store = Store::open(&database, options).await.expect("it opens");
    let organisation = store.organisations().await.expect("read").pop().expect("one");
    let (mut kept, mut after) = (BTreeMap::new(), 0);
    loop {
        let page = store.events_after(&organisation.id, after, 200).await.expect("read");
        let Some(last) = page.last() else { break };
        after = last.number;
        for event in page.into_iter().filter(|kept| kept.event.source == "webhook/load") {
            let id = &event.event.id;
            let firings = store.firings_of_event(&organisation.id, id).await.expect("read");
            let runs = firings.iter().filter(|row| row.firing.run_id.is_some()).count();
            *kept.entry(event.event.delivery).or_default() += runs;
        }
    }
    let counts = store.counts(&organisation.id, None).await.expect("read");
    assert_eq!(store.check().await.expect("checked"), Vec::<String>::new());
    store.close().await;
    (kept, usize::try_from(counts.queued).expect("few"))
}

/// Waits until a trigger has said something to an event; the run that it started.
fn wait(world: &World, event: &str, outcome: &str) -> String {
    loop {
        let shown = world.json(&["--json", "event", "show", event]);
        let firings = shown["firings"].as_array().cloned().unwrap_or_default();
        if let Some(firing) = firings.iter().find(|it| it["outcome"] == outcome) {
            return text(firing, "run_id");
        }
        assert!(firings.is_empty(), "{firings:?}");
    }
}

fn wait_for_end(world: &World, run: &str) -> Value {
    loop {
        let found = world.json(&["--json", "runs"]);
        let all = found["items"].as_array().cloned().unwrap_or_default();
        let run = all.into_iter().find(|it| it["id"] == run).expect("the run is there");
        if !["queued", "running"].contains(&run["state"].as_str().expect("a state")) {
            return run;
        }
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}")).to_owned()
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}
