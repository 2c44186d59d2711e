//! What a push asks for, read from the head of its request before anything is handed on, and the
//! rules that decide on it. Used by the git door (before a push leaves for a forge) and by the
//! server (before a push reaches a local repository).
//!
//! Only the command list is read; the pack behind it is never looked at here.

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};

use crate::pkt_line::{self, Packet};
use crate::{Oid, RefName};

/// The most that the command list may take. A thousand commands fit.
pub const MAX_HEAD: usize = 256 << 10;

/// One change of a reference that a push asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The reference.
    pub name: RefName,
    /// What the pusher believes it is now; `None` if it is to be created.
    pub old: Option<Oid>,
    /// What it is to become; `None` if it is to be deleted.
    pub new: Option<Oid>,
}

/// The head of a push request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Head {
    /// The changes asked for. Empty for the probe that git sends before a large push.
    pub commands: Vec<Command>,
    /// What the client says it can do, as single words.
    pub capabilities: Vec<String>,
    /// Whether the client pushes from a shallow clone.
    pub shallow: bool,
    /// How many bytes the head took, with its closing flush.
    pub length: usize,
}

/// The head cannot be accepted as it stands. The request is refused with 400.
#[derive(Debug, thiserror::Error)]
pub enum BadHead {
    /// It is not what git sends.
    #[error("the push is malformed: {0}")]
    Malformed(String),
    /// It is longer than [`MAX_HEAD`].
    #[error("the push changes too many references at once (its list is over {MAX_HEAD} bytes)")]
    TooLong,
    /// The body ended or broke in the middle.
    #[error("the push ended early")]
    Cut,
    /// It uses something that we do not take part in.
    #[error("{0} is not supported here")]
    Unsupported(&'static str),
}

/// Reads the head at the start of `bytes`, or `None` if more bytes are needed.
pub fn parse_head(bytes: &[u8]) -> Result<Option<Head>, BadHead> {
    let mut head = Head::default();
    let mut first = true;
    loop {
        let decoded = pkt_line::decode(&bytes[head.length..])
            .map_err(|error| BadHead::Malformed(error.to_string()))?;
        let Some((packet, length)) = decoded else {
            return if bytes.len() > MAX_HEAD { Err(BadHead::TooLong) } else { Ok(None) };
        };
        head.length += length;
        if head.length > MAX_HEAD {
            return Err(BadHead::TooLong);
        }
        match packet {
            Packet::Flush => return Ok(Some(head)),
            Packet::Delimiter | Packet::ResponseEnd => {
                return Err(BadHead::Malformed("an unexpected delimiter".to_owned()));
            }
            Packet::Data(payload) => {
                let line = take_capabilities(&payload, &mut first, &mut head.capabilities)?;
                parse_line(line, &mut head)?;
            }
        }
    }
}

/// Reads just the head of a body. Gives back the head and the bytes that were read so far, which
/// must be sent on ahead of the rest of the stream.
pub async fn read_head<S, E>(body: &mut S) -> Result<(Head, Bytes), BadHead>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let mut seen = BytesMut::new();
    loop {
        if let Some(head) = parse_head(&seen)? {
            return Ok((head, seen.freeze()));
        }
        match body.next().await {
            Some(Ok(bytes)) => seen.extend_from_slice(bytes.chunk()),
            Some(Err(_)) | None => return Err(BadHead::Cut),
        }
    }
}

/// Splits the capabilities off the first command.
fn take_capabilities<'a>(
    payload: &'a [u8],
    first: &mut bool,
    capabilities: &mut Vec<String>,
) -> Result<&'a str, BadHead> {
    let (line, rest) = match payload.iter().position(|&byte| byte == 0) {
        Some(at) => (&payload[..at], Some(&payload[at + 1..])),
        None => (payload, None),
    };
    let text = |bytes| {
        std::str::from_utf8(bytes).map_err(|_| BadHead::Malformed("a line is not UTF-8".to_owned()))
    };
    let line = text(line)?.trim_end_matches('\n');
    if line.starts_with("shallow ") && rest.is_none() {
        return Ok(line);
    }
    match rest {
        Some(rest) if *first => {
            *capabilities = text(rest)?.split_ascii_whitespace().map(str::to_owned).collect();
        }
        Some(_) => {
            return Err(BadHead::Malformed("capabilities after the first command".to_owned()));
        }
        None => {}
    }
    *first = false;
    Ok(line)
}

fn parse_line(line: &str, head: &mut Head) -> Result<(), BadHead> {
    let malformed = |what: &str| BadHead::Malformed(what.to_owned());
    if let Some(id) = line.strip_prefix("shallow ") {
        Oid::parse(id).map_err(|_| malformed("a shallow line without an object id"))?;
        head.shallow = true;
        return Ok(());
    }
    if line == "push-cert" || line.starts_with("push-cert ") {
        return Err(BadHead::Unsupported("a signed push"));
    }
    let mut fields = line.splitn(3, ' ');
    let (Some(old), Some(new), Some(name)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(malformed("a line that is no command"));
    };
    let id = |text: &str| Oid::parse(text).map_err(|_| malformed("a command without object ids"));
    let (old, new) = (id(old)?, id(new)?);
    if old.as_str().len() != new.as_str().len() {
        return Err(malformed("object ids of two formats"));
    }
    // Names that are not well formed never reach git or a forge, which may read them otherwise.
    let name = RefName::parse(name)
        .map_err(|_| malformed("a command for a reference whose name is not valid"))?;
    if head.commands.iter().any(|command| command.name == name) {
        return Err(malformed("two commands for one reference"));
    }
    let some = |id: Oid| (!id.is_null()).then_some(id);
    head.commands.push(Command { name, old: some(old), new: some(new) });
    Ok(())
}

/// Which references a set of rules speaks of.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefPattern {
    /// Exactly this reference.
    Exact(RefName),
    /// Every reference below this one (`refs/heads/windlass` means `refs/heads/windlass/...`, and
    /// not `refs/heads/windlass` itself).
    Below(RefName),
}

impl RefPattern {
    /// Reads `refs/heads/x` or `refs/heads/windlass/*`.
    pub fn parse(text: &str) -> crate::Result<Self> {
        match text.strip_suffix("/*") {
            Some(prefix) => RefName::parse(prefix).map(RefPattern::Below),
            None => RefName::parse(text).map(RefPattern::Exact),
        }
    }

    /// Whether it speaks of this reference.
    pub fn matches(&self, name: &RefName) -> bool {
        match self {
            RefPattern::Exact(exact) => exact == name,
            RefPattern::Below(prefix) => name
                .as_str()
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.starts_with('/')),
        }
    }

    /// The form that git's `hideRefs` takes: it covers at least what the pattern covers.
    pub(crate) fn as_hide_pattern(&self) -> &str {
        match self {
            RefPattern::Exact(name) | RefPattern::Below(name) => name.as_str(),
        }
    }
}

impl std::fmt::Display for RefPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RefPattern::Exact(name) => write!(f, "{name}"),
            RefPattern::Below(name) => write!(f, "{name}/*"),
        }
    }
}

/// What a pusher may do. The empty rules allow nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RefRules {
    /// The references that may be created and moved.
    pub allowed: Vec<RefPattern>,
    /// Whether those may also be deleted.
    pub deletes: bool,
    /// Whether history may be rewritten. Enforced by git where the repository is ours; the head of
    /// a push does not show it, so a door in front of a forge cannot.
    pub rewrites: bool,
}

/// Why a push may not happen, for the person or agent who pushes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct Denied {
    /// The reference.
    pub name: RefName,
    /// The rule, in words.
    pub reason: String,
}

impl RefRules {
    /// Decides on all commands of a push at once: the first that is not allowed denies it whole.
    pub fn decide(&self, head: &Head) -> Result<(), Denied> {
        head.commands.iter().try_for_each(|command| self.decide_one(command))
    }

    fn decide_one(&self, command: &Command) -> Result<(), Denied> {
        let denied = |reason: String| Err(Denied { name: command.name.clone(), reason });
        if !self.allowed.iter().any(|pattern| pattern.matches(&command.name)) {
            let allowed: Vec<String> = self.allowed.iter().map(ToString::to_string).collect();
            return denied(match allowed.is_empty() {
                true => "nothing may be pushed here".to_owned(),
                false => format!("only {} may be pushed here", allowed.join(", ")),
            });
        }
        if command.new.is_none() && !self.deletes {
            return denied("may not be deleted from here".to_owned());
        }
        Ok(())
    }
}

/// The answer to a denied push, in the form that a git client shows to its user: the HTTP body for
/// status 200 and type `application/x-git-receive-pack-result`. A client that cannot take a report
/// is better answered with status 403.
pub fn denial_report(head: &Head, denied: &Denied) -> Option<Bytes> {
    let has = |word: &str| head.capabilities.iter().any(|capability| capability == word);
    if !(has("report-status") || has("report-status-v2")) {
        return None;
    }
    let mut report = BytesMut::new();
    pkt_line::encode(b"unpack ok\n", &mut report);
    for command in &head.commands {
        let reason = if command.name == denied.name {
            denied.reason.as_str()
        } else {
            "another part of this push was denied"
        };
        pkt_line::encode(
            format!("ng {} {}\n", command.name, reason.replace('\n', " ")).as_bytes(),
            &mut report,
        );
    }
    pkt_line::encode_flush(&mut report);
    if !(has("side-band-64k") || has("side-band")) {
        return Some(report.freeze());
    }
    let mut out = BytesMut::new();
    for chunk in report.chunks(900) {
        let mut band = vec![1];
        band.extend_from_slice(chunk);
        pkt_line::encode(&band, &mut out);
    }
    pkt_line::encode_flush(&mut out);
    Some(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "1111111111111111111111111111111111111111";
    const B: &str = "2222222222222222222222222222222222222222";
    const NULL: &str = "0000000000000000000000000000000000000000";

    fn request(lines: &[&str]) -> Vec<u8> {
        let mut out = BytesMut::new();
        lines.iter().for_each(|line| pkt_line::encode(line.as_bytes(), &mut out));
        pkt_line::encode_flush(&mut out);
        out.to_vec()
    }

    fn job_rules() -> RefRules {
        RefRules {
            allowed: vec![RefPattern::parse("refs/heads/windlass/job-1/*").unwrap()],
            deletes: false,
            rewrites: true,
        }
    }

    #[test]
    fn a_push_is_read_at_any_split_of_its_bytes() {
        let mut bytes = request(&[
            &format!("{NULL} {A} refs/heads/windlass/job-1/x\0 report-status side-band-64k"),
            &format!("{A} {B} refs/heads/y\n"),
        ]);
        let length = bytes.len();
        bytes.extend_from_slice(b"PACK....");
        let expected = Head {
            commands: vec![
                Command {
                    name: RefName::parse("refs/heads/windlass/job-1/x").unwrap(),
                    old: None,
                    new: Some(Oid::parse(A).unwrap()),
                },
                Command {
                    name: RefName::parse("refs/heads/y").unwrap(),
                    old: Some(Oid::parse(A).unwrap()),
                    new: Some(Oid::parse(B).unwrap()),
                },
            ],
            capabilities: vec!["report-status".into(), "side-band-64k".into()],
            shallow: false,
            length,
        };
        for end in 0..length {
            assert_eq!(parse_head(&bytes[..end]).unwrap(), None);
        }
        assert_eq!(parse_head(&bytes).unwrap(), Some(expected));
        assert_eq!(parse_head(b"0000").unwrap(), Some(Head { length: 4, ..Head::default() }));
    }

    #[test]
    fn a_push_that_is_not_what_git_sends_is_refused() {
        for bad in [
            request(&["hello"]),
            request(&[&format!("{A} {B} refs/heads/x"), &format!("{A} {B} refs/heads/x")]),
            request(&[&format!("{A} {B} refs/heads/../x")]),
            request(&[&format!("{A} {B} HEAD")]),
            request(&[&format!("{A} {B} refs/heads/x y")]),
            request(&[&format!("{A} 22 refs/heads/x")]),
            request(&[&format!("{A} {B} refs/heads/x\0a"), &format!("{A} {B} refs/heads/y\0b")]),
            request(&["push-cert\0 report-status"]),
            b"0001".to_vec(),
            b"nope".to_vec(),
            b"GET / HTTP/1.1".to_vec(),
        ] {
            assert!(parse_head(&bad).is_err(), "{:?}", String::from_utf8_lossy(&bad));
        }
    }

    #[test]
    fn an_endless_list_is_refused_before_it_is_all_read() {
        let mut out = BytesMut::new();
        for index in 0..5000 {
            pkt_line::encode(format!("{NULL} {A} refs/heads/x{index}").as_bytes(), &mut out);
        }
        assert!(matches!(parse_head(&out), Err(BadHead::TooLong)));
    }

    #[test]
    fn rules_allow_the_jobs_own_branches_and_nothing_that_only_looks_alike() {
        let decide = |old: &str, new: &str, name: &str| {
            let head = parse_head(&request(&[&format!("{old} {new} {name}")])).unwrap().unwrap();
            job_rules().decide(&head).map_err(|denied| denied.reason)
        };
        assert_eq!(decide(NULL, A, "refs/heads/windlass/job-1/x"), Ok(()));
        assert_eq!(decide(A, B, "refs/heads/windlass/job-1/x/y"), Ok(()));
        assert_eq!(
            decide(A, NULL, "refs/heads/windlass/job-1/x"),
            Err("may not be deleted from here".into())
        );
        for other in [
            "refs/heads/main",
            "refs/heads/windlass/job-1",
            "refs/heads/windlass/job-10/x",
            "refs/windlass/job-1/x",
            "refs/tags/windlass/job-1/x",
        ] {
            assert_eq!(
                decide(NULL, A, other),
                Err("only refs/heads/windlass/job-1/* may be pushed here".into()),
                "{other}"
            );
        }
        assert!(
            RefRules::default().decide(&Head::default()).is_ok(),
            "the probe before a large push carries no command"
        );
    }
}
