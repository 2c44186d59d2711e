//! Patterns of names and paths: `*` within a part, `**` over parts, `?`, `[ab]`, `{a,b}`.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A pattern. Two are equal if their texts are.
#[derive(Clone)]
pub struct Glob {
    text: String,
    matcher: GlobMatcher,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > 1_024 {
            return Err("it is empty, or longer than 1024 bytes".to_owned());
        }
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
        let glob = glob.map_err(|error| error.kind().to_string())?;
        Ok(Self { text: text.to_owned(), matcher: glob.compile_matcher() })
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a name or path fits it, as a whole.
    pub fn fits(&self, name: &str) -> bool {
        self.matcher.is_match(name)
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Glob({:?})", self.text)
    }
}

impl Serialize for Glob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_part_and_two_go_over_parts() {
        let fits = |glob: &str, name: &str| Glob::parse(glob).expect("a pattern").fits(name);
        assert!(fits("release/*", "release/1") && !fits("release/*", "release/1/a"));
        assert!(fits("src/**/*.rs", "src/a/b.rs") && fits("src/**/*.rs", "src/b.rs"));
        assert!(fits("{main,dev}", "dev") && fits("v[0-9]*", "v1.2"));
        assert!(!fits("main", "main2"));
        assert!(Glob::parse("a[").is_err() && Glob::parse("").is_err());
    }
}
