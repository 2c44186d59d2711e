//! Streams of events to browsers and programs (`text/event-stream`). A stream is a cursor over
//! something stored: it reads what is there after the cursor, sends it, and sleeps until the store
//! hints that there may be more. What was missed while a client was away is read again from
//! `Last-Event-ID`; nothing is kept in memory for anybody.
//!
//! A stream ends when there will never be more. A browser then comes back once and is told so with
//! 204, which ends its attempts.

use std::{convert::Infallible, time::Duration};

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};

use crate::{
    problem::{Code, Problem},
    state::{AppState, Hints},
};

/// What was read after a cursor.
pub(crate) struct Batch {
    /// The events, in order: the cursor after each, and its JSON.
    pub(crate) events: Vec<(u64, String)>,
    /// True if there will never be more after these.
    pub(crate) is_over: bool,
}

/// How often a silent stream shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// True if the client wants a stream instead of a page.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/event-stream"))
}

/// The cursor that a client came back with: `Last-Event-ID`, or what the query says.
pub(crate) fn cursor(headers: &HeaderMap, query: Option<u64>) -> Result<u64, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(query.unwrap_or(0)) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| {
        Problem::new(Code::BadRequest, "`Last-Event-ID` must be a number that a stream gave")
            .at("Last-Event-ID")
    })
}

/// Streams what `read` finds after the cursor, until that is over or the server stops.
///
/// # Errors
/// What the first read says. A later failure ends the stream, and the client comes back.
pub(crate) async fn stream<Read, Reading>(
    app: &AppState,
    after: u64,
    name: &'static str,
    read: Read,
) -> Result<Response, Problem>
where
    Read: Fn(u64) -> Reading + Send + 'static,
    Reading: Future<Output = Result<Batch, Problem>> + Send,
{
    let mut hints = app.hints();
    hints.mark_seen();
    let first = read(after).await?;
    if first.is_over && first.events.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let stop = app.stopping();
    let begin = Some(Cursor { after, hints, read, ready: Some(first) });
    let events = futures::stream::unfold(begin, move |cursor| {
        let stop = stop.clone();
        async move {
            let mut cursor = cursor?;
            tokio::select! {
                batch = cursor.next() => match batch {
                    Ok(batch) => {
                        let events = batch.events.into_iter().map(move |(id, json)| {
                            let id = id.to_string();
                            Ok::<_, Infallible>(Event::default().id(id).event(name).data(json))
                        });
                        let rest = (!batch.is_over).then_some(cursor);
                        Some((futures::stream::iter(events), rest))
                    }
                    Err(problem) => {
                        tracing::debug!(%problem, "a stream ended early");
                        None
                    }
                },
                () = stop.cancelled() => None,
            }
        }
    });
    let events = futures::StreamExt::flatten(events);
    let mut response =
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

struct Cursor<Read> {
    after: u64,
    hints: Hints,
    read: Read,
    ready: Option<Batch>,
}

impl<Read, Reading> Cursor<Read>
where
    Read: Fn(u64) -> Reading,
    Reading: Future<Output = Result<Batch, Problem>>,
{
    /// Waits for the next batch that has something in it, or that is the last.
    async fn next(&mut self) -> Result<Batch, Problem> {
        loop {
            let batch = match self.ready.take() {
                Some(batch) => batch,
                None => {
                    self.hints.mark_seen();
                    (self.read)(self.after).await?
                }
            };
            if let Some((id, _)) = batch.events.last() {
                self.after = *id;
            }
            if batch.is_over || !batch.events.is_empty() {
                return Ok(batch);
            }
            self.hints.next().await;
        }
    }
}

/// How many of the bytes can be shown without cutting a character in two. At the end of a log all.
pub(crate) fn whole_characters(bytes: &[u8], is_end: bool) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && !(is_end && error.valid_up_to() == 0) => {
            error.valid_up_to()
        }
        Ok(_) | Err(_) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_never_cut_in_two_but_broken_bytes_pass() {
        let euro = "€".as_bytes();
        assert_eq!(whole_characters(b"ab", false), 2);
        assert_eq!(whole_characters(&[b"a", &euro[..2]].concat(), false), 1);
        assert_eq!(whole_characters(&euro[..2], false), 0);
        assert_eq!(whole_characters(&euro[..2], true), 2);
        assert_eq!(whole_characters(&[0xff, b'a'], false), 2);
    }
}
