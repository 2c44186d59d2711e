//! What was lost, doubled or left behind.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Result;
use serde_json::Value;
use windlass_run::Time;

use crate::{
    processes::{World, arguments_of, pids},
    tasks::Tasks,
};

/// What was found.
#[derive(Default)]
pub(crate) struct Verdict {
    /// Accepted jobs that are gone, have no end, or succeeded without their pull request.
    pub(crate) lost: usize,
    /// Pull requests or pushes beyond the one of each job.
    pub(crate) doubled: usize,
    /// Processes, mounts, folders and control groups left behind.
    pub(crate) leaked: usize,
    /// Each finding, for a person.
    pub(crate) findings: Vec<String>,
}

/// Looks at everything: jobs and pull requests by the API, what is left on the machine after a hard
/// kill and one more start, and the journal against its projections.
pub(crate) async fn all(world: &mut World, tasks: &Tasks, root: &Path) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    work(world, tasks, &mut verdict).await?;
    // The last word belongs to the sweep: kill hard, start once more, end in good order.
    world.kill_runner_and_supervisor()?;
    let seen = newest_sign_of_life(world).await?;
    world.revive().await?;
    for _ in 0..300 {
        if newest_sign_of_life(world).await? > seen {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    world.stop_runner().await?;
    world.stop_server().await?;
    leaks(root, &mut verdict);
    let url = format!("sqlite:{}", root.join("data/windlass.db").display());
    let options = windlass_store::Options::new(root.join("data/blobs"), Time::from_micros(0));
    let store = windlass_store::Store::open(&url, options).await?;
    verdict
        .findings
        .extend(store.check().await?.into_iter().map(|what| format!("journal: {what}")));
    store.close().await;
    Ok(verdict)
}

/// When any runner was last heard of.
async fn newest_sign_of_life(world: &World) -> Result<i64> {
    let page: Value = world.get("/api/v1/runners").await?;
    let runners = page["items"].as_array().cloned().unwrap_or_default();
    Ok(runners.iter().filter_map(|runner| runner["seen_at"].as_i64()).max().unwrap_or(0))
}

async fn work(world: &World, tasks: &Tasks, verdict: &mut Verdict) -> Result<()> {
    let mut by_head = BTreeMap::<String, usize>::new();
    let mut cursor = String::new();
    loop {
        let page: Value = world.get(&format!("/api/v1/pull-requests?limit=200{cursor}")).await?;
        for pull in page["items"].as_array().into_iter().flatten() {
            let project = pull["project"].as_str().unwrap_or_default();
            let head = pull["head"].as_str().unwrap_or_default();
            *by_head.entry(head.to_owned()).or_default() += 1;
            let path = format!("/api/v1/projects/{project}/pull-requests/{}", pull["number"]);
            let whole: Value = world.get(&path).await?;
            let rounds = whole["rounds"].as_array().map_or(0, Vec::len);
            let commits = whole["commits"].as_array().map_or(0, Vec::len);
            if rounds != 1 || commits != 1 {
                verdict.doubled += 1;
                verdict.findings.push(format!("{head} has {rounds} rounds, {commits} commits"));
            }
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    for (job_id, project) in tasks.jobs() {
        let job: Value = world.get(&format!("/api/v1/jobs/{job_id}")).await?;
        let outcome = job["end"]["outcome"].as_str().unwrap_or("none");
        let pulls = by_head.remove(&format!("windlass/{job_id}")).unwrap_or(0);
        if outcome != "succeeded" || job["end"]["reason"].as_str().unwrap_or("").is_empty() {
            verdict.lost += 1;
            verdict.findings.push(format!("{job_id} in {project} ended {}", job["end"]));
        } else if pulls == 0 {
            verdict.lost += 1;
            verdict.findings.push(format!("{job_id} in {project} has no pull request"));
        }
        if pulls > 1 {
            verdict.doubled += pulls - 1;
            verdict.findings.push(format!("{job_id} has {pulls} pull requests"));
        }
    }
    for (head, count) in by_head {
        verdict.doubled += count;
        verdict.findings.push(format!("{count} pull requests of nobody's: {head}"));
    }
    Ok(())
}

fn leaks(root: &Path, verdict: &mut Verdict) {
    let name = root.to_string_lossy();
    let mut leak = |what: String| {
        verdict.leaked += 1;
        verdict.findings.push(format!("left behind: {what}"));
    };
    let ourselves = std::process::id();
    for pid in pids().filter(|pid| *pid != ourselves) {
        let arguments = arguments_of(pid);
        let folder = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        if arguments.iter().any(|word| word.contains(&*name)) || folder.starts_with(root) {
            leak(format!("process {pid} {arguments:?} in {}", folder.display()));
        }
    }
    for file in ["/proc/self/mountinfo", "/proc/1/mountinfo"] {
        for line in fs::read_to_string(file).unwrap_or_default().lines() {
            if line.contains(&*name) {
                leak(format!("mount {line}"));
            }
        }
    }
    let folders = ["environments/environments", "environments/trash", "trees", "repositories"];
    for folder in folders.map(|folder| format!("runner/{folder}")) {
        for entry in fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
            leak(format!("folder {}", entry.path().display()));
        }
    }
}
