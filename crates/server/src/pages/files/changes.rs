//! `/environments/{environment}/changes`: how the work tree differs from the commit that it began with, or
//! from the newest one made in it, shown as a change under review is.

use axum::{extract::State, http::Method, response::Response};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_wire::api::file::{Against, DiffQuery};

use super::{Where, tabs};
use crate::{
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::{Keys, Place},
    pages::{
        diff,
        frame::{Frame, page},
        view::{
            diff::{DiffView, Layout, Options, Talk, percent_encoded},
            files::DiffPage,
            shell::Commit,
        },
    },
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let enter = Access::Allows(Action::UseEnvironments);
    vec![Endpoint::page(Method::GET, "/environments/{environment}/changes", enter, changes)]
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    against: Against,
    view: Option<String>,
    path: Option<String>,
    whole: Option<String>,
}

async fn changes(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(name): Place<String>,
    Keys(wanted): Keys<Wanted>,
) -> Result<Response, Problem> {
    let place = Where::find(&app, &principal, &name).await?;
    let query = DiffQuery { against: wanted.against, path: wanted.path.clone(), stat: false };
    let found = views::files::diff(&app, &principal, &name, query).await?;
    let layout = wanted.view.as_deref().map_or(Layout::Split, Layout::parse);
    let path = wanted.path.as_deref().map(percent_encoded);
    let address = |against: Against, layout: Layout| {
        let against = if against == Against::Head { "head" } else { "base" };
        let path = path.as_ref().map(|path| format!("path={path}&")).unwrap_or_default();
        format!("{}/changes?against={against}&view={}&{path}", place.here, layout.name())
    };
    let patch = diff::parse(found.patch.unwrap_or_default().as_bytes());
    let options = Options {
        layout,
        can_comment: false,
        whole: wanted.whole.clone(),
        here: address(wanted.against, layout),
    };
    let against = [("With its base", Against::Base), ("With the last commit", Against::Head)];
    let layouts = [Layout::Split, Layout::Unified];
    page(&DiffPage {
        shell: place.shell(&frame, "Changes"),
        tabs: tabs(&place.here, "Changes"),
        against: against
            .into_iter()
            .map(|(word, one)| (word, address(one, layout), one == wanted.against))
            .collect(),
        layouts: layouts
            .into_iter()
            .map(|one| (one.word(), address(wanted.against, one), one == layout))
            .collect(),
        commit: Commit(found.commit),
        total_files: found.total_files,
        is_cut: found.cut,
        diff: DiffView::new(&patch, Talk::default(), &options),
    })
}
