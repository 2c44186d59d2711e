//! Records: what came of an effect. What happened outside is written down even after the job's end.

use crate::{
    EffectKey, Time,
    effect::{Executor, Outcome, Request, State as Effect},
    job::{
        Event, Phase, Refusal, State,
        decide::{held, illegal},
        grant,
    },
};

pub(super) fn record(
    state: &State,
    key: &EffectKey,
    epoch: u64,
    executor: Executor,
    outcome: &Effect,
    now: Time,
) -> Result<Vec<Event>, Refusal> {
    let effect = grant::find(state, key, executor)?;
    if effect.state == *outcome && !matches!(outcome, Effect::Staged | Effect::Granted { .. }) {
        return Ok(vec![]);
    }
    let ended_under_it = matches!(state.phase, Phase::Ended(_)) && state.epoch == epoch;
    if executor == Executor::Runner && !ended_under_it {
        held(state, epoch)?;
    }
    fits(&effect.request, outcome)?;
    let may = match &effect.state {
        Effect::Staged => !matches!(outcome, Effect::Unknown { .. }),
        // What is done is done, whoever found it. Only the holder of a grant in force may say that
        // it failed: another executor can't know what the holder does next.
        Effect::Granted { epoch: holder, until, .. } => {
            *holder == epoch || *until <= now || matches!(outcome, Effect::Done(_))
        }
        Effect::Unknown { .. } => !matches!(outcome, Effect::Unknown { .. }),
        Effect::Done(_) | Effect::Failed { .. } => {
            return Err(illegal(format!("{key} was recorded before, with another outcome")));
        }
    };
    if !may {
        return Err(Refusal::NotGranted {
            why: "only the holder of its grant may say this now".to_owned(),
        });
    }
    Ok(vec![Event::EffectChanged { key: key.clone(), state: outcome.clone() }])
}

fn fits(request: &Request, outcome: &Effect) -> Result<(), Refusal> {
    match (request, outcome) {
        (_, Effect::Staged | Effect::Granted { .. }) => {
            Err(illegal("only `done`, `failed` and `unknown` can be recorded"))
        }
        (_, Effect::Failed { reason } | Effect::Unknown { reason }) if reason.trim().is_empty() => {
            Err(illegal("say why, for a person"))
        }
        (_, Effect::Failed { .. } | Effect::Unknown { .. }) => Ok(()),
        (
            Request::Push { branch, commit, .. },
            Effect::Done(Outcome::Pushed { branch: pushed, commit: at }),
        ) if branch == pushed && commit == at => Ok(()),
        (Request::PullRequest { .. }, Effect::Done(Outcome::PullRequest { .. })) => Ok(()),
        (Request::Push { .. } | Request::PullRequest { .. }, Effect::Done(_)) => {
            Err(illegal("the outcome is not the one that was wanted"))
        }
    }
}
