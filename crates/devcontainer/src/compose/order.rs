//! Which services start, and in which order.

use crate::{configuration::ComposeChoice, place::Findings};

use super::{Network, Project};

/// The services that are asked for and everything they depend on, each after what it depends on. A
/// circle is refused.
pub(super) fn order(
    project: &Project,
    choice: &ComposeChoice,
    findings: &mut Findings,
) -> Vec<String> {
    let mut wanted = vec![choice.service.clone()];
    if choice.run_services.is_empty() {
        let by_default = project.services.iter().filter(|(_, service)| service.profiles.is_empty());
        wanted.extend(by_default.map(|(name, _)| name.clone()));
    }
    for name in &choice.run_services {
        if !project.services.contains_key(name) {
            let place = &project.services[&choice.service].place;
            findings.refuse(place, format!("`runServices` names `{name}`, which isn't a service"));
            continue;
        }
        wanted.push(name.clone());
    }
    let mut walk = Walk { project, open: Vec::new(), order: Vec::new(), findings };
    for name in &wanted {
        walk.visit(name);
    }
    walk.order
}

struct Walk<'a, 'f> {
    project: &'a Project,
    /// The services whose dependencies are being visited.
    open: Vec<String>,
    order: Vec<String>,
    findings: &'f mut Findings,
}

impl Walk<'_, '_> {
    fn visit(&mut self, name: &str) {
        if self.order.iter().any(|done| done == name) {
            return;
        }
        let Some(service) = self.project.services.get(name) else { return };
        if let Some(at) = self.open.iter().position(|open| open == name) {
            let circle = self.open[at..].join(" -> ");
            let what =
                format!("services wait for each other: {circle} -> {name}; break the circle");
            self.findings.refuse(&service.place, what);
            return;
        }
        self.open.push(name.to_owned());
        for (needed, dependency) in &service.depends_on {
            if self.project.services.contains_key(needed) {
                self.visit(needed);
            } else if dependency.required {
                let what = format!("`{name}` depends on `{needed}`, which isn't a service: add it");
                self.findings.refuse(&service.place, what);
            }
        }
        if let Network::Of(other) = &service.network {
            if self.project.services.contains_key(other) {
                self.visit(other);
            } else {
                let what =
                    format!("`{name}` is in the network of `{other}`, which isn't a service");
                self.findings.refuse(&service.place, what);
            }
        }
        self.open.pop();
        self.order.push(name.to_owned());
    }
}
