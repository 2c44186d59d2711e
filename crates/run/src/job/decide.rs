//! Commands to events: dispatch only. Each command's rules are in its own file.

use crate::{
    Time,
    job::{
        Command, Event, Phase, Refusal, State, cancel, decision, grant, lease, record, report,
        turn, watch,
    },
};

/// What a command would do now: its events in order, or why not. Changes nothing; whoever has
/// written the events down applies them with [`State::apply`]. No events means that there is
/// nothing left to do (the command was carried out before, or nothing is due).
///
/// # Errors
/// A [`Refusal`]; the state stays as it is.
pub fn decide(state: &State, command: &Command, now: Time) -> Result<Vec<Event>, Refusal> {
    match command {
        Command::Lease { runner_id, ttl } => lease::lease(state, runner_id, *ttl, now),
        Command::Heartbeat { epoch, ttl } => lease::heartbeat(state, *epoch, *ttl, now),
        Command::Report { epoch, seq, report } => report::report(state, *epoch, *seq, report, now),
        Command::Grant { key, epoch, executor, ttl, looked } => {
            grant::grant(state, key, grant::Ask::new(*epoch, *executor, *ttl, *looked), now)
        }
        Command::Record { key, epoch, executor, state: outcome } => {
            record::record(state, key, *epoch, *executor, outcome, now)
        }
        Command::Cancel(cancel) => cancel::cancel(state, cancel),
        Command::Decide { step_id, decision } => decision::decide(state, step_id, decision, now),
        Command::Hold => turn::hold(state),
        Command::GoOn { reason } => Ok(turn::go_on(state, reason, now)),
        Command::Release { epoch, reason } => lease::release(state, *epoch, reason, now),
        Command::Watch => Ok(watch::watch(state, now)),
    }
}

/// Refuses unless the lease of that epoch holds.
pub(super) fn held(state: &State, epoch: u64) -> Result<(), Refusal> {
    match &state.phase {
        Phase::Leased { .. } if state.epoch == epoch => Ok(()),
        Phase::Leased { .. } => Err(Refusal::StaleEpoch { given: epoch, current: state.epoch }),
        Phase::Queued { .. } => Err(Refusal::StaleEpoch { given: epoch, current: 0 }),
        Phase::Ended(_) => Err(Refusal::Ended),
    }
}

/// A refusal in a sentence.
pub(super) fn illegal(why: impl Into<String>) -> Refusal {
    Refusal::Illegal { why: why.into() }
}
