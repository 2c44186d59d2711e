//! The rules of a definition, seen from its files.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink};

use super::{Asked, BackendKind, Definition, ProjectFiles, Strictness, folder_name, root};
use windlass_devcontainer::Files as _;
use windlass_sandbox::Again;

type Made = Result<Definition, Vec<String>>;

fn read(strictness: Strictness, files: &[(&str, &str)]) -> Made {
    let files: BTreeMap<String, String> = files
        .iter()
        .map(|(path, text)| (format!("{}/{path}", root("api")), (*text).to_owned()))
        .collect();
    let variables = BTreeMap::from([("PATH".to_owned(), "/usr/bin".to_owned())]);
    let asked = Asked {
        name: "api",
        strictness,
        variables: &variables,
        ports: &[47101],
        room: &super::Room::of_this_machine(),
        backend: BackendKind::Process,
        image: None,
        stages: &BTreeMap::new(),
        features: &BTreeMap::new(),
        has_default_image: false,
    };
    Definition::read(&files, &asked)
        .map_err(|refused| refused.findings.all().iter().map(ToString::to_string).collect())
}

fn lenient(text: &str) -> Made {
    read(Strictness::Lenient, &[(".devcontainer.json", text)])
}

fn said(definition: &Definition) -> Vec<String> {
    definition.findings.all().iter().map(ToString::to_string).collect()
}

#[test]
fn a_project_without_a_definition_lies_where_it_always_did() {
    let definition = read(Strictness::Strict, &[]).expect("nothing is refused");
    assert_eq!(
        (definition.tree.as_str(), definition.folder.as_str()),
        ("/workspace/api", "/workspace/api")
    );
    assert!(definition.devcontainer.is_none() && definition.variables.is_empty());
}

#[test]
fn variables_may_speak_of_the_containers_and_null_takes_one_away() {
    let definition = lenient(
        r#"{ "containerEnv": { "A": "1", "LANG": "de" },
             "remoteEnv": { "PATH": "${containerEnv:PATH}:/x", "B": "${containerEnv:A}2", "LANG": null } }"#,
    )
    .expect("nothing is refused");
    let text = |text: &str| Some(text.to_owned());
    let expected = [
        ("A", text("1")),
        ("LANG", text("de")),
        ("PATH", text("/usr/bin:/x")),
        ("B", text("12")),
        ("LANG", None),
    ];
    assert_eq!(definition.variables, expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(said(&definition), [""; 0]);
}

#[test]
fn the_platforms_variables_are_refused_with_their_place() {
    let refused = lenient(
        "{ \"containerEnv\": { \"HTTPS_PROXY\": \"http://x\" },\n \"remoteEnv\": { \"HOME\": null, \"WINDLASS_JOB_ID\": \"1\" } }",
    );
    let words = |name: &str| {
        format!(
            "the variable `{name}` belongs to the platform, which works by it: choose another name"
        )
    };
    let expected = [
        format!(".devcontainer.json:1:36: {}", words("HTTPS_PROXY")),
        format!(".devcontainer.json:2:25: {}", words("HOME")),
        format!(".devcontainer.json:2:50: {}", words("WINDLASS_JOB_ID")),
    ];
    assert_eq!(refused.expect_err("it is refused"), expected);
}

#[test]
fn what_can_not_be_had_is_a_warning_or_a_refusal_as_the_operator_says() {
    let text = r#"{ "build": { "dockerfile": "Dockerfile" },
  "mounts": ["type=bind,source=${localWorkspaceFolder}/a,target=/a", "type=volume,source=cache,target=/cache"] }"#;
    let files = [(".devcontainer.json", text), ("Dockerfile", "FROM debian:12\n")];
    let warned = said(&read(Strictness::Lenient, &files).expect("it is taken"));
    let expected = [
        ".devcontainer.json:2:14: warning: `a` is no folder of the project: it is left out",
        ".devcontainer.json:2:70: warning: the volume `cache` is empty for a job, and gone with it; an environment that lives by itself begins with what the last one left there",
    ];
    assert_eq!(warned, expected);
    let refused = read(Strictness::Strict, &files).expect_err("strict");
    assert!(refused.contains(&expected[0].replace("warning: ", "")), "{refused:?}");
    let files = [files[0], files[1], ("a/file", "")];
    let definition = read(Strictness::Strict, &files).expect("it is there");
    let again = Again { below: "a".into(), inside: "/a".into(), read_only: false };
    assert_eq!(definition.again, [again]);
    assert_eq!(definition.volumes, ["/cache"]);
    // The host's own folders are no image.
    let text = r#"{ "features": { "ghcr.io/devcontainers/features/go:1": {} },
  "remoteUser": "vscode" }"#;
    let warned = said(&lenient(text).expect("it is taken"));
    let expected = [
        ".devcontainer.json:1:15: warning: Features need an `image` or a Dockerfile to be added to: without any the host's system folders are used, and what Features bring is missing",
        ".devcontainer.json:2:17: warning: the host's system folders have no user `vscode`: everything runs as `agent`; name an `image` that has it",
    ];
    assert_eq!(warned, expected);
    let refused = read(Strictness::Strict, &[(".devcontainer.json", text)]).expect_err("strict");
    assert_eq!(refused, expected.map(|one| one.replace("warning: ", "")));
    let off = read(Strictness::Off, &[(".devcontainer.json", "no JSON")]).expect("it isn't read");
    assert_eq!(off.tree, "/workspace/api");
}

#[test]
fn the_project_lies_where_the_definition_says_but_never_over_the_system() {
    let places = |text: &str| lenient(text).map(|found| (found.tree, found.folder));
    let both = |path: &str| Ok((path.to_owned(), path.to_owned()));
    assert_eq!(places("{}"), both("/workspaces/api"));
    assert_eq!(places(r#"{ "workspaceFolder": "/code/" }"#), both("/code"));
    let mounted = r#"{ "workspaceMount": "type=bind,source=${localWorkspaceFolder},target=/code",
                       "workspaceFolder": "/code" }"#;
    assert_eq!(places(mounted), both("/code"));
    let refused = |text: &str| places(text).expect_err("it is refused").join("\n");
    for system in
        ["/usr/src/app", "/etc", "/home/agent", "/", "relative", "/opt/windlass/x", "/a/../etc"]
    {
        let said = refused(&format!(r#"{{ "workspaceFolder": "{system}" }}"#));
        assert!(said.contains("a project can't lie in"), "{system}: {said}");
    }
    let said = refused(&mounted.replace("\"/code\"", "\"/other\""));
    assert!(said.contains("lies outside of the project"), "{said}");
    let said = refused(r#"{ "workspaceFolder": "/workspaces/api/gone" }"#);
    assert!(said.contains("is no folder of the project"), "{said}");
}

#[test]
fn a_folder_of_the_project_is_where_commands_run() {
    let files = [
        (".devcontainer.json", r#"{ "workspaceFolder": "/workspaces/api/sub/deep" }"#),
        ("sub/deep/file", ""),
    ];
    let definition = read(Strictness::Lenient, &files).expect("nothing is refused");
    assert_eq!(
        (definition.tree.as_str(), definition.folder.as_str()),
        ("/workspaces/api", "/workspaces/api/sub/deep")
    );
}

#[test]
fn both_files_are_read_and_everything_wrong_is_said_at_once() {
    let files = [
        (".devcontainer/devcontainer.json", "{ \"image\": 7 }"),
        (".windlass/environment.yaml", "services: { db: { start: x, ports: [47101] } }"),
    ];
    let expected = [
        ".devcontainer/devcontainer.json:1:12: `image` must be a string, it is a number",
        ".windlass/environment.yaml:1:37: the port 47101 belongs to the platform: choose another",
    ];
    assert_eq!(read(Strictness::Lenient, &files).expect_err("it is refused"), expected);
}

#[test]
fn a_machine_that_is_too_small_and_rights_over_it_are_refused() {
    let refused = lenient(r#"{ "hostRequirements": { "cpus": 100000 }, "privileged": true }"#);
    let refused = refused.expect_err("it is refused").join("\n");
    assert!(
        refused.contains("needs 100000 processors") && refused.contains("privileged"),
        "{refused}"
    );
}

#[test]
fn files_on_disk_never_lead_out_of_the_project() {
    let world = tempfile::tempdir().expect("a folder");
    let project = world.path().join("project");
    fs::create_dir_all(project.join(".devcontainer/a")).expect("folders");
    fs::write(world.path().join("secret"), "hidden").expect("a file");
    fs::write(project.join("plain"), "text").expect("a file");
    fs::write(project.join("latin"), b"a\n\xe9").expect("a file");
    fs::write(project.join("large"), vec![b' '; (1 << 20) + 1]).expect("a file");
    symlink("../secret", project.join("out")).expect("a link");
    symlink(world.path(), project.join("up")).expect("a link");
    symlink("plain", project.join("in")).expect("a link");
    symlink("loop", project.join("loop")).expect("a link");
    let files = ProjectFiles::open(&project, "/workspaces/api").expect("it is there");
    let read = |name: &str| files.read(&format!("/workspaces/api/{name}"));
    assert_eq!(read("plain"), Ok(Some("text".to_owned())));
    assert_eq!(read("in"), Ok(Some("text".to_owned())));
    assert_eq!(read("gone"), Ok(None));
    assert_eq!(read(".devcontainer"), Ok(None));
    assert_eq!(read("plain/below"), Ok(None));
    assert_eq!(files.read("/etc/passwd"), Ok(None));
    for out in ["out", "up/secret", "../secret"] {
        let why = read(out).expect_err("it leads out");
        assert!(why.contains("leads out of the project"), "{out}: {why}");
    }
    assert_eq!(read("latin"), Err("isn't UTF-8, first in line 2: save it as UTF-8".to_owned()));
    assert_eq!(read("large"), Err("is larger than 1024 KiB: make it smaller".to_owned()));
    assert!(read("loop").is_err());
    assert_eq!(files.folders("/workspaces/api/.devcontainer"), ["a"]);
    assert_eq!(files.folders("/workspaces/api/up"), [""; 0]);
}

#[test]
fn a_projects_name_becomes_one_plain_folder() {
    let names = ["acme/api", "..", "a b\u{202e}c", "api.git", ""].map(folder_name);
    assert_eq!(names, ["api", "work", "a-b-c", "api.git", "work"]);
}

#[test]
fn an_image_is_asked_for_its_users_and_features_are_fetched_for_it() {
    let text = r#"{ "image": "debian:12", "remoteUser": "vscode", "containerUser": "root",
  "features": { "ghcr.io/devcontainers/features/go:1": {} } }"#;
    let definition = lenient(text).expect("it is taken");
    let missing: Vec<_> = definition.missing_features().into_keys().collect();
    assert_eq!(missing, ["ghcr.io/devcontainers/features/go:1"]);
    let accounts = windlass_sandbox::accounts::parse(
        "root:x:0:0:root:/root:/bin/sh\nvscode:x:1000:1000::/home/vscode:/bin/bash\n",
    );
    let user = definition.user(&accounts).expect("it is there").expect("it isn't agent");
    assert_eq!((user.name.as_str(), user.uid), ("vscode", 1000));
    let why = definition.user(&accounts[..1]).expect_err("it isn't there");
    assert!(why.starts_with(".devcontainer.json:1:"), "{why}");
    assert!(why.contains("has no user `vscode` (it has root)"), "{why}");
    let plain = lenient(r#"{ "image": "debian:12" }"#).expect("it is taken");
    assert_eq!(plain.user(&accounts), Ok(None));
}

#[test]
fn a_dockerfile_names_the_images_that_it_is_built_from_without_an_engine() {
    let text = r#"{ "build": { "dockerfile": "Dockerfile", "target": "last" } }"#;
    let dockerfile =
        "FROM a AS one\nFROM b\nFROM scratch AS last\nCOPY --from=one /x /x\nCOPY --from=c /y /y\n";
    let files = [(".devcontainer.json", text), ("Dockerfile", dockerfile)];
    let definition = read(Strictness::Strict, &files).expect("it is taken");
    assert_eq!(definition.stage_images(), ["a", "c"]);
    let files =
        [(".devcontainer.json", text), ("Dockerfile", "FROM scratch AS last\nONBUILD RUN true\n")];
    let refused = read(Strictness::Lenient, &files).expect_err("it is refused");
    assert_eq!(
        refused,
        ["Dockerfile:2:1: ONBUILD needs a container engine: choose the backend `oci`"]
    );
}

#[test]
fn ports_that_the_repository_names_are_offered_by_their_labels() {
    let devcontainer = r#"{ "forwardPorts": [3000, "db:5432", 9229],
        "portsAttributes": { "3000": { "label": "the \u0007page" }, "4000-4010": { "label": "many" },
                             "8080": { "label": "docs" } } }"#;
    let services = "services: { web: { start: x, ports: [3000, 8125] } }";
    let files = [(".devcontainer.json", devcontainer), (".windlass/environment.yaml", services)];
    let definition = read(Strictness::Lenient, &files).expect("nothing is refused");
    let expected = [(3000, "the page"), (8080, "docs"), (8125, "web"), (9229, "")];
    let expected = expected.map(|(port, name)| (port, name.to_owned()));
    assert_eq!(definition.offered(), expected);
}
