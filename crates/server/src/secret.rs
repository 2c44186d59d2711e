//! Secrets of the server's own making (service tokens, sessions, sign-in links, job credentials) and
//! the seal for those that others made (forge tokens). A secret of our own is stored as a digest
//! only; a foreign one only sealed. No secret is ever logged or formatted for debugging.

use std::{
    fmt, fs,
    io::{Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use hmac::{Hmac, Mac as _};
use rand::RngCore as _;
use sha2::{Digest as _, Sha256};

/// A secret in clear, on its way to the one place that may have it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Makes a secret of 256 random bits with a prefix that says what it is for, as in `wl_...`.
    pub(crate) fn fresh(prefix: &str) -> Self {
        let mut bits = [0_u8; 32];
        rand::rng().fill_bytes(&mut bits);
        Self(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bits)))
    }

    /// The clear text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// What is stored of a secret of our own: its SHA-256 as hexadecimal digits. The secrets have 256
/// random bits, so a slow digest would add nothing.
pub(crate) fn digest(secret: &str) -> String {
    digest_of(&[secret.as_bytes()])
}

/// The SHA-256 of some bytes, one part after the other, as hexadecimal digits.
pub(crate) fn digest_of(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hex(&hash.finalize())
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Hexadecimal digits as bytes; absent where they are none.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits.chunks(2).map(|pair| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()).collect()
}

/// 80 random bits and more, for ids.
pub(crate) fn random_bits() -> u128 {
    let mut bits = [0_u8; 16];
    rand::rng().fill_bytes(&mut bits);
    u128::from_le_bytes(bits)
}

/// Why sealing or unsealing failed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file can't be read or made.
    #[error("the key file {} can't be used: {why}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// The sealed text was changed, is for something else, or was sealed with another key.
    #[error("a sealed secret can't be opened: the key file is not the one it was sealed with")]
    Broken,
}

/// Seals secrets with XChaCha20-Poly1305 under a key in a file that only the server's account can
/// read. What a secret is for (`place`) is bound into the seal: a sealed text that is moved to
/// another row does not open.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    digest_key: [u8; 32],
}

impl Sealer {
    /// Reads the key, or makes it if there is none.
    ///
    /// # Errors
    /// [`SealError::Key`] if the file can't be read or made, has another length than a key, or can
    /// be read by other accounts.
    pub fn open(path: &Path) -> Result<Self, SealError> {
        let refuse = |why: String| SealError::Key { path: path.to_owned(), why };
        let mut key = [0_u8; 32];
        match fs::File::open(path) {
            Ok(mut file) => {
                let mode = file
                    .metadata()
                    .map_err(|error| refuse(error.to_string()))?
                    .permissions()
                    .mode();
                if mode & 0o077 != 0 {
                    return Err(refuse("other accounts can read it: chmod 600 it".into()));
                }
                file.read_exact(&mut key).map_err(|_| refuse("it is not 32 bytes long".into()))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                rand::rng().fill_bytes(&mut key);
                write_private(path, &key).map_err(|error| refuse(error.to_string()))?;
            }
            Err(error) => return Err(refuse(error.to_string())),
        }
        // A key of its own for digests: one key never serves two purposes.
        let mut derived = Hmac::<Sha256>::new_from_slice(&key).expect("any length is a key");
        derived.update(b"windlass keyed digests, version 1");
        let digest_key = derived.finalize().into_bytes().into();
        Ok(Self {
            cipher: <XChaCha20Poly1305 as chacha20poly1305::KeyInit>::new(&key.into()),
            digest_key,
        })
    }

    /// A secret that only this server can make of a text, and can make again.
    pub(crate) fn keyed_digest(&self, text: &str) -> String {
        hex(&self.keyed(text).finalize().into_bytes())
    }

    /// True if it is the keyed digest of that text. Takes the same time whatever is wrong.
    pub(crate) fn is_keyed_digest(&self, text: &str, given: &str) -> bool {
        let Some(given) = unhex(given) else { return false };
        self.keyed(text).verify_slice(&given).is_ok()
    }

    fn keyed(&self, text: &str) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.digest_key).expect("any length is a key");
        mac.update(text.as_bytes());
        mac
    }

    /// Seals a secret for a place.
    pub(crate) fn seal(&self, place: &str, secret: &Secret) -> String {
        let mut nonce = [0_u8; 24];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload { msg: secret.expose().as_bytes(), aad: place.as_bytes() };
        let sealed = self
            .cipher
            .encrypt(XNonce::from_slice(&nonce), payload)
            .expect("a secret is shorter than 256 GiB, the cipher's only limit");
        format!("v1.{}.{}", URL_SAFE_NO_PAD.encode(nonce), URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens a secret that was sealed for that place.
    ///
    /// # Errors
    /// [`SealError::Broken`] if it was changed, is for another place or is under another key.
    pub(crate) fn open_sealed(&self, place: &str, sealed: &str) -> Result<Secret, SealError> {
        let mut parts = sealed.split('.');
        let (Some("v1"), Some(nonce), Some(body), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SealError::Broken);
        };
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError::Broken);
        let (nonce, body) = (decode(nonce)?, decode(body)?);
        if nonce.len() != 24 {
            return Err(SealError::Broken);
        }
        let payload = Payload { msg: &body, aad: place.as_bytes() };
        let clear = self
            .cipher
            .decrypt(XNonce::from_slice(&nonce), payload)
            .map_err(|_| SealError::Broken)?;
        Ok(Secret(String::from_utf8(clear).map_err(|_| SealError::Broken)?))
    }
}

/// Writes a file that only this account can read, whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_only_unchanged_in_its_place_and_with_its_key() {
        let folder = tempfile::tempdir().expect("tempdir");
        let sealer = Sealer::open(&folder.path().join("key")).expect("key is made");
        let again = Sealer::open(&folder.path().join("key")).expect("key is read");
        let other = Sealer::open(&folder.path().join("other")).expect("key is made");
        let sealed = sealer.seal("prj_1/token", &Secret::from("hunter2".to_owned()));
        assert!(!sealed.contains("hunter2"));
        assert_eq!(again.open_sealed("prj_1/token", &sealed).expect("opens").expose(), "hunter2");
        assert!(again.open_sealed("prj_2/token", &sealed).is_err());
        assert!(other.open_sealed("prj_1/token", &sealed).is_err());
        let mut changed = sealed.clone();
        changed.pop();
        assert!(again.open_sealed("prj_1/token", &changed).is_err());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("key");
        fs::write(&path, [7; 32]).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        let refusal = Sealer::open(&path).err().expect("refused").to_string();
        assert!(refusal.ends_with("chmod 600 it"), "{refusal}");
    }
}
