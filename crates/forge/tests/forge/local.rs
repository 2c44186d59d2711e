//! The local forge's rules, as a story of one pull request and as properties of all.

use std::collections::HashMap;
use std::sync::Mutex;

use proptest::prelude::*;
use windlass_forge::forge::{Side, State, Verdict};
use windlass_forge::local::{
    Author, Carried, Command, Event, ExecuteError, Open, Place, PullRequest, Refusal, Rules,
    Storage, StorageError, carry, decide, execute, fold, open,
};
use windlass_git::diff::Diff;
use windlass_git::merge::Method;
use windlass_git::{Oid, RefName, RepoPath};

fn oid(n: u8) -> Oid {
    Oid::parse(&format!("{n:02x}").repeat(20)).unwrap()
}

fn author(id: &str) -> Author {
    Author { kind: "user".into(), id: id.into() }
}

fn request() -> Open {
    Open {
        number: 1,
        project: "p1".into(),
        title: " A title ".into(),
        body: "body".into(),
        base: RefName::branch("main").unwrap(),
        head: RefName::branch("windlass/x").unwrap(),
        head_commit: oid(2),
        base_commit: oid(1),
        job: Some("job-1".into()),
    }
}

fn opened() -> PullRequest {
    fold(None, &open(request(), author("ann"), 10).unwrap()).unwrap()
}

fn after(state: PullRequest, command: Command) -> PullRequest {
    let events = decide(&state, &Rules::default(), command, author("bob"), 20).unwrap();
    fold(Some(state), &events).unwrap()
}

fn refused(state: &PullRequest, rules: &Rules, command: Command) -> Refusal {
    decide(state, rules, command, author("bob"), 20).unwrap_err()
}

fn moved(n: u8) -> Command {
    Command::HeadMoved {
        head_commit: oid(n),
        base_commit: oid(1),
        job: Some(format!("job-{n}")),
        carried: vec![],
    }
}

fn approve(n: u8) -> Command {
    Command::Review { verdict: Verdict::Approve, body: String::new(), commit: oid(n) }
}

fn changes(n: u8) -> Command {
    Command::Review { verdict: Verdict::RequestChanges, body: "please".into(), commit: oid(n) }
}

fn merge(n: u8) -> Command {
    Command::Merge {
        method: Method::Squash,
        commit: oid(n),
        base_tip: oid(9),
        conflicts: vec![],
        message: None,
    }
}

fn comment(id: &str, line: Option<u32>) -> Command {
    let place = line.map(|line| Place {
        path: RepoPath::parse("src/lib.rs").unwrap(),
        side: Side::New,
        line,
        commit: oid(2),
    });
    Command::Comment { id: id.into(), body: "hm".into(), place, answers: None }
}

#[test]
fn a_pull_request_is_opened_reviewed_and_merged() {
    let state = opened();
    assert_eq!(
        (state.title.as_str(), state.round(), state.state, state.review()),
        ("A title", 1, State::Open, None)
    );
    let state = after(state, changes(2));
    assert_eq!(state.review(), Some(Verdict::RequestChanges));
    assert_eq!(
        refused(&state, &Rules::default(), merge(2)),
        Refusal::ChangesRequested { by: author("bob") }
    );
    let state = after(state, moved(3));
    assert_eq!(
        (state.round(), state.review(), &state.rounds[1].job),
        (2, None, &Some("job-3".into())),
        "a verdict is about one head"
    );
    let state = after(state, approve(3));
    let state = after(state, merge(3));
    let merging = state.merging.clone().unwrap();
    assert_eq!(
        (merging.head_commit, merging.base_tip, merging.message.as_str(), merging.at),
        (oid(3), oid(9), "A title (#1)\n", 20)
    );
    assert_eq!(refused(&state, &Rules::default(), merge(3)), Refusal::Merging);
    assert_eq!(refused(&state, &Rules::default(), Command::Close), Refusal::Merging);
    let state = after(state, Command::MergeDone { commit: oid(7) });
    assert_eq!(
        (state.state, state.merged.as_ref().map(|merged| (&merged.commit, merged.method))),
        (State::Merged, Some((&oid(7), Method::Squash)))
    );
    for command in [merge(3), approve(3), Command::Close, Command::Reopen] {
        assert_eq!(refused(&state, &Rules::default(), command), Refusal::NotOpen("merged"));
    }
    assert_eq!(after(state.clone(), Command::MergeDone { commit: oid(7) }), state);
    assert_eq!(
        after(state.clone(), moved(8)),
        state,
        "a branch that moves after the merge is another matter"
    );
}

#[test]
fn a_merge_needs_the_head_that_was_looked_at_no_conflict_and_the_approvals_asked_for() {
    let state = opened();
    assert_eq!(refused(&state, &Rules::default(), merge(3)), Refusal::HeadMoved { head: oid(2) });
    let conflicting = Command::Merge {
        method: Method::Merge,
        commit: oid(2),
        base_tip: oid(9),
        conflicts: vec!["a".into()],
        message: None,
    };
    assert_eq!(
        refused(&state, &Rules::default(), conflicting),
        Refusal::Conflicts { paths: vec!["a".into()] }
    );
    let two = Rules { approvals: 1, own_approval_counts: false, ..Rules::default() };
    assert_eq!(refused(&state, &two, merge(2)), Refusal::NotApproved { needed: 1, have: 0 });
    let own =
        fold(Some(state.clone()), &decide(&state, &two, approve(2), author("ann"), 15).unwrap())
            .unwrap();
    assert_eq!(refused(&own, &two, merge(2)), Refusal::NotApproved { needed: 1, have: 0 });
    let both = after(own, approve(2));
    assert!(decide(&both, &two, merge(2), author("ann"), 30).is_ok());
    let stale = after(both, moved(4));
    assert_eq!(
        refused(&stale, &two, merge(4)),
        Refusal::NotApproved { needed: 1, have: 0 },
        "an approval is of one head"
    );
    let changed_mind = after(after(opened(), changes(2)), approve(2));
    assert!(decide(&changed_mind, &Rules::default(), merge(2), author("ann"), 30).is_ok());
}

#[test]
fn a_merge_that_failed_leaves_the_pull_request_open_to_try_again() {
    let state = after(opened(), merge(2));
    let state = after(state, Command::MergeFailed { reason: "main moved".into() });
    assert_eq!((state.state, state.merging.clone()), (State::Open, None));
    assert!(decide(&state, &Rules::default(), merge(2), author("ann"), 30).is_ok());
    assert_eq!(after(state.clone(), Command::MergeFailed { reason: "again".into() }), state);
    let closed = after(state, Command::Close);
    assert_eq!(refused(&closed, &Rules::default(), merge(2)), Refusal::NotOpen("closed"));
    assert_eq!(after(closed, Command::Reopen).state, State::Open);
}

#[test]
fn what_is_not_acceptable_is_refused_with_a_reason() {
    let bad = |change: fn(&mut Open)| {
        let mut request = request();
        change(&mut request);
        assert!(
            matches!(open(request.clone(), author("ann"), 1), Err(Refusal::Invalid(_))),
            "{request:?}"
        );
    };
    bad(|open| open.title = "  ".into());
    bad(|open| open.title = "two\nlines".into());
    bad(|open| open.title = "x".repeat(513));
    bad(|open| open.body = "x".repeat(65_537));
    bad(|open| open.head = open.base.clone());
    bad(|open| open.head = RefName::parse("refs/tags/v1").unwrap());
    bad(|open| open.head_commit = open.base_commit.clone());
    let state = after(opened(), comment("c1", Some(3)));
    let answer = |answers: &str, place| Command::Comment {
        id: "c9".into(),
        body: "x".into(),
        place,
        answers: Some(answers.into()),
    };
    for command in [
        Command::Comment { id: "c2".into(), body: " ".into(), place: None, answers: None },
        comment("c2", Some(0)),
        answer(
            "c1",
            Some(Place {
                path: RepoPath::parse("a").unwrap(),
                side: Side::New,
                line: 1,
                commit: oid(2),
            }),
        ),
        Command::Edit { title: Some(String::new()), body: None },
        Command::Review { verdict: Verdict::RequestChanges, body: String::new(), commit: oid(2) },
    ] {
        assert!(
            matches!(refused(&state, &Rules::default(), command.clone()), Refusal::Invalid(_)),
            "{command:?}"
        );
    }
    assert_eq!(
        refused(&state, &Rules::default(), answer("none", None)),
        Refusal::NoSuchComment("none".into())
    );
    assert_eq!(refused(&state, &Rules::default(), approve(5)), Refusal::HeadMoved { head: oid(2) });
    assert_eq!(
        refused(&after(state, moved(3)), &Rules::default(), comment("c2", Some(1))),
        Refusal::HeadMoved { head: oid(3) }
    );
}

#[test]
fn comments_form_threads_that_are_answered_settled_and_sent_once() {
    let state = after(after(opened(), comment("c1", Some(3))), comment("c2", None));
    let answer = |id: &str, to: &str| Command::Comment {
        id: id.into(),
        body: "yes".into(),
        place: None,
        answers: Some(to.into()),
    };
    let state = after(after(state, answer("c3", "c1")), answer("c4", "c3"));
    assert_eq!(
        (state.comments["c3"].answers.as_deref(), state.comments["c4"].answers.as_deref()),
        (Some("c1"), Some("c1"))
    );
    assert_eq!(
        after(state.clone(), comment("c1", Some(9))),
        state,
        "the same id is the same comment"
    );
    let settled = after(state.clone(), Command::Settle { comment: "c1".into(), settled: true });
    assert_eq!(settled.comments["c1"].settled_by, Some(author("bob")));
    assert_eq!(after(settled, Command::Settle { comment: "c1".into(), settled: false }), state);
    let send = Command::Sent { comments: vec!["c1".into(), "c2".into()], job: "job-2".into() };
    let sent = after(state, send.clone());
    assert_eq!(
        (sent.comments["c1"].sent_to.as_deref(), sent.comments["c3"].sent_to.as_deref()),
        (Some("job-2"), None)
    );
    assert_eq!(decide(&sent, &Rules::default(), send, author("bob"), 20), Ok(vec![]));
    assert_eq!(
        sent.conversation().iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        ["c1", "c2", "c3", "c4"]
    );
}

/// A difference made by the real git between two texts of `src/lib.rs`.
async fn difference(old: &str, new: &str) -> Diff {
    let dir = tempfile::tempdir().unwrap();
    let repository = windlass_git::Git::default().init(&dir.path().join("r.git")).await.unwrap();
    let mut trees = Vec::new();
    for (index, text) in [old, new].iter().enumerate() {
        let tree = windlass_git::snapshot::WorkTree {
            path: dir.path().join(format!("t{index}")),
            index: dir.path().join(format!("i{index}")),
        };
        std::fs::create_dir_all(tree.path.join("src")).unwrap();
        std::fs::write(tree.path.join("src/lib.rs"), text).unwrap();
        let empty = Oid::parse("4b825dc642cb6eb9a060e54bf8d69288fbee4904").unwrap();
        trees.push(repository.snapshot(&tree, &empty, &Default::default()).await.unwrap().tree);
    }
    repository
        .diff(
            &trees[0],
            &trees[1],
            &windlass_git::diff::Options { context: 0, ..Default::default() },
        )
        .await
        .unwrap()
}

#[tokio::test]
async fn a_comment_follows_its_line_and_is_outdated_when_the_line_is_gone() {
    let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
    let new = "0\n1\n2\n3\nthree and a half\n4\n5\nsix\n8\n9\n";
    let state = (1..=9)
        .fold(opened(), |state, line| after(state, comment(&format!("c{line}"), Some(line))));
    let carried = carry(&state, &oid(3), &Diff::default(), &difference(old, new).await);
    let lines: Vec<Option<u32>> =
        carried.iter().map(|carried| carried.now.as_ref().map(|place| place.line)).collect();
    assert_eq!(lines, [Some(2), Some(3), Some(4), Some(6), Some(7), None, None, Some(9), Some(10)]);
    let next = after(
        state,
        Command::HeadMoved { head_commit: oid(3), base_commit: oid(1), job: None, carried },
    );
    assert!(next.comments["c6"].is_outdated() && !next.comments["c5"].is_outdated());
    let place = |line| Place {
        path: RepoPath::parse("src/lib.rs").unwrap(),
        side: Side::New,
        line,
        commit: oid(3),
    };
    assert_eq!(
        (next.comments["c5"].place.as_ref().unwrap().line, next.comments["c5"].now.clone()),
        (5, Some(place(7)))
    );
    let back = carry(&next, &oid(4), &Diff::default(), &difference(new, old).await);
    let c9 = back.iter().find(|carried| carried.comment == "c9").unwrap();
    assert_eq!(
        *c9,
        Carried { comment: "c9".into(), now: Some(Place { commit: oid(4), ..place(9) }) }
    );
    assert!(back.iter().all(|carried| carried.comment != "c6"), "what is outdated stays so");
}

#[derive(Default)]
struct Memory {
    rows: Mutex<HashMap<u64, (PullRequest, u64)>>,
    interfere: Mutex<Vec<Command>>,
}

#[async_trait::async_trait]
impl Storage for Memory {
    async fn load(
        &self,
        _project: &str,
        number: u64,
    ) -> Result<Option<(PullRequest, u64)>, StorageError> {
        let row = self.rows.lock().unwrap().get(&number).cloned();
        // Somebody else is faster than whoever reads now.
        if let Some(command) = self.interfere.lock().unwrap().pop()
            && let Some((state, version)) = self.rows.lock().unwrap().get_mut(&number)
        {
            *state = after(state.clone(), command);
            *version += 1;
        }
        Ok(row)
    }

    async fn append(
        &self,
        state: &PullRequest,
        events: &[Event],
        version: u64,
    ) -> Result<u64, StorageError> {
        let mut rows = self.rows.lock().unwrap();
        let row = rows.get_mut(&state.number).unwrap();
        if row.1 != version {
            return Err(StorageError::Stale);
        }
        *row = (state.clone(), version + events.len() as u64);
        Ok(row.1)
    }
}

#[tokio::test]
async fn a_command_is_decided_afresh_when_somebody_else_was_faster() {
    let memory = Memory::default();
    memory.rows.lock().unwrap().insert(1, (opened(), 1));
    memory.interfere.lock().unwrap().push(comment("c1", None));
    let (state, events) =
        execute(&memory, &Rules::default(), "p1", 1, &approve(2), &author("bob"), 30)
            .await
            .unwrap();
    assert_eq!((events.len(), state.comments.len(), state.reviews.len()), (1, 1, 1));
    memory.interfere.lock().unwrap().push(moved(3));
    let refused = execute(&memory, &Rules::default(), "p1", 1, &merge(2), &author("bob"), 30)
        .await
        .unwrap_err();
    assert!(matches!(refused, ExecuteError::Refused(Refusal::HeadMoved { .. })), "{refused:?}");
    let none = execute(&memory, &Rules::default(), "p1", 7, &merge(2), &author("bob"), 30)
        .await
        .unwrap_err();
    assert!(matches!(none, ExecuteError::NotFound(7)));
}

fn any_command() -> impl Strategy<Value = Command> {
    let n = 2u8..6;
    prop_oneof![
        n.clone().prop_map(moved),
        n.clone().prop_map(approve),
        n.clone().prop_map(changes),
        n.clone().prop_map(merge),
        (0u8..4, 1u32..5).prop_map(|(id, line)| comment(&format!("c{id}"), Some(line))),
        (0u8..4, any::<bool>())
            .prop_map(|(id, settled)| Command::Settle { comment: format!("c{id}"), settled }),
        n.prop_map(|n| Command::MergeDone { commit: oid(n) }),
        Just(Command::MergeFailed { reason: "no".into() }),
        Just(Command::Close),
        Just(Command::Reopen),
    ]
}

proptest! {
    #[test]
    fn whatever_is_commanded_the_journal_gives_the_state_and_repeating_changes_nothing(commands in prop::collection::vec((any_command(), 0u8..3), 0..40)) {
        let mut journal = open(request(), author("ann"), 10).unwrap();
        let mut state = opened();
        for (at, (command, by)) in commands.into_iter().enumerate() {
            let by = author(&format!("user{by}"));
            let before = state.clone();
            let Ok(events) = decide(&state, &Rules::default(), command.clone(), by.clone(), at as i64) else { continue };
            state = fold(Some(state), &events).unwrap();
            journal.extend(events);
            let merge_begins = matches!(command, Command::Merge { .. });
            if !merge_begins {
                let again = decide(&state, &Rules::default(), command.clone(), by, at as i64);
                prop_assert!(again.as_ref().map_or(true, Vec::is_empty), "{command:?} happened twice: {again:?}");
            }
            prop_assert!(before.state != State::Merged || state.state == State::Merged);
            prop_assert_eq!(state.state == State::Merged, state.merged.is_some());
            prop_assert_eq!(&state.rounds.last().unwrap().head_commit, &state.head_commit);
            if merge_begins {
                prop_assert!(state.verdicts().values().all(|verdict| *verdict == Verdict::Approve));
            }
        }
        let text = serde_json::to_string(&journal).unwrap();
        let read: Vec<Event> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(fold(None, &read), Some(state.clone()));
        let kept: PullRequest = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        prop_assert_eq!(kept, state);
    }
}
