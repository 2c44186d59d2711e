//! Files that are wrong: each complaint has its place and says what to do.

use windlass_run::automation::Automation;

fn refused(text: &str) -> Vec<String> {
    match Automation::read("a.yaml", text) {
        Ok(_) => panic!("it was read:\n{text}"),
        Err(refused) => refused.to_string().lines().map(str::to_owned).collect(),
    }
}

/// A file with these lines after `name`, so that they begin in line 2.
pub(crate) fn with(lines: &str) -> String {
    let steps = if lines.contains("steps:") { "" } else { "\nsteps: [{ run: make }]" };
    format!("name: a\n{lines}{steps}")
}

/// What is written, where the first complaint points, and words of it.
pub(crate) const CASES: &[(&str, &str, &str)] = &[
    // The file as a whole.
    ("stepz: [{ run: a }]\nsteps: [{ run: a }]", "2:1", "did you mean `steps`?"),
    ("descripton: x", "2:1", "did you mean `description`?"),
    ("description: [x]", "2:14", "must be a string"),
    ("enabled: maybe", "2:10", "must be true or false"),
    ("on: nothing", "2:5", "needs one of manual, schedule"),
    ("name: b", "2:1", "the key `name` stands twice"),
    ("inputs: 1", "2:9", "must be an object"),
    ("inputs: { a-b: string }", "2:11", "letters, digits or `_`"),
    ("inputs: { a: text }", "2:14", "it is one of string, integer"),
    ("inputs: { a: { type: integer, default: x } }", "2:40", "must be of the type integer"),
    ("inputs: { a: { choices: [x], default: y } }", "2:39", "must be one of x"),
    ("inputs: { a: { type: integer, choices: [1, x] } }", "2:40", "is not of the type integer"),
    ("inputs: { a: { pattern: '(' } }", "2:25", "is no regular expression"),
    ("inputs: { a: { min: low } }", "2:21", "must be a number"),
    ("inputs: { a: { min: 3, default: 1, type: integer } }", "2:33", "must be at least 3"),
    ("inputs: { a: { defult: 1 } }", "2:16", "did you mean `default`?"),
    // Triggers.
    ("on: [{ schedul: '* * * * *' }]", "2:6", "did you mean `schedule`?"),
    ("on: [{ schedule: '* * * *' }]", "2:18", "too few"),
    ("on: [{ schedule: '61 * * * *' }]", "2:18", "minute"),
    ("on: [{ schedule: '0 0 31 2 *' }]", "2:18", "never"),
    ("on: [{ schedule: '@daily', timezone: Europe/Berln }]", "2:38", "Europe/Berlin"),
    ("on: [{ schedule: '@daily', missed: twice }]", "2:36", "skip, once, all"),
    ("on: [{ schedule: '@daily', jitter: 5 }]", "2:36", "such as 90s, 5m"),
    ("on: [{ schedule: '@daily', blackout: Someday }]", "2:38", "is no blackout"),
    ("on: [{ schedule: '@daily', timezne: UTC }]", "2:28", "did you mean `timezone`?"),
    ("on: [{ push: { branches: 'a[' } }]", "2:26", "is no pattern"),
    ("on: [{ push: { branch: main } }]", "2:16", "did you mean `branches`?"),
    ("on: [{ push: main }]", "2:14", "must be an object"),
    ("on: [{ push: {}, tag: {} }]", "2:23", "make two entries"),
    ("on: [{ review: { verdicts: good } }]", "2:28", "approved, changes_requested"),
    ("on: [{ comment: { under: door } }]", "2:26", "any, issue, pull_request"),
    ("on: [{ check: { outcomes: [red] } }]", "2:28", "success, failure"),
    ("on: [{ webhook: {} }]", "2:17", "the name of a hook"),
    ("on: [{ webhook: { source: x, filter: 'event.dat.x' } }]", "2:39", "did you mean `data`?"),
    ("on: [{ webhook: { source: x, filter: 'evnt.data.x' } }]", "2:39", "did you mean `event`?"),
    ("on: [{ webhook: x, filter: 'event.data.x ==' }]", "2:", "is no CEL expression"),
    ("on: [{ webhook: x, trust: everybody }]", "2:27", "own, member, known, public"),
    ("on: [{ webhook: x, rate: often }]", "2:26", "such as 30/h"),
    ("on: [{ webhook: x, rate: 0/h }]", "2:26", "such as 30/h"),
    ("on: [{ webhook: x, rate: { most: 3 } }]", "2:26", "has no `per`"),
    ("on: [{ webhook: x, cooldown: soon }]", "2:30", "such as 90s"),
    ("on: [{ webhook: x, dedup: '${{ event.dta }}' }]", "2:28", "did you mean `data`?"),
    (
        "on: [{ webhook: x, inputs: { lvel: y } }]\ninputs: { level: { default: a } }",
        "2:36",
        "did you mean `level`?",
    ),
    ("on: [{ webhook: x }]\ninputs: { level: string }", "2:17", "has no default"),
    ("on: [{ automation: {} }]", "2:20", "has no `name`"),
    ("on: [{ automation: A }]", "2:20", "small letter"),
    ("on: [{ automation: { name: b, outcomes: ok } }]", "2:41", "succeeded, gave_up"),
    ("on: [{ advisory: { severity: '>=bad' } }]", "2:30", "low, medium, high"),
    ("on: [{ drift: { path: a } }]", "2:15", "has no `expect`"),
    ("on: [{ drift: { path: a, expect: files.exists } }]", "2:34", "did you mean `file`?"),
    ("on: [{ watch: { command: a } }]", "2:15", "has no `schedule`"),
    ("on: [5]", "2:6", "must be a trigger"),
    // Targets, rollout, limits.
    ("targets: { form: trigger }", "2:12", "did you mean `from`?"),
    ("targets: { from: everywhere }", "2:18", "it is one of trigger"),
    ("targets: { labels: 'no label' }", "2:20", "label"),
    ("targets: { search: { forge: github } }", "2:20", "has no `query`"),
    ("targets: { select: {} }", "2:20", "has no `run`"),
    ("targets: { except: 'a[' }", "2:20", "is no pattern"),
    ("targets: { most: 0 }", "2:18", "from 1"),
    ("rollout: { rings: [10%, 5%, 100%] }", "2:25", "more than the one before"),
    ("rollout: { rings: [1, 10%] }", "2:19", "the last ring must be"),
    ("rollout: { rings: [1, 10, all] }", "2:27", "percentage"),
    ("rollout: { rings: [{ most: 1 }, rest] }", "2:20", "has no `label`"),
    ("rollout: { ring: [1] }", "2:12", "did you mean `rings`?"),
    ("rollout: { advance_when: { success: 90 } }", "2:37", "percentage"),
    ("rollout: { advance_when: { sucess: 90% } }", "2:28", "did you mean `success`?"),
    ("rollout: { stop_when: { failures: 20%, rejections: 20% } }", "2:23", "names one rate"),
    ("rollout: { stop_when: {} }", "2:23", "names one rate"),
    ("rollout: { stop_when: { failures: 100% } }", "2:", "no rate is above 100%"),
    ("rollout: { stop_when: { failures: 20%, confidence: 30% } }", "2:52", "more than 50%"),
    ("rollout: { stop_when: { failures: 20%, of: [blue] } }", "2:45", "red, conflict"),
    ("limits: { paralel: 5 }", "2:11", "did you mean `parallel`?"),
    ("limits: { parallel: 0 }", "2:21", "from 1"),
    ("limits: { parallel: -1 }", "2:21", "whole number"),
    ("limits: { duration: 1 hour }", "2:21", "such as 90s"),
    ("limits: { tokens: many }", "2:19", "must be a number"),
    ("limits: { cost_usd: 5 }", "2:21", "Use `tokens`"),
    ("limits: { forges: { github.com: {} } }", "2:33", "has no `changes_per_hour`"),
    ("concurrency: { when_busy: queue }", "2:14", "has no `key`"),
    ("concurrency: { key: x, when_busy: wait }", "2:35", "queue, skip, cancel"),
    ("concurrency: { key: '${{ targt.repository }}' }", "2:22", "did you mean `target`?"),
    ("concurrency: { key: '${{ target.repositry }}' }", "2:22", "did you mean `repository`?"),
    ("environment: { clas: big }", "2:16", "did you mean `class`?"),
    ("environment: { runs_on: 'a b' }", "2:25", "label"),
    ("agent: { harnes: x }", "2:10", "did you mean `harness`?"),
    ("agent: { mode: wild }", "2:16", "ask, auto, full"),
    ("agent: { attempts: 0 }", "2:20", "from 1"),
    // Steps.
    ("steps: []", "2:8", "is empty"),
    ("steps: make", "2:8", "must be a list of steps"),
    ("steps: [make]", "2:9", "must be a step, such as"),
    ("steps: [{ rum: make }]", "2:9", "did you mean `run`?"),
    ("steps: [{ id: x }]", "2:9", "does not say what it does"),
    ("steps: [{ run: a, agent: b }]", "2:26", "can't be both `run` and `agent`"),
    ("steps: [{ run: a, id: 1x }]", "2:23", "a step's `id` is"),
    ("steps: [{ run: a, id: a.b }]", "2:23", "a step's `id` is"),
    ("steps: [{ run: a, id: x }, { run: b, id: x }]", "2:42", "another step is called `x`"),
    ("steps: [{ run: ' ' }]", "2:16", "is empty: write the command"),
    ("steps: [{ run: a, timeout: 0s }]", "2:28", "such as 90s"),
    ("steps: [{ run: a, timout: 5s }]", "2:19", "did you mean `timeout`?"),
    ("steps: [{ run: a, retry: 0 }]", "2:26", "from 1"),
    ("steps: [{ run: a, retry: { on: [never] } }]", "2:33", "exit, timeout"),
    ("steps: [{ run: a, retry: { atempts: 2 } }]", "2:28", "did you mean `attempts`?"),
    ("steps: [{ run: a, continue_on_error: x }]", "2:38", "must be true or false"),
    (
        "steps: [{ run: a, if: 'steps.b.outcome == 1' }]",
        "2:24",
        "no step before this one called `b`",
    ),
    ("steps: [{ run: a, if: 'x ==' }]", "2:", "is no CEL expression"),
    (
        "steps: [{ id: a, run: a, if: steps.b.outcome == 'failed' }, { id: b, run: b }]",
        "2:30",
        "has not ended",
    ),
    (
        "steps: [{ id: a, run: a }, { run: 'echo ${{ steps.a.outputs.n }}' }]",
        "2:41",
        "no output of the step `a` called `n`",
    ),
    (
        "steps: [{ id: a, run: a }, { run: 'echo ${{ steps.a.output }}' }]",
        "2:41",
        "did you mean `outputs`?",
    ),
    ("steps: [{ run: 'echo ${{ inputs.x }}' }]", "2:22", "no input called `x`"),
    ("steps: [{ run: 'echo ${{ 1 + }}' }]", "2:", "is no CEL expression"),
    ("steps: [{ run: 'echo ${{ event' }]", "2:22", "has no `}}`"),
    ("steps: [{ run: \"sh -c ${{ event.id }}\" }]", "2:23", "read as program text by `sh`"),
    ("steps: [{ run: \"echo '${{ event.id }}'\" }]", "2:23", "use double quotes"),
    ("steps:\n- run: |\n    true\n    eval ${{ event.id }}", "5:10", "by `eval`"),
    ("steps: [{ agent: a, verify: ['bash -c ${{ event.id }}'] }]", "2:39", "by `bash`"),
    ("steps: [{ agent: a, attempts: 0 }]", "2:31", "from 1"),
    ("steps: [{ agent: a, modle: b }]", "2:21", "did you mean `model`?"),
    ("steps: [{ agent: ' ' }]", "2:", "say what to do"),
    ("steps: [{ run: a, outputs: { n: integer } }]", "2:33", "must be an object"),
    ("steps: [{ run: a, outputs: { n: { type: int } } }]", "2:41", "string, integer"),
    ("steps: [{ run: a, outputs: { n: { regex: '(' } } }]", "2:42", "is no regular expression"),
    ("steps: [{ run: a, outputs: { n: { from: ../x } } }]", "2:33", "$WINDLASS_OUTPUTS"),
    ("steps: [{ run: a, outputs: { n: { pointer: x } } }]", "2:33", "begins with `/`"),
    ("steps: [{ run: a, outputs: { n: { accept: vale > 1 } } }]", "2:43", "did you mean `value`?"),
    ("steps: [{ agent: a, outputs: { n: { from: exit_code } } }]", "2:35", "only a `run` step"),
    ("steps: [{ pull_request: { branch: fix } }]", "2:35", "begin with `windlass/`"),
    ("steps: [{ pull_request: { titel: x } }]", "2:27", "did you mean `title`?"),
    ("steps: [{ pull_request: true }]", "2:25", "must be an object"),
    ("steps: [{ parallel: [{ pull_request: {} }] }]", "2:22", "beside other steps"),
    ("steps: [{ parallel: [{ run: a }], limit: 0 }]", "2:42", "from 1"),
    ("steps: [{ parallel: [] }]", "2:21", "is empty"),
    (
        "steps: [{ parallel: [{ id: a, run: a }, { run: 'echo ${{ steps.a.outcome }}' }] }]",
        "2:54",
        "has not ended",
    ),
    ("steps: [{ for_each: '[1]' }]", "2:9", "its `steps` are missing"),
    (
        "steps: [{ for_each: '[1]', as: inputs, steps: [{ run: a }] }]",
        "2:",
        "means something else already",
    ),
    ("steps: [{ for_each: 'items', steps: [{ run: a }] }]", "2:22", "nothing is called `items`"),
    (
        "steps: [{ for_each: '[1]', steps: [{ run: a }] }, { run: 'echo ${{ item }}' }]",
        "2:64",
        "nothing is called `item`",
    ),
    ("steps: [{ until: 'true', steps: [{ run: a }] }]", "2:18", "needs `rounds`"),
    ("steps: [{ until: 'true', rounds: 0, steps: [{ run: a }] }]", "2:34", "from 1"),
    ("steps: [{ call: Other }]", "2:17", "names an automation"),
    ("steps: [{ call: other, with: [1] }]", "2:30", "must be an object"),
    ("steps: [{ end: failed }]", "2:16", "skipped, succeeded"),
    ("steps: [{ run: a }]\nfinally: [{ end: skipped }]", "3:11", "nothing to end here"),
    ("steps: [{ wait: 1 }]", "2:17", "such as 90s"),
    ("steps: [{ wait: 300d }]", "2:17", "at most 90 days"),
    ("steps: [{ approve: {} }]", "2:20", "has no `prompt`"),
    ("steps: [{ approve: { prompt: a, by: viewer } }]", "2:37", "operator, reviewer, admin"),
    (
        "steps: [{ approve: { prompt: a, on_timeout: x, timeout: 1h } }]",
        "2:45",
        "fail, approve, decline",
    ),
    ("steps: [{ report: {} }]", "2:19", "has no `title`"),
    ("steps: [{ report: { title: x, values: [1] } }]", "2:39", "must be an object"),
    ("steps: [{ readiness: { purpose: true } }]", "2:24", "did you mean `propose`?"),
    ("steps: [{ wait: 5m, retry: 2 }]", "2:", "can't be repeated"),
    ("steps: [{ run: a }]\noutputs: { n: steps.b.outcome }", "3:15", "no step before this one"),
    // No YAML.
    ("steps: [", "", "YAML"),
    ("steps: [{ run: 'a }]", "", "YAML"),
    ("\tsteps: 1", "", "YAML"),
    ("steps: *nobody", "2:8", "anchor"),
    ("---\nname: b", "", "second document"),
];

#[test]
fn everything_that_is_wrong_is_said_with_its_place_and_a_remedy() {
    let mut wrong = Vec::new();
    for (lines, place, words) in CASES {
        let text = with(lines);
        let said = refused(&text);
        let expected = format!("a.yaml:{place}");
        let fits = |line: &String| {
            line.strip_prefix(&expected).is_some_and(|rest| {
                place.is_empty() || place.ends_with(':') || rest.starts_with(": ")
            }) && line.contains(words)
        };
        if !said.iter().any(fits) {
            wrong.push(format!(
                "{lines}\n  wanted {expected}: {words}\n  said   {}",
                said.join("\n         ")
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

#[test]
fn all_mistakes_of_a_file_are_said_at_once() {
    let said = refused(
        "nam: a\nsteps:\n- rum: x\n- { run: a, timeout: soon }\non: [{ schedule: never }]\n",
    );
    assert_eq!(said.len(), 5, "{}", said.join("\n"));
    for (line, place) in said.iter().zip(["1:1", "1:1", "3:3", "4:22", "5:18"]) {
        assert!(
            said.iter().any(|line| line.starts_with(&format!("a.yaml:{place}: "))),
            "{place}: {line}"
        );
    }
}

/// Every prefix of a good file, and the file with each line taken out or spoilt: nothing panics, and what
/// is refused has a place.
#[test]
fn a_good_file_that_was_spoilt_is_read_or_refused_with_a_place() {
    let good = crate::good::CVE;
    let lines: Vec<&str> = good.lines().collect();
    let mut tried = 0;
    let mut refusals = 0;
    let mut spoil = |text: &str| {
        tried += 1;
        if let Err(refused) = Automation::read("a.yaml", text) {
            refusals += 1;
            for line in refused.to_string().lines() {
                assert!(line.starts_with("a.yaml"), "{line}\n{text}");
            }
            assert!(!refused.to_string().is_empty());
        }
    };
    for n in 0..lines.len() {
        spoil(&lines[..n].join("\n"));
        let without: Vec<&str> =
            lines.iter().enumerate().filter(|(i, _)| *i != n).map(|(_, l)| *l).collect();
        spoil(&without.join("\n"));
        for (from, to) in [
            (": ", ": [] # "),
            (": ", ":"),
            ("e", "3"),
            ("\"", ""),
            ("- ", "-"),
            ("${{", "${{ ("),
            ("}", ""),
        ] {
            let mut spoilt: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            spoilt[n] = spoilt[n].replacen(from, to, 1);
            spoil(&spoilt.join("\n"));
        }
    }
    assert!(tried > 600 && refusals > 200, "{refusals} of {tried} were refused");
}
