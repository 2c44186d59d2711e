//! Starting and stopping runs.

use windlass_run::{
    Duration, JobId, RunId, StepId,
    spec::{Action, AgentAction, Limits, PullRequestAction, Spec, Step, Target},
};
use windlass_store::{
    projects::Project,
    runs::{self as stored, NewJob},
};
use windlass_wire::api::run::{AgentOptions, NewRun, StartedRun};

use crate::{
    auth::Principal,
    links, local,
    problem::{Code, Problem},
    remote,
    state::AppState,
    views,
};

/// The longest title that is made from a task, in characters.
const TITLE: usize = 120;

/// Starts a task. With a `key`, the same request starts it once, however often it is sent.
///
/// # Errors
/// A project, branch or step that does not hold; the store's failures.
pub async fn start(
    app: &AppState,
    principal: &Principal,
    new: NewRun,
    key: Option<String>,
) -> Result<StartedRun, Problem> {
    let project = views::projects::find(app, principal, &new.project).await?;
    let mut notes = Vec::new();
    let base = base(app, &project, new.base.as_deref(), &mut notes).await?;
    let title = title(&new)?;
    let wants = views::projects::settings(&project);
    let (class, runs_on) = views::classes::chosen(
        app,
        &principal.organisation_id,
        new.class.as_deref(),
        wants.class.as_deref(),
        &new.runs_on,
    )
    .await?;
    let spec = Spec {
        limits: limits(&new)?,
        network: new.network.clone(),
        runs_on,
        class,
        plain_environment: new.plain_environment,
        ..Spec::new(
            Target { project_id: project.id.clone(), base, commit: None },
            steps(new, &title)?,
        )
    };
    spec.check().map_err(|error| Problem::new(Code::InvalidSpec, error.why).at(error.place))?;
    let started = submit(app, principal, title, spec, key).await?;
    Ok(StartedRun {
        url: format!("{}{}", app.base_url(), links::run(&started.run_id)),
        run_id: started.run_id,
        job_ids: started.job_ids,
        project_id: project.id,
        notes,
    })
}

/// Stops all jobs of a run that have not ended.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn cancel(
    app: &AppState,
    principal: &Principal,
    run_id: &RunId,
    reason: String,
) -> Result<Vec<JobId>, Problem> {
    let stopped = app
        .store()
        .cancel_run(
            principal.by(),
            principal.organisation_id.clone(),
            run_id.clone(),
            reason,
            app.now(),
        )
        .await?;
    Ok(stopped)
}

/// Starts a run of one job.
pub(crate) async fn submit(
    app: &AppState,
    principal: &Principal,
    title: String,
    mut spec: Spec,
    idempotency_key: Option<String>,
) -> Result<stored::Started, Problem> {
    let now = app.now();
    spec.sensitive = views::secrets::beside_agents(app, &principal.by(), &spec).await?;
    let job = NewJob { id: JobId::new(now, app.random()), title: title.clone(), spec };
    let run = stored::NewRun {
        id: RunId::new(now, app.random()),
        organisation_id: principal.organisation_id.clone(),
        title,
        jobs: vec![job],
        automation: None,
        turn: None,
        // The middleware keeps the answer under the key itself.
        idempotency_key: idempotency_key.map(|key| format!("run:{key}")),
    };
    Ok(app.store().create_run(principal.by(), run, now).await?)
}

/// The branch to start from. The project is looked at first, so that a branch that is not there is
/// refused here and not by a runner later.
pub(crate) async fn base(
    app: &AppState,
    project: &Project,
    wanted: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<String, Problem> {
    let wanted = wanted.map(str::to_owned);
    if project.forge != local::FORGE {
        return remote::base(project, wanted);
    }
    let refreshed = local::refresh(app, project).await?;
    notes.extend(refreshed.notes);
    let Some(base) = wanted.or(refreshed.default_branch) else {
        return Err(Problem::new(
            Code::MissingBranch,
            "the repository's HEAD names no branch: say which branch the change is meant for",
        )
        .at("base"));
    };
    local::require_branch(app, project, &base).await.map_err(|problem| problem.at("base"))?;
    Ok(base)
}

fn title(new: &NewRun) -> Result<String, Problem> {
    let text = new.title.as_deref().or(new.task.as_deref()).unwrap_or_default();
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let Some(line) = line else {
        return match new.steps.is_empty() {
            true => Err(Problem::new(Code::InvalidSpec, "say what to do").at("task")),
            false => Ok(format!("{} steps on {}", new.steps.len(), new.project)),
        };
    };
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    Ok(match line.char_indices().nth(TITLE) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    })
}

fn limits(new: &NewRun) -> Result<Limits, Problem> {
    let mut limits = Limits::default();
    if let Some(asked) = &new.limits {
        limits.tokens = asked.tokens;
        if let Some(seconds) = asked.duration {
            limits.duration = seconds_of(seconds, "limits.duration")?;
        }
    }
    Ok(limits)
}

/// A span of seconds, at least one and at most thirty days.
fn seconds_of(seconds: u64, place: &str) -> Result<Duration, Problem> {
    match i64::try_from(seconds) {
        Ok(seconds @ 1..=2_592_000) => Ok(Duration::from_secs(seconds)),
        _ => Err(Problem::new(Code::InvalidSpec, "give 1 to 2592000 seconds").at(place)),
    }
}

fn steps(new: NewRun, title: &str) -> Result<Vec<Step>, Problem> {
    let Some(task) = new.task else {
        if new.steps.is_empty() {
            return Err(Problem::new(Code::InvalidSpec, "give a task or steps").at("task"));
        }
        return Ok(new.steps);
    };
    if !new.steps.is_empty() {
        let why = "give either a task or steps: a task becomes its own steps";
        return Err(Problem::new(Code::InvalidSpec, why).at("steps"));
    }
    let mut steps = vec![agent_step(task, new.agent.unwrap_or_default())?];
    if new.pull_request {
        steps.push(pull_request_step(PullRequestAction {
            title: Some(title.into()),
            ..PullRequestAction::default()
        }));
    }
    Ok(steps)
}

fn agent_step(prompt: String, options: AgentOptions) -> Result<Step, Problem> {
    let mut step = step("agent", Action::Agent(agent(prompt, &options)?));
    if let Some(seconds) = options.timeout {
        step.timeout = seconds_of(seconds, "agent.timeout")?;
    }
    Ok(step)
}

/// The action of an agent; what the options leave out gets the defaults of a spec that leaves it out.
fn agent(prompt: String, options: &AgentOptions) -> Result<AgentAction, Problem> {
    let defaults = serde_json::json!({ "prompt": prompt });
    let mut action: AgentAction = serde_json::from_value(defaults)
        .map_err(|error| Problem::internal("make an agent step", error))?;
    if let Some(harness) = &options.harness {
        action.harness.clone_from(harness);
    }
    action.model.clone_from(&options.model);
    action.mode = options.mode.unwrap_or_default();
    action.verify = options.verify.iter().map(|command| command.as_str().into()).collect();
    action.attempts = options.attempts.unwrap_or(action.attempts);
    action.replay.clone_from(&options.replay);
    Ok(action)
}

/// The step that publishes the work.
pub(crate) fn pull_request_step(action: PullRequestAction) -> Step {
    step("pull_request", Action::PullRequest(action))
}

/// A step with the defaults of a spec that says no more.
pub(crate) fn step(id: &str, action: Action) -> Step {
    Step::new(StepId::parse(id).expect("the names given here are well formed"), action)
}
