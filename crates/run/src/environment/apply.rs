//! Events to state: the only way in which an environment changes.

use crate::{
    Time,
    environment::{Event, Phase, State, Wanted},
};

impl State {
    /// The state after the first event; absent if the event is not a first one.
    pub fn begin(event: &Event, at: Time) -> Option<Self> {
        let Event::Created { spec, by } = event else { return None };
        Some(Self {
            spec: spec.clone(),
            by: by.clone(),
            created_at: at,
            phase: Phase::Creating,
            wanted: Wanted::Running,
            generation: 1,
            runner_id: None,
            running_since: None,
            stopped_at: None,
            active_at: at,
            unpushed: None,
            deletion: None,
            recovery: None,
            ports: Vec::new(),
            openings: 0,
            service_ended_at: None,
        })
    }

    /// Folds one event. What `decide` gives always fits; a journal that was tampered with changes
    /// what it says and nothing else.
    pub fn apply(&mut self, event: &Event, at: Time) {
        match event {
            Event::Created { .. } => {}
            Event::Placed { runner_id } => self.runner_id = Some(runner_id.clone()),
            Event::Wanted { wanted } => {
                self.wanted = *wanted;
                self.generation += 1;
                self.recovery = None;
                if *wanted == Wanted::Running {
                    self.active_at = self.active_at.max(at);
                }
            }
            Event::Moved { phase } => {
                self.running_since = match (phase, self.running_since) {
                    (Phase::Running, Some(since)) => Some(since),
                    (Phase::Running, None) => Some(at),
                    // It may still run where nobody can be asked.
                    (Phase::Lost { .. } | Phase::Stopping { .. }, since) => since,
                    _ => None,
                };
                self.stopped_at = match phase {
                    Phase::Stopped { .. } => self.stopped_at.or(Some(at)),
                    _ => None,
                };
                self.phase = phase.clone();
            }
            Event::Active { at } => self.active_at = self.active_at.max(*at),
            Event::Unpushed { found } => self.unpushed = found.clone(),
            Event::Deleted(deletion) => self.deletion = Some(deletion.clone()),
            Event::Undeleted => self.deletion = None,
            Event::Recovering { reason } => self.recovery.clone_from(reason),
            Event::Entered { .. } | Event::Edited { .. } | Event::Steered { .. } => {
                self.active_at = self.active_at.max(at);
            }
            Event::ServiceEnded { ended } => {
                self.service_ended_at = self.service_ended_at.max(Some(ended.at));
            }
            Event::Published(published) => self.opened(published),
            Event::Unpublished { port } => self.closed(*port),
        }
    }
}
