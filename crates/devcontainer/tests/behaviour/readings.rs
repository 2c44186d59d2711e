//! Finding and reading a configuration: each complaint with its place and what to do.

use std::collections::BTreeMap;

use windlass_devcontainer::substitute::devcontainer_id;

use crate::project::Project;

#[test]
fn each_malformed_configuration_is_told_with_its_place_and_what_to_do() {
    let cases = [
        (
            "",
            "devcontainer.json: it is empty: write a JSON object, such as { \"image\": \"debian:12\" }",
        ),
        (
            "{\n  \"image\" \"i\"\n}",
            "devcontainer.json:2:11: it isn't JSON with comments: expected colon after the string or word in object property",
        ),
        ("{ \"a\": 1 \"b\": 2 }", "devcontainer.json:1:9: a comma is missing here"),
        ("{ \"a\": 1", "devcontainer.json:1:1: a `{` is never closed: add the `}`"),
        ("{ \"a\": [1", "devcontainer.json:1:8: a `[` is never closed: add the `]`"),
        (
            "{ 'a': 1 }",
            "devcontainer.json:1:3: a string stands in single quotes: use double quotes",
        ),
        ("{} {}", "devcontainer.json:1:4: something follows after the end of the JSON: remove it"),
        ("{ } /* x", "devcontainer.json:1:5: a `/*` is never closed: add the `*/`"),
        ("{ \"a\": 1e999 }", "devcontainer.json:1:8: the number 1e999 is too large"),
        ("[]", "devcontainer.json:1:1: it must hold a JSON object, it is a list"),
        ("{ \"image\": 1 }", "devcontainer.json:1:12: `image` must be a string, it is a number"),
        (
            "{ \"é😀\": 1, \"image\": 1 }",
            "devcontainer.json:1:21: `image` must be a string, it is a number",
        ),
        (
            "{ \"mounts\": [\"source=a\"] }",
            "devcontainer.json:1:14: `mounts[0]` has no `target`: add `target=` and the path inside",
        ),
        (
            "{ \"mounts\": [\"type=bind,target=/a\"] }",
            "devcontainer.json:1:14: `mounts[0]` binds nothing: add `source=` and the path outside",
        ),
        (
            "{ \"mounts\": [{ \"type\": \"nfs\", \"target\": \"/a\" }] }",
            "devcontainer.json:1:24: `type` can't be `nfs`: it is one of bind, volume, tmpfs",
        ),
        (
            "{ \"forwardPorts\": [70000] }",
            "devcontainer.json:1:20: `forwardPorts[0]` is 70000: a port is at most 65535",
        ),
        (
            "{ \"forwardPorts\": [\"a b:1\"] }",
            "devcontainer.json:1:20: `forwardPorts[0]` can't be `a b:1`: write a port or service:port",
        ),
        (
            "{ \"waitFor\": \"postCreate\" }",
            "devcontainer.json:1:14: `waitFor` can't be `postCreate`: it is one of initializeCommand, onCreateCommand, updateContentCommand, postCreateCommand, postStartCommand, postAttachCommand",
        ),
        (
            "{ \"postCreateCommand\": { \"a\": 1 } }",
            "devcontainer.json:1:31: `postCreateCommand.a` must be a string (for a shell) or a list of strings (a program and its arguments), it is a number",
        ),
        (
            "{ \"containerEnv\": { \"A\": null } }",
            "devcontainer.json:1:26: `containerEnv.A` must be a string, it is null",
        ),
        (
            "{ \"hostRequirements\": { \"memory\": \"much\" } }",
            "devcontainer.json:1:35: `memory` can't be `much`: write a number with kb, mb, gb or tb",
        ),
        (
            "{ \"hostRequirements\": { \"cpus\": 1.5 } }",
            "devcontainer.json:1:33: `cpus` must be a whole number from 0, it is 1.5",
        ),
        (
            "{ \"build\": { } }",
            "devcontainer.json:1:12: `build` names no `dockerfile`: add it, or use `image`",
        ),
        (
            "{ \"dockerComposeFile\": \"c\" }",
            "devcontainer.json:1:24: `dockerComposeFile` is set without `service`: name the service to work in",
        ),
        (
            "{ \"name\": \"${localEnv}\" }",
            "devcontainer.json:1:11: `${localEnv}` names no variable: write `${localEnv:NAME}`",
        ),
        (
            "{ \"features\": { \"fish\": {} } }",
            "devcontainer.json:1:17: `fish` names no Feature: write registry/owner/name:version, or `./fish` for a folder beside the configuration",
        ),
    ];
    for (text, expected) in cases {
        let said = Project::new(text).said();
        // A warning says so after its place.
        let said = said.first().map(|line| line.replace("warning: ", ""));
        assert_eq!(said.as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn all_complaints_of_a_file_are_told_at_once() {
    let text = "{\n  \"image\": 1,\n  \"init\": \"yes\",\n  \"capAdd\": [true]\n}";
    assert_eq!(
        Project::new(text).said(),
        [
            "devcontainer.json:2:12: `image` must be a string, it is a number",
            "devcontainer.json:3:11: `init` must be true or false, it is a string",
            "devcontainer.json:4:14: `capAdd[0]` must be a string, it is true or false",
        ]
    );
}

#[test]
fn slips_are_warned_of_with_the_nearest_word() {
    let text = "{\n  \"image\": \"${localWorkspaceFoldr}\",\n  \"postCreateComand\": \"x\",\n  \
                \"build\": { \"dockerfile\": \"D\", \"arg\": {} },\n  \"name\": \"a\",\n  \"name\": \"${localEnv:TOKEN}\"\n}";
    let project = Project::new(text).with(".devcontainer/D", "FROM i");
    assert_eq!(
        project.said(),
        [
            "devcontainer.json:6:3: warning: `name` stands already in line 5, this one counts: remove the other",
            "devcontainer.json:2:12: warning: `${localWorkspaceFoldr}` is no variable and stays as it is: did you mean `localWorkspaceFolder`?",
            "devcontainer.json:6:11: warning: `${localEnv:TOKEN}` is empty here, the variables of the host aren't passed in: use a secret or write a default, `${localEnv:NAME:default}`",
            "devcontainer.json:4:33: warning: `arg` is unknown and ignored: did you mean `args`?",
            "devcontainer.json:1:1: warning: more than one of `image`, `build.dockerfile` and `dockerComposeFile` is set: the Dockerfile counts before the image, the image before Compose; remove the others",
            "devcontainer.json:3:3: warning: `postCreateComand` is unknown and ignored: did you mean `postCreateCommand`?",
        ]
    );
}

#[test]
fn a_configuration_is_found_where_the_specification_says_or_the_project() {
    let file = |project: &Project| project.resolve().map(|resolved| resolved.file);
    let image = "{ \"image\": \"i\" }";
    let mut project = Project::empty().with(".devcontainer/b/devcontainer.json", image);
    assert_eq!(file(&project).unwrap().unwrap(), "/p/.devcontainer/b/devcontainer.json");
    project = project.with(".devcontainer/a/devcontainer.json", image);
    assert_eq!(
        project.said(),
        [
            ".devcontainer: there are .devcontainer/a/devcontainer.json, .devcontainer/b/devcontainer.json: name one of them in the project"
        ]
    );
    project.named = Some(".devcontainer/a/devcontainer.json");
    assert_eq!(file(&project).unwrap().unwrap(), "/p/.devcontainer/a/devcontainer.json");
    project.named = None;
    project = project.with(".devcontainer.json", image);
    assert_eq!(file(&project).unwrap().unwrap(), "/p/.devcontainer.json");
    project = project.with(".devcontainer/devcontainer.json", image);
    assert_eq!(file(&project).unwrap().unwrap(), "/p/.devcontainer/devcontainer.json");
    assert_eq!(file(&Project::empty()).unwrap(), None);

    project.named = Some("../other.json");
    assert_eq!(
        project.said(),
        ["/other.json: the project names `../other.json`, which lies outside of it"]
    );
    project.named = Some("gone.json");
    assert_eq!(
        project.said(),
        ["gone.json: the project names this file, but it isn't there: add it or change the name"]
    );
}

#[test]
fn the_same_labels_give_the_same_identifier() {
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    };
    let mut project = Project::new("{ \"image\": \"i\", \"name\": \"${devcontainerId}\" }");
    project.labels = Some(labels(&[("b", "2"), ("a", "1")]));
    let resolved = project.resolve().unwrap();
    let id = devcontainer_id(&labels(&[("a", "1"), ("b", "2")]));
    assert_eq!(resolved.definition.name.as_deref(), Some(id.as_str()));
    assert_eq!(resolved.devcontainer_id.as_deref(), Some(id.as_str()));
    assert_eq!((id.len(), id.bytes().all(|digit| digit.is_ascii_alphanumeric())), (52, true));
    assert_ne!(id, devcontainer_id(&labels(&[("a", "1"), ("b", "3")])));
}
