//! The page of a change: what was asked, what the platform measured, what the agent says, the diff, and
//! the conversation at its lines.

use askama::{Template, filters::HtmlSafe};

use super::{
    Html, Moment, Shell, State, Text,
    diff::{At, DiffView},
    runs::Verdict,
    shell::{Choice, Commit, Csrf, Who},
};

/// The page of a change.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "change.html")]
pub(crate) struct ChangePage {
    pub(crate) shell: Shell,
    pub(crate) project: Text,
    pub(crate) number: u64,
    pub(crate) title: Text,
    pub(crate) state: State,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) base: Text,
    pub(crate) head: Text,
    pub(crate) head_commit: Commit,
    pub(crate) by: Who,
    pub(crate) created: Moment,
    /// What was asked, in the words of who asked; absent if nobody knows.
    pub(crate) request: Option<Request>,
    /// True if a session file answered instead of a model.
    pub(crate) is_scripted: bool,
    /// What the platform measured.
    pub(crate) facts: Vec<Fact>,
    /// What the agent said at last: its name and its words.
    pub(crate) claim: Option<(Text, Html)>,
    /// The description that the pull request was opened with.
    pub(crate) body: Html,
    pub(crate) commits: Vec<CommitRow>,
    pub(crate) rounds: Vec<RoundRow>,
    /// What is compared with what, in words.
    pub(crate) comparing: String,
    pub(crate) layouts: Vec<Choice>,
    pub(crate) diff: DiffView,
    /// The general conversation, oldest first.
    pub(crate) talk: Vec<Said>,
    /// Comments that no agent has yet, and may be sent to one.
    pub(crate) unsent: u32,
    /// What can be done.
    pub(crate) act: Act,
    /// Keys of the query that every form on the page keeps.
    pub(crate) keep: Vec<(&'static str, String)>,
}

impl ChangePage {
    /// The proof that a form is ours.
    pub(crate) fn csrf(&self) -> Csrf {
        Csrf { value: self.shell.csrf().to_owned() }
    }
}

/// What was asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) text: Text,
    /// The page of the job.
    pub(crate) href: String,
    pub(crate) by: Who,
}

/// Something that the platform measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fact {
    pub(crate) name: &'static str,
    pub(crate) value: Text,
    /// Good or bad, where it is either.
    pub(crate) state: Option<State>,
    /// Where the proof is.
    pub(crate) proof: Option<String>,
}

/// A commit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CommitRow {
    pub(crate) id: Commit,
    pub(crate) title: Text,
    pub(crate) author: Text,
    pub(crate) at: Moment,
}

/// One state of the head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RoundRow {
    pub(crate) number: u32,
    pub(crate) commit: Commit,
    pub(crate) at: Moment,
    /// The job that made it.
    pub(crate) job: Option<String>,
    /// Shows what this round changed, and everything up to it.
    pub(crate) alone: String,
    pub(crate) whole: String,
    pub(crate) is_current: bool,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    /// Its id on the page.
    pub(crate) id: Text,
    pub(crate) by: Who,
    pub(crate) at: Moment,
    /// A reviewer's verdict that goes with it.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) body: Html,
    /// The page of the job that it was sent to.
    pub(crate) sent_to: Option<String>,
}

/// What was said at one line.
#[derive(Clone, Debug, Default, PartialEq, Template)]
#[template(path = "parts/thread.html")]
pub(crate) struct Thread {
    pub(crate) said: Vec<Said>,
}

impl HtmlSafe for Thread {}

/// A form for a comment at a line.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "parts/comment_form.html")]
pub(crate) struct CommentForm {
    pub(crate) action: String,
    pub(crate) csrf: Csrf,
    /// The line.
    pub(crate) at: At,
    /// The head that the person sees.
    pub(crate) commit: String,
    /// What was written so far.
    pub(crate) text: Text,
    /// Where the page without the form is.
    pub(crate) cancel: String,
    /// Keys of the query that come back.
    pub(crate) keep: Vec<(&'static str, String)>,
}

impl HtmlSafe for CommentForm {}

/// What can be done with a change: each is an address, absent if this person may not or it makes no
/// sense now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Act {
    pub(crate) comment: Option<String>,
    pub(crate) send: Option<String>,
    pub(crate) approve: Option<String>,
    pub(crate) request_changes: Option<String>,
    pub(crate) merge: Option<String>,
    pub(crate) close: Option<String>,
    pub(crate) reopen: Option<String>,
    /// Why it can't be merged, where it can't.
    pub(crate) merge_blocked: Option<Text>,
    /// Files in conflict.
    pub(crate) conflicts: Vec<Text>,
    /// The commit that forms speak about.
    pub(crate) commit: String,
    /// True for a project from a path: merging can move its branch there.
    pub(crate) can_update_source: bool,
    /// What became of the change on its forge, where that is elsewhere.
    pub(crate) elsewhere: Option<String>,
}
