//! What GitHub tells by webhook: whether it is GitHub that tells it, and what it says. Reading is
//! lenient: an event of a kind or shape that is not known still arrives, as [`crate::event::Subject::Other`].

mod read;

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::event::Event;

/// The signature is missing, malformed, or not made with any of the secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the webhook's signature does not fit: set the same secret here and at GitHub")]
pub struct BadSignature;

/// The payload cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPayload {
    /// It is no JSON.
    #[error("the payload is not JSON: {why}, line {line}, column {column}")]
    NotJson {
        /// What is wrong there.
        why: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1; 0 at the end of a line.
        column: usize,
    },
    /// It is JSON, but not what any event looks like.
    #[error("the payload is {0} where a JSON object is expected")]
    NotAnObject(&'static str),
}

/// Checks the header `X-Hub-Signature-256` over the raw body. Any of the secrets may have made it,
/// so that a secret can be changed without losing events; an empty secret never fits.
pub fn verify(secrets: &[&[u8]], header: Option<&str>, body: &[u8]) -> Result<(), BadSignature> {
    let given = header
        .and_then(|header| header.trim().strip_prefix("sha256="))
        .and_then(from_hex)
        .ok_or(BadSignature)?;
    let fits = |secret: &&[u8]| {
        // Compared in constant time by the crate.
        Hmac::<Sha256>::new_from_slice(secret)
            .is_ok_and(|mac| mac.chain_update(body).verify_slice(&given).is_ok())
    };
    let usable = secrets.iter().filter(|secret| !secret.is_empty());
    if usable.filter(|secret| fits(secret)).count() > 0 { Ok(()) } else { Err(BadSignature) }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = text.as_bytes();
    (bytes.len() == 64).then(|| {
        bytes.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
    })?
}

/// Reads a payload. `name` is the header `X-GitHub-Event`.
///
/// # Errors
/// [`BadPayload`]; an object of a shape that nothing here expects is no error.
pub fn parse(name: &str, payload: &[u8]) -> Result<Event, BadPayload> {
    let payload: Value = serde_json::from_slice(payload).map_err(not_json)?;
    let what = match &payload {
        Value::Object(_) => return Ok(read::event(name, payload)),
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
    };
    Err(BadPayload::NotAnObject(what))
}

fn not_json(error: serde_json::Error) -> BadPayload {
    let text = error.to_string();
    let why = text.split(" at line ").next().unwrap_or_default().to_owned();
    BadPayload::NotJson { why, line: error.line(), column: error.column() }
}

#[cfg(test)]
mod tests {
    use windlass_git::Oid;

    use super::*;
    use crate::event::{Actor, Association, Host, PullRequest, Subject};
    use crate::forge::State;

    #[test]
    fn the_published_example_of_a_signature_fits_and_nothing_else_does() {
        let (secret, body) = (&b"It's a Secret to Everybody"[..], &b"Hello, World!"[..]);
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(verify(&[secret], Some(good), body), Ok(()));
        assert_eq!(verify(&[b"new secret", secret], Some(good), body), Ok(()));
        let upper = good.to_ascii_uppercase().replace("SHA256=", "sha256=");
        assert_eq!(verify(&[secret], Some(&upper), body), Ok(()));
        let wrong = good.replace('7', "8");
        for (secrets, header, body) in [
            (&[secret][..], None, body),
            (&[secret], Some(wrong.as_str()), body),
            (&[secret], Some(&good[7..]), body),
            (&[secret], Some("sha256="), body),
            (&[secret], Some("sha256=zz"), body),
            (&[secret], Some(&good.replace("sha256", "sha1")), body),
            (&[secret], Some(good), b"Hello, World?"),
            (&[b"other"], Some(good), body),
            (&[b""], Some(good), body),
            (&[], Some(good), body),
        ] {
            assert_eq!(verify(secrets, header, body), Err(BadSignature), "{header:?}");
        }
    }

    #[test]
    fn a_payload_of_any_shape_gives_an_event_or_is_refused() {
        for name in [
            "push",
            "pull_request",
            "issue_comment",
            "check_run",
            "status",
            "pull_request_review",
            "unheard_of",
            "",
        ] {
            let other = Subject::Other { payload: Some(Value::Object(Default::default())) };
            assert_eq!(parse(name, b"{}").unwrap().subject, other, "{name}");
            assert!(parse(name, br#"{"ref":1,"pull_request":[],"comment":"x","issue":null,"check_run":{"pull_requests":[1,"x"]},"repository":{"full_name":"../x"},"sender":{"login":7}}"#).is_ok());
        }
        for bad in [&b""[..], b"[]", b"payload=%7B%7D", b"null", b"\xff"] {
            assert!(parse("push", bad).is_err());
        }
    }

    #[test]
    fn a_pull_request_from_a_fork_is_told_from_one_of_the_repository() {
        let payload = |head: &str| {
            format!(
                r#"{{"action":"opened","sender":{{"login":"mallory","id":7,"type":"User"}},"repository":{{"full_name":"acme/api","private":false}},
                "pull_request":{{"number":3,"title":"t","body":null,"state":"open","html_url":"u","user":{{"id":7}},"author_association":"NONE","labels":[{{"name":"bug"}}],
                "base":{{"ref":"main","repo":{{"id":1}}}},"head":{{"ref":"patch","sha":"{}","repo":{head}}}}}}}"#,
                "a".repeat(40)
            )
        };
        let expected = |from_fork| Event {
            host: Host::Github,
            name: "pull_request".into(),
            action: Some("opened".into()),
            repository: Some("acme/api".into()),
            private: Some(false),
            actor: Some(Actor { login: "mallory".into(), id: "7".into(), bot: false }),
            author: Some(Association::Stranger),
            number: Some(3),
            label: None,
            subject: Subject::PullRequest(PullRequest {
                number: 3,
                title: "t".into(),
                body: String::new(),
                state: State::Open,
                draft: false,
                base: "main".into(),
                head: "patch".into(),
                head_commit: Some(Oid::parse(&"a".repeat(40)).unwrap()),
                from_fork,
                labels: vec!["bug".into()],
                url: "u".into(),
            }),
        };
        for (head, from_fork) in [(r#"{"id":1}"#, false), (r#"{"id":2}"#, true), ("null", true)] {
            assert_eq!(
                parse("pull_request", payload(head).as_bytes()).unwrap(),
                expected(from_fork)
            );
        }
    }
}
