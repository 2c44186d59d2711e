//! How a sender shows that it knows a hook's secret, and what it calls its delivery. Pure. Any of the
//! secrets may be the one, so that a secret can be changed without losing anything; all comparisons take
//! the same time whatever is wrong.

use axum::http::HeaderMap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use windlass_forge::hosts::github::webhook;
use windlass_run::Time;

use crate::secret::Secret;

/// How far the time of a delivery may be from now, in seconds.
pub(crate) const WINDOW: i64 = 300;

/// What a secret of Standard Webhooks begins with; base64 of the key follows.
pub(crate) const STANDARD_PREFIX: &str = "whsec_";

/// How many signatures of one header are looked at.
const SIGNATURES: usize = 16;

/// The longest id of a delivery.
const LONGEST_ID: usize = 256;

/// How senders show that they know the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Standard Webhooks: <https://github.com/standard-webhooks/standard-webhooks>.
    Standard,
    /// `X-Hub-Signature-256`, as GitHub and many others do it.
    Github,
    /// `Authorization: Bearer`.
    Bearer,
}

/// What is known of a delivery by its headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The sender's id of it.
    pub(crate) id: Option<String>,
    /// When it was sent, where that is signed.
    pub(crate) at: Option<Time>,
}

/// Why a delivery is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Whoever sent it does not know a secret. The sender learns nothing else.
    Unknown(&'static str),
    /// The sender knows a secret, and may know what is wrong.
    Wrong(&'static str),
}

impl Scheme {
    /// Reads its word.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Standard, Self::Github, Self::Bearer].into_iter().find(|it| it.name() == word)
    }

    /// Its word in the API and the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Github => "github",
            Self::Bearer => "bearer",
        }
    }

    /// Looks at a delivery.
    pub(crate) fn check(
        self,
        secrets: &[Secret],
        headers: &HeaderMap,
        body: &[u8],
        now: Time,
    ) -> Result<Sent, Refusal> {
        match self {
            Self::Standard => standard(secrets, headers, body, now),
            Self::Github => github(secrets, headers, body),
            Self::Bearer => bearer(secrets, headers),
        }
    }
}

/// The key that a secret of Standard Webhooks stands for.
pub(crate) fn standard_key(secret: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.strip_prefix(STANDARD_PREFIX)?).ok()?;
    (16..=128).contains(&key.len()).then_some(key)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

fn standard(
    secrets: &[Secret],
    headers: &HeaderMap,
    body: &[u8],
    now: Time,
) -> Result<Sent, Refusal> {
    let missing = Refusal::Unknown("webhook-id, webhook-timestamp or webhook-signature is missing");
    let id = header(headers, "webhook-id").filter(|id| !id.is_empty()).ok_or(missing)?;
    let time = header(headers, "webhook-timestamp").ok_or(missing)?;
    let given = header(headers, "webhook-signature").ok_or(missing)?;
    let keys: Vec<_> = secrets.iter().filter_map(|it| standard_key(it.expose())).collect();
    let fits = |signature: &[u8]| {
        let of_key = |key: &Vec<u8>| {
            Hmac::<Sha256>::new_from_slice(key).is_ok_and(|mac| {
                let mac = mac.chain_update(id).chain_update(".").chain_update(time);
                mac.chain_update(".").chain_update(body).verify_slice(signature).is_ok()
            })
        };
        keys.iter().filter(|key| of_key(key)).count() > 0
    };
    let signatures = given.split_ascii_whitespace().take(SIGNATURES);
    let decoded = signatures.filter_map(|it| STANDARD.decode(it.strip_prefix("v1,")?).ok());
    if decoded.filter(|signature| fits(signature)).count() == 0 {
        return Err(Refusal::Unknown("no signature in webhook-signature fits a secret"));
    }
    let seconds: i64 =
        time.parse().map_err(|_| Refusal::Wrong("webhook-timestamp is not a number of seconds"))?;
    let seconds_now = now.as_micros().div_euclid(1_000_000);
    if seconds.abs_diff(seconds_now) > WINDOW.unsigned_abs() {
        return Err(Refusal::Wrong(
            "webhook-timestamp is more than five minutes from now: set the sender's clock; a \
             delivery can't be sent again later",
        ));
    }
    if id.len() > LONGEST_ID {
        return Err(Refusal::Wrong("webhook-id is longer than 256 characters"));
    }
    Ok(Sent { id: Some(id.to_owned()), at: Some(Time::from_micros(seconds * 1_000_000)) })
}

fn github(secrets: &[Secret], headers: &HeaderMap, body: &[u8]) -> Result<Sent, Refusal> {
    let secrets: Vec<&[u8]> = secrets.iter().map(|secret| secret.expose().as_bytes()).collect();
    webhook::verify(&secrets, header(headers, "x-hub-signature-256"), body)
        .map_err(|_| Refusal::Unknown("X-Hub-Signature-256 does not fit a secret"))?;
    named(headers)
}

fn bearer(secrets: &[Secret], headers: &HeaderMap) -> Result<Sent, Refusal> {
    let refuse = Refusal::Unknown("Authorization: Bearer has not the hook's secret");
    let value = header(headers, "authorization").ok_or(refuse)?;
    let (scheme, given) = value.split_once(' ').ok_or(refuse)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(refuse);
    }
    // Digests of both are compared, so that neither length nor content shows in the time it takes.
    let digest = |text: &str| {
        let mac = Hmac::<Sha256>::new_from_slice(b"windlass bearer").expect("any length is a key");
        mac.chain_update(text)
    };
    let given = digest(given.trim()).finalize().into_bytes();
    let fits = |secret: &&Secret| digest(secret.expose()).verify_slice(&given).is_ok();
    match secrets.iter().filter(fits).count() {
        0 => Err(refuse),
        _ => named(headers),
    }
}

/// The id of a delivery by the headers that are in use for it. They are not signed: whoever has seen a
/// delivery can send it again under another one, which only the scheme `standard` prevents.
fn named(headers: &HeaderMap) -> Result<Sent, Refusal> {
    let names = ["webhook-id", "x-github-delivery", "x-gitlab-event-uuid", "idempotency-key"];
    let id = names.into_iter().find_map(|name| header(headers, name)).filter(|id| !id.is_empty());
    if id.is_some_and(|id| id.len() > LONGEST_ID) {
        return Err(Refusal::Wrong("the id of the delivery is longer than 256 characters"));
    }
    Ok(Sent { id: id.map(str::to_owned), at: None })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    /// The example of the specification's reference libraries.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const AT: i64 = 1_614_265_330;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, value.parse().expect("a header"))
            })
            .collect()
    }

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::from((*text).to_owned())).collect()
    }

    fn signed(time: &str, signature: &str) -> HeaderMap {
        headers(&[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", time),
            ("webhook-signature", signature),
        ])
    }

    #[test]
    fn the_published_example_of_standard_webhooks_fits_within_five_minutes() {
        let time = AT.to_string();
        let check = |keys: &[&str], signature: &str, body: &[u8], now: i64| {
            let now = Time::from_micros(now * 1_000_000);
            Scheme::Standard.check(&secrets(keys), &signed(&time, signature), body, now)
        };
        let sent = Sent {
            id: Some("msg_p5jXN8AQM9LWM0D4loKWxJek".into()),
            at: Some(Time::from_micros(AT * 1_000_000)),
        };
        assert_eq!(check(&[KEY], SIGNED, BODY, AT), Ok(sent.clone()));
        let other = format!("whsec_{}", STANDARD.encode([7; 24]));
        assert_eq!(check(&[&other, KEY], SIGNED, BODY, AT), Ok(sent.clone()), "either secret");
        let several = format!("v1,AAAA v2,x {SIGNED}");
        assert_eq!(check(&[KEY], &several, BODY, AT), Ok(sent.clone()), "any signature");
        assert_eq!(check(&[KEY], SIGNED, BODY, AT + WINDOW), Ok(sent));
        for now in [AT + WINDOW + 1, AT - WINDOW - 1] {
            assert!(matches!(check(&[KEY], SIGNED, BODY, now), Err(Refusal::Wrong(_))));
        }
        for (keys, signature, body) in [
            (&[other.as_str()][..], SIGNED, BODY),
            (&[], SIGNED, BODY),
            (&["whsec_", "", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], SIGNED, BODY),
            (&[KEY], &SIGNED[3..], BODY),
            (&[KEY], "", BODY),
            (&[KEY], "v1,", BODY),
            (&[KEY], SIGNED, b"{}"),
        ] {
            let refused = check(keys, signature, body, AT);
            assert!(matches!(refused, Err(Refusal::Unknown(_))), "{refused:?}");
        }
    }

    #[test]
    fn a_time_that_is_none_is_refused_only_after_the_signature() {
        let check = |time: &str| {
            let key = standard_key(KEY).expect("a key");
            let mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
            let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
            let mac = mac.chain_update(format!("{id}.{time}.")).chain_update(BODY);
            let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
            let now = Time::from_micros(AT * 1_000_000);
            Scheme::Standard.check(&secrets(&[KEY]), &signed(time, &signature), BODY, now)
        };
        for time in ["soon", "", "9223372036854775807", "-9223372036854775808", "1e9"] {
            assert!(matches!(check(time), Err(Refusal::Wrong(_))), "{time}");
        }
    }

    #[test]
    fn a_bearer_is_compared_whole() {
        let check = |value: &str| {
            let headers = headers(&[("authorization", value), ("idempotency-key", "k1")]);
            Scheme::Bearer.check(&secrets(&["one", "two"]), &headers, b"", Time::from_micros(0))
        };
        let sent = Sent { id: Some("k1".into()), at: None };
        for right in ["Bearer one", "bearer two"] {
            assert_eq!(check(right), Ok(sent.clone()));
        }
        for wrong in ["Bearer on", "Bearer one two", "Bearer ", "Basic one", "one", ""] {
            assert!(matches!(check(wrong), Err(Refusal::Unknown(_))), "{wrong}");
        }
    }
}
