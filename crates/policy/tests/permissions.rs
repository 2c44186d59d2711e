//! The permission table is compared with a file, so that every change of rights shows in a diff.

use windlass_policy::permission::{Action, Role, allows, render};

#[test]
#[expect(clippy::disallowed_methods, reason = "the way to accept a new table")]
fn the_table_is_the_golden_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permissions.golden");
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    let table = render();
    if std::env::var_os("WINDLASS_BLESS").is_some() {
        std::fs::write(path, &table).expect("the golden file can be written");
        return;
    }
    assert_eq!(table, golden, "rights changed; if it is meant, run again with WINDLASS_BLESS=1");
}

#[test]
fn a_runner_does_nothing_that_a_person_does_and_no_person_is_a_runner() {
    for action in Action::ALL {
        let person = [Role::Viewer, Role::Operator, Role::Reviewer, Role::Admin]
            .map(|role| allows(role, *action));
        assert_ne!(person.contains(&true), allows(Role::Runner, *action), "{}", action.name());
    }
}

#[test]
fn names_are_unique_and_are_what_serde_writes() {
    let mut names: Vec<_> = Action::ALL.iter().map(|action| action.name()).collect();
    for action in Action::ALL {
        assert_eq!(serde_json::to_value(action).expect("a name"), action.name());
    }
    for role in Role::ALL {
        assert_eq!(serde_json::to_value(role).expect("a name"), role.name());
        assert_eq!(Role::parse(role.name()), Some(role));
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Action::ALL.len());
}
