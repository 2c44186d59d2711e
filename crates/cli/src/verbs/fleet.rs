//! `windlass fleet`: runs over many targets.

mod print;
mod watch;

use anyhow::{Result, bail};
use serde::Serialize;
use windlass_run::RunId;
use windlass_wire::api::{
    Page, PageQuery,
    fleet::{
        Because, Begun, Cluster, Fleet, FleetSummary, OperateOn, Operation, RetryFleet, SplitOff,
        Target, TargetsQuery,
    },
    pull_request::MergeMethod,
};

use crate::{
    arguments::{self, ListTargets, Operate},
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

pub(crate) use watch::to_the_end;

pub(crate) async fn run(settings: &Settings, verb: arguments::Fleet) -> Result<Exit> {
    use arguments::Fleet as Verb;
    let client = Client::find(settings).await?;
    match verb {
        Verb::List { limit, cursor } => list(settings, &client, limit, cursor).await,
        Verb::Show { run } => {
            let fleet = get(&client, &run).await?;
            print::fleet(settings, &fleet)
        }
        Verb::Watch { run } => to_the_end(settings, &client, &path(&run)?).await,
        Verb::Targets(asked) => targets(settings, &client, asked).await,
        Verb::Pause(asked) => because(settings, &client, &asked.run, "pause", asked.reason).await,
        Verb::Resume { run } => {
            give(settings, &client, &run, "resume", &serde_json::json!({})).await
        }
        Verb::Cancel(asked) => because(settings, &client, &asked.run, "cancel", asked.reason).await,
        Verb::Advance(asked) => {
            because(settings, &client, &asked.run, "advance", asked.reason).await
        }
        Verb::Retry(asked) => {
            let retry = RetryFleet {
                kind: asked.kind,
                trouble: asked.trouble,
                instruction: asked.instruction,
            };
            give(settings, &client, &asked.run, "retry", &retry).await
        }
        Verb::Clusters { run, cluster: None } => {
            let clusters: Vec<Cluster> = client.get(&format!("{}/clusters", path(&run)?)).await?;
            print::clusters(settings, &clusters)
        }
        Verb::Clusters { run, cluster: Some(cluster) } => {
            let name = plain(&cluster)?;
            let cluster: Cluster = client.get(&format!("{}/clusters/{name}", path(&run)?)).await?;
            print::cluster(settings, &cluster)
        }
        Verb::Split { run, name, targets } => {
            give(settings, &client, &run, "split", &SplitOff { name, targets }).await
        }
        Verb::Approve(asked) => operate(settings, &client, "approve", asked).await,
        Verb::SendBack(asked) => operate(settings, &client, "send-back", asked).await,
        Verb::Merge(asked) => operate(settings, &client, "merge", asked).await,
        Verb::Close(asked) => operate(settings, &client, "close", asked).await,
    }
}

/// Where the API has a fleet.
fn path(run: &str) -> Result<String> {
    match RunId::parse(run) {
        Ok(run) => Ok(format!("/api/v1/fleets/{run}")),
        Err(invalid) => Err(Exit::Failure.error(format!("{invalid}: windlass fleet list"))),
    }
}

/// A cluster's name, as it stands in a path.
fn plain(cluster: &str) -> Result<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if cluster.is_empty() || !cluster.chars().all(is_plain) {
        bail!("that is no cluster's name: windlass fleet clusters RUN");
    }
    Ok(cluster)
}

async fn get(client: &Client, run: &str) -> Result<Fleet> {
    client.get(&path(run)?).await
}

async fn list(
    settings: &Settings,
    client: &Client,
    limit: u32,
    cursor: Option<String>,
) -> Result<Exit> {
    let query = PageQuery { cursor, limit: Some(limit) };
    let page: Page<FleetSummary> = client.query("/api/v1/fleets", &query).await?;
    print::list(settings, &page)
}

async fn targets(settings: &Settings, client: &Client, asked: ListTargets) -> Result<Exit> {
    let query = TargetsQuery {
        cursor: asked.cursor,
        limit: Some(asked.limit),
        ring: asked.ring.map(|ring| ring - 1),
        state: asked.state,
        trouble: asked.trouble,
        kind: asked.kind,
        cluster: asked.cluster,
        change: asked.change,
    };
    let page: Page<Target> =
        client.query(&format!("{}/targets", path(&asked.run)?), &query).await?;
    print::targets(settings, &page)
}

async fn because(
    settings: &Settings,
    client: &Client,
    run: &str,
    command: &str,
    reason: String,
) -> Result<Exit> {
    give(settings, client, run, command, &Because { reason }).await
}

/// Gives a command and says how the fleet stands after it.
async fn give(
    settings: &Settings,
    client: &Client,
    run: &str,
    command: &str,
    asked: &impl Serialize,
) -> Result<Exit> {
    let fleet: Fleet = client.post(&format!("{}/{command}", path(run)?), asked).await?;
    if settings.json {
        super::print_json(&fleet)?;
        return Ok(Exit::Success);
    }
    println!("{}", watch::line(&fleet));
    Ok(Exit::Success)
}

async fn operate(
    settings: &Settings,
    client: &Client,
    command: &str,
    asked: Operate,
) -> Result<Exit> {
    let method = match asked.method.as_str() {
        "merge" => MergeMethod::Merge,
        "squash" => MergeMethod::Squash,
        "rebase" => MergeMethod::Rebase,
        other => {
            bail!("`{}` is no way to merge: merge, squash or rebase", terminal::one_line(other, 40))
        }
    };
    let on = OperateOn {
        cluster: asked.cluster,
        targets: asked.targets,
        outliers: asked.outliers,
        body: asked.message,
        method,
    };
    let begun: Begun = client.post(&format!("{}/{command}", path(&asked.run)?), &on).await?;
    if asked.detach {
        match settings.json {
            true => super::print_json(&begun)?,
            false => println!("{command} of {} changes goes on", begun.of),
        }
        return Ok(Exit::Success);
    }
    let done = watch::operation(client, &path(&asked.run)?, begun.operation).await?;
    through(settings, command, &done)
}

/// Says what came of an operation. One that went badly with a change is found out about.
fn through(settings: &Settings, command: &str, done: &Operation) -> Result<Exit> {
    let exit = if done.failures.is_empty() { Exit::Success } else { Exit::Found };
    if settings.json {
        super::print_json(done)?;
        return Ok(exit);
    }
    let well = done.of as usize - done.failures.len();
    println!("{command}: {well} of {} went well", done.of);
    for failure in &done.failures {
        let why = terminal::one_line(&failure.why, 120);
        println!("  target {}: {}", failure.target, Style::for_stdout().dim(&why));
    }
    Ok(exit)
}
