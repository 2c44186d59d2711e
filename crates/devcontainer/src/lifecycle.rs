//! Which commands run when. A command of the image runs before one of a Feature, that before the
//! project's own; named commands of one origin run at once and all must succeed; a failure stops
//! everything after it.

use serde::Serialize;

use crate::{
    configuration::{Command, Configuration, Hook, Single},
    merge::Merged,
    place::Place,
};

/// All commands of an environment, by the occasion that runs them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// What the specification wants run on the host. Only a throw-away place may, never a runner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initialize: Option<Stage>,
    /// Once per environment and saved in a prebuild, where no user's secret is present.
    pub prebuild: Vec<Stage>,
    /// Once per environment, when it is claimed.
    pub claim: Vec<Stage>,
    /// At every start.
    pub start: Vec<Stage>,
    /// Each time that somebody attaches.
    pub attach: Vec<Stage>,
    /// The environment counts as ready once this hook is done.
    pub ready_after: Option<Hook>,
}

/// The commands of one hook. The groups run one after the other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stage {
    /// The hook.
    pub hook: Hook,
    /// The groups in their order.
    pub groups: Vec<Group>,
}

/// What one origin wants run. The steps run at once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// Where it is written.
    pub origin: Place,
    /// The steps. Never empty.
    pub steps: Vec<Step>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Its name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What to run.
    pub command: Single,
}

impl Plan {
    /// Orders the commands. `initialize` is where the configuration has its own.
    pub fn of(configuration: &Configuration, initialize: &Place, merged: &Merged) -> Self {
        let stages = |hooks: &[Hook]| -> Vec<Stage> {
            hooks.iter().filter_map(|hook| stage(*hook, merged)).collect()
        };
        Self {
            initialize: configuration.initialize_command.as_ref().map(|command| Stage {
                hook: Hook::Initialize,
                groups: vec![group(initialize, command)],
            }),
            prebuild: stages(&[Hook::OnCreate, Hook::UpdateContent]),
            claim: stages(&[Hook::PostCreate]),
            start: stages(&[Hook::PostStart]),
            attach: stages(&[Hook::PostAttach]),
            ready_after: Some(merged.settings.wait_for.unwrap_or(Hook::UpdateContent)),
        }
    }

    /// The stages that must be done before the environment counts as ready, in their order.
    pub fn before_ready(&self) -> impl Iterator<Item = &Stage> {
        let last = self.ready_after.unwrap_or(Hook::UpdateContent);
        self.inside().filter(move |stage| stage.hook <= last)
    }

    /// All stages that run inside, in their order.
    pub fn inside(&self) -> impl Iterator<Item = &Stage> {
        self.prebuild.iter().chain(&self.claim).chain(&self.start).chain(&self.attach)
    }
}

fn stage(hook: Hook, merged: &Merged) -> Option<Stage> {
    let commands = merged.hooks.get(&hook).filter(|commands| !commands.is_empty())?;
    let groups = commands.iter().map(|sourced| group(&sourced.origin, &sourced.command));
    Some(Stage { hook, groups: groups.collect() })
}

fn group(origin: &Place, command: &Command) -> Group {
    let steps = match command {
        Command::Single(command) => vec![Step { name: None, command: command.clone() }],
        Command::Parallel(commands) => commands
            .iter()
            .map(|(name, command)| Step { name: Some(name.clone()), command: command.clone() })
            .collect(),
    };
    Group { origin: origin.clone(), steps }
}
