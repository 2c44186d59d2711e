//! Making, changing and removing hooks. A secret is sealed before it is stored and shown only by what
//! made it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use windlass_run::{Duration, event::Trust};
use windlass_store::hooks::{Before, Hook as Row};
use windlass_wire::api::{
    hook::{Hook, HookWithSecret, NewHook, RotateHook},
    secret::SecretValue,
};

use crate::{
    auth::Principal,
    hooks::{
        registry::{self, place},
        scheme::{STANDARD_PREFIX, Scheme, standard_key},
    },
    problem::{Code, Problem},
    secret::{Secret, random_bits},
    state::AppState,
    views::{hooks as views, projects},
};

/// How long the secret before is taken too, if nobody says.
const KEPT: u64 = 86_400;

/// The longest that it may be, in seconds.
const KEPT_MOST: u64 = 90 * 86_400;

/// How long a sender's secret may be.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

/// Makes a hook.
///
/// # Errors
/// A name that is taken, something that can't be, one too many; the store's failures.
pub async fn create(
    app: &AppState,
    principal: &Principal,
    new: NewHook,
) -> Result<HookWithSecret, Problem> {
    let refuse = |why: &str, at: &str| Problem::new(Code::BadRequest, why).at(at);
    let name = check_name(&new.name)?;
    let scheme = Scheme::parse(&new.scheme)
        .ok_or_else(|| refuse("a scheme is standard, github or bearer", "scheme"))?;
    let trust = match new.trust.as_deref() {
        None | Some("member") => Trust::Member,
        Some("known") => Trust::Known,
        Some("public") => Trust::Public,
        Some(_) => return Err(refuse("trust is member, known or public", "trust")),
    };
    let project_id = match &new.project {
        Some(project) => Some(projects::find(app, principal, project).await?.id),
        None => None,
    };
    let secret = secret(scheme, new.secret)?;
    let now = app.now();
    let row = Row {
        organisation_id: principal.organisation_id.clone(),
        scheme: scheme.name().to_owned(),
        trust,
        project_id,
        version: 1,
        sealed: seal(app, &name, 1, &secret),
        before: None,
        created_at: now,
        created_by: principal.by(),
        changed_at: now,
        name,
    };
    app.store().create_hook(principal.by(), row.clone()).await.map_err(|error| match &error {
        windlass_store::Error::Conflict { .. } => {
            Problem::new(Code::NameTaken, error.to_string()).at("name")
        }
        windlass_store::Error::Invalid { .. } => {
            Problem::new(Code::LimitReached, error.to_string())
        }
        _ => error.into(),
    })?;
    app.hooks().changed(&row.name);
    shown(app, row, secret).await
}

/// Gives a hook a new secret.
///
/// # Errors
/// It is not there; something that can't be; the store's failures.
pub async fn rotate(
    app: &AppState,
    principal: &Principal,
    name: &str,
    rotate: RotateHook,
) -> Result<HookWithSecret, Problem> {
    let found = app.store().hook(&principal.organisation_id, name).await?;
    let keep = rotate.keep_seconds.unwrap_or(KEPT);
    if keep > KEPT_MOST {
        let why = "the secret before is kept for 90 days at most";
        return Err(Problem::new(Code::BadRequest, why).at("keep_seconds"));
    }
    let scheme = Scheme::parse(&found.scheme)
        .ok_or_else(|| Problem::new(Code::Internal, "a hook has an unknown scheme"))?;
    let secret = secret(scheme, rotate.secret)?;
    let (now, version) = (app.now(), found.version + 1);
    let kept = Duration::from_secs(i64::try_from(keep).unwrap_or(0));
    let before = (keep > 0).then(|| Before { sealed: found.sealed.clone(), until: now + kept });
    let row = Row {
        version,
        sealed: seal(app, name, version, &secret),
        before,
        changed_at: now,
        ..found
    };
    app.store().change_hook(principal.by(), row.clone()).await?;
    app.hooks().changed(name);
    shown(app, row, secret).await
}

/// Takes only the newest secret from now on.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn finish(app: &AppState, principal: &Principal, name: &str) -> Result<Hook, Problem> {
    let found = app.store().hook(&principal.organisation_id, name).await?;
    let row = Row { before: None, changed_at: app.now(), ..found };
    app.store().change_hook(principal.by(), row.clone()).await?;
    app.hooks().changed(name);
    views::shown(app, row).await
}

/// Removes a hook. What it received stays.
///
/// # Errors
/// It is not there; the store's failures.
pub async fn remove(app: &AppState, principal: &Principal, name: &str) -> Result<(), Problem> {
    let organisation_id = principal.organisation_id.clone();
    app.store().remove_hook(principal.by(), organisation_id, name.to_owned(), app.now()).await?;
    registry::removed(app, name).await?;
    Ok(())
}

async fn shown(app: &AppState, row: Row, secret: Secret) -> Result<HookWithSecret, Problem> {
    let hook = views::shown(app, row).await?;
    Ok(HookWithSecret { hook, secret: SecretValue(secret.expose().to_owned()) })
}

fn seal(app: &AppState, name: &str, version: u64, secret: &Secret) -> Vec<u8> {
    app.sealer().seal(&place(app, name, version), secret).into_bytes()
}

/// A name as it stands in addresses.
fn check_name(name: &str) -> Result<String, Problem> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if begins && name.len() <= 63 && name.bytes().all(plain) {
        return Ok(name.to_owned());
    }
    let why = "a hook's name is a letter, then a-z, 0-9 and `-`, at most 63";
    Err(Problem::new(Code::BadRequest, why).at("name"))
}

/// The secret that the sender made, or a new one.
fn secret(scheme: Scheme, given: Option<SecretValue>) -> Result<Secret, Problem> {
    let refuse = |why: &str| Err(Problem::new(Code::BadRequest, why).at("secret"));
    let Some(SecretValue(text)) = given else {
        return Ok(match scheme {
            Scheme::Standard => {
                let bits = [random_bits().to_be_bytes(), random_bits().to_be_bytes()].concat();
                Secret::from(format!("{STANDARD_PREFIX}{}", STANDARD.encode(bits)))
            }
            Scheme::Github | Scheme::Bearer => Secret::fresh("wlh_"),
        });
    };
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    match scheme {
        Scheme::Standard if standard_key(&text).is_none() => {
            refuse("a secret of Standard Webhooks is `whsec_` and base64 of 16 to 128 bytes")
        }
        _ if !SECRET_BYTES.contains(&text.len()) || !visible => {
            refuse("a secret has 16 to 512 characters of visible ASCII")
        }
        _ => Ok(Secret::from(text)),
    }
}
