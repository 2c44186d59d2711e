//! Targets as rows: written, shown, paused, cancelled; and one durable insert of as many rows.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use windlass_run::{
    OrganisationId, ProjectId, RunId, Time,
    actor::By,
    fleet::{Command as Order, Plan},
};
use windlass_store::{
    Options, Store,
    fleets::{FleetRow, NewFleet, NewTarget, TargetFilter},
    identity::Organisation,
};

/// What it took, in seconds: the median of the rounds. Of the last three, of a fleet of a hundred and of all.
#[derive(Serialize)]
pub(crate) struct Rows {
    pub(crate) write_s: f64,
    pub(crate) show_s: f64,
    pub(crate) floor_s: Option<f64>,
    pub(crate) pause_s: (f64, f64),
    pub(crate) resume_s: (f64, f64),
    pub(crate) cancel_s: (f64, f64),
}

/// The floor: a table like that of targets, one transaction, one commit that waits for the disk.
const FLOOR: &str = r"
import sqlite3, sys, time
path, n = sys.argv[1], int(sys.argv[2])
db = sqlite3.connect(path, isolation_level=None)
db.execute('PRAGMA journal_mode = WAL')
db.execute('PRAGMA synchronous = FULL')
db.execute('CREATE TABLE t (run INTEGER, ordinal INTEGER, org TEXT, project TEXT, name TEXT, forge TEXT, owner TEXT, base TEXT, labels TEXT, state TEXT, attempt INTEGER, verified INTEGER, PRIMARY KEY (run, ordinal)) WITHOUT ROWID')
db.execute('CREATE INDEX s ON t (run, state, ordinal)')
rows = [(1, i, 'org_%026d' % 1, 'prj_%026d' % i, 'repo-%06d' % i, 'local', None, 'main', 'fleet', 'planned', 0, 0) for i in range(n)]
begun = time.perf_counter()
db.execute('BEGIN IMMEDIATE')
db.executemany('INSERT INTO t VALUES (?,?,?,?,?,?,?,?,?,?,?,?)', rows)
db.execute('COMMIT')
print(time.perf_counter() - begun)
";

pub(crate) async fn measure(folder: &Path, targets: usize, rounds: u32) -> Result<Rows> {
    let mut all: [Vec<f64>; 8] = Default::default();
    let mut floors = Vec::new();
    for round in 0..rounds.max(1) {
        let place = folder.join(format!("rows-{round}"));
        fs::create_dir_all(&place)?;
        let url = format!("sqlite:{}", place.join("windlass.db").display());
        let store = Store::open(&url, Options::new(place.join("blobs"), now())).await?;
        let organisation_id = OrganisationId::new(now(), rand::random());
        let organisation =
            Organisation { id: organisation_id.clone(), name: "bench".into(), created_at: now() };
        store.create_organisation(By::system("bench"), organisation).await?;
        let small = begin(&store, &organisation_id, 100).await?;
        let begun = Instant::now();
        let large = begin(&store, &organisation_id, targets).await?;
        all[0].push(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let shown = find(&store, &organisation_id, &large).await?;
        let cells = store.cells(&shown).await?;
        store.targets(&shown, TargetFilter::default(), 50).await?;
        store.fleet_events(&shown, 50).await?;
        ensure!(cells.len() == targets, "{} targets were shown", cells.len());
        all[1].push(begun.elapsed().as_secs_f64());
        let by = || By::system("bench");
        let reason = || "bench".to_owned();
        for (n, order) in [
            Order::Pause { by: by(), reason: reason() },
            Order::Resume { by: by() },
            Order::Cancel { by: by(), reason: reason() },
        ]
        .into_iter()
        .enumerate()
        {
            for (of, run_id) in [&small, &large].into_iter().enumerate() {
                let begun = Instant::now();
                let (organisation_id, order) = (organisation_id.clone(), order.clone());
                store.command_fleet(by(), organisation_id, run_id.clone(), order, now()).await?;
                all[2 + n * 2 + of].push(begun.elapsed().as_secs_f64());
            }
        }
        store.close().await;
        floors.extend(floor(&place, targets));
    }
    let mut median = all.map(median);
    let mut pair = |n: usize| (std::mem::take(&mut median[n]), std::mem::take(&mut median[n + 1]));
    let (pause_s, resume_s, cancel_s) = (pair(2), pair(4), pair(6));
    let floor_s = (!floors.is_empty()).then(|| self::median(floors));
    Ok(Rows { write_s: median[0], show_s: median[1], floor_s, pause_s, resume_s, cancel_s })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn begin(store: &Store, organisation_id: &OrganisationId, targets: usize) -> Result<RunId> {
    let target = |n: usize| NewTarget {
        project_id: ProjectId::new(now(), rand::random()),
        repository: format!("repo-{n:06}"),
        forge: "local".to_owned(),
        owner: None,
        base: Some("main".to_owned()),
        labels: vec!["fleet".to_owned()],
    };
    let new = NewFleet {
        id: RunId::new(now(), rand::random()),
        organisation_id: organisation_id.clone(),
        title: "bench".to_owned(),
        automation: None,
        plan: Plan::default(),
        frozen: "{}".to_owned(),
        selected: serde_json::json!({}),
        targets: (0..targets).map(target).collect(),
        idempotency_key: None,
    };
    Ok(store.create_fleet(By::system("bench"), new, now()).await?.run_id)
}

async fn find(store: &Store, organisation_id: &OrganisationId, run_id: &RunId) -> Result<FleetRow> {
    store.fleet(organisation_id, run_id).await?.context("the fleet is gone")
}

/// Absent if there is no Python with `sqlite3`.
fn floor(folder: &Path, rows: usize) -> Option<f64> {
    let output = Command::new("python3")
        .args(["-c", FLOOR])
        .arg(folder.join("floor.db"))
        .arg(rows.to_string())
        .output()
        .ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
