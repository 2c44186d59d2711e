//! Organisations, users, sign-in, tokens, audit.

use windlass_run::{OrganisationId, TokenId, UserId, actor::Actor};
use windlass_store::{
    Error,
    identity::{Organisation, Role, SecretHash, Token, User},
};

use crate::support::{World, at, chance};

on_both! {
    names_of_organisations_and_users_are_unique;
    a_link_signs_in_once_and_the_session_ends;
    an_expired_link_or_session_is_worth_nothing;
    a_user_who_is_shut_out_is_out_at_once;
    the_last_admin_stays_one;
    a_token_is_good_until_it_expires_or_is_taken_back;
    every_command_of_a_person_is_in_the_audit_log;
}

fn user(world: &World, name: &str, role: Role) -> User {
    User {
        id: UserId::new(world.now, chance()),
        organisation_id: world.organisation_id.clone(),
        name: name.into(),
        role,
        password_hash: None,
        created_at: world.now,
        disabled_at: None,
    }
}

async fn names_of_organisations_and_users_are_unique(world: World) {
    let (store, by) = (&world.store, || world.by.clone());
    let same = store.organisations().await.expect("listed").pop().expect("one");
    store.create_organisation(by(), same.clone()).await.expect("the same again");
    let id = OrganisationId::new(world.now, chance());
    let twin = Organisation { id: id.clone(), ..same };
    let refused = store.create_organisation(by(), twin).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    let ben = user(&world, "ben", Role::Viewer);
    store.create_user(by(), ben.clone()).await.expect("made");
    let refused = store.create_user(by(), user(&world, "ben", Role::Admin)).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    assert_eq!(store.user_named(&world.organisation_id, "ben").await.expect("found"), ben);
    assert_eq!(store.user(&ben.id).await.expect("found"), ben);
    assert!(store.user_named(&id, "ben").await.is_err());
    let names = store.users(&world.organisation_id).await.expect("listed");
    assert_eq!(names.len(), 2);
}

async fn a_link_signs_in_once_and_the_session_ends(world: World) {
    let store = &world.store;
    let ben = user(&world, "ben", Role::Operator);
    store.create_user(world.by.clone(), ben.clone()).await.expect("made");
    let (link, session) = (SecretHash::of("link"), SecretHash::of("session"));
    store.create_link(world.by.clone(), ben.id.clone(), link, at(100), at(0)).await.expect("made");
    let signed_in = store.use_link(link, session, at(1_000), at(50)).await.expect("answered");
    assert_eq!(signed_in, Some(ben.clone()));
    let other = SecretHash::of("other session");
    assert_eq!(store.use_link(link, other, at(1_000), at(51)).await.expect("answered"), None);
    assert_eq!(store.session_user(session, at(60)).await.expect("answered"), Some(ben));
    store.end_session(world.by.clone(), session, at(61)).await.expect("ended");
    store.end_session(world.by.clone(), session, at(61)).await.expect("ended before");
    assert_eq!(store.session_user(session, at(62)).await.expect("answered"), None);
}

async fn an_expired_link_or_session_is_worth_nothing(world: World) {
    let store = &world.store;
    let ada = store.user_named(&world.organisation_id, "ada").await.expect("found");
    let (link, session) = (SecretHash::of("link"), SecretHash::of("session"));
    let by = || world.by.clone();
    store.create_link(by(), ada.id.clone(), link, at(100), at(0)).await.expect("made");
    assert_eq!(store.use_link(link, session, at(500), at(100)).await.expect("answered"), None);
    store.create_session(by(), ada.id.clone(), session, at(500), at(100)).await.expect("begun");
    assert!(store.session_user(session, at(499)).await.expect("answered").is_some());
    assert_eq!(store.session_user(session, at(500)).await.expect("answered"), None);
}

async fn a_user_who_is_shut_out_is_out_at_once(world: World) {
    let (store, by) = (&world.store, || world.by.clone());
    let ben = user(&world, "ben", Role::Operator);
    store.create_user(by(), ben.clone()).await.expect("made");
    let (link, session) = (SecretHash::of("link"), SecretHash::of("session"));
    store.create_link(by(), ben.id.clone(), link, at(100), at(0)).await.expect("made");
    store.create_session(by(), ben.id.clone(), session, at(500), at(0)).await.expect("begun");
    let out = User { disabled_at: Some(at(10)), ..ben.clone() };
    store.update_user(by(), out, at(10)).await.expect("shut out");
    assert_eq!(store.session_user(session, at(11)).await.expect("answered"), None);
    assert_eq!(store.use_link(link, session, at(500), at(11)).await.expect("answered"), None);
    let begun = store.create_session(by(), ben.id, session, at(500), at(12)).await;
    assert!(matches!(begun, Err(Error::Conflict { .. })), "{begun:?}");
}

async fn the_last_admin_stays_one(world: World) {
    let (store, by) = (&world.store, || world.by.clone());
    let ada = store.user_named(&world.organisation_id, "ada").await.expect("found");
    let less = User { role: Role::Viewer, ..ada.clone() };
    let refused = store.update_user(by(), less.clone(), at(1)).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    store.create_user(by(), user(&world, "ben", Role::Admin)).await.expect("made");
    store.update_user(by(), less.clone(), at(2)).await.expect("changed");
    assert_eq!(store.user(&ada.id).await.expect("found"), less);
}

async fn a_token_is_good_until_it_expires_or_is_taken_back(mut world: World) {
    let token = Token {
        id: TokenId::new(world.now, chance()),
        organisation_id: world.organisation_id.clone(),
        name: "ci".into(),
        role: Role::Runner,
        user_id: None,
        runner_id: None,
        created_at: at(0),
        expires_at: Some(at(100)),
        revoked_at: None,
    };
    let secret = SecretHash::of("wl_secret");
    let by = world.by.clone();
    world.store.create_token(by.clone(), token.clone(), secret).await.expect("made");
    for _ in 0..2 {
        assert_eq!(world.store.token(secret, at(99)).await.expect("asked"), Some(token.clone()));
        assert_eq!(world.store.token(secret, at(100)).await.expect("asked"), None);
        assert_eq!(world.store.token(SecretHash::of("x"), at(1)).await.expect("asked"), None);
        world.reopen().await;
    }
    let stranger = OrganisationId::new(world.now, chance());
    let id = || token.id.clone();
    assert!(world.store.revoke_token(by.clone(), stranger, id(), at(50)).await.is_err());
    assert!(world.store.token(secret, at(50)).await.expect("asked").is_some());
    let organisation_id = || world.organisation_id.clone();
    for seconds in [50, 51] {
        let revoked = world.store.revoke_token(by.clone(), organisation_id(), id(), at(seconds));
        revoked.await.expect("taken back");
    }
    assert_eq!(world.store.token(secret, at(51)).await.expect("asked"), None);
    let tokens = world.store.tokens(&world.organisation_id).await.expect("listed");
    assert_eq!(tokens, [Token { revoked_at: Some(at(50)), ..token }]);
}

async fn every_command_of_a_person_is_in_the_audit_log(world: World) {
    let run = world.start("Audited", &["a"]).await;
    let store = &world.store;
    let (by, organisation_id) = (world.by.clone(), world.organisation_id.clone());
    let job_id = run.job_ids[0].clone();
    store
        .cancel_job(by.clone(), organisation_id.clone(), job_id.clone(), "enough".into(), at(1))
        .await
        .expect("cancelled");
    let detail = serde_json::json!({ "kind": "test" });
    store
        .note(by.clone(), organisation_id, "settings.change", "theme".into(), detail, at(2))
        .await
        .expect("noted");
    let log = store.audit(&world.organisation_id, None, 100).await.expect("read");
    let said: Vec<&str> = log.iter().map(|entry| entry.command.as_str()).collect();
    assert_eq!(
        said,
        [
            "settings.change",
            "job.cancel",
            "run.create",
            "runner.register",
            "project.create",
            "user.create",
            "organisation.create"
        ]
    );
    assert!(log.iter().all(|entry| entry.by == by));
    assert_eq!(
        (&log[1].subject, &log[1].detail),
        (&job_id.to_string(), &r#"{"reason":"enough"}"#.to_owned())
    );
    let rest = store.audit(&world.organisation_id, Some(log[4].seq), 100).await.expect("read");
    assert_eq!(rest, log[5..]);
    let journal = store.journal(&world.organisation_id, &job_id, 0, 10).await.expect("read");
    assert!(journal.iter().all(|entry| matches!(entry.by.actor, Actor::User(_))));
}
