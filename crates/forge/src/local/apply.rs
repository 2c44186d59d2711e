//! What the state is after an event. Never fails: an event is a fact.

use std::collections::BTreeMap;

use super::{Comment, Event, Happened, Merged, Merging, PullRequest, Review, Round};
use crate::forge::State;

/// The state after these events; `None` if they do not begin with one that opens.
pub fn fold<'a>(
    state: Option<PullRequest>,
    events: impl IntoIterator<Item = &'a Event>,
) -> Option<PullRequest> {
    events.into_iter().fold(state, |state, event| match state {
        None => opened(event),
        Some(mut state) => {
            apply(&mut state, event);
            Some(state)
        }
    })
}

fn opened(event: &Event) -> Option<PullRequest> {
    let Happened::Opened {
        number,
        project,
        title,
        body,
        base,
        head,
        head_commit,
        base_commit,
        job,
    } = &event.what
    else {
        return None;
    };
    let round = Round {
        number: 1,
        head_commit: head_commit.clone(),
        base_commit: base_commit.clone(),
        job: job.clone(),
        at: event.at,
    };
    Some(PullRequest {
        number: *number,
        project: project.clone(),
        title: title.clone(),
        body: body.clone(),
        base: base.clone(),
        head: head.clone(),
        head_commit: head_commit.clone(),
        base_commit: base_commit.clone(),
        state: State::Open,
        opened_by: event.by.clone(),
        opened_at: event.at,
        rounds: vec![round],
        reviews: Vec::new(),
        comments: BTreeMap::new(),
        merging: None,
        merged: None,
    })
}

fn apply(state: &mut PullRequest, event: &Event) {
    let (at, by) = (event.at, event.by.clone());
    match &event.what {
        Happened::Opened { .. } => {}
        Happened::RoundBegan { number, head_commit, base_commit, job, carried } => {
            state.head_commit = head_commit.clone();
            state.base_commit = base_commit.clone();
            state.rounds.push(Round {
                number: *number,
                head_commit: head_commit.clone(),
                base_commit: base_commit.clone(),
                job: job.clone(),
                at,
            });
            for carried in carried {
                if let Some(comment) = state.comments.get_mut(&carried.comment) {
                    comment.now = carried.now.clone();
                }
            }
        }
        Happened::Edited { title, body } => {
            state.title = title.clone().unwrap_or_else(|| std::mem::take(&mut state.title));
            state.body = body.clone().unwrap_or_else(|| std::mem::take(&mut state.body));
        }
        Happened::Commented { id, body, place, answers } => {
            let comment = Comment {
                by,
                at,
                body: body.clone(),
                now: place.clone(),
                place: place.clone(),
                answers: answers.clone(),
                settled_by: None,
                sent_to: None,
            };
            state.comments.insert(id.clone(), comment);
        }
        Happened::Settled { comment, settled } => {
            if let Some(comment) = state.comments.get_mut(comment) {
                comment.settled_by = settled.then_some(by);
            }
        }
        Happened::Sent { comments, job } => {
            for id in comments {
                if let Some(comment) = state.comments.get_mut(id) {
                    comment.sent_to = Some(job.clone());
                }
            }
        }
        Happened::Reviewed { verdict, body, commit } => {
            state.reviews.push(Review {
                by,
                at,
                verdict: *verdict,
                body: body.clone(),
                commit: commit.clone(),
            });
        }
        Happened::MergeBegan { method, head_commit, base_tip, message } => {
            state.merging = Some(Merging {
                method: *method,
                head_commit: head_commit.clone(),
                base_tip: base_tip.clone(),
                message: message.clone(),
                by,
                at,
            });
        }
        Happened::MergeAbandoned { .. } => state.merging = None,
        Happened::Merged { commit } => {
            // The merge is by whom it was decided, not by whoever found it done.
            let (method, by) =
                state.merging.take().map_or((windlass_git::merge::Method::Merge, by), |merging| {
                    (merging.method, merging.by)
                });
            state.merged = Some(Merged { commit: commit.clone(), method, by, at });
            state.state = State::Merged;
        }
        Happened::Closed => state.state = State::Closed,
        Happened::Reopened => state.state = State::Open,
    }
}
