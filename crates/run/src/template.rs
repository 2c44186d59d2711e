//! Texts with `${{ expression }}` in them, and how values get into them. In prose a value is its text;
//! in a shell command it is never text of the command: it arrives as an environment variable and the
//! command refers to that, quoted as the place needs it ([`shell`]).

mod shell;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use serde_json::Value;

use crate::expression::{Expression, NoValue, Path, Scope};

pub use shell::{Command, InvalidShell};

/// The longest template, in bytes.
pub const LONGEST: usize = 256 << 10;
/// The longest text that one value may become in a shell command: Linux takes at most 128 KiB for one
/// variable with its name (`MAX_ARG_STRLEN`).
const LONGEST_VALUE: usize = 120 << 10;

/// A text as it stands, or one with values still to be put in.
#[derive(Clone, Debug, PartialEq)]
pub enum Text {
    /// As it stands.
    Plain(String),
    /// With values to be put in.
    Template(Template),
}

/// A text with expressions in it. Two are equal if their texts are.
#[derive(Clone)]
pub struct Template {
    source: Arc<str>,
    parts: Arc<[Part]>,
}

enum Part {
    Text(String),
    Value {
        expression: Expression,
        /// The character of the source at which it begins.
        at: usize,
    },
}

/// A text that is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct InvalidTemplate {
    /// What is wrong and what to do.
    pub why: String,
    /// At which character of the text, from 0.
    pub at: usize,
}

impl Template {
    /// Reads a template. `${{ '${{' }}` gives the opening itself.
    ///
    /// # Errors
    /// An opening without its end, or an expression that is none, with its place.
    pub fn parse(source: &str) -> Result<Self, InvalidTemplate> {
        if source.len() > LONGEST {
            let why = format!("a text with `${{{{ }}}}` in it has at most {LONGEST} bytes");
            return Err(InvalidTemplate { why, at: 0 });
        }
        let mut parts = Vec::new();
        let (mut rest, mut at) = (source, 0);
        while let Some(begin) = rest.find(OPEN) {
            let text = &rest[..begin];
            at += text.chars().count();
            let inside = &rest[begin + OPEN.len()..];
            let Some(end) = close(inside) else {
                let why =
                    "`${{` has no `}}`: close it, or write `${{ '${{' }}` if it is meant as text";
                return Err(InvalidTemplate { why: why.to_owned(), at });
            };
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
            let inner = &inside[..end];
            let trimmed = inner.trim();
            let skipped = inner.len() - inner.trim_start().len();
            let begins = at + OPEN.len() + inner[..skipped].chars().count();
            let expression = Expression::parse(trimmed).map_err(|invalid| InvalidTemplate {
                at: begins + invalid.at.unwrap_or(0),
                why: invalid.to_string(),
            })?;
            parts.push(Part::Value { expression, at });
            at += OPEN.len() + inner.chars().count() + CLOSE.len();
            rest = &inside[end + CLOSE.len()..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { source: source.into(), parts: parts.into() })
    }

    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether there is nothing to put in.
    pub fn is_plain(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Whether it is one expression and nothing else.
    pub fn is_one_value(&self) -> bool {
        matches!(&*self.parts, [Part::Value { .. }])
    }

    /// What its expressions read, each with the character at which the expression's `${{` stands.
    pub fn reads(&self) -> impl Iterator<Item = (usize, Path)> {
        self.parts.iter().flat_map(|part| match part {
            Part::Text(_) => Vec::new(),
            Part::Value { expression, at } => {
                expression.reads().into_iter().map(|path| (*at, path)).collect()
            }
        })
    }

    /// The text with the values in it.
    ///
    /// # Errors
    /// The first expression that has no value.
    pub fn text(&self, scope: &Scope) -> Result<String, NoValue> {
        let mut text = String::with_capacity(self.source.len());
        for part in self.parts.iter() {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Value { expression, .. } => {
                    text.push_str(&written(&expression.value(scope)?))
                }
            }
        }
        Ok(text)
    }

    /// The value itself where the template is one expression and nothing else; else its text.
    ///
    /// # Errors
    /// The first expression that has no value.
    pub fn value(&self, scope: &Scope) -> Result<Value, NoValue> {
        match &*self.parts {
            [Part::Value { expression, .. }] => expression.value(scope),
            _ => self.text(scope).map(Value::String),
        }
    }
}

impl Text {
    /// A text from a file, which may have values to be put in.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn parse(source: &str) -> Result<Self, InvalidTemplate> {
        let template = Template::parse(source)?;
        Ok(if template.is_plain() {
            Self::Plain(source.to_owned())
        } else {
            Self::Template(template)
        })
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Template(template) => template.source(),
        }
    }

    /// The text with the values in it.
    ///
    /// # Errors
    /// The first expression that has no value.
    pub fn text(&self, scope: &Scope) -> Result<String, NoValue> {
        match self {
            Self::Plain(text) => Ok(text.clone()),
            Self::Template(template) => template.text(scope),
        }
    }

    /// A shell command that finds its values in variables, which are numbered from `first`.
    ///
    /// # Errors
    /// The first expression that has no value that a variable can hold.
    pub fn command(&self, scope: &Scope, first: usize) -> Result<Command, NoValue> {
        match self {
            Self::Plain(text) => Ok(Command { text: text.clone(), variables: Vec::new() }),
            Self::Template(template) => template.command(scope, first),
        }
    }

    /// Refuses a shell command in which a value stands where it could be read as program text.
    ///
    /// # Errors
    /// The first such place.
    pub fn check_command(&self) -> Result<(), InvalidShell> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Template(template) => template.check_command(),
        }
    }

    /// What its expressions read, each with the character at which the expression's `${{` stands.
    pub fn reads(&self) -> Vec<(usize, Path)> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Template(template) => template.reads().collect(),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::Plain(text.to_owned())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Plain(text)
    }
}

/// A value as text: strings as they are, everything else as JSON, null as nothing.
fn written(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// The byte at which the `}}` of an expression begins; string literals and maps are passed over.
fn close(inside: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    let mut open = 0usize;
    let mut characters = inside.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(mark) if character == mark => quote = None,
            Some(_) => {}
            None => match character {
                '\'' | '"' => quote = Some(character),
                '{' => open += 1,
                '}' if open > 0 => open -= 1,
                '}' if characters.peek().is_some_and(|(_, next)| *next == '}') => return Some(at),
                _ => {}
            },
        }
    }
    None
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Template({:?})", self.source)
    }
}

/// A plain text is a string; a template is `{"template": "..."}`, so that a task's own `${{` stays text.
impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(text) => serializer.serialize_str(text),
            Self::Template(template) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("template", template.source())?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Plain(String),
            Template { template: String },
        }
        match Written::deserialize(deserializer)? {
            Written::Plain(text) => Ok(Self::Plain(text)),
            Written::Template { template } => {
                let template = Template::parse(&template).map_err(de::Error::custom)?;
                Ok(Self::Template(template))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Scope {
        Scope::default().with("a", json!("one")).with("n", json!(3)).with("list", json!([1, "x"]))
    }

    #[test]
    fn values_stand_in_prose_as_their_text() {
        let text = |source: &str| Template::parse(source).expect("a template").text(&scope());
        assert_eq!(text("${{ a }} and ${{n}}, ${{ list }}"), Ok("one and 3, [1,\"x\"]".to_owned()));
        assert_eq!(text("no values: $a ${b} {{ c }}"), Ok("no values: $a ${b} {{ c }}".to_owned()));
        assert_eq!(text("${{ '${{' }} a }}"), Ok("${{ a }}".to_owned()));
        assert_eq!(text("${{ {'x': {'y': '}}'}}.x.y }}!"), Ok("}}!".to_owned()));
    }

    #[test]
    fn one_expression_alone_keeps_its_kind() {
        let value = |source: &str| Template::parse(source).expect("a template").value(&scope());
        assert_eq!(value("${{ list }}"), Ok(json!([1, "x"])));
        assert_eq!(value("${{ n }} "), Ok(json!("3 ")));
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_place() {
        let refused = |source: &str| {
            let invalid = Template::parse(source).expect_err("refused");
            (invalid.at, invalid.why)
        };
        assert_eq!(refused("é ${{ a").0, 2);
        let (at, why) = refused("ab ${{  n + }} cd");
        assert!(at >= 8 && why.contains("`n +`"), "{at} {why}");
        assert_eq!(refused("${{ }}").0, 4);
    }

    #[test]
    fn a_plain_text_stays_plain_on_its_way() {
        let text = Text::from("as it ${{ stands");
        let json = serde_json::to_value(&text).expect("json");
        assert_eq!(json, json!("as it ${{ stands"));
        assert_eq!(serde_json::from_value::<Text>(json).expect("read"), text);
        let template = Text::parse("${{ a }}").expect("a template");
        let json = serde_json::to_value(&template).expect("json");
        assert_eq!(json, json!({ "template": "${{ a }}" }));
        assert_eq!(serde_json::from_value::<Text>(json).expect("read"), template);
    }
}
