//! What every handler and reconciler of one server shares.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_git::{Git, smart_http::Backend};
use windlass_policy::permission::Role;
use windlass_run::{
    Duration, EventId, OrganisationId, RunnerId, Time, TokenId, UserId, actor::Actor,
};
use windlass_store::{Store, feed::Hint, identity::SecretHash};
use windlass_wire::api::{Who, account::Ssh};

use crate::{
    auth::{self, Credential, Principal, Via},
    clock::Clock,
    problem::{Code, Problem},
    secret::{self, Sealer},
};

/// What every handler and reconciler of one server shares. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) data_dir: PathBuf,
    pub(crate) base_url: String,
    pub(crate) is_secure: bool,
    pub(crate) organisation_id: OrganisationId,
    pub(crate) git: Git,
    pub(crate) git_backend: Backend,
    pub(crate) sealer: Sealer,
    pub(crate) lease_ttl: Duration,
    pub(crate) environment_limits: windlass_run::environment::Limits,
    pub(crate) archive_after: Option<Duration>,
    pub(crate) stop: CancellationToken,
    pub(crate) nudge: watch::Sender<u64>,
    pub(crate) admission: watch::Sender<u64>,
    pub(crate) ssh: Option<Ssh>,
    pub(crate) names: Mutex<HashMap<String, String>>,
    pub(crate) under_way: crate::idempotency::UnderWay,
    pub(crate) repositories: crate::local::Locks,
    pub(crate) environments: crate::environments::Registry,
    pub(crate) runners: crate::runners::Registry,
    pub(crate) ports: crate::ports::Ports,
    pub(crate) hooks: crate::hooks::registry::Registry,
    pub(crate) triggers: crate::triggers::index::Registry,
    pub(crate) notices: crate::notices::Registry,
    pub(crate) fingerprint: Option<String>,
}

impl AppState {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The time now, by the server's clock.
    pub fn now(&self) -> Time {
        (self.inner.clock)()
    }

    pub(crate) fn clock(&self) -> Clock {
        Arc::clone(&self.inner.clock)
    }

    /// The server's own directory.
    pub fn data_dir(&self) -> &Path {
        &self.inner.data_dir
    }

    /// Where the server is reached, as in `http://127.0.0.1:4242`: no slash at the end.
    pub fn base_url(&self) -> &str {
        &self.inner.base_url
    }

    /// True if connections are under TLS.
    pub fn is_secure(&self) -> bool {
        self.inner.is_secure
    }

    /// The organisation that this server works for.
    pub fn organisation_id(&self) -> &OrganisationId {
        &self.inner.organisation_id
    }

    pub(crate) fn git(&self) -> &Git {
        &self.inner.git
    }

    pub(crate) fn git_backend(&self) -> &Backend {
        &self.inner.git_backend
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.inner.sealer
    }

    pub(crate) fn lease_ttl(&self) -> Duration {
        self.inner.lease_ttl
    }

    /// How many environments that live by themselves there may be.
    pub(crate) fn environment_limits(&self) -> windlass_run::environment::Limits {
        self.inner.environment_limits
    }

    /// How long an environment stays stopped before it is archived, where nobody says otherwise.
    pub(crate) fn archive_after(&self) -> Option<Duration> {
        self.inner.archive_after
    }

    pub(crate) fn under_way(&self) -> &crate::idempotency::UnderWay {
        &self.inner.under_way
    }

    pub(crate) fn repositories(&self) -> &crate::local::Locks {
        &self.inner.repositories
    }

    /// What this process knows of runners that keep environments.
    pub(crate) fn environments(&self) -> &crate::environments::Registry {
        &self.inner.environments
    }

    /// What this process knows of runners' machines.
    pub(crate) fn runners(&self) -> &crate::runners::Registry {
        &self.inner.runners
    }

    /// What this process knows of published ports.
    pub(crate) fn ports(&self) -> &crate::ports::Ports {
        &self.inner.ports
    }

    /// The SHA-256 of the server's certificate, as hexadecimal digits, under TLS.
    pub(crate) fn fingerprint(&self) -> Option<&str> {
        self.inner.fingerprint.as_deref()
    }

    /// Random bits for an id.
    pub(crate) fn random(&self) -> u128 {
        secret::random_bits()
    }

    /// Cancelled when the server stops: long polls and streams end then.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.inner.stop.clone()
    }

    /// What is remembered of hooks.
    pub(crate) fn hooks(&self) -> &crate::hooks::registry::Registry {
        &self.inner.hooks
    }

    /// What is remembered of triggers.
    pub(crate) fn triggers(&self) -> &crate::triggers::index::Registry {
        &self.inner.triggers
    }

    /// What is remembered of what is not well.
    pub(crate) fn notices(&self) -> &crate::notices::Registry {
        &self.inner.notices
    }

    /// An id for an event that arrives now.
    pub(crate) fn event_id(&self) -> EventId {
        EventId::new(self.now(), secret::random_bits())
    }

    /// Wakes the reconcilers now instead of at their next round.
    pub(crate) fn nudge(&self) {
        self.inner.nudge.send_modify(|count| *count += 1);
    }

    /// Ends when somebody nudged after this was called, whether or not it was awaited by then.
    pub(crate) fn nudged(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut nudge = self.inner.nudge.subscribe();
        async move {
            if nudge.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Wakes a stream whenever the store has committed something.
    pub(crate) fn hints(&self) -> Hints {
        Hints { receiver: self.inner.store.subscribe() }
    }

    /// The principal of a service token.
    pub(crate) async fn principal_of_token(&self, token: &str) -> Result<Principal, Problem> {
        self.token_principal(SecretHash::of(token)).await
    }

    async fn token_principal(&self, hash: SecretHash) -> Result<Principal, Problem> {
        let found = self.store().token(hash, self.now()).await?;
        let token = found.ok_or_else(|| {
            Problem::new(Code::NotSignedIn, "the service token is unknown, expired or revoked")
        })?;
        Ok(Principal {
            role: auth::role::from_store(token.role),
            actor: Actor::Token(token.id),
            name: token.name,
            organisation_id: token.organisation_id,
            via: Via::Token,
            runner_id: token.runner_id,
            credential: Credential::Token(hash),
        })
    }

    /// The principal of a browser's session.
    pub(crate) async fn principal_of_session(&self, session: &str) -> Result<Principal, Problem> {
        let csrf = auth::csrf_of(session);
        self.session_principal(SecretHash::of(session), csrf).await
    }

    async fn session_principal(
        &self,
        hash: SecretHash,
        csrf: String,
    ) -> Result<Principal, Problem> {
        let user = self.store().session_user(hash, self.now()).await?.ok_or_else(|| {
            Problem::new(Code::NotSignedIn, "the session is over; open a sign-in link again")
        })?;
        let role = auth::role::from_store(user.role);
        if role == Role::Runner {
            return Err(Problem::new(Code::NotSignedIn, "a runner has no session"));
        }
        Ok(Principal {
            role,
            actor: Actor::User(user.id),
            name: user.name,
            organisation_id: user.organisation_id,
            runner_id: None,
            via: Via::Session { csrf },
            credential: Credential::Session(hash),
        })
    }

    /// Somebody as they are now, for what they asked for before and what goes on since.
    pub(crate) async fn principal_behind(&self, actor: &Actor) -> Result<Principal, Problem> {
        let gone = || Problem::new(Code::Forbidden, "whoever asked for this is gone");
        let (name, role) = match actor {
            Actor::User(user_id) => {
                let user = self.store().user(user_id).await.map_err(|_| gone())?;
                let user = Some(user).filter(|user| user.disabled_at.is_none()).ok_or_else(gone)?;
                (user.name, user.role)
            }
            Actor::Token(token_id) => {
                let tokens = self.store().tokens(self.organisation_id()).await?;
                let mut good = tokens.into_iter().filter(|token| token.is_good(self.now()));
                let token = good.find(|token| token.id == *token_id).ok_or_else(gone)?;
                (token.name, token.role)
            }
            Actor::Runner(_) | Actor::System(_) => return Err(gone()),
        };
        Ok(Principal {
            role: auth::role::from_store(role),
            actor: actor.clone(),
            name,
            organisation_id: self.organisation_id().clone(),
            via: Via::Key,
            runner_id: None,
            credential: Credential::Earlier,
        })
    }

    /// The principal of a public key: whoever added it, as they are now.
    pub(crate) async fn principal_of_key(&self, id: &str) -> Result<Principal, Problem> {
        let unknown =
            || Problem::new(Code::NotSignedIn, "the key is not registered, or its owner is gone");
        let key = self.store().key(self.organisation_id(), id).await?.ok_or_else(unknown)?;
        let (name, role) = match &key.owner {
            Actor::User(user_id) => {
                let user = self.store().user(user_id).await.map_err(|_| unknown())?;
                let user =
                    Some(user).filter(|user| user.disabled_at.is_none()).ok_or_else(unknown)?;
                (user.name, user.role)
            }
            Actor::Token(token_id) => {
                let tokens = self.store().tokens(self.organisation_id()).await?;
                let mut good = tokens.into_iter().filter(|token| token.is_good(self.now()));
                let token = good.find(|token| token.id == *token_id).ok_or_else(unknown)?;
                (token.name, token.role)
            }
            Actor::Runner(_) | Actor::System(_) => return Err(unknown()),
        };
        Ok(Principal {
            role: auth::role::from_store(role),
            actor: key.owner,
            name,
            organisation_id: key.organisation_id,
            via: Via::Key,
            runner_id: None,
            credential: Credential::Key(key.id),
        })
    }

    /// Where SSH listens, if it does.
    pub(crate) fn ssh(&self) -> Option<&Ssh> {
        self.inner.ssh.as_ref()
    }

    /// The same principal as they are now, if what proved them still holds.
    pub(crate) async fn anew(&self, principal: &Principal) -> Result<Principal, Problem> {
        match &principal.credential {
            Credential::Earlier => self.principal_behind(&principal.actor).await,
            Credential::Key(id) => self.principal_of_key(id).await,
            Credential::Token(hash) => self.token_principal(*hash).await,
            Credential::Session(hash) => {
                self.session_principal(*hash, principal.csrf().to_owned()).await
            }
        }
    }

    /// Whoever a credential stands for, as they are now. They can sign no form of a page.
    pub(crate) async fn behind(&self, credential: &Credential) -> Result<Principal, Problem> {
        match credential {
            Credential::Earlier => {
                Err(Problem::new(Code::NotSignedIn, "what was asked for earlier signs nobody in"))
            }
            Credential::Key(id) => self.principal_of_key(id).await,
            Credential::Token(hash) => self.token_principal(*hash).await,
            Credential::Session(hash) => self.session_principal(*hash, String::new()).await,
        }
    }

    /// Somebody may do less than before: whoever is in an environment is asked again whether they may.
    pub(crate) fn admission_narrows(&self) {
        self.inner.admission.send_modify(|count| *count += 1);
    }

    /// Ends when that was said after this was called, whether or not it was awaited by then.
    pub(crate) fn admission_changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut admission = self.inner.admission.subscribe();
        async move {
            if admission.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// An actor as a person reads it.
    pub async fn who(&self, actor: &Actor) -> Who {
        let (kind, id) = match actor {
            Actor::User(id) => ("user", id.to_string()),
            Actor::Token(id) => ("token", id.to_string()),
            Actor::Runner(id) => ("runner", id.to_string()),
            Actor::System(name) => ("system", name.clone()),
        };
        let name = self.name_of(actor, &id).await;
        Who { kind: kind.to_owned(), id, name }
    }

    async fn name_of(&self, actor: &Actor, id: &str) -> String {
        if let Some(name) = self.names().get(id) {
            return name.clone();
        }
        let found = match actor {
            Actor::User(user_id) => self.user_name(user_id).await,
            Actor::Token(token_id) => self.token_name(token_id).await,
            Actor::Runner(runner_id) => self.runner_name(runner_id).await,
            Actor::System(_) => None,
        };
        match found {
            Some(name) => {
                self.names().insert(id.to_owned(), name.clone());
                name
            }
            None => id.to_owned(),
        }
    }

    async fn user_name(&self, user_id: &UserId) -> Option<String> {
        self.store().user(user_id).await.ok().map(|user| user.name)
    }

    async fn runner_name(&self, runner_id: &RunnerId) -> Option<String> {
        self.store().runner_name(self.organisation_id(), runner_id).await.ok().flatten()
    }

    async fn token_name(&self, token_id: &TokenId) -> Option<String> {
        let tokens = self.store().tokens(self.organisation_id()).await.ok()?;
        tokens.into_iter().find(|token| token.id == *token_id).map(|token| token.name)
    }

    pub(crate) fn names(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.inner.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells a stream that there may be more to read.
pub(crate) struct Hints {
    receiver: watch::Receiver<Hint>,
}

impl Hints {
    /// Call before reading: what is committed from now on wakes [`Hints::next`].
    pub(crate) fn mark_seen(&mut self) -> Hint {
        *self.receiver.borrow_and_update()
    }

    /// Ends when something was committed since [`Hints::mark_seen`]; never, once the store is closed.
    pub(crate) async fn next(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
