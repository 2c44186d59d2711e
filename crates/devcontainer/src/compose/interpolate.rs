//! Variables in Compose files: `$NAME`, `${NAME}` with `:-`, `-`, `:?`, `?`, `:+`, `+`; `$$` is a `$`.

use std::collections::BTreeMap;

use crate::{
    place::{Finding, Findings, Place, Severity},
    tree::Node,
};

/// Replaces the variables in all strings.
pub(super) fn all(
    node: &Node,
    environment: &BTreeMap<String, String>,
    findings: &mut Findings,
) -> Result<Node, Finding> {
    node.map_text(&mut |place, text| {
        text_at(text, environment, place, findings).map_err(|what| Finding {
            severity: Severity::Refuse,
            place: place.clone(),
            what,
        })
    })
}

fn text_at(
    text: &str,
    environment: &BTreeMap<String, String>,
    place: &Place,
    findings: &mut Findings,
) -> Result<String, String> {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        replaced.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            replaced.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = closing(inner).ok_or("a `${` is never closed: write `$$` for a plain `$`")?;
            replaced.push_str(&braced(&inner[..end], environment, place, findings)?);
            rest = &inner[end + 1..];
        } else {
            let (name, after) = rest.split_at(name_length(rest));
            if name.is_empty() {
                return Err("a `$` names no variable: write `$$` for a plain `$`".to_owned());
            }
            replaced.push_str(&plain(name, environment, place, findings));
            rest = after;
        }
    }
    replaced.push_str(rest);
    Ok(replaced)
}

fn braced(
    inner: &str,
    environment: &BTreeMap<String, String>,
    place: &Place,
    findings: &mut Findings,
) -> Result<String, String> {
    let (name, rest) = inner.split_at(name_length(inner));
    if name.is_empty() {
        return Err(format!("`${{{inner}}}` names no variable"));
    }
    if rest.is_empty() {
        return Ok(plain(name, environment, place, findings));
    }
    let (colon, operator) = match rest.strip_prefix(':') {
        Some(operator) => (true, operator),
        None => (false, rest),
    };
    let value = environment.get(name).filter(|value| !colon || !value.is_empty());
    let mut word = |text: &str| text_at(text, environment, place, findings);
    match (operator.chars().next(), value) {
        (Some('-'), Some(value)) | (Some('?'), Some(value)) => Ok(value.clone()),
        (Some('-'), None) => word(&operator[1..]),
        (Some('+'), Some(_)) => word(&operator[1..]),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), None) => Err(format!("`{name}` must be set: {}", &operator[1..])),
        _ => Err(format!("`${{{inner}}}` isn't understood: use :-, :? or :+")),
    }
}

fn plain(
    name: &str,
    environment: &BTreeMap<String, String>,
    place: &Place,
    findings: &mut Findings,
) -> String {
    match environment.get(name) {
        Some(value) => value.clone(),
        None => {
            let what =
                format!("`{name}` isn't set and comes out empty: write ${{{name}:-default}}");
            findings.warn(place, what);
            String::new()
        }
    }
}

/// Where the `}` is that closes, others inside counted.
fn closing(inner: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}
