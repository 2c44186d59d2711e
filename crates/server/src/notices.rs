//! Notices: what is not well and needs somebody. They are in the store; which ones stand is remembered here,
//! so that saying again what is known, or that all is well where it is, costs nothing.

use std::collections::HashSet;

use tokio::sync::Mutex;

use crate::{
    problem::{Code, Problem},
    state::AppState,
};

/// What is not well if deliveries at a hook are refused one after another. The subject is its name; for
/// deliveries of a code host to a project, `github/PROJECT`.
pub(crate) const HOOK: &str = "hook-refused";

/// After how many refusals in a row that is told.
pub(crate) const REFUSALS: u64 = 5;

/// What is not well if a code host doesn't take the credential of a project. The subject is its name.
const CREDENTIAL: &str = "credential-refused";

/// What is remembered of the notices that stand.
#[derive(Default)]
pub(crate) struct Registry {
    /// Absent until they were read.
    standing: Mutex<Option<HashSet<(String, String)>>>,
}

impl Registry {
    /// Says that something is not well.
    pub(crate) async fn raise(
        &self,
        app: &AppState,
        kind: &'static str,
        subject: &str,
        text: String,
    ) -> Result<(), Problem> {
        let mut standing = self.standing.lock().await;
        let standing = read(app, &mut standing).await?;
        let key = (kind.to_owned(), subject.to_owned());
        if standing.contains(&key) {
            return Ok(());
        }
        let (organisation_id, now) = (app.organisation_id().clone(), app.now());
        tracing::warn!(kind, subject, text, "something is not well");
        app.store().raise_notice(organisation_id, kind, key.1.clone(), text, now).await?;
        standing.insert(key);
        Ok(())
    }

    /// Says that something is well.
    pub(crate) async fn resolve(
        &self,
        app: &AppState,
        kind: &'static str,
        subject: &str,
    ) -> Result<(), Problem> {
        let mut standing = self.standing.lock().await;
        let standing = read(app, &mut standing).await?;
        let key = (kind.to_owned(), subject.to_owned());
        if !standing.contains(&key) {
            return Ok(());
        }
        let (organisation_id, now) = (app.organisation_id().clone(), app.now());
        app.store().resolve_notice(organisation_id, kind, key.1.clone(), now).await?;
        standing.remove(&key);
        Ok(())
    }

    /// A delivery at a hook was refused: the so-manieth in a row.
    pub(crate) async fn refused(
        &self,
        app: &AppState,
        hook: &str,
        (count, reason): (u64, &str),
    ) -> Result<(), Problem> {
        if count < REFUSALS {
            return Ok(());
        }
        let text = format!(
            "The last {count} deliveries at the hook {hook} were refused ({reason}). Give its sender the \
             hook's secret, or a new one to both: `windlass hook rotate`."
        );
        self.raise(app, HOOK, hook, text).await
    }

    /// What a code host said to the credential of a project.
    pub(crate) async fn credential(
        &self,
        app: &AppState,
        project: &str,
        said: Result<(), &Problem>,
    ) -> Result<(), Problem> {
        match said {
            Ok(()) => self.resolve(app, CREDENTIAL, project).await,
            Err(problem) if problem.code == Code::CredentialRefused => {
                let text = format!(
                    "The credential of the project {project} is refused, so nothing of it can be read or \
                     written ({}). Give it a new one: `windlass project add` again, with a token.",
                    problem.detail
                );
                self.raise(app, CREDENTIAL, project, text).await
            }
            // It says nothing of the credential.
            Err(_) => Ok(()),
        }
    }

    /// The subjects of a kind that stand.
    pub(crate) async fn standing(
        &self,
        app: &AppState,
        kind: &str,
    ) -> Result<Vec<String>, Problem> {
        let mut standing = self.standing.lock().await;
        let standing = read(app, &mut standing).await?.iter();
        let of_kind = standing.filter(|(other, _)| other == kind);
        Ok(of_kind.map(|(_, subject)| subject.clone()).collect())
    }
}

async fn read<'a>(
    app: &AppState,
    standing: &'a mut Option<HashSet<(String, String)>>,
) -> Result<&'a mut HashSet<(String, String)>, Problem> {
    if standing.is_none() {
        let open = app.store().notices(app.organisation_id(), true, 1_000).await?;
        *standing = Some(open.into_iter().map(|open| (open.kind, open.subject)).collect());
    }
    Ok(standing.get_or_insert_default())
}
