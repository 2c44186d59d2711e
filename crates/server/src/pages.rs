//! The pages: what a person sees and the targets of their forms. Pages decide nothing and read nothing
//! that the API could not: they show what `views` gives and do what `actions` does. All text that
//! began with an agent, a model, a repository or a person is untrusted and reaches HTML only through
//! [`text`], [`ansi`], [`markdown`], [`highlight`] or a template's own escaping.
//!
//! ```text
//! handler (home, runs, jobs, changes, ...) ─► views, actions          what there is, what is done
//!         └─► view::* (view models with their templates)              what a page shows
//!                └─► text, ansi, markdown, diff, highlight, when      how untrusted text is shown
//! ```

mod automations;
mod fleets;
mod home;
mod runs;

mod jobs;
mod live;

mod changes;

mod environments;
mod files;
mod services;
mod terminal;

mod ahead;
mod classes;
mod places;
mod ports;
mod public;
mod runners;
mod secrets;
mod settings;

mod frame;
mod view;

mod ansi;
mod assets;
mod diff;
mod highlight;
mod markdown;
mod text;
mod when;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod looked_at;

use tower_http::compression::{CompressionLayer, Predicate};

use crate::endpoint::Endpoint;

pub(crate) use assets::find as asset;
pub(crate) use public::show_problems;
pub(crate) use text::Text;

/// The pages and the targets of their forms.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = home::endpoints();
    endpoints.extend(runs::endpoints());
    endpoints.extend(automations::endpoints());
    endpoints.extend(fleets::endpoints());
    endpoints.extend(jobs::endpoints());
    endpoints.extend(changes::endpoints());
    endpoints.extend(environments::endpoints());
    endpoints.extend(files::endpoints());
    endpoints.extend(services::endpoints());
    endpoints.extend(terminal::endpoints());
    endpoints.extend(ports::endpoints());
    endpoints.extend(places::endpoints());
    endpoints.extend(runners::endpoints());
    endpoints.extend(classes::endpoints());
    endpoints.extend(secrets::endpoints());
    endpoints.extend(settings::endpoints());
    endpoints.extend(public::endpoints());
    endpoints
}

/// Compresses what people's browsers load. What programs stream and fetch stays as it is.
pub(crate) fn compression() -> CompressionLayer<impl Predicate> {
    let is_text =
        |_: http::StatusCode, _: http::Version, headers: &http::HeaderMap, _: &http::Extensions| {
            let kind = headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            kind.is_some_and(|kind| {
                ["text/html", "text/css", "text/javascript", "image/svg+xml"]
                    .iter()
                    .any(|text| kind.starts_with(text))
            })
        };
    CompressionLayer::new().compress_when(is_text)
}
