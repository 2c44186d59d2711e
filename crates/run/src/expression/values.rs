//! Values between JSON and CEL. Whole numbers become CEL's `int` wherever they fit, so that they go
//! together with those that are written in an expression.

use std::{collections::HashMap, sync::Arc};

use cel::{
    common::ast::{Expr, IdedExpr, LiteralValue},
    objects::{Key, Map, Value as Cel},
};
use serde_json::{Number, Value};

pub(super) fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(truth) => Cel::Bool(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Cel::Int(whole),
            (None, Some(whole)) => Cel::UInt(whole),
            (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(values) => Cel::List(Arc::new(values.iter().map(to_cel).collect())),
        Value::Object(members) => {
            let map: HashMap<Key, Cel> =
                members.iter().map(|(key, value)| (key.clone().into(), to_cel(value))).collect();
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

/// The value as JSON; the keys of maps are sorted, so that the same expression always gives the same
/// text.
pub(super) fn from_cel(value: &Cel) -> Result<Value, String> {
    Ok(match value {
        Cel::Null => Value::Null,
        Cel::Bool(truth) => Value::Bool(*truth),
        Cel::Int(whole) => (*whole).into(),
        Cel::UInt(whole) => (*whole).into(),
        Cel::Float(float) => match Number::from_f64(*float) {
            Some(number) => Value::Number(number),
            None => return Err("it is infinite, or no number".to_owned()),
        },
        Cel::String(text) => Value::String(text.as_str().to_owned()),
        Cel::List(values) => Value::Array(values.iter().map(from_cel).collect::<Result<_, _>>()?),
        Cel::Map(map) => {
            let mut members: Vec<(String, &Cel)> =
                map.map.iter().map(|(key, value)| (key.to_string(), value)).collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            let members = members.into_iter().map(|(key, value)| Ok((key, from_cel(value)?)));
            Value::Object(members.collect::<Result<_, String>>()?)
        }
        _ => return Err("it is of a kind that JSON does not have".to_owned()),
    })
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// The text of a string literal that stands as an index.
pub(super) fn literal_key(at: &IdedExpr) -> Option<String> {
    match &at.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
        _ => None,
    }
}
