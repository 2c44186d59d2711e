//! Values that a file says in one string: times, templates, expressions, patterns.

use windlass_document::{Findings, Node, Place, Value, read, tree};

use super::{Known, Reader};
use crate::{
    Duration,
    automation::{LONGEST, glob::Glob},
    expression::Expression,
    spec::Given,
    template::{Template, Text},
};

impl Reader<'_> {
    /// A text that may hold `${{ }}`.
    pub(super) fn text(
        &self,
        node: &Node,
        name: &str,
        known: &Known,
        findings: &mut Findings,
    ) -> Option<Text> {
        let source = node.scalar();
        let Some(source) = source else {
            read::wrong_type(node, name, "a string", findings);
            return None;
        };
        if source.contains('\0') {
            findings.refuse(&node.place, format!("`{name}` holds a NUL: remove it"));
            return None;
        }
        match Text::parse(&source) {
            Ok(text) => {
                for (at, path) in text.reads() {
                    if let Some(why) = known.refuses(&path) {
                        findings.refuse(&self.inside(node, at), why);
                    }
                }
                Some(text)
            }
            Err(invalid) => {
                findings.refuse(&self.inside(node, invalid.at), invalid.why);
                None
            }
        }
    }

    /// The same, of a shell command.
    pub(super) fn command(
        &self,
        node: &Node,
        name: &str,
        known: &Known,
        findings: &mut Findings,
    ) -> Option<Text> {
        let text = self.text(node, name, known, findings)?;
        if text.as_str().trim().is_empty() {
            findings.refuse(&node.place, format!("`{name}` is empty: write the command"));
            return None;
        }
        if let Err(refused) = text.check_command() {
            findings.refuse(&self.inside(node, refused.at), refused.why);
            return None;
        }
        Some(text)
    }

    /// A condition or another expression, with or without `${{ }}` around it.
    pub(super) fn expression(
        &self,
        node: &Node,
        name: &str,
        known: &Known,
        findings: &mut Findings,
    ) -> Option<Expression> {
        // `if: true` is an expression too.
        let Some(source) = node.scalar() else {
            read::wrong_type(node, name, "an expression, as a string", findings);
            return None;
        };
        let bare = bare(&source);
        let skipped = source.find(bare).map_or(0, |at| source[..at].chars().count());
        match Expression::parse(bare) {
            Ok(expression) => {
                for path in expression.reads() {
                    if let Some(why) = known.refuses(&path) {
                        let at = bare.find(&path[0]).map_or(0, |at| bare[..at].chars().count());
                        findings.refuse(&self.inside(node, skipped + at), why);
                    }
                }
                Some(expression)
            }
            Err(invalid) => {
                let at = skipped + invalid.at.unwrap_or(0);
                findings.refuse(&self.inside(node, at), invalid.to_string());
                None
            }
        }
    }

    /// A value of any kind; strings may hold `${{ }}`.
    pub(super) fn given(
        &self,
        node: &Node,
        name: &str,
        known: &Known,
        findings: &mut Findings,
    ) -> Option<Given> {
        match &node.value {
            Value::Text(_) => self.text(node, name, known, findings).map(Given::Text),
            _ => Some(Given::Value(node.to_json())),
        }
    }

    /// The place of a character within a string.
    pub(super) fn inside(&self, node: &Node, at: usize) -> Place {
        tree::inside(self.source, node, at)
    }
}

/// An expression without the `${{ }}` around all of it.
fn bare(source: &str) -> &str {
    let trimmed = source.trim();
    let inner = trimmed.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"));
    match inner {
        Some(inner) if Template::parse(trimmed).is_ok_and(|template| template.is_one_value()) => {
            inner.trim()
        }
        _ => trimmed,
    }
}

/// A time such as `90s`, `5m`, `1h30m`, `7d`; never zero.
pub(super) fn duration(node: &Node, name: &str, findings: &mut Findings) -> Option<Duration> {
    let text = node.scalar().unwrap_or_default();
    match parse_duration(&text) {
        Some(time) if time > Duration::default() && time <= LONGEST => Some(time),
        Some(_) | None => {
            let what = format!("`{name}` must be a time such as 90s, 5m, 1h30m or 7d");
            findings.refuse(&node.place, what);
            None
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0i64;
    let mut rest = text.trim();
    let mut last = i64::MAX;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = match rest[digits..].chars().next()? {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        // Each unit once, the larger before the smaller.
        if unit >= last {
            return None;
        }
        last = unit;
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    (seconds <= LONGEST.as_micros() / 1_000_000).then(|| Duration::from_secs(seconds))
}

/// A pattern.
pub(super) fn glob(node: &Node, name: &str, findings: &mut Findings) -> Option<Glob> {
    let text = read::text(node, name, findings)?;
    match Glob::parse(&text) {
        Ok(glob) => Some(glob),
        Err(why) => {
            findings.refuse(&node.place, format!("`{name}` is no pattern: {why}"));
            None
        }
    }
}

/// One value or a list of them.
pub(super) fn one_or_more<T>(
    node: &Node,
    name: &str,
    findings: &mut Findings,
    mut read: impl FnMut(&Node, &str, &mut Findings) -> Option<T>,
) -> Option<Vec<T>> {
    if node.list().is_some() {
        return read::list(node, name, findings, read);
    }
    read(node, name, findings).map(|value| vec![value])
}

/// A whole number of at least `least`.
pub(super) fn count(node: &Node, name: &str, least: u32, findings: &mut Findings) -> Option<u32> {
    let number = read::whole(node, name, findings)?;
    match u32::try_from(number) {
        Ok(number) if number >= least => Some(number),
        Ok(_) | Err(_) => {
            let what = format!("`{name}` must be a whole number from {least} to {}", u32::MAX);
            findings.refuse(&node.place, what);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_each_unit_once() {
        let seconds = |text: &str| parse_duration(text).map(|time| time.as_micros() / 1_000_000);
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("1h30m"), Some(5_400));
        assert_eq!(seconds("7d"), Some(604_800));
        for text in ["", "5", "m", "5m5m", "5m1h", "1w", "-5m", "99999999999999999999s", "1.5h"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
