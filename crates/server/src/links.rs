//! Where a person sees things: the addresses of the pages. Everything that links to a page asks here.

use windlass_run::{EnvironmentId, JobId, RunId};

/// The page of a run.
pub(crate) fn run(run_id: &RunId) -> String {
    format!("/runs/{run_id}")
}

/// The page of a job.
pub(crate) fn job(job_id: &JobId) -> String {
    format!("/jobs/{job_id}")
}

/// The page of an environment.
pub(crate) fn environment(environment_id: &EnvironmentId) -> String {
    format!("/environments/{environment_id}")
}

/// The page of a project, by its name (which is made of characters that need no escaping).
pub(crate) fn project(name: &str) -> String {
    format!("/projects/{name}")
}

/// Where somebody deals with what is not well.
pub(crate) fn of_notice(kind: &str, subject: &str) -> String {
    match kind {
        "credential-refused" | "automations-not-followed" => project(subject),
        "automation-paused" | "automation-refused" | "schedule-dead" | "schedule-missed"
        | "trigger-unwatched" => automation(subject),
        _ => "/settings".to_owned(),
    }
}

/// The page of an automation.
pub(crate) fn automation(name: &str) -> String {
    format!("/automations/{name}")
}

/// The page of a pull request: the change, under review.
pub(crate) fn change(project: &str, number: u64) -> String {
    format!("/changes/{project}/{number}")
}

/// The page of a fleet.
pub(crate) fn fleet(run_id: &RunId) -> String {
    format!("/fleets/{run_id}")
}
