//! Commands to events. What follows from an event by itself (a rule says stop, a ring is healthy, all is
//! over) is decided with it, so that no state ever lacks what it implies.

use crate::{
    Time,
    actor::By,
    fleet::{
        Command, End, Event, LONGEST_TEXT, MOST_KINDS, MOST_WAITS, OTHER, Phase, Refusal, State,
        Trouble, Which, admissible, change,
    },
};

/// What a command would do now: its events in order, or why not. Changes nothing; whoever has written the
/// events down applies them with [`State::apply`]. No events means that nothing is to be done.
///
/// # Errors
/// A [`Refusal`]; the state stays as it is.
pub fn decide(state: &State, command: &Command, now: Time) -> Result<Vec<Event>, Refusal> {
    let events = asked(state, command, now)?;
    let mut after = state.clone();
    for event in &events {
        after.apply(event, now);
    }
    let followed = after.settle(now);
    Ok(events.into_iter().chain(followed).collect())
}

fn asked(state: &State, command: &Command, now: Time) -> Result<Vec<Event>, Refusal> {
    match command {
        Command::Admitted { ring, count } => admitted(state, *ring, *count, now),
        Command::JobEnded { ring, end } => ended(state, *ring, end),
        Command::OpenChange { ring, forge, verified } => {
            change::open(state, *ring, forge, *verified, now)
        }
        Command::Moved { ring, from, to } => change::moved(state, *ring, *from, *to),
        Command::ForgeWaits { forge, until } => waits(state, forge, *until, now),
        Command::Pause { by, reason } => pause(state, by, reason),
        Command::Resume { by } => resume(state, by),
        Command::Cancel { by, reason } => cancel(state, by, reason),
        Command::Retry { which, instruction, by } => {
            retry(state, which, instruction.as_deref(), by)
        }
        Command::Advance { by, reason } => advance(state, by, reason),
        Command::Operate { what, of, by } => {
            let number = state.n_operations + 1;
            Ok(vec![Event::Operated { number, what: *what, of: *of, by: by.clone() }])
        }
        Command::Progress { number, done, failed } => progress(state, *number, *done, *failed),
        Command::Watch => Ok(Vec::new()),
    }
}

fn admitted(state: &State, ring: u16, count: u32, now: Time) -> Result<Vec<Event>, Refusal> {
    let room = admissible(state, now);
    if count == 0 {
        return Ok(Vec::new());
    }
    if ring == room.ring && count <= room.count {
        return Ok(vec![Event::Admitted { ring, count }]);
    }
    let why = room.why.map_or_else(|| "another ring comes first".to_owned(), |why| why.to_string());
    Err(Refusal::NoRoom { ring: room.ring, room: room.count, why })
}

fn ended(state: &State, ring: u16, end: &End) -> Result<Vec<Event>, Refusal> {
    if state.rings.get(usize::from(ring)).is_none_or(|ring| ring.running == 0) {
        return Err(illegal(format!("no job of ring {} runs", u32::from(ring) + 1)));
    }
    let trouble = Trouble::of(end.outcome, &end.code);
    let kind = trouble.map(|trouble| kind(state, end, trouble));
    Ok(vec![Event::JobEnded { ring, outcome: end.outcome, kind, trouble, spent: end.spent }])
}

/// What a failure is counted as. A kind has one trouble, whatever was said first.
fn kind(state: &State, end: &End, trouble: Trouble) -> String {
    let name = match &end.cluster {
        Some(cluster) => format!("{}/{cluster}", end.code),
        None => end.code.clone(),
    };
    let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
    let kinds = || state.rings.iter().flat_map(|ring| &ring.failures);
    let fits =
        |name: &str| kinds().all(|(known, failures)| known != name || failures.trouble == trouble);
    let is_known = kinds().any(|(known, _)| *known == name);
    let names: std::collections::BTreeSet<&String> = kinds().map(|(known, _)| known).collect();
    let has_room = is_known || names.len() < MOST_KINDS - Trouble::ALL.len();
    let is_ours = name.split('/').next() == Some(OTHER);
    match has_room && fits(&name) && !is_ours {
        true => name,
        false => format!("{OTHER}/{}", trouble.name()),
    }
}

fn waits(state: &State, forge: &str, until: Time, now: Time) -> Result<Vec<Event>, Refusal> {
    let known = state.waits.get(forge);
    if until <= now || known.is_some_and(|known| *known >= until) {
        return Ok(Vec::new());
    }
    let in_force = state.waits.values().filter(|until| **until > now).count();
    if known.is_none() && in_force >= MOST_WAITS {
        return Err(illegal(format!("{MOST_WAITS} forges are waited for already")));
    }
    Ok(vec![Event::ForgeWaits { forge: forge.to_owned(), until }])
}

fn pause(state: &State, by: &By, reason: &str) -> Result<Vec<Event>, Refusal> {
    going(state)?;
    match &state.hold {
        // What a rule stopped waits for a person already.
        Some(_) => Ok(Vec::new()),
        None => Ok(vec![Event::Paused { by: by.clone(), reason: cut(reason) }]),
    }
}

fn resume(state: &State, by: &By) -> Result<Vec<Event>, Refusal> {
    going(state)?;
    Ok(state.hold.iter().map(|_| Event::Resumed { by: by.clone() }).collect())
}

fn cancel(state: &State, by: &By, reason: &str) -> Result<Vec<Event>, Refusal> {
    match state.phase {
        Phase::Cancelled(_) => Ok(Vec::new()),
        Phase::Settled { .. } => Err(illegal("all jobs have ended: there is nothing to cancel")),
        Phase::Going => Ok(vec![Event::Cancelled { by: by.clone(), reason: cut(reason) }]),
    }
}

fn retry(
    state: &State,
    which: &Which,
    instruction: Option<&str>,
    by: &By,
) -> Result<Vec<Event>, Refusal> {
    if let Phase::Cancelled(_) = state.phase {
        return Err(Refusal::Cancelled);
    }
    if instruction.is_some_and(|text| text.chars().count() > LONGEST_TEXT) {
        return Err(illegal(format!(
            "an instruction has at most {LONGEST_TEXT} characters: shorten it"
        )));
    }
    let failures = state.rings.iter().flat_map(|ring| &ring.failures);
    let count = failures.filter(|(kind, failures)| which.is(kind, failures.trouble));
    let count: u32 = count.map(|(_, failures)| failures.count).sum();
    if count == 0 {
        return Err(illegal("no target failed like that"));
    }
    let instruction = instruction.map(ToOwned::to_owned);
    Ok(vec![Event::Retried { which: which.clone(), instruction, by: by.clone(), count }])
}

fn advance(state: &State, by: &By, reason: &str) -> Result<Vec<Event>, Refusal> {
    going(state)?;
    if state.hold.is_some() {
        return Err(illegal("the fleet is held: let it go on first"));
    }
    match usize::from(state.ring) + 1 < state.rings.len() {
        true => Ok(vec![Event::RingOpened {
            ring: state.ring + 1,
            by: Some(by.clone()),
            reason: Some(cut(reason)),
        }]),
        false => Err(illegal("the last ring is open already")),
    }
}

fn progress(state: &State, number: u32, done: u32, failed: u32) -> Result<Vec<Event>, Refusal> {
    let operation = state.operations.iter().find(|operation| operation.number == number);
    let Some(operation) = operation else {
        // It was forgotten for newer ones; nothing depends on its counts.
        return match (1..=state.n_operations).contains(&number) {
            true => Ok(Vec::new()),
            false => Err(illegal(format!("there is no operation {number}"))),
        };
    };
    let left = operation.of - operation.done - operation.failed;
    match done.checked_add(failed) {
        Some(0) => Ok(Vec::new()),
        Some(more) if more <= left => Ok(vec![Event::Progressed { number, done, failed }]),
        Some(_) | None => {
            Err(illegal(format!("only {left} changes are left of operation {number}")))
        }
    }
}

impl State {
    /// What follows from the state as it is now.
    fn settle(mut self, now: Time) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next(now) {
            self.apply(&event, now);
            events.push(event);
        }
        events
    }

    fn next(&self, now: Time) -> Option<Event> {
        if self.phase != Phase::Going {
            return None;
        }
        if self.rings.iter().all(|ring| ring.planned + ring.running == 0) {
            return Some(Event::Settled);
        }
        if self.hold.is_some() {
            return None;
        }
        if let Some(stopped) = self.crossed() {
            return Some(stopped);
        }
        let has_next = usize::from(self.ring) + 1 < self.rings.len();
        (has_next && self.unmet(self.ring, now).is_empty()).then(|| Event::RingOpened {
            ring: self.ring + 1,
            by: None,
            reason: None,
        })
    }
}

impl Which {
    /// Whether these are among them.
    pub fn is(&self, kind: &str, trouble: Trouble) -> bool {
        match self {
            Self::All => trouble != Trouble::Stopped,
            Self::Kind(wanted) => wanted == kind,
            Self::Trouble(wanted) => *wanted == trouble,
        }
    }
}

fn going(state: &State) -> Result<(), Refusal> {
    match state.phase {
        Phase::Going => Ok(()),
        Phase::Settled { .. } => Err(illegal("all jobs have ended")),
        Phase::Cancelled(_) => Err(Refusal::Cancelled),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

fn illegal(why: impl Into<String>) -> Refusal {
    Refusal::Illegal { why: why.into() }
}
