//! Lists, filters, search, the feed.

use windlass_run::{JobId, ProjectId, job::Outcome};
use windlass_store::runs::{Filter, Slice, Standing};

use crate::support::{World, all_well, at, chance, failed, started};

on_both! {
    pages_are_cut_by_key_and_have_every_run_once;
    filters_and_search_hold_together;
    the_feed_tells_what_changed_in_order_and_only_to_its_organisation;
    lists_and_details_of_another_organisation_are_not_there;
}

async fn pages_are_cut_by_key_and_have_every_run_once(world: World) {
    let mut titles = Vec::new();
    for n in 0..25 {
        titles.push(format!("Task {n}"));
        world.start(&titles[n], &["a"]).await;
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let slice = Slice { before, limit: 10 };
        let page = world.store.runs(&world.organisation_id, Filter::default(), slice).await;
        let page = page.expect("listed");
        let Some(last) = page.last() else { break };
        before = Some(last.number);
        seen.extend(page.into_iter().map(|run| run.title));
        // What arrives meanwhile shifts nothing.
        world.start("A late one", &["a"]).await;
    }
    titles.reverse();
    assert_eq!(seen, titles);
    world.check().await;
}

async fn search(world: &World, filter: Filter) -> Vec<String> {
    let slice = Slice { before: None, limit: 50 };
    let runs = world.store.runs(&world.organisation_id, filter.clone(), slice).await;
    let jobs = world.store.jobs(&world.organisation_id, filter.clone(), slice).await;
    let runs: Vec<String> = runs.expect("listed").into_iter().map(|run| run.title).collect();
    if filter.project_id.is_none() {
        let jobs: Vec<String> = jobs.expect("listed").into_iter().map(|job| job.title).collect();
        assert_eq!(runs, jobs);
    }
    runs
}

async fn filters_and_search_hold_together(mut world: World) {
    world.start("Fix the parser of dates", &["a"]).await;
    world.start("Fix the printer", &["a"]).await;
    world.start("Update Überblick and naïve café", &["a"]).await;
    let leased = world.lease(2).await;
    world.report(world.reports(&leased[0], 1, vec![started("a"), failed("a")])).await;
    world.reopen().await;
    let words = |text: &str| Filter { search: Some(text.into()), ..Filter::default() };
    assert_eq!(search(&world, words("fix")).await, ["Fix the printer", "Fix the parser of dates"]);
    assert_eq!(search(&world, words("the par")).await, ["Fix the parser of dates"]);
    assert_eq!(search(&world, words("überbl")).await, ["Update Überblick and naïve café"]);
    assert_eq!(search(&world, words("fix' OR 1=1 --")).await, Vec::<String>::new());
    assert_eq!(search(&world, words("%")).await, Vec::<String>::new());
    let standing = Some(Standing::Ended(Outcome::Failed));
    let failed = Filter { standing, ..words("fix") };
    assert_eq!(search(&world, failed).await, ["Fix the parser of dates"]);
    let live = |live| Filter { live: Some(live), ..Filter::default() };
    assert_eq!(
        search(&world, live(true)).await,
        ["Update Überblick and naïve café", "Fix the printer"]
    );
    assert_eq!(search(&world, live(false)).await, ["Fix the parser of dates"]);
    let slice = Slice { before: None, limit: 50 };
    let elsewhere = ProjectId::new(world.now, chance());
    for (project_id, n) in [(world.project_id.clone(), 3), (elsewhere, 0)] {
        let filter = Filter { project_id: Some(project_id), ..Filter::default() };
        let jobs = world.store.jobs(&world.organisation_id, filter, slice).await;
        assert_eq!(jobs.expect("listed").len(), n);
    }
    let last = world.store.runs(&world.organisation_id, words("fix"), slice).await;
    let first = last.expect("listed").first().map(|run| run.number);
    let rest = Slice { before: first, limit: 50 };
    let rest = world.store.runs(&world.organisation_id, words("fix"), rest).await;
    assert_eq!(rest.expect("listed").len(), 1);
    world.check().await;
}

async fn the_feed_tells_what_changed_in_order_and_only_to_its_organisation(mut world: World) {
    let mut hints = world.store.subscribe();
    let before = world.store.feed(&world.organisation_id, 0, 100).await.expect("read");
    let before = before.last().map_or(0, |item| item.seq);
    let run = world.start("Told", &["a"]).await;
    hints.changed().await.expect("still open");
    let hint = *hints.borrow_and_update();
    let told = world.store.feed(&world.organisation_id, before, 100).await.expect("read");
    assert_eq!(hint.feed, told.last().expect("something").seq);
    let said = |items: &[windlass_store::feed::FeedItem]| -> Vec<(String, String)> {
        items.iter().map(|item| (item.subject.clone(), item.what.clone())).collect()
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(said(&told), [pair("run", "queued"), pair("job", "queued")]);
    assert_eq!((&told[0].id, &told[1].id), (&run.run_id.to_string(), &run.job_ids[0].to_string()));
    let leased = world.lease(1).await.pop().expect("one job");
    world.report(world.reports(&leased, 1, all_well(&["a"]))).await;
    world.reopen().await;
    let told = world.store.feed(&world.organisation_id, hint.feed, 100).await.expect("read");
    assert!(told.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert_eq!(
        said(&told),
        [
            pair("run", "running"),
            pair("job", "running"),
            pair("run", "succeeded"),
            pair("job", "succeeded")
        ]
    );
    let stranger = windlass_run::OrganisationId::new(world.now, chance());
    assert_eq!(world.store.feed(&stranger, 0, 100).await.expect("read"), []);
}

async fn lists_and_details_of_another_organisation_are_not_there(world: World) {
    let run = world.start("Private", &["a"]).await;
    let stranger = windlass_run::OrganisationId::new(at(0), chance());
    let slice = Slice { before: None, limit: 10 };
    let store = &world.store;
    assert_eq!(store.runs(&stranger, Filter::default(), slice).await.expect("listed"), []);
    assert_eq!(store.jobs(&stranger, Filter::default(), slice).await.expect("listed"), []);
    assert!(store.run(&stranger, &run.run_id).await.is_err());
    assert!(store.job(&stranger, &run.job_ids[0]).await.is_err());
    assert!(store.journal(&stranger, &run.job_ids[0], 0, 10).await.is_err());
    assert!(store.streams(&stranger, &run.job_ids[0]).await.is_err());
    assert!(store.ledger(&stranger, &run.job_ids[0]).await.is_err());
    assert!(store.artifacts(&stranger, &run.job_ids[0]).await.is_err());
    let nobody = JobId::new(at(0), chance());
    assert!(store.job(&world.organisation_id, &nobody).await.is_err());
    let (by, reason) = (world.by.clone(), "mine".to_owned());
    let cancelled = store.cancel_run(by.clone(), stranger.clone(), run.run_id, reason, world.now);
    assert!(cancelled.await.is_err());
    let new = windlass_store::runs::NewRun {
        organisation_id: stranger,
        ..world.new_run("In another's project", vec![world.spec(&["a"])])
    };
    let started = store.create_run(by, new, world.now).await;
    assert!(matches!(started, Err(windlass_store::Error::NotFound { what: "project", .. })));
}
