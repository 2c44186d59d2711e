//! Golden files: what the API is, and who may do what, tried for real. Run with UPDATE_GOLDEN=1 to
//! write them anew; the difference is then seen in review.

use std::{fmt::Write as _, fs, path::Path};

use axum::http::Method;
use windlass_server::{Access, openapi, permission_table};
use windlass_wire::api::account::Role;

use super::house::House;

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    #[expect(clippy::disallowed_methods, reason = "a test may ask how it was called")]
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    if update {
        fs::write(&path, text).expect("written");
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    if golden != text {
        let first = golden.lines().zip(text.lines()).find(|(golden, now)| golden != now);
        panic!(
            "tests/{name} differs, first at {first:#?}; see it with UPDATE_GOLDEN=1 and git diff"
        );
    }
}

#[test]
fn the_api_is_what_the_golden_document_says() {
    let mut text = serde_json::to_string_pretty(&openapi()).expect("JSON");
    text.push('\n');
    compare("openapi.golden.json", &text);
}

#[test]
fn operations_have_unique_names_and_every_reference_leads_somewhere() {
    let document = openapi();
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = Vec::new();
    for item in document["paths"].as_object().expect("paths").values() {
        for operation in item.as_object().expect("operations").values() {
            names.push(operation["operationId"].as_str().expect("a name").to_owned());
        }
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#/").skip(1) {
        let pointer = reference.split('"').next().expect("a pointer");
        assert!(document.pointer(&format!("/{pointer}")).is_some(), "{pointer}");
    }
}

/// What somebody gets: `yes` if the guard lets the request through to the handler.
async fn attempt(house: &House, method: &Method, path: &str, token: Option<&str>) -> String {
    let mut request = house.http.request(method.clone(), format!("{}{path}", house.url));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.expect("answered");
    match response.status().as_u16() {
        401 => "401".to_owned(),
        403 => "403".to_owned(),
        303 if response.headers()["location"]
            .to_str()
            .is_ok_and(|to| to.starts_with("/sign-in?")) =>
        {
            "sign-in".to_owned()
        }
        _ => "yes".to_owned(),
    }
}

fn concrete(path: &str) -> String {
    let id = "0".repeat(26);
    let part = |part: &str| match part {
        "{run}" => format!("run_{id}"),
        "{job}" => format!("job_{id}"),
        "{token}" => format!("tok_{id}"),
        "{user}" => format!("usr_{id}"),
        "{runner}" => format!("rnr_{id}"),
        "{number}" => "1".to_owned(),
        part if part.starts_with('{') => "x".to_owned(),
        part => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_tried_as_everybody() {
    let house = House::new().await;
    let roles = [Role::Viewer, Role::Operator, Role::Reviewer, Role::Admin, Role::Runner];
    let mut tokens = Vec::new();
    for role in roles {
        tokens.push(house.token(role).await);
    }
    let mut table = permission_table();
    table.sort_by_key(|(method, path, _)| (*path, method.to_string()));
    let mut text = String::new();
    for (method, path, access) in table {
        let rule = match access {
            Access::Public => "public".to_owned(),
            Access::SignedIn => "signed_in".to_owned(),
            Access::Allows(action) => action.name().to_owned(),
            Access::OwnCredential => "own_credential".to_owned(),
        };
        let address = concrete(path);
        let nobody = attempt(&house, &method, &address, None).await;
        let stranger = attempt(&house, &method, &address, Some("wl_stranger")).await;
        write!(text, "{method} {path} {rule}: nobody={nobody} stranger={stranger}").expect("text");
        for (role, token) in roles.iter().zip(&tokens) {
            let got = attempt(&house, &method, &address, Some(token)).await;
            let name = serde_json::to_value(role).expect("JSON");
            write!(text, " {}={got}", name.as_str().expect("a name")).expect("text");
            if let Access::Allows(action) = access {
                let parsed = windlass_policy::permission::Role::parse(name.as_str().expect("name"));
                let allowed = windlass_policy::permission::allows(parsed.expect("a role"), action);
                assert_eq!(got == "yes", allowed, "{method} {path} as {name}");
            }
        }
        text.push('\n');
        if !matches!(access, Access::Public) {
            assert_ne!(nobody, "yes", "{method} {path} is open to nobody in particular");
            assert_ne!(stranger, "yes", "{method} {path} is open to strangers");
        }
    }
    compare("permissions.golden", &text);
}
