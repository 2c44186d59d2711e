//! Addresses of published ports: `PORT--ENVIRONMENT.HOST`, each an origin of its own. Says what a host's
//! name means, and nothing of whether it exists.

use std::net::IpAddr;

use axum::http::{Request, Uri, header};
use windlass_run::EnvironmentId;

/// The address of a port of an environment, whether or not there is one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    /// The environment.
    pub(crate) environment_id: EnvironmentId,
    /// The port.
    pub(crate) port: u16,
}

impl Address {
    /// The first part of the host's name.
    pub(crate) fn label(&self) -> String {
        let id = self.environment_id.as_str();
        format!("{}--{}", self.port, id.strip_prefix(PREFIX).unwrap_or(id))
    }

    /// Reads the first part of a host's name, in lower case. Each address has one spelling only.
    pub(crate) fn parse(label: &str) -> Option<Self> {
        let (digits, rest) = label.split_once("--")?;
        let port = digits.parse::<u16>().ok().filter(|port| *port > 0)?;
        let environment_id = EnvironmentId::parse(&format!("{PREFIX}{rest}")).ok()?;
        let address = Self { environment_id, port };
        (address.label() == label).then_some(address)
    }
}

/// How ids of environments begin: a name of a host has no underscore.
const PREFIX: &str = "env_";

/// What the host of a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The server's own, or one that has nothing to do with ports.
    Server,
    /// That of a port.
    Port(Address),
    /// One that only ports could have, and none does.
    Nowhere,
}

/// Where ports are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    scheme: String,
    host: String,
    /// With its colon; empty for the scheme's usual one.
    port: String,
}

/// Why there is no such home, for an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadHost(String);

impl Home {
    /// Where ports are reached, at a server that is at `base_url`; absent if nobody said where and it can't
    /// be guessed: on this machine, every name below `localhost` is this machine.
    ///
    /// # Errors
    /// A host that can't be, or below which the server itself is.
    pub(crate) fn new(base_url: &str, wanted: Option<&str>) -> Result<Option<Self>, BadHost> {
        let uri = base_url.parse::<Uri>().map_err(|error| BadHost(error.to_string()))?;
        let own = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
        let is_here = own == "localhost" || own.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let host = match wanted {
            Some(wanted) => wanted.trim_end_matches('.').to_ascii_lowercase(),
            None if is_here => "localhost".to_owned(),
            None => return Ok(None),
        };
        let is_name = host.len() <= 200
            && host.parse::<IpAddr>().is_err()
            && host.split('.').all(|label| {
                let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
                (1..=63).contains(&label.len())
                    && label.bytes().all(plain)
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            });
        if !is_name {
            let why = format!(
                "`{host}` can't be the host of ports: give a name without a port, below which every name \
                 leads to this server, as in `ports.example.com`"
            );
            return Err(BadHost(why));
        }
        if own.ends_with(&format!(".{host}")) {
            let why = format!(
                "the server itself is at `{own}`, below `{host}`: give ports a host of their own, as in \
                 `ports.{own}` or, better, another domain"
            );
            return Err(BadHost(why));
        }
        let scheme = uri.scheme_str().unwrap_or("http").to_owned();
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Some(Self { scheme, host, port }))
    }

    /// Whether connections are protected.
    pub(crate) fn is_secure(&self) -> bool {
        self.scheme == "https"
    }

    /// An address's host, with its port where it has one.
    pub(crate) fn authority(&self, address: &Address) -> String {
        format!("{}.{}{}", address.label(), self.host, self.port)
    }

    /// An address as an origin: no slash at the end.
    pub(crate) fn origin(&self, address: &Address) -> String {
        format!("{}://{}", self.scheme, self.authority(address))
    }

    /// What a request's host is. The port in it says nothing: a proxy in front may have another one.
    pub(crate) fn place<B>(&self, request: &Request<B>) -> Place {
        let told = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let named = request.uri().host().or_else(|| told.map(without_port)).unwrap_or_default();
        let named = named.trim_end_matches('.').to_ascii_lowercase();
        let below = named.strip_suffix(self.host.as_str()).and_then(|rest| rest.strip_suffix('.'));
        match below {
            None => Place::Server,
            Some(label) => Address::parse(label).map_or(Place::Nowhere, Place::Port),
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01kb2m9d5xq8s0v3c7w1r4t6ya";

    fn home(base: &str, wanted: Option<&str>) -> Option<Home> {
        Home::new(base, wanted).expect("it can be")
    }

    #[test]
    fn a_host_is_that_of_one_port_in_one_spelling() {
        let home = home("http://127.0.0.1:8420", None).expect("a home");
        let environment_id = EnvironmentId::parse(&format!("env_{ID}")).expect("an id");
        let address = Address { environment_id, port: 8080 };
        assert_eq!(home.origin(&address), format!("http://8080--{ID}.localhost:8420"));
        let place = |host: &str| {
            home.place(&Request::builder().header("host", host).body(()).expect("a request"))
        };
        let port = Place::Port(address);
        assert_eq!(place(&format!("8080--{ID}.localhost:8420")), port);
        assert_eq!(place(&format!("8080--{}.LOCALHOST.", ID.to_uppercase())), port);
        for other in ["localhost", "127.0.0.1:8420", "[::1]:8420", "notlocalhost", "example.com"] {
            assert_eq!(place(other), Place::Server, "{other}");
        }
        for label in ["x", "0", "70000", "+80", "08080", ""] {
            assert_eq!(place(&format!("{label}--{ID}.localhost")), Place::Nowhere, "{label}");
        }
        for host in
            [format!("x.8080--{ID}.localhost"), "8080--short.localhost".into(), ".localhost".into()]
        {
            assert_eq!(place(&host), Place::Nowhere, "{host}");
        }
    }

    #[test]
    fn the_target_of_a_request_goes_before_its_host() {
        let home = home("http://127.0.0.1:8420", None).expect("a home");
        let uri = format!("http://8080--{ID}.localhost/x");
        let request = Request::builder().uri(uri).header("host", "127.0.0.1").body(());
        assert!(matches!(home.place(&request.expect("a request")), Place::Port(_)));
    }

    #[test]
    fn a_home_is_guessed_on_this_machine_only_and_never_above_the_server() {
        let said = |base, wanted| Home::new(base, wanted).map_err(|error| error.to_string());
        assert_eq!(said("https://windlass.example.com", None), Ok(None));
        assert_eq!(home("http://[::1]:8420", None).expect("a home").host, "localhost");
        let wanted = home("https://windlass.example.com", Some("Ports.example.org."));
        let wanted = wanted.expect("a home");
        assert_eq!((wanted.host.as_str(), wanted.is_secure()), ("ports.example.org", true));
        for bad in
            ["", "a..b", "127.0.0.1", "ports.example.com:8443", "*.example.com", "-a.b", "a_b.c"]
        {
            assert!(said("https://w.example.com", Some(bad)).is_err(), "{bad}");
        }
        let above = said("https://windlass.example.com", Some("example.com")).expect_err("above");
        assert!(above.contains("ports.windlass.example.com"), "{above}");
        assert!(home("https://windlass.example.com", Some("windlass.example.com")).is_some());
    }
}
