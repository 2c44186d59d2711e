//! Runners: labels, wishes, codes, and tokens that are good for one of them.

use windlass_run::{
    Duration, JobId, RunnerId, TokenId,
    actor::{Actor, By},
};
use windlass_store::{
    Error,
    identity::{Role, SecretHash, Token},
    work::{Join, LeaseAsk, Leases, NewRunner, Registration, Wish},
};

use crate::support::{TTL, World, at, chance};

on_both! {
    a_job_goes_only_to_a_runner_with_its_labels;
    what_nobody_can_take_stands_in_nobodys_way;
    a_drained_runner_gets_no_job_until_it_may_work_again;
    a_restart_is_fulfilled_by_the_next_registration;
    a_token_is_good_for_the_runner_that_first_came_with_it;
    a_code_lets_one_runner_join_once;
    a_runner_that_holds_something_is_removed_only_by_force;
}

impl World {
    async fn ask(&self, runner_id: &RunnerId, max: u32) -> Leases {
        let ask = LeaseAsk {
            organisation_id: self.organisation_id.clone(),
            runner_id: runner_id.clone(),
            max,
            ttl: TTL,
        };
        self.store.lease(ask, self.now).await.expect("answered")
    }

    async fn leased(&self, runner_id: &RunnerId, max: u32) -> Vec<String> {
        let leases = self.ask(runner_id, max).await.leases;
        leases.into_iter().map(|leased| leased.title).collect()
    }

    async fn start_on(&self, title: &str, labels: &str) -> JobId {
        let mut spec = self.spec(&["a"]);
        spec.runs_on = labels.parse().expect("labels");
        let new = self.new_run(title, vec![spec]);
        let started = self.store.create_run(self.by.clone(), new, self.now).await;
        started.expect("started").job_ids.remove(0)
    }

    async fn token(&self, secret: &str) -> TokenId {
        let token = Token {
            id: TokenId::new(self.now, chance()),
            organisation_id: self.organisation_id.clone(),
            name: "runner".into(),
            role: Role::Runner,
            user_id: None,
            runner_id: None,
            created_at: self.now,
            expires_at: None,
            revoked_at: None,
        };
        let id = token.id.clone();
        let hash = SecretHash::of(secret);
        self.store.create_token(self.by.clone(), token, hash).await.expect("made");
        id
    }

    async fn register(&self, token_id: &TokenId, id: RunnerId) -> Result<RunnerId, Error> {
        let registration = Registration {
            runner: self.runner(id),
            token_id: Some(token_id.clone()),
            alive_since: self.now - TTL,
        };
        self.store.register_runner(self.by.clone(), registration, self.now).await
    }

    async fn owner(&self, secret: &str) -> Option<Option<RunnerId>> {
        let token = self.store.token(SecretHash::of(secret), self.now).await.expect("asked");
        token.map(|token| token.runner_id)
    }
}

async fn a_job_goes_only_to_a_runner_with_its_labels(mut world: World) {
    let big = world.another_runner("big,gpu,linux").await;
    world.start_on("on a gpu", "gpu").await;
    world.start_on("anywhere", "").await;
    world.start_on("on a big one with a gpu", "big,gpu").await;
    let plain = world.runner_id.clone();
    assert_eq!(world.leased(&plain, 9).await, ["anywhere"]);
    assert_eq!(world.leased(&plain, 9).await, [""; 0]);
    let due = world.store.next_due(&world.organisation_id, &plain).await.expect("known");
    assert_eq!(due, None);
    // A restarted server reads what waits from its rows.
    world.reopen().await;
    assert_eq!(world.leased(&plain, 9).await, [""; 0]);
    assert_eq!(world.leased(&big, 9).await, ["on a gpu", "on a big one with a gpu"]);
    world.check().await;
}

async fn what_nobody_can_take_stands_in_nobodys_way(world: World) {
    for n in 0..50 {
        world.start_on(&format!("stuck {n}"), "moon").await;
    }
    world.start_on("fine", "").await;
    assert_eq!(world.leased(&world.runner_id, 1).await, ["fine"]);
    world.start_on("fine too", "").await;
    assert_eq!(world.leased(&world.runner_id, 9).await, ["fine too"]);
    let moon = world.another_runner("moon").await;
    world.start_on("last", "").await;
    let leased = world.leased(&moon, 99).await;
    assert_eq!((leased.len(), &*leased[0], &*leased[50]), (51, "stuck 0", "last"));
}

async fn a_drained_runner_gets_no_job_until_it_may_work_again(mut world: World) {
    let runner_id = world.runner_id.clone();
    let wish = async |world: &World, wish| {
        let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
        let told = world.store.wish_of_runner(by, organisation_id, runner_id.clone(), wish, at(1));
        told.await.expect("told");
    };
    wish(&world, Wish::Drain).await;
    world.start_on("waits", "").await;
    let answer = world.ask(&runner_id, 1).await;
    assert_eq!((answer.wish, answer.leases.len()), (Wish::Drain, 0));
    // Neither its own restart nor the server's lets it work again.
    world.reopen().await;
    let registration = Registration::without_token(world.runner(runner_id.clone()));
    world.store.register_runner(world.by.clone(), registration, at(2)).await.expect("registered");
    assert_eq!(world.ask(&runner_id, 1).await.wish, Wish::Drain);
    let rows = world.store.runners(&world.organisation_id, at(0)).await.expect("listed");
    assert_eq!(rows.iter().map(|row| row.wish).collect::<Vec<_>>(), [Wish::Drain]);
    wish(&world, Wish::Work).await;
    assert_eq!(world.leased(&runner_id, 1).await, ["waits"]);
}

async fn a_restart_is_fulfilled_by_the_next_registration(world: World) {
    let runner_id = world.runner_id.clone();
    let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
    let told =
        world.store.wish_of_runner(by, organisation_id, runner_id.clone(), Wish::Restart, at(1));
    told.await.expect("told");
    assert_eq!(world.ask(&runner_id, 1).await.wish, Wish::Restart);
    let registration = Registration::without_token(world.runner(runner_id.clone()));
    world.store.register_runner(world.by.clone(), registration, at(2)).await.expect("registered");
    assert_eq!(world.ask(&runner_id, 1).await.wish, Wish::Work);
}

async fn a_token_is_good_for_the_runner_that_first_came_with_it(mut world: World) {
    world.now = at(100);
    let token = world.token("wl_a").await;
    assert_eq!(world.owner("wl_a").await, Some(None));
    let first = world.register(&token, RunnerId::new(world.now, chance())).await.expect("first");
    assert_eq!(world.owner("wl_a").await, Some(Some(first.clone())));
    // The same one again, and another one while that is at work.
    assert_eq!(world.register(&token, first.clone()).await.expect("again"), first);
    let refused = world.register(&token, RunnerId::new(world.now, chance())).await;
    assert!(
        matches!(&refused, Err(Error::Conflict { why }) if why.contains("at work")),
        "{refused:?}"
    );
    // One that lost its memory and was silent long enough is the same one.
    world.now = world.now + TTL + Duration::from_secs(1);
    let fresh = RunnerId::new(world.now, chance());
    assert_eq!(world.register(&token, fresh).await.expect("taken for the first"), first);
    // A new token for it ends the old one.
    let newer = world.token("wl_b").await;
    assert_eq!(world.register(&newer, first.clone()).await.expect("again"), first);
    assert_eq!((world.owner("wl_a").await, world.owner("wl_b").await), (None, Some(Some(first))));
}

async fn a_code_lets_one_runner_join_once(mut world: World) {
    let code = |secret: &str| SecretHash::of(secret);
    for (secret, until) in [("good", 60), ("old", 10)] {
        let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
        let made = world.store.invite_runner(by, organisation_id, code(secret), at(until), at(0));
        made.await.expect("made");
    }
    world.now = at(30);
    let join = |world: &World, secret: &str, token: &str| Join {
        code: code(secret),
        runner: NewRunner { capacity: 0, ..world.runner(RunnerId::new(world.now, chance())) },
        token_id: TokenId::new(world.now, chance()),
        token: SecretHash::of(token),
    };
    let joined = async |world: &World, secret: &str, token: &str| {
        let join = join(world, secret, token);
        world.store.join_runner(join, world.now).await.expect("answered")
    };
    assert_eq!(joined(&world, "unknown", "wl_a").await, None);
    assert_eq!(joined(&world, "old", "wl_a").await, None);
    let id = joined(&world, "good", "wl_a").await.expect("joined");
    assert_eq!(world.owner("wl_a").await, Some(Some(id.clone())));
    // The answer was lost: the same call again, even after the code's time.
    world.now = at(90);
    assert_eq!(joined(&world, "good", "wl_a").await, Some(id.clone()));
    assert_eq!(joined(&world, "good", "wl_b").await, None);
    assert_eq!(world.owner("wl_b").await, None);
    let rows = world.store.runners(&world.organisation_id, at(20)).await.expect("listed");
    assert_eq!(rows.iter().filter(|row| row.runner.id == id).count(), 1);
}

async fn a_runner_that_holds_something_is_removed_only_by_force(mut world: World) {
    let token = world.token("wl_a").await;
    let id = world.register(&token, RunnerId::new(world.now, chance())).await.expect("there");
    world.start_on("held", "").await;
    assert_eq!(world.leased(&id, 1).await, ["held"]);
    let remove = async |world: &World, force| {
        let by = By::own(Actor::System("test".into()));
        let organisation_id = world.organisation_id.clone();
        world.store.remove_runner(by, organisation_id, id.clone(), force, world.now).await
    };
    let refused = remove(&world, false).await;
    let holds = matches!(&refused, Err(Error::Conflict { why }) if why.contains("holds 1 jobs"));
    assert!(holds, "{refused:?}");
    remove(&world, true).await.expect("removed");
    assert_eq!(world.owner("wl_a").await, None);
    assert!(matches!(world.register(&token, id.clone()).await, Err(Error::NotFound { .. })));
    // Its job goes to another when the lease has run out.
    world.now = at(61);
    assert_eq!(world.store.watch(world.now).await.expect("watched").requeued.len(), 1);
    world.now = at(70);
    assert_eq!(world.leased(&world.runner_id, 1).await, ["held"]);
    world.check().await;
}
