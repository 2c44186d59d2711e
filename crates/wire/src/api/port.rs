//! Ports of environments that are published: reached by a browser or a program at an address of the server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_run::environment;

/// Who is let in to a published port. Each admits whoever the one before it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// Whoever may use the environment: its owner, and admins.
    Owner,
    /// Whoever is signed in and may see things of the organisation.
    Organisation,
    /// Anybody who knows the address.
    Public,
}

impl From<environment::Admission> for Admission {
    fn from(admission: environment::Admission) -> Self {
        match admission {
            environment::Admission::Owner => Self::Owner,
            environment::Admission::Organisation => Self::Organisation,
            environment::Admission::Public => Self::Public,
        }
    }
}

impl From<Admission> for environment::Admission {
    fn from(admission: Admission) -> Self {
        match admission {
            Admission::Owner => Self::Owner,
            Admission::Organisation => Self::Organisation,
            Admission::Public => Self::Public,
        }
    }
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Port {
    /// The port on the environment's own loopback.
    pub port: u16,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who is let in.
    pub admission: Admission,
    /// Where it is reached; absent while this server has no host for ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Why nobody is let in although it is published, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shut: Option<String>,
}

/// A port that the repository names and that is not published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OfferedPort {
    /// The port.
    pub port: u16,
    /// Its label, or the service that listens there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The ports of an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ports {
    /// Those that are published.
    pub published: Vec<Port>,
    /// Those that `forwardPorts`, `portsAttributes` or a service of the repository names, as of the last
    /// start, and that are not published.
    pub offered: Vec<OfferedPort>,
    /// The widest admission that this server lets a port have; absent: no port is published here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Admission>,
    /// Why no port can be reached at this server, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
}

/// How a port is to be published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishPort {
    /// What people call it, at most 64 characters. If absent: as it is, or what the repository calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who is let in. If absent: as it is, or the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission: Option<Admission>,
}
