//! The services of a Compose file: the one that the environment is, and those that run beside it. All are in
//! one network, which is the environment's own: it holds a loopback and the doors, nothing else.

use std::collections::BTreeMap;

use serde::Serialize;
use windlass_devcontainer::{
    Findings, Place,
    automation::Service as Command,
    compose::{Condition, Network, Service},
    configuration::{Base, Build, Mount, MountKind},
};

use super::{Basis, Judge, basis::join, is_within};

/// A service that runs beside the environment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Beside {
    /// Its name.
    pub name: String,
    /// What it is made from.
    pub basis: Basis,
    /// Its volumes: name, place inside, and whether it can't be written.
    pub volumes: Vec<(String, String, bool)>,
    /// Folders and files of the project that it sees: the path in the project, and the place inside.
    pub shown: Vec<(String, String)>,
    /// Where it has memory to write.
    pub memory: Vec<String>,
    /// All else that is written about it.
    pub service: Service,
}

/// The services of a Compose file, as far as they are started.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Services {
    /// Those beside the environment, each after those that it depends on.
    pub beside: Vec<Beside>,
    /// Their names in the network, and the environment's own.
    pub names: Vec<String>,
    /// What must be so of them before anything runs in the environment.
    pub needs: Vec<(String, Condition)>,
    /// What the environment itself may use of the machine, as the file says.
    pub limits: windlass_devcontainer::compose::Limits,
}

impl Judge<'_> {
    /// The service that the environment is.
    pub(super) fn own_service(&self) -> Option<(&str, &Service)> {
        let Base::Compose(choice) = &self.resolved.definition.base else { return None };
        let service = self.resolved.compose.as_ref()?.services.get(&choice.service)?;
        Some((&choice.service, service))
    }

    /// What a service is made from.
    pub(super) fn basis_of(&self, service: &Service, findings: &mut Findings) -> Basis {
        let Some(build) = &service.build else {
            return service.image.clone().map_or(Basis::Default, Basis::Image);
        };
        // There the Dockerfile is relative to the context, in a configuration to its own folder.
        let dockerfile = join(&build.context, &build.dockerfile);
        let build = Build { dockerfile, ..build.clone() };
        self.dockerfile(&build, service.place_of("build"), findings)
    }

    /// All that is to run beside the environment.
    pub(super) fn services(&self, findings: &mut Findings) -> Services {
        let (Some((own, service)), Some(project)) = (self.own_service(), &self.resolved.compose)
        else {
            return Services::default();
        };
        let mut services = Services { limits: service.limits, ..Services::default() };
        for (name, dependency) in &service.depends_on {
            if project.order.contains(name) {
                services.needs.push((name.clone(), dependency.condition));
            }
        }
        for name in &project.order {
            let Some(service) = project.services.get(name) else { continue };
            if service.network != Network::None {
                let names = [Some(name), service.hostname.as_ref()].into_iter().flatten();
                services.names.extend(names.chain(&service.aliases).cloned());
            }
            self.waits(own, name, service, findings);
            if name != own {
                services.beside.push(self.beside(name, service, findings));
            }
        }
        services.names.sort();
        services.names.dedup();
        self.ports(findings);
        for key in ["healthcheck", "shm_size"] {
            if let Some(place) = service.places.get(key) {
                let what = format!("`{key}` is left out for the service that the environment is");
                findings.warn(place, what);
            }
        }
        services
    }

    /// The environment itself has no end and no health check that others could wait for.
    fn waits(&self, own: &str, name: &str, service: &Service, findings: &mut Findings) {
        match service.depends_on.get(own).map(|it| it.condition) {
            Some(Condition::Healthy | Condition::Completed) => {
                let what = format!(
                    "`{name}` waits for more of `{own}` than its start, which the environment itself is: \
                     wait for `service_started`"
                );
                findings.refuse(service.place_of("depends_on"), what);
            }
            Some(Condition::Started) | None => {}
        }
    }

    fn beside(&self, name: &str, service: &Service, findings: &mut Findings) -> Beside {
        let mut beside = Beside {
            name: name.to_owned(),
            basis: self.basis_of(service, findings),
            volumes: Vec::new(),
            shown: Vec::new(),
            memory: Vec::new(),
            service: service.clone(),
        };
        let place = service.place_of("volumes");
        for (n, mount) in service.mounts.iter().enumerate() {
            let inside = mount.target.clone();
            match (mount.kind, &mount.source) {
                (MountKind::Tmpfs, _) => beside.memory.push(inside),
                (MountKind::Volume, None) => {
                    beside.volumes.push((format!("{name}.{n}"), inside, mount.read_only));
                }
                (MountKind::Volume, Some(volume)) => {
                    self.declared(volume, place, findings);
                    beside.volumes.push((volume.clone(), inside, mount.read_only));
                }
                (MountKind::Bind, _) => {
                    let Some((below, inside)) = self.shown(mount) else { continue };
                    if !mount.read_only {
                        let what = format!(
                            "the service `{name}` sees {inside} read-only: what it writes belongs in a volume"
                        );
                        findings.warn(place, what);
                    }
                    beside.shown.push((below, inside));
                }
            }
        }
        beside
    }

    fn declared(&self, volume: &str, place: &Place, findings: &mut Findings) {
        let is_declared = |project: &windlass_devcontainer::compose::Project| {
            project.volumes.iter().any(|name| name == volume)
        };
        if !self.resolved.compose.as_ref().is_some_and(is_declared) {
            let what = format!("`{volume}` isn't among the `volumes` of the file: add it there");
            findings.refuse(place, what);
        }
    }

    /// The path in the project that a mount shows, and where: the project itself, something in it, or the
    /// folder that holds it, of which nothing else is there.
    pub(super) fn shown(&self, mount: &Mount) -> Option<(String, String)> {
        if mount.kind != MountKind::Bind {
            return None;
        }
        let source = join("/", mount.source.as_deref().unwrap_or_default());
        let target = mount.target.trim_end_matches('/');
        if is_within(&source, self.root) {
            let below = source[self.root.len()..].trim_matches('/');
            return Some((below.to_owned(), target.to_owned()));
        }
        let name = self.root.strip_prefix(source.as_str())?.trim_matches('/');
        (!name.contains('/')).then(|| (String::new(), format!("{target}/{name}")))
    }

    /// Where the mounts of the environment's own service put the project.
    pub(super) fn mounted_by_service(&self) -> Option<String> {
        let (_, service) = self.own_service()?;
        let mut shown = service.mounts.iter().filter_map(|mount| self.shown(mount));
        shown.find(|(below, _)| below.is_empty()).map(|(_, inside)| inside)
    }

    /// The mounts of the environment's own service, but for those that show the whole project and those of
    /// memory where there is some anyway.
    pub(super) fn mounts_of_service(&self, findings: &mut Findings) -> Vec<(Mount, Place)> {
        const MEMORY: [&str; 4] = ["/tmp", "/var/tmp", "/run", "/dev/shm"];
        let Some((own, service)) = self.own_service() else { return Vec::new() };
        let place = service.place_of("volumes");
        let is_whole = |mount: &Mount| self.shown(mount).is_some_and(|(below, _)| below.is_empty());
        let is_there = |mount: &Mount| {
            mount.kind == MountKind::Tmpfs && MEMORY.contains(&mount.target.trim_end_matches('/'))
        };
        let mut mounts = Vec::new();
        for mount in service.mounts.iter().filter(|mount| !is_whole(mount) && !is_there(mount)) {
            if let (MountKind::Volume, Some(volume)) = (mount.kind, &mount.source) {
                self.declared(volume, place, findings);
                if let Some(other) = self.sharer(own, volume) {
                    let what = format!(
                        "the volume `{volume}` is shared with the service `{other}`, which another user \
                         writes: share files through the project, or give each its own"
                    );
                    findings.refuse(place, what);
                }
            }
            mounts.push((mount.clone(), place.clone()));
        }
        mounts
    }

    /// Another service that is started and has the same volume.
    fn sharer(&self, own: &str, volume: &str) -> Option<&str> {
        let project = self.resolved.compose.as_ref()?;
        let others = project
            .services
            .iter()
            .filter(|(name, _)| name.as_str() != own && project.order.contains(name));
        let has = |service: &Service| {
            let mut mounts = service.mounts.iter();
            mounts.any(|it| it.kind == MountKind::Volume && it.source.as_deref() == Some(volume))
        };
        others.into_iter().find(|(_, service)| has(service)).map(|(name, _)| name.as_str())
    }

    /// One network has each port once, and some are the platform's.
    fn ports(&self, findings: &mut Findings) {
        let Some(project) = &self.resolved.compose else { return };
        let mut taken: BTreeMap<(u16, &str), &str> = BTreeMap::new();
        for name in &project.order {
            let Some(service) = project.services.get(name) else { continue };
            if service.network == Network::None {
                continue;
            }
            let published =
                service.ports.iter().map(|it| (it.target, it.protocol.as_str(), "ports"));
            let exposed = service.exposed.iter().map(|port| (*port, "tcp", "expose"));
            for (port, protocol, key) in published.chain(exposed) {
                let place = service.place_of(key);
                if self.asked.ports.contains(&port) {
                    let what = format!("the port {port} is the platform's own: choose another");
                    findings.refuse(place, what);
                }
                match taken.insert((port, protocol), name) {
                    Some(other) if other != name => {
                        let what = format!(
                            "`{name}` and `{other}` both listen on {port}, and all services share one \
                             network: let one of them listen on another port"
                        );
                        findings.refuse(place, what);
                    }
                    Some(_) | None => {}
                }
            }
        }
    }

    /// What the environment's own service runs, as one service of the environment: unless it only stays, or
    /// its command is overridden.
    pub(super) fn command_of_service(&self) -> Option<(String, Command)> {
        let (name, service) = self.own_service()?;
        if self.resolved.merged.settings.override_command == Some(true) {
            return None;
        }
        let command = Command {
            description: Some("The command of the Compose file".to_owned()),
            start: service.line()?,
            ready: None,
            stop: None,
            restart: service.restart,
            ports: Vec::new(),
            depends_on: Vec::new(),
            env: Default::default(),
        };
        Some((name.to_owned(), command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{Asked, BackendKind, Definition, Strictness, root};

    fn read(
        backend: BackendKind,
        devcontainer: &str,
        compose: &str,
    ) -> Result<Definition, Vec<String>> {
        let at = |path: &str| format!("{}/.devcontainer/{path}", root("api"));
        let files = BTreeMap::from([
            (at("devcontainer.json"), devcontainer.to_owned()),
            (at("c.yml"), compose.to_owned()),
        ]);
        let asked = Asked {
            name: "api",
            strictness: Strictness::Lenient,
            variables: &BTreeMap::new(),
            ports: &[47101],
            room: &crate::definition::Room::of_this_machine(),
            backend,
            image: None,
            stages: &BTreeMap::new(),
            features: &BTreeMap::new(),
            has_default_image: false,
        };
        Definition::read(&files, &asked)
            .map_err(|refused| refused.findings.all().iter().map(ToString::to_string).collect())
    }

    const PLAIN: &str = r#"{ "dockerComposeFile": "c.yml", "service": "app", "workspaceFolder": "/workspaces/api" }"#;

    #[test]
    fn a_service_is_the_environment_and_the_others_are_beside_it() {
        let compose = r#"
services:
  app:
    image: mine
    user: "ada:staff"
    command: ["sh", "-c", "serve 'it'"]
    environment: { A: one, B: two }
    volumes: ["../..:/workspaces:cached", "../sql:/sql", "cache:/var/own", "/var/nameless"]
    depends_on: { db: { condition: service_healthy } }
    hostname: front
  db:
    build: { context: .., dockerfile: db/Dockerfile }
    volumes: ["data:/data", "..:/project", "/scratch", { type: tmpfs, target: /mem }]
    networks: { default: { aliases: [store] } }
    cap_drop: [KILL]
  never: { image: other, profiles: [debug], privileged: true }
volumes: { data: , cache: }
"#;
        let devcontainer = r#"{ "dockerComposeFile": "c.yml", "service": "app", "workspaceFolder": "/workspaces/api", "containerEnv": { "B": "over" } }"#;
        let definition = read(BackendKind::Oci, devcontainer, compose).unwrap();
        assert_eq!(
            (definition.tree.as_str(), definition.folder.as_str()),
            ("/workspaces/api", "/workspaces/api")
        );
        assert_eq!(definition.basis, Basis::Image("mine".to_owned()));
        assert_eq!(definition.user.as_ref().unwrap().name, "ada");
        assert_eq!(definition.volumes, ["/var/own", "/var/nameless"]);
        assert_eq!(definition.left, []);
        let set: Vec<_> = definition
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
            .collect();
        assert_eq!(set, [("A", Some("one")), ("B", Some("two")), ("B", Some("over"))]);
        assert_eq!(definition.automation.services["app"].start, r#"sh -c "serve 'it'""#);
        let services = &definition.services;
        assert_eq!(services.names, ["app", "db", "front", "store"]);
        assert_eq!(services.needs, [("db".to_owned(), Condition::Healthy)]);
        let [db] = services.beside.as_slice() else { panic!("{services:?}") };
        let Basis::Dockerfile(built) = &db.basis else { panic!("{db:?}") };
        assert_eq!((built.context.as_str(), built.dockerfile.as_str()), ("", "db/Dockerfile"));
        let owned = |name: &str, at: &str| (name.to_owned(), at.to_owned(), false);
        assert_eq!(db.volumes, [owned("data", "/data"), owned("db.2", "/scratch")]);
        assert_eq!(db.shown, [(String::new(), "/project".to_owned())]);
        assert_eq!(db.memory, ["/mem"]);
        let said: Vec<String> = definition.findings.all().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                ".devcontainer/c.yml:8:5: warning: `sql` is no folder of the project: it is left out",
                ".devcontainer/c.yml:13:5: warning: the service `db` sees /project read-only: what it writes belongs in a volume",
            ]
        );
    }

    #[test]
    fn what_services_can_not_have_is_refused_with_its_place() {
        let cases = [
            (
                "services: { app: { image: i, volumes: [\"v:/v\"] } }",
                "c.yml:1:30: `v` isn't among the `volumes` of the file: add it there",
            ),
            (
                "volumes: { v: }\nservices: { app: { image: i, volumes: [\"v:/v\"] }, db: { image: i, volumes: [\"v:/w\"] } }",
                "c.yml:2:30: the volume `v` is shared with the service `db`",
            ),
            (
                "services: { app: { image: i }, db: { image: i, depends_on: { app: { condition: service_healthy } } } }",
                "c.yml:1:48: `db` waits for more of `app` than its start",
            ),
            (
                "services: { app: { image: i, ports: [\"80:5432\"] }, db: { image: i, expose: [5432] } }",
                "c.yml:1:68: `db` and `app` both listen on 5432",
            ),
            (
                "services: { app: { image: i }, db: { image: i, expose: [47101] } }",
                "c.yml:1:48: the port 47101 is the platform's own: choose another",
            ),
            (
                "services: { app: { image: i, volumes: [\"..:/usr/src/app\"] } }",
                "devcontainer.json:1:70: a project can't lie in `/usr/src/app`",
            ),
            (
                "services: { app: { image: i, environment: { HTTP_PROXY: x } } }",
                "c.yml:1:30: the variable `HTTP_PROXY` belongs to the platform",
            ),
        ];
        for (compose, expected) in cases {
            let said = read(BackendKind::Oci, PLAIN, compose).unwrap_err();
            let expected = format!(".devcontainer/{expected}");
            assert!(said.iter().any(|line| line.starts_with(&expected)), "{compose}: {said:#?}");
        }
        let said =
            read(BackendKind::Process, PLAIN, "services: { app: { image: i } }").unwrap_err();
        assert!(said[0].contains("runs no Compose services: choose the backend `oci`"), "{said:?}");
    }

    #[test]
    fn commands_that_only_wait_and_those_that_are_overridden_are_not_run() {
        let command = |devcontainer: &str, command: &str| {
            let compose = format!("services: {{ app: {{ image: i, command: {command} }} }}");
            let definition = read(BackendKind::Oci, devcontainer, &compose).unwrap();
            definition.automation.services.get("app").map(|service| service.start.clone())
        };
        assert_eq!(command(PLAIN, "sleep infinity"), None);
        assert_eq!(command(PLAIN, "tail -f /dev/null"), None);
        assert_eq!(command(PLAIN, "/bin/sh -c \"while sleep 1000; do :; done\""), None);
        assert_eq!(command(PLAIN, "npm run dev").as_deref(), Some("npm run dev"));
        let over = PLAIN.replace("\"service\"", "\"overrideCommand\": true, \"service\"");
        assert_eq!(command(&over, "npm run dev"), None);
    }
}
