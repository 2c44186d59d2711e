//! `/`: what needs a person, what runs, what stopped, and the start of a new task.

use axum::{
    extract::State,
    http::{Method, StatusCode},
    response::Response,
};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_wire::api::{
    PageQuery,
    job::JobSummary,
    notice::Notice,
    pull_request::{PullRequestSummary, PullRequestsQuery},
    run::{AgentOptions, Limits, NewRun},
};

use super::{
    frame::{Fields, Frame, filled, form_problem, go, lines, number, page_with},
    text::Text,
    view::{
        Section, State as Shown,
        home::{AgentChoice, Home, Need, Running, Stopped, TaskForm},
    },
};
use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::Keys,
    links,
    problem::Problem,
    state::AppState,
    views,
};

/// How many changes, notices, running jobs and ended ones are shown.
const NEEDS: u32 = 20;
const NOTICES: usize = 10;
const RUNNING: u32 = 12;
const STOPPED: u32 = 6;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::page(Method::GET, "/", Access::Allows(Action::View), show),
        Endpoint::page(Method::POST, "/runs", Access::Allows(Action::StartRun), start),
    ]
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    project: String,
}

async fn show(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Keys(asked): Keys<Asked>,
) -> Result<Response, Problem> {
    let form = TaskForm { project: Text::from(asked.project), ..TaskForm::default() };
    home(&app, &principal, &frame, form, StatusCode::OK).await
}

async fn home(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    form: TaskForm,
    status: StatusCode,
) -> Result<Response, Problem> {
    let open = PullRequestsQuery {
        limit: Some(NEEDS),
        state: Some("open".to_owned()),
        ..PullRequestsQuery::default()
    };
    let open = views::pull_requests::list(app, principal, open).await?;
    let needs_more = open.next.is_some();
    let counts = views::runs::counts(app, principal).await?;
    let mut needs = Vec::new();
    needs.extend(runner_need(app, principal, counts.queued).await?);
    needs.extend(notices(app, principal, frame).await?);
    needs.extend(changes(frame, open.items));
    let running = jobs(app, principal, None, Some(true), RUNNING).await?;
    let view = Home {
        shell: frame.section(Section::Home),
        needs,
        needs_more,
        running: running.into_iter().map(|job| running_line(frame, job)).collect(),
        n_live: counts.queued + counts.running,
        stopped: stopped(app, principal, frame).await?,
        form: complete(app, principal, form).await?,
    };
    page_with(status, &view)
}

/// Changes, most pressing first: approved ones can be merged, then those that nobody has looked at,
/// oldest first, then those that wait for the agent.
fn changes(frame: &Frame, mut open: Vec<PullRequestSummary>) -> Vec<Need> {
    let rank = |change: &PullRequestSummary| match change.review.as_str() {
        "approved" => 0,
        "none" => 1,
        _ => 2,
    };
    open.sort_by_key(|change| (rank(change), change.updated_at));
    open.into_iter()
        .map(|change| {
            let (ask, word) = match rank(&change) {
                0 => ("Merge", ", approved"),
                1 => ("Review", ""),
                _ => ("Look", ", changes were requested"),
            };
            Need {
                state: Shown::Waiting,
                title: Text::from(change.title),
                href: links::change(&change.project, change.number),
                ask,
                why: Text::from(format!(
                    "{} #{} into {}{word}",
                    change.project, change.number, change.base
                )),
                since: Some(frame.moment(change.updated_at)),
            }
        })
        .collect()
}

/// What is not well, the newest first.
async fn notices(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
) -> Result<Vec<Need>, Problem> {
    let all = views::notices::list(app, principal, false).await?;
    let need = |notice: Notice| Need {
        state: Shown::Failed,
        href: links::of_notice(&notice.kind, &notice.subject),
        title: Text::from(match notice.kind.as_str() {
            "automation-paused" => format!("{} is paused", notice.subject),
            "automation-refused" => format!("{} can't be started", notice.subject),
            "automations-not-followed" => {
                format!("The automations of {} are not followed", notice.subject)
            }
            "credential-refused" => format!("The credential of {} is refused", notice.subject),
            "hook-refused" => format!("The hook {} refuses its sender", notice.subject),
            "schedule-dead" => format!("A schedule of {} never fires again", notice.subject),
            "schedule-missed" => format!("Fires of {} were missed", notice.subject),
            "trigger-unwatched" => format!("{} waits for what nothing raises", notice.subject),
            other => format!("{other}: {}", notice.subject),
        }),
        ask: "Look",
        why: Text::from(notice.text),
        since: Some(frame.moment(notice.since)),
    };
    Ok(all.into_iter().take(NOTICES).map(need).collect())
}

/// Jobs that wait while no runner is there.
async fn runner_need(
    app: &AppState,
    principal: &Principal,
    n_queued: u64,
) -> Result<Option<Need>, Problem> {
    if n_queued == 0 {
        return Ok(None);
    }
    let runners = views::runners::list(app, principal).await?;
    if runners.iter().any(|runner| runner.alive) {
        return Ok(None);
    }
    let jobs =
        if n_queued == 1 { "1 job waits".to_owned() } else { format!("{n_queued} jobs wait") };
    Ok(Some(Need {
        state: Shown::Failed,
        title: Text::from("No runner is there"),
        href: "/runners".to_owned(),
        ask: "Look",
        why: Text::from(format!("{jobs} and nobody takes jobs")),
        since: None,
    }))
}

async fn jobs(
    app: &AppState,
    principal: &Principal,
    state: Option<&str>,
    live: Option<bool>,
    limit: u32,
) -> Result<Vec<JobSummary>, Problem> {
    let wanted = views::jobs::Wanted {
        state: state.map(str::to_owned),
        live,
        limit: Some(limit),
        ..views::jobs::Wanted::default()
    };
    Ok(views::jobs::list(app, principal, wanted).await?.items)
}

fn running_line(frame: &Frame, job: JobSummary) -> Running {
    Running {
        state: Shown::parse(&job.state),
        title: Text::from(job.title),
        href: links::job(&job.id),
        project: Text::from(job.project),
        since: frame.moment(job.started_at.unwrap_or(job.created_at)),
    }
}

async fn stopped(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
) -> Result<Vec<Stopped>, Problem> {
    let mut ended = jobs(app, principal, Some("failed"), None, STOPPED).await?;
    ended.extend(jobs(app, principal, Some("gave_up"), None, STOPPED).await?);
    ended.sort_by_key(|job| std::cmp::Reverse(job.ended_at));
    ended.truncate(STOPPED as usize);
    let line = |job: JobSummary| Stopped {
        state: Shown::parse(&job.state),
        href: links::job(&job.id),
        title: Text::from(job.title),
        project: Text::from(job.project),
        reason: Text::from(job.end.map(|end| end.reason).unwrap_or_default()),
        at: frame.moment(job.ended_at.unwrap_or(job.created_at)),
    };
    Ok(ended.into_iter().map(line).collect())
}

/// The form with everything that there is to choose.
async fn complete(
    app: &AppState,
    principal: &Principal,
    form: TaskForm,
) -> Result<TaskForm, Problem> {
    let query = PageQuery { limit: Some(200), ..PageQuery::default() };
    let projects = views::projects::list(app, principal, query).await?;
    let agents =
        AGENTS.map(|(value, label)| AgentChoice { value: value.into(), label: label.into() });
    Ok(TaskForm {
        projects: projects.items.into_iter().map(|project| Text::from(project.name)).collect(),
        agents: agents.to_vec(),
        key: format!("form-{:032x}", app.random()),
        ..form
    })
}

/// Suggestions for the field; any other name or command may be written.
const AGENTS: [(&str, &str); 6] = [
    ("builtin", "the built-in agent"),
    ("claude-code", "Claude Code"),
    ("codex", "Codex"),
    ("opencode", "OpenCode"),
    ("gemini", "Gemini CLI"),
    ("qwen", "Qwen Code"),
];

#[derive(Deserialize)]
struct NewTask {
    project: String,
    task: String,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    base: String,
    #[serde(default)]
    verify: String,
    #[serde(default)]
    network: String,
    #[serde(default)]
    minutes: String,
    #[serde(default)]
    tokens: String,
    #[serde(default)]
    key: String,
}

async fn start(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Fields(task): Fields<NewTask>,
) -> Result<Response, Problem> {
    let started = async {
        let new = new_run(&task)?;
        actions::runs::start(&app, &principal, new, filled(&task.key)).await
    };
    match started.await {
        Ok(started) => Ok(go(format!("{}?said=started", links::run(&started.run_id)))),
        Err(problem) => {
            let (status, problem) = form_problem(problem)?;
            let is_open = [&task.base, &task.model, &task.network, &task.minutes, &task.tokens]
                .iter()
                .any(|field| !field.trim().is_empty());
            let form = TaskForm {
                project: task.project.into(),
                task: task.task.into(),
                agent: task.agent.into(),
                model: task.model.into(),
                base: task.base.into(),
                verify: task.verify.into(),
                network: task.network.into(),
                minutes: task.minutes.into(),
                tokens: task.tokens.into(),
                is_open,
                problem: Some(problem),
                ..TaskForm::default()
            };
            home(&app, &principal, &frame, form, status).await
        }
    }
}

fn new_run(task: &NewTask) -> Result<NewRun, Problem> {
    let duration = number(&task.minutes, "minutes")?.map(|minutes| minutes.saturating_mul(60));
    let tokens = number(&task.tokens, "tokens")?;
    Ok(NewRun {
        project: task.project.trim().to_owned(),
        task: Some(task.task.replace("\r\n", "\n")),
        steps: Vec::new(),
        title: None,
        base: filled(&task.base),
        agent: Some(AgentOptions {
            harness: filled(&task.agent),
            model: filled(&task.model),
            verify: lines(&task.verify),
            ..AgentOptions::default()
        }),
        limits: (duration.is_some() || tokens.is_some()).then_some(Limits { duration, tokens }),
        network: lines(&task.network),
        runs_on: Vec::new(),
        class: None,
        pull_request: true,
        plain_environment: false,
    })
}
