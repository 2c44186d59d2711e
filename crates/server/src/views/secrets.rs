//! Secrets and variables: what may be seen of them, and what the runner of a job is given. A sealed
//! value is opened here for that runner alone.

use std::collections::BTreeMap;

use windlass_policy::{
    permission::Action,
    secrets::{Asking, Form, Grants, Injection, Scope as Rank, Work, most_special},
};
use windlass_run::{ProjectId, SecretId, StepId, UserId, actor::Actor, spec};
use windlass_store::{
    runs::JobDetail,
    secrets::{Kind, Scope, Secret as Row, Stored, Wanted},
};
use windlass_wire::{
    api::{
        Page,
        secret::{
            Secret, SecretDoor, SecretForm, SecretGrants, SecretKind, SecretScope, SecretsQuery,
        },
    },
    runner,
};

use super::{bad_cursor, page_size};
use crate::{
    actions::secrets::user_of,
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
};

/// Secrets and variables by name. Those of other users are for admins only.
///
/// # Errors
/// A query that can't be read; the store's failures.
pub async fn list(
    app: &AppState,
    principal: &Principal,
    query: SecretsQuery,
) -> Result<Page<Secret>, Problem> {
    let limit = page_size(query.limit)?;
    let after = match &query.cursor {
        Some(cursor) => {
            let (id, name) = cursor.split_once('.').ok_or_else(bad_cursor)?;
            Some((name.to_owned(), id.to_owned()))
        }
        None => None,
    };
    let owner = match &query.project {
        Some(project) => Some(super::projects::find(app, principal, project).await?.id.to_string()),
        None => None,
    };
    let wanted = Wanted {
        kind: query.kind.map(to_store_kind),
        scope: query.scope.map(to_store_scope),
        owner,
        name: query.name,
        visible_to: visible_to(app, principal).await?,
        after,
    };
    let rows = app.store().secrets(&principal.organisation_id, wanted, limit).await?;
    let next = (rows.len() == limit as usize)
        .then(|| rows.last().map(|(row, _)| format!("{}.{}", row.id, row.name)))
        .flatten();
    let mut items = Vec::with_capacity(rows.len());
    for (row, clear) in rows {
        items.push(shown(app, row, clear).await?);
    }
    Ok(Page { items, next })
}

/// One secret or variable.
///
/// # Errors
/// It is not there, or another user's; the store's failures.
pub async fn one(
    app: &AppState,
    principal: &Principal,
    secret_id: &SecretId,
) -> Result<Secret, Problem> {
    let (row, clear) = find(app, principal, secret_id).await?;
    shown(app, row, clear).await
}

/// One that may be seen, as it is stored.
pub(crate) async fn find(
    app: &AppState,
    principal: &Principal,
    secret_id: &SecretId,
) -> Result<(Row, Option<String>), Problem> {
    let not_found = || Problem::not_found(format!("secret {secret_id}"));
    let found = app.store().secret(&principal.organisation_id, secret_id).await;
    let (row, clear) = match found {
        Ok(found) => found,
        Err(windlass_store::Error::NotFound { .. }) => return Err(not_found()),
        Err(error) => return Err(error.into()),
    };
    let visible_to = visible_to(app, principal).await?;
    if row.scope == Scope::User && visible_to.is_some_and(|user| user != row.owner) {
        return Err(not_found());
    }
    Ok((row, clear))
}

/// Whose of users' secrets may be seen: absent means everybody's, empty nobody's.
async fn visible_to(app: &AppState, principal: &Principal) -> Result<Option<String>, Problem> {
    if principal.may(Action::ManageSecrets) {
        return Ok(None);
    }
    let user_id = user_of(app, &principal.actor).await?;
    Ok(Some(user_id.map(|user_id| user_id.to_string()).unwrap_or_default()))
}

/// A secret or variable as the API gives it.
pub(crate) async fn shown(
    app: &AppState,
    row: Row,
    clear: Option<String>,
) -> Result<Secret, Problem> {
    let (form, grants) = rules(&row)?;
    let organisation_id = &row.organisation_id;
    let project = match (row.scope, ProjectId::parse(&row.owner)) {
        (Scope::Project, Ok(id)) => Some(app.project_name(organisation_id, &id).await),
        _ => None,
    };
    let user = match (row.scope, UserId::parse(&row.owner)) {
        (Scope::User, Ok(id)) => Some(app.who(&Actor::User(id)).await),
        _ => None,
    };
    let mut projects = Vec::with_capacity(grants.projects.len());
    for project in grants.projects {
        projects.push(match ProjectId::parse(&project) {
            Ok(id) => app.project_name(organisation_id, &id).await,
            Err(_) => project,
        });
    }
    Ok(Secret {
        kind: match row.kind {
            Kind::Secret => SecretKind::Secret,
            Kind::Variable => SecretKind::Variable,
        },
        scope: match row.scope {
            Scope::Organisation => SecretScope::Organisation,
            Scope::Project => SecretScope::Project,
            Scope::User => SecretScope::User,
        },
        project,
        user,
        form: match form {
            Form::Environment => SecretForm::Environment,
            Form::File { path, mode } => SecretForm::File { path, mode: format!("{mode:04o}") },
            Form::Door(injection) => SecretForm::Door(door(injection)),
        },
        grants: SecretGrants { projects, branches: grants.branches, steps: grants.steps },
        version: row.version,
        value: clear,
        created_at: row.created_at.as_micros(),
        created_by: app.who(&row.created_by.actor).await,
        updated_at: row.updated_at.as_micros(),
        updated_by: app.who(&row.updated_by.actor).await,
        id: row.id,
        name: row.name,
    })
}

/// What a seal is bound to: the row, its owner, its name and its version. A sealed value that was
/// moved, or is of an earlier version, does not open.
pub(crate) fn place(row: &Row) -> String {
    format!(
        "secret/{}/{}/{}/{}/{}/{}",
        row.organisation_id,
        row.scope.as_str(),
        row.owner,
        row.id,
        row.name,
        row.version
    )
}

/// What the steps of a job may be given, as it is now.
///
/// # Errors
/// A secret that does not open; the store's failures.
pub(crate) async fn of_job(app: &AppState, job: &JobDetail) -> Result<runner::Secrets, Problem> {
    let state = &job.state;
    let is_run = |step: &spec::Step| matches!(step.action, spec::Action::Run { .. });
    let is_agent = |step: &spec::Step| matches!(step.action, spec::Action::Agent(_));
    if !state.spec.steps.iter().any(|step| is_run(step) || is_agent(step)) {
        return Ok(runner::Secrets::default());
    }
    let started_by = state.by.on_behalf_of.as_ref().unwrap_or(&state.by.actor);
    let user_id = user_of(app, started_by).await?;
    let project_id = &state.spec.target.project_id;
    let offered =
        app.store().secrets_for(&job.row.organisation_id, project_id, user_id.as_ref()).await?;
    let mut read = Vec::with_capacity(offered.len());
    for (row, stored) in &offered {
        let (form, grants) = rules(row)?;
        read.push((row, stored, form, grants));
    }
    let mut given: BTreeMap<usize, Vec<StepId>> = BTreeMap::new();
    // A job that continues another begins with what that one's agent left.
    let mut commands = match state.spec.continues {
        Some(_) => Work::CommandsAfterAgent,
        None => Work::Commands,
    };
    for step in &state.spec.steps {
        let work = match step.action {
            spec::Action::Agent(_) => {
                commands = Work::CommandsAfterAgent;
                Work::Agent
            }
            _ if is_run(step) => commands,
            _ => continue,
        };
        let asking = Asking {
            project: project_id.as_str(),
            branch: &state.spec.target.base,
            step: step.id.as_str(),
            work,
        };
        let granted =
            read.iter().enumerate().filter(|(_, (.., form, grants))| grants.allow(form, asking));
        let ranked = granted
            .map(|(n, (row, _, form, _))| (rank(row.scope), row.name.clone(), form.clone(), n));
        for n in most_special(ranked.collect()) {
            given.entry(n).or_default().push(step.id.clone());
        }
    }
    let mut secrets = Vec::with_capacity(given.len());
    for (n, steps) in given {
        let (row, stored, form, _) = &read[n];
        secrets.push(runner::Secret {
            name: row.name.clone(),
            is_secret: row.kind == Kind::Secret,
            file: match form {
                Form::Environment | Form::Door(_) => None,
                Form::File { path, mode } => {
                    Some(runner::SecretFile { path: path.clone(), mode: *mode })
                }
            },
            door: match form {
                Form::Door(injection) => Some(door(injection.clone())),
                Form::Environment | Form::File { .. } => None,
            },
            value: open(app, row, stored)?,
            steps,
        });
    }
    Ok(runner::Secrets { secrets })
}

fn door(injection: Injection) -> SecretDoor {
    let Injection { url, header, template, user, methods } = injection;
    SecretDoor { url, header, template, user, methods }
}

fn open(app: &AppState, row: &Row, stored: &Stored) -> Result<String, Problem> {
    let sealed = match stored {
        Stored::Clear(clear) => return Ok(clear.clone()),
        Stored::Sealed(sealed) => std::str::from_utf8(sealed).unwrap_or_default(),
    };
    let opened = app.sealer().open_sealed(&place(row), sealed).map_err(|error| {
        let why = format!(
            "the secret {} ({}, version {}) can't be opened: the server's key file is not the one \
             that it was sealed with, or its row was changed. Bring the key file back, or set it again",
            row.name,
            row.scope.as_str(),
            row.version
        );
        Problem::new(Code::SecretUnreadable, why).because(error)
    })?;
    Ok(opened.expose().to_owned())
}

/// How a secret is seen, and where it is given. A row that can't be read is given nowhere.
fn rules(row: &Row) -> Result<(Form, Grants), Problem> {
    let failed = |error| Problem::internal("read the rules of a secret", error);
    let form = serde_json::from_value(row.form.clone()).map_err(failed)?;
    let grants = serde_json::from_value(row.grants.clone()).map_err(failed)?;
    Ok((form, grants))
}

fn rank(scope: Scope) -> Rank {
    match scope {
        Scope::Organisation => Rank::Organisation,
        Scope::Project => Rank::Project,
        Scope::User => Rank::User,
    }
}

pub(crate) fn to_store_kind(kind: SecretKind) -> Kind {
    match kind {
        SecretKind::Secret => Kind::Secret,
        SecretKind::Variable => Kind::Variable,
    }
}

pub(crate) fn to_store_scope(scope: SecretScope) -> Scope {
    match scope {
        SecretScope::Organisation => Scope::Organisation,
        SecretScope::Project => Scope::Project,
        SecretScope::User => Scope::User,
    }
}
