//! Ways through the tree of a spec's steps.

use super::{Spec, Step};

impl Spec {
    /// All steps with how deep they stand, in the order of the file: the main list, then `on_failure`,
    /// then `finally`; each container before its steps.
    pub fn every_step(&self) -> impl Iterator<Item = (usize, &Step)> {
        let lists = [&self.steps, &self.on_failure, &self.finally];
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

    /// The step with that name, wherever it stands: the first, where a block has one with it too.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.every_step().map(|(_, step)| step).find(|step| step.id.as_str() == id)
    }
}
