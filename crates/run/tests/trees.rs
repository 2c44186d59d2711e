//! Jobs whose steps are a tree: a runner's copy of the machine and the server's, driven side by side as
//! they are in life, with leases that are lost at any point.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use serde_json::{Value, json};
use windlass_run::{
    Duration, ProjectId, RunnerId, StepId, Time,
    actor::{Actor, By},
    expression::Expression,
    job::{
        self, Command, Decision, End, Event, Next, Outcome, Phase, Refusal, Report, State,
        StepPhase, StepResult, Verdict, decide, next, rendered,
    },
    spec::{
        Action, AgentAction, ApproveAction, EndAction, EndOutcome, ErrorClass, Given, Kind, Limits,
        OnTimeout, Output, PullRequestAction, ReportAction, Source, Spec, Step, Target, WaitAction,
    },
    template::Text,
};

const TTL: Duration = Duration::from_secs(30);

fn at(seconds: i64) -> Time {
    Time::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
}

fn id(id: &str) -> StepId {
    StepId::parse(id).expect("a step's name")
}

fn cel(source: &str) -> Expression {
    Expression::parse(source).expect("an expression")
}

fn text(source: &str) -> Text {
    Text::parse(source).expect("a template")
}

fn step(name: &str, action: Action) -> Step {
    Step::new(id(name), action)
}

fn run(name: &str) -> Step {
    step(name, Action::run("true"))
}

fn says(name: &str, command: &str) -> Step {
    step(name, Action::Run { command: text(command) })
}

fn gives(name: &str, output: &str, kind: Kind) -> Step {
    let mut step = run(name);
    let source = Source::Stdout { pointer: None, regex: None };
    step.outputs.insert(output.to_owned(), Output { kind, source, accept: None });
    step
}

fn only_if(mut step: Step, condition: &str) -> Step {
    step.condition = Some(cel(condition));
    step
}

fn parallel(name: &str, steps: Vec<Step>, limit: Option<u32>) -> Step {
    step(name, Action::Parallel { steps, limit })
}

fn each(name: &str, items: &str, steps: Vec<Step>) -> Step {
    let (items, name_of) = (cel(items), "item".to_owned());
    step(name, Action::ForEach { items, name: name_of, steps, limit: 1 })
}

fn until(name: &str, condition: &str, rounds: u32, steps: Vec<Step>) -> Step {
    let (condition, pause) = (cel(condition), Duration::default());
    step(name, Action::Until { condition, rounds, pause, steps })
}

fn approve(name: &str, timeout: Option<i64>, on_timeout: OnTimeout) -> Step {
    let prompt = text("Ship ${{ inputs.what }}?");
    let timeout = timeout.map(Duration::from_secs);
    step(
        name,
        Action::Approve(ApproveAction { prompt, timeout, on_timeout, by_role: Default::default() }),
    )
}

fn rest(name: &str, seconds: i64) -> Step {
    step(name, Action::Wait(WaitAction::For { duration: Duration::from_secs(seconds) }))
}

fn spec(steps: Vec<Step>) -> Spec {
    let target = Target { project_id: ProjectId::new(at(0), 1), base: "main".into(), commit: None };
    Spec {
        context: json!({ "inputs": { "what": "it", "list": ["a", "b", "c"] } }),
        limits: Limits { duration: Duration::from_secs(10_000), tokens: None, requeues: 50 },
        ..Spec::new(target, steps)
    }
}

fn by() -> By {
    By::own(Actor::System("test".into()))
}

/// A server's copy, and a runner's while one holds the lease. After each report the two are compared.
struct Pair {
    server: State,
    runner: Option<State>,
    journal: Vec<(Time, Event)>,
    now: Time,
}

impl Pair {
    fn new(spec: Spec) -> Self {
        let created = job::create(Arc::new(spec), by()).expect("a good spec");
        let server = State::begin(&created, at(0)).expect("created begins");
        Self { server, runner: None, journal: vec![(at(0), created)], now: at(0) }
    }

    fn leased(spec: Spec) -> Self {
        let mut pair = Self::new(spec);
        pair.lease();
        pair
    }

    fn server(&mut self, command: Command) -> Result<Vec<Event>, Refusal> {
        let events = decide(&self.server, &command, self.now)?;
        for event in &events {
            self.server.apply(event, self.now);
            self.journal.push((self.now, event.clone()));
        }
        Ok(events)
    }

    fn lease(&mut self) {
        if let Phase::Queued { not_before } = self.server.phase {
            self.now = self.now.max(not_before);
        }
        let runner_id = RunnerId::new(at(0), 9);
        self.server(Command::Lease { runner_id, ttl: TTL }).expect("it waits");
        self.runner = Some(self.server.clone());
    }

    /// The lease runs out before anybody renews it.
    fn lose(&mut self) {
        if let Phase::Leased { deadline, .. } = self.server.phase {
            self.now = self.now.max(deadline);
            self.server(Command::Watch).expect("watching is legal");
            self.runner = None;
        }
    }

    /// What the server tells with each heartbeat.
    fn hear(&mut self) {
        if let Some(runner) = &mut self.runner {
            let decisions = self.server.decisions();
            runner.adopt(self.server.cancel.clone(), vec![], decisions);
        }
    }

    fn next(&self) -> Next {
        next(self.runner.as_ref().expect("leased"), self.now)
    }

    fn report(&mut self, report: Report) {
        let runner = self.runner.as_mut().expect("leased");
        let (epoch, seq) = (runner.epoch, runner.last_report + 1);
        let command = Command::Report { epoch, seq, report };
        let own = decide(runner, &command, self.now)
            .unwrap_or_else(|why| panic!("the runner's own machine refused {command:?}: {why}"));
        for event in &own {
            runner.apply(event, self.now);
        }
        let runner = runner.clone();
        let told = self.server(command.clone());
        let told = told.unwrap_or_else(|why| panic!("the server refused {command:?}: {why}"));
        if !matches!(command, Command::Report { report: Report::Rest, .. }) {
            assert_eq!(told, own, "runner and server agree on {command:?}");
            assert_eq!(runner.steps.len(), self.server.steps.len());
        }
        if !matches!(self.server.phase, Phase::Leased { .. }) {
            self.runner = None;
        }
    }

    /// Goes on until there is work for a runner, or the lease is given back. The ids of what runs then.
    fn go(&mut self) -> Vec<String> {
        loop {
            if self.runner.is_none() {
                return vec![];
            }
            let name = |pair: &Self, index: usize| pair.server.steps[index].id.clone();
            match self.next() {
                Next::Settle => self.report(Report::Settle),
                Next::Rested { index } => {
                    let step_id = name(self, index);
                    self.report(Report::Rested { step_id });
                }
                Next::Decided { index } => {
                    let step_id = name(self, index);
                    self.report(Report::Decided { step_id });
                }
                Next::Rest => self.report(Report::Rest),
                Next::Go { start, running, .. } if start.is_empty() => {
                    return running.iter().map(|index| name(self, *index).to_string()).collect();
                }
                Next::Go { start, .. } => {
                    for index in start {
                        let step_id = name(self, index);
                        self.report(Report::StepStarted { step_id });
                    }
                }
                Next::Wait { until } => self.now = self.now.max(until),
                Next::Stop(end) => self.report(Report::Ended(end)),
                Next::Ended => return vec![],
            }
        }
    }

    fn ends(&mut self, name: &str, result: StepResult) -> Vec<String> {
        self.report(Report::StepEnded { step_id: id(name), result });
        self.go()
    }

    /// All that runs ends well, until nothing does.
    fn finish(&mut self) -> Vec<String> {
        let mut ran = Vec::new();
        loop {
            let running = self.go();
            let Some(first) = running.first() else { return ran };
            ran.push(first.clone());
            self.report(Report::StepEnded { step_id: id(first), result: well() });
        }
    }

    fn phase(&self, name: &str) -> &StepPhase {
        let index = self.server.index_of(&id(name));
        &self.server.steps[index.unwrap_or_else(|| panic!("no {name}"))].phase
    }

    fn end(&self) -> &End {
        match &self.server.phase {
            Phase::Ended(end) => end,
            other => panic!("not ended but {other:?}"),
        }
    }

    fn command(&self, name: &str) -> (String, Vec<(String, String)>) {
        let index = self.server.index_of(&id(name)).expect("an instance");
        let rendered = rendered(&self.server, index).expect("values");
        match rendered.action {
            Action::Run { command } => (command.as_str().to_owned(), rendered.variables),
            other => panic!("no command but {other:?}"),
        }
    }
}

fn well() -> StepResult {
    StepResult::Succeeded { checkpoint: None, outputs: BTreeMap::new() }
}

fn giving(name: &str, value: Value) -> StepResult {
    let outputs = BTreeMap::from([(name.to_owned(), value)]);
    StepResult::Succeeded { checkpoint: None, outputs }
}

fn badly(code: &str) -> StepResult {
    StepResult::Failed { code: code.into(), reason: "it broke".into() }
}

#[test]
fn a_list_from_an_output_becomes_rounds_whose_commands_hold_references_and_no_values() {
    let mut job = Pair::leased(spec(vec![
        gives("find", "files", Kind::Json),
        each(
            "all",
            "steps.find.outputs.files",
            vec![
                gives("fix", "n", Kind::Integer),
                says("say", "echo ${{ item }} ${{ steps.fix.outputs.n }}"),
            ],
        ),
        says("sum", "echo ${{ steps.fix.all.map(f, f.n) }} ${{ size(steps.say.all) }}"),
    ]));
    assert_eq!(job.go(), ["find"]);
    assert_eq!(job.ends("find", giving("files", json!(["x; rm -rf /", "$(y)"]))), ["fix.1"]);
    assert_eq!(job.ends("fix.1", giving("n", json!(1))), ["say.1"]);
    let (command, variables) = job.command("say.1");
    assert_eq!(command, "echo \"${WINDLASS_VALUE_0}\" \"${WINDLASS_VALUE_1}\"");
    let values: Vec<&str> = variables.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["x; rm -rf /", "1"]);
    assert_eq!(job.ends("say.1", well()), ["fix.2"]);
    assert_eq!(job.ends("fix.2", giving("n", json!(2))), ["say.2"]);
    assert_eq!(job.command("say.2").1[1].1, "2", "the round's own");
    assert_eq!(job.ends("say.2", well()), ["sum"]);
    assert_eq!(job.command("sum").1[0].1, "[1,2]");
    assert_eq!(job.ends("sum", well()), Vec::<String>::new());
    assert_eq!(job.end().code, "done");
    let order: Vec<(usize, &str)> = job
        .server
        .in_order()
        .into_iter()
        .map(|(depth, index)| (depth, job.server.steps[index].id.as_str()))
        .collect();
    let rounds = [(1, "fix.1"), (1, "say.1"), (1, "fix.2"), (1, "say.2")];
    let all = [&[(0, "find"), (0, "all")][..], &rounds, &[(0, "sum")]].concat();
    assert_eq!(order, all);
}

#[test]
fn a_step_whose_condition_is_false_is_skipped_with_it_and_one_without_a_value_fails() {
    let mut job = Pair::leased(spec(vec![
        only_if(run("a"), "inputs.what == 'that'"),
        only_if(run("b"), "steps.a.outcome == 'skipped'"),
        only_if(run("c"), "inputs.nothing"),
    ]));
    assert_eq!(job.finish(), ["b"]);
    let reason = "`inputs.what == 'that'` is false.".to_owned();
    assert_eq!(job.phase("a"), &StepPhase::Skipped { reason });
    assert_eq!(job.end().code, "template");
    assert_eq!(
        job.end().reason,
        "Step `c` failed: `inputs.nothing` has no value: there is no `nothing`."
    );
}

#[test]
fn parallel_steps_begin_at_once_up_to_their_limit_and_none_begins_after_a_failure() {
    let mut job = Pair::leased(spec(vec![
        parallel("p", vec![run("a"), run("b"), run("c"), run("d")], Some(2)),
        run("z"),
    ]));
    assert_eq!(job.go(), ["a", "b"]);
    assert_eq!(job.ends("b", well()), ["a", "c"]);
    assert_eq!(job.ends("a", badly("exit_code")), ["c"], "what runs is seen to its end");
    assert_eq!(job.ends("c", well()), Vec::<String>::new());
    assert_eq!(job.phase("d"), &StepPhase::Pending);
    assert_eq!(job.end().code, "exit_code");
    assert_eq!(job.end().reason, "Step `a` failed: it broke");
}

#[test]
fn rounds_go_on_side_by_side_up_to_their_limit() {
    let Step { action: Action::ForEach { items, name, steps, .. }, .. } =
        each("e", "inputs.list", vec![run("a"), run("b")])
    else {
        panic!("it is one")
    };
    let mut job =
        Pair::leased(spec(vec![step("e", Action::ForEach { items, name, steps, limit: 2 })]));
    assert_eq!(job.go(), ["a.1", "a.2"]);
    assert_eq!(job.ends("a.2", well()), ["a.1", "b.2"]);
    assert_eq!(job.ends("b.2", well()), ["a.1", "a.3"]);
    assert_eq!(job.ends("a.1", well()), ["b.1", "a.3"]);
    assert_eq!(job.finish().len(), 3);
    assert_eq!(job.end().code, "done");
}

#[test]
fn until_repeats_its_steps_and_fails_when_it_never_holds() {
    let check = || gives("check", "ok", Kind::Boolean);
    let mut job = Pair::leased(spec(vec![
        until("u", "steps.check.outputs.ok", 3, vec![check()]),
        says("after", "echo ${{ steps.check.outputs.ok }} ${{ size(steps.check.all) }}"),
    ]));
    assert_eq!(job.go(), ["check.1"]);
    assert_eq!(job.ends("check.1", giving("ok", json!(false))), ["check.2"]);
    assert_eq!(job.ends("check.2", giving("ok", json!(true))), ["after"]);
    let values: Vec<String> = job.command("after").1.into_iter().map(|(_, v)| v).collect();
    assert_eq!(values, ["true", "2"]);

    let mut job = Pair::leased(spec(vec![until("u", "steps.check.outputs.ok", 2, vec![check()])]));
    job.go();
    job.ends("check.1", giving("ok", json!(false)));
    job.ends("check.2", giving("ok", json!(false)));
    assert_eq!(job.end().code, "until");
    assert_eq!(
        job.end().reason,
        "Step `u` failed: `steps.check.outputs.ok` did not hold after 2 rounds."
    );
}

#[test]
fn a_pause_between_rounds_is_taken_and_a_long_one_gives_the_lease_back() {
    let paused = |seconds| {
        let condition = cel("round == 2");
        let pause = Duration::from_secs(seconds);
        spec(vec![step("u", Action::Until { condition, rounds: 5, pause, steps: vec![run("a")] })])
    };
    let mut short = Pair::leased(paused(20));
    assert_eq!(short.finish(), ["a.1", "a.2"]);
    assert_eq!((short.now, short.end().code.as_str()), (at(20), "done"));

    let mut long = Pair::leased(paused(3_600));
    assert_eq!(long.finish(), ["a.1"]);
    assert_eq!(long.server.phase, Phase::Queued { not_before: at(3_600) });
    long.now = at(3_599);
    let runner_id = RunnerId::new(at(0), 9);
    assert_eq!(long.server(Command::Lease { runner_id, ttl: TTL }), Err(Refusal::NotQueued));
    long.now = at(3_700);
    long.lease();
    assert_eq!(long.finish(), ["a.2"]);
    assert_eq!(long.end().code, "done");
}

#[test]
fn a_job_that_asks_rests_without_a_lease_until_somebody_decides() {
    let mut job = Pair::leased(spec(vec![
        run("a"),
        approve("ok", None, OnTimeout::Fail),
        says("b", "echo ${{ steps.ok.outputs.note }}"),
    ]));
    assert_eq!(job.finish(), ["a"]);
    assert!(job.runner.is_none() && job.server.resting_since.is_some());
    let StepPhase::Asked { prompt, .. } = job.phase("ok") else { panic!("it asks") };
    assert_eq!(prompt, "Ship it?");
    job.now = at(1_000_000);
    assert_eq!(job.server(Command::Watch), Ok(vec![]), "resting is no part of the time limit");
    assert_eq!(job.server.watch_at(), None);
    let decision =
        |verdict| Decision { verdict, by: by(), note: "looks good".into(), at: at(1_000_000) };
    let decide =
        |step: &str, verdict| Command::Decide { step_id: id(step), decision: decision(verdict) };
    assert!(matches!(job.server(decide("a", Verdict::Approved)), Err(Refusal::Illegal { .. })));
    job.server(decide("ok", Verdict::Approved)).expect("it asks");
    assert!(matches!(job.server(decide("ok", Verdict::Declined)), Err(Refusal::Illegal { .. })));
    job.lease();
    assert_eq!(job.go(), ["b"]);
    assert_eq!(job.command("b").1[0].1, "looks good");
    job.ends("b", well());
    assert_eq!(job.end().code, "done");
}

#[test]
fn a_declined_step_fails_and_silence_does_what_the_step_says() {
    let mut job = Pair::leased(spec(vec![approve("ok", None, OnTimeout::Fail), run("b")]));
    job.go();
    let decision =
        Decision { verdict: Verdict::Declined, by: by(), note: "too risky".into(), at: at(0) };
    job.server(Command::Decide { step_id: id("ok"), decision }).expect("it asks");
    job.lease();
    job.go();
    assert_eq!(job.end().code, "declined");
    assert_eq!(job.end().reason, "Step `ok` failed: It was declined: too risky.");

    for (on_timeout, code) in [
        (OnTimeout::Fail, "approval_timeout"),
        (OnTimeout::Decline, "declined"),
        (OnTimeout::Approve, "done"),
    ] {
        let mut job = Pair::leased(spec(vec![approve("ok", Some(600), on_timeout)]));
        job.go();
        assert_eq!(job.server.watch_at(), Some(at(600)));
        job.now = at(600);
        assert_eq!(job.server(Command::Watch).map(|events| events.len()), Ok(2));
        job.lease();
        job.go();
        assert_eq!(job.end().code, code);
    }
}

#[test]
fn a_decision_while_others_work_is_heard_by_the_runner_before_anything_follows_from_it() {
    let mut job = Pair::leased(spec(vec![
        parallel("p", vec![run("a"), approve("ok", None, OnTimeout::Fail)], None),
        run("b"),
    ]));
    assert_eq!(job.go(), ["a"]);
    let decision =
        Decision { verdict: Verdict::Approved, by: by(), note: String::new(), at: at(0) };
    job.server(Command::Decide { step_id: id("ok"), decision }).expect("it asks");
    job.report(Report::StepEnded { step_id: id("a"), result: well() });
    // The runner has not heard of it: it gives the job back, and the server knows better.
    assert_eq!(job.go(), Vec::<String>::new());
    assert_eq!(job.server.phase, Phase::Queued { not_before: job.now });
    job.lease();
    assert_eq!(job.finish(), ["b"]);
    assert_eq!(job.end().code, "done");

    let mut heard = Pair::leased(spec(vec![parallel(
        "p",
        vec![run("a"), approve("ok", None, OnTimeout::Fail)],
        None,
    )]));
    heard.go();
    let decision =
        Decision { verdict: Verdict::Approved, by: by(), note: String::new(), at: at(0) };
    heard.server(Command::Decide { step_id: id("ok"), decision }).expect("it asks");
    heard.hear();
    assert_eq!(heard.go(), ["a"]);
    assert_eq!(heard.phase("ok"), &StepPhase::Succeeded);
}

#[test]
fn a_block_sees_its_inputs_and_its_own_steps_and_gives_what_it_says() {
    let inner = vec![
        gives("audit", "n", Kind::Integer),
        says("tell", "echo ${{ inputs.who }} ${{ steps.audit.outputs.n }}"),
    ];
    let inputs = BTreeMap::from([("who".to_owned(), Given::Text(text("${{ item }}")))]);
    let outputs = BTreeMap::from([("twice".to_owned(), cel("steps.audit.outputs.n * 2"))]);
    let block = step("called", Action::Block { call: None, steps: inner, inputs, outputs });
    let mut job = Pair::leased(spec(vec![
        run("audit"),
        each("e", "['x']", vec![block]),
        says("after", "echo ${{ steps.called.outputs.twice }} ${{ steps.audit.outcome }}"),
    ]));
    assert_eq!(job.go(), ["audit"]);
    assert_eq!(job.ends("audit", well()), ["called.1.audit"]);
    assert_eq!(job.ends("called.1.audit", giving("n", json!(21))), ["called.1.tell"]);
    let values: Vec<String> = job.command("called.1.tell").1.into_iter().map(|(_, v)| v).collect();
    assert_eq!(values, ["x", "21"]);
    assert_eq!(job.ends("called.1.tell", well()), ["after"]);
    assert_eq!(job.command("after").1[0].1, "42");
}

#[test]
fn the_other_lists_follow_a_failure_and_the_verdict_is_told_behind_them() {
    let mut failing = spec(vec![run("a"), run("b")]);
    failing.on_failure = vec![says("tell", "echo ${{ verdict.code }} ${{ steps.a.reason }}")];
    failing.finally = vec![run("tidy")];
    let mut job = Pair::leased(failing.clone());
    assert_eq!(job.go(), ["a"]);
    assert_eq!(job.ends("a", badly("exit_code")), ["tell"]);
    assert_eq!(job.command("tell").1[0].1, "exit_code");
    assert_eq!(job.command("tell").1[1].1, "it broke");
    assert_eq!(job.ends("tell", well()), ["tidy"]);
    assert_eq!(job.ends("tidy", badly("timeout")), Vec::<String>::new());
    assert_eq!(job.end().code, "exit_code");
    assert_eq!(
        job.end().reason,
        "Step `a` failed: it broke After that, Step `tidy` failed: it broke"
    );

    let mut good = Pair::leased(failing);
    assert_eq!(good.finish(), ["a", "b", "tidy"]);
    assert_eq!(good.end().code, "done");
}

#[test]
fn an_end_ends_the_main_list_wherever_it_stands_and_what_is_last_is_done() {
    let end = EndAction { outcome: EndOutcome::Skipped, reason: text("no ${{ item }}s") };
    let end = only_if(step("stop", Action::End(end)), "item == 'b'");
    let mut ending = spec(vec![each("e", "inputs.list", vec![end, run("a")]), run("z")]);
    ending.finally = vec![run("tidy")];
    let mut job = Pair::leased(ending);
    assert_eq!(job.finish(), ["a.1", "tidy"]);
    assert_eq!((job.end().outcome, job.end().reason.as_str()), (Outcome::Skipped, "no bs"));
    assert!(matches!(job.phase("e"), StepPhase::Skipped { .. }));
}

#[test]
fn a_report_says_something_and_gives_values() {
    let values = BTreeMap::from([
        ("n".to_owned(), Given::Text(text("${{ size(inputs.list) }}"))),
        ("fixed".to_owned(), Given::Value(json!([1]))),
    ]);
    let (title, body) = (text("Found\n${{ inputs.what }}"), Some(text("**${{ inputs.what }}**")));
    let report = step("told", Action::Report(ReportAction { title, body, values }));
    let mut job = Pair::leased(spec(vec![report, only_if(run("a"), "steps.told.outputs.n == 3")]));
    assert_eq!(job.finish(), ["a"]);
    let told = &job.server.steps[0];
    let said = told.told.as_ref().expect("it says something");
    assert_eq!((said.title.as_str(), said.body.as_deref()), ("Found it", Some("**it**")));
    assert_eq!(told.outputs["n"], json!(3));
}

#[test]
fn outputs_that_are_missing_wrong_or_too_large_fail_the_step_with_the_reason() {
    for (result, reason) in [
        (well(), "It gave no output `n`."),
        (giving("n", json!("1")), "Output `n` is a string, and `integer` was asked for."),
        (giving("m", json!(1)), "It gave an output `m`, which nobody asked for."),
    ] {
        let mut job = Pair::leased(spec(vec![gives("a", "n", Kind::Integer)]));
        job.go();
        job.ends("a", result);
        assert_eq!(job.end().code, "output");
        assert_eq!(job.end().reason, format!("Step `a` failed: {reason}"));
    }
    let mut job = Pair::leased(spec(vec![gives("a", "n", Kind::String)]));
    job.go();
    job.ends("a", giving("n", json!("x".repeat(300 << 10))));
    assert_eq!(job.end().code, "output");
}

#[test]
fn only_failures_of_the_classes_that_are_named_are_repeated() {
    let mut picky = run("a");
    picky.retry.attempts = 3;
    picky.retry.on = vec![ErrorClass::Timeout, ErrorClass::Agent];
    let mut job = Pair::leased(spec(vec![picky.clone()]));
    job.go();
    assert_eq!(job.ends("a", badly("timeout")), ["a"]);
    let give_up = StepResult::GaveUp(job::GiveUp::default());
    assert_eq!(job.ends("a", give_up), ["a"]);
    job.ends("a", badly("timeout"));
    assert_eq!(job.end().reason, "Step `a` failed 3 times, at last: it broke");
    let mut job = Pair::leased(spec(vec![picky]));
    job.go();
    job.ends("a", badly("exit_code"));
    assert_eq!(job.end().code, "exit_code");
}

#[test]
fn after_a_lost_lease_only_what_ran_is_done_again() {
    let mut job = Pair::leased(spec(vec![
        parallel("p", vec![run("a"), run("b")], None),
        each("e", "inputs.list", vec![run("c")]),
    ]));
    job.go();
    assert_eq!(job.ends("a", well()), ["b"]);
    job.lose();
    job.lease();
    assert_eq!(job.go(), ["b"]);
    assert_eq!(job.ends("b", well()), ["c.1"]);
    assert_eq!(job.ends("c.1", well()), ["c.2"]);
    job.lose();
    job.lease();
    assert_eq!(job.finish(), ["c.2", "c.3"]);
    assert_eq!(job.end().code, "done");
}

#[test]
fn faults_of_trees_are_refused_with_their_place() {
    let refused = |steps: Vec<Step>| {
        let invalid = spec(steps).check().expect_err("refused");
        (invalid.place, invalid.why)
    };
    let (place, why) = refused(vec![run("a"), parallel("p", vec![run("b"), run("a")], None)]);
    assert_eq!(
        (place.as_str(), why.as_str()),
        ("steps[1].steps[1].id", "another step has this name already")
    );
    let pull_request = step("pr", Action::PullRequest(PullRequestAction::default()));
    assert_eq!(
        refused(vec![parallel("p", vec![run("b"), pull_request.clone()], None)]).0,
        "steps[0].steps[1]"
    );
    let nested = each("e", "[1]", vec![pull_request]);
    assert_eq!(refused(vec![parallel("p", vec![nested], None)]).0, "steps[0].steps[0].steps[0]");
    assert_eq!(refused(vec![run("a.1")]).0, "steps[0].id");
    assert_eq!(refused(vec![parallel("p", vec![], None)]).0, "steps[0].steps");
    assert_eq!(refused(vec![says("a", "sh -c ${{ inputs.what }}")]).0, "steps[0].run");
    let mut deep = run("x");
    for n in 0..9 {
        deep = parallel(&format!("p{n}"), vec![deep], None);
    }
    assert!(refused(vec![deep]).1.contains("at most 8"));
    let mut retried = parallel("p", vec![run("a")], None);
    retried.retry.attempts = 2;
    assert_eq!(refused(vec![retried]).0, "steps[0].retry");
    let mut asked = step("a", Action::Agent(agent()));
    let source = Source::Ask { prompt: "how many?".into() };
    asked.outputs.insert("n".into(), Output { kind: Kind::Integer, source, accept: None });
    assert!(refused(vec![asked]).1.contains("can't be asked of a model yet"));
    let mut climbing = gives("a", "n", Kind::String);
    let source = Source::File { path: "../x".into(), pointer: None, regex: None };
    climbing.outputs.insert("n".into(), Output { kind: Kind::String, source, accept: None });
    assert_eq!(refused(vec![climbing]).0, "steps[0].outputs.n");
}

fn agent() -> AgentAction {
    serde_json::from_value(json!({ "prompt": "do it" })).expect("an agent's step")
}

#[test]
fn a_journal_that_was_written_before_there_were_trees_gives_the_same_state() {
    let project = ProjectId::new(at(0), 1);
    let step = |name: &str| {
        json!({
            "id": name, "action": { "kind": "run", "command": "echo ${{ not a template }}" },
            "timeout": 100_000_000, "continue_on_error": false,
            "retry": { "attempts": 1, "backoff": 1_000_000, "backoff_cap": 300_000_000 },
        })
    };
    let journal = json!([
        { "event": "created", "spec": {
            "target": { "project_id": project, "base": "main" }, "steps": [step("a"), step("b")],
            "limits": { "duration": 3_600_000_000_i64, "requeues": 10 }, "network": [] },
          "by": by() },
        { "event": "leased", "runner_id": RunnerId::new(at(0), 9), "epoch": 1, "deadline": at(30) },
        { "event": "reported", "seq": 1 },
        { "event": "step_started", "step_id": "a", "attempt": 1 },
        { "event": "reported", "seq": 2 },
        { "event": "step_succeeded", "step_id": "a", "checkpoint": "c0ffee" },
        { "event": "reported", "seq": 3 },
        { "event": "step_started", "step_id": "b", "attempt": 1 },
        { "event": "reported", "seq": 4 },
        { "event": "step_failed", "step_id": "b", "reason": "exit code 1" },
        { "event": "ended", "outcome": "failed", "code": "exit_code", "reason": "Step `b` failed." },
    ]);
    let events: Vec<Event> = serde_json::from_value(journal).expect("the old words are understood");
    let state = State::fold(events.iter().map(|event| (at(0), event))).expect("a state");
    assert_eq!(state.steps[0].phase, StepPhase::Succeeded);
    assert_eq!(state.steps[0].checkpoint.as_deref(), Some("c0ffee"));
    assert_eq!(state.steps[1].phase, StepPhase::Failed { reason: "exit code 1".into() });
    assert!(matches!(&state.phase, Phase::Ended(end) if end.code == "exit_code"));
    let Action::Run { command } = &state.definition(1).action else { panic!("a command") };
    assert_eq!(command, &Text::Plain("echo ${{ not a template }}".into()));
    // A state that was kept as it was then is read too.
    let mut old = serde_json::to_value(&state).expect("json");
    for step in old["steps"].as_array_mut().expect("steps") {
        step.as_object_mut().expect("a step").remove("place");
    }
    let object = old.as_object_mut().expect("a state");
    for name in ["checkpointed", "rested", "kept_bytes"] {
        object.remove(name);
    }
    let read: State = serde_json::from_value(old).expect("the old state is understood");
    assert_eq!((read.steps, read.phase), (state.steps, state.phase));
}

// ---- properties -------------------------------------------------------------------------------

/// Shapes of trees; names are given afterwards, so that they differ.
#[derive(Clone, Debug)]
enum Shape {
    Run { attempts: u32, passes: bool, skipped: u8 },
    Wait(i64),
    Approve(u8),
    Report,
    End(u8),
    Parallel(Vec<Shape>, Option<u32>),
    Each(Vec<Shape>, u32),
    Until(Vec<Shape>, i64),
    Block(Vec<Shape>),
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let leaf = prop_oneof![
        6 => (1u32..3, any::<bool>(), 0u8..6)
            .prop_map(|(attempts, passes, skipped)| Shape::Run { attempts, passes, skipped }),
        1 => prop_oneof![Just(5i64), Just(500)].prop_map(Shape::Wait),
        1 => (0u8..3).prop_map(Shape::Approve),
        1 => Just(Shape::Report),
        1 => (0u8..8).prop_map(Shape::End),
    ];
    let tree = leaf.prop_recursive(3, 16, 3, |inner| {
        let some = proptest::collection::vec(inner, 1..4);
        prop_oneof![
            (some.clone(), proptest::option::of(1u32..3)).prop_map(|(s, l)| Shape::Parallel(s, l)),
            (some.clone(), 1u32..3).prop_map(|(s, l)| Shape::Each(s, l)),
            (some.clone(), prop_oneof![Just(0i64), Just(5), Just(500)])
                .prop_map(|(s, pause)| Shape::Until(s, pause)),
            some.prop_map(Shape::Block),
        ]
    });
    proptest::collection::vec(tree, 1..4)
}

fn grown(shapes: Vec<Shape>, count: &mut u32, main: bool) -> Vec<Step> {
    shapes.into_iter().map(|shape| one(shape, count, main)).collect()
}

fn one(shape: Shape, count: &mut u32, main: bool) -> Step {
    *count += 1;
    let name = format!("s{count}");
    let mut inner = |shapes| grown(shapes, count, main);
    match shape {
        Shape::Run { attempts, passes, skipped } => {
            let mut step = gives(&name, "ok", Kind::Boolean);
            step.retry.attempts = attempts;
            step.continue_on_error = passes;
            if skipped == 0 {
                step.condition = Some(cel("inputs.what == 'that'"));
            }
            step
        }
        Shape::Wait(seconds) => rest(&name, seconds),
        Shape::Approve(how) => {
            let on_timeout = [OnTimeout::Fail, OnTimeout::Approve, OnTimeout::Decline];
            approve(&name, Some(900), on_timeout[usize::from(how)])
        }
        Shape::End(rare) if rare == 0 && main => {
            let reason = text("enough");
            step(&name, Action::End(EndAction { outcome: EndOutcome::Succeeded, reason }))
        }
        Shape::Report | Shape::End(_) => {
            let (title, body) = (text("${{ inputs.what }}"), None);
            step(&name, Action::Report(ReportAction { title, body, values: BTreeMap::new() }))
        }
        Shape::Parallel(shapes, limit) => parallel(&name, inner(shapes), limit),
        Shape::Each(shapes, limit) => {
            let (items, steps) = (cel("[1, 2, 3]"), inner(shapes));
            step(&name, Action::ForEach { items, name: "item".into(), steps, limit })
        }
        Shape::Until(shapes, pause) => {
            let (condition, steps) = (cel("round == 2"), inner(shapes));
            let pause = Duration::from_secs(pause);
            step(&name, Action::Until { condition, rounds: 3, pause, steps })
        }
        Shape::Block(shapes) => {
            let inputs = BTreeMap::from([("what".to_owned(), Given::Value(json!("it")))]);
            let steps = inner(shapes);
            step(&name, Action::Block { call: None, steps, inputs, outputs: BTreeMap::new() })
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_tree_ends_whatever_is_lost_and_nothing_that_is_done_is_done_again(
        main in shapes(), on_failure in shapes(), finally in shapes(), chances in proptest::collection::vec(any::<u8>(), 400),
    ) {
        let mut count = 0;
        let mut random = spec(grown(main, &mut count, true));
        random.on_failure = grown(on_failure, &mut count, false);
        random.finally = grown(finally, &mut count, false);
        prop_assert_eq!(random.check(), Ok(()));
        let mut job = Pair::leased(random);
        let mut chances = chances.into_iter().cycle();
        let mut chance = |of: u8| chances.next().unwrap_or(0) % of == 0;
        let mut lost = 0;
        let mut turns = 0;
        while !matches!(job.server.phase, Phase::Ended(_)) {
            turns += 1;
            prop_assert!(turns < 3_000, "it never ends: {:?}", job.server);
            if let Phase::Queued { not_before } = job.server.phase {
                // Somebody decides, or the watchdog does.
                let asks = job.server.steps.iter().find(|step| {
                    matches!(step.phase, StepPhase::Asked { .. }) && step.decision.is_none()
                });
                if let Some(step_id) = asks.map(|step| step.id.clone()) {
                    if chance(2) {
                        let verdict = if chance(3) { Verdict::Declined } else { Verdict::Approved };
                        let decision = Decision { verdict, by: by(), note: String::new(), at: job.now };
                        job.server(Command::Decide { step_id, decision }).expect("it asks");
                    } else {
                        job.now = job.now.max(job.server.watch_at().unwrap_or(not_before).min(not_before));
                        job.server(Command::Watch).expect("watching is legal");
                    }
                }
                if let Phase::Queued { not_before } = job.server.phase
                    && not_before < at(100_000_000)
                {
                    job.now = job.now.max(not_before);
                    job.lease();
                }
                continue;
            }
            if lost < 20 && chance(9) {
                lost += 1;
                job.lose();
                continue;
            }
            if chance(3) {
                job.hear();
            }
            let before = job.server.clone();
            match job.next() {
                Next::Settle => job.report(Report::Settle),
                Next::Rested { index } => {
                    let step_id = before.steps[index].id.clone();
                    job.report(Report::Rested { step_id });
                }
                Next::Decided { index } => {
                    let step_id = before.steps[index].id.clone();
                    job.report(Report::Decided { step_id });
                }
                Next::Rest => job.report(Report::Rest),
                Next::Wait { until } => job.now = job.now.max(until),
                Next::Go { start, running, .. } => {
                    if let Some(index) = start.first().filter(|_| running.is_empty() || chance(2)) {
                        let step_id = before.steps[*index].id.clone();
                        job.report(Report::StepStarted { step_id });
                    } else if let Some(index) = running.last() {
                        let step_id = before.steps[*index].id.clone();
                        let result = match () {
                            () if chance(6) => badly("exit_code"),
                            () if chance(30) => StepResult::GaveUp(job::GiveUp::default()),
                            () if chance(40) => StepResult::NothingToDo { reason: String::new() },
                            () => giving("ok", json!(true)),
                        };
                        job.report(Report::StepEnded { step_id, result });
                    }
                }
                Next::Stop(end) => job.report(Report::Ended(end)),
                Next::Ended => prop_assert!(false, "it says that it is over: {:?}", job.server),
            }
            for (before, after) in before.steps.iter().zip(&job.server.steps) {
                let over = matches!(
                    before.phase,
                    StepPhase::Succeeded | StepPhase::Failed { .. } | StepPhase::Skipped { .. }
                );
                prop_assert!(!over || before == after, "what is over stays so: {:?}", after);
            }
        }
        for (index, step) in job.server.steps.iter().enumerate() {
            let most = job.server.definition(index).retry.attempts + lost;
            prop_assert!(step.attempts <= most, "attempts are bounded: {:?}", step);
            prop_assert!(step.failures <= job.server.definition(index).retry.attempts);
            let unique = job.server.index_of(&step.id) == Some(index);
            prop_assert!(unique, "ids are unique: {}", step.id);
            prop_assert_eq!(StepId::parse(step.id.as_str()), Ok(step.id.clone()));
        }
        let text = serde_json::to_string(&job.journal).expect("to JSON");
        let journal: Vec<(Time, Event)> = serde_json::from_str(&text).expect("from JSON");
        let folded = State::fold(journal.iter().map(|(at, event)| (*at, event)));
        prop_assert_eq!(folded, Some(job.server));
    }
}

#[test]
fn a_spec_knows_which_instances_its_jobs_can_come_to_have() {
    let called = Action::Block {
        call: Some("other".to_owned()),
        steps: vec![run("add")],
        inputs: BTreeMap::new(),
        outputs: BTreeMap::new(),
    };
    let each = Action::ForEach {
        items: cel("[1]"),
        name: "item".to_owned(),
        steps: vec![run("fix"), step("again", called)],
        limit: 1,
    };
    let target = Target { project_id: ProjectId::new(at(0), 1), base: "main".into(), commit: None };
    let mut spec = Spec::new(target, vec![run("a"), step("each", each)]);
    spec.finally = vec![run("tidy")];
    let can =
        ["a", "fix.1", "fix.10000", "again.2.add", "tidy"].map(|name| spec.can_have(&id(name)));
    assert_eq!(can, [true; 5]);
    let never = ["b", "each", "add", "fix.0", "fix.01", "fix.10001", "each.fix", "again.2.add.x"];
    assert_eq!(never.map(|name| spec.can_have(&id(name))), [false; 8]);
}
