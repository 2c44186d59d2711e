//! `windlass env why-slow`: where the time of a start went. The server says what happened; this only lays
//! it out.

use anyhow::Result;
use windlass_run::JobId;
use windlass_wire::api::{
    environment::{Environment, Stage},
    job::{Job, PoolShelf, Start},
};

use super::{Verb, path};
use crate::{
    exit::Exit,
    terminal::{self, Style},
};

impl Verb<'_> {
    pub(super) async fn why_slow(&self, what: &str) -> Result<Exit> {
        if let Ok(job_id) = JobId::parse(what) {
            return self.why_job(&job_id).await;
        }
        let env: Environment = self.client.get(&path(what)).await?;
        if self.settings.json {
            super::super::print_json(&serde_json::json!({
                "phase": env.phase, "from": env.start_from, "stages": env.start,
            }))?;
            return Ok(Exit::Success);
        }
        println!("{}", Style::for_stdout().bold(&terminal::one_line(&env.name, 64)));
        if env.start.is_empty() {
            println!("  its runner has told nothing of a start yet: it is {}", env.phase);
        }
        if let Some(from) = &env.start_from {
            println!("  {}", was(from));
        } else if !env.start.is_empty() {
            println!("  around its own work tree");
        }
        stages(&env.start);
        println!("  its log: windlass env logs {}", env.name);
        Ok(Exit::Success)
    }

    async fn why_job(&self, job_id: &JobId) -> Result<Exit> {
        let job: Job = self.client.get(&format!("/api/v1/jobs/{job_id}")).await?;
        if self.settings.json {
            super::super::print_json(&job.starts)?;
            return Ok(Exit::Success);
        }
        if job.starts.is_empty() {
            println!(
                "No environment of this job was ready yet: windlass logs {job_id} has what there is."
            );
        }
        for start in &job.starts {
            print(start);
        }
        Ok(Exit::Success)
    }
}

fn print(start: &Start) {
    let total = start.stages.iter().map(|stage| stage.micros).sum();
    let style = Style::for_stdout();
    println!("{} {}", style.bold(&took(total)), was(&start.from));
    stages(&start.stages);
    if let Some(why) = &start.missed {
        println!("  not from the pool: {}", terminal::one_line(why, 200));
    }
    if let Some(pool) = &start.pool {
        println!("  pool: {}", shelf(pool));
    }
    for limit in start.limits.iter().filter(|limit| !limit.enforced) {
        let text = format!("{} {} is not enforced: {}", limit.what, limit.shown, limit.how);
        println!("  {}", terminal::one_line(&text, 400));
    }
    for advice in &start.advice {
        println!("  {}", terminal::one_line(advice, 400));
    }
}

/// What was there before a start began.
fn was(from: &str) -> &'static str {
    match from {
        "pool" => "from the pool",
        "snapshot" => "from a snapshot with its prebuild",
        "tree" => "from a prepared work tree",
        _ => "from the mirror of the repository",
    }
}

fn shelf(pool: &PoolShelf) -> String {
    let mut text = format!("{} ready of {} wanted, at most {}", pool.ready, pool.wanted, pool.most);
    if let (Some(gap), Some(refill)) = (pool.gap_micros, pool.refill_micros) {
        text.push_str(&format!("; one asked for every {}, made in {}", took(gap), took(refill)));
    }
    text
}

/// The parts with their shares, in their order.
fn stages(stages: &[Stage]) {
    let total: u64 = stages.iter().map(|stage| stage.micros).sum();
    for stage in stages {
        let share = (stage.micros * 100).checked_div(total).unwrap_or(0);
        let name = terminal::one_line(&stage.name, 24);
        println!("  {name:<18} {:>10} {share:>3} %", took(stage.micros));
    }
}

fn took(micros: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of years fit")]
    let millis = micros as f64 / 1000.0;
    match micros {
        0..10_000_000 => format!("{millis:.1} ms"),
        _ => format!("{:.1} s", millis / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_the_unit_that_fits() {
        let shown = [400, 6_100, 1_250_000, 61_000_000].map(took);
        assert_eq!(shown, ["0.4 ms", "6.1 ms", "1250.0 ms", "61.0 s"]);
    }
}
