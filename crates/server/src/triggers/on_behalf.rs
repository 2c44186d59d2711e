//! On whose behalf a trigger starts something: whoever `run_as` names, else who applied the automation. Somebody
//! who is shut out starts nothing, and nobody lends an automation rights that they don't have.

use windlass_policy::permission::{Action, Role, allows};
use windlass_run::actor::{Actor, By};
use windlass_store::Error;

use crate::{auth::role, problem::Problem, state::AppState};

/// Somebody with an account.
struct Account {
    actor: Actor,
    name: String,
    role: Role,
    /// Why nothing may go on in their name.
    shut_out: Option<&'static str>,
}

/// In whose name `action` is done, or why in nobody's.
pub(crate) async fn whose(
    app: &AppState,
    applied: &By,
    run_as: Option<&str>,
    action: Action,
) -> Result<Result<By, String>, Problem> {
    let applied = applied.on_behalf_of.as_ref().unwrap_or(&applied.actor);
    let Some(who_applied) = by_actor(app, applied).await? else {
        let why = "who applied the automation is not here any more: apply it again";
        return Ok(Err(why.to_owned()));
    };
    let account = match run_as {
        None => who_applied,
        Some(name) => {
            let Some(account) = by_name(app, name).await? else {
                return Ok(Err(format!("`run_as: {name}` is neither a user nor a service token")));
            };
            if let Some(why) = who_applied.shut_out {
                let who = who_applied.name;
                return Ok(Err(format!(
                    "{who}, who applied the automation, {why}: apply it again"
                )));
            }
            if account.actor != who_applied.actor && who_applied.role != Role::Admin {
                let who = who_applied.name;
                return Ok(Err(format!(
                    "{who}, who applied the automation, may not run it as {name}: an admin may"
                )));
            }
            account
        }
    };
    if let Some(why) = account.shut_out {
        let how = "apply the automation again, or name somebody else in `run_as`";
        return Ok(Err(format!("it would run as {}, who {why}: {how}", account.name)));
    }
    if !allows(account.role, action) {
        let what = action.name().replace('_', " ");
        return Ok(Err(format!("it would run as {}, who may not {what}", account.name)));
    }
    Ok(Ok(By::own(account.actor)))
}

async fn by_actor(app: &AppState, actor: &Actor) -> Result<Option<Account>, Problem> {
    match actor {
        Actor::User(user_id) => match app.store().user(user_id).await {
            Ok(user) => Ok(Some(of_user(user))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        },
        Actor::Token(token_id) => {
            let tokens = app.store().tokens(app.organisation_id()).await?;
            let found = tokens.into_iter().find(|token| token.id == *token_id);
            Ok(found.map(|token| of_token(app, token)))
        }
        Actor::Runner(_) | Actor::System(_) => Ok(None),
    }
}

async fn by_name(app: &AppState, name: &str) -> Result<Option<Account>, Problem> {
    match app.store().user_named(app.organisation_id(), name).await {
        Ok(user) => return Ok(Some(of_user(user))),
        Err(Error::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let tokens = app.store().tokens(app.organisation_id()).await?;
    let named = tokens.into_iter().filter(|token| token.name == name);
    let accounts = named.map(|token| of_token(app, token));
    // Names of tokens may come twice: one that is good counts, the newest else.
    Ok(accounts.max_by_key(|account| account.shut_out.is_none()))
}

fn of_user(user: windlass_store::identity::User) -> Account {
    Account {
        actor: Actor::User(user.id),
        name: user.name,
        role: role::from_store(user.role),
        shut_out: user.disabled_at.map(|_| "is disabled"),
    }
}

fn of_token(app: &AppState, token: windlass_store::identity::Token) -> Account {
    let is_good = token.is_good(app.now());
    Account {
        actor: Actor::Token(token.id),
        name: token.name,
        role: role::from_store(token.role),
        shut_out: (!is_good).then_some("is a service token that has expired or was revoked"),
    }
}
