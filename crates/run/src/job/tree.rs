//! Where the instances of steps stand: in one of the job's lists, or in a round of a container. The
//! root list's exist from the start, the others come into being when their list or round begins.

use std::{collections::BTreeMap, ops::Range};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    StepId, Time,
    job::{State, StepPhase, StepState},
    spec::{Action, Step},
};

/// Where an instance of a step stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the main list, at its own index.
    #[default]
    Main,
    /// In the list that is done after a failure.
    OnFailure {
        /// Its place in the list.
        slot: usize,
    },
    /// In the list that is done last.
    Finally {
        /// Its place in the list.
        slot: usize,
    },
    /// In a round of a container.
    Within {
        /// The index of the container's instance.
        container: usize,
        /// Which round, from 0.
        round: usize,
        /// Its place among the round's steps.
        slot: usize,
    },
}

/// A list of the job beside the main one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum List {
    /// Done after a failure.
    OnFailure,
    /// Done last.
    Finally,
}

/// What a container that was entered holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// The elements of a `for_each`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Value>,
    /// What a block was given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Value>,
    /// The index of the first instance of each round that has begun.
    pub rounds: Vec<usize>,
    /// How many rounds at the beginning are known to be over.
    #[serde(default)]
    pub over: usize,
    /// Until when it rests before its next round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Time>,
}

impl State {
    /// What the step of an instance was asked to do.
    pub fn definition(&self, index: usize) -> &Step {
        match self.steps[index].place {
            Place::Main => &self.spec.steps[index],
            Place::OnFailure { slot } => &self.spec.on_failure[slot],
            Place::Finally { slot } => &self.spec.finally[slot],
            Place::Within { container, slot, .. } => {
                &self.definition(container).action.steps()[slot]
            }
        }
    }

    /// The container that an instance stands in, and in which round, from 0.
    pub fn around(&self, index: usize) -> Option<(usize, usize)> {
        match self.steps[index].place {
            Place::Within { container, round, .. } => Some((container, round)),
            Place::Main | Place::OnFailure { .. } | Place::Finally { .. } => None,
        }
    }

    /// The checkpoints with the instances that made them, each on top of the one before.
    pub fn checkpoints(&self) -> impl Iterator<Item = (&StepState, &str)> {
        // Steps that ended before there were trees ended in their order.
        let earlier = (0..self.steps.len()).filter(|index| !self.checkpointed.contains(index));
        let order = earlier.chain(self.checkpointed.iter().copied());
        order.filter_map(|index| {
            let step = &self.steps[index];
            Some((step, step.checkpoint.as_deref()?))
        })
    }

    /// The name of an instance's step in the spec: without rounds, behind the blocks around it.
    pub fn path(&self, index: usize) -> StepId {
        let step = &self.definition(index).id;
        let (block, _) = self.chain(self.around(index));
        let block = block.map(|block| self.path(block));
        StepId::instance(block.as_ref(), step, &[])
    }

    /// The index of the instance with that id.
    pub fn index_of(&self, id: &StepId) -> Option<usize> {
        self.steps.iter().position(|step| step.id == *id)
    }

    /// All instances as a person reads them, each with how deep it stands: containers before what is in
    /// them, rounds in order.
    pub fn in_order(&self) -> Vec<(usize, usize)> {
        let mut order = Vec::with_capacity(self.steps.len());
        let ranges = [Some(self.main()), self.list(List::OnFailure), self.list(List::Finally)];
        let mut ahead: Vec<(usize, usize)> =
            ranges.into_iter().flatten().flatten().map(|index| (0, index)).rev().collect();
        while let Some((depth, index)) = ahead.pop() {
            order.push((depth, index));
            let rounds = self.steps[index].container.as_ref().map_or(0, |c| c.rounds.len());
            for round in (0..rounds).rev() {
                ahead.extend(self.round(index, round).rev().map(|inner| (depth + 1, inner)));
            }
        }
        order
    }

    /// The instances of the main list.
    pub(super) fn main(&self) -> Range<usize> {
        0..self.spec.steps.len()
    }

    /// The instances of another list, once it has begun.
    pub(super) fn list(&self, list: List) -> Option<Range<usize>> {
        let (begins, len) = match list {
            List::OnFailure => (self.on_failure, self.spec.on_failure.len()),
            List::Finally => (self.finally, self.spec.finally.len()),
        };
        begins.map(|begins| begins..begins + len)
    }

    /// The instances of a container's round that has begun.
    pub(super) fn round(&self, container: usize, round: usize) -> Range<usize> {
        let begins = self.steps[container].container.as_ref().map(|c| c.rounds[round]);
        begins.map_or(0..0, |b| b..b + self.definition(container).action.steps().len())
    }

    /// The rounds around what stands in a container's round, the outermost first, up to the block that it
    /// belongs to; and that block.
    pub(super) fn chain(
        &self,
        around: Option<(usize, usize)>,
    ) -> (Option<usize>, Vec<(usize, usize)>) {
        let mut chain = Vec::new();
        let mut next = around;
        while let Some((container, round)) = next {
            match self.definition(container).action {
                Action::Block { .. } => {
                    chain.reverse();
                    return (Some(container), chain);
                }
                Action::ForEach { .. } | Action::Until { .. } => chain.push((container, round)),
                _ => {}
            }
            next = self.around(container);
        }
        chain.reverse();
        (None, chain)
    }

    /// Makes the instances of a list that begins.
    pub(super) fn begin_list(&mut self, list: List) {
        let begins = self.steps.len();
        let spec = self.spec.clone();
        let steps = match list {
            List::OnFailure => &spec.on_failure,
            List::Finally => &spec.finally,
        };
        for (slot, step) in steps.iter().enumerate() {
            let place = match list {
                List::OnFailure => Place::OnFailure { slot },
                List::Finally => Place::Finally { slot },
            };
            self.steps.push(StepState::new(step.id.clone(), place));
        }
        match list {
            List::OnFailure => self.on_failure = Some(begins),
            List::Finally => self.finally = Some(begins),
        }
    }

    /// Makes the instances of a container's next round.
    pub(super) fn begin_round(&mut self, container: usize, over: usize) {
        let begins = self.steps.len();
        let holds = self.steps[container].container.get_or_insert_default();
        let round = holds.rounds.len();
        holds.rounds.push(begins);
        holds.over = over;
        holds.pause = None;
        let (block, chain) = self.chain(Some((container, round)));
        let rounds: Vec<usize> = chain.iter().map(|(_, round)| round + 1).collect();
        let block = block.map(|block| self.steps[block].id.clone());
        let definition = self.definition(container);
        let steps = definition.action.steps().iter().enumerate();
        let instances: Vec<StepState> = steps
            .map(|(slot, step)| {
                let id = StepId::instance(block.as_ref(), &step.id, &rounds);
                StepState::new(id, Place::Within { container, round, slot })
            })
            .collect();
        self.steps.extend(instances);
    }
}

impl StepState {
    /// One that has not begun.
    pub(super) fn new(id: StepId, place: Place) -> Self {
        Self {
            id,
            phase: StepPhase::Pending,
            attempts: 0,
            failures: 0,
            checkpoint: None,
            place,
            outputs: BTreeMap::new(),
            container: None,
            told: None,
            decision: None,
            failure: None,
        }
    }
}
