//! Services of a Compose file are judged as the environment itself is.

use super::{Capabilities, Definition, added, one_mount, security_option};
use crate::place::Findings;

pub(super) fn check(definition: &Definition<'_>, can: &Capabilities, findings: &mut Findings) {
    let Some(project) = definition.compose else { return };
    for (name, service) in &project.services {
        let place = &service.place;
        if service.privileged && !can.privileged {
            let what =
                format!("the service `{name}` is `privileged`, which isn't allowed: remove it");
            findings.refuse(place, what);
        }
        for capability in &service.cap_add {
            added(capability, place, can, findings);
        }
        for option in &service.security_opt {
            security_option(option, place, can, findings);
        }
        for mount in &service.mounts {
            one_mount(mount, place, definition, can, findings);
        }
        if service.ports.iter().any(|port| port.published.is_some()) {
            let what = format!(
                "the ports of `{name}` are published nowhere; they are reached as `forwardPorts` are"
            );
            findings.warn(place, what);
        }
    }
}
