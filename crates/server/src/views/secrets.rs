//! Secrets and variables: what may be seen of them, and what the runner of a job is given. A sealed
//! value is opened here for that runner alone.

use std::collections::{BTreeMap, BTreeSet};

use windlass_policy::{
    permission::Action,
    secrets::{
        Asking, EXEC, Form, Grants, Injection, Registry, SETUP, Scope as Rank, Work, most_special,
    },
};
use windlass_run::{
    OrganisationId, ProjectId, SecretId, StepId, UserId,
    actor::{Actor, By},
    job, spec,
};
use windlass_store::{
    environments::EnvironmentRow,
    runs::JobDetail,
    secrets::{Kind, Scope, Secret as Row, Stored, Wanted},
};
use windlass_wire::{
    api::{
        Page,
        secret::{
            Secret, SecretDoor, SecretForm, SecretGrants, SecretKind, SecretRegistry, SecretScope,
            SecretsQuery,
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
            Form::Registry(Registry { host, user }) => {
                SecretForm::Registry(SecretRegistry { host, user })
            }
        },
        grants: SecretGrants {
            projects,
            branches: grants.branches,
            steps: grants.steps,
            beside_agents: grants.beside_agents,
        },
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
    let user_id = user_behind(app, &state.by).await?;
    let target = &state.spec.target;
    let offer =
        Offer::load(app, &job.row.organisation_id, &target.project_id, user_id.as_ref()).await?;
    let mut given: BTreeMap<usize, Vec<StepId>> = BTreeMap::new();
    for (path, work) in works(&state.spec) {
        let asking = asking(target, path.as_str(), work);
        for n in offer.granted(asking) {
            let (row, _, form, _) = &offer.0[n];
            let comes_inside = !matches!(form, Form::Door(_) | Form::Registry(_));
            // What was not known when the job began would make it sensitive behind everybody's back.
            if work == Work::Agent && comes_inside && !state.spec.sensitive.contains(&row.name) {
                continue;
            }
            given.entry(n).or_default().push(path.clone());
        }
    }
    let agent_was_there = state.spec.continues.is_some()
        || state.steps.iter().enumerate().any(|(index, step)| {
            let has_begun = step.phase != job::StepPhase::Pending || step.attempts > 0;
            has_begun && is_agent(state.definition(index))
        });
    let work = if agent_was_there { Work::SetupAfterAgent } else { Work::Setup };
    let (mut in_setup, mut registries) = (Vec::new(), Vec::new());
    if !state.spec.plain_environment {
        in_setup = offer.granted(asking(target, SETUP, work));
        registries = offer.registries(target);
    }
    for n in in_setup.iter().chain(&registries) {
        given.entry(*n).or_default();
    }
    let secrets = given.into_iter().map(|(n, steps)| {
        let secret = offer.give(app, n)?;
        Ok(runner::Secret { steps, in_setup: in_setup.contains(&n), ..secret })
    });
    Ok(runner::Secrets { secrets: secrets.collect::<Result<_, Problem>>()? })
}

/// The names of the secrets that a job's agents themselves could read, as it is now.
///
/// # Errors
/// The store's failures.
pub(crate) async fn beside_agents(
    app: &AppState,
    by: &By,
    spec: &spec::Spec,
) -> Result<Vec<String>, Problem> {
    let user_id = user_behind(app, by).await?;
    let (organisation_id, target) = (app.organisation_id(), &spec.target);
    let offer = Offer::load(app, organisation_id, &target.project_id, user_id.as_ref()).await?;
    let mut names = BTreeSet::new();
    for (path, work) in works(spec).into_iter().filter(|(_, work)| *work == Work::Agent) {
        for n in offer.granted(asking(target, path.as_str(), work)) {
            let (row, _, form, _) = &offer.0[n];
            if row.kind == Kind::Secret && !matches!(form, Form::Door(_)) {
                names.insert(row.name.clone());
            }
        }
    }
    Ok(names.into_iter().collect())
}

/// What the set-up of an environment that lives by itself is given, and what its doors send.
///
/// # Errors
/// A secret that does not open; the store's failures.
pub(crate) async fn of_environment(
    app: &AppState,
    row: &EnvironmentRow,
) -> Result<Vec<runner::Secret>, Problem> {
    let user_id = user_behind(app, &row.state.by).await?;
    let spec = &row.state.spec;
    let offer = Offer::load(app, &row.organisation_id, &spec.project_id, user_id.as_ref()).await?;
    let target = kept(row);
    let in_setup = offer.granted(asking(&target, SETUP, Work::Setup));
    let doors = offer.granted(asking(&target, EXEC, Work::Commands));
    let is_door = |n: &usize| matches!(offer.0[*n].2, Form::Door(_));
    let mut all: BTreeSet<usize> = in_setup.iter().copied().collect();
    all.extend(doors.into_iter().filter(is_door));
    all.extend(offer.registries(&target));
    let give = |n| {
        let in_setup = in_setup.contains(&n);
        Ok(runner::Secret { in_setup, ..offer.give(app, n)? })
    };
    all.into_iter().map(give).collect()
}

/// What a program that somebody executes in an environment is given, but for doors, which are the
/// environment's own. A user's secrets are only for programs of that user, in their own environment.
///
/// # Errors
/// A secret that does not open; the store's failures.
pub(crate) async fn of_program(
    app: &AppState,
    principal: &Principal,
    row: &EnvironmentRow,
) -> Result<Vec<runner::Secret>, Problem> {
    let owner = user_behind(app, &row.state.by).await?;
    let who = user_of(app, &principal.actor).await?;
    let user_id = who.filter(|who| owner.as_ref() == Some(who));
    let spec = &row.state.spec;
    let offer = Offer::load(app, &row.organisation_id, &spec.project_id, user_id.as_ref()).await?;
    let granted = offer.granted(asking(&kept(row), EXEC, Work::Commands));
    let comes_inside = |n: &usize| !matches!(offer.0[*n].2, Form::Door(_));
    granted.into_iter().filter(comes_inside).map(|n| offer.give(app, n)).collect()
}

/// Everything that could be given, with its rules.
struct Offer(Vec<(Row, Stored, Form, Grants)>);

impl Offer {
    async fn load(
        app: &AppState,
        organisation_id: &OrganisationId,
        project_id: &ProjectId,
        user_id: Option<&UserId>,
    ) -> Result<Self, Problem> {
        let offered = app.store().secrets_for(organisation_id, project_id, user_id).await?;
        let read = |(row, stored): (Row, Stored)| {
            let (form, grants) = rules(&row)?;
            Ok((row, stored, form, grants))
        };
        Ok(Self(offered.into_iter().map(read).collect::<Result<_, Problem>>()?))
    }

    /// Which of it is granted: of one name only the most special.
    fn granted(&self, asking: Asking<'_>) -> Vec<usize> {
        let all = self.0.iter().enumerate();
        let granted = all.filter(|(_, (.., form, grants))| grants.allow(form, asking));
        let ranked = granted
            .map(|(n, (row, _, form, _))| (rank(row.scope), row.name.clone(), form.clone(), n));
        most_special(ranked.collect())
    }

    /// With which of it images are pulled: of several for one registry the most special.
    fn registries(&self, target: &spec::Target) -> Vec<usize> {
        let mut by_host = BTreeMap::new();
        let mut all: Vec<usize> = (0..self.0.len()).collect();
        all.sort_by_key(|n| rank(self.0[*n].0.scope));
        for n in all {
            let (_, _, form, grants) = &self.0[n];
            if let Form::Registry(registry) = form
                && grants.allow_images(target.project_id.as_str(), &target.base)
            {
                by_host.insert(registry.host.as_str(), n);
            }
        }
        by_host.into_values().collect()
    }

    /// One of it in clear, for nothing yet.
    fn give(&self, app: &AppState, n: usize) -> Result<runner::Secret, Problem> {
        let (row, stored, form, _) = &self.0[n];
        let mut secret = runner::Secret {
            name: row.name.clone(),
            is_secret: row.kind == Kind::Secret,
            file: None,
            door: None,
            registry: None,
            value: open(app, row, stored)?,
            steps: Vec::new(),
            in_setup: false,
        };
        match form {
            Form::Environment => {}
            Form::File { path, mode } => {
                secret.file = Some(runner::SecretFile { path: path.clone(), mode: *mode });
            }
            Form::Door(injection) => secret.door = Some(door(injection.clone())),
            Form::Registry(Registry { host, user }) => {
                let (host, user, realm) = (host.clone(), user.clone(), row.id.to_string());
                secret.registry = Some(runner::RegistryLogin { host, user, realm });
            }
        }
        Ok(secret)
    }
}

fn is_run(step: &spec::Step) -> bool {
    matches!(step.action, spec::Action::Run { .. })
}

fn is_agent(step: &spec::Step) -> bool {
    matches!(step.action, spec::Action::Agent(_))
}

/// The steps that may be given something, by their names in the spec, and what each is.
fn works(spec: &spec::Spec) -> Vec<(StepId, Work)> {
    let leaves = spec.leaves();
    // A job that continues another begins with what that one's agent left.
    let mut after_agent = spec.continues.is_some();
    // What is done again may come after an agent that stands behind it.
    let again = leaves.iter().any(|(_, step, again)| *again && is_agent(step));
    let works = leaves.into_iter().filter_map(|(path, step, repeated)| match step {
        step if is_agent(step) => {
            after_agent = true;
            Some((path, Work::Agent))
        }
        step if is_run(step) => Some((
            path,
            match after_agent || repeated && again {
                true => Work::CommandsAfterAgent,
                false => Work::Commands,
            },
        )),
        _ => None,
    });
    works.collect()
}

fn asking<'a>(target: &'a spec::Target, step: &'a str, work: Work) -> Asking<'a> {
    Asking { project: target.project_id.as_str(), branch: &target.base, step, work }
}

/// What an environment that lives by itself works on.
fn kept(row: &EnvironmentRow) -> spec::Target {
    let spec = &row.state.spec;
    spec::Target { project_id: spec.project_id.clone(), base: spec.base.clone(), commit: None }
}

/// The user who started something, or for whom it was started.
async fn user_behind(app: &AppState, by: &By) -> Result<Option<UserId>, Problem> {
    user_of(app, by.on_behalf_of.as_ref().unwrap_or(&by.actor)).await
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
