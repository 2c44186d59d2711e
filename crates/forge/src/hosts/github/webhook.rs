//! What GitHub tells by webhook: whether it is GitHub that tells it, and what it says. Reading is
//! lenient: an event of a kind or shape that is not known still arrives, as [`Subject::Other`].

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use windlass_git::Oid;

use crate::RepositoryName;
use crate::event::{
    Actor, Association, Check, Comment, CommentPlace, Event, Issue, Outcome, PullRequest, Push,
    Subject,
};
use crate::forge::{Side, State, Verdict};

/// The signature is missing, malformed, or not made with any of the secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the webhook's signature does not fit: set the same secret here and at GitHub")]
pub struct BadSignature;

/// The payload cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("the webhook's payload is not a JSON object: set its content type to application/json")]
pub struct BadPayload;

/// Checks the header `X-Hub-Signature-256` over the raw body. Any of the secrets may have made it,
/// so that a secret can be changed without losing events; an empty secret never fits.
pub fn verify(secrets: &[&[u8]], header: Option<&str>, body: &[u8]) -> Result<(), BadSignature> {
    let given = header
        .and_then(|header| header.trim().strip_prefix("sha256="))
        .and_then(from_hex)
        .ok_or(BadSignature)?;
    let fits = |secret: &&[u8]| {
        // Compared in constant time by the crate.
        Hmac::<Sha256>::new_from_slice(secret)
            .is_ok_and(|mac| mac.chain_update(body).verify_slice(&given).is_ok())
    };
    let usable = secrets.iter().filter(|secret| !secret.is_empty());
    if usable.filter(|secret| fits(secret)).count() > 0 { Ok(()) } else { Err(BadSignature) }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = text.as_bytes();
    (bytes.len() == 64).then(|| {
        bytes.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
    })?
}

/// Reads a payload. `name` is the header `X-GitHub-Event`.
pub fn parse(name: &str, payload: &[u8]) -> Result<Event, BadPayload> {
    let payload: Value = serde_json::from_slice(payload).map_err(|_| BadPayload)?;
    if !payload.is_object() {
        return Err(BadPayload);
    }
    let root = At(&payload);
    let repository = root.get("repository");
    Ok(Event {
        name: name.to_owned(),
        action: root.get("action").owned(),
        repository: repository
            .get("full_name")
            .text()
            .and_then(|name| RepositoryName::parse(name).ok()),
        private: repository.get("private").boolean(),
        actor: actor(name, root),
        subject: subject(name, root),
    })
}

fn subject(name: &str, root: At<'_>) -> Subject {
    let read = match name {
        "ping" => Some(Subject::Ping),
        "push" => push(root).map(Subject::Push),
        "pull_request" => pull_request(root.get("pull_request")).map(Subject::PullRequest),
        "pull_request_review" => review(root),
        "issue_comment" => issue_comment(root).map(Subject::Comment),
        "pull_request_review_comment" => line_comment(root).map(Subject::Comment),
        "commit_comment" => commit_comment(root).map(Subject::Comment),
        "issues" => issue(root.get("issue")).map(Subject::Issue),
        "check_run" | "check_suite" | "workflow_run" | "workflow_job" => {
            check(root.get(name)).map(Subject::Check)
        }
        "status" => status(root).map(Subject::Check),
        _ => None,
    };
    read.unwrap_or(Subject::Other)
}

/// The sender, with what the author of the text is to the repository if sender and author are one.
fn actor(name: &str, root: At<'_>) -> Option<Actor> {
    let sender = root.get("sender");
    let part = match name {
        "pull_request_review" => "review",
        "issue_comment" | "pull_request_review_comment" | "commit_comment" => "comment",
        "issues" => "issue",
        _ => "pull_request",
    };
    let author = root.get(part);
    let same = author.get("user").get("id").number() == sender.get("id").number();
    let login = sender.get("login").text()?.to_owned();
    Some(Actor {
        bot: sender.get("type").text() == Some("Bot") || login.ends_with("[bot]"),
        login,
        id: sender.get("id").number()?,
        association: author.get("author_association").text().filter(|_| same).map(association),
    })
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
    for commit in root.get("commits").items() {
        for list in ["added", "modified", "removed"] {
            paths.extend(commit.get(list).items().filter_map(|path| path.owned()));
        }
    }
    paths.sort();
    paths.dedup();
    Some(Push {
        default_branch: default.is_some() && reference.strip_prefix("refs/heads/") == default,
        reference,
        before: root.get("before").commit(),
        after: root.get("after").commit(),
        forced: root.get("forced").boolean().unwrap_or(false),
        paths,
    })
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

fn review(root: At<'_>) -> Option<Subject> {
    let review = root.get("review");
    let verdict = match review.get("state").text().map(str::to_ascii_lowercase).as_deref() {
        Some("approved") => Some(Verdict::Approve),
        Some("changes_requested") => Some(Verdict::RequestChanges),
        Some("commented") => Some(Verdict::Comment),
        _ => None,
    };
    Some(Subject::Review {
        pull_request: pull_request(root.get("pull_request"))?,
        verdict,
        body: review.get("body").owned().unwrap_or_default(),
        commit: review.get("commit_id").commit(),
    })
}

fn issue_comment(root: At<'_>) -> Option<Comment> {
    let issue = root.get("issue");
    let on_pull_request = issue.get("pull_request").0.is_object();
    comment(root.get("comment"), issue.get("number").number(), on_pull_request, None)
}

fn line_comment(root: At<'_>) -> Option<Comment> {
    let said = root.get("comment");
    comment(said, root.get("pull_request").get("number").number(), true, place(said))
}

fn commit_comment(root: At<'_>) -> Option<Comment> {
    let said = root.get("comment");
    comment(said, None, false, place(said))
}

fn comment(
    said: At<'_>,
    number: Option<u64>,
    on_pull_request: bool,
    place: Option<CommentPlace>,
) -> Option<Comment> {
    Some(Comment {
        id: said.get("id").number()?,
        number,
        on_pull_request,
        body: said.get("body").owned().unwrap_or_default(),
        place,
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

fn check(check: At<'_>) -> Option<Check> {
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
    Some(Check {
        name: check.get("name").owned().or_else(|| app.owned()).unwrap_or_default(),
        commit: check.get("head_sha").commit().or_else(|| suite.get("head_sha").commit()),
        branch: check.get("head_branch").owned().or_else(|| suite.get("head_branch").owned()),
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
    Some(Check {
        name: root.get("context").owned()?,
        commit: root.get("sha").commit(),
        branch: root.get("branches").items().next().and_then(|branch| branch.get("name").owned()),
        outcome,
        pull_requests: Vec::new(),
        url: root.get("target_url").owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_of_a_signature_fits_and_nothing_else_does() {
        let (secret, body) = (&b"It's a Secret to Everybody"[..], &b"Hello, World!"[..]);
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(verify(&[secret], Some(good), body), Ok(()));
        assert_eq!(verify(&[b"new secret", secret], Some(good), body), Ok(()));
        let upper = good.to_ascii_uppercase().replace("SHA256=", "sha256=");
        assert_eq!(verify(&[secret], Some(&upper), body), Ok(()));
        let wrong = good.replace('7', "8");
        for (secrets, header, body) in [
            (&[secret][..], None, body),
            (&[secret], Some(wrong.as_str()), body),
            (&[secret], Some(&good[7..]), body),
            (&[secret], Some("sha256="), body),
            (&[secret], Some("sha256=zz"), body),
            (&[secret], Some(&good.replace("sha256", "sha1")), body),
            (&[secret], Some(good), b"Hello, World?"),
            (&[b"other"], Some(good), body),
            (&[b""], Some(good), body),
            (&[], Some(good), body),
        ] {
            assert_eq!(verify(secrets, header, body), Err(BadSignature), "{header:?}");
        }
    }

    #[test]
    fn a_payload_of_any_shape_gives_an_event_or_is_refused() {
        for name in [
            "push",
            "pull_request",
            "issue_comment",
            "check_run",
            "status",
            "pull_request_review",
            "unheard_of",
            "",
        ] {
            assert_eq!(parse(name, b"{}").unwrap().subject, Subject::Other, "{name}");
            assert!(parse(name, br#"{"ref":1,"pull_request":[],"comment":"x","issue":null,"check_run":{"pull_requests":[1,"x"]},"repository":{"full_name":"../x"},"sender":{"login":7}}"#).is_ok());
        }
        for bad in [&b""[..], b"[]", b"payload=%7B%7D", b"null", b"\xff"] {
            assert!(parse("push", bad).is_err());
        }
    }

    #[test]
    fn a_pull_request_from_a_fork_is_told_from_one_of_the_repository() {
        let payload = |head: &str| {
            format!(
                r#"{{"action":"opened","sender":{{"login":"mallory","id":7,"type":"User"}},"repository":{{"full_name":"acme/api","private":false}},
                "pull_request":{{"number":3,"title":"t","body":null,"state":"open","html_url":"u","user":{{"id":7}},"author_association":"NONE","labels":[{{"name":"bug"}}],
                "base":{{"ref":"main","repo":{{"id":1}}}},"head":{{"ref":"patch","sha":"{}","repo":{head}}}}}}}"#,
                "a".repeat(40)
            )
        };
        let expected = |from_fork| Event {
            name: "pull_request".into(),
            action: Some("opened".into()),
            repository: Some(RepositoryName::parse("acme/api").unwrap()),
            private: Some(false),
            actor: Some(Actor {
                login: "mallory".into(),
                id: 7,
                bot: false,
                association: Some(Association::Stranger),
            }),
            subject: Subject::PullRequest(PullRequest {
                number: 3,
                title: "t".into(),
                body: String::new(),
                state: State::Open,
                draft: false,
                base: "main".into(),
                head: "patch".into(),
                head_commit: Some(Oid::parse(&"a".repeat(40)).unwrap()),
                from_fork,
                labels: vec!["bug".into()],
                url: "u".into(),
            }),
        };
        for (head, from_fork) in [(r#"{"id":1}"#, false), (r#"{"id":2}"#, true), ("null", true)] {
            assert_eq!(
                parse("pull_request", payload(head).as_bytes()).unwrap(),
                expected(from_fork)
            );
        }
    }
}
