//! The GitHub host against the model: what it does, and how it bears what goes wrong.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use windlass_forge::forge::{
    LineComment, Merge, NewPullRequest, Review, Side, State, Status, StatusState, Update, Verdict,
};
use windlass_forge::hosts::github::{GitHub, Options, api_root, git_credential};
use windlass_forge::{Error, Forge, RepositoryAddress, RepositoryName};
use windlass_git::merge::Method;
use windlass_git::repository::Expected;
use windlass_git::snapshot::NewCommit;
use windlass_git::{Address, Git, Oid, RefName, Remote, RepoPath, Repository, Signature};
use windlass_testkit::github::{Access, Fault, GitHub as Model};

const TOKEN: &str = "ghp_0123456789abcdef";

struct World {
    model: Model,
    forge: GitHub,
    name: RepositoryName,
    clock: Arc<AtomicI64>,
    bare: Repository,
    _dir: tempfile::TempDir,
}

fn who(at: i64) -> Signature {
    Signature { name: "W".into(), email: "w@localhost".into(), at: at * 1_000_000 }
}

/// A commit with one file, on these parents.
async fn commit(
    repository: &Repository,
    dir: &Path,
    parents: &[&Oid],
    file: &str,
    text: &str,
) -> Oid {
    let tree = windlass_git::snapshot::WorkTree {
        path: dir.join(format!("tree-{}", text.len())),
        index: dir.join(format!("index-{file}-{text}")),
    };
    let parent = parents.first().copied();
    match parent {
        Some(parent) => repository
            .checkout(&tree.path, &windlass_git::checkout::Options::detached(parent.clone()))
            .await
            .unwrap(),
        None => std::fs::create_dir_all(&tree.path).unwrap(),
    }
    std::fs::write(tree.path.join(file), text).unwrap();
    let base = match parent {
        Some(parent) => parent.clone(),
        None => Oid::parse("4b825dc642cb6eb9a060e54bf8d69288fbee4904").unwrap(),
    };
    let snapshot = repository.snapshot(&tree, &base, &Default::default()).await.unwrap();
    std::fs::remove_dir_all(&tree.path).unwrap();
    let new = NewCommit {
        tree: snapshot.tree,
        parents: parents.iter().map(|id| (*id).clone()).collect(),
        author: who(1),
        committer: who(1),
        message: text.into(),
    };
    repository.commit(&new).await.unwrap()
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let source = Git::default().init(&dir.path().join("source.git")).await.unwrap();
        let first = commit(&source, dir.path(), &[], "README", "hello\n").await;
        let work = commit(&source, dir.path(), &[&first], "new", "work\n").await;
        let clash = commit(&source, dir.path(), &[&first], "README", "clash!!\n").await;
        for (branch, id) in [("main", &first), ("windlass/x", &work), ("windlass/clash", &clash)] {
            source
                .update_reference(&RefName::branch(branch).unwrap(), id, Expected::Absent)
                .await
                .unwrap();
        }
        let model = Model::start().await;
        model.add_token(TOKEN, "windlass-bot", Access::Write).await;
        model.add_token("ghp_readonly", "reader", Access::Read).await;
        model.add_token("ghp_reviewer", "reviewer", Access::Write).await;
        let bare = model.add_repository("acme/api", source.dir(), true).await;
        let clock = Arc::new(AtomicI64::new(model.now().await * 1_000_000));
        let forge = connect(&model, TOKEN, &clock);
        let name = RepositoryName::parse("acme/api").unwrap();
        World { bare: Git::default().open(&bare).unwrap(), model, forge, name, clock, _dir: dir }
    }

    fn as_token(&self, token: &str) -> GitHub {
        connect(&self.model, token, &self.clock)
    }

    async fn open(&self) -> u64 {
        self.forge
            .open_or_find(&self.name, &new_pull("windlass/x"))
            .await
            .unwrap()
            .pull_request
            .number
    }

    async fn head(&self) -> Oid {
        self.bare.resolve("windlass/x").await.unwrap()
    }
}

fn connect(model: &Model, token: &str, clock: &Arc<AtomicI64>) -> GitHub {
    let address = RepositoryAddress::parse(&model.address("acme/api")).unwrap();
    let clock = Arc::clone(clock);
    GitHub::new(Options {
        api_root: api_root(&address),
        token: token.into(),
        clock: Arc::new(move || clock.load(Ordering::Relaxed)),
        time_limit: Duration::from_secs(20),
    })
    .unwrap()
}

fn new_pull(head: &str) -> NewPullRequest {
    NewPullRequest {
        base: "main".into(),
        head: head.into(),
        title: "A title".into(),
        body: "A body".into(),
        draft: false,
        labels: vec!["windlass".into(), "security".into()],
    }
}

#[tokio::test]
async fn a_change_goes_from_push_to_merge() {
    let world = World::new().await;
    let (forge, name) = (&world.forge, &world.name);
    assert_eq!(forge.who_am_i().await.unwrap(), "windlass-bot");
    let repository = forge.repository(name).await.unwrap();
    assert_eq!(
        (
            repository.default_branch.as_str(),
            repository.private,
            repository.can_push,
            repository.name
        ),
        ("main", true, Some(true), name.clone())
    );
    let opened = forge.open_or_find(name, &new_pull("windlass/x")).await.unwrap();
    let pull = opened.pull_request;
    let head = world.head().await;
    assert!(opened.created);
    assert_eq!(
        (
            pull.number,
            pull.state,
            pull.base.as_str(),
            pull.head.as_str(),
            &pull.head_commit,
            pull.mergeable
        ),
        (1, State::Open, "main", "windlass/x", &head, Some(true))
    );
    assert_eq!(
        (pull.title.as_str(), pull.body.as_str(), pull.author.as_deref()),
        ("A title", "A body", Some("windlass-bot"))
    );

    let update = Update { title: Some("Better".into()), body: None, base: None };
    assert_eq!(forge.update(name, 1, &update).await.unwrap().title, "Better");
    assert_eq!(forge.update(name, 1, &Update::default()).await.unwrap().title, "Better");
    let line = LineComment {
        path: RepoPath::parse("new").unwrap(),
        side: Side::New,
        line: 1,
        body: "why?".into(),
    };
    let review = Review {
        verdict: Verdict::Approve,
        body: "good".into(),
        commit: head.clone(),
        comments: vec![line],
    };
    world.as_token("ghp_reviewer").review(name, 1, &review, "review:1").await.unwrap();
    let status = Status {
        context: "windlass/x".into(),
        state: StatusState::Success,
        description: "d".repeat(300),
        url: Some("http://localhost/x".into()),
    };
    forge.set_status(name, &head, &status).await.unwrap();
    assert_eq!(world.model.statuses("acme/api").await[0]["description"], "d".repeat(140));
    let merge = Merge {
        method: Method::Squash,
        expected_head: head,
        title: Some("Squashed".into()),
        message: Some("body".into()),
    };
    let merged = forge.merge(name, 1, &merge).await.unwrap();
    assert_eq!(world.bare.resolve("main").await.unwrap(), merged);
    assert_eq!(world.bare.commit_info(&merged).await.unwrap().subject, "Squashed");
    assert_eq!(
        forge.merge(name, 1, &merge).await.unwrap(),
        merged,
        "a merge that was done is found done"
    );
    let after = forge.pull_request(name, 1).await.unwrap();
    assert_eq!((after.state, after.merge_commit), (State::Merged, Some(merged)));
}

#[tokio::test]
async fn opening_twice_finds_the_first_even_when_the_answer_was_lost() {
    let world = World::new().await;
    let first = world.forge.open_or_find(&world.name, &new_pull("windlass/x")).await.unwrap();
    let second = world.forge.open_or_find(&world.name, &new_pull("windlass/x")).await.unwrap();
    assert_eq!(
        (first.created, second.created, first.pull_request.number),
        (true, false, second.pull_request.number)
    );
    world.forge.close(&world.name, 1).await.unwrap();
    // Request 0 looks, request 1 opens, request 2 puts labels on.
    for (lost, expected) in [(1, 2), (2, 3)] {
        world.model.lose_answer_after(lost).await;
        let opening = world.forge.open_or_find(&world.name, &new_pull("windlass/x")).await;
        assert!(matches!(opening, Err(Error::Unavailable { .. })), "{opening:?}");
        let again = world.forge.open_or_find(&world.name, &new_pull("windlass/x")).await.unwrap();
        assert_eq!((again.created, again.pull_request.number), (false, expected));
        assert_eq!(world.model.n_pulls("acme/api").await as u64, expected);
        assert_eq!(world.model.labels("acme/api", expected).await, ["windlass", "security"]);
        world.forge.close(&world.name, expected).await.unwrap();
    }
}

#[tokio::test]
async fn a_comment_is_written_once_however_often_it_is_tried() {
    let world = World::new().await;
    let number = world.open().await;
    let (forge, name) = (&world.forge, &world.name);
    world.model.cap_pages(10).await;
    for index in 0..25 {
        forge
            .comment(name, number, &format!("noise {index}"), &format!("noise-{index}"))
            .await
            .unwrap();
    }
    // Three pages are looked through, then the comment is written.
    world.model.lose_answer_after(3).await;
    let lost = forge.comment(name, number, "the report", "effect:report.1").await;
    assert!(matches!(lost, Err(Error::Unavailable { .. })), "{lost:?}");
    let found = forge.comment(name, number, "the report", "effect:report.1").await.unwrap();
    assert!(found.body.starts_with("the report\n\n<!-- windlass:effect:report.1 -->"));
    let all = forge.comments(name, number, 1000).await.unwrap();
    assert_eq!((all.len(), all.last().unwrap().id), (26, found.id));
    assert_eq!(forge.comments(name, number, 7).await.unwrap().len(), 7);
    for bad in ["", "a -->", "a--b", "x y"] {
        assert!(
            matches!(forge.comment(name, number, "x", bad).await, Err(Error::Invalid { .. })),
            "{bad}"
        );
    }
    let own = Review {
        verdict: Verdict::Comment,
        body: "words".into(),
        commit: world.head().await,
        comments: vec![],
    };
    forge.review(name, number, &own, "r1").await.unwrap();
    forge.review(name, number, &own, "r1").await.unwrap();
    let reviews = world
        .model
        .exchanges()
        .await
        .iter()
        .filter(|e| e.method == "POST" && e.path.ends_with("/reviews"))
        .count();
    assert_eq!(reviews, 1);
}

#[tokio::test]
async fn a_pull_request_that_cannot_be_merged_says_why_and_stays() {
    let world = World::new().await;
    let (forge, name) = (&world.forge, &world.name);
    let number = world.open().await;
    let head = world.head().await;
    let merge =
        |expected_head| Merge { method: Method::Merge, expected_head, title: None, message: None };
    let moved = forge
        .merge(name, number, &merge(world.bare.resolve("main").await.unwrap()))
        .await
        .unwrap_err();
    assert!(
        matches!(&moved, Error::Conflict { message, .. } if message.contains("Head branch was modified")),
        "{moved:?}"
    );
    forge.close(name, number).await.unwrap();
    assert!(matches!(
        forge.merge(name, number, &merge(head.clone())).await,
        Err(Error::Conflict { .. })
    ));
    assert_eq!(forge.close(name, number).await.unwrap().state, State::Closed);
    assert_eq!(forge.reopen(name, number).await.unwrap().state, State::Open);
    forge.merge(name, number, &merge(head)).await.unwrap();
    // What is left clashes with nothing; a second one on the same line does.
    let clash = forge.open_or_find(name, &new_pull("windlass/clash")).await.unwrap().pull_request;
    let main = world.bare.resolve("main").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let other = commit(&world.bare, dir.path(), &[&main], "README", "another clash\n").await;
    world
        .bare
        .update_reference(&RefName::branch("main").unwrap(), &other, Expected::Is(main))
        .await
        .unwrap();
    let now = forge.pull_request(name, clash.number).await.unwrap();
    assert_eq!(now.mergeable, Some(false));
    let refused = forge.merge(name, clash.number, &merge(now.head_commit)).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Conflict { message, .. } if message.contains("not mergeable")),
        "{refused:?}"
    );
    assert_eq!(world.bare.resolve("main").await.unwrap(), other);
}

#[tokio::test]
async fn each_refusal_is_the_right_error_without_the_token_in_it() {
    let world = World::new().await;
    let (forge, name) = (&world.forge, &world.name);
    let nobody = RepositoryName::parse("acme/none").unwrap();
    assert!(matches!(forge.repository(&nobody).await, Err(Error::NotFound { .. })));
    assert!(matches!(forge.pull_request(name, 99).await, Err(Error::NotFound { .. })));
    let wrong = world.as_token("ghp_wrong").who_am_i().await.unwrap_err();
    assert!(
        matches!(&wrong, Error::Forbidden { message, .. } if message.contains("not accepted")),
        "{wrong:?}"
    );
    let reader = world.as_token("ghp_readonly");
    assert!(matches!(
        reader.open_or_find(name, &new_pull("windlass/x")).await,
        Err(Error::Forbidden { .. })
    ));
    let missing = forge.open_or_find(name, &new_pull("windlass/none")).await.unwrap_err();
    assert!(
        matches!(&missing, Error::Invalid { message, .. } if message == "Validation Failed; head invalid"),
        "{missing:?}"
    );
    let nothing = NewPullRequest { head: "main".into(), base: "windlass/x".into(), ..new_pull("") };
    let nothing = forge.open_or_find(name, &nothing).await.unwrap_err();
    assert!(
        matches!(&nothing, Error::Invalid { message, .. } if message.contains("No commits between")),
        "{nothing:?}"
    );
    let own = Review {
        verdict: Verdict::Approve,
        body: String::new(),
        commit: world.head().await,
        comments: vec![],
    };
    let number = world.open().await;
    let own = forge.review(name, number, &own, "m").await.unwrap_err();
    assert!(
        matches!(&own, Error::Invalid { message, .. } if message.contains("Can not approve your own")),
        "{own:?}"
    );
    for (fault, transient) in [
        (Fault::Status(500), true),
        (Fault::Status(502), true),
        (Fault::Garbage, true),
        (Fault::LostAnswer, true),
        (Fault::Status(409), false),
        (Fault::Status(301), false),
        (Fault::Status(451), false),
    ] {
        world.model.fail_next([fault]).await;
        let error = forge.who_am_i().await.unwrap_err();
        assert_eq!(error.is_transient(), transient, "{fault:?}: {error:?}");
        assert!(!format!("{error:?} {error}").contains(TOKEN));
    }
    assert!(!format!("{forge:?}").contains(TOKEN));
    let gone = GitHub::new(Options {
        api_root: "http://127.0.0.1:9/api/v3".into(),
        token: TOKEN.into(),
        clock: Arc::new(|| 0),
        time_limit: Duration::from_secs(20),
    })
    .unwrap();
    let gone = gone.who_am_i().await.unwrap_err();
    assert!(
        matches!(gone, Error::Unavailable { .. }) && !gone.to_string().contains(TOKEN),
        "{gone:?}"
    );
    for token in ["", "a b", "a\nb"] {
        let options = Options {
            api_root: world.model.api_root(),
            token: token.into(),
            clock: Arc::new(|| 0),
            time_limit: Duration::from_secs(1),
        };
        assert!(matches!(GitHub::new(options), Err(Error::Invalid { .. })));
    }
}

#[tokio::test]
async fn limits_are_obeyed_without_asking_again_before_their_end() {
    let world = World::new().await;
    let forge = &world.forge;
    let asked = || async { world.model.exchanges().await.len() };
    world.model.leave_requests(TOKEN, 2).await;
    forge.who_am_i().await.unwrap();
    // The answer to the last allowed request already says that it was the last.
    forge.who_am_i().await.unwrap();
    let before = asked().await;
    let until = match forge.who_am_i().await {
        Err(Error::RateLimited { until, .. }) => until,
        other => panic!("{other:?}"),
    };
    let reset = (world.model.now().await / 3600 + 1) * 3600 * 1_000_000;
    assert_eq!((until, asked().await), (reset, before), "nothing was sent");
    let second = world.as_token(TOKEN).who_am_i().await.unwrap_err();
    assert_eq!(second.retry_at(), Some(reset), "{second:?}");
    world.model.pass(3600).await;
    world.clock.store(until, Ordering::Relaxed);
    forge.who_am_i().await.unwrap();

    let now = world.clock.load(Ordering::Relaxed);
    for (fault, wait) in [(Fault::SecondaryLimit(30), 30), (Fault::SecondaryLimitUnsaid, 60)] {
        let forge = world.as_token(TOKEN);
        world.model.fail_next([fault]).await;
        let error = forge.who_am_i().await.unwrap_err();
        assert_eq!(error.retry_at(), Some(now + wait * 1_000_000), "{error:?}");
        let before = asked().await;
        assert!(matches!(forge.who_am_i().await, Err(Error::RateLimited { .. })));
        assert_eq!(asked().await, before);
        world.clock.store(now + wait * 1_000_000, Ordering::Relaxed);
        forge.who_am_i().await.unwrap();
        world.clock.store(now, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn an_unchanged_pull_request_is_not_sent_again() {
    let world = World::new().await;
    let number = world.open().await;
    let first = world.forge.pull_request(&world.name, number).await.unwrap();
    let second = world.forge.pull_request(&world.name, number).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(world.model.exchanges().await.last().unwrap().status, 304);
    let update = Update { title: Some("Another".into()), ..Update::default() };
    world.forge.update(&world.name, number, &update).await.unwrap();
    assert_eq!(world.forge.pull_request(&world.name, number).await.unwrap().title, "Another");
}

#[tokio::test]
async fn lists_are_read_over_all_pages_newest_first() {
    let world = World::new().await;
    let main = world.bare.resolve("main").await.unwrap();
    let tree = world.bare.tree_of(&world.head().await).await.unwrap();
    world.model.cap_pages(10).await;
    for index in 0..23 {
        let new = NewCommit {
            tree: tree.clone(),
            parents: vec![main.clone()],
            author: who(index),
            committer: who(index),
            message: "m".into(),
        };
        let commit = world.bare.commit(&new).await.unwrap();
        let branch = format!("windlass/b{index}");
        world
            .bare
            .update_reference(&RefName::branch(&branch).unwrap(), &commit, Expected::Absent)
            .await
            .unwrap();
        world
            .forge
            .open_or_find(&world.name, &NewPullRequest { labels: vec![], ..new_pull(&branch) })
            .await
            .unwrap();
    }
    let all = world.forge.open_pull_requests(&world.name, None, 1000).await.unwrap();
    let numbers: Vec<u64> = all.iter().map(|pull| pull.number).collect();
    assert_eq!(numbers, (1..=23).rev().collect::<Vec<u64>>());
    let one = world.forge.open_pull_requests(&world.name, Some("windlass/b7"), 10).await.unwrap();
    assert_eq!(one.iter().map(|pull| pull.head.as_str()).collect::<Vec<_>>(), ["windlass/b7"]);
    assert_eq!(world.forge.open_pull_requests(&world.name, None, 5).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn git_fetches_and_pushes_with_the_same_token() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mine = Git::default().init(&dir.path().join("mine.git")).await.unwrap();
    let address = Address::parse(&world.model.address("acme/api")).unwrap();
    let remote = Remote::with(address.clone(), git_credential(TOKEN));
    mine.fetch(&remote, &["+refs/heads/*:refs/heads/*"], true).await.unwrap();
    let head = world.head().await;
    let commit = commit(&mine, dir.path(), &[&head], "more", "more work\n").await;
    let branch = RefName::branch("windlass/x").unwrap();
    mine.push(&remote, &branch, &commit, Some(&head)).await.unwrap();
    assert_eq!(world.head().await, commit);
    assert!(matches!(
        mine.push(&remote, &branch, &head, Some(&head)).await,
        Err(windlass_git::Error::Stale { .. })
    ));
    let reader = Remote::with(address.clone(), git_credential("ghp_readonly"));
    assert!(matches!(
        mine.push(&reader, &branch, &head, Some(&commit)).await,
        Err(windlass_git::Error::AuthFailed { .. })
    ));
    assert!(matches!(
        Git::default().ls_remote(&Remote::open(address)).await,
        Err(windlass_git::Error::AuthFailed { .. })
    ));
}
