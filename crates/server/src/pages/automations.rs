//! `/automations`: what is in force and how it goes; the page of one, where it is started, paused and put back.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::{Method, StatusCode},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use windlass_policy::permission::Action;
use windlass_run::{Duration, automation::Automation as File};
use windlass_wire::api::{
    PageQuery,
    automation::{
        AutomationDetail, AutomationRun, AutomationSummary, AutomationVersion, StartAutomation,
    },
};

use super::{
    frame::{Fields, Frame, form_problem, go, page, page_with},
    text::Text,
    view::{
        Crumb, Section, State as Shown,
        automations::{
            Automation, AutomationRow, Automations, Health, InputField, RunRow, Start, VersionRow,
        },
        diff::percent_encoded,
        home::FormProblem,
        shell::{Id, Who},
    },
    when,
};
use crate::{
    actions::automations as actions,
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::{Keys, Place},
    links,
    problem::{Code, Problem},
    state::AppState,
    views,
};

/// What the fields of inputs are called before their names, so that none is taken for another field.
const INPUT: &str = "input.";

/// How many versions a page shows.
const VERSIONS: u32 = 20;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let (view, manage) = (Access::Allows(Action::View), Access::Allows(Action::ManageAutomation));
    let start = Access::Allows(Action::StartRun);
    vec![
        Endpoint::page(Method::GET, "/automations", view, list),
        Endpoint::page(Method::GET, "/automations/{automation}", view, one),
        Endpoint::page(Method::POST, "/automations/{automation}/run", start, run),
        Endpoint::page(Method::POST, "/automations/{automation}/pause", manage, pause),
        Endpoint::page(Method::POST, "/automations/{automation}/resume", manage, resume),
        Endpoint::page(Method::POST, "/automations/{automation}/rollback", manage, roll_back),
    ]
}

async fn list(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Keys(query): Keys<PageQuery>,
) -> Result<Response, Problem> {
    let found = views::automations::list(&app, &principal, query).await?;
    let next = found.next.as_deref();
    page(&Automations {
        shell: frame.section(Section::Automations),
        rows: found.items.iter().map(|one| row(&frame, one)).collect(),
        next: next.map(|cursor| format!("/automations?cursor={}", percent_encoded(cursor))),
    })
}

async fn one(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(name): Place<String>,
) -> Result<Response, Problem> {
    shown(&app, &principal, &frame, &name, &Given::default(), None).await
}

/// What was filled into the form that starts a run.
#[derive(Default, Deserialize)]
struct Given {
    #[serde(default)]
    projects: String,
    #[serde(flatten)]
    fields: BTreeMap<String, String>,
}

async fn shown(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    name: &str,
    given: &Given,
    problem: Option<(StatusCode, FormProblem)>,
) -> Result<Response, Problem> {
    let detail = views::automations::one(app, principal, name).await?;
    let query = PageQuery { cursor: None, limit: Some(VERSIONS) };
    let versions = views::automations::versions(app, principal, name, query).await?.items;
    let summary = &detail.summary;
    let file = File::read(&detail.file, &detail.text).ok();
    let may_start = principal.may(Action::StartRun);
    let start = file.as_ref().filter(|file| may_start && file.enabled);
    let crumbs = vec![Crumb::to("Automations", "/automations"), Crumb::here(name)];
    let (status, problem) = problem.unzip();
    let view = Automation {
        shell: frame.shell(Some(Section::Automations), name, crumbs),
        row: row(frame, summary),
        version: summary.version,
        file: detail.file.as_str().into(),
        text: detail.text.as_str().into(),
        project: summary
            .project
            .as_ref()
            .map(|project| (project.as_str().into(), links::project(project))),
        applied_by: Who::from(&detail.applied_by),
        targets: summary.targets.as_str().into(),
        fires: detail.fires.iter().map(|at| frame.moment(*at)).collect(),
        runs: detail.runs.iter().map(|run| run_row(frame, run)).collect(),
        versions: version_rows(frame, &detail, &versions),
        start: start.map(|file| start_form(file, given)),
        may_manage: principal.may(Action::ManageAutomation),
        is_paused: summary.health == "paused",
        problem,
    };
    page_with(status.unwrap_or(StatusCode::OK), &view)
}

fn row(frame: &Frame, one: &AutomationSummary) -> AutomationRow {
    let (success, cost) = match &one.history {
        None => (String::new(), String::new()),
        Some(history) => {
            let counted = history.jobs - history.skipped;
            let took = i64::try_from(history.micros_per_job).unwrap_or(i64::MAX);
            (
                format!("{} of {counted} succeeded", history.succeeded),
                format!(
                    "{} tokens and {} each",
                    when::count(history.tokens_per_job),
                    when::span(Duration::from_micros(took))
                ),
            )
        }
    };
    AutomationRow {
        name: one.name.as_str().into(),
        href: href(&one.name),
        description: one.description.as_deref().unwrap_or_default().into(),
        health: health(one),
        triggers: one.triggers.iter().map(|trigger| trigger.as_str().into()).collect(),
        next: one.next_at.map(|at| frame.moment(at)),
        last: one.last_run.as_ref().map(|run| run_row(frame, run)),
        success,
        cost,
    }
}

fn health(one: &AutomationSummary) -> Health {
    let (word, icon, is_wrong) = match one.health.as_str() {
        "ok" => ("Well", "check", false),
        "off" => ("Off", "s-skipped", false),
        "paused" => ("Paused", "s-waiting", true),
        "failing" => ("Failing", "s-failed", true),
        _ => ("Unreadable", "s-blocked", true),
    };
    Health { word, icon, is_wrong, reason: one.reason.as_deref().map(Text::from) }
}

fn run_row(frame: &Frame, run: &AutomationRun) -> RunRow {
    RunRow {
        id: Id(run.run_id.to_string()),
        href: links::run(&run.run_id),
        state: Shown::parse(&run.state),
        version: run.version,
        jobs: run.jobs,
        created: frame.moment(run.created_at),
    }
}

fn version_rows(
    frame: &Frame,
    detail: &AutomationDetail,
    versions: &[AutomationVersion],
) -> Vec<VersionRow> {
    let diff = |new: &AutomationVersion, old: &AutomationVersion| {
        let diff = similar::TextDiff::from_lines(old.text.as_str(), new.text.as_str());
        Text::from(diff.unified_diff().context_radius(2).to_string())
    };
    let before = versions.iter().skip(1).map(Some).chain([None]);
    versions
        .iter()
        .zip(before)
        .map(|(one, before)| VersionRow {
            version: one.version,
            origin: one.origin.as_str().into(),
            by: Who::from(&one.by),
            at: frame.moment(one.at),
            diff: before.map(|before| diff(one, before)).filter(|diff| !diff.is_empty()),
            is_current: one.version == detail.summary.version,
        })
        .collect()
}

fn start_form(file: &File, given: &Given) -> Start {
    let inputs = file.inputs.iter().map(|(name, input)| {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let filled = given.fields.get(&format!("{INPUT}{name}")).cloned();
        let value = filled.or_else(|| input.default.as_ref().map(text)).unwrap_or_default();
        InputField {
            name: name.as_str().into(),
            kind: input.kind.name(),
            about: input.description.as_deref().unwrap_or_default().into(),
            value: value.into(),
            choices: input.choices.iter().map(|choice| text(choice).into()).collect(),
            is_required: input.default.is_none(),
        }
    });
    let targets = &file.targets;
    Start {
        inputs: inputs.collect(),
        needs_projects: targets.repositories.is_empty() && targets.labels.is_none(),
        projects: given.projects.as_str().into(),
    }
}

async fn run(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(name): Place<String>,
    Fields(given): Fields<Given>,
) -> Result<Response, Problem> {
    let started = match asked(&app, &principal, &name, &given).await {
        Ok(asked) => actions::start(&app, &principal, &name, asked, None).await,
        Err(problem) => Err(problem),
    };
    match started {
        Ok(started) => Ok(go(format!("{}?said=started", links::run(&started.run_id)))),
        Err(problem) => {
            let problem = form_problem(problem)?;
            shown(&app, &principal, &frame, &name, &given, Some(problem)).await
        }
    }
}

/// What the form asks for. A field that was left empty is not given: its default holds.
async fn asked(
    app: &AppState,
    principal: &Principal,
    name: &str,
    given: &Given,
) -> Result<StartAutomation, Problem> {
    let detail = views::automations::one(app, principal, name).await?;
    let file = File::read(&detail.file, &detail.text)
        .map_err(|refused| Problem::new(Code::InvalidAutomation, refused.to_string()))?;
    let mut inputs = Map::new();
    for (name, input) in &file.inputs {
        let Some(text) = given.fields.get(&format!("{INPUT}{name}")) else { continue };
        if text.is_empty() && input.default.is_some() {
            continue;
        }
        let value = input.read(text).map_err(|why| {
            Problem::new(Code::BadRequest, format!("the input `{name}` {why}")).at("inputs")
        })?;
        inputs.insert(name.clone(), value);
    }
    let projects = given.projects.split(',').map(str::trim).filter(|name| !name.is_empty());
    Ok(StartAutomation { inputs, projects: projects.map(str::to_owned).collect() })
}

#[derive(Deserialize)]
struct Why {
    #[serde(default)]
    reason: String,
}

async fn pause(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(name): Place<String>,
    Fields(why): Fields<Why>,
) -> Result<Response, Problem> {
    let paused = actions::change::pause(&app, &principal, &name, Some(why.reason)).await;
    after(&app, &principal, &frame, &name, paused).await
}

async fn resume(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(name): Place<String>,
) -> Result<Response, Problem> {
    let resumed = actions::change::pause(&app, &principal, &name, None).await;
    after(&app, &principal, &frame, &name, resumed).await
}

#[derive(Deserialize)]
struct To {
    version: u64,
}

async fn roll_back(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(name): Place<String>,
    Fields(to): Fields<To>,
) -> Result<Response, Problem> {
    let changed = actions::change::roll_back(&app, &principal, &name, to.version).await;
    after(&app, &principal, &frame, &name, changed.map(drop)).await
}

/// The page again: as it is now, or with why nothing was changed.
async fn after(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    name: &str,
    done: Result<(), Problem>,
) -> Result<Response, Problem> {
    match done {
        Ok(()) => Ok(go(href(name))),
        Err(problem) => {
            let problem = form_problem(problem)?;
            shown(app, principal, frame, name, &Given::default(), Some(problem)).await
        }
    }
}

fn href(name: &str) -> String {
    format!("/automations/{}", percent_encoded(name))
}
