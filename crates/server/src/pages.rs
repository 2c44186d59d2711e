//! The pages: what a person sees and the targets of their forms. Pages decide nothing and read nothing
//! that the API could not: they show what `views` gives and do what `actions` does. All text that
//! began with an agent, a model, a repository or a person is untrusted and reaches HTML only through
//! [`text`], [`ansi`], [`markdown`] or a template's own escaping; nothing here writes markup around it
//! by hand.

use axum::{extract::Request, middleware::Next, response::Response};

use crate::endpoint::Endpoint;

/// The pages and the targets of their forms.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    Vec::new()
}

/// A layer around everything: a person (whoever accepts HTML before JSON) sees a problem as a page.
pub(crate) async fn show_problems(request: Request, next: Next) -> Response {
    next.run(request).await
}
