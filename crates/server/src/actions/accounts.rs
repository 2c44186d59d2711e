//! Users and service tokens.

use windlass_policy::permission::{Action, Role};
use windlass_run::{Duration, Time, TokenId, UserId, actor::Actor};
use windlass_store::identity::{self, SecretHash};
use windlass_wire::api::account::{CreatedToken, Invited, NewToken, NewUser, Role as WireRole};

use crate::{
    auth::{Principal, role, sign_in},
    problem::{Code, Problem},
    secret::Secret,
    state::AppState,
    views::accounts::{token, user},
};

/// What every service token begins with, so that scanners for leaked secrets find it.
pub(crate) const TOKEN_PREFIX: &str = "wl_";

/// Invites a user, or gives an existing one of that name and role a new link.
///
/// # Errors
/// A name that does not hold; a name that is taken by a user of another role; the store's failures.
pub async fn invite(
    app: &AppState,
    principal: &Principal,
    new: NewUser,
) -> Result<Invited, Problem> {
    let name = check_name(&new.name)?;
    if new.role == WireRole::Runner {
        let why = "a runner has no user; make a service token for it";
        return Err(Problem::new(Code::BadRequest, why).at("role"));
    }
    let organisation_id = &principal.organisation_id;
    let found = match app.store().user_named(organisation_id, &name).await {
        Ok(found) => Some(found),
        Err(windlass_store::Error::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let invited = match found {
        Some(found) if role::to_wire(found.role) != new.role => {
            let why = format!("there is a user {name} with the role {:?}", found.role);
            return Err(Problem::new(Code::NameTaken, why.to_lowercase()).at("name"));
        }
        Some(found) => found,
        None => {
            let now = app.now();
            let fresh = identity::User {
                id: UserId::new(now, app.random()),
                organisation_id: organisation_id.clone(),
                name,
                role: role::to_store(new.role),
                password_hash: None,
                created_at: now,
                disabled_at: None,
            };
            app.store().create_user(principal.by(), fresh.clone()).await.map_err(name_taken)?;
            fresh
        }
    };
    let (sign_in_link, expires_at) = sign_in::link(app, principal.by(), invited.id.clone()).await?;
    Ok(Invited { user: user(invited), sign_in_link, expires_at })
}

/// Makes a service token. Nobody makes one that may do what they may not, save that an admin makes
/// those of runners.
///
/// # Errors
/// A name that does not hold, a role above one's own; the store's failures.
pub async fn create_token(
    app: &AppState,
    principal: &Principal,
    new: NewToken,
) -> Result<CreatedToken, Problem> {
    let name = check_name(&new.name)?;
    let wanted = role::from_store(role::to_store(new.role));
    if !may_give(principal, wanted) {
        let why = format!("the role {} may not give the role {wanted}", principal.role);
        return Err(Problem::new(Code::Forbidden, why).at("role"));
    }
    let now = app.now();
    let expires_at = new.expires_in.map(|seconds| later(now, seconds)).transpose()?;
    let secret = Secret::fresh(TOKEN_PREFIX);
    let user_id = match &principal.actor {
        Actor::User(user_id) if wanted != Role::Runner => Some(user_id.clone()),
        Actor::User(_) | Actor::Token(_) | Actor::Runner(_) | Actor::System(_) => None,
    };
    let fresh = identity::Token {
        id: TokenId::new(now, app.random()),
        organisation_id: principal.organisation_id.clone(),
        name,
        role: role::to_store(new.role),
        user_id,
        runner_id: None,
        created_at: now,
        expires_at,
        revoked_at: None,
    };
    let hash = SecretHash::of(secret.expose());
    app.store().create_token(principal.by(), fresh.clone(), hash).await?;
    Ok(CreatedToken { token: token(fresh), secret: secret.expose().to_owned() })
}

/// Takes a token back: an admin any, others their own.
///
/// # Errors
/// It is not there, or not one's own; the store's failures.
pub async fn revoke_token(
    app: &AppState,
    principal: &Principal,
    token_id: &TokenId,
) -> Result<(), Problem> {
    let organisation_id = principal.organisation_id.clone();
    let tokens = app.store().tokens(&organisation_id).await?;
    let found = tokens.into_iter().find(|token| token.id == *token_id);
    let found = found.ok_or_else(|| Problem::not_found(format!("token {token_id}")))?;
    let is_own = found.user_id.is_some_and(|id| Actor::User(id) == principal.actor)
        || Actor::Token(found.id) == principal.actor;
    if !is_own && !principal.may(Action::ManageTokens) {
        return Err(Problem::not_found(format!("token {token_id} of yours")));
    }
    app.store().revoke_token(principal.by(), organisation_id, token_id.clone(), app.now()).await?;
    app.admission_narrows();
    Ok(())
}

fn may_give(principal: &Principal, wanted: Role) -> bool {
    if wanted == Role::Runner {
        return principal.may(Action::ManageTokens);
    }
    Action::ALL.iter().all(|action| {
        principal.may(*action) || !windlass_policy::permission::allows(wanted, *action)
    })
}

fn later(now: Time, seconds: u64) -> Result<Time, Problem> {
    match i64::try_from(seconds) {
        Ok(seconds @ 1..=315_360_000) => Ok(now + Duration::from_secs(seconds)),
        _ => Err(Problem::new(Code::BadRequest, "give 1 second to ten years").at("expires_in")),
    }
}

/// A name for a person's eye: 1 to 64 characters without control characters, trimmed.
pub(crate) fn check_name(name: &str) -> Result<String, Problem> {
    let name = name.trim();
    let is_good = (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if is_good {
        return Ok(name.to_owned());
    }
    let why = "a name has 1 to 64 characters and no control characters";
    Err(Problem::new(Code::BadRequest, why).at("name"))
}

/// A conflict over a name, as the problem that says so.
pub(crate) fn name_taken(error: windlass_store::Error) -> Problem {
    match error {
        windlass_store::Error::Conflict { why } => Problem::new(Code::NameTaken, why).at("name"),
        other => other.into(),
    }
}
