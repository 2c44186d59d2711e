//! Automations as code: the files of a project are put in force as they are at its default branch, and
//! stay the truth from then on: each push is followed. Only projects whose repository is kept here can be
//! read; others hand their files in.

use windlass_git::{RefName, RepoPath};
use windlass_policy::permission::Action;
use windlass_run::event::Event;
use windlass_store::projects::Project;
use windlass_wire::api::automation::{
    AutomationFile, AutomationPlan, AutomationSource, SyncAutomations,
};

use super::change::{self, Of, Whose};
use crate::{
    auth::Principal,
    local,
    problem::{Code, Problem},
    state::AppState,
    triggers, views,
};

/// Where a repository has its automations.
const FOLDER: &str = ".windlass/automations";

/// What is not well if the automation files of a project could not be followed. The subject is its name.
const REFUSED: &str = "automations-not-followed";

/// The most files that are read of one project.
const MOST: usize = 2_000;

/// Puts the files of a project in force, or says what that would do.
///
/// # Errors
/// A project that can't be read; files that are refused; the store's failures.
pub(crate) async fn sync(
    app: &AppState,
    principal: &Principal,
    asked: SyncAutomations,
) -> Result<AutomationPlan, Problem> {
    let project = views::projects::find(app, principal, &asked.project).await?;
    put(app, &principal.into(), project, asked.plan).await
}

/// As [`sync`], in anybody's name.
async fn put(
    app: &AppState,
    whose: &Whose,
    project: Project,
    only_plan: bool,
) -> Result<AutomationPlan, Problem> {
    let (commit, files) = files(app, &project).await?;
    let of = Of::Project { project_id: project.id.clone(), commit: commit.clone() };
    let mut planned = change::planned(app, whose, &files, true, &of).await?;
    planned.plan.source = Some(AutomationSource { project: project.name, commit: commit.clone() });
    if only_plan {
        return Ok(planned.plan);
    }
    change::put(app, whose, planned, Some((project.id, commit))).await
}

/// Follows a push, if it moved the default branch of a project whose files are the truth. What is refused
/// changes nothing, and is a notice until a push is followed again.
///
/// # Errors
/// What may be over later: the store's failures.
pub(crate) async fn pushed(app: &AppState, event: &Event) -> Result<(), Problem> {
    let is_default = event.data["push"]["default_branch"].as_bool() == Some(true);
    let Some(project_id) = event.project_id.as_ref().filter(|_| is_default) else {
        return Ok(());
    };
    let organisation_id = app.organisation_id();
    let sources = app.store().automation_sources(organisation_id).await?;
    let Some(source) = sources.into_iter().find(|source| source.project_id == *project_id) else {
        return Ok(());
    };
    let project = app.store().project(organisation_id, project_id).await?;
    let name = project.name.clone();
    let followed = match triggers::whose(app, &source.by, None, Action::ManageAutomation).await? {
        Ok(by) => {
            let whose = Whose { by, organisation_id: organisation_id.clone() };
            put(app, &whose, project, false).await.map(drop)
        }
        Err(why) => Err(Problem::new(Code::Forbidden, why)),
    };
    match followed {
        Ok(()) => app.notices().resolve(app, REFUSED, &name).await,
        Err(problem) if problem.code.status() >= 500 => Err(problem),
        Err(problem) => {
            let text = format!("The automations of {name} are not followed: {problem}");
            app.notices().raise(app, REFUSED, &name, text).await
        }
    }
}

/// Ends that the files of a project are the truth. What is in force stays.
///
/// # Errors
/// They were not; the store's failures.
pub(crate) async fn end(
    app: &AppState,
    principal: &Principal,
    project: &str,
) -> Result<(), Problem> {
    let project = views::projects::find(app, principal, project).await?;
    let (by, organisation_id) = (principal.by(), principal.organisation_id.clone());
    let ended =
        app.store().end_automation_source(by, organisation_id, project.id, app.now()).await?;
    match ended {
        true => Ok(()),
        false => Err(Problem::new(
            Code::Conflict,
            format!("no automations are synced from {}", project.name),
        )),
    }
}

/// What a sync of every source would change: nothing, if nobody touched what is in force by hand.
///
/// # Errors
/// A project that can't be read; the store's failures.
pub(crate) async fn drift(
    app: &AppState,
    principal: &Principal,
) -> Result<Vec<AutomationPlan>, Problem> {
    let mut plans = Vec::new();
    for source in app.store().automation_sources(&principal.organisation_id).await? {
        let project = source.project_id.to_string();
        plans.push(sync(app, principal, SyncAutomations { project, plan: true }).await?);
    }
    Ok(plans)
}

/// The automation files of a project at the newest commit of its default branch.
async fn files(
    app: &AppState,
    project: &Project,
) -> Result<(String, Vec<AutomationFile>), Problem> {
    if project.forge != local::FORGE {
        let why = format!(
            "this server keeps no copy of {}: apply its files from a checkout, with \
             `windlass automation apply`",
            project.name
        );
        return Err(Problem::new(Code::Conflict, why).at("project"));
    }
    let refreshed = local::refresh(app, project).await?;
    let missing =
        || Problem::new(Code::MissingBranch, "the repository's HEAD names no branch").at("project");
    let branch = RefName::branch(&refreshed.default_branch.ok_or_else(missing)?)?;
    let repository = local::repository(app, &project.id)?;
    let commit = repository.reference(&branch).await?.ok_or_else(missing)?;
    let folder = RepoPath::parse(FOLDER)?;
    let mut files = Vec::new();
    for entry in repository.list(&commit, Some(&folder), true).await? {
        let path = entry.path.to_string();
        let is_ours = path.strip_prefix(FOLDER).is_some_and(|name| name.rfind('/') == Some(0));
        if !is_ours || !(path.ends_with(".yaml") || path.ends_with(".yml")) {
            continue;
        }
        if files.len() == MOST {
            let why = format!("{FOLDER} has more than {MOST} files: spread them over projects");
            return Err(Problem::new(Code::InvalidAutomation, why));
        }
        let limit = windlass_store::automations::LONGEST;
        let bytes = repository.read_file(&commit, &entry.path, limit).await?;
        let text = String::from_utf8(bytes).map_err(|_| {
            let why = format!("{path}: it is not UTF-8: save it as that");
            Problem::new(Code::InvalidAutomation, why)
        })?;
        files.push(AutomationFile { name: path, text });
    }
    Ok((commit.to_string(), files))
}
