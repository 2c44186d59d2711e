//! `/secrets`: secrets and variables, and the form that sets one. A value that was typed in goes to
//! the store and is not sent back, not even when something is wrong with the form.

use axum::{
    extract::State,
    http::{Method, StatusCode},
    response::Response,
};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_run::SecretId;
use windlass_wire::api::secret::{
    Secret, SecretDoor, SecretForm, SecretGrants, SecretKind, SecretRegistry, SecretScope,
    SecretValue, SecretsQuery, SetSecret,
};

use super::{
    frame::{Fields, Frame, filled, form_problem, go, page_with},
    text::Text,
    view::{
        Section,
        diff::percent_encoded,
        secrets::{SecretFields, SecretRow, Secrets},
    },
};
use crate::{
    actions::secrets as actions,
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::{Keys, Place},
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let may_see = Access::Allows(Action::ViewSettings);
    let may_set = Access::Allows(Action::ManageOwnSecrets);
    vec![
        Endpoint::page(Method::GET, "/secrets", may_see, show),
        Endpoint::page(Method::POST, "/secrets", may_set, set),
        Endpoint::page(Method::POST, "/secrets/{secret}/remove", may_set, remove),
    ]
}

#[derive(Deserialize)]
struct Wanted {
    cursor: Option<String>,
}

async fn show(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Keys(wanted): Keys<Wanted>,
) -> Result<Response, Problem> {
    let fields = SecretFields { scope: "organisation", ..SecretFields::default() };
    secrets(&app, &principal, &frame, wanted.cursor, fields, StatusCode::OK).await
}

async fn secrets(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    cursor: Option<String>,
    fields: SecretFields,
    status: StatusCode,
) -> Result<Response, Problem> {
    let query = SecretsQuery { cursor, ..SecretsQuery::default() };
    let found = views::secrets::list(app, principal, query).await?;
    let manages = principal.may(Action::ManageSecrets);
    let owns = principal.may(Action::ManageOwnSecrets);
    let row = |secret: &Secret| {
        let may_remove = manages || (owns && secret.scope == SecretScope::User);
        secret_row(frame, secret, may_remove)
    };
    let scopes: &[&'static str] =
        if manages { &["organisation", "project", "user"] } else { &["user"] };
    let view = Secrets {
        shell: frame.section(Section::Settings),
        rows: found.items.iter().map(row).collect(),
        next: found.next.map(|cursor| format!("/secrets?cursor={}", percent_encoded(&cursor))),
        form: owns.then(|| SecretFields { scopes: scopes.to_vec(), ..fields }),
    };
    page_with(status, &view)
}

fn secret_row(frame: &Frame, secret: &Secret, may_remove: bool) -> SecretRow {
    let grants = &secret.grants;
    let lists =
        [("projects", &grants.projects), ("branches", &grants.branches), ("steps", &grants.steps)];
    let limits = lists.into_iter().filter(|(_, list)| !list.is_empty());
    SecretRow {
        name: Text::from(secret.name.as_str()),
        kind: match secret.kind {
            SecretKind::Secret => "secret",
            SecretKind::Variable => "variable",
        },
        owner: Text::from(match (&secret.project, &secret.user) {
            (Some(project), _) => format!("project {project}"),
            (None, Some(user)) => user.name.clone(),
            (None, None) => "organisation".to_owned(),
        }),
        seen_as: Text::from(match &secret.form {
            SecretForm::Environment => format!("${}", secret.name),
            SecretForm::File { path, mode } => format!("{path} {mode}"),
            SecretForm::Door(door) => {
                format!("door to {} ({})", door.url, door.methods.join(", "))
            }
            SecretForm::Registry(login) => format!("login of {} as {}", login.host, login.user),
        }),
        limits: limits
            .map(|(of, list)| Text::from(format!("{of} {}", list.join(", "))))
            .chain(grants.beside_agents.then(|| Text::from("agents may read it")))
            .collect(),
        value: secret.value.as_deref().map(Text::from),
        version: secret.version,
        updated: frame.moment(secret.updated_at),
        by: Text::from(secret.updated_by.name.as_str()),
        remove: may_remove.then(|| format!("/secrets/{}/remove", secret.id)),
    }
}

#[derive(Deserialize)]
struct NewOne {
    name: String,
    kind: SecretKind,
    scope: SecretScope,
    value: SecretValue,
    #[serde(default)]
    project: String,
    #[serde(default)]
    form: String,
    #[serde(default)]
    place: String,
    #[serde(default)]
    branches: String,
    #[serde(default)]
    steps: String,
}

impl NewOne {
    fn wanted(&self) -> Result<SetSecret, Problem> {
        let list = |field: &str| -> Vec<String> {
            field
                .split(',')
                .map(str::trim)
                .filter(|one| !one.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let (branches, steps) = (list(&self.branches), list(&self.steps));
        let place = self.place.trim().to_owned();
        let form = match self.form.as_str() {
            "" if place.is_empty() => None,
            "environment" => Some(SecretForm::Environment),
            "file" => Some(SecretForm::File { path: place, mode: "0600".to_owned() }),
            "door" => Some(SecretForm::Door(SecretDoor::to(place))),
            "registry" => match place.rsplit_once('@') {
                Some((user, host)) => {
                    let (host, user) = (host.to_owned(), user.to_owned());
                    Some(SecretForm::Registry(SecretRegistry { host, user }))
                }
                None => {
                    let why = "the place of a registry's password is `USER@HOST`";
                    return Err(Problem::new(Code::BadRequest, why).at("form.host"));
                }
            },
            _ => {
                let why = "a place is for a file, a door or a registry: choose one of them";
                return Err(Problem::new(Code::BadRequest, why).at("form"));
            }
        };
        let has_limits = !(branches.is_empty() && steps.is_empty());
        // A browser sends each line end as two bytes, whatever was typed in.
        let value = SecretValue(self.value.0.replace("\r\n", "\n"));
        Ok(SetSecret {
            kind: self.kind,
            name: self.name.trim().to_owned(),
            scope: self.scope,
            project: filled(&self.project),
            form,
            grants: has_limits.then_some(SecretGrants {
                branches,
                steps,
                ..SecretGrants::default()
            }),
            value,
        })
    }

    /// What is shown again when something was wrong: everything but the value.
    fn fields(self) -> SecretFields {
        SecretFields {
            name: Text::from(self.name),
            is_variable: self.kind == SecretKind::Variable,
            scope: match self.scope {
                SecretScope::Organisation => "organisation",
                SecretScope::Project => "project",
                SecretScope::User => "user",
            },
            scopes: Vec::new(),
            project: Text::from(self.project),
            form: ["environment", "file", "door", "registry"]
                .into_iter()
                .find(|form| *form == self.form)
                .unwrap_or_default(),
            place: Text::from(self.place),
            branches: Text::from(self.branches),
            steps: Text::from(self.steps),
            problem: None,
        }
    }
}

async fn set(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Fields(new): Fields<NewOne>,
) -> Result<Response, Problem> {
    let done = match new.wanted() {
        Ok(wanted) => actions::set(&app, &principal, wanted).await.map(|_| ()),
        Err(problem) => Err(problem),
    };
    match done {
        Ok(()) => Ok(go("/secrets?said=set")),
        Err(problem) => {
            let (status, problem) = form_problem(problem)?;
            let fields = SecretFields { problem: Some(problem), ..new.fields() };
            secrets(&app, &principal, &frame, None, fields, status).await
        }
    }
}

async fn remove(
    State(app): State<AppState>,
    principal: Principal,
    Place(secret_id): Place<SecretId>,
) -> Result<Response, Problem> {
    actions::remove(&app, &principal, &secret_id).await?;
    Ok(go("/secrets?said=removed"))
}
