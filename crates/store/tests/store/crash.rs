//! A process that is killed while it writes: what it was told to be durable is there, and nothing is
//! half there.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
};

use windlass_run::{Duration, RunId, RunnerId, effect, job::Report};
use windlass_store::{
    runs::{Filter, Slice, Standing},
    streams::{Append, Content, Kind, StreamId},
    work::{Executor, Leased, Registration},
};

use crate::support::{
    Home, TTL, World, at, block_on, chance, failed, pull_request, started, step_id, succeeded,
};

/// How often the process is killed.
const KILLS: u64 = 6;

/// Names the database for the process that is to be killed.
const URL: &str = "WINDLASS_CRASH_URL";

#[test]
fn a_killed_process_leaves_a_sqlite_database_in_which_everything_agrees() {
    kill_and_look(crate::support::Kind::Sqlite);
}

#[test]
fn a_killed_process_leaves_a_postgres_database_in_which_everything_agrees() {
    kill_and_look(crate::support::Kind::Postgres);
}

fn kill_and_look(kind: crate::support::Kind) {
    let Some(home) = Home::new(kind, "a_killed_process") else { return };
    let mut world = block_on(World::new(home));
    block_on(world.store.clone().close());
    let mut acknowledged = BTreeSet::new();
    for kill in 0..KILLS {
        let mut child = victim(&world);
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        // Killed after so many answers: each time at another place of its work.
        for line in lines.map_while(Result::ok).take(usize::try_from(15 + kill * 17).expect("")) {
            let Some((_, run_id)) = line.split_once("started ") else { continue };
            acknowledged.insert(RunId::parse(run_id.trim()).expect("a run id"));
        }
        child.kill().expect("killed");
        child.wait().expect("gone");
        block_on(async {
            world.reopen().await;
            world.check().await;
            for run_id in &acknowledged {
                let found = world.store.run(&world.organisation_id, run_id).await;
                assert!(found.is_ok(), "{run_id} was acknowledged and is lost");
            }
            world.store.clone().close().await;
        });
    }
    assert!(acknowledged.len() > 50, "only {} runs were started", acknowledged.len());
    block_on(finish(&mut world));
}

/// After the last kill every job can still be brought to its end.
async fn finish(world: &mut World) {
    world.now = at(1_000_000);
    world.reopen().await;
    world.now = world.now + Duration::from_secs(100_000);
    world.store.watch(world.now).await.expect("watched");
    let slice = Slice { before: None, limit: 200 };
    let live = Filter { live: Some(true), ..Filter::default() };
    for job in world.store.jobs(&world.organisation_id, live.clone(), slice).await.expect("listed")
    {
        assert_eq!(job.standing, Standing::Queued, "{job:?}");
    }
    while !world.lease(200).await.is_empty() {
        world.now = world.now + Duration::from_secs(100_000);
        world.store.watch(world.now).await.expect("watched");
    }
    let rest = world.store.jobs(&world.organisation_id, live, slice).await.expect("listed");
    assert_eq!(rest, []);
    world.check().await;
}

fn victim(world: &World) -> Child {
    let this = std::env::current_exe().expect("this program");
    Command::new(this)
        .args(["--exact", "crash::the_process_that_is_killed", "--ignored", "--nocapture"])
        .env(URL, &world.home.url)
        .env("WINDLASS_CRASH_BLOBS", world.home.directory.path().join("blobs"))
        .env("WINDLASS_CRASH_PROJECT", world.project_id.as_str())
        .env("WINDLASS_CRASH_ORGANISATION", world.organisation_id.as_str())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("spawned")
}

/// Not a test: what [`victim`] runs.
#[test]
#[ignore = "it is started and killed by other tests"]
#[expect(clippy::disallowed_methods, reason = "tests may read the environment")]
fn the_process_that_is_killed() {
    let Ok(url) = std::env::var(URL) else { return };
    let variable = |name: &str| std::env::var(name).expect("set by its parent");
    block_on(async move {
        let now = at(i64::from(std::process::id()));
        let options = windlass_store::Options::new(variable("WINDLASS_CRASH_BLOBS"), now);
        let store = windlass_store::Store::open(&url, options).await.expect("opened");
        let seed = u128::from(std::process::id()) << 40;
        let world = World {
            home: Home {
                directory: tempfile::tempdir().expect("a directory"),
                url,
                kind: crate::support::Kind::Sqlite,
            },
            store,
            now,
            organisation_id: variable("WINDLASS_CRASH_ORGANISATION").parse().expect("an id"),
            project_id: variable("WINDLASS_CRASH_PROJECT").parse().expect("an id"),
            runner_id: RunnerId::new(now, seed + chance()),
            by: windlass_run::actor::By::system("victim"),
        };
        let runner = world.runner(world.runner_id.clone());
        world
            .store
            .register_runner(world.by.clone(), Registration::without_token(runner), now)
            .await
            .expect("registered");
        let work = async {
            loop {
                work_on_some(&world).await;
            }
        };
        let start = async {
            for n in 0u128.. {
                let mut new = world.new_run("Killed", vec![world.spec(&["a", "b"])]);
                new.id = RunId::new(now, seed + n);
                new.jobs[0].id = windlass_run::JobId::new(now, seed + n);
                let run = world.store.create_run(world.by.clone(), new, now).await;
                let run_id = run.expect("started").run_id;
                println!("started {run_id}");
                std::io::stdout().flush().expect("flushed");
            }
        };
        tokio::join!(work, start);
    });
}

async fn work_on_some(world: &World) {
    let leased = world.lease(4).await;
    if leased.is_empty() {
        tokio::task::yield_now().await;
    }
    let each = leased.iter().enumerate().map(|(n, leased)| work_on(world, leased, n));
    futures::future::join_all(each).await;
}

async fn work_on(world: &World, leased: &Leased, n: usize) {
    let (key, request) = pull_request(&leased.job_id, "b");
    let first = vec![started("a"), if n == 3 { failed("a") } else { succeeded("a") }];
    world.report(world.reports(leased, 1, first)).await;
    let stream = StreamId {
        job_id: leased.job_id.clone(),
        step_id: step_id("a"),
        attempt: 1,
        kind: Kind::Log,
    };
    for offset in [0, 300_000, 600_000] {
        let content = Content::Log { offset, bytes: vec![b'x'; 300_000] };
        let piece = Append { stream: stream.clone(), epoch: leased.epoch, content };
        let appended = world.store.append(world.runner_id.clone(), vec![piece], world.now).await;
        appended.expect("appended");
    }
    if n == 3 {
        return;
    }
    let staged = Report::EffectStaged { step_id: step_id("b"), key: key.clone(), request };
    world.report(world.reports(leased, 3, vec![started("b"), staged])).await;
    let server = || Executor::Server { name: "victim".into() };
    let (job_id, now) = (leased.job_id.clone(), world.now);
    world.store.grant(server(), job_id.clone(), key.clone(), TTL, false, now).await.expect("asked");
    if n == 2 {
        return;
    }
    let done = effect::State::Done(effect::Outcome::PullRequest { number: 1, url: "x".into() });
    world.store.record(server(), job_id, key, done, now).await.expect("recorded");
    world.report(world.reports(leased, 5, vec![succeeded("b")])).await;
}
