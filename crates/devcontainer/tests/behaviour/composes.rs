//! Services: read, merged, ordered, or refused with the place.

use serde_json::json;
use windlass_devcontainer::capability::{Capabilities, Machine};

use crate::project::Project;

fn project(compose: &str) -> Project {
    Project::new("{ \"dockerComposeFile\": \"c.yml\", \"service\": \"app\" }")
        .with(".devcontainer/c.yml", compose)
        .on(Capabilities::oci(Machine::default()))
}

#[test]
fn services_are_read_with_their_variables_and_defaults() {
    let compose = r#"
x-common: &common
  environment: [A=1, "B=$NAME"]
  user: 1000
services:
  app:
    <<: *common
    build: { context: .., dockerfile: docker/Dev, args: [V=1], target: dev }
    command: sleep "in finity"
    volumes:
      - ..:/workspace:cached
      - type: volume
        source: cache
        target: /cache
        read_only: true
    tmpfs: /run
    depends_on:
      db: { condition: service_healthy }
    network_mode: service:db
    ports: ["3000", "8080:80/udp", 127.0.0.1:5000:5000]
    working_dir: /workspace
    cap_add: [SYS_PTRACE]
    restart: always
  db:
    image: postgres:${PG:-16}
    environment: { POSTGRES_PASSWORD: "pa$$word", EMPTY: , NUMBER: 1, FLAG: yes }
    healthcheck:
      test: [CMD-SHELL, pg_isready]
      interval: 1m30s
      timeout: 500ms
      retries: 3
volumes: { cache: {} }
"#;
    let mut project = project(compose).with(".devcontainer/.env", "NAME='from file' # x\nPG=15\n");
    project = project.with("docker/Dev", "FROM base AS dev\nUSER dev\n");
    project.environment.insert("PG".to_owned(), "17".to_owned());
    assert_eq!(
        project.said(),
        [
            "c.yml:20:5: warning: the ports of `app` are published nowhere; they are reached as `forwardPorts` are"
        ]
    );
    let resolved = project.resolve().unwrap();
    assert_eq!(
        (resolved.base_image.as_deref(), resolved.image_user.as_deref()),
        (Some("base"), Some("dev"))
    );
    let none = serde_json::Value::Null;
    let no_limits = json!({ "memory": none, "cpu_millis": none, "processes": none });
    let mount = |kind: &str,
                 source: serde_json::Value,
                 target: &str,
                 read_only: bool,
                 options: serde_json::Value| {
        json!({ "kind": kind, "source": source, "target": target, "readOnly": read_only, "options": options })
    };
    let port = |target: u16, published: serde_json::Value, protocol: &str| json!({ "target": target, "published": published, "protocol": protocol });
    assert_eq!(
        serde_json::to_value(&resolved.compose).unwrap(),
        json!({
            "order": ["db", "app"],
            "volumes": ["cache"],
            "services": {
                "app": {
                    "place": "/p/.devcontainer/c.yml:6:3", "image": none,
                    "build": {
                        "dockerfile": "docker/Dev", "context": "/p", "args": { "V": "1" },
                        "target": "dev", "cacheFrom": [], "options": [],
                    },
                    "environment": { "A": "1", "B": "from file" },
                    "mounts": [
                        mount("bind", json!("/p"), "/workspace", false, json!({ "cached": "" })),
                        mount("volume", json!("cache"), "/cache", true, json!({})),
                        mount("tmpfs", none.clone(), "/run", false, json!({})),
                    ],
                    "ports": [port(3000, none.clone(), "tcp"), port(80, json!(8080), "udp"), port(5000, json!(5000), "tcp")],
                    "depends_on": { "db": { "condition": "healthy", "required": true } },
                    "command": ["sleep", "in finity"], "entrypoint": none, "healthcheck": none,
                    "user": "1000", "working_dir": "/workspace", "hostname": none,
                    "aliases": [], "exposed": [],
                    "network": { "of": "db" }, "init": false, "privileged": false,
                    "cap_add": ["SYS_PTRACE"], "cap_drop": [], "security_opt": [], "labels": {}, "profiles": [],
                    "restart": "always", "may_pull": true, "read_only": false,
                    "shared_memory": none, "limits": no_limits,
                },
                "db": {
                    "place": "/p/.devcontainer/c.yml:24:3", "image": "postgres:17", "build": none,
                    "environment": { "POSTGRES_PASSWORD": "pa$word", "NUMBER": "1", "FLAG": "yes" },
                    "mounts": [], "ports": [], "depends_on": {}, "command": none, "entrypoint": none,
                    "healthcheck": {
                        "test": "pg_isready", "interval": 90_000_000, "timeout": 500_000,
                        "retries": 3, "start_period": 0,
                    },
                    "user": none, "working_dir": none, "hostname": none, "network": "project",
                    "init": false, "privileged": false, "cap_add": [], "cap_drop": [],
                    "security_opt": [], "labels": {}, "profiles": [],
                    "aliases": [], "exposed": [], "restart": "never", "may_pull": true, "read_only": false,
                    "shared_memory": none, "limits": no_limits,
                },
            },
        })
    );
}

#[test]
fn later_files_add_to_earlier_ones() {
    let first = "services:\n  app:\n    image: a\n    command: [one, two]\n    environment: [A=1, B=1]\n    volumes: ['x:/x', 'y:/y']\n    depends_on: [db]\n  db: { image: d }\n";
    let second = "services:\n  app:\n    image: b\n    command: three\n    environment: { B: 2 }\n    volumes: ['z:/y']\n  more: { image: m, profiles: [extra] }\n";
    let text =
        r#"{ "dockerComposeFile": ["c.yml", "d.yml"], "service": "app", "runServices": ["more"] }"#;
    let project =
        Project::new(text).with(".devcontainer/c.yml", first).with(".devcontainer/d.yml", second);
    let resolved = project.resolve().unwrap();
    let compose = resolved.compose.unwrap();
    let app = &compose.services["app"];
    let mounts: Vec<_> = app
        .mounts
        .iter()
        .map(|mount| (mount.source.as_deref().unwrap(), mount.target.as_str()))
        .collect();
    assert_eq!(mounts, [("x", "/x"), ("z", "/y")]);
    assert_eq!(
        json!([app.image, app.command, app.environment, compose.order, resolved.base_image]),
        json!(["b", ["three"], { "A": "1", "B": "2" }, ["db", "app", "more"], "b"])
    );
}

#[test]
fn what_is_not_supported_or_wrong_is_refused_with_its_place() {
    let cases = [
        ("services: [", "c.yml:1:11: it can't be read as YAML: unclosed bracket '['"),
        (
            "services: { app: { image: i }, app: { image: j } }",
            "c.yml:1:32: the key `app` stands twice: remove one",
        ),
        ("a: &a [*a]", "c.yml:1:8: an anchor holds itself: break the circle"),
        ("a: *x", "c.yml:1:4: no anchor of this name stands before"),
        ("a: b\n---\nc: d", "c.yml:3:1: a second document begins: remove it"),
        ("x: 1", "c.yml:1:1: `x` isn't supported: remove it or describe it in a service"),
        ("services: 1", "c.yml:1:11: `services` must be an object, it is a number"),
        ("services: { app: 1 }", "c.yml:1:18: `services.app` must be an object, it is a number"),
        (
            "services: { other: { image: i } }",
            "devcontainer.json:1:24: the service `app` isn't in /p/.devcontainer/c.yml: it has other",
        ),
        (
            "services: { app: { build: ../.. } }",
            "c.yml:1:27: `../..` lies outside of the project: move it inside",
        ),
        (
            "services: { app: { } }",
            "c.yml:1:13: the service `app` has neither `image` nor `build`: add one",
        ),
        (
            "services: { app: { image: i, volume: [] } }",
            "c.yml:1:30: `volume` isn't supported in a service here: remove it: did you mean `volumes`?",
        ),
        (
            "services: { app: { image: i, extends: x } }",
            "c.yml:1:39: `extends` names `x`, which isn't a service of /p/.devcontainer/c.yml",
        ),
        (
            "services: { app: { extends: b }, b: { extends: app } }",
            "c.yml:1:48: services extend each other: app -> b -> app; break the circle",
        ),
        (
            "services: { app: { extends: { service: b, file: ../d.yml } } }",
            "c.yml:1:29: `extends` names d.yml, which lies in another folder: move it here",
        ),
        (
            "services: { app: { image: i, devices: [/dev/kvm] } }",
            "c.yml:1:30: `devices` isn't supported in a service here: remove it",
        ),
        (
            "services: { app: { image: i, pid: host } }",
            "c.yml:1:30: `pid` isn't supported in a service here: remove it",
        ),
        (
            "services: { app: { image: i, mem_limit: much } }",
            "c.yml:1:41: `mem_limit` can't be `much`: write a size such as 512m or 1g",
        ),
        (
            "services: { app: { image: i, deploy: { replicas: 2 } } }",
            "c.yml:1:50: a service runs once here: set `replicas` to 1 or remove it",
        ),
        (
            "services: { app: { image: i, networks: { n: { ipv4_address: 10.0.0.1 } } } }",
            "c.yml:1:47: `ipv4_address` isn't supported in a network here: remove it",
        ),
        (
            "services: { app: { image: i, hostname: 'a b' } }",
            "c.yml:1:40: `a b` is no name of a host: use letters, digits and `_.-`",
        ),
        (
            "services: { app: { image: i }, \"x:1\": { image: i } }",
            "c.yml:1:32: `x:1` is no service's name: use letters, digits and `_.-`",
        ),
        (
            "volumes: { v: { external: true } }\nservices: { app: { image: i } }",
            "c.yml:1:12: the volume `v` is outside of the project: remove `external`",
        ),
        (
            "volumes: { v: { driver_opts: { device: / } } }\nservices: { app: { image: i } }",
            "c.yml:1:17: `driver_opts` isn't supported for a volume here: remove it",
        ),
        (
            "services: { app: { image: i, network_mode: host } }",
            "c.yml:1:44: `network_mode` can't be `host`: an environment has its own network; remove it",
        ),
        (
            "services: { app: { image: i, depends_on: [db] } }",
            "c.yml:1:13: `app` depends on `db`, which isn't a service: add it",
        ),
        (
            "services: { app: { image: i, depends_on: [b] }, b: { image: i, depends_on: [app] } }",
            "c.yml:1:13: services wait for each other: app -> b -> app; break the circle",
        ),
        (
            "services: { app: { image: i, ports: [\"a:b\"] } }",
            "c.yml:1:38: `ports[0]` can't be `a:b`: write port, or outer:inner",
        ),
        (
            "services: { app: { image: i, volumes: [\"a:b:c:d\"] } }",
            "c.yml:1:40: `volumes[0]` can't be `a:b:c:d`: write source:target or source:target:ro",
        ),
        (
            "services: { app: { image: i, command: \"a 'b\" } }",
            "c.yml:1:39: `command` has a quote that is never closed",
        ),
        (
            "services: { app: { image: i, healthcheck: { test: [x], interval: soon } } }",
            "c.yml:1:51: `test` must be a string, or a list that begins with CMD, CMD-SHELL or NONE, it is a list",
        ),
        ("services: { app: { image: \"${X:?set me}\" } }", "c.yml:1:27: `X` must be set: set me"),
        (
            "services: { app: { image: \"a$\" } }",
            "c.yml:1:27: a `$` names no variable: write `$$` for a plain `$`",
        ),
        (
            "services: { app: { image: i, env_file: gone } }",
            "c.yml:1:40: the file /p/.devcontainer/gone isn't there: add it or change the path",
        ),
        (
            "networks: { n: { external: true } }\nservices: { app: { image: i } }",
            "c.yml:1:13: the network `n` is outside of the project: remove it",
        ),
    ];
    for (compose, expected) in cases {
        let said = project(compose).said();
        let first = said.first().cloned().unwrap_or_default();
        let expected = expected.replace("/p/.devcontainer/", "");
        assert!(first.starts_with(&expected), "{compose}: {said:#?}");
    }
    let on_process = Project::new("{ \"dockerComposeFile\": \"c.yml\", \"service\": \"app\" }")
        .with(".devcontainer/c.yml", "services: { app: { image: i } }")
        .on(Capabilities::process(Machine::default()));
    assert_eq!(
        on_process.said(),
        [
            "devcontainer.json:1:24: the backend `process` runs no Compose services: choose the backend `oci`, or name an `image` and describe the services in .windlass/environment.yaml"
        ]
    );
}

#[test]
fn rights_and_folders_of_the_host_are_refused_to_every_service_that_is_started() {
    let compose = r#"services:
  app:
    image: i
    depends_on: [db]
    volumes: ["../..:/workspaces"]
  db:
    image: i
    privileged: true
    cap_add: [SYS_PTRACE]
    security_opt: ["seccomp:unconfined"]
    volumes: ["/var/run/docker.sock:/var/run/docker.sock", "..:/tree", "../..:/both"]
  never:
    image: i
    privileged: true
    profiles: [debug]
"#;
    let said = project(compose).said();
    assert_eq!(
        said,
        [
            "c.yml:8:5: the service `db` is `privileged`, which isn't allowed: remove it",
            "c.yml:9:5: the capability `SYS_PTRACE` isn't given to the service `db`: remove it",
            "c.yml:10:5: `seccomp:unconfined` takes confinement away, which isn't allowed: remove it",
            "c.yml:11:5: `/var/run/docker.sock` is a folder of the host, which an environment doesn't see: use a volume (`type=volume`), or ask the operator to allow the folder",
        ]
    );
}

#[test]
fn a_service_begins_as_the_one_that_it_extends() {
    let compose = "services:\n  app: { extends: { service: base, file: base.yml }, environment: { B: 2 }, image: mine }\n  db: { extends: app, restart: on-failure:3, deploy: { resources: { limits: { cpus: '0.5', memory: 64m, pids: 9 } } } }\n";
    let base = "services:\n  base: { extends: root, environment: [A=1, B=1] }\n  root: { image: i, mem_limit: 1g, networks: { n: { aliases: [other] } }, expose: ['80'] }\n";
    let resolved = project(compose).with(".devcontainer/base.yml", base).resolve().unwrap();
    let services = resolved.compose.unwrap().services;
    let (app, db) = (&services["app"], &services["db"]);
    assert_eq!(
        json!([app.image, app.environment, app.aliases, app.exposed, app.limits]),
        json!(["mine", { "A": "1", "B": "2" }, ["other"], [80], { "memory": 1 << 30, "cpu_millis": null, "processes": null }])
    );
    assert_eq!(
        json!([db.image, db.restart, db.limits]),
        json!(["mine", "on_failure", { "memory": 64 << 20, "cpu_millis": 500, "processes": 9 }])
    );
}
