//! The ports that a repository names as worth reaching, with what it calls them. Nothing is published by
//! that: it is an offer to a person.

use std::collections::BTreeMap;

use super::Definition;

/// The most characters of a port's name.
const NAME: usize = 64;

impl Definition {
    /// Ports of the environment itself that `forwardPorts` or `portsAttributes` of `devcontainer.json` name,
    /// and those of services, in their order. A label goes before the name of a service.
    pub fn offered(&self) -> Vec<(u16, String)> {
        let mut offered: BTreeMap<u16, String> = BTreeMap::new();
        for (name, service) in &self.automation.services {
            for port in service.ports.iter().filter(|port| **port > 0) {
                offered.insert(*port, plain(name));
            }
        }
        if let Some(resolved) = &self.devcontainer {
            let settings = &resolved.merged.settings;
            // One of another host is a service of Compose: it is not on the environment's own loopback.
            let own = settings.forward_ports.iter().filter(|forward| forward.host.is_none());
            for forward in own {
                offered.entry(forward.port).or_default();
            }
            for (ports, attributes) in &settings.ports_attributes {
                // A range or a pattern is about ports that nobody knows yet.
                let Ok(port @ 1..) = ports.parse::<u16>() else { continue };
                let name = offered.entry(port).or_default();
                if let Some(label) = &attributes.label {
                    *name = plain(label);
                }
            }
        }
        offered.into_iter().collect()
    }
}

/// What can be a port's name.
fn plain(name: &str) -> String {
    let visible: String = name.chars().filter(|c| !c.is_control()).take(NAME).collect();
    visible.trim().to_owned()
}
