//! The tasks: small, real ones. Each writes its own file by a command, lets the built-in agent edit
//! another by a replayed session, and opens a pull request.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::processes::World;

const PROJECTS: usize = 4;

/// What was asked for, and what the server accepted.
pub(crate) struct Tasks {
    root: PathBuf,
    next: usize,
    /// The job of each accepted task, with its project.
    jobs: Vec<(String, String)>,
    finished: usize,
}

impl Tasks {
    /// Makes the repositories and the session file.
    pub(crate) fn new(root: &Path) -> Result<Self> {
        for i in 0..PROJECTS {
            repository(&root.join(format!("repositories/fixture{i}")))?;
        }
        fs::create_dir_all(root.join("replays"))?;
        fs::write(root.join("replays/chaos.jsonl"), include_str!("session.jsonl"))?;
        Ok(Self { root: root.to_owned(), next: 0, jobs: Vec::new(), finished: 0 })
    }

    /// Makes the projects known to the server.
    pub(crate) async fn add_projects(&mut self, world: &mut World) -> Result<()> {
        for i in 0..PROJECTS {
            let path = self.root.join(format!("repositories/fixture{i}"));
            let body = json!({ "source": { "kind": "path", "path": path } });
            let _: Value = world.post("/api/v1/projects", &format!("project-{i}"), &body).await?;
        }
        Ok(())
    }

    /// How many tasks the server accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.jobs.len()
    }

    /// The accepted jobs, with their projects.
    pub(crate) fn jobs(&self) -> &[(String, String)] {
        &self.jobs
    }

    /// How many of them have not ended, as far as is known.
    pub(crate) async fn unfinished(&mut self, world: &World) -> usize {
        while let Some((job_id, _)) = self.jobs.get(self.finished) {
            match world.get::<Value>(&format!("/api/v1/jobs/{job_id}")).await {
                Ok(job) if job["end"].is_object() => self.finished += 1,
                _ => break,
            }
        }
        self.jobs.len() - self.finished
    }

    /// Submits the next task. A call that failed is repeated later under the same key: accepted or
    /// not, it becomes one task.
    pub(crate) async fn submit(&mut self, world: &World) {
        let i = self.next;
        let project = format!("fixture{}", i % PROJECTS);
        let retry = json!({ "attempts": 50, "backoff": 50_000, "backoff_cap": 500_000 });
        let body = json!({
            "project": project,
            "title": format!("chaos {i}"),
            "limits": { "duration": 3600 },
            "steps": [
                { "id": "write", "retry": retry,
                  "action": { "kind": "run", "command": format!("echo {i} > job-{i}.txt && sleep 0.1") } },
                { "id": "edit", "retry": retry,
                  "action": { "kind": "agent", "prompt": "Say hello in greeting.txt.",
                              "harness": "builtin", "replay": "chaos",
                              "verify": ["grep -q hello greeting.txt"] } },
                { "id": "publish", "retry": retry, "action": { "kind": "pull_request" } },
            ],
        });
        match world.post::<Value>("/api/v1/runs", &format!("task-{i}"), &body).await {
            Ok(started) => {
                if let Some(job_id) = started["job_ids"][0].as_str() {
                    self.jobs.push((job_id.to_owned(), project));
                    self.next += 1;
                }
            }
            Err(e) => eprintln!("task {i} was not accepted yet: {e:#}"),
        }
    }

    /// Waits until all accepted jobs have ended.
    pub(crate) async fn wait_for_all(&mut self, world: &mut World) -> Result<()> {
        let mut quiet = 0;
        let mut last = usize::MAX;
        while quiet < 600 {
            world.revive().await?;
            let left = self.unfinished(world).await;
            if left == 0 {
                return Ok(());
            }
            quiet = if left == last { quiet + 1 } else { 0 };
            last = left;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let (job_id, _) = &self.jobs[self.finished];
        let job: Value = world.get(&format!("/api/v1/jobs/{job_id}")).await?;
        bail!("{last} jobs have not ended and nothing moved for two minutes; the first is {job}")
    }
}

fn repository(path: &Path) -> Result<()> {
    fs::create_dir_all(path)?;
    fs::write(path.join("README.md"), "# Fixture\n")?;
    fs::write(path.join("greeting.txt"), "good day\n")?;
    let git = |arguments: &[&str]| -> Result<()> {
        let status = Command::new("git")
            .args(["-c", "user.name=Fixture", "-c", "user.email=fixture@example.org"])
            .args(arguments)
            .current_dir(path)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .status()
            .context("failed to start git")?;
        anyhow::ensure!(status.success(), "git {arguments:?} failed");
        Ok(())
    };
    git(&["init", "-q", "-b", "main"])?;
    git(&["add", "."])?;
    git(&["commit", "-q", "-m", "fixture"])
}
