//! Commands to events.

use crate::{
    RunnerId, Time,
    actor::By,
    environment::{
        Command, Deletion, Ended, Event, Phase, Refusal, Seen, State, UNDO, Unpushed, Wanted, port,
    },
};

/// What would happen if the command were given now, or why it can't be.
///
/// # Errors
/// [`Refusal`].
pub fn decide(state: &State, command: &Command, now: Time) -> Result<Vec<Event>, Refusal> {
    match command {
        Command::Place { runner_id } => place(state, runner_id),
        Command::Start => start(state),
        Command::Stop { why } => stop(state, why),
        Command::Archive => archive(state),
        Command::Unarchive => unarchive(state),
        Command::Delete { by } => delete(state, by, now),
        Command::Undelete => undelete(state, now),
        Command::Observe { runner_id, generation, seen, active_at, unpushed, ended } => {
            if state.runner_id.as_ref() != Some(runner_id) {
                return Err(Refusal::NotYours);
            }
            let mut events = activity(state, *active_at, now);
            if *generation == state.generation {
                events.extend(looked(state, unpushed.as_ref()));
                events.extend(services(state, ended));
                events.extend(observe(state, seen));
            }
            Ok(events)
        }
        Command::Enter { way } => enter(state, Event::Entered { way: *way }),
        Command::Steer { steer } => enter(state, Event::Steered { steer: steer.clone() }),
        Command::Edit { edit } => Ok(vec![Event::Edited { edit: edit.clone().short() }]),
        Command::Publish { port, name, admission } => {
            port::publish(state, *port, name.as_deref(), *admission)
        }
        Command::Unpublish { port } => Ok(port::unpublish(state, *port)),
        Command::Lose { why } => Ok(lose(state, why)),
        Command::Watch => Ok(watch(state, now)),
    }
}

/// When the server should look again, as things stand; absent if it need not.
pub fn watch_at(state: &State) -> Option<Time> {
    match &state.phase {
        Phase::Deleted => None,
        Phase::Deleting => {
            state.deletion.as_ref().filter(|_| state.wanted != Wanted::Gone).map(|d| d.purge_at)
        }
        Phase::Running => [idle_at(state), state.lives_until()].into_iter().flatten().min(),
        Phase::Stopped { .. } => {
            [archive_at(state), state.lives_until()].into_iter().flatten().min()
        }
        Phase::Creating
        | Phase::Starting { .. }
        | Phase::Stopping { .. }
        | Phase::Archived
        | Phase::Lost { .. }
        | Phase::Failed { .. } => state.lives_until(),
    }
}

fn archive_at(state: &State) -> Option<Time> {
    state.stopped_at.zip(state.spec.archive).map(|(at, archive)| at + archive)
}

fn illegal(why: &str) -> Refusal {
    Refusal::Illegal { why: why.to_owned() }
}

fn moved(phase: Phase) -> Event {
    Event::Moved { phase }
}

fn place(state: &State, runner_id: &RunnerId) -> Result<Vec<Event>, Refusal> {
    if state.phase != Phase::Creating || state.runner_id.is_some() {
        return Err(illegal("the environment does not wait for a runner"));
    }
    let placed = Event::Placed { runner_id: runner_id.clone() };
    Ok(vec![placed, moved(Phase::Starting { waits: None })])
}

fn start(state: &State) -> Result<Vec<Event>, Refusal> {
    match &state.phase {
        Phase::Creating | Phase::Starting { .. } | Phase::Running => Ok(vec![]),
        Phase::Lost { .. } if state.wanted == Wanted::Running => Ok(vec![]),
        Phase::Lost { .. } => {
            Err(illegal("the environment's runner is away: it can be started when that is back"))
        }
        Phase::Archived => Err(illegal("the environment is archived: unarchive it first")),
        Phase::Deleting => Err(illegal("the environment is being deleted: undelete it first")),
        Phase::Deleted => Err(gone()),
        Phase::Stopping { .. } | Phase::Stopped { .. } | Phase::Failed { .. } => {
            let phase = match state.runner_id {
                Some(_) => Phase::Starting { waits: None },
                None => Phase::Creating,
            };
            Ok(vec![Event::Wanted { wanted: Wanted::Running }, moved(phase)])
        }
    }
}

fn stop(state: &State, why: &str) -> Result<Vec<Event>, Refusal> {
    match &state.phase {
        Phase::Deleted => Err(gone()),
        Phase::Stopping { .. } | Phase::Stopped { .. } | Phase::Archived | Phase::Deleting => {
            Ok(vec![])
        }
        Phase::Failed { .. } => Ok(halt(state, Phase::Stopped { why: why.to_owned() })),
        Phase::Lost { .. } if state.wanted == Wanted::Stopped => Ok(vec![]),
        Phase::Lost { .. } => Ok(vec![Event::Wanted { wanted: Wanted::Stopped }]),
        Phase::Creating => Ok(halt(state, Phase::Stopped { why: why.to_owned() })),
        Phase::Starting { .. } | Phase::Running => {
            Ok(halt(state, Phase::Stopping { why: why.to_owned() }))
        }
    }
}

/// Nothing shall run any more.
fn halt(state: &State, phase: Phase) -> Vec<Event> {
    let wanted =
        (state.wanted == Wanted::Running).then_some(Event::Wanted { wanted: Wanted::Stopped });
    wanted.into_iter().chain([moved(phase)]).collect()
}

fn archive(state: &State) -> Result<Vec<Event>, Refusal> {
    match &state.phase {
        Phase::Archived => Ok(vec![]),
        Phase::Deleting => Err(illegal("the environment is being deleted: undelete it first")),
        Phase::Deleted => Err(gone()),
        Phase::Lost { .. } => {
            Err(illegal("the environment's runner is away: archive it when that is back"))
        }
        Phase::Creating
        | Phase::Starting { .. }
        | Phase::Running
        | Phase::Stopping { .. }
        | Phase::Stopped { .. }
        | Phase::Failed { .. } => Ok(halt(state, Phase::Archived)),
    }
}

fn unarchive(state: &State) -> Result<Vec<Event>, Refusal> {
    match &state.phase {
        Phase::Archived => Ok(vec![moved(Phase::Stopped { why: "It was archived.".to_owned() })]),
        Phase::Deleted => Err(gone()),
        Phase::Deleting => Err(illegal("the environment is being deleted: undelete it first")),
        Phase::Creating
        | Phase::Starting { .. }
        | Phase::Running
        | Phase::Stopping { .. }
        | Phase::Stopped { .. }
        | Phase::Lost { .. }
        | Phase::Failed { .. } => Ok(vec![]),
    }
}

fn delete(state: &State, by: &By, now: Time) -> Result<Vec<Event>, Refusal> {
    match &state.phase {
        Phase::Deleting => Ok(vec![]),
        Phase::Deleted => Err(gone()),
        // There is nothing to undo: no runner ever had it.
        _ if state.runner_id.is_none() => {
            let deletion = Deletion { by: by.clone(), at: now, purge_at: now };
            let wanted = Event::Wanted { wanted: Wanted::Gone };
            Ok(vec![Event::Deleted(deletion), wanted, moved(Phase::Deleted)])
        }
        _ => {
            let deletion = Deletion { by: by.clone(), at: now, purge_at: now + UNDO };
            let mut events = vec![Event::Deleted(deletion)];
            events.extend(halt(state, Phase::Deleting));
            Ok(events)
        }
    }
}

fn undelete(state: &State, now: Time) -> Result<Vec<Event>, Refusal> {
    let is_over = state.lives_until().is_some_and(|until| until <= now);
    match (&state.phase, state.wanted) {
        (Phase::Deleting, Wanted::Running | Wanted::Stopped) if is_over => {
            Err(illegal("the environment's life is over: fetch its work and create a new one"))
        }
        (Phase::Deleted, _) | (Phase::Deleting, Wanted::Gone) => Err(gone()),
        (Phase::Deleting, Wanted::Running | Wanted::Stopped) => {
            let why = "It was deleted, and had back.".to_owned();
            // The runner says when the stop is done, if it was not yet.
            Ok(vec![Event::Undeleted, moved(Phase::Stopped { why })])
        }
        _ => Ok(vec![]),
    }
}

fn gone() -> Refusal {
    illegal("the environment was removed for good: create a new one")
}

fn activity(state: &State, active_at: Option<Time>, now: Time) -> Vec<Event> {
    // A runner's clock may be ahead; nothing happened later than now.
    let at = active_at.map(|at| at.min(now));
    at.filter(|at| *at > state.active_at).map(|at| Event::Active { at }).into_iter().collect()
}

fn looked(state: &State, unpushed: Option<&Option<Unpushed>>) -> Option<Event> {
    let found = unpushed.filter(|found| **found != state.unpushed)?;
    Some(Event::Unpushed { found: found.clone() })
}

/// The ends of services that are news.
fn services(state: &State, ended: &[Ended]) -> Vec<Event> {
    let is_news = |ended: &&Ended| state.service_ended_at.is_none_or(|known| ended.at > known);
    let news = ended.iter().filter(is_news);
    news.map(|ended| Event::ServiceEnded { ended: ended.short() }).collect()
}

/// The most characters of the reason of a recovery that are kept.
const REASON: usize = 4_000;

/// What the runner sees, in the light of what is wanted.
fn observe(state: &State, seen: &Seen) -> Vec<Event> {
    let phase = match (state.wanted, seen) {
        (Wanted::Running, Seen::Starting { waits }) => Phase::Starting { waits: waits.clone() },
        (Wanted::Running, Seen::Running | Seen::Recovery { .. }) => Phase::Running,
        (Wanted::Running, Seen::Failed { reason }) => Phase::Failed { reason: reason.clone() },
        // It went down by itself or with its machine; the runner makes it again.
        (Wanted::Running, Seen::Stopping | Seen::Stopped | Seen::Gone) => {
            Phase::Starting { waits: None }
        }
        (Wanted::Gone, Seen::Gone) => Phase::Deleted,
        (Wanted::Gone, _) => Phase::Deleting,
        (Wanted::Stopped, Seen::Stopped | Seen::Failed { .. } | Seen::Gone) => match &state.phase {
            Phase::Stopping { why } | Phase::Stopped { why } => Phase::Stopped { why: why.clone() },
            Phase::Archived => Phase::Archived,
            Phase::Deleting => Phase::Deleting,
            Phase::Failed { reason } => Phase::Failed { reason: reason.clone() },
            _ => Phase::Stopped { why: "It was stopped.".to_owned() },
        },
        (
            Wanted::Stopped,
            Seen::Starting { .. } | Seen::Running | Seen::Recovery { .. } | Seen::Stopping,
        ) => match &state.phase {
            Phase::Lost { .. } => Phase::Stopping { why: "It was asked to stop.".to_owned() },
            other => other.clone(),
        },
    };
    let recovery = match (&phase, seen) {
        (Phase::Running, Seen::Recovery { reason }) => {
            Some(reason.chars().take(REASON).collect::<String>())
        }
        _ => None,
    };
    let mut events = Vec::new();
    if recovery != state.recovery {
        events.push(Event::Recovering { reason: recovery });
    }
    if phase != state.phase {
        events.push(moved(phase));
    }
    events
}

/// What somebody does inside, who must find it running.
fn enter(state: &State, event: Event) -> Result<Vec<Event>, Refusal> {
    match &state.phase {
        Phase::Running => Ok(vec![event]),
        other => {
            let why = format!("the environment is {}, not running", other.name());
            Err(Refusal::Illegal { why })
        }
    }
}

fn lose(state: &State, why: &str) -> Vec<Event> {
    match state.phase {
        Phase::Starting { .. } | Phase::Running | Phase::Stopping { .. } => {
            vec![moved(Phase::Lost { why: why.to_owned() })]
        }
        Phase::Creating
        | Phase::Stopped { .. }
        | Phase::Archived
        | Phase::Lost { .. }
        | Phase::Failed { .. }
        | Phase::Deleting
        | Phase::Deleted => vec![],
    }
}

fn idle_at(state: &State) -> Option<Time> {
    let since = state.running_since?.max(state.active_at);
    state.spec.idle.map(|idle| since + idle)
}

fn watch(state: &State, now: Time) -> Vec<Event> {
    if let Some(deletion) = &state.deletion {
        let is_due = state.wanted != Wanted::Gone && deletion.purge_at <= now;
        return if is_due { vec![Event::Wanted { wanted: Wanted::Gone }] } else { vec![] };
    }
    if state.phase == Phase::Deleted {
        return vec![];
    }
    if state.lives_until().is_some_and(|until| until <= now) {
        return delete(state, &By::system("life"), now).unwrap_or_default();
    }
    let is_idle = state.phase == Phase::Running && idle_at(state).is_some_and(|at| at <= now);
    if is_idle {
        let minutes = state.spec.idle.unwrap_or_default().as_micros() / 60_000_000;
        let why = format!("Nothing happened in it for {minutes} min.");
        return halt(state, Phase::Stopping { why });
    }
    let is_stopped = matches!(state.phase, Phase::Stopped { .. });
    if is_stopped && archive_at(state).is_some_and(|at| at <= now) {
        return halt(state, Phase::Archived);
    }
    vec![]
}
