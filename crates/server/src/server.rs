//! Starting and stopping a server. A library: it reads no process environment and prints nothing.

use std::{io, net::SocketAddr, path::PathBuf};

use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use windlass_git::{Git, smart_http};
use windlass_run::{
    Duration, OrganisationId, TokenId, UserId,
    actor::By,
    environment::{ARCHIVE, Limits},
};
use windlass_store::{
    Store,
    identity::{self, Organisation, SecretHash},
};
use windlass_wire::api::account::Role;

use crate::{
    actions::accounts::TOKEN_PREFIX,
    auth::{role, sign_in},
    clock::Clock,
    idempotency::UnderWay,
    listen::{self, ListenError, Tls},
    local::Locks,
    ports::{self, Ports},
    problem::Problem,
    reconcile, router,
    secret::{SealError, Sealer, Secret},
    ssh,
    state::{AppState, Inner},
};

/// How a server behaves.
pub struct Options {
    /// The address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// How connections are protected.
    pub tls: Tls,
    /// Where people and runners reach the server, where that is not the address listened on (behind a
    /// proxy). No slash at the end.
    pub public_url: Option<String>,
    /// The address on which SSH into environments listens; absent: nowhere.
    pub ssh: Option<SocketAddr>,
    /// The server's own directory: keys, certificates and the repositories of the local forge.
    pub data_dir: PathBuf,
    /// The time.
    pub clock: Clock,
    /// How git is run.
    pub git: windlass_git::command::Options,
    /// How long a lease lasts without a heartbeat. The store was opened with the same.
    pub lease_ttl: Duration,
    /// How many environments that live by themselves there may be.
    pub environment_limits: Limits,
    /// How long an environment stays stopped before it is archived, where its project says nothing;
    /// absent: it never is.
    pub archive_after: Option<Duration>,
    /// How ports of environments are published.
    pub ports: ports::Options,
}

impl Options {
    /// A server for this machine only.
    pub fn new(listen: SocketAddr, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen,
            tls: Tls::Off,
            public_url: None,
            ssh: None,
            data_dir: data_dir.into(),
            clock: crate::clock::system(),
            git: windlass_git::command::Options::default(),
            lease_ttl: Duration::from_secs(30),
            environment_limits: Limits::default(),
            archive_after: Some(ARCHIVE),
            ports: ports::Options::default(),
        }
    }
}

/// Why a server did not start. Each reads well after "failed to start the server: ".
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It can't listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// SSH can't listen.
    #[error("failed to listen for SSH on {address}: {source}")]
    Ssh {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Ports can't be published at this host.
    #[error(transparent)]
    Ports(#[from] ports::BadHost),
    /// Its key can't be used.
    #[error(transparent)]
    Key(#[from] SealError),
    /// Its directory can't be used.
    #[error("the data directory {} can't be used: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] windlass_store::Error),
    /// The first user or link can't be made.
    #[error("the first sign-in link can't be made: {0}")]
    FirstUser(Problem),
}

/// Starts servers.
pub struct Server;

impl Server {
    /// Starts a server on an open store. It serves, and its reconcilers run, until [`Handle::stop`] or
    /// until the handle is dropped.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing keeps running after an error.
    pub async fn start(store: Store, options: Options) -> Result<Handle, StartError> {
        let data_dir = options.data_dir.clone();
        std::fs::create_dir_all(&data_dir)
            .map_err(|source| StartError::Directory { path: data_dir.clone(), source })?;
        let bound = listen::bind(options.listen, &options.tls, &data_dir).await?;
        let (address, fingerprint) = (bound.address, bound.fingerprint.clone());
        let ssh = match options.ssh {
            Some(address) => Some(
                ssh::bind(address, &data_dir)
                    .await
                    .map_err(|source| StartError::Ssh { address, source })?,
            ),
            None => None,
        };
        let stop = CancellationToken::new();
        let organisation_id = organisation(&store, &options.clock).await?;
        let is_secure = options.tls != Tls::Off;
        let base_url = options.public_url.clone().unwrap_or_else(|| {
            let mut shown = address;
            if shown.ip().is_unspecified() {
                shown.set_ip([127, 0, 0, 1].into());
            }
            format!("{}://{shown}", if is_secure { "https" } else { "http" })
        });
        let ports = Ports::new(&base_url, &options.ports)?;
        let app = AppState::new(Inner {
            store,
            clock: options.clock,
            base_url,
            is_secure,
            organisation_id,
            git: Git::new(options.git),
            git_backend: smart_http::Backend::new(smart_http::Limits::default()),
            sealer: Sealer::open(&data_dir.join("secrets.key"))?,
            data_dir,
            lease_ttl: options.lease_ttl,
            environment_limits: options.environment_limits,
            archive_after: options.archive_after,
            stop: stop.clone(),
            nudge: watch::Sender::new(0),
            admission: watch::Sender::new(0),
            ssh: ssh.as_ref().map(|bound| bound.shown.clone()),
            names: std::sync::Mutex::default(),
            under_way: UnderWay::default(),
            repositories: Locks::default(),
            environments: crate::environments::Registry::default(),
            runners: crate::runners::Registry::default(),
            ports,
            hooks: Default::default(),
            triggers: Default::default(),
            notices: Default::default(),
            fingerprint: fingerprint.clone(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(listen::serve(bound, router::router(&app), stop.clone()));
        if let Some(bound) = ssh {
            tasks.spawn(ssh::serve(app.clone(), bound));
        }
        reconcile::spawn(&app, &mut tasks);
        Ok(Handle { app, address, fingerprint, stop, tasks })
    }
}

/// The organisation that the server works for: the only one, made at the first start.
async fn organisation(store: &Store, clock: &Clock) -> Result<OrganisationId, StartError> {
    if let Some(first) = store.organisations().await?.into_iter().next() {
        return Ok(first.id);
    }
    let now = clock();
    let id = OrganisationId::new(now, crate::secret::random_bits());
    let organisation = Organisation { id: id.clone(), name: "default".to_owned(), created_at: now };
    store.create_organisation(By::system("start"), organisation).await?;
    Ok(id)
}

/// A running server.
pub struct Handle {
    app: AppState,
    address: SocketAddr,
    fingerprint: Option<String>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Handle {
    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where people reach it, without a slash at the end.
    pub fn url(&self) -> &str {
        self.app.base_url()
    }

    /// Under TLS: the SHA-256 of its certificate as hexadecimal digits, for runners to pin.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// What its handlers share.
    pub fn state(&self) -> &AppState {
        &self.app
    }

    /// A link that signs the first admin in once; that admin is made if there is no user yet. Absent
    /// if there are users, unless `anew`.
    ///
    /// # Errors
    /// The store's failures.
    pub async fn sign_in_link(&self, anew: bool) -> Result<Option<String>, StartError> {
        let users = self.app.store().users(self.app.organisation_id()).await?;
        let by = By::system("start");
        let user_id = match users.iter().find(|user| user.role == identity::Role::Admin) {
            Some(_) if !anew => return Ok(None),
            Some(admin) => admin.id.clone(),
            None => {
                let now = self.app.now();
                let admin = identity::User {
                    id: UserId::new(now, self.app.random()),
                    organisation_id: self.app.organisation_id().clone(),
                    name: "admin".to_owned(),
                    role: identity::Role::Admin,
                    password_hash: None,
                    created_at: now,
                    disabled_at: None,
                };
                self.app.store().create_user(by.clone(), admin.clone()).await?;
                admin.id
            }
        };
        let (link, _) =
            sign_in::link(&self.app, by, user_id).await.map_err(StartError::FirstUser)?;
        Ok(Some(link))
    }

    /// Makes a service token for a program on this machine, such as the runner of the same process.
    ///
    /// # Errors
    /// The store's failures.
    pub async fn issue_token(&self, name: &str, role: Role) -> Result<Secret, StartError> {
        let now = self.app.now();
        let secret = Secret::fresh(TOKEN_PREFIX);
        let token = identity::Token {
            id: TokenId::new(now, self.app.random()),
            organisation_id: self.app.organisation_id().clone(),
            name: name.to_owned(),
            role: role::to_store(role),
            user_id: None,
            runner_id: None,
            created_at: now,
            expires_at: None,
            revoked_at: None,
        };
        let hash = SecretHash::of(secret.expose());
        self.app.store().create_token(By::system("start"), token, hash).await?;
        Ok(secret)
    }

    /// Takes no more connections, lets what is under way end, stops the reconcilers. The store stays
    /// open: it is the caller's.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
