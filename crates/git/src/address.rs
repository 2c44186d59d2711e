//! Where a repository is, and what opens it. An address never carries a credential; a credential
//! never prints itself. Only the transports named here can be reached: git's own `ext::` and other
//! helpers are refused before git sees them, and again by git.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;

use crate::{Error, Result};

/// Where a repository is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A repository on this machine, by absolute path.
    Path(PathBuf),
    /// `http://` or `https://`, without user information.
    Http(String),
    /// `ssh://` or `user@host:path`. Needs [`crate::command::Ssh`] in the options.
    Ssh(String),
}

impl Address {
    /// Reads an address as people write it: an absolute path, `file://`, `local://`, `https://`,
    /// `http://`, `ssh://` or `user@host:path`.
    pub fn parse(text: &str) -> Result<Self> {
        // The whole text is never echoed: a person may have pasted a token into it.
        let refuse = |why: &str| {
            Err(Error::Invalid { what: "the repository address".to_owned(), why: why.to_owned() })
        };
        if text.is_empty() || text.len() > 2048 {
            return refuse("must have between 1 and 2048 characters");
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) && !text.starts_with('/') {
            return refuse("may not contain spaces or control characters");
        }
        if text.contains('\0') || text.contains('\n') {
            return refuse("may not contain control characters");
        }
        if text.starts_with('-') {
            return refuse("may not begin with a dash");
        }
        if let Some(path) = text.strip_prefix("file://").or_else(|| text.strip_prefix("local://")) {
            return if path.starts_with('/') {
                Ok(Address::Path(PathBuf::from(path)))
            } else {
                refuse("must name an absolute path after file:// or local://")
            };
        }
        if text.starts_with('/') {
            return Ok(Address::Path(PathBuf::from(text)));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return Address::parse_scheme(text, scheme, rest);
        }
        if text.contains("::") {
            return refuse(
                "names a transport helper, which is never used; write an https, ssh or file address",
            );
        }
        match text.split_once(':') {
            Some((host, path))
                if !host.contains('/') && !path.is_empty() && host_is_plain(host) =>
            {
                Ok(Address::Ssh(text.to_owned()))
            }
            _ => refuse(
                "is not one that we can use: write an absolute path, or an https or ssh address",
            ),
        }
    }

    fn parse_scheme(text: &str, scheme: &str, rest: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Err(Error::Invalid { what: "the repository address".to_owned(), why: why.to_owned() })
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() || authority.starts_with('-') {
            return refuse("has no host");
        }
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" if authority.contains('@') => refuse(
                "carries a user name or token; give the address without it and the credential apart",
            ),
            "http" | "https" if rest.contains(['?', '#']) => {
                refuse("may not have a query or fragment")
            }
            "http" | "https" => {
                Ok(Address::Http(format!("{}://{rest}", scheme.to_ascii_lowercase())))
            }
            "ssh" => {
                let host = authority.rsplit('@').next().unwrap_or_default();
                let has_password = authority
                    .split('@')
                    .next()
                    .is_some_and(|user| authority.contains('@') && user.contains(':'));
                if has_password {
                    refuse("carries a password; use a key")
                } else if host.is_empty() || host.starts_with('-') {
                    refuse("has no host")
                } else {
                    Ok(Address::Ssh(text.to_owned()))
                }
            }
            _ => refuse("uses a transport that is not allowed; use https, ssh or a path"),
        }
    }

    /// The path, if the repository is on this machine.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Address::Path(path) => Some(path),
            Address::Http(_) | Address::Ssh(_) => None,
        }
    }

    /// The name of the one git transport that this address needs.
    pub(crate) fn transport(&self) -> &'static str {
        match self {
            Address::Path(_) => "file",
            Address::Http(url) if url.starts_with("https:") => "https",
            Address::Http(_) => "http",
            Address::Ssh(_) => "ssh",
        }
    }
}

fn host_is_plain(host: &str) -> bool {
    let name = host.rsplit('@').next().unwrap_or_default();
    !name.is_empty()
        && !host.starts_with('-')
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Path(path) => write!(f, "{}", path.display()),
            Address::Http(url) | Address::Ssh(url) => f.write_str(url),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a host accepts in place of a person. Prints as `Credential(..)` only.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// HTTP Basic: most forges take a token as the password (GitHub: user `x-access-token`).
    Basic {
        /// The user name.
        user: String,
        /// The password or token.
        secret: String,
    },
    /// HTTP Bearer.
    Bearer {
        /// The token.
        secret: String,
    },
}

impl Credential {
    /// HTTP Basic.
    pub fn basic(user: impl Into<String>, secret: impl Into<String>) -> Self {
        Credential::Basic { user: user.into(), secret: secret.into() }
    }

    /// HTTP Bearer.
    pub fn bearer(secret: impl Into<String>) -> Self {
        Credential::Bearer { secret: secret.into() }
    }

    /// The value of the `Authorization` header. Refuses secrets that would break out of it.
    pub fn authorization(&self) -> Result<String> {
        let (parts, value) = match self {
            Credential::Basic { user, secret } => (
                [user.as_str(), secret.as_str()],
                format!(
                    "Basic {}",
                    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{secret}"))
                ),
            ),
            Credential::Bearer { secret } => (["", secret.as_str()], format!("Bearer {secret}")),
        };
        if parts.iter().any(|part| part.chars().any(char::is_control)) {
            return Err(Error::Invalid {
                what: "the credential".to_owned(),
                why: "contains control characters".to_owned(),
            });
        }
        Ok(value)
    }

    /// Every form in which this credential could show up in text.
    pub(crate) fn forms(&self) -> Vec<String> {
        let mut forms = Vec::new();
        if let Ok(value) = self.authorization()
            && let Some((_, encoded)) = value.split_once(' ')
        {
            forms.push(encoded.to_owned());
        }
        match self {
            Credential::Basic { secret, .. } | Credential::Bearer { secret } => {
                forms.push(secret.clone())
            }
        }
        forms.retain(|form| form.len() >= 4);
        forms
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

/// An address with what opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where it is.
    pub address: Address,
    /// What opens it, if anything is needed. Used for `http` and `https` only.
    pub credential: Option<Credential>,
}

impl Remote {
    /// A place that needs no credential.
    pub fn open(address: Address) -> Self {
        Remote { address, credential: None }
    }

    /// A place with its credential.
    pub fn with(address: Address, credential: Credential) -> Self {
        Remote { address, credential: Some(credential) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let path = |text: &str| Address::Path(PathBuf::from(text));
        assert_eq!(Address::parse("/srv/git/a b.git").unwrap(), path("/srv/git/a b.git"));
        assert_eq!(
            Address::parse("local:///srv/git/billing.git").unwrap(),
            path("/srv/git/billing.git")
        );
        assert_eq!(Address::parse("file:///srv/x").unwrap(), path("/srv/x"));
        assert_eq!(
            Address::parse("HTTPS://github.com/acme/api.git").unwrap(),
            Address::Http("https://github.com/acme/api.git".into())
        );
        assert_eq!(
            Address::parse("git@github.com:acme/api.git").unwrap(),
            Address::Ssh("git@github.com:acme/api.git".into())
        );
        assert_eq!(
            Address::parse("ssh://git@host:2222/a").unwrap(),
            Address::Ssh("ssh://git@host:2222/a".into())
        );
    }

    #[test]
    fn addresses_that_could_run_something_or_leak_are_refused_without_echo() {
        for bad in [
            "",
            "ext::sh -c id",
            "ext::sh%20-c%20id",
            "fd::17",
            "--upload-pack=id",
            "-oProxyCommand=id:x",
            "ssh://-oProxyCommand=id/x",
            "https://user:hunter2@host/x",
            "https://hunter2@host/x",
            "ssh://git:hunter2@host/x",
            "git://host/x",
            "ftp://host/x",
            "relative/path",
            "https:///x",
            "https://host/x?token=hunter2",
            "file://host/x",
            "https://host/a b",
        ] {
            let error = Address::parse(bad).expect_err(bad).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_credential_does_not_print_itself() {
        let credential = Credential::basic("x-access-token", "ghp_secret");
        assert_eq!(format!("{credential:?}"), "Credential(..)");
        assert_eq!(
            credential.authorization().unwrap(),
            "Basic eC1hY2Nlc3MtdG9rZW46Z2hwX3NlY3JldA=="
        );
        assert!(Credential::bearer("a\r\nX-Evil: 1").authorization().is_err());
    }
}
