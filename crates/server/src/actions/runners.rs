//! What people do about runners: let one join, say what is wanted of it, remove it.

use windlass_run::{Duration, RunnerId};
use windlass_store::identity::SecretHash;
use windlass_wire::{
    api::runner::{Invitation, NewInvitation, Runner},
    runner::Wish,
};

use crate::{
    auth::Principal,
    problem::{Code, Problem},
    secret::Secret,
    state::AppState,
    views::runners::{find, to_store},
};

/// What every code begins with, so that scanners for leaked secrets find it.
const CODE_PREFIX: &str = "wlj_";
/// For how long a code is good, in seconds, where nobody says.
const USUAL: u64 = 3_600;
/// For how long it may be.
const LONGEST: u64 = 7 * 24 * 3_600;

/// Makes a code by which one runner can join.
///
/// # Errors
/// A span that does not hold; the store's failures.
pub async fn invite(
    app: &AppState,
    principal: &Principal,
    new: NewInvitation,
) -> Result<Invitation, Problem> {
    let seconds = new.expires_in.unwrap_or(USUAL);
    if !(1..=LONGEST).contains(&seconds) {
        let why = format!("give 1 to {LONGEST} seconds");
        return Err(Problem::new(Code::BadRequest, why).at("expires_in"));
    }
    let now = app.now();
    let expires_at = now + Duration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    let code = Secret::fresh(CODE_PREFIX);
    let hash = SecretHash::of(code.expose());
    let organisation_id = principal.organisation_id.clone();
    app.store().invite_runner(principal.by(), organisation_id, hash, expires_at, now).await?;
    Ok(Invitation {
        code: code.expose().to_owned(),
        expires_at: expires_at.as_micros(),
        server: app.base_url().to_owned(),
        certificate: app.fingerprint().map(str::to_owned),
    })
}

/// Says what is wanted of a runner, by its id or name.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn wish(
    app: &AppState,
    principal: &Principal,
    named: &str,
    wish: Wish,
) -> Result<Runner, Problem> {
    let runner = find(app, principal, named).await?;
    let (organisation_id, now) = (principal.organisation_id.clone(), app.now());
    app.store()
        .wish_of_runner(principal.by(), organisation_id, runner.id.clone(), to_store(wish), now)
        .await?;
    Ok(Runner { wish, ..runner })
}

/// Removes a runner, by its id or name.
///
/// # Errors
/// It is not there, or it holds something and nobody `force`s it; the store's failures.
pub async fn remove(
    app: &AppState,
    principal: &Principal,
    named: &str,
    force: bool,
) -> Result<RunnerId, Problem> {
    let runner = find(app, principal, named).await?;
    let (organisation_id, now) = (principal.organisation_id.clone(), app.now());
    app.store()
        .remove_runner(principal.by(), organisation_id, runner.id.clone(), force, now)
        .await?;
    Ok(runner.id)
}
