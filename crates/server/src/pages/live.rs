//! `/jobs/{job}/live`: what happens to a job from now on, as finished markup. Each event replaces or
//! appends elements of the job's page by their ids. The cursor `JOURNAL.SESSION.LOG` says what a page
//! has; whoever comes back with it misses nothing and gets nothing twice. Nothing is kept for anybody
//! who is away.

use std::{convert::Infallible, time::Duration};

use askama::Template as _;
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{
        IntoResponse as _, Response,
        sse::{Event, Sse},
    },
};
use windlass_run::JobId;

use super::{
    frame::Frame,
    jobs::{self, Choosing, Known, LOG, View, Wanted},
    view::{job::UsageLine, log::Reader, session::Session},
};
use crate::{
    auth::Principal,
    extract::{Keys, Place},
    problem::{Code, Problem},
    state::AppState,
    views,
};

/// How often a silent stream shows that it is alive, and the bars of what runs grow.
const BEAT: Duration = Duration::from_secs(5);
/// The least time between two looks at the store: what comes meanwhile is sent together.
const REST: Duration = Duration::from_millis(150);
/// The most bytes of a log, and entries of a session, in one look.
const PIECE: usize = 64 * 1024;
const ENTRIES: usize = 500;

/// What a page has already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cursor {
    journal: u64,
    session: u64,
    log: u64,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('.').map(|part| part.parse::<u64>().ok());
        let (journal, session, log) = (parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(Self { journal, session, log })
    }

    fn text(self) -> String {
        format!("{}.{}.{}", self.journal, self.session, self.log)
    }
}

pub(super) async fn stream(
    State(app): State<AppState>,
    principal: Principal,
    headers: HeaderMap,
    frame: Frame,
    Place(job_id): Place<JobId>,
    Keys(wanted): Keys<Wanted>,
) -> Result<Response, Problem> {
    let given = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let cursor = match given.or(wanted.cursor.as_deref()).filter(|text| !text.is_empty()) {
        None => Cursor::default(),
        Some(text) => Cursor::parse(text).ok_or_else(|| {
            Problem::new(Code::BadRequest, "hand back the id of a stream's event").at("cursor")
        })?,
    };
    let watch = Watch::begin(app, principal, frame, job_id, wanted, cursor).await?;
    let events = futures::stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        let (events, goes_on) = watch.next().await?;
        Some((events, goes_on.then_some(watch)))
    });
    let events = futures::StreamExt::flat_map(events, |events| {
        futures::stream::iter(events.into_iter().map(Ok::<_, Infallible>))
    });
    let mut response = Sse::new(events).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// One page that watches one job.
struct Watch {
    app: AppState,
    principal: Principal,
    frame: Frame,
    job_id: JobId,
    wanted: Wanted,
    choosing: Option<Choosing>,
    session: Option<Session>,
    log: Option<Reader>,
    cursor: Cursor,
    /// What was sent of the head, the steps and the usage: sent again only when it changed.
    sent: [String; 3],
    is_first: bool,
}

impl Watch {
    async fn begin(
        app: AppState,
        principal: Principal,
        frame: Frame,
        job_id: JobId,
        wanted: Wanted,
        cursor: Cursor,
    ) -> Result<Self, Problem> {
        let known = Known::read(&app, &principal, &job_id).await?;
        let choosing = Choosing::new(&app, &principal, &known, &wanted).await?;
        let mut session = None;
        let mut log = None;
        if let Some(choosing) = &choosing
            && let Some(stream) = &choosing.stream
        {
            match choosing.view {
                View::Session => {
                    let now = app.now();
                    let harness = &choosing.harness;
                    let folded =
                        jobs::session(&app, &principal, now, stream, harness, cursor.session)
                            .await?;
                    session = Some(folded);
                }
                View::Log => {
                    let from = cursor.log.saturating_sub(LOG);
                    let most = usize::try_from(cursor.log - from).unwrap_or(0);
                    let slice = views::streams::log(&app, &principal, stream, from, most).await?;
                    let skip = match slice.bytes.iter().position(|byte| *byte == b'\n') {
                        Some(end) if from > 0 => end + 1,
                        Some(_) | None => 0,
                    };
                    let mut reader = Reader::new(from + u64::try_from(skip).unwrap_or(0));
                    reader.push(&slice.bytes[skip..]);
                    log = Some(reader);
                }
                View::Diff | View::Effects => {}
            }
        }
        Ok(Self {
            app,
            principal,
            frame,
            job_id,
            wanted,
            choosing,
            session,
            log,
            cursor,
            sent: Default::default(),
            is_first: true,
        })
    }

    /// What is new, and whether more may come. `None` when the server stops or the store fails: the
    /// page then says that it is stale, and comes back.
    async fn next(&mut self) -> Option<(Vec<Event>, bool)> {
        let mut hints = self.app.hints();
        let stop = self.app.stopping();
        if !std::mem::take(&mut self.is_first) {
            tokio::select! {
                () = tokio::time::sleep(REST) => {}
                () = stop.cancelled() => return None,
            }
        }
        hints.mark_seen();
        loop {
            match self.look().await {
                Ok((markup, is_over)) => {
                    let id = self.cursor.text();
                    let mut events = Vec::new();
                    if !markup.is_empty() {
                        let data = serde_json::to_string(&markup).ok()?;
                        events.push(Event::default().id(&id).event("put").data(data));
                    }
                    if is_over {
                        events.push(Event::default().id(&id).event("over").data("{}"));
                        return Some((events, false));
                    }
                    if !events.is_empty() {
                        return Some((events, true));
                    }
                }
                Err(problem) => {
                    tracing::debug!(job = %self.job_id, "a live page ended: {problem}");
                    return None;
                }
            }
            tokio::select! {
                () = hints.next() => { hints.mark_seen(); }
                () = tokio::time::sleep(BEAT) => {
                    let mut events = vec![Event::default().id(self.cursor.text()).event("beat").data("{}")];
                    // The bars of what runs grow.
                    self.sent[1].clear();
                    if let Ok((markup, false)) = self.look().await {
                        let data = serde_json::to_string(&markup).ok()?;
                        events.push(Event::default().id(self.cursor.text()).event("put").data(data));
                    }
                    return Some((events, true));
                }
                () = stop.cancelled() => return None,
            }
        }
    }

    /// The markup of what changed since the last look, and whether that is all there will ever be.
    async fn look(&mut self) -> Result<(String, bool), Problem> {
        self.frame.now = self.app.now();
        let organisation_id = &self.principal.organisation_id;
        let row = self.app.store().job(organisation_id, &self.job_id).await?.row;
        let is_over = row.end.is_some();
        let mut markup = String::new();
        let is_drained = self.streams(&mut markup).await?;
        if row.seq != self.cursor.journal || self.sent[1].is_empty() {
            self.cursor.journal = row.seq;
            self.frames(&mut markup).await?;
        }
        // What was added between the look at the streams and the job's end is read at the next look.
        Ok((markup, is_over && is_drained))
    }

    /// The head and the steps, each where it changed.
    async fn frames(&mut self, markup: &mut String) -> Result<(), Problem> {
        let known = Known::read(&self.app, &self.principal, &self.job_id).await?;
        let is_scripted =
            known.is_scripted() || self.session.as_ref().is_some_and(|session| session.is_scripted);
        let step_id = self.choosing.as_ref().map(|choosing| &choosing.step_id);
        let head = jobs::head(&self.app, &self.frame, &known, is_scripted).render();
        let steps = jobs::steps(&self.frame, &known, step_id).render();
        for (i, part) in [head, steps].into_iter().enumerate() {
            let part = part.map_err(|error| Problem::internal("draw a page", error))?;
            if self.sent[i] != part {
                markup.push_str(&part);
                self.sent[i] = part;
            }
        }
        Ok(())
    }

    /// What was added to the session or log. True if there was nothing.
    async fn streams(&mut self, markup: &mut String) -> Result<bool, Problem> {
        let Some(choosing) = &self.choosing else { return Ok(true) };
        let Some(stream) = &choosing.stream else { return Ok(true) };
        let drawn = |error| Problem::internal("draw a page", error);
        if let Some(session) = &mut self.session {
            let after = self.cursor.session;
            let entries =
                views::streams::session(&self.app, &self.principal, stream, after, ENTRIES).await?;
            let is_drained = entries.is_empty();
            for entry in entries {
                self.cursor.session = entry.seq;
                session.push(entry);
            }
            for item in session.take_touched() {
                markup.push_str(&item.render().map_err(drawn)?);
            }
            if let Some(usage) = session.usage {
                let line = UsageLine { usage }.render().map_err(drawn)?;
                if self.sent[2] != line {
                    markup.push_str(&line);
                    self.sent[2] = line;
                }
            }
            return Ok(is_drained && !self.moved_on(markup).await?);
        }
        if let Some(log) = &mut self.log {
            let slice =
                views::streams::log(&self.app, &self.principal, stream, log.at(), PIECE).await?;
            let is_drained = slice.bytes.is_empty();
            if !is_drained {
                for line in log.push(&slice.bytes) {
                    markup.push_str(&line.render().map_err(drawn)?);
                }
                self.cursor.log = log.at();
            }
            return Ok(is_drained && !self.moved_on(markup).await?);
        }
        Ok(true)
    }

    /// Says once that the step has a newer attempt than the one that is watched.
    async fn moved_on(&mut self, markup: &mut String) -> Result<bool, Problem> {
        let Some(choosing) = &mut self.choosing else { return Ok(false) };
        let Some(stream) = &mut choosing.stream else { return Ok(false) };
        if self.wanted.attempt.is_some() {
            return Ok(false);
        }
        let newest = views::streams::find(
            &self.app,
            &self.principal,
            &self.job_id,
            &stream.step_id,
            stream.kind,
            None,
        )
        .await?;
        if newest.attempt == stream.attempt {
            return Ok(false);
        }
        self.wanted.attempt = Some(stream.attempt);
        let view = if self.session.is_some() { "session" } else { "log" };
        let tag = if self.session.is_some() { "li" } else { "div" };
        let (job, step) = (crate::links::job(&self.job_id), &stream.step_id);
        markup.push_str(&format!(
            "<{tag} id=\"newer-attempt\" class=\"mark-line\">Attempt {} has begun. \
             <a href=\"{job}?step={step}&amp;view={view}\">Show it</a></{tag}>",
            newest.attempt
        ));
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        let cursor = Cursor { journal: 7, session: 40, log: 2_048 };
        assert_eq!(Cursor::parse(&cursor.text()), Some(cursor));
        for wrong in ["", "1", "1.2", "1.2.3.4", "a.b.c", "1.2.-3"] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}
