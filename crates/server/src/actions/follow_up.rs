//! Follow-up turns: comments of reviewers go back to the agent as a new job that continues the one
//! which made the head. It starts from the head and pushes to the same branch, so its work becomes the
//! next round of the same pull request.

use windlass_forge::local::{Command, Comment, PullRequest};
use windlass_run::{
    JobId,
    job::State,
    spec::{Action, AgentAction, PullRequestAction, Spec, Step, Target},
    template::Text,
};
use windlass_store::projects::Project;
use windlass_wire::api::pull_request::{FollowUp, FollowUpStarted};

use super::{pull_requests, runs};
use crate::{
    auth::Principal,
    local,
    problem::{Code, Problem},
    state::AppState,
};

/// Lines of the file that are shown on each side of a commented line.
const CONTEXT: usize = 3;

/// The largest file that lines are shown of, in bytes.
const FILE: usize = 1 << 20;

/// Starts a follow-up turn. The same comments are not sent twice, unless they are named.
///
/// # Errors
/// The pull request is not there or not open, a comment is not there, or there is nothing to send.
pub async fn start(
    app: &AppState,
    principal: &Principal,
    project: &str,
    number: u64,
    wanted: FollowUp,
) -> Result<FollowUpStarted, Problem> {
    let project = pull_requests::find(app, principal, project).await?;
    let rows = pull_requests::rows(app, principal);
    let state = rows.get(&project.id, number).await?;
    if state.state != windlass_forge::forge::State::Open {
        let why = "only an open pull request has follow-up turns";
        return Err(Problem::new(Code::PullRequestState, why));
    }
    let comments = choose(&state, &wanted)?;
    let note = wanted.note.as_deref().map(str::trim).filter(|note| !note.is_empty());
    if comments.is_empty() && note.is_none() {
        let why = "there is nothing to send: write a comment, or name one";
        return Err(Problem::new(Code::InvalidSpec, why).at("comments"));
    }
    let last = last_job(&state)?;
    let earlier = app.store().job(&principal.organisation_id, &last).await?.state;
    let prompt = prompt(app, &project, &state, &earlier, &comments, note).await?;
    let spec = spec(&project, &state, last, &earlier, prompt);
    spec.check().map_err(|error| Problem::new(Code::InvalidSpec, error.why).at(error.place))?;
    let title = format!("Follow-up: {}", state.title);
    let started = runs::submit(app, principal, title, spec, None).await?;
    let job_id = started.job_ids.into_iter().next().ok_or_else(|| {
        Problem::new(Code::Internal, "the server failed to start a job for the follow-up")
    })?;
    let ids: Vec<String> = comments.iter().map(|(id, _)| (*id).to_owned()).collect();
    let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    if !ids.is_empty() {
        let sent = Command::Sent { comments: ids, job: job_id.to_string() };
        rows.execute(&project.id, number, &sent).await?;
    }
    Ok(FollowUpStarted { run_id: started.run_id, job_id, comments: count })
}

/// The comments that are meant: those named, or all that were not sent yet.
fn choose<'a>(
    state: &'a PullRequest,
    wanted: &FollowUp,
) -> Result<Vec<(&'a str, &'a Comment)>, Problem> {
    let conversation = state.conversation();
    if wanted.comments.is_empty() {
        let open = |comment: &Comment| comment.sent_to.is_none() && comment.settled_by.is_none();
        return Ok(conversation.into_iter().filter(|(_, comment)| open(comment)).collect());
    }
    for id in &wanted.comments {
        if !state.comments.contains_key(id) {
            return Err(Problem::not_found(format!("comment {id}")).at("comments"));
        }
    }
    Ok(conversation
        .into_iter()
        .filter(|(id, _)| wanted.comments.iter().any(|wanted| wanted == id))
        .collect())
}

/// The newest job that pushed to the pull request.
fn last_job(state: &PullRequest) -> Result<JobId, Problem> {
    let job = state.rounds.iter().rev().find_map(|round| round.job.as_deref());
    job.and_then(|job| JobId::parse(job).ok()).ok_or_else(|| {
        let why = "no job made this pull request, so there is nothing to continue";
        Problem::new(Code::Conflict, why)
    })
}

fn spec(
    project: &Project,
    state: &PullRequest,
    last: JobId,
    earlier: &State,
    prompt: String,
) -> Spec {
    let branch = |name: &windlass_git::RefName| name.short_branch().unwrap_or_default().to_owned();
    let mut steps: Vec<Step> = Vec::new();
    let agent = agent(earlier);
    match agent {
        Some((step, agent)) => {
            // What its commands say of values is known to the earlier job alone.
            let plain = |command: &Text| matches!(command, Text::Plain(_));
            let verify = agent.verify.iter().filter(|command| plain(command)).cloned().collect();
            let action =
                Action::Agent(AgentAction { prompt: prompt.into(), verify, ..agent.clone() });
            steps.push(Step {
                timeout: step.timeout,
                retry: step.retry.clone(),
                ..Step::new(step.id.clone(), action)
            });
        }
        None => {
            let action = AgentAction {
                prompt: prompt.into(),
                harness: "builtin".to_owned(),
                model: None,
                mode: windlass_run::spec::Mode::default(),
                verify: Vec::new(),
                attempts: 3,
                replay: None,
            };
            steps.push(runs::step("agent", Action::Agent(action)));
        }
    }
    steps.push(runs::pull_request_step(PullRequestAction {
        branch: Some(branch(&state.head).into()),
        title: Some(state.title.clone().into()),
        body: Some(state.body.clone().into()),
        draft: false,
    }));
    let target = Target {
        project_id: project.id.clone(),
        base: branch(&state.base),
        commit: Some(state.head_commit.to_string()),
    };
    Spec {
        limits: earlier.spec.limits,
        network: earlier.spec.network.clone(),
        runs_on: earlier.spec.runs_on.clone(),
        class: earlier.spec.class.clone(),
        continues: Some(last),
        plain_environment: earlier.spec.plain_environment,
        ..Spec::new(target, steps)
    }
}

/// The first agent of a job.
fn agent(earlier: &State) -> Option<(&Step, &AgentAction)> {
    earlier.spec.every_step().find_map(|(_, step)| match &step.action {
        Action::Agent(agent) => Some((step, agent)),
        _ => None,
    })
}

/// What the agent is told: its task, the state of things, and each comment with the lines that it is
/// about.
async fn prompt(
    app: &AppState,
    project: &Project,
    state: &PullRequest,
    earlier: &State,
    comments: &[(&str, &Comment)],
    note: Option<&str>,
) -> Result<String, Problem> {
    let mut text = format!(
        "Your change is under review as pull request #{}, \"{}\". The work tree is at its head. \
         Reviewers have comments; address each one, and keep what they did not object to.\n",
        state.number, state.title
    );
    let task = agent(earlier).map(|(_, agent)| agent.prompt.as_str());
    if let Some(task) = task {
        text.push_str("\nThe task was:\n");
        text.push_str(&quote(task));
    }
    let repository = local::repository(app, &project.id)?;
    for (_, comment) in comments {
        let by = app.who(&local::pulls::actor(&comment.by)).await;
        let place = comment.now.as_ref().or(comment.place.as_ref());
        match place {
            None => text.push_str(&format!("\n{} writes:\n", by.name)),
            Some(place) => {
                let side = match place.side {
                    windlass_forge::forge::Side::New => "",
                    windlass_forge::forge::Side::Old => ", as it was before the change",
                };
                text.push_str(&format!(
                    "\n{} writes on {}:{}{side}:\n",
                    by.name, place.path, place.line
                ));
                let commit = match place.side {
                    windlass_forge::forge::Side::New => &place.commit,
                    windlass_forge::forge::Side::Old => &state.base_commit,
                };
                if let Ok(file) = repository.read_file(commit, &place.path, FILE).await {
                    text.push_str(&lines_around(&String::from_utf8_lossy(&file), place.line));
                }
            }
        }
        text.push_str(&quote(&comment.body));
    }
    if let Some(note) = note {
        text.push_str("\nBesides:\n");
        text.push_str(&quote(note));
    }
    Ok(text)
}

fn quote(text: &str) -> String {
    text.lines().map(|line| format!("> {line}\n")).collect()
}

/// The lines around one, numbered, the one itself marked.
fn lines_around(file: &str, line: u32) -> String {
    let line = line as usize;
    let first = line.saturating_sub(CONTEXT).max(1);
    file.lines()
        .enumerate()
        .map(|(index, text)| (index + 1, text))
        .skip_while(|(number, _)| *number < first)
        .take_while(|(number, _)| *number <= line + CONTEXT)
        .map(|(number, text)| {
            let mark = if number == line { '>' } else { ' ' };
            format!("  {mark}{number:>5} | {text}\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_line_is_shown_among_its_neighbours() {
        let file = "a\nb\nc\nd\ne\nf\ng\n";
        assert_eq!(
            lines_around(file, 2),
            "       1 | a\n  >    2 | b\n       3 | c\n       4 | d\n       5 | e\n"
        );
        assert_eq!(lines_around(file, 99), "");
        assert_eq!(quote("x\ny"), "> x\n> y\n");
    }
}
