//! Events to state: the only way in which a state changes. Total: an event that was once written is
//! always taken.

use crate::{
    Time,
    effect::{self, Effect},
    job::{Cancel, Event, Phase, State, StepPhase, StepState, start},
};

impl State {
    /// The state right after its first event; absent if that is not [`Event::Created`].
    pub fn begin(created: &Event, at: Time) -> Option<Self> {
        let Event::Created { spec, by } = created else { return None };
        let steps = spec.steps.iter().map(|step| StepState {
            id: step.id.clone(),
            phase: StepPhase::Pending,
            attempts: 0,
            failures: 0,
            checkpoint: None,
        });
        Some(Self {
            steps: steps.collect(),
            base_commit: spec.target.commit.clone(),
            spec: spec.clone(),
            by: by.clone(),
            created_at: at,
            phase: Phase::Queued { not_before: at },
            epoch: 0,
            last_report: 0,
            started_at: None,
            requeues: 0,
            cancel: None,
            effects: Vec::new(),
            tokens: 0,
            starts: Vec::new(),
        })
    }

    /// The state after all of a journal; absent if the journal is empty or does not begin with
    /// [`Event::Created`].
    pub fn fold<'a>(journal: impl IntoIterator<Item = (Time, &'a Event)>) -> Option<Self> {
        let mut journal = journal.into_iter();
        let (at, created) = journal.next()?;
        let mut state = Self::begin(created, at)?;
        for (at, event) in journal {
            state.apply(event, at);
        }
        Some(state)
    }

    /// Takes an event that happened at that time.
    pub fn apply(&mut self, event: &Event, at: Time) {
        match event {
            Event::Created { .. } => {}
            Event::Leased { runner_id, epoch, deadline } => {
                self.phase = Phase::Leased { runner_id: runner_id.clone(), deadline: *deadline };
                self.epoch = *epoch;
                self.last_report = 0;
                self.started_at.get_or_insert(at);
            }
            Event::Renewed { deadline } => {
                if let Phase::Leased { deadline: current, .. } = &mut self.phase {
                    *current = *deadline;
                }
            }
            Event::Reported { seq } => self.last_report = *seq,
            Event::BaseKnown { commit } => self.base_commit = Some(commit.clone()),
            Event::StepStarted { step_id, attempt } => self.change_step(step_id, |step| {
                step.attempts = *attempt;
                step.phase = StepPhase::Running { since: at };
            }),
            Event::StepSucceeded { step_id, checkpoint } => self.change_step(step_id, |step| {
                step.phase = StepPhase::Succeeded;
                step.checkpoint.clone_from(checkpoint);
            }),
            Event::StepRetried { step_id, until, .. } => self.change_step(step_id, |step| {
                step.failures += 1;
                step.phase = StepPhase::Backoff { until: *until };
            }),
            Event::StepFailed { step_id, reason } => self.change_step(step_id, |step| {
                step.failures += 1;
                step.phase = StepPhase::Failed { reason: reason.clone() };
            }),
            Event::EffectStaged { key, step_id, request } => self.effects.push(Effect {
                key: key.clone(),
                step_id: step_id.clone(),
                request: request.clone(),
                state: effect::State::Staged,
            }),
            Event::EffectChanged { key, state } => {
                if let Some(effect) = self.effects.iter_mut().find(|effect| effect.key == *key) {
                    effect.state = state.clone();
                }
            }
            Event::Started(start) => {
                self.starts.push(start.clone());
                let over = self.starts.len().saturating_sub(start::KEPT);
                self.starts.drain(..over);
            }
            Event::TokensUsed { total } => self.tokens = *total,
            Event::CancelRequested(cancel) => self.cancel = Some(cancel.clone()),
            Event::Requeued { counted, not_before, .. } => {
                self.phase = Phase::Queued { not_before: *not_before };
                self.requeues += u32::from(*counted);
                for step in &mut self.steps {
                    if matches!(step.phase, StepPhase::Running { .. }) {
                        step.phase = StepPhase::Pending;
                    }
                }
            }
            Event::Ended(end) => self.phase = Phase::Ended(end.clone()),
        }
    }

    /// A runner's copy takes over what only the server decides: a request to stop, and how effects
    /// stand. Effects that the server has not heard of yet stay.
    pub fn adopt(&mut self, cancel: Option<Cancel>, effects: Vec<Effect>) {
        self.cancel = cancel;
        for effect in effects {
            match self.effects.iter_mut().find(|known| known.key == effect.key) {
                Some(known) => *known = effect,
                None => self.effects.push(effect),
            }
        }
    }

    fn change_step(&mut self, step_id: &crate::StepId, change: impl FnOnce(&mut StepState)) {
        if let Some(step) = self.steps.iter_mut().find(|step| step.id == *step_id) {
            change(step);
        }
    }
}
