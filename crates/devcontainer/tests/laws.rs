//! Laws that hold for any input: nothing panics, what is printed is read back, passes and merging do
//! the same when they are done twice.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by a panic and is steered by variables"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use windlass_devcontainer::{
    Files, Findings, Place, Request, merge, resolve, substitute, tree, tree::Node,
    workspace::Workspace,
};

fn resolve_text(files: &BTreeMap<String, String>) -> bool {
    let environment = BTreeMap::from([("A".to_owned(), "b".to_owned())]);
    let process = windlass_devcontainer::capability::Capabilities::process(Default::default());
    let request = Request {
        workspace: Workspace { folder: "/p".to_owned(), git_root: None },
        named: None,
        local_environment: &environment,
        id_labels: Some(&environment),
        container_environment: Some(&environment),
        images: &BTreeMap::new(),
        features: &BTreeMap::new(),
        capabilities: Some(&process),
    };
    match resolve(&request, files) {
        Ok(resolved) => !serde_json::to_string(&resolved).unwrap().is_empty(),
        Err(refused) => !refused.to_string().is_empty(),
    }
}

fn at_home(path: &str, text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(format!("/p/.devcontainer/{path}"), text.to_owned())])
}

/// Text that is nearly JSON with comments.
fn nearly_json() -> impl Strategy<Value = String> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "\\u12",
        "//",
        "/*",
        "*/",
        "\n",
        " ",
        "1",
        "-",
        "e9",
        "true",
        "null",
        "\"image\"",
        "\"i\"",
        "\"features\"",
        "\"./f\"",
        "${",
        "\u{feff}",
        "é",
        "\u{0}",
        "\"build\"",
        "\"mounts\"",
        "\"${localEnv:A}\"",
        "\"postCreateCommand\"",
        "'",
        "\"dockerComposeFile\"",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..40)
        .prop_map(|pieces| pieces.concat())
}

/// Any JSON, with keys that mean something.
fn any_json() -> impl Strategy<Value = Value> {
    json_of(prop_oneof![6 => exact(), 1 => any::<f64>().prop_map(Value::from)])
}

fn exact() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        "[${}:a-z]{0,12}".prop_map(Value::from),
    ]
}

fn json_of(leaf: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    let keys = [
        "image",
        "build",
        "dockerfile",
        "mounts",
        "target",
        "features",
        "./f",
        "customizations",
        "gpu",
        "hostRequirements",
        "memory",
        "cpus",
        "capAdd",
        "init",
        "remoteEnv",
        "containerEnv",
        "forwardPorts",
        "onCreateCommand",
        "postAttachCommand",
        "waitFor",
        "portsAttributes",
        "entrypoint",
        "runArgs",
        "workspaceMount",
        "workspaceFolder",
        "extensions",
        "settings",
        "devPort",
        "vscode",
        "secrets",
        "x",
    ];
    leaf.prop_recursive(4, 48, 8, move |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            3 => proptest::collection::btree_map(proptest::sample::select(keys.to_vec()), inner, 0..8)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

fn node(value: &Value) -> Node {
    Node::from_json(&Place::whole("f"), value)
}

/// WINDLASS_TEST_SOAK=1 tries fifty times as many.
fn size() -> ProptestConfig {
    let is_soak = std::env::var("WINDLASS_TEST_SOAK").as_deref() == Ok("1");
    ProptestConfig {
        cases: if is_soak { 20_000 } else { 400 },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(size())]

    #[test]
    fn no_text_makes_a_configuration_panic(text in prop_oneof![nearly_json(), ".{0,60}"]) {
        resolve_text(&at_home("devcontainer.json", &text));
    }

    #[test]
    fn no_json_makes_a_configuration_panic(value in any_json()) {
        resolve_text(&at_home("devcontainer.json", &value.to_string()));
    }

    #[test]
    fn no_text_makes_a_dockerfile_panic(
        text in "(FROM|RUN|COPY|ENV|ARG|USER|[$A-Za-z{}:=\"'\\\\ \n-]){0,40}",
    ) {
        let mut files = at_home("devcontainer.json", "{ \"build\": { \"dockerfile\": \"D\" } }");
        files.extend(at_home("D", &format!("FROM i AS x\n{text}")));
        resolve_text(&files);
        files.extend(at_home("D", &text));
        resolve_text(&files);
    }

    #[test]
    fn no_text_makes_a_compose_file_panic(
        text in "(services:|app:|image: |  |\n|- |\\[|\\]|\\{|\\}|&a |\\*a|<<: |\\$\\{?A|[a-z:\"'|>#]){0,40}",
    ) {
        let mut files =
            at_home("devcontainer.json", "{ \"dockerComposeFile\": \"c\", \"service\": \"app\" }");
        files.extend(at_home("c", &text));
        resolve_text(&files);
        files.extend(at_home("c", &format!("services:\n  app:\n    image: i\n    x: {text}")));
        resolve_text(&files);
    }

    #[test]
    fn no_json_makes_a_service_panic(value in any_json()) {
        let mut files =
            at_home("devcontainer.json", "{ \"dockerComposeFile\": \"c\", \"service\": \"app\" }");
        files.extend(at_home("c", &json!({ "services": { "app": value } }).to_string()));
        resolve_text(&files);
    }

    #[test]
    fn no_json_makes_a_feature_panic(value in any_json(), options in any_json()) {
        let mut files = at_home(
            "devcontainer.json",
            &json!({ "features": { "./f": options } }).to_string(),
        );
        files.extend(at_home("f/devcontainer-feature.json", &value.to_string()));
        resolve_text(&files);
    }

    #[test]
    fn no_label_makes_a_merge_panic(text in prop_oneof![any_json().prop_map(|json| json.to_string()), nearly_json()]) {
        let mut findings = Findings::default();
        let entries = merge::shares_of_label("i", &text, &mut findings);
        merge::Merged::read(&merge::merge(&node(&json!({})), &entries), &mut findings);
    }

    #[test]
    fn what_is_printed_is_read_back(value in any_json()) {
        let first = node(&value);
        let printed = serde_json::to_string_pretty(&first).unwrap();
        let read = tree::parse_jsonc("f", &printed, &mut Findings::default()).unwrap();
        prop_assert_eq!(read.to_json(), value);
        prop_assert_eq!(serde_json::to_string_pretty(&read).unwrap(), printed);
    }

    #[test]
    fn yaml_reads_json_as_json_does(value in json_of(exact())) {
        let text = serde_json::to_string(&value).unwrap();
        // A control character is refused.
        if let Ok(read) = tree::parse_yaml("f", &text) {
            prop_assert_eq!(read.to_json(), value);
        }
    }

    #[test]
    fn text_without_variables_is_left_alone(text in "[^$]{0,40}|([^{]|\\$[^{]){0,20}") {
        prop_assume!(!text.contains("${"));
        let value = node(&json!({ "a": [text] }));
        let local = substitute::Local {
            environment: &BTreeMap::new(),
            workspace_folder: "/p",
            container_workspace_folder: Some("/w"),
        };
        let mut findings = Findings::default();
        prop_assert_eq!(&substitute::local(&value, &local, &mut findings).unwrap(), &value);
        prop_assert_eq!(&substitute::identity(&value, "id"), &value);
        prop_assert_eq!(&substitute::container(&value, &BTreeMap::new()).unwrap(), &value);
        prop_assert!(findings.all().is_empty());
    }

    #[test]
    fn a_pass_finds_nothing_more_to_do_the_second_time(text in "(a|\\$\\{|\\}|:|localEnv:|A|devcontainerId|\\$){0,12}") {
        let environment = BTreeMap::from([("A".to_owned(), "plain".to_owned())]);
        let local = substitute::Local {
            environment: &environment,
            workspace_folder: "/p",
            container_workspace_folder: None,
        };
        let value = node(&json!(text));
        let mut findings = Findings::default();
        if let Ok(once) = substitute::local(&value, &local, &mut findings)
            && !once.text().unwrap().contains("localEnv")
        {
            prop_assert_eq!(&substitute::local(&once, &local, &mut findings).unwrap(), &once);
        }
    }

    #[test]
    fn merging_the_same_entry_twice_adds_only_what_is_collected(value in any_json()) {
        let entry = merge::share_of_configuration(&node(&value));
        let configuration = node(&json!({ "image": "i" }));
        let mut once = merge::merge(&configuration, std::slice::from_ref(&entry));
        let mut twice = merge::merge(&configuration, &[entry.clone(), entry]);
        for key in [
            "customizations", "onCreateCommands", "updateContentCommands", "postCreateCommands",
            "postStartCommands", "postAttachCommands",
        ] {
            once.remove(key);
            twice.remove(key);
        }
        // Two graphics processors are merged into their amounts.
        for merged in [&mut once, &mut twice] {
            if let Some(mut needs) = merged.remove("hostRequirements") {
                needs.remove("gpu");
                merged.set("hostRequirements", needs);
            }
        }
        prop_assert_eq!(once.to_json(), twice.to_json());
    }

    #[test]
    fn an_empty_entry_changes_nothing(a in any_json(), b in any_json()) {
        let [a, b] = [a, b].map(|value| merge::share_of_configuration(&node(&value)));
        let configuration = node(&json!({ "image": "i" }));
        let empty = node(&json!({}));
        prop_assert_eq!(
            merge::merge(&configuration, &[a.clone(), b.clone()]),
            merge::merge(&configuration, &[empty.clone(), a, empty.clone(), b, empty])
        );
    }

    #[test]
    fn files_in_memory_know_their_folders(names in proptest::collection::btree_set("[ab]{1,2}", 0..5)) {
        let files: BTreeMap<String, String> =
            names.iter().map(|name| (format!("/p/{name}/x"), String::new())).collect();
        prop_assert_eq!(files.folders("/p"), names.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn nesting_without_end_is_refused() {
    for text in ["[".repeat(100_000), "{\"a\":".repeat(100_000)] {
        resolve_text(&at_home("devcontainer.json", &text));
        let mut files =
            at_home("devcontainer.json", "{ \"dockerComposeFile\": \"c\", \"service\": \"app\" }");
        files.extend(at_home("c", &text));
        resolve_text(&files);
    }
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let read = |depth| tree::parse_jsonc("f", &nested(depth), &mut Findings::default());
    let finding = read(101).unwrap_err().to_string();
    assert_eq!(finding, "f:1:102: it is nested more than 100 deep: that is no configuration");
    assert!(read(100).is_ok());
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let many = vec![format!("*a{}", i - 1); 9].join(", ");
        text.push_str(&format!("a{i}: &a{i} [{many}]\n"));
    }
    let finding = tree::parse_yaml("c", &text).unwrap_err();
    assert!(finding.what.contains("can't be read as YAML"), "{finding}");
}
