//! JSON with comments, trailing commas and a byte-order mark, as editors write it.

use jsonc_parser::{
    CollectOptions, ParseOptions, ast,
    common::Ranged,
    errors::{ParseError, ParseErrorKind},
    parse_to_ast,
};

use super::{Member, Node, Value};
use crate::place::{Finding, Findings, Lines, Place, Severity};

/// JSON with comments and trailing commas, and nothing else that JSON doesn't have: what other tools
/// would read differently is refused.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Trees are walked by recursion, and what deserves the name of a configuration is far from this.
const DEEPEST: u32 = 100;

const TOO_DEEP: &str = "it is nested more than 100 deep: that is no configuration";

/// Reads a text. A key that stands twice in an object is told as a warning; the last one counts.
///
/// # Errors
/// The first place at which it isn't JSON with comments, or that it is empty.
pub fn parse(file: &str, text: &str, findings: &mut Findings) -> Result<Node, Finding> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let places = Lines::new(file, text);
    let parsed = parse_to_ast(text, &CollectOptions::default(), &OPTIONS)
        .map_err(|error| explain(&places, &error))?;
    match parsed.value {
        Some(value) => convert(&places, value, 0, findings),
        None => Err(refusal(
            Place::whole(file),
            "it is empty: write a JSON object, such as { \"image\": \"debian:12\" }".to_owned(),
        )),
    }
}

fn convert(
    places: &Lines<'_>,
    value: ast::Value<'_>,
    depth: u32,
    findings: &mut Findings,
) -> Result<Node, Finding> {
    let place = places.at(value.start());
    if depth > DEEPEST {
        return Err(refusal(place, TOO_DEEP.to_owned()));
    }
    let value = match value {
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
        ast::Value::NumberLit(literal) => match number(literal.value) {
            Some(number) => Value::Number(number),
            None => {
                let what = format!("the number {} is too large", literal.value);
                return Err(refusal(place, what));
            }
        },
        ast::Value::StringLit(literal) => Value::Text(literal.value.into_owned()),
        ast::Value::Array(array) => Value::List(
            array
                .elements
                .into_iter()
                .map(|element| convert(places, element, depth + 1, findings))
                .collect::<Result<_, _>>()?,
        ),
        ast::Value::Object(object) => Value::Object(members(places, object, depth, findings)?),
    };
    Ok(Node { place, value })
}

/// Whole numbers of 64 bits are exact, others are the nearest float.
fn number(literal: &str) -> Option<serde_json::Number> {
    if let Ok(number) = literal.parse::<u64>() {
        return Some(number.into());
    }
    if let Ok(number) = literal.parse::<i64>() {
        return Some(number.into());
    }
    serde_json::Number::from_f64(literal.parse().ok()?)
}

fn members(
    places: &Lines<'_>,
    object: ast::Object<'_>,
    depth: u32,
    findings: &mut Findings,
) -> Result<Vec<Member>, Finding> {
    let mut members: Vec<Member> = Vec::with_capacity(object.properties.len());
    for property in object.properties {
        let place = places.at(property.range.start);
        let key = property.name.into_string();
        let node = convert(places, property.value, depth + 1, findings)?;
        // A file of a few hundred keys is the largest seen; the square is small.
        if let Some(first) = members.iter_mut().find(|member| member.key == key) {
            let line = first.place.line;
            findings.warn(
                &place,
                format!("`{key}` stands already in line {line}, this one counts: remove the other"),
            );
            (first.place, first.node) = (place, node);
        } else {
            members.push(Member { key, place, node });
        }
    }
    Ok(members)
}

fn explain(places: &Lines<'_>, error: &ParseError) -> Finding {
    let what = match error.kind() {
        ParseErrorKind::NestingDepthExceeded => TOO_DEEP.to_owned(),
        ParseErrorKind::SingleQuotedStringsNotAllowed => {
            "a string stands in single quotes: use double quotes".to_owned()
        }
        ParseErrorKind::ExpectedComma => "a comma is missing here".to_owned(),
        ParseErrorKind::UnterminatedObject => "a `{` is never closed: add the `}`".to_owned(),
        ParseErrorKind::UnterminatedArray => "a `[` is never closed: add the `]`".to_owned(),
        ParseErrorKind::UnterminatedCommentBlock => {
            "a `/*` is never closed: add the `*/`".to_owned()
        }
        ParseErrorKind::MultipleRootJsonValues => {
            "something follows after the end of the JSON: remove it".to_owned()
        }
        kind => {
            let mut text = kind.to_string();
            if let Some(first) = text.get_mut(..1) {
                first.make_ascii_lowercase();
            }
            format!("it isn't JSON with comments: {text}")
        }
    };
    refusal(places.at(error.range().start), what)
}

fn refusal(place: Place, what: String) -> Finding {
    Finding { severity: Severity::Refuse, place, what }
}
