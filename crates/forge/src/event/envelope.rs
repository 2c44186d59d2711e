//! The envelope of an event: its kind, what it is about, how far its text may be trusted. Pure; ids and
//! times are brought along.

use windlass_git::Oid;
use windlass_run::{
    EventId, ProjectId, Time,
    event::{self, Ancestry, Cause, Trust},
};

use super::{Association, Event, Host, Outcome, Subject};
use crate::forge::State;

/// How long a word that a host chose may be.
const LONGEST_WORD: usize = 64;

/// How long a subject may be, in characters.
const LONGEST_SUBJECT: usize = 300;

/// What is known of an event only where it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The id that it gets.
    pub id: EventId,
    /// Where it comes from, as those say who know whom they believed: `github/acme/api`,
    /// `local/billing`.
    pub source: String,
    /// The sender's id of it.
    pub delivery: String,
    /// When it arrived.
    pub at: Time,
    /// The project that it was sent for.
    pub project_id: Option<ProjectId>,
}

impl Event {
    /// The event as everything that is stored, searched and matched.
    pub fn envelope(&self, arrival: Arrival) -> event::Event {
        let Arrival { id, source, delivery, at, project_id } = arrival;
        let cause = |actor: &super::Actor| Cause {
            name: actor.login.clone(),
            id: Some(actor.id.clone()),
            bot: actor.bot,
        };
        event::Event {
            id,
            source,
            delivery,
            kind: self.kind(),
            subject: self.about(),
            time: at,
            project_id,
            actor: self.actor.as_ref().map(cause),
            trust: self.trust(),
            ancestry: Ancestry::default(),
            // All of its maps have text as keys, so it always is JSON.
            data: serde_json::to_value(self).unwrap_or_default(),
        }
    }

    /// What happened, as `family` or `family.action`. The words after the dot are those of GitHub for
    /// all hosts, but for `pull_request.merged`, which GitHub calls closed. What has no family here is
    /// under the name of its host: `github.star.created`.
    pub fn kind(&self) -> String {
        let done = self.action.as_deref().unwrap_or_default();
        let (family, action) = match &self.subject {
            Subject::Ping {} => ("ping", ""),
            Subject::Push(push) => push.kind(),
            Subject::Reference(it) if it.deleted => ("reference", "deleted"),
            Subject::Reference(_) => ("reference", "created"),
            Subject::PullRequest(pull) if done == "closed" && pull.state == State::Merged => {
                ("pull_request", "merged")
            }
            Subject::PullRequest(_) => ("pull_request", done),
            Subject::Review(_) => ("review", done),
            Subject::Thread(thread) if thread.settled => ("review", "thread_resolved"),
            Subject::Thread(_) => ("review", "thread_unresolved"),
            Subject::Comment(_) => ("comment", done),
            Subject::Issue(_) => ("issue", done),
            // A commit status has no action.
            Subject::Check(check) if done.is_empty() => match check.outcome {
                Outcome::Pending => ("check", "in_progress"),
                Outcome::Success | Outcome::Failure | Outcome::Neutral | Outcome::Stopped => {
                    ("check", "completed")
                }
            },
            Subject::Check(_) => ("check", done),
            Subject::Release(_) => ("release", done),
            Subject::Other { .. } => return self.kind_of_host(done),
        };
        match action {
            "" => family.to_owned(),
            action => format!("{family}.{}", word(action)),
        }
    }

    fn kind_of_host(&self, done: &str) -> String {
        let kind = format!("{}.{}", self.host.name(), word(&self.name));
        if done.is_empty() { kind } else { format!("{kind}.{}", word(done)) }
    }

    /// What it is about, within its source.
    pub fn about(&self) -> Option<String> {
        let pull_request = |number: u64| Some(format!("pull_request/{number}"));
        let commit = |id: Option<&Oid>| id.map(|id| format!("commit/{id}"));
        let about = match &self.subject {
            Subject::Ping {} => None,
            Subject::Push(push) => Some(push.reference.clone()),
            Subject::Reference(reference) => Some(reference.reference.clone()),
            Subject::PullRequest(pull) => pull_request(pull.number),
            Subject::Review(review) => pull_request(review.number),
            Subject::Thread(thread) => pull_request(thread.number),
            Subject::Comment(comment) => match comment.number {
                Some(number) if comment.on_pull_request => pull_request(number),
                Some(number) if comment.on_discussion => Some(format!("discussion/{number}")),
                Some(number) => Some(format!("issue/{number}")),
                None => commit(comment.commit.as_ref()),
            },
            Subject::Issue(issue) => Some(format!("issue/{}", issue.number)),
            Subject::Check(check) => commit(check.commit.as_ref()),
            Subject::Release(release) => Some(format!("release/{}", release.tag)),
            Subject::Other { .. } => self.number.map(|n| format!("{}/{n}", word(&self.name))),
        };
        about.map(|about| about.chars().filter(|c| !c.is_control()).take(LONGEST_SUBJECT).collect())
    }

    /// How far its text may be trusted: as far as whoever wrote it, where the host says who that is, or
    /// where only those who may write can do such a thing; else not at all.
    pub fn trust(&self) -> Trust {
        match &self.subject {
            // Those who have an account here, and what Windlass does itself.
            _ if self.host == Host::Local && self.actor.is_some() => Trust::Own,
            Subject::Push(_) | Subject::Reference(_) | Subject::Release(_) => Trust::Member,
            Subject::Check(check) if check.of_repository => Trust::Member,
            Subject::PullRequest(_)
            | Subject::Review(_)
            | Subject::Thread(_)
            | Subject::Comment(_)
            | Subject::Issue(_) => match self.author {
                Some(Association::Owner | Association::Member | Association::Collaborator) => {
                    Trust::Member
                }
                Some(Association::Contributor) => Trust::Known,
                Some(Association::Stranger) | None => Trust::Public,
            },
            Subject::Ping {} | Subject::Check(_) | Subject::Other { .. } => Trust::Public,
        }
    }
}

impl super::Push {
    fn kind(&self) -> (&'static str, &'static str) {
        let family = match (&self.branch, &self.tag) {
            (Some(_), _) => "push",
            (None, Some(_)) => "tag",
            (None, None) => "reference",
        };
        let is_other = family == "reference";
        match (&self.after, is_other) {
            (None, _) => (family, "deleted"),
            (Some(_), true) => (family, "moved"),
            (Some(_), false) => (family, ""),
        }
    }
}

/// A host's word, as kinds have them.
fn word(text: &str) -> String {
    let plain = |c: char| {
        let keeps = c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if keeps { c } else { '_' }
    };
    text.chars().take(LONGEST_WORD).map(|c| plain(c.to_ascii_lowercase())).collect()
}
