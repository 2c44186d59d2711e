//! An endpoint: method, path, who may call it, what it takes and gives, and its handler, declared in
//! one place. There is no other way to add a route, so no route exists without an access rule, and
//! the OpenAPI document and the permission table can't drift from what is served.

use axum::{
    Router,
    handler::Handler,
    http::Method,
    middleware,
    routing::{MethodFilter, MethodRouter, on},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use windlass_policy::permission::Action;

use crate::{auth, problem::Code, state::AppState};

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, signed in or not.
    Public,
    /// Whoever is signed in, with any role.
    SignedIn,
    /// Whoever's role allows the action.
    Allows(Action),
    /// The handler judges a credential of its own: a job's credential for its repository, or a
    /// webhook's signature. It refuses whoever has none.
    OwnCredential,
}

/// Whom an endpoint speaks to: it decides what a refusal looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// A program: refusals are problems in JSON.
    Program,
    /// A person: whoever isn't signed in is sent to sign in; other refusals become a page.
    Person,
}

/// One endpoint.
pub struct Endpoint {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) face: Face,
    pub(crate) doc: Option<Doc>,
    handler: MethodRouter<AppState>,
}

impl Endpoint {
    /// An endpoint for programs.
    pub fn new<H, T>(method: Method, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, AppState>,
        T: 'static,
    {
        let filter =
            MethodFilter::try_from(method.clone()).expect("endpoints use the standard methods");
        let handler = on(filter, handler);
        Self { method, path, access, face: Face::Program, doc: None, handler }
    }

    /// A page, or the target of a page's form.
    pub fn page<H, T>(method: Method, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, AppState>,
        T: 'static,
    {
        Self { face: Face::Person, ..Self::new(method, path, access, handler) }
    }

    /// Describes it in the OpenAPI document.
    #[must_use]
    pub fn doc(self, doc: Doc) -> Self {
        Self { doc: Some(doc), ..self }
    }

    /// Lets its body be as large as this, in bytes, instead of 2 MiB.
    #[must_use]
    pub fn body_limit(self, bytes: usize) -> Self {
        let handler = self.handler.layer(axum::extract::DefaultBodyLimit::max(bytes));
        Self { handler, ..self }
    }

    /// Adds it to a router, behind its access rule.
    pub(crate) fn mount(self, router: Router<AppState>, app: &AppState) -> Router<AppState> {
        let rule = auth::Rule { app: app.clone(), access: self.access, face: self.face };
        let guarded = self.handler.layer(middleware::from_fn_with_state(rule, auth::guard));
        router.route(self.path, guarded)
    }
}

type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// What the OpenAPI document says of an endpoint besides its method, path and access.
pub struct Doc {
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) query: Option<MakeSchema>,
    pub(crate) body: Option<Body>,
    pub(crate) status: u16,
    pub(crate) answer: Option<Body>,
    pub(crate) problems: Vec<Code>,
}

/// A body: its media type, and its schema where it is JSON.
pub(crate) struct Body {
    pub(crate) media_type: &'static str,
    pub(crate) schema: Option<MakeSchema>,
}

impl Doc {
    /// An operation by its id, unique in the document, and what it does in one line.
    pub fn new(id: &'static str, summary: &'static str) -> Self {
        Self { id, summary, query: None, body: None, status: 200, answer: None, problems: vec![] }
    }

    /// The query's keys are the fields of `T`.
    #[must_use]
    pub fn query<T: JsonSchema>(self) -> Self {
        Self { query: Some(|generator| T::json_schema(generator)), ..self }
    }

    /// It takes a `T` as JSON.
    #[must_use]
    pub fn takes<T: JsonSchema>(self) -> Self {
        let schema: MakeSchema = |generator| generator.subschema_for::<T>();
        Self { body: Some(Body { media_type: "application/json", schema: Some(schema) }), ..self }
    }

    /// It takes a body of this media type.
    #[must_use]
    pub fn takes_bytes(self, media_type: &'static str) -> Self {
        Self { body: Some(Body { media_type, schema: None }), ..self }
    }

    /// It answers with a `T` as JSON and this status.
    #[must_use]
    pub fn gives<T: JsonSchema>(self, status: u16) -> Self {
        let schema: MakeSchema = |generator| generator.subschema_for::<T>();
        let answer = Body { media_type: "application/json", schema: Some(schema) };
        Self { status, answer: Some(answer), ..self }
    }

    /// It answers with a stream of events (`text/event-stream`), each of which is a `T` as JSON.
    #[must_use]
    pub fn streams<T: JsonSchema>(self) -> Self {
        let schema: MakeSchema = |generator| generator.subschema_for::<T>();
        let answer = Body { media_type: "text/event-stream", schema: Some(schema) };
        Self { answer: Some(answer), ..self }
    }

    /// It answers with a body of this media type.
    #[must_use]
    pub fn gives_bytes(self, media_type: &'static str) -> Self {
        Self { answer: Some(Body { media_type, schema: None }), ..self }
    }

    /// It answers with this status and no body.
    #[must_use]
    pub fn gives_nothing(self, status: u16) -> Self {
        Self { status, answer: None, ..self }
    }

    /// Problems that it may give besides those that every endpoint may.
    #[must_use]
    pub fn problems(self, codes: &[Code]) -> Self {
        Self { problems: codes.to_vec(), ..self }
    }
}
