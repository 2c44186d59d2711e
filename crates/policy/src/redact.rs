//! Redaction by value: known secrets are replaced wherever they appear in a stream of bytes, also in
//! the usual encodings, and also when a secret is cut by the border between two chunks.
//!
//! What it finds: the value itself; base64 (standard and URL alphabets, at each of the three
//! alignments inside a longer text); hexadecimal in either case; percent-encoding (strict and form
//! style, in either case); JSON string escapes; line ends written as CRLF; and each line of at least
//! [`MIN_LINE`] bytes of a value with several lines. What it cannot find: a value that was
//! encrypted, compressed, reversed or split by other text. Redaction is the last net, not the first:
//! secrets should not be where they can be printed.

use std::{collections::BTreeMap, fmt};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// The shortest secret, in bytes, that can be redacted by value: a shorter one would be found by
/// chance in ordinary text, and its absence would then tell what it is.
pub const MIN_SECRET: usize = 8;

/// The shortest single line, in bytes, of a secret of several lines that is redacted on its own.
pub const MIN_LINE: usize = 16;

/// A secret that cannot be redacted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the secret `{name}` has {length} bytes; it takes at least {MIN_SECRET} to be redacted from logs"
)]
pub struct TooShort {
    /// The secret's name, never its value.
    pub name: String,
    /// How long the value is, in bytes.
    pub length: usize,
}

/// Finds and replaces a set of secrets. Cheap to clone; `Debug` prints no value.
#[derive(Clone)]
pub struct Redactor {
    /// `None` when there is no secret.
    search: Option<Search>,
}

#[derive(Clone)]
struct Search {
    automaton: AhoCorasick,
    /// Every form in byte order, to tell whether some bytes begin one.
    sorted: std::sync::Arc<Vec<Vec<u8>>>,
    /// What replaces each form, by the automaton's pattern index.
    replacements: std::sync::Arc<Vec<Vec<u8>>>,
    longest: usize,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forms = self.search.as_ref().map_or(0, |search| search.sorted.len());
        write!(formatter, "Redactor({forms} forms)")
    }
}

impl Redactor {
    /// A redactor that finds nothing.
    pub fn nothing() -> Self {
        Self { search: None }
    }

    /// Prepares a redactor for named secrets. Fails if one is shorter than [`MIN_SECRET`].
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, TooShort> {
        // The first name given to a form keeps it; a map drops doubles and gives byte order.
        let mut forms: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (name, value) in secrets {
            if value.len() < MIN_SECRET {
                return Err(TooShort { name: name.to_owned(), length: value.len() });
            }
            let replacement = format!("[redacted:{name}]").into_bytes();
            for form in forms_of(value) {
                forms.entry(form).or_insert_with(|| replacement.clone());
            }
        }
        if forms.is_empty() {
            return Ok(Self::nothing());
        }
        let longest = forms.keys().map(Vec::len).max().unwrap_or(0);
        let (sorted, replacements): (Vec<_>, Vec<_>) = forms.into_iter().unzip();
        let automaton =
            AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&sorted).expect(
                "the forms of secrets are far below the automaton's limit of two billion states",
            );
        Ok(Self {
            search: Some(Search {
                automaton,
                sorted: sorted.into(),
                replacements: replacements.into(),
                longest,
            }),
        })
    }

    /// Replaces every secret in the bytes.
    pub fn redact(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        let mut output = stream.push(bytes);
        output.extend(stream.finish());
        output
    }

    /// Replaces every secret in the text.
    pub fn redact_text(&self, text: &str) -> String {
        // A form may begin or end inside a character only if the secret itself is not UTF-8.
        String::from_utf8(self.redact(text.as_bytes()))
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Starts redacting a stream. Clone the redactor for each stream of output.
    pub fn stream(&self) -> Stream {
        Stream { redactor: self.clone(), held: Vec::new() }
    }
}

/// Redacts one stream of bytes. Bytes that may be the beginning of a secret are held back until the
/// next ones tell; everything else passes at once.
#[derive(Debug)]
pub struct Stream {
    redactor: Redactor,
    held: Vec<u8>,
}

impl Stream {
    /// Takes the next bytes and returns those that may be shown.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Some(search) = &self.redactor.search else { return bytes.to_vec() };
        self.held.extend_from_slice(bytes);
        let open = search.first_open(&self.held);
        let (output, consumed) = search.replace(&self.held, open);
        self.held.drain(..consumed);
        output
    }

    /// Ends the stream and returns what was held back, redacted.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        match &self.redactor.search {
            None => held,
            Some(search) => search.replace(&held, held.len()).0,
        }
    }
}

impl Search {
    /// The first place from which the bytes up to the end may be the beginning of a longer form.
    /// Every match that starts before it is already as long as it can be.
    fn first_open(&self, bytes: &[u8]) -> usize {
        let earliest = bytes.len().saturating_sub(self.longest.saturating_sub(1));
        (earliest..bytes.len())
            .find(|&start| self.begins_a_form(&bytes[start..]))
            .unwrap_or(bytes.len())
    }

    fn begins_a_form(&self, bytes: &[u8]) -> bool {
        // Forms with this prefix are neighbours, after the prefix itself in byte order.
        let after = self.sorted.partition_point(|form| form.as_slice() <= bytes);
        self.sorted.get(after).is_some_and(|form| form.starts_with(bytes))
    }

    /// Replaces every match that starts before `limit`; returns the output and how many bytes of the
    /// input it stands for.
    fn replace(&self, bytes: &[u8], limit: usize) -> (Vec<u8>, usize) {
        let mut output = Vec::with_capacity(bytes.len());
        let mut position = 0;
        for found in self.automaton.find_iter(bytes) {
            if found.start() >= limit {
                break;
            }
            output.extend_from_slice(&bytes[position..found.start()]);
            output.extend_from_slice(&self.replacements[found.pattern().as_usize()]);
            position = found.end();
        }
        let end = position.max(limit);
        output.extend_from_slice(&bytes[position..end]);
        (output, end)
    }
}

/// All the spellings of one secret that are looked for, each at least [`MIN_SECRET`] bytes long.
fn forms_of(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for spelling in spellings(value) {
        forms.extend(base64_forms(&spelling));
        forms.push(hexadecimal(&spelling, false));
        forms.push(hexadecimal(&spelling, true));
        for upper in [false, true] {
            for plus in [false, true] {
                forms.push(percent_encoded(&spelling, upper, plus));
            }
        }
        forms.extend(json_escaped(&spelling));
        forms.push(spelling);
    }
    forms.retain(|form| form.len() >= MIN_SECRET);
    forms
}

/// The value, the value without the white space around it, with other line ends, and its long lines.
fn spellings(value: &[u8]) -> Vec<Vec<u8>> {
    let mut spellings = vec![value.to_vec()];
    let trimmed = value.trim_ascii();
    if trimmed.len() >= MIN_SECRET && trimmed != value {
        spellings.push(trimmed.to_vec());
    }
    if trimmed.contains(&b'\n') {
        let lines: Vec<&[u8]> = trimmed
            .split(|&byte| byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .collect();
        spellings.push(lines.join(b"\n".as_slice()));
        spellings.push(lines.join(b"\r\n".as_slice()));
        // The armour of a key is no secret, and is worth reading.
        let secret = |line: &&&[u8]| line.len() >= MIN_LINE && !line.starts_with(b"-----");
        spellings.extend(lines.iter().filter(secret).map(|line| line.to_vec()));
    }
    spellings.sort_unstable();
    spellings.dedup();
    spellings
}

/// What base64 makes of the value wherever it stands in a longer text: only characters that depend
/// on the value alone.
fn base64_forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for offset in 0..3 {
        let mut padded = vec![0; offset];
        padded.extend_from_slice(value);
        // A character carries six bits. Those touched by what stands before are dropped, and so is
        // a last one that is shared with what follows.
        let first = (offset * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded).into_bytes();
            forms.push(text[first..last].to_vec());
            if offset == 0 {
                forms.push(text);
            }
        }
    }
    forms
}

fn hexadecimal(value: &[u8], upper: bool) -> Vec<u8> {
    let text: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    if upper { text.to_ascii_uppercase().into_bytes() } else { text.into_bytes() }
}

fn percent_encoded(value: &[u8], upper: bool, plus: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len());
    for &byte in value {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => text.push(byte),
            // RFC 3986 leaves `~` alone and form encoding leaves `*` alone.
            b'~' if !plus => text.push(byte),
            b'*' if plus => text.push(byte),
            b' ' if plus => text.push(b'+'),
            _ if upper => text.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            _ => text.extend_from_slice(format!("%{byte:02x}").as_bytes()),
        }
    }
    text
}

/// The inside of the JSON string of a value that is text, with `/` plain and escaped.
fn json_escaped(value: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(value) else { return Vec::new() };
    let quoted = serde_json::Value::from(text).to_string();
    let inside = &quoted[1..quoted.len() - 1];
    vec![inside.as_bytes().to_vec(), inside.replace('/', "\\/").into_bytes()]
}

#[cfg(test)]
mod tests;
