//! All endpoints of the server, put together: each behind its access rule, all behind the same
//! layers. The OpenAPI document and the permission table are made from the same list.

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use serde_json::Value;

use crate::{
    api, auth,
    endpoint::{Access, Doc, Endpoint},
    extract::Place,
    git_http, hooks, openapi as document, pages, ports,
    problem::{Code, Problem},
    runner,
    state::AppState,
};

/// Every endpoint that is served.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = api::endpoints();
    endpoints.extend(runner::endpoints());
    endpoints.extend(git_http::endpoints());
    endpoints.extend(hooks::endpoints());
    endpoints.extend(auth::sign_in::endpoints());
    endpoints.extend(pages::endpoints());
    endpoints.push(explain_endpoint());
    endpoints
}

/// The service, ready to be listened for.
pub(crate) fn router(app: &AppState) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints() {
        router = endpoint.mount(router, app);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), pages::show_problems))
        .layer(middleware::from_fn(headers))
        .layer(pages::compression())
        .layer(middleware::from_fn_with_state(app.clone(), ports::by_host))
        .with_state(app.clone())
}

/// The OpenAPI 3.1 document of the public API.
pub fn openapi() -> Value {
    document::document(&endpoints())
}

/// Every route with its access rule: method, path, rule.
pub fn permission_table() -> Vec<(Method, &'static str, Access)> {
    let row = |endpoint: Endpoint| (endpoint.method, endpoint.path, endpoint.access);
    endpoints().into_iter().map(row).collect()
}

async fn not_found() -> Response {
    Problem::new(Code::NotFound, "nothing is at this address").into_response()
}

async fn method_not_allowed() -> Response {
    let why = "this address does not take that method; /api/v1/openapi.json says which it takes";
    Problem::new(Code::MethodNotAllowed, why).into_response()
}

/// Headers that hold for everything: nothing is framed, sniffed or run that did not come from here.
async fn headers(request: Request, next: Next) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
        img-src 'self' data:; connect-src 'self'; font-src 'self'; manifest-src 'self'; \
        form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let defaults: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn explain_endpoint() -> Endpoint {
    Endpoint::new(Method::GET, "/api/v1/problems/{code}", Access::Public, explain).doc(
        Doc::new("explainProblem", "What a problem's code means and what to do, as Markdown.")
            .gives_bytes("text/markdown")
            .problems(&[Code::NotFound]),
    )
}

async fn explain(Place(code): Place<String>) -> Result<Response, Problem> {
    let found = Code::ALL.iter().find(|known| known.name() == code);
    let found = found.ok_or_else(|| Problem::not_found("such code"))?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], found.page()).into_response())
}
