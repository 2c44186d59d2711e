//! How to find out whether a service works.

use serde::Serialize;

use crate::{
    place::Findings,
    read::{self, Fields, wrong_type},
    tree::Node,
};

/// How to find out whether a service works. Times are in microseconds; 0 is the engine's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthCheck {
    /// What to run; `None` turns the image's own check off.
    pub test: Option<HealthTest>,
    /// The time between two tries.
    pub interval: i64,
    /// The time after which a try has failed.
    pub timeout: i64,
    /// After so many failures the service doesn't work.
    pub retries: u64,
    /// The time at first in which failures don't count.
    pub start_period: i64,
}

/// What a health check runs inside the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum HealthTest {
    /// A line for a shell.
    Shell(String),
    /// A program and its arguments.
    Exec(Vec<String>),
}

pub(super) fn read(node: &Node, name: &str, findings: &mut Findings) -> Option<HealthCheck> {
    let mut fields = Fields::open(node, name, findings)?;
    let is_off = fields.truth("disable").unwrap_or(false);
    let test = fields.read("test", test).flatten();
    let check = HealthCheck {
        test: test.filter(|_| !is_off),
        interval: fields.read("interval", duration).unwrap_or(0),
        timeout: fields.read("timeout", duration).unwrap_or(0),
        retries: fields.read("retries", read::whole).unwrap_or(0),
        start_period: fields.read("start_period", duration).unwrap_or(0),
    };
    fields.read("start_interval", duration);
    fields.finish();
    Some(check)
}

fn test(node: &Node, name: &str, findings: &mut Findings) -> Option<Option<HealthTest>> {
    if let Some(line) = node.text() {
        return Some(Some(HealthTest::Shell(line.to_owned())));
    }
    let words = read::texts(node, name, findings)?;
    match words.split_first() {
        Some((first, [])) if first == "NONE" => Some(None),
        Some((first, [line])) if first == "CMD-SHELL" => {
            Some(Some(HealthTest::Shell(line.clone())))
        }
        Some((first, rest)) if first == "CMD" && !rest.is_empty() => {
            Some(Some(HealthTest::Exec(rest.to_vec())))
        }
        _ => {
            let wanted = "a string, or a list that begins with CMD, CMD-SHELL or NONE";
            wrong_type(node, name, wanted, findings);
            None
        }
    }
}

/// `1m30s`, `500ms`: in microseconds.
fn duration(node: &Node, name: &str, findings: &mut Findings) -> Option<i64> {
    let text = read::text(node, name, findings)?;
    let microseconds = microseconds(&text);
    if microseconds.is_none() {
        let what = format!("`{name}` can't be `{text}`: write a time such as 1m30s or 500ms");
        findings.refuse(&node.place, what);
    }
    microseconds
}

fn microseconds(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut sum: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let factor: i64 = match unit {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            _ => return None,
        };
        sum = sum.checked_add(number.parse::<i64>().ok()?.checked_mul(factor)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}
