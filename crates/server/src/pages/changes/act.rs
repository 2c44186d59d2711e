//! What the forms of a change's page do. Each goes back to the page, and says what was done.

use axum::{extract::State, http::Method, response::Response};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_wire::api::pull_request::{
    FollowUp, Merge, MergeMethod, NewComment, NewReview, Place as LinePlace, Side,
};

use crate::{
    actions::{follow_up, pull_requests as actions},
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::Place,
    links,
    pages::{
        frame::{Fields, filled, go},
        view::diff::percent_encoded,
    },
    problem::{Code, Problem},
    state::AppState,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    macro_rules! form {
        ($word:literal, $action:ident, $handler:ident) => {
            Endpoint::page(
                Method::POST,
                concat!("/changes/{project}/{number}/", $word),
                Access::Allows(Action::$action),
                $handler,
            )
        };
    }
    vec![
        form!("comments", Comment, comment),
        form!("send", SteerAgent, send),
        form!("approve", Approve, approve),
        form!("request-changes", RequestChanges, request_changes),
        form!("merge", Merge, merge),
        form!("close", CloseChange, close),
        form!("reopen", CloseChange, reopen),
    ]
}

/// Where the change's page is, with what was done.
fn done(project: &str, number: u64, word: &str) -> Response {
    go(format!("{}?said={word}", links::change(project, number)))
}

#[derive(Deserialize)]
struct Words {
    #[serde(default)]
    body: String,
    #[serde(default)]
    commit: String,
    path: Option<String>,
    side: Option<Side>,
    line: Option<u32>,
    view: Option<String>,
    from: Option<u32>,
    to: Option<u32>,
    whole: Option<String>,
}

impl Words {
    /// What of the page's query comes back.
    fn kept(&self) -> String {
        let mut kept = String::new();
        if let Some(view) = &self.view {
            kept.push_str(&format!("&view={}", percent_encoded(view)));
        }
        for (key, round) in [("from", self.from), ("to", self.to)] {
            if let Some(round) = round {
                kept.push_str(&format!("&{key}={round}"));
            }
        }
        if let Some(whole) = &self.whole {
            kept.push_str(&format!("&whole={}", percent_encoded(whole)));
        }
        kept
    }

    /// Browsers send line breaks as CR LF.
    fn body(&self) -> String {
        self.body.replace("\r\n", "\n")
    }

    fn review(&self) -> NewReview {
        NewReview { body: self.body(), commit: filled(&self.commit) }
    }
}

async fn comment(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
    Fields(words): Fields<Words>,
) -> Result<Response, Problem> {
    let place = match (&words.path, words.side, words.line) {
        (Some(path), Some(side), Some(line)) => {
            Some(LinePlace { path: path.clone(), side, line, commit: filled(&words.commit) })
        }
        (None, None, None) => None,
        (Some(_) | None, Some(_) | None, Some(_) | None) => {
            let why = "a comment at a line names the file, the side and the line";
            return Err(Problem::new(Code::BadRequest, why).at("line"));
        }
    };
    let new = NewComment { body: words.body(), place };
    let comment = actions::comment(&app, &principal, &project, number, new).await?;
    let page = links::change(&project, number);
    Ok(go(format!("{page}?said=commented{}#c{}", words.kept(), percent_encoded(&comment.id))))
}

#[derive(Deserialize)]
struct Note {
    #[serde(default)]
    note: String,
}

async fn send(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
    Fields(note): Fields<Note>,
) -> Result<Response, Problem> {
    let wanted = FollowUp { comments: Vec::new(), note: filled(&note.note) };
    let started = follow_up::start(&app, &principal, &project, number, wanted).await?;
    Ok(go(format!("{}?said=sent", links::job(&started.job_id))))
}

async fn approve(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
    Fields(words): Fields<Words>,
) -> Result<Response, Problem> {
    actions::approve(&app, &principal, &project, number, words.review()).await?;
    Ok(done(&project, number, "approved"))
}

async fn request_changes(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
    Fields(words): Fields<Words>,
) -> Result<Response, Problem> {
    actions::request_changes(&app, &principal, &project, number, words.review()).await?;
    Ok(done(&project, number, "requested"))
}

#[derive(Deserialize)]
struct How {
    #[serde(default)]
    method: MergeMethod,
    #[serde(default)]
    commit: String,
    #[serde(default)]
    update_source: bool,
}

async fn merge(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
    Fields(how): Fields<How>,
) -> Result<Response, Problem> {
    let wanted =
        Merge { method: how.method, commit: filled(&how.commit), update_source: how.update_source };
    actions::merge(&app, &principal, &project, number, wanted).await?;
    Ok(done(&project, number, "merged"))
}

async fn close(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
) -> Result<Response, Problem> {
    actions::close(&app, &principal, &project, number).await?;
    Ok(done(&project, number, "closed"))
}

async fn reopen(
    State(app): State<AppState>,
    principal: Principal,
    Place((project, number)): Place<(String, u64)>,
) -> Result<Response, Problem> {
    actions::reopen(&app, &principal, &project, number).await?;
    Ok(done(&project, number, "reopened"))
}
