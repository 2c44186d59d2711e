//! What an automation is given when it starts.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::spec::Kind;

/// An input.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Input {
    /// What it must be.
    #[serde(rename = "type")]
    pub kind: InputKind,
    /// What it is if nobody says; absent: it must be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// What it can be; empty means anything of its kind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Value>,
    /// What all of a string must match: a regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The least number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// What it is for, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What an input must be.
pub type InputKind = Kind;

/// An input that can't be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("the input `{name}` {why}")]
pub struct InvalidInput {
    /// Which.
    pub name: String,
    /// Why, and what would do.
    pub why: String,
}

impl Input {
    /// The value if it can be taken.
    ///
    /// # Errors
    /// Why not, in words that go after "the input `name`".
    pub fn take(&self, value: &Value) -> Result<Value, String> {
        if !self.kind.is(value) {
            return Err(format!("must be of the type {}", self.kind.name()));
        }
        if !self.choices.is_empty() && !self.choices.contains(value) {
            let choices: Vec<String> = self.choices.iter().map(shown).collect();
            return Err(format!("must be one of {}", choices.join(", ")));
        }
        if let (Some(pattern), Some(text)) = (&self.pattern, value.as_str()) {
            let whole = regex(pattern).map_err(|why| format!("has a pattern that {why}"))?;
            if !whole.is_match(text) {
                return Err(format!("must match `{pattern}`"));
            }
        }
        let number = value.as_f64();
        match (number, self.min, self.max) {
            (Some(number), Some(min), _) if number < min => Err(format!("must be at least {min}")),
            (Some(number), _, Some(max)) if number > max => Err(format!("must be at most {max}")),
            _ => Ok(value.clone()),
        }
    }

    /// The value that a person typed, if it can be taken.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn read(&self, text: &str) -> Result<Value, String> {
        let value = match self.kind {
            Kind::String => Value::String(text.to_owned()),
            kind => kind.read(text)?,
        };
        self.take(&value)
    }
}

/// A pattern that must match a text from its beginning to its end.
pub(super) fn regex(pattern: &str) -> Result<regex::Regex, String> {
    let whole = format!("^(?:{pattern})$");
    let built = regex::RegexBuilder::new(&whole).size_limit(1 << 20).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "is too large".to_owned(),
        _ => "is no regular expression".to_owned(),
    })
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn input(kind: InputKind) -> Input {
        Input {
            kind,
            default: None,
            choices: Vec::new(),
            pattern: None,
            min: None,
            max: None,
            description: None,
        }
    }

    #[test]
    fn a_value_is_taken_only_if_all_that_was_said_of_it_holds() {
        let level = Input { choices: vec![json!("low"), json!("high")], ..input(Kind::String) };
        assert_eq!(level.read("high"), Ok(json!("high")));
        assert_eq!(level.read("medium"), Err("must be one of low, high".to_owned()));
        let count = Input { min: Some(1.0), max: Some(10.0), ..input(Kind::Integer) };
        assert_eq!(count.read("10"), Ok(json!(10)));
        assert_eq!(count.read("0"), Err("must be at least 1".to_owned()));
        assert_eq!(count.take(&json!("3")), Err("must be of the type integer".to_owned()));
        let version = Input { pattern: Some(r"\d+\.\d+|next".to_owned()), ..input(Kind::String) };
        assert_eq!(version.read("1.20"), Ok(json!("1.20")));
        assert_eq!(version.read("1.20; rm"), Err(r"must match `\d+\.\d+|next`".to_owned()));
    }
}
