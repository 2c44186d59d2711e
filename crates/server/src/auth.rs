//! Who is asking, and may they? One guard stands before every endpoint: it finds the principal
//! behind a session cookie or a service token, asks the permission table, and, where a cookie signed
//! the request in, demands proof that it came from one of our own pages. Handlers get a
//! [`Principal`] and decide nothing about identity themselves.

pub(crate) mod cross_site;
pub(crate) mod role;
pub mod sign_in;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, Method, Request, header},
    middleware::Next,
    response::{IntoResponse as _, Redirect, Response},
};
use windlass_policy::permission::{Action, Role, allows};
use windlass_run::{
    OrganisationId, RunnerId,
    actor::{Actor, By},
};
use windlass_store::identity::SecretHash;

use crate::{
    endpoint::{Access, Face},
    idempotency,
    problem::{Code, Problem},
    secret,
    state::AppState,
};

/// The name of the session's cookie.
pub const SESSION_COOKIE: &str = "windlass_session";

/// Who is asking, as found by the guard.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The user or token.
    pub actor: Actor,
    /// The name of the user or token.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The organisation that everything asked for must belong to.
    pub organisation_id: OrganisationId,
    /// How the request was signed in.
    pub via: Via,
    /// The runner that the token belongs to, where it is one's.
    pub runner_id: Option<RunnerId>,
    /// What proved it, so that it can be asked for again.
    pub(crate) credential: Credential,
}

/// What proves who somebody is. No secret: it signs nobody in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// None now: they asked earlier, and it goes on.
    Earlier,
    /// A public key, by its id.
    Key(String),
    /// A service token.
    Token(SecretHash),
    /// A browser's session.
    Session(SecretHash),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Earlier => "Earlier",
            Self::Key(_) => "Key(..)",
            Self::Token(_) => "Token(..)",
            Self::Session(_) => "Session(..)",
        })
    }
}

/// How a request was signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// By a browser's session.
    Session {
        /// What each form of a page carries as its field `csrf`, and each script as the header
        /// `X-Windlass-Csrf`.
        csrf: String,
    },
    /// By a service token.
    Token,
    /// By a public key, over SSH.
    Key,
}

impl Principal {
    /// True if the role allows it. For pages, to show only what will work; the guard decides.
    pub fn may(&self, action: Action) -> bool {
        allows(self.role, action)
    }

    /// The actor of a command that this principal gives.
    pub fn by(&self) -> By {
        By::own(self.actor.clone())
    }

    /// Whether this is the runner that it says it is.
    ///
    /// # Errors
    /// It is another one's token, or that of none yet.
    pub(crate) fn is_runner(&self, runner_id: &RunnerId) -> Result<(), Problem> {
        if self.runner_id.as_ref() == Some(runner_id) {
            return Ok(());
        }
        let why = match &self.runner_id {
            Some(own) => format!("this token belongs to the runner {own}, not to {runner_id}"),
            None => "this token belongs to no runner yet: register first".to_owned(),
        };
        Err(Problem::new(Code::Forbidden, why))
    }

    /// What a page's forms carry as `csrf`; empty for a token, which needs none.
    pub fn csrf(&self) -> &str {
        match &self.via {
            Via::Session { csrf, .. } => csrf,
            Via::Token | Via::Key => "",
        }
    }
}

/// What the guard of one endpoint knows.
#[derive(Clone)]
pub(crate) struct Rule {
    pub(crate) app: AppState,
    pub(crate) access: Access,
    pub(crate) face: Face,
}

/// Lets a request through, or refuses it.
pub(crate) async fn guard(
    State(rule): State<Rule>,
    mut request: Request<Body>,
    next: Next,
) -> Response {
    match admit(&rule, &mut request).await {
        Ok(true) => pass(&rule, request, next).await,
        Ok(false) => match cross_site::check_form(request).await {
            Ok(request) => pass(&rule, request, next).await,
            Err(problem) => problem.into_response(),
        },
        Err(problem) if problem.code == Code::NotSignedIn && rule.face == Face::Person => {
            let wanted = request.uri().path_and_query().map_or("/", |wanted| wanted.as_str());
            Redirect::to(&sign_in::address(wanted)).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

async fn pass(rule: &Rule, request: Request<Body>, next: Next) -> Response {
    let principal = request.extensions().get::<Principal>().cloned();
    match principal {
        Some(principal) if rule.face == Face::Program && rule.access != Access::OwnCredential => {
            idempotency::once(&rule.app, &principal, request, next).await
        }
        Some(_) | None => next.run(request).await,
    }
}

/// Finds the principal and asks the table. The answer is false if the request's body must still
/// prove that it comes from one of our own forms.
async fn admit(rule: &Rule, request: &mut Request<Body>) -> Result<bool, Problem> {
    if rule.access == Access::OwnCredential {
        return Ok(true);
    }
    let principal = match principal(&rule.app, request.headers()).await {
        Ok(principal) => principal,
        Err(problem) if rule.access == Access::Public && problem.code == Code::NotSignedIn => None,
        Err(problem) => return Err(problem),
    };
    let Some(principal) = principal else {
        return match rule.access {
            Access::Public => Ok(true),
            Access::SignedIn | Access::Allows(_) | Access::OwnCredential => Err(Problem::new(
                Code::NotSignedIn,
                "open a sign-in link, or send a service token as `Authorization: Bearer`",
            )),
        };
    };
    if let Access::Allows(action) = rule.access
        && !principal.may(action)
    {
        return Err(Problem::new(
            Code::Forbidden,
            format!("the role {} may not {}", principal.role, action.name().replace('_', " ")),
        ));
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let proven = match &principal.via {
        Via::Token | Via::Key => true,
        Via::Session { .. } if is_read => {
            if rule.access != Access::Public {
                cross_site::check_read(request.headers())?;
            }
            true
        }
        Via::Session { csrf, .. } => cross_site::check_headers(request.headers(), csrf)?,
    };
    request.extensions_mut().insert(principal);
    Ok(proven)
}

/// The principal behind a request, or `None` if it carries no credential at all.
async fn principal(app: &AppState, headers: &HeaderMap) -> Result<Option<Principal>, Problem> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let Some(token) = token else {
            return Err(Problem::new(
                Code::NotSignedIn,
                "only `Authorization: Bearer` with a service token is understood here",
            ));
        };
        return app.principal_of_token(token).await.map(Some);
    }
    match session_cookie(headers) {
        None => Ok(None),
        Some(session) => app.principal_of_session(session).await.map(Some),
    }
}

/// The secret of the session in the request's cookies.
pub(crate) fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == SESSION_COOKIE)
        .map(|(_, value)| value)
}

/// What the forms of a session carry: bound to the session, worthless for any other.
pub(crate) fn csrf_of(session: &str) -> String {
    secret::digest(&format!("csrf:{session}"))
}
