//! Streams: what was missed is read again, and what is over says so.

use reqwest::{Method, StatusCode};
use serde_json::json;
use windlass_run::{StepId, job::Report};
use windlass_wire::{
    runner::{Content, Piece, StreamRequest},
    session::{Entry, Event},
};

use super::{
    house::{Events, House},
    scripted_runner::{Held, Runner, gave_up},
};

fn agent() -> StepId {
    StepId::parse("agent").expect("a step")
}

async fn started<'a>(house: &'a House) -> (Runner<'a>, Held, String) {
    house.project("shop").await;
    let runner = Runner::register(house).await;
    let (_, job_id) = house.task("shop", "Do something").await;
    let mut held = runner.lease().await;
    runner.report(&mut held, vec![Report::StepStarted { step_id: agent() }]).await;
    (runner, held, job_id)
}

async fn append(runner: &Runner<'_>, held: &Held, content: Content) {
    let piece = Piece {
        job_id: held.lease.job_id.clone(),
        epoch: held.lease.epoch,
        step_id: agent(),
        attempt: 1,
        content,
    };
    let request = StreamRequest { runner_id: runner.id.clone(), pieces: vec![piece] };
    runner.post("streams", &request).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_back_gets_exactly_what_it_missed() {
    let house = House::new().await;
    let (runner, mut held, job_id) = started(&house).await;
    let path = format!("/api/v1/jobs/{job_id}/events");
    let mut events = Events::open(house.request(Method::GET, &path)).await;
    let (first, _) = events.next().await.expect("an event");
    assert_eq!(first, "1");
    drop(events);
    runner.report(&mut held, vec![gave_up()]).await;
    let request = house.request(Method::GET, &path).header("last-event-id", "1");
    let mut events = Events::open(request).await;
    let mut ids = Vec::new();
    let mut last = json!(null);
    while let Some((id, event)) = events.next().await {
        ids.push(id.parse::<u64>().expect("a number"));
        last = event["event"]["event"].clone();
    }
    assert_eq!(ids, (2..2 + ids.len() as u64).collect::<Vec<_>>());
    assert_eq!(last, "ended");
    let newest = ids.last().expect("events").to_string();
    let request = house.request(Method::GET, &path).header("last-event-id", newest);
    let response = request.header("accept", "text/event-stream").send().await.expect("answered");
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_streams_in_whole_characters_and_resumes_by_byte() {
    let house = House::new().await;
    let (runner, mut held, job_id) = started(&house).await;
    let path = format!("/api/v1/jobs/{job_id}/steps/agent/log?attempt=1");
    let mut events = Events::open(house.request(Method::GET, &path)).await;
    // `a€` in two pieces that cut the euro sign.
    append(&runner, &held, Content::Log { offset: 0, base64: "YeI=".to_owned() }).await;
    let (id, piece) = events.next().await.expect("a piece");
    assert_eq!((id.as_str(), piece), ("1", json!({ "offset": 0, "text": "a" })));
    append(&runner, &held, Content::Log { offset: 2, base64: "gqw=".to_owned() }).await;
    let (id, piece) = events.next().await.expect("a piece");
    assert_eq!((id.as_str(), piece), ("4", json!({ "offset": 1, "text": "€" })));
    runner.report(&mut held, vec![gave_up()]).await;
    assert_eq!(events.next().await, None);
    let request = house.request(Method::GET, &path).header("last-event-id", "1");
    let (id, piece) = Events::open(request).await.next().await.expect("a piece");
    assert_eq!((id.as_str(), piece), ("4", json!({ "offset": 1, "text": "€" })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_paged_and_streamed() {
    let house = House::new().await;
    let (runner, mut held, job_id) = started(&house).await;
    let entry =
        |seq: u64| Entry { seq, at: 1, event: Event::Message { text: format!("<b>{seq}</b>") } };
    let entries: Vec<Entry> = (1..=3).map(entry).collect();
    append(&runner, &held, Content::Session { entries: entries.clone() }).await;
    let path = format!("/api/v1/jobs/{job_id}/steps/agent/session");
    let page = house.get(&format!("{path}?limit=2")).await;
    assert_eq!(page, json!({ "items": entries[..2], "next": "2" }));
    let page = house.get(&format!("{path}?limit=2&after=2")).await;
    assert_eq!(page, json!({ "items": entries[2..] }));
    let mut events = Events::open(house.request(Method::GET, &path)).await;
    for expected in &entries {
        let (id, found) = events.next().await.expect("an entry");
        assert_eq!((id, found), (expected.seq.to_string(), json!(expected)));
    }
    runner.report(&mut held, vec![gave_up()]).await;
    assert_eq!(events.next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_tells_that_something_changed_and_resumes() {
    let house = House::new().await;
    house.project("shop").await;
    let mut events = Events::open(house.request(Method::GET, "/api/v1/feed")).await;
    let (run_id, _) = house.task("shop", "Do something").await;
    let (id, first) = events.next().await.expect("an event");
    assert_eq!(first["seq"].to_string(), id);
    let mut seen = vec![first.clone()];
    while !seen.iter().any(|event| event["id"] == run_id) {
        seen.push(events.next().await.expect("an event").1);
    }
    drop(events);
    let before = (id.parse::<u64>().expect("a number") - 1).to_string();
    let request = house.request(Method::GET, "/api/v1/feed").header("last-event-id", before);
    assert_eq!(Events::open(request).await.next().await.expect("an event").1, first);
    let request = house.request(Method::GET, "/api/v1/feed").header("last-event-id", "x");
    assert_eq!(request.send().await.expect("answered").status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_when_the_server_stops() {
    let mut house = House::new().await;
    house.project("shop").await;
    let mut events = Events::open(house.request(Method::GET, "/api/v1/feed?after=0")).await;
    events.next().await.expect("an event");
    house.handle.take().expect("running").stop().await;
    while events.next().await.is_some() {}
}
