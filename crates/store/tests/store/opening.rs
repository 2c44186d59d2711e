//! Opening: new, older, newer, foreign, locked, and full disks.

use std::path::Path;

use windlass_run::{EventId, Time};
use windlass_store::{
    Error, Options, Store,
    events::Handled,
    options::{Durability, Writer},
    runs::{Filter, Slice},
    secrets::Wanted,
};

use crate::support::{Home, Kind, World, at, block_on};

on_both! {
    a_second_opening_is_refused_and_names_the_process;
    a_newer_schema_is_left_alone;
    a_migration_that_was_edited_is_noticed;
    a_closed_store_answers_that_it_is_closed;
}

#[test]
fn an_older_sqlite_schema_with_rows_in_it_is_brought_up_to_date() {
    older_schema(Kind::Sqlite);
}

#[test]
fn an_older_postgres_schema_with_rows_in_it_is_brought_up_to_date() {
    older_schema(Kind::Postgres);
}

/// Rows as each migration finds them: what was written under the schemas before it.
const SAMPLES: [&str; 4] = [
    "INSERT INTO organisations (id, name, created_at) \
     VALUES ('org_01kb2m9d5xq8s0v3c7w1r4t6ya', 'acme', 5); \
     INSERT INTO projects (id, organisation_id, name, forge, source, settings, created_at) \
     VALUES ('prj_01kb2m9d5xq8s0v3c7w1r4t6ya', 'org_01kb2m9d5xq8s0v3c7w1r4t6ya', 'api', 'local', \
     '/srv/api', '{}', 6)",
    "INSERT INTO feed (seq, organisation_id, at, subject, id, what) \
     VALUES (7, 'org_01kb2m9d5xq8s0v3c7w1r4t6ya', 8, 'project', \
     'prj_01kb2m9d5xq8s0v3c7w1r4t6ya', 'created'); \
     INSERT INTO deliveries (number, organisation_id, source, delivery_id, event, received_at, \
     handled_at, outcome) VALUES (11, 'org_01kb2m9d5xq8s0v3c7w1r4t6ya', \
     'github/prj_01kb2m9d5xq8s0v3c7w1r4t6ya', 'a', '{\"event\": 1}', 21, 22, 'synced'); \
     INSERT INTO deliveries (number, organisation_id, source, delivery_id, event, received_at) \
     VALUES (1203, 'org_01kb2m9d5xq8s0v3c7w1r4t6ya', 'elsewhere', 'b', '{}', 23)",
    "INSERT INTO blobs (hash, size) VALUES ('00', 1)",
    "INSERT INTO pulls (project_id, number, organisation_id, place, title, state, review, base, \
     head, head_commit, opened_by, state_json, version, created_at, updated_at) \
     VALUES ('prj_01kb2m9d5xq8s0v3c7w1r4t6ya', 1, 'org_01kb2m9d5xq8s0v3c7w1r4t6ya', 1, 'Greet', \
     'closed', 'none', 'main', 'greet', '00', '{}', '{}', 1, 9, 9)",
];

fn older_schema(kind: Kind) {
    let Some(home) = Home::new(kind, "an_older_schema") else { return };
    block_on(async {
        let options = || home.options(at(0));
        for (schema, sample) in (1..).zip(SAMPLES) {
            Store::prepare(&home.url, options(), schema).await.expect("made");
            home.execute(sample);
        }
        home.execute("DELETE FROM blobs");
        home.execute("DELETE FROM pulls");
        let store = Store::open(&home.url, options()).await.expect("brought up to date");
        let organisation = store.organisations().await.expect("read").pop().expect("still there");
        assert_eq!(organisation.name, "acme");
        let projects = store.projects(&organisation.id, None, 10).await.expect("read");
        assert_eq!(projects[0].name, "api");
        let feed = store.feed(&organisation.id, 0, 10).await.expect("read");
        assert_eq!(feed[0].seq, 7);
        let secrets = store.secrets(&organisation.id, Wanted::default(), 10).await.expect("read");
        assert_eq!(secrets, []);
        let old = |number: u64| EventId::parse(&format!("evt_{number:026}")).expect("an id");
        let first = store.event(&organisation.id, &old(11)).await.expect("taken over");
        let handled = Handled { at: Time::from_micros(22), outcome: "synced".into() };
        assert_eq!((first.number, first.handled), (11, Some(handled)));
        assert_eq!(first.event.project_id.as_ref(), Some(&projects[0].id));
        assert_eq!(first.event.data, serde_json::json!({ "event": 1 }));
        let waiting = store.unhandled_events(0, 10).await.expect("read");
        let waiting: Vec<_> = waiting.iter().map(|kept| (&kept.event.id, kept.number)).collect();
        assert_eq!(waiting, [(&old(1203), 1203)]);
        assert_eq!(store.generation(), 1);
        assert_eq!(store.check().await.expect("checked"), Vec::<String>::new());
    });
}

async fn a_second_opening_is_refused_and_names_the_process(world: World) {
    let second = Store::open(&world.home.url, world.home.options(at(0))).await;
    let error = second.err().expect("refused");
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
    let process = format!("is locked by process {}", std::process::id());
    assert!(error.to_string().contains(&process), "{error}");
    let first = world.store.clone();
    first.close().await;
    let third = Store::open(&world.home.url, world.home.options(at(0))).await;
    third.expect("free again").close().await;
}

async fn a_newer_schema_is_left_alone(world: World) {
    world.store.clone().close().await;
    world.home.execute(
        "INSERT INTO windlass_schema (number, name, digest, at) VALUES (999, 'future', 'x', 1)",
    );
    let error = Store::open(&world.home.url, world.home.options(at(0))).await.err();
    let error = error.expect("refused");
    assert!(matches!(error, Error::Newer { found: 999, .. }), "{error:?}");
    assert!(error.to_string().contains("was made by a newer windlass"), "{error}");
}

async fn a_migration_that_was_edited_is_noticed(world: World) {
    world.store.clone().close().await;
    world.home.execute("UPDATE windlass_schema SET digest = 'other' WHERE number = 2");
    let error = Store::open(&world.home.url, world.home.options(at(0))).await.err();
    let error = error.expect("refused").to_string();
    assert!(error.contains("its migration 2 (runs) is not the one of this version"), "{error}");
}

async fn a_closed_store_answers_that_it_is_closed(world: World) {
    world.store.clone().close().await;
    let watched = world.store.watch(at(0)).await;
    assert!(matches!(watched, Err(Error::Unavailable { .. })), "{watched:?}");
    let slice = Slice { before: None, limit: 1 };
    let runs = world.store.runs(&world.organisation_id, Filter::default(), slice).await;
    assert!(matches!(runs, Err(Error::Unavailable { .. })), "{runs:?}");
}

#[test]
fn what_is_not_one_of_our_databases_is_refused_untouched() {
    let Some(home) = Home::new(Kind::Sqlite, "foreign") else { return };
    let path = home.directory.path().join("windlass.db");
    std::fs::write(&path, "Dear diary, this is a long text and no database.".repeat(30)).expect("");
    let error = block_on(Store::open(&home.url, home.options(at(0)))).err().expect("refused");
    assert!(matches!(error, Error::Foreign { .. }), "{error:?}");
    std::fs::remove_file(&path).expect("removed");
    home.execute("CREATE TABLE recipes (id BIGINT)");
    let error = block_on(Store::open(&home.url, home.options(at(0)))).err().expect("refused");
    assert!(error.to_string().contains("it has the tables recipes"), "{error}");
    assert_eq!(home.count("recipes"), 0, "the table is still there, and no other was made");
}

#[test]
fn a_foreign_postgres_database_is_refused_untouched() {
    let Some(home) = Home::new(Kind::Postgres, "foreign_postgres") else { return };
    home.execute("CREATE TABLE recipes (id BIGINT)");
    let error = block_on(Store::open(&home.url, home.options(at(0)))).err().expect("refused");
    assert!(error.to_string().contains("it has the tables recipes"), "{error}");
}

#[test]
fn urls_that_can_not_be_opened_say_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = |url: &str| {
        let options = Options::new(directory.path().join("blobs"), at(0));
        block_on(Store::open(url, options)).err().expect("refused").to_string()
    };
    let error = open("mysql://host/db");
    assert!(error.contains("use `sqlite:PATH` or `postgres://...`"), "{error}");
    assert!(open("sqlite:").contains("needs a path"));
    let nowhere = format!("sqlite:{}", directory.path().join("no/such/folder/x.db").display());
    assert!(open(&nowhere).contains("no/such/folder"), "{}", open(&nowhere));
    let error = open("postgres://u:secret@127.0.0.1:1/db?sslmode=disable&connect_timeout=1");
    assert!(error.contains("not available") && !error.contains("secret"), "{error}");
    assert!(open("postgres://u:secret@h/db?sslmode=perhaps").contains("sslmode"));
}

#[test]
fn the_inline_writer_does_the_same_work_without_a_thread() {
    let Some(home) = Home::new(Kind::Sqlite, "inline") else { return };
    let mut options = home.options(at(0));
    options.writer = Writer::Inline;
    // No runtime at all: each future is ready at once.
    let store = futures::executor::block_on(Store::open(&home.url, options)).expect("opened");
    let watched = futures::executor::block_on(store.watch(at(0))).expect("watched");
    assert_eq!(watched.next, None);
    futures::executor::block_on(store.close());
}

#[test]
fn a_full_disk_is_told_plainly_and_nothing_is_half_kept() {
    let Some(disk) = SmallDisk::mount("a_full_disk", "4m") else { return };
    let mut home = Home::new(Kind::Sqlite, "a_full_disk").expect("SQLite is always there");
    home.url = format!("sqlite:{}", disk.path().join("windlass.db").display());
    block_on(async {
        let mut world = World::new(home).await;
        let long = "x".repeat(30_000);
        let mut kept = 0;
        let error = loop {
            let mut spec = world.spec(&["a"]);
            spec.network = vec![long.clone()];
            let new = world.new_run("Fill the disk", vec![spec]);
            match world.store.create_run(world.by.clone(), new, world.now).await {
                Ok(_) => kept += 1,
                Err(error) => break error,
            }
            assert!(kept < 1_000, "the disk never fills");
        };
        assert!(matches!(error, Error::Full { .. }), "{error:?}");
        assert!(error.to_string().starts_with("the disk is full"), "{error}");
        world.check().await;
        assert_eq!(counted(&world).await, kept);
        world.reopen().await;
        world.check().await;
        assert_eq!(counted(&world).await, kept);
        world.store.close().await;
    });
}

async fn counted(world: &World) -> u64 {
    let counts = world.store.counts(&world.organisation_id, None).await;
    counts.expect("counted").queued
}

/// A tiny file system, mounted as root.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(test: &str, size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let options = format!("size={size}");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(directory.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(directory));
        }
        assert!(!windlass_testkit::must_run_all(), "{test} can't mount a small disk");
        eprintln!("SKIPPED {test}: needs to mount a tmpfs: run it as root");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path = self.0.path();
        let unmounted = std::process::Command::new("umount").arg("-l").arg(path).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays", path.display());
    }
}

#[test]
fn a_database_for_throw_away_data_says_so_in_its_options_only() {
    assert_eq!(Options::new("blobs", at(0)).durability, Durability::Full);
}
