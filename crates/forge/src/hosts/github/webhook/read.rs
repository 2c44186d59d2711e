//! What a payload says. Each reader gives `None` where the shape is not the one that GitHub describes.

use serde_json::Value;
use windlass_git::Oid;

use crate::RepositoryName;
use crate::event::{
    Actor, Association, Check, Comment, CommentPlace, Event, Host, Issue, Outcome, PullRequest,
    Push, Reference, Release, Review, Subject, Thread, commands,
};
use crate::forge::{Side, State, Verdict};

/// The largest payload that is kept whole where nothing here reads it, in bytes of JSON.
const KEPT: usize = 64 << 10;

/// How many paths of a push are kept.
const PATHS: usize = 3_000;

/// How many commits GitHub tells of one push.
const COMMITS: usize = 2_048;

/// How much of a commit's message is kept, in characters.
const MESSAGE: usize = 4_000;

/// Reads a payload, which is an object.
pub(super) fn event(name: &str, payload: Value) -> Event {
    let root = At(&payload);
    let repository = root.get("repository");
    let is_name = |name: &&str| RepositoryName::parse(name).is_ok();
    Event {
        host: Host::Github,
        name: name.chars().take(100).collect(),
        action: root.get("action").owned(),
        repository: repository.get("full_name").text().filter(is_name).map(str::to_owned),
        private: repository.get("private").boolean(),
        actor: actor(root),
        author: written(name, root).get("author_association").text().map(association),
        number: number(root),
        label: root.get("label").get("name").owned(),
        subject: subject(name, root),
    }
}

fn subject(name: &str, root: At<'_>) -> Subject {
    let read = match name {
        "ping" => Some(Subject::Ping {}),
        "push" => push(root).map(Subject::Push),
        "create" => reference(root, false).map(Subject::Reference),
        "delete" => reference(root, true).map(Subject::Reference),
        "pull_request" => pull_request(root.get("pull_request")).map(Subject::PullRequest),
        "pull_request_review" => review(root).map(Subject::Review),
        "pull_request_review_thread" => thread(root).map(Subject::Thread),
        "issue_comment" => issue_comment(root).map(Subject::Comment),
        "pull_request_review_comment" => line_comment(root).map(Subject::Comment),
        "commit_comment" => commit_comment(root).map(Subject::Comment),
        "discussion_comment" => discussion_comment(root).map(Subject::Comment),
        "issues" => issue(root.get("issue")).map(Subject::Issue),
        "check_run" | "check_suite" | "workflow_run" | "workflow_job" => {
            check(name, root).map(Subject::Check)
        }
        "status" => status(root).map(Subject::Check),
        "release" => release(root.get("release")).map(Subject::Release),
        _ => None,
    };
    read.unwrap_or_else(|| other(root))
}

fn other(root: At<'_>) -> Subject {
    let fits = root.0.to_string().len() <= KEPT;
    Subject::Other { payload: fits.then(|| root.0.clone()) }
}

/// The sender.
fn actor(root: At<'_>) -> Option<Actor> {
    let sender = root.get("sender");
    let login = sender.get("login").text()?.to_owned();
    Some(Actor {
        bot: sender.get("type").text() == Some("Bot") || login.ends_with("[bot]"),
        login,
        id: sender.get("id").number()?.to_string(),
    })
}

/// The part whose author wrote the text of the event.
fn written<'a>(name: &str, root: At<'a>) -> At<'a> {
    root.get(match name {
        "pull_request_review" => "review",
        "issue_comment"
        | "pull_request_review_comment"
        | "commit_comment"
        | "discussion_comment" => "comment",
        "issues" => "issue",
        _ => "pull_request",
    })
}

fn number(root: At<'_>) -> Option<u64> {
    let parts = ["pull_request", "issue", "discussion"];
    parts.into_iter().find_map(|part| root.get(part).get("number").number())
}

fn association(text: &str) -> Association {
    match text {
        "OWNER" => Association::Owner,
        "MEMBER" => Association::Member,
        "COLLABORATOR" => Association::Collaborator,
        "CONTRIBUTOR" => Association::Contributor,
        // What is not known is not trusted.
        _ => Association::Stranger,
    }
}

fn push(root: At<'_>) -> Option<Push> {
    let reference = root.get("ref").owned()?;
    let default = root.get("repository").get("default_branch").text();
    let mut paths: Vec<String> = Vec::new();
    let mut commits = 0;
    for commit in root.get("commits").items() {
        commits += 1;
        for list in ["added", "modified", "removed"] {
            paths.extend(commit.get(list).items().filter_map(|path| path.owned()));
        }
    }
    paths.sort();
    paths.dedup();
    let paths_complete = paths.len() <= PATHS && commits < COMMITS;
    paths.truncate(PATHS);
    let branch = reference.strip_prefix("refs/heads/").map(str::to_owned);
    let message = root.get("head_commit").get("message").text();
    Some(Push {
        default_branch: default.is_some() && branch.as_deref() == default,
        branch,
        tag: reference.strip_prefix("refs/tags/").map(str::to_owned),
        message: message.map(|message| message.chars().take(MESSAGE).collect()),
        paths_complete,
        reference,
        before: root.get("before").commit(),
        after: root.get("after").commit(),
        forced: root.get("forced").boolean().unwrap_or(false),
        paths,
    })
}

fn reference(root: At<'_>, deleted: bool) -> Option<Reference> {
    let kind = match root.get("ref_type").text()? {
        "branch" => "heads",
        "tag" => "tags",
        _ => return None,
    };
    let name = root.get("ref").text()?;
    Some(Reference { reference: format!("refs/{kind}/{name}"), deleted })
}

fn pull_request(pull: At<'_>) -> Option<PullRequest> {
    let (base, head) = (pull.get("base"), pull.get("head"));
    let merged =
        pull.get("merged").boolean().unwrap_or(false) || pull.get("merged_at").text().is_some();
    let state = match (merged, pull.get("state").text()?) {
        (true, _) => State::Merged,
        (false, "open") => State::Open,
        (false, _) => State::Closed,
    };
    // A head whose repository is gone was a fork's.
    let same = head
        .get("repo")
        .get("id")
        .number()
        .is_some_and(|id| Some(id) == base.get("repo").get("id").number());
    Some(PullRequest {
        number: pull.get("number").number()?,
        title: pull.get("title").owned().unwrap_or_default(),
        body: pull.get("body").owned().unwrap_or_default(),
        state,
        draft: pull.get("draft").boolean().unwrap_or(false),
        base: base.get("ref").owned()?,
        head: head.get("ref").owned()?,
        head_commit: head.get("sha").commit(),
        from_fork: !same,
        labels: labels(pull),
        url: pull.get("html_url").owned().unwrap_or_default(),
    })
}

fn review(root: At<'_>) -> Option<Review> {
    let review = root.get("review");
    let verdict = match review.get("state").text().map(str::to_ascii_lowercase).as_deref() {
        Some("approved") => Some(Verdict::Approve),
        Some("changes_requested") => Some(Verdict::RequestChanges),
        Some("commented") => Some(Verdict::Comment),
        _ => None,
    };
    review.0.as_object()?;
    let body = review.get("body").owned().unwrap_or_default();
    Some(Review {
        number: root.get("pull_request").get("number").number()?,
        verdict,
        commands: commands(&body),
        body,
        commit: review.get("commit_id").commit(),
        url: review.get("html_url").owned().unwrap_or_default(),
    })
}

fn thread(root: At<'_>) -> Option<Thread> {
    let first = root.get("thread").get("comments").items().next();
    Some(Thread {
        number: root.get("pull_request").get("number").number()?,
        settled: root.get("action").text()? == "resolved",
        path: first.and_then(|comment| comment.get("path").owned()),
    })
}

fn issue_comment(root: At<'_>) -> Option<Comment> {
    let issue = root.get("issue");
    let on_pull_request = issue.get("pull_request").0.is_object();
    let comment = comment(root.get("comment"))?;
    Some(Comment { number: Some(issue.get("number").number()?), on_pull_request, ..comment })
}

fn line_comment(root: At<'_>) -> Option<Comment> {
    let (said, pull) = (root.get("comment"), root.get("pull_request"));
    let number = Some(pull.get("number").number()?);
    Some(Comment { number, on_pull_request: true, place: place(said), ..comment(said)? })
}

fn commit_comment(root: At<'_>) -> Option<Comment> {
    let said = root.get("comment");
    Some(Comment { place: place(said), commit: said.get("commit_id").commit(), ..comment(said)? })
}

fn discussion_comment(root: At<'_>) -> Option<Comment> {
    let number = Some(root.get("discussion").get("number").number()?);
    Some(Comment { number, on_discussion: true, ..comment(root.get("comment"))? })
}

fn comment(said: At<'_>) -> Option<Comment> {
    let body = said.get("body").owned().unwrap_or_default();
    Some(Comment {
        id: said.get("id").number()?,
        number: None,
        on_pull_request: false,
        on_discussion: false,
        commands: commands(&body),
        body,
        place: None,
        commit: None,
        url: said.get("html_url").owned().unwrap_or_default(),
    })
}

fn place(said: At<'_>) -> Option<CommentPlace> {
    let side = if said.get("side").text() == Some("LEFT") { Side::Old } else { Side::New };
    let line = said.get("line").number().and_then(|line| u32::try_from(line).ok());
    Some(CommentPlace {
        path: said.get("path").owned()?,
        side,
        line,
        commit: said.get("commit_id").commit(),
    })
}

fn issue(issue: At<'_>) -> Option<Issue> {
    Some(Issue {
        number: issue.get("number").number()?,
        title: issue.get("title").owned().unwrap_or_default(),
        body: issue.get("body").owned().unwrap_or_default(),
        open: issue.get("state").text() == Some("open"),
        labels: labels(issue),
        url: issue.get("html_url").owned().unwrap_or_default(),
    })
}

fn check(name: &str, root: At<'_>) -> Option<Check> {
    let check = root.get(name);
    check.0.as_object()?;
    let suite = check.get("check_suite");
    let outcome = match (check.get("status").text(), check.get("conclusion").text()) {
        (_, Some("success")) => Outcome::Success,
        (_, Some("failure" | "action_required")) => Outcome::Failure,
        (_, Some("neutral" | "skipped" | "stale")) => Outcome::Neutral,
        (_, Some(_)) => Outcome::Stopped,
        (_, None) => Outcome::Pending,
    };
    let app = check.get("app").get("name");
    let branch = check.get("head_branch").owned().or_else(|| suite.get("head_branch").owned());
    // <https://docs.github.com/en/webhooks/webhook-events-and-payloads#check_suite>: commits of forks
    // have no branch there. Workflows have one always, and say whose it is; their jobs do not.
    let of_repository = match name {
        "check_run" | "check_suite" => branch.is_some(),
        "workflow_run" => {
            let id = root.get("repository").get("id").number();
            id.is_some() && id == check.get("head_repository").get("id").number()
        }
        _ => false,
    };
    Some(Check {
        name: check.get("name").owned().or_else(|| app.owned()).unwrap_or_default(),
        commit: check.get("head_sha").commit().or_else(|| suite.get("head_sha").commit()),
        branch,
        of_repository,
        outcome,
        pull_requests: check
            .get("pull_requests")
            .items()
            .filter_map(|pull| pull.get("number").number())
            .collect(),
        url: check.get("html_url").owned().or_else(|| check.get("url").owned()),
    })
}

fn status(root: At<'_>) -> Option<Check> {
    let outcome = match root.get("state").text()? {
        "success" => Outcome::Success,
        "failure" => Outcome::Failure,
        "pending" => Outcome::Pending,
        _ => Outcome::Stopped,
    };
    let branch = root.get("branches").items().next().and_then(|it| it.get("name").owned());
    Some(Check {
        name: root.get("context").owned()?,
        commit: root.get("sha").commit(),
        of_repository: branch.is_some(),
        branch,
        outcome,
        pull_requests: Vec::new(),
        url: root.get("target_url").owned(),
    })
}

fn release(release: At<'_>) -> Option<Release> {
    let tag = release.get("tag_name").owned()?;
    let title = release.get("name").owned().filter(|title| !title.is_empty());
    Some(Release {
        title: title.unwrap_or_else(|| tag.clone()),
        tag,
        body: release.get("body").owned().unwrap_or_default(),
        target: release.get("target_commitish").owned().unwrap_or_default(),
        draft: release.get("draft").boolean().unwrap_or(false),
        prerelease: release.get("prerelease").boolean().unwrap_or(false),
        url: release.get("html_url").owned().unwrap_or_default(),
    })
}

fn labels(thing: At<'_>) -> Vec<String> {
    thing.get("labels").items().filter_map(|label| label.get("name").owned()).collect()
}

/// A place in a payload that may not be there.
#[derive(Clone, Copy)]
struct At<'a>(&'a Value);

impl<'a> At<'a> {
    fn get(self, key: &str) -> At<'a> {
        At(self.0.get(key).unwrap_or(&Value::Null))
    }

    fn items(self) -> impl Iterator<Item = At<'a>> {
        self.0.as_array().into_iter().flatten().map(At)
    }

    fn text(self) -> Option<&'a str> {
        self.0.as_str()
    }

    fn owned(self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    fn number(self) -> Option<u64> {
        self.0.as_u64()
    }

    fn boolean(self) -> Option<bool> {
        self.0.as_bool()
    }

    /// A commit; the null id stands for none.
    fn commit(self) -> Option<Oid> {
        self.text().and_then(|text| Oid::parse(text).ok()).filter(|id| !id.is_null())
    }
}
