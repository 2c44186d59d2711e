//! Which commands run when, and where they come from.

use serde_json::json;

use crate::project::Project;

#[test]
fn commands_run_by_hook_the_images_first_and_the_projects_last() {
    let text = r#"{
  "image": "i",
  "features": { "./f": {} },
  "initializeCommand": "host",
  "onCreateCommand": { "a": "one", "b": ["two", "2"] },
  "postCreateCommand": "mine",
  "postStartCommand": [],
  "postAttachCommand": ["attach"],
  "waitFor": "onCreateCommand"
}"#;
    let manifest = r#"{ "id": "f", "onCreateCommand": "feature's", "postStartCommand": "start" }"#;
    let mut project =
        Project::new(text).with(".devcontainer/f/devcontainer-feature.json", manifest);
    let label = r#"[{ "onCreateCommand": "image's", "waitFor": "postCreateCommand" }]"#;
    project.images.entry("i".to_owned()).or_default().label = Some(label.to_owned());
    let resolved = project.resolve().unwrap();
    let single = |origin: &str, command: serde_json::Value| json!({ "origin": origin, "steps": [{ "command": command }] });
    let file = |at: &str| format!("/p/.devcontainer/devcontainer.json:{at}");
    let feature = |at: &str| format!("/p/.devcontainer/f/devcontainer-feature.json:{at}");
    assert_eq!(
        serde_json::to_value(&resolved.lifecycle).unwrap(),
        json!({
            "initialize": { "hook": "initializeCommand", "groups": [single(&file("4:24"), json!("host"))] },
            "prebuild": [{ "hook": "onCreateCommand", "groups": [
                single("the label devcontainer.metadata of i", json!("image's")),
                single(&feature("1:33"), json!("feature's")),
                { "origin": file("5:22"), "steps": [
                    { "name": "a", "command": "one" },
                    { "name": "b", "command": ["two", "2"] },
                ]},
            ]}],
            "claim": [{ "hook": "postCreateCommand", "groups": [single(&file("6:24"), json!("mine"))] }],
            "start": [{ "hook": "postStartCommand", "groups": [single(&feature("1:66"), json!("start"))] }],
            "attach": [{ "hook": "postAttachCommand", "groups": [single(&file("8:24"), json!(["attach"]))] }],
            "ready_after": "onCreateCommand",
        })
    );
    let before: Vec<&str> =
        resolved.lifecycle.before_ready().map(|stage| stage.hook.property()).collect();
    assert_eq!(before, ["onCreateCommand"]);
}

#[test]
fn without_commands_there_is_nothing_to_run_and_ready_is_after_the_content() {
    let resolved = Project::new("{}").resolve().unwrap();
    assert_eq!(
        serde_json::to_value(&resolved.lifecycle).unwrap(),
        json!({ "prebuild": [], "claim": [], "start": [], "attach": [], "ready_after": "updateContentCommand" })
    );
}
