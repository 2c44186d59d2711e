//! Users, service tokens, and who is asking.

use windlass_policy::permission::Action;
use windlass_run::actor::Actor;
use windlass_store::identity;
use windlass_wire::api::{
    account::{Token, User},
    system::Me,
};

use crate::{
    auth::{Principal, role},
    problem::Problem,
    state::AppState,
};

/// Who is asking, and what they may do.
pub fn me(principal: &Principal) -> Me {
    let (kind, id) = match &principal.actor {
        Actor::User(id) => ("user", id.to_string()),
        Actor::Token(id) => ("token", id.to_string()),
        Actor::Runner(id) => ("runner", id.to_string()),
        Actor::System(name) => ("system", name.clone()),
    };
    let may = Action::ALL.iter().filter(|action| principal.may(**action));
    Me {
        id,
        kind: kind.to_owned(),
        name: principal.name.clone(),
        role: principal.role.name().to_owned(),
        permissions: may.map(|action| action.name().to_owned()).collect(),
    }
}

/// All users, oldest first.
///
/// # Errors
/// The store's failures.
pub async fn users(app: &AppState, principal: &Principal) -> Result<Vec<User>, Problem> {
    let users = app.store().users(&principal.organisation_id).await?;
    Ok(users.into_iter().map(user).collect())
}

/// All tokens that still work, oldest first.
///
/// # Errors
/// The store's failures.
pub async fn tokens(app: &AppState, principal: &Principal) -> Result<Vec<Token>, Problem> {
    let now = app.now();
    let works = |token: &identity::Token| {
        token.revoked_at.is_none() && token.expires_at.is_none_or(|at| at > now)
    };
    let tokens = app.store().tokens(&principal.organisation_id).await?;
    Ok(tokens.into_iter().filter(works).map(token).collect())
}

pub(crate) fn user(user: identity::User) -> User {
    User {
        id: user.id,
        name: user.name,
        role: role::to_wire(user.role),
        created_at: user.created_at.as_micros(),
    }
}

pub(crate) fn token(token: identity::Token) -> Token {
    Token {
        id: token.id,
        name: token.name,
        role: role::to_wire(token.role),
        created_at: token.created_at.as_micros(),
        expires_at: token.expires_at.map(windlass_run::Time::as_micros),
    }
}
