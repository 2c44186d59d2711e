//! Secrets and variables: versions, owners, lists without values, and what is left of one that is
//! removed.

use serde_json::json;
use windlass_run::{ProjectId, SecretId, UserId};
use windlass_store::{
    Error,
    secrets::{Kind, Scope, Secret, Stored, Wanted},
};

use crate::support::{World, at, chance};

on_both! {
    a_secret_is_set_again_only_as_its_next_version;
    a_job_is_offered_what_its_organisation_project_and_user_own;
    a_list_goes_on_where_it_ended_and_shows_no_value_of_a_secret;
    what_is_removed_leaves_no_value_and_an_entry_in_the_audit_log;
    the_secrets_of_a_project_go_with_it;
    a_value_is_of_its_kind;
}

fn sealed(text: &str) -> Stored {
    Stored::Sealed(text.as_bytes().to_vec())
}

fn secret(world: &World, name: &str, scope: Scope, owner: &str) -> Secret {
    Secret {
        id: SecretId::new(world.now, chance()),
        organisation_id: world.organisation_id.clone(),
        kind: Kind::Secret,
        scope,
        owner: owner.to_owned(),
        name: name.to_owned(),
        form: json!({ "kind": "environment" }),
        grants: json!({ "branches": ["main"] }),
        version: 1,
        created_at: world.now,
        created_by: world.by.clone(),
        updated_at: world.now,
        updated_by: world.by.clone(),
    }
}

fn of_all(world: &World, name: &str) -> Secret {
    secret(world, name, Scope::Organisation, world.organisation_id.as_str())
}

async fn set(world: &World, secret: &Secret, value: Stored) -> Result<(), Error> {
    world.store.set_secret(world.by.clone(), secret.clone(), value).await
}

async fn names(world: &World, wanted: Wanted) -> Vec<String> {
    let found = world.store.secrets(&world.organisation_id, wanted, 100).await.expect("listed");
    found.into_iter().map(|(secret, _)| secret.name).collect()
}

async fn a_secret_is_set_again_only_as_its_next_version(world: World) {
    let first = of_all(&world, "TOKEN");
    set(&world, &first, sealed("one")).await.expect("set");
    let again = set(&world, &first, sealed("two")).await;
    assert!(matches!(again, Err(Error::Conflict { .. })), "{again:?}");
    let second = Secret { version: 2, updated_at: at(5), ..first.clone() };
    set(&world, &second, sealed("two")).await.expect("set again");
    let skipped = set(&world, &Secret { version: 4, ..first.clone() }, sealed("x")).await;
    assert!(matches!(skipped, Err(Error::Conflict { .. })), "{skipped:?}");
    let twin = set(&world, &of_all(&world, "TOKEN"), sealed("x")).await;
    assert!(matches!(twin, Err(Error::Conflict { .. })), "{twin:?}");
    let variable = Secret { kind: Kind::Variable, version: 3, ..first.clone() };
    let changed = set(&world, &variable, Stored::Clear("x".into())).await.expect_err("refused");
    assert!(changed.to_string().contains("there is a secret TOKEN already"), "{changed}");
    let found = world.store.secret(&world.organisation_id, &first.id).await.expect("found");
    assert_eq!(found, (second.clone(), None));
    let offered = world.store.secrets_for(&world.organisation_id, &world.project_id, None).await;
    assert_eq!(offered.expect("offered"), [(second, sealed("two"))]);
}

async fn a_job_is_offered_what_its_organisation_project_and_user_own(world: World) {
    let (ada, ben) = (UserId::new(world.now, chance()), UserId::new(world.now, chance()));
    let other = ProjectId::new(world.now, chance());
    let all = [
        of_all(&world, "A"),
        secret(&world, "B", Scope::Project, world.project_id.as_str()),
        secret(&world, "C", Scope::Project, other.as_str()),
        secret(&world, "D", Scope::User, ada.as_str()),
        secret(&world, "E", Scope::User, ben.as_str()),
    ];
    for secret in &all {
        set(&world, secret, sealed(&secret.name)).await.expect("set");
    }
    let offered = async |user: Option<&UserId>| {
        let found = world.store.secrets_for(&world.organisation_id, &world.project_id, user).await;
        found.expect("offered").into_iter().map(|(secret, _)| secret.name).collect::<Vec<_>>()
    };
    assert_eq!(offered(None).await, ["A", "B"]);
    assert_eq!(offered(Some(&ada)).await, ["A", "B", "D"]);
    assert_eq!(offered(Some(&ben)).await, ["A", "B", "E"]);
    let seen_by_ada = Wanted { visible_to: Some(ada.to_string()), ..Wanted::default() };
    assert_eq!(names(&world, seen_by_ada).await, ["A", "B", "C", "D"]);
    let nobody = Wanted { visible_to: Some(String::new()), ..Wanted::default() };
    assert_eq!(names(&world, nobody).await, ["A", "B", "C"]);
    assert_eq!(names(&world, Wanted::default()).await, ["A", "B", "C", "D", "E"]);
    let of_project = Wanted {
        scope: Some(Scope::Project),
        owner: Some(other.to_string()),
        kind: Some(Kind::Secret),
        ..Wanted::default()
    };
    assert_eq!(names(&world, of_project).await, ["C"]);
    let named = Wanted { name: Some("B".into()), ..Wanted::default() };
    assert_eq!(names(&world, named).await, ["B"]);
}

async fn a_list_goes_on_where_it_ended_and_shows_no_value_of_a_secret(world: World) {
    let variable = Secret { kind: Kind::Variable, ..of_all(&world, "B") };
    set(&world, &of_all(&world, "A"), sealed("hunter2hunter2")).await.expect("set");
    set(&world, &variable, Stored::Clear("shown".into())).await.expect("set");
    set(&world, &of_all(&world, "C"), sealed("hunter2hunter2")).await.expect("set");
    let first = world.store.secrets(&world.organisation_id, Wanted::default(), 2).await;
    let first = first.expect("listed");
    let values: Vec<_> = first.iter().map(|(s, v)| (s.name.as_str(), v.as_deref())).collect();
    assert_eq!(values, [("A", None), ("B", Some("shown"))]);
    let last = &first[1].0;
    let after = Some((last.name.clone(), last.id.to_string()));
    assert_eq!(names(&world, Wanted { after, ..Wanted::default() }).await, ["C"]);
    let variables = Wanted { kind: Some(Kind::Variable), ..Wanted::default() };
    assert_eq!(names(&world, variables).await, ["B"]);
}

async fn what_is_removed_leaves_no_value_and_an_entry_in_the_audit_log(world: World) {
    let token = of_all(&world, "TOKEN");
    set(&world, &token, sealed("hunter2hunter2")).await.expect("set");
    let remove = || {
        let (organisation_id, id) = (world.organisation_id.clone(), token.id.clone());
        world.store.remove_secret(world.by.clone(), organisation_id, id, at(9))
    };
    remove().await.expect("removed");
    assert!(matches!(remove().await, Err(Error::NotFound { what: "secret", .. })));
    assert_eq!(world.home.count("secrets"), 0);
    let audit = world.store.audit(&world.organisation_id, None, 10).await.expect("read");
    let entries: Vec<_> = audit.iter().map(|entry| entry.command.as_str()).take(2).collect();
    assert_eq!(entries, ["secret.remove", "secret.create"]);
    assert!(audit[0].detail.contains("\"name\":\"TOKEN\""), "{}", audit[0].detail);
    assert!(!format!("{audit:?}").contains("hunter2"));
}

async fn the_secrets_of_a_project_go_with_it(world: World) {
    let own = secret(&world, "A", Scope::Project, world.project_id.as_str());
    set(&world, &own, sealed("hunter2hunter2")).await.expect("set");
    set(&world, &of_all(&world, "B"), sealed("hunter2hunter2")).await.expect("set");
    let mut project = world.project("billing");
    project.archived_at = Some(at(3));
    world.store.update_project(world.by.clone(), project, at(3)).await.expect("archived");
    assert_eq!(names(&world, Wanted::default()).await, ["B"]);
}

async fn a_value_is_of_its_kind(world: World) {
    let clear = set(&world, &of_all(&world, "A"), Stored::Clear("x".into())).await;
    assert!(matches!(clear, Err(Error::Invalid { .. })), "{clear:?}");
    let variable = Secret { kind: Kind::Variable, ..of_all(&world, "A") };
    let sealed = set(&world, &variable, sealed("x")).await;
    assert!(matches!(sealed, Err(Error::Invalid { .. })), "{sealed:?}");
    assert_eq!(names(&world, Wanted::default()).await, [""; 0]);
}
