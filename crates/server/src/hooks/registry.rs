//! What the server remembers of hooks: their opened secrets, so that a delivery costs no look into the
//! database, and what was refused. Refusals are counted here and nowhere else: nobody can make the disk
//! write by knocking, but for the one notice that a hook refuses its sender.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use windlass_run::{ProjectId, Time, event::Trust};

use super::scheme::Scheme;
use crate::{
    notices::HOOK,
    problem::{Code, Problem},
    secret::Secret,
    state::AppState,
};

/// How many hooks with refusals are remembered.
const MOST_REFUSED: usize = 10_000;

/// A hook with its secrets open.
pub(crate) struct Open {
    pub(crate) name: String,
    pub(crate) scheme: Scheme,
    pub(crate) trust: Trust,
    pub(crate) project_id: Option<ProjectId>,
    newest: Secret,
    before: Option<(Secret, Time)>,
}

impl Open {
    /// The secrets that are taken now.
    pub(crate) fn secrets(&self, now: Time) -> Vec<Secret> {
        let before = self.before.iter().filter(|(_, until)| now < *until);
        [&self.newest].into_iter().chain(before.map(|(secret, _)| secret)).cloned().collect()
    }
}

/// What was refused since something was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) count: u64,
    pub(crate) at: Time,
    pub(crate) reason: String,
}

/// See the room.
#[derive(Default)]
pub(crate) struct Registry {
    open: Mutex<(u64, HashMap<String, Arc<Open>>)>,
    refused: Mutex<HashMap<String, Refused>>,
}

impl Registry {
    /// Forgets what is known of a hook that was changed, also what is just being read of it.
    pub(crate) fn changed(&self, name: &str) {
        let mut open = lock(&self.open);
        open.0 += 1;
        open.1.remove(name);
    }

    /// Forgets refusals too, as that hook is gone.
    fn removed(&self, name: &str) {
        self.changed(name);
        lock(&self.refused).remove(name);
    }

    /// Notes a refusal of a hook that is there. Gives how many there were in a row.
    fn refuse(&self, name: &str, reason: &str, at: Time) -> u64 {
        let mut refused = lock(&self.refused);
        let count = refused.get(name).map_or(0, |before| before.count);
        if count > 0 || refused.len() < MOST_REFUSED {
            let reason = reason.chars().take(200).collect();
            refused.insert(name.to_owned(), Refused { count: count + 1, at, reason });
        }
        count + 1
    }

    /// Notes that something was received.
    fn received(&self, name: &str) {
        lock(&self.refused).remove(name);
    }

    /// What was refused since something was received.
    pub(crate) fn refused(&self, name: &str) -> Option<Refused> {
        lock(&self.refused).get(name).cloned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes a refusal of a hook that is there. If it is one of many, that is told as a notice, once.
pub(crate) async fn refuse(app: &AppState, name: &str, reason: &str) -> Result<(), Problem> {
    let count = app.hooks().refuse(name, reason, app.now());
    app.notices().refused(app, name, (count, reason)).await
}

/// Notes that something was received at a hook: it is well.
pub(crate) async fn received(app: &AppState, name: &str) -> Result<(), Problem> {
    app.hooks().received(name);
    app.notices().resolve(app, HOOK, name).await
}

/// Notes that a hook is gone, and whatever was wrong with it.
pub(crate) async fn removed(app: &AppState, name: &str) -> Result<(), Problem> {
    app.hooks().removed(name);
    app.notices().resolve(app, HOOK, name).await
}

/// A hook by its name; absent if there is none.
pub(crate) async fn find(app: &AppState, name: &str) -> Result<Option<Arc<Open>>, Problem> {
    let registry = app.hooks();
    let generation = {
        let open = lock(&registry.open);
        if let Some(hook) = open.1.get(name) {
            return Ok(Some(hook.clone()));
        }
        open.0
    };
    let row = match app.store().hook(app.organisation_id(), name).await {
        Ok(row) => row,
        Err(windlass_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let sealed = |version: u64, sealed: &[u8]| {
        let broken = |_| Problem::new(Code::Internal, "a hook's secret can't be opened");
        let text = std::str::from_utf8(sealed).map_err(broken_text)?;
        app.sealer().open_sealed(&place(app, name, version), text).map_err(broken)
    };
    let before = match &row.before {
        Some(before) => {
            Some((sealed(row.version.saturating_sub(1), &before.sealed)?, before.until))
        }
        None => None,
    };
    let hook = Arc::new(Open {
        scheme: Scheme::parse(&row.scheme)
            .ok_or_else(|| Problem::new(Code::Internal, "a hook has an unknown scheme"))?,
        trust: row.trust,
        project_id: row.project_id.clone(),
        newest: sealed(row.version, &row.sealed)?,
        before,
        name: row.name,
    });
    let mut open = lock(&registry.open);
    if open.0 == generation {
        open.1.insert(name.to_owned(), hook.clone());
    }
    Ok(Some(hook))
}

fn broken_text(_: std::str::Utf8Error) -> Problem {
    Problem::new(Code::Internal, "a hook's secret can't be opened")
}

/// What the seal of a hook's secret is bound to.
pub(crate) fn place(app: &AppState, name: &str, version: u64) -> String {
    format!("hook/{}/{name}/{version}", app.organisation_id())
}
