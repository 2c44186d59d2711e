//! Search over runs, jobs, pull requests and projects.

use windlass_store::{
    pulls::PullFilter,
    runs::{Filter, Slice},
};
use windlass_wire::api::search::{Hit, SearchQuery, SearchResult};

use crate::{
    auth::Principal,
    links,
    problem::{Code, Problem},
    state::AppState,
};

/// What has all the words in its title or name: projects first, then pull requests, runs and jobs,
/// the newest of each first.
///
/// # Errors
/// A query without words or a limit that can't be read; the store's failures.
pub async fn search(
    app: &AppState,
    principal: &Principal,
    query: SearchQuery,
) -> Result<SearchResult, Problem> {
    let words = query.q.trim();
    if words.is_empty() || words.len() > 200 {
        return Err(Problem::new(Code::BadRequest, "give 1 to 200 characters").at("q"));
    }
    let limit = query.limit.unwrap_or(20);
    if !(1..=100).contains(&limit) {
        return Err(Problem::new(Code::BadRequest, "give 1 to 100").at("limit"));
    }
    let mut hits = projects(app, principal, words).await?;
    hits.extend(pulls(app, principal, words, limit).await?);
    hits.extend(runs(app, principal, words, limit).await?);
    hits.truncate(limit as usize);
    Ok(SearchResult { hits })
}

async fn projects(app: &AppState, principal: &Principal, words: &str) -> Result<Vec<Hit>, Problem> {
    let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
    let rows = app.store().projects(&principal.organisation_id, None, 200).await?;
    let fits = |name: &str| words.iter().all(|word| name.to_lowercase().contains(word.as_str()));
    let hit = |row: windlass_store::projects::Project| Hit {
        kind: "project".to_owned(),
        id: row.id.to_string(),
        url: links::project(&row.name),
        title: row.name,
    };
    Ok(rows.into_iter().filter(|row| fits(&row.name)).map(hit).collect())
}

async fn pulls(
    app: &AppState,
    principal: &Principal,
    words: &str,
    limit: u32,
) -> Result<Vec<Hit>, Problem> {
    let filter = PullFilter { search: Some(words.to_owned()), ..PullFilter::default() };
    let rows = app.store().pulls(&principal.organisation_id, filter, limit).await?;
    let mut hits = Vec::with_capacity(rows.len());
    for row in rows {
        let project = app.project_name(&row.organisation_id, &row.project_id).await;
        hits.push(Hit {
            kind: "pull_request".to_owned(),
            id: format!("{}/{}", row.project_id, row.number),
            title: row.columns.title,
            url: links::change(&project, row.number),
        });
    }
    Ok(hits)
}

async fn runs(
    app: &AppState,
    principal: &Principal,
    words: &str,
    limit: u32,
) -> Result<Vec<Hit>, Problem> {
    let filter = || Filter { search: Some(words.to_owned()), ..Filter::default() };
    let slice = Slice { before: None, limit };
    let runs = app.store().runs(&principal.organisation_id, filter(), slice).await?;
    let jobs = app.store().jobs(&principal.organisation_id, filter(), slice).await?;
    let run = |row: windlass_store::runs::RunRow| Hit {
        kind: "run".to_owned(),
        id: row.id.to_string(),
        url: links::run(&row.id),
        title: row.title,
    };
    let job = |row: windlass_store::runs::JobRow| Hit {
        kind: "job".to_owned(),
        id: row.id.to_string(),
        url: links::job(&row.id),
        title: row.title,
    };
    Ok(runs.into_iter().map(run).chain(jobs.into_iter().map(job)).collect())
}
