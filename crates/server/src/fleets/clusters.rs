//! What the changes of a fleet have in common. Each diff is read once for each head and what was read is kept;
//! clusters are found again when a head or a split has changed, and keep their names.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use windlass_git::diff::Options;
use windlass_review::{self as review, Cluster, Summary, split::Split};
use windlass_run::ProjectId;
use windlass_store::fleets::{ChangeOf, Clusters as Kept, FleetRow};

use crate::{
    local::{self, pulls},
    problem::Problem,
    state::AppState,
    views,
};

/// How many diffs are read side by side.
const SIDE_BY_SIDE: usize = 4;

/// How many summaries are kept in one transaction.
const AT_ONCE: usize = 100;

/// The clusters of a fleet and the changes in them.
pub(crate) struct Found {
    /// The largest first. The ids of their changes are those of [`id_of`].
    pub(crate) clusters: Vec<Cluster>,
    /// The changes, by that id. Closed ones are left out.
    pub(crate) changes: HashMap<String, ChangeOf>,
    /// What was split off.
    pub(crate) splits: Vec<Split>,
}

/// Finds them, or what was found before if nothing has changed.
///
/// # Errors
/// Git's and the store's failures.
pub(crate) async fn find(app: &AppState, fleet: &FleetRow) -> Result<Found, Problem> {
    let mut changes = app.store().changes_of(fleet).await?;
    changes.retain(|change| change.review != "closed");
    let kept = app.store().clusters(fleet).await?;
    let splits: Vec<Split> = match &kept {
        Some(kept) => serde_json::from_value(kept.splits.clone()).map_err(unreadable)?,
        None => Vec::new(),
    };
    let digest = digest(&changes, &splits)?;
    if let Some(kept) = kept.filter(|kept| kept.digest == digest) {
        let clusters = serde_json::from_value(kept.clusters).map_err(unreadable)?;
        return Ok(Found { clusters, changes: by_id(changes), splits });
    }
    read(app, fleet, &mut changes).await?;
    let clusters = put_together(&changes, &splits)?;
    let assigned = assigned(&changes, &clusters);
    let keep = Kept {
        splits: serde_json::to_value(&splits).map_err(unreadable)?,
        clusters: serde_json::to_value(&clusters).map_err(unreadable)?,
        digest,
        at: app.now(),
    };
    app.store().keep_clusters(fleet, keep, assigned).await?;
    Ok(Found { clusters, changes: by_id(changes), splits })
}

/// The id of a target's change. Ids are compared as text: this keeps them in the order of numbers.
pub(crate) fn id_of(ordinal: u32) -> String {
    format!("{ordinal:06}")
}

fn unreadable(error: serde_json::Error) -> Problem {
    Problem::internal("read what a fleet's changes have in common", error)
}

fn by_id(changes: Vec<ChangeOf>) -> HashMap<String, ChangeOf> {
    changes.into_iter().map(|change| (id_of(change.ordinal), change)).collect()
}

/// Of what clusters are found.
fn digest(changes: &[ChangeOf], splits: &[Split]) -> Result<String, Problem> {
    let mut hash = Sha256::new();
    for change in changes {
        hash.update(format!("{} {}\n", change.ordinal, change.head_commit));
    }
    hash.update(serde_json::to_string(splits).map_err(unreadable)?);
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Reads the diffs that were not read yet.
async fn read(app: &AppState, fleet: &FleetRow, changes: &mut [ChangeOf]) -> Result<(), Problem> {
    let mut unread: Vec<&mut ChangeOf> =
        changes.iter_mut().filter(|change| change.summary.is_none()).collect();
    for chunk in unread.chunks_mut(AT_ONCE) {
        let mut reading = Vec::with_capacity(chunk.len());
        for change in chunk.iter() {
            reading.push(summary(app, fleet, change.project_id.clone(), change.pull_number));
        }
        let summaries: Vec<Result<String, Problem>> =
            stream::iter(reading).buffered(SIDE_BY_SIDE).collect().await;
        let mut keep = Vec::with_capacity(chunk.len());
        for (change, summary) in chunk.iter_mut().zip(summaries) {
            let summary = summary?;
            keep.push((change.project_id.clone(), change.head_commit.clone(), summary.clone()));
            change.summary = Some(summary);
        }
        app.store().keep_summaries(keep).await?;
    }
    Ok(())
}

async fn summary(
    app: &AppState,
    fleet: &FleetRow,
    project_id: ProjectId,
    number: u64,
) -> Result<String, Problem> {
    let row = app.store().pull(&fleet.organisation_id, &project_id, number).await?;
    let state = pulls::state(&row.columns)?;
    let repository = local::repository(app, &project_id)?;
    let diff = repository.diff(&state.base_commit, &state.head_commit, &Options::default()).await?;
    let summary = review::summary::read(&views::pull_requests::patch(&diff));
    serde_json::to_string(&summary).map_err(unreadable)
}

fn put_together(changes: &[ChangeOf], splits: &[Split]) -> Result<Vec<Cluster>, Problem> {
    let mut read: Vec<(String, Summary)> = Vec::with_capacity(changes.len());
    for change in changes {
        if let Some(summary) = &change.summary {
            read.push((id_of(change.ordinal), serde_json::from_str(summary).map_err(unreadable)?));
        }
    }
    let named: Vec<review::Change<'_>> =
        read.iter().map(|(id, summary)| review::Change { id, summary }).collect();
    let before: BTreeMap<String, String> = changes
        .iter()
        .filter_map(|change| Some((id_of(change.ordinal), change.cluster.clone()?)))
        .collect();
    Ok(review::cluster(&named, splits).named_as_before(&before).clusters)
}

/// The targets whose cluster is another one now.
fn assigned(changes: &[ChangeOf], clusters: &[Cluster]) -> Vec<(u32, String)> {
    let mut now: HashMap<&str, &str> = HashMap::new();
    for cluster in clusters {
        now.extend(cluster.members.iter().map(|member| (member.id.as_str(), cluster.id.as_str())));
    }
    let of = |change: &ChangeOf| now.get(id_of(change.ordinal).as_str()).copied();
    let moved = changes
        .iter()
        .filter(|change| of(change).is_some_and(|id| change.cluster.as_deref() != Some(id)));
    moved.filter_map(|change| Some((change.ordinal, of(change)?.to_owned()))).collect()
}
