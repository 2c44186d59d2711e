//! Fleets on a terminal, or as JSON.

use anyhow::Result;
use windlass_wire::api::{
    Page,
    fleet::{ChangeRef, Cluster, Fleet, FleetSummary, Target},
};

use crate::{
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
    verbs::{print_json, runner::now},
};

pub(super) fn list(settings: &Settings, page: &Page<FleetSummary>) -> Result<Exit> {
    if settings.json {
        print_json(page)?;
        return Ok(Exit::Success);
    }
    if page.items.is_empty() {
        println!("There is no fleet. A run of an automation over several projects is one.");
        return Ok(Exit::Success);
    }
    let now = now().as_micros();
    let rows: Vec<Vec<String>> = page
        .items
        .iter()
        .map(|fleet| {
            vec![
                fleet.id.to_string(),
                terminal::span(now - fleet.created_at),
                fleet.state.clone(),
                fleet.counts.targets.to_string(),
                fleet.counts.planned.to_string(),
                fleet.counts.running.to_string(),
                fleet.counts.failed.to_string(),
                terminal::one_line(&fleet.title, 50),
            ]
        })
        .collect();
    let head = ["run", "ago", "state", "targets", "planned", "running", "failed", "title"];
    terminal::table(&head, &rows);
    more(page.next.as_deref());
    Ok(Exit::Success)
}

pub(super) fn fleet(settings: &Settings, fleet: &Fleet) -> Result<Exit> {
    if settings.json {
        print_json(fleet)?;
        return Ok(Exit::Success);
    }
    let (style, summary) = (Style::for_stdout(), &fleet.summary);
    println!("{} {}", style.bold(&terminal::one_line(&summary.title, 100)), summary.id);
    println!("{}", super::watch::line(fleet));
    let rows: Vec<Vec<String>> = fleet
        .rings
        .iter()
        .map(|ring| {
            let (counts, changes) = (&ring.counts, &ring.changes);
            vec![
                (ring.ring + 1).to_string(),
                terminal::one_line(&ring.name, 30),
                if ring.is_open { "open" } else { "waits" }.to_owned(),
                counts.targets.to_string(),
                counts.planned.to_string(),
                counts.running.to_string(),
                (counts.succeeded + counts.skipped).to_string(),
                counts.failed.to_string(),
                format!(
                    "{}/{}",
                    changes.approved + changes.merged,
                    changes.open
                        + changes.sent_back
                        + changes.approved
                        + changes.merged
                        + changes.closed
                ),
                terminal::one_line(&ring.unmet.join("; "), 80),
            ]
        })
        .collect();
    let head = [
        "ring", "goes to", "", "targets", "planned", "running", "well", "failed", "reviewed",
        "lacks",
    ];
    terminal::table(&head, &rows);
    for failures in &fleet.failures {
        let what = style.dim(&format!("{} ({})", failures.what, failures.trouble));
        println!("  {} {} {what}", failures.targets, terminal::one_line(&failures.kind, 60));
    }
    for rule in &fleet.stop_rules {
        let stops = rule.stops_at.map(|at| format!(", stops at {at}")).unwrap_or_default();
        println!("  {} {} of {}{stops}", style.dim(&rule.rule), rule.bad, rule.of);
    }
    if fleet.spent.tokens > 0 {
        let limit = fleet.spent.tokens_limit.map(|limit| format!(" of {limit}"));
        println!("  {} tokens{}", fleet.spent.tokens, limit.unwrap_or_default());
    }
    for operation in &fleet.operations {
        let failed = operation.failures.len();
        println!(
            "  {} {} of {} through, {failed} badly",
            operation.what, operation.through, operation.of
        );
    }
    for happened in fleet.history.iter().take(10) {
        let ago = terminal::span(now().as_micros() - happened.at);
        let by = terminal::one_line(&happened.by.name, 40);
        println!("  {ago} {} {}", terminal::one_line(&happened.what, 100), style.dim(&by));
    }
    println!("{}", style.dim(&fleet.url));
    Ok(Exit::Success)
}

pub(super) fn targets(settings: &Settings, page: &Page<Target>) -> Result<Exit> {
    if settings.json {
        print_json(page)?;
        return Ok(Exit::Success);
    }
    let rows: Vec<Vec<String>> = page
        .items
        .iter()
        .map(|target| {
            let pull_request =
                target.pull_request.map(|number| format!("{}#{number}", target.repository));
            vec![
                target.target.to_string(),
                (target.ring + 1).to_string(),
                terminal::one_line(&target.repository, 40),
                target.state.clone(),
                pull_request.unwrap_or_default(),
                target.change.clone().unwrap_or_default(),
                target.trouble.clone().unwrap_or_default(),
                terminal::one_line(target.reason.as_deref().unwrap_or_default(), 60),
            ]
        })
        .collect();
    let head = ["target", "ring", "project", "state", "change", "", "trouble", "reason"];
    terminal::table(&head, &rows);
    more(page.next.as_deref());
    Ok(Exit::Success)
}

pub(super) fn clusters(settings: &Settings, clusters: &[Cluster]) -> Result<Exit> {
    if settings.json {
        print_json(&clusters)?;
        return Ok(Exit::Success);
    }
    if clusters.is_empty() {
        println!("There are no changes yet.");
        return Ok(Exit::Success);
    }
    for cluster in clusters {
        print(cluster);
    }
    Ok(Exit::Success)
}

pub(super) fn cluster(settings: &Settings, cluster: &Cluster) -> Result<Exit> {
    if settings.json {
        print_json(cluster)?;
        return Ok(Exit::Success);
    }
    print(cluster);
    let list = |name: &str, changes: &mut dyn Iterator<Item = &ChangeRef>| {
        let changes: Vec<String> = changes.map(reference).collect();
        println!("  {name}: {}", changes.join(", "));
    };
    list("look at", &mut cluster.sample.iter());
    list("all", &mut cluster.members.iter().map(|member| &member.change));
    Ok(Exit::Success)
}

fn print(cluster: &Cluster) {
    let (style, stands) = (Style::for_stdout(), &cluster.stands);
    println!(
        "{} {} changes in {} variants, {} open, {} approved, {} merged",
        style.bold(&terminal::one_line(&cluster.id, 70)),
        cluster.changes,
        cluster.variants,
        stands.open + stands.sent_back,
        stands.approved,
        stands.merged,
    );
    println!("  like {}", reference(&cluster.exemplar));
    for spread in &cluster.spread {
        println!("  {}", style.dim(&terminal::one_line(spread, 120)));
    }
    for outlier in &cluster.outliers {
        let why = terminal::one_line(&outlier.why.join("; "), 120);
        println!("  odd: {} (target {}): {why}", reference(&outlier.change), outlier.change.target);
    }
}

fn reference(change: &ChangeRef) -> String {
    format!("{}#{}", terminal::one_line(&change.repository, 64), change.pull_request)
}

fn more(next: Option<&str>) {
    if let Some(next) = next {
        let more = format!("more: the same with --cursor {next}");
        println!("{}", Style::for_stdout().dim(&more));
    }
}
