//! Configurations written by hand, for what a generator wouldn't meet.

use crate::case::Case;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(texts());
    cases.extend(variables());
    cases.extend(workspaces());
    cases.extend(merging());
    cases.extend(features());
    cases.extend(dockerfiles());
    cases.extend(composes());
    cases
}

/// How a file is written.
fn texts() -> Vec<Case> {
    let broken = "what isn't JSON with comments is refused, not guessed at";
    let typed = "a wrong type is refused at its place, not passed on";
    let agreeing = [
        ("nothing but an image", r#"{ "image": "debian:12" }"#),
        ("an empty object", "{}"),
        ("a byte-order mark", "\u{feff}{ \"image\": \"i\" }"),
        ("comments everywhere", "// a\n{ /* b */ \"image\" /* c */ : // d\n \"i\" } // e"),
        ("trailing commas", r#"{ "image": "i", "runArgs": ["a", "b",], }"#),
        ("Windows line ends", "{\r\n  \"image\": \"i\"\r\n}\r\n"),
        ("escapes", r#"{ "image": "\u0061\n\t\"\\\/\ud83d\ude00" }"#),
        ("the last of two equal keys", r#"{ "image": "a", "name": "n", "image": "b" }"#),
        ("numbers", r#"{ "image": "i", "x": [1, 1.0, -0.5, 1e3, 12345678901] }"#),
        ("null for most things", r#"{ "image": "i", "name": null, "postCreateCommand": null }"#),
        ("unknown keys", r#"{ "image": "i", "imag": "j", "nested": { "k": [null, {}] } }"#),
        ("a schema", r#"{ "$schema": "https://example.org/s.json", "image": "i" }"#),
        ("a list at the top", "[]"),
        ("a string at the top", "\"image\""),
        ("null at the top", "null"),
        ("old properties", r#"{ "image": "i", "extensions": ["a"], "settings": { "x": 1 } }"#),
        (
            "old properties beside new ones",
            r#"{ "image": "i", "extensions": ["a"], "settings": { "x": 1, "y": 2 }, "devPort": 1,
               "customizations": { "vscode": { "extensions": ["b"], "settings": { "x": 3 } } } }"#,
        ),
        (
            "an old port that is taken",
            r#"{ "devPort": 1, "customizations": { "vscode": { "devPort": 2 } } }"#,
        ),
        ("an empty file", ""),
        ("only a comment", "// nothing"),
    ];
    let differing = [
        ("a missing comma", r#"{ "image": "i" "name": "n" }"#, broken),
        ("an unclosed object", r#"{ "image": "i""#, broken),
        ("an unclosed string", r#"{ "image": "i }"#, broken),
        ("single quotes", "{ 'image': 'i' }", broken),
        ("more after the end", r#"{ "image": "i" } { "image": "j" }"#, broken),
        ("an image that is a number", r#"{ "image": 12 }"#, typed),
        ("a folder that is a list", r#"{ "image": "i", "mounts": "source=a,target=/b" }"#, typed),
        ("a port beyond the last", r#"{ "image": "i", "forwardPorts": [70000] }"#, typed),
        ("an unknown word", r#"{ "image": "i", "waitFor": "postCreate" }"#, typed),
        ("a command that is a number", r#"{ "image": "i", "postCreateCommand": 1 }"#, typed),
        ("a mount to nowhere", r#"{ "image": "i", "mounts": ["source=a"] }"#, typed),
        ("a build of nothing", r#"{ "build": { "context": "." } }"#, typed),
        ("services of no service", r#"{ "dockerComposeFile": "c.yml" }"#, typed),
    ];
    let agreeing = agreeing.map(|(name, text)| Case::new(name, text));
    let differing = differing.map(|(name, text, why)| Case::new(name, text).differs(why));
    agreeing.into_iter().chain(differing).collect()
}

/// Variables in one string each, in all three passes.
fn variables() -> Vec<Case> {
    let strings = [
        "${localEnv:FULL}",
        "${localEnv:EMPTY}",
        "${localEnv:EMPTY:default}",
        "${localEnv:MISSING}",
        "${localEnv:MISSING:default}",
        "${localEnv:MISSING:}",
        "${localEnv:MISSING:a:b}",
        "${localEnv:MISSING:http://x}",
        "${localEnv:}",
        "${localEnv::default}",
        "${localEnv}",
        "${env}",
        "${env:FULL}",
        "${LOCALENV:FULL}",
        "${ localEnv:FULL }",
        "${localEnv: FULL}",
        "${localEnv:FULL}${localEnv:FULL}",
        "${localEnv:DOLLAR}",
        "$${localEnv:FULL}",
        "${${localEnv:FULL}}",
        "${localEnv:MISSING:${localEnv:FULL}}",
        "${localWorkspaceFolder:ignored}",
        "${localWorkspaceFolderBasename}",
        "${containerWorkspaceFolderBasename}",
        "${devcontainerId}",
        "${devcontainerId:x}",
        "${containerEnv:HERE}",
        "${containerEnv:GONE}",
        "${containerEnv:GONE:default}",
        "${containerEnv:HERE:default:more}",
        "${containerEnv}",
        "${containerEnv:}",
        "${}",
        "${:}",
        "${unknown:thing}",
        "$\\{localEnv:FULL}",
        "${localEnv:FULL",
        "a\nb ${localEnv:FULL} \u{2028} ${local\u{2028}Env:FULL}",
    ];
    let case = |(i, text): (usize, &&str)| {
        let json = serde_json::json!({
            "image": "i", "name": text, "containerEnv": { "${localEnv:FULL}": text },
            "postCreateCommand": { "x": ["y", text] }, "deep": [[{ "k": [text] }]],
        });
        let case = Case::new(&format!("the variable {text:?}"), &json.to_string());
        let is_late = text.contains("containerEnv") || text.contains("devcontainerId");
        if is_late || i % 3 == 0 {
            case.running(&[("HERE", "here ${localEnv:FULL}"), ("", "no name")])
        } else {
            case.merged(None)
        }
    };
    strings.iter().enumerate().map(case).collect()
}

/// Where a project comes to lie.
fn workspaces() -> Vec<Case> {
    let mut cases = Vec::new();
    let configurations = [
        r#"{ "image": "i" }"#,
        r#"{ "image": "i", "workspaceFolder": "/a/b", "name": "${containerWorkspaceFolder}" }"#,
        r#"{ "image": "i", "workspaceFolder": "", "name": "${containerWorkspaceFolder}" }"#,
        r#"{ "image": "i", "workspaceFolder": "/x/${localWorkspaceFolderBasename}/",
             "name": "${containerWorkspaceFolder} ${containerWorkspaceFolderBasename}" }"#,
        r#"{ "image": "i", "workspaceFolder": "/x/${containerWorkspaceFolder}",
             "name": "${containerWorkspaceFolder}" }"#,
        r#"{ "image": "i", "workspaceFolder": "/", "name": "${containerWorkspaceFolderBasename}" }"#,
        r#"{ "image": "i", "workspaceMount": "" }"#,
        r#"{ "image": "i", "workspaceMount": null }"#,
        r#"{ "image": "i", "workspaceFolder": "/w",
             "workspaceMount": "type=bind,source=${localWorkspaceFolder},target=/w" }"#,
    ];
    for (i, text) in configurations.iter().enumerate() {
        let plain = Case::new(&format!("workspace {i}"), text);
        let mut in_git = plain.clone();
        in_git.name = format!("workspace {i} at the root of a work tree");
        in_git.is_git = true;
        let mut below = plain.clone();
        below.name = format!("workspace {i} below the root of a work tree");
        below.is_git = true;
        below.folder = "some/where".to_owned();
        below.files = vec![("some/where/.devcontainer.json".to_owned(), (*text).to_owned())];
        cases.extend([plain, in_git, below]);
    }
    let mut both = Case::new("the first of two places", r#"{ "image": "first" }"#);
    both = both.with(".devcontainer.json", r#"{ "image": "second" }"#);
    let mut hidden = Case::new("a folder of its own", "");
    hidden.files =
        vec![(".devcontainer/one/devcontainer.json".to_owned(), r#"{ "image": "i" }"#.to_owned())];
    let mut none = Case::new("no configuration", "");
    none.files = vec![("README.md".to_owned(), String::new())];
    cases.push(both);
    cases.push(hidden.differs(
        "the specification allows a folder below .devcontainer; the tool has to be told the path",
    ));
    cases.push(none.differs("a project without a configuration has the backend's default"));
    cases
}

/// What an image's label and a configuration give together.
fn merging() -> Vec<Case> {
    let full = r#"{
        "image": "i", "init": false, "capAdd": ["B", "A"], "securityOpt": ["x"],
        "mounts": ["type=volume,src=mine,dst=/one", { "type": "bind", "source": "/h", "target": "/two" }],
        "containerEnv": { "A": "configuration" }, "remoteEnv": { "B": null },
        "forwardPorts": [3000, "db:5432"], "remoteUser": "me", "postCreateCommand": "mine",
        "waitFor": "postCreateCommand", "customizations": { "vscode": { "a": 1 }, "other": {} },
        "hostRequirements": { "cpus": 2, "memory": "8gb", "gpu": "optional" },
        "portsAttributes": { "3000": { "label": "mine" } }, "overrideCommand": true
    }"#;
    let labels = [
        r#"[]"#,
        r#"{}"#,
        r#"[{}]"#,
        r#"[{ "init": true, "privileged": true }]"#,
        r#"{ "remoteUser": "theirs", "containerUser": "c", "userEnvProbe": "none" }"#,
        r#"[{ "remoteUser": "first" }, { "remoteUser": "" }, { "containerUser": "x" }]"#,
        r#"[{ "capAdd": ["A", "C"] }, { "capAdd": ["C", "D"] }, { "securityOpt": [] }]"#,
        r#"[{ "mounts": ["source=theirs,target=/one", "source=k,target=/three"] }]"#,
        r#"[{ "mounts": [{ "type": "volume", "source": "theirs", "target": "/two" }] }]"#,
        r#"[{ "containerEnv": { "A": "label", "C": "${localEnv:FULL}" } }, { "remoteEnv": { "B": "b" } }]"#,
        r#"[{ "forwardPorts": ["localhost:3000", 3001, "db:5432"] }]"#,
        r#"[{ "postCreateCommand": "theirs" }, { "postCreateCommand": ["exec", "form"] }]"#,
        r#"[{ "postCreateCommand": { "a": "1", "b": ["2"] } }, { "postStartCommand": "" }]"#,
        r#"[{ "customizations": { "vscode": { "a": 2 }, "third": [] } }, { "customizations": {} }]"#,
        r#"[{ "hostRequirements": { "cpus": 4, "memory": "4gb", "storage": "1tb" } }]"#,
        r#"[{ "hostRequirements": { "gpu": "optional" } }]"#,
        r#"[{ "hostRequirements": { "gpu": true } }, { "hostRequirements": { "gpu": false } }]"#,
        r#"[{ "hostRequirements": { "gpu": { "cores": 2, "memory": "1gb" } } }]"#,
        r#"[{ "entrypoint": "/e1" }, { "entrypoint": "" }, { "entrypoint": "/e2" }]"#,
        r#"[{ "id": "ghcr.io/a/b/c:1", "onCreateCommand": "feature's" }]"#,
        r#"[{ "overrideCommand": false, "updateRemoteUserUID": false, "shutdownAction": "none" }]"#,
        r#"[{ "updateRemoteUserUID": true }, { "updateRemoteUserUID": false }]"#,
        r#"[{ "portsAttributes": { "3000": { "label": "t" }, "4": {} }, "otherPortsAttributes": {} }]"#,
        r#"[{ "waitFor": "onCreateCommand" }]"#,
        r#"this is no JSON"#,
        r#""a string""#,
        r#"12"#,
        r#"{ "image": "j", "name": "n", "runArgs": ["x"], "features": { "./f": {} } }"#,
        "",
    ];
    let mut cases = Vec::new();
    for (i, label) in labels.iter().enumerate() {
        cases.push(
            Case::new(&format!("label {i} under a full configuration"), full).merged(Some(label)),
        );
        if i % 2 == 0 {
            let text = r#"{ "image": "i" }"#;
            cases.push(Case::new(&format!("label {i} alone"), text).merged(Some(label)));
        }
    }
    cases.push(Case::new("no label", full).merged(None));
    cases.push(Case::new("a running container", full).running(&[("A", "b")]));
    let twice = r#"{ "image": "i", "postCreateCommand": "${containerEnv:A}" }"#;
    cases.push(
        Case::new("a variable in the value of a variable", twice)
            .running(&[("A", "${containerEnv:B}"), ("B", "b")])
            .differs("a value is never read for variables again; the tool does so when it merges"),
    );
    let shouted = r#"{ "image": "i", "hostRequirements": { "memory": "8GB" } }"#;
    cases.push(
        Case::new("a size in capitals", shouted)
            .merged(None)
            .differs("8GB is honoured with a warning, the tool takes it for nothing"),
    );
    let bad = r#"[{ "capAdd": "not a list", "remoteUser": "r" }]"#;
    cases.push(
        Case::new("a wrong type in a label", r#"{ "image": "i" }"#)
            .merged(Some(bad))
            .differs("a wrong type in a label is told and left out, the rest of the label counts"),
    );
    cases
}

/// Local Features: their share, their order.
fn features() -> Vec<Case> {
    let manifest =
        |id: &str, more: &str| format!(r#"{{ "id": "{id}", "version": "1.0.0"{more} }}"#);
    let project = |name: &str, features: &str, manifests: &[(&str, &str)]| {
        let text = format!(r#"{{ "image": "i", {features} }}"#);
        let mut case = Case::new(name, &text).merged(Some(r#"[{ "onCreateCommand": "image's" }]"#));
        for (id, more) in manifests {
            case = case
                .with(&format!(".devcontainer/{id}/devcontainer-feature.json"), &manifest(id, more))
                .with(&format!(".devcontainer/{id}/install.sh"), "");
        }
        case
    };
    let share = r#", "onCreateCommand": "feature's ${localEnv:FULL}", "privileged": true,
        "capAdd": ["A"], "mounts": [{ "type": "volume", "source": "s-${devcontainerId}", "target": "/t" }],
        "entrypoint": "/e", "containerEnv": { "F": "f" }, "customizations": { "vscode": { "x": 1 } },
        "remoteUser": "not a Feature's to say", "init": true"#;
    let mut cases = vec![
        project(
            "a Feature's share",
            r#""features": { "./a": {} }, "onCreateCommand": "mine""#,
            &[("a", share)],
        ),
        project(
            "Features by name",
            r#""features": { "./c": {}, "./a": {}, "./b": {} }"#,
            &[("a", ""), ("b", ""), ("c", "")],
        ),
        project(
            "Features by dependency",
            r#""features": { "./a": {}, "./b": {}, "./c": {} }"#,
            &[
                ("a", r#", "dependsOn": { "./b": {} }"#),
                ("b", r#", "dependsOn": { "./c": {} }"#),
                ("c", ""),
            ],
        ),
        project(
            "a dependency that wasn't asked for",
            r#""features": { "./a": {} }"#,
            &[("a", r#", "dependsOn": { "./z": { "x": "y" } }"#), ("z", "")],
        ),
        project(
            "a dependency with other options",
            r#""features": { "./a": {}, "./z": { "x": "1" } }"#,
            &[("a", r#", "dependsOn": { "./z": { "x": "2" } }"#), ("z", "")],
        ),
        project(
            "a dependency with the same options",
            r#""features": { "./a": {}, "./z": { "x": "2" } }"#,
            &[("a", r#", "dependsOn": { "./z": { "x": "2" } }"#), ("z", "")],
        ),
        project(
            "a circle",
            r#""features": { "./a": {} }"#,
            &[("a", r#", "dependsOn": { "./b": {} }"#), ("b", r#", "dependsOn": { "./a": {} }"#)],
        ),
        project(
            "an order of one's own",
            r#""features": { "./a": {}, "./b": {}, "./c": {} },
               "overrideFeatureInstallOrder": ["./c", "./b"]"#,
            &[("a", ""), ("b", ""), ("c", "")],
        ),
        project(
            "an order of one's own against a dependency",
            r#""features": { "./a": {}, "./b": {}, "./c": {} },
               "overrideFeatureInstallOrder": ["./c"]"#,
            &[("a", ""), ("b", ""), ("c", r#", "dependsOn": { "./b": {} }"#)],
        ),
        project(
            "options in all forms",
            r#""features": { "./a": "1.2", "./b": true, "./c": { "x": false } }"#,
            &[
                ("a", r#", "options": { "version": { "type": "string", "default": "latest" } }"#),
                ("b", ""),
                ("c", r#", "options": { "x": { "type": "boolean", "default": true } }"#),
            ],
        ),
        project("a Feature that isn't there", r#""features": { "./gone": {} }"#, &[]),
        project("an absolute Feature", r#""features": { "/a": {} }"#, &[]),
        project("a Feature outside", r#""features": { "../../a": {} }"#, &[]),
        project("a Feature beside the folder", r#""features": { "../a": {} }"#, &[]),
        project("a bare word", r#""features": { "fish": {} }"#, &[]),
        project(
            "an archive of the wrong name",
            r#""features": { "https://localhost:1/a.tgz": {} }"#,
            &[],
        ),
    ];
    // Names are compared as people do, not by their bytes.
    let names = ["b", "a-b", "a_b", "a1", "ab", "a10", "a2"];
    let wanted: Vec<String> = names.iter().map(|name| format!(r#""./{name}": {{}}"#)).collect();
    let manifests: Vec<(&str, &str)> = names.iter().map(|name| (*name, "")).collect();
    let features = format!(r#""features": {{ {} }}"#, wanted.join(", "));
    cases.push(project("names with separators and digits", &features, &manifests));
    cases
}

/// Which image a Dockerfile starts from, seen by which one is asked for.
fn dockerfiles() -> Vec<Case> {
    let texts = [
        ("one stage", "FROM debian:12\n", ""),
        ("a name", "FROM debian:12 AS base\nUSER me\n", ""),
        ("two stages", "FROM a AS one\nFROM b\n", ""),
        ("a stage over another", "FROM a AS one\nFROM one\n", ""),
        ("a target", "FROM a AS one\nFROM b AS two\n", r#", "target": "one""#),
        ("an argument", "ARG V=12\nFROM debian:$V\n", ""),
        ("an argument in braces", "ARG V=12\nFROM debian:${V}-slim\n", ""),
        ("an argument that is given", "ARG V=12\nFROM debian:${V}\n", r#", "args": { "V": "13" }"#),
        ("an argument without default", "ARG V\nFROM debian:${V:-9}\n", ""),
        ("an argument with a word for set", "ARG V=1\nFROM debian${V:+-slim}\n", ""),
        ("an argument over another", "ARG A=1\nARG B=${A}2\nFROM i:$B\n", ""),
        ("a platform", "FROM --platform=linux/amd64 debian\n", ""),
        ("a platform of the builder", "FROM i:$TARGETARCH\n", ""),
        ("quotes", "FROM \"debian:12\"\n", ""),
        ("small letters", "from debian:12 as x\n", ""),
        (
            "comments and blanks",
            "# syntax=docker/dockerfile:1\n\n  # x\n  FROM debian:12\nRUN a \\\n  b\n",
            "",
        ),
    ];
    let mut cases: Vec<Case> = texts
        .iter()
        .map(|(name, dockerfile, more)| {
            let text = format!(r#"{{ "build": {{ "dockerfile": "Dockerfile"{more} }} }}"#);
            Case::new(&format!("a Dockerfile with {name}"), &text)
                .merged(Some(r#"[{ "remoteUser": "label" }]"#))
                .with(".devcontainer/Dockerfile", dockerfile)
        })
        .collect();
    let old = r#"{ "dockerFile": "../docker/Dev", "context": ".." }"#;
    cases.push(
        Case::new("a Dockerfile in the old property", old)
            .merged(None)
            .with("docker/Dev", "FROM old\n"),
    );
    let gone = r#"{ "build": { "dockerfile": "Gone" } }"#;
    cases.push(Case::new("a Dockerfile that isn't there", gone).merged(None));
    cases
}

/// Services: only what the configuration says of them.
fn composes() -> Vec<Case> {
    let compose = "services:\n  app:\n    image: i\n  db:\n    image: postgres\n";
    let texts = [
        r#"{ "dockerComposeFile": "c.yml", "service": "app" }"#,
        r#"{ "dockerComposeFile": ["c.yml", "d.yml"], "service": "app", "workspaceFolder": "/w" }"#,
        r#"{ "dockerComposeFile": "c.yml", "service": "app", "runServices": ["db"],
             "workspaceFolder": "/w/${localWorkspaceFolderBasename}", "shutdownAction": "stopCompose",
             "name": "${containerWorkspaceFolder}" }"#,
        r#"{ "dockerComposeFile": "c.yml", "service": "app", "workspaceMount": "type=volume,target=/x" }"#,
    ];
    let case = |(i, text): (usize, &&str)| {
        Case::new(&format!("services {i}"), text)
            .with(".devcontainer/c.yml", compose)
            .with(".devcontainer/d.yml", compose)
    };
    texts.iter().enumerate().map(case).collect()
}
