//! `/projects`, `/projects/{project}`: where work is done.

use axum::{
    extract::State,
    http::{Method, StatusCode},
    response::Response,
};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_wire::api::{
    PageQuery,
    project::{NewProject, Project as ApiProject, Source},
    pull_request::PullRequestsQuery,
    readiness::{Readiness, ReadinessQuery},
};

use super::{
    ahead,
    frame::{Fields, Frame, filled, form_problem, go, page, page_with},
    runs::{change_row, job_row},
    text::Text,
    view::{
        Crumb, Section,
        diff::percent_encoded,
        places::{Project, ProjectForm, ProjectRow, Projects, ReadinessRow},
        shell::Id,
    },
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
        Endpoint::page(Method::GET, "/projects", view, list),
        Endpoint::page(Method::POST, "/projects", Access::Allows(Action::ManageProject), add),
        Endpoint::page(Method::GET, "/projects/{project}", view, one),
    ]
}

#[derive(Deserialize)]
struct Wanted {
    cursor: Option<String>,
}

async fn list(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Keys(wanted): Keys<Wanted>,
) -> Result<Response, Problem> {
    projects(&app, &principal, &frame, wanted.cursor, ProjectForm::default(), StatusCode::OK).await
}

async fn projects(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    cursor: Option<String>,
    form: ProjectForm,
    status: StatusCode,
) -> Result<Response, Problem> {
    let found = views::projects::list(app, principal, PageQuery { cursor, limit: None }).await?;
    let view = Projects {
        shell: frame.section(Section::Projects),
        rows: found.items.iter().map(|project| project_row(frame, project)).collect(),
        next: found.next.map(|cursor| format!("/projects?cursor={}", percent_encoded(&cursor))),
        form: frame.may().manage_projects.then_some(form),
    };
    page_with(status, &view)
}

fn project_row(frame: &Frame, project: &ApiProject) -> ProjectRow {
    let (source, forge) = match &project.source {
        Source::Path { path } => (path.clone(), "local"),
        Source::Url { url } => (url.clone(), "local"),
        Source::Github { repository, .. } => (repository.clone(), "GitHub"),
    };
    ProjectRow {
        name: Text::from(project.name.as_str()),
        href: links::project(&project.name),
        source: Text::from(source),
        forge,
        branch: project.default_branch.as_deref().map(Text::from),
        refreshed: project.refreshed_at.map(|at| frame.moment(at)),
        notes: project.notes.iter().map(Text::from).collect(),
    }
}

#[derive(Deserialize)]
struct NewOne {
    source: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    branch: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    webhook_secret: String,
    #[serde(default)]
    api_url: String,
}

impl NewOne {
    /// What the one field means: a path, `github:OWNER/NAME`, or a URL.
    fn source(&self) -> Source {
        let source = self.source.trim();
        if let Some(repository) = source.strip_prefix("github:") {
            let repository = repository.trim().to_owned();
            return Source::Github { repository, api_url: filled(&self.api_url) };
        }
        if source.starts_with('/') {
            return Source::Path { path: source.to_owned() };
        }
        Source::Url { url: source.to_owned() }
    }
}

async fn add(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Fields(new): Fields<NewOne>,
) -> Result<Response, Problem> {
    let wanted = NewProject {
        name: filled(&new.name),
        source: new.source(),
        default_branch: filled(&new.branch),
        token: filled(&new.token),
        webhook_secret: filled(&new.webhook_secret),
    };
    match actions::projects::add(&app, &principal, wanted).await {
        Ok(added) => Ok(go(format!("{}?said=added", links::project(&added.project.name)))),
        Err(problem) => {
            let (status, problem) = form_problem(problem)?;
            // What is secret is not shown again.
            let form = ProjectForm {
                source: new.source.into(),
                name: new.name.into(),
                branch: new.branch.into(),
                problem: Some(problem),
            };
            projects(&app, &principal, &frame, None, form, status).await
        }
    }
}

async fn one(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(name): Place<String>,
) -> Result<Response, Problem> {
    let project = views::projects::one(&app, &principal, &name).await?;
    let open = PullRequestsQuery {
        limit: Some(20),
        project: Some(project.name.clone()),
        state: Some("open".to_owned()),
        ..PullRequestsQuery::default()
    };
    let open = views::pull_requests::list(&app, &principal, open).await?;
    let wanted = views::jobs::Wanted {
        project_id: Some(project.id.clone()),
        limit: Some(15),
        ..views::jobs::Wanted::default()
    };
    let jobs = views::jobs::list(&app, &principal, wanted).await?;
    let latest = ReadinessQuery { limit: Some(12), ..ReadinessQuery::default() };
    let readiness = views::readiness::list(&app, &principal, &project.name, latest).await?;
    let pools = views::projects::pool(&app, &principal, &project.name).await?;
    let crumbs = vec![Crumb::to("Projects", "/projects"), Crumb::here(project.name.as_str())];
    let start = format!("/?project={}#new", percent_encoded(&project.name));
    page(&Project {
        shell: frame.shell(Some(Section::Projects), project.name.as_str(), crumbs),
        row: project_row(&frame, &project),
        id: Id(project.id.to_string()),
        clone_url: Text::from(project.clone_url.as_str()),
        created: frame.moment(project.created_at),
        changes: open.items.iter().map(|change| change_row(&frame, change)).collect(),
        jobs: jobs.items.iter().map(|job| job_row(&app, &frame, job)).collect(),
        readiness: readiness.items.iter().map(|found| readiness_row(&frame, found)).collect(),
        ahead: ahead::ahead(&project.settings, &pools),
        start: frame.may().start.then_some(start),
        refresh: None,
    })
}

fn readiness_row(frame: &Frame, found: &Readiness) -> ReadinessRow {
    let tests = match found.report.tests.as_ref().filter(|_| found.report.tests_started) {
        Some(tests) => format!("{} tests passed, {} failed", tests.passed, tests.failed),
        None => "no test was seen to run".to_owned(),
    };
    let parts = found.report.score.parts.iter();
    let mut raise: Vec<_> = parts
        .filter_map(|part| Some((part.of.checked_sub(part.points)?, part.raise.as_ref()?)))
        .collect();
    raise.sort_by_key(|(points, _)| std::cmp::Reverse(*points));
    let words = |(points, raise): &(u32, &String)| Text::from(format!("+{points}: {raise}"));
    ReadinessRow {
        score: found.report.score.points,
        href: links::job(&found.job_id),
        at: frame.moment(found.at),
        tests: Text::from(tests),
        raise: raise.iter().take(4).map(words).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_field_says_what_sort_of_source_it_is() {
        let source = |text: &str| {
            NewOne {
                source: text.to_owned(),
                name: String::new(),
                branch: String::new(),
                token: String::new(),
                webhook_secret: String::new(),
                api_url: String::new(),
            }
            .source()
        };
        assert_eq!(source(" /srv/git/a "), Source::Path { path: "/srv/git/a".into() });
        assert_eq!(
            source("https://x.test/a.git"),
            Source::Url { url: "https://x.test/a.git".into() }
        );
        assert_eq!(
            source("github:o/n"),
            Source::Github { repository: "o/n".into(), api_url: None }
        );
    }
}
