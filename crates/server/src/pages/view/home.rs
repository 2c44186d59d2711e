//! Home: what needs a person, what runs, what stopped without a change, and the form for a new task.

use askama::Template;

use super::{Moment, Shell, State, Text};

/// The home page.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "home.html")]
pub(crate) struct Home {
    pub(crate) shell: Shell,
    /// What awaits a person, most pressing first.
    pub(crate) needs: Vec<Need>,
    /// True if there is more than `needs` shows.
    pub(crate) needs_more: bool,
    /// What runs or waits for a runner, newest first.
    pub(crate) running: Vec<Running>,
    /// How many jobs run and wait in all.
    pub(crate) n_live: u64,
    /// What ended without a change lately, newest first.
    pub(crate) stopped: Vec<Stopped>,
    /// The form for a new task.
    pub(crate) form: TaskForm,
}

/// Something that awaits a person.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Need {
    /// Its shape.
    pub(crate) state: State,
    /// What it is, in the words of whoever made it.
    pub(crate) title: Text,
    /// Where to deal with it.
    pub(crate) href: String,
    /// What to do, in a word or two.
    pub(crate) ask: &'static str,
    /// Why it is here, for a person.
    pub(crate) why: Text,
    /// Since when.
    pub(crate) since: Option<Moment>,
}

/// Something that runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Running {
    pub(crate) state: State,
    pub(crate) title: Text,
    pub(crate) href: String,
    pub(crate) project: Text,
    /// Since when it runs or waits.
    pub(crate) since: Moment,
}

/// Something that ended without a change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stopped {
    pub(crate) state: State,
    pub(crate) title: Text,
    pub(crate) href: String,
    pub(crate) project: Text,
    /// Why, in one sentence.
    pub(crate) reason: Text,
    pub(crate) at: Moment,
}

/// The form for a new task, as it was filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TaskForm {
    /// The projects to choose from.
    pub(crate) projects: Vec<Text>,
    /// The agents to choose from, with what they need said.
    pub(crate) agents: Vec<AgentChoice>,
    pub(crate) project: Text,
    pub(crate) task: Text,
    pub(crate) agent: Text,
    pub(crate) model: Text,
    pub(crate) base: Text,
    pub(crate) verify: Text,
    pub(crate) network: Text,
    pub(crate) minutes: Text,
    pub(crate) tokens: Text,
    /// Makes a form that is sent twice one request.
    pub(crate) key: String,
    /// True if the lesser fields are shown at once.
    pub(crate) is_open: bool,
    /// What was wrong with it.
    pub(crate) problem: Option<FormProblem>,
}

/// An agent to choose.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AgentChoice {
    /// What the form sends.
    pub(crate) value: Text,
    /// What a person reads.
    pub(crate) label: Text,
}

/// What was wrong with a form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FormProblem {
    /// The stable code, which has a page.
    pub(crate) code: String,
    /// What was wrong and what to do.
    pub(crate) detail: Text,
}
