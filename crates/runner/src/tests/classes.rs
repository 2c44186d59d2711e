//! What an environment may use by its class: a fork bomb, memory and disk end where the class says, and
//! are called what they are; who enforces it is told; what asks for more than it gives is told which
//! class would do.

use windlass_run::{
    Class, JobId,
    class::{Limited, Resource},
    environment::{Seen, Wanted},
    job::End,
};
use windlass_testkit::acp_agent::{Script, Step as Do};
use windlass_wire::runner::House;

use super::{whole::Stage, world::run_step};
use crate::Runner;

fn class(change: impl FnOnce(&mut Class)) -> Class {
    let mut class = Class { name: "small".to_owned(), ..Class::default() };
    change(&mut class);
    class
}

/// The end of a job of this class with one command, and what it got.
async fn end(stage: &Stage, class: &Class, command: &str) -> (JobId, End, Vec<Limited>) {
    let runner = Runner::start(stage.options()).await.expect("a runner");
    let steps = vec![run_step("try", command)];
    let job_id = stage.world().add_spec(steps, |spec| spec.class = Some(class.clone()));
    let end = stage.world().ended(&job_id).await;
    runner.stop(std::time::Duration::from_secs(30)).await;
    stage.nothing_is_left();
    let starts = stage.world().state(&job_id).starts;
    (job_id, end, starts.into_iter().next().map(|start| start.limits).unwrap_or_default())
}

fn of(limits: &[Limited], what: Resource) -> &Limited {
    limits.iter().find(|limited| limited.what == what).expect("it was told")
}

/// A test of what this machine does not enforce says nothing of it.
fn is_enforced(test: &str, limited: &Limited) -> bool {
    if !limited.enforced {
        eprintln!("SKIPPED {test}: needs a host that enforces the limit: {}", limited.how);
        assert!(std::env::var_os("WINDLASS_TEST_ALL").is_none(), "{limited:?}");
        assert!(limited.how.contains("to have it: "), "{limited:?}");
    }
    limited.enforced
}

#[tokio::test]
async fn a_fork_bomb_ends_at_the_limit_of_its_class_and_is_called_one() {
    let stage = Stage::new().await;
    let class = class(|class| class.processes = Some(64));
    let bomb = "for n in $(seq 200); do sleep 1000 & done; echo made $n";
    let (_, end, limits) = end(&stage, &class, bomb).await;
    let limited = of(&limits, Resource::Processes);
    assert_eq!(limited.amount, 64);
    assert!(!end.reason.contains("made 200"), "{}", end.reason);
    if is_enforced("a_fork_bomb", limited) && limited.how.contains("cgroup") {
        assert_eq!(end.code, "out_of_processes", "{}", end.reason);
        let words = "the environment's limit of 64 processes and threads was reached. Choose a larger \
                     class than `small`";
        assert!(end.reason.contains(words), "{}", end.reason);
    }
}

#[tokio::test]
async fn memory_ends_at_the_limit_of_its_class_and_is_called_that() {
    let stage = Stage::new().await;
    let class = class(|class| class.memory_bytes = Some(96 << 20));
    let (_, end, limits) = end(&stage, &class, "head -c 300M /dev/zero | tail -n 1").await;
    let limited = of(&limits, Resource::Memory);
    assert_eq!(limited.amount, 96 << 20);
    if is_enforced("memory", limited) {
        assert_eq!(end.code, "out_of_memory", "{}", end.reason);
        let words = "memory limit of 96 MiB was reached. Choose a larger class than `small`";
        assert!(end.reason.contains(words), "{}", end.reason);
    }
}

#[tokio::test]
async fn disk_ends_at_the_limit_of_its_class_while_it_grows_and_when_it_has() {
    let stage = Stage::new().await;
    let class = class(|class| class.disk_bytes = Some(16 << 20));
    // Over before anybody measured, and one that would go on for ever.
    for command in
        ["head -c 40M /dev/zero > big", "head -c 40M /dev/zero > ~/big; sleep 1000; echo never"]
    {
        let (_, end, limits) = end(&stage, &class, command).await;
        assert_eq!(end.code, "disk_limit", "{}", end.reason);
        let words = "(the environment's disk limit). Choose a larger class than `small`";
        assert!(end.reason.contains(words) && end.reason.contains("it may have 16 MiB"));
        let limited = of(&limits, Resource::Disk);
        assert_eq!((limited.amount, limited.enforced), (16 << 20, true));
    }
}

#[tokio::test]
async fn an_agent_that_fills_the_disk_of_its_class_is_stopped() {
    let stage = Stage::new().await;
    let command = "head -c 40M /dev/zero > big; sleep 1000".to_owned();
    let script = Script::turns(vec![vec![Do::Run { command }]]);
    let runner = Runner::start(stage.options()).await.expect("a runner");
    let class = class(|class| class.disk_bytes = Some(16 << 20));
    let steps = vec![stage.agent("fill", &script)];
    let job_id = stage.world().add_spec(steps, |spec| spec.class = Some(class));
    let end = stage.world().ended(&job_id).await;
    assert_eq!(end.code, "disk_limit", "{}", end.reason);
    runner.stop(std::time::Duration::from_secs(30)).await;
    stage.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_environment_that_outgrows_its_class_is_stopped_and_can_be_cleaned_up() {
    let stage = Stage::new().await;
    let mut options = stage.options();
    options.environments = 4;
    let runner = Runner::start(options).await.expect("a runner");
    let class = class(|class| class.disk_bytes = Some(16 << 20));
    let id = stage.world().keep_with("grows", |spec| spec.class = Some(class));
    assert_eq!(stage.world().settled(&id).await, Seen::Running);
    let told = stage.world().seen(&id).and_then(|seen| seen.start).expect("it was told");
    assert!(of(&told.limits, Resource::Disk).enforced);
    let tree = stage.state().join("kept").join(id.as_str()).join("tree");
    std::fs::write(tree.join("big"), vec![7; 40 << 20]).expect("written");
    let is_down = |seen: &Seen| *seen != Seen::Running;
    let Seen::Failed { reason } = stage.world().until_seen(&id, is_down).await else {
        panic!("{:?}", stage.world().seen(&id));
    };
    assert!(reason.contains("it may have 16 MiB") && reason.contains("Start it again"), "{reason}");
    // Its work is out, and it may run with what it has.
    assert!(stage.world().work_of(&id).starts_with(b"# v2 git bundle"));
    stage.world().want(&id, Wanted::Running);
    assert_eq!(stage.world().settled(&id).await, Seen::Running);
    runner.stop(std::time::Duration::from_secs(30)).await;
}

#[tokio::test]
async fn what_asks_for_more_than_its_class_gives_is_told_which_would_do() {
    let definition = r#"{ "hostRequirements": { "cpus": 1, "memory": "3gb", "storage": "1gb" } }"#;
    let stage = Stage::with(&[(".devcontainer.json", definition)]).await;
    let gives = |name: &str, gib: u64| Class {
        name: name.to_owned(),
        cpu_millis: Some(1000),
        memory_bytes: Some(gib << 30),
        disk_bytes: Some(10 << 30),
        ..Class::default()
    };
    let (small, big) = (gives("small", 2), gives("big", 4));
    let start = ".devcontainer.json:1:46: needs 3072 MiB of memory, the class `small` gives 2048 MiB of memory: ";
    for (classes, words) in [
        (vec![small.clone(), big.clone()], "the class `big` would do, or lower it"),
        (vec![small.clone()], "no class of the organisation would do"),
    ] {
        stage.world().set_house(House { classes, ..House::default() });
        let (_, end, _) = end(&stage, &small, "true").await;
        assert_eq!(end.code, "environment", "{}", end.reason);
        assert!(end.reason.contains(&format!("{start}{words}")), "{}", end.reason);
    }
    let (_, end, _) = end(&stage, &big, "true").await;
    assert_eq!(end.code, "done", "{}", end.reason);
}
