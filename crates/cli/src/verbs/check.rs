//! `windlass project check`: how ready a project is for agents.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use windlass_run::{
    Duration, StepId,
    spec::{Action, PullRequestAction, ReadinessAction, Step},
};
use windlass_wire::api::{
    Page,
    readiness::{Phase, Readiness, Report, Steady},
    run::{Limits, NewRun, StartedRun},
};

use super::{follow, job, run};
use crate::{
    arguments::Check,
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

/// The rules for the usual package registries.
const REGISTRIES: &str = "@registries";
/// How much longer a job may take than its one long step, for the rest of it.
const REST: u32 = 10;

pub(crate) async fn run(settings: &Settings, verb: Check) -> Result<Exit> {
    let work = async |client: &Client| check(settings, client, &verb).await;
    run::with_server(settings, &verb.runner, false, work).await
}

async fn check(settings: &Settings, client: &Client, verb: &Check) -> Result<Exit> {
    let project = run::find_or_add(client, &verb.project).await?;
    let mut network = verb.allow.clone();
    if !verb.offline {
        network.push(REGISTRIES.to_owned());
    }
    let new = NewRun {
        project: project.id.to_string(),
        task: None,
        steps: steps(verb)?,
        title: Some(format!("Check how ready {} is for agents", project.name)),
        base: verb.base.clone(),
        agent: None,
        limits: Some(Limits { duration: Some(u64::from(verb.minutes + REST) * 60), tokens: None }),
        network,
        runs_on: Vec::new(),
        class: None,
        pull_request: false,
        plain_environment: false,
    };
    let started: StartedRun = client.post("/api/v1/runs", &new).await?;
    let job_id = started.job_ids.first().context("the run has no job")?;
    let exit = if settings.json {
        follow::silently(client, job_id.as_str()).await?;
        Exit::of_state(&job::get(client, job_id.as_str()).await?.summary.state)
    } else {
        let style = Style::for_stdout();
        println!("{} in {}", style.bold(started.run_id.as_str()), project.name);
        println!("{}", style.dim(&started.url));
        started.notes.iter().for_each(|note| println!("note: {}", terminal::harmless(note)));
        follow::to_the_end(settings, client, job_id.as_str()).await?
    };
    let path = format!("/api/v1/projects/{}/readiness", project.id);
    let found: Page<Readiness> = client.query(&path, &[("job", job_id.as_str())]).await?;
    match (found.items.first(), settings.json) {
        (Some(found), true) => super::print_json(found)?,
        (Some(found), false) => print(&found.report),
        (None, true) => super::print_json(&job::get(client, job_id.as_str()).await?)?,
        (None, false) => println!("There is no report: the job's end says why."),
    }
    Ok(exit)
}

fn steps(verb: &Check) -> Result<Vec<Step>> {
    let step = |id: &str, action: Action, minutes: u32| {
        anyhow::Ok(Step {
            timeout: Duration::from_secs(i64::from(minutes) * 60),
            ..Step::new(StepId::parse(id)?, action)
        })
    };
    let action = Action::Readiness(ReadinessAction { propose: verb.pull_request });
    let mut steps = vec![step("readiness", action, verb.minutes)?];
    if verb.pull_request {
        let title = Some("Describe the environment and the tests to agents".into());
        let action = PullRequestAction { title, ..PullRequestAction::default() };
        steps.push(step("pull-request", Action::PullRequest(action), REST)?);
    }
    Ok(steps)
}

fn print(report: &Report) {
    let style = Style::for_stdout();
    println!("\n{}", style.bold(&format!("{} of 100", report.score.points)));
    let parts = report.score.parts.iter().map(|part| {
        let points = format!("{} of {}", part.points, part.of);
        vec![part.name.clone(), points, terminal::one_line(&part.why, 90)]
    });
    terminal::table(&["", "points", "why"], &parts.collect::<Vec<_>>());
    let ran = report.commands.iter().filter(|ran| ran.phase != Phase::Probe).map(|ran| {
        let tests = ran.tests.as_ref().map_or(String::new(), |tests| {
            format!("{} passed, {} failed, {} skipped", tests.passed, tests.failed, tests.skipped)
        });
        let took = format!(
            "{:.1} s",
            std::time::Duration::from_micros(ran.took.unsigned_abs()).as_secs_f64()
        );
        let line = terminal::one_line(&ran.line, 60);
        vec![ran.phase.word().to_owned(), line, terminal::one_line(&ran.ended, 20), took, tests]
    });
    terminal::table(&["", "command", "ended", "took", "tests"], &ran.collect::<Vec<_>>());
    if let Steady::No { names } = &report.steady {
        println!("Not steady: {}", terminal::one_line(&names.join(", "), 100));
    }
    for missing in &report.missing {
        println!("missing {}: {}", missing.kind, terminal::one_line(&missing.fix, 120));
    }
    for part in &report.score.parts {
        if let Some(raise) = &part.raise {
            println!(
                "+{}: {}",
                part.of.saturating_sub(part.points),
                terminal::one_line(raise, 120)
            );
        }
    }
}

/// Scores over time, newest first, as data.
pub(super) fn scores(found: &[Readiness]) -> Value {
    let score = |found: &Readiness| {
        json!({
            "at": found.at,
            "job_id": found.job_id,
            "score": found.report.score.points,
            "tests_started": found.report.tests_started,
        })
    };
    found.iter().map(score).collect()
}

/// The newest score, and those before it.
pub(super) fn print_scores(found: &[Readiness]) {
    let Some(last) = found.first() else {
        println!("  readiness: not looked at yet (windlass project check)");
        return;
    };
    let before: Vec<String> =
        found[1..].iter().map(|found| found.report.score.points.to_string()).collect();
    let before = match before.is_empty() {
        true => String::new(),
        false => format!(" (before: {})", before.join(", ")),
    };
    println!("  readiness: {} of 100{before}", last.report.score.points);
}
