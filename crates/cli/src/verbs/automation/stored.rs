//! What a server has in force: planned, applied, followed, listed, shown, rolled back, paused, removed.

use anyhow::{Result, bail};
use reqwest::Method;
use windlass_run::{Time, automation::Name, schedule::Zone};
use windlass_wire::api::{
    Page, PageQuery,
    automation::{
        ApplyAutomations as Asked, AutomationDetail, AutomationFile, AutomationPlan,
        AutomationSummary, AutomationVersion, PauseAutomation, PlannedChange, RollBackAutomation,
        SyncAutomations as AskedToSync,
    },
};

use super::{files, text_of};
use crate::{
    arguments::{ApplyAutomations, Automation, ShowAutomation, SyncAutomations},
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
    verbs,
};

const ALL: &str = "/api/v1/automations";

pub(super) async fn run(settings: &Settings, verb: Automation) -> Result<Exit> {
    let client = Client::find(settings).await?;
    match verb {
        Automation::Plan(asked) => {
            let plan = client.post(&format!("{ALL}/plan"), &asked_of(&asked)?).await?;
            print_plan(settings, &plan)
        }
        Automation::Apply(asked) => {
            let plan = client.post(&format!("{ALL}/apply"), &asked_of(&asked)?).await?;
            print_plan(settings, &plan)
        }
        Automation::Sync(asked) => sync(settings, &client, asked).await,
        Automation::Drift => drift(settings, &client).await,
        Automation::List => list(settings, &client).await,
        Automation::Show(asked) => show(settings, &client, &asked).await,
        Automation::Versions { automation } => versions(settings, &client, &automation).await,
        Automation::Rollback { automation, version } => {
            let asked = RollBackAutomation { version };
            let path = format!("{}/rollback", path(&automation)?);
            print_plan(settings, &client.post(&path, &asked).await?)
        }
        Automation::Pause { automation, why } => {
            let asked = PauseAutomation { reason: why };
            let path = format!("{}/pause", path(&automation)?);
            print(settings, &client.post(&path, &asked).await?)
        }
        Automation::Resume { automation } => {
            let path = format!("{}/resume", path(&automation)?);
            print(settings, &client.post(&path, &serde_json::json!({})).await?)
        }
        Automation::Remove { automation } => {
            client.command(Method::DELETE, &path(&automation)?).await?;
            Ok(Exit::Success)
        }
        Automation::Check(_)
        | Automation::Schema
        | Automation::Run(_)
        | Automation::Test(_)
        | Automation::Library(_) => bail!("this verb needs no server"),
    }
}

pub(super) fn path(name: &str) -> Result<String> {
    match Name::parse(name) {
        Ok(name) => Ok(format!("{ALL}/{name}")),
        Err(what) => Err(Exit::Failure.error(format!("an automation is named by {what}"))),
    }
}

fn asked_of(asked: &ApplyAutomations) -> Result<Asked> {
    let mut all = Vec::new();
    for path in files(&asked.files)? {
        let text = text_of(&path)?.map_err(|refused| anyhow::anyhow!(refused))?;
        all.push(AutomationFile { name: path.display().to_string(), text });
    }
    if all.is_empty() && !asked.prune {
        bail!("there is no automation file: name some, or a folder that has them");
    }
    Ok(Asked { files: all, prune: asked.prune, expects: asked.expect.clone() })
}

async fn sync(settings: &Settings, client: &Client, asked: SyncAutomations) -> Result<Exit> {
    if asked.end {
        let project = verbs::run::find_or_add(client, &asked.project).await?.id;
        client.command(Method::DELETE, &format!("{ALL}/sync/{project}")).await?;
        return Ok(Exit::Success);
    }
    // A folder is meant as the project that it is, as everywhere else.
    let project = verbs::run::find_or_add(client, &asked.project).await?.id.to_string();
    let body = AskedToSync { project, plan: asked.plan };
    print_plan(settings, &client.post(&format!("{ALL}/sync"), &body).await?)
}

async fn drift(settings: &Settings, client: &Client) -> Result<Exit> {
    let plans: Vec<AutomationPlan> = client.get(&format!("{ALL}/drift")).await?;
    let differs = plans.iter().flat_map(|plan| &plan.changes).any(changes);
    if settings.json {
        verbs::print_json(&plans)?;
    } else if plans.is_empty() {
        println!("No project is followed: see `windlass automation sync`.");
    } else {
        plans.iter().for_each(print_changes);
    }
    Ok(if differs { Exit::Found } else { Exit::Success })
}

fn changes(change: &PlannedChange) -> bool {
    change.what != "keep"
}

fn print_plan(settings: &Settings, plan: &AutomationPlan) -> Result<Exit> {
    let differs = !plan.applied && plan.changes.iter().any(changes);
    if settings.json {
        verbs::print_json(plan)?;
    } else {
        print_changes(plan);
        if differs {
            println!("Nothing was changed. The digest of this plan is {}.", plan.digest);
        }
    }
    Ok(if differs { Exit::Found } else { Exit::Success })
}

fn print_changes(plan: &AutomationPlan) {
    let style = Style::for_stdout();
    if let Some(source) = &plan.source {
        let commit = source.commit.get(..10).unwrap_or(&source.commit);
        println!("{} at {commit}", style.bold(&terminal::harmless(&source.project)));
    }
    let verb = |what: &str| match (what, plan.applied) {
        ("create", true) => "created",
        ("create", false) => "would be created",
        ("change", true) => "changed",
        ("change", false) => "would be changed",
        ("remove", true) => "removed",
        ("remove", false) => "would be removed",
        _ => "as it is",
    };
    for change in &plan.changes {
        let version = change.version.map(|version| format!(", version {version}"));
        println!(
            "{} {}{}",
            style.bold(&change.name),
            verb(&change.what),
            version.unwrap_or_default()
        );
        if !changes(change) {
            continue;
        }
        for trigger in &change.triggers {
            println!("  on {}", terminal::one_line(trigger, 200));
        }
        if !change.fires.is_empty() {
            println!("  starts next {}", moments(&change.fires));
        }
        if !change.targets.is_empty() {
            println!("  works on {}", terminal::one_line(&change.targets, 200));
        }
        if let Some(history) = &change.history {
            println!(
                "  its last {} jobs: {} succeeded, {} had nothing to do; {} tokens and {} each",
                history.jobs,
                history.succeeded,
                history.skipped,
                history.tokens_per_job,
                terminal::span(i64::try_from(history.micros_per_job).unwrap_or(i64::MAX)),
            );
        }
        for note in &change.notes {
            println!("  note: {}", terminal::one_line(note, 400));
        }
        if change.what == "change" {
            for line in change.diff.lines() {
                println!("  {}", terminal::harmless(line));
            }
        }
    }
    if plan.changes.is_empty() {
        println!("No automation, none to remove.");
    }
}

/// Times as people read them, in UTC.
fn moments(all: &[i64]) -> String {
    let zone = Zone::utc();
    let all = all.iter().filter_map(|at| zone.for_people(Time::from_micros(*at)));
    all.collect::<Vec<_>>().join(", ")
}

async fn list(settings: &Settings, client: &Client) -> Result<Exit> {
    let mut all: Vec<AutomationSummary> = Vec::new();
    let mut cursor = None;
    loop {
        let query = PageQuery { cursor, limit: Some(200) };
        let page: Page<AutomationSummary> = client.query(ALL, &query).await?;
        all.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if settings.json {
        verbs::print_json(&all)?;
        return Ok(Exit::Success);
    }
    let now = verbs::runner::now().as_micros();
    let rows = all.iter().map(|one| {
        let last = one.last_run.as_ref();
        let success = one.history.as_ref().map(|history| {
            let counted = history.jobs - history.skipped;
            format!("{} of {counted}", history.succeeded)
        });
        vec![
            one.name.clone(),
            one.health.clone(),
            one.version.to_string(),
            terminal::one_line(&one.triggers.join("; "), 60),
            one.next_at.map(|at| format!("in {}", terminal::span(at - now))).unwrap_or_default(),
            last.map(|run| format!("{}, {} ago", run.state, terminal::span(now - run.created_at)))
                .unwrap_or_default(),
            success.unwrap_or_default(),
        ]
    });
    let head = ["automation", "health", "version", "on", "next", "last run", "succeeded"];
    terminal::table(&head, &rows.collect::<Vec<_>>());
    Ok(Exit::Success)
}

async fn show(settings: &Settings, client: &Client, asked: &ShowAutomation) -> Result<Exit> {
    let path = path(&asked.automation)?;
    if let Some(version) = asked.version {
        let query = PageQuery { cursor: Some((version + 1).to_string()), limit: Some(1) };
        let page: Page<AutomationVersion> =
            client.query(&format!("{path}/versions"), &query).await?;
        let Some(found) = page.items.into_iter().find(|one| one.version == version) else {
            bail!("{} has no version {version}", asked.automation);
        };
        print!("{}", found.text);
        return Ok(Exit::Success);
    }
    let one: AutomationDetail = client.get(&path).await?;
    if asked.file {
        print!("{}", one.text);
        return Ok(Exit::Success);
    }
    print(settings, &one)
}

fn print(settings: &Settings, one: &AutomationDetail) -> Result<Exit> {
    if settings.json {
        verbs::print_json(one)?;
        return Ok(Exit::Success);
    }
    let style = Style::for_stdout();
    let summary = &one.summary;
    println!("{}  {}  version {}", style.bold(&summary.name), summary.health, summary.version);
    for said in summary.description.iter().chain(&summary.reason) {
        println!("{}", terminal::harmless(said));
    }
    for trigger in &summary.triggers {
        println!("on {}", terminal::one_line(trigger, 200));
    }
    if !one.fires.is_empty() {
        println!("starts next {}", moments(&one.fires));
    }
    println!("works on {}", terminal::one_line(&summary.targets, 200));
    let project = summary.project.as_ref().map(|project| format!(" of the project {project}"));
    println!(
        "{}{}, applied by {}",
        terminal::harmless(&one.file),
        project.unwrap_or_default(),
        terminal::harmless(&one.applied_by.name)
    );
    let now = verbs::runner::now().as_micros();
    let rows = one.runs.iter().map(|run| {
        vec![
            run.run_id.to_string(),
            run.state.clone(),
            run.version.map(|version| version.to_string()).unwrap_or_default(),
            run.jobs.to_string(),
            format!("{} ago", terminal::span(now - run.created_at)),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        terminal::table(&["run", "state", "version", "jobs", "created"], &rows);
    }
    Ok(Exit::Success)
}

async fn versions(settings: &Settings, client: &Client, name: &str) -> Result<Exit> {
    let mut all: Vec<AutomationVersion> = Vec::new();
    let mut cursor = None;
    loop {
        let query = PageQuery { cursor, limit: Some(200) };
        let page: Page<AutomationVersion> =
            client.query(&format!("{}/versions", path(name)?), &query).await?;
        all.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if settings.json {
        verbs::print_json(&all)?;
        return Ok(Exit::Success);
    }
    let now = verbs::runner::now().as_micros();
    let rows = all.iter().map(|one| {
        vec![
            one.version.to_string(),
            one.digest.get(..12).unwrap_or_default().to_owned(),
            one.origin.clone(),
            one.by.name.clone(),
            format!("{} ago", terminal::span(now - one.at)),
        ]
    });
    terminal::table(&["version", "digest", "from", "by", "applied"], &rows.collect::<Vec<_>>());
    Ok(Exit::Success)
}
