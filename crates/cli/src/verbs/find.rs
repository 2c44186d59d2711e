//! From what a person types to an id: a job or run by its id or the last part of it, a pull request
//! as `project#number`.

use anyhow::{Result, bail};
use windlass_wire::api::{
    Page,
    run::{Run, RunSummary},
};

use crate::client::Client;

/// The job that `text` names. A run's id names its newest job.
pub(crate) async fn job_id(client: &Client, text: &str) -> Result<String> {
    let text = text.trim();
    if text.starts_with("job_") {
        return Ok(text.to_owned());
    }
    if text.starts_with("run_") {
        return newest_job(client, text).await;
    }
    if text.len() < 4 {
        bail!("`{text}` is too short: give at least the last 4 characters of an id");
    }
    let page: Page<RunSummary> = client.query("/api/v1/runs", &[("limit", "100")]).await?;
    let mut found = Vec::new();
    for summary in page.items {
        if summary.id.as_str().ends_with(text) {
            found.push(newest_job(client, summary.id.as_str()).await?);
            continue;
        }
        let run: Run = client.get(&format!("/api/v1/runs/{}", summary.id)).await?;
        found.extend(
            run.jobs
                .into_iter()
                .filter(|job| job.id.as_str().ends_with(text))
                .map(|job| job.id.to_string()),
        );
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            bail!("none of the last 100 runs or their jobs ends with `{text}`: see `windlass runs`")
        }
        _ => bail!("`{text}` fits {} jobs: give more of the id", found.len()),
    }
}

async fn newest_job(client: &Client, run_id: &str) -> Result<String> {
    let run: Run = client.get(&format!("/api/v1/runs/{run_id}")).await?;
    match run.jobs.last() {
        Some(job) => Ok(job.id.to_string()),
        None => bail!("the run has no job yet"),
    }
}

/// The API's path of the pull request that `text` names.
pub(crate) fn pull_request(text: &str) -> Result<String> {
    let parts = text.rsplit_once('#').or_else(|| text.rsplit_once('/'));
    match parts.map(|(project, number)| (project, number.parse::<u64>())) {
        Some((project, Ok(number))) if !project.is_empty() => {
            Ok(format!("/api/v1/projects/{project}/pull-requests/{number}"))
        }
        _ => bail!("`{text}` names no pull request: write PROJECT#NUMBER, such as api#12"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_request_is_named_by_project_and_number() {
        let path = "/api/v1/projects/api/pull-requests/12";
        assert_eq!(pull_request("api#12").expect("it is well formed"), path);
        assert_eq!(pull_request("api/12").expect("it is well formed"), path);
        for bad in ["api", "#3", "api#", "api#x"] {
            assert!(pull_request(bad).is_err(), "{bad}");
        }
    }
}
