//! Labels: words that say what a runner is or has, and what a job needs of one. A runner takes a job if
//! it has all of the job's labels.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};

/// The most bytes of a label.
pub const LONGEST: usize = 63;
/// The most labels of one runner or job.
pub const MOST: usize = 32;

/// A set of labels. Each has 1 to [`LONGEST`] bytes of `a-z`, `0-9`, `.`, `_`, `=`, `/` and `-`, and
/// begins with a letter or digit; there are at most [`MOST`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Labels(BTreeSet<String>);

/// Words that are no labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabels {
    /// One of them.
    #[error(
        "`{0}` is not a label: it has 1 to {LONGEST} of a-z, 0-9, `.`, `_`, `=`, `/`, `-` and begins with a letter or digit"
    )]
    Word(String),
    /// All of them.
    #[error("there are {0} labels; at most {MOST} are allowed")]
    TooMany(usize),
}

impl Labels {
    /// Checks words.
    ///
    /// # Errors
    /// The first word that is no label, or their number.
    pub fn new<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Result<Self, InvalidLabels> {
        let words: BTreeSet<String> = words.into_iter().map(Into::into).collect();
        if let Some(word) = words.iter().find(|word| !is_label(word)) {
            return Err(InvalidLabels::Word(word.chars().take(100).collect()));
        }
        match words.len() {
            0..=MOST => Ok(Self(words)),
            n => Err(InvalidLabels::TooMany(n)),
        }
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if all of these are among the others.
    pub fn are_all_in(&self, others: &Self) -> bool {
        self.0.is_subset(&others.0)
    }

    /// In alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// These and others; of more than [`MOST`], the first in alphabetical order.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self(self.0.union(&others.0).take(MOST).cloned().collect())
    }
}

fn is_label(word: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let may_follow = |byte: u8| is_good(byte) || b"._=/-".contains(&byte);
    word.len() <= LONGEST
        && word.bytes().next().is_some_and(is_good)
        && word.bytes().all(may_follow)
}

/// Separated by commas, in alphabetical order: the same set is always the same text.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, label) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            f.write_str(label)?;
        }
        Ok(())
    }
}

impl FromStr for Labels {
    type Err = InvalidLabels;

    fn from_str(text: &str) -> Result<Self, InvalidLabels> {
        match text {
            "" => Ok(Self::default()),
            text => Self::new(text.split(',')),
        }
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::<String>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        text.parse().expect("labels")
    }

    #[test]
    fn a_set_has_one_text() {
        assert_eq!(labels("gpu,arch=arm64,gpu").to_string(), "arch=arm64,gpu");
        assert_eq!(labels("").to_string(), "");
        let json = serde_json::to_string(&labels("b,a")).expect("JSON");
        assert_eq!(json, r#"["a","b"]"#);
        assert_eq!(serde_json::from_str::<Labels>(&json).expect("labels"), labels("a,b"));
    }

    #[test]
    fn a_runner_needs_all_of_a_jobs_labels() {
        assert!(labels("").are_all_in(&labels("")));
        assert!(labels("gpu").are_all_in(&labels("gpu,big")));
        assert!(!labels("gpu,big").are_all_in(&labels("gpu")));
    }

    #[test]
    fn what_is_no_label_is_refused_in_words() {
        for word in ["", "GPU", "-x", "a b", "a,b", "naïve", &"a".repeat(64)] {
            let refused = Labels::new([word]).expect_err("refused");
            assert_eq!(refused, InvalidLabels::Word(word.to_owned()));
        }
        let many: Vec<String> = (0..33).map(|n| n.to_string()).collect();
        assert_eq!(Labels::new(many), Err(InvalidLabels::TooMany(33)));
        assert!(serde_json::from_str::<Labels>(r#"["no label"]"#).is_err());
    }
}
