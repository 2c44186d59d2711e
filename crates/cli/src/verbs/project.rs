//! `windlass project`: which repositories the server knows.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result, bail};
use windlass_run::{
    Duration, StepId,
    spec::{Action, Step},
};
use windlass_wire::api::{
    Page,
    project::{ChangeSettings, NewProject, Pool, Project, Source},
    readiness::Readiness,
    run::{NewRun, StartedRun},
};

use super::follow;

use crate::{
    arguments,
    client::Client,
    exit::Exit,
    settings::{Settings, read_secret},
    terminal,
};

/// How long a prebuild may take.
const PREBUILD: Duration = Duration::from_secs(3600);

pub(crate) async fn run(settings: &Settings, verb: arguments::Project) -> Result<Exit> {
    let verb = match verb {
        // This one starts a server if there is none.
        arguments::Project::Check(check) => return super::check::run(settings, check).await,
        other => other,
    };
    let client = Client::find(settings).await?;
    match verb {
        arguments::Project::Check(_) => {}
        arguments::Project::Add {
            source,
            name,
            branch,
            github_token_file,
            webhook_secret_file,
            api_url,
        } => {
            let new = NewProject {
                name,
                source: parse_source(&source, api_url)?,
                default_branch: branch,
                token: github_token_file.as_deref().map(read_secret).transpose()?,
                webhook_secret: webhook_secret_file.as_deref().map(read_secret).transpose()?,
            };
            let project: Project = client.post("/api/v1/projects", &new).await?;
            show(settings, &project)?;
        }
        arguments::Project::List => {
            let page: Page<Project> = client.query("/api/v1/projects", &[("limit", "200")]).await?;
            if settings.json {
                super::print_json(&page)?;
            } else {
                let rows = page.items.iter().map(|project| {
                    vec![
                        project.name.clone(),
                        project.default_branch.clone().unwrap_or_default(),
                        terminal::one_line(&place(&project.source), 80),
                    ]
                });
                terminal::table(&["project", "branch", "source"], &rows.collect::<Vec<_>>());
            }
        }
        arguments::Project::Show { project } => {
            let project: Project = client.get(&format!("/api/v1/projects/{project}")).await?;
            let latest = [("limit", "10")];
            let path = format!("/api/v1/projects/{}/readiness", project.id);
            let readiness: Page<Readiness> = client.query(&path, &latest).await?;
            let path = format!("/api/v1/projects/{}/pool", project.id);
            let pools: Vec<Pool> = client.get(&path).await?;
            if settings.json {
                let mut value = serde_json::to_value(&project)?;
                value["pool"] = serde_json::to_value(&pools)?;
                value["readiness"] = super::check::scores(&readiness.items);
                super::print_json(&value)?;
            } else {
                show(settings, &project)?;
                pools.iter().for_each(print_pool);
                super::check::print_scores(&readiness.items);
            }
        }
        arguments::Project::Prebuild { project, base, allow } => {
            return prebuild(settings, &client, project, base, allow).await;
        }
        arguments::Project::Set { project, wants } => {
            let hosts = wants.prebuild_allow;
            let hosts = match hosts.as_slice() {
                [] => None,
                [none] if none == "none" => Some(Vec::new()),
                _ => Some(hosts),
            };
            let change = ChangeSettings {
                prebuild_on_push: wants.prebuild_on_push,
                prebuild_every_minutes: wants.prebuild_every,
                prebuild_network: hosts,
                idle_minutes: wants.idle,
                pool_min: wants.pool_min,
                pool_max: wants.pool_max,
                class: wants.class,
                archive_days: wants.archive_after,
                labels: wants.labels.map(|labels| match labels.as_str() {
                    "none" => Vec::new(),
                    some => some.split(',').map(|label| label.trim().to_owned()).collect(),
                }),
            };
            let path = format!("/api/v1/projects/{project}");
            let project: Project = client.patch(&path, &change).await?;
            show(settings, &project)?;
        }
        arguments::Project::Remove { project, yes } => {
            if !yes && !confirmed(&format!("Remove {project} and its local pull requests?"))? {
                bail!("nothing was removed: say --yes, or answer y");
            }
            client.command(reqwest::Method::DELETE, &format!("/api/v1/projects/{project}")).await?;
        }
    }
    Ok(Exit::Success)
}

/// Starts a run that does nothing but have its environment made, and follows it to its end.
async fn prebuild(
    settings: &Settings,
    client: &Client,
    project: String,
    base: Option<String>,
    network: Vec<String>,
) -> Result<Exit> {
    let step = Step {
        timeout: PREBUILD,
        ..Step::new(StepId::parse("prebuild").context("a step's name")?, Action::run("true"))
    };
    let new = NewRun {
        project,
        task: None,
        steps: vec![step],
        title: Some("Prebuild".to_owned()),
        base,
        agent: None,
        limits: None,
        network,
        runs_on: Vec::new(),
        class: None,
        pull_request: false,
        plain_environment: false,
    };
    let started: StartedRun = client.post("/api/v1/runs", &new).await?;
    let job_id = started.job_ids.first().context("the run has no job")?;
    follow::to_the_end(settings, client, job_id.as_str()).await
}

/// What a person typed, as a source.
pub(crate) fn parse_source(text: &str, api_url: Option<String>) -> Result<Source> {
    if let Some(repository) = text.strip_prefix("github:") {
        return Ok(Source::Github { repository: repository.to_owned(), api_url });
    }
    let is_url = text.contains("://")
        || text.split_once(':').is_some_and(|(host, _)| {
            host.contains('@')
                || (host.contains('.') && !host.contains('/') && !host.starts_with('.'))
        });
    if is_url {
        return Ok(Source::Url { url: text.to_owned() });
    }
    let path = std::path::absolute(text).with_context(|| format!("failed to resolve {text}"))?;
    let path =
        path.canonicalize().with_context(|| format!("no repository at {}", path.display()))?;
    let Some(path) = path.to_str() else {
        bail!("{} isn't UTF-8: a project's path must be", path.display());
    };
    Ok(Source::Path { path: path.to_owned() })
}

fn show(settings: &Settings, project: &Project) -> Result<()> {
    if settings.json {
        return super::print_json(project);
    }
    println!("{}  {}", project.name, terminal::one_line(&place(&project.source), 100));
    println!("  clone: {}", project.clone_url);
    let wants = &project.settings;
    let mut prebuilds = Vec::new();
    if wants.prebuild_on_push {
        prebuilds.push("on push".to_owned());
    }
    prebuilds
        .extend(wants.prebuild_every_minutes.map(|minutes| format!("every {}", span(minutes))));
    if !prebuilds.is_empty() {
        println!("  prebuilds: {}", prebuilds.join(", "));
    }
    let idle = match wants.idle_minutes {
        None => "30m".to_owned(),
        Some(0) => "never".to_owned(),
        Some(minutes) => span(minutes),
    };
    println!("  idle environments are stopped after: {idle}");
    if !wants.labels.is_empty() {
        println!("  labels: {}", terminal::one_line(&wants.labels.join(", "), 200));
    }
    if let Some(days) = wants.archive_days {
        let after = if days == 0 { "never".to_owned() } else { format!("{days}d") };
        println!("  stopped environments are archived after: {after}");
    }
    if wants.pool_min.is_some() || wants.pool_max.is_some() {
        let max = wants.pool_max.map_or_else(|| "any".to_owned(), |max| max.to_string());
        println!("  environments ahead: at least {}, at most {max}", wants.pool_min.unwrap_or(0));
    }
    if let Some(class) = &wants.class {
        println!("  class: {class}");
    }
    for note in &project.notes {
        println!("  note: {}", terminal::harmless(note));
    }
    Ok(())
}

/// What a runner keeps ahead for the project.
fn print_pool(pool: &Pool) {
    let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
    let took = |micros: u64| terminal::span(i64::try_from(micros).unwrap_or(i64::MAX));
    println!(
        "  ahead on {}: {} ready of {} wanted, {} being made; at most {}",
        terminal::one_line(&pool.runner, 60),
        pool.ready,
        pool.wanted,
        pool.making,
        pool.most
    );
    if let (Some(gap), Some(refill)) = (pool.gap_micros, pool.refill_micros) {
        println!("    demand: one every {}, made in {}", took(gap), took(refill));
    }
    println!("    holds {} of memory, {} of disk", mib(pool.memory_bytes), mib(pool.disk_bytes));
    if !pool.starts.is_empty() {
        let last: Vec<String> = pool
            .starts
            .iter()
            .rev()
            .take(10)
            .map(|start| {
                format!("{}{}", took(start.micros), if start.hit { "" } else { " (missed)" })
            })
            .collect();
        println!(
            "    the pool had {} of the last {} starts: {}",
            pool.hits,
            pool.starts.len(),
            last.join(", ")
        );
    }
}

/// Minutes, as a person gives them.
fn span(minutes: u64) -> String {
    match minutes {
        days if days % (24 * 60) == 0 => format!("{}d", days / (24 * 60)),
        hours if hours % 60 == 0 => format!("{}h", hours / 60),
        minutes => format!("{minutes}m"),
    }
}

fn place(source: &Source) -> String {
    match source {
        Source::Path { path } => path.clone(),
        Source::Url { url } => url.clone(),
        Source::Github { repository, .. } => format!("github:{repository}"),
    }
}

fn confirmed(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    print!("{question} [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_path_a_url_or_a_github_repository() {
        let url = |text: &str| Source::Url { url: text.to_owned() };
        for text in ["https://example.org/a.git", "git@example.org:a/b.git", "example.org:a.git"] {
            assert_eq!(parse_source(text, None).expect("it is a URL"), url(text));
        }
        let github = Source::Github { repository: "acme/api".to_owned(), api_url: None };
        assert_eq!(parse_source("github:acme/api", None).expect("it is on GitHub"), github);
        assert!(parse_source("./surely/not/there", None).is_err());
    }
}
