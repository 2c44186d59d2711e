//! What never happens, over random plans, outcomes and orders: the rows of a model store beside the
//! machine, and everything that the machine claims compared with them.

use proptest::prelude::*;
use windlass_run::fleet::{Admission, plan::RingSize};

use super::*;

/// A row of the model store.
#[derive(Clone, Debug, PartialEq)]
enum Row {
    Planned,
    Running { change: Option<Change> },
    Ended { outcome: Outcome, kind: Option<(String, Trouble)>, change: Option<Change> },
}

struct World {
    fleet: Fleet,
    rows: Vec<(u16, Row)>,
    opened: Vec<Time>,
}

/// One thing that may happen; numbers choose among what is there.
#[derive(Clone, Debug)]
enum Step {
    Admit { part: u8 },
    End { which: u16, how: u8 },
    Open { which: u16, verified: bool },
    Review { which: u16, to: u8 },
    Pass { seconds: i64 },
    ForgeWaits { seconds: i64 },
    Pause,
    Resume,
    Retry { which: u8 },
    Advance,
    Cancel,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any::<u8>().prop_map(|part| Step::Admit { part }),
        12 => (any::<u16>(), any::<u8>()).prop_map(|(which, how)| Step::End { which, how }),
        8 => (any::<u16>(), any::<bool>()).prop_map(|(which, verified)| Step::Open { which, verified }),
        6 => (any::<u16>(), any::<u8>()).prop_map(|(which, to)| Step::Review { which, to }),
        6 => (0_i64..2_000).prop_map(|seconds| Step::Pass { seconds }),
        1 => (1_i64..500).prop_map(|seconds| Step::ForgeWaits { seconds }),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        2 => any::<u8>().prop_map(|which| Step::Retry { which }),
        1 => Just(Step::Advance),
    ]
}

fn plans() -> impl Strategy<Value = Plan> {
    let rings = prop_oneof![
        Just(r#"["rest"]"#),
        Just(r#"[1,"10%","100%"]"#),
        Just(r#"[3,"rest"]"#),
        Just(r#"[1,2,4,8,"rest"]"#),
    ];
    let rules = prop_oneof![
        Just("[]"),
        Just(r#"[{"rate":"failures","above":"20%"}]"#),
        Just(
            r#"[{"rate":"failures","above":"30%","confidence":"80%","over":{"last":10}},{"rate":"rejections","above":"40%","method":"wilson","over":"fleet"}]"#
        ),
    ];
    let limit = || proptest::option::of(1_u32..8);
    let when = (proptest::option::of(0_u32..=100), limit(), proptest::option::of(0_i64..4_000));
    (rings, rules, when, (limit(), limit(), limit())).prop_map(
        |(rings, rules, (success, reviewed, after), (parallel, pace, open))| {
            let mut plan =
                plan(&format!(r#"{{"rollout":{{"rings":{rings},"stop_when":{rules}}}}}"#));
            plan.rollout.advance_when.success = success.map(Share::percent);
            plan.rollout.advance_when.reviewed = reviewed.map(fleet::Amount::Count);
            plan.rollout.advance_when.after = after.map(Duration::from_secs);
            plan.limits.parallel = parallel;
            plan.limits.changes_per_hour = pace;
            plan.limits.open_changes = open;
            plan
        },
    )
}

impl World {
    fn new(plan: Plan, targets: u32) -> Self {
        let none: Vec<Vec<&str>> = vec![Vec::new(); targets as usize];
        let rings = plan.allot(none);
        let counts = (0..plan.rollout.rings.len()).map(|ring| {
            u32::try_from(rings.iter().filter(|of| usize::from(**of) == ring).count()).expect("few")
        });
        let counts: Vec<u32> = counts.collect();
        check_allotment(&plan, &counts);
        let rows = rings.into_iter().map(|ring| (ring, Row::Planned)).collect();
        Self { fleet: Fleet::new(plan, &counts), rows, opened: Vec::new() }
    }

    fn of_ring(&self, ring: u16) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |(of, _)| *of == ring).map(|(_, row)| row)
    }

    fn nth(&self, which: u16, fits: impl Fn(&Row) -> bool) -> Option<usize> {
        let fitting: Vec<usize> =
            (0..self.rows.len()).filter(|place| fits(&self.rows[*place].1)).collect();
        fitting.get(usize::from(which) % fitting.len().max(1)).copied()
    }

    /// Gives a command and looks at every ring that was opened by the machine itself.
    fn give(&mut self, command: &Command) -> Result<Vec<Event>, Refusal> {
        let events = self.fleet.give(command)?;
        for event in &events {
            if let Event::RingOpened { ring, by: None, .. } = event {
                self.was_healthy(ring - 1);
            }
        }
        Ok(events)
    }

    /// By the rows alone. Called after the rows of the command's own change were written.
    fn was_healthy(&self, ring: u16) {
        let when = &self.fleet.state.plan.rollout.advance_when;
        let (mut good, mut of, mut changes, mut reviewed) = (0, 0, 0, 0);
        for row in self.of_ring(ring) {
            let Row::Ended { outcome, change, .. } = row else {
                panic!("{row:?} in a ring that is over")
            };
            good += u32::from(*outcome == Outcome::Succeeded);
            of += u32::from(*outcome != Outcome::Skipped);
            changes += u32::from(change.is_some());
            let said = change.map(|change| change.review);
            reviewed += u32::from(matches!(said, Some(Review::Approved | Review::Merged)));
        }
        assert!(
            when.success
                .is_none_or(|share| f64::from(good) >= share.as_fraction() * f64::from(of) - 1e-9)
        );
        if let Some(fleet::Amount::Count(count)) = when.reviewed {
            assert!(reviewed >= count.min(changes), "{reviewed} of {changes}");
        }
    }

    fn admit(&mut self, part: u8) -> u32 {
        let room @ Admission { ring, count, .. } = admissible(&self.fleet.state, self.fleet.now);
        let more = self.fleet.give(&Command::Admitted { ring, count: count + 1 });
        assert!(matches!(more, Err(Refusal::NoRoom { .. })), "{room:?} {more:?}");
        let held = self.fleet.state.hold.is_some() || self.fleet.state.phase != Phase::Going;
        assert!(!held || count == 0, "{room:?}");
        assert!(count > 0 || room.why.is_some(), "{room:?}");
        let count = count.min(u32::from(part % 16) + 1);
        self.give(&Command::Admitted { ring, count }).expect("within the room");
        let waiting = self.rows.iter_mut().filter(|(of, row)| *of == ring && *row == Row::Planned);
        let admitted =
            waiting.take(count as usize).map(|(_, row)| *row = Row::Running { change: None });
        assert_eq!(admitted.count(), count as usize, "there was a row for each");
        count
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Admit { part } => {
                self.admit(*part);
            }
            Step::End { which, how } => {
                let Some(place) = self.nth(*which, |row| matches!(row, Row::Running { .. })) else {
                    return;
                };
                let (outcome, code) = [
                    (Outcome::Succeeded, "done"),
                    (Outcome::Succeeded, "done"),
                    (Outcome::Succeeded, "done"),
                    (Outcome::Skipped, "no_change"),
                    (Outcome::Failed, "verify_failed"),
                    (Outcome::Failed, "conflict"),
                    (Outcome::GaveUp, "agent_gave_up"),
                    (Outcome::Cancelled, "cancelled"),
                ][usize::from(how % 8)];
                let (ring, row) = self.rows[place].clone();
                let Row::Running { change } = row else { unreachable!("it was picked so") };
                let kind = Trouble::of(outcome, code).map(|trouble| (code.to_owned(), trouble));
                self.rows[place].1 = Row::Ended { outcome, kind, change };
                self.give(&Command::JobEnded { ring, end: end(outcome, code) }).expect("it ran");
            }
            Step::Open { which, verified } => {
                let place = self.nth(*which, |row| matches!(row, Row::Running { change: None }));
                let Some(place) = place else { return };
                let ring = self.rows[place].0;
                let command = Command::OpenChange { ring, forge: "f".into(), verified: *verified };
                match self.give(&command) {
                    Ok(_) => {
                        self.opened.push(self.fleet.now);
                        let change = Change { review: Review::Open, verified: *verified };
                        self.rows[place].1 = Row::Running { change: Some(change) };
                    }
                    Err(Refusal::NotBefore { until, .. }) => assert!(until > self.fleet.now),
                    Err(Refusal::Cancelled) => {}
                    Err(refusal) => panic!("{refusal}"),
                }
            }
            Step::Review { which, to } => {
                let place =
                    self.nth(*which, |row| matches!(row, Row::Ended { change: Some(_), .. }));
                let Some(place) = place else { return };
                let (ring, Row::Ended { change: Some(change), .. }) = &mut self.rows[place] else {
                    return;
                };
                let review = [Review::Approved, Review::Merged, Review::SentBack, Review::Closed]
                    [usize::from(to % 4)];
                let (ring, from) = (*ring, *change);
                let to = Change { review, verified: true };
                *change = to;
                self.give(&Command::Moved { ring, from, to }).expect("it stood so");
            }
            Step::Pass { seconds } => {
                self.fleet.now = self.fleet.now + Duration::from_secs(*seconds);
                self.give(&Command::Watch).expect("always legal");
            }
            Step::ForgeWaits { seconds } => {
                let until = self.fleet.now + Duration::from_secs(*seconds);
                self.give(&Command::ForgeWaits { forge: "f".into(), until }).expect("one forge");
            }
            Step::Pause => drop(self.give(&Command::Pause { by: somebody(), reason: "p".into() })),
            Step::Resume => drop(self.give(&Command::Resume { by: somebody() })),
            Step::Retry { which } => {
                let which = [
                    Which::All,
                    Which::Kind("conflict".into()),
                    Which::Trouble(Trouble::Red),
                    Which::Trouble(Trouble::Stopped),
                ][usize::from(which % 4)]
                .clone();
                let command =
                    Command::Retry { which: which.clone(), instruction: None, by: somebody() };
                let Ok(events) = self.give(&command) else { return };
                let Event::Retried { count, .. } = events[0] else { panic!("{events:?}") };
                let again = self.rows.iter_mut().filter(|(_, row)| {
                    matches!(row, Row::Ended { kind: Some((kind, trouble)), .. } if which.is(kind, *trouble))
                });
                let moved = again.map(|(_, row)| *row = Row::Planned).count();
                assert_eq!(moved, count as usize);
            }
            Step::Advance => {
                drop(self.give(&Command::Advance { by: somebody(), reason: "a".into() }))
            }
            Step::Cancel => {
                drop(self.give(&Command::Cancel { by: somebody(), reason: "c".into() }))
            }
        }
        self.check();
    }

    /// Everything that the machine counts, counted again.
    fn check(&self) {
        let state = &self.fleet.state;
        for (n, ring) in (0_u16..).zip(&state.rings) {
            let count = |fits: &dyn Fn(&Row) -> bool| {
                u32::try_from(self.of_ring(n).filter(|row| fits(row)).count()).expect("few")
            };
            let ended = |wanted: Outcome| {
                count(&move |row| matches!(row, Row::Ended { outcome, .. } if *outcome == wanted))
            };
            let counted = (ring.planned, ring.running, ring.succeeded, ring.skipped, ring.failed());
            let rows = (
                count(&|row| *row == Row::Planned),
                count(&|row| matches!(row, Row::Running { .. })),
                ended(Outcome::Succeeded),
                ended(Outcome::Skipped),
                ended(Outcome::Failed) + ended(Outcome::GaveUp) + ended(Outcome::Cancelled),
            );
            assert_eq!(counted, rows, "ring {n}");
            assert!(
                n <= state.ring || ring.planned == ring.targets,
                "ring {n} was begun before its time"
            );
        }
        assert!(state.plan.limits.parallel.is_none_or(|most| state.running() <= most));
        let tally = state.tally();
        assert_eq!(tally.jobs as usize, self.rows.len());
        if let Some(most) = state.plan.limits.changes_per_hour {
            let most = most as usize;
            for (n, first) in self.opened.iter().enumerate() {
                if let Some(over) = self.opened.get(n + most) {
                    assert!(over.since(*first) > fleet::SPAN, "{most} and one more within an hour");
                }
            }
        }
    }

    /// A person who does what is needed, and jobs that end: how many steps until all is over.
    fn finish(&mut self) -> usize {
        for n in 0..20_000 {
            if self.fleet.state.phase != Phase::Going && self.fleet.state.running() == 0 {
                return n;
            }
            if self.fleet.state.running() > 0 {
                self.step(&Step::End { which: 0, how: u8::try_from(n % 7).expect("small") });
            } else if self.fleet.state.hold.is_some() {
                self.step(&Step::Resume);
            } else if self.admit(255) == 0 {
                let room = admissible(&self.fleet.state, self.fleet.now);
                match (room.why, room.next_at) {
                    (Some(Why::Ring { .. }), Some(next_at)) => {
                        // Time alone is enough: then it must be.
                        let before = self.fleet.state.ring;
                        self.fleet.now = next_at;
                        self.give(&Command::Watch).expect("always legal");
                        // Rings without targets behind it are passed at once.
                        assert!(self.fleet.state.ring > before);
                    }
                    (Some(Why::Ring { .. }), None) => self.step(&Step::Advance),
                    (Some(Why::OpenChanges { .. }), _) => {
                        self.step(&Step::Review { which: 0, to: 1 });
                        let unmerged = |row: &Row| {
                            matches!(row, Row::Ended { change: Some(change), .. }
                                if !matches!(change.review, Review::Merged | Review::Closed))
                        };
                        if let Some(place) = self.nth(0, unmerged) {
                            let (ring, Row::Ended { change: Some(change), .. }) =
                                &mut self.rows[place]
                            else {
                                continue;
                            };
                            let (ring, from) = (*ring, *change);
                            let to = Change { review: Review::Merged, ..from };
                            *change = to;
                            self.give(&Command::Moved { ring, from, to }).expect("it stood so");
                        } else {
                            self.close_what_retries_left();
                        }
                    }
                    (why, next_at) => panic!("nothing will ever happen: {why:?} {next_at:?}"),
                }
            }
        }
        panic!("it never ends: {:?}", self.fleet.state);
    }

    /// The rows forget the open change of a target that is planned again; its fleet does not, and a person can
    /// close it.
    fn close_what_retries_left(&mut self) {
        let rings = (0_u16..).zip(self.fleet.state.rings.clone());
        for (ring, of) in rings {
            for review in [Review::Open, Review::SentBack, Review::Approved] {
                for _ in 0..of.changes.count(review) {
                    let from = Change { review, verified: false };
                    let to = Change { review: Review::Closed, verified: false };
                    self.give(&Command::Moved { ring, from, to }).expect("it stood so");
                }
            }
        }
    }
}

fn check_allotment(plan: &Plan, counts: &[u32]) {
    let all: u32 = counts.iter().sum();
    for (n, size) in plan.rollout.rings.iter().enumerate() {
        let so_far: u32 = counts[..=n].iter().sum();
        match size {
            RingSize::UpTo(amount) => {
                assert_eq!(so_far, amount.of(all).max(counts[..n].iter().sum()))
            }
            RingSize::Rest(_) => assert_eq!(so_far, all),
            RingSize::Label(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn counts_are_those_of_the_rows_no_limit_is_passed_and_it_ends(
        plan in plans(),
        targets in 0_u32..60,
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new(plan, targets);
        for step in &steps {
            world.step(step);
        }
        world.finish();
        world.check();
    }

    #[test]
    fn after_a_cancel_nothing_is_begun_any_more(
        plan in plans(),
        targets in 1_u32..40,
        before in proptest::collection::vec(step(), 0..40),
        after in proptest::collection::vec(step(), 0..40),
    ) {
        let mut world = World::new(plan, targets);
        for step in &before {
            world.step(step);
        }
        world.step(&Step::Cancel);
        let planned = |world: &World| world.rows.iter().filter(|(_, row)| *row == Row::Planned).count();
        let settled = matches!(world.fleet.state.phase, Phase::Settled { .. });
        let left = planned(&world);
        for step in &after {
            world.step(step);
        }
        prop_assert!(settled || planned(&world) == left);
    }
}
