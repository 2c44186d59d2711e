//! Events that were kept and not handled yet, oldest first: what each means for what is here already, a
//! pull request or a prebuild, and what triggers start because of it. One that fails for good is marked so
//! that it does not stand in the way; one that fails for now is met again.
//!
//! What triggers start is prepared for many events at once, outside of the writer; then each event is one
//! transaction, in which what was started before is looked at once more.

use std::{collections::HashSet, time::Duration};

use futures::future::join_all;
use windlass_run::{RunId, trigger::admits};
use windlass_store::events::{
    Kept,
    fire::{Handled, Handling},
};

use crate::{
    actions::automations,
    hooks,
    problem::Problem,
    state::AppState,
    triggers::{self, Prepared, index::Index},
};

/// How many events are read at once.
const PAGE: u32 = 200;

/// How many events with something to start are prepared at once.
const WAVE: usize = 32;

/// What is said of events for which a code host was asked.
const ASKED: [&str; 2] = ["synced", "taken in"];

/// How long to wait when there is nothing to do. An event that comes meanwhile wakes this.
const IDLE: Duration = Duration::from_secs(30);

/// How long to wait when a host could not be asked.
const LATER: Duration = Duration::from_secs(10);

/// An event on its way.
struct Open {
    kept: Kept,
    handling: Handling,
    starts: Vec<(triggers::index::Waiting, windlass_run::trigger::Start)>,
}

/// What a round carries along.
struct Round {
    wait: Duration,
    /// Where one could not be handled, those after it from the same source wait too: in their order.
    waiting: HashSet<(String, String)>,
    /// Whether an automation was changed while a start of it was prepared.
    is_stale: bool,
}

pub(super) async fn round(app: &AppState) -> Result<Duration, Problem> {
    let mut round = Round { wait: IDLE, waiting: HashSet::new(), is_stale: false };
    let mut after = 0;
    loop {
        let events = app.store().unhandled_events(after, PAGE).await?;
        let Some(last) = events.last() else { break };
        after = last.number;
        let index = triggers::index::newest(app).await?;
        let mut wave = Vec::new();
        // What the wave would start: another event that may be the same for a trigger waits for its end.
        let mut started = HashSet::new();
        let mut simple = Vec::new();
        for kept in events {
            if round.waiting.contains(&place(&kept)) {
                continue;
            }
            let Some(mut open) = meaning(app, &index, kept, &mut round).await? else { continue };
            let keys = |open: &Open| -> Vec<(String, String)> {
                let key = |(waiting, start): &(triggers::index::Waiting, _)| {
                    let start: &windlass_run::trigger::Start = start;
                    (waiting.key().to_owned(), start.key.clone())
                };
                open.starts.iter().map(key).collect()
            };
            let clashes = keys(&open).iter().any(|key| started.contains(key));
            if clashes || wave.len() >= WAVE {
                flush(app, &index, std::mem::take(&mut wave), &mut round).await?;
                started.clear();
            }
            remember(app, &mut open).await?;
            if open.starts.is_empty() {
                simple.push(open.handling);
                continue;
            }
            started.extend(keys(&open));
            wave.push(open);
        }
        keep(app, simple, &mut round).await?;
        flush(app, &index, wave, &mut round).await?;
    }
    Ok(if round.is_stale { Duration::ZERO } else { round.wait })
}

fn place(kept: &Kept) -> (String, String) {
    (kept.organisation_id.to_string(), kept.event.source.clone())
}

/// What an event means for what is here, and what triggers say to it; absent if it waits.
async fn meaning(
    app: &AppState,
    index: &Index,
    kept: Kept,
    round: &mut Round,
) -> Result<Option<Open>, Problem> {
    let said = hooks::github::handle(app, &kept).await;
    let by_host = match &said {
        Ok(outcome) => ASKED.contains(outcome).then_some(Ok(())),
        Err(problem) => Some(Err(problem)),
    };
    if let (Some(project_id), Some(by_host)) = (&kept.event.project_id, by_host) {
        let name = app.project_name(&kept.organisation_id, project_id).await;
        app.notices().credential(app, &name, by_host).await?;
    }
    let outcome = match said {
        Ok(outcome) => outcome.to_owned(),
        Err(problem) if is_for_now(&problem) => {
            round.later(&kept, &problem);
            return Ok(None);
        }
        Err(problem) => format!("refused: {problem}"),
    };
    if kept.event.kind == "push"
        && let Err(problem) = automations::sync::pushed(app, &kept.event).await
    {
        round.later(&kept, &problem);
        return Ok(None);
    }
    let considered = triggers::consider(index, &kept.event);
    let ends = match kept.event.family() {
        "automation" if kept.repeats.is_none() => RunId::parse(&kept.event.delivery).ok(),
        _ => None,
    };
    let handling = Handling {
        organisation_id: kept.organisation_id.clone(),
        event_id: kept.event.id.clone(),
        outcome,
        firings: considered.firings,
        starts: Vec::new(),
        ends,
    };
    Ok(Some(Open { kept, handling, starts: considered.starts }))
}

fn is_for_now(problem: &Problem) -> bool {
    problem.code.status() >= 500 || problem.code.status() == 429
}

impl Round {
    fn later(&mut self, kept: &Kept, problem: &Problem) {
        tracing::info!(%problem, "an event is handled later");
        self.wait = LATER;
        self.waiting.insert(place(kept));
    }
}

/// Drops the starts that what is committed forbids already, before anything is prepared for them.
async fn remember(app: &AppState, open: &mut Open) -> Result<(), Problem> {
    let mut left = Vec::with_capacity(open.starts.len());
    for (waiting, start) in open.starts.drain(..) {
        let (rules, of) = (waiting.trigger(), (start.key.as_str(), start.subject.as_str()));
        let organisation_id = &open.kept.organisation_id;
        let past = app.store().past_of_trigger(organisation_id, waiting.key(), rules, of).await?;
        match admits(rules, &past, app.now()) {
            Ok(()) => left.push((waiting, start)),
            Err(why) => {
                let firing = triggers::refused(&waiting, why.word(), why.to_string());
                open.handling.firings.push(firing);
            }
        }
    }
    open.starts = left;
    Ok(())
}

/// Prepares a wave and keeps it.
async fn flush(
    app: &AppState,
    index: &Index,
    wave: Vec<Open>,
    round: &mut Round,
) -> Result<(), Problem> {
    let prepared = join_all(wave.into_iter().map(|open| async {
        let kept = open.kept.clone();
        (kept, prepared(app, index, open).await)
    }))
    .await;
    let mut ready = Vec::with_capacity(prepared.len());
    for (kept, prepared) in prepared {
        match prepared {
            Ok(handling) => ready.push(handling),
            // What it would start is put off. Nothing else waits for that, whatever it comes from.
            Err(problem) => {
                let event = kept.event.id;
                tracing::info!(%event, %problem, "what an event starts is prepared later");
                round.wait = LATER;
            }
        }
    }
    keep(app, ready, round).await
}

async fn prepared(app: &AppState, index: &Index, open: Open) -> Result<Handling, Problem> {
    let Open { kept, mut handling, starts } = open;
    for (waiting, start) in &starts {
        match triggers::prepare(app, index, &kept, waiting, start).await? {
            Prepared::Start(start) => handling.starts.push(*start),
            Prepared::Refused(firing) => handling.firings.push(firing),
        }
    }
    Ok(handling)
}

/// Keeps what became of events, each in a transaction of its own; they share the way to the disk.
async fn keep(app: &AppState, all: Vec<Handling>, round: &mut Round) -> Result<(), Problem> {
    let now = app.now();
    let kept = all.iter().cloned().map(|handling| app.store().handle_event(handling, now));
    for (handling, kept) in all.iter().zip(join_all(kept).await) {
        match kept {
            Ok(Handled::Started(_) | Handled::Before) => {}
            Ok(Handled::Changed) => round.is_stale = true,
            Err(error) => {
                let problem = Problem::from(error);
                if is_for_now(&problem) {
                    return Err(problem);
                }
                given_up(app, handling, &problem).await?;
            }
        }
    }
    Ok(())
}

/// Marks an event as handled whose runs the store refuses for good.
async fn given_up(app: &AppState, handling: &Handling, problem: &Problem) -> Result<(), Problem> {
    let mut handling = handling.clone();
    for start in handling.starts.drain(..) {
        handling.firings.push(windlass_store::events::Firing {
            automation: start.automation,
            trigger: start.trigger,
            run_id: None,
            outcome: "refused".to_owned(),
            reason: problem.to_string(),
        });
    }
    app.store().handle_event(handling, app.now()).await?;
    Ok(())
}
