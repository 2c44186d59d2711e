//! A text as a tree in which every value knows its place. JSON with comments and YAML become the same
//! tree, so that one set of readers serves both. Nothing here knows what a Dev Container is.

mod inside;
mod jsonc;
mod yaml;

use std::borrow::Cow;

use serde::{Serialize, ser::SerializeMap};

use crate::place::Place;

pub use inside::inside;
pub use jsonc::parse as parse_jsonc;
pub use yaml::parse as parse_yaml;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where the value begins.
    pub place: Place,
    /// The value.
    pub value: Value,
}

/// What JSON can say.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as exact as it was written.
    Number(serde_json::Number),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// An object, in the order in which it was written; each key once, the last value wins.
    Object(Vec<Member>),
}

/// A key of an object and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// A value at a place.
    pub fn new(place: &Place, value: Value) -> Self {
        Self { place: place.clone(), value }
    }

    /// The value of a key, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.members().iter().find(|member| member.key == key).map(|member| &member.node)
    }

    /// The members of an object; none for anything else.
    pub fn members(&self) -> &[Member] {
        match &self.value {
            Value::Object(members) => members,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                &[]
            }
        }
    }

    /// The elements of a list, if it is one.
    pub fn list(&self) -> Option<&[Node]> {
        if let Value::List(nodes) = &self.value { Some(nodes) } else { None }
    }

    /// The text of a string, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// True if it is an object.
    pub fn is_object(&self) -> bool {
        matches!(self.value, Value::Object(_))
    }

    /// What kind of value it is, for a message.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    /// Sets a key of an object; appends it if it is new. Does nothing to anything else.
    pub fn set(&mut self, key: &str, node: Node) {
        if let Value::Object(members) = &mut self.value {
            match members.iter_mut().find(|member| member.key == key) {
                Some(member) => member.node = node,
                None => {
                    members.push(Member { key: key.to_owned(), place: node.place.clone(), node });
                }
            }
        }
    }

    /// Takes a key out of an object.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let Value::Object(members) = &mut self.value else { return None };
        let at = members.iter().position(|member| member.key == key)?;
        Some(members.remove(at).node)
    }

    /// Replaces every string in it, keys excepted.
    ///
    /// # Errors
    /// The first that `replace` reports.
    pub fn map_text<E>(
        &self,
        replace: &mut dyn FnMut(&Place, &str) -> Result<String, E>,
    ) -> Result<Node, E> {
        let value = match &self.value {
            Value::Null | Value::Bool(_) | Value::Number(_) => self.value.clone(),
            Value::Text(text) => Value::Text(replace(&self.place, text)?),
            Value::List(nodes) => Value::List(
                nodes.iter().map(|node| node.map_text(replace)).collect::<Result<_, E>>()?,
            ),
            Value::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|member| {
                        Ok(Member {
                            key: member.key.clone(),
                            place: member.place.clone(),
                            node: member.node.map_text(replace)?,
                        })
                    })
                    .collect::<Result<_, E>>()?,
            ),
        };
        Ok(Node { place: self.place.clone(), value })
    }

    /// The value without its places.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(truth) => (*truth).into(),
            Value::Number(number) => number.clone().into(),
            Value::Text(text) => text.clone().into(),
            Value::List(nodes) => nodes.iter().map(Node::to_json).collect(),
            Value::Object(members) => members
                .iter()
                .map(|member| (member.key.clone(), member.node.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// A value that has no text of its own, such as a label's: all of it stands at one place.
    pub fn from_json(place: &Place, json: &serde_json::Value) -> Self {
        let value = match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(truth) => Value::Bool(*truth),
            serde_json::Value::Number(number) => Value::Number(number.clone()),
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(values) => {
                Value::List(values.iter().map(|value| Self::from_json(place, value)).collect())
            }
            serde_json::Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| Member {
                        key: key.clone(),
                        place: place.clone(),
                        node: Self::from_json(place, value),
                    })
                    .collect(),
            ),
        };
        Self::new(place, value)
    }

    /// A scalar as text, the way that a shell or a Dockerfile sees it; `None` for null, lists, objects.
    pub fn scalar(&self) -> Option<Cow<'_, str>> {
        match &self.value {
            Value::Bool(truth) => Some(truth.to_string().into()),
            Value::Number(number) => Some(number.to_string().into()),
            Value::Text(text) => Some(text.into()),
            Value::Null | Value::List(_) | Value::Object(_) => None,
        }
    }
}

impl Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::Number(number) => number.serialize(serializer),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(nodes) => serializer.collect_seq(nodes),
            Value::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for member in members {
                    map.serialize_entry(&member.key, &member.node)?;
                }
                map.end()
            }
        }
    }
}
