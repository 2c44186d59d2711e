//! Words, quotes and variables, as a Dockerfile understands them.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::place::{Finding, Place};

use super::refusal;

/// What variables mean at one place.
pub(super) struct Expansion<'a> {
    pub(super) place: &'a Place,
    /// `ENV`, which hides an `ARG` of the same name.
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) arguments: &'a IndexMap<String, String>,
}

impl Expansion<'_> {
    /// Replaces variables and takes quotes away.
    pub(super) fn word(&self, text: &str) -> Result<String, Finding> {
        let mut word = Word { rest: text, expansion: self };
        word.all().map_err(|what| refusal(self.place.clone(), what))
    }

    /// The same for the values of `NAME=value` pairs.
    pub(super) fn pairs(
        &self,
        pairs: &[(String, String)],
    ) -> Result<Vec<(String, String)>, Finding> {
        pairs.iter().map(|(name, value)| Ok((self.word(name)?, self.word(value)?))).collect()
    }

    fn value(&self, name: &str) -> Option<&str> {
        let value = self.environment.get(name).or_else(|| self.arguments.get(name));
        value.map(String::as_str)
    }
}

struct Word<'a, 'e> {
    rest: &'a str,
    expansion: &'e Expansion<'e>,
}

impl Word<'_, '_> {
    fn all(&mut self) -> Result<String, String> {
        let mut word = String::new();
        while let Some(c) = self.next() {
            match c {
                '\'' => {
                    let Some(end) = self.rest.find('\'') else {
                        return Err("a ' is never closed".to_owned());
                    };
                    word.push_str(&self.rest[..end]);
                    self.rest = &self.rest[end + 1..];
                }
                '"' => self.quoted(&mut word)?,
                '\\' => word.extend(self.next()),
                '$' => word.push_str(&self.variable()?),
                c => word.push(c),
            }
        }
        Ok(word)
    }

    fn quoted(&mut self, word: &mut String) -> Result<(), String> {
        while let Some(c) = self.next() {
            match c {
                '"' => return Ok(()),
                '\\' => match self.next() {
                    Some(c @ ('"' | '\\' | '$')) => word.push(c),
                    Some(c) => word.extend(['\\', c]),
                    None => word.push('\\'),
                },
                '$' => word.push_str(&self.variable()?),
                c => word.push(c),
            }
        }
        Err("a \" is never closed".to_owned())
    }

    /// After a `$`.
    fn variable(&mut self) -> Result<String, String> {
        if let Some(inner) = self.rest.strip_prefix('{') {
            let end = closing(inner).ok_or("a ${ is never closed")?;
            self.rest = &inner[end + 1..];
            return self.braced(&inner[..end]);
        }
        let length = name_length(self.rest);
        if length == 0 {
            return Ok("$".to_owned());
        }
        let (name, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(self.expansion.value(name).unwrap_or("").to_owned())
    }

    fn braced(&self, inner: &str) -> Result<String, String> {
        let (name, rest) = inner.split_at(name_length(inner));
        let value = self.expansion.value(name);
        let (colon, operator) = match rest.strip_prefix(':') {
            Some(operator) => (true, operator),
            None => (false, rest),
        };
        let is_set = value.is_some_and(|value| !colon || !value.is_empty());
        let word = |text: &str| Word { rest: text, expansion: self.expansion }.all();
        match (name, operator.chars().next()) {
            ("", _) => Err(format!("`${{{inner}}}` is no variable")),
            (_, None) if !colon => Ok(value.unwrap_or("").to_owned()),
            (_, Some('-')) if is_set => Ok(value.unwrap_or("").to_owned()),
            (_, Some('-')) => word(&operator[1..]),
            (_, Some('+')) if is_set => word(&operator[1..]),
            (_, Some('+')) => Ok(String::new()),
            (_, Some('?')) if is_set => Ok(value.unwrap_or("").to_owned()),
            (name, Some('?')) => {
                Err(format!("the variable `{name}` isn't set: {}", &operator[1..]))
            }
            _ => Err(format!("`${{{inner}}}` is more than a build without an engine understands")),
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
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
    let is_in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.find(|c| !is_in_name(c)).unwrap_or(text.len())
}

/// Splits at blanks outside of quotes; quotes and escapes stay.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                word.push(c);
                word.extend(chars.next());
            }
            (c, Some(open)) => {
                word.push(c);
                if c == open {
                    quote = None;
                }
            }
            ('\'' | '"', None) => {
                word.push(c);
                quote = Some(c);
            }
            (c, None) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (c, None) => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Reads `NAME=value NAME=value`, or the older `NAME everything that follows`.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    let words = split(text);
    let is_old = words.first().is_some_and(|word| !word.contains('='));
    if is_old {
        let text = text.trim();
        let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        return vec![(name.to_owned(), value.trim_start().to_owned())];
    }
    let pair = |word: &String| {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        (name.to_owned(), value.to_owned())
    };
    words.iter().map(pair).collect()
}
