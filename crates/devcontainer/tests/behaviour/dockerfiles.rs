//! Building a Dockerfile without an engine: planned with every variable replaced, or refused with the
//! place.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use windlass_devcontainer::{
    capability::{Capabilities, Machine},
    resolve::Image,
};

use crate::project::Project;

fn project(dockerfile: &str, build: &str) -> Project {
    let text = format!("{{ \"build\": {{ \"dockerfile\": \"Dockerfile\"{build} }} }}");
    Project::new(&text)
        .with(".devcontainer/Dockerfile", dockerfile)
        .on(Capabilities::process(Machine::default()))
}

#[test]
fn stages_steps_and_variables_are_planned() {
    let dockerfile = r#"# syntax=docker/dockerfile:1
ARG VERSION=12
FROM debian:${VERSION} AS tools
ARG VERSION
ARG PREFIX=/opt
ENV PATH=$PREFIX/bin:$PATH NAME="a \"b\" $VERSION" RAW='$VERSION'
WORKDIR src
RUN --mount=type=cache,target=/var/cache/apt apt-get update && \
    # the tools
    apt-get install -y make
COPY --chown=1000:1000 Makefile "src/*.c" ./
FROM scratch AS unused
COPY a /a
FROM tools
USER ${USER_NAME:-vscode}
SHELL ["/bin/bash", "-ec"]
RUN ["make", "-j2"]
RUN echo $PATH
COPY --from=tools /opt/x /usr/local/
ADD --chmod=755 files.tar.gz /data/
LABEL one=1 "two words"='$x'
EXPOSE 80 443/tcp
ENTRYPOINT ["/init"]
CMD sleep infinity
HEALTHCHECK CMD true
"#;
    let mut project = project(dockerfile, ", \"args\": { \"VERSION\": \"13\" }");
    let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin".to_owned())]);
    project.images.insert("debian:13".to_owned(), Image { environment, ..Image::default() });
    let resolved = project.resolve().unwrap();
    assert_eq!(resolved.base_image.as_deref(), Some("debian:13"));
    assert_eq!(resolved.image_user.as_deref(), Some("vscode"));
    let said: Vec<String> = project.said();
    assert_eq!(
        said,
        [
            "Dockerfile:25:1: warning: HEALTHCHECK is ignored: describe readiness in .windlass/environment.yaml"
        ]
    );

    let environment =
        json!({ "PATH": "/opt/bin:/usr/bin", "NAME": "a \"b\" 13", "RAW": "$VERSION" });
    let mut with_arguments = environment.clone();
    with_arguments["VERSION"] = json!("13");
    with_arguments["PREFIX"] = json!("/opt");
    let step = |line: u32, user: Value, environment: &Value, action: Value| {
        json!({
            "place": format!("/p/.devcontainer/Dockerfile:{line}:1"), "user": user, "folder": "/src",
            "environment": environment, "action": action,
        })
    };
    let copy = |from: Value, sources: Value, to: &str, owner: Value, mode: Value, unpack: bool| {
        json!({ "copy": {
            "from": from, "sources": sources, "to": to, "owner": owner, "mode": mode, "unpack": unpack,
        }})
    };
    let run =
        |command: Value, caches: Value| json!({ "run": { "command": command, "caches": caches } });
    let apt = "apt-get update &&     apt-get install -y make";
    let null = Value::Null;
    let user = json!("vscode");
    assert_eq!(
        serde_json::to_value(&resolved.build).unwrap(),
        json!({ "stages": [
            {
                "name": "tools", "from": { "image": "debian:13" },
                "steps": [
                    step(7, null.clone(), &with_arguments, json!({ "make_folder": "/src" })),
                    step(8, null.clone(), &with_arguments, run(json!(["/bin/sh", "-c", apt]), json!(["/var/cache/apt"]))),
                    step(11, null.clone(), &with_arguments, copy(json!("context"), json!(["Makefile", "src/*.c"]), "./", json!("1000:1000"), null.clone(), false)),
                ],
                "setup": {
                    "environment": environment, "user": null, "folder": "/src", "labels": {},
                    "shell": ["/bin/sh", "-c"], "entrypoint": null, "command": null, "exposed": [],
                },
            },
            {
                "name": null, "from": { "stage": 0 },
                "steps": [
                    step(17, user.clone(), &environment, run(json!(["make", "-j2"]), json!([]))),
                    step(18, user.clone(), &environment, run(json!(["/bin/bash", "-ec", "echo $PATH"]), json!([]))),
                    step(19, user.clone(), &environment, copy(json!({ "stage": 0 }), json!(["/opt/x"]), "/usr/local/", null.clone(), null.clone(), false)),
                    step(20, user.clone(), &environment, copy(json!("context"), json!(["files.tar.gz"]), "/data/", null.clone(), json!("755"), true)),
                ],
                "setup": {
                    "environment": environment, "user": "vscode", "folder": "/src",
                    "labels": { "one": "1", "two words": "$x" }, "shell": ["/bin/bash", "-ec"],
                    "entrypoint": ["/init"], "command": ["/bin/bash", "-ec", "sleep infinity"],
                    "exposed": ["80", "443/tcp"],
                },
            },
        ]})
    );
}

#[test]
fn what_needs_an_engine_is_refused_with_its_place() {
    let cases = [
        (
            "FROM i\nRUN <<EOF\nx\nEOF\n",
            "Dockerfile:2:1: a here-document needs a container engine: put it into a script in the project and `RUN` it",
        ),
        (
            "FROM i\nCOPY <<EOF /x\nx\nEOF\n",
            "Dockerfile:2:1: a here-document needs a container engine: put it into a file in the project and copy it",
        ),
        (
            "FROM i\nRUN --mount=type=secret,id=x y\n",
            "Dockerfile:2:5: `--mount=type=secret,id=x` needs a container engine: choose the backend `oci`",
        ),
        (
            "FROM i\nRUN --network=host y\n",
            "Dockerfile:2:5: `--network=host` needs a container engine: choose the backend `oci`",
        ),
        (
            "FROM i\nCOPY --parents a /b\n",
            "Dockerfile:2:6: `--parents` needs a container engine: choose the backend `oci`",
        ),
        (
            "FROM i\nADD https://x.org/y /z\n",
            "Dockerfile:2:1: ADD fetches `https://x.org/y`: fetch and check it in a RUN instead",
        ),
        (
            "FROM i\nONBUILD RUN x\n",
            "Dockerfile:2:1: ONBUILD needs a container engine: choose the backend `oci`",
        ),
        (
            "FROM --platform=linux/arm64 i\n",
            "Dockerfile:1:6: a build without an engine is for linux/amd64, not `linux/arm64`",
        ),
        (
            "FROM i\nENV A=${B%c}\n",
            "Dockerfile:2:1: `${B%c}` is more than a build without an engine understands",
        ),
        (
            "FROM i\nENV A=\"${B:?is needed}\"\n",
            "Dockerfile:2:1: the variable `B` isn't set: is needed",
        ),
        ("FROM i\nWORKDIR \"x\n", "Dockerfile:2:1: a \" is never closed"),
        ("ARG X\nFROM $X\n", "Dockerfile:2:1: `FROM $X` comes out empty: set its ARG"),
        ("FROM i\nFOO x\n", "Dockerfile:2:1: it is no Dockerfile: unknown instruction 'FOO'"),
        ("RUN x\n", "Dockerfile:1:1: it is no Dockerfile: expected FROM"),
        ("", "Dockerfile: it is no Dockerfile: expected at least one FROM instruction"),
    ];
    for (dockerfile, expected) in cases {
        assert_eq!(project(dockerfile, "").said(), [expected], "{dockerfile}");
    }
}

#[test]
fn an_engine_gets_what_we_could_not_build() {
    let text = "FROM a AS x\nRUN <<EOF\ny\nEOF\nFROM x\nUSER me\n";
    let project = project(text, "").on(Capabilities::oci(Machine::default()));
    let resolved = project.resolve().unwrap();
    let origin = (resolved.base_image.as_deref(), resolved.image_user.as_deref());
    assert_eq!(origin, (Some("a"), Some("me")));
    assert_eq!((resolved.build, project.said()), (None, Vec::new()));
}

#[test]
fn files_and_targets_that_are_not_there_are_told_where_they_are_named() {
    let at_target = project("FROM a AS one\nFROM b AS two\n", ", \"target\": \"three\"");
    assert_eq!(
        at_target.said(),
        [
            "devcontainer.json:1:12: the target `three` is no stage of Dockerfile; its stages are: one, two"
        ]
    );
    let gone = Project::new("{ \"build\": { \"dockerfile\": \"Gone\", \"context\": \"../..\" } }");
    assert_eq!(
        gone.said(),
        [
            "devcontainer.json:1:12: `../..` lies outside of the project: move it inside",
            "devcontainer.json:1:12: the file Gone isn't there: add it or change the path",
        ]
    );
}
