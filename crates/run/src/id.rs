//! Typed ids. An id is made by the application from a time and 80 random bits that the caller
//! brings (this crate has neither), sorts by creation, and reads `job_01kb2m9d5xq8s0v3c7w1r4t6ya`:
//! a prefix that names its kind, then 26 characters of Crockford's base 32 in lower case
//! (the layout of ULID, <https://github.com/ulid/spec>).

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use crate::Time;

/// A text that is not an id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} id: {why}")]
pub struct InvalidId {
    kind: &'static str,
    text: String,
    why: String,
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// How many bytes an id has: three letters, `_`, 26 digits.
const LENGTH: usize = 30;

fn encode(prefix: [u8; 3], now: Time, random: u128) -> [u8; LENGTH] {
    let milliseconds = u128::try_from(now.as_micros().max(0) / 1000).unwrap_or(0);
    let bits = (milliseconds & ((1 << 48) - 1)) << 80 | (random & ((1 << 80) - 1));
    let mut text = [b'_'; LENGTH];
    text[..3].copy_from_slice(&prefix);
    for (i, byte) in text[4..].iter_mut().enumerate() {
        let digit = usize::try_from(bits >> ((25 - i) * 5) & 31).unwrap_or(0);
        *byte = ALPHABET[digit];
    }
    text
}

fn check(kind: &'static str, prefix: [u8; 3], text: &str) -> Result<[u8; LENGTH], InvalidId> {
    let refuse =
        |why: &str| InvalidId { kind, text: text.chars().take(64).collect(), why: why.to_owned() };
    let body = text.as_bytes().strip_prefix(&prefix).and_then(|rest| rest.strip_prefix(b"_"));
    let body = body.ok_or_else(|| {
        let prefix = String::from_utf8_lossy(&prefix);
        refuse(&format!("it does not begin with `{prefix}_`"))
    })?;
    if body.len() != 26 {
        return Err(refuse("26 characters must follow its prefix"));
    }
    if !body.iter().all(|byte| ALPHABET.contains(byte)) {
        return Err(refuse("only 0-9 and a-z without i, l, o and u may follow its prefix"));
    }
    text.as_bytes().try_into().map_err(|_| refuse("it is too long"))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; LENGTH]);

        impl $name {
            /// Makes a fresh id from the time and at least 80 random bits.
            pub fn new(now: Time, random: u128) -> Self {
                Self(encode(*$prefix, now, random))
            }

            /// Reads an id.
            ///
            /// # Errors
            /// [`InvalidId`] if the text has another prefix, length or alphabet.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                check(stringify!($name), *$prefix, text).map(Self)
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).unwrap_or_default()
            }

            /// The last eight characters: what a page shows where the whole id is a click away.
            pub fn short(&self) -> &str {
                &self.as_str()[LENGTH - 8..]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// An organisation: the tenant that every row belongs to.
    OrganisationId = b"org";
    /// A local user.
    UserId = b"usr";
    /// A service token.
    TokenId = b"tok";
    /// A project: a repository with its settings.
    ProjectId = b"prj";
    /// A run: one firing of an automation, or a one-off task.
    RunId = b"run";
    /// A job: a run's work on one target.
    JobId = b"job";
    /// A runner process, from its registration until it is gone.
    RunnerId = b"rnr";
    /// An environment.
    EnvironmentId = b"env";
    /// A secret or variable that jobs may be given.
    SecretId = b"sec";
    /// Something that happened.
    EventId = b"evt";
    /// A place at which a webhook is received.
    HookId = b"hok";
    /// An automation, in all its versions.
    AutomationId = b"aut";
}

/// The name of a step within its job: a letter, then letters, digits, `-` or `_`; at most 64 bytes. With
/// rounds and the blocks around it behind dots it names one instance of a step: `fix.2`, `move.3.fix`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// Reads a step's name.
    ///
    /// # Errors
    /// [`InvalidId`] if it has another shape.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let part = |part: &str| {
            let clean = part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            clean && !part.is_empty() && part.len() <= 64
        };
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        if first && text.len() <= crate::spec::LONGEST_ID && text.split('.').all(part) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidId {
            kind: "step",
            text: text.chars().take(64).collect(),
            why: "a letter, then letters, digits, `-` or `_`, at most 64 in all".to_owned(),
        })
    }

    /// The name of an instance of the step: behind the instance of the block that it belongs to, and
    /// before its rounds.
    pub(crate) fn instance(block: Option<&Self>, step: &Self, rounds: &[usize]) -> Self {
        let mut text = block.map_or_else(String::new, |block| format!("{block}."));
        text.push_str(&step.0);
        for round in rounds {
            text.push_str(&format!(".{round}"));
        }
        Self(text)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StepId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// What makes an effect the same effect: job, step, kind and a digest of its content. An effect with
/// a key that was executed is never executed again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EffectKey(String);

impl EffectKey {
    /// The key of an effect of this job and step. `digest` is of the effect's own content.
    pub fn new(job_id: &JobId, step_id: &StepId, kind: &str, digest: &str) -> Self {
        Self(format!("{job_id}/{step_id}/{kind}/{digest}"))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl EventId {
    /// The id of an event that something else stands for, by that one's id and a word for the event: made
    /// twice, it is the same one.
    pub fn of(id: &str, what: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(id);
        hash.update([0]);
        hash.update(what);
        let digest = hash.finalize();
        let random =
            digest.iter().take(10).fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        let at = digits(&id[id.len().saturating_sub(26)..]);
        Self::new(Time::from_micros(at.saturating_mul(1_000)), random)
    }
}

/// The milliseconds that the 26 digits of an id begin with; 0 if it is none.
fn digits(text: &str) -> i64 {
    let value = |byte: u8| ALPHABET.iter().position(|digit| *digit == byte).unwrap_or(0);
    let bits = text.bytes().fold(0_u128, |bits, byte| bits << 5 | value(byte) as u128);
    i64::try_from(bits >> 80 & ((1 << 48) - 1)).unwrap_or(0)
}

impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_survive_a_round_trip() {
        let early = JobId::new(Time::from_micros(1_000_000), u128::MAX);
        let late = JobId::new(Time::from_micros(2_000_000), 0);
        assert!(early < late);
        assert_eq!(JobId::parse(early.as_str()), Ok(early));
    }

    #[test]
    fn an_id_of_another_kind_is_refused_with_the_reason() {
        let run_id = RunId::new(Time::from_micros(5), 7);
        let refusal = JobId::parse(run_id.as_str()).expect_err("a run id is not a job id");
        assert!(refusal.to_string().ends_with("it does not begin with `job_`"), "{refusal}");
    }
}
