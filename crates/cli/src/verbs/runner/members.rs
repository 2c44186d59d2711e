//! Runners of a server: who they are, how another joins, what is wanted of them.

use std::{
    io::{BufRead as _, IsTerminal as _},
    time::Duration,
};

use anyhow::{Context as _, Result};
use reqwest::Method;
use windlass_runner::{
    Error, Secret,
    join::{self, Joining},
};
use windlass_wire::{
    api::{
        Page,
        runner::{Invitation, NewInvitation, Runner, RunnerChange},
    },
    runner::Wish,
};

use super::{ca_bundle, host_name, state_dir};
use crate::{
    arguments::{JoinRunner, RunnerVerb, Tell},
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal,
    verbs::print_json,
};

/// How often a runner that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Everything but working.
pub(super) async fn manage(settings: &Settings, verb: RunnerVerb) -> Result<Exit> {
    let client = Client::find(settings).await?;
    match verb {
        RunnerVerb::List => list(settings, &client).await?,
        RunnerVerb::Show(named) => {
            let runner: Runner = client.get(&path(&named.runner)).await?;
            match settings.json {
                true => print_json(&runner)?,
                false => show(&runner),
            }
        }
        RunnerVerb::Invite(invite) => {
            let new = NewInvitation { expires_in: Some(invite.minutes * 60) };
            let invitation: Invitation = client.post("/api/v1/runners/invitations", &new).await?;
            match settings.json {
                true => print_json(&invitation)?,
                false => print_invitation(&invitation, invite.minutes),
            }
        }
        RunnerVerb::Drain(tell) => tell_them(settings, &client, &tell, Wish::Drain).await?,
        RunnerVerb::Restart(tell) => tell_them(settings, &client, &tell, Wish::Restart).await?,
        RunnerVerb::Resume(named) => {
            let tell = Tell { runner: Some(named.runner), all: false, wait: false };
            tell_them(settings, &client, &tell, Wish::Work).await?;
        }
        RunnerVerb::Remove(remove) => {
            let path = format!("{}?force={}", path(&remove.runner), remove.force);
            client.command(Method::DELETE, &path).await?;
            eprintln!("{} is removed; its token is good no more", remove.runner);
        }
        RunnerVerb::Join(_) => unreachable!("whoever joins works"),
    }
    Ok(Exit::Success)
}

/// Joins, unless this runner has.
pub(super) async fn join(settings: &Settings, verb: &JoinRunner) -> Result<()> {
    let state_dir = state_dir(settings, &verb.work)?;
    let server_url = verb.url.trim_end_matches('/').to_owned();
    let known = join::membership(&state_dir)
        .with_context(|| format!("failed to read how {} joined", state_dir.display()))?;
    if known.is_some_and(|known| known.runner_id.is_some() && known.server_url == server_url) {
        tracing::info!(server = %server_url, "this runner has joined before");
        return Ok(());
    }
    let code = code()?;
    let joining = Joining {
        server_url: server_url.clone(),
        server_certificate: verb.work.certificate.clone(),
        ca_bundle: ca_bundle(),
        state_dir,
        name: verb.work.name.clone().unwrap_or_else(host_name),
    };
    let joined = join::join(joining, &code).await.map_err(|error| match &error {
        Error::Code(why) => Exit::Refused.error(why),
        _ => anyhow::Error::new(error).context("the runner can't join"),
    })?;
    if let Some(runner_id) = joined.runner_id {
        eprintln!("joined {server_url} as {runner_id}");
    }
    Ok(())
}

/// The code, from standard input: arguments can be read by everybody on a machine.
fn code() -> Result<Secret> {
    if std::io::stdin().is_terminal() {
        eprint!("The code that `windlass runner invite` printed: ");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("failed to read the code")?;
    match line.trim() {
        "" => Err(Exit::Refused.error(
            "no code came in on standard input: `windlass runner invite` on the server's machine \
             prints what to type here",
        )),
        code => Ok(Secret::new(code.to_owned())),
    }
}

fn print_invitation(invitation: &Invitation, minutes: u64) {
    let pin = invitation.certificate.as_ref().map(|pin| format!(" --certificate {pin}"));
    println!(
        "echo {} | windlass runner join {}{}",
        invitation.code,
        invitation.server,
        pin.unwrap_or_default()
    );
    eprintln!("Type this on the runner's machine within {minutes} minutes. The code works once.");
}

async fn list(settings: &Settings, client: &Client) -> Result<()> {
    let page: Page<Runner> = client.get("/api/v1/runners").await?;
    if settings.json {
        return print_json(&page);
    }
    let rows = page.items.iter().map(|runner| {
        vec![
            runner.id.to_string(),
            terminal::one_line(&runner.name, 40),
            standing(runner).to_owned(),
            format!("{} of {}", runner.jobs.len(), runner.capacity),
            terminal::one_line(&runner.version, 20),
            terminal::one_line(&runner.labels.join(","), 60),
        ]
    });
    terminal::table(
        &["runner", "name", "", "jobs", "version", "labels"],
        &rows.collect::<Vec<_>>(),
    );
    for runner in &page.items {
        for problem in &runner.problems {
            eprintln!(
                "{}: {}",
                terminal::one_line(&runner.name, 40),
                terminal::one_line(problem, 300)
            );
        }
    }
    Ok(())
}

fn standing(runner: &Runner) -> &'static str {
    match (runner.alive, runner.wish) {
        (false, _) => "away",
        (true, Wish::Work) => "here",
        (true, Wish::Drain) if runner.jobs.is_empty() => "drained",
        (true, Wish::Drain) => "draining",
        (true, Wish::Restart) => "restarting",
    }
}

fn show(runner: &Runner) {
    let line = |name: &str, value: &str| println!("{name:<14}{}", terminal::one_line(value, 300));
    line("runner", runner.id.as_str());
    line("name", &runner.name);
    line("state", standing(runner));
    line("version", &runner.version);
    line("labels", &runner.labels.join(", "));
    line("jobs", &format!("{} of {}", runner.jobs.len(), runner.capacity));
    for job in &runner.jobs {
        line("", job.as_str());
    }
    line("environments", &format!("keeps {}, at most {} run", runner.kept, runner.environments));
    if let Some(health) = &runner.health {
        let mib = |name: &str, free: Option<u64>, all: Option<u64>| {
            if let Some((free, all)) = free.zip(all) {
                line(name, &format!("{} of {} MiB free", free >> 20, all >> 20));
            }
        };
        mib("disk", health.disk_free, health.disk);
        mib("memory", health.memory_free, health.memory);
        if let Some((load, cpus)) = health.load.zip(health.cpus) {
            line("load", &format!("{}.{:02} on {cpus} processors", load / 100, load % 100));
        }
    }
    for problem in &runner.problems {
        line("look at", problem);
    }
}

/// Tells one runner or all of them, and waits where that is wanted.
async fn tell_them(settings: &Settings, client: &Client, tell: &Tell, wish: Wish) -> Result<()> {
    let named: Vec<String> = match &tell.runner {
        Some(named) => vec![named.clone()],
        None => {
            let page: Page<Runner> = client.get("/api/v1/runners").await?;
            let living = page.items.into_iter().filter(|runner| runner.alive);
            living.map(|runner| runner.id.to_string()).collect()
        }
    };
    let mut told = Vec::with_capacity(named.len());
    for named in &named {
        let change = RunnerChange { wish };
        told.push(client.patch::<Runner>(&path(named), &change).await?);
    }
    if tell.wait {
        for runner in &mut told {
            *runner = wait(client, runner).await?;
        }
    }
    if settings.json {
        return print_json(&told);
    }
    for runner in &told {
        eprintln!("{} {}", terminal::one_line(&runner.name, 40), standing(runner));
    }
    Ok(())
}

/// Waits until a runner that was told to drain holds no job, or one that was told to restart is back.
async fn wait(client: &Client, told: &Runner) -> Result<Runner> {
    loop {
        let now: Runner = client.get(&path(told.id.as_str())).await?;
        let is_done = match told.wish {
            Wish::Work => true,
            Wish::Drain => now.jobs.is_empty(),
            Wish::Restart => now.wish != Wish::Restart,
        };
        if is_done {
            return Ok(now);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Where a runner is in the API: a name may hold anything.
fn path(named: &str) -> String {
    let mut url = reqwest::Url::parse("http://localhost/api/v1/runners").expect("it is an address");
    url.path_segments_mut().expect("it has segments").push(named);
    url.path().to_owned()
}
