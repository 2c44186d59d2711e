//! Answers from a session file instead of a model: for the demo, for tests of automations, and to
//! repeat what a real session did. The answer is given in whichever format the client speaks. No
//! model is called, and whoever shows such a session must say so ([`Session::scripted`]).
//!
//! A session file is JSON lines. The first line says what it is; each further line is a turn, that
//! is, one answer of the model, with what the request must look like:
//!
//! ```json
//! {"windlass_session":1,"about":"Fix the rounding error","scripted":true}
//! {"name":"look","expect":{"last":["rounding"],"tools":["read"]},"reply":{"text":"I read it first.","tools":[{"name":"read","input":{"path":"src/sum.py"}}]}}
//! {"name":"done","expect":{"last":["def sum"]},"reply":{"text":"Done.","usage":{"input":900,"output":12}}}
//! {"name":"title","aside":true,"expect":{"system":["title"]},"reply":{"text":"Rounding"}}
//! {"name":"busy","reply":{"error":{"status":529,"message":"Overloaded","retry_after":1}}}
//! ```
//!
//! Turns are answered in order. A turn that is an `aside` answers any request that the next turn
//! does not expect, as often as it comes. A request that repeats the last one, and that the next turn
//! does not expect, gets the last answer again, as after a broken connection. Any other request is an error that says which turn was next
//! and what it expected. `${{ name }}` in any text stands for a variable given at the start.

mod file;
mod prompt;
mod record;
mod render;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
};

use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;

pub use self::{
    file::{Expect, Failure, Reply, Session, SessionError, ToolUse, Turn, Usage},
    prompt::Prompt,
    record::{RecordError, Recorder, read_answer},
    render::{Rendered, render},
};
use crate::{
    door::{AnyError, Body, full},
    model::{Api, Wire},
};

/// A session that is being replayed to one job.
#[derive(Debug)]
pub struct Replay {
    session: Session,
    place: Mutex<Place>,
}

#[derive(Debug, Default)]
struct Place {
    /// The index of the next turn that is not an aside.
    next: usize,
    /// The request that was answered last, by its hash, and the turn that answered it.
    last: Option<(u64, usize)>,
    /// How many answers were given.
    answered: u64,
}

/// A request that the session has no answer for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session file has no answer for this request: {0}")]
pub struct Mismatch(String);

impl Replay {
    /// Starts at the first turn.
    pub fn new(session: Session) -> Self {
        let place = Place { next: session.after(0), ..Place::default() };
        Self { session, place: Mutex::new(place) }
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The turns that were not used yet, asides left out.
    pub fn left(&self) -> usize {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        self.session.turns[place.next.min(self.session.turns.len())..]
            .iter()
            .filter(|turn| !turn.aside)
            .count()
    }

    /// Finds the answer to a request and moves on.
    pub fn reply(&self, prompt: &Prompt, request: &[u8]) -> Result<(u64, &Reply), Mismatch> {
        let mut hasher = DefaultHasher::new();
        request.hash(&mut hasher);
        let hash = hasher.finish();
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.session.turns.get(place.next);
        let problem = match next {
            Some(turn) => turn.expect.problem(prompt),
            None => Some(format!("all its {} turns are used up", self.session.turns.len())),
        };
        let found = match (problem, place.last) {
            (None, _) => {
                let index = place.next;
                place.next = self.session.after(index + 1);
                index
            }
            (Some(_), Some((last, index))) if last == hash => index,
            (Some(problem), _) => {
                let mut asides =
                    self.session.turns.iter().enumerate().filter(|(_, turn)| turn.aside);
                let aside = asides.find(|(_, turn)| turn.expect.problem(prompt).is_none());
                let place = match next {
                    Some(turn) => format!("turn {} (`{}`) ", place.next + 1, turn.name),
                    None => String::new(),
                };
                aside
                    .map(|(index, _)| index)
                    .ok_or_else(|| Mismatch(format!("{place}{problem}")))?
            }
        };
        place.last = Some((hash, found));
        place.answered += 1;
        Ok((place.answered, &self.session.turns[found].reply))
    }

    /// Answers a generating call.
    pub(crate) fn answer(
        &self,
        wire: Wire,
        model: &str,
        stream: bool,
        request: &[u8],
        whole_array: bool,
    ) -> Result<Response<Body>, Mismatch> {
        let value = serde_json::from_slice(request).map_err(|error| Mismatch(error.to_string()))?;
        let mut prompt = Prompt::read(wire, &value);
        model.clone_into(&mut prompt.model);
        let (number, reply) = self.reply(&prompt, request)?;
        Ok(response(render(wire, stream, whole_array, &prompt, reply, number)))
    }

    /// Answers a call beside the session: a list of models, a count of tokens.
    pub(crate) fn aside(&self, api: Api, request: &[u8]) -> Response<Body> {
        let tokens = request.len().div_ceil(4);
        let value = match (api, request.is_empty()) {
            (Api::Gemini, false) => json!({ "totalTokens": tokens }),
            (_, false) => json!({ "object": "response.input_tokens", "input_tokens": tokens }),
            (Api::Gemini, true) => {
                json!({ "models": [{ "name": "models/scripted", "displayName": "scripted" }] })
            }
            (_, true) => json!({
                "object": "list",
                "data": [{
                    "id": "scripted", "type": "model", "object": "model", "display_name": "scripted",
                    "created": 0, "created_at": "1970-01-01T00:00:00Z", "owned_by": "windlass",
                }],
                "has_more": false, "first_id": "scripted", "last_id": "scripted",
            }),
        };
        let mut response = Response::new(full(value.to_string()));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

fn response(rendered: Rendered) -> Response<Body> {
    let pieces = rendered
        .pieces
        .into_iter()
        .map(|piece| Ok::<_, AnyError>(hyper::body::Frame::data(piece.into())));
    let mut response = Response::new(StreamBody::new(futures::stream::iter(pieces)).boxed_unsync());
    *response.status_mut() =
        StatusCode::from_u16(rendered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if rendered.is_event_stream {
        "text/event-stream; charset=utf-8"
    } else {
        "application/json"
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(seconds) = rendered.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests;
