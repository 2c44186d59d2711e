//! Every page in every state, looked at in a browser: two widths, both themes, nothing on the console,
//! nothing to scroll sideways, nothing serious for axe. The pictures stay below the
//! target folder.

use axum::{
    Json, Router,
    extract::Path,
    http::{StatusCode, header},
    response::{Html, IntoResponse as _},
    routing::get,
};

use super::{assets, fixture, view::Theme};

#[path = "../../tests/browser/tools.rs"]
mod tools;

/// Serves the fixtures as the server would: under its policy, with its assets.
fn router() -> Router {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
        img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
        frame-ancestors 'none'";
    let names: Vec<&str> = fixture::pages(Theme::Light).iter().map(|(path, _)| *path).collect();
    let mut router = Router::new().route("/pages.json", get(move || async move { Json(names) }));
    for theme in [Theme::Light, Theme::Dark] {
        for (path, html) in fixture::pages(theme) {
            let answer = move || async move {
                ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(html.clone()))
            };
            router = router.route(&format!("/{}{path}", theme.name()), get(answer));
        }
    }
    let asset = |Path((_, name)): Path<(String, String)>| async move {
        match assets::find(&name) {
            Some(asset) => {
                ([(header::CONTENT_TYPE, asset.media_type)], asset.content).into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        }
    };
    // A stream that says nothing: the page is live.
    let stream = || async {
        let quiet =
            futures::stream::pending::<Result<axum::response::sse::Event, std::io::Error>>();
        axum::response::sse::Sse::new(quiet)
    };
    router
        .route("/assets/{version}/{name}", get(asset))
        .route("/job/live/stream", get(stream))
        .route("/api/v1/feed", get(stream))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_in_every_state_is_sound_in_a_browser() {
    let Some(tools) = tools::Tools::find("every_page_in_every_state_is_sound_in_a_browser") else {
        return;
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move { axum::serve(listener, router()).await });
    let pictures = tools.pictures();
    let mut command = tools.script("look.mjs");
    command.arg(&base);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined");
    let output = output.expect("node starts");
    server.abort();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "see {}:\n{said}{failed}", pictures.display());
}
