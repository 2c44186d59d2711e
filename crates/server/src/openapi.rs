//! The OpenAPI 3.1 document, made from the endpoints that are served and the types of `wire::api`.
//! Nothing is written here by hand that another place knows already.

use axum::http::Method;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use windlass_wire::api::problem::Problem;

use crate::{
    endpoint::{Access, Body, Doc, Endpoint},
    problem::Code,
};

/// The document for these endpoints. Those without a [`Doc`] (pages, git, webhooks) are not in it.
pub(crate) fn document(endpoints: &[Endpoint]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = Problem::json_schema(&mut generator).to_value();
    let mut paths = Map::new();
    for endpoint in endpoints {
        let Some(doc) = &endpoint.doc else { continue };
        let item = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        item[endpoint.method.as_str().to_lowercase()] = operation(endpoint, doc, &mut generator);
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Windlass",
            "version": "1",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "Background coding agents on machines you own. \
                Times are microseconds since the Unix epoch. Refusals are RFC 9457 problems.",
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": { "Problem": {
                "description": "A refusal or failure; `/problems/CODE` explains its code.",
                "content": { "application/problem+json": {
                    "schema": { "$ref": "#/components/schemas/Problem" }
                } },
            } },
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer",
                    "description": "A service token, `wl_...`." },
                "session": { "type": "apiKey", "in": "cookie", "name": "windlass_session",
                    "description": "A signed-in browser. Requests that change something must be \
                        same-origin and carry the session's `X-Windlass-Csrf`." },
            },
        },
    })
}

fn operation(endpoint: &Endpoint, doc: &Doc, generator: &mut SchemaGenerator) -> Value {
    let mut parameters = path_parameters(endpoint.path);
    if let Some(query) = doc.query {
        parameters.extend(query_parameters(query(generator).to_value()));
    }
    if endpoint.method == Method::POST {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "Names this request: sent again with the same key, it is not done twice \
                and gets the first answer again, for 24 hours.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
        }));
    }
    let is_stream = doc.answer.as_ref().is_some_and(|body| body.media_type == "text/event-stream");
    if is_stream {
        parameters.push(json!({
            "name": "Last-Event-ID", "in": "header", "required": false,
            "description": "Only events after this one.", "schema": { "type": "string" },
        }));
    }
    let mut responses = Map::new();
    let mut answer = json!({ "description": "Done." });
    if let Some(body) = &doc.answer {
        answer["content"] = content(body, generator);
    }
    responses.insert(doc.status.to_string(), answer);
    responses.insert("default".into(), json!({ "$ref": "#/components/responses/Problem" }));
    let mut operation = json!({
        "operationId": doc.id,
        "summary": doc.summary,
        "parameters": parameters,
        "responses": responses,
        "security": security(endpoint.access),
        "x-permission": permission(endpoint.access),
        "x-problems": doc.problems.iter().map(|code: &Code| code.name()).collect::<Vec<_>>(),
    });
    if let Some(body) = &doc.body {
        operation["requestBody"] = json!({ "required": true, "content": content(body, generator) });
    }
    operation
}

/// What an access rule is called in the document and in the permission table.
pub(crate) fn permission(access: Access) -> &'static str {
    match access {
        Access::Public => "public",
        Access::SignedIn => "signed_in",
        Access::Allows(action) => action.name(),
        Access::OwnCredential => "own_credential",
    }
}

fn security(access: Access) -> Value {
    match access {
        Access::Public | Access::OwnCredential => json!([]),
        Access::SignedIn | Access::Allows(_) => json!([{ "token": [] }, { "session": [] }]),
    }
}

fn content(body: &Body, generator: &mut SchemaGenerator) -> Value {
    let schema = match body.schema {
        Some(make) => make(generator).to_value(),
        None => json!({}),
    };
    json!({ body.media_type: { "schema": schema } })
}

fn path_parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let kind = if matches!(name, "number") { "integer" } else { "string" };
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind } })
        })
        .collect()
}

fn query_parameters(schema: Value) -> Vec<Value> {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let Some(properties) = schema["properties"].as_object() else { return vec![] };
    properties
        .iter()
        .map(|(name, property)| {
            let mut property = property.clone();
            let description = property.as_object_mut().and_then(|map| map.remove("description"));
            json!({
                "name": name, "in": "query", "required": required.contains(&name.as_str()),
                "description": description, "schema": property,
            })
        })
        .collect()
}
