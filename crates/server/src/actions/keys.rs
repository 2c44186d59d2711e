//! Public keys by which whoever asks signs in over SSH. A key is its owner's, exactly: one that a token
//! added does what the token may, and nothing after that is revoked.

use russh::keys::{HashAlg, PublicKey};
use windlass_store::identity::Key as Row;
use windlass_wire::api::account::{Key, NewKey};

use crate::{
    auth::Principal,
    problem::{Code, Problem},
    secret,
    state::AppState,
};

/// The longest name of a key, in bytes.
const NAME: usize = 128;

/// Adds a key.
///
/// # Errors
/// What is no key, or one of a kind that is not taken; one that somebody has already; a name that can't
/// be; the store's failures.
pub async fn add(app: &AppState, principal: &Principal, new: NewKey) -> Result<Key, Problem> {
    let refuse = |why: String| Problem::new(Code::BadRequest, why);
    let key = PublicKey::from_openssh(new.public_key.trim()).map_err(|error| {
        let why = format!("it is no public key as in `~/.ssh/id_ed25519.pub`: {error}");
        refuse(why).at("public_key")
    })?;
    if !ALGORITHMS.contains(&key.algorithm().as_str()) {
        let why = format!(
            "keys of the kind {} are not taken; make one with `ssh-keygen -t ed25519`",
            key.algorithm().as_str()
        );
        return Err(refuse(why).at("public_key"));
    }
    let name = new.name.unwrap_or_else(|| key.comment().as_str_lossy().to_owned());
    let name = match name.trim() {
        "" => "key",
        name => name,
    };
    if name.len() > NAME || name.chars().any(char::is_control) {
        let why = format!("a name has at most {NAME} bytes, on one line");
        return Err(refuse(why).at("name"));
    }
    let plain = PublicKey::from(key.key_data().clone());
    let row = Row {
        id: id(&key),
        organisation_id: principal.organisation_id.clone(),
        owner: principal.actor.clone(),
        name: name.to_owned(),
        public_key: plain.to_openssh().map_err(|error| refuse(error.to_string()))?,
        created_at: app.now(),
    };
    app.store().add_key(principal.by(), row.clone()).await.map_err(|error| match &error {
        windlass_store::Error::Conflict { .. } => {
            Problem::new(Code::NameTaken, error.to_string()).at("public_key")
        }
        windlass_store::Error::Invalid { .. } => {
            Problem::new(Code::LimitReached, error.to_string())
        }
        _ => error.into(),
    })?;
    Ok(shown(row))
}

/// The keys of whoever asks, the oldest first.
///
/// # Errors
/// The store's failures.
pub async fn list(app: &AppState, principal: &Principal) -> Result<Vec<Key>, Problem> {
    let rows = app.store().keys(&principal.organisation_id, &principal.actor).await?;
    Ok(rows.into_iter().map(shown).collect())
}

/// Removes a key of whoever asks; connections that it opened are cut.
///
/// # Errors
/// There is no such key of theirs; the store's failures.
pub async fn remove(app: &AppState, principal: &Principal, id: &str) -> Result<(), Problem> {
    let organisation_id = principal.organisation_id.clone();
    let (owner, id) = (principal.actor.clone(), id.to_owned());
    app.store().remove_key(principal.by(), organisation_id, owner, id, app.now()).await?;
    app.admission_narrows();
    Ok(())
}

/// The kinds of keys that are taken: those that the SSH server can check.
const ALGORITHMS: [&str; 6] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// The id of a key: made from the key itself.
pub(crate) fn id(key: &PublicKey) -> String {
    let fingerprint = key.fingerprint(HashAlg::Sha256);
    let digest: String = secret::hex(fingerprint.as_bytes()).chars().take(32).collect();
    format!("key_{digest}")
}

fn shown(row: Row) -> Key {
    Key {
        id: row.id,
        name: row.name,
        public_key: row.public_key,
        created_at: row.created_at.as_micros(),
    }
}
