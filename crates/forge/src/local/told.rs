//! What the local forge tells of itself, as events in the one form: what webhooks are for other hosts.
//! Its words are those of GitHub, so that an automation does not ask which forge it is on.

use windlass_git::{Oid, RefName};

use super::{Event, Happened, PullRequest};
use crate::{
    event::{self, Actor, CommentPlace, Host, Push, Review, Subject, Thread, commands},
    forge::Verdict,
};

/// How many paths of a push are told.
const PATHS: usize = 3_000;

/// What happened to a pull request, where that is something to tell. `state` is the pull request after
/// it, `repository` the name of its project, `actor` who did it as people know them.
pub fn of_pull_request(
    state: &PullRequest,
    happened: &Event,
    repository: &str,
    actor: Actor,
) -> Option<event::Event> {
    let whole = |action| (("pull_request", action), Subject::PullRequest(pull_request(state)));
    let ((name, action), subject) = match &happened.what {
        Happened::Opened { .. } => whole("opened"),
        Happened::RoundBegan { .. } => whole("synchronize"),
        Happened::Edited { .. } => whole("edited"),
        Happened::Merged { .. } | Happened::Closed => whole("closed"),
        Happened::Reopened => whole("reopened"),
        Happened::Commented { id, body, .. } => {
            (("comment", "created"), Subject::Comment(comment(state, id, body)))
        }
        Happened::Settled { comment, settled } => {
            let action = if *settled { "resolved" } else { "unresolved" };
            (("review_thread", action), Subject::Thread(thread(state, comment, *settled)))
        }
        Happened::Reviewed { verdict, body, commit } => {
            (("review", "submitted"), Subject::Review(review(state, *verdict, body, commit)))
        }
        // Steps on the way to something that is told itself.
        Happened::Sent { .. } | Happened::MergeBegan { .. } | Happened::MergeAbandoned { .. } => {
            return None;
        }
    };
    Some(event::Event {
        host: Host::Local,
        name: name.to_owned(),
        action: Some(action.to_owned()),
        repository: Some(repository.to_owned()),
        private: Some(true),
        actor: Some(actor),
        author: None,
        number: Some(state.number),
        label: None,
        subject,
    })
}

/// A branch or tag of a repository that moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// It.
    pub reference: RefName,
    /// Where it was; `None` if it was made now.
    pub before: Option<Oid>,
    /// Where it is; `None` if it was deleted.
    pub after: Option<Oid>,
    /// Whether what was there is no part of what is there now.
    pub forced: bool,
    /// Whether it is the default branch.
    pub default_branch: bool,
    /// The message of its newest commit.
    pub message: Option<String>,
    /// The paths that differ between before and after, where that was looked at.
    pub paths: Option<Vec<String>>,
}

/// That a branch or tag moved. Without an actor where it came in from the project's source, of which
/// nobody knows who wrote it.
pub fn of_push(moved: Moved, repository: &str, actor: Option<Actor>) -> event::Event {
    let reference = moved.reference.as_str().to_owned();
    let is_known = moved.paths.is_some();
    let mut paths = moved.paths.unwrap_or_default();
    let paths_complete = is_known && paths.len() <= PATHS;
    paths.truncate(PATHS);
    let push = Push {
        branch: reference.strip_prefix("refs/heads/").map(str::to_owned),
        tag: reference.strip_prefix("refs/tags/").map(str::to_owned),
        reference,
        before: moved.before,
        after: moved.after,
        forced: moved.forced,
        default_branch: moved.default_branch,
        message: moved.message,
        paths,
        paths_complete,
    };
    event::Event {
        host: Host::Local,
        name: "push".to_owned(),
        action: None,
        repository: Some(repository.to_owned()),
        private: Some(true),
        actor,
        author: None,
        number: None,
        label: None,
        subject: Subject::Push(push),
    }
}

fn short(name: &RefName) -> String {
    name.short_branch().unwrap_or(name.as_str()).to_owned()
}

fn pull_request(state: &PullRequest) -> event::PullRequest {
    event::PullRequest {
        number: state.number,
        title: state.title.clone(),
        body: state.body.clone(),
        state: state.state,
        draft: false,
        base: short(&state.base),
        head: short(&state.head),
        head_commit: Some(state.head_commit.clone()),
        from_fork: false,
        labels: Vec::new(),
        url: String::new(),
    }
}

/// The local forge names comments by text, hosts by number: the name stands in the place of the page.
fn comment(state: &PullRequest, id: &str, body: &str) -> event::Comment {
    let place = state.comments.get(id).and_then(|comment| comment.place.as_ref());
    event::Comment {
        id: 0,
        number: Some(state.number),
        on_pull_request: true,
        on_discussion: false,
        commands: commands(body),
        body: body.to_owned(),
        place: place.map(|place| CommentPlace {
            path: place.path.to_string(),
            side: place.side,
            line: Some(place.line),
            commit: Some(place.commit.clone()),
        }),
        commit: None,
        url: format!("#comment-{id}"),
    }
}

fn thread(state: &PullRequest, comment: &str, settled: bool) -> Thread {
    let place = state.comments.get(comment).and_then(|comment| comment.place.as_ref());
    Thread { number: state.number, settled, path: place.map(|place| place.path.to_string()) }
}

fn review(state: &PullRequest, verdict: Verdict, body: &str, commit: &Oid) -> Review {
    Review {
        number: state.number,
        verdict: Some(verdict),
        body: body.to_owned(),
        commands: commands(body),
        commit: Some(commit.clone()),
        url: String::new(),
    }
}
