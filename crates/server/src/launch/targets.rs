//! On what a run goes: the projects that an automation's `targets` name, or those that somebody named for it.
//! It is a snapshot: a project that is added or labelled later is in no run that was started before.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use windlass_run::{OrganisationId, ProjectId, automation::Automation, fleet};
use windlass_store::{fleets::MOST_TARGETS, projects::Project};

use crate::{
    local,
    problem::{Code, Problem},
    state::AppState,
    views,
};

/// How many projects are read at once.
const PAGE: u32 = 1_000;

/// More names than this are looked up by reading all projects.
const ONE_BY_ONE: usize = 20;

/// The label that says who reviews a project's changes.
const OWNER: &str = "owner=";

/// The projects that a run is for.
pub(crate) struct Chosen {
    /// Them, each once.
    pub(crate) projects: Vec<Project>,
    /// What they were chosen by, for people.
    pub(crate) selected: Value,
    /// Whether the run is a fleet: it has more than one target, or says how it is to go over them.
    pub(crate) is_fleet: bool,
}

/// Chooses. What is `named` stands in place of what the automation says, but for `except` and `most`. The project
/// of the event that starts it is `of_event`; for `from: trigger` there must be one, or a name.
///
/// # Errors
/// A project that is not there; none, or more than may be; the store's failures.
pub(crate) async fn choose(
    app: &AppState,
    organisation_id: &OrganisationId,
    automation: &Automation,
    named: &[String],
    of_event: Option<&ProjectId>,
) -> Result<Chosen, Problem> {
    let targets = &automation.targets;
    let names = if named.is_empty() { &targets.repositories[..] } else { named };
    let labels = targets.labels.as_ref().filter(|_| named.is_empty());
    let takes_event = named.is_empty() && (targets.from_trigger || targets.is_from_trigger());
    let of_event = of_event.filter(|_| takes_event).map(ToString::to_string);
    if names.is_empty() && labels.is_none() && of_event.is_none() {
        let why = "the file lists no repositories: say on which projects it is to run";
        return Err(Problem::new(Code::InvalidSpec, why).at("projects"));
    }
    let mut all_names: Vec<String> = of_event.into_iter().collect();
    all_names.extend_from_slice(names);
    let names = &all_names[..];
    let mut projects = match names.len() <= ONE_BY_ONE && labels.is_none() {
        true => one_by_one(app, organisation_id, names).await?,
        false => {
            let all = all(app, organisation_id).await?;
            let mut found = by_name(&all, names)?;
            if let Some(labels) = labels {
                let has_all = |project: &&Project| {
                    let own = self::labels(project);
                    labels.iter().all(|label| own.iter().any(|has| has == label))
                };
                found.extend(all.iter().filter(has_all).cloned());
            }
            found
        }
    };
    let mut seen = BTreeSet::new();
    projects.retain(|project| {
        let is_left_out = targets.except.iter().any(|glob| glob.fits(&project.name));
        !is_left_out && seen.insert(project.id.clone())
    });
    check_count(projects.len(), targets.most)?;
    let usual = fleet::Plan::default();
    let is_fleet = projects.len() > 1 || automation.rollout != usual || labels.is_some();
    let selected = json!({
        "named": names,
        "labels": labels,
        "except": targets.except,
        "most": targets.most,
    });
    Ok(Chosen { projects, selected, is_fleet })
}

fn check_count(count: usize, most: Option<u32>) -> Result<(), Problem> {
    let refuse = |why: String| Err(Problem::new(Code::InvalidSpec, why).at("projects"));
    if count == 0 {
        return refuse("no project is selected: nothing would be done".to_owned());
    }
    if let Some(most) = most.filter(|most| count > *most as usize) {
        return refuse(format!("{count} projects are selected, and `targets.most` is {most}"));
    }
    if count > MOST_TARGETS {
        return refuse(format!(
            "{count} projects are selected; a fleet has at most {MOST_TARGETS}"
        ));
    }
    Ok(())
}

async fn one_by_one(
    app: &AppState,
    organisation_id: &OrganisationId,
    names: &[String],
) -> Result<Vec<Project>, Problem> {
    let mut projects = Vec::with_capacity(names.len());
    for name in names {
        let found = match ProjectId::parse(name) {
            Ok(project_id) => app.store().project(organisation_id, &project_id).await,
            Err(_) => app.store().project_named(organisation_id, name).await,
        };
        match found {
            Ok(project) if project.archived_at.is_none() => projects.push(project),
            Ok(_) | Err(windlass_store::Error::NotFound { .. }) => return Err(missing(name)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(projects)
}

async fn all(app: &AppState, organisation_id: &OrganisationId) -> Result<Vec<Project>, Problem> {
    let mut all: Vec<Project> = Vec::new();
    loop {
        let after = all.last().map(|project| project.name.clone());
        let page = app.store().projects(organisation_id, after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

fn by_name(all: &[Project], names: &[String]) -> Result<Vec<Project>, Problem> {
    let mut known: BTreeMap<&str, &Project> = BTreeMap::new();
    for project in all {
        known.insert(project.name.as_str(), project);
        known.insert(project.id.as_str(), project);
    }
    let find =
        |name: &String| known.get(name.as_str()).copied().cloned().ok_or_else(|| missing(name));
    names.iter().map(find).collect()
}

fn missing(name: &str) -> Problem {
    let name: String = name.chars().take(64).collect();
    Problem::not_found(format!("project {name}"))
}

/// What a project can be chosen by.
pub(crate) fn labels(project: &Project) -> Vec<String> {
    views::projects::settings(project).labels
}

/// Who reviews a project's changes, where its labels say that.
pub(super) fn owner(project: &Project) -> Option<String> {
    labels(project).iter().find_map(|label| label.strip_prefix(OWNER)).map(str::to_owned)
}

/// The host of a project's forge, as limits name it.
pub(crate) fn host(project: &Project) -> String {
    if project.forge == local::FORGE {
        return local::FORGE.to_owned();
    }
    let address = project.source.split_once("://").map_or(project.source.as_str(), |it| it.1);
    address.split('/').next().unwrap_or_default().to_owned()
}
