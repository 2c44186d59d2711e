//! Setting and removing secrets and variables. A value comes in here, is checked and sealed, and goes
//! nowhere else: not into a log, an error, the audit log or an answer.

use windlass_policy::{
    permission::Action,
    secrets::{self as rules, Form, Grants, Injection, Registry},
};
use windlass_run::{SecretId, UserId, actor::Actor};
use windlass_store::secrets::{Kind, Scope, Secret as Row, Stored, Wanted};
use windlass_wire::api::secret::{
    Secret, SecretDoor, SecretForm, SecretGrants, SecretRegistry, SecretScope, SetSecret,
};

use crate::{
    auth::Principal,
    problem::{Code, Problem},
    secret,
    state::AppState,
    views::{
        projects::find as find_project,
        secrets::{place, shown, to_store_kind, to_store_scope},
    },
};

/// How often a set is tried again when somebody else set the same one meanwhile.
const TRIES: u32 = 3;

/// A secret or variable that was set.
pub struct Set {
    /// It, without its value.
    pub secret: Secret,
    /// False if it was there before.
    pub is_fresh: bool,
}

/// Sets a secret or variable: a new one, or a new value of one that is there, which keeps its form and
/// grants where none are given.
///
/// # Errors
/// What the rules of names, forms, grants and values refuse; a scope that is not one's own; the
/// store's failures.
pub async fn set(app: &AppState, principal: &Principal, new: SetSecret) -> Result<Set, Problem> {
    let is_secret = to_store_kind(new.kind) == Kind::Secret;
    rules::check_name(&new.name).map_err(refused)?;
    rules::check_value(&new.value.0, is_secret).map_err(refused)?;
    let form = new.form.as_ref().map(form).transpose()?;
    let grants = match &new.grants {
        Some(given) => Some(grants(app, principal, given).await?),
        None => None,
    };
    let owner = owner(app, principal, &new).await?;
    for _ in 1..TRIES {
        match set_once(app, principal, &new, (&owner, &form, &grants)).await {
            // Somebody else's version came first: this one becomes the next.
            Err(problem)
                if problem.code == Code::Conflict
                    && is_of_kind(app, principal, &new, &owner).await? => {}
            other => return other,
        }
    }
    set_once(app, principal, &new, (&owner, &form, &grants)).await
}

/// Removes a secret or variable.
///
/// # Errors
/// It is not there, or not one's own to remove; the store's failures.
pub async fn remove(
    app: &AppState,
    principal: &Principal,
    secret_id: &SecretId,
) -> Result<(), Problem> {
    let organisation_id = principal.organisation_id.clone();
    let (row, _) = crate::views::secrets::find(app, principal, secret_id).await?;
    let is_own = row.scope == Scope::User
        && user_of(app, &principal.actor).await?.is_some_and(|user| user.as_str() == row.owner);
    if !is_own && !principal.may(Action::ManageSecrets) {
        return Err(not_yours(principal, row.scope));
    }
    app.store()
        .remove_secret(principal.by(), organisation_id, secret_id.clone(), app.now())
        .await?;
    Ok(())
}

/// The user behind an actor: a token that a user made acts for them.
pub(crate) async fn user_of(app: &AppState, actor: &Actor) -> Result<Option<UserId>, Problem> {
    match actor {
        Actor::User(user_id) => Ok(Some(user_id.clone())),
        Actor::Token(token_id) => {
            let tokens = app.store().tokens(app.organisation_id()).await?;
            let token = tokens.into_iter().find(|token| token.id == *token_id);
            Ok(token.and_then(|token| token.user_id))
        }
        Actor::Runner(_) | Actor::System(_) => Ok(None),
    }
}

/// Whose it shall be, if whoever asks may set it.
async fn owner(app: &AppState, principal: &Principal, new: &SetSecret) -> Result<String, Problem> {
    let scope = to_store_scope(new.scope);
    if scope != Scope::User && !principal.may(Action::ManageSecrets) {
        return Err(not_yours(principal, scope).at("scope"));
    }
    match (new.scope, &new.project) {
        (SecretScope::Project, Some(project)) => {
            let found = find_project(app, principal, project).await;
            Ok(found.map_err(|problem| problem.at("project"))?.id.to_string())
        }
        (SecretScope::Project, None) => {
            Err(Problem::new(Code::BadRequest, "say which project's").at("project"))
        }
        (SecretScope::Organisation | SecretScope::User, Some(_)) => {
            let why = "only the scope `project` names one here; to give it to some projects only, \
                       use `grants.projects`";
            Err(Problem::new(Code::BadRequest, why).at("project"))
        }
        (SecretScope::Organisation, None) => Ok(principal.organisation_id.to_string()),
        (SecretScope::User, None) => match user_of(app, &principal.actor).await? {
            Some(user_id) => Ok(user_id.to_string()),
            None => {
                let why = "this token belongs to no user: use one that the user made, or a \
                           project's secret";
                Err(Problem::new(Code::BadRequest, why).at("scope"))
            }
        },
    }
}

fn not_yours(principal: &Principal, scope: Scope) -> Problem {
    let whose = match scope {
        Scope::Organisation => "the organisation",
        Scope::Project => "a project",
        Scope::User => "another user",
    };
    let role = principal.role;
    let why = format!("the role {role} may not set or remove what is {whose}'s; ask an admin");
    Problem::new(Code::Forbidden, why)
}

async fn found(
    app: &AppState,
    principal: &Principal,
    new: &SetSecret,
    owner: &str,
) -> Result<Option<Row>, Problem> {
    let wanted = Wanted {
        scope: Some(to_store_scope(new.scope)),
        owner: Some(owner.to_owned()),
        name: Some(new.name.clone()),
        ..Wanted::default()
    };
    let rows = app.store().secrets(&principal.organisation_id, wanted, 1).await?;
    Ok(rows.into_iter().next().map(|(row, _)| row))
}

/// True unless there is one of another kind, which trying again would not change.
async fn is_of_kind(
    app: &AppState,
    principal: &Principal,
    new: &SetSecret,
    owner: &str,
) -> Result<bool, Problem> {
    let found = found(app, principal, new, owner).await?;
    Ok(found.is_none_or(|row| row.kind == to_store_kind(new.kind)))
}

async fn set_once(
    app: &AppState,
    principal: &Principal,
    new: &SetSecret,
    (owner, form, grants): (&str, &Option<Form>, &Option<Grants>),
) -> Result<Set, Problem> {
    let found = found(app, principal, new, owner).await?;
    let now = app.now();
    let is_fresh = found.is_none();
    let before = found.as_ref().map(|row| (row.form.clone(), row.grants.clone()));
    let json = |failed: serde_json::Error| Problem::internal("keep a secret's rules", failed);
    let (form_before, grants_before) = match before {
        Some(before) => before,
        None => (
            serde_json::to_value(Form::Environment).map_err(json)?,
            serde_json::to_value(Grants::default()).map_err(json)?,
        ),
    };
    let form = form.as_ref().map(serde_json::to_value).transpose().map_err(json)?;
    let grants = grants.as_ref().map(serde_json::to_value).transpose().map_err(json)?;
    let row = Row {
        id: found.as_ref().map_or_else(|| SecretId::new(now, app.random()), |row| row.id.clone()),
        organisation_id: principal.organisation_id.clone(),
        kind: to_store_kind(new.kind),
        scope: to_store_scope(new.scope),
        owner: owner.to_owned(),
        name: new.name.clone(),
        form: form.unwrap_or(form_before),
        grants: grants.unwrap_or(grants_before),
        version: found.as_ref().map_or(1, |row| row.version + 1),
        created_at: found.as_ref().map_or(now, |row| row.created_at),
        created_by: found.as_ref().map_or_else(|| principal.by(), |row| row.created_by.clone()),
        updated_at: now,
        updated_by: principal.by(),
    };
    let kept: Form = serde_json::from_value(row.form.clone()).map_err(json)?;
    let limits: Grants = serde_json::from_value(row.grants.clone()).map_err(json)?;
    limits.check_for(&kept).map_err(refused)?;
    rules::check_in_form(&kept, &new.value.0, row.kind == Kind::Secret).map_err(refused)?;
    let value = match row.kind {
        Kind::Secret => {
            let clear = secret::Secret::from(new.value.0.clone());
            Stored::Sealed(app.sealer().seal(&place(&row), &clear).into_bytes())
        }
        Kind::Variable => Stored::Clear(new.value.0.clone()),
    };
    app.store().set_secret(principal.by(), row.clone(), value).await?;
    let clear = (row.kind == Kind::Variable).then(|| new.value.0.clone());
    Ok(Set { secret: shown(app, row, clear).await?, is_fresh })
}

fn form(given: &SecretForm) -> Result<Form, Problem> {
    let form = match given {
        SecretForm::Environment => Form::Environment,
        SecretForm::File { path, mode } => {
            let digits = mode.strip_prefix("0o").unwrap_or(mode);
            let mode = u32::from_str_radix(digits, 8).map_err(|_| {
                let why = "a mode is octal digits, as in 0600";
                Problem::new(Code::BadRequest, why).at("form.mode")
            })?;
            Form::File { path: path.clone(), mode }
        }
        SecretForm::Registry(SecretRegistry { host, user }) => {
            Form::Registry(Registry { host: host.clone(), user: user.clone() })
        }
        SecretForm::Door(SecretDoor { url, header, template, user, methods }) => {
            Form::Door(Injection {
                url: url.clone(),
                header: header.clone(),
                template: template.clone(),
                user: user.clone(),
                methods: methods.clone(),
            })
        }
    };
    rules::check_form(&form).map_err(refused)?;
    Ok(form)
}

async fn grants(
    app: &AppState,
    principal: &Principal,
    given: &SecretGrants,
) -> Result<Grants, Problem> {
    let mut grants = Grants {
        projects: given.projects.clone(),
        branches: given.branches.clone(),
        steps: given.steps.clone(),
        beside_agents: given.beside_agents,
    };
    grants.check().map_err(refused)?;
    for project in &mut grants.projects {
        let found = find_project(app, principal, project).await;
        *project = found.map_err(|problem| problem.at("grants.projects"))?.id.to_string();
    }
    Ok(grants)
}

fn refused(invalid: rules::Invalid) -> Problem {
    Problem::new(Code::BadRequest, invalid.why).at(invalid.place)
}
