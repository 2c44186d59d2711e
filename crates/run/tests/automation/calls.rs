//! Automations that call others.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;
use windlass_run::{
    ProjectId, Time,
    automation::{Automation, InvalidCall},
    spec::{Action, Target},
};

use crate::good::read;

fn made(texts: &[&str]) -> Result<windlass_run::spec::Spec, InvalidCall> {
    let all: BTreeMap<String, Arc<Automation>> = texts
        .iter()
        .map(|text| read(text))
        .map(|automation| (automation.name.to_string(), Arc::new(automation)))
        .collect();
    let first = read(texts[0]);
    let made = first.made(&|name| all.get(name).cloned())?;
    let project_id = ProjectId::new(Time::from_micros(1), 1);
    let target = Target { project_id, base: "main".to_owned(), commit: None };
    Ok(first.spec(&made, target, None, json!({ "inputs": {} })).expect("a spec"))
}

const CALLER: &str = "name: caller\nsteps:\n- id: inner\n  call: called\n  with: { what: \"${{ target.repository }}\" }\n\
                      - run: echo ${{ steps.inner.outputs.words }}\n";

#[test]
fn the_steps_of_what_is_called_stand_in_the_tree() {
    let called = "name: called\ninputs: { what: string, often: { type: integer, default: 2 } }\n\
                  steps:\n- { id: count, run: 'wc -w', outputs: { n: { type: integer } } }\n\
                  outputs: { words: steps.count.outputs.n }";
    let spec = made(&[CALLER, called]).expect("made");
    let Action::Block { call, steps, inputs, outputs } = &spec.steps[0].action else {
        panic!("a block")
    };
    assert_eq!(call.as_deref(), Some("called"));
    assert_eq!(steps[0].id.as_str(), "count");
    assert_eq!(inputs.keys().collect::<Vec<_>>(), ["often", "what"]);
    assert_eq!(outputs["words"].source(), "steps.count.outputs.n");
}

#[test]
fn a_call_that_can_not_be_is_refused_with_the_way_to_it() {
    let refused = |called: &[&str]| {
        let texts: Vec<&str> = [CALLER].into_iter().chain(called.iter().copied()).collect();
        made(&texts).expect_err("refused").to_string()
    };
    assert_eq!(refused(&[]), "caller → called: there is no automation of this name");
    assert_eq!(
        refused(&["name: called\ninputs: { wat: string }\nsteps: [{ run: a }]"]),
        "caller → called: it has no input `what`: did you mean `wat`?"
    );
    assert_eq!(
        refused(&["name: called\ninputs: { what: string, n: integer }\nsteps: [{ run: a }]"]),
        "caller → called: its input `n` has no default: say what it is in `with`"
    );
    assert_eq!(
        refused(&["name: called\ninputs: { what: string }\nsteps: [{ call: caller }]"]),
        "caller → called → caller: it calls itself: end the circle"
    );
    assert!(
        refused(&[
            "name: called\ninputs: { what: string }\nsteps: [{ run: a }]\nfinally: [{ run: b }]"
        ])
        .contains("`finally`")
    );
}
