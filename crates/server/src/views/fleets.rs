//! Fleets, as lists and one by one, with their targets and clusters.

use std::collections::{BTreeMap, HashMap};

use windlass_review::{Cluster as FoundCluster, sample};
use windlass_run::{
    RunId,
    fleet::{self, Event, Phase, State, bound, plan},
};
use windlass_store::fleets::{ChangeOf, FleetEvent, FleetRow, TargetFilter, TargetRow};
use windlass_wire::api::{
    Page, PageQuery,
    fleet::{
        ChangeRef, Changes, Cluster, Counts, Failures, Fleet, FleetSummary, Happened, Hold, Member,
        Operation, OperationFailure, Outlier, Point, Ring, Spent, StopRule, Target, TargetsQuery,
    },
};

use super::{cursor_number, micros, page_size};
use crate::{
    auth::Principal,
    fleets::clusters::{self, Found},
    links,
    problem::Problem,
    state::AppState,
};

/// How many entries of its history and how many operations a fleet shows.
const SHOWN: u32 = 50;

/// What a sample is to show: that fewer than this part are bad,
const BAD: f64 = 0.05;
/// with this confidence.
const CONFIDENCE: f64 = 0.95;

/// Fleets, newest first.
///
/// # Errors
/// A limit or cursor that can't be read; the store's failures.
pub async fn list(
    app: &AppState,
    principal: &Principal,
    query: PageQuery,
) -> Result<Page<FleetSummary>, Problem> {
    let limit = page_size(query.limit)?;
    let before = cursor_number(query.cursor.as_deref())?;
    let rows = app.store().fleets(&principal.organisation_id, before, limit).await?;
    let next =
        (rows.len() == limit as usize).then(|| rows.last().map(|row| row.number.to_string()));
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        items.push(summary(app, row).await);
    }
    Ok(Page { items, next: next.flatten() })
}

/// One fleet.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn one(app: &AppState, principal: &Principal, run_id: &RunId) -> Result<Fleet, Problem> {
    let row = find(app, principal, run_id).await?;
    shown(app, &row).await
}

/// One fleet as it is stored.
pub(crate) async fn find(
    app: &AppState,
    principal: &Principal,
    run_id: &RunId,
) -> Result<FleetRow, Problem> {
    let found = app.store().fleet(&principal.organisation_id, run_id).await?;
    found.ok_or_else(|| Problem::not_found(format!("fleet {run_id}")))
}

/// One fleet as the API gives it.
pub(crate) async fn shown(app: &AppState, row: &FleetRow) -> Result<Fleet, Problem> {
    let (state, now) = (&row.state, app.now());
    let admission = fleet::admissible(state, now);
    let mut operations = Vec::new();
    for operation in app.store().operations(row, SHOWN).await? {
        let failure = |(target, why): (u32, String)| OperationFailure { target, why };
        operations.push(Operation {
            number: operation.number,
            what: what(operation.what).to_owned(),
            of: operation.of,
            through: operation.through,
            failures: operation.failures.into_iter().map(failure).collect(),
            by: app.who(&operation.by.actor).await,
            at: operation.at.as_micros(),
            ended_at: micros(operation.ended_at),
        });
    }
    let mut history = Vec::new();
    for event in app.store().fleet_events(row, SHOWN).await? {
        if let Some(what) = in_words(&event) {
            let by = app.who(&event.by.actor).await;
            history.push(Happened { at: event.at.as_micros(), by, what });
        }
    }
    let points = app.store().fleet_points(row).await?;
    Ok(Fleet {
        summary: summary(app, row).await,
        url: format!("{}{}", app.base_url(), links::fleet(&row.run_id)),
        hold: hold(app, state).await,
        waits_for: admission.why.as_ref().map(ToString::to_string),
        next_at: micros(admission.next_at),
        ring: state.ring,
        rings: (0_u16..).zip(&state.rings).map(|(n, of)| ring(row, n, of, now)).collect(),
        failures: failures(state),
        stop_rules: stop_rules(state),
        spent: spent(state),
        plan: serde_json::to_value(&state.plan)
            .map_err(|error| Problem::internal("show a fleet's plan", error))?,
        selected: row.selected.clone(),
        operations,
        history,
        burn_down: points
            .into_iter()
            .map(|point| Point {
                at: point.at.as_micros(),
                planned: point.planned,
                running: point.running,
                succeeded: point.succeeded,
                failed: point.failed,
                open: point.open,
                merged: point.landed,
            })
            .collect(),
    })
}

/// Targets of a fleet, in order.
///
/// # Errors
/// The fleet is not there; a limit, cursor or trouble that can't be read; the store's failures.
pub async fn targets(
    app: &AppState,
    principal: &Principal,
    run_id: &RunId,
    query: TargetsQuery,
) -> Result<Page<Target>, Problem> {
    let fleet = find(app, principal, run_id).await?;
    let limit = page_size(query.limit)?;
    if let Some(name) = &query.trouble {
        crate::actions::fleets::trouble(name)?;
    }
    let after = cursor_number(query.cursor.as_deref())?;
    let filter = TargetFilter {
        within: query.ring.map(|ring| fleet.ring(ring)),
        state: query.state,
        trouble: query.trouble,
        kind: query.kind,
        cluster: query.cluster,
        review: query.change,
        after: after.map(|after| u32::try_from(after).unwrap_or(u32::MAX)),
    };
    let rows = app.store().targets(&fleet, filter, limit).await?;
    let next =
        (rows.len() == limit as usize).then(|| rows.last().map(|row| row.ordinal.to_string()));
    let items = rows.into_iter().map(|row| target(&fleet, row)).collect();
    Ok(Page { items, next: next.flatten() })
}

/// The clusters of a fleet's changes, the largest first.
///
/// # Errors
/// The fleet is not there; git's and the store's failures.
pub async fn all_clusters(
    app: &AppState,
    principal: &Principal,
    run_id: &RunId,
) -> Result<Vec<Cluster>, Problem> {
    let fleet = find(app, principal, run_id).await?;
    let found = clusters::find(app, &fleet).await?;
    Ok(found.clusters.iter().filter_map(|cluster| self::cluster(&found, cluster)).collect())
}

/// One cluster with its changes and a sample of them.
///
/// # Errors
/// It or the fleet is not there; git's and the store's failures.
pub async fn one_cluster(
    app: &AppState,
    principal: &Principal,
    run_id: &RunId,
    id: &str,
) -> Result<Cluster, Problem> {
    let fleet = find(app, principal, run_id).await?;
    let found = clusters::find(app, &fleet).await?;
    let known = found.clusters.iter().find(|cluster| cluster.id == id);
    let not_found = || Problem::not_found(format!("cluster {id}"));
    let known = known.ok_or_else(not_found)?;
    let mut shown = cluster(&found, known).ok_or_else(not_found)?;
    let members = known.members.iter();
    shown.members = members
        .filter_map(|member| {
            let change = reference(&found.changes, &member.id)?;
            Some(Member { change, distance: member.distance })
        })
        .collect();
    let size =
        sample::size(u32::try_from(known.members.len()).unwrap_or(u32::MAX), BAD, CONFIDENCE)
            .map_err(|error| Problem::internal("choose a sample", error))?;
    // The fleet's id is known to nobody who writes a change before it is there.
    let chosen = sample::choose(known, size, fleet.run_id.as_str());
    shown.sample = chosen.into_iter().filter_map(|id| reference(&found.changes, id)).collect();
    Ok(shown)
}

fn cluster(found: &Found, cluster: &FoundCluster) -> Option<Cluster> {
    let mut stands = Changes::default();
    for change in cluster.members.iter().filter_map(|member| found.changes.get(&member.id)) {
        let count = match change.review.as_str() {
            "sent_back" => &mut stands.sent_back,
            "approved" => &mut stands.approved,
            "merged" => &mut stands.merged,
            "closed" => &mut stands.closed,
            _ => &mut stands.open,
        };
        *count += 1;
    }
    let outlier = |outlier: &windlass_review::Outlier| {
        let change = reference(&found.changes, &outlier.id)?;
        Some(Outlier { change, why: outlier.why.clone() })
    };
    Some(Cluster {
        id: cluster.id.clone(),
        by_hand: cluster.by_hand,
        exemplar: reference(&found.changes, &cluster.exemplar)?,
        changes: u32::try_from(cluster.members.len()).unwrap_or(u32::MAX),
        stands,
        variants: cluster.variants,
        spread: cluster.spread.clone(),
        outliers: cluster.outliers.iter().filter_map(outlier).collect(),
        members: Vec::new(),
        sample: Vec::new(),
    })
}

fn reference(changes: &HashMap<String, ChangeOf>, id: &str) -> Option<ChangeRef> {
    changes.get(id).map(|change| ChangeRef {
        target: change.ordinal,
        repository: change.repository.clone(),
        pull_request: change.pull_number,
        change: change.review.clone(),
    })
}

/// A target as the API gives it. What a cancelled fleet never began is cancelled.
fn target(fleet: &FleetRow, row: TargetRow) -> Target {
    let is_cancelled = row.state == "planned" && matches!(fleet.state.phase, Phase::Cancelled(_));
    Target {
        target: row.ordinal,
        ring: fleet.ring_of(row.ordinal),
        project_id: row.project_id,
        repository: row.repository,
        state: if is_cancelled { "cancelled".to_owned() } else { row.state },
        attempt: row.attempt,
        job_id: row.job_id,
        kind: row.kind,
        trouble: row.trouble,
        reason: row.reason,
        pull_request: row.pull_number,
        change: row.review,
        verified: row.verified,
        cluster: row.cluster,
    }
}

async fn summary(app: &AppState, row: &FleetRow) -> FleetSummary {
    let state = &row.state;
    let (mut counts, mut all) = (Counts::default(), Changes::default());
    for ring in &state.rings {
        add_counts(&mut counts, ring);
        add_changes(&mut all, &ring.changes);
    }
    FleetSummary {
        id: row.run_id.clone(),
        title: row.title.clone(),
        started_by: app.who(&state.by.actor).await,
        state: standing(state).to_owned(),
        counts,
        changes: all,
        created_at: row.created_at.as_micros(),
        changed_at: row.changed_at.as_micros(),
    }
}

/// Where a fleet stands, in a word.
pub(crate) fn standing(state: &State) -> &'static str {
    match (&state.phase, &state.hold) {
        (Phase::Cancelled(_), _) => "cancelled",
        (Phase::Settled { .. }, _) => "settled",
        (Phase::Going, Some(_)) => "held",
        (Phase::Going, None) => "going",
    }
}

async fn hold(app: &AppState, state: &State) -> Option<Hold> {
    let hold = match &state.phase {
        Phase::Cancelled(hold) => Some(hold),
        Phase::Going | Phase::Settled { .. } => state.hold.as_ref(),
    }?;
    let by = match &hold.by {
        Some(by) => Some(app.who(&by.actor).await),
        None => None,
    };
    Some(Hold { by, reason: hold.reason.clone(), since: hold.since.as_micros() })
}

fn ring(row: &FleetRow, n: u16, of: &fleet::Ring, now: windlass_run::Time) -> Ring {
    let state = &row.state;
    let (mut counts, mut changes) = (Counts::default(), Changes::default());
    add_counts(&mut counts, of);
    add_changes(&mut changes, &of.changes);
    let is_open = n <= state.ring;
    let is_last = usize::from(n) + 1 == state.rings.len();
    let unmet = if is_open && !is_last { state.unmet(n, now) } else { Vec::new() };
    let size = state.plan.rollout.rings.get(usize::from(n));
    Ring {
        ring: n,
        name: size.map(ring_name).unwrap_or_default(),
        is_open,
        first: row.ring(n).0,
        counts,
        changes,
        unmet: unmet.iter().map(ToString::to_string).collect(),
    }
}

fn ring_name(size: &plan::RingSize) -> String {
    match size {
        plan::RingSize::UpTo(fleet::Amount::Count(count)) => count.to_string(),
        plan::RingSize::UpTo(fleet::Amount::Share(share)) => share.to_string(),
        plan::RingSize::Rest(_) => "rest".to_owned(),
        plan::RingSize::Label(canaries) => canaries.label.clone(),
    }
}

fn add_counts(counts: &mut Counts, ring: &fleet::Ring) {
    counts.targets += ring.targets;
    counts.planned += ring.planned;
    counts.running += ring.running;
    counts.succeeded += ring.succeeded;
    counts.skipped += ring.skipped;
    counts.failed += ring.failed();
}

fn add_changes(all: &mut Changes, more: &fleet::Changes) {
    all.open += more.open;
    all.sent_back += more.sent_back;
    all.approved += more.approved;
    all.merged += more.merged;
    all.closed += more.closed;
    all.verified += more.verified;
}

fn failures(state: &State) -> Vec<Failures> {
    let mut kinds: BTreeMap<&str, Failures> = BTreeMap::new();
    for (kind, failures) in state.rings.iter().flat_map(|ring| &ring.failures) {
        let entry = kinds.entry(kind).or_insert_with(|| Failures {
            kind: kind.clone(),
            trouble: failures.trouble.name().to_owned(),
            what: failures.trouble.describe().to_owned(),
            targets: 0,
        });
        entry.targets += failures.count;
    }
    let mut failures: Vec<Failures> = kinds.into_values().collect();
    failures.sort_by(|a, b| b.targets.cmp(&a.targets).then_with(|| a.kind.cmp(&b.kind)));
    failures
}

fn stop_rules(state: &State) -> Vec<StopRule> {
    let rules = state.plan.rollout.stop_when.iter().zip(&state.watched);
    rules
        .map(|(rule, watched)| {
            let rate = match rule.rate {
                plan::Rate::Failures => "failures",
                plan::Rate::Rejections => "rejections",
            };
            let over = match rule.over {
                plan::Over::Ring => "in the newest ring".to_owned(),
                plan::Over::Fleet => "in the fleet".to_owned(),
                plan::Over::Last(last) => format!("among the newest {last}"),
            };
            StopRule {
                rule: format!("{rate} above {} {over}", rule.above),
                bad: watched.bad,
                of: watched.of,
                stops_at: bound::stops_at(rule.method, watched.of, rule.above, rule.confidence),
            }
        })
        .collect()
}

fn spent(state: &State) -> Spent {
    let mean = state.spent.tokens.checked_div(u64::from(state.jobs_ended));
    let left: u32 = state.rings.iter().map(|ring| ring.planned + ring.running).sum();
    Spent {
        tokens: state.spent.tokens,
        tokens_limit: state.plan.limits.tokens,
        tokens_forecast: mean
            .map(|mean| state.spent.tokens.saturating_add(mean.saturating_mul(u64::from(left)))),
    }
}

/// What is done to many changes, in a word.
fn what(what: fleet::What) -> &'static str {
    match what {
        fleet::What::Approve => "approve",
        fleet::What::Merge => "merge",
        fleet::What::Close => "close",
        fleet::What::SendBack => "send_back",
        fleet::What::Rebase => "rebase",
        fleet::What::Regenerate => "regenerate",
    }
}

/// What happened, for a person; nothing where it is not of the fleet as a whole.
fn in_words(event: &FleetEvent) -> Option<String> {
    Some(match &event.event {
        Event::Opened { rings, .. } => {
            let targets: u32 = rings.iter().sum();
            format!("opened with {targets} targets in {} rings", rings.len())
        }
        Event::ForgeWaits { forge, .. } => format!("{forge} asked to be left alone for a while"),
        Event::Paused { reason, .. } => format!("paused: {reason}"),
        Event::Stopped { reason, .. } => format!("stopped by a rule: {reason}"),
        Event::Resumed { .. } => "goes on".to_owned(),
        Event::Cancelled { reason, .. } => format!("cancelled: {reason}"),
        Event::Retried { count, instruction, .. } => {
            let told = if instruction.is_some() { ", with an instruction" } else { "" };
            format!("{count} failed targets are planned again{told}")
        }
        Event::RingOpened { ring, by: None, .. } => format!("ring {} is open", ring + 1),
        Event::RingOpened { ring, by: Some(_), reason } => {
            let reason = reason.as_deref().unwrap_or_default();
            format!("ring {} was opened by hand: {reason}", ring + 1)
        }
        Event::Operated { what, of, .. } => format!("{} {of} changes", self::what(*what)),
        Event::Settled => "all jobs have ended".to_owned(),
        Event::Admitted { .. }
        | Event::JobEnded { .. }
        | Event::ChangeOpened { .. }
        | Event::Moved { .. }
        | Event::Progressed { .. } => return None,
    })
}
