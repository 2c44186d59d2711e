//! What can be asked of a fleet: to wait, go on, stop, begin the next ring, try again; and what can be done to
//! many of its changes at once.

use std::collections::{BTreeMap, BTreeSet};

use windlass_review::split::Split;
use windlass_run::{
    RunId,
    fleet::{Command, Trouble, What, Which},
};
use windlass_store::fleets::{ChangeOf, FleetRow, NewOperation};
use windlass_wire::api::fleet::{Begun, OperateOn, RetryFleet, SplitOff};

use crate::{
    auth::Principal,
    fleets::{Detail, clusters},
    problem::{Code, Problem},
    state::AppState,
    views,
};

/// The longest name of a cluster that somebody splits off, in bytes.
const LONGEST_NAME: usize = 64;

/// Begins nothing more until somebody says so.
///
/// # Errors
/// It is not there, or over.
pub async fn pause(
    app: &AppState,
    principal: &Principal,
    run_id: &RunId,
    reason: String,
) -> Result<(), Problem> {
    let reason = or_else(reason, "somebody asked it to wait");
    give(app, principal, run_id, Command::Pause { by: principal.by(), reason }).await
}

/// Goes on.
///
/// # Errors
/// It is not there, or over.
pub async fn resume(app: &AppState, principal: &Principal, run_id: &RunId) -> Result<(), Problem> {
    give(app, principal, run_id, Command::Resume { by: principal.by() }).await
}

/// Stops for good. What runs is told to stop.
///
/// # Errors
/// It is not there, or over.
pub async fn cancel(
    app: &AppState,
    principal: &Principal,
    run_id: &RunId,
    reason: String,
) -> Result<(), Problem> {
    let reason = or_else(reason, "somebody stopped it");
    give(app, principal, run_id, Command::Cancel { by: principal.by(), reason }).await
}

/// Opens the next ring though something is unmet.
///
/// # Errors
/// It is not there, held or over, the last ring is open, or no reason is given.
pub async fn advance(
    app: &AppState,
    principal: &Principal,
    run_id: &RunId,
    reason: String,
) -> Result<(), Problem> {
    if reason.trim().is_empty() {
        let why = "say why the next ring is opened by hand";
        return Err(Problem::new(Code::BadRequest, why).at("reason"));
    }
    give(app, principal, run_id, Command::Advance { by: principal.by(), reason }).await
}

/// Plans failed targets again.
///
/// # Errors
/// It is not there or was cancelled, or none failed like that.
pub async fn retry(
    app: &AppState,
    principal: &Principal,
    run_id: &RunId,
    retry: RetryFleet,
) -> Result<(), Problem> {
    let which = match (retry.kind, retry.trouble) {
        (None, None) => Which::All,
        (Some(kind), None) => Which::Kind(kind),
        (None, Some(name)) => Which::Trouble(trouble(&name)?),
        (Some(_), Some(_)) => {
            let why = "give either a kind or a trouble";
            return Err(Problem::new(Code::BadRequest, why).at("kind"));
        }
    };
    let instruction = retry.instruction.filter(|text| !text.trim().is_empty());
    let (by, organisation_id) = (principal.by(), principal.organisation_id.clone());
    let retried =
        app.store().retry_fleet(by, organisation_id, run_id.clone(), which, instruction, app.now());
    retried.await?;
    Ok(())
}

/// The trouble of this name.
pub(crate) fn trouble(name: &str) -> Result<Trouble, Problem> {
    Trouble::ALL.into_iter().find(|trouble| trouble.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Trouble::ALL.iter().map(|trouble| trouble.name()).collect();
        Problem::new(Code::BadRequest, format!("a trouble is one of {}", names.join(", ")))
            .at("trouble")
    })
}

/// Begins to do something to many changes: those that it can be done to, of a cluster, of some targets, or all.
/// An approval names a cluster or targets: nobody approves what they have not looked at.
///
/// # Errors
/// It, the cluster or a target is not there; nothing is there to do it to.
pub async fn operate(
    app: &AppState,
    principal: &Principal,
    run_id: &RunId,
    what: What,
    on: OperateOn,
) -> Result<Begun, Problem> {
    let fleet = views::fleets::find(app, principal, run_id).await?;
    if what == What::Approve && on.cluster.is_none() && on.targets.is_empty() {
        let why = "say which: a cluster that was looked at, or targets";
        return Err(Problem::new(Code::BadRequest, why).at("cluster"));
    }
    if what == What::SendBack && on.body.trim().is_empty() {
        let why = "say what is wrong with the changes";
        return Err(Problem::new(Code::BadRequest, why).at("body"));
    }
    let changes = chosen(app, &fleet, &on).await?;
    let can_be = |change: &&ChangeOf| match what {
        What::Approve => matches!(change.review.as_str(), "open" | "sent_back"),
        What::SendBack => matches!(change.review.as_str(), "open" | "approved"),
        What::Merge => change.review == "approved",
        What::Close => matches!(change.review.as_str(), "open" | "sent_back" | "approved"),
        What::Rebase | What::Regenerate => false,
    };
    let meant: Vec<&ChangeOf> = changes.iter().filter(can_be).collect();
    let detail = Detail {
        body: on.body,
        method: on.method,
        heads: meant.iter().map(|change| (change.ordinal, change.head_commit.clone())).collect(),
    };
    let new = NewOperation {
        what,
        detail: serde_json::to_value(&detail)
            .map_err(|error| Problem::internal("write an operation down", error))?,
        todo: meant.iter().map(|change| change.ordinal).collect(),
    };
    let of = u32::try_from(new.todo.len()).unwrap_or(u32::MAX);
    let (by, organisation_id) = (principal.by(), principal.organisation_id.clone());
    let begun = app.store().begin_operation(by, organisation_id, run_id.clone(), new, app.now());
    Ok(Begun { operation: begun.await?, of })
}

/// The changes that are meant, whatever can be done to them.
async fn chosen(
    app: &AppState,
    fleet: &FleetRow,
    on: &OperateOn,
) -> Result<Vec<ChangeOf>, Problem> {
    let mut changes = match &on.cluster {
        None => app.store().changes_of(fleet).await?,
        Some(id) => {
            let mut found = clusters::find(app, fleet).await?;
            let cluster = found.clusters.iter().find(|cluster| cluster.id == *id);
            let cluster =
                cluster.ok_or_else(|| Problem::not_found(format!("cluster {id}")).at("cluster"))?;
            let odd: BTreeSet<&str> =
                cluster.outliers.iter().map(|outlier| outlier.id.as_str()).collect();
            let meant = cluster.members.iter().map(|member| member.id.as_str());
            let meant = meant.filter(|id| on.outliers || !odd.contains(id));
            let mut meant: Vec<ChangeOf> =
                meant.filter_map(|id| found.changes.remove(id)).collect();
            meant.sort_by_key(|change| change.ordinal);
            meant
        }
    };
    if !on.targets.is_empty() {
        let known: BTreeMap<u32, usize> =
            changes.iter().enumerate().map(|(n, change)| (change.ordinal, n)).collect();
        if let Some(missing) = on.targets.iter().find(|target| !known.contains_key(target)) {
            let what = format!("change of target {missing} among these");
            return Err(Problem::not_found(what).at("targets"));
        }
        changes.retain(|change| on.targets.contains(&change.ordinal));
    }
    Ok(changes)
}

/// Splits changes off their clusters, to be looked at as a cluster of their own.
///
/// # Errors
/// A name that does not hold or is taken, a target without a change.
pub async fn split(
    app: &AppState,
    principal: &Principal,
    run_id: &RunId,
    asked: SplitOff,
) -> Result<(), Problem> {
    let fleet = views::fleets::find(app, principal, run_id).await?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if asked.name.is_empty() || asked.name.len() > LONGEST_NAME || !asked.name.chars().all(plain) {
        let why = "a cluster's name has 1 to 64 letters, digits, `-`, `_` and `.`";
        return Err(Problem::new(Code::BadRequest, why).at("name"));
    }
    let mut found = clusters::find(app, &fleet).await?;
    if found.clusters.iter().any(|cluster| cluster.id == asked.name) {
        let why = format!("there is a cluster {} already", asked.name);
        return Err(Problem::new(Code::NameTaken, why).at("name"));
    }
    let changes: BTreeSet<String> = asked.targets.iter().copied().map(clusters::id_of).collect();
    if changes.is_empty() {
        return Err(Problem::new(Code::BadRequest, "name at least one target").at("targets"));
    }
    if let Some(missing) = changes.iter().find(|id| !found.changes.contains_key(*id)) {
        let what = format!("change of target {}", missing.trim_start_matches('0'));
        return Err(Problem::not_found(what).at("targets"));
    }
    found.splits.push(Split { id: asked.name, changes });
    let splits = serde_json::to_value(&found.splits)
        .map_err(|error| Problem::internal("keep what was split off", error))?;
    let (by, organisation_id) = (principal.by(), principal.organisation_id.clone());
    app.store().keep_splits(by, organisation_id, run_id.clone(), splits, app.now()).await?;
    Ok(())
}

async fn give(
    app: &AppState,
    principal: &Principal,
    run_id: &RunId,
    command: Command,
) -> Result<(), Problem> {
    let (by, organisation_id) = (principal.by(), principal.organisation_id.clone());
    app.store().command_fleet(by, organisation_id, run_id.clone(), command, app.now()).await?;
    Ok(())
}

fn or_else(reason: String, otherwise: &str) -> String {
    if reason.trim().is_empty() { otherwise.to_owned() } else { reason }
}
