//! What runs of an automation must not be at together: its `concurrency`, worked out for each job.

use std::collections::BTreeSet;

use windlass_run::{automation::Automation, expression::Scope, spec::Spec};
use windlass_store::turns::Turn;

use crate::problem::{Code, Problem};

/// The most bytes of what a run is at.
const LONGEST: usize = 1_000;

/// What a run with these jobs is at; absent where its automation doesn't care.
///
/// # Errors
/// A key without a value, or with one that is too long.
pub(crate) fn turn<'a>(
    automation: &Automation,
    specs: impl Iterator<Item = &'a Spec>,
) -> Result<Option<Turn>, Problem> {
    let Some(concurrency) = &automation.concurrency else { return Ok(None) };
    let mut things = BTreeSet::new();
    for spec in specs {
        let mut scope = Scope::default();
        for root in ["inputs", "event", "target", "automation"] {
            scope = scope.with(root, spec.context[root].clone());
        }
        let refuse = |why: String| Problem::new(Code::InvalidSpec, why).at("concurrency.key");
        let thing =
            concurrency.key.text(&scope).map_err(|no_value| refuse(no_value.to_string()))?;
        if thing.len() > LONGEST || thing.contains('\0') {
            return Err(refuse(format!("it has at most {LONGEST} bytes, and no NUL character")));
        }
        things.insert(thing);
    }
    Ok(Some(Turn { things, when_busy: concurrency.when_busy }))
}
