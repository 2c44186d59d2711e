//! Automations: what is in force, how it goes, and what it was before.

use windlass_run::{OrganisationId, automation::Automation};
use windlass_store::{
    automations::{Automation as Stored, AutomationRun as Run, Origin},
    events::Slice,
};
use windlass_wire::api::{
    Page, PageQuery,
    automation::{
        AutomationDetail, AutomationHistory, AutomationRun, AutomationSummary, AutomationVersion,
    },
};

use super::{cursor_number, page_size, standing_name};
use crate::{auth::Principal, problem::Problem, state::AppState};

/// How many runs one automation shows.
const RUNS: u32 = 20;

/// How many coming starts one automation shows.
const FIRES: usize = 5;

/// Automations by name.
///
/// # Errors
/// A limit that can't be read; the store's failures.
pub async fn list(
    app: &AppState,
    principal: &Principal,
    query: PageQuery,
) -> Result<Page<AutomationSummary>, Problem> {
    let limit = page_size(query.limit)?;
    let organisation_id = &principal.organisation_id;
    let rows =
        app.store().automations_page(organisation_id, query.cursor.as_deref(), limit).await?;
    let next = (rows.len() == limit as usize).then(|| rows.last().map(|row| row.name.clone()));
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        items.push(summary(app, principal, row).await?);
    }
    Ok(Page { items, next: next.flatten() })
}

/// One automation.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn one(
    app: &AppState,
    principal: &Principal,
    name: &str,
) -> Result<AutomationDetail, Problem> {
    let organisation_id = &principal.organisation_id;
    let stored = app.store().automation(organisation_id, name).await?;
    let slice = Slice { before: None, limit: RUNS };
    let runs = app.store().runs_of_automation(organisation_id, name, slice).await?;
    let parsed = parsed(&stored).ok();
    let fires = parsed.as_ref().map(|automation| automation.starts_after(app.now(), FIRES));
    let inputs = parsed
        .as_ref()
        .and_then(|automation| serde_json::to_value(&automation.inputs).ok()?.as_object().cloned());
    Ok(AutomationDetail {
        summary: summary(app, principal, &stored).await?,
        applied_by: app.who(&stored.applied.actor).await,
        fires: fires.unwrap_or_default().iter().map(|time| time.as_micros()).collect(),
        inputs: inputs.unwrap_or_default(),
        runs: runs.iter().map(run).collect(),
        file: stored.current.file,
        text: stored.current.text,
    })
}

/// The versions of an automation, newest first.
///
/// # Errors
/// A query that can't be read; there never was such an automation; the store's failures.
pub async fn versions(
    app: &AppState,
    principal: &Principal,
    name: &str,
    query: PageQuery,
) -> Result<Page<AutomationVersion>, Problem> {
    let limit = page_size(query.limit)?;
    let slice = Slice { before: cursor_number(query.cursor.as_deref())?, limit };
    let organisation_id = &principal.organisation_id;
    let rows = app.store().automation_versions(organisation_id, name, slice).await?;
    if rows.is_empty() && slice.before.is_none() {
        return Err(Problem::not_found(format!("automation {name}")));
    }
    let next =
        (rows.len() == limit as usize).then(|| rows.last().map(|row| row.version.to_string()));
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(AutomationVersion {
            origin: origin(app, principal, &row.origin).await,
            by: app.who(&row.by.actor).await,
            version: row.version,
            file: row.file,
            text: row.text,
            digest: row.digest,
            at: row.at.as_micros(),
        });
    }
    Ok(Page { items, next: next.flatten() })
}

/// What the last jobs of an automation used; absent if none ended.
pub(crate) async fn history(
    app: &AppState,
    organisation_id: &OrganisationId,
    name: &str,
) -> Result<Option<AutomationHistory>, Problem> {
    let history = app.store().automation_history(organisation_id, name).await?;
    Ok((history.jobs > 0).then(|| AutomationHistory {
        jobs: history.jobs,
        succeeded: history.succeeded,
        skipped: history.skipped,
        tokens_per_job: history.tokens / history.jobs,
        micros_per_job: history.micros / history.jobs,
    }))
}

/// The file in force, read again. One that another version of Windlass took may be refused by this one.
fn parsed(stored: &Stored) -> Result<Automation, String> {
    Automation::read(&stored.current.file, &stored.current.text)
        .map_err(|refused| refused.to_string())
}

async fn summary(
    app: &AppState,
    principal: &Principal,
    stored: &Stored,
) -> Result<AutomationSummary, Problem> {
    let organisation_id = &principal.organisation_id;
    let slice = Slice { before: None, limit: 1 };
    let newest = app.store().runs_of_automation(organisation_id, &stored.name, slice).await?;
    let last_run = newest.first().map(run);
    let project = match stored.current.origin.project_id() {
        Some(project_id) => Some(app.project_name(organisation_id, project_id).await),
        None => None,
    };
    let parsed = parsed(stored);
    let failing =
        last_run.as_ref().is_some_and(|run| matches!(run.state.as_str(), "failed" | "gave_up"));
    let (health, reason) = match (&parsed, &stored.paused) {
        (Err(refused), _) => ("unreadable", Some(refused.clone())),
        (Ok(_), Some(pause)) => ("paused", Some(pause.why.clone())),
        (Ok(automation), None) if !automation.enabled => ("off", None),
        (Ok(_), None) if failing => ("failing", None),
        (Ok(_), None) => ("ok", None),
    };
    let starts = health == "ok" || health == "failing";
    let (description, triggers, targets, next_at) = match &parsed {
        Ok(automation) => (
            automation.description.clone(),
            automation.triggers.iter().map(|one| one.on.to_string()).collect(),
            automation.targets.to_string(),
            automation.starts_after(app.now(), 1).first().map(|time| time.as_micros()),
        ),
        Err(_) => (None, Vec::new(), String::new(), None),
    };
    Ok(AutomationSummary {
        name: stored.name.clone(),
        description,
        version: stored.current.version,
        health: health.to_owned(),
        reason,
        triggers,
        targets,
        next_at: next_at.filter(|_| starts),
        last_run,
        history: history(app, organisation_id, &stored.name).await?,
        project,
        changed_at: stored.changed_at.as_micros(),
    })
}

fn run(row: &Run) -> AutomationRun {
    AutomationRun {
        run_id: row.run.id.clone(),
        state: standing_name(row.run.standing).to_owned(),
        version: row.pinned.version,
        jobs: row.run.tally.jobs,
        created_at: row.run.created_at.as_micros(),
        ended_at: row.run.ended_at.map(windlass_run::Time::as_micros),
    }
}

async fn origin(app: &AppState, principal: &Principal, origin: &Origin) -> String {
    match origin {
        Origin::Hand => "by hand".to_owned(),
        Origin::Project { project_id, commit } => {
            let project = app.project_name(&principal.organisation_id, project_id).await;
            format!("project {project} at {}", commit.get(..10).unwrap_or(commit))
        }
        Origin::Version { version, .. } => format!("version {version}"),
    }
}
