//! `/environments`, `/environments/{environment}`: places to work, and what is wished of them.

use axum::{
    extract::State,
    http::{Method, StatusCode},
    response::Response,
};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_run::{Duration, environment::Command};
use windlass_wire::api::{
    PageQuery,
    account::Ssh,
    class::Limit,
    environment::{Environment as ApiEnvironment, EnvironmentsQuery, NewEnvironment, Stage},
};

use super::{
    frame::{Fields, Frame, filled, form_problem, go, page, page_with},
    text::Text,
    view::{
        Crumb, Section,
        diff::percent_encoded,
        environments::{
            Environment, EnvironmentForm, EnvironmentRow, Environments, HappeningRow, LimitRow,
            Phase, StageRow, Wish, WorkLine,
        },
        shell::{Commit, Id},
    },
    when,
};
use crate::{
    actions::environments as actions,
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
    let enter = Access::Allows(Action::UseEnvironments);
    vec![
        Endpoint::page(Method::GET, "/environments", view, list),
        Endpoint::page(Method::POST, "/environments", enter, create),
        Endpoint::page(Method::GET, "/environments/{environment}", view, one),
        Endpoint::page(Method::POST, "/environments/{environment}/{wish}", enter, wish),
    ]
}

#[derive(Deserialize)]
struct Wanted {
    cursor: Option<String>,
    #[serde(default)]
    all: bool,
}

async fn list(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Keys(wanted): Keys<Wanted>,
) -> Result<Response, Problem> {
    environments(&app, &principal, &frame, wanted, EnvironmentForm::default(), StatusCode::OK).await
}

async fn environments(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    wanted: Wanted,
    mut form: EnvironmentForm,
    status: StatusCode,
) -> Result<Response, Problem> {
    let query = EnvironmentsQuery {
        cursor: wanted.cursor,
        all: wanted.all,
        ..EnvironmentsQuery::default()
    };
    let found = views::environments::list(app, principal, query).await?;
    let may_create = frame.may().use_environments;
    if may_create {
        let first = PageQuery { cursor: None, limit: Some(200) };
        let projects = views::projects::list(app, principal, first).await?;
        form.projects = projects.items.into_iter().map(|project| project.name.into()).collect();
        let classes = views::classes::list(app, principal).await?;
        form.classes = classes.into_iter().map(|class| class.name.into()).collect();
    }
    let all = if wanted.all { "&all=true" } else { "" };
    let view = Environments {
        shell: frame.section(Section::Environments),
        is_all: wanted.all,
        rows: found.items.iter().map(|environment| row(frame, environment)).collect(),
        next: found
            .next
            .map(|cursor| format!("/environments?cursor={}{all}", percent_encoded(&cursor))),
        form: may_create.then_some(form),
    };
    page_with(status, &view)
}

fn row(frame: &Frame, environment: &ApiEnvironment) -> EnvironmentRow {
    EnvironmentRow {
        name: Text::from(environment.name.as_str()),
        href: links::environment(&environment.id),
        phase: Phase { word: environment.phase.clone() },
        project: Text::from(environment.project.as_str()),
        base: Text::from(environment.base.as_str()),
        owner: (&environment.owner).into(),
        created: frame.moment(environment.created_at),
        active: frame.moment(environment.active_at),
    }
}

#[derive(Deserialize)]
struct NewOne {
    project: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    base: String,
    #[serde(default)]
    class: String,
}

async fn create(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Fields(new): Fields<NewOne>,
) -> Result<Response, Problem> {
    let wanted = NewEnvironment {
        project: new.project.clone(),
        base: filled(&new.base),
        name: filled(&new.name),
        class: filled(&new.class),
        ..NewEnvironment::default()
    };
    match actions::create(&app, &principal, wanted).await {
        Ok(created) => Ok(go(format!("{}?said=created", links::environment(&created.id)))),
        Err(problem) => {
            let (status, problem) = form_problem(problem)?;
            let form = EnvironmentForm {
                project: new.project.into(),
                name: new.name.into(),
                base: new.base.into(),
                class: new.class.into(),
                problem: Some(problem),
                ..EnvironmentForm::default()
            };
            let first = Wanted { cursor: None, all: false };
            environments(&app, &principal, &frame, first, form, status).await
        }
    }
}

async fn one(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(name): Place<String>,
) -> Result<Response, Problem> {
    let environment = views::environments::one(&app, &principal, &name).await?;
    let log = views::environments::log(&app, &principal, &name).await?;
    let journal = views::environments::journal(&app, &principal, &name).await?;
    let ports = views::ports::list(&app, &principal, &name).await?;
    let crumbs =
        vec![Crumb::to("Environments", "/environments"), Crumb::here(environment.name.as_str())];
    let here = links::environment(&environment.id);
    let is_running = environment.phase == "running";
    let happening = |happening: &windlass_wire::api::environment::Happening| HappeningRow {
        at: frame.moment(happening.at),
        by: (&happening.by).into(),
        what: Text::from(happening.what.as_str()),
    };
    page(&Environment {
        shell: frame.shell(Some(Section::Environments), environment.name.as_str(), crumbs),
        row: row(&frame, &environment),
        id: Id(environment.id.to_string()),
        reason: environment.reason.as_deref().map(Text::from),
        runner: environment.runner.as_deref().map(Text::from),
        idle_minutes: environment.idle_minutes,
        lives_until: environment.lives_until.map(|at| frame.moment(at)),
        class: Text::from(environment.class.as_str()),
        runs_on: environment.runs_on.iter().map(|label| Text::from(label.as_str())).collect(),
        limits: environment.limits.iter().map(limit).collect(),
        wishes: if environment.yours { wishes(&environment.phase, &here) } else { Vec::new() },
        terminal: (environment.yours && is_running).then(|| format!("{here}/terminal")),
        was: environment.start_from.as_deref().map(|from| match from {
            "snapshot" => "From a snapshot with its prebuild.",
            "tree" => "From a prepared work tree.",
            _ => "From the mirror of the repository: nothing was prepared.",
        }),
        files: format!("{here}/files"),
        changes: format!("{here}/changes"),
        services: format!("{here}/services"),
        stages: stages(&environment.start),
        log: Text::from(log),
        work: environment.unpushed.as_ref().filter(|_| environment.yours).map(|work| WorkLine {
            files: work.files,
            commit: Commit(work.commit.clone()),
            href: format!("/api/v1/environments/{}/work", environment.id),
        }),
        happenings: journal.iter().take(50).map(happening).collect(),
        ports: super::ports::section(&app, &environment, ports),
        ways: if environment.yours { ways(&environment.name, app.ssh()) } else { Vec::new() },
    })
}

fn limit(limit: &Limit) -> LimitRow {
    LimitRow {
        what: Text::from(limit.what.as_str()),
        amount: Text::from(limit.shown.as_str()),
        is_enforced: limit.enforced,
        how: Text::from(limit.how.as_str()),
    }
}

/// What can be wished of an environment in this phase.
fn wishes(phase: &str, here: &str) -> Vec<Wish> {
    let wish =
        |word, name: &str, is_danger| Wish { word, action: format!("{here}/{name}"), is_danger };
    let (start, stop) = (wish("Start", "start", false), wish("Stop", "stop", false));
    let (archive, delete) = (wish("Archive", "archive", false), wish("Delete", "delete", true));
    match phase {
        "creating" | "starting" | "running" | "lost" => vec![stop, archive, delete],
        "stopping" => vec![archive, delete],
        "stopped" | "failed" => vec![start, archive, delete],
        "archived" => vec![wish("Take out again", "unarchive", false), delete],
        "deleting" => vec![wish("Undo the deletion", "undelete", false)],
        _ => Vec::new(),
    }
}

/// The parts of a start as shares of the whole.
fn stages(stages: &[Stage]) -> Vec<StageRow> {
    let whole = stages.iter().map(|stage| stage.micros).sum::<u64>().max(1);
    let mut before = 0;
    let row = |stage: &Stage| {
        let from = before * 100 / whole;
        before += stage.micros;
        let micros = i64::try_from(stage.micros).unwrap_or(i64::MAX);
        StageRow {
            name: Text::from(stage.name.as_str()),
            took: when::span(Duration::from_micros(micros)),
            share: (before * 100 / whole - from).max(1),
            from,
        }
    };
    stages.iter().map(row).collect()
}

/// Commands that lead into an environment. A name is made of characters that no shell minds.
fn ways(name: &str, ssh: Option<&Ssh>) -> Vec<(&'static str, String)> {
    let mut ways = vec![
        ("A shell", format!("windlass env shell {name}")),
        ("One program", format!("windlass env exec {name} -- git status")),
        ("A file out of it", format!("windlass env cp {name}:README.md README.md")),
    ];
    if let Some((host, port)) = ssh.and_then(|ssh| ssh.address.rsplit_once(':')) {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        ways.push(("SSH", format!("ssh -p {port} {name}@{host}")));
        ways.push((
            "A port of it here",
            format!("ssh -p {port} -N -L 8080:localhost:8080 {name}@{host}"),
        ));
    }
    ways
}

async fn wish(
    State(app): State<AppState>,
    principal: Principal,
    Place((name, wish)): Place<(String, String)>,
) -> Result<Response, Problem> {
    let command = match wish.as_str() {
        "start" => Command::Start,
        "stop" => Command::Stop { why: actions::stopped_by(&principal) },
        "archive" => Command::Archive,
        "unarchive" => Command::Unarchive,
        "delete" => Command::Delete { by: principal.by() },
        "undelete" => Command::Undelete,
        _ => return Err(Problem::not_found("such a wish")),
    };
    let environment = actions::command(&app, &principal, &name, command).await?;
    Ok(go(format!("{}?said=wanted", links::environment(&environment.id))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_a_start_follow_each_other_and_none_is_invisible() {
        let stage = |name: &str, micros| Stage { name: name.to_owned(), micros };
        let rows = stages(&[stage("a", 0), stage("b", 750), stage("c", 250)]);
        let shares: Vec<_> = rows.iter().map(|row| (row.from, row.share)).collect();
        assert_eq!(shares, [(0, 1), (0, 75), (75, 25)]);
    }
}
