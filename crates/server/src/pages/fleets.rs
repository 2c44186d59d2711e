//! `/fleets/{run}` and what its changes have in common, with the targets of their forms. Drawn by counts and one
//! path for each kind of cell: as fast at ten thousand targets as at ten.

use axum::{extract::State, http::Method, response::Response};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_run::{RunId, fleet::What};
use windlass_wire::api::fleet::{self as api, OperateOn, RetryFleet, TargetsQuery};

use super::{
    frame::{Fields, Frame, filled, go, page},
    text::Text,
    view::{
        Crumb, Section, State as Shown,
        diff::percent_encoded,
        fleets::{
            Band, Can, ClusterCard, Clusters, Count, Failures, Fleet, Hold, KINDS, OperationRow,
            PointRow, TargetRow, burn_down, cells,
        },
        shell::{Id, Who},
    },
};
use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::{Keys, Place},
    links,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    macro_rules! form {
        ($word:literal, $action:ident, $handler:ident) => {
            Endpoint::page(
                Method::POST,
                concat!("/fleets/{run}/", $word),
                Access::Allows(Action::$action),
                $handler,
            )
        };
    }
    let view = Access::Allows(Action::View);
    vec![
        Endpoint::page(Method::GET, "/fleets/{run}", view, one),
        Endpoint::page(Method::GET, "/fleets/{run}/clusters", view, clusters),
        form!("pause", SteerFleet, pause),
        form!("resume", SteerFleet, resume),
        form!("advance", SteerFleet, advance),
        form!("cancel", CancelRun, cancel),
        form!("retry", RetryRun, retry),
        form!("approve", Approve, approve),
        form!("send-back", RequestChanges, send_back),
        form!("merge", Merge, merge),
        form!("close", CloseChange, close),
    ]
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    ring: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    change: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    cluster: String,
    cursor: Option<String>,
}

impl Wanted {
    /// What is shown, in words, and as it stands in an address.
    fn words(&self) -> (String, String) {
        let all = [
            ("ring", &self.ring),
            ("state", &self.state),
            ("change", &self.change),
            ("kind", &self.kind),
            ("cluster", &self.cluster),
        ];
        let some = || all.iter().filter(|(_, value)| !value.is_empty());
        let words: Vec<String> = some().map(|(name, value)| format!("{name} {value}")).collect();
        let keys: Vec<String> =
            some().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
        (words.join(", "), keys.join("&"))
    }
}

async fn one(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(run_id): Place<RunId>,
    Keys(wanted): Keys<Wanted>,
) -> Result<Response, Problem> {
    let row = views::fleets::find(&app, &principal, &run_id).await?;
    let fleet = views::fleets::shown(&app, &row).await?;
    let ring: Option<u16> = filled(&wanted.ring).and_then(|ring| ring.parse().ok());
    let query = TargetsQuery {
        cursor: wanted.cursor.clone(),
        limit: None,
        ring: ring.map(|ring: u16| ring.saturating_sub(1)),
        state: filled(&wanted.state),
        kind: filled(&wanted.kind),
        cluster: filled(&wanted.cluster),
        change: filled(&wanted.change),
        trouble: None,
    };
    let targets = views::fleets::targets(&app, &principal, &run_id, query).await?;
    let kinds = kinds(app.store().cells(&row).await?, fleet.summary.state == "cancelled");
    let (href, (words, keys)) = (links::fleet(&run_id), wanted.words());
    let title = Text::from(fleet.summary.title.as_str());
    let crumbs = vec![Crumb::to("Runs", "/runs"), Crumb::here(title.clone())];
    let points: Vec<(i64, u32, u32)> = fleet
        .burn_down
        .iter()
        .map(|point| (point.at, point.planned + point.running, point.merged))
        .collect();
    page(&Fleet {
        shell: frame.shell(Some(Section::Runs), title.plain(), crumbs),
        id: Id(run_id.to_string()),
        title,
        state: state_word(&fleet.summary.state),
        by: Who::from(&fleet.summary.started_by),
        created: frame.moment(fleet.summary.created_at),
        hold: fleet.hold.as_ref().map(|hold| Hold {
            by: hold.by.as_ref().map(Who::from),
            reason: Text::from(hold.reason.as_str()),
            since: frame.moment(hold.since),
            is_final: fleet.summary.state == "cancelled",
        }),
        waits_for: (fleet.summary.state == "going")
            .then(|| fleet.waits_for.as_deref().map(Text::from))
            .flatten(),
        can: can(&principal, &fleet),
        legend: legend(&kinds, &href),
        rings: fleet.rings.iter().map(|ring| band(ring, &kinds, &href)).collect(),
        failures: fleet.failures.iter().map(|failures| trouble(failures, &href)).collect(),
        facts: facts(&fleet),
        burn_down: burn_down(&points, fleet.summary.counts.targets),
        points: fleet
            .burn_down
            .iter()
            .rev()
            .take(60)
            .map(|point| PointRow {
                at: frame.moment(point.at),
                left: point.planned + point.running,
                failed: point.failed,
                open: point.open,
                merged: point.merged,
            })
            .collect(),
        operations: fleet.operations.iter().map(|it| operation(&frame, it)).collect(),
        shown: Text::from(words),
        targets: targets.items.iter().map(target).collect(),
        next: targets.next.map(|next| format!("{href}?{keys}&cursor={}", percent_encoded(&next))),
        history: fleet
            .history
            .iter()
            .map(|it| (frame.moment(it.at), Who::from(&it.by), Text::from(it.what.as_str())))
            .collect(),
        href,
    })
}

fn state_word(state: &str) -> &'static str {
    match state {
        "going" => "Going",
        "held" => "Held",
        "settled" => "All jobs have ended",
        _ => "Cancelled",
    }
}

/// The kind of each cell.
fn kinds(cells: Vec<windlass_store::fleets::Cell>, is_cancelled: bool) -> Vec<usize> {
    let of = |name: &str| KINDS.iter().position(|(kind, ..)| *kind == name).unwrap_or(3);
    cells
        .iter()
        .map(|cell| match (cell.state.as_str(), cell.review.as_deref()) {
            ("succeeded", Some("merged")) => of("merged"),
            ("planned", _) if is_cancelled => of("cancelled"),
            (state, _) => of(state),
        })
        .collect()
}

fn legend(kinds: &[usize], href: &str) -> Vec<Count> {
    let count = |kind| kinds.iter().filter(|of| **of == kind).count();
    let all = KINDS.iter().enumerate().filter(|(kind, _)| count(*kind) > 0);
    all.map(|(kind, (state, name, class))| Count {
        name,
        class,
        count: u32::try_from(count(kind)).unwrap_or(u32::MAX),
        href: match *state {
            "merged" => format!("{href}?change=merged"),
            state => format!("{href}?state={state}"),
        },
    })
    .collect()
}

fn band(ring: &api::Ring, kinds: &[usize], href: &str) -> Band {
    let (first, counts) = (ring.first as usize, &ring.counts);
    let end = (first + counts.targets as usize).min(kinds.len());
    let says = format!(
        "{} targets, {} ended well, {} failed, {} running",
        counts.targets,
        counts.succeeded + counts.skipped,
        counts.failed,
        counts.running
    );
    Band {
        number: ring.ring + 1,
        name: Text::from(ring.name.as_str()),
        is_open: ring.is_open,
        cells: cells(kinds.get(first..end).unwrap_or_default(), &says),
        says,
        unmet: ring.unmet.iter().map(|unmet| Text::from(unmet.as_str())).collect(),
        href: format!("{href}?ring={}", ring.ring + 1),
    }
}

fn trouble(failures: &api::Failures, href: &str) -> Failures {
    Failures {
        kind: Text::from(failures.kind.as_str()),
        what: failures.what.clone(),
        trouble: failures.trouble.clone(),
        targets: failures.targets,
        href: format!("{href}?kind={}", percent_encoded(&failures.kind)),
    }
}

fn facts(fleet: &api::Fleet) -> Vec<(&'static str, String)> {
    let changes = &fleet.summary.changes;
    let mut facts = vec![
        ("Open changes", (changes.open + changes.sent_back).to_string()),
        ("Approved", changes.approved.to_string()),
        ("Merged", changes.merged.to_string()),
        ("Verified", changes.verified.to_string()),
    ];
    let limit = fleet.spent.tokens_limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    facts.push(("Tokens", format!("{}{limit}", fleet.spent.tokens)));
    if let Some(forecast) = fleet.spent.tokens_forecast.filter(|forecast| *forecast > 0) {
        facts.push(("Likely in all", format!("{forecast} tokens")));
    }
    for rule in &fleet.stop_rules {
        let stops = rule.stops_at.map(|at| format!(", stops at {at}")).unwrap_or_default();
        facts.push(("Stop rule", format!("{}: {} of {}{stops}", rule.rule, rule.bad, rule.of)));
    }
    facts
}

fn can(principal: &Principal, fleet: &api::Fleet) -> Can {
    let (summary, may) = (&fleet.summary, |action| principal.may(action));
    let (is_going, is_held) = (summary.state == "going", summary.state == "held");
    let changes = &summary.changes;
    let unmerged = changes.open + changes.sent_back + changes.approved;
    let has_next = usize::from(fleet.ring) + 1 < fleet.rings.len();
    let failed = fleet.failures.iter().any(|failures| failures.trouble != "stopped");
    Can {
        pause: is_going && may(Action::SteerFleet),
        resume: is_held && may(Action::SteerFleet),
        advance: is_going && has_next && may(Action::SteerFleet),
        cancel: (is_going || is_held) && may(Action::CancelRun),
        retry: failed && summary.state != "cancelled" && may(Action::RetryRun),
        merge: changes.approved > 0 && may(Action::Merge),
        close: unmerged > 0 && may(Action::CloseChange),
        review: unmerged > 0,
    }
}

fn operation(frame: &Frame, operation: &api::Operation) -> OperationRow {
    let failed = operation.failures.len();
    OperationRow {
        what: operation.what.replace('_', " "),
        says: format!("{} of {} through, {failed} badly", operation.through, operation.of),
        by: Who::from(&operation.by),
        at: frame.moment(operation.at),
        failures: operation
            .failures
            .iter()
            .map(|failure| (failure.target, Text::from(failure.why.as_str())))
            .collect(),
    }
}

fn target(target: &api::Target) -> TargetRow {
    let change = target.pull_request.map(|number| {
        let stands = target.change.clone().unwrap_or_default().replace('_', " ");
        (number, links::change(&target.repository, number), stands)
    });
    TargetRow {
        number: target.target,
        ring: target.ring + 1,
        repository: Text::from(target.repository.as_str()),
        state: match target.state.as_str() {
            "planned" => Shown::Queued,
            state => Shown::parse(state),
        },
        job: target.job_id.as_ref().map(links::job),
        change,
        reason: target.reason.as_deref().map(Text::from),
    }
}

async fn clusters(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(run_id): Place<RunId>,
) -> Result<Response, Problem> {
    let row = views::fleets::find(&app, &principal, &run_id).await?;
    let found = views::fleets::all_clusters(&app, &principal, &run_id).await?;
    let (href, title) = (links::fleet(&run_id), Text::from(row.title.as_str()));
    let crumbs = vec![
        Crumb::to("Runs", "/runs"),
        Crumb::to(title.clone(), href.clone()),
        Crumb::here("Changes"),
    ];
    page(&Clusters {
        shell: frame.shell(Some(Section::Runs), title.plain(), crumbs),
        title,
        can_approve: principal.may(Action::Approve),
        can_send_back: principal.may(Action::RequestChanges),
        clusters: found.iter().map(|cluster| card(cluster, &href)).collect(),
        href,
    })
}

fn card(cluster: &api::Cluster, href: &str) -> ClusterCard {
    let named = |change: &api::ChangeRef| {
        let name = format!("{}#{}", change.repository, change.pull_request);
        (Text::from(name), links::change(&change.repository, change.pull_request))
    };
    let waiting = |change: &api::ChangeRef| matches!(change.change.as_str(), "open" | "sent_back");
    let odd = cluster.outliers.iter().filter(|outlier| waiting(&outlier.change)).count();
    let waits = cluster.stands.open + cluster.stands.sent_back;
    ClusterCard {
        id: Text::from(cluster.id.as_str()),
        by_hand: cluster.by_hand,
        says: format!(
            "{} changes in {} variants, {} open, {} approved, {} merged",
            cluster.changes,
            cluster.variants,
            waits,
            cluster.stands.approved,
            cluster.stands.merged
        ),
        waits: waits.saturating_sub(u32::try_from(odd).unwrap_or(u32::MAX)),
        exemplar: named(&cluster.exemplar),
        spread: cluster.spread.iter().map(|spread| Text::from(spread.as_str())).collect(),
        outliers: cluster
            .outliers
            .iter()
            .map(|outlier| {
                let (name, at) = named(&outlier.change);
                (name, at, outlier.why.iter().map(|why| Text::from(why.as_str())).collect())
            })
            .collect(),
        all: format!("{href}?cluster={}", percent_encoded(&cluster.id)),
    }
}

#[derive(Deserialize)]
struct Why {
    #[serde(default)]
    reason: String,
}

fn done(run_id: &RunId, word: &str) -> Response {
    go(format!("{}?said={word}", links::fleet(run_id)))
}

async fn pause(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Fields(why): Fields<Why>,
) -> Result<Response, Problem> {
    actions::fleets::pause(&app, &principal, &run_id, why.reason).await?;
    Ok(done(&run_id, "paused"))
}

async fn resume(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
) -> Result<Response, Problem> {
    actions::fleets::resume(&app, &principal, &run_id).await?;
    Ok(done(&run_id, "resumed"))
}

async fn advance(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Fields(why): Fields<Why>,
) -> Result<Response, Problem> {
    actions::fleets::advance(&app, &principal, &run_id, why.reason).await?;
    Ok(done(&run_id, "advanced"))
}

async fn cancel(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Fields(why): Fields<Why>,
) -> Result<Response, Problem> {
    actions::fleets::cancel(&app, &principal, &run_id, why.reason).await?;
    Ok(done(&run_id, "stopping"))
}

#[derive(Deserialize)]
struct Again {
    #[serde(default)]
    trouble: String,
    #[serde(default)]
    instruction: String,
}

async fn retry(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Fields(again): Fields<Again>,
) -> Result<Response, Problem> {
    let retry = RetryFleet {
        kind: None,
        trouble: filled(&again.trouble),
        instruction: filled(&again.instruction.replace("\r\n", "\n")),
    };
    actions::fleets::retry(&app, &principal, &run_id, retry).await?;
    Ok(done(&run_id, "again"))
}

#[derive(Deserialize)]
struct On {
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    body: String,
}

impl On {
    fn asked(&self) -> OperateOn {
        let (cluster, body) = (filled(&self.cluster), self.body.replace("\r\n", "\n"));
        OperateOn { cluster, body, ..OperateOn::default() }
    }
}

async fn approve(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Fields(on): Fields<On>,
) -> Result<Response, Problem> {
    actions::fleets::operate(&app, &principal, &run_id, What::Approve, on.asked()).await?;
    Ok(done(&run_id, "operating"))
}

async fn send_back(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Fields(on): Fields<On>,
) -> Result<Response, Problem> {
    actions::fleets::operate(&app, &principal, &run_id, What::SendBack, on.asked()).await?;
    Ok(done(&run_id, "operating"))
}

async fn merge(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Fields(on): Fields<On>,
) -> Result<Response, Problem> {
    actions::fleets::operate(&app, &principal, &run_id, What::Merge, on.asked()).await?;
    Ok(done(&run_id, "operating"))
}

async fn close(
    State(app): State<AppState>,
    principal: Principal,
    Place(run_id): Place<RunId>,
    Fields(on): Fields<On>,
) -> Result<Response, Problem> {
    actions::fleets::operate(&app, &principal, &run_id, What::Close, on.asked()).await?;
    Ok(done(&run_id, "operating"))
}
