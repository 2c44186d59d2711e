//! What a step gives to the steps after it: named values of a kind. Where they come from is the
//! runner's to read; whether they are what was asked for is judged here, the same wherever.

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    expression::{Expression, Scope},
    template::Text,
};

/// A value that a step gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// What it must be.
    pub kind: Kind,
    /// Where it comes from.
    pub source: Source,
    /// It is taken only if this holds; `value` is the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<Expression>,
}

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Text.
    String,
    /// A whole number of 64 bits.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// Anything that JSON can say.
    Json,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A file that the step writes.
    File {
        /// Its place below the folder that the step finds in `WINDLASS_OUTPUTS`.
        path: String,
        /// The part of it, read as JSON, that this JSON pointer points to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pointer: Option<String>,
        /// The first group of the first match, or the match where there is no group.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        regex: Option<String>,
    },
    /// What a command prints to its standard output.
    Stdout {
        /// As of a file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pointer: Option<String>,
        /// As of a file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        regex: Option<String>,
    },
    /// The number with which a command exits. A step that asks for it ends well whatever that is.
    ExitCode,
    /// What the model of the step's agent answers.
    Ask {
        /// The question.
        prompt: Text,
    },
}

/// A regular expression, of a size that is compiled in no time.
pub(super) fn pattern(source: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(source).size_limit(1 << 20).multi_line(true).build();
    built.map_err(|error| format!("has a regex that is none: {error}"))
}

impl Kind {
    /// The word of a file for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Json => "json",
        }
    }

    /// Whether the value is one.
    pub fn is(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.as_i64().is_some(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Json => true,
        }
    }

    /// The value that a text says.
    ///
    /// # Errors
    /// What the text is not, in words that go after \"it\".
    pub fn read(self, text: &str) -> Result<Value, String> {
        let trimmed = text.trim();
        let shown: String = trimmed.chars().take(60).collect();
        match self {
            // A command's output ends with a line's end that nobody means.
            Self::String => Ok(Value::String(text.trim_end_matches(['\r', '\n']).to_owned())),
            Self::Integer => {
                let number = trimmed.parse::<i64>().ok().map(Value::from);
                number.ok_or_else(|| format!("is no whole number: `{shown}`"))
            }
            Self::Number => {
                let number = trimmed.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
                match trimmed.parse::<i64>() {
                    Ok(whole) => Ok(Value::from(whole)),
                    Err(_) => {
                        number.map(Value::Number).ok_or_else(|| format!("is no number: `{shown}`"))
                    }
                }
            }
            Self::Boolean => match trimmed {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err(format!("is neither `true` nor `false`: `{shown}`")),
            },
            Self::Json => {
                serde_json::from_str(trimmed).map_err(|error| format!("is no JSON: {error}"))
            }
        }
    }
}

impl Output {
    /// The value in what a file holds or a command printed.
    ///
    /// # Errors
    /// Why there is none, in words that go after "output `name`".
    pub fn find(&self, text: &str) -> Result<Value, String> {
        let (pointer, regex) = match &self.source {
            Source::File { pointer, regex, .. } | Source::Stdout { pointer, regex } => {
                (pointer, regex)
            }
            Source::ExitCode | Source::Ask { .. } => (&None, &None),
        };
        if let Some(pointer) = pointer {
            let whole: Value = serde_json::from_str(text.trim())
                .map_err(|error| format!("is no JSON to point into: {error}"))?;
            let found = whole.pointer(pointer).cloned();
            return found.ok_or_else(|| format!("has nothing at `{pointer}`"));
        }
        let Some(source) = regex else { return self.kind.read(text) };
        let regex = pattern(source)?;
        let Some(found) = regex.captures(text) else {
            return Err(format!("has nothing that `{source}` matches"));
        };
        let group = found.get(1).or_else(|| found.get(0));
        self.kind.read(group.map_or("", |group| group.as_str()))
    }

    /// Refuses a value that is not what was asked for.
    ///
    /// # Errors
    /// Why, in words that go after \"output `name`\".
    pub fn check(&self, value: &Value) -> Result<(), String> {
        if !self.kind.is(value) {
            let is = match value {
                Value::Null => "null",
                Value::Bool(_) => "a boolean",
                Value::Number(_) => "a number",
                Value::String(_) => "a string",
                Value::Array(_) => "a list",
                Value::Object(_) => "an object",
            };
            return Err(format!("is {is}, and `{}` was asked for", self.kind.name()));
        }
        let Some(accept) = &self.accept else { return Ok(()) };
        match accept.holds(&Scope::default().with("value", value.clone())) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("is not accepted: `{accept}` does not hold")),
            Err(no_value) => Err(format!("can't be judged: {no_value}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_becomes_a_value_of_its_kind_or_says_why_not() {
        assert_eq!(Kind::String.read(" a \n"), Ok(json!(" a ")));
        assert_eq!(Kind::Integer.read("42\n"), Ok(json!(42)));
        assert_eq!(Kind::Integer.read("4.2"), Err("is no whole number: `4.2`".to_owned()));
        assert_eq!(Kind::Number.read("4.5"), Ok(json!(4.5)));
        assert_eq!(Kind::Number.read("7"), Ok(json!(7)));
        assert!(Kind::Number.read("NaN").is_err());
        assert_eq!(Kind::Boolean.read(" true\n"), Ok(json!(true)));
        assert!(Kind::Boolean.read("yes").is_err());
        assert_eq!(Kind::Json.read("{\"a\": [1]}"), Ok(json!({ "a": [1] })));
        assert!(Kind::Json.read("{").is_err());
    }

    #[test]
    fn a_part_of_a_text_is_found_by_pointer_or_pattern() {
        let output = |kind, pointer: Option<&str>, regex: Option<&str>| {
            let (pointer, regex) = (pointer.map(str::to_owned), regex.map(str::to_owned));
            Output { kind, source: Source::Stdout { pointer, regex }, accept: None }
        };
        let by_pointer = output(Kind::Json, Some("/a/1"), None);
        assert_eq!(by_pointer.find("{\"a\": [1, {\"b\": 2}]}\n"), Ok(json!({ "b": 2 })));
        assert_eq!(by_pointer.find("{}"), Err("has nothing at `/a/1`".to_owned()));
        let by_group = output(Kind::Integer, None, Some(r"^found (\d+) of"));
        assert_eq!(by_group.find("looking\nfound 12 of 30\n"), Ok(json!(12)));
        assert!(by_group.find("nothing").is_err());
        assert_eq!(output(Kind::String, None, Some("b+")).find("abbc"), Ok(json!("bb")));
    }

    #[test]
    fn a_value_is_taken_only_if_it_is_of_its_kind_and_accepted() {
        let accept = Some(Expression::parse("value > 2").expect("an expression"));
        let output = Output { kind: Kind::Integer, source: Source::ExitCode, accept };
        assert_eq!(output.check(&json!(3)), Ok(()));
        assert_eq!(
            output.check(&json!(2)),
            Err("is not accepted: `value > 2` does not hold".to_owned())
        );
        assert_eq!(
            output.check(&json!("3")),
            Err("is a string, and `integer` was asked for".to_owned())
        );
    }
}
