//! Ways through the tree of a spec's steps.

use super::{Action, MOST_ROUNDS, Spec, Step};
use crate::StepId;

impl Spec {
    /// All steps with how deep they stand, in the order of the file: the main list, then `on_failure`,
    /// then `finally`; each container before its steps.
    pub fn every_step(&self) -> impl Iterator<Item = (usize, &Step)> {
        every([&self.steps, &self.on_failure, &self.finally])
    }

    /// The leaves that come after each other in the order of the file, each with its name behind the
    /// blocks around it, and whether it may be done again after a leaf that stands behind it.
    pub fn leaves(&self) -> Vec<(StepId, &Step, bool)> {
        let mut leaves = Vec::new();
        for list in [&self.steps, &self.on_failure, &self.finally] {
            walk(list, None, false, &mut leaves);
        }
        leaves
    }

    /// Whether a job of this spec can come to have an instance of a leaf with that id. What happens to an
    /// instance may be told before what brought it into being.
    pub fn can_have(&self, id: &StepId) -> bool {
        let (mut names, mut rounds) = (Vec::new(), Vec::new());
        for part in id.as_str().split('.') {
            match part.bytes().all(|byte| byte.is_ascii_digit()) {
                true => rounds.push(part),
                false => names.push(part),
            }
        }
        let counts = |round: &&str| {
            let number = round.parse::<usize>().unwrap_or_default();
            !round.starts_with('0') && (1..=MOST_ROUNDS).contains(&number)
        };
        let path = names.join(".");
        rounds.iter().all(counts) && self.leaves().iter().any(|(leaf, ..)| leaf.as_str() == path)
    }

    /// The step with that name, wherever it stands: the first, where a block has one with it too.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.every_step().map(|(_, step)| step).find(|step| step.id.as_str() == id)
    }
}

/// All steps of these lists with how deep they stand, each container before its steps.
pub(super) fn every(lists: [&[Step]; 3]) -> impl Iterator<Item = (usize, &Step)> {
    let mut ahead: Vec<(usize, &Step)> = Vec::new();
    for list in lists.into_iter().rev() {
        ahead.extend(list.iter().rev().map(|step| (0, step)));
    }
    std::iter::from_fn(move || {
        let (depth, step) = ahead.pop()?;
        ahead.extend(step.action.steps().iter().rev().map(|inner| (depth + 1, inner)));
        Some((depth, step))
    })
}

fn walk<'a>(
    list: &'a [Step],
    block: Option<&StepId>,
    again: bool,
    leaves: &mut Vec<(StepId, &'a Step, bool)>,
) {
    for step in list {
        let path = StepId::instance(block, &step.id, &[]);
        match &step.action {
            Action::Block { steps, .. } => walk(steps, Some(&path), again, leaves),
            action if action.is_container() => walk(action.steps(), block, true, leaves),
            _ => leaves.push((path, step, again)),
        }
    }
}
