//! Configurations from a fixed seed: any choice of properties, each with a value of its kind, printed
//! with comments and trailing commas.

use std::collections::BTreeMap;

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Map, Value, json};

use crate::case::{Ask, Case, environment};

/// So many, always the same.
pub(crate) fn cases(number: u32) -> Vec<Case> {
    let seed = *b"windlass reads dev containers :)";
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = case();
    (0..number)
        .map(|i| {
            let mut case = strategy.new_tree(&mut runner).unwrap().current();
            case.name = format!("generated {i}");
            case
        })
        .collect()
}

fn case() -> impl Strategy<Value = Case> {
    let ask = prop_oneof![
        Just(Ask::Configuration),
        (proptest::option::weighted(0.8, label()), word()).prop_map(|(label, user)| {
            Ask::Merged { label, user, environment: BTreeMap::new() }
        }),
        // Values with variables of their own: see the written case.
        proptest::collection::btree_map(name(), word(), 0..4).prop_map(Ask::Container),
    ];
    let place = prop_oneof![
        4 => Just((".devcontainer/devcontainer.json", "")),
        1 => Just((".devcontainer.json", "")),
        1 => Just(("packages/one/.devcontainer/devcontainer.json", "packages/one")),
    ];
    (configuration(), ask, place, any::<bool>(), any::<u64>()).prop_map(
        |(configuration, ask, (path, folder), is_git, noise)| {
            let mut case = Case::new("", "");
            case.files = vec![(path.to_owned(), print(&configuration, noise))];
            case.folder = folder.to_owned();
            case.is_git = is_git;
            case.ask = ask;
            case.environment = environment();
            case
        },
    )
}

fn configuration() -> impl Strategy<Value = Value> {
    let images = vec!["debian:12", "a/${localEnv:FULL}", "i:${localEnv:MISSING:12}", "${i}"];
    let base = proptest::sample::select(images).prop_map(|image| json!({ "image": image }));
    (base, some(configuration_properties()), some(shared_properties())).prop_map(
        |(base, own, shared)| {
            let mut all = base.as_object().unwrap().clone();
            all.extend(own);
            all.extend(shared);
            Value::Object(all)
        },
    )
}

type Property = (&'static str, BoxedStrategy<Value>);

/// What only a configuration says.
fn configuration_properties() -> Vec<Property> {
    vec![
        ("name", text().prop_map(Value::from).boxed()),
        ("workspaceFolder", text().prop_map(|text| json!(format!("/w/{text}"))).boxed()),
        (
            "workspaceMount",
            prop_oneof![
                Just(json!("")),
                text().prop_map(|text| json!(format!("type=bind,source=/s,target=/{text}"))),
            ]
            .boxed(),
        ),
        ("initializeCommand", command().boxed()),
        ("runArgs", texts().boxed()),
        ("appPort", prop_oneof![port(), list(port())].boxed()),
        ("overrideFeatureInstallOrder", texts().boxed()),
        ("extensions", texts().boxed()),
        ("settings", map(scalar()).boxed()),
        ("devPort", (1..9000u16).prop_map(Value::from).boxed()),
        ("somethingElse", json_value().boxed()),
        (
            "secrets",
            map(prop_oneof![
                Just(json!({})),
                text().prop_map(|text| json!({ "description": text })),
            ])
            .boxed(),
        ),
    ]
}

/// What a label says too.
fn shared_properties() -> Vec<Property> {
    let hooks = [
        "onCreateCommand",
        "updateContentCommand",
        "postCreateCommand",
        "postStartCommand",
        "postAttachCommand",
    ];
    let mut properties: Vec<Property> =
        hooks.into_iter().map(|hook| (hook, command().boxed())).collect();
    let one_of = |words: &'static [&'static str]| {
        proptest::sample::select(words).prop_map(Value::from).boxed()
    };
    let truth = || any::<bool>().prop_map(Value::from).boxed();
    properties.extend([
        ("waitFor", one_of(&["onCreateCommand", "postStartCommand", "updateContentCommand"])),
        ("customizations", map(map(json_value())).boxed()),
        ("mounts", list(mount()).boxed()),
        ("containerEnv", map(text().prop_map(Value::from)).boxed()),
        ("containerUser", word().prop_map(Value::from).boxed()),
        ("init", truth()),
        ("privileged", truth()),
        ("capAdd", list(one_of(&["SYS_PTRACE", "NET_ADMIN", "SYS_ADMIN"])).boxed()),
        ("securityOpt", texts().boxed()),
        ("remoteUser", word().prop_map(Value::from).boxed()),
        ("userEnvProbe", one_of(&["none", "loginShell", "interactiveShell"])),
        (
            "remoteEnv",
            map(prop_oneof![2 => text().prop_map(Value::from), 1 => Just(Value::Null)]).boxed(),
        ),
        ("overrideCommand", truth()),
        ("portsAttributes", map(port_attributes()).boxed()),
        ("otherPortsAttributes", port_attributes().boxed()),
        (
            "forwardPorts",
            list(prop_oneof![
                (1..6u16).prop_map(|port| json!(port)),
                (1..6u16).prop_map(|port| json!(format!("localhost:{port}"))),
                (1..6u16).prop_map(|port| json!(format!("db:{port}"))),
            ])
            .boxed(),
        ),
        ("shutdownAction", one_of(&["none", "stopContainer"])),
        ("updateRemoteUserUID", truth()),
        ("hostRequirements", host_requirements().boxed()),
    ]);
    properties
}

/// A few of the properties.
fn some(properties: Vec<Property>) -> impl Strategy<Value = Map<String, Value>> {
    let each: Vec<_> = properties
        .into_iter()
        .map(|(key, value)| {
            proptest::option::weighted(0.3, value)
                .prop_map(move |value| value.map(|value| (key.to_owned(), value)))
                .boxed()
        })
        .collect();
    each.prop_map(|members| members.into_iter().flatten().collect())
}

/// A label with entries, or with one.
fn label() -> impl Strategy<Value = String> {
    let entry = || {
        (some(shared_properties()), proptest::option::of(text())).prop_map(
            |(mut entry, program)| {
                if let Some(program) = program {
                    entry.insert("entrypoint".to_owned(), json!(program));
                }
                Value::Object(entry)
            },
        )
    };
    prop_oneof![
        4 => proptest::collection::vec(entry(), 0..4).prop_map(|list| json!(list).to_string()),
        1 => entry().prop_map(|entry| entry.to_string()),
    ]
}

fn host_requirements() -> impl Strategy<Value = Value> {
    let size = || {
        proptest::sample::select(vec!["1gb", "512mb", "2tb", "64kb", "1000"]).prop_map(Value::from)
    };
    let gpu = prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        Just(json!("optional")),
        (1..9u32, size()).prop_map(|(cores, memory)| json!({ "cores": cores, "memory": memory })),
    ];
    some(vec![
        ("cpus", (1..64u32).prop_map(Value::from).boxed()),
        ("memory", size().boxed()),
        ("storage", size().boxed()),
        ("gpu", gpu.boxed()),
    ])
    .prop_map(Value::Object)
}

fn port_attributes() -> impl Strategy<Value = Value> {
    some(vec![
        ("label", text().prop_map(Value::from).boxed()),
        ("protocol", Just(json!("https")).boxed()),
        ("onAutoForward", Just(json!("silent")).boxed()),
    ])
    .prop_map(Value::Object)
}

fn mount() -> impl Strategy<Value = Value> {
    let target = || proptest::sample::select(vec!["/a", "/b", "/c"]);
    let target_key = proptest::sample::select(vec!["target", "dst", "destination"]);
    prop_oneof![
        (target_key, target(), text()).prop_map(|(key, target, source)| json!(format!(
            "source=v{},{key}={target},type=volume",
            source.replace([',', '=', '"', ':'], "")
        ))),
        (target(), word()).prop_map(
            |(target, source)| json!({ "type": "volume", "source": source, "target": target })
        ),
    ]
}

fn command() -> impl Strategy<Value = Value> {
    let single = || {
        prop_oneof![
            text().prop_map(Value::from),
            proptest::collection::vec(text(), 1..4).prop_map(|mut words| {
                words[0].insert(0, 'x');
                json!(words)
            }),
        ]
    };
    prop_oneof![3 => single(), 1 => map(single())]
}

fn port() -> impl Strategy<Value = Value> {
    prop_oneof![
        (1..9000u16).prop_map(Value::from),
        (1..9000u16).prop_map(|port| json!(format!("{port}:80"))),
    ]
}

fn texts() -> impl Strategy<Value = Value> {
    list(text().prop_map(Value::from))
}

fn list(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    proptest::collection::vec(value, 0..4).prop_map(Value::from)
}

fn map(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    proptest::collection::btree_map(name(), value, 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn name() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["A", "B_2", "vscode", "3000", "some thing"])
        .prop_map(str::to_owned)
}

fn word() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["", "root", "vscode", "node", "1000"]).prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        (-1000..1000i32).prop_map(Value::from),
        Just(Value::Null),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map(name(), inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Text with variables of all passes in it, whole, broken and unknown.
fn text() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "a",
        "b/c",
        " ",
        "é😀",
        "\\",
        "\"",
        "$",
        "{",
        "}",
        ":",
        "\n",
        "${localEnv:FULL}",
        "${localEnv:EMPTY:default}",
        "${localEnv:MISSING}",
        "${localEnv:MISSING:default:more}",
        "${localEnv:MISSING:${localEnv:FULL}}",
        "${env:FULL}",
        "${localEnv:DOLLAR}",
        "${localEnv:}",
        "${localWorkspaceFolder}",
        "${localWorkspaceFolderBasename}",
        "${containerWorkspaceFolder}",
        "${containerWorkspaceFolderBasename}",
        "${devcontainerId}",
        "${containerEnv:A}",
        "${containerEnv:MISSING:default}",
        "${containerEnv:A:default}",
        "${HOME}",
        "${",
        "${local\nEnv:FULL}",
    ]);
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// Prints JSON with what editors leave in it.
fn print(value: &Value, noise: u64) -> String {
    let plain = serde_json::to_string_pretty(value).unwrap();
    let mut text = String::new();
    for (i, line) in plain.lines().enumerate() {
        text.push_str(line);
        match (noise >> (i % 60)) & 3 {
            0 => text.push_str(" // a \"comment\""),
            1 => text.push_str(" /* another\n, { */"),
            _ => {}
        }
        text.push_str(if noise & 4 == 0 { "\r\n" } else { "\n" });
    }
    if noise & 8 == 0 {
        let end = text.rfind('}').unwrap();
        let before = text[..end].trim_end();
        // Only after a value, and not behind a comment of one line.
        if before.ends_with(['"', ']', '}']) && !before.ends_with("comment\"") {
            text.insert(before.len(), ',');
        }
    }
    text
}
