//! Events to state: the only way in which a state changes. Total: an event that was once written is
//! always taken.

use crate::{
    Time,
    effect::{self, Effect},
    job::{
        Cancel, Container, Decision, Event, Phase, Place, State, StepPhase, StepState,
        settle::size, start,
    },
};

impl State {
    /// The state right after its first event; absent if that is not [`Event::Created`].
    pub fn begin(created: &Event, at: Time) -> Option<Self> {
        let Event::Created { spec, by } = created else { return None };
        let steps = spec.steps.iter().map(|step| StepState::new(step.id.clone(), Place::Main));
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
            verdict: None,
            on_failure: None,
            finally: None,
            resting_since: None,
            rested: crate::Duration::default(),
            kept_bytes: 0,
            checkpointed: Vec::new(),
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
                self.wake(at);
            }
            Event::Renewed { deadline } => {
                if let Phase::Leased { deadline: current, .. } = &mut self.phase {
                    *current = *deadline;
                }
            }
            Event::Reported { seq } => self.last_report = *seq,
            Event::BaseKnown { commit } => self.base_commit = Some(commit.clone()),
            Event::StepStarted { step_id, attempt } => {
                self.change_step(step_id, |step| {
                    step.attempts = *attempt;
                    step.phase = StepPhase::Running { since: at };
                });
            }
            Event::StepSucceeded { step_id, checkpoint, outputs } => {
                self.kept_bytes += size(outputs.values());
                let index = self.change_step(step_id, |step| {
                    step.phase = StepPhase::Succeeded;
                    step.checkpoint.clone_from(checkpoint);
                    step.outputs.clone_from(outputs);
                });
                if checkpoint.is_some() {
                    self.checkpointed.extend(index);
                }
            }
            Event::StepRetried { step_id, until, .. } => {
                self.change_step(step_id, |step| {
                    step.failures += 1;
                    step.phase = StepPhase::Backoff { until: *until };
                });
            }
            Event::StepFailed { step_id, reason, cause } => {
                self.change_step(step_id, |step| {
                    step.failures += 1;
                    step.phase = StepPhase::Failed { reason: reason.clone() };
                    step.failure.clone_from(cause);
                });
            }
            Event::StepSkipped { step_id, reason } => {
                self.change_step(step_id, |step| {
                    step.phase = StepPhase::Skipped { reason: reason.clone() };
                });
            }
            Event::StepTold { step_id, told, values } => {
                self.kept_bytes += size(values.values());
                self.change_step(step_id, |step| {
                    step.phase = StepPhase::Succeeded;
                    step.told = Some(told.clone());
                    step.outputs.clone_from(values);
                });
            }
            Event::Entered { step_id, items, inputs } => {
                self.kept_bytes += size(items) + size(inputs.values());
                self.change_step(step_id, |step| {
                    step.phase = StepPhase::Entered { since: at };
                    let (items, inputs) = (items.clone(), inputs.clone());
                    step.container = Some(Container { items, inputs, ..Container::default() });
                });
            }
            Event::RoundBegan { step_id, over } => {
                if let Some(index) = self.index_of(step_id) {
                    self.begin_round(index, *over);
                }
            }
            Event::RestBegan { step_id, until } => {
                self.change_step(step_id, |step| match &mut step.container {
                    Some(container) => container.pause = Some(*until),
                    None => step.phase = StepPhase::Resting { until: *until },
                });
            }
            Event::Asked { step_id, prompt, until } => {
                self.change_step(step_id, |step| {
                    let (prompt, until) = (prompt.clone(), *until);
                    step.phase = StepPhase::Asked { since: at, prompt, until };
                });
            }
            Event::Decided { step_id, decision } => {
                self.change_step(step_id, |step| step.decision = Some(decision.clone()));
            }
            Event::VerdictMade { end } => {
                self.verdict.get_or_insert_with(|| end.clone());
            }
            Event::ListBegan { list } => self.begin_list(*list),
            Event::Rests { until } => {
                self.phase = Phase::Queued { not_before: *until };
                self.resting_since = Some(at);
            }
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
                self.wake(at);
                for step in &mut self.steps {
                    if matches!(step.phase, StepPhase::Running { .. }) {
                        step.phase = StepPhase::Pending;
                    }
                }
            }
            Event::Ended(end) => self.phase = Phase::Ended(end.clone()),
        }
    }

    /// A runner's copy takes over what only the server decides: a request to stop, how effects stand,
    /// and what was decided on steps that ask. Effects that the server has not heard of yet stay.
    pub fn adopt(
        &mut self,
        cancel: Option<Cancel>,
        effects: Vec<Effect>,
        decisions: Vec<(crate::StepId, Decision)>,
    ) {
        self.cancel = cancel;
        for effect in effects {
            match self.effects.iter_mut().find(|known| known.key == effect.key) {
                Some(known) => *known = effect,
                None => self.effects.push(effect),
            }
        }
        for (step_id, decision) in decisions {
            self.change_step(&step_id, |step| step.decision = Some(decision));
        }
    }

    /// What was decided on steps that still ask.
    pub fn decisions(&self) -> Vec<(crate::StepId, Decision)> {
        let asked = self.steps.iter().filter(|step| matches!(step.phase, StepPhase::Asked { .. }));
        asked.filter_map(|step| Some((step.id.clone(), step.decision.clone()?))).collect()
    }

    /// The rest is over.
    fn wake(&mut self, at: Time) {
        if let Some(since) = self.resting_since.take() {
            let rested = self.rested.as_micros() + at.since(since).as_micros();
            self.rested = crate::Duration::from_micros(rested);
        }
    }

    fn change_step(
        &mut self,
        step_id: &crate::StepId,
        change: impl FnOnce(&mut StepState),
    ) -> Option<usize> {
        let index = self.index_of(step_id)?;
        change(&mut self.steps[index]);
        Some(index)
    }
}
