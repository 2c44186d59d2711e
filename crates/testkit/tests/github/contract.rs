//! Every answer of the model, and every request of ours, fits GitHub's published description.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use windlass_forge::forge::{
    LineComment, Merge, NewPullRequest, Review, Side, Status, StatusState, Update, Verdict,
};
use windlass_forge::hosts::github::{GitHub, Options};
use windlass_forge::{Forge, RepositoryName};
use windlass_git::RepoPath;
use windlass_git::merge::Method;
use windlass_testkit::github::{Exchange, published};

use crate::project::{TOKEN, start};

#[tokio::test]
async fn all_that_goes_to_and_from_the_model_fits_the_published_description() {
    let test = "all_that_goes_to_and_from_the_model_fits_the_published_description";
    let member = "package/generated/api.github.com.json";
    let Some(file) = published::file(
        test,
        "@octokit/openapi@23.0.2",
        member,
        Path::new(env!("CARGO_TARGET_TMPDIR")),
    ) else {
        return;
    };
    let description: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let exchanges = everything().await;
    let mut seen = BTreeSet::new();
    for exchange in &exchanges {
        let (template, operation) = operation(&description, exchange);
        seen.insert(format!("{} {template} {}", exchange.method, exchange.status));
        let answers = resolve(&description, &operation["responses"][exchange.status.to_string()]);
        if let Some(schema) = answers.pointer("/content/application~1json/schema") {
            fits(
                &description,
                schema,
                &exchange.response,
                &format!("answer to {} {} ({})", exchange.method, exchange.path, exchange.status),
            );
        } else if exchange.status >= 400 {
            // Not every operation lists the complaints that all of them may give.
            fits(
                &description,
                &json!({ "$ref": "#/components/schemas/basic-error" }),
                &exchange.response,
                &exchange.path,
            );
        } else {
            assert!(
                matches!(exchange.status, 304),
                "{} {}: {} is not described",
                exchange.method,
                exchange.path,
                exchange.status
            );
        }
        let body = operation["requestBody"].pointer("/content/application~1json/schema");
        if let (Some(schema), true) = (body, exchange.status < 400) {
            fits(
                &description,
                schema,
                &exchange.request,
                &format!("request {} {}", exchange.method, exchange.path),
            );
        }
    }
    for expected in [
        "GET /user 200",
        "GET /user 401",
        "GET /rate_limit 200",
        "GET /repos/{owner}/{repo} 200",
        "GET /repos/{owner}/{repo} 404",
        "GET /repos/{owner}/{repo}/pulls 200",
        "POST /repos/{owner}/{repo}/pulls 201",
        "POST /repos/{owner}/{repo}/pulls 403",
        "POST /repos/{owner}/{repo}/pulls 422",
        "GET /repos/{owner}/{repo}/pulls/{pull_number} 200",
        "GET /repos/{owner}/{repo}/pulls/{pull_number} 304",
        "GET /repos/{owner}/{repo}/pulls/{pull_number} 404",
        "PATCH /repos/{owner}/{repo}/pulls/{pull_number} 200",
        "PATCH /repos/{owner}/{repo}/pulls/{pull_number} 422",
        "PUT /repos/{owner}/{repo}/pulls/{pull_number}/merge 200",
        "PUT /repos/{owner}/{repo}/pulls/{pull_number}/merge 405",
        "PUT /repos/{owner}/{repo}/pulls/{pull_number}/merge 409",
        "POST /repos/{owner}/{repo}/pulls/{pull_number}/reviews 200",
        "POST /repos/{owner}/{repo}/pulls/{pull_number}/reviews 422",
        "GET /repos/{owner}/{repo}/pulls/{pull_number}/reviews 200",
        "GET /repos/{owner}/{repo}/issues/{issue_number}/comments 200",
        "POST /repos/{owner}/{repo}/issues/{issue_number}/comments 201",
        "POST /repos/{owner}/{repo}/issues/{issue_number}/comments 404",
        "POST /repos/{owner}/{repo}/issues/{issue_number}/labels 200",
        "POST /repos/{owner}/{repo}/statuses/{sha} 201",
    ] {
        assert!(seen.contains(expected), "{expected} was not seen; seen were {seen:#?}");
    }
}

/// Asks the model for everything that it can do, well and badly, through our own client.
async fn everything() -> Vec<Exchange> {
    let dir = tempfile::tempdir().unwrap();
    let (model, head) = start(dir.path()).await;
    let connect = |token: &str| {
        let now = windlass_testkit::github::EPOCH * 1_000_000;
        let options = Options {
            api_root: model.api_root(),
            token: token.into(),
            clock: Arc::new(move || now),
            time_limit: Duration::from_secs(20),
        };
        GitHub::new(options).unwrap()
    };
    let (forge, name) = (connect(TOKEN), RepositoryName::parse("acme/api").unwrap());
    let new = |head: &str| NewPullRequest {
        base: "main".into(),
        head: head.into(),
        title: "t".into(),
        body: "b".into(),
        draft: false,
        labels: vec!["x".into()],
    };
    forge.who_am_i().await.unwrap();
    connect("wrong").who_am_i().await.unwrap_err();
    forge.repository(&name).await.unwrap();
    forge.repository(&RepositoryName::parse("acme/none").unwrap()).await.unwrap_err();
    connect("ghp_reader").open_or_find(&name, &new("work")).await.unwrap_err();
    forge.open_or_find(&name, &new("none")).await.unwrap_err();
    forge.open_or_find(&name, &new("work")).await.unwrap();
    forge.open_or_find(&name, &new("work")).await.unwrap();
    forge.pull_request(&name, 1).await.unwrap();
    forge.pull_request(&name, 1).await.unwrap();
    forge.pull_request(&name, 9).await.unwrap_err();
    forge
        .update(&name, 1, &Update { title: Some("u".into()), body: Some("v".into()), base: None })
        .await
        .unwrap();
    forge
        .update(&name, 1, &Update { title: Some(String::new()), ..Update::default() })
        .await
        .unwrap_err();
    forge.comment(&name, 1, "words", "m").await.unwrap();
    forge.comment(&name, 1, "words", "m").await.unwrap();
    connect(TOKEN).comments(&name, 9, 5).await.unwrap_err();
    let line = LineComment {
        path: RepoPath::parse("file").unwrap(),
        side: Side::New,
        line: 2,
        body: "c".into(),
    };
    let review = |verdict| Review {
        verdict,
        body: "r".into(),
        commit: head.clone(),
        comments: vec![line.clone()],
    };
    for (verdict, marker) in
        [(Verdict::Comment, "r1"), (Verdict::RequestChanges, "r2"), (Verdict::Approve, "r3")]
    {
        connect("ghp_reviewer").review(&name, 1, &review(verdict), marker).await.unwrap();
    }
    connect("ghp_reviewer").review(&name, 1, &review(Verdict::Comment), "r1").await.unwrap();
    forge.review(&name, 1, &review(Verdict::Approve), "r4").await.unwrap_err();
    let status = Status {
        context: "c".into(),
        state: StatusState::Pending,
        description: "d".into(),
        url: Some("http://localhost/".into()),
    };
    forge.set_status(&name, &head, &status).await.unwrap();
    let merge =
        |expected_head| Merge { method: Method::Rebase, expected_head, title: None, message: None };
    forge
        .merge(&name, 1, &merge(windlass_git::Oid::parse(&"1".repeat(40)).unwrap()))
        .await
        .unwrap_err();
    forge.close(&name, 1).await.unwrap();
    raw(&model, "PUT", "/repos/acme/api/pulls/1/merge", &json!({ "merge_method": "merge" })).await;
    forge.reopen(&name, 1).await.unwrap();
    forge.open_pull_requests(&name, None, 10).await.unwrap();
    forge.merge(&name, 1, &merge(head)).await.unwrap();
    forge.pull_request(&name, 1).await.unwrap();
    raw(&model, "POST", "/repos/acme/api/issues/9/comments", &json!({ "body": "x" })).await;
    raw(&model, "GET", "/rate_limit", &Value::Null).await;
    model.exchanges().await
}

/// One request that our client would not make.
async fn raw(model: &windlass_testkit::github::GitHub, method: &str, path: &str, body: &Value) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let address = model.root().trim_start_matches("http://");
    let text = format!(
        "{method} /api/v3{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
}

/// The described operation that an exchange belongs to.
fn operation<'a>(description: &'a Value, exchange: &Exchange) -> (&'a str, &'a Value) {
    let parts: Vec<&str> = exchange.path.split('/').collect();
    let matches = |template: &str| {
        let wanted: Vec<&str> = template.split('/').collect();
        wanted.len() == parts.len()
            && wanted
                .iter()
                .zip(&parts)
                .all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
    };
    let paths = description["paths"].as_object().unwrap();
    let (template, operations) = paths
        .iter()
        .find(|(template, _)| matches(template))
        .unwrap_or_else(|| panic!("{} is not described", exchange.path));
    (template, &operations[exchange.method.to_ascii_lowercase()])
}

fn resolve<'a>(description: &'a Value, mut value: &'a Value) -> &'a Value {
    while let Some(reference) = value["$ref"].as_str() {
        value = description.pointer(&reference[1..]).unwrap();
    }
    value
}

fn fits(description: &Value, schema: &Value, instance: &Value, what: &str) {
    let mut schemas = Map::new();
    let mut queue = vec![schema.clone()];
    while let Some(next) = queue.pop() {
        for name in references(&next) {
            if !schemas.contains_key(&name) {
                let found = description["components"]["schemas"][&name].clone();
                queue.push(found.clone());
                schemas.insert(name, draft(found));
            }
        }
    }
    let whole = json!({ "allOf": [draft(schema.clone())], "components": { "schemas": schemas } });
    let validator = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft4)
        .should_validate_formats(true)
        .build(&whole)
        .unwrap();
    let faults: Vec<String> = validator
        .iter_errors(instance)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{what} does not fit: {faults:#?}");
}

/// The names of the schemas that a schema refers to.
fn references(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(object) => {
            let own = object
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|name| name.strip_prefix("#/components/schemas/"))
                .map(str::to_owned);
            own.into_iter().chain(object.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// Turns a schema of OpenAPI 3.0 into JSON Schema: its `nullable` is not known there.
fn draft(schema: Value) -> Value {
    match schema {
        Value::Object(object) => {
            let mut object: Map<String, Value> =
                object.into_iter().map(|(key, value)| (key, draft(value))).collect();
            if object.get("nullable") != Some(&Value::Bool(true)) {
                return object.into();
            }
            object.remove("nullable");
            json!({ "anyOf": [object, { "type": "null" }] })
        }
        Value::Array(items) => items.into_iter().map(draft).collect(),
        other => other,
    }
}
