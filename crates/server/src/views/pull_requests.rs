//! Pull requests of the local forge, as lists, one by one, and what they change.

use windlass_forge::{
    forge::{Side as ForgeSide, State, Verdict},
    local::{Author, PullRequest as Pull},
};
use windlass_git::{
    Oid, Repository,
    diff::{Content, Diff, Line, LineKind, Options},
};
use windlass_run::{JobId, ProjectId, Time, actor::Actor};
use windlass_store::pulls::{PullFilter, PullRow};
use windlass_wire::api::{
    Page, Who,
    pull_request::{
        Comment, Commit, DiffQuery, Mergeable, Place, PullRequest, PullRequestSummary,
        PullRequestsQuery, Review, Round, Side,
    },
};

use super::{bad_cursor, page_size, projects};
use crate::{
    auth::Principal,
    links,
    local::{self, pulls},
    problem::{Code, Problem},
    remote,
    state::AppState,
};

/// Pull requests, newest change first.
///
/// # Errors
/// A project, state, limit or cursor that can't be read; the store's failures.
pub async fn list(
    app: &AppState,
    principal: &Principal,
    query: PullRequestsQuery,
) -> Result<Page<PullRequestSummary>, Problem> {
    let limit = page_size(query.limit)?;
    let project_id = match &query.project {
        None => None,
        Some(name) => Some(projects::find(app, principal, name).await?.id),
    };
    if let Some(state) = &query.state
        && !["open", "merged", "closed"].contains(&state.as_str())
    {
        let why = "a state is one of open, merged, closed";
        return Err(Problem::new(Code::BadRequest, why).at("state"));
    }
    let before = query.cursor.as_deref().map(parse_cursor).transpose()?;
    let filter = PullFilter { project_id, state: query.state, search: None, before };
    let rows = app.store().pulls(&principal.organisation_id, filter, limit).await?;
    let next = (rows.len() == limit as usize).then(|| rows.last().map(cursor));
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        items.push(summary(app, row).await);
    }
    Ok(Page { items, next: next.flatten() })
}

/// One pull request with its conversation.
///
/// # Errors
/// It is not there; git's and the store's failures.
pub async fn one(
    app: &AppState,
    principal: &Principal,
    project: &str,
    number: u64,
) -> Result<PullRequest, Problem> {
    let project = projects::find(app, principal, project).await?;
    let row = app.store().pull(&principal.organisation_id, &project.id, number).await?;
    let state = pulls::state(&row.columns)?;
    let repository = local::repository(app, &project.id)?;
    let commits = repository.commits_between(&state.base_commit, &state.head_commit, 250).await?;
    let mut reviews = Vec::with_capacity(state.reviews.len());
    for review in state.reviews.iter().filter(|review| review.verdict != Verdict::Comment) {
        reviews.push(Review {
            by: who(app, &review.by).await,
            verdict: pulls::review_name(Some(review.verdict)).to_owned(),
            body: review.body.clone(),
            commit: review.commit.to_string(),
            at: review.at,
        });
    }
    Ok(PullRequest {
        summary: summary(app, &row).await,
        body: state.body.clone(),
        mergeable: mergeable(&repository, &state).await?,
        host_url: (project.forge != local::FORGE).then(|| remote::page(&project, number)),
        merge_commit: state.merged.as_ref().map(|merged| merged.commit.to_string()),
        rounds: state.rounds.iter().map(round).collect(),
        commits: commits.iter().rev().map(commit).collect(),
        comments: conversation(app, &state).await,
        reviews,
    })
}

/// What a pull request changes: since its base, or between two of its rounds.
///
/// # Errors
/// It or the round is not there; git's and the store's failures.
pub async fn diff(
    app: &AppState,
    principal: &Principal,
    project: &str,
    number: u64,
    query: DiffQuery,
) -> Result<Diff, Problem> {
    let project = projects::find(app, principal, project).await?;
    let row = app.store().pull(&principal.organisation_id, &project.id, number).await?;
    let state = pulls::state(&row.columns)?;
    let repository = local::repository(app, &project.id)?;
    let find = |number: u32, place: &str| {
        let found = state.rounds.iter().find(|round| round.number == number);
        found.ok_or_else(|| Problem::not_found(format!("round {number}")).at(place))
    };
    let to = match query.to_round {
        Some(number) => find(number, "to_round")?,
        None => find(state.round(), "to_round")?,
    };
    let from: &Oid = match query.from_round {
        Some(number) => &find(number, "from_round")?.head_commit,
        None => &to.base_commit,
    };
    Ok(repository.diff(from, &to.head_commit, &Options::default()).await?)
}

/// A difference as a unified patch, for people to read.
pub fn patch(diff: &Diff) -> String {
    let mut text = String::new();
    for file in &diff.files {
        let side = |side: &Option<windlass_git::diff::Side>, prefix: &str| match side {
            Some(side) => format!("{prefix}{}", side.path),
            None => "/dev/null".to_owned(),
        };
        let (old, new) = (side(&file.old, "a/"), side(&file.new, "b/"));
        text.push_str(&format!("diff --git {old} {new}\n"));
        text.push_str(&modes(file));
        match file.content {
            Content::Binary => {
                text.push_str(&format!("Binary files {old} and {new} differ\n"));
                continue;
            }
            _ => text.push_str(&format!("--- {old}\n+++ {new}\n")),
        }
        match &file.content {
            Content::Text { hunks, .. } => {
                for hunk in hunks {
                    let (o, ol, n, nl) =
                        (hunk.old_start, hunk.old_lines, hunk.new_start, hunk.new_lines);
                    text.push_str(&format!("@@ -{o},{ol} +{n},{nl} @@ {}\n", hunk.section));
                    hunk.lines.iter().for_each(|line| push_line(&mut text, line));
                }
            }
            Content::Binary => {}
            Content::TooLarge | Content::NotRead => text.push_str("(too large to show)\n"),
            Content::Submodule => text.push_str("(another commit of a submodule)\n"),
        }
    }
    text
}

/// What a file is, where that has changed, in git's words.
fn modes(file: &windlass_git::diff::File) -> String {
    match (&file.old, &file.new) {
        (None, Some(new)) => format!("new file mode {:o}\n", new.mode),
        (Some(old), None) => format!("deleted file mode {:o}\n", old.mode),
        (Some(old), Some(new)) if old.mode != new.mode => {
            format!("old mode {:o}\nnew mode {:o}\n", old.mode, new.mode)
        }
        _ => String::new(),
    }
}

fn push_line(text: &mut String, line: &Line) {
    text.push(match line.kind {
        LineKind::Context => ' ',
        LineKind::Added => '+',
        LineKind::Removed => '-',
    });
    text.push_str(&line.text);
    text.push('\n');
    if line.no_newline {
        text.push_str("\\ No newline at end of file\n");
    }
}

/// A comment as the API gives it.
pub(crate) async fn comment(
    app: &AppState,
    id: &str,
    comment: &windlass_forge::local::Comment,
) -> Comment {
    let place = comment.now.as_ref().or(comment.place.as_ref()).map(|place| Place {
        path: place.path.to_string(),
        side: match place.side {
            ForgeSide::Old => Side::Old,
            ForgeSide::New => Side::New,
        },
        line: place.line,
        commit: Some(place.commit.to_string()),
    });
    Comment {
        id: id.to_owned(),
        by: who(app, &comment.by).await,
        body: comment.body.clone(),
        place,
        is_outdated: comment.is_outdated(),
        at: comment.at,
        sent_to: comment.sent_to.as_deref().and_then(|job| JobId::parse(job).ok()),
    }
}

async fn conversation(app: &AppState, state: &Pull) -> Vec<Comment> {
    let mut comments = Vec::with_capacity(state.comments.len());
    for (id, written) in state.conversation() {
        comments.push(comment(app, id, written).await);
    }
    comments
}

async fn summary(app: &AppState, row: &PullRow) -> PullRequestSummary {
    let project = app.project_name(&row.organisation_id, &row.project_id).await;
    let columns = &row.columns;
    PullRequestSummary {
        project_id: row.project_id.clone(),
        number: row.number,
        title: columns.title.clone(),
        state: columns.state.clone(),
        review: columns.review.clone(),
        base: columns.base.clone(),
        head: columns.head.clone(),
        head_commit: columns.head_commit.clone(),
        opened_by: app.who(&columns.opened_by.actor).await,
        created_at: row.created_at.as_micros(),
        updated_at: row.updated_at.as_micros(),
        url: format!("{}{}", app.base_url(), links::change(&project, row.number)),
        project,
    }
}

async fn mergeable(repository: &Repository, state: &Pull) -> Result<Mergeable, Problem> {
    let no = |why: &str| Mergeable { can: false, why_not: Some(why.into()), conflicts: vec![] };
    match state.state {
        State::Merged => return Ok(no("it is merged already")),
        State::Closed => return Ok(no("it is closed")),
        State::Open => {}
    }
    let Some(base) = repository.reference(&state.base).await? else {
        return Ok(no("its base branch is gone"));
    };
    if state.verdicts().values().any(|verdict| *verdict == Verdict::RequestChanges) {
        return Ok(no("a reviewer asked for changes on this head"));
    }
    Ok(match repository.merge_check(&base, &state.head_commit).await? {
        None => Mergeable { can: true, why_not: None, conflicts: vec![] },
        Some(conflict) => Mergeable {
            can: false,
            why_not: Some("it conflicts with its base".to_owned()),
            conflicts: conflict.paths.iter().map(ToString::to_string).collect(),
        },
    })
}

fn round(round: &windlass_forge::local::Round) -> Round {
    Round {
        number: round.number,
        head_commit: round.head_commit.to_string(),
        base_commit: round.base_commit.to_string(),
        job_id: round.job.as_deref().and_then(|job| JobId::parse(job).ok()),
        at: round.at,
    }
}

fn commit(commit: &windlass_git::history::Commit) -> Commit {
    Commit {
        id: commit.id.to_string(),
        title: commit.subject.clone(),
        author: commit.author.name.clone(),
        at: commit.author.at,
    }
}

async fn who(app: &AppState, author: &Author) -> Who {
    let actor: Actor = pulls::actor(author);
    app.who(&actor).await
}

fn cursor(row: &PullRow) -> String {
    format!("{}.{}.{}", row.updated_at.as_micros(), row.project_id, row.number)
}

fn parse_cursor(text: &str) -> Result<(Time, ProjectId, u64), Problem> {
    let parse = || {
        let mut parts = text.split('.');
        let at = parts.next()?.parse().ok()?;
        let project_id = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some((Time::from_micros(at), project_id, number))
    };
    parse().ok_or_else(bad_cursor)
}
