//! A secret in memory: never printed, overwritten when dropped.

use std::fmt;

use http::HeaderValue;
use zeroize::Zeroizing;

/// A credential. `Debug` and `Display` never show it, and nothing serialises it.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The value as a header, after a prefix such as `Bearer `, marked so that no log prints it.
    pub(crate) fn header(&self, prefix: &str) -> Result<HeaderValue, NotAHeader> {
        let text = Zeroizing::new(format!("{prefix}{}", self.expose()));
        let mut value = HeaderValue::from_str(&text).map_err(|_| NotAHeader)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The credential has a line end or another byte that no HTTP header may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the credential has a character that no HTTP header may carry, such as a line end; set it again without it"
)]
pub struct NotAHeader;

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}
