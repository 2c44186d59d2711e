//! The machine of environments, driven through `decide` and `apply` only: the stories in single
//! tests, the absences as properties over random commands.

use proptest::prelude::*;
use windlass_run::{
    Duration, ProjectId, RunnerId, Time,
    actor::{Actor, By},
    environment::{
        self, ARCHIVE, Admission, Command, Edit, Ended, Event, IDLE, LONGEST_PORT_NAME, MOST_PORTS,
        Phase, Published, Refusal, Seen, Spec, State, Steer, UNDO, Unpushed, Wanted, Way, decide,
    },
};

fn at(seconds: i64) -> Time {
    Time::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
}

fn runner(n: u128) -> RunnerId {
    RunnerId::new(at(0), n)
}

fn ada() -> By {
    By::own(Actor::System("ada".into()))
}

fn spec() -> Spec {
    Spec {
        name: "billing-1".into(),
        project_id: ProjectId::new(at(0), 1),
        base: "main".into(),
        network: vec![],
        idle: Some(IDLE),
        life: Some(Duration::from_secs(7 * 24 * 3600)),
        forked: None,
        runs_on: Default::default(),
        class: None,
        archive: Some(ARCHIVE),
    }
}

struct Environment {
    state: State,
    now: Time,
}

impl Environment {
    fn new() -> Self {
        let created = environment::create(spec(), ada()).expect("a good spec");
        Self { state: State::begin(&created, at(0)).expect("created begins"), now: at(0) }
    }

    fn running() -> Self {
        let mut it = Self::new();
        it.give(Command::Place { runner_id: runner(1) }).expect("it waits for one");
        it.see(Seen::Running);
        it
    }

    fn give(&mut self, command: Command) -> Result<Vec<Event>, Refusal> {
        let events = decide(&self.state, &command, self.now)?;
        events.iter().for_each(|event| self.state.apply(event, self.now));
        Ok(events)
    }

    fn see(&mut self, seen: Seen) {
        let generation = self.state.generation;
        self.see_as(generation, seen).expect("its runner may say so");
    }

    fn see_as(&mut self, generation: u64, seen: Seen) -> Result<Vec<Event>, Refusal> {
        let runner_id = runner(1);
        self.give(Command::Observe {
            runner_id,
            generation,
            seen,
            active_at: None,
            unpushed: None,
            ended: vec![],
        })
    }

    fn stop(&mut self) {
        self.give(Command::Stop { why: "Ada stopped it.".into() }).expect("it may be stopped");
        self.see(Seen::Stopped);
    }
}

#[test]
fn it_starts_runs_stops_and_starts_again() {
    let mut it = Environment::new();
    assert_eq!(it.state.phase, Phase::Creating);
    it.give(Command::Place { runner_id: runner(1) }).expect("placed");
    assert_eq!(it.state.phase, Phase::Starting { waits: None });
    it.see(Seen::Running);
    assert_eq!((&it.state.phase, it.state.running_since), (&Phase::Running, Some(at(0))));
    it.give(Command::Stop { why: "Ada stopped it.".into() }).expect("stopped");
    assert_eq!(it.state.phase, Phase::Stopping { why: "Ada stopped it.".into() });
    it.see(Seen::Stopped);
    assert_eq!(it.state.phase, Phase::Stopped { why: "Ada stopped it.".into() });
    it.give(Command::Start).expect("started");
    assert_eq!((it.state.wanted, it.state.generation), (Wanted::Running, 3));
    it.see(Seen::Running);
    assert_eq!(it.state.phase, Phase::Running);
}

#[test]
fn one_that_stays_stopped_is_archived_and_can_be_taken_out_again() {
    let mut it = Environment { state: Environment::running().state, now: at(0) };
    it.state.spec.life = None;
    it.stop();
    assert_eq!(environment::watch_at(&it.state), Some(at(0) + ARCHIVE));
    it.now = at(0) + ARCHIVE;
    it.give(Command::Watch).expect("always legal");
    assert_eq!((&it.state.phase, environment::watch_at(&it.state)), (&Phase::Archived, None));
    it.give(Command::Unarchive).expect("it may");
    assert_eq!(it.give(Command::Watch), Ok(vec![]), "its time begins anew");
    assert_eq!(environment::watch_at(&it.state), Some(at(0) + ARCHIVE + ARCHIVE));
}

#[test]
fn one_that_runs_without_its_definition_says_why_until_it_is_started_again() {
    let mut it = Environment::new();
    it.give(Command::Place { runner_id: runner(1) }).expect("placed");
    let recovery = Seen::Recovery { reason: "`make` exited with 2".into() };
    it.see(recovery.clone());
    assert_eq!(it.state.phase, Phase::Running);
    assert_eq!(it.state.recovery.as_deref(), Some("`make` exited with 2"));
    let generation = it.state.generation;
    assert_eq!(it.see_as(generation, recovery), Ok(vec![]), "nothing new");
    it.stop();
    assert_eq!(it.state.recovery, None);
    it.give(Command::Start).expect("started");
    it.see(Seen::Running);
    assert_eq!((&it.state.phase, &it.state.recovery), (&Phase::Running, &None));
    it.see(Seen::Recovery { reason: "x".repeat(5_000) });
    assert_eq!(it.state.recovery.as_ref().map(String::len), Some(4_000));
    it.see(Seen::Running);
    assert_eq!(it.state.recovery, None);
}

#[test]
fn a_late_observation_of_an_older_wish_changes_nothing() {
    let mut it = Environment::running();
    it.give(Command::Stop { why: "Ada stopped it.".into() }).expect("stopped");
    let before = it.state.clone();
    assert_eq!(it.see_as(before.generation - 1, Seen::Running), Ok(vec![]));
    assert_eq!(it.state, before);
}

#[test]
fn a_runner_that_does_not_keep_it_says_nothing() {
    let mut it = Environment::running();
    let generation = it.state.generation;
    let runner_id = runner(2);
    let command = Command::Observe {
        runner_id,
        generation,
        seen: Seen::Gone,
        active_at: None,
        unpushed: None,
        ended: vec![],
    };
    assert_eq!(it.give(command), Err(Refusal::NotYours));
}

#[test]
fn an_idle_one_is_stopped_and_a_busy_one_is_not() {
    let mut it = Environment::running();
    it.now = at(29 * 60);
    assert_eq!(it.give(Command::Watch), Ok(vec![]));
    let (runner_id, generation) = (runner(1), it.state.generation);
    let busy = Command::Observe {
        runner_id,
        generation,
        seen: Seen::Running,
        active_at: Some(at(20 * 60)),
        unpushed: None,
        ended: vec![],
    };
    it.give(busy).expect("heard");
    it.now = at(31 * 60);
    assert_eq!(it.give(Command::Watch), Ok(vec![]));
    assert_eq!(environment::watch_at(&it.state), Some(at(50 * 60)));
    it.now = at(50 * 60);
    it.give(Command::Watch).expect("looked");
    assert_eq!(
        it.state.phase,
        Phase::Stopping { why: "Nothing happened in it for 30 min.".into() }
    );
}

#[test]
fn activity_in_the_future_counts_as_now() {
    let mut it = Environment::running();
    it.now = at(60);
    let (runner_id, generation) = (runner(1), it.state.generation);
    let seen = Seen::Running;
    let ahead = Command::Observe {
        runner_id,
        generation,
        seen,
        active_at: Some(at(1_000_000)),
        unpushed: None,
        ended: vec![],
    };
    it.give(ahead).expect("heard");
    assert_eq!(it.state.active_at, at(60));
}

#[test]
fn a_deleted_one_can_be_had_back_until_it_is_removed() {
    let mut it = Environment::running();
    it.give(Command::Delete { by: ada() }).expect("deleted");
    assert_eq!((&it.state.phase, it.state.wanted), (&Phase::Deleting, Wanted::Stopped));
    it.see(Seen::Stopped);
    assert_eq!(it.state.phase, Phase::Deleting);
    it.give(Command::Undelete).expect("had back");
    assert_eq!(it.state.phase.name(), "stopped");
    assert_eq!(it.state.deletion, None);

    it.give(Command::Delete { by: ada() }).expect("deleted again");
    it.now = at(0) + UNDO;
    assert_eq!(environment::watch_at(&it.state), Some(it.now));
    it.give(Command::Watch).expect("looked");
    assert_eq!(it.state.wanted, Wanted::Gone);
    let refused = it.give(Command::Undelete).expect_err("too late");
    assert_eq!(refused.to_string(), "the environment was removed for good: create a new one");
    it.see(Seen::Gone);
    assert_eq!(it.state.phase, Phase::Deleted);
    assert_eq!(environment::watch_at(&it.state), None);
}

#[test]
fn one_that_no_runner_ever_had_is_gone_at_once() {
    let mut it = Environment::new();
    it.give(Command::Delete { by: ada() }).expect("deleted");
    assert_eq!(it.state.phase, Phase::Deleted);
}

#[test]
fn a_lost_one_is_found_again_as_it_is() {
    let mut it = Environment::running();
    it.give(Command::Lose { why: "The runner is away.".into() }).expect("lost");
    assert_eq!(it.state.phase, Phase::Lost { why: "The runner is away.".into() });
    it.see(Seen::Running);
    assert_eq!((&it.state.phase, it.state.running_since), (&Phase::Running, Some(at(0))));

    it.give(Command::Lose { why: "The runner is away.".into() }).expect("lost");
    it.give(Command::Stop { why: "Ada stopped it.".into() }).expect("stopped");
    assert_eq!(it.state.phase.name(), "lost");
    it.see(Seen::Stopped);
    assert_eq!(it.state.phase.name(), "stopped");
}

#[test]
fn a_failed_one_says_why_and_can_be_started_again() {
    let mut it = Environment::running();
    it.see(Seen::Failed { reason: "The disk is full.".into() });
    assert_eq!(it.state.phase.reason(), Some("The disk is full."));
    assert!(!it.state.is_live());
    it.give(Command::Start).expect("started");
    assert_eq!((it.state.phase.name(), it.state.is_live()), ("starting", true));
}

#[test]
fn an_archived_one_is_unarchived_before_it_is_started() {
    let mut it = Environment::running();
    it.stop();
    it.give(Command::Archive).expect("archived");
    let refused = it.give(Command::Start).expect_err("archived");
    assert_eq!(refused.to_string(), "the environment is archived: unarchive it first");
    it.give(Command::Unarchive).expect("unarchived");
    it.give(Command::Start).expect("started");
}

#[test]
fn its_life_ends_with_a_deletion_that_leaves_time_to_fetch_the_work() {
    let mut it = Environment::running();
    it.now = at(7 * 24 * 3600);
    it.give(Command::Watch).expect("looked");
    assert_eq!(it.state.phase, Phase::Deleting);
    assert_eq!(it.state.deletion.as_ref().map(|d| d.purge_at), Some(it.now + UNDO));
    let refused = it.give(Command::Undelete).expect_err("its life is over");
    assert!(refused.to_string().ends_with("fetch its work and create a new one"), "{refused}");
}

#[test]
fn a_spec_that_cannot_be_is_refused_with_the_field() {
    let faulty = [
        ("name", Spec { name: "Ada's".into(), ..spec() }),
        ("name", Spec { name: "x-".into(), ..spec() }),
        ("ref", Spec { base: String::new(), ..spec() }),
        ("idle_minutes", Spec { idle: Some(Duration::from_secs(1)), ..spec() }),
        ("life_hours", Spec { life: Some(Duration::from_secs(200 * 24 * 3600)), ..spec() }),
    ];
    for (field, spec) in faulty {
        assert_eq!(environment::create(spec, ada()).expect_err("refused").field, field);
    }
}

fn any_seen() -> impl Strategy<Value = Seen> {
    prop_oneof![
        Just(Seen::Starting { waits: None }),
        Just(Seen::Running),
        Just(Seen::Stopping),
        Just(Seen::Stopped),
        Just(Seen::Failed { reason: "broke".into() }),
        Just(Seen::Gone),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let unpushed = Unpushed { commit: "c0ffee".into(), files: 2 };
    prop_oneof![
        (1u128..3).prop_map(|n| Command::Place { runner_id: runner(n) }),
        Just(Command::Start),
        Just(Command::Stop { why: "x".into() }),
        Just(Command::Archive),
        Just(Command::Unarchive),
        Just(Command::Delete { by: ada() }),
        Just(Command::Undelete),
        Just(Command::Enter { way: Way::Exec }),
        (0u16..4, prop::sample::select(Admission::ALL.to_vec()))
            .prop_map(|(port, admission)| Command::Publish { port, name: None, admission }),
        (1u16..4).prop_map(|port| Command::Unpublish { port }),
        Just(Command::Lose { why: "away".into() }),
        Just(Command::Watch),
        (1u128..3, 1u64..12, any_seen(), proptest::option::of(0i64..100_000)).prop_map(
            move |(n, generation, seen, active)| Command::Observe {
                runner_id: runner(n),
                generation,
                seen,
                active_at: active.map(at),
                unpushed: Some(Some(unpushed.clone())),
                ended: vec![],
            }
        ),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_it_holds_together(
        commands in prop::collection::vec((any_command(), 0i64..20_000), 1..60)
    ) {
        let mut it = Environment::new();
        let mut placed = None;
        for (command, wait) in commands {
            it.now = it.now + Duration::from_secs(wait);
            let before = it.state.clone();
            let events = it.give(command.clone()).unwrap_or_default();
            let after = &it.state;
            // What is gone stays gone.
            if before.phase == Phase::Deleted {
                prop_assert_eq!(after, &before);
            }
            // A wish to remove it is never taken back.
            if before.wanted == Wanted::Gone {
                prop_assert_eq!(after.wanted, Wanted::Gone);
            }
            // Its work tree is on one machine.
            if placed.is_some() {
                prop_assert_eq!(&after.runner_id, &placed);
            }
            placed.clone_from(&after.runner_id);
            // Generations count wishes.
            let wishes = events.iter().filter(|event| matches!(event, Event::Wanted { .. }));
            prop_assert_eq!(after.generation, before.generation + wishes.count() as u64);
            // It is never removed before the time for undoing is over.
            if after.wanted == Wanted::Gone && after.runner_id.is_some() {
                let deletion = after.deletion.as_ref().expect("somebody deleted it");
                prop_assert!(deletion.purge_at <= it.now);
                prop_assert_eq!(deletion.purge_at, deletion.at + UNDO);
            }
            // A port is published once, and what was handed out for an earlier opening stays void.
            let ports: Vec<u16> = after.ports.iter().map(|published| published.port).collect();
            let mut sorted = ports.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(&ports, &sorted);
            for published in &after.ports {
                let before = before.published(published.port);
                let is_kept = before.is_some_and(|before| before.opening == published.opening);
                prop_assert!(is_kept || published.opening == after.openings);
                prop_assert!(!is_kept || before.map(|b| b.admission) == Some(published.admission));
            }
            // What runs is wanted to.
            if after.phase == Phase::Running {
                prop_assert_eq!(after.wanted, Wanted::Running);
                prop_assert!(after.running_since.is_some());
            }
            // Saying it twice changes nothing more, but for a wish that time has passed.
            if !matches!(command, Command::Place { .. } | Command::Watch) {
                prop_assert_eq!(it.give(command.clone()).unwrap_or_default(), vec![]);
            }
        }
    }
}

#[test]
fn whoever_goes_in_is_noted_and_only_where_it_runs() {
    let way = Way::Port { port: 8080 };
    let mut it = Environment::running();
    it.now = at(60);
    assert_eq!(it.give(Command::Enter { way }), Ok(vec![Event::Entered { way }]));
    assert_eq!(it.state.active_at, at(60));
    it.give(Command::Stop { why: "Enough.".into() }).expect("stopped");
    let refused = it.give(Command::Enter { way }).expect_err("it stops");
    assert_eq!(refused.to_string(), "the environment is stopping, not running");
}

fn publish(port: u16, name: Option<&str>, admission: Admission) -> Command {
    Command::Publish { port, name: name.map(str::to_owned), admission }
}

#[test]
fn another_admission_is_another_opening_and_another_name_is_not() {
    let mut it = Environment::running();
    let give = |it: &mut Environment, command| it.give(command).expect("it may");
    give(&mut it, publish(8080, None, Admission::Owner));
    give(&mut it, publish(3000, Some("web"), Admission::Public));
    give(&mut it, publish(8080, Some("api"), Admission::Owner));
    let port = |port, name: &str, admission, opening| Published {
        port,
        name: Some(name.to_owned()),
        admission,
        opening,
    };
    let web = port(3000, "web", Admission::Public, 2);
    assert_eq!(it.state.ports, [web.clone(), port(8080, "api", Admission::Owner, 1)]);
    assert_eq!(give(&mut it, publish(8080, Some("api"), Admission::Owner)), vec![], "as it is");
    give(&mut it, publish(8080, Some("api"), Admission::Organisation));
    assert_eq!(it.state.ports, [web.clone(), port(8080, "api", Admission::Organisation, 3)]);
    give(&mut it, Command::Unpublish { port: 8080 });
    assert_eq!(give(&mut it, Command::Unpublish { port: 8080 }), vec![], "it is closed");
    give(&mut it, publish(8080, Some("api"), Admission::Organisation));
    assert_eq!(it.state.ports, [web, port(8080, "api", Admission::Organisation, 4)]);
}

#[test]
fn a_port_that_cannot_be_published_says_why() {
    let mut it = Environment::running();
    let why = |it: &mut Environment, command| it.give(command).expect_err("no").to_string();
    let owner = Admission::Owner;
    assert!(why(&mut it, publish(0, None, owner)).contains("from 1 to 65535"));
    let long = "x".repeat(LONGEST_PORT_NAME + 1);
    for name in ["", " web", "a\nb", &long] {
        assert!(why(&mut it, publish(80, Some(name), owner)).contains("1 to 64 characters"));
    }
    for port in 1..=u16::try_from(MOST_PORTS).expect("few") {
        it.give(publish(port, None, owner)).expect("there is room");
    }
    assert!(why(&mut it, publish(8080, None, owner)).contains("close one first"));
    it.give(publish(1, None, Admission::Public)).expect("one that is published may change");
    it.give(Command::Delete { by: ada() }).expect("deleted");
    assert!(why(&mut it, publish(1, None, owner)).contains("deleted"));
}

#[test]
fn what_somebody_changed_among_its_files_is_noted_even_if_it_stopped_meanwhile() {
    let edit = Edit::Wrote { path: "x".repeat(2_000) };
    let kept = Event::Edited { edit: Edit::Wrote { path: "x".repeat(1_000) } };
    let mut it = Environment::running();
    it.now = at(60);
    assert_eq!(it.give(Command::Edit { edit: edit.clone() }), Ok(vec![kept.clone()]));
    assert_eq!(it.state.active_at, at(60));
    it.give(Command::Stop { why: "Enough.".into() }).expect("stopped");
    assert_eq!(it.give(Command::Edit { edit }), Ok(vec![kept]));
}

#[test]
fn the_end_of_a_service_is_noted_once_however_often_it_is_told() {
    let end = |seconds, in_a_row| Ended {
        name: "db".into(),
        at: at(seconds),
        how: "exit 1".into(),
        again: true,
        in_a_row,
    };
    let mut it = Environment::running();
    let tell = |it: &mut Environment, ended: Vec<Ended>| {
        let command = Command::Observe {
            runner_id: runner(1),
            generation: it.state.generation,
            seen: Seen::Running,
            active_at: None,
            unpushed: None,
            ended,
        };
        it.give(command).expect("heard")
    };
    let noted = |ended: Ended| Event::ServiceEnded { ended };
    assert_eq!(tell(&mut it, vec![end(1, 1)]), [noted(end(1, 1))]);
    assert_eq!(tell(&mut it, vec![end(1, 1), end(2, 2)]), [noted(end(2, 2))]);
    assert_eq!(tell(&mut it, vec![end(1, 1), end(2, 2)]), []);
}

#[test]
fn services_are_steered_only_where_it_runs() {
    let steer = Steer::Restart { service: "db".into() };
    let mut it = Environment::running();
    let noted = vec![Event::Steered { steer: steer.clone() }];
    assert_eq!(it.give(Command::Steer { steer: steer.clone() }), Ok(noted));
    it.give(Command::Stop { why: "Enough.".into() }).expect("stopped");
    assert!(it.give(Command::Steer { steer }).is_err());
}
