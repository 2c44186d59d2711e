//! One network rule: `registry.npmjs.org:443`, `*.crates.io:443`, `mirror.corp.example:8443 in
//! 10.20.0.0/16`. A rule without a port means 443.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::destination::{Destination, DestinationError, Name, split_port};

/// A destination that a layer allows or denies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which hosts.
    pub host: Host,
    /// Which port; `None` is `*`, every port.
    pub port: Option<u16>,
    /// The addresses outside the public internet that the host may resolve to. Not empty only in an
    /// operator's rule.
    pub addresses: Vec<IpNet>,
}

/// Which hosts a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// This one name, lower case.
    Exact(String),
    /// This one address.
    Address(IpAddr),
    /// Every name below this one, at any depth, but not the name itself: `*.example.org`.
    Below(String),
    /// Every name, but no bare address: `*`.
    Any,
}

/// Why a rule does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Nothing there.
    #[error("it is empty; write host:port, such as registry.npmjs.org:443")]
    Empty,
    /// It looks like a URL.
    #[error("it is a URL or has a path; write only host:port, such as registry.npmjs.org:443")]
    Url,
    /// A set of rules that there is not.
    #[error("there is no set of rules `{0}`; the sets are: @registries")]
    UnknownSet(String),
    /// A `*` elsewhere than as the whole first label.
    #[error("`*` may stand only for the whole host or as `*.` before a name with a dot in it")]
    Wildcard,
    /// The host or the port is wrong.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The part after ` in ` is not a list of address blocks.
    #[error("`{0}` is not an address block; write CIDR, such as 10.20.0.0/16 or 10.20.0.5")]
    Block(String),
    /// A block so wide that it names nothing in particular.
    #[error(
        "`{0}` covers too much to be an exception; name the narrowest block that the host is in (/8 or longer, /16 for IPv6)"
    )]
    WideBlock(String),
    /// Addresses were named for a host that is not.
    #[error(
        "a rule that names addresses must name its host; `*` may not lead to private addresses"
    )]
    BlockForAny,
}

impl Rule {
    /// True if the rule names this destination. Addresses are judged apart.
    pub fn matches(&self, destination: &Destination) -> bool {
        let port = self.port.is_none_or(|port| port == destination.port());
        let host = match (&self.host, destination.name()) {
            (Host::Exact(name), Name::Domain(domain)) => name == domain,
            (Host::Address(address), Name::Address(other)) => address == other,
            (Host::Below(suffix), Name::Domain(domain)) => domain
                .strip_suffix(suffix.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            (Host::Any, Name::Domain(_)) => true,
            (Host::Exact(_) | Host::Below(_) | Host::Any, Name::Address(_))
            | (Host::Address(_), Name::Domain(_)) => false,
        };
        port && host
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(RuleError::Empty);
        }
        let (place, blocks) = match text.split_once(" in ") {
            Some((place, blocks)) => (place.trim(), Some(blocks)),
            None => (text, None),
        };
        if place.contains('/') {
            return Err(RuleError::Url);
        }
        let (place, any_port) = match place.strip_suffix(":*") {
            Some(place) => (place, true),
            None => (place, false),
        };
        let (host, port) = split_port(place)?;
        let port = if any_port { None } else { Some(port.unwrap_or(443)) };
        let host = parse_host(host)?;
        let addresses = match blocks {
            None => Vec::new(),
            Some(_) if host == Host::Any => return Err(RuleError::BlockForAny),
            Some(blocks) => blocks.split(',').map(parse_block).collect::<Result<_, _>>()?,
        };
        Ok(Self { host, port, addresses })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Exact(name) => formatter.write_str(name)?,
            Host::Address(IpAddr::V4(address)) => write!(formatter, "{address}")?,
            Host::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]")?,
            Host::Below(suffix) => write!(formatter, "*.{suffix}")?,
            Host::Any => formatter.write_str("*")?,
        }
        match self.port {
            Some(port) => write!(formatter, ":{port}")?,
            None => formatter.write_str(":*")?,
        }
        for (index, block) in self.addresses.iter().enumerate() {
            formatter.write_str(if index == 0 { " in " } else { ", " })?;
            // A single address reads better without its prefix length.
            if block.prefix_len() == block.max_prefix_len() {
                write!(formatter, "{}", block.addr())?;
            } else {
                write!(formatter, "{block}")?;
            }
        }
        Ok(())
    }
}

fn parse_host(host: &str) -> Result<Host, RuleError> {
    if host == "*" {
        return Ok(Host::Any);
    }
    if let Some(suffix) = host.strip_prefix("*.") {
        return match Name::parse(suffix)? {
            Name::Domain(suffix) if suffix.contains('.') => Ok(Host::Below(suffix)),
            Name::Domain(_) | Name::Address(_) => Err(RuleError::Wildcard),
        };
    }
    if host.contains('*') {
        return Err(RuleError::Wildcard);
    }
    Ok(match Name::parse(host)? {
        Name::Domain(domain) => Host::Exact(domain),
        Name::Address(address) => Host::Address(address),
    })
}

fn parse_block(text: &str) -> Result<IpNet, RuleError> {
    let text = text.trim();
    let block = match text.parse::<IpNet>() {
        Ok(block) => block.trunc(),
        Err(_) => {
            let address = text.parse::<IpAddr>().map_err(|_| RuleError::Block(text.to_owned()))?;
            IpNet::from(address.to_canonical())
        }
    };
    let narrowest = match block {
        IpNet::V4(_) => 8,
        // Twice as long a prefix: fc00::/7 and the like are whole worlds.
        IpNet::V6(_) => 16,
    };
    if block.prefix_len() < narrowest {
        return Err(RuleError::WideBlock(text.to_owned()));
    }
    Ok(block)
}
