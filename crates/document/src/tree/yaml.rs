//! YAML, as Compose files are written: anchors and merge keys are worked out, within limits.

use std::{fmt, sync::Arc};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Location, Spanned};

use super::{Member, Node, Value};
use crate::place::{Finding, Place, Severity};

/// The reader takes some 45 KiB of stack for each level when it isn't optimised; a thread has 2 MiB.
/// Compose files are six deep.
const DEEPEST: usize = 20;

/// Reads a text of one document. Anchors and `<<` are worked out; a key that stands twice is refused.
///
/// # Errors
/// The first place at which it isn't YAML, or holds more than the limits allow.
pub fn parse(file: &str, text: &str) -> Result<Node, Finding> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut options = serde_saphyr::Options::default();
    options.strict_booleans = true;
    options.with_snippet = false;
    if let Some(budget) = &mut options.budget {
        budget.max_depth = DEEPEST;
    }
    let file: Arc<str> = file.into();
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(locate(&file, raw)),
        Err(error) => {
            let place = match error.location() {
                Some(location) => place(&file, location),
                None => Place::whole(&file),
            };
            let what = explain(&error);
            Err(Finding { severity: Severity::Refuse, place, what })
        }
    }
}

fn explain(error: &Error) -> String {
    match error.without_snippet() {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` stands twice: remove one")
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an anchor holds itself: break the circle".to_owned()
        }
        Error::MultipleDocuments { .. } => "a second document begins: remove it".to_owned(),
        Error::NonFiniteFloat { value, .. } => format!("the number {value} has no use here"),
        Error::UnknownAnchor { .. } => "no anchor of this name stands before".to_owned(),
        other => {
            // The place is told before.
            let message = other.to_string();
            let message = message.split(" at line ").next().unwrap_or(&message);
            format!("it can't be read as YAML: {message}")
        }
    }
}

/// A value whose parts know their location, but not yet their file.
enum Raw {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Object(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn locate(file: &Arc<str>, raw: Spanned<Raw>) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(truth) => Value::Bool(truth),
        Raw::Number(number) => Value::Number(number),
        Raw::Text(text) => Value::Text(text),
        Raw::List(raws) => Value::List(raws.into_iter().map(|raw| locate(file, raw)).collect()),
        Raw::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(key, raw)| Member {
                    key: key.value,
                    place: place(file, key.referenced),
                    node: locate(file, raw),
                })
                .collect(),
        ),
    };
    Node { place: place(file, raw.referenced), value }
}

fn place(file: &Arc<str>, location: Location) -> Place {
    Place {
        file: file.clone(),
        line: u32::try_from(location.line()).unwrap_or(u32::MAX),
        column: u32::try_from(location.column()).unwrap_or(u32::MAX),
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyRaw)
    }
}

struct AnyRaw;

impl<'de> Visitor<'de> for AnyRaw {
    type Value = Raw;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Number(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Raw, E> {
        match serde_json::Number::from_f64(number) {
            Some(number) => Ok(Raw::Number(number)),
            None => Err(E::custom("infinity and not-a-number have no use here")),
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut raws = Vec::new();
        while let Some(raw) = list.next_element()? {
            raws.push(raw);
        }
        Ok(Raw::List(raws))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut members: Vec<(Spanned<String>, Spanned<Raw>)> = Vec::new();
        while let Some((key, raw)) = map.next_entry::<Spanned<String>, Spanned<Raw>>()? {
            if members.iter().any(|(other, _)| other.value == key.value) {
                return Err(A::Error::custom(format_args!("the key `{}` stands twice", key.value)));
            }
            members.push((key, raw));
        }
        Ok(Raw::Object(members))
    }
}
