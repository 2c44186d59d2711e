//! The page of a job: what it is, how far it is, and the selected step. The head and the timeline are
//! templates of their own, so that a live page replaces them whole.

use askama::{Template, filters::HtmlSafe};

use super::{
    Moment, Shell, State, Text,
    diff::DiffView,
    log::Log,
    session::{Item, Usage},
    shell::{Choice, Commit, Csrf, Id, Who},
    timeline::Timeline,
};

/// The page of a job.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "job.html")]
pub(crate) struct JobPage {
    pub(crate) shell: Shell,
    pub(crate) head: Head,
    pub(crate) steps: Steps,
    /// What of the selected step is shown, as links.
    pub(crate) tabs: Vec<Choice>,
    pub(crate) panel: Panel,
    /// Where the page gets what happens from now on, while the job is not over.
    pub(crate) live: Option<Live>,
}

/// Where a page gets what happens from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    /// The stream's address.
    pub(crate) href: String,
    /// What the page shows already: the stream goes on from there.
    pub(crate) cursor: String,
}

/// The head of a job's page.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "parts/job_head.html")]
pub(crate) struct Head {
    pub(crate) id: Id,
    pub(crate) title: Text,
    pub(crate) state: State,
    pub(crate) project: Text,
    pub(crate) project_href: String,
    pub(crate) base: Text,
    pub(crate) base_commit: Option<Commit>,
    pub(crate) by: Who,
    pub(crate) created: Moment,
    /// How long it took or has taken, from its first lease.
    pub(crate) took: String,
    /// The agents of its steps.
    pub(crate) agents: Vec<Text>,
    /// True if a session file answers instead of a model.
    pub(crate) is_scripted: bool,
    pub(crate) tokens: Tokens,
    /// The hosts that it may reach; `None` if that is not known.
    pub(crate) network: Option<Vec<Text>>,
    /// The layers of the environment's walls, as its runner proved them; empty until it said so.
    pub(crate) guard: Vec<Layer>,
    pub(crate) runner: Option<Text>,
    /// Labels that a runner must have.
    pub(crate) runs_on: Vec<Text>,
    /// Names of secrets that its agents may read.
    pub(crate) sensitive: Vec<Text>,
    /// Why nobody takes it, where nobody can.
    pub(crate) waits: Option<Text>,
    /// How often it was given to a runner again.
    pub(crate) requeues: u32,
    /// How its environments came to be, the newest last.
    pub(crate) starts: Vec<Start>,
    /// The job that it follows up.
    pub(crate) continues: Option<String>,
    /// How it ended.
    pub(crate) end: Option<End>,
    /// The command that lets an agent repair the repository's definition, where that was the end.
    pub(crate) repair: Option<String>,
    /// Who asked it to stop, and why.
    pub(crate) stop_asked: Option<(Who, Text)>,
    /// Its pull request.
    pub(crate) change: Option<(u64, String)>,
    /// Where it is stopped, if this person may.
    pub(crate) cancel: Option<String>,
    pub(crate) csrf: Csrf,
}

impl HtmlSafe for Head {}

/// How an environment came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// In a few words: how long it took, and what was there before.
    pub(crate) summary: String,
    /// Why none was taken from the pool.
    pub(crate) missed: Option<Text>,
    /// Its parts: name, time, and the share of the whole in percent.
    pub(crate) stages: Vec<(Text, String, u64)>,
    /// What the pool held for starts like this.
    pub(crate) pool: Option<String>,
    /// What would make the next one faster.
    pub(crate) advice: Vec<Text>,
    /// What it got of the machine, a line each.
    pub(crate) limits: Vec<Text>,
}

/// Tokens used, beside the limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) used: String,
    pub(crate) limit: Option<String>,
    /// The used part, as a percentage; at most a hundred.
    pub(crate) part: String,
    /// True from nine tenths on.
    pub(crate) is_tight: bool,
}

impl Tokens {
    /// Tokens used, of a limit where there is one.
    pub(crate) fn new(used: u64, limit: Option<u64>) -> Self {
        let part = limit.map_or(0, |limit| used.saturating_mul(100) / limit.max(1)).min(100);
        Self {
            used: crate::pages::when::count(used),
            limit: limit.map(crate::pages::when::count),
            part: format!("{part}%"),
            is_tight: part >= 90,
        }
    }
}

/// One layer of an environment's walls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) name: Text,
    /// True if it was seen in force.
    pub(crate) is_enforced: bool,
    /// Why not, or how it was seen.
    pub(crate) detail: Text,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    pub(crate) code: Text,
    pub(crate) reason: Text,
    pub(crate) give_up: Option<GiveUp>,
}

/// The agent's own report of why there is no change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GiveUp {
    pub(crate) agent: Text,
    pub(crate) tried: Vec<Text>,
    pub(crate) because: Text,
    pub(crate) unblock: Text,
}

/// The steps as a timeline.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "parts/job_steps.html")]
pub(crate) struct Steps {
    pub(crate) timeline: Timeline,
}

impl HtmlSafe for Steps {}

/// What is shown of the selected step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Panel {
    /// The session of an agent.
    Session(SessionPanel),
    /// Output.
    Log(Log),
    /// The work so far.
    Diff(DiffView),
    /// Outward writes of the whole job.
    Effects(Vec<EffectRow>),
    /// Nothing yet: why, for a person.
    Nothing { title: &'static str, text: String },
}

/// The session of an agent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SessionPanel {
    pub(crate) agent: Text,
    pub(crate) is_scripted: bool,
    pub(crate) usage: Option<Usage>,
    pub(crate) items: Vec<Item>,
    /// Where the earlier items are.
    pub(crate) earlier: Option<String>,
    /// True if more may come.
    pub(crate) is_live: bool,
}

/// What the model door metered: replaced whole on a live page.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(
    source = "<p class=\"usage\" id=\"usage\"><span class=\"fact\" title=\"Measured by the model door\">{{ super::icon(\"check\") }}</span> {{ usage.line() }}</p>",
    ext = "html"
)]
pub(crate) struct UsageLine {
    pub(crate) usage: Usage,
}

impl HtmlSafe for UsageLine {}

impl SessionPanel {
    /// The line of what was used.
    pub(crate) fn usage_line(&self) -> Option<UsageLine> {
        self.usage.map(|usage| UsageLine { usage })
    }
}

/// An outward write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EffectRow {
    pub(crate) kind: &'static str,
    pub(crate) step: Text,
    pub(crate) state: State,
    pub(crate) detail: Text,
    pub(crate) key: Text,
}
