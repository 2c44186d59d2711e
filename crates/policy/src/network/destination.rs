//! What a client asked to reach, parsed so strictly that two programs cannot read it differently:
//! no numeric tricks, no user part, no zone, no escapes, no non-ASCII letters.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::address::canonical;

/// A host and a port in canonical form: lower case, no trailing dot, addresses as addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    host: Name,
    port: u16,
}

/// A host name or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Domain(String),
    Address(IpAddr),
}

/// Why a host is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// No port where one is needed.
    #[error("`{0}` names no port; write `host:port`")]
    NoPort(String),
    /// The port is not a number from 1 to 65535.
    #[error("`{0}` is not a port; a port is a number from 1 to 65535")]
    Port(String),
    /// A number that some programs read as an address (`2130706433`, `0x7f.1`, `0177.0.0.1`).
    #[error(
        "`{0}` is a number that programs read in different ways; write the address as four decimal parts"
    )]
    NumericHost(String),
    /// An IPv6 address that does not parse, or that has a zone.
    #[error(
        "`{0}` is not an IPv6 address; write it in brackets and without a zone, such as [2001:db8::1]"
    )]
    Ipv6(String),
    /// A name with a user part, an escape, a non-ASCII letter, or an empty or too long label.
    #[error("`{host}` is not a host name: {problem}")]
    Name {
        /// The host as given.
        host: String,
        /// What is wrong.
        problem: &'static str,
    },
}

impl Destination {
    /// Parses a host (a name, an IPv4 address, or an IPv6 address with or without brackets) and
    /// takes a port.
    pub fn new(host: &str, port: u16) -> Result<Self, DestinationError> {
        if port == 0 {
            return Err(DestinationError::Port("0".to_owned()));
        }
        Ok(Self { host: Name::parse(host)?, port })
    }

    /// Parses `host:port`, as a CONNECT request names its target.
    pub fn parse(text: &str) -> Result<Self, DestinationError> {
        let (host, port) = split_port(text)?;
        let port = port.ok_or_else(|| DestinationError::NoPort(text.to_owned()))?;
        Self::new(host, port)
    }

    /// The host as text, without brackets.
    pub fn host(&self) -> String {
        self.host.to_string()
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, if the client gave one instead of a name.
    pub fn address(&self) -> Option<IpAddr> {
        match &self.host {
            Name::Domain(_) => None,
            Name::Address(address) => Some(*address),
        }
    }

    pub(super) fn name(&self) -> &Name {
        &self.host
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Name::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]:{}", self.port),
            Name::Address(IpAddr::V4(_)) | Name::Domain(_) => {
                write!(formatter, "{}:{}", self.host, self.port)
            }
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => formatter.write_str(domain),
            Self::Address(address) => write!(formatter, "{address}"),
        }
    }
}

impl Name {
    pub(super) fn parse(host: &str) -> Result<Self, DestinationError> {
        if host.is_empty() {
            return Err(DestinationError::Empty);
        }
        let bracketed = host.strip_prefix('[').map(|rest| rest.strip_suffix(']'));
        if let Some(inner) = bracketed {
            let address = inner.and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            let address = address.ok_or_else(|| DestinationError::Ipv6(host.to_owned()))?;
            return Ok(Self::Address(canonical(IpAddr::V6(address))));
        }
        if host.contains(':') {
            let address = host.parse::<Ipv6Addr>();
            let address = address.map_err(|_| DestinationError::Ipv6(host.to_owned()))?;
            return Ok(Self::Address(canonical(IpAddr::V6(address))));
        }
        let domain = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if ends_in_a_number(&domain) {
            // Rust's parser takes exactly four decimal parts without leading zeros.
            let address = domain.parse::<Ipv4Addr>();
            let address = address.map_err(|_| DestinationError::NumericHost(host.to_owned()))?;
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        match problem_of(&domain) {
            None => Ok(Self::Domain(domain)),
            Some(problem) => Err(DestinationError::Name { host: host.to_owned(), problem }),
        }
    }
}

/// Splits `host[:port]`, leaving the brackets of an IPv6 address.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<u16>), DestinationError> {
    let host_end = match (text.starts_with('['), text.find(']')) {
        (true, Some(bracket)) => bracket + 1,
        (true, None) => return Err(DestinationError::Ipv6(text.to_owned())),
        (false, _) => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(host_end);
    if rest.is_empty() {
        return Ok((host, None));
    }
    let port = rest.strip_prefix(':').unwrap_or(rest);
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if digits && port != 0 => Ok((host, Some(port))),
        Ok(_) | Err(_) => Err(DestinationError::Port(port.to_owned())),
    }
}

/// True if the last label is a number, decimal or hexadecimal: then no resolver may see it, because
/// many read such names as addresses.
fn ends_in_a_number(domain: &str) -> bool {
    let last = domain.rsplit('.').next().unwrap_or(domain);
    let hexadecimal = last
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
}

fn problem_of(domain: &str) -> Option<&'static str> {
    if domain.is_empty() {
        return Some("it is empty");
    }
    if domain.len() > 253 {
        return Some("it is longer than 253 characters");
    }
    if !domain.is_ascii() {
        return Some("it has letters outside ASCII; write it in its xn-- form");
    }
    let good =
        |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte == b'.';
    if !domain.bytes().all(good) {
        return Some("it may have letters, digits, `-`, `_` and `.` only");
    }
    if domain.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Some("a part between dots is empty or longer than 63 characters");
    }
    None
}
