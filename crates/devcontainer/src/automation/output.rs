//! What a task gives besides its end: values with a name and a type, read from a file that it writes or
//! from the last line that it prints. Reading a value is pure: whoever runs the task brings the text.

use serde::Serialize;
use serde_json::Value;

/// A value that a task gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The file below `$WINDLASS_OUTPUTS` that holds it; absent: the last line that the task prints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where in that it is, if it is JSON: a JSON pointer (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Text, without the line break at its end.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Any JSON.
    Json,
}

impl Kind {
    /// The word that a file has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Json => "json",
        }
    }
}

/// The most characters of a value that stand in a reason.
const SHOWN: usize = 80;

impl Output {
    /// The value in this text.
    ///
    /// # Errors
    /// Why there is none of its type, as the end of a sentence.
    pub fn value(&self, text: &str) -> Result<Value, String> {
        let text = text.trim_end_matches(['\n', '\r']);
        let found = match &self.pointer {
            None => self.plain(text),
            Some(pointer) => {
                let whole: Value = serde_json::from_str(text)
                    .map_err(|error| format!("{} is not JSON: {error}", shown(text)))?;
                let found = whole.pointer(pointer).cloned();
                found.ok_or_else(|| format!("there is nothing at {pointer}"))?
            }
        };
        if self.is_one(&found) {
            return Ok(found);
        }
        let shown = shown(&found.as_str().map_or_else(|| found.to_string(), str::to_owned));
        Err(format!("{shown} is not of the type {}", self.kind.name()))
    }

    /// Text as a value: text stays that, everything else is written as in JSON.
    fn plain(&self, text: &str) -> Value {
        match self.kind {
            Kind::String => Value::String(text.to_owned()),
            Kind::Integer | Kind::Number | Kind::Boolean | Kind::Json => {
                serde_json::from_str(text.trim()).unwrap_or_else(|_| Value::String(text.to_owned()))
            }
        }
    }

    fn is_one(&self, value: &Value) -> bool {
        match self.kind {
            Kind::String => value.is_string(),
            Kind::Integer => value.is_i64() || value.is_u64(),
            Kind::Number => value.is_number(),
            Kind::Boolean => value.is_boolean(),
            // Text that was no JSON is a string here: JSON has its strings in quotes.
            Kind::Json => self.pointer.is_some() || !value.is_string(),
        }
    }
}

fn shown(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= SHOWN {
        return format!("`{line}`");
    }
    format!("`{}…`", line.chars().take(SHOWN).collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(kind: Kind, pointer: Option<&str>, text: &str) -> Result<Value, String> {
        Output { kind, from: None, pointer: pointer.map(str::to_owned) }.value(text)
    }

    #[test]
    fn a_value_is_of_the_type_that_was_declared() {
        assert_eq!(value(Kind::String, None, "1.2.3\n"), Ok(json!("1.2.3")));
        assert_eq!(value(Kind::String, None, ""), Ok(json!("")));
        assert_eq!(value(Kind::Integer, None, " 42\n"), Ok(json!(42)));
        assert_eq!(value(Kind::Number, None, "4.5"), Ok(json!(4.5)));
        assert_eq!(value(Kind::Boolean, None, "true\r\n"), Ok(json!(true)));
        assert_eq!(value(Kind::Json, None, "[1, \"a\"]"), Ok(json!([1, "a"])));
        let deep = "{\"a/b\": {\"count\": 3, \"names\": [\"x\"]}}";
        assert_eq!(value(Kind::Integer, Some("/a~1b/count"), deep), Ok(json!(3)));
        assert_eq!(value(Kind::String, Some("/a~1b/names/0"), deep), Ok(json!("x")));
        assert_eq!(value(Kind::Json, Some(""), "\"x\""), Ok(json!("x")));
    }

    #[test]
    fn what_is_of_another_type_is_refused_with_what_it_is() {
        let refused = |kind, pointer, text: &str| value(kind, pointer, text).expect_err("refused");
        assert_eq!(refused(Kind::Integer, None, "4.5"), "`4.5` is not of the type integer");
        assert_eq!(refused(Kind::Integer, None, "many"), "`many` is not of the type integer");
        assert_eq!(refused(Kind::Boolean, None, "yes"), "`yes` is not of the type boolean");
        assert_eq!(refused(Kind::Json, None, "{"), "`{` is not of the type json");
        assert_eq!(
            refused(Kind::String, Some("/a"), "{\"a\": 1}"),
            "`1` is not of the type string"
        );
        assert_eq!(refused(Kind::Json, Some("/b"), "{}"), "there is nothing at /b");
        assert!(refused(Kind::Json, Some("/b"), "no").starts_with("`no` is not JSON: "));
        let long = refused(Kind::Integer, None, &"x".repeat(200));
        assert_eq!(long, format!("`{}…` is not of the type integer", "x".repeat(80)));
    }
}
