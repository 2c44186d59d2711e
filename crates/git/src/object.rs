//! The names git gives to things: object ids, references, paths, people. Each is parsed once, at
//! the door, so that nothing odd ever reaches a command line. Paths are bytes, as git has them.

use std::fmt;

use crate::{Error, Result};

/// The id of an object: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(String);

impl Oid {
    /// Accepts exactly a full id. Abbreviations are refused: they may become ambiguous.
    pub fn parse(text: &str) -> Result<Self> {
        let full = text.len() == 40 || text.len() == 64;
        if full && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
            Ok(Oid(text.to_owned()))
        } else {
            Err(Error::invalid(
                text.escape_debug(),
                "is not a full object id (40 or 64 lower-case hexadecimal digits)",
            ))
        }
    }

    /// The hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the null id, by which git's protocol says "does not exist".
    pub fn is_null(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'0')
    }

    /// The first ten digits, for a person.
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Oid {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Oid::parse(text)
    }
}

/// The full name of a reference, such as `refs/heads/main`. Well formed by git's own rules.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(String);

impl RefName {
    /// Accepts a full name that begins with `refs/`.
    pub fn parse(text: &str) -> Result<Self> {
        if !text.starts_with("refs/") {
            return Err(Error::invalid(
                text.escape_debug(),
                "is not a full reference name (it must begin with refs/)",
            ));
        }
        match ref_name_fault(text) {
            None => Ok(RefName(text.to_owned())),
            Some(fault) => Err(Error::invalid(
                text.escape_debug(),
                format!("is not a valid reference name: {fault}"),
            )),
        }
    }

    /// The reference of a branch, from its short name.
    pub fn branch(short: &str) -> Result<Self> {
        if short.starts_with('-') || short == "HEAD" || short.is_empty() {
            return Err(Error::invalid(short.escape_debug(), "is not a valid branch name"));
        }
        RefName::parse(&format!("refs/heads/{short}"))
    }

    /// The hidden reference that holds the state of a job's work tree after a step.
    pub fn checkpoint(job: &str, step: &str) -> Result<Self> {
        RefName::parse(&format!("refs/windlass/{job}/{step}"))
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The branch's short name, if this is a branch.
    pub fn short_branch(&self) -> Option<&str> {
        self.0.strip_prefix("refs/heads/")
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with a reference name by the rules of `git check-ref-format`, if anything.
fn ref_name_fault(name: &str) -> Option<&'static str> {
    if name.len() > 1024 {
        return Some("it is too long");
    }
    if name.ends_with('/') || name.ends_with('.') {
        return Some("it may not end with a slash or a dot");
    }
    if name.contains("..") || name.contains("@{") || name.contains("//") {
        return Some("it may not contain `..`, `@{` or `//`");
    }
    if name
        .chars()
        .any(|c| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\'))
    {
        return Some("it may not contain spaces, control characters or any of ~ ^ : ? * [ \\");
    }
    if name.split('/').any(|part| part.starts_with('.') || part.ends_with(".lock")) {
        return Some("no part may begin with a dot or end with .lock");
    }
    None
}

/// A path inside a repository, as git's bytes: relative, with forward slashes, any bytes but NUL.
///
/// As text (`Display`, serde) a path that is UTF-8 stands as it is; any other, and one that begins
/// with a double quote, is written in double quotes with octal escapes, as git itself does. The
/// text form can be read back without loss.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(Vec<u8>);

impl RepoPath {
    /// Takes a path as git printed it.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        RepoPath(bytes.into())
    }

    /// Reads the text form back. Refuses absolute paths, `..`, NUL and malformed quoting.
    pub fn parse(text: &str) -> Result<Self> {
        let bytes = match text.strip_prefix('"') {
            None => text.as_bytes().to_vec(),
            Some(rest) => unquote(rest)
                .ok_or_else(|| Error::invalid(text.escape_debug(), "is a badly quoted path"))?,
        };
        let odd = bytes.is_empty()
            || bytes[0] == b'/'
            || bytes.contains(&0)
            || bytes.split(|&byte| byte == b'/').any(|part| part == b"..");
        if odd {
            return Err(Error::invalid(text.escape_debug(), "is not a path inside the repository"));
        }
        Ok(RepoPath(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// This path as a directory, and a path below it.
    pub fn join(&self, below: &RepoPath) -> RepoPath {
        RepoPath([&self.0[..], b"/", &below.0[..]].concat())
    }

    /// The path for the file system, relative to the work tree.
    pub fn to_os(&self) -> std::path::PathBuf {
        use std::os::unix::ffi::OsStrExt;
        std::path::PathBuf::from(std::ffi::OsStr::from_bytes(&self.0))
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.starts_with('"') => f.write_str(text),
            Ok(_) | Err(_) => {
                f.write_str("\"")?;
                for &byte in &self.0 {
                    match byte {
                        b'"' | b'\\' => write!(f, "\\{}", byte as char)?,
                        0x20..=0x7e => write!(f, "{}", byte as char)?,
                        _ => write!(f, "\\{byte:03o}")?,
                    }
                }
                f.write_str("\"")
            }
        }
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_string().escape_debug())
    }
}

impl serde::Serialize for RepoPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for RepoPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        RepoPath::parse(&text).map_err(serde::de::Error::custom)
    }
}

macro_rules! text_form {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                $name::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
text_form!(Oid);
text_form!(RefName);

fn unquote(rest: &str) -> Option<Vec<u8>> {
    let body = rest.strip_suffix('"')?.as_bytes();
    let mut bytes = Vec::with_capacity(body.len());
    let mut at = 0;
    while at < body.len() {
        match body[at] {
            b'\\' => {
                let next = *body.get(at + 1)?;
                if matches!(next, b'"' | b'\\') {
                    bytes.push(next);
                    at += 2;
                } else {
                    let digits = std::str::from_utf8(body.get(at + 1..at + 4)?).ok()?;
                    bytes.push(u8::from_str_radix(digits, 8).ok()?);
                    at += 4;
                }
            }
            b'"' => return None,
            byte => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    Some(bytes)
}

/// Who did something and when, as a commit records it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Signature {
    /// The person's or the platform's name.
    pub name: String,
    /// The mail address.
    pub email: String,
    /// When, in microseconds since the Unix epoch. Git keeps whole seconds.
    pub at: i64,
}

impl Signature {
    /// Checks what git would otherwise quietly strip or refuse.
    pub fn check(&self) -> Result<()> {
        let odd = |text: &str| text.chars().any(|c| c.is_control() || c == '<' || c == '>');
        if self.name.trim().is_empty() || odd(&self.name) {
            return Err(Error::invalid(
                self.name.escape_debug(),
                "is not usable as a committer's name",
            ));
        }
        if self.email.trim().is_empty() || odd(&self.email) {
            return Err(Error::invalid(
                self.email.escape_debug(),
                "is not usable as a committer's mail address",
            ));
        }
        Ok(())
    }

    /// The form that `GIT_AUTHOR_DATE` takes.
    pub(crate) fn date(&self) -> String {
        format!("@{} +0000", self.at.div_euclid(1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_git_would_refuse_are_refused_and_others_are_kept() {
        for good in [
            "refs/heads/main",
            "refs/heads/windlass/cve-1",
            "refs/heads/ünï",
            "refs/windlass/j1/s1",
            "refs/heads/-x",
        ] {
            assert_eq!(RefName::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "main",
            "HEAD",
            "refs/heads/",
            "refs/heads/a..b",
            "refs/heads/a b",
            "refs/heads/.a",
            "refs/heads/a.lock",
            "refs/heads/a.lock/b",
            "refs/heads/a@{1}",
            "refs//a",
            "refs/heads/a\nb",
            "refs/heads/a:b",
            "refs/heads/a.",
            "refs/heads/a\\b",
        ] {
            assert!(RefName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(RefName::branch("--upload-pack=x").is_err());
        assert!(Oid::parse("HEAD").is_err());
        assert!(Oid::parse(&"A".repeat(40)).is_err());
    }

    #[test]
    fn a_path_of_any_bytes_survives_its_text_form() {
        for bytes in [
            &b"src/lib.rs"[..],
            b"caf\xe9.txt",
            b"\"quoted\"",
            b"a\\b\xff",
            "日本".as_bytes(),
            b"line\nbreak",
        ] {
            let path = RepoPath::from_bytes(bytes);
            assert_eq!(RepoPath::parse(&path.to_string()).unwrap(), path);
        }
        for bad in ["/etc/passwd", "../x", "a/../b", "", "\"open"] {
            assert!(RepoPath::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
