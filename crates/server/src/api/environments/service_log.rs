//! `GET .../services/{service}/log` and `.../tasks/{task}/log`: output of services and tasks of an
//! environment, as bytes or as a stream. The runner keeps the end of it while the environment runs.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use tokio::sync::mpsc;
use windlass_policy::permission::Action;
use windlass_wire::{
    api::job::{LogPiece, StreamQuery},
    automation::Of,
};

use super::services::PROBLEMS;
use crate::{
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Keys, Place},
    problem::Problem,
    sse,
    state::AppState,
    views,
    ways::{self, automation::Log},
};

/// How many pieces wait for whoever reads them.
const WAITING: usize = 16;
/// How long whoever asks waits for something that is there already.
const AT_ONCE: std::time::Duration = std::time::Duration::from_millis(300);

pub(super) fn endpoints() -> Vec<Endpoint> {
    let access = Access::Allows(Action::UseEnvironments);
    let endpoint = |path, doc: Doc, of: fn(String) -> Of| {
        let handler = move |State(app): State<AppState>,
                            principal: Principal,
                            headers: HeaderMap,
                            Place((name, which)): Place<(String, String)>,
                            Keys(query): Keys<StreamQuery>| async move {
            let is_stream = sse::is_wanted(&headers);
            let after = match is_stream {
                true => sse::cursor(&headers, query.after)?,
                false => query.after.unwrap_or(0),
            };
            let log = views::automation::log(&app, &principal, &name, of(which), after, is_stream);
            let log = log.await?;
            match is_stream {
                true => stream(&app, &principal, &name, log).await,
                false => Ok(bytes(log)),
            }
        };
        Endpoint::new(Method::GET, path, access, handler)
            .doc(doc.query::<StreamQuery>().streams::<LogPiece>().problems(PROBLEMS))
    };
    let service = Doc::new(
        "getEnvironmentServiceLog",
        "The end of a service's output: its bytes, or a stream of pieces that goes on.",
    );
    let task = Doc::new(
        "getEnvironmentTaskLog",
        "The output of a task's last run: its bytes, or a stream of pieces to the end of the run.",
    );
    vec![
        endpoint("/api/v1/environments/{environment}/services/{service}/log", service, Of::Service),
        endpoint("/api/v1/environments/{environment}/tasks/{task}/log", task, Of::Task),
    ]
}

fn bytes(log: Log) -> Response {
    let pieces = futures::stream::unfold(log, |mut log| async move {
        match log.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), log)),
            Ok(None) => None,
            Err(error) => Some((Err(error), log)),
        }
    });
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response()
}

async fn stream(
    app: &AppState,
    principal: &Principal,
    name: &str,
    log: Log,
) -> Result<Response, Problem> {
    let row = views::environments::find_to_use(app, principal, name).await?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let (app, principal) = (app.clone(), principal.clone());
    tokio::spawn(async move {
        ways::while_admitted(&app, &principal, &row.id, carry(log, sender)).await;
    });
    let mut receiver = receiver;
    let first = match tokio::time::timeout(AT_ONCE, receiver.recv()).await {
        // A browser that comes back after the end learns by 204 that nothing follows.
        Ok(None) => return Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(first) => first,
        Err(_nothing_yet) => None,
    };
    let events = futures::stream::unfold((first, receiver), |(first, mut receiver)| async {
        let next = match first {
            Some(first) => first,
            None => receiver.recv().await?,
        };
        Some((next, (None, receiver)))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

type Piece = Result<Event, Infallible>;

/// Hands on pieces of whole characters, each with the byte that follows it.
async fn carry(mut log: Log, to: mpsc::Sender<Piece>) {
    let (mut at, mut rest) = (log.at, Vec::new());
    loop {
        let piece = tokio::select! {
            piece = log.next() => piece,
            () = to.closed() => return,
        };
        let is_over = !matches!(piece, Ok(Some(_)));
        rest.extend(piece.ok().flatten().unwrap_or_default());
        let whole = sse::whole_characters(&rest, is_over);
        if whole > 0 {
            let text = String::from_utf8_lossy(&rest[..whole]).into_owned();
            let json = serde_json::to_string(&LogPiece { offset: at, text });
            at += whole as u64;
            rest.drain(..whole);
            let event = Event::default().id(at.to_string()).event("log");
            let sent = to.send(Ok(event.data(json.unwrap_or_default()))).await;
            if sent.is_err() {
                return;
            }
        }
        if is_over {
            return;
        }
    }
}
