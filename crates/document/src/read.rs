//! Reads typed values out of a located tree and says what is wrong with it: each wrong type with its
//! place, each unknown key with the nearest known one.

use indexmap::IndexMap;

use crate::{
    place::{Findings, Place},
    tree::{Node, Value},
};

/// The members of one object while they are read.
pub struct Fields<'a, 'f> {
    node: &'a Node,
    known: Vec<&'static str>,
    /// What was found so far.
    pub findings: &'f mut Findings,
}

impl<'a, 'f> Fields<'a, 'f> {
    /// Opens an object; anything else is refused.
    pub fn open(node: &'a Node, name: &str, findings: &'f mut Findings) -> Option<Self> {
        if node.is_object() {
            return Some(Self { node, known: Vec::new(), findings });
        }
        wrong_type(node, name, "an object", findings);
        None
    }

    /// The value of a key, which is known from now on; `null` counts as absent.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.node.get(key).filter(|node| node.value != Value::Null)
    }

    /// A value that `read` understands, or else complains of.
    pub fn read<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Node, &str, &mut Findings) -> Option<T>,
    ) -> Option<T> {
        let node = self.get(key)?;
        read(node, key, self.findings)
    }

    /// A string.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.read(key, text)
    }

    /// `true` or `false`.
    pub fn truth(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, truth)
    }

    /// A list of strings; empty if absent.
    pub fn texts(&mut self, key: &'static str) -> Vec<String> {
        self.read(key, texts).unwrap_or_default()
    }

    /// One string or a list of them; empty if absent.
    pub fn text_or_texts(&mut self, key: &'static str) -> Vec<String> {
        self.read(key, |node, name, findings| match node.text() {
            Some(text) => Some(vec![text.to_owned()]),
            None if node.list().is_some() => texts(node, name, findings),
            None => {
                wrong_type(node, name, "a string or a list of strings", findings);
                None
            }
        })
        .unwrap_or_default()
    }

    /// An object of strings; empty if absent.
    pub fn text_map(&mut self, key: &'static str) -> IndexMap<String, String> {
        self.read(key, |node, name, findings| map(node, name, findings, text)).unwrap_or_default()
    }

    /// One of a few words.
    /// Says that the object as a whole can't be taken.
    pub fn refuse(&mut self, what: impl Into<String>) {
        self.findings.refuse(&self.node.place, what);
    }

    /// One of a few words.
    pub fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.read(key, |node, name, findings| word(node, name, findings, words))
    }

    /// Warns of every key that nothing asked for.
    pub fn finish(self) {
        for member in self.node.members() {
            if !self.known.contains(&member.key.as_str()) {
                let hint = nearest_hint(&member.key, &self.known);
                self.findings
                    .warn(&member.place, format!("`{}` is unknown and ignored{hint}", member.key));
            }
        }
    }

    /// As [`Self::finish`], but nothing may be unknown, except what is `excepted`.
    pub fn finish_strictly(self, meaning: &str, excepted: &[&str]) {
        for member in self.node.members() {
            let key = member.key.as_str();
            if !self.known.contains(&key) && !excepted.contains(&key) {
                let hint = nearest_hint(&member.key, &self.known);
                self.findings.refuse(&member.place, format!("`{}` {meaning}{hint}", member.key));
            }
        }
    }
}

/// Says that a value is of the wrong kind.
pub fn wrong_type(node: &Node, name: &str, wanted: &str, findings: &mut Findings) {
    findings.refuse(&node.place, format!("`{name}` must be {wanted}, it is {}", node.kind()));
}

/// A string.
pub fn text(node: &Node, name: &str, findings: &mut Findings) -> Option<String> {
    let text = node.text();
    if text.is_none() {
        wrong_type(node, name, "a string", findings);
    }
    text.map(str::to_owned)
}

/// `true` or `false`.
pub fn truth(node: &Node, name: &str, findings: &mut Findings) -> Option<bool> {
    if let Value::Bool(truth) = node.value {
        return Some(truth);
    }
    wrong_type(node, name, "true or false", findings);
    None
}

/// A whole number from 0; `4.0` is one too.
pub fn whole(node: &Node, name: &str, findings: &mut Findings) -> Option<u64> {
    if let Value::Number(number) = &node.value {
        if let Some(whole) = number.as_u64() {
            return Some(whole);
        }
        // Floats up to 2^53 hold whole numbers exactly.
        if let Some(float) = number.as_f64()
            && (0.0..=9_007_199_254_740_992.0).contains(&float)
            && float.fract() == 0.0
        {
            #[expect(clippy::cast_possible_truncation, reason = "whole and within range")]
            #[expect(clippy::cast_sign_loss, reason = "not negative")]
            return Some(float as u64);
        }
        findings
            .refuse(&node.place, format!("`{name}` must be a whole number from 0, it is {number}"));
        return None;
    }
    wrong_type(node, name, "a number", findings);
    None
}

/// A list of strings.
pub fn texts(node: &Node, name: &str, findings: &mut Findings) -> Option<Vec<String>> {
    list(node, name, findings, text)
}

/// A list whose elements `read` understands.
pub fn list<T>(
    node: &Node,
    name: &str,
    findings: &mut Findings,
    mut read: impl FnMut(&Node, &str, &mut Findings) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(nodes) = node.list() else {
        wrong_type(node, name, "a list", findings);
        return None;
    };
    let mut values = Vec::with_capacity(nodes.len());
    for (i, node) in nodes.iter().enumerate() {
        values.extend(read(node, &format!("{name}[{i}]"), findings));
    }
    Some(values)
}

/// An object whose values `read` understands, in its order.
pub fn map<T>(
    node: &Node,
    name: &str,
    findings: &mut Findings,
    mut read: impl FnMut(&Node, &str, &mut Findings) -> Option<T>,
) -> Option<IndexMap<String, T>> {
    if !node.is_object() {
        wrong_type(node, name, "an object", findings);
        return None;
    }
    let mut values = IndexMap::with_capacity(node.members().len());
    for member in node.members() {
        if let Some(value) = read(&member.node, &format!("{name}.{}", member.key), findings) {
            values.insert(member.key.clone(), value);
        }
    }
    Some(values)
}

/// One of a few words.
pub fn word<T: Copy>(
    node: &Node,
    name: &str,
    findings: &mut Findings,
    words: &[(&str, T)],
) -> Option<T> {
    let text = text(node, name, findings)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    findings.refuse(
        &node.place,
        format!("`{name}` can't be `{text}`: it is one of {}", known.join(", ")),
    );
    None
}

/// `: did you mean ...?` if one of them is near enough to be a slip of the finger.
pub fn nearest_hint(key: &str, known: &[&str]) -> String {
    let lower = key.to_lowercase();
    let near = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .min_by_key(|(distance, _)| *distance);
    match near {
        Some((distance, name)) if distance <= 1 + key.chars().count() / 4 => {
            format!(": did you mean `{name}`?")
        }
        _ => String::new(),
    }
}

/// The place of a key's value, or else of the object.
pub fn place_of<'a>(node: &'a Node, key: &str) -> &'a Place {
    node.get(key).map_or(&node.place, |node| &node.place)
}
