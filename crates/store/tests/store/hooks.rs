//! Hooks: made, given new secrets, removed.

use windlass_run::{OrganisationId, event::Trust};
use windlass_store::{
    Error,
    hooks::{Before, Hook},
};

use crate::support::{World, at, chance};

on_both! {
    a_hook_is_made_given_a_new_secret_and_removed;
}

async fn a_hook_is_made_given_a_new_secret_and_removed(mut world: World) {
    let (store, by) = (world.store.clone(), || world.by.clone());
    let organisation_id = &world.organisation_id;
    let first = Hook {
        organisation_id: organisation_id.clone(),
        name: "pager".into(),
        scheme: "standard".into(),
        trust: Trust::Member,
        project_id: Some(world.project_id.clone()),
        version: 1,
        sealed: vec![0, 1, 255],
        before: None,
        created_at: at(1),
        created_by: world.by.clone(),
        changed_at: at(1),
    };
    store.create_hook(by(), first.clone()).await.expect("made");
    let twin = store.create_hook(by(), first.clone()).await;
    assert!(matches!(twin, Err(Error::Conflict { .. })), "{twin:?}");
    let other = Hook { name: "alerts".into(), project_id: None, ..first.clone() };
    store.create_hook(by(), other.clone()).await.expect("made");
    let before = Some(Before { sealed: first.sealed.clone(), until: at(9) });
    let second = Hook { version: 2, sealed: vec![7], before, changed_at: at(2), ..first.clone() };
    store.change_hook(by(), second.clone()).await.expect("rotated");
    let late = store.change_hook(by(), Hook { version: 1, ..second.clone() }).await;
    assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");
    assert_eq!(store.hook(organisation_id, "pager").await.expect("found"), second);
    let finished = Hook { before: None, changed_at: at(3), ..second };
    store.change_hook(by(), finished.clone()).await.expect("finished");
    let all = store.hooks(organisation_id, None, 10).await.expect("listed");
    assert_eq!(all, [other.clone(), finished.clone()]);
    assert_eq!(store.hooks(organisation_id, Some("alerts"), 10).await.expect("more"), [finished]);
    store.remove_hook(by(), organisation_id.clone(), "pager".into(), at(4)).await.expect("gone");
    for name in ["pager", "", "pa\0ger"] {
        let missing = store.hook(organisation_id, name).await;
        assert!(matches!(missing, Err(Error::NotFound { what: "hook", .. })), "{missing:?}");
    }
    let stranger = OrganisationId::new(at(0), chance());
    assert!(store.hook(&stranger, "alerts").await.is_err());
    assert_eq!(store.hooks(&stranger, None, 10).await.expect("listed"), []);
    let audit = store.audit(organisation_id, None, 10).await.expect("read");
    let commands: Vec<_> = audit.iter().map(|entry| entry.command.as_str()).take(5).collect();
    assert_eq!(
        commands,
        ["hook.remove", "hook.finish", "hook.rotate", "hook.create", "hook.create"]
    );
    drop(store);
    world.reopen().await;
    assert_eq!(world.store.hook(&world.organisation_id, "alerts").await.expect("kept"), other);
}
