//! Pages from outside, without a browser: what they answer, to whom, and how a live page goes on.

use reqwest::{Method, Response, StatusCode};
use windlass_run::{StepId, job::Report};
use windlass_wire::{
    api::account::Role,
    runner::{Content, Piece, StreamRequest},
    session::{Entry, Event},
};

use super::{
    house::{Events, House},
    scripted_runner::{Held, Runner, gave_up},
};

const HOSTILE: &str = "</title><script>alert(1)</script> \u{202e}evil";

async fn page(house: &House, path: &str) -> (StatusCode, String) {
    let request = house.request(Method::GET, path).header("accept", "text/html");
    let response = request.send().await.expect("answered");
    let status = response.status();
    assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8", "{path}");
    (status, response.text().await.expect("text"))
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).map(|value| value.to_str().expect("ASCII"));
    value.unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_there_on_an_empty_server() {
    let house = House::new().await;
    for path in [
        "/",
        "/runs",
        "/runs?state=gave_up",
        "/review",
        "/review?state=all",
        "/search",
        "/search?q=nothing",
        "/projects",
        "/runners",
        "/settings",
        "/secrets",
        "/sign-in",
        "/problems",
        "/problems/merge-conflict",
    ] {
        let (status, html) = page(&house, path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {html}");
        assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>"), "{path}");
        assert!(!html.contains(" style=") && !html.contains("<style"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_of_strangers_never_becomes_markup() {
    let house = House::new().await;
    house.project("shop").await;
    let (run_id, job_id) = house.task("shop", HOSTILE).await;
    let runner = Runner::register(&house).await;
    runner.play(&[("<img src=x>.txt", HOSTILE)]).await;
    for path in [
        "/".to_owned(),
        "/runs".to_owned(),
        format!("/runs/{run_id}"),
        format!("/jobs/{job_id}?view=diff"),
        format!("/jobs/{job_id}?view=effects"),
        "/review".to_owned(),
        "/changes/shop/1".to_owned(),
        "/changes/shop/1?view=unified&at=0n1".to_owned(),
        "/projects/shop".to_owned(),
        "/search?q=%3Cscript%3E".to_owned(),
    ] {
        let (status, html) = page(&house, &path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!html.contains("<script>") && !html.contains("<img"), "{path}: {html}");
        assert!(!html.contains('\u{202e}'), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_gets_pages_of_problems_and_a_program_gets_problems() {
    let house = House::new().await;
    let (status, html) = page(&house, "/runs/run_nonsense").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(html.contains("href=\"/problems/not-found\""), "{html}");
    let viewer = house.token(Role::Viewer).await;
    let request = house.request_as(&viewer, Method::POST, "/projects");
    let response = request.header("accept", "text/html").send().await.expect("answered");
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(response.text().await.expect("text").contains("Your role does not allow this"));
    let response = house.request(Method::GET, "/nowhere").send().await.expect("answered");
    assert_eq!(header(&response, "content-type"), "application/problem+json");
    let nobody = house.http.get(format!("{}/runs?state=failed", house.url));
    let response = nobody.send().await.expect("answered");
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&response, "location"), "/sign-in?next=/runs%3Fstate%3Dfailed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assets_may_be_kept_for_ever_and_text_is_compressed() {
    let house = House::new().await;
    let (_, html) = page(&house, "/").await;
    let asset =
        html.split('"').find(|part| part.ends_with("/windlass.css")).expect("a style sheet");
    let request = house.request(Method::GET, asset).header("accept-encoding", "gzip");
    let response = request.send().await.expect("answered");
    assert_eq!(header(&response, "cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(header(&response, "content-encoding"), "gzip");
    let request = house.request(Method::GET, "/").header("accept-encoding", "gzip");
    let response = request.send().await.expect("answered");
    assert_eq!(header(&response, "cache-control"), "no-store");
    assert_eq!(header(&response, "content-encoding"), "gzip");
}

fn agent() -> StepId {
    StepId::parse("agent").expect("a step")
}

async fn say(runner: &Runner<'_>, held: &Held, seq: u64, text: &str) {
    let event = Event::Message { text: text.to_owned() };
    let piece = Piece {
        job_id: held.lease.job_id.clone(),
        epoch: held.lease.epoch,
        step_id: agent(),
        attempt: 1,
        content: Content::Session { entries: vec![Entry { seq, at: 1, event }] },
    };
    let request = StreamRequest { runner_id: runner.id.clone(), pieces: vec![piece] };
    runner.post("streams", &request).await;
}

/// The next markup of a live page that holds this text, and its cursor. Beats are passed over.
async fn put(events: &mut Events, text: &str) -> (String, String) {
    loop {
        let (id, data) = events.next().await.expect("an event");
        let markup = data.as_str().unwrap_or_default().to_owned();
        if markup.contains(text) {
            return (id, markup);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_page_that_comes_back_gets_exactly_what_it_missed() {
    let house = House::new().await;
    house.project("shop").await;
    let runner = Runner::register(&house).await;
    let (_, job_id) = house.task("shop", "Do something").await;
    let mut held = runner.lease().await;
    runner.report(&mut held, vec![Report::StepStarted { step_id: agent() }]).await;
    say(&runner, &held, 1, "First words.").await;

    let path = format!("/jobs/{job_id}/live?step=agent&view=session");
    let mut events = Events::open(house.request(Method::GET, &path)).await;
    let (cursor, markup) = put(&mut events, "First words.").await;
    assert!(markup.contains("id=\"s1\"") && markup.contains("id=\"job-head\""), "{markup}");
    drop(events);

    say(&runner, &held, 2, " More of the same.").await;
    let request = house.request(Method::GET, &path).header("last-event-id", cursor);
    let mut events = Events::open(request).await;
    let (cursor, markup) = put(&mut events, "More of the same.").await;
    assert!(markup.contains("First words. More of the same."), "the item is whole: {markup}");
    drop(events);

    runner.report(&mut held, vec![gave_up()]).await;
    let request = house.request(Method::GET, &path).header("last-event-id", cursor);
    let mut events = Events::open(request).await;
    let (_, markup) = put(&mut events, "It could not be done.").await;
    assert!(!markup.contains("First words."), "what was seen is not sent again: {markup}");
    while let Some((_, data)) = events.next().await {
        assert!(!data.to_string().contains("First words."), "{data}");
    }
}
