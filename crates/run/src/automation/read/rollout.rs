//! `rollout` and `limits`.

use windlass_document::{
    Findings, Node, Value,
    read::{self, Fields},
};

use super::{UNKNOWN, steps::needs, values};
use crate::{
    fleet::{
        self, Amount, Share, Trouble,
        bound::Method,
        plan::{AdvanceWhen, Canaries, Over, Pace, Rate, Rest, RingSize, Rollout, StopRule},
    },
    spec,
};

pub(super) fn rollout(node: &Node, name: &str, findings: &mut Findings) -> Option<Rollout> {
    let mut fields = Fields::open(node, name, findings)?;
    let usual = Rollout::default();
    let rollout = Rollout {
        rings: fields
            .read("rings", |node, name, findings| values::one_or_more(node, name, findings, ring))
            .unwrap_or(usual.rings),
        advance_when: fields.read("advance_when", advance_when).unwrap_or_default(),
        stop_when: fields
            .read("stop_when", |node, name, findings| {
                values::one_or_more(node, name, findings, stop_rule)
            })
            .unwrap_or(usual.stop_when),
    };
    fields.finish_strictly(UNKNOWN, &[]);
    Some(rollout)
}

/// `1`, `10%`, `rest`, or `{ label: canary }`.
fn ring(node: &Node, name: &str, findings: &mut Findings) -> Option<RingSize> {
    if node.text() == Some("rest") {
        return Some(RingSize::Rest(Rest::Rest));
    }
    if !node.is_object() {
        return amount(node, name, findings).map(RingSize::UpTo);
    }
    let mut fields = Fields::open(node, name, findings)?;
    needs(node, "label", name, "the label of the canaries", fields.findings);
    let label = fields.text("label");
    let most = fields.read("most", |node, name, findings| values::count(node, name, 1, findings));
    fields.finish_strictly(UNKNOWN, &[]);
    Some(RingSize::Label(Canaries { label: label?, most }))
}

/// `3` or `10%`.
fn amount(node: &Node, name: &str, findings: &mut Findings) -> Option<Amount> {
    if matches!(node.value, Value::Number(_)) {
        return values::count(node, name, 1, findings).map(Amount::Count);
    }
    share(node, name, findings).map(Amount::Share)
}

fn share(node: &Node, name: &str, findings: &mut Findings) -> Option<Share> {
    let text = node.scalar().unwrap_or_default();
    text.parse()
        .map_err(|why: fleet::InvalidShare| {
            findings.refuse(&node.place, format!("`{name}`: {why}"))
        })
        .ok()
}

/// A share; `true` is all.
fn share_or_all(node: &Node, name: &str, findings: &mut Findings) -> Option<Share> {
    match node.value {
        Value::Bool(true) => Some(Share::ALL),
        _ => share(node, name, findings),
    }
}

fn advance_when(node: &Node, name: &str, findings: &mut Findings) -> Option<AdvanceWhen> {
    let mut fields = Fields::open(node, name, findings)?;
    let advance = AdvanceWhen {
        success: fields.read("success", share),
        verified: fields.read("verified", share_or_all),
        reviewed: fields.read("reviewed", amount),
        after: fields.read("after", values::duration),
    };
    fields.finish_strictly(UNKNOWN, &[]);
    Some(advance)
}

fn stop_rule(node: &Node, name: &str, findings: &mut Findings) -> Option<StopRule> {
    let troubles = Trouble::ALL.map(|trouble| (trouble.name(), trouble));
    let methods = [("exact", Method::Exact), ("wilson", Method::Wilson)];
    let mut fields = Fields::open(node, name, findings)?;
    let rates = [("failures", Rate::Failures), ("rejections", Rate::Rejections)];
    let rates = rates.map(|(key, rate)| (fields.read(key, share), rate));
    let mut given = rates.into_iter().filter_map(|(above, rate)| Some((above?, rate)));
    let first = given.next();
    if first.is_none() || given.next().is_some() {
        fields.refuse("a stop rule names one rate: `failures: \">20%\"` or `rejections: \">20%\"`");
    }
    let confidence = fields.read("confidence", share).unwrap_or(Share::percent(95));
    let over = fields.read("over", over).unwrap_or_default();
    let method = fields.word("method", &methods).unwrap_or_default();
    let of = fields.read("of", |node, name, findings| {
        values::one_or_more(node, name, findings, |node, name, findings| {
            read::word(node, name, findings, &troubles)
        })
    });
    fields.finish_strictly(UNKNOWN, &[]);
    let (above, rate) = first?;
    Some(StopRule { rate, above, confidence, over, method, of: of.unwrap_or_default() })
}

/// `ring`, `fleet`, or the newest so many.
fn over(node: &Node, name: &str, findings: &mut Findings) -> Option<Over> {
    match node.value {
        Value::Number(_) => values::count(node, name, 1, findings).map(Over::Last),
        _ => read::word(node, name, findings, &[("ring", Over::Ring), ("fleet", Over::Fleet)]),
    }
}

/// The limits of a job and those of the fleet stand together: people think of them so.
pub(super) fn limits(
    node: &Node,
    name: &str,
    findings: &mut Findings,
) -> Option<(spec::Limits, fleet::plan::Limits)> {
    let mut fields = Fields::open(node, name, findings)?;
    let mut of_job = spec::Limits::default();
    if let Some(duration) = fields.read("duration", values::duration) {
        of_job.duration = duration;
    }
    of_job.tokens = fields.read("tokens", read::whole);
    if let Some(requeues) =
        fields.read("requeues", |node, name, findings| values::count(node, name, 0, findings))
    {
        of_job.requeues = requeues;
    }
    for key in ["cost_usd", "total_cost_usd"] {
        if let Some(cost) = fields.get(key) {
            let what = format!(
                "`{key}` can't be kept to yet: nothing here knows what a token costs. Use `tokens`"
            );
            fields.findings.refuse(&cost.place, what);
        }
    }
    let count = |fields: &mut Fields<'_, '_>, key| {
        fields.read(key, |node, name, findings| values::count(node, name, 1, findings))
    };
    let of_fleet = fleet::plan::Limits {
        parallel: count(&mut fields, "parallel"),
        changes_per_hour: count(&mut fields, "changes_per_hour"),
        open_changes: count(&mut fields, "open_changes"),
        open_changes_per_repository: count(&mut fields, "open_changes_per_repository"),
        open_changes_per_owner: count(&mut fields, "open_changes_per_owner"),
        forges: fields
            .read("forges", |node, name, findings| read::map(node, name, findings, pace))
            .into_iter()
            .flatten()
            .collect(),
        tokens: fields.read("total_tokens", read::whole),
        micro_usd: None,
    };
    fields.finish_strictly(UNKNOWN, &[]);
    Some((of_job, of_fleet))
}

fn pace(node: &Node, name: &str, findings: &mut Findings) -> Option<Pace> {
    let mut fields = Fields::open(node, name, findings)?;
    needs(node, "changes_per_hour", name, "how many changes within an hour", fields.findings);
    let changes_per_hour = fields
        .read("changes_per_hour", |node, name, findings| values::count(node, name, 1, findings));
    fields.finish_strictly(UNKNOWN, &[]);
    Some(Pace { changes_per_hour: changes_per_hour? })
}
