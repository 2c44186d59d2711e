//! `/settings`: tokens, keys and people; `/theme`: the switch of colours.

use axum::{
    extract::State,
    http::{HeaderValue, Method, StatusCode, header},
    response::Response,
};
use serde::Deserialize;
use windlass_policy::permission;
use windlass_run::TokenId;
use windlass_wire::api::account::{NewKey, NewToken, NewUser, Role};

use super::{
    frame::{Fields, Frame, THEME_COOKIE, form_problem, go, number, page_with},
    text::Text,
    view::{
        Section, Theme,
        home::FormProblem,
        people::{Fresh, KeyRow, Settings, TokenRow, UserRow},
    },
    when,
};
use crate::{
    actions::{accounts as actions, keys},
    auth::{Principal, sign_in::local_path},
    endpoint::{Access, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let tokens = Access::Allows(permission::Action::ManageTokens);
    let users = Access::Allows(permission::Action::ManageUsers);
    let own = Access::Allows(permission::Action::UseEnvironments);
    vec![
        Endpoint::page(Method::GET, "/settings", Access::SignedIn, show),
        Endpoint::page(Method::POST, "/settings/tokens", tokens, make_token),
        Endpoint::page(Method::POST, "/settings/tokens/{token}/revoke", tokens, revoke),
        Endpoint::page(Method::POST, "/settings/keys", own, add_key),
        Endpoint::page(Method::POST, "/settings/keys/{key}/remove", own, remove_key),
        Endpoint::page(Method::POST, "/settings/users", users, invite),
        Endpoint::page(Method::POST, "/theme", Access::SignedIn, theme),
    ]
}

async fn show(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
) -> Result<Response, Problem> {
    settings(&app, &principal, &frame, None, None, StatusCode::OK).await
}

async fn settings(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    fresh: Option<Fresh>,
    problem: Option<FormProblem>,
    status: StatusCode,
) -> Result<Response, Problem> {
    let may = frame.may();
    let can_see = may.see_settings;
    let tokens = if can_see { views::accounts::tokens(app, principal).await? } else { vec![] };
    let users = if can_see { views::accounts::users(app, principal).await? } else { vec![] };
    let permissions = permission::Action::ALL.iter().filter(|action| principal.may(**action));
    let token = |token: windlass_wire::api::account::Token| TokenRow {
        revoke: may.manage_tokens.then(|| format!("/settings/tokens/{}/revoke", token.id)),
        id: token.id.to_string(),
        name: Text::from(token.name),
        role: role_name(token.role),
        created: frame.moment(token.created_at),
        expires: token.expires_at.map(|at| {
            let left = windlass_run::Time::from_micros(at).since(frame.now);
            format!("in {}", when::span(left))
        }),
    };
    let user = |user: windlass_wire::api::account::User| UserRow {
        name: Text::from(user.name),
        role: role_name(user.role),
        created: frame.moment(user.created_at),
    };
    let keys = match may.use_environments {
        true => Some(keys::list(app, principal).await?),
        false => None,
    };
    let key = |key: windlass_wire::api::account::Key| KeyRow {
        name: Text::from(key.name),
        kind: Text::from(key.public_key.split(' ').next().unwrap_or_default()),
        created: frame.moment(key.created_at),
        remove: format!("/settings/keys/{}/remove", key.id),
    };
    let view = Settings {
        keys: keys.map(|keys| keys.into_iter().map(key).collect()),
        ssh: app.ssh().map(|ssh| Text::from(ssh.address.as_str())),
        shell: frame.section(Section::Settings),
        permissions: permissions
            .map(|action| Text::from(action.name().replace('_', " ")))
            .collect(),
        tokens: tokens.into_iter().map(token).collect(),
        users: users.into_iter().map(user).collect(),
        user_roles: ["viewer", "operator", "reviewer", "admin"].to_vec(),
        token_roles: match may.manage_tokens {
            true => ["operator", "runner", "viewer", "reviewer", "admin"].to_vec(),
            false => Vec::new(),
        },
        fresh,
        problem,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    page_with(status, &view)
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Reviewer => "reviewer",
        Role::Admin => "admin",
        Role::Runner => "runner",
    }
}

#[derive(Deserialize)]
struct TokenFields {
    name: String,
    role: Role,
    #[serde(default)]
    days: String,
}

async fn make_token(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Fields(fields): Fields<TokenFields>,
) -> Result<Response, Problem> {
    let made = async {
        let days = number(&fields.days, "days")?;
        let expires_in = days.map(|days| days.saturating_mul(86_400));
        let new = NewToken { name: fields.name.trim().to_owned(), role: fields.role, expires_in };
        actions::create_token(&app, &principal, new).await
    };
    let fresh = made.await.map(|made| Fresh {
        what: Text::from(format!("The token “{}” is made.", made.token.name)),
        secret: Text::from(made.secret),
        how: "Programs send it as Authorization: Bearer. A runner reads it from a file.",
    });
    after_form(&app, &principal, &frame, fresh).await
}

#[derive(Deserialize)]
struct UserFields {
    name: String,
    role: Role,
}

async fn invite(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Fields(fields): Fields<UserFields>,
) -> Result<Response, Problem> {
    let new = NewUser { name: fields.name.trim().to_owned(), role: fields.role };
    let fresh = actions::invite(&app, &principal, new).await.map(|invited| Fresh {
        what: Text::from(format!("A sign-in link for {}.", invited.user.name)),
        secret: Text::from(invited.sign_in_link),
        how: "Give it to them by a way that only they read. It works once, within a day.",
    });
    after_form(&app, &principal, &frame, fresh).await
}

/// Shows a secret that was just made, or why it was not.
async fn after_form(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    made: Result<Fresh, Problem>,
) -> Result<Response, Problem> {
    match made {
        Ok(fresh) => settings(app, principal, frame, Some(fresh), None, StatusCode::OK).await,
        Err(problem) => {
            let (status, problem) = form_problem(problem)?;
            settings(app, principal, frame, None, Some(problem), status).await
        }
    }
}

async fn revoke(
    State(app): State<AppState>,
    principal: Principal,
    Place(token_id): Place<TokenId>,
) -> Result<Response, Problem> {
    actions::revoke_token(&app, &principal, &token_id).await?;
    Ok(go("/settings?said=revoked"))
}

#[derive(Deserialize)]
struct KeyFields {
    public_key: String,
}

async fn add_key(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Fields(fields): Fields<KeyFields>,
) -> Result<Response, Problem> {
    let new = NewKey { public_key: fields.public_key, name: None };
    match keys::add(&app, &principal, new).await {
        Ok(_) => Ok(go("/settings?said=key")),
        Err(problem) => {
            let (status, problem) = form_problem(problem)?;
            settings(&app, &principal, &frame, None, Some(problem), status).await
        }
    }
}

async fn remove_key(
    State(app): State<AppState>,
    principal: Principal,
    Place(id): Place<String>,
) -> Result<Response, Problem> {
    keys::remove(&app, &principal, &id).await?;
    Ok(go("/settings?said=unkeyed"))
}

#[derive(Deserialize)]
struct Colours {
    theme: String,
    #[serde(default)]
    back: String,
}

async fn theme(
    State(app): State<AppState>,
    Fields(colours): Fields<Colours>,
) -> Result<Response, Problem> {
    let secure = if app.is_secure() { "; Secure" } else { "" };
    let name = Theme::parse(&colours.theme).name();
    let cookie = format!("{THEME_COOKIE}={name}; Path=/; SameSite=Lax; Max-Age=31536000{secure}");
    let cookie = HeaderValue::from_str(&cookie)
        .map_err(|_| Problem::new(Code::BadRequest, "there is no such theme").at("theme"))?;
    let mut response = go(local_path(&colours.back));
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}
