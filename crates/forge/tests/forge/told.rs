//! What the local forge tells of itself: a story of one pull request in the words of all hosts.

use windlass_forge::{
    event::{Actor, Arrival},
    forge::Verdict,
    local::{Author, Command, Open, PullRequest, Rules, decide, fold, open, told},
};
use windlass_git::{Oid, RefName, merge::Method};
use windlass_run::{EventId, Time, event};

fn oid(n: u8) -> Oid {
    Oid::parse(&format!("{n:02x}").repeat(20)).unwrap()
}

fn author() -> Author {
    Author { kind: "user".into(), id: "usr_ann".into() }
}

fn actor() -> Actor {
    Actor { login: "ann".into(), id: "usr_ann".into(), bot: false }
}

fn envelope(told: &windlass_forge::event::Event) -> event::Event {
    told.envelope(Arrival {
        id: EventId::new(Time::from_micros(1), 1),
        source: "local/billing".into(),
        delivery: "1".into(),
        at: Time::from_micros(1),
        project_id: None,
    })
}

/// What is told of these commands, and the pull request after them.
fn story(commands: Vec<Command>) -> (Vec<event::Event>, PullRequest) {
    let new = Open {
        number: 1,
        project: "p1".into(),
        title: "A title".into(),
        body: "body".into(),
        base: RefName::branch("main").unwrap(),
        head: RefName::branch("windlass/x").unwrap(),
        head_commit: oid(2),
        base_commit: oid(1),
        job: None,
    };
    let mut events = open(new, author(), 10).unwrap();
    let mut state = fold(None, &events).unwrap();
    let mut told = Vec::new();
    let mut rest = commands.into_iter();
    loop {
        let of = |event| told::of_pull_request(&state, event, "billing", actor());
        told.extend(events.iter().filter_map(of).map(|event| envelope(&event)));
        let Some(command) = rest.next() else { return (told, state) };
        events = decide(&state, &Rules::default(), command, author(), 20).unwrap();
        state = fold(Some(state), &events).unwrap();
    }
}

#[test]
fn a_pull_request_of_the_local_forge_is_told_in_the_words_of_all_hosts() {
    let comment = |id: &str, body: &str| Command::Comment {
        id: id.into(),
        body: body.into(),
        place: None,
        answers: None,
    };
    let moved =
        Command::HeadMoved { head_commit: oid(3), base_commit: oid(1), job: None, carried: vec![] };
    let approve =
        Command::Review { verdict: Verdict::Approve, body: "/merge".into(), commit: oid(3) };
    let merge = Command::Merge {
        method: Method::Merge,
        commit: oid(3),
        base_tip: oid(9),
        conflicts: vec![],
        message: None,
    };
    let (told, _) = story(vec![
        comment("c1", "/windlass fix this"),
        Command::Settle { comment: "c1".into(), settled: true },
        moved,
        Command::Close,
        Command::Reopen,
        approve,
        merge,
        Command::MergeDone { commit: oid(7) },
    ]);
    let kinds: Vec<&str> = told.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "pull_request.opened",
            "comment.created",
            "review.thread_resolved",
            "pull_request.synchronize",
            "pull_request.closed",
            "pull_request.reopened",
            "review.submitted",
            "pull_request.merged",
        ]
    );
    for event in &told {
        assert_eq!(event.subject.as_deref(), Some("pull_request/1"));
        assert_eq!(event.trust, event::Trust::Own);
        assert_eq!(event.actor.as_ref().map(|actor| actor.name.as_str()), Some("ann"));
        assert_eq!(event.data["number"], 1);
    }
    let command = &told[1].data["comment"]["commands"][0];
    assert_eq!((&command["word"], &command["rest"]), (&"windlass".into(), &"fix this".into()));
    assert_eq!(told[6].data["review"]["verdict"], "approve");
    assert_eq!(told[7].data["pull_request"]["state"], "merged");
}

#[test]
fn a_branch_and_a_tag_of_the_local_forge_are_told_apart() {
    let push = |reference: &str, after: Option<Oid>, actor: Option<Actor>| {
        let moved = told::Moved {
            reference: RefName::parse(reference).unwrap(),
            before: Some(oid(1)),
            after,
            forced: false,
            default_branch: reference == "refs/heads/main",
            message: None,
            paths: Some(vec!["a".into()]),
        };
        let event = envelope(&told::of_push(moved, "billing", actor));
        (event.kind, event.subject.unwrap_or_default(), event.trust)
    };
    use event::Trust::{Member, Own};
    for (reference, after, by, kind, trust) in [
        ("refs/heads/main", Some(oid(2)), Some(actor()), "push", Own),
        // What came from a project's source was written by nobody knows whom, but accepted there.
        ("refs/heads/main", Some(oid(2)), None, "push", Member),
        ("refs/heads/old", None, Some(actor()), "push.deleted", Own),
        ("refs/tags/v1", Some(oid(2)), None, "tag", Member),
    ] {
        assert_eq!(push(reference, after, by), (kind.into(), reference.into(), trust));
    }
}
