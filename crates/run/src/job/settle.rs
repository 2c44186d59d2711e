//! What follows by itself from what is known: conditions that are false, containers that begin a round
//! or are over, reports, the verdict and the end. Depends on the state alone and never on the time, so
//! that a runner and the server, which have different clocks, find the same.

use std::{collections::BTreeMap, ops::Range};

use serde_json::Value;

use crate::{
    Time,
    expression::{Expression, NoValue, Scope},
    job::{
        Cause, End, Event, List, Outcome, Phase, Place, State, StepPhase, Told, end,
        rendered::{given, given_reads, rendered, renders},
        scope::scope,
    },
    spec::{Action, EndOutcome, Given, MOST_ROUNDS, ReportAction, WaitAction},
    template::Text,
};

/// How many bytes the elements of a `for_each`, or the outputs of a step, have at most as JSON.
pub(super) const LARGEST: usize = 256 << 10;
/// How many bytes of both a job holds at most.
pub(super) const LARGEST_OF_ALL: usize = 16 << 20;

/// Everything that follows, as events in order. `state` is the state after `events`.
pub(super) fn settle(mut state: State, now: Time) -> Vec<Event> {
    let mut events = Vec::new();
    while !matches!(state.phase, Phase::Ended(_)) {
        let Err(follows) = Walk::through(&state, now) else { break };
        for event in &follows {
            state.apply(event, now);
        }
        events.extend(follows);
    }
    events
}

/// What can be gone on with, as indices of instances.
#[derive(Debug, Default)]
pub(super) struct Going {
    /// To be begun.
    pub(super) start: Vec<usize>,
    /// An attempt runs.
    pub(super) running: Vec<usize>,
    /// To be begun again, then.
    pub(super) backoff: Vec<(Time, usize)>,
    /// At rest until then.
    pub(super) rests: Vec<(Time, usize)>,
    /// Waiting for a decision.
    pub(super) asked: Vec<usize>,
    /// Decided, and not gone on with.
    pub(super) decided: Vec<usize>,
}

/// Something follows by itself: these events.
pub(super) type Follows = Vec<Event>;

/// How a step or a list of steps stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is over and what is behind it may begin.
    Over,
    /// That instance has failed for good.
    Failed(usize),
    /// It goes on.
    Open,
    /// It has not begun, and must not.
    Idle,
}

type Walked = Result<Standing, Follows>;

/// One way through the tree of what has begun or may begin.
pub(super) struct Walk<'a> {
    state: &'a State,
    now: Time,
    going: Going,
}

impl<'a> Walk<'a> {
    /// What can be gone on with; or what follows before anything can.
    pub(super) fn through(state: &'a State, now: Time) -> Result<Going, Follows> {
        let mut walk = Self { state, now, going: Going::default() };
        walk.job()?;
        Ok(walk.going)
    }

    fn job(&mut self) -> Result<(), Follows> {
        let state = self.state;
        let Some(verdict) = &state.verdict else {
            let verdict = match self.sequence(state.main(), true)? {
                Standing::Open | Standing::Idle => return Ok(()),
                Standing::Over => end::done(state),
                Standing::Failed(index) => end::of_step(state, index),
            };
            return Err(verdict_made(state, verdict));
        };
        // What ran when the verdict was made is seen to its end before the other lists begin.
        if state.on_failure.is_none()
            && state.finally.is_none()
            && self.sequence(state.main(), false)? == Standing::Open
        {
            return Ok(());
        }
        let mut verdict = verdict.clone();
        let failed = matches!(verdict.outcome, Outcome::Failed | Outcome::GaveUp);
        let lists = [
            (List::OnFailure, failed && !state.spec.on_failure.is_empty()),
            (List::Finally, !state.spec.finally.is_empty()),
        ];
        for (list, wanted) in lists {
            if !wanted {
                continue;
            }
            let Some(range) = state.list(list) else {
                return Err(vec![Event::ListBegan { list }]);
            };
            match self.sequence(range, true)? {
                Standing::Open | Standing::Idle => return Ok(()),
                Standing::Over => {}
                Standing::Failed(index) => {
                    verdict
                        .reason
                        .push_str(&format!(" After that, {}", end::of_step(state, index).reason));
                }
            }
        }
        Err(end::end(state, verdict))
    }

    fn sequence(&mut self, range: Range<usize>, begin: bool) -> Walked {
        for index in range {
            match self.step(index, begin)? {
                Standing::Over => {}
                other => return Ok(other),
            }
        }
        Ok(Standing::Over)
    }

    fn step(&mut self, index: usize, begin: bool) -> Walked {
        let step = &self.state.steps[index];
        match &step.phase {
            StepPhase::Succeeded | StepPhase::Skipped { .. } => return Ok(Standing::Over),
            StepPhase::Failed { .. } if self.state.is_passed(index) => return Ok(Standing::Over),
            StepPhase::Failed { .. } => return Ok(Standing::Failed(index)),
            StepPhase::Running { .. } => self.going.running.push(index),
            StepPhase::Backoff { until } => self.going.backoff.push((*until, index)),
            StepPhase::Pending if step.attempts > 0 => self.going.start.push(index),
            StepPhase::Pending if !begin => return Ok(Standing::Idle),
            StepPhase::Pending => {
                self.due(index)?;
                self.going.start.push(index);
            }
            StepPhase::Resting { .. } | StepPhase::Asked { .. } if !begin => {
                return Err(self.left(index));
            }
            StepPhase::Resting { until } => self.going.rests.push((*until, index)),
            StepPhase::Asked { .. } if step.decision.is_some() => self.going.decided.push(index),
            StepPhase::Asked { .. } => self.going.asked.push(index),
            StepPhase::Entered { .. } => return self.container(index, begin),
        }
        Ok(Standing::Open)
    }

    /// A step's turn has come. Nothing follows if it is for a runner to execute.
    fn due(&self, index: usize) -> Result<(), Follows> {
        let state = self.state;
        let (step, definition) = (&state.steps[index], state.definition(index));
        let step_id = step.id.clone();
        if let Some(condition) = &definition.condition {
            match condition.holds(&self.scope_of(index, condition)) {
                Ok(true) => {}
                Ok(false) => {
                    let reason = format!("`{condition}` is false.");
                    return Err(vec![Event::StepSkipped { step_id, reason }]);
                }
                Err(no_value) => return Err(self.no_value(index, &no_value)),
            }
        }
        if definition.action.is_executed() {
            return renders(state, index).map_err(|no_value| self.no_value(index, &no_value));
        }
        let action = rendered(state, index).map_err(|no_value| self.no_value(index, &no_value))?;
        Err(match action.action {
            Action::Run { .. }
            | Action::Agent(_)
            | Action::PullRequest(_)
            | Action::Readiness(_) => return Ok(()),
            Action::Report(report) => self.told(index, report),
            Action::End(end) => {
                let outcome = match end.outcome {
                    EndOutcome::Skipped => Outcome::Skipped,
                    EndOutcome::Succeeded => Outcome::Succeeded,
                };
                let reason = end::or_else(end.reason.as_str(), "It ended itself.");
                let end = End { outcome, code: "ended".into(), reason, give_up: None };
                let mut events = vec![Event::succeeded(step_id)];
                events.push(Event::VerdictMade { end });
                events
            }
            Action::Wait(WaitAction::For { duration }) => {
                vec![Event::RestBegan { step_id, until: self.now + duration }]
            }
            Action::Approve(approve) => vec![Event::Asked {
                step_id,
                prompt: approve.prompt.as_str().to_owned(),
                until: approve.timeout.map(|timeout| self.now + timeout),
            }],
            Action::ForEach { items, .. } => self.each(index, &items)?,
            Action::Block { inputs, .. } => {
                let scope = scope(state, state.around(index), &given_reads(&inputs));
                let inputs =
                    given(&inputs, &scope).map_err(|no_value| self.no_value(index, &no_value))?;
                self.fits(index, inputs.values())?;
                vec![Event::Entered { step_id, items: Vec::new(), inputs }]
            }
            Action::Parallel { .. } | Action::Until { .. } => {
                vec![Event::Entered { step_id, items: Vec::new(), inputs: BTreeMap::new() }]
            }
        })
    }

    fn told(&self, index: usize, report: ReportAction) -> Follows {
        let value = |(name, given)| match given {
            Given::Value(value) => (name, value),
            Given::Text(text) => (name, Value::String(text.as_str().to_owned())),
        };
        let values: BTreeMap<String, Value> = report.values.into_iter().map(value).collect();
        if let Err(follows) = self.fits(index, values.values()) {
            return follows;
        }
        let step_id = self.state.steps[index].id.clone();
        let text = |text: &Text| text.as_str().chars().take(LARGEST / 4).collect();
        let told = Told { title: text(&report.title), body: report.body.as_ref().map(text) };
        vec![Event::StepTold { step_id, told, values }]
    }

    fn each(&self, index: usize, items: &Expression) -> Result<Follows, Follows> {
        let value = items.value(&self.scope_of(index, items));
        let items = match value {
            Ok(Value::Array(items)) => items,
            Ok(_) => {
                let why = "it is no list".to_owned();
                let no_value = NoValue { expression: items.source().to_owned(), why };
                return Err(self.no_value(index, &no_value));
            }
            Err(no_value) => return Err(self.no_value(index, &no_value)),
        };
        self.fits(index, &items)?;
        let step_id = self.state.steps[index].id.clone();
        Ok(vec![Event::Entered { step_id, items, inputs: BTreeMap::new() }])
    }

    /// Fails the step unless so much may be kept.
    fn fits<'v>(
        &self,
        index: usize,
        values: impl IntoIterator<Item = &'v Value>,
    ) -> Result<(), Follows> {
        let bytes = size(values);
        let too_large = if bytes > LARGEST {
            format!("What it gives has {bytes} bytes, and at most {LARGEST} are taken.")
        } else if self.state.kept_bytes + bytes > LARGEST_OF_ALL {
            format!("A job holds at most {LARGEST_OF_ALL} bytes of values: give shorter ones.")
        } else {
            return Ok(());
        };
        Err(self.fails(index, "output", too_large))
    }

    fn container(&mut self, index: usize, begin: bool) -> Walked {
        let state = self.state;
        let definition = state.definition(index);
        let Some(holds) = &state.steps[index].container else { return Ok(Standing::Open) };
        let (all, at_once, chained) = match &definition.action {
            Action::ForEach { limit, .. } => (holds.items.len(), *limit as usize, false),
            Action::Until { rounds, .. } => (*rounds as usize, 1, true),
            _ => (1, 1, false),
        };
        let begun = holds.rounds.len();
        // Only the last round of those that follow each other says anything new.
        let first = if chained { begun.saturating_sub(1) } else { holds.over };
        let failed = self.failed_in(index, first..begun);
        let may_begin = begin && failed.is_none();
        let (mut open, mut idle, mut over) = (0, false, first);
        for round in first..begun {
            let range = state.round(index, round);
            let standing = match &definition.action {
                Action::Parallel { limit, .. } => self.at_once(range, may_begin, *limit)?,
                _ => self.sequence(range, may_begin)?,
            };
            match standing {
                Standing::Over if over == round => over += 1,
                Standing::Over | Standing::Failed(_) => {}
                Standing::Open => open += 1,
                Standing::Idle => idle = true,
            }
        }
        if chained && begun > 0 && open == 0 && failed.is_none() && !idle {
            return self.repeated(index, begin, begun, over);
        }
        if may_begin && begun < all && open < at_once {
            return Err(self.next_round(index, over));
        }
        if open > 0 {
            return Ok(Standing::Open);
        }
        Err(match failed {
            Some(failed) => self.fails_by(index, failed),
            None if idle || begun < all => self.left(index),
            None => self.over(index),
        })
    }

    /// The first of the instances in those rounds that has failed for good.
    fn failed_in(&self, container: usize, rounds: Range<usize>) -> Option<usize> {
        let mut all = rounds.flat_map(|round| self.state.round(container, round));
        all.find(|index| {
            matches!(self.state.steps[*index].phase, StepPhase::Failed { .. })
                && !self.state.is_passed(*index)
        })
    }

    fn at_once(&mut self, range: Range<usize>, begin: bool, limit: Option<u32>) -> Walked {
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let (mut open, mut idle, mut failed) = (0, false, None);
        for index in range {
            let step = &self.state.steps[index];
            let fresh = step.phase == StepPhase::Pending && step.attempts == 0;
            match self.step(index, begin && (!fresh || open < limit))? {
                Standing::Over => {}
                Standing::Open => open += 1,
                Standing::Idle => idle = true,
                Standing::Failed(index) => failed = failed.or(Some(index)),
            }
        }
        Ok(match failed {
            _ if open > 0 => Standing::Open,
            Some(failed) => Standing::Failed(failed),
            None if idle => Standing::Idle,
            None => Standing::Over,
        })
    }

    /// A round of an `until` is over.
    fn repeated(&mut self, index: usize, begin: bool, begun: usize, over: usize) -> Walked {
        let state = self.state;
        let Action::Until { condition, rounds, pause, .. } = &state.definition(index).action else {
            return Ok(Standing::Open);
        };
        let holds = condition.holds(&scope(state, Some((index, begun - 1)), &condition.reads()));
        match holds {
            Ok(true) => return Err(self.over(index)),
            Ok(false) if begun >= *rounds as usize => {
                let reason = format!("`{condition}` did not hold after {begun} rounds.");
                return Err(self.fails(index, "until", reason));
            }
            Ok(false) if !begin => return Err(self.left(index)),
            Ok(false) => {}
            Err(no_value) => return Err(self.no_value(index, &no_value)),
        }
        let paused = state.steps[index].container.as_ref().and_then(|holds| holds.pause);
        match paused {
            Some(until) => {
                self.going.rests.push((until, index));
                Ok(Standing::Open)
            }
            None if pause.as_micros() > 0 => {
                let step_id = state.steps[index].id.clone();
                Err(vec![Event::RestBegan { step_id, until: self.now + *pause }])
            }
            None => Err(self.next_round(index, over)),
        }
    }

    fn next_round(&self, index: usize, over: usize) -> Follows {
        next_round(self.state, index, over)
    }

    fn over(&self, index: usize) -> Follows {
        let state = self.state;
        let step_id = state.steps[index].id.clone();
        let mut outputs = BTreeMap::new();
        if let Action::Block { outputs: wanted, .. } = &state.definition(index).action {
            for (name, expression) in wanted {
                let inside = Some((index, 0));
                match expression.value(&scope(state, inside, &expression.reads())) {
                    Ok(value) => outputs.insert(name.clone(), value),
                    Err(no_value) => return self.no_value(index, &no_value),
                };
            }
            if let Err(follows) = self.fits(index, outputs.values()) {
                return follows;
            }
        }
        vec![Event::StepSucceeded { step_id, checkpoint: None, outputs }]
    }

    /// It is not brought to its end: something else decided that it need not.
    fn left(&self, index: usize) -> Follows {
        let step_id = self.state.steps[index].id.clone();
        let reason = "The job went another way before it was through.".to_owned();
        vec![Event::StepSkipped { step_id, reason }]
    }

    fn fails_by(&self, index: usize, failed: usize) -> Follows {
        let end = end::of_step(self.state, failed);
        let step_id = self.state.steps[index].id.clone();
        let cause = Some(Cause { code: end.code, give_up: end.give_up });
        vec![Event::StepFailed { step_id, reason: end.reason, cause }]
    }

    fn fails(&self, index: usize, code: &str, reason: String) -> Follows {
        fails(self.state, index, code, reason)
    }

    fn no_value(&self, index: usize, no_value: &NoValue) -> Follows {
        self.fails(index, "template", format!("{no_value}."))
    }

    fn scope_of(&self, index: usize, expression: &Expression) -> Scope {
        scope(self.state, self.state.around(index), &expression.reads())
    }
}

/// A container's next round begins, if the job may have so many steps.
pub(super) fn next_round(state: &State, index: usize, over: usize) -> Follows {
    let more = state.definition(index).action.steps().len();
    if state.steps.len() + more > MOST_ROUNDS {
        let reason = format!(
            "The job would have more than {MOST_ROUNDS} steps, rounds counted one by one: spread the work over several jobs."
        );
        return fails(state, index, "too_many_steps", reason);
    }
    vec![Event::RoundBegan { step_id: state.steps[index].id.clone(), over }]
}

/// The verdict on the job; its end, where nothing is to be done after it.
fn verdict_made(state: &State, verdict: End) -> Follows {
    let failed = matches!(verdict.outcome, Outcome::Failed | Outcome::GaveUp);
    let more = !state.spec.finally.is_empty() || failed && !state.spec.on_failure.is_empty();
    match more {
        true => vec![Event::VerdictMade { end: verdict }],
        false => end::end(state, verdict),
    }
}

fn fails(state: &State, index: usize, code: &str, reason: String) -> Follows {
    let step_id = state.steps[index].id.clone();
    let cause = Some(Cause { code: code.to_owned(), give_up: None });
    vec![Event::StepFailed { step_id, reason, cause }]
}

/// How many bytes values have as JSON.
pub(super) fn size<'v>(values: impl IntoIterator<Item = &'v Value>) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    for value in values {
        // Counting can't fail, and every value can be written.
        let _ = serde_json::to_writer(&mut count, value);
    }
    count.0
}

impl State {
    /// True if the job goes on after the instance: it ended well, was skipped, or failed and may.
    pub(super) fn is_passed(&self, index: usize) -> bool {
        let step = &self.steps[index];
        match step.phase {
            StepPhase::Succeeded | StepPhase::Skipped { .. } => true,
            StepPhase::Failed { .. } => {
                let gave_up = step.failure.as_ref().is_some_and(|cause| cause.give_up.is_some());
                self.definition(index).continue_on_error && !gave_up
            }
            _ => false,
        }
    }

    /// Whether an instance stands in the list that is done after a failure, or last.
    pub fn is_after_the_verdict(&self, index: usize) -> bool {
        match self.steps[index].place {
            Place::Main => false,
            Place::OnFailure { .. } | Place::Finally { .. } => true,
            Place::Within { container, .. } => self.is_after_the_verdict(container),
        }
    }
}
