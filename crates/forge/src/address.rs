//! Which repository at which host an address means, in all the forms that people paste.

use std::fmt;

/// `owner/name` at a host.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct RepositoryName {
    /// The person or organisation.
    pub owner: String,
    /// The repository.
    pub name: String,
}

/// An address that is not one of a repository at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the address of a repository at a host: write https://host/owner/name or git@host:owner/name"
)]
pub struct NotARepositoryAddress;

impl RepositoryName {
    /// Reads `owner/name`, with or without `.git`.
    pub fn parse(text: &str) -> Result<Self, NotARepositoryAddress> {
        let text = text.trim_matches('/');
        let text = text.strip_suffix(".git").unwrap_or(text);
        let (owner, name) = text.split_once('/').ok_or(NotARepositoryAddress)?;
        if is_name(owner) && is_name(name) {
            Ok(RepositoryName { owner: owner.to_owned(), name: name.to_owned() })
        } else {
            Err(NotARepositoryAddress)
        }
    }
}

/// Only what hosts give out as names: a name goes into the path of an API call.
fn is_name(text: &str) -> bool {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    plain && !text.is_empty() && text.len() <= 100 && text != "." && text != ".."
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// A repository and its host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct RepositoryAddress {
    /// The host in lower case, with its port for `http` and `https` if it is not the usual one.
    pub host: String,
    /// Whether the host is reached without TLS (a test or a private host).
    pub plain_http: bool,
    /// The repository.
    pub repository: RepositoryName,
}

impl RepositoryAddress {
    /// Reads `https://host/owner/name(.git)`, `ssh://git@host/owner/name.git`,
    /// `git@host:owner/name.git`, and pages below a repository such as `.../pull/7`.
    pub fn parse(text: &str) -> Result<Self, NotARepositoryAddress> {
        let text = text.trim();
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(NotARepositoryAddress);
        }
        let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
        if lower.starts_with("https://") {
            return RepositoryAddress::of_parts(&text[8..], false, true);
        }
        if lower.starts_with("http://") {
            return RepositoryAddress::of_parts(&text[7..], true, true);
        }
        if lower.starts_with("ssh://") {
            let rest = &text[6..];
            let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
            return RepositoryAddress::of_parts(rest, false, false);
        }
        let (host, path) = text.split_once(':').ok_or(NotARepositoryAddress)?;
        if path.starts_with("//") || host.contains('/') {
            return Err(NotARepositoryAddress);
        }
        let host = host.split_once('@').map_or(host, |(_, host)| host);
        RepositoryAddress::of_parts(
            &format!("{host}/{}", path.trim_start_matches('/')),
            false,
            false,
        )
    }

    fn of_parts(
        rest: &str,
        plain_http: bool,
        keeps_port: bool,
    ) -> Result<Self, NotARepositoryAddress> {
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_once('/').ok_or(NotARepositoryAddress)?;
        let authority =
            authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_ascii_lowercase();
        let (name, port) = authority
            .split_once(':')
            .map_or((authority.as_str(), None), |(name, port)| (name, Some(port)));
        let usual = if plain_http { "80" } else { "443" };
        let host = match port {
            Some(port) if keeps_port && port != usual => {
                port.parse::<u16>().map_err(|_| NotARepositoryAddress)?;
                authority.clone()
            }
            Some(_) | None => name.to_owned(),
        };
        // GitHub's ssh service on the https port has a name of its own.
        let host = if host == "ssh.github.com" || host == "www.github.com" {
            "github.com".to_owned()
        } else {
            host
        };
        let plain =
            host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_'));
        if host.is_empty() || !plain {
            return Err(NotARepositoryAddress);
        }
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let (Some(owner), Some(name)) = (parts.next(), parts.next()) else {
            return Err(NotARepositoryAddress);
        };
        let repository = RepositoryName::parse(&format!("{owner}/{name}"))?;
        Ok(RepositoryAddress { host, plain_http, repository })
    }

    /// The root of the host's pages.
    pub fn web_root(&self) -> String {
        format!("{}://{}", if self.plain_http { "http" } else { "https" }, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, plain_http: bool) -> RepositoryAddress {
        RepositoryAddress {
            host: host.into(),
            plain_http,
            repository: RepositoryName { owner: "acme".into(), name: "api.rs".into() },
        }
    }

    #[test]
    fn all_forms_of_an_address_mean_the_same_repository() {
        for text in [
            "https://github.com/acme/api.rs",
            "https://github.com/acme/api.rs.git",
            "https://GitHub.com/acme/api.rs/",
            "https://www.github.com/acme/api.rs/pull/7/files#r1",
            "git@github.com:acme/api.rs.git",
            "ssh://git@github.com/acme/api.rs.git",
            "ssh://git@ssh.github.com:443/acme/api.rs.git",
            "github.com:acme/api.rs",
            "https://x-access-token:abc@github.com/acme/api.rs",
        ] {
            assert_eq!(RepositoryAddress::parse(text), Ok(address("github.com", false)), "{text}");
        }
        assert_eq!(
            RepositoryAddress::parse("https://git.acme.example:8443/acme/api.rs.git"),
            Ok(address("git.acme.example:8443", false))
        );
        assert_eq!(
            RepositoryAddress::parse("http://127.0.0.1:9/acme/api.rs"),
            Ok(address("127.0.0.1:9", true))
        );
        assert_eq!(
            RepositoryAddress::parse("https://github.com:443/acme/api.rs"),
            Ok(address("github.com", false))
        );
    }

    #[test]
    fn what_is_no_repository_at_a_host_is_refused() {
        for text in [
            "",
            "acme/api",
            "/srv/git/api.git",
            "https://github.com/acme",
            "https://github.com/../api",
            "https://github.com/a b/c",
            "git@github.com",
            "https:///a/b",
            "https://host:port/a/b",
            "https://github.com/a%2f/b",
        ] {
            assert_eq!(RepositoryAddress::parse(text), Err(NotARepositoryAddress), "{text}");
        }
    }
}
