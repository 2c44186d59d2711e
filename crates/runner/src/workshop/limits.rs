//! What an environment may use of this machine: what its class says, and where that says nothing, what
//! the runner's operator says. And what came of it: each limit with who enforces it, or why nobody does.

use std::path::Path;

use windlass_devcontainer::capability::{Class as Offer, Machine};
use windlass_run::class::{Class, Limited, Resource};
use windlass_sandbox::{Layer, Limits, plan::Report};

use super::disk;
use crate::{definition::Room, health, options::Options};

/// The limits of one environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowance {
    /// What the environment's plan says.
    pub(crate) limits: Limits,
    /// The class that was chosen; absent: none but the operator's word.
    pub(crate) class: Option<Class>,
}

impl Allowance {
    /// The limits of an environment of a class.
    pub(crate) fn of(operator: &Limits, class: Option<&Class>) -> Self {
        let mut limits = operator.clone();
        if let Some(class) = class {
            limits.cpu_millis = class.cpu_millis.or(limits.cpu_millis);
            limits.memory_bytes = class.memory_bytes.or(limits.memory_bytes);
            limits.processes = class.processes.or(limits.processes);
            limits.disk_bytes = class.disk_bytes.or(limits.disk_bytes);
        }
        Self { limits, class: class.cloned() }
    }

    /// What to do where one was reached.
    pub(crate) fn larger(&self) -> String {
        match &self.class {
            Some(class) => format!(
                "Choose a larger class than `{}` (`windlass class list`), or let the command use less.",
                class.name
            ),
            None => {
                "Raise the limit of the runner, choose a class (`windlass class list`), or let the \
                     command use less."
                    .to_owned()
            }
        }
    }

    /// What was given of what was asked for, as the sandbox reports it.
    pub(crate) fn told(&self, report: &Report) -> Vec<Limited> {
        let limits = &self.limits;
        let amounts = [
            (Resource::Cpu, Layer::CpuLimit, limits.cpu_millis.map(u64::from)),
            (Resource::Memory, Layer::MemoryLimit, limits.memory_bytes),
            (Resource::Processes, Layer::ProcessLimit, limits.processes.map(u64::from)),
        ];
        let mut told: Vec<Limited> = amounts
            .into_iter()
            .filter_map(|(what, layer, amount)| {
                let row = report.layer(layer)?;
                let how = match row.remedy.as_ref().filter(|_| !row.in_force) {
                    Some(remedy) => format!("{}; to have it: {remedy}", row.detail),
                    None => row.detail.clone(),
                };
                Some(Limited { what, amount: amount?, enforced: row.in_force, how })
            })
            .collect();
        if let Some(amount) = limits.disk_bytes {
            let how = disk::HOW.to_owned();
            told.push(Limited { what: Resource::Disk, amount, enforced: true, how });
        }
        if self.class.as_ref().is_some_and(|class| class.gpu) {
            let how = "the runner has the label `gpu`; its devices are not shown inside".to_owned();
            told.push(Limited { what: Resource::Gpu, amount: 1, enforced: false, how });
        }
        told
    }

    /// What a definition may ask for: what is given, and of what is not limited, what the machine has.
    pub(crate) fn machine(&self, state_dir: &Path) -> Machine {
        let health = health::look(state_dir);
        self.on(&Machine {
            cpu_millis: u64::from(health.cpus.unwrap_or(0)) * 1000,
            // What a machine is sold with: firmware and kernel keep a part of it.
            memory: health.memory.map_or(0, |bytes| bytes + bytes / 16),
            storage: health.disk_free.unwrap_or(0),
            gpu: false,
        })
    }

    fn on(&self, machine: &Machine) -> Machine {
        Machine {
            cpu_millis: self.limits.cpu_millis.map_or(machine.cpu_millis, u64::from),
            memory: self.limits.memory_bytes.unwrap_or(machine.memory),
            storage: self.limits.disk_bytes.unwrap_or(machine.storage),
            gpu: self.class.as_ref().is_some_and(|class| class.gpu),
        }
    }
}

/// What a definition may ask for, and which class of its organisation would give more.
pub(crate) fn room(options: &Options, given: &Allowance, classes: &[Class]) -> Room {
    let machine = Allowance::default().machine(&options.state_dir);
    let named = given.class.as_ref().map(|class| class.name.clone());
    let offers = classes.iter().map(|class| Offer {
        name: class.name.clone(),
        machine: Allowance::of(&options.limits, Some(class)).on(&machine),
    });
    // Where there are no classes, the machine is what is spoken of.
    let usual = (!classes.is_empty()).then(|| windlass_run::class::DEFAULT.to_owned());
    Room { machine: given.on(&machine), class: named.or(usual), classes: offers.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_says_its_own_and_leaves_the_rest_to_the_operator() {
        let operator =
            Limits { memory_bytes: Some(1 << 30), processes: Some(4096), ..Limits::default() };
        let class = Class {
            memory_bytes: Some(2 << 30),
            cpu_millis: Some(500),
            gpu: true,
            ..Class::built_in()
        };
        let given = Allowance::of(&operator, Some(&class));
        let expected =
            Limits { memory_bytes: Some(2 << 30), cpu_millis: Some(500), ..operator.clone() };
        assert_eq!(given.limits, expected);
        assert_eq!(Allowance::of(&operator, None).limits, operator);
        let machine = Machine { cpu_millis: 8000, memory: 64, storage: 7, gpu: false };
        let expected = Machine { cpu_millis: 500, memory: 2 << 30, storage: 7, gpu: true };
        assert_eq!(given.on(&machine), expected);
        assert!(given.larger().contains("`default`"));
    }
}
