//! A one-off task: what a person types, made into a job's [`Spec`].

use serde::{Deserialize, Serialize};

use crate::{
    Class, Duration, JobId, Labels, StepId,
    spec::{Action, AgentAction, InvalidSpec, Limits, PullRequestAction, Spec, Step, Target},
};

/// How many bytes of a task become a title at most.
const TITLE_BYTES: usize = 100;

/// A one-off task: commands before, an agent, commands after, a pull request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// What the agent should do, and how it works.
    pub agent: AgentAction,
    /// How long one attempt of the agent's step may take.
    pub timeout: Duration,
    /// Commands that prepare the environment, in order: each one a step `prepare-N`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// Commands after the agent, in order: each one a step `after-N`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// How the work is published; absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequestAction>,
    /// Limits of the job.
    #[serde(default)]
    pub limits: Limits,
    /// Hosts that the environment may reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<String>,
    /// What a runner must have to take it.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub runs_on: Labels,
    /// What its environment may use of its machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// The ended job that this one follows up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<JobId>,
}

impl Task {
    /// The task as a checked spec for one target.
    ///
    /// # Errors
    /// The first fault found, with its place.
    pub fn into_spec(self, target: Target) -> Result<Spec, InvalidSpec> {
        let timeout = self.timeout;
        let mut steps = Vec::new();
        let mut push = |id: String, action: Action| {
            let place = format!("steps[{}].id", steps.len());
            let id = StepId::parse(&id)
                .map_err(|invalid| InvalidSpec { place, why: invalid.to_string() })?;
            steps.push(Step { timeout, ..Step::new(id, action) });
            Ok::<(), InvalidSpec>(())
        };
        for (i, command) in self.before.into_iter().enumerate() {
            push(format!("prepare-{}", i + 1), Action::run(command))?;
        }
        push("agent".to_owned(), Action::Agent(self.agent))?;
        for (i, command) in self.after.into_iter().enumerate() {
            push(format!("after-{}", i + 1), Action::run(command))?;
        }
        if let Some(pull_request) = self.pull_request {
            push("pull-request".to_owned(), Action::PullRequest(pull_request))?;
        }
        let Self { limits, network, runs_on, class, continues, .. } = self;
        let spec = Spec { limits, network, runs_on, class, continues, ..Spec::new(target, steps) };
        spec.check()?;
        Ok(spec)
    }
}

/// A text's first line that isn't blank, shortened to fit a list.
pub fn title(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("");
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    if line.len() <= TITLE_BYTES {
        return line;
    }
    let mut end = TITLE_BYTES - 3;
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", line[..end].trim_end())
}
