//! Opening a pull request for a branch that a job pushed, or taking a new head into the open one. Safe
//! to repeat: the same job and commit never open a second one, whatever happened meanwhile.

use windlass_forge::local::{self, Command, Open, PullRequest};
use windlass_git::{Oid, RefName, Repository, diff};
use windlass_run::{JobId, OrganisationId, actor::By};
use windlass_store::{
    projects::Project,
    pulls::{Change, PullFilter},
};

use super::{Rows, author, columns, common, keep_rounds, refusal, state, to_json};
use crate::{
    local::{repository, told},
    problem::{Code, Problem},
    state::AppState,
};

/// What a job wants under review.
pub(crate) struct Wanted {
    /// The organisation.
    pub(crate) organisation_id: OrganisationId,
    /// For whom.
    pub(crate) by: By,
    /// The job that pushed the head.
    pub(crate) job_id: JobId,
    /// The branch that the change is meant for.
    pub(crate) base: String,
    /// The pushed branch.
    pub(crate) head: String,
    /// The commit that it points to.
    pub(crate) commit: String,
    /// The title.
    pub(crate) title: String,
    /// The body, Markdown.
    pub(crate) body: String,
}

/// The number of the pull request that has this job's commit as one of its rounds.
pub(crate) async fn find(
    app: &AppState,
    project: &Project,
    wanted: &Wanted,
) -> Result<Option<u64>, Problem> {
    let filter = || PullFilter { project_id: Some(project.id.clone()), ..PullFilter::default() };
    let mut before = None;
    loop {
        let filter = PullFilter { before: before.clone(), ..filter() };
        let rows = app.store().pulls(&wanted.organisation_id, filter, 200).await?;
        for row in &rows {
            let has_round = state(&row.columns)?.rounds.iter().any(|round| {
                round.job.as_deref() == Some(wanted.job_id.as_str())
                    && round.head_commit.as_str() == wanted.commit
            });
            if has_round {
                return Ok(Some(row.number));
            }
        }
        match rows.last() {
            Some(last) if rows.len() == 200 => {
                before = Some((last.updated_at, last.project_id.clone(), last.number));
            }
            Some(_) | None => return Ok(None),
        }
    }
}

/// Opens or updates.
pub(crate) async fn open(
    app: &AppState,
    project: &Project,
    wanted: Wanted,
) -> Result<u64, Problem> {
    let _lock = app.repositories().lock(&project.id).await;
    let repository = repository(app, &project.id)?;
    let head = RefName::branch(&wanted.head)?;
    let base = RefName::branch(&wanted.base)?;
    let head_commit = Oid::parse(&wanted.commit)?;
    if repository.reference(&head).await?.as_ref() != Some(&head_commit) {
        let why = format!("{} is not at {} any more", wanted.head, head_commit.short());
        return Err(Problem::new(Code::HeadMoved, why));
    }
    let missing = || {
        let why = format!("the base branch {} is gone", wanted.base);
        Problem::new(Code::MissingBranch, why)
    };
    let base_tip = repository.reference(&base).await?.ok_or_else(missing)?;
    let base_commit = common(&repository, &base_tip, &head_commit).await?;
    let there = app
        .store()
        .open_pull_with_head(&wanted.organisation_id, &project.id, &wanted.head)
        .await?
        .filter(|row| row.columns.base == wanted.base);
    let rows = Rows { app, organisation_id: wanted.organisation_id.clone(), by: wanted.by.clone() };
    let opened = match there {
        Some(row) => {
            let before = state(&row.columns)?;
            let carried = carry(&repository, &before, &head_commit, &base_commit).await?;
            let job = Some(wanted.job_id.to_string());
            let command = Command::HeadMoved { head_commit, base_commit, job, carried };
            rows.execute(&project.id, row.number, &command).await?.0
        }
        None => {
            let number =
                create(app, project, &wanted, base, head, head_commit, base_commit).await?;
            rows.get(&project.id, number).await?
        }
    };
    keep_rounds(&repository, &opened).await?;
    Ok(opened.number)
}

/// Where the lines of comments went.
pub(crate) async fn carry(
    repository: &Repository,
    before: &PullRequest,
    head_commit: &Oid,
    base_commit: &Oid,
) -> Result<Vec<local::Carried>, Problem> {
    if before.comments.is_empty() || before.head_commit == *head_commit {
        return Ok(Vec::new());
    }
    let options = diff::Options { context: 0, ..diff::Options::default() };
    let old_side = repository.diff(&before.base_commit, base_commit, &options).await?;
    let new_side = repository.diff(&before.head_commit, head_commit, &options).await?;
    Ok(local::carry(before, head_commit, &old_side, &new_side))
}

async fn create(
    app: &AppState,
    project: &Project,
    wanted: &Wanted,
    base: RefName,
    head: RefName,
    head_commit: Oid,
    base_commit: Oid,
) -> Result<u64, Problem> {
    let by = author(&wanted.by.actor);
    let now = app.now();
    let new = Open {
        number: 1,
        project: project.id.to_string(),
        title: title(&wanted.title),
        body: body(&wanted.body),
        base,
        head,
        head_commit,
        base_commit,
        job: Some(wanted.job_id.to_string()),
    };
    // Decided once before, with any number, so that a refusal is seen where it can be told.
    local::open(new.clone(), by.clone(), now.as_micros()).map_err(|why| refusal(&why))?;
    let actor = told::actor(app, &wanted.by.actor).await;
    let ancestry = told::of_job(app, &wanted.organisation_id, &wanted.job_id).await?;
    let (for_events, told_of) = (app.clone(), project.clone());
    let make = move |number| {
        let events = local::open(Open { number, ..new.clone() }, by.clone(), now.as_micros())
            .expect("the same was accepted just before");
        let state = local::fold(None, &events).expect("the first event opens");
        let columns = columns(&state).expect("a pull request is made of texts and numbers");
        let raise = told::of_opening(&for_events, &told_of, &state, &events, (&actor, &ancestry));
        let events = to_json(&events).expect("an event is made of texts and numbers");
        Change { columns, events, raise }
    };
    let organisation_id = wanted.organisation_id.clone();
    Ok(app
        .store()
        .open_pull(wanted.by.clone(), organisation_id, project.id.clone(), now, make)
        .await?)
}

/// A title as the rules take it: one line, not too long.
pub(crate) fn title(text: &str) -> String {
    shorten(&one_line(text), local::TITLE_BYTES)
}

/// A body as the rules take it.
pub(crate) fn body(text: &str) -> String {
    shorten(&text.replace('\0', "\u{fffd}"), local::BODY_BYTES)
}

fn one_line(title: &str) -> String {
    let line: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.trim() {
        "" => "A change without a title".to_owned(),
        line => line.to_owned(),
    }
}

/// The text, cut at a character so that it has at most `most` bytes.
fn shorten(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_become_one_line_and_long_texts_are_cut_between_characters() {
        assert_eq!(one_line(" fix\nthe\u{7}bug "), "fix the bug");
        assert_eq!(one_line("\n"), "A change without a title");
        assert_eq!(shorten("äöü", 6), "äöü");
        assert_eq!(shorten("äöüß", 7), "äö…");
    }
}
