//! The fleet machine, driven through `decide` and `apply` only: each rule as a story, the absences as
//! properties over random plans and worlds.

#[path = "fleet/laws.rs"]
mod laws;

use windlass_run::{
    Duration, Time, UserId,
    actor::{Actor, By},
    fleet::{
        self, Change, Command, End, Event, Phase, Plan, Refusal, Review, Share, Spent, State,
        Trouble, Unmet, What, Which, Why, admissible, decide,
    },
    job::Outcome,
};

fn at(seconds: i64) -> Time {
    Time::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
}

fn somebody() -> By {
    By::own(Actor::User(UserId::new(at(0), 1)))
}

fn plan(json: &str) -> Plan {
    serde_json::from_str(json).expect("a plan")
}

fn rings(rings: &str) -> Plan {
    plan(&format!(r#"{{"rollout":{{"rings":{rings},"stop_when":[]}}}}"#))
}

fn end(outcome: Outcome, code: &str) -> End {
    End { outcome, code: code.to_owned(), cluster: None, spent: Spent::default() }
}

/// A fleet with its journal, driven like the store does it.
struct Fleet {
    state: State,
    journal: Vec<(Time, Event)>,
    now: Time,
}

impl Fleet {
    fn new(plan: Plan, rings: &[u32]) -> Self {
        let opened = fleet::create(plan, rings.to_vec(), somebody()).expect("a good plan");
        let state = State::begin(&opened, at(0)).expect("opened begins");
        let mut fleet = Self { state, journal: vec![(at(0), opened)], now: at(0) };
        fleet.must(&Command::Watch);
        fleet
    }

    fn give(&mut self, command: &Command) -> Result<Vec<Event>, Refusal> {
        let events = decide(&self.state, command, self.now)?;
        for event in &events {
            self.state.apply(event, self.now);
            self.journal.push((self.now, event.clone()));
        }
        let folded = State::fold(self.journal.iter().map(|(at, event)| (*at, event)));
        assert_eq!(folded.as_ref(), Some(&self.state), "the journal says the same");
        Ok(events)
    }

    fn must(&mut self, command: &Command) -> Vec<Event> {
        self.give(command).unwrap_or_else(|refusal| panic!("{command:?}: {refusal}"))
    }

    fn admit(&mut self) -> (u16, u32) {
        let room = admissible(&self.state, self.now);
        self.must(&Command::Admitted { ring: room.ring, count: room.count });
        (room.ring, room.count)
    }

    fn end(&mut self, ring: u16, count: u32, outcome: Outcome, code: &str) -> Vec<Event> {
        let ends = (0..count).map(|_| Command::JobEnded { ring, end: end(outcome, code) });
        ends.flat_map(|command| self.must(&command)).collect()
    }

    fn open_change(&mut self, ring: u16) -> Result<Vec<Event>, Refusal> {
        self.give(&Command::OpenChange { ring, forge: "github.com".into(), verified: true })
    }

    fn review(&mut self, ring: u16, to: Review) -> Vec<Event> {
        let (from, to) = (change(Review::Open), change(to));
        self.must(&Command::Moved { ring, from, to })
    }

    fn why(&self) -> Option<Why> {
        admissible(&self.state, self.now).why
    }
}

fn change(review: Review) -> Change {
    Change { review, verified: true }
}

#[test]
fn a_ring_opens_once_all_of_the_one_before_ended_well_enough() {
    let plan = plan(
        r#"{"rollout":{"rings":[2,"50%","rest"],"advance_when":{"success":">=50%"},"stop_when":[]}}"#,
    );
    let mut fleet = Fleet::new(plan, &[2, 3, 5]);
    assert_eq!(fleet.admit(), (0, 2));
    fleet.end(0, 1, Outcome::Succeeded, "done");
    assert_eq!(admissible(&fleet.state, fleet.now).count, 0, "the second one still runs");
    let events = fleet.end(0, 1, Outcome::Failed, "step_failed");
    assert_eq!(events[1..], [Event::RingOpened { ring: 1, by: None, reason: None }]);
    assert_eq!(fleet.admit(), (1, 3));
    fleet.end(1, 1, Outcome::Succeeded, "done");
    fleet.end(1, 2, Outcome::Failed, "step_failed");
    let unmet = Unmet::Success { have: 1, of: 3, wanted: Share::percent(50) };
    assert_eq!(fleet.why(), Some(Why::Ring { ring: 1, unmet: vec![unmet] }));
}

#[test]
fn a_ring_that_is_not_healthy_is_opened_by_a_retry_or_by_hand() {
    let sick = || {
        let mut plan = rings(r#"[1,"rest"]"#);
        plan.rollout.advance_when.success = Some(Share::ALL);
        let mut fleet = Fleet::new(plan, &[1, 9]);
        fleet.admit();
        fleet.end(0, 1, Outcome::Failed, "verify_failed");
        fleet
    };
    let mut fleet = sick();
    let instruction = Some("the tests need a database".to_owned());
    fleet.must(&Command::Retry { which: Which::All, instruction, by: somebody() });
    assert_eq!(fleet.admit(), (0, 1));
    fleet.end(0, 1, Outcome::Succeeded, "done");
    assert_eq!(fleet.admit(), (1, 9));

    let mut fleet = sick();
    fleet.must(&Command::Advance { by: somebody(), reason: "known to be flaky".into() });
    assert_eq!(fleet.admit(), (1, 9));
    let again = fleet.give(&Command::Advance { by: somebody(), reason: String::new() });
    assert_eq!(again, Err(Refusal::Illegal { why: "the last ring is open already".into() }));
}

#[test]
fn a_ring_waits_for_reviews_and_verification_and_stands_for_a_while() {
    let mut plan = rings(r#"[3,"rest"]"#);
    plan.rollout.advance_when =
        serde_json::from_str(r#"{"verified":"100%","reviewed":2,"after":600000000}"#)
            .expect("rules");
    let mut fleet = Fleet::new(plan, &[3, 1]);
    fleet.admit();
    fleet.open_change(0).expect("opened");
    fleet.must(&Command::OpenChange { ring: 0, forge: "a".into(), verified: false });
    fleet.end(0, 2, Outcome::Succeeded, "done");
    fleet.end(0, 1, Outcome::Skipped, "no_change");
    let soaking = Unmet::Soaking { until: at(600) };
    let verified = Unmet::Verified { have: 1, of: 2, wanted: Share::ALL };
    let reviewed = Unmet::Reviewed { have: 0, wanted: 2 };
    assert_eq!(fleet.state.unmet(0, fleet.now), [verified, reviewed, soaking.clone()]);
    assert_eq!(admissible(&fleet.state, fleet.now).next_at, None, "time alone is not enough");

    let red = Change { review: Review::Open, verified: false };
    fleet.must(&Command::Moved { ring: 0, from: red, to: change(Review::Open) });
    fleet.review(0, Review::Approved);
    fleet.review(0, Review::Merged);
    let room = admissible(&fleet.state, fleet.now);
    assert_eq!(room.why, Some(Why::Ring { ring: 0, unmet: vec![soaking] }));
    assert_eq!(room.next_at, Some(at(600)));
    fleet.now = at(600);
    fleet.must(&Command::Watch);
    assert_eq!(fleet.admit(), (1, 1));
}

#[test]
fn more_reviews_than_there_are_changes_are_not_waited_for() {
    let mut plan = rings(r#"[2,"rest"]"#);
    plan.rollout.advance_when = serde_json::from_str(r#"{"reviewed":5}"#).expect("rules");
    let mut fleet = Fleet::new(plan, &[2, 1]);
    fleet.admit();
    fleet.end(0, 2, Outcome::Skipped, "no_change");
    assert_eq!(fleet.admit(), (1, 1));
}

#[test]
fn a_rule_stops_the_fleet_when_the_rate_is_known_to_be_too_high_and_not_before() {
    let plan = plan(
        r#"{"rollout":{"rings":["rest"],"stop_when":[{"rate":"failures","above":"20%"}]},
            "limits":{"parallel":10}}"#,
    );
    let mut fleet = Fleet::new(plan, &[1000]);
    fleet.admit();
    let events = fleet.end(0, 2, Outcome::Failed, "verify_failed");
    // Two of two: the rate is at least 22.36 % at 95 %.
    let reason = "2 of 2 jobs failed: at a confidence of 95% that is a rate of at least 22.3 %, and 20% is \
                  allowed";
    assert_eq!(
        events.last(),
        Some(&Event::Stopped { rule: 0, bad: 2, of: 2, reason: reason.into() })
    );
    assert_eq!(admissible(&fleet.state, fleet.now).count, 0);

    // Going on begins to count anew: it takes the same evidence again.
    fleet.must(&Command::Resume { by: somebody() });
    fleet.end(0, 1, Outcome::Failed, "verify_failed");
    assert_eq!(fleet.state.hold, None);
    fleet.end(0, 7, Outcome::Succeeded, "done");
    assert_eq!(fleet.state.watched[0].of, 8);
    assert_eq!(fleet.admit(), (0, 10));
    fleet.end(0, 2, Outcome::Failed, "verify_failed");
    assert_eq!(fleet.state.hold, None, "3 of 10 may still be 20 %");
    fleet.end(0, 8, Outcome::Skipped, "no_change");
    assert_eq!(fleet.state.watched[0].of, 10, "what had nothing to do was not seen");
}

#[test]
fn a_rule_may_look_at_one_kind_of_trouble_only() {
    let plan = plan(
        r#"{"rollout":{"stop_when":[{"rate":"failures","above":"10%","of":["unreachable"],"over":"fleet"}]}}"#,
    );
    let mut fleet = Fleet::new(plan, &[100]);
    fleet.admit();
    fleet.end(0, 20, Outcome::Failed, "verify_failed");
    assert_eq!((fleet.state.watched[0].of, fleet.state.hold.as_ref()), (0, None));
    fleet.end(0, 2, Outcome::Failed, "repository");
    assert!(fleet.state.hold.is_some());
}

#[test]
fn a_rule_over_the_newest_sees_what_a_long_good_time_would_hide() {
    let rule = |over: &str| {
        plan(&format!(
            r#"{{"rollout":{{"stop_when":[{{"rate":"failures","above":"50%","over":{over}}}]}}}}"#
        ))
    };
    let stopped_after = |over: &str| {
        let mut fleet = Fleet::new(rule(over), &[1000]);
        fleet.admit();
        fleet.end(0, 400, Outcome::Succeeded, "done");
        (1..=400).find(|_| {
            fleet.end(0, 1, Outcome::Failed, "step_failed");
            fleet.state.hold.is_some()
        })
    };
    assert_eq!(stopped_after(r#"{"last":20}"#), Some(15));
    assert_eq!(stopped_after(r#""ring""#), None);
}

#[test]
fn changes_that_reviewers_send_back_stop_the_fleet_too() {
    let plan = plan(r#"{"rollout":{"stop_when":[{"rate":"rejections","above":"30%"}]}}"#);
    let mut fleet = Fleet::new(plan, &[50]);
    fleet.admit();
    for _ in 0..4 {
        fleet.open_change(0).expect("opened");
    }
    fleet.end(0, 4, Outcome::Succeeded, "done");
    fleet.review(0, Review::Closed);
    fleet.review(0, Review::SentBack);
    assert_eq!(fleet.state.hold, None);
    let back = change(Review::SentBack);
    fleet.must(&Command::Moved { ring: 0, from: back, to: change(Review::Closed) });
    assert_eq!(fleet.state.watched[0].of, 2, "a change is decided once");
    let events = fleet.review(0, Review::Closed);
    assert!(matches!(events[1], Event::Stopped { rule: 0, bad: 3, of: 3, .. }), "{events:?}");
}

#[test]
fn three_kinds_of_trouble_are_told_apart_and_retried_apart() {
    let mut fleet = Fleet::new(rings(r#"["rest"]"#), &[40]);
    fleet.admit();
    fleet.end(0, 5, Outcome::Failed, "verify_failed");
    fleet.end(0, 4, Outcome::Failed, "merge_conflict");
    fleet.end(0, 3, Outcome::Failed, "repository");
    fleet.end(0, 2, Outcome::GaveUp, "agent_gave_up");
    fleet.end(0, 1, Outcome::Cancelled, "cancelled");
    let clustered = End { cluster: Some("a1".into()), ..end(Outcome::Failed, "verify_failed") };
    let events = fleet.must(&Command::JobEnded { ring: 0, end: clustered });
    assert!(
        matches!(&events[0], Event::JobEnded { kind: Some(kind), .. } if kind == "verify_failed/a1")
    );
    let troubled = |fleet: &Fleet| {
        [Trouble::Red, Trouble::Conflict, Trouble::Unreachable]
            .map(|t| fleet.state.rings[0].troubled(t))
    };
    assert_eq!(troubled(&fleet), [6, 4, 3]);

    let retry = |which| Command::Retry { which, instruction: None, by: somebody() };
    fleet.must(&retry(Which::Kind("verify_failed/a1".into())));
    assert_eq!(troubled(&fleet), [5, 4, 3]);
    fleet.must(&retry(Which::Trouble(Trouble::Unreachable)));
    assert_eq!(troubled(&fleet), [5, 4, 0]);
    let counted = fleet.must(&retry(Which::All));
    assert!(matches!(counted[0], Event::Retried { count: 11, .. }), "{counted:?}");
    assert_eq!(fleet.state.rings[0].failed(), 1, "what somebody cancelled stays so");
    assert_eq!(fleet.admit(), (0, 15));
    let nothing = fleet.give(&retry(Which::Kind("never_seen".into())));
    assert_eq!(nothing, Err(Refusal::Illegal { why: "no target failed like that".into() }));
}

#[test]
fn a_settled_fleet_is_opened_again_by_a_retry() {
    let mut fleet = Fleet::new(plan(r#"{"rollout":{"rings":[1,"rest"]}}"#), &[1, 7]);
    fleet.admit();
    fleet.end(0, 1, Outcome::Succeeded, "done");
    fleet.admit();
    let events = fleet.end(1, 7, Outcome::Failed, "step_failed");
    assert_eq!(events.last(), Some(&Event::Settled), "the default rule stopped nothing any more");
    assert_eq!(fleet.why(), Some(Why::Settled));
    assert_eq!(fleet.state.tally().outcome(), Some(Outcome::Failed));
    let events =
        fleet.must(&Command::Retry { which: Which::All, instruction: None, by: somebody() });
    assert_eq!(events.len(), 1, "nothing stops it before it has begun: {events:?}");
    assert_eq!(fleet.admit(), (1, 7));
    fleet.end(1, 7, Outcome::Succeeded, "done");
    assert_eq!(fleet.state.tally().outcome(), Some(Outcome::Succeeded));
}

#[test]
fn pause_resume_and_cancel_are_one_event_whatever_the_size() {
    let mut fleet = Fleet::new(rings(r#"[10,"rest"]"#), &[10, 1_000_000]);
    fleet.admit();
    let pause = Command::Pause { by: somebody(), reason: "lunch".into() };
    assert_eq!(fleet.must(&pause).len(), 1);
    assert_eq!(fleet.must(&pause), [], "it is paused already");
    fleet.end(0, 5, Outcome::Succeeded, "done");
    let refused = fleet.give(&Command::Admitted { ring: 0, count: 1 });
    assert_eq!(refused, Err(Refusal::NoRoom { ring: 0, room: 0, why: "paused: lunch".into() }));
    fleet.end(0, 5, Outcome::Succeeded, "done");
    assert_eq!(fleet.state.ring, 0, "no ring is opened meanwhile");
    assert_eq!(fleet.must(&Command::Resume { by: somebody() }).len(), 2, "and then it is");

    fleet.must(&Command::Admitted { ring: 1, count: 100 });
    let cancel = Command::Cancel { by: somebody(), reason: "wrong recipe".into() };
    assert_eq!(fleet.must(&cancel).len(), 1);
    assert_eq!(fleet.why(), Some(Why::Cancelled));
    assert_eq!(fleet.open_change(1), Err(Refusal::Cancelled));
    fleet.end(1, 100, Outcome::Cancelled, "cancelled");
    let tally = fleet.state.tally();
    assert_eq!((tally.cancelled, tally.succeeded, tally.ended()), (1_000_000, 10, 1_000_010));
    assert_eq!(tally.outcome(), Some(Outcome::Cancelled));
}

#[test]
fn changes_are_opened_no_faster_than_the_pace_of_all_and_of_one_forge() {
    let plan = plan(
        r#"{"rollout":{"stop_when":[]},
            "limits":{"changes_per_hour":3,"forges":{"github.com":{"changes_per_hour":2}}}}"#,
    );
    let mut fleet = Fleet::new(plan, &[100]);
    assert_eq!(fleet.admit(), (0, 3), "no more jobs than may open changes within an hour");
    assert_eq!(fleet.why(), Some(Why::Pace { most: 3 }));
    fleet.open_change(0).expect("the first");
    fleet.now = at(100);
    fleet.open_change(0).expect("the second");
    let until = at(3660);
    let why = "2 changes were opened at github.com within an hour".to_owned();
    assert_eq!(fleet.open_change(0), Err(Refusal::NotBefore { until, why }));
    let elsewhere = Command::OpenChange { ring: 0, forge: "forge.example".into(), verified: true };
    fleet.must(&elsewhere);
    let why = "3 changes were opened within an hour".to_owned();
    assert_eq!(fleet.give(&elsewhere), Err(Refusal::NotBefore { until, why }));
    fleet.now = until;
    fleet.must(&elsewhere);
}

#[test]
fn a_forge_that_asks_to_be_left_alone_is() {
    let mut fleet = Fleet::new(rings(r#"["rest"]"#), &[10]);
    let waits = |until| Command::ForgeWaits { forge: "github.com".into(), until };
    fleet.must(&waits(at(60)));
    assert_eq!(fleet.must(&waits(at(30))), [], "it is left alone for longer already");
    assert_eq!(admissible(&fleet.state, fleet.now).next_at, Some(at(60)));
    let candidate =
        |forge| fleet::Candidate { repository: "r", owner: None, forge, has_change: false };
    let candidates = [candidate("github.com"), candidate("forge.example")];
    let picked = fleet::pick(&fleet.state, fleet.now, 10, &candidates, &fleet::Load::default());
    assert_eq!(
        (picked.places, picked.passed.forge, picked.passed.next_at),
        (vec![1], 1, Some(at(60)))
    );
    fleet.admit();
    let refused = fleet.open_change(0).expect_err("not yet");
    assert_eq!(refused.to_string(), "github.com asked to be left alone");
    fleet.now = at(60);
    fleet.open_change(0).expect("now");
    let picked = fleet::pick(&fleet.state, fleet.now, 10, &candidates, &fleet::Load::default());
    assert_eq!(picked.places, [0, 1]);
}

#[test]
fn reviewers_get_no_more_than_they_can_take() {
    let plan = plan(
        r#"{"rollout":{"stop_when":[]},"limits":
            {"open_changes":3,"open_changes_per_repository":1,"open_changes_per_owner":2}}"#,
    );
    let mut fleet = Fleet::new(plan, &[10]);
    let candidate = |repository, owner| fleet::Candidate {
        repository,
        owner: Some(owner),
        forge: "f",
        has_change: false,
    };
    let candidates = [
        candidate("a", "ann"),
        candidate("a", "ann"),
        candidate("b", "ann"),
        candidate("c", "ann"),
        candidate("d", "bob"),
        candidate("e", "cem"),
    ];
    let mut load = fleet::Load::default();
    load.owners.insert("cem".into(), 2);
    let picked = fleet::pick(&fleet.state, fleet.now, 3, &candidates, &load);
    assert_eq!(picked.places, [0, 2, 4]);
    let picked = fleet::pick(&fleet.state, fleet.now, 9, &candidates, &load);
    assert_eq!(
        (picked.places, picked.passed.repository, picked.passed.owner),
        (vec![0, 2, 4], 1, 2)
    );

    // A retry goes on with the change that is there.
    let again = fleet::Candidate { has_change: true, ..candidates[5] };
    assert_eq!(fleet::pick(&fleet.state, fleet.now, 1, &[again], &load).places, [0]);

    assert_eq!(fleet.admit(), (0, 3));
    fleet.open_change(0).expect("opened");
    fleet.end(0, 3, Outcome::Succeeded, "done");
    assert_eq!(fleet.admit(), (0, 2), "one is open");
    assert_eq!(fleet.why(), Some(Why::OpenChanges { most: 3 }));
    fleet.review(0, Review::Merged);
    assert_eq!(fleet.admit(), (0, 1));
}

#[test]
fn a_budget_is_not_begun_to_be_passed() {
    let plan = plan(r#"{"rollout":{"stop_when":[]},"limits":{"micro_usd":10000000}}"#);
    let mut fleet = Fleet::new(plan, &[100]);
    let spent = |micro_usd| End {
        spent: Spent { tokens: 5, micro_usd },
        ..end(Outcome::Succeeded, "done")
    };
    assert_eq!(fleet.admit(), (0, 1), "what one costs is not known yet");
    fleet.must(&Command::JobEnded { ring: 0, end: spent(2_000_000) });
    assert_eq!(fleet.admit(), (0, 4));
    for _ in 0..4 {
        fleet.must(&Command::JobEnded { ring: 0, end: spent(2_000_000) });
    }
    let why = fleet.why().expect("a reason");
    assert_eq!(why.to_string(), "the 10.00 US dollars of the fleet are spent or spoken for");
    assert_eq!(fleet.state.spent, Spent { tokens: 25, micro_usd: 10_000_000 });
}

#[test]
fn an_operation_over_many_changes_tells_how_far_it_came() {
    let mut fleet = Fleet::new(rings(r#"["rest"]"#), &[10]);
    fleet.must(&Command::Operate { what: What::Merge, of: 10, by: somebody() });
    fleet.must(&Command::Progress { number: 1, done: 6, failed: 1 });
    let refused = fleet.give(&Command::Progress { number: 1, done: 4, failed: 0 });
    let why = "only 3 changes are left of operation 1".into();
    assert_eq!(refused, Err(Refusal::Illegal { why }));
    let operation = &fleet.state.operations[0];
    assert_eq!((operation.done, operation.failed, operation.of), (6, 1, 10));
    for _ in 0..20 {
        fleet.must(&Command::Operate { what: What::Close, of: 1, by: somebody() });
    }
    assert_eq!(fleet.state.operations.len(), fleet::REMEMBERED);
    assert_eq!(fleet.must(&Command::Progress { number: 1, done: 1, failed: 0 }), []);
}

#[test]
fn rings_without_targets_are_passed_and_a_fleet_without_any_is_settled() {
    let mut fleet = Fleet::new(rings(r#"[{"label":"canary"},10,"rest"]"#), &[0, 0, 4]);
    assert_eq!(fleet.admit(), (2, 4));
    let none = Fleet::new(rings(r#"["rest"]"#), &[0]);
    assert!(matches!(none.state.phase, Phase::Settled { .. }));
}

#[test]
fn targets_are_put_into_rings_by_label_and_by_how_far_a_ring_goes() {
    let plan = rings(r#"[{"label":"canary","most":2},3,"50%","rest"]"#);
    let labels: Vec<Vec<&str>> =
        (0..10).map(|n| if n % 3 == 0 { vec!["canary", "x"] } else { vec![] }).collect();
    let rings = plan.allot(labels.iter().map(|labels| labels.iter().copied()));
    assert_eq!(rings, [0, 1, 2, 0, 2, 3, 3, 3, 3, 3]);
}

#[test]
fn a_plan_that_cannot_be_is_refused_at_its_field() {
    let refused = |json: &str| plan(json).check().map_err(|invalid| invalid.field);
    let rollout = |rollout: &str| refused(&format!(r#"{{"rollout":{{{rollout}}}}}"#));
    assert_eq!(rollout(r#""rings":[1,"10%","100%"]"#), Ok(()));
    assert_eq!(rollout(r#""rings":[1,"10%"]"#), Err("rollout.rings".into()));
    assert_eq!(rollout(r#""rings":[]"#), Err("rollout.rings".into()));
    assert_eq!(rollout(r#""rings":["rest",1,"rest"]"#), Err("rollout.rings[0]".into()));
    assert_eq!(rollout(r#""rings":[10,5,"rest"]"#), Err("rollout.rings[1]".into()));
    assert_eq!(rollout(r#""rings":["20%","20%","rest"]"#), Err("rollout.rings[1]".into()));
    assert_eq!(rollout(r#""rings":[{"label":""},"rest"]"#), Err("rollout.rings[0]".into()));
    let rule = |rule: &str| {
        let field =
            rollout(&format!(r#""stop_when":[{{"rate":"failures","above":"20%",{rule}}}]"#));
        field.map_err(|field| field.trim_start_matches("rollout.stop_when[0].").to_owned())
    };
    assert_eq!(rule(r#""confidence":"99.9%""#), Ok(()));
    assert_eq!(rule(r#""confidence":"100%""#), Err("confidence".into()));
    assert_eq!(rule(r#""confidence":"50%""#), Err("confidence".into()));
    assert_eq!(rule(r#""over":{"last":1}"#), Err("over".into()), "one can never be enough");
    assert_eq!(rule(r#""over":{"last":5000}"#), Err("over".into()));
    assert_eq!(refused(r#"{"limits":{"parallel":0}}"#), Err("limits.parallel".into()));
    let zero = r#"{"limits":{"forges":{"a":{"changes_per_hour":0}}}}"#;
    assert_eq!(refused(zero), Err("limits.forges.a.changes_per_hour".into()));
    assert!(serde_json::from_str::<Plan>(r#"{"limits":{"paralell":1}}"#).is_err());
    let counts = fleet::create(rings(r#"[1,"rest"]"#), vec![1], somebody());
    assert_eq!(counts.map_err(|invalid| invalid.field), Err("rollout.rings".into()));
}

#[test]
fn a_plan_is_said_as_it_was_read() {
    let json = r#"{"rollout":{"rings":[{"label":"canary","most":3},5,"10%","rest"],"advance_when":{"success":"90%","reviewed":"50%","after":3600000000},"stop_when":[{"rate":"failures","above":"20%","confidence":"99%","over":{"last":50},"method":"wilson","of":["red"]}]},"limits":{"parallel":50,"changes_per_hour":30,"forges":{"github.com":{"changes_per_hour":20}}}}"#;
    assert_eq!(serde_json::to_string(&plan(json)).expect("JSON"), json);
}

#[test]
fn ten_thousand_targets_are_as_small_as_ten() {
    let size = |n: u32| {
        let mut plan = rings(r#"[10,"10%","rest"]"#);
        plan.limits.changes_per_hour = Some(1_000);
        plan.limits.parallel = Some(100);
        let mut fleet = Fleet::new(plan, &[10, n / 10, n]);
        for n in 0..200 {
            fleet.now = at(n * 30);
            let room = admissible(&fleet.state, fleet.now);
            fleet.must(&Command::Admitted { ring: room.ring, count: room.count.min(3) });
            let _ = fleet.open_change(room.ring);
            fleet.end(
                room.ring,
                1,
                Outcome::Failed,
                ["verify_failed", "conflict", "repository"][n as usize % 3],
            );
        }
        serde_json::to_string(&fleet.state).expect("JSON").len()
    };
    let (small, large) = (size(1_000), size(10_000_000));
    assert!(large < small + 200 && large < 4_096, "{small} {large}");
}

#[test]
fn failures_of_endless_kinds_are_counted_in_few() {
    let mut fleet = Fleet::new(rings(r#"["rest"]"#), &[500]);
    fleet.admit();
    for n in 0..300 {
        let outcome = if n % 2 == 0 { Outcome::Failed } else { Outcome::GaveUp };
        fleet.end(0, 1, outcome, &format!("code{n}"));
    }
    let ring = &fleet.state.rings[0];
    assert!(ring.failures.len() <= fleet::MOST_KINDS, "{}", ring.failures.len());
    assert_eq!((ring.troubled(Trouble::Other), ring.troubled(Trouble::GaveUp)), (150, 150));
    fleet.must(&Command::Retry { which: Which::All, instruction: None, by: somebody() });
    assert_eq!(fleet.state.rings[0].failed(), 0);
}

#[test]
fn what_was_not_admitted_cannot_end_or_open_a_change() {
    let mut fleet = Fleet::new(rings(r#"["rest"]"#), &[1]);
    let why = "no job of ring 1 runs".to_owned();
    let ended = fleet.give(&Command::JobEnded { ring: 0, end: end(Outcome::Succeeded, "done") });
    assert_eq!(ended, Err(Refusal::Illegal { why: why.clone() }));
    assert_eq!(fleet.open_change(0), Err(Refusal::Illegal { why }));
    let moved = Command::Moved { ring: 7, from: change(Review::Open), to: change(Review::Merged) };
    assert!(fleet.give(&moved).is_err());
    let soon = Duration::from_secs(1);
    assert!(
        fleet.give(&Command::ForgeWaits { forge: "f".into(), until: fleet.now - soon }).is_ok()
    );
}
