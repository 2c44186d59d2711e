//! What the triggers that could wait for an event make of it, by what it shows alone.

use windlass_run::{
    event::Event,
    trigger::{DEEPEST_CHAIN, Start, WhyNot, looks},
};
use windlass_store::events::Firing;

use super::index::{Index, Waiting};

/// What came of looking.
#[derive(Debug, Default)]
pub(crate) struct Considered {
    /// Those that start nothing, and why.
    pub(crate) firings: Vec<Firing>,
    /// Those that would start something.
    pub(crate) starts: Vec<(Waiting, Start)>,
}

/// Looks at an event with all triggers that could wait for it.
pub(crate) fn consider(index: &Index, event: &Event) -> Considered {
    let mut considered = Considered::default();
    for waiting in index.waiting_for(event) {
        let automation = &waiting.known.automation;
        match looks(automation, waiting.trigger(), event, DEEPEST_CHAIN) {
            Err(WhyNot::Other) => {}
            Err(why) => considered.firings.push(refused(waiting, why.word(), why.to_string())),
            Ok(_) if waiting.known.is_paused => {
                let why = format!("{} is paused: `windlass automation resume`", automation.name);
                considered.firings.push(refused(waiting, "paused", why));
            }
            Ok(start) => considered.starts.push((waiting.clone(), start)),
        }
    }
    considered
}

/// A trigger that starts nothing.
pub(crate) fn refused(waiting: &Waiting, word: &str, reason: String) -> Firing {
    Firing {
        automation: waiting.known.automation.name.to_string(),
        trigger: waiting.key().to_owned(),
        run_id: None,
        outcome: word.to_owned(),
        reason,
    }
}
