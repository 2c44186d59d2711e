//! The provider's credential: taken off whatever comes from inside, put on whatever goes out.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use windlass_policy::redact::Redactor;

use super::route::Api;
use crate::secret::{NotAHeader, Secret};

/// What a provider wants to see.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Nothing, as for a model on the operator's own machine.
    None,
    /// The key in the header that the API itself defines: `x-api-key`, `Authorization: Bearer` or
    /// `x-goog-api-key`.
    Key(Secret),
    /// A bearer token, as gateways and sign-in tokens use.
    Bearer(Secret),
    /// A header of the operator's choice.
    Header(HeaderName, Secret),
}

/// Headers that carry or choose an account. None of them passes from inside.
const ACCOUNT: &[&str] = &[
    "authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
    "cookie",
    "openai-organization",
    "openai-project",
    "x-goog-user-project",
    "x-auth-token",
    "x-amz-security-token",
    "x-forwarded-for",
    "forwarded",
];

/// Query parameters that carry an account.
const ACCOUNT_PARAMETERS: &[&str] = &["key", "api_key", "apikey", "access_token", "oauth_token"];

/// Removes everything that says who is asking.
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in ACCOUNT {
        headers.remove(*name);
    }
}

/// The query without what says who is asking; empty if nothing is left.
pub(super) fn strip_query(query: &str) -> String {
    let kept = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or("");
        // An escaped name might be decoded into one of the list's.
        let plain = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'$'));
        !pair.is_empty()
            && plain
            && !ACCOUNT_PARAMETERS.iter().any(|bad| name.eq_ignore_ascii_case(bad))
    };
    query.split('&').filter(kept).collect::<Vec<_>>().join("&")
}

impl Credential {
    /// The header to add, where there is one.
    pub(super) fn header(&self, api: Api) -> Result<Option<(HeaderName, HeaderValue)>, NotAHeader> {
        let bearer = |secret: &Secret| Ok(Some((header::AUTHORIZATION, secret.header("Bearer ")?)));
        match (self, api) {
            (Self::None, _) => Ok(None),
            (Self::Key(secret), Api::Anthropic) => {
                Ok(Some((HeaderName::from_static("x-api-key"), secret.header("")?)))
            }
            (Self::Key(secret), Api::Openai) | (Self::Bearer(secret), _) => bearer(secret),
            (Self::Key(secret), Api::Gemini) => {
                Ok(Some((HeaderName::from_static("x-goog-api-key"), secret.header("")?)))
            }
            (Self::Header(name, secret), _) => Ok(Some((name.clone(), secret.header("")?))),
        }
    }

    /// Finds the credential in an answer that repeats it. One that is too short to be found is
    /// nobody's real key.
    pub(super) fn redactor(&self) -> Redactor {
        match self {
            Self::None => Redactor::nothing(),
            Self::Key(secret) | Self::Bearer(secret) | Self::Header(_, secret) => {
                Redactor::new([("credential", secret.expose().as_bytes())])
                    .unwrap_or_else(|_| Redactor::nothing())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_keeps_what_is_harmless() {
        assert_eq!(strip_query("alt=sse&key=abc&beta=true"), "alt=sse&beta=true");
        assert_eq!(strip_query("KEY=a&k%65y=b&access_token=c&&"), "");
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", Credential::Key(Secret::new("sk-secret"))), "Key(Secret(..))");
    }
}
