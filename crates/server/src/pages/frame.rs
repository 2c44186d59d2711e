//! What every page's handler needs of a request: who is looking, in which colours, and what they just
//! did; and what it makes of a view model: a response.

use askama::Template;
use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::de::DeserializeOwned;
use windlass_policy::permission::Action;
use windlass_run::Time;

use super::{
    text::Text,
    view::{Crumb, Moment, Section, Shell, Theme, Viewer, home::FormProblem, shell::May},
};
use crate::{
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
};

/// The cookie that remembers the colours. Not a secret.
pub(crate) const THEME_COOKIE: &str = "windlass_theme";

/// What a page's handler knows of a request.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) principal: Option<Principal>,
    pub(crate) now: Time,
    theme: Theme,
    here: String,
    notice: Option<&'static str>,
}

impl FromRequestParts<AppState> for Frame {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &AppState,
    ) -> Result<Self, Self::Rejection> {
        let principal = parts.extensions.get::<Principal>().cloned();
        let here = parts.uri.path_and_query().map_or("/", |here| here.as_str());
        let notice = parts
            .uri
            .query()
            .and_then(|query| query.split('&').find_map(|pair| said(pair.strip_prefix("said=")?)));
        Ok(Self::new(principal, app.now(), &parts.headers, here.to_owned(), notice))
    }
}

impl Frame {
    /// The frame for somebody, or nobody.
    pub(crate) fn new(
        principal: Option<Principal>,
        now: Time,
        headers: &HeaderMap,
        here: String,
        notice: Option<&'static str>,
    ) -> Self {
        let theme = cookie(headers, THEME_COOKIE).map_or(Theme::System, Theme::parse);
        Self { principal, now, theme, here, notice }
    }

    /// The same for a page that shows nobody.
    pub(crate) fn of_nobody(self) -> Self {
        Self { principal: None, ..self }
    }

    /// The frame of a page.
    pub(crate) fn shell(
        &self,
        section: Option<Section>,
        title: impl Into<String>,
        crumbs: Vec<Crumb>,
    ) -> Shell {
        let viewer = self.principal.as_ref().map(|principal| Viewer {
            name: Text::from(principal.name.as_str()),
            role: principal.role.name(),
            csrf: principal.csrf().to_owned(),
            may: may(principal),
        });
        Shell {
            title: title.into(),
            section,
            crumbs,
            viewer,
            theme: self.theme,
            here: self.here.clone(),
            now: self.now,
            notice: self.notice,
        }
    }

    /// The frame of a page with the section's own name.
    pub(crate) fn section(&self, section: Section) -> Shell {
        self.shell(Some(section), section.name(), vec![Crumb::here(section.name())])
    }

    /// A moment, seen from now.
    pub(crate) fn moment(&self, at: i64) -> Moment {
        Moment::new(at, self.now)
    }

    /// What the person may do.
    pub(crate) fn may(&self) -> May {
        self.principal.as_ref().map_or_else(May::default, may)
    }
}

fn may(principal: &Principal) -> May {
    let may = |action| principal.may(action);
    May {
        start: may(Action::StartRun),
        cancel: may(Action::CancelRun),
        comment: may(Action::Comment),
        steer: may(Action::SteerAgent),
        approve: may(Action::Approve),
        request_changes: may(Action::RequestChanges),
        merge: may(Action::Merge),
        close: may(Action::CloseChange),
        see_settings: may(Action::ViewSettings),
        manage_projects: may(Action::ManageProject),
        manage_tokens: may(Action::ManageTokens),
        manage_users: may(Action::ManageUsers),
        use_environments: may(Action::UseEnvironments),
    }
}

/// What a person just did, by the word that stands in the address after it was done.
fn said(word: &str) -> Option<&'static str> {
    Some(match word {
        "started" => "The task is started.",
        "stopping" => "It was asked to stop.",
        "paused" => "It begins nothing more until somebody says so.",
        "resumed" => "It goes on.",
        "advanced" => "The next ring is open.",
        "again" => "They are planned again.",
        "operating" => "It is done one by one, and goes on by itself.",
        "commented" => "Your comment is there.",
        "sent" => "The comments are on their way to the agent.",
        "approved" => "You approved this change.",
        "requested" => "You asked for changes.",
        "merged" => "The change is merged.",
        "closed" => "The change is closed.",
        "reopened" => "The change is open again.",
        "added" => "The project is added.",
        "set" => "It is set. The next step that asks is given it.",
        "removed" => "It is removed.",
        "created" => "The environment is created. It starts as soon as a runner has room.",
        "saved" => "The file is saved.",
        "wanted" => "It is on its way there.",
        "key" => "The key is added.",
        "unkeyed" => "The key is removed, and what it had opened is cut.",
        "revoked" => "The token no longer works.",
        "told" => "The runner is told.",
        "class" => "The class is there.",
        "published" => "The port is published.",
        "shut" => "The port is closed, and what was open to it is cut.",
        _ => return None,
    })
}

/// A page of this view model.
pub(crate) fn page(view: &impl Template) -> Result<Response, Problem> {
    page_with(StatusCode::OK, view)
}

/// A page of this view model, with a status of its own.
pub(crate) fn page_with(status: StatusCode, view: &impl Template) -> Result<Response, Problem> {
    let html = view.render().map_err(|error| Problem::internal("draw a page", error))?;
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))];
    Ok((status, kind, html).into_response())
}

/// What to show a person of a problem with their form. A failure of the server is not the form's.
///
/// # Errors
/// The problem itself, where it is not about the form.
pub(crate) fn form_problem(problem: Problem) -> Result<(StatusCode, FormProblem), Problem> {
    let status = StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let is_form =
        !status.is_server_error() && !matches!(problem.code, Code::NotSignedIn | Code::Forbidden);
    if !is_form {
        return Err(problem);
    }
    let shown =
        FormProblem { code: problem.code.name().to_owned(), detail: Text::from(problem.detail) };
    Ok((status, shown))
}

/// Goes to another page, after a form was dealt with.
pub(crate) fn go(path: impl AsRef<str>) -> Response {
    Redirect::to(path.as_ref()).into_response()
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == wanted)
        .map(|(_, value)| value)
}

/// A form's fields.
pub(crate) struct Fields<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Fields<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Form::<T>::from_request(request, state).await {
            Ok(axum::Form(fields)) => Ok(Self(fields)),
            Err(rejection) => {
                let said = rejection.body_text();
                Err(Problem::new(Code::BadRequest, format!("the form can't be read: {said}")))
            }
        }
    }
}

/// A field's lines, without the empty ones.
pub(crate) fn lines(field: &str) -> Vec<String> {
    field.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// A field, absent if nobody filled it in.
pub(crate) fn filled(field: &str) -> Option<String> {
    let field = field.trim();
    (!field.is_empty()).then(|| field.to_owned())
}

/// A field with a number, absent if nobody filled it in.
///
/// # Errors
/// What stands there is no number.
pub(crate) fn number(field: &str, name: &'static str) -> Result<Option<u64>, Problem> {
    filled(field)
        .map(|text| {
            text.parse().map_err(|_| {
                Problem::new(Code::BadRequest, format!("`{name}` must be a whole number")).at(name)
            })
        })
        .transpose()
}

/// The path of an address on this server, or the address itself where it leads elsewhere.
pub(crate) fn local_href(app: &AppState, url: &str) -> String {
    match url.strip_prefix(app.base_url()) {
        Some(path) if path.starts_with('/') => path.to_owned(),
        Some(_) | None => url.to_owned(),
    }
}
