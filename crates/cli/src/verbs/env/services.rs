//! `windlass env services`, `env task` and `env logs --service`: what runs beside the work.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use windlass_wire::api::{
    job::LogPiece,
    service::{Automation, Service, Task, TaskRun},
};

use super::{Verb, path, segment};
use crate::{
    arguments::{OneService, ServiceWish, Services},
    exit::Exit,
    terminal::{self, Style},
};

impl Verb<'_> {
    pub(super) async fn services(&self, services: Services) -> Result<Exit> {
        let (wish, one) = match (services.wish, services.env) {
            (Some(ServiceWish::Start(one)), _) => ("start", one),
            (Some(ServiceWish::Stop(one)), _) => ("stop", one),
            (Some(ServiceWish::Restart(one)), _) => ("restart", one),
            (None, Some(env)) => return self.list_services(&env).await,
            (None, None) => return Err(Exit::Failure.error("name an environment")),
        };
        self.wish_service(wish, &one).await
    }

    async fn list_services(&self, env: &str) -> Result<Exit> {
        let all = self.automation(env).await?;
        if self.settings.json {
            super::super::print_json(&all.services)?;
            return Ok(Exit::Success);
        }
        if all.services.is_empty() {
            println!(
                "It has no services: they are in .windlass/environment.yaml of its repository."
            );
            return Ok(Exit::Success);
        }
        let rows: Vec<_> = all.services.iter().map(row).collect();
        terminal::table(&["service", "state", "since", "restarts", "ports", "last end"], &rows);
        Ok(Exit::Success)
    }

    async fn wish_service(&self, wish: &str, one: &OneService) -> Result<Exit> {
        let address = format!("{}/services/{}/{wish}", path(&one.env), segment(&one.service));
        let service: Service = self.client.post(&address, &serde_json::json!({})).await?;
        if self.settings.json {
            super::super::print_json(&service)?;
        } else {
            let style = Style::for_stdout();
            let how = service.last_end.as_deref().filter(|_| service.state != "ready");
            let how = how.map(|how| format!(": {}", terminal::one_line(how, 200)));
            let name = terminal::one_line(&service.name, 64);
            println!("{name} {}{}", style.state(&service.state), how.unwrap_or_default());
        }
        let is_so = match wish {
            "stop" => service.state == "stopped",
            _ => service.state == "ready",
        };
        Ok(if is_so { Exit::Success } else { Exit::Failure })
    }

    pub(super) async fn tasks(&self, env: &str) -> Result<Exit> {
        let all = self.automation(env).await?;
        if self.settings.json {
            super::super::print_json(&all.tasks)?;
            return Ok(Exit::Success);
        }
        if all.tasks.is_empty() {
            println!("It has no tasks: they are in .windlass/environment.yaml of its repository.");
            return Ok(Exit::Success);
        }
        let style = Style::for_stdout();
        let rows = all.tasks.iter().map(|task| {
            let last = task.last.as_ref();
            vec![
                terminal::one_line(&task.name, 64),
                task.on.join(", "),
                last.map_or_else(|| "not run yet".to_owned(), |run| style.state(&run.state)),
                last.and_then(|run| run.ended_at).map(ago).unwrap_or_default(),
                last.map(given).unwrap_or_default(),
                terminal::one_line(task.description.as_deref().unwrap_or_default(), 100),
            ]
        });
        let rows: Vec<_> = rows.collect();
        terminal::table(&["task", "on", "last run", "ended", "gave", "what"], &rows);
        Ok(Exit::Success)
    }

    pub(super) async fn run_task(&self, env: &str, task: &str) -> Result<Exit> {
        let address = format!("{}/tasks/{}", path(env), segment(task));
        let begun: TaskRun =
            self.client.post(&format!("{address}/run"), &serde_json::json!({})).await?;
        if self.settings.json {
            // Its output is in the log; what is printed here is how it came out.
            self.follow(&format!("{address}/log"), |_| Ok(())).await?;
        } else {
            self.follow(&format!("{address}/log"), print).await?;
        }
        let run = self.ended(env, task, begun.number).await?;
        if self.settings.json {
            super::super::print_json(&run)?;
        } else {
            for (name, value) in &run.outputs {
                println!("{name} = {}", terminal::one_line(&value.to_string(), 400));
            }
            if let Some(why) = &run.why {
                eprintln!("{}", terminal::one_line(why, 400));
            }
        }
        Ok(match (run.state.as_str(), run.exit) {
            ("succeeded", _) => Exit::Success,
            (_, Some(code)) if code != 0 => Exit::Of(u8::try_from(code).unwrap_or(u8::MAX)),
            _ => Exit::Failure,
        })
    }

    /// How a run came out, whose output has ended.
    async fn ended(&self, env: &str, task: &str, number: u64) -> Result<TaskRun> {
        loop {
            let all = self.automation(env).await?;
            let found = all.tasks.into_iter().find(|found| found.name == task);
            let last = found.and_then(|task: Task| task.last);
            let last = last.filter(|run| run.number == number);
            let run = last.context("the task ran again meanwhile, or the environment did")?;
            if run.ended_at.is_some() {
                return Ok(run);
            }
            tokio::time::sleep(super::LOOK).await;
        }
    }

    pub(super) async fn logs(
        &self,
        name: &str,
        service: Option<String>,
        task: Option<String>,
        follow: bool,
    ) -> Result<Exit> {
        let below = match (service, task) {
            (Some(service), _) => format!("services/{}/log", segment(&service)),
            (None, Some(task)) => format!("tasks/{}/log", segment(&task)),
            (None, None) if follow => {
                return Err(
                    Exit::Failure.error("the log of a start has an end: leave out --follow")
                );
            }
            (None, None) => "log".to_owned(),
        };
        let address = format!("{}/{below}", path(name));
        if follow {
            self.follow(&address, print).await?;
        } else {
            let log = self.client.text(&address).await?;
            print!("{}", terminal::harmless(&log));
        }
        Ok(Exit::Success)
    }

    /// Hands on a log until its end.
    async fn follow(&self, address: &str, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let mut pieces = self.client.follow(address, None).await?;
        while let Some(piece) = pieces.next().await {
            let (_, json) = piece?;
            let piece: LogPiece =
                serde_json::from_str(&json).context("failed to understand the log")?;
            each(&piece.text)?;
        }
        Ok(())
    }

    async fn automation(&self, env: &str) -> Result<Automation> {
        self.client.get(&format!("{}/services", path(env))).await
    }
}

fn print(text: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    let written = output.write_all(terminal::harmless(text).as_bytes());
    written.and_then(|()| output.flush()).context("failed to write the output")
}

fn row(service: &Service) -> Vec<String> {
    let ports: Vec<String> = service.ports.iter().map(u16::to_string).collect();
    vec![
        terminal::one_line(&service.name, 64),
        Style::for_stdout().state(&service.state),
        service.since.map(ago).unwrap_or_default(),
        service.restarts.to_string(),
        ports.join(", "),
        terminal::one_line(service.last_end.as_deref().unwrap_or_default(), 100),
    ]
}

fn given(run: &TaskRun) -> String {
    let values = run.outputs.iter().map(|(name, value)| format!("{name} = {value}"));
    terminal::one_line(&values.collect::<Vec<_>>().join(", "), 100)
}

fn ago(at: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(i64::MAX);
    format!("{} ago", terminal::span(now.saturating_sub(at).max(0)))
}
