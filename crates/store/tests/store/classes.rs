//! Environment classes: made once, changed, removed; the usual one is always there to be changed.

use windlass_run::{Class, OrganisationId, class::DEFAULT};
use windlass_store::Error;

use crate::support::{World, chance};

on_both! {
    a_class_is_made_once_changed_and_removed;
    the_usual_class_is_changed_and_becomes_itself_again;
    classes_belong_to_their_organisation_and_are_not_too_many;
}

fn class(name: &str, memory_mib: u64) -> Class {
    Class { name: name.to_owned(), memory_bytes: Some(memory_mib << 20), ..Class::default() }
}

async fn make(world: &World, class: Class) -> Result<(), Error> {
    let organisation_id = world.organisation_id.clone();
    world.store.create_class(world.by.clone(), organisation_id, class, world.now).await
}

async fn change(world: &World, class: Class) -> Result<(), Error> {
    let organisation_id = world.organisation_id.clone();
    world.store.change_class(world.by.clone(), organisation_id, class, world.now).await
}

async fn remove(world: &World, name: &str) -> Result<(), Error> {
    let organisation_id = world.organisation_id.clone();
    world.store.remove_class(world.by.clone(), organisation_id, name.to_owned(), world.now).await
}

async fn all(world: &World) -> Vec<Class> {
    world.store.classes(&world.organisation_id).await.expect("read")
}

async fn a_class_is_made_once_changed_and_removed(world: World) {
    make(&world, class("small", 512)).await.expect("made");
    make(&world, class("big", 4096)).await.expect("made");
    let again = make(&world, class("big", 1)).await.expect_err("it is there");
    assert!(matches!(again, Error::Conflict { .. }), "{again}");
    let odd = make(&world, class("odd", 1)).await.expect_err("too little");
    assert!(matches!(odd, Error::Invalid { .. }), "{odd}");
    assert_eq!(all(&world).await, [class("big", 4096), class("small", 512)]);
    change(&world, class("big", 8192)).await.expect("changed");
    remove(&world, "small").await.expect("removed");
    assert_eq!(all(&world).await, [class("big", 8192)]);
    for refused in [change(&world, class("small", 64)).await, remove(&world, "small").await] {
        let refused = refused.expect_err("it is gone");
        assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
    }
}

async fn the_usual_class_is_changed_and_becomes_itself_again(world: World) {
    let made = make(&world, class(DEFAULT, 512)).await.expect_err("it is always there");
    assert!(matches!(made, Error::Conflict { .. }), "{made}");
    change(&world, class(DEFAULT, 512)).await.expect("changed");
    assert_eq!(all(&world).await, [class(DEFAULT, 512)]);
    remove(&world, DEFAULT).await.expect("as it was");
    assert_eq!(all(&world).await, []);
}

async fn classes_belong_to_their_organisation_and_are_not_too_many(world: World) {
    for n in 0..windlass_run::class::MOST {
        make(&world, class(&format!("c{n}"), 64)).await.expect("made");
    }
    let more = make(&world, class("more", 64)).await.expect_err("too many");
    assert!(matches!(more, Error::Invalid { .. }), "{more}");
    let stranger = OrganisationId::new(world.now, chance());
    assert_eq!(world.store.classes(&stranger).await.expect("read"), []);
}
