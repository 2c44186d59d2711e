//! Logs, sessions and artifacts.

use windlass_run::RunnerId;
use windlass_store::{
    artifacts::{self, NewArtifact},
    readiness::{NewReadiness, ReadinessRow},
    streams::{Append, Appended, Content, Kind, StreamId},
    work::Leased,
};

use crate::support::{World, all_well, chance, started, step_id};

on_both! {
    a_log_grows_without_gaps_or_doubles_whatever_is_sent_again;
    a_session_grows_entry_by_entry;
    a_long_log_is_compacted_into_blobs_and_reads_the_same;
    a_long_session_is_compacted_and_reads_the_same;
    only_the_lease_that_holds_writes_streams_and_artifacts;
    output_of_a_round_that_was_not_reported_yet_is_kept_and_of_no_step_is_refused;
    artifacts_are_kept_replaced_and_found;
    a_blob_to_which_nothing_refers_is_swept;
    reports_on_readiness_are_kept_replaced_and_listed_newest_first;
}

fn stream(leased: &Leased, kind: Kind) -> StreamId {
    StreamId { job_id: leased.job_id.clone(), step_id: step_id("a"), attempt: 1, kind }
}

async fn append(world: &World, leased: &Leased, content: Content) -> Appended {
    let kind = match content {
        Content::Log { .. } => Kind::Log,
        Content::Session { .. } => Kind::Session,
    };
    let piece = Append { stream: stream(leased, kind), epoch: leased.epoch, content };
    let answers = world.store.append(world.runner_id.clone(), vec![piece], world.now).await;
    answers.expect("answered").pop().expect("one answer")
}

async fn running(world: &World) -> Leased {
    world.start("Talks", &["a"]).await;
    let leased = world.lease(1).await.pop().expect("one job");
    world.report(world.reports(&leased, 1, vec![started("a")])).await;
    leased
}

async fn log(world: &World, leased: &Leased, offset: u64, max: usize) -> (String, u64) {
    let id = stream(leased, Kind::Log);
    let slice = world.store.log(&world.organisation_id, &id, offset, max).await.expect("read");
    (String::from_utf8(slice.bytes).expect("text"), slice.length)
}

async fn a_log_grows_without_gaps_or_doubles_whatever_is_sent_again(mut world: World) {
    let leased = running(&world).await;
    let piece = |offset, text: &str| Content::Log { offset, bytes: text.into() };
    assert_eq!(log(&world, &leased, 0, 100).await, (String::new(), 0));
    let have = |length| Appended::Have { length };
    assert_eq!(append(&world, &leased, piece(0, "hello ")).await, have(6));
    assert_eq!(append(&world, &leased, piece(0, "hello ")).await, have(6));
    assert_eq!(append(&world, &leased, piece(9, "later")).await, have(6));
    assert_eq!(append(&world, &leased, piece(3, "lo world")).await, have(11));
    world.reopen().await;
    assert_eq!(append(&world, &leased, piece(6, "world\n")).await, have(12));
    assert_eq!(log(&world, &leased, 0, 100).await, ("hello world\n".into(), 12));
    assert_eq!(log(&world, &leased, 4, 4).await, ("o wo".into(), 12));
    assert_eq!(log(&world, &leased, 12, 4).await, (String::new(), 12));
    let streams = world.store.streams(&world.organisation_id, &leased.job_id).await;
    let streams = streams.expect("listed");
    assert_eq!((&streams[0].stream, streams[0].length), (&stream(&leased, Kind::Log), 12));
    world.check().await;
}

async fn a_session_grows_entry_by_entry(mut world: World) {
    let leased = running(&world).await;
    let entries = |first, entries: &[&str]| Content::Session {
        first,
        entries: entries.iter().map(|entry| (*entry).to_owned()).collect(),
    };
    let have = |length| Appended::Have { length };
    assert_eq!(append(&world, &leased, entries(1, &["1", "2"])).await, have(2));
    assert_eq!(append(&world, &leased, entries(4, &["4"])).await, have(2));
    assert_eq!(append(&world, &leased, entries(2, &["2", "3"])).await, have(3));
    world.reopen().await;
    assert_eq!(append(&world, &leased, entries(3, &["3", "4"])).await, have(4));
    let read = |after, max| {
        let id = stream(&leased, Kind::Session);
        let (store, organisation_id) = (world.store.clone(), world.organisation_id.clone());
        async move { store.session(&organisation_id, &id, after, max).await.expect("read") }
    };
    let numbered = |n: u64| (n, n.to_string());
    assert_eq!(read(0, 10).await, (1..5).map(numbered).collect::<Vec<_>>());
    assert_eq!(read(2, 1).await, [numbered(3)]);
    assert_eq!(read(4, 10).await, []);
    let broken = Append {
        stream: stream(&leased, Kind::Session),
        epoch: 1,
        content: entries(5, &["two\nlines"]),
    };
    let refused = world.store.append(world.runner_id.clone(), vec![broken], world.now).await;
    assert!(matches!(refused, Err(windlass_store::Error::Invalid { .. })), "{refused:?}");
    world.check().await;
}

async fn a_long_log_is_compacted_into_blobs_and_reads_the_same(mut world: World) {
    let leased = running(&world).await;
    let mut whole = Vec::new();
    for n in 0..70u32 {
        let line: Vec<u8> = format!("line {n} ").into_bytes();
        let bytes = line.repeat(40_000 / line.len());
        let offset = whole.len() as u64;
        whole.extend_from_slice(&bytes);
        let length = whole.len() as u64;
        let answer = append(&world, &leased, Content::Log { offset, bytes }).await;
        assert_eq!(answer, Appended::Have { length });
    }
    world.reopen().await;
    let id = stream(&leased, Kind::Log);
    let read = |offset: usize, max| {
        let (store, organisation_id, id) =
            (world.store.clone(), world.organisation_id.clone(), id.clone());
        async move { store.log(&organisation_id, &id, offset as u64, max).await.expect("read") }
    };
    assert_eq!(read(0, usize::MAX).await.bytes, whole);
    for offset in [1, 39_999, 600_000, 1_234_567, whole.len() - 3] {
        let end = (offset + 70_000).min(whole.len());
        assert_eq!(read(offset, 70_000).await.bytes, whole[offset..end]);
    }
    world.check().await;
    world.store.clone().close().await;
    assert!(world.home.count("blobs") >= 3);
    assert!(world.home.count("stream_pieces") < 30);
}

async fn a_long_session_is_compacted_and_reads_the_same(mut world: World) {
    let leased = running(&world).await;
    let entry = |n: u64| format!("{{\"seq\":{n},\"text\":\"{}\"}}", "x".repeat(3_000));
    let mut first = 1;
    for _ in 0..30 {
        let entries = (first..first + 20).map(entry).collect();
        append(&world, &leased, Content::Session { first, entries }).await;
        first += 20;
    }
    world.reopen().await;
    let id = stream(&leased, Kind::Session);
    for (after, max) in [(0, 1_000), (137, 50), (599, 10), (600, 10)] {
        let read = world.store.session(&world.organisation_id, &id, after, max).await;
        let last = (after + max as u64).min(600);
        let wanted: Vec<(u64, String)> = (after + 1..=last).map(|n| (n, entry(n))).collect();
        assert_eq!(read.expect("read"), wanted);
    }
    world.check().await;
}

fn artifact(leased: &Leased, bytes: &[u8]) -> NewArtifact {
    NewArtifact {
        job_id: leased.job_id.clone(),
        step_id: step_id("a"),
        kind: artifacts::Kind::Checkpoint,
        commit: "c0ffee".into(),
        bytes: bytes.to_vec(),
    }
}

async fn only_the_lease_that_holds_writes_streams_and_artifacts(world: World) {
    let mut leased = running(&world).await;
    let stranger = RunnerId::new(world.now, chance());
    let kept = world.store.keep(stranger, 1, artifact(&leased, b"x"), world.now).await;
    assert!(!kept.expect("answered"));
    let answer = world.report(world.reports(&leased, 2, all_well(&["a"])[1..].to_vec())).await;
    assert_eq!(answer.hold, windlass_store::work::Hold::Ended);
    let late = Content::Log { offset: 0, bytes: b"the last words".to_vec() };
    assert_eq!(append(&world, &leased, late.clone()).await, Appended::Have { length: 14 });
    leased.epoch = 2;
    assert_eq!(append(&world, &leased, late).await, Appended::Lost);
    let kept = world.store.keep(world.runner_id.clone(), 2, artifact(&leased, b"x"), world.now);
    assert!(!kept.await.expect("answered"));
    world.check().await;
}

async fn output_of_a_round_that_was_not_reported_yet_is_kept_and_of_no_step_is_refused(
    world: World,
) {
    let mut spec = world.spec(&["a"]);
    let each = serde_json::json!({
        "id": "each",
        "action": { "kind": "for_each", "items": "[1, 2]", "steps": [
            { "id": "fix", "action": { "kind": "run", "command": "true" } },
        ]},
    });
    spec.steps.push(serde_json::from_value(each).expect("a step"));
    let new = world.new_run("Rounds", vec![spec]);
    world.store.create_run(world.by.clone(), new, world.now).await.expect("started");
    let leased = world.lease(1).await.pop().expect("one job");
    for (id, answer) in [
        ("fix.1", Appended::Have { length: 2 }),
        ("fix.2", Appended::Have { length: 2 }),
        ("fix", Appended::Have { length: 2 }),
        ("fix.0", Appended::Lost),
        ("fix.99999999", Appended::Lost),
        ("other.1", Appended::Lost),
        ("each.fix", Appended::Lost),
    ] {
        let stream = StreamId { step_id: step_id(id), ..stream(&leased, Kind::Log) };
        let content = Content::Log { offset: 0, bytes: b"ok".to_vec() };
        let piece = Append { stream, epoch: leased.epoch, content };
        let answers = world.store.append(world.runner_id.clone(), vec![piece], world.now).await;
        assert_eq!(answers.expect("answered"), [answer], "{id}");
    }
    world.check().await;
}

async fn artifacts_are_kept_replaced_and_found(mut world: World) {
    let leased = running(&world).await;
    let small = b"small".to_vec();
    let large: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    for bytes in [&small, &large] {
        let new = artifact(&leased, bytes);
        let kept = world.store.keep(world.runner_id.clone(), 1, new, world.now).await;
        assert!(kept.expect("kept"));
        world.reopen().await;
        let kind = artifacts::Kind::Checkpoint;
        let found = world
            .store
            .artifact(&world.organisation_id, &leased.job_id, &step_id("a"), kind)
            .await
            .expect("read")
            .expect("there");
        assert_eq!((&found.1, found.0.size), (bytes, bytes.len() as u64));
        let list = world.store.artifacts(&world.organisation_id, &leased.job_id).await;
        assert_eq!(list.expect("listed"), [found.0]);
    }
    let kind = artifacts::Kind::Diff;
    let none =
        world.store.artifact(&world.organisation_id, &leased.job_id, &step_id("a"), kind).await;
    assert_eq!(none.expect("read"), None);
    world.check().await;
}

async fn a_blob_to_which_nothing_refers_is_swept(world: World) {
    let leased = running(&world).await;
    let kept = artifact(&leased, &vec![1; 50_000]);
    assert!(world.store.keep(world.runner_id.clone(), 1, kept, world.now).await.expect("kept"));
    let stray = artifact(&leased, &vec![2; 50_000]);
    let refused = world.store.keep(world.runner_id.clone(), 9, stray, world.now).await;
    assert!(!refused.expect("answered"));
    let hour = std::time::Duration::from_secs(3_600);
    assert_eq!(world.store.sweep(hour).await.expect("swept"), 0);
    assert_eq!(world.store.sweep(std::time::Duration::ZERO).await.expect("swept"), 1);
    world.check().await;
}

async fn reports_on_readiness_are_kept_replaced_and_listed_newest_first(mut world: World) {
    let leased = running(&world).await;
    let new = |score: u32| NewReadiness {
        job_id: leased.job_id.clone(),
        step_id: step_id("a"),
        score,
        report: format!("{{\"score\":{score}}}"),
    };
    let stranger = RunnerId::new(world.now, chance());
    let kept = world.store.keep_readiness(stranger, 1, new(1), world.now).await;
    assert!(!kept.expect("answered"), "only the lease that holds may");
    for score in [40, 85] {
        let runner_id = world.runner_id.clone();
        let kept = world.store.keep_readiness(runner_id, 1, new(score), world.now).await;
        assert!(kept.expect("kept"));
    }
    world.reopen().await;
    let list = async |job_id, before| {
        let organisation_id = &world.organisation_id;
        let found =
            world.store.readiness(organisation_id, &leased.project_id, job_id, before, 10).await;
        found.expect("listed")
    };
    let expected = ReadinessRow {
        job_id: leased.job_id.clone(),
        step_id: step_id("a"),
        run_id: leased.run_id.clone(),
        score: 85,
        report: "{\"score\":85}".to_owned(),
        at: world.now,
    };
    assert_eq!(list(None, None).await, std::slice::from_ref(&expected));
    assert_eq!(list(Some(&leased.job_id), None).await, [expected]);
    assert_eq!(list(None, Some(world.now)).await, []);
    let other = windlass_run::JobId::new(world.now, chance());
    assert_eq!(list(Some(&other), None).await, []);
    world.check().await;
}
