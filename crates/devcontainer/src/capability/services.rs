//! Services of a Compose file are judged as the environment itself is: a word about each that is not
//! honoured, at its place.

use super::{Capabilities, Definition, added, one_mount, security_option};
use crate::{
    compose::Service,
    configuration::{Base, Mount, MountKind},
    path,
    place::Findings,
};

pub(super) fn check(definition: &Definition<'_>, can: &Capabilities, findings: &mut Findings) {
    let Some(project) = definition.compose else { return };
    let own = match &definition.configuration.base {
        Base::Compose(choice) => choice.service.as_str(),
        Base::Default | Base::Image(_) | Base::Dockerfile(_) => "",
    };
    for (name, service) in &project.services {
        // What is not started does no harm.
        if project.order.contains(name) {
            one(name, service, name == own, definition, can, findings);
        }
    }
}

fn one(
    name: &str,
    service: &Service,
    is_own: bool,
    definition: &Definition<'_>,
    can: &Capabilities,
    findings: &mut Findings,
) {
    if service.privileged && !can.privileged {
        let what = format!("the service `{name}` is `privileged`, which isn't allowed: remove it");
        findings.refuse(service.place_of("privileged"), what);
    }
    for capability in &service.cap_add {
        let place = service.place_of("cap_add");
        if is_own {
            added(capability, place, can, findings);
        } else {
            let what = format!(
                "the capability `{capability}` isn't given to the service `{name}`: remove it"
            );
            findings.refuse(place, what);
        }
    }
    for option in &service.security_opt {
        security_option(option, service.place_of("security_opt"), can, findings);
    }
    for mount in &service.mounts {
        if !shows_the_project(mount, definition) {
            one_mount(mount, service.place_of("volumes"), definition, can, findings);
        }
    }
    if service.ports.iter().any(|port| port.published.is_some()) {
        let what = format!(
            "the ports of `{name}` are published nowhere; they are reached as `forwardPorts` are"
        );
        findings.warn(service.place_of("ports"), what);
    }
}

/// The folder that holds the project is what many Compose files bind. Only the project of it is shown.
fn shows_the_project(mount: &Mount, definition: &Definition<'_>) -> bool {
    let source = path::tidy(mount.source.as_deref().unwrap_or_default());
    mount.kind == MountKind::Bind
        && mount.target.starts_with('/')
        && source == path::parent(definition.workspace_root)
}
