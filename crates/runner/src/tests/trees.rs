//! Whole jobs whose steps are a tree: real environments, real git.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use windlass_run::{
    StepId,
    actor::{Actor, By},
    expression::Expression,
    job::{Command, Decision, Outcome, Phase, StepPhase, Verdict},
    spec::{
        Action, ApproveAction, Given, Kind, OnTimeout, Output, PullRequestAction, Source, Spec,
        Step,
    },
    template::Text,
};

use super::{
    whole::Stage,
    world::{now, run_step, step},
};

fn cel(source: &str) -> Expression {
    Expression::parse(source).expect("an expression")
}

fn text(source: &str) -> Text {
    Text::parse(source).expect("a template")
}

fn says(id: &str, command: &str) -> Step {
    step(id, Action::Run { command: text(command) })
}

fn gives(mut step: Step, name: &str, kind: Kind, source: Source) -> Step {
    step.outputs.insert(name.to_owned(), Output { kind, source, accept: None });
    step
}

fn file(path: &str, pointer: Option<&str>) -> Source {
    Source::File { path: path.to_owned(), pointer: pointer.map(str::to_owned), regex: None }
}

fn stdout() -> Source {
    Source::Stdout { pointer: None, regex: None }
}

fn each(id: &str, items: &str, steps: Vec<Step>) -> Step {
    step(id, Action::ForEach { items: cel(items), name: "item".to_owned(), steps, limit: 1 })
}

fn outputs(stage: &Stage, job_id: &windlass_run::JobId, id: &str) -> BTreeMap<String, Value> {
    let state = stage.world().state(job_id);
    let index = state.index_of(&StepId::parse(id).expect("a name"));
    state.steps[index.unwrap_or_else(|| panic!("no {id}"))].outputs.clone()
}

#[tokio::test]
async fn a_whole_tree_is_worked_through_and_ends_in_a_pull_request_with_its_values() {
    let stage = Stage::new().await;
    let find = "echo '{\"files\": [\"a.txt\", \"b b.txt\"]}' > \"$WINDLASS_OUTPUTS/found.json\"; \
                echo noise >&2; echo 3";
    let mut find =
        gives(run_step("find", find), "files", Kind::Json, file("found.json", Some("/files")));
    find = gives(find, "n", Kind::Integer, stdout());
    let mut never = run_step("never", "exit 1");
    never.condition = Some(cel("steps.find.outputs.n > 3"));
    let fix = each(
        "fix-all",
        "steps.find.outputs.files",
        vec![says("fix", "echo ${{ item }} > ${{ item }}")],
    );
    // Each waits for the other: only at once do they end.
    let meet = |id: &str, other: &str| {
        run_step(
            id,
            &format!(
                "touch /tmp/{id}; until test -e /tmp/{other}; do sleep 0.05; done; echo {id} > {id}.txt"
            ),
        )
    };
    let at_once = step(
        "at-once",
        Action::Parallel { steps: vec![meet("left", "right"), meet("right", "left")], limit: None },
    );
    let count = "n=$(cat /tmp/n 2> /dev/null || echo 0); echo $((n + 1)) | tee /tmp/n";
    let count = gives(run_step("count", count), "n", Kind::Integer, stdout());
    let until = step(
        "until",
        Action::Until {
            condition: cel("steps.count.outputs.n >= 2"),
            rounds: 5,
            pause: windlass_run::Duration::from_micros(0),
            steps: vec![count],
        },
    );
    let publish = step(
        "publish",
        Action::PullRequest(PullRequestAction {
            title: Some(text(
                "${{ size(steps.fix.all) }} files after ${{ steps.count.outputs.n }} rounds",
            )),
            body: Some(text("First: ${{ steps.find.outputs.files[0] }}")),
            ..PullRequestAction::default()
        }),
    );
    let runner = windlass_runner_started(&stage).await;
    let steps = vec![find, never, fix, at_once, until, publish];
    let job_id = stage.world().add_spec(steps, |spec: &mut Spec| {
        spec.finally = vec![says("tidy", "echo tidied after ${{ verdict.outcome }}")];
    });
    let end = stage.world().ended(&job_id).await;
    runner.stop(Duration::from_secs(30)).await;
    assert_eq!((end.outcome, end.code.as_str()), (Outcome::Succeeded, "done"), "{end:?}");
    let branch = format!("windlass/{job_id}");
    for (path, content) in [
        ("a.txt", "a.txt\n"),
        ("b b.txt", "b b.txt\n"),
        ("left.txt", "left\n"),
        ("right.txt", "right\n"),
    ] {
        assert_eq!(stage.file(&branch, path).await, content);
    }
    let [opened] = stage.world().pull_requests().try_into().expect("one pull request");
    assert_eq!(opened.title, "2 files after 2 rounds");
    assert!(opened.body.starts_with("First: a.txt\n"), "{}", opened.body);
    assert_eq!(outputs(&stage, &job_id, "count.2")["n"], json!(2));
    assert_eq!(stage.world().log(&job_id, "tidy", 1), "tidied after succeeded\n");
    let state = stage.world().state(&job_id);
    let never =
        &state.steps[state.index_of(&StepId::parse("never").expect("a name")).expect("there")];
    let reason = "`steps.find.outputs.n > 3` is false.".to_owned();
    assert_eq!(never.phase, StepPhase::Skipped { reason });
    stage.nothing_is_left();
}

async fn windlass_runner_started(stage: &Stage) -> crate::Runner {
    crate::Runner::start(stage.options()).await.expect("a runner")
}

#[tokio::test]
async fn a_job_that_asks_holds_no_lease_and_goes_on_elsewhere_with_its_work_tree() {
    let stage = Stage::new().await;
    let ask = ApproveAction {
        prompt: text("Ship `${{ steps.make.outputs.what }}`?"),
        by_role: Default::default(),
        timeout: None,
        on_timeout: OnTimeout::Fail,
    };
    let make = run_step("make", "echo kept > kept.txt; echo a thing");
    let steps = vec![
        gives(make, "what", Kind::String, stdout()),
        step("ask", Action::Approve(ask)),
        says("after", "cat kept.txt; echo ${{ steps.ask.outputs.note }}"),
        step("publish", Action::PullRequest(PullRequestAction::default())),
    ];
    let runner = windlass_runner_started(&stage).await;
    let job_id = stage.world().add(steps);
    let prompt = stage
        .world()
        .until(&job_id, |state| {
            let resting = matches!(state.phase, Phase::Queued { .. });
            match &state.steps[1].phase {
                StepPhase::Asked { prompt, .. } if resting => Some(prompt.clone()),
                _ => None,
            }
        })
        .await;
    assert_eq!(prompt, "Ship `a thing`?");
    runner.abandon().await;
    // The next one is on another machine: it has only what the server keeps.
    let _gone = std::fs::remove_dir_all(stage.state().join("repositories"));
    let decision = Decision {
        verdict: Verdict::Approved,
        by: By::own(Actor::System("test".to_owned())),
        note: "go; $(on)".to_owned(),
        at: now(),
    };
    let step_id = StepId::parse("ask").expect("a name");
    stage.world().command(&job_id, &Command::Decide { step_id, decision }).expect("it asks");
    let runner = windlass_runner_started(&stage).await;
    let end = stage.world().ended(&job_id).await;
    runner.stop(Duration::from_secs(30)).await;
    assert_eq!(end.code, "done", "{end:?}");
    assert_eq!(stage.world().log(&job_id, "after", 1), "kept\ngo; $(on)\n");
    let attempts: Vec<u32> =
        stage.world().state(&job_id).steps.iter().map(|step| step.attempts).collect();
    assert_eq!(attempts, [1, 0, 1, 1]);
    assert_eq!(stage.world().pull_requests().len(), 1);
    stage.nothing_is_left();
}

#[tokio::test]
async fn a_called_automation_is_worked_through_after_rounds_and_gives_its_outputs() {
    let stage = Stage::new().await;
    let add = says("add", "expr 40 + ${{ inputs.n }} | tee sum.txt");
    let called = Action::Block {
        call: Some("repeat".to_owned()),
        steps: vec![gives(add, "sum", Kind::Integer, stdout())],
        inputs: BTreeMap::from([("n".to_owned(), Given::Text(text("${{ inputs.often }}")))]),
        outputs: BTreeMap::from([("sum".to_owned(), cel("steps.add.outputs.sum"))]),
    };
    let publish = PullRequestAction {
        title: Some(text("${{ steps.again.outputs.sum }} times")),
        ..PullRequestAction::default()
    };
    let steps = vec![
        gives(run_step("count", "echo 1"), "days", Kind::Integer, stdout()),
        each(
            "each",
            "[\"first\", \"second\"]",
            vec![says("write", "echo ${{ item }} >> said.txt")],
        ),
        step("again", called),
        step("publish", Action::PullRequest(publish)),
    ];
    let runner = windlass_runner_started(&stage).await;
    let job_id = stage.world().add_spec(steps, |spec: &mut Spec| {
        spec.context = json!({ "inputs": { "often": 2 } });
    });
    let end = stage.world().ended(&job_id).await;
    runner.stop(Duration::from_secs(30)).await;
    assert_eq!((end.outcome, end.code.as_str()), (Outcome::Succeeded, "done"), "{end:?}");
    assert_eq!(outputs(&stage, &job_id, "again"), BTreeMap::from([("sum".to_owned(), json!(42))]));
    let branch = format!("windlass/{job_id}");
    assert_eq!(stage.file(&branch, "said.txt").await, "first\nsecond\n");
    assert_eq!(stage.file(&branch, "sum.txt").await, "42\n");
    let [opened] = stage.world().pull_requests().try_into().expect("one pull request");
    assert_eq!(opened.title, "42 times");
    stage.nothing_is_left();
}

#[tokio::test]
async fn hostile_values_reach_commands_as_text_and_are_never_executed() {
    let stage = Stage::new().await;
    let hostile = [
        "'; touch /tmp/owned; '",
        "\"; touch /tmp/owned; \"",
        "$(touch /tmp/owned)",
        "`touch /tmp/owned`",
        "${IFS}; touch /tmp/owned #",
        "a\ntouch /tmp/owned\n",
        "-rf /",
    ];
    let json = serde_json::to_string(&hostile).expect("json").replace('\'', "'\\''");
    let give = format!("printf '%s' '{json}' > \"$WINDLASS_OUTPUTS/list\"");
    let uses = "printf '%s\\n' ${{ item }} \"in ${{ item }}\" >> /tmp/said; cat <<END\n${{ item }}\nEND\n\
                test ! -e /tmp/owned; echo \"$(printf %s ${{ item }} | wc -c)\"";
    let (job_id, end) = stage
        .end(vec![
            gives(run_step("give", &give), "list", Kind::Json, file("list", None)),
            each("each", "steps.give.outputs.list", vec![says("use", uses)]),
            run_step("look", "test ! -e /tmp/owned; cat /tmp/said"),
        ])
        .await;
    assert_eq!(end.code, "done", "{end:?}");
    let said: String = hostile.iter().map(|value| format!("{value}\nin {value}\n")).collect();
    assert_eq!(stage.world().log(&job_id, "look", 1), said);
}

#[tokio::test]
async fn an_output_that_is_not_what_was_asked_for_fails_its_step_with_the_reason() {
    let stage = Stage::new().await;
    let reason = async |step: Step| {
        let (_, end) = stage.end(vec![step]).await;
        assert_eq!(end.code, "output");
        end.reason
    };
    let wrong = gives(run_step("a", "echo many"), "n", Kind::Integer, stdout());
    assert_eq!(reason(wrong).await, "Step `a` failed: Output `n` is no whole number: `many`.");
    let missing = gives(run_step("a", "true"), "n", Kind::Json, file("n.json", None));
    let told = reason(missing).await;
    assert!(
        told.starts_with("Step `a` failed: Output `n` can't be had: its file can't be read"),
        "{told}"
    );
    let mut picky = gives(run_step("a", "exit 7"), "code", Kind::Integer, Source::ExitCode);
    picky.outputs.get_mut("code").expect("there").accept = Some(cel("value < 5"));
    assert_eq!(
        reason(picky).await,
        "Step `a` failed: Output `code` is not accepted: `value < 5` does not hold."
    );
    let link = run_step(
        "a",
        "ln -s /etc/hostname \"$WINDLASS_OUTPUTS/x\"; head -c 2000000 /dev/zero > \"$WINDLASS_OUTPUTS/y\"",
    );
    let told = reason(gives(link, "y", Kind::String, file("y", None))).await;
    assert!(told.contains("longer than"), "{told}");
}
