//! The published schema, beside the reader: what one takes, the other takes; what one can't know, the
//! other says. The validator is the crate `jsonschema`, which is not ours.

use serde_json::{Value, json};
use windlass_document::tree;
use windlass_run::automation::{Automation, schema};

use crate::{
    good::CVE,
    malformed::{CASES, with},
};

fn as_json(text: &str) -> Option<Value> {
    tree::parse_yaml("a.yaml", text).ok().map(|node| node.to_json())
}

#[test]
fn what_the_reader_takes_the_schema_takes() {
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    for text in [
        CVE,
        "name: a\nsteps: [{ run: b }]",
        "name: a\non: push\nsteps: [{ call: b, with: { n: 1 } }]",
    ] {
        let file = as_json(text).expect("yaml");
        let errors: Vec<String> = validator
            .iter_errors(&file)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}\n{text}", errors.join("\n"));
    }
}

#[test]
fn unknown_keys_and_words_are_seen_by_the_schema_too() {
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    // What stands in expressions and templates, and what several parts say together, is the reader's.
    let beyond = ["event.", "steps.", "target", "targt", "evnt", "vale", "files.", "lvel"];
    let mut seen = 0;
    for (lines, _, words) in CASES {
        let is_key = words.starts_with("did you mean") || words.contains(", ");
        if !is_key || beyond.iter().any(|word| lines.contains(word)) {
            continue;
        }
        let Some(file) = as_json(&with(lines)) else { continue };
        assert!(!validator.is_valid(&file), "the schema takes this:\n{lines}");
        seen += 1;
    }
    assert!(seen >= 25, "{seen}");
}

/// Every key of the schema is one that the reader knows at that place: set to null, it counts as absent.
#[test]
fn every_key_of_the_schema_is_a_key_of_the_reader() {
    let schema = schema();
    let keys = |at: &Value| -> Vec<String> {
        at["properties"].as_object().expect("an object").keys().cloned().collect()
    };
    let whole = |part: Value| {
        let mut file = json!({ "name": "a", "steps": [{ "run": "b" }] });
        for (key, value) in part.as_object().expect("an object") {
            file[key] = value.clone();
        }
        file
    };
    let mut tried = 0;
    let mut knows = |file: Value, key: &str| {
        tried += 1;
        // JSON is YAML.
        if let Err(refused) = Automation::read("a.yaml", &file.to_string()) {
            let said = refused.to_string();
            assert!(!said.contains(&format!("`{key}` is no key")), "{key}: {said}\n{file}");
        }
    };
    for key in keys(&schema) {
        knows(whole(json!({ (key.as_str()): null })), &key);
    }
    let definition = |name: &str| -> Value {
        let at = &schema["$defs"][name];
        let options = at["anyOf"].as_array().map(Vec::as_slice).unwrap_or(std::slice::from_ref(at));
        options.iter().find(|option| option["properties"].is_object()).expect("an object").clone()
    };
    for key in keys(&definition("targets")) {
        knows(whole(json!({ "targets": { (key.as_str()): null } })), &key);
    }
    for key in keys(&definition("rollout")) {
        knows(whole(json!({ "rollout": { (key.as_str()): null } })), &key);
    }
    for key in keys(&definition("limits")) {
        knows(whole(json!({ "limits": { (key.as_str()): null } })), &key);
    }
    for key in keys(&definition("concurrency")) {
        knows(whole(json!({ "concurrency": { (key.as_str()): null } })), &key);
    }
    for key in keys(&definition("environment")) {
        knows(whole(json!({ "environment": { (key.as_str()): null } })), &key);
    }
    for key in keys(&definition("input")) {
        knows(whole(json!({ "inputs": { "x": { (key.as_str()): null } } })), &key);
    }
    for key in keys(&definition("output")) {
        knows(
            json!({ "name": "a", "steps": [{ "run": "b", "outputs": { "x": { (key.as_str()): null } } }] }),
            &key,
        );
    }
    for key in keys(&definition("retry")) {
        knows(
            json!({ "name": "a", "steps": [{ "run": "b", "retry": { (key.as_str()): null } }] }),
            &key,
        );
    }
    assert!(tried >= 60, "{tried}");
}
