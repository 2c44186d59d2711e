//! What a command makes happen, or why it may not. Commands that are facts are never refused; a
//! command that has been done already makes nothing happen.

use super::{Author, Command, Event, Happened, Open, Place, PullRequest, Rules};
use crate::forge::{State, Verdict};
use windlass_git::Oid;

/// The most that a title may have, in bytes.
pub const TITLE_BYTES: usize = 512;
/// The most that a body or comment may have, in bytes.
pub const BODY_BYTES: usize = 65_536;
/// The most comments that one pull request may have.
pub const COMMENTS: usize = 5_000;

/// Why a command may not happen, for the person who gave it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something of the command itself is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// It is not open.
    #[error("the pull request is {0} already")]
    NotOpen(&'static str),
    /// It is being merged.
    #[error("the pull request is being merged right now")]
    Merging,
    /// The head is not the one that was looked at.
    #[error("the head has moved to {head} since it was looked at: look at it again")]
    HeadMoved {
        /// The head now.
        head: Oid,
    },
    /// It does not fit onto the base.
    #[error("it conflicts with the base in {}: bring the branch up to date", paths.join(", "))]
    Conflicts {
        /// The paths.
        paths: Vec<String>,
    },
    /// Somebody asked for changes.
    #[error("{} asked for changes on this head", by.id)]
    ChangesRequested {
        /// Who.
        by: Author,
    },
    /// Too few reviewers have approved this head.
    #[error("it needs {needed} approvals of this head and has {have}")]
    NotApproved {
        /// How many it needs.
        needed: u32,
        /// How many it has.
        have: u32,
    },
    /// A comment that the command names does not exist.
    #[error("there is no comment {0}")]
    NoSuchComment(String),
}

/// Opens a pull request.
pub fn open(open: Open, by: Author, at: i64) -> Result<Vec<Event>, Refusal> {
    let invalid = |text: &str| Err(Refusal::Invalid(text.to_owned()));
    let title = check_title(&open.title)?;
    check_body(&open.body)?;
    if open.base == open.head {
        return invalid("a branch cannot be merged into itself");
    }
    if open.base.short_branch().is_none() || open.head.short_branch().is_none() {
        return invalid("base and head must be branches");
    }
    if open.head_commit == open.base_commit {
        return invalid("the head has nothing that the base has not");
    }
    let Open { number, project, title: _, body, base, head, head_commit, base_commit, job } = open;
    let what = Happened::Opened {
        number,
        project,
        title,
        body,
        base,
        head,
        head_commit,
        base_commit,
        job,
    };
    Ok(vec![Event { at, by, what }])
}

/// Decides on a command.
pub fn decide(
    state: &PullRequest,
    rules: &Rules,
    command: Command,
    by: Author,
    at: i64,
) -> Result<Vec<Event>, Refusal> {
    let what = match command {
        Command::HeadMoved { head_commit, base_commit, job, carried } => (state.state
            != State::Merged
            && head_commit != state.head_commit)
            .then(|| Happened::RoundBegan {
                number: state.round() + 1,
                head_commit,
                base_commit,
                job,
                carried,
            }),
        Command::Edit { title, body } => edit(state, title, body)?,
        Command::Comment { id, body, place, answers } => comment(state, id, body, place, answers)?,
        Command::Settle { comment, settled } => settle(state, comment, settled)?,
        Command::Sent { comments, job } => sent(state, comments, job)?,
        Command::Review { verdict, body, commit } => review(state, &by, verdict, body, commit)?,
        Command::Merge { method, commit, base_tip, conflicts, message } => {
            may_merge(state, rules, &commit, conflicts)?;
            let message = message.unwrap_or_else(|| default_message(state, method));
            check_body(&message)?;
            Some(Happened::MergeBegan { method, head_commit: commit, base_tip, message })
        }
        Command::MergeDone { commit } => {
            (state.state != State::Merged).then_some(Happened::Merged { commit })
        }
        Command::MergeFailed { reason } => {
            state.merging.is_some().then_some(Happened::MergeAbandoned { reason })
        }
        Command::Close => match (state.state, &state.merging) {
            (State::Open, Some(_)) => return Err(Refusal::Merging),
            (State::Open, None) => Some(Happened::Closed),
            (State::Closed, _) => None,
            (State::Merged, _) => return Err(Refusal::NotOpen("merged")),
        },
        Command::Reopen => match state.state {
            State::Open => None,
            State::Closed => Some(Happened::Reopened),
            State::Merged => return Err(Refusal::NotOpen("merged")),
        },
    };
    Ok(what.map(|what| Event { at, by, what }).into_iter().collect())
}

fn edit(
    state: &PullRequest,
    title: Option<String>,
    body: Option<String>,
) -> Result<Option<Happened>, Refusal> {
    let title =
        title.map(|title| check_title(&title)).transpose()?.filter(|title| *title != state.title);
    if let Some(body) = &body {
        check_body(body)?;
    }
    let body = body.filter(|body| *body != state.body);
    Ok((title.is_some() || body.is_some()).then_some(Happened::Edited { title, body }))
}

fn comment(
    state: &PullRequest,
    id: String,
    body: String,
    place: Option<Place>,
    answers: Option<String>,
) -> Result<Option<Happened>, Refusal> {
    if state.comments.contains_key(&id) {
        return Ok(None);
    }
    if state.comments.len() >= COMMENTS {
        return Err(Refusal::Invalid(format!("a pull request may have {COMMENTS} comments")));
    }
    if body.trim().is_empty() {
        return Err(Refusal::Invalid("a comment may not be empty".to_owned()));
    }
    check_body(&body)?;
    if let Some(place) = &place {
        if place.line == 0 {
            return Err(Refusal::Invalid("lines are counted from 1".to_owned()));
        }
        if place.commit != state.head_commit {
            return Err(Refusal::HeadMoved { head: state.head_commit.clone() });
        }
    }
    let answers = match answers {
        None => None,
        Some(id) => {
            let first =
                state.comments.get(&id).ok_or_else(|| Refusal::NoSuchComment(id.clone()))?;
            // An answer to an answer belongs to the same thread.
            Some(first.answers.clone().unwrap_or(id))
        }
    };
    if answers.is_some() && place.is_some() {
        return Err(Refusal::Invalid("an answer stands where its thread stands".to_owned()));
    }
    Ok(Some(Happened::Commented { id, body, place, answers }))
}

fn settle(state: &PullRequest, id: String, settled: bool) -> Result<Option<Happened>, Refusal> {
    let comment = state.comments.get(&id).ok_or_else(|| Refusal::NoSuchComment(id.clone()))?;
    if comment.answers.is_some() {
        return Err(Refusal::Invalid("a thread is settled by its first comment".to_owned()));
    }
    Ok((comment.settled_by.is_some() != settled)
        .then_some(Happened::Settled { comment: id, settled }))
}

fn sent(
    state: &PullRequest,
    comments: Vec<String>,
    job: String,
) -> Result<Option<Happened>, Refusal> {
    if let Some(id) = comments.iter().find(|id| !state.comments.contains_key(*id)) {
        return Err(Refusal::NoSuchComment(id.clone()));
    }
    let new: Vec<String> = comments
        .into_iter()
        .filter(|id| state.comments[id].sent_to.as_deref() != Some(job.as_str()))
        .collect();
    Ok((!new.is_empty()).then_some(Happened::Sent { comments: new, job }))
}

fn review(
    state: &PullRequest,
    by: &Author,
    verdict: Verdict,
    body: String,
    commit: Oid,
) -> Result<Option<Happened>, Refusal> {
    must_be_open(state)?;
    check_body(&body)?;
    if body.trim().is_empty() && verdict != Verdict::Approve {
        return Err(Refusal::Invalid("say what is to change".to_owned()));
    }
    if commit != state.head_commit {
        return Err(Refusal::HeadMoved { head: state.head_commit.clone() });
    }
    let last = state.reviews.iter().rev().find(|review| review.by == *by);
    let said_already = last.is_some_and(|review| {
        review.verdict == verdict && review.body == body && review.commit == commit
    });
    Ok((!said_already).then_some(Happened::Reviewed { verdict, body, commit }))
}

fn may_merge(
    state: &PullRequest,
    rules: &Rules,
    commit: &Oid,
    conflicts: Vec<String>,
) -> Result<(), Refusal> {
    must_be_open(state)?;
    if *commit != state.head_commit {
        return Err(Refusal::HeadMoved { head: state.head_commit.clone() });
    }
    let verdicts = state.verdicts();
    let objector = verdicts.iter().find(|(_, verdict)| **verdict == Verdict::RequestChanges);
    if let Some((by, _)) = objector.filter(|_| rules.changes_requested_blocks) {
        return Err(Refusal::ChangesRequested { by: (*by).clone() });
    }
    let counts = |by: &Author| rules.own_approval_counts || *by != state.opened_by;
    let have =
        verdicts.iter().filter(|(by, verdict)| **verdict == Verdict::Approve && counts(by)).count();
    let have = u32::try_from(have).unwrap_or(u32::MAX);
    if have < rules.approvals {
        return Err(Refusal::NotApproved { needed: rules.approvals, have });
    }
    if conflicts.is_empty() { Ok(()) } else { Err(Refusal::Conflicts { paths: conflicts }) }
}

fn must_be_open(state: &PullRequest) -> Result<(), Refusal> {
    match (state.state, &state.merging) {
        (State::Open, None) => Ok(()),
        (State::Open, Some(_)) => Err(Refusal::Merging),
        (State::Closed, _) => Err(Refusal::NotOpen("closed")),
        (State::Merged, _) => Err(Refusal::NotOpen("merged")),
    }
}

fn default_message(state: &PullRequest, method: windlass_git::merge::Method) -> String {
    let head = state.head.short_branch().unwrap_or(state.head.as_str());
    match method {
        windlass_git::merge::Method::Merge => {
            format!("Merge pull request #{} from {head}\n\n{}\n", state.number, state.title)
        }
        windlass_git::merge::Method::Squash | windlass_git::merge::Method::Rebase => {
            format!("{} (#{})\n", state.title, state.number)
        }
    }
}

fn check_title(title: &str) -> Result<String, Refusal> {
    let title = title.trim();
    if title.is_empty() || title.len() > TITLE_BYTES || title.chars().any(char::is_control) {
        return Err(Refusal::Invalid(format!("a title is one line of 1 to {TITLE_BYTES} bytes")));
    }
    Ok(title.to_owned())
}

fn check_body(body: &str) -> Result<(), Refusal> {
    if body.len() > BODY_BYTES || body.contains('\0') {
        return Err(Refusal::Invalid(format!(
            "a text may have {BODY_BYTES} bytes and no NUL character"
        )));
    }
    Ok(())
}
