//! Triggers: what an event starts. The index knows by its place which triggers could wait for an event, so
//! that one costs nothing for the others; what each makes of it is judged by [`windlass_run::trigger`]; and a
//! run is prepared here, outside of the writer. Nothing here keeps anything: that is one transaction of the
//! store, made by the reconciler of events.

pub(crate) mod index;
mod judge;
mod on_behalf;
mod prepare;
pub(crate) mod timetable;
mod turn;

pub(crate) use judge::{consider, refused};
pub(crate) use on_behalf::whose;
pub(crate) use prepare::{Prepared, prepare};
pub(crate) use turn::turn;

use windlass_run::automation::{Automation, On};

/// What is not well if an automation waits for something that nothing raises. The subject is its name.
pub(crate) const UNWATCHED: &str = "trigger-unwatched";

/// The kind of a trigger that nothing can pull yet, as this server raises no such events.
pub(crate) fn unwatched(automation: &Automation) -> Option<&'static str> {
    let mut kinds = automation.triggers.iter().map(|trigger| &trigger.on);
    let is_unwatched =
        |on: &&On| matches!(on, On::Advisory { .. } | On::Drift { .. } | On::Watch { .. });
    kinds.find(is_unwatched).map(On::name)
}

/// What is not well if an automation would start something and can't. The subject is its name.
pub(crate) const REFUSED: &str = "automation-refused";
