//! `/runs`, `/runs/{run}`, `/review`, `/search`: lists, and the page of a run. A run with one job is
//! shown as that job.

use axum::{extract::State, http::Method, response::Response};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_run::{Duration, RunId};
use windlass_wire::api::{
    job::JobSummary,
    pull_request::{PullRequestSummary, PullRequestsQuery},
    run::{RunSummary, RunsQuery},
    search::SearchQuery,
};

use super::{
    frame::{Fields, Frame, go, local_href, page},
    jobs,
    text::Text,
    view::{
        Crumb, Section, State as Shown,
        diff::percent_encoded,
        runs::{
            ChangeRow, ChangeRows, Hit, JobRow, Review, Rows, Run, RunRow, Runs, Search, Verdict,
        },
        shell::{Choice, Id, Who},
    },
    when,
};
use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::{Keys, Place},
    links,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let view = Access::Allows(Action::View);
    vec![
        Endpoint::page(Method::GET, "/runs", view, list),
        Endpoint::page(Method::GET, "/runs/{run}", view, one),
        Endpoint::page(
            Method::POST,
            "/runs/{run}/cancel",
            Access::Allows(Action::CancelRun),
            cancel,
        ),
        Endpoint::page(Method::GET, "/review", view, review),
        Endpoint::page(Method::GET, "/search", view, search),
    ]
}

/// The states that runs are filtered by: the key, and what a person reads.
const STATES: [(&str, &str); 8] = [
    ("", "All"),
    ("running", "Running"),
    ("queued", "Queued"),
    ("succeeded", "Succeeded"),
    ("gave_up", "Gave up"),
    ("failed", "Failed"),
    ("cancelled", "Cancelled"),
    ("skipped", "Nothing to do"),
];

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    state: String,
    #[serde(default)]
    cursor: Option<String>,
}

impl Wanted {
    fn state(&self) -> Option<String> {
        (!self.state.is_empty()).then(|| self.state.clone())
    }

    /// The address of the page after this one.
    fn next(&self, path: &str, cursor: Option<&str>) -> Option<String> {
        cursor.map(|cursor| {
            format!(
                "{path}?state={}&cursor={}",
                percent_encoded(&self.state),
                percent_encoded(cursor)
            )
        })
    }
}

fn filters(path: &str, states: &[(&str, &'static str)], current: &str) -> Vec<Choice> {
    states
        .iter()
        .map(|(state, name)| Choice {
            name,
            href: if state.is_empty() { path.to_owned() } else { format!("{path}?state={state}") },
            is_current: *state == current,
        })
        .collect()
}

async fn list(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Keys(wanted): Keys<Wanted>,
) -> Result<Response, Problem> {
    let query = RunsQuery { cursor: wanted.cursor.clone(), limit: None, state: wanted.state() };
    let found = views::runs::list(&app, &principal, query).await?;
    let rows = Rows {
        rows: found.items.iter().map(|run| run_row(&frame, run)).collect(),
        next: wanted.next("/runs", found.next.as_deref()),
    };
    let filters = filters("/runs", &STATES, &wanted.state);
    page(&Runs { shell: frame.section(Section::Runs), filters, rows })
}

fn run_row(frame: &Frame, run: &RunSummary) -> RunRow {
    RunRow {
        href: links::run(&run.id),
        title: Text::from(run.title.as_str()),
        state: Shown::parse(&run.state),
        by: Who::from(&run.started_by),
        created: frame.moment(run.created_at),
        took: run.ended_at.map_or_else(String::new, |ended| took(run.created_at, ended)),
    }
}

/// How long it was between two moments in microseconds.
pub(super) fn took(from: i64, to: i64) -> String {
    when::span(Duration::from_micros(to.saturating_sub(from)))
}

async fn one(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(run_id): Place<RunId>,
    Keys(wanted): Keys<jobs::Wanted>,
) -> Result<Response, Problem> {
    if app.store().fleet(&principal.organisation_id, &run_id).await?.is_some() {
        return Ok(go(links::fleet(&run_id)));
    }
    let run = views::runs::one(&app, &principal, &run_id).await?;
    if let [job] = run.jobs.as_slice() {
        return jobs::show(&app, &principal, &frame, &job.id, &wanted).await;
    }
    let state = Shown::parse(&run.summary.state);
    let title = Text::from(run.summary.title.as_str());
    let crumbs = vec![Crumb::to("Runs", "/runs"), Crumb::here(title.clone())];
    let can_cancel = frame.may().cancel && !state.is_over();
    page(&Run {
        shell: frame.shell(Some(Section::Runs), title.plain(), crumbs),
        id: Id(run_id.to_string()),
        title,
        state,
        by: Who::from(&run.summary.started_by),
        created: frame.moment(run.summary.created_at),
        cancel: can_cancel.then(|| format!("{}/cancel", links::run(&run_id))),
        jobs: run.jobs.iter().map(|job| job_row(&app, &frame, job)).collect(),
    })
}

/// A job in a list.
pub(super) fn job_row(app: &AppState, frame: &Frame, job: &JobSummary) -> JobRow {
    let end = job.ended_at.unwrap_or(frame.now.as_micros());
    let is_bad = job.end.as_ref().filter(|end| end.outcome != "succeeded");
    JobRow {
        href: links::job(&job.id),
        title: Text::from(job.title.as_str()),
        project: Text::from(job.project.as_str()),
        state: Shown::parse(&job.state),
        reason: is_bad.map(|end| Text::from(end.reason.as_str())),
        change: job.pull_request.as_ref().map(|link| (link.number, local_href(app, &link.url))),
        took: job.started_at.map_or_else(String::new, |started| took(started, end)),
    }
}

#[derive(Deserialize)]
pub(super) struct Why {
    #[serde(default)]
    pub(super) reason: String,
}

async fn cancel(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Fields(why): Fields<Why>,
) -> Result<Response, Problem> {
    actions::runs::cancel(&app, &principal, &run_id, why.reason).await?;
    Ok(go(format!("{}?said=stopping", links::run(&run_id))))
}

#[derive(Deserialize)]
struct WantedChanges {
    state: Option<String>,
    cursor: Option<String>,
}

async fn review(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Keys(wanted): Keys<WantedChanges>,
) -> Result<Response, Problem> {
    // Without a filter the page shows what waits: open changes.
    let wanted =
        Wanted { state: wanted.state.unwrap_or_else(|| "open".into()), cursor: wanted.cursor };
    let state = if wanted.state == "all" { None } else { wanted.state() };
    let query =
        PullRequestsQuery { cursor: wanted.cursor.clone(), state, ..PullRequestsQuery::default() };
    let found = views::pull_requests::list(&app, &principal, query).await?;
    let rows = ChangeRows {
        rows: found.items.iter().map(|change| change_row(&frame, change)).collect(),
        next: wanted.next("/review", found.next.as_deref()),
    };
    let states = [("open", "Open"), ("merged", "Merged"), ("closed", "Closed"), ("all", "All")];
    let filters = filters("/review", &states, &wanted.state);
    page(&Review { shell: frame.section(Section::Review), filters, rows })
}

/// A change in a list.
pub(super) fn change_row(frame: &Frame, change: &PullRequestSummary) -> ChangeRow {
    ChangeRow {
        href: links::change(&change.project, change.number),
        title: Text::from(change.title.as_str()),
        project: Text::from(change.project.as_str()),
        number: change.number,
        state: Shown::parse(&change.state),
        verdict: Verdict::parse(&change.review),
        by: Who::from(&change.opened_by),
        updated: frame.moment(change.updated_at),
    }
}

#[derive(Deserialize)]
struct Words {
    #[serde(default)]
    q: String,
}

async fn search(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Keys(Words { q }): Keys<Words>,
) -> Result<Response, Problem> {
    let hits = if q.trim().is_empty() {
        Vec::new()
    } else {
        let query = SearchQuery { q: q.clone(), limit: Some(50) };
        views::search::search(&app, &principal, query).await?.hits
    };
    let hit = |hit: windlass_wire::api::search::Hit| Hit {
        kind: match hit.kind.as_str() {
            "run" => "run",
            "job" => "job",
            "pull_request" => "change",
            _ => "project",
        },
        title: Text::from(hit.title),
        href: local_href(&app, &hit.url),
    };
    page(&Search {
        shell: frame.shell(None, "Search", vec![Crumb::here("Search")]),
        query: Text::from(q),
        hits: hits.into_iter().map(hit).collect(),
    })
}
