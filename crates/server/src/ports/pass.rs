//! What a browser shows at the host of a port to be known there: a pass in a cookie of that host alone, and
//! the code that it is had for. Both are worth nothing at another address, for another opening of the port, or
//! once the session that they stand for is over.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use windlass_run::{Duration, Time};
use windlass_store::identity::SecretHash;

use super::address::Address;
use crate::{
    auth::Credential,
    secret::{self, Sealer, Secret},
};

/// How long a browser may take from the server to the host of a port.
const CODE: Duration = Duration::from_secs(60);
/// How long a pass is good, at most. Whoever is still signed in gets another one unasked.
pub(super) const PASS: Duration = Duration::from_secs(12 * 3600);
/// The most codes that wait to be used.
const CODES: usize = 10_000;

/// That somebody was let in to one opening of a port, in one run of its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// What proved who they are.
    pub(crate) credential: Credential,
    /// The opening of the port.
    pub(crate) opening: u64,
    /// The wish under which the environment runs.
    pub(crate) generation: u64,
}

/// A pass as it is sealed.
#[derive(Serialize, Deserialize)]
struct Written {
    kind: String,
    proof: String,
    opening: u64,
    generation: u64,
    until: Time,
}

impl Pass {
    /// The pass as a cookie's value, good at this address until then.
    pub(super) fn seal(&self, sealer: &Sealer, address: &Address, until: Time) -> String {
        let (kind, proof) = match &self.credential {
            // Opens nothing: it is not among those that are read.
            Credential::Earlier => ("earlier", String::new()),
            Credential::Session(hash) => ("session", secret::hex(&hash.0)),
            Credential::Token(hash) => ("token", secret::hex(&hash.0)),
            Credential::Key(id) => ("key", id.clone()),
        };
        let Self { opening, generation, .. } = *self;
        let written = Written { kind: kind.to_owned(), proof, opening, generation, until };
        let text = serde_json::to_string(&written).expect("plain fields are always JSON");
        sealer.seal(&place(address), &Secret::from(text))
    }

    /// Reads a cookie's value; absent if it is not one of ours, is another address's, or is too old.
    pub(super) fn open(sealer: &Sealer, address: &Address, value: &str, now: Time) -> Option<Self> {
        let text = sealer.open_sealed(&place(address), value).ok()?;
        let written: Written = serde_json::from_str(text.expose()).ok()?;
        let hash = |text: &str| {
            let bytes: [u8; 32] = secret::unhex(text)?.try_into().ok()?;
            Some(SecretHash(bytes))
        };
        let credential = match written.kind.as_str() {
            "session" => Credential::Session(hash(&written.proof)?),
            "token" => Credential::Token(hash(&written.proof)?),
            "key" => Credential::Key(written.proof),
            _ => return None,
        };
        let Written { opening, generation, until, .. } = written;
        (now < until).then_some(Self { credential, opening, generation })
    }
}

/// What a seal is bound to.
fn place(address: &Address) -> String {
    format!("the pass of {}", address.label())
}

/// What a code stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    /// Where it may be used.
    pub(super) address: Address,
    /// Digest of the secret of the browser that may use it.
    pub(super) begun: String,
    /// What it is had for.
    pub(super) pass: Pass,
    /// The path that was asked for, with its query.
    pub(super) path: String,
}

/// Codes that wait to be used. They are forgotten with the process: whoever has one begins again.
#[derive(Default)]
pub(super) struct Codes {
    waiting: Mutex<HashMap<String, (Granted, Time)>>,
}

impl Codes {
    /// Makes a code.
    pub(super) fn issue(&self, granted: Granted, now: Time) -> Secret {
        let code = Secret::fresh("wlp_");
        let mut waiting = self.waiting();
        waiting.retain(|_, (_, until)| now < *until);
        if waiting.len() >= CODES {
            // Somebody asks for them in a loop. Whoever waited may begin again.
            waiting.clear();
        }
        waiting.insert(secret::digest(code.expose()), (granted, now + CODE));
        code
    }

    /// Uses a code up, whatever comes of it.
    pub(super) fn take(&self, code: &str, now: Time) -> Option<Granted> {
        let (granted, until) = self.waiting().remove(&secret::digest(code))?;
        (now < until).then_some(granted)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, (Granted, Time)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use windlass_run::EnvironmentId;

    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
    }

    fn address(port: u16) -> Address {
        Address { environment_id: EnvironmentId::new(at(0), 1), port }
    }

    fn pass() -> Pass {
        let credential = Credential::Session(SecretHash::of("a session"));
        Pass { credential, opening: 3, generation: 7 }
    }

    #[test]
    fn a_pass_is_good_at_its_address_until_its_time() {
        let folder = tempfile::tempdir().expect("tempdir");
        let sealer = Sealer::open(&folder.path().join("key")).expect("a key");
        let value = pass().seal(&sealer, &address(8080), at(10));
        let open = |port, seconds| Pass::open(&sealer, &address(port), &value, at(seconds));
        assert_eq!(open(8080, 9), Some(pass()));
        assert_eq!((open(8080, 10), open(8081, 9)), (None, None));
        assert_eq!(Pass::open(&sealer, &address(8080), "v1.x.y", at(0)), None);
    }

    #[test]
    fn a_code_is_used_once_within_a_minute() {
        let codes = Codes::default();
        let granted = Granted {
            address: address(8080),
            begun: "digest".into(),
            pass: pass(),
            path: "/a".into(),
        };
        let (first, late) =
            (codes.issue(granted.clone(), at(0)), codes.issue(granted.clone(), at(0)));
        assert_eq!(codes.take(first.expose(), at(59)), Some(granted));
        assert_eq!(codes.take(first.expose(), at(59)), None, "it was used");
        assert_eq!(codes.take(late.expose(), at(60)), None, "it is too old");
        assert_eq!(codes.take("wlp_guessed", at(0)), None);
    }
}
