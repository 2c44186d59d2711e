//! Ports that a project wants reachable.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{
    place::Findings,
    read::{self, Fields},
    tree::{Node, Value},
};

/// A port inside the environment, or of a service beside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForwardPort {
    /// The service; `None` is the environment itself.
    pub host: Option<String>,
    /// The port.
    pub port: u16,
}

impl fmt::Display for ForwardPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(formatter, "{host}:{}", self.port),
            None => write!(formatter, "{}", self.port),
        }
    }
}

impl Serialize for ForwardPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How a port is to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortAttributes {
    /// A name for people.
    pub label: Option<String>,
    /// What speaks there.
    pub protocol: Option<PortProtocol>,
    /// What an editor does when it sees the port: `notify`, `silent`, ...
    pub on_auto_forward: Option<String>,
}

/// What speaks on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PortProtocol {
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

const ON_AUTO_FORWARD: [(&str, &str); 6] = [
    ("notify", "notify"),
    ("openBrowser", "openBrowser"),
    ("openBrowserOnce", "openBrowserOnce"),
    ("openPreview", "openPreview"),
    ("silent", "silent"),
    ("ignore", "ignore"),
];

pub(crate) fn read_forward(
    node: &Node,
    name: &str,
    findings: &mut Findings,
) -> Option<ForwardPort> {
    match &node.value {
        Value::Number(_) => {
            let port = read::whole(node, name, findings)?;
            if let Ok(port) = u16::try_from(port) {
                return Some(ForwardPort { host: None, port });
            }
            findings.refuse(&node.place, format!("`{name}` is {port}: a port is at most 65535"));
            None
        }
        Value::Text(text) => {
            let (host, port) = match text.rsplit_once(':') {
                Some((host, port)) => (Some(host), port),
                None => (None, text.as_str()),
            };
            let host_is_fine = host.is_none_or(|host| {
                !host.is_empty()
                    && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
            });
            match port.parse() {
                Ok(port) if host_is_fine => {
                    let host = host.filter(|host| *host != "localhost").map(str::to_owned);
                    Some(ForwardPort { host, port })
                }
                _ => {
                    let what = format!("`{name}` can't be `{text}`: write a port or service:port");
                    findings.refuse(&node.place, what);
                    None
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Object(_) => {
            read::wrong_type(node, name, "a number or service:port", findings);
            None
        }
    }
}

pub(crate) fn read_attributes(
    node: &Node,
    name: &str,
    findings: &mut Findings,
) -> Option<PortAttributes> {
    let mut fields = Fields::open(node, name, findings)?;
    let attributes = PortAttributes {
        label: fields.text("label"),
        protocol: fields
            .word("protocol", &[("http", PortProtocol::Http), ("https", PortProtocol::Https)]),
        on_auto_forward: fields.word("onAutoForward", &ON_AUTO_FORWARD).map(str::to_owned),
    };
    fields.truth("elevateIfNeeded");
    fields.truth("requireLocalPort");
    fields.finish();
    Some(attributes)
}

/// `appPort`: a number, a text such as `8080:80`, or a list of them.
pub(crate) fn read_published(
    node: &Node,
    name: &str,
    findings: &mut Findings,
) -> Option<Vec<String>> {
    let read_one = |node: &Node, name: &str, findings: &mut Findings| match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Number(_) => read::whole(node, name, findings).map(|port| port.to_string()),
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Object(_) => {
            read::wrong_type(node, name, "a number or a string", findings);
            None
        }
    };
    if node.list().is_some() {
        return read::list(node, name, findings, read_one);
    }
    Some(read_one(node, name, findings).into_iter().collect())
}
